//! Frames; and with the same images bulk data, what is rendered as it is stored, and WADO-URI.

mod bulk_data;
mod rendered;
mod report;
mod wado_uri;

use super::wado::{lay, object};
use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Form, Kind};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value as DicomValue};
use crate::dicom::object::{Budget, Head, Object, ObjectLog};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{VR, tags};

const INSTANCE: &str = "/dicom-web/studies/1.2/series/1.3/instances/1.4";
const URL: &str = "http://bridge.example/dicom-web/studies/1.2/series/1.3/instances/1.4";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
/// Of several components, which nobody decodes.
const J2K_PART_2: &str = "1.2.840.10008.1.2.4.92";
const JLS: &str = "1.2.840.10008.1.2.4.80";
const MPEG4: &str = "1.2.840.10008.1.2.4.102";
const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";

/// An image with these frames of two pixels, and a palette.
fn native(pixels: &'static [u8]) -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, (pixels.len() / 2).to_string());
    image.set_u16(tags::ROWS, 1);
    image.set_u16(tags::COLUMNS, 2);
    image.set_u16(tags::BITS_ALLOCATED, 8);
    let mut add = |tag, value: Vec<u8>| {
        image.insert(tag, Element { vr: VR::OW, value: DicomValue::Bytes(value.into()) });
    };
    add(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, (0..=255).cycle().take(2000).collect());
    add(tags::PIXEL_DATA, pixels.to_vec());
    image.encode(Layout::ExplicitLe, QueryCharset::Auto)
}

/// An image with so many frames of so many bytes.
pub(super) fn wide(frames: u16, length: usize) -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    image.set_u16(tags::ROWS, 1024);
    image.set_u16(tags::COLUMNS, u16::try_from(length / 1024).unwrap());
    image.set_u16(tags::BITS_ALLOCATED, 8);
    let value = DicomValue::Bytes(vec![7; usize::from(frames) * length].into());
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value });
    image.encode(Layout::ExplicitLe, QueryCharset::Auto)
}

/// An object of another class.
pub(super) async fn of_class(class: &'static str, syntax: &'static str, bytes: Vec<u8>) -> Object {
    let head = Head {
        sop_class: Uid::from_static(class),
        sop_instance: Uid::from_static("1.4"),
        transfer_syntax: Uid::from_static(syntax),
    };
    let (log, object) = ObjectLog::new(head, &Budget::new(1 << 24));
    log.append(&bytes.into()).await;
    log.finish();
    object
}

/// The path of something of the instance.
pub(super) fn asked_for(path: &str) -> String {
    format!("{INSTANCE}{path}")
}

/// An image with one fragment a frame, without a table.
fn encapsulated(fragments: &[&[u8]]) -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, fragments.len().to_string());
    let mut out = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    out.extend(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0");
    for fragment in fragments {
        out.extend(b"\xFE\xFF\x00\xE0");
        out.extend((fragment.len() as u32).to_le_bytes());
        out.extend(*fragment);
    }
    out.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    out
}

async fn whole(syntax: &'static str, bytes: Vec<u8>) -> Object {
    let (log, object) = object("1.4", syntax);
    log.append(&bytes.into()).await;
    log.finish();
    object
}

/// Lays an answer ready with one whole object.
pub(super) async fn hold(bridge: &Bridge, syntax: &'static str, bytes: Vec<u8>) -> Driver<Object> {
    let driver = lay(bridge, Vec::new());
    driver.item(whole(syntax, bytes).await);
    driver.complete();
    driver
}

/// Lays an answer ready for each form that is asked for.
async fn asked(bridge: &Bridge, path: &str, accept: &str, objects: &[(&'static str, Vec<u8>)]) -> Answer {
    for (syntax, bytes) in objects {
        hold(bridge, syntax, bytes.clone()).await;
    }
    bridge.ask("GET", &format!("{INSTANCE}{path}"), accept).await
}

/// The parts of a closed multipart body: Content-Type, Content-Location, bytes.
pub(super) fn parts(answer: &Answer) -> Vec<(String, String, Vec<u8>)> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let boundary = answer.header("content-type").rsplit("boundary=").next().unwrap();
    // Latin-1 keeps every byte.
    let text: String = answer.body.iter().map(|&b| char::from(b)).collect();
    let text = text.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("a closing boundary");
    let part = |part: &str| {
        let (headers, bytes) = part.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let line = headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        (header("Content-Type"), header("Content-Location"), bytes.chars().map(|c| c as u8).collect())
    };
    text.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

fn frame(media_type: &str, number: u32, bytes: &[u8]) -> (String, String, Vec<u8>) {
    (media_type.to_owned(), format!("{URL}/frames/{number}"), bytes.to_vec())
}

#[tokio::test]
async fn frames_come_one_a_part_in_the_order_in_which_they_are_asked_for() {
    let bridge = Bridge::new();
    let octets = format!("application/octet-stream; transfer-syntax={EXPLICIT}");
    let object = native(b"aabbcc");
    for (list, expected) in [
        ("2", vec![frame(&octets, 2, b"bb")]),
        ("1,3", vec![frame(&octets, 1, b"aa"), frame(&octets, 3, b"cc")]),
        ("3,1,2", vec![frame(&octets, 3, b"cc"), frame(&octets, 1, b"aa"), frame(&octets, 2, b"bb")]),
        ("1%2C2", vec![frame(&octets, 1, b"aa"), frame(&octets, 2, b"bb")]),
    ] {
        let answer = asked(&bridge, &format!("/frames/{list}"), STORED, &[(EXPLICIT, object.clone())]).await;
        assert!(
            answer.header("content-type").starts_with("multipart/related; type=\"application/octet-stream\"")
        );
        assert_eq!(parts(&answer), expected, "{list}");
    }
    assert!(bridge.archive.retrieves().iter().all(|asked| asked.form == Form::AsStored));
    assert!(bridge.archive.retrieves()[0].target.instance.is_some());
    assert!(bridge.archive.retrieves().iter().all(|asked| asked.ahead), "a viewer asks for the others next");
    assert!(bridge.archive.callers().iter().all(|caller| caller.priority == Priority::Interactive));
}

#[tokio::test]
async fn compressed_frames_come_under_the_type_that_the_client_takes() {
    let object = || encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9", b"\xFF\xD8\xFFb\xFF\xD9"]);
    for (accept, media_type) in [
        (STORED, "application/octet-stream"),
        (
            "multipart/related; type=image/jls; q=1,multipart/related; type=application/octet-stream; q=0.1",
            "image/jls",
        ),
        ("multipart/related; type=\"*/*\"", "image/jls"),
        ("*/*", "image/jls"),
    ] {
        let bridge = Bridge::new();
        let answer = asked(&bridge, "/frames/2", accept, &[(JLS, object())]).await;
        let media_type = format!("{media_type}; transfer-syntax={JLS}");
        assert_eq!(parts(&answer), [frame(&media_type, 2, b"\xFF\xD8\xFFb\xFF\xD9")], "{accept}");
    }
}

#[tokio::test]
async fn a_client_that_wants_native_frames_gets_them_from_an_archive_where_the_bridge_decodes_none() {
    for accept in ["", "multipart/related; type=\"application/octet-stream\"", "application/octet-stream"] {
        let bridge = Bridge::new();
        let objects = [(J2K_PART_2, encapsulated(&[b"a"])), (IMPLICIT, Vec::new())];
        asked(&bridge, "/frames/1", accept, &objects).await.problem(404);
        let forms: Vec<Form> = bridge.archive.retrieves().iter().map(|asked| asked.form).collect();
        assert_eq!(forms, [Form::AsStored, Form::Native], "{accept}");
    }
    // What exists in a lossy form only comes as it is stored.
    let bridge = Bridge::new();
    let lossy = encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9"]);
    let answer = asked(&bridge, "/frames/1", "", &[(JPEG, lossy)]).await;
    assert_eq!(parts(&answer)[0].0, format!("application/octet-stream; transfer-syntax={JPEG}"));
    // What came in another form than one that is taken is asked for in the next.
    let bridge = Bridge::new();
    let accept = "multipart/related; type=image/jxl, multipart/related; type=application/octet-stream; q=0.1";
    let objects = [(J2K_PART_2, encapsulated(&[b"\xFF\x4F\xFFa\xFF\xD9"])), (EXPLICIT, native(b"aa"))];
    let answer = asked(&bridge, "/frames/1", accept, &objects).await;
    assert_eq!(parts(&answer)[0].2, b"aa");
    let forms: Vec<Form> = bridge.archive.retrieves().iter().map(|asked| asked.form).collect();
    assert_eq!(forms, [Form::AsStored, Form::Native]);
    for _ in forms {
        bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotAcceptable)));
    }
    let text = bridge.get(&format!("{INSTANCE}/frames/1")).await.problem(406);
    assert!(text.contains("transfer-syntax=*"), "{text}");
}

#[tokio::test]
async fn one_frame_may_be_a_single_part_with_its_length() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for (accept, syntax, object, content_type, expected) in [
        (
            "image/jpeg",
            JPEG,
            encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9\0"]),
            "image/jpeg",
            &b"\xFF\xD8\xFFa\xFF\xD9"[..],
        ),
        (browser, JPEG, encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9\0"]), "image/jpeg", b"\xFF\xD8\xFFa\xFF\xD9"),
        ("application/octet-stream", EXPLICIT, native(b"aabb"), "application/octet-stream", b"aa"),
    ] {
        let bridge = Bridge::new();
        let answer = asked(&bridge, "/frames/1", accept, &[(syntax, object)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, expected), "{accept}");
        assert_eq!(answer.header("content-type"), format!("{content_type}; transfer-syntax={syntax}"));
        assert_eq!(answer.header("content-length"), expected.len().to_string());
        assert_eq!(answer.header("content-location"), format!("{URL}/frames/1"));
    }
    let bridge = Bridge::new();
    let two = asked(&bridge, "/frames/1,2", "application/octet-stream", &[(EXPLICIT, native(b"aabb"))]).await;
    two.problem(406);
}

#[tokio::test]
async fn frames_come_in_the_next_form_where_their_pixels_refuse_the_first() {
    let slides = "multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.80, \
                  multipart/related; type=\"application/octet-stream\"; transfer-syntax=*; q=0.5";
    let mut segmentation = DataSet::new();
    segmentation.set_u16(tags::SAMPLES_PER_PIXEL, 1);
    segmentation.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    segmentation.set_u16(tags::ROWS, 4);
    segmentation.set_u16(tags::COLUMNS, 4);
    segmentation.set_u16(tags::BITS_ALLOCATED, 1);
    segmentation.set_u16(tags::BITS_STORED, 1);
    segmentation.set_u16(tags::HIGH_BIT, 0);
    segmentation.set_u16(tags::PIXEL_REPRESENTATION, 0);
    segmentation
        .insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: DicomValue::Bytes(vec![7, 9].into()) });
    let bytes = segmentation.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let objects = [(EXPLICIT, bytes.clone()), (EXPLICIT, bytes)];
    let bridge = Bridge::new();
    let answer = asked(&bridge, "/frames/1", slides, &objects).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.windows(2).any(|it| it == [7, 9]));
    // Where there is no other, the first word is the last.
    let bridge = Bridge::new();
    let only = slides.split_once(',').unwrap().0;
    asked(&bridge, "/frames/1", only, &objects[..1]).await.problem(406);
    assert_eq!(bridge.archive.retrieves().len(), 1);
}

#[tokio::test]
async fn numbers_of_floating_point_are_not_compressed_as_if_they_were_pixels() {
    let mut map = DataSet::new();
    map.set_u16(tags::SAMPLES_PER_PIXEL, 1);
    map.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    map.set_u16(tags::ROWS, 1);
    map.set_u16(tags::COLUMNS, 1);
    map.set_u16(tags::BITS_ALLOCATED, 32);
    map.insert(
        tags::FLOAT_PIXEL_DATA,
        Element { vr: VR::OF, value: DicomValue::Bytes(vec![0, 0, 128, 63].into()) },
    );
    let objects = [(EXPLICIT, map.encode(Layout::ExplicitLe, QueryCharset::Auto))];
    asked(&Bridge::new(), "/frames/1", "image/dicom-rle", &objects).await.problem(406);
}

#[tokio::test]
async fn one_frame_may_be_read_in_ranges() {
    for (range, status, content_range, expected) in [
        ("bytes=0-1", 206, "bytes 0-1/6", &b"\xFF\xD8"[..]),
        ("bytes=-2", 206, "bytes 4-5/6", b"\xFF\xD9"),
        ("bytes=6-", 416, "bytes */6", b""),
        ("lines=1-2", 200, "", b"\xFF\xD8\xFFa\xFF\xD9"),
    ] {
        let bridge = Bridge::new();
        hold(&bridge, JPEG, encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9"])).await;
        let headers = [("Accept", "image/jpeg"), ("Range", range)];
        let answer = bridge.ask_with("GET", &format!("{INSTANCE}/frames/1"), &headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-range")),
            (status, content_range),
            "{range}"
        );
        if status != 416 {
            assert_eq!(answer.body, expected, "{range}");
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(answer.header("content-length"), expected.len().to_string());
        }
    }
}

#[tokio::test]
async fn bad_lists_are_400_missing_frames_404_and_damaged_objects_502() {
    let bridge = Bridge::new();
    for list in ["0", "x", "1,,2", "1,1", "-1", "4294967296"] {
        bridge.get(&format!("{INSTANCE}/frames/{list}")).await.problem(400);
    }
    assert!(bridge.archive.retrieves().is_empty());
    let ask = async |path: &str, syntax, bytes| asked(&bridge, path, STORED, &[(syntax, bytes)]).await;
    ask("/frames/4", EXPLICIT, native(b"aabbcc")).await.problem(404);
    ask("/frames/1,9", EXPLICIT, native(b"aabbcc")).await.problem(404);
    let mut header = DataSet::new();
    header.set_str(tags::PATIENT_ID, VR::LO, "no image");
    ask("/frames/1", EXPLICIT, header.encode(Layout::ExplicitLe, QueryCharset::Auto)).await.problem(404);
    ask("/frames/1", JPEG, native(b"aa")).await.problem(502);
    let mut cut_off = native(b"aabbcc");
    cut_off.pop();
    ask("/frames/3,1", EXPLICIT, cut_off).await.problem(502);
    let text = ask("/frames/1", MPEG4, encapsulated(&[b"movie\0"])).await.problem(406);
    assert!(text.contains("bulk data"), "{text}");
    bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotFound)));
    bridge.get(&format!("{INSTANCE}/frames/1")).await.problem(404);
}

/// An object whose bytes the test writes.
fn slow(bridge: &Bridge, syntax: &'static str) -> (Driver<Object>, ObjectLog) {
    let driver = lay(bridge, Vec::new());
    let (log, object) = object("1.4", syntax);
    driver.item(object);
    (driver, log)
}

async fn body_of(bridge: &Bridge, path: &str, accept: &str) -> (StatusCode, Body) {
    let request = Request::builder().uri(format!("{INSTANCE}{path}")).header("Host", "localhost");
    let request = request.header("Accept", accept).body(Body::empty()).unwrap();
    let response = bridge.app.clone().oneshot(request).await.unwrap();
    (response.status(), response.into_body())
}

#[tokio::test(start_paused = true)]
async fn hazard_an_object_that_breaks_off_within_a_frame_breaks_the_body() {
    for (accept, path) in
        [(STORED, "/frames/1,2"), (STORED, "/bulkdata/7FE00010"), ("*/*", "/bulkdata/7FE00010")]
    {
        let bridge = Bridge::new();
        let (_driver, log) = slow(&bridge, EXPLICIT);
        let bytes = native(b"aabbcc");
        log.append(&bytes[..bytes.len() - 3].to_vec().into()).await;
        let (status, mut body) = body_of(&bridge, path, accept).await;
        assert_eq!(status, 200);
        drop(log);
        let mut text = Vec::new();
        while let Ok(frame) = body.frame().await.expect("it must not end well") {
            text.extend_from_slice(frame.data_ref().unwrap());
        }
        assert!(!text.ends_with(b"--\r\n"), "{path}: no closing boundary");
    }
    // Before the first byte is out, it is a status.
    for length in [20, native(b"aabbcc").len() - 3] {
        let bridge = Bridge::new();
        let (_driver, log) = slow(&bridge, EXPLICIT);
        log.append(&native(b"aabbcc")[..length].to_vec().into()).await;
        drop(log);
        bridge.ask("GET", &format!("{INSTANCE}/frames/1,2"), STORED).await.problem(502);
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_ends_with_the_last_wanted_frame_and_a_long_rest_is_cancelled() {
    let bridge = Bridge::new();
    let (driver, log) = slow(&bridge, EXPLICIT);
    let bytes = native(b"aabbcc");
    log.append(&bytes[..bytes.len() - 3].to_vec().into()).await;
    let (_, body) = body_of(&bridge, "/frames/1", STORED).await;
    let whole = body.collect().await.unwrap().to_bytes();
    assert!(whole.ends_with(b"--\r\n"), "although the object is not at its end");
    assert!(!driver.cancelled.is_cancelled(), "its end may be near");
    driver.cancelled.cancelled().await;
    drop(log);
}

#[tokio::test]
async fn an_object_whose_end_is_near_is_let_come_to_it_so_that_the_association_lives() {
    let bridge = Bridge::new();
    for (path, accept) in
        [("/frames/1", STORED), ("/frames/1", "application/octet-stream"), ("/frames/9", STORED)]
    {
        let (driver, log) = slow(&bridge, EXPLICIT);
        let bytes = native(b"aabbcc");
        log.append(&bytes[..bytes.len() - 3].to_vec().into()).await;
        let (_, body) = body_of(&bridge, path, accept).await;
        body.collect().await.unwrap();
        log.append(&bytes[bytes.len() - 3..].to_vec().into()).await;
        tokio::task::yield_now().await;
        assert!(!driver.cancelled.is_cancelled(), "{path} {accept}");
        log.finish();
        driver.complete();
        driver.cancelled.cancelled().await;
    }
}
