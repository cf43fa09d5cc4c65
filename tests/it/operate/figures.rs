//! The metrics of a bridge that works.

use std::io::Write as _;
use std::process::Stdio;

use gantry::demo::Fault;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dicom::{sop_class, tags};

use super::archive;
use crate::retrieval::{Method, Scene, study_path};
use crate::support::app::TestApp;
use crate::support::dimse::{Client, echo, find, identifier, proposal};
use crate::support::http::{Version, ask_with, get, open};
use crate::support::metrics::Figures;
use crate::support::objects::{Kind, study};
use crate::support::process::bounded;
use crate::support::{DEADLINE, until};

/// A bridge before an archive that is there, and one that is not.
async fn app(address: std::net::SocketAddr) -> TestApp {
    TestApp::start(&format!(
        "default_archive = \"main\"\n[dimse]\nlisten = \"127.0.0.1:0\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{address}\"\nretrieve = \"get\"\n\
         [archive.gone]\nae_title = \"GONE\"\naddress = \"127.0.0.1:9\"\n\
         [http.limits]\nmax_requests_per_client = 100\n"
    ))
    .await
}

/// The status of the answer to a search.
async fn search(app: &TestApp, path: &str) -> u16 {
    ask_with(app.http, "GET", path, Version::Http11, "Accept: application/dicom+json").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_an_archive_is_counted_by_kind_and_by_how_it_went() {
    let archive = archive(study(1, 1, 3, &Kind::default())).await;
    let app = app(archive.addr()).await;
    assert_eq!(search(&app, "/dicom-web/studies?limit=5").await, 200);
    assert!(get(app.http, &study_path(1)).await.whole);
    assert_eq!(search(&app, "/archives/gone/studies").await, 503);
    let figures = Figures::of(app.http).await;
    let of = |name: &str, labels: &[&str]| figures.sum(name, labels);
    let main = "archive=\"main\"";
    assert!(of("operations_total", &[main, "operation=\"C-FIND\"", "outcome=\"success\""]) >= 1);
    assert_eq!(of("operations_total", &[main, "operation=\"C-GET\"", "outcome=\"success\""]), 1);
    assert_eq!(of("operation_seconds_count", &[main, "operation=\"C-GET\""]), 1);
    assert_eq!(of("first_object_seconds_count", &[main]), 1);
    assert_eq!(of("retrieval_seconds_count", &[main]), 1);
    assert_eq!(of("objects_total", &[main]), 3);
    assert!(of("association_requests_total", &[main, "outcome=\"opened\""]) >= 1);
    assert!(of("association_wait_seconds_count", &[main]) >= 2);
    assert_eq!(of("association_requests_total", &["archive=\"gone\"", "outcome=\"unreachable\""]), 1);
    assert_eq!(of("http_requests_total", &["route=\"/studies/{study}\"", "status=\"2xx\""]), 1);
    assert_eq!(of("http_requests_total", &["route=\"/studies\"", "status=\"5xx\""]), 1);
    assert!(of("http_response_bytes_total", &["route=\"/studies/{study}\""]) > 3 * 2000);
    // Its own, which is being answered.
    assert_eq!(of("http_requests_open", &[]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dimse_clients_ask_is_counted_and_whom_we_turn_away_by_the_reason() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    let app = app(archive.addr()).await;
    let proposals = || {
        vec![
            proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE]),
            proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE]),
        ]
    };
    let mut client = Client::to(app.dimse, "GANTRY", "CLIENT", proposals()).await.unwrap();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    let keys = identifier("STUDY", &[(tags::PATIENT_NAME, "*")]);
    assert_eq!(client.ask(find(), Some(&keys)).await.unwrap().status(), 0);
    client.release().await;
    assert!(Client::to(app.dimse, "GANTRY", "STRANGER", proposals()).await.is_err());
    assert!(Client::to(app.dimse, "OTHER", "CLIENT", proposals()).await.is_err());
    let figures = Figures::of(app.http).await;
    let of = |name: &str, labels: &[&str]| figures.sum(name, labels);
    assert_eq!(of("dimse_accepted_total", &[]), 1);
    assert_eq!(of("dimse_rejected_total", &["reason=\"calling AE title not recognized\""]), 1);
    assert_eq!(of("dimse_rejected_total", &["reason=\"called AE title not recognized\""]), 1);
    assert_eq!(of("dimse_operations_total", &["operation=\"C-ECHO\"", "outcome=\"success\""]), 1);
    assert_eq!(of("dimse_operations_total", &["archive=\"main\"", "operation=\"C-FIND\""]), 1);
    assert_eq!(of("dimse_operation_seconds_count", &["operation=\"C-FIND\""]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_even_ask_rightly_for_an_association_is_counted_too() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    let app = app(archive.addr()).await;
    let rejected = async |reason: &str| {
        let figures = Figures::of(app.http).await;
        figures.sum("dimse_rejected_total", &[&format!("reason=\"{reason}\"")])
    };
    assert!(Client::to(app.dimse, "GANTRY", "CLIENT", vec![]).await.is_err());
    assert_eq!(rejected("no reason given").await, 1);
    drop(tokio::net::TcpStream::connect(app.dimse).await.unwrap());
    until("the probe is counted", DEADLINE, async || rejected("no association request").await == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_nothing_that_a_client_makes_up_becomes_a_label() {
    let archive = archive(study(1, 1, 1, &Kind::default())).await;
    let app = app(archive.addr()).await;
    search(&app, "/dicom-web/studies?limit=1").await;
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    for round in 0..2 {
        let before = Figures::of(app.http).await;
        for n in 0..40 {
            let n = n + round * 100;
            for path in [
                format!("/forged{n}"),
                format!("/archives/forged{n}/studies"),
                format!("/dicom-web/studies/1.2.{n}/metadata"),
                format!("/dicom-web/studies?forged{n}=1"),
            ] {
                ask_with(app.http, "GET", &path, Version::Http11, "Accept: */*").await;
            }
            ask_with(app.http, &format!("FORGED{n}"), "/", Version::Http11, "Accept: */*").await;
            let title = format!("FORGED{n}");
            let proposals = vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
            assert!(Client::to(app.dimse, "GANTRY", &title, proposals.clone()).await.is_err());
            assert!(Client::to(app.dimse, &title, "CLIENT", proposals).await.is_err());
        }
        let after = Figures::of(app.http).await;
        assert!(!after.text().to_lowercase().contains("forged"), "{}", after.text());
        // The first round makes the series of what there is; from then on there are no more.
        if round > 0 {
            assert_eq!(series(before.text()), series(after.text()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_break_are_told_from_clients_that_leave() {
    let kind = Kind { pixels: 4 << 20, ..Kind::default() };
    let scene = Scene::new(Method::Get, study(1, 1, 3, &kind), &[], "").await;
    scene.archive.set_fault(Fault::CloseIn(2));
    let reply = get(scene.app.http, &study_path(1)).await;
    assert!(!reply.whole);
    scene.archive.clear_faults();
    let unfinished = async |reason: &str| {
        Figures::of(scene.app.http).await.sum("http_unfinished_total", &[&format!("reason=\"{reason}\"")])
    };
    until("the broken one is counted", DEADLINE, async || unfinished("broken").await == 1).await;
    let socket = open(scene.app.http, &study_path(1)).await;
    until("it is under way", DEADLINE, async || {
        Figures::of(scene.app.http).await.sum("http_requests_open", &[]) > 1
    })
    .await;
    drop(socket);
    until("the one that left is counted", DEADLINE, async || unfinished("left").await == 1).await;
    assert_eq!(unfinished("broken").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_no_fault_with_the_text() {
    let archive = archive(study(1, 1, 3, &Kind::default())).await;
    let app = app(archive.addr()).await;
    search(&app, "/dicom-web/studies?limit=5").await;
    get(app.http, &study_path(1)).await;
    search(&app, "/archives/gone/studies").await;
    let reply = ask_with(app.http, "GET", "/metrics", Version::Http11, "Accept: text/plain").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut promtool = bounded("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}: run `make peers` first"));
    promtool.stdin.take().unwrap().write_all(&reply.body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{}", reply.text());
    let header = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let newer = ask_with(app.http, "GET", "/metrics", Version::Http11, header).await;
    assert!(newer.header("content-type").starts_with("application/openmetrics-text"));
    assert!(newer.text().ends_with("# EOF\n"));
}
