use bytes::Bytes;

use super::*;
use crate::dicom::dataset::{Element, Value};
use crate::dicom::{Tag, VR, tags};

fn document(attributes: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">
{attributes}
</NativeDicomModel>
"#
    )
}

fn read(attributes: &str) -> Metadata {
    read_xml(document(attributes).as_bytes()).unwrap_or_else(|e| panic!("{e}: {attributes}"))
}

fn error(document: &str) -> ReadErrorKind {
    read_xml(document.as_bytes()).unwrap_err().kind
}

#[test]
fn every_form_of_a_value_is_read() {
    let metadata = read(
        r#"<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">ORIGINAL</Value><Value number="2"/><Value number="4">X &amp; &#x59;<![CDATA[<Z>]]></Value></DicomAttribute>
<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1"><Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName></Alphabetic><Ideographic><FamilyName>山田</FamilyName><NameSuffix>様</NameSuffix></Ideographic></PersonName></DicomAttribute>
<DicomAttribute tag="00280010" vr="US"><Value number="1"> 512 </Value></DicomAttribute>
<DicomAttribute tag="00280009" vr="AT"><Value number="1">00181063</Value></DicomAttribute>
<DicomAttribute tag="00189074" vr="FD"><Value number="1">-1.5e3</Value><Value number="2">NaN</Value></DicomAttribute>
<DicomAttribute tag="00081140" vr="SQ"><Item number="1"/><Item number="2"><DicomAttribute tag="00081150" vr="UI"><Value number="1">1.2</Value></DicomAttribute></Item></DicomAttribute>
<DicomAttribute tag="00281201" vr="OW"><InlineBinary>AQID
BA==</InlineBinary></DicomAttribute>
<DicomAttribute tag="00420011" vr="OB"><BulkData uuid="0f1e"/></DicomAttribute>
<DicomAttribute tag="7fe00010" vr="OW"><BulkData uri="http://a/b?c=1&amp;d=2"></BulkData></DicomAttribute>
<DicomAttribute tag="00080050" vr="SH"/>"#,
    );
    assert_eq!(metadata.warnings, []);
    let data_set = &metadata.data_set;
    assert_eq!(data_set.strings(tags::IMAGE_TYPE), ["ORIGINAL", "", "", "X & Y<Z>"]);
    assert_eq!(data_set.strings(tags::PATIENT_NAME), ["Yamada^Tarou=山田^^^^様"]);
    assert_eq!(data_set.string(tags::SPECIFIC_CHARACTER_SET), Some("ISO_IR 192"));
    assert_eq!(data_set.int(tags::ROWS), Some(512));
    let value = |tag| &data_set.get(tag).unwrap().value;
    assert_eq!(*value(Tag(0x0028, 0x0009)), Value::Bytes(Bytes::from_static(&[0x18, 0, 0x63, 0x10])));
    let numbers = [-1500.0, f64::NAN].map(f64::to_le_bytes).concat();
    assert_eq!(*value(Tag(0x0018, 0x9074)), Value::Bytes(numbers.into()));
    assert_eq!(*value(Tag(0x0028, 0x1201)), Value::Bytes(Bytes::from_static(&[1, 2, 3, 4])));
    assert_eq!(data_set.get(tags::ACCESSION_NUMBER), Some(&Element::empty(VR::SH)));
    let items = data_set.items(tags::REFERENCED_IMAGE_SEQUENCE);
    assert!(items[0].is_empty());
    assert_eq!(items[1].string(Tag(0x0008, 0x1150)), Some("1.2"));
    let bulk: Vec<_> = metadata.bulk.iter().map(|b| (b.path.tag, b.uri.as_str())).collect();
    assert_eq!(bulk, [(Tag(0x0042, 0x0011), "0f1e"), (tags::PIXEL_DATA, "http://a/b?c=1&d=2")]);
}

#[test]
fn prefixes_keywords_and_unknown_elements_do_not_matter() {
    let metadata = read_xml(
        br#"<d:NativeDicomModel xmlns:d="x"><!-- c --><d:DicomAttribute keyword="PatientID" vr="LO"><d:Value number="1">x</d:Value><d:New><d:Value>y</d:Value></d:New></d:DicomAttribute><Other/></d:NativeDicomModel>"#,
    )
    .unwrap();
    assert_eq!(metadata.warnings, []);
    assert_eq!(metadata.data_set.strings(tags::PATIENT_ID), ["x"]);
}

#[test]
fn private_attributes_find_the_block_of_their_creator() {
    let metadata = read(
        r#"<DicomAttribute tag="00110010" vr="LO"><Value number="1">OTHER</Value></DicomAttribute>
<DicomAttribute tag="00110001" vr="LO" privateCreator="ACME"><Value number="1">open</Value></DicomAttribute>
<DicomAttribute tag="00111102" vr="LO" privateCreator="ACME"><Value number="1">stated</Value></DicomAttribute>
<DicomAttribute tag="00131203" vr="LO" privateCreator="NEW"><Value number="1">reserved</Value></DicomAttribute>
<DicomAttribute tag="00111004" vr="LO" privateCreator="ACME"><Value number="1">foreign</Value></DicomAttribute>
<DicomAttribute tag="00130012" vr="LO"><Value number="1">NEW</Value></DicomAttribute>"#,
    );
    let string = |group, element| metadata.data_set.string(Tag(group, element));
    assert_eq!(string(0x0011, 0x0011), Some("ACME"));
    assert_eq!(string(0x0011, 0x1101), Some("open"));
    assert_eq!(string(0x0011, 0x1102), Some("stated"));
    assert_eq!((string(0x0013, 0x0012), string(0x0013, 0x1203)), (Some("NEW"), Some("reserved")));
    assert_eq!(string(0x0011, 0x1004), None, "in a block of another creator");
    assert_eq!(metadata.warnings.len(), 1, "{:?}", metadata.warnings);
}

#[test]
fn one_bad_element_is_one_warning() {
    let metadata = read(
        r#"<DicomAttribute tag="00280010" vr="US"><Value number="1">x</Value></DicomAttribute>
<DicomAttribute tag="00281201" vr="OW"><InlineBinary>*</InlineBinary></DicomAttribute>
<DicomAttribute tag="00080008" vr="CS"><Value number="2">B</Value><Value number="1">A</Value></DicomAttribute>
<DicomAttribute tag="00420011" vr="OB"><BulkData/></DicomAttribute>
<DicomAttribute vr="LO"><Value number="1">x</Value></DicomAttribute>
<DicomAttribute tag="00100020" vr="LO"><Value number="1">kept</Value></DicomAttribute>"#,
    );
    let kinds: Vec<_> = metadata.warnings.iter().map(|w| w.kind).collect();
    use WarningKind::{BadInlineBinary, BadNumber, Misplaced, UnknownAttribute, WrongKind};
    assert_eq!(kinds, [BadNumber, BadInlineBinary, Misplaced, WrongKind, UnknownAttribute]);
    assert_eq!(metadata.data_set.iter().map(|(tag, _)| tag).collect::<Vec<_>>(), [tags::PATIENT_ID]);
}

#[test]
fn document_types_and_entities_are_refused() {
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><NativeDicomModel/>"#;
    assert_eq!(error(bomb), ReadErrorKind::Xml);
    let value = r#"<DicomAttribute tag="00100020" vr="LO"><Value number="1">&b;</Value></DicomAttribute>"#;
    assert_eq!(error(&document(value)), ReadErrorKind::Xml);
    assert_eq!(error(&document(r#"<DicomAttribute tag="&b;"/>"#)), ReadErrorKind::Xml);
}

#[test]
fn a_bad_document_is_an_error() {
    for (text, kind) in [
        ("", ReadErrorKind::Truncated),
        ("<NativeDicomModel>", ReadErrorKind::Truncated),
        ("<NativeDicomModel", ReadErrorKind::Truncated),
        ("<NativeDicomModel></Other>", ReadErrorKind::Xml),
        ("<Other/>", ReadErrorKind::Model),
        ("<NativeDicomModel/><NativeDicomModel/>", ReadErrorKind::Model),
        ("text", ReadErrorKind::Xml),
        ("{}", ReadErrorKind::Xml),
    ] {
        assert_eq!(error(text), kind, "{text}");
    }
    assert_eq!(read_xml(b"<NativeDicomModel>\xFF").unwrap_err().kind, ReadErrorKind::NotUtf8);
}

#[test]
fn every_beginning_of_a_document_is_an_error_and_no_data_set() {
    let whole = document(
        r#"<DicomAttribute tag="00100020" vr="LO"><Value number="1">x&amp;</Value></DicomAttribute>"#,
    );
    let end = whole.trim_end().len();
    for cut in 0..end {
        assert!(read_xml(&whole.as_bytes()[..cut]).is_err(), "{}", &whole[..cut]);
    }
    assert!(read_xml(&whole.as_bytes()[..end]).is_ok());
}

#[test]
fn nesting_and_gaps_in_numbers_are_bounded() {
    let nested = |depth: usize| {
        let (open, close) =
            (r#"<DicomAttribute tag="00081140" vr="SQ"><Item number="1">"#, "</Item></DicomAttribute>");
        document(&(open.repeat(depth) + &close.repeat(depth)))
    };
    assert!(read_xml(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(error(&nested(MAX_DEPTH + 1)), ReadErrorKind::TooDeep);
    assert_eq!(
        error(&"<NativeDicomModel><x>".replace("<x>", &"<x>".repeat(100_000))),
        ReadErrorKind::TooDeep
    );
    let gap =
        r#"<DicomAttribute tag="00080008" vr="CS"><Value number="999999999999">x</Value></DicomAttribute>"#;
    assert_eq!(error(&document(gap)), ReadErrorKind::TooManyValues);
}

#[test]
fn hazard_an_element_with_a_hundred_thousand_xml_attributes_is_refused_at_once() {
    let attributes: String = (0..100_000).map(|n| format!("a{n}='' ")).collect();
    let begun = std::time::Instant::now();
    assert_eq!(error(&document(&format!("<DicomAttribute {attributes}/>"))), ReadErrorKind::Xml);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
