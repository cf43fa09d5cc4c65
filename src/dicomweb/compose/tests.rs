use dicom_core::value::Value as DicomValue;
use dicom_object::DefaultDicomObject;
use serde_json::json;

use super::*;
use crate::dicom::Tag;
use crate::dicom::encode::part10_header;
use crate::dicomweb::bulk::{Intake, Label};
use crate::dicomweb::metadata::{Metadata, read_json};

const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn metadata(more: serde_json::Value) -> Metadata {
    let mut document = json!({
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.5"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00280011": {"vr": "US", "Value": [3]},
        "00280100": {"vr": "US", "Value": [8]},
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut read = read_json(document.to_string().as_bytes()).unwrap();
    assert_eq!(read[0].warnings, []);
    read.remove(0)
}

/// Parts: Content-Location, media type, transfer syntax, bytes.
async fn bulk_data(parts: &[(&str, &str, Option<&str>, &[u8])]) -> BulkData {
    let mut intake = Intake::new("http://h/dicom-web/studies", 1 << 30);
    for (location, media_type, syntax, bytes) in parts {
        let transfer_syntax = syntax.map(|s| s.parse().unwrap());
        intake.begin(&Label { location: Some(location), id: None, media_type, transfer_syntax }).unwrap();
        intake.push(Bytes::copy_from_slice(bytes)).await.unwrap();
    }
    intake.finish().await.unwrap()
}

async fn encoded(mut composed: Composed) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = composed.next().await {
        bytes.extend(piece.unwrap());
    }
    bytes
}

/// The object as another library reads it.
async fn object(more: serde_json::Value, parts: &[(&str, &str, Option<&str>, &[u8])]) -> DefaultDicomObject {
    let mut bulk = bulk_data(parts).await;
    let composed = compose(metadata(more), &mut bulk).await.unwrap();
    assert_eq!(bulk.unclaimed(), 0);
    let header = part10_header(&composed.head);
    let file = [header, encoded(composed).await].concat();
    dicom_object::from_reader(file.as_slice()).unwrap()
}

async fn error(more: serde_json::Value, parts: &[(&str, &str, Option<&str>, &[u8])]) -> String {
    let mut bulk = bulk_data(parts).await;
    compose(metadata(more), &mut bulk).await.unwrap_err().to_string()
}

fn pixels() -> serde_json::Value {
    json!({"7FE00010": {"vr": "OW", "BulkDataURI": "p"}})
}

fn frames(count: u32) -> serde_json::Value {
    json!({"7FE00010": {"vr": "OB", "BulkDataURI": "p"}, "00280008": {"vr": "IS", "Value": [count]}})
}

/// The basic offset table and the fragments of encapsulated pixel data.
fn fragments(object: &DefaultDicomObject) -> (Vec<u32>, Vec<Vec<u8>>) {
    let DicomValue::PixelSequence(sequence) = object.element(tags::PIXEL_DATA).unwrap().value() else {
        panic!("native pixel data")
    };
    (sequence.offset_table().to_vec(), sequence.fragments().iter().map(|f| f.to_vec()).collect())
}

#[tokio::test]
async fn without_bulk_data_an_object_is_its_metadata() {
    let more = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]}, "00083002": {"vr": "UI", "Value": [JPEG]}});
    let object = object(more, &[]).await;
    assert_eq!(object.meta().transfer_syntax(), EXPLICIT_VR_LE);
    assert_eq!(object.meta().media_storage_sop_instance_uid(), "1.2.3.4");
    assert_eq!(object.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Müller");
    assert_eq!(object.element(tags::SPECIFIC_CHARACTER_SET).unwrap().to_str().unwrap(), "ISO_IR 192");
    assert!(object.element_opt(tags::AVAILABLE_TRANSFER_SYNTAX_UID).unwrap().is_none());
}

#[tokio::test]
async fn values_stand_where_metadata_refers_to_them_items_included() {
    let item = |uri: &str| json!({"00420011": {"vr": "OB", "BulkDataURI": uri}, "00420012": {"vr": "LO", "Value": ["x"]}});
    let more = json!({
        "00081140": {"vr": "SQ", "Value": [item("a"), {}, {"00081140": {"vr": "SQ", "Value": [item("b"), item("a")]}}]},
        "00420011": {"vr": "OB", "BulkDataURI": "c"},
        "00281201": {"vr": "OW", "BulkDataURI": "/dicom-web/lut"},
    });
    let octets = "application/octet-stream";
    let object = object(
        more,
        &[
            ("c", "application/pdf", None, b"odd"),
            ("a", octets, None, b"aa"),
            ("b", octets, None, b"bb"),
            ("lut", octets, None, &[1, 2]),
        ],
    )
    .await;
    let bytes = |object: &dicom_object::InMemDicomObject, tag| {
        object.element(tag).unwrap().to_bytes().unwrap().to_vec()
    };
    let document = Tag(0x0042, 0x0011);
    assert_eq!(bytes(&object, document), b"odd\0");
    assert_eq!(bytes(&object, Tag(0x0028, 0x1201)), [1, 2]);
    let items = object.element(tags::REFERENCED_IMAGE_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(bytes(&items[0], document), b"aa");
    assert!(items[1].element_opt(document).unwrap().is_none());
    let inner = items[2].element(tags::REFERENCED_IMAGE_SEQUENCE).unwrap().items().unwrap();
    assert_eq!((bytes(&inner[0], document), bytes(&inner[1], document)), (b"bb".to_vec(), b"aa".to_vec()));
}

#[tokio::test]
async fn text_as_bulk_data_is_utf_8_and_says_so() {
    let more = json!({"00420010": {"vr": "ST", "BulkDataURI": "t"}});
    let object = object(more, &[("t", "text/plain", None, "Größe".as_bytes())]).await;
    assert_eq!(object.element(Tag(0x0042, 0x0010)).unwrap().to_str().unwrap(), "Größe");
}

#[tokio::test]
async fn native_pixel_data_is_words_where_pixels_are_wider_than_a_byte() {
    let octets = "application/octet-stream";
    let narrow = object(frames(1), &[("p", octets, None, b"123456")]).await;
    assert_eq!(narrow.element(tags::PIXEL_DATA).unwrap().vr(), VR::OB);
    assert_eq!(narrow.meta().transfer_syntax(), EXPLICIT_VR_LE);
    let more = json!({"7FE00010": {"vr": "OB", "BulkDataURI": "p"}, "00280100": {"vr": "US", "Value": [16]}});
    let wide = object(more, &[("p", octets, Some(EXPLICIT_VR_LE), b"123456789012")]).await;
    let pixel_data = wide.element(tags::PIXEL_DATA).unwrap();
    assert_eq!((pixel_data.vr(), pixel_data.to_bytes().unwrap().as_ref()), (VR::OW, &b"123456789012"[..]));
}

#[tokio::test]
async fn frames_in_parts_of_their_own_are_put_together() {
    let octets = "application/octet-stream";
    let native = object(frames(2), &[("p", octets, None, b"123456"), ("p", octets, None, b"abcdef")]).await;
    assert_eq!(native.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().as_ref(), b"123456abcdef");
    let parts: Vec<(&str, &str, Option<&str>, &[u8])> = [&b"one"[..], b"four", b"last."]
        .into_iter()
        .map(|bytes| ("p", "image/jpeg", Some(JPEG), bytes))
        .collect();
    let compressed = object(frames(3), &parts).await;
    assert_eq!(compressed.meta().transfer_syntax(), JPEG);
    let (table, read) = fragments(&compressed);
    assert_eq!(table, [0, 12, 24], "each begins where its item does");
    assert_eq!(read, [b"one\0".to_vec(), b"four".to_vec(), b"last.\0".to_vec()]);
}

#[tokio::test]
async fn one_compressed_frame_is_one_fragment_without_offsets() {
    let object = object(pixels(), &[("p", "image/jpeg", Some(JPEG), b"jpeg")]).await;
    assert_eq!(object.meta().transfer_syntax(), JPEG);
    assert_eq!(fragments(&object), (vec![], vec![b"jpeg".to_vec()]));
    assert_eq!(object.element(tags::PIXEL_DATA).unwrap().vr(), VR::OB);
}

#[tokio::test]
async fn a_video_is_one_fragment_whatever_its_frames() {
    let object = object(frames(250), &[("p", "video/mp4", None, b"video")]).await;
    assert_eq!(object.meta().transfer_syntax(), "1.2.840.10008.1.2.4.102");
    assert_eq!(fragments(&object).1, [b"video\0"]);
}

#[tokio::test]
async fn inline_pixel_data_is_native_or_what_the_metadata_declares_it_to_be() {
    let inline = |base64: &str, declared: &str| {
        json!({
            "7FE00010": {"vr": "OB", "InlineBinary": base64},
            "00020010": {"vr": "UI", "Value": [declared]},
        })
    };
    let native = object(inline("MTIzNDU2", JPEG), &[]).await;
    assert_eq!(native.meta().transfer_syntax(), EXPLICIT_VR_LE, "as long as native pixel data is");
    assert_eq!(native.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().as_ref(), b"123456");
    // FF D8 FF C0 and a frame header.
    let compressed = object(inline("/9j/wAALCAABAAEBAREA", JPEG), &[]).await;
    assert_eq!(compressed.meta().transfer_syntax(), JPEG);
    assert_eq!(fragments(&compressed).1.len(), 1);
}

#[tokio::test]
async fn an_icon_is_encapsulated_as_the_object_or_not_at_all() {
    let icon = json!({
        "00880200": {"vr": "SQ", "Value": [{"7FE00010": {"vr": "OB", "BulkDataURI": "i"}}]},
        "7FE00010": {"vr": "OB", "BulkDataURI": "p"},
    });
    let octets = "application/octet-stream";
    let compressed =
        [("p", "image/jpeg", Some(JPEG), &b"jpeg"[..]), ("i", "image/jpeg", Some(JPEG), b"icon")];
    let read = object(icon.clone(), &compressed).await;
    let items = read.element(tags::ICON_IMAGE_SEQUENCE).unwrap().items().unwrap();
    assert!(matches!(items[0].element(tags::PIXEL_DATA).unwrap().value(), DicomValue::PixelSequence(_)));
    let native = [("p", "image/jpeg", Some(JPEG), &b"jpeg"[..]), ("i", octets, None, b"icon")];
    let read = object(icon.clone(), &native).await;
    let items = read.element(tags::ICON_IMAGE_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(items[0].element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().as_ref(), b"icon");
    let mixed = [("p", octets, None, &b"123456"[..]), ("i", "image/jpeg", Some(JPEG), b"icon")];
    assert!(error(icon, &mixed).await.contains("in no form"));
}

#[tokio::test]
async fn bulk_data_that_is_missing_or_does_not_fit_fails_the_instance() {
    let octets = "application/octet-stream";
    assert_eq!(
        error(pixels(), &[("q", octets, None, b"123456")]).await,
        "the bulk data of (7FE0,0010) is not in the request"
    );
    let short = error(pixels(), &[("p", octets, None, b"12345")]).await;
    assert_eq!(short, "the pixel data has 5 bytes where 6 are wanted");
    let lost = error(pixels(), &[("p", octets, None, b"")]).await;
    assert_eq!(lost, "the pixel data has 0 bytes where 6 are wanted");
    let two = [("p", octets, None, &b"123456"[..]), ("p", octets, None, b"123456")];
    assert_eq!(error(frames(3), &two).await, "the pixel data has 3 frames and comes in 2 parts");
    let one = [("p", "image/jpeg", Some(JPEG), &b"12"[..])];
    assert_eq!(error(frames(2), &one).await, "the pixel data has 2 frames and comes in 1 parts");
    let empty = [("p", "image/jpeg", Some(JPEG), &b"12"[..]), ("p", "image/jpeg", Some(JPEG), b"")];
    assert!(error(frames(2), &empty).await.contains("in no form"), "an image has bytes");
    let pdf = json!({"00420011": {"vr": "OB", "BulkDataURI": "p"}});
    assert_eq!(error(pdf, &two).await, "the bulk data of (0042,0011) comes more than once");
    let no_uid = json!({"0020000E": {"vr": "UI"}});
    assert!(error(no_uid, &[]).await.starts_with("its SOP Class"));
}

#[tokio::test]
async fn hazard_a_value_whose_item_follows_an_empty_one_is_not_lost() {
    let icons =
        json!({"00880200": {"vr": "SQ", "Value": [null, {"00420011": {"vr": "OB", "BulkDataURI": "a"}}]}});
    let object = object(icons, &[("a", "application/octet-stream", None, b"abcd")]).await;
    let items = object.element(Tag(0x0088, 0x0200)).unwrap().items().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].element(Tag(0x0042, 0x0011)).unwrap().to_bytes().unwrap(), &b"abcd"[..]);
}

#[tokio::test]
async fn hazard_an_element_that_comes_twice_with_bulk_data_takes_none_away_from_those_behind_it() {
    let twice = br#"{"00080016":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["1.2.3.4"]},
        "0020000D":{"vr":"UI","Value":["1.2.3"]},"0020000E":{"vr":"UI","Value":["1.2.3.5"]},
        "00281201":{"vr":"OW","BulkDataURI":"a"},"00281201":{"vr":"OW","BulkDataURI":"b"},
        "00420011":{"vr":"OB","BulkDataURI":"c"}}"#;
    let metadata = read_json(twice).unwrap().remove(0);
    assert!(metadata.warnings.iter().any(|warning| warning.kind.discards()), "the second is told");
    let parts = [("a", &b"first "[..]), ("b", b"second"), ("c", b"behind")];
    let mut bulk = bulk_data(&parts.map(|(name, bytes)| (name, "", None, bytes))).await;
    let bytes = encoded(compose(metadata, &mut bulk).await.unwrap()).await;
    assert!(memchr::memmem::find(&bytes, b"first ").is_some());
    assert!(memchr::memmem::find(&bytes, b"behind").is_some());
}

#[tokio::test]
async fn hazard_many_elements_that_name_many_parts_of_one_name_cost_no_memory_for_each_pair() {
    let mut intake = Intake::new("http://h/dicom-web/studies", 1 << 30);
    for _ in 0..50_000 {
        intake.begin(&Label { location: Some("a"), ..Label::default() }).unwrap();
        intake.push(Bytes::from_static(b"x")).await.unwrap();
    }
    let mut bulk = intake.finish().await.unwrap();
    let all: serde_json::Map<_, _> = (0..2000)
        .map(|n| (format!("0019{:04X}", 0x1000 + n), json!({"vr": "OB", "BulkDataURI": "a"})))
        .collect();
    let begun = std::time::Instant::now();
    let error = compose(metadata(all.into()), &mut bulk).await.unwrap_err();
    assert!(matches!(error, Error::AmbiguousBulkData(_)), "{error}");
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn several_instances_may_refer_to_one_part_and_unused_parts_are_counted() {
    let octets = "application/octet-stream";
    let mut bulk = bulk_data(&[("p", octets, None, b"123456"), ("unused", octets, None, b"x")]).await;
    for _ in 0..2 {
        let composed = compose(metadata(pixels()), &mut bulk).await.unwrap();
        assert!(encoded(composed).await.ends_with(b"123456"));
    }
    assert_eq!(bulk.unclaimed(), 1);
}

#[tokio::test]
async fn values_on_disk_are_read_piece_by_piece() {
    let frame: Vec<u8> = (0..crate::dicomweb::bulk::MAX_IN_MEMORY + 3).map(|n| (n % 253) as u8).collect();
    let mut bulk = bulk_data(&[("p", "application/octet-stream", None, &frame)]).await;
    let mut composed = compose(metadata(pixels()), &mut bulk).await.unwrap();
    let (mut longest, mut bytes) = (0, Vec::new());
    while let Some(piece) = composed.next().await {
        let piece = piece.unwrap();
        longest = longest.max(piece.len());
        bytes.extend(piece);
    }
    assert_eq!(longest as u64, READ);
    assert_eq!(bytes[bytes.len() - frame.len() - 1..bytes.len() - 1], frame);
}
