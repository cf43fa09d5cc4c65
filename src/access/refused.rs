//! Why somebody is not let in, and what they are told.

use std::time::Duration;

use http::HeaderValue;

use crate::net::tls::Lapsed;

/// What is written where certificates alone are taken: there is no scheme for them.
const CERTIFICATE: &str = "Certificate realm=\"gantry\"";

/// Why somebody is not let in. The texts name no secret, and tell nothing of who else is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request brings nothing to be known by.
    #[error("this server wants to know who asks")]
    Missing,
    /// What it brings is not good.
    #[error("{0}")]
    Invalid(&'static str),
    /// The certificate of the connection is not good any more, whatever else it brings.
    #[error("{0}")]
    Lapsed(Lapsed),
    /// Whether it is good cannot be told now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Too many bad ones have come from there; to be tried again after this time.
    #[error("too many passwords that were wrong have come from this address")]
    TooMany(Duration),
}

impl Refused {
    /// The challenges of a server that takes these schemes.
    pub(super) fn challenges(&self, bearer: bool, basic: bool) -> Vec<HeaderValue> {
        let mut found = Vec::new();
        match self {
            Self::Unavailable(_) | Self::TooMany(_) => return found,
            // No other credentials would help on this connection.
            Self::Lapsed(_) => return vec![HeaderValue::from_static(CERTIFICATE)],
            Self::Missing if bearer => found.push(HeaderValue::from_static("Bearer realm=\"gantry\"")),
            Self::Invalid(why) if bearer => {
                // RFC 6750 3.1.
                let text =
                    format!("Bearer realm=\"gantry\", error=\"invalid_token\", error_description=\"{why}\"");
                found.extend(HeaderValue::try_from(text));
            }
            Self::Missing | Self::Invalid(_) => {}
        }
        if basic {
            found.push(HeaderValue::from_static("Basic realm=\"gantry\", charset=\"UTF-8\""));
        }
        if found.is_empty() {
            // An answer 401 has a challenge (RFC 9110 15.5.2), and there is none for certificates.
            found.push(HeaderValue::from_static(CERTIFICATE));
        }
        found
    }
}
