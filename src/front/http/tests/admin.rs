//! The operator's pages, readiness and the counters.

use super::*;
use crate::net::Connection;

const HERE: &str = "127.0.0.1:40000";

impl Bridge {
    async fn as_client(&self, client: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("Host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let connection = Connection::of(client.parse().unwrap());
        let request = request.extension(connection).body(Body::empty()).unwrap();
        Answer::of(self.app.clone().oneshot(request).await.unwrap()).await
    }
}

#[tokio::test]
async fn the_cache_is_emptied_by_who_is_at_this_machine() {
    let bridge = Bridge::new();
    for query in ["", "?archive=main", "?archive=main&study=1.2&series=1.3&instance=1.4", "?study=1.2"] {
        let answer = bridge.as_client(HERE, "DELETE", &format!("/admin/cache{query}"), &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/json"),
            "{query}"
        );
        assert_eq!(answer.json(), serde_json::json!({ "objects": 0, "bytes": 0 }), "{query}");
    }
    let state = bridge.as_client(HERE, "GET", "/admin/cache", &[]).await;
    assert_eq!(state.status, 200);
    assert_eq!(state.json()["memory"]["size"], 0);
    assert!(state.json()["disk"].is_null());
}

#[tokio::test]
async fn what_is_to_be_dropped_is_never_guessed() {
    let bridge = Bridge::new();
    for (query, status, named) in [
        ("?studyy=1.2", 400, "studyy"),
        ("?study=", 400, "study"),
        ("?study=1..2", 400, "study"),
        ("?study=1.2&study=1.3", 400, "twice"),
        ("?instance=x", 400, "instance"),
        ("?archive=other", 404, "archive"),
        ("?archive=", 404, "archive"),
    ] {
        let text =
            bridge.as_client(HERE, "DELETE", &format!("/admin/cache{query}"), &[]).await.problem(status);
        assert!(text.contains(named), "{query}: {text}");
    }
    bridge.as_client(HERE, "GET", "/admin/cache?study=1.2", &[]).await.problem(400);
    bridge.as_client(HERE, "POST", "/admin/cache", &[]).await.problem(405);
}

#[tokio::test]
async fn hazard_a_page_of_another_site_cannot_empty_the_cache() {
    let page = "https://viewer.example";
    let bridge = Bridge::with(Config { cors_origins: vec![page.parse().unwrap()], ..Config::default() });
    for method in ["GET", "DELETE"] {
        bridge.as_client("10.0.0.7:1", method, "/admin/cache", &[]).await.problem(403);
        bridge.ask(method, "/admin/cache", "").await.problem(403);
        for header in [
            ("Origin", page),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("X-Forwarded-For", "1.2.3.4"),
        ] {
            let answer = bridge.as_client(HERE, method, "/admin/cache", &[header]).await;
            answer.problem(403);
            assert_eq!(answer.header("access-control-allow-origin"), "", "{header:?}");
        }
    }
    let preflight = [("Origin", page), ("Access-Control-Request-Method", "DELETE")];
    let answer = bridge.as_client(HERE, "OPTIONS", "/admin/cache", &preflight).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn readiness_tells_of_the_cache_and_of_associations() {
    let bridge = Bridge::new();
    let ready = bridge.get("/health/ready").await;
    assert_eq!((ready.status.as_u16(), ready.header("content-type")), (200, "application/json"));
    let json = ready.json();
    assert_eq!(json["status"], "ready");
    assert_eq!(json["cache"]["memory"]["bytes"], 0);
    assert_eq!(json["archives"]["main"]["associations"], serde_json::json!({ "open": 3, "idle": 2 }));
}

#[tokio::test]
async fn a_tier_that_is_out_of_use_is_told_and_no_reason_to_turn_requests_away() {
    use crate::archive::shared::{DiskState, State};
    let problem = Some("the disk is full".to_owned());
    let disk = DiskState { path: "/var/cache/x".into(), bytes: 7, size: 9, problem };
    let state = State { objects: 1, memory: 2, memory_size: 3, disk: Some(disk) };
    let json = super::super::admin::cache_json(&state);
    assert_eq!(json["disk"], serde_json::json!({ "bytes": 7, "size": 9, "problem": "the disk is full" }));
}

#[tokio::test]
async fn the_way_back_is_tried_for_who_is_at_this_machine_and_names_a_study() {
    let bridge = Bridge::new();
    let path = "/admin/archives/main/return-path";
    for (query, status, named) in [
        ("", 400, "study"),
        ("?study=1..2", 400, "study"),
        ("?study=1.2&study=1.3", 400, "twice"),
        ("?study=1.2&instance=1.3", 400, "series"),
        ("?study=1.2&other=1", 400, "other"),
        // What stands behind in this test is no archive that speaks DIMSE.
        ("?study=1.2", 409, "C-MOVE"),
    ] {
        let text = bridge.as_client(HERE, "POST", &format!("{path}{query}"), &[]).await.problem(status);
        assert!(text.contains(named), "{query}: {text}");
    }
    bridge.as_client(HERE, "POST", "/admin/archives/other/return-path?study=1.2", &[]).await.problem(404);
    bridge.as_client(HERE, "GET", path, &[]).await.problem(405);
    bridge.as_client("10.0.0.7:1", "POST", &format!("{path}?study=1.2"), &[]).await.problem(403);
    let page = [("Origin", "https://viewer.example")];
    bridge.as_client(HERE, "POST", &format!("{path}?study=1.2"), &page).await.problem(403);
}
