use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, layout,
};
use crate::dicomweb::{json, xml};

mod agreement;
mod bulk;
mod hostile;
mod left_out;

const SYNTAXES: [&str; 3] = [IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE];

fn transcribe(format: Format, syntax: &'static str, bytes: &[u8], size: usize) -> Transcript {
    let bulk = BulkData { inline: 64, url: "http://host/bulkdata".into() };
    let mut transcriber = Transcriber::new(format, &Uid::from_static(syntax), None, bulk);
    for piece in bytes.chunks(size) {
        transcriber.push(Bytes::copy_from_slice(piece));
    }
    transcriber.finish()
}

fn parsed(transcript: &Transcript) -> serde_json::Value {
    serde_json::from_slice(&transcript.text)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&transcript.text)))
}

/// The JSON of what is encoded in Explicit VR Little Endian and has nothing wrong with it.
fn to_json(parts: &[&[u8]]) -> serde_json::Value {
    let transcript = transcribe(Format::Json, EXPLICIT_VR_LE, &parts.concat(), usize::MAX);
    assert_eq!((&transcript.warnings[..], transcript.broken), (&[][..], None));
    parsed(&transcript)
}

fn warnings(parts: &[&[u8]]) -> (serde_json::Value, Vec<(Tag, WarningKind)>) {
    let transcript = transcribe(Format::Json, EXPLICIT_VR_LE, &parts.concat(), usize::MAX);
    assert_eq!(transcript.broken, None);
    (parsed(&transcript), transcript.warnings.iter().map(|w| (w.tag, w.kind)).collect())
}

/// An element in Explicit VR Little Endian.
fn element(tag: Tag, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
    out.extend(vr.as_bytes());
    if crate::dicom::scan::has_long_length(vr.parse().unwrap()) {
        out.extend([0, 0]);
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend(value);
    out
}

const SEQUENCE: &[u8] = b"\x08\x00\x32\x10SQ\0\0\xFF\xFF\xFF\xFF";
const ITEM: &[u8] = b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF";
const ITEM_END: &[u8] = b"\xFE\xFF\x0D\xE0\0\0\0\0";
const SEQUENCE_END: &[u8] = b"\xFE\xFF\xDD\xE0\0\0\0\0";
const LATIN1: &[u8] = b"\x08\x00\x05\x00CS\x0A\x00ISO_IR 100";

#[test]
fn attributes_ascend_though_their_source_does_not() {
    let code = element(tags::CODE_VALUE, "SH", b"C1");
    let first = element(tags::CODE_MEANING, "LO", b"M1");
    let second = element(tags::CODE_MEANING, "LO", b"M2");
    let bytes = [
        &element(tags::PATIENT_ID, "LO", b"P1")[..],
        SEQUENCE,
        ITEM,
        &first,
        &second,
        &code,
        ITEM_END,
        SEQUENCE_END,
        &element(tags::PATIENT_NAME, "PN", b"A "),
        &element(tags::PATIENT_ID, "LO", b"P2"),
    ]
    .concat();
    let transcript = transcribe(Format::Json, EXPLICIT_VR_LE, &bytes, 5);
    assert_eq!(
        String::from_utf8(transcript.text).unwrap(),
        concat!(
            r#"{"00081032":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["C1"]},"#,
            r#""00080104":{"vr":"LO","Value":["M1"]}}]},"#,
            r#""00100010":{"vr":"PN","Value":[{"Alphabetic":"A"}]},"00100020":{"vr":"LO","Value":["P1"]}}"#,
        )
    );
    let twice: Vec<_> = transcript.warnings.iter().map(|w| (w.tag, w.kind)).collect();
    let duplicate = WarningKind::Duplicate;
    assert_eq!(twice, [(tags::CODE_MEANING, duplicate), (tags::PATIENT_ID, duplicate)]);
}

#[test]
fn group_lengths_and_file_meta_information_are_left_out() {
    let json = to_json(&[
        &element(tags::TRANSFER_SYNTAX_UID, "UI", b"1.2\0"),
        &element(Tag(0x0010, 0x0000), "UL", &[4, 0, 0, 0]),
        &element(tags::PATIENT_ID, "LO", b"P1"),
    ]);
    assert_eq!(json, json!({"00100020": {"vr": "LO", "Value": ["P1"]}}));
}

#[test]
fn the_character_set_is_that_of_the_text_as_sent() {
    let name = element(tags::PATIENT_NAME, "PN", b"\xC4 ");
    let utf8 = json!({"vr": "CS", "Value": ["ISO_IR 192"]});
    let json = to_json(&[LATIN1, &name]);
    assert_eq!(json["00080005"], utf8);
    assert_eq!(json["00100010"]["Value"], json!([{"Alphabetic": "Ä"}]));
    let ascii = to_json(&[&element(tags::PATIENT_NAME, "PN", b"A ")]);
    assert_eq!(ascii.get("00080005"), None, "not where there is none and the text is ASCII");
    // Without a label, bytes that are UTF-8 are taken for it, and the label is made.
    let unlabelled = to_json(&[
        &element(Tag(0x0008, 0x0001), "UL", &[0; 4]),
        &element(tags::PATIENT_NAME, "PN", "Ä".as_bytes()),
    ]);
    assert_eq!(unlabelled["00080005"], utf8);
    assert_eq!(unlabelled.as_object().unwrap().keys().next().unwrap(), "00080001");
}

#[test]
fn the_assumed_character_set_holds_until_another_is_named() {
    let name = element(tags::PATIENT_NAME, "PN", b"\xC4 ");
    let bulk = BulkData { inline: 0, url: String::new() };
    let latin1 = Charset::latin1();
    let mut transcriber =
        Transcriber::new(Format::Json, &Uid::from_static(EXPLICIT_VR_LE), Some(&latin1), bulk);
    transcriber.push(name.into());
    assert_eq!(parsed(&transcriber.finish())["00100010"]["Value"], json!([{"Alphabetic": "Ä"}]));
}

#[test]
fn hazard_the_character_set_of_an_item_does_not_leak_to_its_parent() {
    let cyrillic = element(tags::SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 144");
    let meaning = |byte| element(tags::CODE_MEANING, "LO", &[byte, b' ']);
    let json = to_json(&[
        LATIN1,
        SEQUENCE,
        ITEM,
        &cyrillic,
        &meaning(0xB0),
        ITEM_END,
        ITEM,
        &meaning(0xC4),
        ITEM_END,
        SEQUENCE_END,
        &element(tags::PATIENT_NAME, "PN", b"\xC4 "),
    ]);
    let items = &json["00081032"]["Value"];
    assert_eq!(items[0]["00080104"]["Value"], json!(["А"]));
    assert_eq!(items[0]["00080005"]["Value"], json!(["ISO_IR 192"]));
    assert_eq!(items[1], json!({"00080104": {"vr": "LO", "Value": ["Ä"]}}));
    assert_eq!(json["00100010"]["Value"], json!([{"Alphabetic": "Ä"}]));
}

#[test]
fn us_or_ss_goes_by_the_pixel_representation() {
    let element = |tag: Tag, value: [u8; 2]| {
        [&[0x28, 0][..], &tag.element().to_le_bytes(), &[2, 0, 0, 0], &value].concat()
    };
    let smallest = element(tags::SMALLEST_IMAGE_PIXEL_VALUE, [0xFF, 0xFF]);
    for (representation, vr, number) in [(0, "US", 65535), (1, "SS", -1)] {
        let bytes = [element(tags::PIXEL_REPRESENTATION, [representation, 0]), smallest.clone()].concat();
        let transcript = transcribe(Format::Json, IMPLICIT_VR_LE, &bytes, usize::MAX);
        assert_eq!(parsed(&transcript)["00280106"], json!({"vr": vr, "Value": [number]}));
        let data_set = DataSet::parse(&bytes, Layout::ImplicitLe, None).unwrap().data_set;
        let mut text = Vec::new();
        json::write_object(&data_set, &mut text);
        assert_eq!(text, transcript.text, "data sets in memory go by it too");
    }
}

#[test]
fn un_gets_the_vr_of_the_dictionary_and_is_kept_where_there_is_none() {
    let json = to_json(&[
        &element(tags::PATIENT_NAME, "UN", b"A "),
        &element(Tag(0x0011, 0x0010), "UN", b"ACME"),
        &element(Tag(0x0011, 0x1001), "UN", b"\x01\x02"),
    ]);
    assert_eq!(json["00100010"], json!({"vr": "PN", "Value": [{"Alphabetic": "A"}]}));
    assert_eq!(json["00110010"], json!({"vr": "LO", "Value": ["ACME"]}));
    assert_eq!(json["00111001"], json!({"vr": "UN", "InlineBinary": "AQI="}));
}

#[test]
fn un_of_undefined_length_is_a_sequence() {
    let inside = b"\x08\x00\x00\x01\x02\0\0\0A1";
    let un = b"\x09\x00\x01\x10UN\0\0\xFF\xFF\xFF\xFF";
    assert_eq!(
        to_json(&[un, ITEM, inside, ITEM_END, SEQUENCE_END])["00091001"],
        json!({"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["A1"]}}]})
    );
}

#[test]
fn sequences_without_items_and_items_without_attributes_stay() {
    let json = to_json(&[
        SEQUENCE,
        ITEM,
        ITEM_END,
        ITEM,
        ITEM_END,
        SEQUENCE_END,
        b"\x08\x00\x10\x11SQ\0\0\0\0\0\0",
        &element(tags::PATIENT_NAME, "PN", b""),
        &element(tags::ROWS, "US", b""),
        &element(tags::IMAGE_TYPE, "CS", b"A\\\\B "),
    ]);
    assert_eq!(
        json,
        json!({
            "00080008": {"vr": "CS", "Value": ["A", null, "B"]},
            "00081032": {"vr": "SQ", "Value": [{}, {}]},
            "00081110": {"vr": "SQ"},
            "00100010": {"vr": "PN"},
            "00280010": {"vr": "US"},
        })
    );
}

#[test]
fn hazard_one_bad_element_is_one_warning() {
    let (json, warnings) = warnings(&[
        &element(tags::SPECIFIC_CHARACTER_SET, "CS", b"KLINGON "),
        &element(tags::PROCEDURE_CODE_SEQUENCE, "SQ", b"no items"),
        &element(tags::MODALITY, "CS", b"CT"),
        &element(tags::PATIENT_NAME, "PN", b"A\xFC"),
        &element(tags::ROWS, "US", &[1, 2, 3]),
        &element(tags::SLICE_THICKNESS, "DS", b"1,5 "),
    ]);
    assert_eq!(
        warnings,
        [
            (tags::SPECIFIC_CHARACTER_SET, WarningKind::UnknownCharset),
            (tags::PROCEDURE_CODE_SEQUENCE, WarningKind::NotASequence),
            (tags::PATIENT_NAME, WarningKind::UndecodableText),
            (tags::ROWS, WarningKind::BrokenWord),
        ]
    );
    assert_eq!(json["00081032"]["vr"], "UN");
    assert_eq!(json["00080060"]["Value"], json!(["CT"]));
    assert_eq!(json["00100010"]["Value"], json!([{"Alphabetic": "A\u{FFFD}"}]));
    assert_eq!(json["00280010"]["Value"], json!([0x0201]));
    assert_eq!(json["00180050"]["Value"], json!(["1,5"]), "no number, and kept all the same");
}

#[test]
fn deflated_data_sets_are_like_others() {
    let plain = [LATIN1, &element(tags::PATIENT_NAME, "PN", b"\xC4 ")].concat();
    let deflated = {
        use std::io::Write as _;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(
        transcribe(Format::Json, DEFLATED_EXPLICIT_VR_LE, &deflated, 3),
        transcribe(Format::Json, EXPLICIT_VR_LE, &plain, 3)
    );
}
