//! The way into the console: what of other sites' pages is turned away, and what a browser is told about each answer.
//!
//! A browser sends a password or a certificate along with whatever a page of another site makes it ask. So nothing is
//! done that does not say that it comes from the console's own pages, and nothing is read by others: not framed, not
//! embedded, not kept.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{ROOT, problem_page};
use crate::front::http::error::Problem;
use crate::front::http::{Server, origin, stow};
use crate::net::Connection;

/// What a page may do: load what comes from here, send forms to here, and nothing else. Scripts and styles that stand
/// in a page do not run, so that no name of a patient ever becomes one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every answer. The referrer stays within the site: with none at all a browser would not say where a form
/// comes from.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether a path is the console's.
pub(in crate::front::http) fn is_console(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Lets requests for the console in, where they are no other site's, and sees to their answers.
pub(in crate::front::http) async fn gate(
    State(server): State<Server>,
    request: Request,
    next: Next,
) -> Response {
    if !server.0.config.console || !is_console(request.uri().path()) {
        return next.run(request).await;
    }
    let root = root_of(&server, &request);
    let base = root.as_deref().map(path_of).unwrap_or_default().to_owned();
    let mut response = match refusal(root.as_deref(), &request) {
        None => next.run(request).await,
        Some(problem) => {
            let (parts, body) = request.into_parts();
            stow::pass_over_little(&server, &parts.headers, body).await;
            problem.into_response()
        }
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let page = problem_page(&problem, base);
        // The challenges, and when to come back, stay.
        let mut headers = std::mem::take(response.headers_mut());
        headers.extend(page.headers().clone());
        response = page;
        *response.headers_mut() = headers;
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The URL of this server's root, as the client knows it.
pub(super) fn root_of(server: &Server, request: &Request) -> Option<String> {
    let connection = request.extensions().get::<Connection>();
    let peer = connection.map(|connection| connection.peer.ip());
    let is_secure = connection.is_some_and(|connection| connection.is_secure);
    origin::root_url(&server.0.config, peer, is_secure, request.uri(), request.headers()).ok()
}

/// The path of a URL without a slash at its end, and its origin before that.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    url.split_at(url[host..].find('/').map_or(url.len(), |at| host + at))
}

/// What stands behind the host in a URL.
pub(super) fn path_of(url: &str) -> &str {
    split(url).1
}

/// Why a request is turned away; `None`: it is the console's own, or whoever sits there has typed it in.
fn refusal(root: Option<&str>, request: &Request) -> Option<Problem> {
    let text = |name: &HeaderName| request.headers().get(name).map(|value| value.as_bytes());
    let site = text(&HeaderName::from_static("sec-fetch-site"));
    let origin = text(&ORIGIN);
    let is_own = |origin: &[u8]| root.is_some_and(|root| split(root).0.as_bytes() == origin);
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        // A link on another site may lead here; what a page there loads may not come from here.
        let navigates = text(&HeaderName::from_static("sec-fetch-mode")) == Some(b"navigate")
            && text(&HeaderName::from_static("sec-fetch-dest")) == Some(b"document");
        let is_foreign = !matches!(site, None | Some(b"same-origin" | b"none")) && !navigates;
        return (is_foreign || origin.is_some_and(|origin| !is_own(origin))).then(foreign);
    }
    // Browsers tell the one themselves, whatever the page wants, and where they do not know it the other.
    let is_own = match (site, origin) {
        (Some(site), None) => site == b"same-origin",
        (Some(site), Some(origin)) => site == b"same-origin" && origin != b"null",
        (None, Some(origin)) => is_own(origin),
        (None, None) => false,
    };
    (!is_own).then(foreign)
}

fn foreign() -> Problem {
    let text = "this was not asked from one of the console's own pages";
    Problem::client(StatusCode::FORBIDDEN, text).advise(
        "Open the console itself and try there. Behind a proxy that ends TLS, see that http.public_url or \
         http.trusted_proxies is set.",
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(method: &str, pairs: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method).uri("/console/");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        refusal(Some("https://pacs.example/bridge"), &request).is_none()
    }

    #[test]
    fn hazard_only_the_consoles_own_pages_make_it_do_something() {
        const OWN: &str = "https://pacs.example";
        for (pairs, may) in [
            (&[("sec-fetch-site", "same-origin"), ("origin", OWN)][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://pacs.example")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", OWN)], true),
            (&[], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
            (&[("origin", "http://pacs.example")], false),
            (&[("origin", "https://pacs.example.evil")], false),
            (&[("origin", "https://pacs.example:444")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", OWN)], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
        ] {
            assert_eq!(asked("POST", pairs), may, "{pairs:?}");
        }
    }

    #[test]
    fn hazard_pages_of_other_sites_may_link_to_it_and_not_load_it() {
        for (pairs, may) in [
            (&[][..], true),
            (&[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")][..], true),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], true),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], false),
            (&[("origin", "https://viewer.example")], false),
            (&[("origin", "https://pacs.example")], true),
        ] {
            assert_eq!(asked("GET", pairs), may, "{pairs:?}");
        }
    }

    #[test]
    fn only_its_own_paths_are_the_consoles() {
        assert!(is_console("/console") && is_console("/console/") && is_console("/console/search"));
        assert!(!is_console("/consoles") && !is_console("/dicom-web/console") && !is_console("/"));
        assert_eq!(path_of("https://pacs.example/bridge"), "/bridge");
        assert_eq!(path_of("https://pacs.example"), "");
    }
}
