//! Clients that ask for more than their share are told when to come back, and nobody else is.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Scene;
use crate::support::http::{Version, ask_with, get_with, open, read};
use crate::support::objects::{Kind, study, study_uid};
use crate::support::{DEADLINE, until};

const JSON: &str = "Accept: application/dicom+json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_with_all_its_requests_under_way_is_told_to_come_back() {
    let large = study(1, 1, 1, &Kind { pixels: 8 << 20, ..Kind::default() });
    let more = "[http]\nwrite_timeout = \"2s\"\n[http.limits]\nmax_requests_per_client = 2\n";
    let scene = Scene::with(large, more).await;
    let path = format!("/dicom-web/studies/{}", study_uid(1));
    let search = async || get_with(scene.app.http, "/dicom-web/studies", Version::Http11, JSON).await;
    let mut refused = search().await;
    assert_eq!(refused.status, 200);
    // They read nothing: two of their answers are under way, whichever of them came first.
    let mut stalled = Vec::new();
    until("two are under way", DEADLINE, async || {
        stalled.push(open(scene.app.http, &path).await);
        refused = search().await;
        refused.status == 429
    })
    .await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.header("retry-after"), "1");
    let live = get_with(scene.app.http, "/health/live", Version::Http11, JSON).await;
    assert_eq!(live.status, 200, "who asks whether we are there is told so");
    let posted =
        ask_with(scene.app.http, "POST", "/dicom-web/studies", Version::Http11, "Content-Length: 0").await;
    assert_eq!(posted.status, 429);
    // The stalled ones are cut off, and their places come back.
    until("places come back", DEADLINE, async || search().await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_asks_too_fast_is_told_to_come_back() {
    let scene = Scene::new("[http.limits]\nrate = 5\n").await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        let reply = get_with(scene.app.http, "/openapi.yaml", Version::Http11, "Accept: */*").await;
        if reply.status == 429 {
            assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        statuses.push(reply.status);
    }
    assert!(statuses[..10].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.contains(&429) && statuses.iter().all(|s| [200, 429].contains(s)), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_what_one_request_asks_for_or_brings_is_bounded() {
    let limits = "[http.limits]\nmax_query = \"300B\"\nmax_results = 5\nmax_frames = 3\nmax_body = \"100KiB\"\nmax_part = \"50KiB\"\n";
    let scene = Scene::new(limits).await;
    let http = scene.app.http;
    let status = async |path: &str| get_with(http, path, Version::Http11, JSON).await.status;
    assert_eq!(status(&format!("/dicom-web/studies?PatientName={}", "x".repeat(300))).await, 414);
    assert_eq!(status("/dicom-web/series").await, 200);
    assert_eq!(status("/dicom-web/instances").await, 413, "six instances");
    let frames =
        format!("/dicom-web/studies/{0}/series/{0}.1/instances/{0}.1.1/frames/1,2,3,4", study_uid(1));
    assert_eq!(status(&frames).await, 400);
    let begin = "--b\r\nContent-Type: application/dicom\r\n\r\n";
    for (what, part, length, expected) in [
        ("a part", 60 << 10, 61 << 10, 413),
        ("a body", 110 << 10, 111 << 10, 413),
        ("what is small, and no file", 1 << 10, 2 << 10, 400),
    ] {
        for chunked in [false, true] {
            let mut body = format!("{begin}{}\r\n--b--", "x".repeat(part)).into_bytes();
            body.resize(length, b'\n');
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {length}"),
            };
            if chunked {
                body = [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
            }
            let head = format!(
                "POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{framing}\r\n\
                 Content-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n\r\n"
            );
            let mut stream = TcpStream::connect(http).await.unwrap();
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            let reply = read(&mut stream).await;
            assert_eq!(reply.status, expected, "{what}, chunked {chunked}: {}", reply.text());
        }
    }
}
