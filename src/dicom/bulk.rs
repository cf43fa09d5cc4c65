//! Which values are bulk data: metadata leave them out and point to them (PS3.18 10.4.1.1.2, F.2.6).
//!
//! Whoever writes metadata and whoever answers with bulk data go by this one rule.

use super::scan::{Content, ElementHeader};
use super::{Tag, VR, tags};

/// Longest value, in bytes, that stays in the metadata whatever its VR; in text it becomes twenty times as long at
/// the worst. The contours of structure sets and the text of reports stay far below.
pub const MAX_INLINE: u32 = 1 << 20;

/// Whether the value of an element is bulk data. `at_top`: it stands in the data set itself, and in no sequence;
/// `inline`: the longest value of a binary VR, in bytes, that is not.
pub fn is_bulk_data(header: &ElementHeader, at_top: bool, inline: usize) -> bool {
    match (header.content, header.length) {
        (Content::Items, _) => false,
        (Content::Fragments, _) | (_, None) => true,
        (Content::Value, Some(length)) => {
            let pixels = at_top && is_pixel_data(header.tag);
            let long = is_binary(header.vr) && length as usize > inline;
            length > 0 && (pixels || long || length > MAX_INLINE)
        }
    }
}

/// Whether the attribute holds the pixels of an image: Pixel Data, Float Pixel Data or Double Float Pixel Data
/// (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25).
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

/// Whether values of this VR are bytes, which go in base64 where they are in the metadata.
pub fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}
