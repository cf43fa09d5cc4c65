//! `/health/ready`, and which archives have to answer for it.

use serde_json::Value;

use super::archive;
use crate::support::app::TestApp;
use crate::support::http::{Reply, Version, ask_with};
use crate::support::objects::{Kind, study};

async fn ready(app: &TestApp) -> (u16, Value) {
    let reply: Reply = ask_with(app.http, "GET", "/health/ready", Version::Http11, "Accept: */*").await;
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

/// A bridge before an archive that is there, which is the default, and one that is not.
async fn app(address: std::net::SocketAddr, rule: &str) -> TestApp {
    TestApp::start(&format!(
        "default_archive = \"main\"\n[dimse]\nlisten = \"127.0.0.1:0\"\n[health]\nready = \"{rule}\"\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{address}\"\n\
         [archive.gone]\nae_title = \"GONE\"\naddress = \"127.0.0.1:9\"\n"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archives_that_have_to_answer_are_those_that_the_key_names() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    for (rule, status) in [("none", 200), ("any", 200), ("default", 200), ("all", 503)] {
        let app = app(archive.addr(), rule).await;
        let (found, body) = ready(&app).await;
        assert_eq!(found, status, "{rule}: {body}");
        assert_eq!(body["status"], if status == 200 { "ready" } else { "not ready" }, "{rule}");
        let state = |name: &str| body["archives"][name]["state"].as_str().unwrap().to_owned();
        match rule {
            // Nobody has asked for an association.
            "none" => assert_eq!((state("main"), state("gone")), ("unknown".into(), "unknown".into())),
            "all" => assert_eq!(state("gone"), "down"),
            _ => assert_eq!(state("main"), "up", "{rule}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_was_not_ready_finds_out_by_itself_that_the_archive_is_back() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    archive.kill().await;
    let app = app(archive.addr(), "default").await;
    assert_eq!(ready(&app).await.0, 503);
    archive.restart().await.unwrap();
    // The answer holds for ten seconds.
    crate::support::until("it is ready again", std::time::Duration::from_secs(30), async || {
        ready(&app).await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_went_away_is_shown_and_keeps_nobody_away_by_default() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    let app = app(archive.addr(), "none").await;
    let search = || ask_with(app.http, "GET", "/dicom-web/studies", Version::Http11, "Accept: */*");
    assert_eq!(search().await.status, 200);
    assert_eq!(ready(&app).await.1["archives"]["main"]["state"], "up");
    archive.kill().await;
    assert_ne!(search().await.status, 200);
    let (status, body) = ready(&app).await;
    assert_eq!((status, &body["archives"]["main"]["state"]), (200, &Value::from("down")));
}
