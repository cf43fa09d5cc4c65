//! What is written as JSON or XML is read as it was.

use proptest::prelude::*;

use super::*;
use crate::dicom::dataset::{Element, Value, is_single_valued, is_textual};
use crate::dicom::tags;
use crate::dicomweb::json::write_array;
use crate::dicomweb::xml::write_document;

/// Every VR but SQ.
const VRS: [VR; 33] = {
    use VR::*;
    [
        AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, OB, OD, OF, OL, OV, OW, PN, SH, SL, SS, ST, SV, TM,
        UC, UI, UL, UN, UR, US, UT, UV,
    ]
};

/// Text without padding, which is not part of a value, and without the delimiters of values and groups.
fn text() -> impl Strategy<Value = String> {
    "[A-Za-z0-9&<>ÄЖ山\u{1F600}\"/\n.-]{1,12}".prop_filter("padding", |t| t.trim() == t)
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof!["-?[1-9][0-9]{0,9}", "0", "-?(0|[1-9][0-9]{0,4})\\.[0-9]{1,7}", "[1-9]e-?[0-9]{1,2}"]
}

fn integer() -> impl Strategy<Value = String> {
    any::<i32>().prop_map(|number| number.to_string())
}

/// Up to three groups of up to five components, without empty ones at the end, which have no meaning.
fn name() -> impl Strategy<Value = String> {
    let text = || prop_oneof![1 => Just(String::new()), 2 => text()];
    let group = prop::collection::vec(text(), 1..=5)
        .prop_map(|components| components.join("^").trim_end_matches('^').to_owned());
    prop::collection::vec(group, 1..=3).prop_map(|groups| groups.join("=").trim_end_matches('=').to_owned())
}

fn value(vr: VR) -> BoxedStrategy<Value> {
    if is_single_valued(vr) {
        return prop::option::of(text()).prop_map(|text| Value::Strings(text.into_iter().collect())).boxed();
    }
    if is_textual(vr) {
        let one = match vr {
            VR::PN => name().boxed(),
            VR::DS => number().boxed(),
            VR::IS => integer().boxed(),
            _ => text().boxed(),
        };
        let one = prop_oneof![3 => one, 1 => Just(String::new())];
        // A single empty value is no value.
        let values = prop::collection::vec(one, 0..4).prop_map(|values| match values.as_slice() {
            [only] if only.is_empty() => Vec::new(),
            _ => values,
        });
        return values.prop_map(Value::Strings).boxed();
    }
    let bytes = match vr {
        // There are many NaNs, and JSON has one.
        VR::FL => prop::collection::vec(any::<f32>().prop_map(|n| n.to_le_bytes().to_vec()), 0..4).boxed(),
        VR::FD => prop::collection::vec(any::<f64>().prop_map(|n| n.to_le_bytes().to_vec()), 0..4).boxed(),
        _ => prop::collection::vec(prop::collection::vec(any::<u8>(), 8), 0..4).boxed(),
    };
    bytes.prop_map(|words| Value::Bytes(words.concat().into())).boxed()
}

fn element() -> impl Strategy<Value = Element> {
    prop::sample::select(&VRS[..]).prop_flat_map(|vr| value(vr).prop_map(move |value| Element { vr, value }))
}

fn data_set() -> impl Strategy<Value = DataSet> {
    // Without private creators, of which XML makes more than a number.
    let tag = (0x0008_u16..0x0040, 0x1000_u16..0xFFFF).prop_map(|(group, element)| Tag(group, element));
    let tag =
        tag.prop_filter("for the character set, see the readers", |t| *t != tags::SPECIFIC_CHARACTER_SET);
    let leaf = prop::collection::btree_map(tag.clone(), element(), 0..6)
        .prop_map(|elements| elements.into_iter().collect::<DataSet>());
    leaf.prop_recursive(3, 24, 3, move |inner| {
        let sequence = prop::collection::vec(inner.clone(), 0..3)
            .prop_map(|items| Element { vr: VR::SQ, value: Value::Items(items) });
        prop::collection::btree_map(tag.clone(), prop_oneof![element(), sequence], 0..6)
            .prop_map(|elements| elements.into_iter().collect())
    })
}

/// Without what only says how text is sent.
fn bare(metadata: Metadata) -> DataSet {
    assert_eq!(metadata.warnings, []);
    assert_eq!(metadata.bulk, []);
    let mut data_set = metadata.data_set;
    data_set.remove(tags::SPECIFIC_CHARACTER_SET);
    data_set
}

proptest! {
    #[test]
    fn what_is_written_as_json_is_read_as_it_was(data_sets in prop::collection::vec(data_set(), 0..3)) {
        let read = read_json(&write_array(&data_sets)).unwrap();
        prop_assert_eq!(read.into_iter().map(bare).collect::<Vec<_>>(), data_sets);
    }

    #[test]
    fn what_is_written_as_xml_is_read_as_it_was(data_set in data_set()) {
        prop_assert_eq!(bare(read_xml(&write_document(&data_set)).unwrap()), data_set);
    }
}

#[test]
fn private_elements_keep_their_block_through_either_form() {
    let mut data_set = DataSet::new();
    data_set.set_str(Tag(0x0011, 0x0010), VR::LO, "FIRST");
    data_set.set_str(Tag(0x0011, 0x0030), VR::LO, "SECOND");
    data_set.set_str(Tag(0x0011, 0x1001), VR::SH, "a");
    data_set.set_str(Tag(0x0011, 0x3001), VR::SH, "b");
    data_set.set_str(Tag(0x0011, 0x4001), VR::SH, "nobody's");
    assert_eq!(bare(read_xml(&write_document(&data_set)).unwrap()), data_set);
    let read = read_json(&write_array(std::slice::from_ref(&data_set))).unwrap();
    assert_eq!(read.into_iter().map(bare).collect::<Vec<_>>(), [data_set]);
}
