use proptest::prelude::*;

use super::*;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::scan::ErrorKind;
use crate::dicom::tags;
use crate::dicom::transfer_syntax::Layout;

const LAYOUTS: [Layout; 3] = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe];

fn parse(bytes: &[u8]) -> Parsed {
    DataSet::parse(bytes, Layout::ExplicitLe, None).unwrap()
}

#[test]
fn what_is_encoded_is_parsed_again_in_every_layout() {
    let mut item = DataSet::new();
    item.set_str(tags::CODE_VALUE, VR::SH, "Ä1");
    let mut query = DataSet::new();
    query.set_str(tags::PATIENT_NAME, VR::PN, "山田^太郎");
    query.set_strings(tags::MODALITIES_IN_STUDY, VR::CS, vec!["CT".into(), String::new(), "MR".into()]);
    query.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3");
    query.set_empty(tags::STUDY_DATE, VR::DA);
    query.set_u16(tags::ROWS, 0x1234);
    query.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![item, DataSet::new()]);
    query.set_empty(tags::REQUEST_ATTRIBUTES_SEQUENCE, VR::SQ);
    for layout in LAYOUTS {
        let bytes = query.encode(layout, QueryCharset::Auto);
        assert_eq!(bytes.len() % 2, 0);
        let mut parsed = DataSet::parse(&bytes, layout, None).unwrap();
        assert_eq!(parsed.warnings, []);
        let charset = parsed.data_set.remove(tags::SPECIFIC_CHARACTER_SET).unwrap();
        assert_eq!(charset.strings(), ["ISO_IR 192"]);
        assert_eq!(parsed.data_set, query, "{layout:?}");
    }
}

#[test]
fn the_narrowest_character_set_is_announced() {
    let announced = |name: &str, charset| {
        let mut query = DataSet::new();
        query.set_str(tags::PATIENT_NAME, VR::PN, name);
        let bytes = query.encode(Layout::ImplicitLe, charset);
        let parsed = DataSet::parse(&bytes, Layout::ImplicitLe, None).unwrap().data_set;
        assert_eq!(parsed.string(tags::PATIENT_NAME), Some(name));
        parsed.string(tags::SPECIFIC_CHARACTER_SET).map(str::to_owned)
    };
    assert_eq!(announced("Smith", QueryCharset::Auto), None);
    assert_eq!(announced("Müller", QueryCharset::Auto).as_deref(), Some("ISO_IR 100"));
    assert_eq!(announced("Łukasz", QueryCharset::Auto).as_deref(), Some("ISO_IR 192"));
    let latin2 = QueryCharset::Forced(Charset::from_values(&["ISO_IR 101"]));
    assert_eq!(announced("Łukasz", latin2.clone()).as_deref(), Some("ISO_IR 101"));
    assert_eq!(announced("Smith", latin2.clone()).as_deref(), Some("ISO_IR 101"));
    assert_eq!(announced("山田", latin2).as_deref(), Some("ISO_IR 192"), "what it cannot hold");
}

#[test]
fn the_character_set_of_an_item_does_not_leak_to_its_parent() {
    let bytes = [
        &b"\x08\x00\x05\x00CS\x0A\x00ISO_IR 100"[..],
        b"\x08\x00\x32\x10SQ\0\0\xFF\xFF\xFF\xFF",
        b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
        b"\x08\x00\x05\x00CS\x0A\x00ISO_IR 144",
        b"\x08\x00\x04\x01LO\x02\x00\xB0 ",
        b"\xFE\xFF\x0D\xE0\0\0\0\0",
        b"\xFE\xFF\x00\xE0\x0A\0\0\0",
        b"\x08\x00\x04\x01LO\x02\x00\xC4 ",
        b"\xFE\xFF\xDD\xE0\0\0\0\0",
        b"\x10\x00\x10\x00PN\x02\x00\xC4 ",
    ]
    .concat();
    let Parsed { data_set, warnings } = parse(&bytes);
    assert_eq!(warnings, []);
    let meanings: Vec<_> = data_set
        .at(&AttributePath::new(vec![tags::PROCEDURE_CODE_SEQUENCE, tags::CODE_MEANING]).unwrap())
        .iter()
        .map(|e| e.string().unwrap().to_owned())
        .collect();
    assert_eq!(meanings, ["А", "Ä"], "its own, and that of the data set");
    assert_eq!(data_set.string(tags::PATIENT_NAME), Some("Ä"));
}

#[test]
fn one_bad_element_is_a_warning() {
    let bytes = [
        &b"\x08\x00\x05\x00CS\x08\x00KLINGON "[..],
        b"\x08\x00\x32\x10SQ\0\0\x0A\0\0\0no items!!",
        b"\x08\x00\x60\x00CS\x02\x00CT",
        b"\x10\x00\x10\x00PN\x02\x00A\xFC",
        b"\x10\x00\x20\x00LO\x02\x00P1",
        b"\x10\x00\x20\x00LO\x02\x00P2",
        b"\x28\x00\x10\x00US\x03\x00\x01\x02\x03",
    ]
    .concat();
    let Parsed { data_set, warnings } = parse(&bytes);
    let kinds: Vec<_> = warnings.iter().map(|w| (w.tag, w.kind)).collect();
    assert_eq!(
        kinds,
        [
            (tags::SPECIFIC_CHARACTER_SET, WarningKind::UnknownCharset),
            (tags::PROCEDURE_CODE_SEQUENCE, WarningKind::NotASequence),
            (tags::PATIENT_NAME, WarningKind::UndecodableText),
            (tags::PATIENT_ID, WarningKind::Duplicate),
            (tags::ROWS, WarningKind::BrokenWord),
        ]
    );
    assert_eq!(data_set.string(tags::MODALITY), Some("CT"));
    assert_eq!(data_set.string(tags::PATIENT_NAME), Some("A\u{FFFD}"));
    assert_eq!(data_set.string(tags::PATIENT_ID), Some("P1"));
    assert_eq!(data_set.int(tags::ROWS), Some(0x0201));
}

#[test]
fn un_gets_the_vr_of_the_dictionary_and_group_lengths_go() {
    let bytes = [
        &b"\x10\x00\x00\x00UL\x04\x00\x10\0\0\0"[..],
        b"\x10\x00\x10\x00UN\0\0\x02\0\0\0A ",
        b"\x11\x00\x10\x00UN\0\0\x02\0\0\0C ",
        b"\x11\x00\x10\x10UN\0\0\x02\0\0\0\x01\x02",
    ]
    .concat();
    let data_set = parse(&bytes).data_set;
    assert_eq!(data_set.len(), 3);
    assert_eq!(data_set.string(tags::PATIENT_NAME), Some("A"));
    assert_eq!(data_set.get(Tag(0x0011, 0x0010)).unwrap().vr, VR::LO);
    assert_eq!(
        data_set.get(Tag(0x0011, 0x1010)).unwrap().value,
        Value::Bytes(Bytes::from_static(b"\x01\x02"))
    );
}

#[test]
fn sequences_nested_1800_deep_are_refused() {
    let mut bytes = Vec::new();
    for _ in 0..1800 {
        bytes.extend(b"\x08\x00\x32\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF");
    }
    let error = DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooDeep);
}

#[test]
fn a_declared_length_of_2_gib_with_3_bytes_present_is_an_error() {
    let bytes = b"\x10\x00\x20\x40UT\0\0\0\0\0\x80abc";
    let error = DataSet::parse(bytes, Layout::ExplicitLe, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Truncated);
    assert_eq!(error.tag, Tag(0x0010, 0x4020));
}

#[test]
fn padding_is_dropped_and_leading_spaces_of_long_text_are_kept() {
    let bytes = [
        &b"\x08\x00\x18\x00UI\x06\x001.2.3\0"[..],
        b"\x08\x00\x60\x00CS\x04\x00 CT ",
        b"\x10\x00\x10\x00PN\x02\x00  ",
        b"\x10\x00\x00\x40LT\x06\x00  a\\b ",
    ]
    .concat();
    let data_set = parse(&bytes).data_set;
    assert_eq!(data_set.uid(tags::SOP_INSTANCE_UID).unwrap().as_str(), "1.2.3");
    assert_eq!(data_set.strings(tags::MODALITY), ["CT"]);
    assert_eq!(data_set.strings(tags::PATIENT_NAME), [""; 0]);
    assert_eq!(data_set.strings(tags::PATIENT_COMMENTS), ["  a\\b"]);
}

#[test]
fn numbers_of_every_kind_are_read() {
    let mut data_set = DataSet::new();
    let mut int = |vr, bytes: &'static [u8]| {
        data_set.insert(tags::ROWS, Element { vr, value: Value::Bytes(Bytes::from_static(bytes)) });
        data_set.int(tags::ROWS)
    };
    assert_eq!(int(VR::US, &[0xFF, 0xFF]), Some(65535));
    assert_eq!(int(VR::SS, &[0xFF, 0xFF]), Some(-1));
    assert_eq!(int(VR::UL, &[0xFF, 0xFF, 0xFF, 0xFF]), Some(4_294_967_295));
    assert_eq!(int(VR::SL, &[0xFE, 0xFF, 0xFF, 0xFF]), Some(-2));
    assert_eq!(int(VR::US, &[]), None);
    assert_eq!(int(VR::FL, &[0, 0, 0, 0]), None);
    data_set.set_str(tags::INSTANCE_NUMBER, VR::IS, " +12 ");
    assert_eq!(data_set.int(tags::INSTANCE_NUMBER), Some(12));
}

fn text() -> impl Strategy<Value = String> {
    "[A-Za-z0-9äöüЖ山ł^=][A-Za-z0-9 äöü€Ж山ł^=]{0,12}[A-Za-z0-9äöüЖ山ł^=]"
}

fn element(items: impl Strategy<Value = Vec<DataSet>>) -> impl Strategy<Value = (Tag, Element)> {
    let strings =
        prop_oneof![Just(Vec::new()), text().prop_map(|t| vec![t]), prop::collection::vec(text(), 2..4)];
    let words = prop::collection::vec(any::<u16>(), 0..5);
    prop_oneof![
        (prop::sample::select(vec![tags::PATIENT_NAME, tags::OTHER_PATIENT_NAMES]), strings.clone())
            .prop_map(|(tag, values)| (tag, Element { vr: VR::PN, value: Value::Strings(values) })),
        (prop::sample::select(vec![tags::STUDY_ID, tags::CODE_VALUE]), strings)
            .prop_map(|(tag, values)| (tag, Element { vr: VR::SH, value: Value::Strings(values) })),
        text().prop_map(|t| (tags::PATIENT_COMMENTS, Element { vr: VR::LT, value: Value::Strings(vec![t]) })),
        words.prop_map(|words| {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            (tags::SELECTOR_US_VALUE, Element { vr: VR::US, value: Value::Bytes(bytes.into()) })
        }),
        items.prop_map(|items| {
            (tags::PROCEDURE_CODE_SEQUENCE, Element { vr: VR::SQ, value: Value::Items(items) })
        }),
    ]
}

fn data_set() -> impl Strategy<Value = DataSet> {
    let leaf = prop::collection::vec(element(Just(Vec::new())), 0..4).prop_map(DataSet::from_iter);
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop::collection::vec(element(prop::collection::vec(inner, 0..3)), 0..4).prop_map(DataSet::from_iter)
    })
}

proptest! {
    #[test]
    fn parse_undoes_encode(data_set in data_set(), layout in prop::sample::select(LAYOUTS.to_vec())) {
        let bytes = data_set.encode(layout, QueryCharset::Auto);
        let mut parsed = DataSet::parse(&bytes, layout, None).unwrap();
        parsed.data_set.remove(tags::SPECIFIC_CHARACTER_SET);
        prop_assert_eq!(parsed.warnings, []);
        prop_assert_eq!(parsed.data_set, data_set);
    }

    #[test]
    fn parse_takes_any_bytes(bytes: Vec<u8>, layout in prop::sample::select(LAYOUTS.to_vec())) {
        let _ = DataSet::parse(&bytes, layout, None);
    }
}
