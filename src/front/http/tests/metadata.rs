//! Metadata.

use super::wado::{lay, object};
use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Expected, Form, Kind, Retrieval};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value as DicomValue};
use crate::dicom::object::Object;
use crate::dicom::sop_class::RAW_DATA;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{VR, tags};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const STUDY: &str = "/dicom-web/studies/1.2/metadata";
const SERIES: &str = "/dicom-web/studies/1.2/series/1.3/metadata";
const INSTANCE: &str = "/dicom-web/studies/1.2/series/1.3/instances/1.4/metadata";

/// The bytes of an object with a little of everything.
fn encoded(pixels: usize) -> Bytes {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.4");
    data_set.set_str(tags::PATIENT_NAME, VR::PN, "Müller^Jörg");
    data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
    data_set.set_u16(tags::ROWS, 512);
    let value = DicomValue::Bytes(vec![1; pixels].into());
    data_set.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    data_set.encode(Layout::ExplicitLe, QueryCharset::Auto).into()
}

async fn whole(uid: &'static str, bytes: Bytes) -> Object {
    let (log, mut object) = object(uid, EXPLICIT);
    object.series = Some(Uid::from_static("1.3"));
    log.append(&bytes).await;
    log.finish();
    object
}

#[tokio::test]
async fn metadata_of_three_levels_come_as_json_with_bulk_data_uris_of_this_bridge() {
    for (path, retrieved) in [(STUDY, 1), (SERIES, 2), (INSTANCE, 3)] {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        for uid in ["1.4", "1.5"].iter().take(if retrieved == 3 { 1 } else { 2 }) {
            driver.item(whole(uid, encoded(10_000)).await);
        }
        driver.complete();
        let answer = bridge.ask("GET", path, "application/dicom+json").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/dicom+json"),
            "{path}"
        );
        assert!(answer.header("etag").starts_with("W/"), "{path}");
        let json = answer.json();
        let first = &json[0];
        assert_eq!(first["00100010"]["Value"][0]["Alphabetic"], "Müller^Jörg", "{path}");
        assert_eq!(first["00080005"]["Value"][0], "ISO_IR 192", "{path}: the text is UTF-8 now");
        assert_eq!(first["00280010"]["Value"][0], 512, "{path}");
        let url = "http://bridge.example/dicom-web/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010";
        assert_eq!(first["7FE00010"], serde_json::json!({ "vr": "OW", "BulkDataURI": url }), "{path}");
        let asked = &bridge.archive.retrieves()[0];
        assert_eq!((asked.form, asked.target.level() as usize), (Form::WithoutBulkData, retrieved), "{path}");
        let expected = if retrieved == 1 { Priority::Bulk } else { Priority::Interactive };
        assert_eq!(bridge.archive.callers()[0].priority, expected, "{path}");
        assert!(!asked.ahead, "{path}: what shows no pixels needs none");
    }
}

#[tokio::test]
async fn metadata_come_as_native_xml_in_parts_or_bare() {
    let bridge = Bridge::new();
    for (path, accept, begin) in [
        (SERIES, "multipart/related; type=\"application/dicom+xml\"", "--"),
        (INSTANCE, "application/dicom+xml", "<?xml"),
    ] {
        let driver = lay(&bridge, Vec::new());
        driver.item(whole("1.4", encoded(10)).await);
        driver.complete();
        let answer = bridge.ask("GET", path, accept).await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("<NativeDicomModel") && text.contains("keyword=\"PatientName\""), "{text}");
        assert!(
            text.contains("/instances/1.4/bulkdata/7FE00010\""),
            "pixel data are always bulk data: {text}"
        );
    }
    bridge.ask("GET", SERIES, "application/dicom+xml").await.problem(406);
    bridge.ask("GET", SERIES, "text/html").await.problem(406);
}

#[tokio::test(start_paused = true)]
async fn missing_objects_make_it_206_and_a_failure_on_the_way_breaks_it() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, vec![Uid::from_static("1.9")]);
    driver.item(whole("1.4", encoded(10)).await);
    driver.complete();
    let answer = bridge.get(SERIES).await;
    assert_eq!((answer.status.as_u16(), answer.json().as_array().unwrap().len()), (206, 1));
    assert!(answer.header("warning").starts_with("299 "));

    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4", encoded(10)).await);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    // As long as nothing is out, it is a status.
    bridge.ask("GET", SERIES, "").await.problem(502);

    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4", encoded(10)).await);
    let request = Request::builder().uri(SERIES).header("Host", "localhost").body(Body::empty()).unwrap();
    let response = bridge.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    assert!(response.into_body().collect().await.is_err(), "no closing bracket after a short series");
}

#[tokio::test]
async fn one_bad_object_of_a_series_keeps_what_can_be_read_of_it() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    let bytes = encoded(10_000);
    driver.item(whole("1.4", bytes.slice(..bytes.len() - 5_000)).await);
    driver.item(whole("1.5", encoded(10)).await);
    driver.complete();
    let answer = bridge.get(SERIES).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(json[0]["00280010"]["Value"][0], 512);
    assert_eq!(json[1]["00280010"]["Value"][0], 512);
}

#[tokio::test]
async fn a_search_comes_as_native_xml_too() {
    let bridge = Bridge::new();
    super::qido::lay(&bridge, [super::qido::study("1.2", "20240101"), super::qido::study("1.3", "20230101")]);
    let answer =
        bridge.ask("GET", "/dicom-web/studies", "multipart/related; type=\"application/dicom+xml\"").await;
    assert_eq!(answer.status, 200);
    let (kind, boundary) = answer.header("content-type").split_once("; boundary=").unwrap();
    assert_eq!(kind, "multipart/related; type=\"application/dicom+xml\"");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(
        text.matches(&format!("--{boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n<?xml")).count(),
        2
    );
    assert!(text.contains("<Value number=\"1\">1.2</Value>"), "{text}");
    // The same search in the other form is another snapshot.
    bridge.ask("GET", "/dicom-web/studies", "application/dicom+xml").await.problem(406);
}

/// Lays a retrieval ready whose objects come without their bulk data.
fn lay_short(bridge: &Bridge) -> Driver<Object> {
    let (driver, objects) = Driver::new();
    bridge.archive.push_retrieval(Ok(Retrieval {
        objects,
        missing: Vec::new(),
        confirmed: Default::default(),
        assumed_charset: None,
        without_bulk: true,
        expected: Expected::default(),
    }));
    driver
}

/// The bytes of an image without its pixels.
fn without_pixels() -> Bytes {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
    data_set.set_u16(tags::ROWS, 512);
    data_set.set_u16(tags::COLUMNS, 512);
    data_set.set_u16(tags::BITS_ALLOCATED, 16);
    data_set.set_u16(tags::PIXEL_REPRESENTATION, 0);
    data_set.encode(Layout::ExplicitLe, QueryCharset::Auto).into()
}

#[tokio::test]
async fn what_an_archive_left_out_is_a_url_of_this_bridge_all_the_same() {
    for (accept, is_json) in
        [("application/dicom+json", true), ("multipart/related; type=\"application/dicom+xml\"", false)]
    {
        let bridge = Bridge::new();
        let driver = lay_short(&bridge);
        driver.item(whole("1.4", without_pixels()).await);
        driver.item(whole("1.5", without_pixels()).await);
        driver.complete();
        let answer = bridge.ask("GET", SERIES, accept).await;
        assert_eq!(answer.status, 200);
        let url = "http://bridge.example/dicom-web/studies/1.2/series/1.3/instances/1.5/bulkdata/7FE00010";
        if is_json {
            let pixels = serde_json::json!({ "vr": "OW", "BulkDataURI": url });
            assert_eq!(answer.json()[1]["7FE00010"], pixels);
        }
        assert!(String::from_utf8_lossy(&answer.body).contains(url), "{:?}", answer.body);
        assert_eq!(bridge.archive.retrieves().len(), 1);
    }
}

/// An object of nothing but private attributes, as it seems.
async fn raw(uid: &'static str, bytes: Bytes) -> Object {
    let mut object = whole(uid, bytes).await;
    object.head.sop_class = Uid::from_static(RAW_DATA);
    object
}

#[tokio::test]
async fn what_nobody_can_tell_is_fetched_once_more_as_a_whole_when_the_rest_is_there() {
    let bridge = Bridge::new();
    let driver = lay_short(&bridge);
    driver.item(raw("1.4", Bytes::new()).await);
    driver.item(whole("1.5", without_pixels()).await);
    driver.item(raw("1.6", Bytes::new()).await);
    driver.complete();
    for uid in ["1.4", "1.6"] {
        let driver = lay(&bridge, Vec::new());
        driver.item(raw(uid, encoded(10)).await);
        driver.complete();
    }
    let answer = bridge.get(SERIES).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(json[0]["00280010"]["Value"][0], 512);
    assert_eq!(json[2]["00100010"]["Value"][0]["Alphabetic"], "Müller^Jörg");
    let retrieves = bridge.archive.retrieves();
    let targets =
        retrieves[1..].iter().map(|asked| (asked.form, asked.target.instance.as_ref().unwrap().as_str()));
    assert_eq!(targets.collect::<Vec<_>>(), [(Form::AsStored, "1.4"), (Form::AsStored, "1.6")]);
    assert!(retrieves[1..].iter().all(|asked| asked.target.series == Some(Uid::from_static("1.3"))));
}

#[tokio::test]
async fn hazard_what_was_to_be_fetched_as_a_whole_and_failed_is_no_shorter_answer() {
    for refused in [true, false] {
        let bridge = Bridge::new();
        let driver = lay_short(&bridge);
        driver.item(whole("1.5", without_pixels()).await);
        driver.item(raw("1.4", Bytes::new()).await);
        driver.complete();
        if refused {
            bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotFound)));
            bridge.get(SERIES).await.problem(404);
        } else {
            let driver = lay(&bridge, Vec::new());
            driver.fail(Error::new("main", Kind::Timeout("C-GET")));
            bridge.get(SERIES).await.problem(504);
        }
    }
}
