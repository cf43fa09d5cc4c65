//! What attributes and their values look like as text: what JSON and XML each say in their own way.

use crate::dicom::dataset::TextValues;
use crate::dicom::{Tag, VR};

/// What attributes look like as text. Whatever it writes for one attribute or item must not depend on what
/// stands before or behind it, so that attributes can be brought in order.
pub(in crate::dicomweb) trait Notation: std::fmt::Debug {
    /// Whether attributes name the owner of private ones.
    fn names_creators(&self) -> bool;
    fn begin(&self, out: &mut Vec<u8>);
    fn end(&self, out: &mut Vec<u8>);
    /// What an attribute begins with; `creator`: the owner of a private one, where it is named and known.
    fn begin_attribute(&self, out: &mut Vec<u8>, tag: Tag, vr: VR, creator: Option<&str>);
    fn end_attribute(&self, out: &mut Vec<u8>);
    /// A whole attribute of a textual VR that has this value alone, or none where it is empty: without padding,
    /// and nothing but what [`is_plain`]. `false`: nothing was written, it has to go the long way.
    #[inline]
    fn plain(&self, _out: &mut Vec<u8>, _tag: Tag, _vr: VR, _value: &[u8]) -> bool {
        false
    }
    /// The values of a textual VR, at least one.
    fn strings(&self, out: &mut Vec<u8>, vr: VR, values: Strings<'_>);
    /// The value of any other VR, in little endian and not empty.
    fn bytes(&self, out: &mut Vec<u8>, vr: VR, value: &[u8]);
    fn bulk_data(&self, out: &mut Vec<u8>, uri: std::fmt::Arguments<'_>);
    /// What stands before the first item of a sequence.
    fn begin_items(&self, out: &mut Vec<u8>);
    fn end_items(&self, out: &mut Vec<u8>);
    /// What an item begins with; its number counts from 1.
    fn begin_item(&self, out: &mut Vec<u8>, number: u32);
    fn end_item(&self, out: &mut Vec<u8>);
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy)]
pub(in crate::dicomweb) enum Content<'a> {
    /// Of a textual VR, divided into its values.
    Strings(&'a [String]),
    /// Of a textual VR, decoded and as it was encoded otherwise: with padding and backslashes.
    Text(&'a str),
    /// Of any other VR, in little endian.
    Bytes(&'a [u8]),
    /// To be had below this URL, by the path of the attribute.
    BulkData(&'a str),
}

/// A textual attribute that a document has besides those of its data set.
#[derive(Debug, Clone, Copy)]
pub struct Besides<'a> {
    /// The attribute; not the Specific Character Set.
    pub tag: Tag,
    /// Its value representation, one with a single value such as UR.
    pub vr: VR,
    /// Its value.
    pub text: &'a str,
}

/// The values of a textual attribute.
#[derive(Debug, Clone)]
pub(in crate::dicomweb) enum Strings<'a> {
    Divided(std::slice::Iter<'a, String>),
    InText(TextValues<'a>),
}

impl Strings<'_> {
    /// Whether there are two or more, as long as none was taken.
    pub(in crate::dicomweb) fn is_several(&self) -> bool {
        match self {
            Self::Divided(values) => values.len() > 1,
            Self::InText(values) => values.is_several(),
        }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self {
            Self::Divided(values) => values.next().map(String::as_str),
            Self::InText(values) => values.next(),
        }
    }
}

/// Whether a value among others of a textual VR has nothing in it: a name, no component group.
pub(in crate::dicomweb) fn is_empty(vr: VR, value: &str) -> bool {
    match vr {
        VR::PN => name_groups(value).next().is_none(),
        _ => value.is_empty(),
    }
}

/// The component groups of a name that have something in them (PS3.5 6.2.1.1).
pub(in crate::dicomweb) fn name_groups(value: &str) -> impl Iterator<Item = (&'static str, &str)> {
    let groups = value.split('=').map(str::trim_end);
    ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(groups).filter(|(_, text)| !text.is_empty())
}

/// Whether text is nothing but ASCII that stands in any quotation marks as it is: no control characters, no quotation
/// mark, no backslash. Looks at eight bytes at once, as values are too short for anything wider.
#[inline]
pub(in crate::dicomweb) fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // The highest bit of a byte is set where it is not plain, and perhaps of those above such a one.
    let odd = |word: u64| {
        let quotes = word ^ (ONES * b'"' as u64);
        let backslashes = word ^ (ONES * b'\\' as u64);
        let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
        (word | below(word, b' ') | below(quotes, 1) | below(backslashes, 1)) & HIGHS
    };
    let mut all = 0;
    for word in text.as_chunks::<8>().0 {
        all |= odd(u64::from_ne_bytes(*word));
    }
    // What is left over, together with what was looked at already; letters are in place of what is not there.
    let rest = match (text.last_chunk::<8>(), text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(last), ..) => u64::from_ne_bytes(*last),
        (_, Some([a, b, c, d]), Some([e, f, g, h])) => u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        _ => text.iter().fold(u64::from_ne_bytes(*b"AAAAAAAA"), |word, b| word << 8 | u64::from(*b)),
    };
    all |= odd(rest);
    all == 0
}
