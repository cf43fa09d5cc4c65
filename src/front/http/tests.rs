//! The front end over an archive that the tests drive.

mod access;
mod admin;
mod console;
mod envelope;
mod frames;
mod metadata;
mod pictures;
mod qido;
mod record;
mod room;
mod stow;
mod wado;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::archive::shared::Config as CacheConfig;
use crate::archive::testing::Fake;

/// A server over one archive.
struct Bridge {
    archive: Arc<Fake>,
    app: Router,
    shutdown: CancellationToken,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Bridge {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let config = named(config);
        let archive = Fake::named("main");
        let shutdown = CancellationToken::new();
        let archives = router::Router::new([archive.clone() as Arc<_>], None);
        let kept = Kept::new(config.limits, &Metrics::default());
        let services = Services { kept, ..services(archives, shutdown.clone()) };
        Self { archive, app: app(config, services), shutdown }
    }

    async fn ask(&self, method: &str, path: &str, accept: &str) -> Answer {
        let accept = [("Accept", accept)];
        self.ask_with(method, path, if accept[0].1.is_empty() { &[] } else { &accept }).await
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("Host", "bridge.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

impl Answer {
    async fn of(response: axum::response::Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is problem+json of this status, and returns its text.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json()["status"], status);
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn bad_uids_levels_paths_methods_and_accepts_are_clear_4xx_problems() {
    let bridge = Bridge::new();
    for (path, status, named) in [
        ("/dicom-web/studies/abc", 400, "Study Instance UID"),
        ("/dicom-web/studies/1.2/series/x%20y", 400, "Series Instance UID"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1..4", 400, "SOP Instance UID"),
        ("/dicom-web/studies/abc/series", 400, "Study Instance UID"),
        ("/dicom-web/studies/%FF/series", 400, "UTF-8"),
        ("/dicom-web/studies?limit=x", 400, "limit"),
        ("/dicom-web/studies?Nonsense=x", 400, "Nonsense"),
        ("/dicom-web/patients", 404, "no such resource"),
        ("/studies", 404, "/dicom-web"),
        ("/archives/other/studies", 404, "archive"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/x", 400, "numbers from 1"),
    ] {
        let text = bridge.get(path).await.problem(status);
        assert!(text.contains(named), "{path}: {text}");
    }
    let long = format!("/dicom-web/studies?PatientID={}", "x".repeat(40_000));
    bridge.get(&long).await.problem(414);
    let post = bridge.ask("POST", "/dicom-web/series", "").await;
    post.problem(405);
    assert_eq!(post.header("allow"), "GET,HEAD");
    bridge.ask("GET", "/dicom-web/studies", "text/html").await.problem(406);
    bridge.ask("GET", "/dicom-web/studies/1.2", "application/dicom").await.problem(406);
    assert!(bridge.archive.queries().is_empty() && bridge.archive.retrieves().is_empty());
}

#[tokio::test]
async fn the_pages_say_what_this_is_and_readiness_ends_with_the_shutdown() {
    let bridge = Bridge::new();
    let welcome = bridge.get("/").await;
    assert!(String::from_utf8_lossy(&welcome.body).contains("/archives/main"));
    assert!(bridge.get("/openapi.yaml").await.body.starts_with(b"openapi: 3.1"));
    assert_eq!(bridge.get("/health/ready").await.status, 200);
    bridge.shutdown.cancel();
    bridge.get("/health/ready").await.problem(503);
    assert_eq!(bridge.get("/health/live").await.status, 200);
}

/// With the name that the tests ask by.
fn named(config: Config) -> Config {
    Config { hosts: vec!["bridge.example".parse().unwrap()], ..config }
}

/// What the front end is built upon, without a cache.
fn services(archives: router::Router, shutdown: CancellationToken) -> Services {
    let metrics = Metrics::default();
    let (cache, events) = (Cache::new(CacheConfig::off(), metrics.clone()), Events::none());
    let kept = Kept::new(LimitsConfig::default(), &metrics);
    let (access, activity) = (Access::open(), Activity::default());
    Services { archives, access, kept, cache, metrics, events, activity, dimse: None, shutdown }
}
