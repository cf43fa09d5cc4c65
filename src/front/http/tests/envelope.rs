//! What stands around every answer: CORS, validators, compression, HEAD, and the service's description.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::qido::{lay, study};
use super::wado::{lay as lay_objects, whole};
use super::*;

const ORIGIN: &str = "https://viewer.example";

fn for_viewer() -> Bridge {
    Bridge::with(Config { cors_origins: vec![ORIGIN.parse().unwrap()], ..Config::default() })
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_and_read_and_no_other() {
    let bridge = for_viewer();
    let preflight = [
        ("Origin", ORIGIN),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "accept"),
    ];
    let answer = bridge.ask_with("OPTIONS", "/dicom-web/studies/1.2", &preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    for header in ["accept", "authorization", "content-type", "range", "if-none-match"] {
        assert!(answer.header("access-control-allow-headers").contains(header), "{header}");
    }
    assert!(answer.header("access-control-max-age").parse::<u32>().unwrap() >= 600);
    assert_eq!(answer.header("vary"), "Origin");

    lay(&bridge, [study("1.2", "20240101")]);
    let answer = bridge.ask_with("GET", "/dicom-web/studies", &[("Origin", ORIGIN)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ORIGIN));
    for header in ["content-location", "etag", "warning"] {
        assert!(answer.header("access-control-expose-headers").contains(header), "{header}");
    }
    // A page must be able to read why something failed.
    let answer = bridge.ask_with("GET", "/dicom-web/studies/x", &[("Origin", ORIGIN)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (400, ORIGIN));

    for other in
        ["https://evil.example", "https://viewer.example.evil.example", "http://viewer.example", "null"]
    {
        let mut preflight = preflight;
        preflight[0].1 = other;
        let answer = bridge.ask_with("OPTIONS", "/dicom-web/studies/1.2", &preflight).await;
        answer.problem(403);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
        let answer = bridge.ask_with("GET", "/health/live", &[("Origin", other)]).await;
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", "Origin"));
    }
    assert_eq!(Bridge::new().get("/health/live").await.header("vary"), "");
}

#[tokio::test]
async fn options_on_a_root_describes_the_service_and_elsewhere_names_the_methods() {
    let bridge = Bridge::new();
    for (root, base) in [
        ("/", "http://bridge.example/dicom-web"),
        ("/dicom-web", "http://bridge.example/dicom-web"),
        ("/dicom-web/", "http://bridge.example/dicom-web"),
        ("/archives/main", "http://bridge.example/archives/main"),
        ("/archives/main/", "http://bridge.example/archives/main"),
    ] {
        let answer = bridge.ask("OPTIONS", root, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/vnd.sun.wadl+xml")
        );
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains(&format!("<resources base=\"{base}\">")), "{root}: {text}");
        assert!(text.contains("path=\"studies/{study}/series\""), "{root}");
    }
    bridge.ask("OPTIONS", "/archives/other", "").await.problem(404);
    let answer = bridge.ask("OPTIONS", "/dicom-web/studies/1.2", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET,HEAD,POST"));
}

#[tokio::test]
async fn a_client_that_has_the_answer_already_gets_304_and_a_changed_one_in_full() {
    let bridge = Bridge::new();
    let bridge = &bridge;
    let ask = async |known: Option<&str>| {
        let headers: Vec<_> = known.map(|known| ("If-None-Match", known)).into_iter().collect();
        bridge.ask_with("GET", "/dicom-web/studies", &headers).await
    };
    lay(bridge, [study("1.2", "20240101")]);
    let first = ask(None).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{:?}", first.headers);
    assert_eq!(
        first.header("cache-control"),
        "private, no-cache",
        "demographics are rewritten: never immutable"
    );
    for known in [&tag[..], &tag[2..], &format!("\"other\", {tag}"), "*"] {
        lay(bridge, [study("1.2", "20240101")]);
        let again = ask(Some(known)).await;
        assert_eq!(
            (again.status.as_u16(), again.body.len(), again.header("etag")),
            (304, 0, &tag[..]),
            "{known}"
        );
    }
    lay(bridge, [study("1.2", "20240101")]);
    let head = bridge.ask_with("HEAD", "/dicom-web/studies", &[("If-None-Match", &tag)]).await;
    assert_eq!((head.status.as_u16(), head.headers.get("content-length")), (304, None));
    lay(bridge, [study("1.2", "20240102")]);
    let changed = ask(Some(&tag)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
    assert!(!changed.body.is_empty());
}

#[tokio::test]
async fn the_boundary_of_a_multipart_answer_is_no_part_of_its_tag() {
    let bridge = Bridge::new();
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4";
    let mut tags = Vec::new();
    for bytes in [&b"as it was"[..], b"as it was", b"rewritten"] {
        let driver = lay_objects(&bridge, Vec::new());
        driver.item(whole("1.4", bytes).await);
        driver.complete();
        let answer = bridge.ask("GET", path, "multipart/related; type=\"application/dicom\"").await;
        assert_eq!(answer.status, 200);
        tags.push(answer.header("etag").to_owned());
    }
    assert_eq!(tags[0], tags[1]);
    assert_ne!(tags[1], tags[2]);
}

#[tokio::test]
async fn head_says_what_get_says_without_the_body() {
    let bridge = Bridge::new();
    lay(&bridge, [study("1.2", "20240101")]);
    let get = bridge.get("/dicom-web/studies").await;
    lay(&bridge, [study("1.2", "20240101")]);
    let head = bridge.ask("HEAD", "/dicom-web/studies", "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    for name in ["content-type", "etag", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    bridge.ask("HEAD", "/dicom-web/studies/x", "").await;
}

#[tokio::test]
async fn long_json_is_compressed_for_a_client_that_takes_it_and_objects_are_not() {
    let bridge = Bridge::new();
    let many = || (0..200).map(|n| study(&format!("1.{n}"), "20240101"));
    let gzip = [("Accept-Encoding", "gzip, deflate, br")];
    lay(&bridge, many());
    let plain = bridge.get("/dicom-web/studies").await;
    assert_eq!(plain.header("content-encoding"), "");
    lay(&bridge, many());
    let answer = bridge.ask_with("GET", "/dicom-web/studies", &gzip).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert!(answer.header("vary").to_ascii_lowercase().contains("accept-encoding"));
    assert!(answer.body.len() * 5 < plain.body.len());
    let mut text = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);

    for accepted in ["gzip, deflate, br, zstd", "zstd"] {
        lay(&bridge, many());
        let answer = bridge.ask_with("GET", "/dicom-web/studies", &[("Accept-Encoding", accepted)]).await;
        assert_eq!(answer.header("content-encoding"), "zstd", "{accepted}");
        assert!(answer.body.len() * 5 < plain.body.len());
        assert_eq!(zstd::decode_all(&answer.body[..]).unwrap(), plain.body);
    }

    let driver = lay_objects(&bridge, Vec::new());
    driver.item(whole("1.4", &[0; 5000]).await);
    driver.complete();
    let gzip = [("Accept-Encoding", "gzip, zstd")];
    let answer = bridge.ask_with("GET", "/dicom-web/studies/1.2", &gzip).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (200, ""));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_streams_on_without_a_validator_unless_the_client_sent_one() {
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4";
    for (known, tagged) in [(None, false), (Some("\"x\""), true)] {
        let bridge = Bridge::new();
        let driver = lay_objects(&bridge, Vec::new());
        let (log, object) = super::wado::object("1.4", "1.2.840.10008.1.2.1");
        driver.item(object);
        let late = tokio::spawn(async move {
            log.append(&Bytes::from_static(b"the beginning")).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            log.append(&Bytes::from_static(b" and the end")).await;
            log.finish();
            driver.complete();
            driver
        });
        let headers: Vec<(&str, &str)> = known.map(|value| ("If-None-Match", value)).into_iter().collect();
        let answer = bridge.ask_with("GET", path, &headers).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.windows(12).any(|w| w == b" and the end"));
        assert_eq!(!answer.header("etag").is_empty(), tagged, "{known:?}");
        late.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_a_slow_reader_of_an_answer_that_was_held_is_not_taken_for_one_that_stalls() {
    let bridge = Bridge::new();
    let driver = lay_objects(&bridge, Vec::new());
    let (log, object) = super::wado::object("1.4", "1.2.840.10008.1.2.1");
    driver.item(object);
    // More than is held for a validator, so that the reader gets to what was held first.
    let writing = tokio::spawn(async move {
        for _ in 0..40 {
            log.append(&Bytes::from(vec![7; 1 << 18])).await;
        }
        log.finish();
        driver.complete();
        driver
    });
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4";
    let request = Request::builder().uri(path).header("Host", "localhost").body(Body::empty()).unwrap();
    let mut body = bridge.app.clone().oneshot(request).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("it is read all the time").into_data().unwrap().len();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(length > 10 << 20);
    writing.await.unwrap();
}
