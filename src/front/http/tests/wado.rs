//! Retrievals.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Expected, Form, Kind, Retrieval};
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::object::{Budget, Head, Object, ObjectLog};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Uid, VR, tags};
use crate::net::{HttpSettings, serve_http};

mod zip;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DICOM: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// A writer into an object with this UID.
pub(super) fn object(uid: &'static str, syntax: &'static str) -> (ObjectLog, Object) {
    let head = Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: Uid::from_static(uid),
        transfer_syntax: Uid::from_static(syntax),
    };
    ObjectLog::new(head, &Budget::new(1 << 24))
}

/// A whole object of these bytes.
pub(super) async fn whole(uid: &'static str, bytes: &'static [u8]) -> Object {
    let (log, object) = object(uid, EXPLICIT);
    log.append(&Bytes::from_static(bytes)).await;
    log.finish();
    object
}

pub(super) fn lay(bridge: &Bridge, missing: Vec<Uid>) -> Driver<Object> {
    let (driver, objects) = Driver::new();
    bridge.archive.push_retrieval(Ok(Retrieval {
        objects,
        missing,
        confirmed: BTreeSet::new(),
        assumed_charset: None,
        without_bulk: false,
        expected: Expected::default(),
    }));
    driver
}

/// The parts of a multipart body as (headers, bytes), which must be closed.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let content_type = answer.header("content-type");
    assert!(content_type.starts_with("multipart/related; type=\"application/dicom\"; boundary="));
    let boundary = content_type.rsplit('=').next().unwrap();
    // Latin-1 keeps every byte.
    let text: String = answer.body.iter().map(|&b| char::from(b)).collect();
    let text = text.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("a closing boundary");
    let part = |part: &str| {
        let (headers, bytes) = part.split_once("\r\n\r\n").unwrap();
        (headers.to_owned(), bytes.chars().map(|c| c as u8).collect())
    };
    text.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

#[tokio::test]
async fn a_study_comes_as_one_part_10_file_a_part() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"first data set").await);
    driver.item(whole("1.4.2", b"second data set").await);
    driver.complete();
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2", DICOM).await;
    assert_eq!(answer.status, 200);
    let parts = parts(&answer);
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].0, format!("Content-Type: application/dicom; transfer-syntax={EXPLICIT}"));
    assert_eq!(&parts[0].1[128..132], b"DICM");
    assert!(parts[0].1.ends_with(b"first data set") && parts[1].1.ends_with(b"second data set"));
    let asked = &bridge.archive.retrieves()[0];
    assert_eq!((asked.target.study.as_str(), asked.form), ("1.2", Form::AsStored));
    assert_eq!(bridge.archive.callers()[0].priority, Priority::Bulk);
}

#[tokio::test]
async fn hazard_an_instance_url_retrieves_the_instance_and_not_its_study() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4", b"data set").await);
    driver.complete();
    let path = "/archives/main/studies/1.2/series/1.3/instances/1.4";
    let answer = bridge.ask("GET", path, "multipart/related; type=application/dicom").await;
    assert_eq!(parts(&answer).len(), 1);
    let asked = &bridge.archive.retrieves()[0];
    assert_eq!(asked.target.instance.as_ref().unwrap().as_str(), "1.4");
    assert_eq!(asked.target.series.as_ref().unwrap().as_str(), "1.3");
    assert_eq!(asked.form, Form::AsStored, "what is stored is what is kept for the next client");
    assert_eq!(bridge.archive.callers()[0].priority, Priority::Interactive);
}

#[tokio::test]
async fn what_the_bridge_does_not_decode_the_archive_is_asked_to_where_the_client_wants_it_native() {
    let bridge = Bridge::new();
    for (syntax, bytes) in [("1.2.840.10008.1.2.4.92", &b"x"[..]), (EXPLICIT, b"data set")] {
        let driver = lay(&bridge, Vec::new());
        let (log, object) = object("1.4", syntax);
        log.append(&Bytes::from_static(bytes)).await;
        log.finish();
        driver.item(object);
        driver.complete();
    }
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2", "").await;
    assert!(parts(&answer)[0].1.ends_with(b"data set"));
    let forms: Vec<Form> = bridge.archive.retrieves().iter().map(|asked| asked.form).collect();
    assert_eq!(forms, [Form::AsStored, Form::Native]);
}

/// An image of so many bits, stored natively.
fn image(bits: u16) -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_u16(tags::SAMPLES_PER_PIXEL, 1);
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    image.set_u16(tags::ROWS, 4);
    image.set_u16(tags::COLUMNS, 4);
    image.set_u16(tags::BITS_ALLOCATED, bits);
    image.set_u16(tags::BITS_STORED, bits);
    image.set_u16(tags::HIGH_BIT, bits - 1);
    image.set_u16(tags::PIXEL_REPRESENTATION, 0);
    let pixels = (0..2 * bits as u8).collect::<Vec<u8>>();
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value: Value::Bytes(pixels.into()) });
    image.encode(Layout::ExplicitLe, QueryCharset::Auto)
}

/// One whose first frame nobody can decode.
fn damaged() -> Vec<u8> {
    let mut image = image(16);
    image.truncate(image.len() - 32 - 12);
    image.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0");
    image.extend(b"\xFE\xFF\0\xE0\x02\0\0\0\xFF\xD8\xFE\xFF\xDD\xE0\0\0\0\0");
    image
}

const JLS: &str = "1.2.840.10008.1.2.4.80";

/// The transfer syntaxes of the parts of a study of these objects, and its status.
async fn syntaxes(accept: &str, objects: &[(&'static str, &'static str, Vec<u8>)]) -> (u16, Vec<String>) {
    let bridge = Bridge::new();
    for is_again in [false, true] {
        if is_again {
            // An archive that is asked to decode, and does not.
            bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotAcceptable)));
        }
        let driver = lay(&bridge, Vec::new());
        for (uid, syntax, bytes) in objects {
            let (log, object) = object(uid, syntax);
            log.append(&bytes.clone().into()).await;
            log.finish();
            driver.item(object);
        }
        driver.complete();
    }
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2", accept).await;
    let status = answer.status.as_u16();
    let named = |headers: String| headers.rsplit_once('=').unwrap().1.to_owned();
    (
        status,
        if status == 200 { parts(&answer).into_iter().map(|part| named(part.0)).collect() } else { vec![] },
    )
}

#[tokio::test]
async fn hazard_an_object_that_cannot_be_had_as_the_others_does_not_keep_them_from_the_client() {
    let jls = "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.80";
    let (ct, segmentation) = (("1.4.1", EXPLICIT, image(16)), ("1.4.2", EXPLICIT, image(1)));
    for objects in [[ct.clone(), segmentation.clone()], [segmentation.clone(), ct.clone()]] {
        let of_ct = usize::from(objects[1].0 == "1.4.1");
        let (status, found) = syntaxes(jls, &objects).await;
        assert_eq!((status, found[of_ct].as_str(), found[1 - of_ct].as_str()), (200, JLS, EXPLICIT));
    }
    // What nobody can decode comes as it is stored to who has asked for no syntax by name, wherever it stands.
    let broken = ("1.4.3", JLS, damaged());
    let unknown = ("1.4.4", "1.2.840.10008.1.2.4.92", image(16));
    for odd in [broken, unknown] {
        for objects in [[ct.clone(), odd.clone()], [odd.clone(), ct.clone()]] {
            let (status, found) = syntaxes("multipart/related; type=\"application/dicom\"", &objects).await;
            let of_ct = usize::from(objects[1].0 == "1.4.1");
            assert_eq!((status, found[of_ct].as_str(), found[1 - of_ct].as_str()), (200, EXPLICIT, odd.1));
        }
    }
}

#[tokio::test]
async fn each_object_comes_in_the_syntax_that_is_wanted_most_of_those_it_can_be_had_in() {
    let both = "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.80, \
                multipart/related; type=\"application/dicom\"; transfer-syntax=*; q=0.5";
    let unknown = ("1.4.4", "1.2.840.10008.1.2.4.92", image(16));
    let objects = [("1.4.1", EXPLICIT, image(16)), unknown.clone(), ("1.4.2", EXPLICIT, image(1))];
    let (status, found) = syntaxes(both, &objects).await;
    assert_eq!((status, found), (200, [JLS, unknown.1, EXPLICIT].map(str::to_owned).to_vec()));
    // Wanted alike: as they are stored.
    let alike = both.replace("; q=0.5", "");
    let (status, found) = syntaxes(&alike, &objects).await;
    assert_eq!((status, found), (200, [EXPLICIT, unknown.1, EXPLICIT].map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn one_instance_comes_as_a_bare_file_where_that_is_asked_for() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4", b"data set").await);
    driver.complete();
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4";
    let answer = bridge.ask("GET", path, "application/dicom; transfer-syntax=*").await;
    assert_eq!(answer.header("content-type"), format!("application/dicom; transfer-syntax={EXPLICIT}"));
    assert!(answer.body[128..].starts_with(b"DICM") && answer.body.ends_with(b"data set"));
}

#[tokio::test]
async fn what_fails_before_the_first_object_has_a_status() {
    let bridge = Bridge::new();
    bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotFound)));
    bridge.get("/dicom-web/studies/1.2").await.problem(404);
    lay(&bridge, Vec::new()).fail(Error::new("main", Kind::Timeout("C-GET")));
    bridge.get("/dicom-web/studies/1.2").await.problem(504);
    lay(&bridge, Vec::new()).complete();
    bridge.get("/dicom-web/studies/1.2").await.problem(404);
    drop(lay(&bridge, Vec::new()));
    bridge.get("/dicom-web/studies/1.2").await.problem(500);
}

#[tokio::test]
async fn objects_known_to_be_missing_make_it_206_with_a_warning() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, vec![Uid::from_static("1.4.9")]);
    driver.item(whole("1.4.1", b"x").await);
    driver.complete();
    let answer = bridge.get("/dicom-web/studies/1.2").await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("warning"), "299 http://bridge.example/dicom-web: 1 instances are missing");
    assert_eq!(parts(&answer).len(), 1);
}

/// Reads a body until it fails; a good end fails the test.
async fn broken(bridge: &Bridge, path: &str) -> String {
    let request = Request::builder().uri(path).header("Host", "localhost").body(Body::empty()).unwrap();
    let mut body = bridge.app.clone().oneshot(request).await.unwrap().into_body();
    let mut text = Vec::new();
    loop {
        match body.frame().await.expect("it must not end well") {
            Ok(frame) => text.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => return String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

#[tokio::test]
async fn hazard_a_short_study_has_no_closing_boundary_and_breaks() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"all of it").await);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    let text = broken(&bridge, "/dicom-web/studies/1.2").await;
    assert!(text.ends_with("all of it"), "no boundary behind it");
}

#[tokio::test]
async fn hazard_a_driver_that_died_and_an_object_that_broke_off_break_the_body() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"all of it").await);
    drop(driver);
    broken(&bridge, "/dicom-web/studies/1.2").await;

    let driver = lay(&bridge, Vec::new());
    let (log, half) = object("1.4.2", EXPLICIT);
    driver.item(half);
    driver.complete();
    log.append(&Bytes::from_static(b"half of it")).await;
    drop(log);
    assert!(broken(&bridge, "/dicom-web/studies/1.2").await.ends_with("half of it"));
}

#[tokio::test]
async fn a_second_object_where_one_was_asked_for_is_no_single_part() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4", b"a").await);
    driver.item(whole("1.5", b"b").await);
    driver.complete();
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4?accept=application/dicom";
    bridge.get(path).await.problem(502);
}

#[tokio::test]
async fn dropping_the_body_cancels_the_retrieval_at_once() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"x").await);
    let request =
        Request::get("/dicom-web/studies/1.2").header("Host", "localhost").body(Body::empty()).unwrap();
    let response = bridge.app.clone().oneshot(request).await.unwrap();
    assert!(!driver.cancelled.is_cancelled());
    drop(response);
    assert!(driver.cancelled.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_polls_is_given_up_and_a_slow_archive_is_not() {
    let bridge = Bridge::new();
    let limit = Config::default().write_timeout;
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"x").await);
    let request =
        Request::get("/dicom-web/studies/1.2").header("Host", "localhost").body(Body::empty()).unwrap();
    let mut body = bridge.app.clone().oneshot(request).await.unwrap().into_body();
    let moment = Duration::from_millis(1);
    while let Ok(frame) = timeout(moment, body.frame()).await {
        frame.unwrap().unwrap();
    }
    // Waiting for the archive is not the reader's fault.
    assert!(timeout(limit * 10, body.frame()).await.is_err());
    assert!(!driver.cancelled.is_cancelled());
    driver.item(whole("1.4.2", b"y").await);
    body.frame().await.unwrap().unwrap();
    timeout(limit * 2, driver.cancelled.cancelled()).await.expect("given up");
    assert!(body.frame().await.unwrap().is_err());
}

/// The bridge on a socket.
pub(super) async fn serve(bridge: &Bridge) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let second = Duration::from_secs(5);
    let settings = HttpSettings {
        max_head: 64 << 10,
        max_connections: 10,
        max_connections_per_address: 10,
        proxies: Vec::new(),
        head_timeout: second,
        write_timeout: second,
        drain_timeout: second,
    };
    let service = TowerToHyperService::new(bridge.app.clone());
    tokio::spawn(serve_http(listener, None, service, settings, bridge.shutdown.clone()));
    address
}

#[tokio::test]
async fn hazard_a_short_study_is_visible_on_the_wire_over_http_1_0_and_1_1() {
    let bridge = Bridge::new();
    let address = serve(&bridge).await;
    for version in ["1.0", "1.1"] {
        let driver = lay(&bridge, Vec::new());
        driver.item(whole("1.4.1", b"the only one").await);
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /dicom-web/studies/1.2 HTTP/{version}\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("the only one") {
            assert_ne!(client.read_buf(&mut text).await.unwrap(), 0);
        }
        driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
        let error = client.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "HTTP/{version}");
    }
}

#[tokio::test]
async fn hazard_a_client_that_leaves_cancels_the_retrieval_within_a_second() {
    let bridge = Bridge::new();
    let address = serve(&bridge).await;
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"the only one").await);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /dicom-web/studies/1.2 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 100]).await.unwrap();
    drop(client);
    timeout(Duration::from_secs(1), driver.cancelled.cancelled()).await.expect("cancelled");
}

#[tokio::test]
async fn hazard_a_reader_that_stalls_on_one_http_2_stream_gives_its_retrieval_back() {
    let bridge = Bridge::with(Config { write_timeout: Duration::from_millis(300), ..Config::default() });
    let address = serve(&bridge).await;
    let driver = lay(&bridge, Vec::new());
    // More than the window that a client opens without a word (RFC 9113 6.9.2).
    let (log, large) = object("1.4.1", EXPLICIT);
    driver.item(large);
    log.append(&Bytes::from(vec![0; 1 << 20])).await;
    let path = b"/dicom-web/studies/1.2";
    let mut fields = vec![0x82, 0x86, 0x41, 9]; // GET, http, :authority
    fields.extend(b"localhost");
    fields.extend([0x04, path.len() as u8]); // :path
    fields.extend(path);
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    opening.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS
    opening.extend([0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1]); // HEADERS, end of stream and of headers
    opening.extend(fields);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&opening).await.unwrap();
    // It reads what comes, and opens no window.
    let (mut reading, _writing) = client.into_split();
    tokio::spawn(async move { while reading.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} });
    timeout(Duration::from_secs(3), driver.cancelled.cancelled()).await.expect("given up");
}

#[tokio::test]
async fn hazard_an_error_leaves_the_connection_open_for_the_next_request() {
    let bridge = Bridge::new();
    let mut client = TcpStream::connect(serve(&bridge).await).await.unwrap();
    for path in ["/dicom-web/studies/abc", "/dicom-web/studies?limit=x", "/nowhere", "/health/live"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"}") && !text.ends_with(b"live\n") {
            assert_ne!(client.read_buf(&mut text).await.unwrap(), 0, "{path}");
        }
        assert!(text.starts_with(b"HTTP/1.1 "));
    }
}
