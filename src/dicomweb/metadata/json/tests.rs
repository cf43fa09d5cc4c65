use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::dicom::dataset::{Element, Value};
use crate::dicom::scan::MAX_DEPTH;
use crate::dicom::{Tag, VR, tags};
use crate::dicomweb::metadata::{BulkReference, ElementPath, MAX_DOCUMENT, Warning};

/// A private attribute with a creator nobody knows: nothing but what the document says tells its VR.
const PRIVATE: Tag = Tag(0x0011, 0x1001);

fn read(document: &str) -> Metadata {
    let mut read = read_json(document.as_bytes()).unwrap_or_else(|e| panic!("{e}: {document}"));
    assert_eq!(read.len(), 1);
    read.remove(0)
}

/// The element that an attribute is read as, without warnings.
fn one(attribute: serde_json::Value) -> Element {
    let metadata = read(&json!({"00111001": attribute}).to_string());
    assert_eq!(metadata.warnings, [], "{attribute}");
    metadata.data_set.get(PRIVATE).unwrap().clone()
}

fn strings(attribute: serde_json::Value) -> Vec<String> {
    one(attribute).strings().to_vec()
}

fn bytes(attribute: serde_json::Value) -> Vec<u8> {
    let Value::Bytes(bytes) = one(attribute).value else { panic!("no bytes") };
    bytes.to_vec()
}

/// What is wrong with an attribute, which is therefore not in the data set.
fn fault(attribute: &str) -> WarningKind {
    let metadata = read(&format!(
        r#"{{"00100020":{{"vr":"LO","Value":["ID"]}},"00111001":{attribute},"00200010":{{"vr":"SH","Value":["S"]}}}}"#
    ));
    assert!(!metadata.data_set.contains(PRIVATE), "{attribute}");
    assert_eq!(metadata.data_set.string(tags::PATIENT_ID), Some("ID"));
    assert_eq!(metadata.data_set.string(tags::STUDY_ID), Some("S"));
    let [Warning { path: Some(path), kind }] = metadata.warnings.as_slice() else {
        panic!("{attribute}: {:?}", metadata.warnings)
    };
    assert_eq!(*path, ElementPath { within: vec![], tag: PRIVATE });
    assert!(kind.discards());
    *kind
}

#[test]
fn an_array_or_a_single_object_are_data_sets() {
    assert_eq!(read_json(b" [ ] "), Ok(vec![]));
    assert_eq!(read_json(b"[{},{}]").unwrap().len(), 2);
    assert_eq!(read_json(b"{}").unwrap(), [Metadata::default()]);
    assert_eq!(read_json(b"\xEF\xBB\xBF{}").unwrap().len(), 1, "a byte order mark");
}

#[test]
fn text_is_read_with_nulls_among_several_values() {
    assert_eq!(strings(json!({"vr": "CS", "Value": ["A", null, "B"]})), ["A", "", "B"]);
    assert_eq!(strings(json!({"vr": "LO", "Value": ["Müller\u{1F600}"]})), ["Müller\u{1F600}"]);
    assert_eq!(strings(json!({"vr": "UT", "Value": ["a\\b"]})), ["a\\b"], "UT has one value");
    assert_eq!(
        strings(json!({"vr": "CS", "Value": ["A\\B"]})),
        ["A", "B"],
        "what would be two values once encoded"
    );
    assert_eq!(strings(json!({"vr": "LO", "Value": [12, "  x  "]})), ["12", "x"]);
    assert_eq!(strings(json!({"vr": "LO", "Value": "bare"})), ["bare"]);
}

#[test]
fn nothing_is_an_empty_value() {
    for empty in [json!([]), json!([null]), json!(null), json!([""])] {
        assert_eq!(one(json!({"vr": "LO", "Value": empty})), Element::empty(VR::LO));
    }
    for vr in ["US", "FD", "AT", "OB", "UN", "SQ", "PN", "LT"] {
        let empty = Element::empty(vr.parse().unwrap());
        assert_eq!(one(json!({"vr": vr})), empty);
        assert_eq!(one(json!({"vr": vr, "Value": []})), empty);
    }
    assert_eq!(one(json!({"vr": "OB", "InlineBinary": ""})), Element::empty(VR::OB));
    assert_eq!(one(json!({"vr": "US", "Value": [null]})), Element::empty(VR::US));
}

#[test]
fn names_have_component_groups_or_are_plain_strings() {
    let name = |value: serde_json::Value| strings(json!({"vr": "PN", "Value": value}));
    assert_eq!(
        name(
            json!([{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}])
        ),
        ["Yamada^Tarou=山田^太郎=やまだ^たろう"]
    );
    assert_eq!(name(json!([{"Phonetic": "c"}])), ["==c"]);
    assert_eq!(name(json!([{"Ideographic": "b", "Alphabetic": ""}])), ["=b"]);
    assert_eq!(name(json!(["A^B", null, {"Alphabetic": "C"}])), ["A^B", "", "C"]);
    assert_eq!(name(json!([{}, {"Alphabetic": "C"}])), ["", "C"]);
    assert_eq!(name(json!([{}])), Vec::<String>::new());
    assert_eq!(name(json!([{"Alphabetic": null}])), Vec::<String>::new());
}

#[test]
fn decimal_and_integer_strings_keep_their_value_and_their_digits() {
    let ds = |value: &str| read(&format!(r#"{{"00111001":{{"vr":"DS","Value":[{value}]}}}}"#));
    let text = |value: &str| ds(value).data_set.string(PRIVATE).unwrap().to_owned();
    for same in ["1.50", "-0", "1e-7", "0.10", "123456789012.500", "1E+3"] {
        assert_eq!(text(same), same);
        assert_eq!(text(&format!("\"{same}\"")), same);
    }
    for (long, expected) in [
        ("0.30000000000000004", "0.3"),
        ("-0.12345678901234567", "-0.1234567890123"),
        ("3.141592653589793", "3.14159265358979"),
        ("12345678901234567890", "1.2345678901e+19"),
        ("1.2345678901234567e-100", "1.234567890e-100"),
    ] {
        let read = text(long);
        assert!(read.len() <= 16, "{read}");
        let (is, should): (f64, f64) = (read.parse().unwrap(), long.parse().unwrap());
        let expected: f64 = expected.parse().unwrap();
        assert!((is - should).abs() <= (expected - should).abs(), "{long} became {read}");
    }
    assert_eq!(text("\"0.30000000000000004\""), "0.30000000000000004", "text is the client's own");
    assert_eq!(strings(json!({"vr": "IS", "Value": [5, "007", -3]})), ["5", "007", "-3"]);
    assert_eq!(strings(json!({"vr": "IS", "Value": [5.0]})), ["5"]);
    assert_eq!(strings(json!({"vr": "IS", "Value": [1.5]})), ["1.5"]);
}

#[test]
fn binary_numbers_are_read_from_numbers_and_from_text() {
    assert_eq!(bytes(json!({"vr": "US", "Value": [65535, "1", 2.0]})), [0xFF, 0xFF, 1, 0, 2, 0]);
    assert_eq!(bytes(json!({"vr": "SS", "Value": [-1]})), [0xFF, 0xFF]);
    assert_eq!(bytes(json!({"vr": "UL", "Value": [2147483648_u32]})), [0, 0, 0, 0x80]);
    assert_eq!(bytes(json!({"vr": "SL", "Value": [i32::MIN]})), [0, 0, 0, 0x80]);
    assert_eq!(bytes(json!({"vr": "UV", "Value": ["18446744073709551615"]})), u64::MAX.to_le_bytes());
    assert_eq!(bytes(json!({"vr": "UV", "Value": [18446744073709551615_u64]})), u64::MAX.to_le_bytes());
    assert_eq!(bytes(json!({"vr": "SV", "Value": ["-9223372036854775808"]})), i64::MIN.to_le_bytes());
    assert_eq!(bytes(json!({"vr": "FL", "Value": [0.1]})), 0.1_f32.to_le_bytes());
    assert_eq!(
        bytes(json!({"vr": "FD", "Value": [0.1, "1e300"]})),
        [0.1, 1e300].map(f64::to_le_bytes).concat()
    );
    assert_eq!(
        bytes(json!({"vr": "FD", "Value": ["NaN", "inf", "-inf", "Infinity"]})),
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY].map(f64::to_le_bytes).concat()
    );
    assert_eq!(bytes(json!({"vr": "AT", "Value": ["0010A020"]})), [0x10, 0, 0x20, 0xA0]);
    assert_eq!(bytes(json!({"vr": "AT", "Value": ["(0010,a020)"]})), [0x10, 0, 0x20, 0xA0]);
}

#[test]
fn inline_binary_is_base64_of_little_endian_bytes() {
    assert_eq!(bytes(json!({"vr": "OB", "InlineBinary": "Zm9v"})), b"foo");
    assert_eq!(
        bytes(json!({"vr": "UN", "InlineBinary": "+//+\r\nZg"})),
        b"\xFB\xFF\xFEf",
        "line breaks, no padding"
    );
    assert_eq!(bytes(json!({"vr": "US", "InlineBinary": "AQI="})), [1, 2]);
    assert_eq!(strings(json!({"vr": "LO", "InlineBinary": "QSBcQg=="})), ["A", "B"]);
    let metadata = read(r#"{"00111001":{"vr":"OW","InlineBinary":"AQID"}}"#);
    assert_eq!(metadata.warnings[0].kind, WarningKind::BrokenWord);
    assert_eq!(metadata.data_set.get(PRIVATE).unwrap().value, Value::Bytes(Bytes::from_static(&[1, 2])));
}

#[test]
fn bulk_data_is_told_with_its_path_in_the_order_of_the_data_set() {
    let metadata = read(
        r#"{"7FE00010":{"BulkDataURI":" bulk/1 ","vr":"OW"},
            "00081140":{"vr":"SQ","Value":[{},{"00420011":{"vr":"OB","BulkDataURI":"b"}}]},
            "00420011":{"vr":"OB","BulkDataURI":"c"}}"#,
    );
    assert_eq!(metadata.warnings, []);
    let told: Vec<(String, VR, &str)> =
        metadata.bulk.iter().map(|b| (b.path.to_string(), b.vr, b.uri.as_str())).collect();
    assert_eq!(
        told,
        [
            ("(0008,1140)[1].(0042,0011)".to_owned(), VR::OB, "b"),
            ("(0042,0011)".to_owned(), VR::OB, "c"),
            ("(7FE0,0010)".to_owned(), VR::OW, "bulk/1"),
        ]
    );
    assert_eq!(metadata.data_set.get(tags::PIXEL_DATA), Some(&Element::empty(VR::OW)), "its place");
}

#[test]
fn sequences_have_items_empty_ones_included() {
    let element = one(json!({"vr": "SQ", "Value": [{}, {"00100020": {"vr": "LO", "Value": ["x"]}}, null]}));
    let [first, second, third] = element.items() else { panic!("{element:?}") };
    assert!(first.is_empty() && third.is_empty());
    assert_eq!(second.string(tags::PATIENT_ID), Some("x"));
}

#[test]
fn tags_may_be_lower_case_or_keywords_and_members_in_any_order() {
    let metadata = read(
        r#"{"0010002f":{},"PatientID":{"Value":["x"],"vr":"lo","comment":{"deep":[1,{}]}},"7fe00010":{"InlineBinary":"AAA=","vr":"OW"}}"#,
    );
    assert_eq!(metadata.warnings, []);
    assert_eq!(metadata.data_set.string(tags::PATIENT_ID), Some("x"));
    assert!(metadata.data_set.contains(tags::PIXEL_DATA));
}

#[test]
fn without_a_vr_the_dictionary_tells_it() {
    let metadata = read(
        r#"{"00100010":{"Value":["A^B"]},"00280106":{"Value":[-5]},"00280107":{"vr":"UN","Value":[5]},
            "00081140":{"Value":[{}]},"00111002":{"Value":[{}]},"00111003":{}}"#,
    );
    assert_eq!(metadata.warnings, []);
    let vr = |tag| metadata.data_set.get(tag).unwrap().vr;
    assert_eq!(vr(tags::PATIENT_NAME), VR::PN);
    assert_eq!((vr(Tag(0x0028, 0x0106)), vr(Tag(0x0028, 0x0107))), (VR::SS, VR::US), "US or SS, by the sign");
    assert_eq!((vr(tags::REFERENCED_IMAGE_SEQUENCE), vr(Tag(0x0011, 0x1002))), (VR::SQ, VR::SQ));
    assert_eq!(vr(Tag(0x0011, 0x1003)), VR::UN);
}

#[test]
fn an_unknown_vr_is_a_warning_and_costs_no_standard_element() {
    let metadata =
        read(r#"{"00100020":{"vr":"ZZ","Value":["x"]},"00111001":{"vr":"Q","InlineBinary":"AAA="}}"#);
    assert_eq!(metadata.data_set.string(tags::PATIENT_ID), Some("x"));
    assert_eq!(metadata.data_set.get(PRIVATE).unwrap().vr, VR::UN);
    assert!(metadata.warnings.iter().all(|w| w.kind == WarningKind::UnknownVr && !w.kind.discards()));
    assert_eq!(metadata.warnings.len(), 2);
    assert_eq!(fault(r#"{"vr":"ZZ","Value":["x"]}"#), WarningKind::NoVr);
    assert_eq!(fault(r#"{"Value":["x"]}"#), WarningKind::NoVr);
}

#[test]
fn one_bad_element_is_one_warning_and_never_a_failed_data_set() {
    for (attribute, kind) in [
        (r#"{"vr":"OB","InlineBinary":"*"}"#, WarningKind::BadInlineBinary),
        (r#"{"vr":"LO","InlineBinary":"/w=="}"#, WarningKind::BadInlineBinary),
        (r#"{"vr":"OB","InlineBinary":["Zm9v"]}"#, WarningKind::WrongKind),
        (r#"{"vr":"OB","Value":[1]}"#, WarningKind::WrongKind),
        (r#"{"vr":"US","Value":[65536]}"#, WarningKind::BadNumber),
        (r#"{"vr":"US","Value":[-1]}"#, WarningKind::BadNumber),
        (r#"{"vr":"SS","Value":[1.5]}"#, WarningKind::BadNumber),
        (r#"{"vr":"US","Value":[1,null]}"#, WarningKind::BadNumber),
        (r#"{"vr":"FL","Value":[1e39]}"#, WarningKind::BadNumber),
        (r#"{"vr":"FD","Value":["x"]}"#, WarningKind::BadNumber),
        (r#"{"vr":"AT","Value":["12"]}"#, WarningKind::BadNumber),
        (r#"{"vr":"LO","Value":[true]}"#, WarningKind::WrongKind),
        (r#"{"vr":"LO","Value":[["x"]]}"#, WarningKind::WrongKind),
        (r#"{"vr":"LO","Value":[{"00100020":{"vr":"OB","BulkDataURI":"x"}}]}"#, WarningKind::WrongKind),
        (r#"{"vr":"LO","Value":[{"Alphabetic":"x"}]}"#, WarningKind::WrongKind),
        (r#"{"vr":"PN","Value":[{"Alphabetic":["x"]}]}"#, WarningKind::WrongKind),
        (r#"{"vr":"SQ","Value":["x"]}"#, WarningKind::WrongKind),
        (r#"{"vr":"SQ","BulkDataURI":"x"}"#, WarningKind::WrongKind),
        (r#"{"vr":"LO","BulkDataURI":5}"#, WarningKind::WrongKind),
        (r#"{"vr":5}"#, WarningKind::WrongKind),
        (r#"["x",{"00080005":{}}]"#, WarningKind::WrongKind),
        (r#""x""#, WarningKind::WrongKind),
        ("null", WarningKind::WrongKind),
    ] {
        assert_eq!(fault(attribute), kind, "{attribute}");
    }
}

#[test]
fn what_an_element_that_is_left_out_wanted_of_bulk_data_is_forgotten() {
    let metadata = read(r#"{"00111001":{"vr":"LO","Value":[{"00420011":{"vr":"OB","BulkDataURI":"x"}}]}}"#);
    assert_eq!(metadata.bulk, [] as [BulkReference; 0]);
}

#[test]
fn what_names_no_attribute_of_a_data_set_is_left_out() {
    let metadata = read(
        r#"{"nonsense":{"vr":"LO"},"FFFEE000":{},"00000002":{"vr":"UI"},
            "00100000":{"vr":"UL","Value":[8]},"00081140":{"vr":"SQ","Value":[{"00020010":{"vr":"UI"}}]}}"#,
    );
    let told: Vec<String> = metadata.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "a group length is passed over");
    assert!(told[0].starts_with("the name of an attribute is no tag"), "{told:?}");
    assert!(told[3].starts_with("(0008,1140)[0].(0002,0010) has no place"), "{told:?}");
    assert_eq!(metadata.data_set.len(), 1);
}

#[test]
fn of_two_elements_with_one_tag_the_first_is_kept() {
    let metadata = read(r#"{"00100020":{"vr":"LO","Value":["a"]},"PatientID":{"vr":"LO","Value":["b"]}}"#);
    assert_eq!(metadata.data_set.string(tags::PATIENT_ID), Some("a"));
    assert_eq!(metadata.warnings[0].kind, WarningKind::Duplicate);
    let both = read(r#"{"00420011":{"vr":"OB","InlineBinary":"Zm8=","BulkDataURI":"x"}}"#);
    assert_eq!((both.warnings[0].kind, both.bulk.len()), (WarningKind::Ambiguous, 0));
}

#[test]
fn file_meta_is_told_apart() {
    let metadata = read(
        r#"{"00020010":{"vr":"UI","Value":["1.2.840.10008.1.2.4.50"]},"00080018":{"vr":"UI","Value":["1.2"]}}"#,
    );
    assert_eq!(metadata.warnings, []);
    assert_eq!(metadata.file_meta.string(tags::TRANSFER_SYNTAX_UID), Some("1.2.840.10008.1.2.4.50"));
    assert_eq!(metadata.data_set.iter().map(|(tag, _)| tag).collect::<Vec<_>>(), [tags::SOP_INSTANCE_UID]);
}

#[test]
fn text_is_utf_8_whatever_the_character_set_says() {
    let charset =
        |document: &str| read(document).data_set.string(tags::SPECIFIC_CHARACTER_SET).map(str::to_owned);
    let utf_8 = Some("ISO_IR 192".to_owned());
    assert_eq!(
        charset(r#"{"00080005":{"vr":"CS","Value":["ISO_IR 100"]},"00100010":{"vr":"PN","Value":["Ä"]}}"#),
        utf_8
    );
    assert_eq!(
        charset(r#"{"00081140":{"vr":"SQ","Value":[{"00080104":{"vr":"LO","Value":["Ж"]}}]}}"#),
        utf_8
    );
    assert_eq!(charset(r#"{"00100010":{"vr":"PN","Value":["A"]}}"#), None);
    let two = read_json(
        r#"[{"00100010":{"vr":"PN","Value":["Ä"]}},{"00100010":{"vr":"PN","Value":["A"]}}]"#.as_bytes(),
    );
    assert!(!two.unwrap()[1].data_set.contains(tags::SPECIFIC_CHARACTER_SET), "it does not leak");
}

#[test]
fn half_a_character_is_a_warning_that_loses_nothing_else() {
    let metadata = read(r#"{"00100020":{"vr":"LO","Value":["a\ud800b"]}}"#);
    assert_eq!(metadata.data_set.string(tags::PATIENT_ID), Some("a\u{FFFD}b"));
    assert_eq!(metadata.warnings[0].kind, WarningKind::BrokenText);
}

#[test]
fn a_bad_document_is_an_error_with_its_place() {
    for (document, offset, kind) in [
        (&b""[..], 0, ReadErrorKind::Truncated),
        (b"[{}", 3, ReadErrorKind::Truncated),
        (b"[{]", 2, ReadErrorKind::Json),
        (b"[{},]", 4, ReadErrorKind::Json),
        (b"{} {}", 3, ReadErrorKind::Json),
        (b"\"x\"", 3, ReadErrorKind::Model),
        (b"[5]", 2, ReadErrorKind::Model),
        (b"[[{}]]", 2, ReadErrorKind::Model),
        (b"{\"\xFF\":{}}", 2, ReadErrorKind::NotUtf8),
        (b"<NativeDicomModel/>", 0, ReadErrorKind::Json),
    ] {
        let error = read_json(document).unwrap_err();
        assert_eq!(error, ReadError { offset, kind }, "{}", String::from_utf8_lossy(document));
        assert!(error.to_string().ends_with(&format!("at byte {offset}")));
    }
    assert_eq!(read_json(&vec![b' '; MAX_DOCUMENT + 1]).unwrap_err().kind, ReadErrorKind::TooLong);
}

#[test]
fn nesting_as_deep_as_data_sets_may_be_is_read_and_no_deeper() {
    let nested =
        |depth: usize| r#"{"00081140":{"vr":"SQ","Value":["#.repeat(depth) + "{}" + &"]}}".repeat(depth);
    let mut item = read(&nested(MAX_DEPTH)).data_set;
    for _ in 0..MAX_DEPTH {
        item = item.items(tags::REFERENCED_IMAGE_SEQUENCE)[0].clone();
    }
    assert!(item.is_empty());
    assert_eq!(read_json(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().kind, ReadErrorKind::TooDeep);
    assert_eq!(read_json(nested(100_000).as_bytes()).unwrap_err().kind, ReadErrorKind::TooDeep);
}

#[test]
fn elements_and_values_are_bounded() {
    let many = format!("[{}{{}}]", "{},".repeat(crate::dicomweb::metadata::MAX_ELEMENTS));
    assert_eq!(read_json(many.as_bytes()).unwrap_err().kind, ReadErrorKind::TooManyElements);
    let values = "0,".repeat(crate::dicomweb::metadata::MAX_VALUES);
    let many = format!(r#"{{"00111001":{{"vr":"US","Value":[{values}0]}}}}"#);
    assert_eq!(read_json(many.as_bytes()).unwrap_err().kind, ReadErrorKind::TooManyValues);
}

#[test]
fn another_writer_of_dicom_json_is_understood() {
    use dicom_core::{DataElement, PrimitiveValue};
    let object = dicom_object::InMemDicomObject::from_element_iter([
        DataElement::new(tags::PATIENT_NAME, VR::PN, PrimitiveValue::from("Yamada^Tarou=山田^太郎")),
        DataElement::new(tags::SLICE_THICKNESS, VR::DS, PrimitiveValue::from("0.625")),
        DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(512_u16)),
        DataElement::new(
            Tag(0x0028, 0x0009),
            VR::AT,
            PrimitiveValue::Tags([Tag(0x0018, 0x1063)].into_iter().collect()),
        ),
    ]);
    let document = dicom_json::to_string(object).unwrap();
    let Metadata { data_set, warnings, .. } = read(&document);
    assert_eq!(warnings, []);
    assert_eq!(data_set.string(tags::PATIENT_NAME), Some("Yamada^Tarou=山田^太郎"));
    assert_eq!(data_set.string(tags::SLICE_THICKNESS), Some("0.625"));
    assert_eq!(data_set.int(tags::ROWS), Some(512));
    let pointer = &data_set.get(Tag(0x0028, 0x0009)).unwrap().value;
    assert_eq!(*pointer, Value::Bytes(Bytes::from_static(&[0x18, 0, 0x63, 0x10])));
}
