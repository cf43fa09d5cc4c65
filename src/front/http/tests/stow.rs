//! What is sent to be stored.

mod broken;
mod metadata;
mod stream;

use serde_json::json;

use super::*;
use crate::archive::{Error, Kind, Stored};
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::encode::part10_header;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, IMPLICIT_VR_LE, layout};
use crate::dicom::{Uid, VR, tags};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const STUDIES: &str = "/dicom-web/studies";
const TYPE: &str = "multipart/related; type=\"application/dicom\"; boundary=b";

/// The data set of an instance of this study.
fn data_set(study: &str, instance: &str) -> DataSet {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::SOP_CLASS_UID, VR::UI, CT);
    data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, instance);
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, study);
    data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
    data_set.set_str(tags::PATIENT_COMMENTS, VR::LT, "x");
    data_set
}

/// A PS3.10 file in this transfer syntax whose File Meta Information names this instance.
fn file_of(data_set: &DataSet, instance: &str, syntax: &str) -> Vec<u8> {
    let head = Head {
        sop_class: Uid::from_static(CT),
        sop_instance: instance.parse().unwrap(),
        transfer_syntax: syntax.parse().unwrap(),
    };
    let encoded = data_set.encode(layout(&head.transfer_syntax), QueryCharset::Auto);
    [part10_header(&head), encoded].concat()
}

pub(super) fn file(study: &str, instance: &str) -> Vec<u8> {
    file_of(&data_set(study, instance), instance, EXPLICIT)
}

/// A file of a patient's.
pub(super) fn file_of_patient(patient: &str, instance: &str) -> Vec<u8> {
    let mut data_set = data_set("1.2", instance);
    data_set.set_str(tags::PATIENT_ID, VR::LO, patient);
    file_of(&data_set, instance, EXPLICIT)
}

/// The bytes of an instance behind its File Meta Information.
fn encoded(study: &str, instance: &str) -> Vec<u8> {
    data_set(study, instance).encode(layout(&Uid::from_static(EXPLICIT)), QueryCharset::Auto)
}

/// A body with the boundary `b`.
pub(super) fn multipart(parts: &[Vec<u8>]) -> Vec<u8> {
    let part = |part: &Vec<u8>| [b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n", &part[..]].concat();
    let mut body = parts.iter().map(part).collect::<Vec<_>>().concat();
    body.extend(b"\r\n--b--\r\n");
    body
}

impl Bridge {
    async fn send(&self, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        send(&self.app, path, headers, body).await
    }

    pub(super) async fn post(&self, path: &str, body: Vec<u8>) -> Answer {
        self.send(path, &[("Content-Type", TYPE)], body.into()).await
    }
}

pub(super) async fn send(app: &Router, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
    let mut request = Request::builder().method("POST").uri(path).header("Host", "bridge.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

impl Answer {
    /// The instances of a sequence of the response module, each with its reason.
    fn told(&self, sequence: &str) -> Vec<(String, u64)> {
        let items = self.json()[sequence]["Value"].as_array().cloned().unwrap_or_default();
        let one = |item: &Value| {
            let instance = item["00081155"]["Value"][0].as_str().unwrap_or_default().to_owned();
            let reason = item["00081197"]["Value"][0].as_u64().or(item["00081196"]["Value"][0].as_u64());
            (instance, reason.unwrap_or_default())
        };
        items.iter().map(one).collect()
    }

    fn stored(&self) -> Vec<(String, u64)> {
        self.told("00081199")
    }

    fn failed(&self) -> Vec<(String, u64)> {
        self.told("00081198")
    }

    fn others(&self) -> Vec<(String, u64)> {
        self.told("0008119A")
    }
}

fn told(instance: &str, reason: u64) -> (String, u64) {
    (instance.to_owned(), reason)
}

fn status_of(code: u16) -> Error {
    let comment = Some("of Doe^John".to_owned());
    Error::new("main", Kind::Status { operation: "C-STORE", code, comment, client_keys: false })
}

#[tokio::test]
async fn an_instance_is_stored_as_ohif_sends_it_and_the_answer_says_where_it_is() {
    let bridge = Bridge::new();
    let guid = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
    let content_type = format!("multipart/related; type=\"application/dicom\"; boundary=\"{guid}\"");
    let mut body = format!("--{guid}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes();
    body.extend(file("1.2", "1.4.1"));
    body.extend(format!("\r\n--{guid}--").into_bytes());
    let headers = [("Content-Type", content_type.as_str()), ("Accept", "*/*")];
    let answer = bridge.send(STUDIES, &headers, body.into()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.header("content-type"), "application/dicom+json");
    let service = "http://bridge.example/dicom-web/studies/1.2";
    let uid = |uid: &str| json!({ "vr": "UI", "Value": [uid] });
    let expected = json!({
        "00081190": { "vr": "UR", "Value": [service] },
        "00081199": { "vr": "SQ", "Value": [{
            "00081150": uid(CT),
            "00081155": uid("1.4.1"),
            "00081190": { "vr": "UR", "Value": [format!("{service}/series/1.3/instances/1.4.1")] },
        }] },
    });
    assert_eq!(answer.json(), expected);
    let [(head, bytes)] = &bridge.archive.stored()[..] else { panic!("one object") };
    assert_eq!((head.sop_class.as_str(), head.sop_instance.as_str()), (CT, "1.4.1"));
    assert_eq!(head.transfer_syntax.as_str(), EXPLICIT);
    assert_eq!(*bytes, encoded("1.2", "1.4.1"), "the data set alone, byte by byte");
    assert_eq!(bridge.archive.callers()[0].priority, Priority::Bulk);
}

#[tokio::test]
async fn bare_files_unlabelled_parts_and_every_transfer_syntax_are_taken() {
    let bridge = Bridge::new();
    let path = "/archives/main/studies/1.2";
    let answer =
        bridge.send(path, &[("Content-Type", "application/dicom")], file("1.2", "1.4.1").into()).await;
    assert_eq!((answer.status.as_u16(), answer.stored()), (200, vec![told("1.4.1", 0)]));
    assert!(String::from_utf8_lossy(&answer.body).contains("/archives/main/studies/1.2/series"));

    let unlabelled = [b"--b\r\n\r\n", &file("1.2", "1.4.1")[..], b"\r\n--b--"].concat();
    let headers = [("Content-Type", "multipart/related; type=application/dicom; boundary=b")];
    assert_eq!(bridge.send(path, &headers, unlabelled.into()).await.status, 200);

    for syntax in [IMPLICIT_VR_LE, EXPLICIT_VR_BE, "1.2.840.10008.1.2.4.70"] {
        let file = file_of(&data_set("1.2", "1.4.1"), "1.4.1", syntax);
        // The file knows its transfer syntax better than the label.
        let label = b"--b\r\nContent-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50\r\n\r\n";
        let body = [&label[..], &file[..], b"\r\n--b--"].concat();
        assert_eq!(bridge.post(STUDIES, body).await.status, 200, "{syntax}");
        assert_eq!(bridge.archive.stored().last().unwrap().0.transfer_syntax.as_str(), syntax);
    }
}

#[tokio::test]
async fn deflated_objects_pass_as_they_are() {
    use std::io::Write;
    let bridge = Bridge::new();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&encoded("1.2", "1.4.1")).unwrap();
    let deflated = encoder.finish().unwrap();
    let head = Head {
        sop_class: Uid::from_static(CT),
        sop_instance: Uid::from_static("1.4.1"),
        transfer_syntax: Uid::from_static(DEFLATED_EXPLICIT_VR_LE),
    };
    let answer = bridge.post(STUDIES, multipart(&[[part10_header(&head), deflated.clone()].concat()])).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(bridge.archive.stored(), [(head, deflated)]);
}

#[tokio::test]
async fn hazard_each_instance_has_the_fate_that_the_archive_told() {
    let bridge = Bridge::new();
    let uid = Uid::from_static("1.2.3");
    let answers = [
        Ok(Stored { status: 0, comment: None }),
        Ok(Stored { status: 0xB007, comment: Some("of Doe^John".to_owned()) }),
        Err(status_of(0xA700)),
        Err(status_of(0xA900)),
        Err(status_of(0xC123)),
        Err(status_of(0x0111)),
        Err(status_of(0x0124)),
        Err(Error::new("main", Kind::ClassRefused(uid.clone()))),
        Err(Error::new("main", Kind::SyntaxRefused(uid))),
        Err(Error::new("main", Kind::SourceBroke)),
        Err(Error::new("main", Kind::Timeout("C-STORE"))),
        Err(Error::new("main", Kind::Aborted(String::new()))),
        Ok(Stored { status: 0, comment: None }),
    ];
    let files: Vec<_> = (0..answers.len()).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
    answers.into_iter().for_each(|answer| bridge.archive.push_store(answer));
    let answer = bridge.post(STUDIES, multipart(&files)).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), [told("1.4.0", 0), told("1.4.1", 0xB007), told("1.4.12", 0)]);
    let reasons = [0xA700, 0xA900, 0xC123, 0x0111, 0x0124, 0x0122, 0xC122, 0xC000, 0x0110, 0x0110];
    let expected: Vec<_> = (2..).zip(reasons).map(|(n, reason)| told(&format!("1.4.{n}"), reason)).collect();
    assert_eq!(answer.failed(), expected);
    assert!(!String::from_utf8_lossy(&answer.body).contains("Doe"), "no patient data from comments");
}

#[tokio::test]
async fn the_fates_come_as_xml_for_who_asks_for_it() {
    let bridge = Bridge::new();
    let headers = [("Content-Type", TYPE), ("Accept", "application/dicom+xml")];
    let answer = bridge.send(STUDIES, &headers, multipart(&[file("1.2", "1.4.1")]).into()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/dicom+xml"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("<NativeDicomModel") && text.contains("ReferencedSOPSequence"), "{text}");
    assert!(text.contains("/studies/1.2/series/1.3/instances/1.4.1</Value>"), "{text}");
    let headers = [("Content-Type", TYPE), ("Accept", "multipart/related; type=\"application/dicom+xml\"")];
    let answer = bridge.send(STUDIES, &headers, multipart(&[file("1.2", "1.4.1")]).into()).await;
    assert!(answer.header("content-type").starts_with("multipart/related; type=\"application/dicom+xml\""));
    assert!(String::from_utf8_lossy(&answer.body).contains("</NativeDicomModel>\r\n--"));
}

#[tokio::test]
async fn the_status_is_200_202_or_409() {
    for (answers, status) in [
        (vec![Ok(0), Ok(0)], 200),
        (vec![Ok(0), Ok(0xB000)], 202),
        (vec![Ok(0xB006), Ok(0xB006)], 202),
        (vec![Ok(0), Err(0xA700)], 202),
        (vec![Err(0xA700), Err(0xA700)], 409),
        (vec![Err(0xC000), Err(0x0111)], 409),
    ] {
        let bridge = Bridge::new();
        let files: Vec<_> = (0..answers.len()).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
        for answer in &answers {
            let answer = answer.map(|status| Stored { status, comment: None });
            bridge.archive.push_store(answer.map_err(status_of));
        }
        let answer = bridge.post(STUDIES, multipart(&files)).await;
        assert_eq!(answer.status, status, "{answers:?}");
        assert_eq!(answer.stored().len() + answer.failed().len(), 2);
    }
}

#[tokio::test]
async fn one_bad_part_among_good_ones_is_told_and_harms_no_other() {
    let bridge = Bridge::new();
    let bare = encoded("1.2", "1.4.2");
    let body = multipart(&[file("1.2", "1.4.1"), bare, Vec::new(), vec![7; 500], file("1.2", "1.4.3")]);
    let answer = bridge.post(STUDIES, body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), [told("1.4.1", 0), told("1.4.3", 0)]);
    assert_eq!(answer.others(), [told("", 0xC000), told("", 0xC000), told("", 0xC000)]);
    let warning = answer.header("warning");
    assert!(warning.starts_with("299 http://bridge.example/dicom-web: instances not stored: 3"), "{warning}");
    assert_eq!(bridge.archive.stored().len(), 2);
}

#[tokio::test]
async fn an_instance_of_another_study_than_the_urls_fails_before_its_first_byte_is_sent() {
    let bridge = Bridge::new();
    let body = multipart(&[file("1.2", "1.4.1"), file("1.9", "1.4.2")]);
    let answer = bridge.post("/dicom-web/studies/1.2", body.clone()).await;
    assert_eq!(answer.status, 202);
    assert_eq!((answer.stored(), answer.failed()), (vec![told("1.4.1", 0)], vec![told("1.4.2", 0xC409)]));
    assert_eq!(bridge.archive.callers().len(), 1);
    assert_eq!(
        bridge.post(STUDIES, body.clone()).await.status,
        200,
        "without a study in the URL any will do"
    );
    assert_eq!(bridge.post("/dicom-web/studies/1.7", body).await.status, 409);
}

#[tokio::test]
async fn hazard_file_meta_of_another_instance_gives_way_to_the_data_set() {
    let bridge = Bridge::new();
    let body = multipart(&[file_of(&data_set("1.2", "1.4.1"), "1.4.9", EXPLICIT)]);
    let answer = bridge.post(STUDIES, body).await;
    assert_eq!((answer.status.as_u16(), answer.stored()), (200, vec![told("1.4.1", 0)]));
    assert_eq!(bridge.archive.stored()[0].0.sop_instance.as_str(), "1.4.1");
}

#[tokio::test]
async fn uids_that_are_missing_fail() {
    let bridge = Bridge::new();
    let mut files = Vec::new();
    let uids =
        [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID, tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID];
    for tag in uids {
        let mut without = data_set("1.2", "1.4.2");
        without.remove(tag);
        files.push(file_of(&without, "1.4.2", EXPLICIT));
    }
    let answer = bridge.post(STUDIES, multipart(&files)).await;
    assert!(answer.problem(400).contains("none of the 4 instances"), "a fault of syntax (Table 10.5.3-1)");
    assert!(bridge.archive.callers().is_empty());
}

#[tokio::test]
async fn the_same_instance_twice_is_stored_twice_and_told_twice() {
    let bridge = Bridge::new();
    bridge.archive.push_store(Ok(Stored { status: 0, comment: None }));
    bridge.archive.push_store(Err(status_of(0x0111)));
    let answer = bridge.post(STUDIES, multipart(&[file("1.2", "1.4.1"), file("1.2", "1.4.1")])).await;
    assert_eq!((answer.stored(), answer.failed()), (vec![told("1.4.1", 0)], vec![told("1.4.1", 0x0111)]));
}

#[tokio::test]
async fn what_cannot_be_stored_at_all_is_a_clear_4xx_problem() {
    let bridge = Bridge::new();
    let good = multipart(&[file("1.2", "1.4.1")]);
    for (content_type, status, named) in [
        ("", 415, "Content-Type"),
        ("nonsense", 415, "Content-Type"),
        ("text/plain", 415, "Content-Type"),
        ("multipart/form-data; boundary=b", 415, "Content-Type"),
        ("multipart/related; type=\"text/plain\"; boundary=b", 415, "type"),
        ("multipart/related; type=\"application/dicom\"", 400, "boundary"),
        ("multipart/related; type=\"application/dicom\"; boundary=\"\"", 400, "boundary"),
        ("multipart/related; type=\"application/dicom\"; boundary=other", 400, "closing delimiter"),
    ] {
        let answer = bridge.send(STUDIES, &[("Content-Type", content_type)], good.clone().into()).await;
        let text = answer.problem(status);
        assert!(text.contains(named), "{content_type}: {text}");
    }
    let coded = [("Content-Type", TYPE), ("Content-Encoding", "gzip")];
    bridge.send(STUDIES, &coded, good.clone().into()).await.problem(415);
    let wanted = [("Content-Type", TYPE), ("Accept", "text/html")];
    bridge.send(STUDIES, &wanted, good.clone().into()).await.problem(406);
    bridge.post("/dicom-web/studies/abc", good.clone()).await.problem(400);
    bridge.post("/archives/other/studies", good).await.problem(404);
    bridge.post(STUDIES, b"--b--\r\n".to_vec()).await.problem(400);
    bridge.post(STUDIES, Vec::new()).await.problem(400);
    bridge.send(STUDIES, &[("Content-Type", "application/dicom")], Body::empty()).await.problem(400);
    let text = bridge.post(STUDIES, multipart(&[encoded("1.2", "1.4.1")])).await.problem(400);
    assert!(text.contains("preamble"), "{text}");
    let labelled = b"--b\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--b--".to_vec();
    bridge.post(STUDIES, labelled).await.problem(415);
    let coded = b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--".to_vec();
    bridge.post(STUDIES, coded).await.problem(415);
    assert!(bridge.archive.callers().is_empty(), "none of it reached the archive");
}

#[tokio::test]
async fn an_archive_that_is_down_is_503_and_is_not_asked_for_every_instance() {
    let files: Vec<_> = (0..50).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
    for (kind, status) in [
        (Kind::Unreachable("refused".to_owned()), 503),
        (Kind::QueueFull, 503),
        (Kind::Rejected { transient: true, reason: String::new() }, 503),
        (Kind::Rejected { transient: false, reason: String::new() }, 502),
    ] {
        let bridge = Bridge::new();
        (0..50).for_each(|_| bridge.archive.push_store(Err(Error::new("main", kind.clone()))));
        let answer = bridge.post(STUDIES, multipart(&files)).await;
        answer.problem(status);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
        assert!(bridge.archive.callers().len() <= 8, "{}", bridge.archive.callers().len());
    }
}

#[tokio::test]
async fn hazard_an_archive_that_dies_in_the_middle_has_what_it_confirmed_and_no_more() {
    let bridge = Bridge::new();
    let files: Vec<_> = (0..50).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
    (0..3).for_each(|_| bridge.archive.push_store(Ok(Stored { status: 0, comment: None })));
    bridge.archive.push_store(Err(Error::new("main", Kind::Aborted("reset".to_owned()))));
    (0..46)
        .for_each(|_| bridge.archive.push_store(Err(Error::new("main", Kind::BreakerOpen(Duration::ZERO)))));
    let answer = bridge.post(STUDIES, multipart(&files)).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.stored(), [told("1.4.0", 0), told("1.4.1", 0), told("1.4.2", 0)]);
    assert_eq!(answer.failed().len(), 47);
    assert!(answer.failed().iter().all(|(_, reason)| *reason == 0x0110));
    assert!(bridge.archive.callers().len() <= 12, "{}", bridge.archive.callers().len());
    let warnings: Vec<_> = answer.headers.get_all("warning").iter().collect();
    assert!(warnings.iter().any(|w| w.to_str().unwrap().contains("failed lately")), "{warnings:?}");
}

#[tokio::test]
async fn an_archive_that_breaks_off_every_association_is_given_up_after_some() {
    let bridge = Bridge::new();
    let files: Vec<_> = (0..50).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
    (0..50).for_each(|_| bridge.archive.push_store(Err(Error::new("main", Kind::Timeout("C-STORE")))));
    let answer = bridge.post(STUDIES, multipart(&files)).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.failed().len(), 50);
    assert!((8..=16).contains(&bridge.archive.callers().len()), "{}", bridge.archive.callers().len());
}
