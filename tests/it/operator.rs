//! What an operator sees and does over HTTP: counters, readiness, the cache.

use serde_json::Value;

use crate::retrieval::{Method, Scene, study_path};
use crate::support::http::{Reply, Version, ask_with};
use crate::support::objects::{Kind, series_uid, study};

const CACHE: &str = "\n[cache]\nmemory = \"64MiB\"\n";

async fn ask(scene: &Scene, method: &str, path: &str, header: &str) -> Reply {
    ask_with(scene.app.http, method, path, Version::Http11, header).await
}

fn json(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

/// The value of a counter, 0 where it has not counted yet.
async fn counted(scene: &Scene, name: &str) -> f64 {
    let text = ask(scene, "GET", "/metrics", "Accept: */*").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// An archive with a series of three, and a bridge with a cache before it.
async fn scene() -> Scene {
    Scene::new(Method::Get, study(1, 1, 3, &Kind::default()), &[], CACHE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrieval_is_counted_and_one_from_the_cache_as_such() {
    let scene = scene().await;
    let of = |outcome: &str| format!("gantry_cache_requests_total{{archive=\"main\",outcome=\"{outcome}\"}}");
    let series = format!("{}/series/{}", study_path(1), series_uid(1, 1));
    for (asked, miss) in [(1, 1.0), (2, 1.0)] {
        let reply = ask(&scene, "GET", &series, "Accept: */*").await;
        assert_eq!((reply.status, reply.whole), (200, true), "{asked}");
        assert_eq!(counted(&scene, &of("miss")).await, miss, "{asked}");
    }
    assert_eq!(counted(&scene, &of("hit")).await, 1.0);
    assert_eq!(counted(&scene, "gantry_cache_objects{tier=\"memory\"}").await, 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_is_seen_and_emptied_from_this_machine() {
    let scene = scene().await;
    let series = format!("{}/series/{}", study_path(1), series_uid(1, 1));
    ask(&scene, "GET", &series, "Accept: */*").await;
    let state = json(&ask(&scene, "GET", "/admin/cache", "Accept: */*").await);
    assert_eq!(state["objects"], 3);
    assert_eq!(state["memory"]["size"], 64 << 20);
    let bytes = state["memory"]["bytes"].as_u64().unwrap();
    assert!(bytes > 0);
    let other = json(&ask(&scene, "DELETE", "/admin/cache?study=1.2.3", "Accept: */*").await);
    assert_eq!(other["objects"], 0);
    let refused = ask(&scene, "DELETE", "/admin/cache", "Origin: http://localhost").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let purged = json(&ask(&scene, "DELETE", "/admin/cache?archive=main", "Accept: */*").await);
    assert_eq!(purged["objects"], 3);
    assert_eq!(json(&ask(&scene, "GET", "/admin/cache", "Accept: */*").await)["objects"], 0);
    let again = ask(&scene, "GET", &series, "Accept: */*").await;
    assert_eq!((again.status, again.whole), (200, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_how_many_associations_there_are() {
    let scene = scene().await;
    let ready = json(&ask(&scene, "GET", "/health/ready", "Accept: */*").await);
    assert_eq!(ready["archives"]["main"]["associations"]["open"], 0);
    ask(&scene, "GET", &study_path(1), "Accept: */*").await;
    let ready = json(&ask(&scene, "GET", "/health/ready", "Accept: */*").await);
    assert_eq!(ready["status"], "ready");
    assert!(ready["archives"]["main"]["associations"]["open"].as_u64() >= Some(1), "{ready}");
    assert!(ready["cache"]["disk"].is_null());
}
