use bytes::Bytes;

use super::*;
use crate::dicom::dataset::{Element, Value};
use crate::dicom::tags;

/// The attributes as text, without what surrounds them.
fn attributes(data_set: &DataSet) -> String {
    let text = String::from_utf8(write_document(data_set)).unwrap();
    let begin = text.find("<DicomAttribute").unwrap_or(text.len());
    let end = text.rfind("</NativeDicomModel>").unwrap();
    text[begin.min(end)..end].to_owned()
}

fn one(tag: Tag, vr: VR, value: Value) -> String {
    let mut data_set = DataSet::new();
    data_set.insert(tag, Element { vr, value });
    attributes(&data_set)
}

fn strings(values: &[&str]) -> Value {
    Value::Strings(values.iter().map(|v| (*v).to_owned()).collect())
}

#[test]
fn a_document_is_one_data_set() {
    let mut data_set = DataSet::new();
    data_set.set_strings(tags::IMAGE_TYPE, VR::CS, vec!["A".into(), String::new(), "B".into()]);
    data_set.set_str(tags::SLICE_THICKNESS, VR::DS, "1.50");
    data_set.set_empty(tags::PATIENT_NAME, VR::PN);
    assert_eq!(
        String::from_utf8(write_document(&data_set)).unwrap(),
        concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            r#"<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">"#,
            r#"<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">A</Value>"#,
            r#"<Value number="2"></Value><Value number="3">B</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"></DicomAttribute>"#,
            r#"<DicomAttribute tag="00180050" vr="DS" keyword="SliceThickness">"#,
            r#"<Value number="1">1.50</Value></DicomAttribute></NativeDicomModel>"#,
        )
    );
}

#[test]
fn names_have_their_components_apart() {
    let text = one(tags::PATIENT_NAME, VR::PN, strings(&["Yamada^Tarou^^Dr.=山田^太郎", "^Anna"]));
    assert_eq!(
        text[text.find("<PersonName").unwrap()..],
        *concat!(
            r#"<PersonName number="1"><Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName>"#,
            "<NamePrefix>Dr.</NamePrefix></Alphabetic><Ideographic><FamilyName>山田</FamilyName>",
            r#"<GivenName>太郎</GivenName></Ideographic></PersonName><PersonName number="2"><Alphabetic>"#,
            "<GivenName>Anna</GivenName></Alphabetic></PersonName></DicomAttribute>",
        )
    );
}

#[test]
fn private_attributes_name_their_owner_in_place_of_the_block() {
    let mut inner = DataSet::new();
    inner.insert(Tag(0x0011, 0x1002), Element { vr: VR::LO, value: strings(&["x"]) });
    let mut data_set = DataSet::new();
    data_set.set_str(Tag(0x0011, 0x0010), VR::LO, "A&B");
    data_set.set_str(Tag(0x0011, 0x1001), VR::LO, "y");
    data_set.set_str(Tag(0x0011, 0x1101), VR::LO, "z");
    data_set.set_items(Tag(0x0011, 0x1003), vec![inner]);
    let text = attributes(&data_set);
    let heads: Vec<&str> =
        text.split("<DicomAttribute ").skip(1).map(|part| part.split_once('>').unwrap().0).collect();
    assert_eq!(
        heads,
        [
            r#"tag="00110010" vr="LO""#,
            r#"tag="00110001" vr="LO" privateCreator="A&amp;B""#,
            r#"tag="00110003" vr="SQ" privateCreator="A&amp;B""#,
            // Items have owners of their own.
            r#"tag="00111002" vr="LO""#,
            r#"tag="00111101" vr="LO""#,
        ]
    );
}

#[test]
fn text_keeps_what_xml_would_change() {
    let text = |value: &str| {
        let text = one(tags::PATIENT_COMMENTS, VR::LT, strings(&[value]));
        let begin = text.rfind(r#"<Value number="1">"#).unwrap() + r#"<Value number="1">"#.len();
        text[begin..text.rfind("</Value>").unwrap()].to_owned()
    };
    assert_eq!(text("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
    assert_eq!(text("a\r\n\tb"), "a&#13;&#10;&#9;b");
    assert_eq!(text("a\u{c}\u{1b}b"), "a\u{FFFD}\u{FFFD}b", "XML 1.0 has no form feed");
    assert_eq!(text("山"), "山");
}

#[test]
fn binary_values_have_a_form_each() {
    let bytes = |vr, bytes: &[u8]| {
        let text = one(Tag(0x0010, 0xFFF1), vr, Value::Bytes(Bytes::copy_from_slice(bytes)));
        text[text.find('>').unwrap() + 1..text.rfind("</DicomAttribute>").unwrap()].to_owned()
    };
    assert_eq!(
        bytes(VR::US, &[0xFF, 0xFF, 7, 0]),
        r#"<Value number="1">65535</Value><Value number="2">7</Value>"#
    );
    assert_eq!(bytes(VR::AT, &[0x10, 0, 0x20, 0xA0]), r#"<Value number="1">0010A020</Value>"#);
    assert_eq!(bytes(VR::UV, &u64::MAX.to_le_bytes()), r#"<Value number="1">18446744073709551615</Value>"#);
    assert_eq!(bytes(VR::FD, &f64::NEG_INFINITY.to_le_bytes()), r#"<Value number="1">-INF</Value>"#);
    assert_eq!(bytes(VR::FL, &0.5_f32.to_le_bytes()), r#"<Value number="1">0.5</Value>"#);
    assert_eq!(bytes(VR::OB, b"fo"), "<InlineBinary>Zm8=</InlineBinary>");
    assert_eq!(bytes(VR::OB, b""), "");
}

#[test]
fn items_are_numbered() {
    let mut inner = DataSet::new();
    inner.set_str(tags::CODE_VALUE, VR::SH, "C");
    let mut data_set = DataSet::new();
    data_set.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![DataSet::new(), inner]);
    assert_eq!(
        attributes(&data_set),
        concat!(
            r#"<DicomAttribute tag="00081032" vr="SQ" keyword="ProcedureCodeSequence"><Item number="1"></Item>"#,
            r#"<Item number="2"><DicomAttribute tag="00080100" vr="SH" keyword="CodeValue">"#,
            r#"<Value number="1">C</Value></DicomAttribute></Item></DicomAttribute>"#,
        )
    );
}
