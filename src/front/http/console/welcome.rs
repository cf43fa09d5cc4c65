//! The page at the root: what this server is, and where one goes on. For everybody.

use std::sync::LazyLock;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use ring::digest::{SHA256, digest};

use super::draw;
use crate::access::Identity;
use crate::front::http::Server;

/// It stands in the page itself: what is behind a sign-in is not loaded before anybody has signed in.
const STYLE: &str = include_str!("welcome.css");

/// What the page may do: nothing but look as its own style says.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("a hash is ASCII in base64")
});

#[derive(Template)]
#[template(path = "welcome.html")]
struct Page {
    style: &'static str,
    /// The default archive's service, as far as who asks may know of it.
    default: Option<Service>,
    services: Vec<Service>,
    has_console: bool,
}

struct Service {
    path: String,
    archive: String,
}

/// Says what this server is.
pub(in crate::front::http) async fn welcome(
    State(server): State<Server>,
    identity: Option<Extension<Identity>>,
) -> Response {
    // Who may do nothing at an archive is not told that it is there.
    let knows = |name: &str| identity.as_ref().is_some_and(|identity| identity.grants.knows(name));
    let config = &server.0.config;
    let archives = &server.0.archives;
    let service = |path: String, name: &str| Service { path, archive: name.to_owned() };
    let default = archives.default_archive().filter(|archive| knows(archive.name()));
    let page = Page {
        style: STYLE,
        default: default.map(|archive| service(config.base_path.clone(), archive.name())),
        services: archives
            .names()
            .filter(|name| knows(name))
            .map(|name| service(format!("/archives/{name}"), name))
            .collect(),
        has_console: config.console,
    };
    let mut response = draw(StatusCode::OK, &page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
