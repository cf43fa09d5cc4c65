use bytes::Bytes;
use dicom_object::InMemDicomObject;
use serde_json::json;

use super::*;
use crate::dicom::dataset::{Element, Value};
use crate::dicom::tags;

fn to_json(data_set: &DataSet) -> serde_json::Value {
    let mut out = Vec::new();
    write_object(data_set, &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
}

fn one(vr: VR, value: Value) -> serde_json::Value {
    let mut data_set = DataSet::new();
    data_set.insert(Tag(0x0011, 0x1001), Element { vr, value });
    to_json(&data_set)["00111001"].take()
}

fn strings(vr: VR, values: &[&str]) -> serde_json::Value {
    one(vr, Value::Strings(values.iter().map(|v| (*v).to_owned()).collect()))
}

fn bytes(vr: VR, bytes: &[u8]) -> serde_json::Value {
    one(vr, Value::Bytes(Bytes::copy_from_slice(bytes)))
}

fn number_of(value: &str) -> Option<String> {
    let mut out = Vec::new();
    put_number(&mut out, value).then(|| String::from_utf8(out).unwrap())
}

#[test]
fn matches_are_an_array_with_ascending_tags() {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
    data_set.set_str(tags::STUDY_DATE, VR::DA, "20260101");
    data_set.insert(
        Tag(0x0020, 0x0000),
        Element { vr: VR::UL, value: Value::Bytes(Bytes::from_static(&[4, 0, 0, 0])) },
    );
    assert_eq!(
        String::from_utf8(write_array(&[data_set, DataSet::new()])).unwrap(),
        r#"[{"00080020":{"vr":"DA","Value":["20260101"]},"0020000D":{"vr":"UI","Value":["1.2"]}},{}]"#
    );
    assert_eq!(write_array(&[]), b"[]");
}

#[test]
fn the_character_set_is_that_of_the_text_as_sent() {
    let with_name = |name: &str| {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PATIENT_NAME, VR::PN, name);
        data_set
    };
    assert_eq!(
        to_json(&with_name("Smith")),
        json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Smith"}]}})
    );
    assert_eq!(to_json(&with_name("Müller"))["00080005"], json!({"vr": "CS", "Value": ["ISO_IR 192"]}));
    let mut labelled = with_name("Smith");
    labelled.set_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
    assert_eq!(to_json(&labelled)["00080005"]["Value"], json!(["ISO_IR 192"]));
    // Also where the text stands in an item, and where nothing but an earlier tag is at the top.
    let mut outer = DataSet::new();
    outer.set_items(Tag(0x0008, 0x0001), vec![with_name("Ж"), labelled]);
    let json = to_json(&outer);
    assert_eq!(json["00080005"]["Value"], json!(["ISO_IR 192"]));
    assert_eq!(json["00080001"]["Value"][0].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(json["00080001"]["Value"][1]["00080005"]["Value"], json!(["ISO_IR 192"]));
}

#[test]
fn names_have_component_groups_and_no_empty_ones() {
    assert_eq!(
        strings(VR::PN, &["Yamada^Tarou=山田^太郎=やまだ^たろう"])["Value"],
        json!([{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}])
    );
    assert_eq!(strings(VR::PN, &["=山田"])["Value"], json!([{"Ideographic": "山田"}]));
    assert_eq!(
        strings(VR::PN, &["A=", "", "B"])["Value"],
        json!([{"Alphabetic": "A"}, null, {"Alphabetic": "B"}])
    );
    assert_eq!(strings(VR::PN, &["=="]), json!({"vr": "PN"}), "no [{{}}]");
    assert_eq!(strings(VR::PN, &[]), json!({"vr": "PN"}));
}

#[test]
fn empty_values_among_several_are_null() {
    assert_eq!(strings(VR::CS, &["A", "", "B"])["Value"], json!(["A", null, "B"]));
    assert_eq!(strings(VR::DS, &["", "1"])["Value"], json!([null, 1]));
    assert_eq!(strings(VR::CS, &[""]), json!({"vr": "CS"}));
    assert_eq!(bytes(VR::US, &[]), json!({"vr": "US"}));
    assert_eq!(bytes(VR::OB, &[]), json!({"vr": "OB"}));
}

#[test]
fn decimal_and_integer_strings_are_numbers_of_the_same_value() {
    let cases = [
        ("1", "1"),
        ("+1.50", "1.50"),
        ("-007", "-7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-.5E+03", "-0.5E+03"),
        ("1e-7", "1e-7"),
        ("0.12345678901234", "0.12345678901234"),
        ("000", "0"),
    ];
    for (value, number) in cases {
        assert_eq!(number_of(value).as_deref(), Some(number), "{value}");
        assert_eq!(number.parse::<f64>(), value.parse::<f64>(), "{value}");
        assert!(serde_json::from_str::<f64>(number).is_ok(), "{number}");
    }
    for value in ["", ".", "-", "1e", "1e400", "0x10", "inf", "NaN", "1_0", "1 2", "--1", "1,5", "e5"] {
        assert_eq!(number_of(value), None, "{value}");
    }
    assert_eq!(strings(VR::DS, &["1,5"])["Value"], json!(["1,5"]));
}

#[test]
fn binary_numbers_keep_their_value() {
    assert_eq!(bytes(VR::US, &[0xFF, 0xFF, 1, 0])["Value"], json!([65535, 1]));
    assert_eq!(bytes(VR::SS, &[0xFF, 0xFF])["Value"], json!([-1]));
    assert_eq!(bytes(VR::UL, &[0, 0, 0, 0x80])["Value"], json!([0x8000_0000_u32]));
    assert_eq!(bytes(VR::SL, &[0, 0, 0, 0x80])["Value"], json!([i32::MIN]));
    assert_eq!(bytes(VR::AT, &[0x10, 0, 0x20, 0xA0])["Value"], json!(["0010A020"]));
    assert_eq!(bytes(VR::UV, &5_u64.to_le_bytes())["Value"], json!([5]));
    assert_eq!(bytes(VR::UV, &u64::MAX.to_le_bytes())["Value"], json!(["18446744073709551615"]));
    assert_eq!(bytes(VR::SV, &i64::MIN.to_le_bytes())["Value"], json!(["-9223372036854775808"]));
    assert_eq!(bytes(VR::FD, &0.1_f64.to_le_bytes())["Value"], json!([0.1]));
    assert_eq!(bytes(VR::FD, &1e300_f64.to_le_bytes())["Value"], json!([1e300]));
    assert_eq!(bytes(VR::FL, &0.1_f32.to_le_bytes())["Value"], json!([f64::from(0.1_f32)]));
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(f64::to_le_bytes).concat();
    assert_eq!(bytes(VR::FD, &special)["Value"], json!(["NaN", "inf", "-inf"]));
    assert_eq!(bytes(VR::US, &[1, 0, 9])["Value"], json!([1]), "half a word is no value");
}

#[test]
fn bytes_go_inline_in_base64() {
    for (value, text) in
        [(&b"f"[..], "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xFB\xFF\xFEf", "+//+Zg==")]
    {
        assert_eq!(bytes(VR::UN, value)["InlineBinary"], json!(text));
    }
}

#[test]
fn sequences_keep_their_empty_items() {
    let mut inner = DataSet::new();
    inner.set_str(tags::CODE_VALUE, VR::SH, "A\"\n");
    let mut data_set = DataSet::new();
    data_set.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![DataSet::new(), inner, DataSet::new()]);
    data_set.set_empty(tags::REFERENCED_STUDY_SEQUENCE, VR::SQ);
    assert_eq!(
        to_json(&data_set),
        json!({
            "00081032": {"vr": "SQ", "Value": [{}, {"00080100": {"vr": "SH", "Value": ["A\"\n"]}}, {}]},
            "00081110": {"vr": "SQ"},
        })
    );
}

#[test]
fn another_reader_of_dicom_json_agrees() {
    let mut item = DataSet::new();
    item.set_str(tags::CODE_MEANING, VR::LO, "Schädel");
    let mut data_set = DataSet::new();
    data_set.set_str(tags::PATIENT_NAME, VR::PN, "Yamada^Tarou=山田^太郎");
    data_set.set_strings(tags::IMAGE_TYPE, VR::CS, vec!["ORIGINAL".into(), "PRIMARY".into()]);
    data_set.set_str(tags::SLICE_THICKNESS, VR::DS, "0.625");
    data_set.set_u16(tags::ROWS, 512);
    data_set.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![item]);
    let mut out = Vec::new();
    write_object(&data_set, &mut out);
    let read: InMemDicomObject = dicom_json::from_slice(&out).unwrap();
    assert_eq!(read.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Yamada^Tarou=山田^太郎");
    assert_eq!(
        read.element(tags::IMAGE_TYPE).unwrap().to_multi_str().unwrap().to_vec(),
        ["ORIGINAL", "PRIMARY"]
    );
    assert_eq!(read.element(tags::SLICE_THICKNESS).unwrap().to_float64().unwrap(), 0.625);
    assert_eq!(read.element(tags::ROWS).unwrap().to_int::<u16>().unwrap(), 512);
    let items = read.element(tags::PROCEDURE_CODE_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(items[0].element(tags::CODE_MEANING).unwrap().to_str().unwrap(), "Schädel");
}

#[test]
fn any_mix_of_vr_and_value_is_valid_json() {
    let vrs = [
        "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV",
        "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV",
    ];
    for vr in vrs {
        let vr: VR = vr.parse().unwrap();
        let mixes = [
            Value::Strings(vec!["1=\u{1}\"".into(), String::new()]),
            Value::Bytes(Bytes::from_static(b"\x01\x02\x03")),
            Value::Items(vec![DataSet::new()]),
        ];
        for value in mixes {
            let told = if matches!(value, Value::Items(_)) { VR::SQ } else { vr };
            assert_eq!(one(vr, value)["vr"], json!(told.to_string()));
        }
    }
}

#[test]
fn nesting_as_deep_as_it_is_read_is_written() {
    let mut data_set = DataSet::new();
    for _ in 0..crate::dicom::scan::MAX_DEPTH {
        let mut outer = DataSet::new();
        outer.set_items(tags::CONTENT_SEQUENCE, vec![data_set]);
        data_set = outer;
    }
    let json = write_array(&[data_set]);
    let count = |byte| json.iter().filter(|b| **b == byte).count();
    assert_eq!(count(b'['), crate::dicom::scan::MAX_DEPTH + 1);
    assert_eq!((count(b'['), count(b'{')), (count(b']'), count(b'}')));
}
