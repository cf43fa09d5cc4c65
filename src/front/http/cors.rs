//! Which other sites' pages may use this server (the Fetch standard's CORS protocol).

use std::str::FromStr;

use http::HeaderValue;

/// An origin: `https://viewer.example`, scheme, host and port alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Not an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, host) = text.split_once("://").ok_or(BadOrigin)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_:[]".contains(&b);
        let fits = matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain);
        if !fits {
            return Err(BadOrigin);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| BadOrigin)
    }
}
