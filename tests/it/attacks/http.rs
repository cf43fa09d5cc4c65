//! What a web client writes, to say more than it may: heads, bodies, paths, URLs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Scene;
use crate::support::DEADLINE;
use crate::support::http::{Version, get_with, read};
use crate::support::objects::study_uid;

const JSON: &str = "Accept: application/dicom+json";

/// Says this, and reads what is answered until the connection is closed.
async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have been closed before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let closed = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "still open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_line_ends_in_a_url_write_no_header_field() {
    let scene = Scene::new("").await;
    for path in [
        "/dicom-web/studies?includefield=a%0D%0AX-Evil:%201",
        "/dicom-web/studies?PatientName=a%0D%0AX-Evil:%201&fuzzymatching=true",
        "/dicom-web/studies?limit=1%0D%0AX-Evil:%201",
        "/dicom-web/studies/1.2%0D%0AX-Evil:%201",
        "/archives/main%0D%0AX-Evil:%201/studies",
        "/nowhere%0D%0AX-Evil:%201",
    ] {
        let reply = get_with(scene.app.http, path, Version::Http11, JSON).await;
        assert!(reply.whole && (200..500).contains(&reply.status), "{path}: {}", reply.status);
        assert_eq!(reply.header("x-evil"), "", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_request_within_a_request_is_not_answered() {
    let scene = Scene::new("").await;
    let inner = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = "POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n";
    for (what, head) in [
        ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 50\r\n"),
        ("two lengths in one", "Content-Length: 5, 50\r\n"),
        ("a signed length", "Content-Length: +5\r\n"),
        ("a length with a space", "Content-Length : 5\r\n"),
        ("chunks that are not last", "Transfer-Encoding: chunked, identity\r\n"),
        ("chunks by another name", "Transfer-Encoding: xchunked\r\n"),
        ("a folded line", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n"),
        ("chunks with a space", "Transfer-Encoding : chunked\r\n"),
        ("a vertical tab", "Transfer-Encoding:\x0bchunked\r\n"),
    ] {
        let answer = say(scene.app.http, format!("{post}{head}\r\n0\r\n\r\n{inner}{inner}").as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1 && !answer.contains("live"), "{what}: {answer}");
        assert!(statuses.iter().all(|status| status.starts_with('4')), "{what}: {answer}");
    }
    for (what, text) in [
        ("a bare carriage return", "GET / HTTP/1.1\rHost: localhost\r\n\r\n"),
        ("a nul", "GET / HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
        (
            "a chunk length that overflows",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ),
    ] {
        let answer = say(scene.app.http, text.as_bytes()).await;
        assert!(statuses(&answer).iter().all(|status| status.starts_with('4')), "{what}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_request_that_names_no_host_or_two_is_refused() {
    let scene = Scene::new("").await;
    let host = "Host: localhost\r\n";
    for (status, version, fields) in [
        ("200", "1.1", host.to_owned()),
        ("400", "1.1", String::new()),
        ("400", "1.1", host.repeat(2)),
        // It knows none.
        ("200", "1.0", String::new()),
    ] {
        let request =
            format!("GET /dicom-web/studies HTTP/{version}\r\n{fields}{JSON}\r\nConnection: close\r\n\r\n");
        let answer = say(scene.app.http, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "HTTP/{version}, {fields:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_heads_without_end_are_cut_off() {
    let scene = Scene::new("[http.limits]\nmax_head = \"16KiB\"\n").await;
    let many = "A: b\r\n".repeat(10_000);
    let long = format!("A: {}\r\n", "b".repeat(20 << 10));
    let cookies = format!("Cookie: {}\r\n", "a=b; ".repeat(4 << 10));
    for (what, fields) in [("many fields", many), ("a long field", long), ("cookies", cookies)] {
        let text = format!("GET /health/live HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let answer = say(scene.app.http, text.as_bytes()).await;
        assert!(answer.is_empty() || statuses(&answer) == ["431"], "{what}: {answer}");
    }
    let line = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20 << 10));
    let answer = say(scene.app.http, line.as_bytes()).await;
    assert!(statuses(&answer).iter().all(|status| ["414", "431"].contains(status)), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_no_path_leads_out_of_the_service() {
    let scene = Scene::new("").await;
    for path in [
        "/dicom-web/studies/..%2F..%2F..%2Fetc%2Fpasswd",
        "/dicom-web/studies/../../../etc/passwd",
        "/dicom-web/studies/1.2/series/..%2F1/instances/%2E%2E",
        "/dicom-web/studies/1.2/series/1.3/instances/1.4/bulkdata/../../../../../../etc/passwd",
        "/dicom-web/studies/1.2/series/1.3/instances/1.4/bulkdata/%2Fetc%2Fpasswd",
        "/archives/..%2Fmain/studies",
        "/dicom-web//etc/passwd",
        "/dicom-web/studies/%00",
    ] {
        let reply = get_with(scene.app.http, path, Version::Http11, "Accept: */*").await;
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.text().contains("root:"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_who_is_no_trusted_proxy_writes_no_url_into_an_answer() {
    let scene = Scene::new("").await;
    let forged = "Accept: application/dicom+json\r\nForwarded: host=evil.example;proto=https\r\n\
                  X-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Proto: https";
    for path in ["/dicom-web/studies".to_owned(), format!("/dicom-web/studies/{}/metadata", study_uid(1))] {
        let reply = get_with(scene.app.http, &path, Version::Http11, forged).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(!reply.text().contains("evil") && !reply.text().contains("https:"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_bulk_data_uri_in_what_is_stored_is_never_fetched() {
    let scene = Scene::new("").await;
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    let called = tokio::spawn(async move { inside.accept().await.is_ok() });
    for url in [format!("http://{address}/secret"), "file:///etc/passwd".to_owned(), "/etc/passwd".to_owned()]
    {
        let document = format!(
            "[{{\"00080016\":{{\"vr\":\"UI\",\"Value\":[\"1.2.840.10008.5.1.4.1.1.2\"]}},\
             \"00080018\":{{\"vr\":\"UI\",\"Value\":[\"2.25.9.1.1\"]}},\
             \"0020000D\":{{\"vr\":\"UI\",\"Value\":[\"2.25.9\"]}},\
             \"0020000E\":{{\"vr\":\"UI\",\"Value\":[\"2.25.9.1\"]}},\
             \"00420011\":{{\"vr\":\"OB\",\"BulkDataURI\":\"{url}\"}}}}]"
        );
        let mut stream = TcpStream::connect(scene.app.http).await.unwrap();
        let head = format!(
            "POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom+json\r\n\
             Connection: close\r\nAccept: application/dicom+json\r\nContent-Length: {}\r\n\r\n",
            document.len()
        );
        stream.write_all(format!("{head}{document}").as_bytes()).await.unwrap();
        let reply = read(&mut stream).await;
        assert_eq!(reply.status, 409, "{url}: {}", reply.text());
        assert!(!reply.text().contains("root:"), "{url}");
    }
    assert!(!called.is_finished(), "somebody was called by a URL of a client");
    assert!(scene.archive.wait_for(|seen| seen.stores == 0).await.is_ok());
    called.abort();
}
