use std::io::Write as _;

use proptest::prelude::*;

use super::table::TABLE;
use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::tags;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, IMPLICIT_VR_LE, layout};

const MARKER: &str = "MARKER";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn key() -> Key {
    Key::from_secret(b"a secret")
}

fn head(syntax: &'static str) -> Head {
    Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.7"),
        sop_instance: Uid::from_static("1.2.34"),
        transfer_syntax: Uid::from_static(syntax),
    }
}

/// What comes out of a data set in this transfer syntax that goes in in pieces of this size.
fn deidentified(syntax: &'static str, bytes: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let mut deidentifier = Deidentifier::new(&head(syntax), &key());
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        deidentifier.push(Bytes::copy_from_slice(piece))?;
        out.extend(std::iter::from_fn(|| deidentifier.pop().transpose()).collect::<Result<Vec<_>, _>>()?);
    }
    out.extend(deidentifier.finish()?);
    Ok(out.concat())
}

fn parsed(bytes: &[u8]) -> DataSet {
    DataSet::parse(bytes, Layout::ExplicitLe, None).unwrap().data_set
}

/// What comes out of this data set.
fn of(data_set: &DataSet) -> DataSet {
    let bytes = data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
    parsed(&deidentified(EXPLICIT_VR_LE, &bytes, bytes.len()).unwrap())
}

fn rows() -> impl Iterator<Item = (Action, Tag)> {
    let tag = |number: &u32| Tag((number >> 16) as u16, (number & 0xFFFF) as u16);
    TABLE.into_iter().flat_map(move |(action, tags)| tags.iter().map(move |number| (action, tag(number))))
}

fn holds(bytes: &[u8], marker: &str) -> bool {
    bytes.windows(marker.len()).any(|at| at == marker.as_bytes())
}

/// An element with a marker, as this VR would have one: in an item, as text, or as bytes.
fn marked(vr: VR) -> Element {
    let value = match vr {
        VR::SQ => {
            let mut item = DataSet::new();
            item.set_str(tags::PATIENT_NAME, VR::PN, MARKER);
            Value::Items(vec![item])
        }
        VR::UN | VR::OB | VR::OW => Value::Bytes(Bytes::from_static(MARKER.as_bytes())),
        _ => Value::Strings(vec![MARKER.to_owned()]),
    };
    Element { vr, value }
}

#[test]
fn the_table_is_in_order_and_has_no_attribute_twice() {
    let mut all: Vec<Tag> = rows().map(|(_, tag)| tag).collect();
    assert_eq!(all.len(), 648);
    for (_, tags) in TABLE {
        assert!(tags.is_sorted());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 648);
}

#[test]
fn nothing_of_an_attribute_of_the_table_comes_through_whatever_it_is_encoded_as_and_wherever_it_stands() {
    let others = [
        Tag(0x0009, 0x0010),
        Tag(0x0009, 0x1001),
        Tag(0x5000, 0x2500),
        Tag(0x5002, 0x3000),
        Tag(0x6000, 0x3000),
        Tag(0x6002, 0x4000),
        Tag(0x0008, 0x00F7),
        Tag(0x7FE3, 0x0010),
        Tag(0x0002, 0x0016),
    ];
    let tags = rows().map(|(_, tag)| tag).chain(others);
    for tag in tags.filter(|tag| *tag != Tag(0x0008, 0x1140) && *tag != Tag(0x0008, 0x2112)) {
        for vr in [vr_of(tag), VR::LO, VR::UN, VR::OB, VR::UT, VR::SQ, VR::PN, VR::UI] {
            let mut plain = DataSet::new();
            plain.set_u16(tags::ROWS, 1);
            plain.insert(tag, if matches!(vr, VR::DA | VR::UL) { marked(VR::UN) } else { marked(vr) });
            let mut item = plain.clone();
            item.set_items(tags::REFERENCED_INSTANCE_SEQUENCE, vec![plain.clone()]);
            plain.set_items(tags::REFERENCED_SERIES_SEQUENCE, vec![item.clone(), item]);
            for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE] {
                let bytes = plain.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
                let Ok(out) = deidentified(syntax, &bytes, 1 << 16) else {
                    assert!(
                        syntax == IMPLICIT_VR_LE && vr == VR::SQ,
                        "{tag} as {vr:?}: no items without a VR"
                    );
                    continue;
                };
                assert!(!holds(&out, MARKER), "{tag} as {vr:?} in {syntax}");
                // Swapped words are words, too.
                assert!(!holds(&out, "AMKRRE"), "{tag} as {vr:?} in {syntax}");
                let read = parsed(&out);
                assert_eq!(read.items(tags::REFERENCED_SERIES_SEQUENCE).len(), 2);
                assert!(read.contains(tags::ROWS) && read.contains(tags::PATIENT_IDENTITY_REMOVED));
            }
        }
    }
}

/// Every attribute of the dictionary, of the groups that the table or the rest name.
fn dictionary() -> impl Iterator<Item = (Tag, VR)> {
    let mut groups: Vec<u16> = rows().map(|(_, tag)| tag.group()).chain([0x0024, 0x0082]).collect();
    groups.dedup();
    groups.sort_unstable();
    groups.dedup();
    let tags = groups.into_iter().flat_map(|group| (1..=u16::MAX).map(move |element| Tag(group, element)));
    tags.map(|tag| (tag, vr_of(tag))).filter(|(_, vr)| *vr != VR::UN)
}

#[test]
fn nothing_of_a_name_a_date_a_url_or_a_uid_comes_through_whether_the_table_has_it_or_not() {
    let mut data_set = DataSet::new();
    for (tag, vr) in dictionary() {
        let number = u32::from(tag.group()) << 16 | u32::from(tag.element());
        let says_what_it_is = rest::OF_THE_STANDARD.contains(&number);
        if matches!(vr, VR::PN | VR::DA | VR::DT | VR::TM | VR::UR | VR::UI) && !says_what_it_is {
            data_set.insert(tag, marked(vr));
        }
    }
    for (group, element) in
        [(0x0010, 0x0033), (0x0010, 0x0034), (0x0042, 0x0010), (0x0040, 0xE001), (0x0040, 0x0400)]
    {
        let tag = Tag(group, element);
        data_set.insert(tag, marked(vr_of(tag)));
    }
    assert!(data_set.iter().count() > 150);
    let mut item = data_set.clone();
    item.set_items(tags::REFERENCED_INSTANCE_SEQUENCE, vec![data_set.clone()]);
    data_set.set_items(tags::REFERENCED_SERIES_SEQUENCE, vec![item]);
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE] {
        let bytes = data_set.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
        assert!(holds(&bytes, MARKER));
        let out = deidentified(syntax, &bytes, 1 << 16).unwrap();
        assert!(!holds(&out, MARKER), "{syntax}: {:?}", parsed(&out));
    }
}

#[test]
fn uids_of_the_standard_stay_where_the_table_does_not_replace_them() {
    let mut source = DataSet::new();
    for (tag, uid) in [
        (tags::REFERENCED_SOP_CLASS_UID, "1.3.6.1.4.1.9.9"),
        (tags::CODING_SCHEME_UID, "2.16.840.1.113883.6.96"),
        (Tag(0x0008, 0x010D), "1.2.840.10008.5.1.4"),
        (Tag(0x0008, 0x1167), "1.2.34"),
    ] {
        source.set_str(tag, VR::UI, uid);
    }
    let read = of(&source);
    assert_eq!(read.string(tags::REFERENCED_SOP_CLASS_UID), Some("1.3.6.1.4.1.9.9"));
    assert_eq!(read.string(tags::CODING_SCHEME_UID), Some("2.16.840.1.113883.6.96"));
    assert_eq!(read.string(Tag(0x0008, 0x010D)), Some("1.2.840.10008.5.1.4"));
    assert_eq!(read.uid(Tag(0x0008, 0x1167)), Some(key().uid(&Uid::from_static("1.2.34"))));
}

#[test]
fn what_was_cleaned_before_is_still_said_and_nothing_that_is_true_no_more() {
    let code = |value: &str, scheme: &str, meaning: &str| {
        let mut item = DataSet::new();
        item.set_str(tags::CODE_VALUE, VR::SH, value);
        item.set_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
        item.set_str(tags::CODE_MEANING, VR::LO, meaning);
        item
    };
    let mut source = DataSet::new();
    let items = vec![
        code("113100", "DCM", "x"),
        code("113101", "DCM", MARKER),
        code("113110", "DCM", "Retain UIDs Option"),
        code(MARKER, "DCM", MARKER),
        code("113103", "99LOCAL", MARKER),
    ];
    source.set_items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, items);
    source.set_u16(tags::ROWS, 1);
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE] {
        let bytes = source.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
        for size in [1, 7, 1000] {
            let out = deidentified(syntax, &bytes, size).unwrap();
            let read = parsed(&out);
            let codes = read.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
            let codes: Vec<_> = codes.iter().map(|item| item.string(tags::CODE_VALUE).unwrap()).collect();
            assert_eq!(codes, ["113100", "113101"]);
            assert!(!holds(&out, MARKER) && read.contains(tags::ROWS));
        }
    }
}

#[test]
fn an_object_that_names_its_patient_in_its_pixels_says_so_before_them() {
    for (value, expected) in [(Some("YES"), true), (Some("NO"), false), (Some("yes "), true), (None, false)] {
        let mut source = DataSet::new();
        if let Some(value) = value {
            source.set_str(tags::BURNED_IN_ANNOTATION, VR::CS, value);
        }
        source.set_u16(tags::BITS_ALLOCATED, 8);
        let head = source.encode(Layout::ExplicitLe, QueryCharset::Auto);
        source.insert(tags::PIXEL_DATA, marked(VR::OW));
        let bytes = source.encode(Layout::ExplicitLe, QueryCharset::Auto);
        let mut deidentifier = Deidentifier::new(&self::head(EXPLICIT_VR_LE), &key());
        deidentifier.push(Bytes::copy_from_slice(&bytes[..head.len() + 12])).unwrap();
        assert_eq!(deidentifier.is_burned_in(), Some(expected), "{value:?}");
    }
}

#[test]
fn hazard_a_sequence_that_came_as_bytes_or_as_unknown_hides_nothing() {
    let mut item = DataSet::new();
    item.set_str(tags::PATIENT_NAME, VR::PN, MARKER);
    item.set_u16(tags::ROWS, 1);
    // As UN of undefined length, whose items are in Implicit VR (PS3.5 6.2.2), within another such.
    let mut outer = DataSet::new();
    outer.set_items(tags::REFERENCED_INSTANCE_SEQUENCE, vec![item.clone()]);
    outer.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![item]);
    let inside = outer.encode(Layout::ImplicitLe, QueryCharset::Auto);
    let mut bytes = b"\x08\0\x15\x11UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF".to_vec();
    bytes.extend(&inside);
    bytes.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
    let out = deidentified(EXPLICIT_VR_LE, &bytes, 7).unwrap();
    assert!(!holds(&out, MARKER));
    let read = parsed(&out);
    let item = &read.items(tags::REFERENCED_SERIES_SEQUENCE)[0];
    for sequence in [tags::REFERENCED_INSTANCE_SEQUENCE, tags::REFERENCED_IMAGE_SEQUENCE] {
        assert_eq!(item.items(sequence)[0].int(tags::ROWS), Some(1), "{sequence}");
        assert_eq!(item.items(sequence)[0].string(tags::PATIENT_NAME), None);
    }
    // As bytes, of a length.
    for vr in [*b"UN", *b"OB", *b"UT"] {
        let mut bytes = b"\x08\0\x15\x11".to_vec();
        bytes.extend(vr);
        bytes.extend([0, 0]);
        bytes.extend((inside.len() as u32).to_le_bytes());
        bytes.extend(&inside);
        let out = deidentified(EXPLICIT_VR_LE, &bytes, 7).unwrap();
        assert!(!holds(&out, MARKER) && !parsed(&out).contains(tags::REFERENCED_SERIES_SEQUENCE));
    }
}

#[test]
fn each_action_leaves_what_an_objects_definition_wants() {
    let mut source = DataSet::new();
    for (tag, vr, value) in [
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.88.11"),
        (tags::STUDY_DATE, VR::DA, "20260102"),
        (tags::SERIES_DATE, VR::DA, "20260102"),
        (tags::CONTENT_TIME, VR::TM, "101112"),
        (tags::ACCESSION_NUMBER, VR::SH, "A1"),
        (tags::MODALITY, VR::CS, "SR"),
        (tags::INSTITUTION_NAME, VR::LO, "Clinic"),
        (tags::STUDY_DESCRIPTION, VR::LO, "Head"),
        (tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
        (tags::PATIENT_ID, VR::LO, "P1"),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19700101"),
        (tags::PATIENT_AGE, VR::AS, "056Y"),
        (tags::ALLERGIES, VR::LO, "Nuts"),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "YES"),
    ] {
        source.set_str(tag, vr, value);
    }
    for sequence in
        [tags::CONTENT_SEQUENCE, tags::REFERENCED_STUDY_SEQUENCE, tags::OPERATOR_IDENTIFICATION_SEQUENCE]
    {
        source.set_items(sequence, vec![source.clone()]);
    }
    let read = of(&source);
    let text = |tag| read.get(tag).map(|element| element.string().unwrap_or_default().to_owned());
    for (tag, expected) in [
        (tags::SOP_CLASS_UID, Some("1.2.840.10008.5.1.4.1.1.88.11")),
        (tags::STUDY_DATE, Some("")),
        (tags::SERIES_DATE, Some("19000101")),
        (tags::CONTENT_TIME, Some("000000")),
        (tags::ACCESSION_NUMBER, Some("")),
        (tags::MODALITY, Some("SR")),
        (tags::INSTITUTION_NAME, Some("ANONYMIZED")),
        (tags::STUDY_DESCRIPTION, None),
        (tags::PATIENT_NAME, Some("")),
        (tags::PATIENT_ID, Some("ANONYMIZED")),
        (tags::PATIENT_BIRTH_DATE, Some("")),
        (tags::PATIENT_AGE, None),
        (tags::ALLERGIES, None),
        (tags::BURNED_IN_ANNOTATION, Some("YES")),
        (tags::PATIENT_IDENTITY_REMOVED, Some("YES")),
        (tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, Some("REMOVED")),
    ] {
        assert_eq!(text(tag).as_deref(), expected, "{tag}");
    }
    assert_eq!(read.items(tags::CONTENT_SEQUENCE)[0].string(tags::TEXT_VALUE), Some("ANONYMIZED"));
    assert!(read.get(tags::REFERENCED_STUDY_SEQUENCE).unwrap().items().is_empty());
    assert!(!read.contains(tags::OPERATOR_IDENTIFICATION_SEQUENCE));
    let codes = read.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
    assert_eq!(codes[0].string(tags::CODE_VALUE), Some("113100"));
    assert!(text(tags::DEIDENTIFICATION_METHOD).is_some());
}

#[test]
fn what_was_done_stands_in_its_place_once_and_in_place_of_what_was_said() {
    let mut source = DataSet::new();
    source.set_str(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "NO");
    source.set_str(tags::DEIDENTIFICATION_METHOD, VR::LO, MARKER);
    source.set_u16(tags::ROWS, 1);
    for source in [source, DataSet::new()] {
        let bytes = source.encode(Layout::ExplicitLe, QueryCharset::Auto);
        let out = deidentified(EXPLICIT_VR_LE, &bytes, 1000).unwrap();
        let again = parsed(&out);
        assert_eq!(out, again.encode(Layout::ExplicitLe, QueryCharset::Auto), "ascending, each once");
        assert_eq!(again.string(tags::PATIENT_IDENTITY_REMOVED), Some("YES"));
        assert!(!holds(&out, MARKER));
    }
}

#[test]
fn uids_are_the_same_for_the_same_and_others_under_another_key() {
    let mut image = DataSet::new();
    image.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2");
    image.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.2.34");
    image.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3");
    let mut reference = DataSet::new();
    reference.set_str(tags::REFERENCED_SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2");
    reference.set_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.34");
    let mut other = DataSet::new();
    other.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![reference]);
    other.set_strings(Tag(0x0008, 0x0058), VR::UI, vec!["1.2.34".into(), "1.2.3".into()]);
    let (image, other) = (of(&image), of(&other));
    let instance = image.uid(tags::SOP_INSTANCE_UID).unwrap();
    assert_eq!(instance, Deidentifier::head(&head(EXPLICIT_VR_LE), &key()).sop_instance);
    let reference = &other.items(tags::REFERENCED_IMAGE_SEQUENCE)[0];
    assert_eq!(reference.uid(tags::REFERENCED_SOP_INSTANCE_UID), Some(instance.clone()));
    assert_eq!(reference.string(tags::REFERENCED_SOP_CLASS_UID), Some("1.2.840.10008.5.1.4.1.1.2"));
    let study = image.string(tags::STUDY_INSTANCE_UID).unwrap();
    assert_eq!(other.strings(Tag(0x0008, 0x0058)), [instance.as_str(), study]);
    assert!(study.starts_with("2.25.") && study != instance.as_str());
    assert_ne!(Key::from_secret(b"another").uid(&"1.2.3".parse().unwrap()).as_str(), study);
    assert_ne!(Key::random().uid(&instance), Key::random().uid(&instance));
    // A UUID says of which version and variant it is.
    let number: u128 = study["2.25.".len()..].parse().unwrap();
    assert_eq!((number >> 76 & 0xF, number >> 62 & 0b11), (8, 0b10));
    assert_eq!(key().uids(b"1.2.3\0", false), key().uids(b" 1.2.3", true));
    let of = |values: &[u8]| key().uids(values, false);
    assert_eq!(of(b"\\1.2.3\\"), [b"\\", &of(b"1.2.3")[..], b"\\"].concat());
    assert!(of(b"").is_empty() && of(b"\0").is_empty());
}

#[test]
fn pixels_stay_as_they_are_native_compressed_and_deflated() {
    let pixels: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut image = DataSet::new();
    image.set_str(tags::PATIENT_NAME, VR::PN, MARKER);
    image.set_u16(tags::BITS_ALLOCATED, 16);
    let mut compressed = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    compressed.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
    compressed.extend((pixels.len() as u32).to_le_bytes());
    let fragments = [&pixels[..], b"\xFE\xFF\xDD\xE0\0\0\0\0"].concat();
    compressed.extend(&fragments);
    let out = deidentified(JPEG, &compressed, 5000).unwrap();
    assert!(out.ends_with(&fragments) && !holds(&out, MARKER));
    assert_eq!(Deidentifier::head(&head(JPEG), &key()).transfer_syntax.as_str(), JPEG);

    let value = Value::Bytes(pixels.clone().into());
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE] {
        let mut bytes = image.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
        if syntax == DEFLATED_EXPLICIT_VR_LE {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let out = deidentified(syntax, &bytes, 5000).unwrap();
        assert!(out.ends_with(&pixels) && !holds(&out, MARKER), "{syntax}");
        assert_eq!(Deidentifier::head(&head(syntax), &key()).transfer_syntax.as_str(), EXPLICIT_VR_LE);
    }
}

#[test]
fn the_size_of_the_pieces_changes_nothing_and_what_breaks_off_is_an_error() {
    let mut source = DataSet::new();
    source.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.2.34");
    source.set_str(tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    source.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![source.clone(), source.clone()]);
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE] {
        let bytes = source.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
        let whole = deidentified(syntax, &bytes, bytes.len()).unwrap();
        for size in 1..40 {
            assert_eq!(deidentified(syntax, &bytes, size).unwrap(), whole, "{size}");
        }
        assert!(deidentified(syntax, &bytes[..bytes.len() - 3], 1000).is_err());
    }
}

#[test]
fn hazard_a_list_of_uids_without_end_is_not_gathered() {
    let mut bytes = b"\x08\0\x58\0UN\0\0\0\0\x10\0".to_vec();
    bytes.extend(b"1\\".repeat(1 << 19));
    let out = deidentified(EXPLICIT_VR_LE, &bytes, 4000).unwrap();
    assert!(parsed(&out).get(Tag(0x0008, 0x0058)).unwrap().strings().is_empty());
}

proptest! {
    #[test]
    fn what_comes_out_of_anything_can_be_walked(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..50) {
        if let Ok(out) = deidentified(EXPLICIT_VR_LE, &bytes, size) {
            prop_assert!(DataSet::parse(&out, Layout::ExplicitLe, None).is_ok());
        }
    }
}
