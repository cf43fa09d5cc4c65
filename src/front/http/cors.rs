//! Which other sites' pages may use this server (the CORS protocol of the Fetch standard).
//!
//! The origins are listed, never `*`: a page that may read one patient's study from here may read all of
//! them. A preflight is answered before routing, without the archive, and browsers keep the answer.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::error::Problem;
use super::{Server, admin, console};

/// What a page may send.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// What it may say with it. Viewers' Accept values have quotes in them, which makes each a preflight.
const REQUEST_HEADERS: &str = "accept, authorization, content-type, range, if-none-match, if-range";
/// What it may read of the answer besides what every page may.
const RESPONSE_HEADERS: &str = "content-location, content-length, content-range, accept-ranges, etag, location, \
                                retry-after, warning, \
                                www-authenticate";
/// For how long a browser keeps the answer to a preflight, in seconds: Chromium's longest.
const MAX_AGE: &str = "7200";

/// An origin: `https://viewer.example`, scheme, host and port alone (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an origin")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    /// Takes an origin as browsers send it: in lower case, without a path.
    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, host) = text.split_once("://").ok_or(BadOrigin)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_:[]".contains(&b);
        if !matches!(scheme, "http" | "https") || host.is_empty() || !host.bytes().all(plain) {
            return Err(BadOrigin);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| BadOrigin)
    }
}

/// Answers preflights, and tells browsers which answers a page may read.
pub(super) async fn allow(State(server): State<Server>, request: Request, next: Next) -> Response {
    if request.uri().path() == admin::CACHE || console::is_console(request.uri().path()) {
        // No page's business, whatever its origin.
        return next.run(request).await;
    }
    let origins = &server.0.config.cors_origins;
    let allowed = origin(request.headers(), origins);
    let mut response =
        if is_preflight(&request) { preflight(allowed.is_some()) } else { next.run(request).await };
    if !origins.is_empty() {
        response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    }
    response
}

/// The origin of the request, where it is one of the list.
fn origin(headers: &HeaderMap, origins: &[Origin]) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    origins.iter().any(|allowed| allowed.0 == *origin).then(|| origin.clone())
}

/// Whether a browser asks what a page may do; any other OPTIONS is a request of its own.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(allowed: bool) -> Response {
    if !allowed {
        return Problem::client(StatusCode::FORBIDDEN, "pages of this origin may not use this server")
            .advise("Add the origin to `http.cors_origins`.")
            .into_response();
    }
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        for good in ["https://viewer.example", "http://localhost:3000", "http://[::1]:80"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in
            ["*", "null", "viewer.example", "https://", "https://a/", "https://a/b", "ftp://a", "https://A"]
        {
            assert_eq!(bad.parse::<Origin>(), Err(BadOrigin), "{bad}");
        }
    }
}
