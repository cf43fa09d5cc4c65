//! Instances that come as metadata with bulk data beside it.

use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use futures_core::Stream;
use tokio::sync::oneshot;

use super::*;
use crate::dicom::transfer_syntax::layout;
use crate::dicomweb::metadata::MAX_DOCUMENT;

const JSON_PARTS: &str = "multipart/related; type=\"application/dicom+json\"; boundary=b";
const XML_PARTS: &str = "multipart/related; type=\"application/dicom+xml\"; boundary=b";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn described(instance: &str) -> Value {
    json!({
        "00080016": {"vr": "UI", "Value": [CT]},
        "00080018": {"vr": "UI", "Value": [instance]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000E": {"vr": "UI", "Value": ["1.3"]},
        "00104000": {"vr": "LT", "Value": ["x"]},
    })
}

fn with(mut instance: Value, more: Value) -> Value {
    instance.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    instance
}

/// A body with the boundary `b` of these parts: their header lines, then their bytes.
fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let one = |(headers, bytes): &(&str, &[u8])| {
        let lines: String = headers.split('|').map(|line| format!("{line}\r\n")).collect();
        [format!("\r\n--b\r\n{lines}\r\n").as_bytes(), bytes].concat()
    };
    let mut body: Vec<u8> = parts.iter().flat_map(one).collect();
    body.extend(b"\r\n--b--\r\n");
    body
}

impl Bridge {
    async fn describe(&self, content_type: &str, body: impl Into<Body>) -> Answer {
        self.send(STUDIES, &[("Content-Type", content_type)], body.into()).await
    }
}

const JSON_PART: &str = "Content-Type: application/dicom+json";
const OCTETS: &str = "Content-Type: application/octet-stream|Content-Location: bulk/1";

#[tokio::test]
async fn metadata_alone_is_an_instance() {
    for (content_type, body) in [
        ("application/dicom+json", described("1.4.1").to_string().into_bytes()),
        ("application/json; charset=utf-8", json!([described("1.4.1")]).to_string().into_bytes()),
        ("application/dicom+xml", crate::dicomweb::xml::write_document(&data_set("1.2", "1.4.1"))),
        (JSON_PARTS, parts(&[(JSON_PART, json!([described("1.4.1")]).to_string().as_bytes())])),
    ] {
        let bridge = Bridge::new();
        let answer = bridge.describe(content_type, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.stored()),
            (200, vec![told("1.4.1", 0)]),
            "{content_type}"
        );
        let [(head, bytes)] = &bridge.archive.stored()[..] else { panic!("one object") };
        assert_eq!((head.sop_class.as_str(), head.sop_instance.as_str()), (CT, "1.4.1"));
        assert_eq!((head.transfer_syntax.as_str(), bytes), (EXPLICIT, &encoded("1.2", "1.4.1")));
    }
}

#[tokio::test]
async fn bulk_data_is_put_where_the_metadata_refers_to_it() {
    let pixels = json!({"7FE00010": {"vr": "OB", "BulkDataURI": "bulk/1"}});
    let metadata = json!([with(described("1.4.1"), pixels)]).to_string();
    let metadata = (JSON_PART, metadata.as_bytes());
    let jpeg = format!(
        "Content-Type: image/jpeg; transfer-syntax={JPEG}|Content-Location: http://bridge.example/dicom-web/bulk/1"
    );
    for (bulk, syntax) in [((OCTETS, &b"\x01\x02"[..]), EXPLICIT), ((jpeg.as_str(), b"jpeg"), JPEG)] {
        for body in [parts(&[metadata, bulk]), parts(&[bulk, metadata])] {
            let bridge = Bridge::new();
            let answer = bridge.describe(JSON_PARTS, body).await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            assert!(answer.headers.get("warning").is_none());
            let [(head, bytes)] = &bridge.archive.stored()[..] else { panic!("one object") };
            assert_eq!(head.transfer_syntax.as_str(), syntax);
            assert!(bytes.windows(bulk.1.len()).any(|window| window == bulk.1));
        }
    }
}

#[tokio::test]
async fn each_xml_part_is_an_instance_and_its_frames_may_be_parts() {
    let document = |instance: &str| {
        let mut data_set = data_set("1.2", instance);
        data_set.set_str(tags::NUMBER_OF_FRAMES, VR::IS, "2");
        let text = String::from_utf8(crate::dicomweb::xml::write_document(&data_set)).unwrap();
        let pixels = "<DicomAttribute tag=\"7FE00010\" vr=\"OW\"><BulkData uri=\"bulk/1\"/></DicomAttribute>";
        text.replace("</NativeDicomModel>", &format!("{pixels}</NativeDicomModel>"))
    };
    let (first, second) = (document("1.4.1"), document("1.4.2"));
    let xml = "Content-Type: application/dicom+xml; charset=UTF-8";
    let body =
        parts(&[(xml, first.as_bytes()), (xml, second.as_bytes()), (OCTETS, b"frame1"), (OCTETS, b"frame2")]);
    let bridge = Bridge::new();
    let answer = bridge.describe(XML_PARTS, body).await;
    assert_eq!(answer.stored(), [told("1.4.1", 0), told("1.4.2", 0)]);
    assert!(bridge.archive.stored().iter().all(|(_, bytes)| bytes.ends_with(b"frame1frame2")));
}

#[tokio::test]
async fn an_instance_without_its_bulk_data_fails_and_harms_no_other() {
    let bridge = Bridge::new();
    let missing = with(described("1.4.1"), json!({"00420011": {"vr": "OB", "BulkDataURI": "elsewhere"}}));
    let metadata = json!([missing, described("1.4.2")]).to_string();
    let body = parts(&[(JSON_PART, metadata.as_bytes()), (OCTETS, b"nobody's")]);
    let answer = bridge.describe(JSON_PARTS, body).await;
    assert_eq!(answer.status, 202);
    assert_eq!((answer.stored(), answer.failed()), (vec![told("1.4.2", 0)], vec![told("1.4.1", 0xC000)]));
    let warnings: Vec<_> = answer.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert!(
        warnings[0].contains("bulk data of its attribute (0042,0011) is not in the request"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("ignored: 1"), "{warnings:?}");
    let alone = json!([with(described("1.4.1"), json!({"00420011": {"vr": "OB", "BulkDataURI": "x"}}))]);
    let answer = bridge.describe("application/dicom+json", alone.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.failed()), (409, vec![told("1.4.1", 0xC000)]));
}

#[tokio::test]
async fn elements_that_cannot_be_read_are_left_out_and_the_answer_says_so() {
    let bridge = Bridge::new();
    let bad = with(described("1.4.1"), json!({"00280010": {"vr": "US", "Value": ["Doe"]}}));
    let answer = bridge.describe("application/dicom+json", bad.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.stored()), (202, vec![told("1.4.1", 0xB006)]));
    let warning = answer.header("warning");
    assert!(warning.contains("(0028,0010) is not a number") && !warning.contains("Doe"), "{warning}");
    assert_eq!(bridge.archive.stored()[0].1, encoded("1.2", "1.4.1"), "all the rest is there");
}

#[tokio::test]
async fn metadata_that_cannot_be_read_is_a_400_that_says_where() {
    let bridge = Bridge::new();
    for (content_type, body, named) in [
        ("application/dicom+json", "[{\"00080018\":}]".to_owned(), "at byte 13"),
        ("application/dicom+json", "{".to_owned(), "breaks off"),
        ("application/dicom+json", "[]".to_owned(), "nothing to store"),
        ("application/dicom+xml", "<!DOCTYPE x><NativeDicomModel/>".to_owned(), "XML"),
        ("application/dicom+json", "{\"00081140\":{\"vr\":\"SQ\",\"Value\":[".repeat(2000), "too deep"),
    ] {
        let answer = bridge.describe(content_type, body.clone()).await;
        let text = answer.problem(400);
        assert!(text.contains(named), "{text}");
    }
    let long = vec![b' '; MAX_DOCUMENT + 1];
    bridge.describe("application/dicom+json", long).await.problem(413);
    assert!(bridge.archive.callers().is_empty());
}

/// A body of one piece, and silence.
struct Unfinished {
    piece: Option<Bytes>,
    /// Told when the piece has been read.
    read: Option<oneshot::Sender<()>>,
}

impl Stream for Unfinished {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Cx<'_>) -> Poll<Option<Self::Item>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.read.take().into_iter().for_each(|read| read.send(()).unwrap());
        Poll::Pending
    }
}

#[tokio::test]
async fn hazard_documents_that_are_left_unfinished_do_not_fill_the_memory() {
    let bridge = Bridge::new();
    let mut left = Vec::new();
    for _ in 0..2 {
        let (started, begun) = oneshot::channel();
        let app = bridge.app.clone();
        let body = Unfinished { piece: Some(vec![b' '; MAX_DOCUMENT].into()), read: Some(started) };
        left.push(tokio::spawn(async move {
            send(&app, STUDIES, &[("Content-Type", "application/dicom+json")], Body::from_stream(body)).await
        }));
        begun.await.unwrap();
    }
    let answer = bridge.describe("application/dicom+json", described("1.4.1").to_string()).await;
    assert_eq!(answer.header("retry-after"), "5");
    answer.problem(503);
    for request in left {
        request.abort();
        assert!(request.await.is_err());
    }
    let answer = bridge.describe("application/dicom+json", described("1.4.1").to_string()).await;
    assert_eq!(answer.status, 200, "what was held is given back");
}

#[tokio::test]
async fn of_a_body_that_breaks_off_nothing_is_stored() {
    let bridge = Bridge::new();
    let metadata = json!([described("1.4.1")]).to_string();
    let body = parts(&[(JSON_PART, metadata.as_bytes()), (OCTETS, b"0123456789")]);
    for end in [body.len() - 7, body.len() - 20, body.len() - 60] {
        let text = bridge.describe(JSON_PARTS, body[..end].to_vec()).await.problem(400);
        assert!(text.contains("nothing was stored"), "{text}");
    }
    assert!(bridge.archive.callers().is_empty());
}

#[tokio::test]
async fn instances_of_another_study_and_files_among_metadata_fail() {
    let bridge = Bridge::new();
    let headers = [("Content-Type", "application/dicom+json")];
    let body = described("1.4.1").to_string();
    let answer = bridge.send("/dicom-web/studies/1.9", &headers, body.into()).await;
    assert_eq!((answer.status.as_u16(), answer.failed()), (409, vec![told("1.4.1", 0xC409)]));
    let file = file("1.2", "1.4.1");
    let answer = bridge.describe(JSON_PARTS, parts(&[("Content-Type: application/dicom", &file)])).await;
    assert!(answer.problem(400).contains("neither metadata nor bulk data"));
    let base64 = "Content-Type: application/dicom+json|Content-Transfer-Encoding: base64";
    let answer = bridge.describe(JSON_PARTS, parts(&[(base64, b"e30=")])).await;
    assert!(answer.problem(400).contains("encoded"));
}

#[tokio::test]
async fn text_is_stored_as_utf_8_and_says_so() {
    let bridge = Bridge::new();
    let more = json!({"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]}});
    assert_eq!(
        bridge.describe("application/dicom+json", with(described("1.4.1"), more).to_string()).await.status,
        200
    );
    let bytes = &bridge.archive.stored()[0].1;
    let read = DataSet::parse(bytes, layout(&Uid::from_static(EXPLICIT)), None).unwrap().data_set;
    assert_eq!(read.string(tags::SPECIFIC_CHARACTER_SET), Some("ISO_IR 192"));
    assert_eq!(read.string(tags::PATIENT_NAME), Some("Müller"));
}
