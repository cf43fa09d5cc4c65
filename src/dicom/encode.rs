//! Data sets out: identifiers for a peer, and the beginning of a Part 10 file.

use super::byte_order::swapped;
use super::charset::{Charset, QueryCharset};
use super::dataset::{DataSet, Element, Step, Value, is_single_valued, is_textual};
use super::object::Head;
use super::scan::has_long_length;
use super::transfer_syntax::Layout;
use super::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Tag, VR, tags};

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// Longest value, in bytes, whose even length a 16-bit length field can tell.
const MAX_SHORT_VALUE: u32 = 0xFFFE;

impl DataSet {
    /// Encodes the data set; no preamble, no group 0002.
    ///
    /// Specific Character Set (0008,0005) is set to what the text was encoded in, which then holds for the
    /// items too; without text beyond ASCII and without a forced set there is none, or an empty one where the
    /// data set has the element. Values are padded to even length; sequences and items have undefined length,
    /// empty sequences zero.
    pub fn encode(&self, layout: Layout, charset: QueryCharset) -> Vec<u8> {
        let charset = self.charset_for(charset);
        let mut out = Vec::new();
        let mut label = (!charset.values().is_empty() || self.contains(tags::SPECIFIC_CHARACTER_SET))
            .then(|| Element { vr: VR::CS, value: Value::Strings(charset.values().to_vec()) });
        let mut depth = 0_usize;
        for step in self.walk() {
            match step {
                Step::Element(tag, element) => {
                    if depth == 0
                        && tag >= tags::SPECIFIC_CHARACTER_SET
                        && let Some(label) = label.take()
                    {
                        put_element(&mut out, layout, tags::SPECIFIC_CHARACTER_SET, &label, &charset);
                    }
                    if tag != tags::SPECIFIC_CHARACTER_SET {
                        put_element(&mut out, layout, tag, element, &charset);
                    }
                }
                Step::Item => {
                    depth += 1;
                    put_undefined_item(&mut out, layout);
                }
                Step::ItemEnd => {
                    depth -= 1;
                    put_item_end(&mut out, layout);
                }
                Step::SequenceEnd => put_sequence_end(&mut out, layout),
            }
        }
        if let Some(label) = label {
            put_element(&mut out, layout, tags::SPECIFIC_CHARACTER_SET, &label, &charset);
        }
        out
    }

    /// The character set that all text of the data set fits in.
    fn charset_for(&self, wanted: QueryCharset) -> Charset {
        let candidates = match wanted {
            QueryCharset::Auto => vec![Charset::ascii(), Charset::latin1()],
            QueryCharset::Forced(charset) => vec![charset],
        };
        let fits = |charset: &Charset| {
            self.walk().all(|step| match step {
                Step::Element(tag, element) if tag != tags::SPECIFIC_CHARACTER_SET => {
                    element.strings().iter().all(|s| charset.encode(s, element.vr).is_some())
                }
                _ => true,
            })
        };
        candidates.into_iter().find(fits).unwrap_or_else(Charset::utf8)
    }
}

/// What stands before the data set in a Part 10 file: preamble, `DICM` and group 0002 (PS3.10 7.1). The head
/// names the transfer syntax of the bytes that follow.
pub fn part10_header(head: &Head) -> Vec<u8> {
    let mut group = Vec::with_capacity(256);
    put_header(&mut group, Layout::ExplicitLe, tags::FILE_META_INFORMATION_VERSION, VR::OB, 2);
    group.extend([0, 1]);
    let texts = [
        (tags::MEDIA_STORAGE_SOP_CLASS_UID, VR::UI, head.sop_class.as_str()),
        (tags::MEDIA_STORAGE_SOP_INSTANCE_UID, VR::UI, head.sop_instance.as_str()),
        (tags::TRANSFER_SYNTAX_UID, VR::UI, head.transfer_syntax.as_str()),
        (tags::IMPLEMENTATION_CLASS_UID, VR::UI, IMPLEMENTATION_CLASS_UID),
        (tags::IMPLEMENTATION_VERSION_NAME, VR::SH, IMPLEMENTATION_VERSION_NAME),
    ];
    for (tag, vr, text) in texts {
        put_value(&mut group, Layout::ExplicitLe, tag, vr, text.as_bytes());
    }
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let length = length_of(&group).to_le_bytes();
    put_value(&mut out, Layout::ExplicitLe, tags::FILE_META_INFORMATION_GROUP_LENGTH, VR::UL, &length);
    out.extend(group);
    out
}

/// Writes the header of an element of defined length, and tells the VR it was given: UN where the length
/// is too great for the VR (PS3.5 6.2.2).
pub(crate) fn put_header(out: &mut Vec<u8>, layout: Layout, tag: Tag, vr: VR, length: u32) -> VR {
    if layout == Layout::ImplicitLe {
        put_tag_and_length(out, layout, tag, length);
        return vr;
    }
    let vr = if length > MAX_SHORT_VALUE && !has_long_length(vr) { VR::UN } else { vr };
    put_tag(out, layout, tag);
    out.extend(vr.to_bytes());
    if has_long_length(vr) {
        out.extend([0, 0]);
        put_u32(out, layout, length);
    } else {
        let length = u16::try_from(length).expect("MAX_SHORT_VALUE is a 16-bit number");
        out.extend(if layout == Layout::ExplicitBe { length.to_be_bytes() } else { length.to_le_bytes() });
    }
    vr
}

/// Writes the header of an element of undefined length, which the VR allows: SQ, or OB and OW with fragments.
pub(crate) fn put_undefined(out: &mut Vec<u8>, layout: Layout, tag: Tag, vr: VR) {
    put_header(out, layout, tag, vr, UNDEFINED);
}

/// Writes the header of an item of undefined length.
pub(crate) fn put_undefined_item(out: &mut Vec<u8>, layout: Layout) {
    put_item(out, layout, UNDEFINED);
}

/// Writes the header of an item or fragment.
pub(crate) fn put_item(out: &mut Vec<u8>, layout: Layout, length: u32) {
    put_tag_and_length(out, layout, ITEM, length);
}

/// Writes the delimiter of an item of undefined length.
pub(crate) fn put_item_end(out: &mut Vec<u8>, layout: Layout) {
    put_tag_and_length(out, layout, ITEM_DELIMITATION, 0);
}

/// Writes the delimiter of a sequence of undefined length, or of fragments.
pub(crate) fn put_sequence_end(out: &mut Vec<u8>, layout: Layout) {
    put_tag_and_length(out, layout, SEQUENCE_DELIMITATION, 0);
}

/// The byte that makes the length of a value even (PS3.5 6.2).
pub(crate) fn padding(vr: VR) -> u8 {
    if is_textual(vr) && vr != VR::UI { b' ' } else { 0 }
}

/// Writes an element; of a sequence with items, its header. Text that the character set has not is left out.
pub(crate) fn put_element(out: &mut Vec<u8>, layout: Layout, tag: Tag, element: &Element, charset: &Charset) {
    match &element.value {
        Value::Items(items) if items.is_empty() => {
            put_header(out, layout, tag, VR::SQ, 0);
        }
        Value::Items(_) => put_undefined(out, layout, tag, VR::SQ),
        Value::Bytes(bytes) if layout == Layout::ExplicitBe => {
            put_value(out, layout, tag, element.vr, &swapped(element.vr, bytes));
        }
        Value::Bytes(bytes) => put_value(out, layout, tag, element.vr, bytes),
        Value::Strings(values) => {
            let separator: &[u8] = if is_single_valued(element.vr) { b"" } else { b"\\" };
            let encoded: Vec<Vec<u8>> =
                values.iter().map(|v| charset.encode(v, element.vr).unwrap_or_default()).collect();
            put_value(out, layout, tag, element.vr, &encoded.join(separator));
        }
    }
}

fn put_value(out: &mut Vec<u8>, layout: Layout, tag: Tag, vr: VR, value: &[u8]) {
    let odd = value.len() % 2 == 1;
    put_header(out, layout, tag, vr, length_of(value) + u32::from(odd));
    out.extend_from_slice(value);
    if odd {
        out.push(padding(vr));
    }
}

fn length_of(value: &[u8]) -> u32 {
    u32::try_from(value.len()).expect("a data set in memory is far below 4 GiB")
}

fn put_tag_and_length(out: &mut Vec<u8>, layout: Layout, tag: Tag, length: u32) {
    put_tag(out, layout, tag);
    put_u32(out, layout, length);
}

fn put_tag(out: &mut Vec<u8>, layout: Layout, tag: Tag) {
    for half in [tag.group(), tag.element()] {
        out.extend(if layout == Layout::ExplicitBe { half.to_be_bytes() } else { half.to_le_bytes() });
    }
}

fn put_u32(out: &mut Vec<u8>, layout: Layout, number: u32) {
    out.extend(if layout == Layout::ExplicitBe { number.to_be_bytes() } else { number.to_le_bytes() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;

    #[test]
    fn header_and_data_set_are_a_part_10_file() {
        let head = Head {
            sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.7"),
            sop_instance: Uid::from_static("1.2.34"),
            transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
        };
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PATIENT_NAME, VR::PN, "Müller");
        let file = [part10_header(&head), data_set.encode(Layout::ExplicitLe, QueryCharset::Auto)].concat();
        let read = dicom_object::from_reader(&file[..]).unwrap();
        assert_eq!(read.meta().media_storage_sop_class_uid(), "1.2.840.10008.5.1.4.1.1.7");
        assert_eq!(read.meta().media_storage_sop_instance_uid(), "1.2.34");
        assert_eq!(read.meta().transfer_syntax(), "1.2.840.10008.1.2.1");
        assert_eq!(read.meta().implementation_class_uid(), IMPLEMENTATION_CLASS_UID);
        assert_eq!(read.meta().implementation_version_name.as_deref().map(str::trim), Some("GANTRY_0_1"));
        assert_eq!(read.meta().information_version, [0, 1]);
        assert_eq!(read.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Müller");
    }

    #[test]
    fn the_program_names_itself_within_the_bounds() {
        assert!(IMPLEMENTATION_CLASS_UID.parse::<Uid>().is_ok());
        assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);
    }

    #[test]
    fn values_are_padded_as_their_vr_asks() {
        let encoded = |tag, vr, value: &str| {
            let mut data_set = DataSet::new();
            data_set.set_str(tag, vr, value);
            data_set.encode(Layout::ImplicitLe, QueryCharset::Auto)[8..].to_vec()
        };
        assert_eq!(encoded(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3"), b"1.2.3\0");
        assert_eq!(encoded(tags::MODALITY, VR::CS, "CT1"), b"CT1 ");
        assert_eq!(encoded(tags::MODALITY, VR::CS, "CT"), b"CT");
    }

    #[test]
    fn an_empty_sequence_has_zero_length_and_return_keys_have_no_value() {
        let mut query = DataSet::new();
        query.set_empty(tags::SPECIFIC_CHARACTER_SET, VR::CS);
        query.set_empty(tags::REFERENCED_STUDY_SEQUENCE, VR::SQ);
        assert_eq!(
            query.encode(Layout::ExplicitLe, QueryCharset::Auto),
            b"\x08\x00\x05\x00CS\0\0\x08\x00\x10\x11SQ\0\0\0\0\0\0"
        );
    }

    #[test]
    fn the_character_set_stands_in_its_place_and_only_at_the_top() {
        let mut item = DataSet::new();
        item.set_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 144");
        item.set_str(tags::CODE_MEANING, VR::LO, "Ä");
        let mut query = DataSet::new();
        query.set_items(Tag(0x0008, 0x0001), vec![item]);
        let encoded = query.encode(Layout::ImplicitLe, QueryCharset::Auto);
        let label = b"\x08\x00\x05\x00\x0A\0\0\0ISO_IR 100";
        assert!(encoded.ends_with(label));
        assert!(!encoded.windows(10).any(|w| w == b"ISO_IR 144"));
    }
}
