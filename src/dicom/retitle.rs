//! Another value for one AE title in an encoded data set, whose other bytes all stay as they are.
//!
//! A match says in Retrieve AE Title (0008,0054) from whom its objects can be had (PS3.4 C.3.4): who asks us is to ask
//! us again.

use bytes::{BufMut, Bytes, BytesMut};

use super::scan::{Content, ElementHeader, Event, Scanner};
use super::transfer_syntax::Layout;
use super::{AeTitle, Tag};

/// The data set with `title` as the one value of the element `tag`, which is of VR AE; `None` where it stays as it is:
/// the element is not there, or empty, or what comes before it cannot be followed. Elements within sequences are
/// others. A group length of the element's group (retired, PS3.5 7.2) would be wrong and is left out.
pub fn replace(data_set: &Bytes, layout: Layout, tag: Tag, title: &AeTitle) -> Option<Bytes> {
    let mut scanner = Scanner::new(layout);
    scanner.push(data_set.clone());
    let mut group_length = None;
    loop {
        // Whatever begins is passed over whole, so that nothing is told but elements of the data set itself.
        let Event::Element(header) = scanner.next().ok()?? else { return None };
        if header.tag == tag {
            let value = range(&header, data_set)?;
            let is_empty = data_set[value.1..value.2].iter().all(|byte| matches!(byte, 0 | b' '));
            return (!is_empty).then(|| spliced(data_set, group_length, value, &encoded(&header, title)));
        }
        // They ascend (PS3.5 7.1).
        if header.tag > tag {
            return None;
        }
        if header.tag == Tag(tag.group(), 0) {
            group_length = range(&header, data_set);
        }
        scanner.skip();
    }
}

/// Where the element, its value and what follows begin.
fn range(header: &ElementHeader, data_set: &Bytes) -> Option<(usize, usize, usize)> {
    let length = header.length.filter(|_| header.content == Content::Value)?;
    let (start, value) = (usize::try_from(header.offset).ok()?, usize::try_from(header.value_offset).ok()?);
    let end = value.checked_add(length as usize)?;
    (end <= data_set.len()).then_some((start, value, end))
}

fn spliced(
    data_set: &Bytes,
    group_length: Option<(usize, usize, usize)>,
    (start, _, end): (usize, usize, usize),
    element: &[u8],
) -> Bytes {
    let (left_out, goes_on) = group_length.map_or((0, 0), |(start, _, end)| (start, end));
    let parts = [&data_set[..left_out], &data_set[goes_on..start], element, &data_set[end..]];
    let mut out = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.put_slice(part));
    out.freeze()
}

/// The element with another value.
fn encoded(header: &ElementHeader, title: &AeTitle) -> Vec<u8> {
    let Tag(group, element) = header.tag;
    let value = title.as_str().as_bytes();
    // No title has more than 16 bytes.
    let length = value.len().next_multiple_of(2) as u16;
    let mut out = Vec::with_capacity(8 + usize::from(length));
    match header.layout {
        Layout::ExplicitBe => {
            out.extend([group.to_be_bytes(), element.to_be_bytes(), *b"AE", length.to_be_bytes()].concat());
        }
        Layout::ExplicitLe => {
            out.extend([group.to_le_bytes(), element.to_le_bytes(), *b"AE", length.to_le_bytes()].concat());
        }
        Layout::ImplicitLe => {
            out.extend([group.to_le_bytes(), element.to_le_bytes(), length.to_le_bytes(), [0, 0]].concat());
        }
    }
    out.extend_from_slice(value);
    out.resize(8 + usize::from(length), b' ');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::dataset::{DataSet, vr_of};
    use crate::dicom::{VR, tags};

    const LAYOUTS: [Layout; 3] = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe];

    fn retitled(bytes: &[u8], layout: Layout) -> Option<Bytes> {
        let title = "GANTRY".parse().unwrap();
        replace(&Bytes::copy_from_slice(bytes), layout, tags::RETRIEVE_AE_TITLE, &title)
    }

    #[test]
    fn the_value_is_replaced_and_nothing_else() {
        let before = b"\x08\0\x52\0CS\x06\0STUDY \x08\0\x54\0AE\x04\0PACS\x10\0\x20\0LO\x02\x001 ";
        let after = b"\x08\0\x52\0CS\x06\0STUDY \x08\0\x54\0AE\x06\0GANTRY\x10\0\x20\0LO\x02\x001 ";
        assert_eq!(retitled(before, Layout::ExplicitLe).unwrap(), after[..]);
        let before = b"\x08\0\x54\0\x0A\0\0\0PACS\\OTHER\x10\0\x20\0\x02\0\0\x001 ";
        let after = b"\x08\0\x54\0\x06\0\0\0GANTRY\x10\0\x20\0\x02\0\0\x001 ";
        assert_eq!(retitled(before, Layout::ImplicitLe).unwrap(), after[..]);
    }

    #[test]
    fn what_is_not_there_or_empty_stays_so() {
        for bytes in [&b""[..], b"\x08\0\x54\0AE\0\0", b"\x08\0\x54\0AE\x02\0  ", b"\x10\0\x20\0LO\x02\x001 "]
        {
            assert_eq!(retitled(bytes, Layout::ExplicitLe), None);
        }
    }

    #[test]
    fn an_element_within_a_sequence_is_another() {
        let mut item = DataSet::new();
        item.set_str(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS");
        let mut match_ = DataSet::new();
        match_.set_items(tags::LANGUAGE_CODE_SEQUENCE, vec![item]);
        for layout in LAYOUTS {
            assert_eq!(retitled(&match_.encode(layout, QueryCharset::Auto), layout), None);
            match_.set_str(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS");
            let after = retitled(&match_.encode(layout, QueryCharset::Auto), layout).unwrap();
            let mut after = DataSet::parse(&after, layout, None).unwrap().data_set;
            assert_eq!(after.remove(tags::RETRIEVE_AE_TITLE).unwrap().strings(), ["GANTRY"]);
            match_.remove(tags::RETRIEVE_AE_TITLE);
            assert_eq!(after, match_);
        }
    }

    #[test]
    fn a_group_length_that_would_be_wrong_is_left_out() {
        let before = b"\x08\0\0\0UL\x04\0\x0C\0\0\0\x08\0\x54\0AE\x04\0PACS\x10\0\0\0UL\x04\0\0\0\0\0";
        let after = b"\x08\0\x54\0AE\x06\0GANTRY\x10\0\0\0UL\x04\0\0\0\0\0";
        assert_eq!(retitled(before, Layout::ExplicitLe).unwrap(), after[..]);
    }

    #[test]
    fn hazard_a_data_set_that_breaks_off_is_left_alone() {
        let whole = b"\x08\0\x52\0CS\x06\0STUDY \x08\0\x54\0AE\x04\0PACS";
        for cut in 0..whole.len() {
            assert_eq!(retitled(&whole[..cut], Layout::ExplicitLe), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn only_the_one_element_differs(
            texts in proptest::collection::btree_map(
                prop_oneof![
                    Just(tags::IMAGE_TYPE), Just(tags::STUDY_DATE), Just(tags::QUERY_RETRIEVE_LEVEL),
                    Just(tags::INSTANCE_AVAILABILITY), Just(tags::PATIENT_NAME), Just(tags::STUDY_ID),
                ],
                "[A-Z0-9]{1,16}",
                0..6,
            ),
            old in "[A-Z]{1,16}",
            new in "[A-Z]{1,16}",
            layout in prop::sample::select(&LAYOUTS[..]),
        ) {
            let mut match_ = DataSet::new();
            for (tag, text) in &texts {
                match_.set_str(*tag, vr_of(*tag), text);
            }
            match_.set_str(tags::RETRIEVE_AE_TITLE, VR::AE, &old);
            let before = Bytes::from(match_.encode(layout, QueryCharset::Auto));
            let after = replace(&before, layout, tags::RETRIEVE_AE_TITLE, &new.parse().unwrap()).unwrap();
            match_.set_str(tags::RETRIEVE_AE_TITLE, VR::AE, &new);
            prop_assert_eq!(DataSet::parse(&after, layout, None).unwrap().data_set, match_);
        }

        #[test]
        fn hazard_any_bytes_are_survived(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            layout in prop::sample::select(&LAYOUTS[..]),
        ) {
            let _ = retitled(&bytes, layout);
            let _ = retitled(&[b"\x08\0\x50\0AE\0\0", &bytes[..]].concat(), layout);
        }
    }
}
