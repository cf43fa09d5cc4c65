//! Small data sets in memory, their text in Unicode: identifiers of queries and of their answers.
//!
//! Not for whole images, which pass through as bytes. [`DataSet::parse`] reads what came from a peer,
//! [`DataSet::encode`] writes what goes to one; between the two nobody thinks about transfer syntaxes,
//! character sets or padding.

use std::collections::{BTreeMap, btree_map};

use bytes::Bytes;

pub use self::parse::{MAX_ELEMENTS, Parsed, Warning, WarningKind};
pub use super::dictionary::{tag_by_keyword, vr_of};
use super::query::AttributePath;
use super::{Tag, Uid, VR};

mod parse;
mod text;
mod walk;

pub(crate) use self::parse::Builder;
pub(crate) use self::text::{TextValues, trim, unpadded, values_in};
pub(crate) use self::walk::Step;

/// A data set: elements by ascending tag, without group lengths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSet {
    elements: BTreeMap<Tag, Element>,
}

/// A data element without its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The value representation.
    pub vr: VR,
    /// The value; empty ones of every kind are allowed.
    pub value: Value,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The values of a textual VR: decoded, without padding; one value for ST, LT, UR and UT, none when the
    /// element is empty. Values among several may be empty.
    Strings(Vec<String>),
    /// The value of a binary VR (AT, FL, FD, OB, OD, OF, OL, OV, OW, SL, SS, SV, UL, UN, US, UV), little
    /// endian, in whole words.
    Bytes(Bytes),
    /// The items of a sequence.
    Items(Vec<DataSet>),
}

impl Value {
    /// Whether the element has no value: zero length.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Strings(values) => values.iter().all(String::is_empty) && values.len() < 2,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Items(items) => items.is_empty(),
        }
    }
}

impl Element {
    /// An element without a value.
    pub fn empty(vr: VR) -> Self {
        let value = match vr {
            VR::SQ => Value::Items(Vec::new()),
            vr if is_textual(vr) => Value::Strings(Vec::new()),
            _ => Value::Bytes(Bytes::new()),
        };
        Self { vr, value }
    }

    /// The values of a textual element; none of any other.
    pub fn strings(&self) -> &[String] {
        match &self.value {
            Value::Strings(values) => values,
            _ => &[],
        }
    }

    /// The first value of a textual element without spaces around it; `None` when that leaves nothing.
    pub fn string(&self) -> Option<&str> {
        self.strings().first().map(|s| s.trim()).filter(|s| !s.is_empty())
    }

    /// The first value as a whole number, of the VRs US, SS, UL, SL, SV, UV and IS.
    pub fn int(&self) -> Option<i64> {
        let Value::Bytes(bytes) = &self.value else {
            return (self.vr == VR::IS).then(|| self.string()?.parse().ok()).flatten();
        };
        match self.vr {
            VR::US => Some(u16::from_le_bytes(*bytes.first_chunk()?).into()),
            VR::SS => Some(i16::from_le_bytes(*bytes.first_chunk()?).into()),
            VR::UL => Some(u32::from_le_bytes(*bytes.first_chunk()?).into()),
            VR::SL => Some(i32::from_le_bytes(*bytes.first_chunk()?).into()),
            VR::SV => Some(i64::from_le_bytes(*bytes.first_chunk()?)),
            VR::UV => u64::from_le_bytes(*bytes.first_chunk()?).try_into().ok(),
            _ => None,
        }
    }

    /// The items of a sequence; none of any other element.
    pub fn items(&self) -> &[DataSet] {
        match &self.value {
            Value::Items(items) => items,
            _ => &[],
        }
    }
}

impl DataSet {
    /// An empty data set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The element with this tag.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.elements.get(&tag)
    }

    /// Whether the element is there, with a value or without.
    pub fn contains(&self, tag: Tag) -> bool {
        self.elements.contains_key(&tag)
    }

    /// Puts an element in, in place of the one that was there.
    pub fn insert(&mut self, tag: Tag, element: Element) {
        self.elements.insert(tag, element);
    }

    /// Takes an element out.
    pub fn remove(&mut self, tag: Tag) -> Option<Element> {
        self.elements.remove(&tag)
    }

    /// Keeps the elements of these tags only.
    pub fn retain(&mut self, mut keeps: impl FnMut(Tag) -> bool) {
        self.elements.retain(|tag, _| keeps(*tag));
    }

    /// The elements by ascending tag.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.elements.iter())
    }

    /// How many elements there are, not counting those in items.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The first value of a textual element without spaces around it; `None` when empty or absent.
    pub fn string(&self, tag: Tag) -> Option<&str> {
        self.get(tag)?.string()
    }

    /// The values of a textual element; none when absent.
    pub fn strings(&self, tag: Tag) -> &[String] {
        self.get(tag).map_or(&[], Element::strings)
    }

    /// The first value of a UID element; `None` when absent, empty or malformed.
    pub fn uid(&self, tag: Tag) -> Option<Uid> {
        self.string(tag)?.parse().ok()
    }

    /// The first value as a whole number, of the VRs US, SS, UL, SL, SV, UV and IS.
    pub fn int(&self, tag: Tag) -> Option<i64> {
        self.get(tag)?.int()
    }

    /// The items of a sequence; none when absent.
    pub fn items(&self, tag: Tag) -> &[DataSet] {
        self.get(tag).map_or(&[], Element::items)
    }

    /// Every element that the path leads to, through all items of the sequences on the way.
    pub fn at(&self, path: &AttributePath) -> Vec<&Element> {
        let mut level = vec![self];
        let (leaf, sequences) = (path.leaf(), &path.tags()[..path.tags().len() - 1]);
        for sequence in sequences {
            level = level.into_iter().flat_map(|data_set| data_set.items(*sequence)).collect();
        }
        level.into_iter().filter_map(|data_set| data_set.get(leaf)).collect()
    }

    /// Sets a textual element to one value.
    pub fn set_str(&mut self, tag: Tag, vr: VR, value: impl Into<String>) {
        let value = value.into();
        self.set_strings(tag, vr, if value.is_empty() { Vec::new() } else { vec![value] });
    }

    /// Sets a textual element to these values.
    pub fn set_strings(&mut self, tag: Tag, vr: VR, values: Vec<String>) {
        self.insert(tag, Element { vr, value: Value::Strings(values) });
    }

    /// Sets an element without a value: a return key, in queries.
    pub fn set_empty(&mut self, tag: Tag, vr: VR) {
        self.insert(tag, Element::empty(vr));
    }

    /// Sets an element of VR US.
    pub fn set_u16(&mut self, tag: Tag, value: u16) {
        let value = Value::Bytes(Bytes::copy_from_slice(&value.to_le_bytes()));
        self.insert(tag, Element { vr: VR::US, value });
    }

    /// Sets a sequence.
    pub fn set_items(&mut self, tag: Tag, items: Vec<DataSet>) {
        self.insert(tag, Element { vr: VR::SQ, value: Value::Items(items) });
    }
}

/// The elements of a data set by ascending tag.
#[derive(Debug, Clone)]
pub struct Iter<'a>(btree_map::Iter<'a, Tag, Element>);

impl<'a> Iterator for Iter<'a> {
    type Item = (Tag, &'a Element);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(tag, element)| (*tag, element))
    }
}

impl<'a> IntoIterator for &'a DataSet {
    type Item = (Tag, &'a Element);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl FromIterator<(Tag, Element)> for DataSet {
    fn from_iter<I: IntoIterator<Item = (Tag, Element)>>(elements: I) -> Self {
        Self { elements: elements.into_iter().collect() }
    }
}

/// Whether values of this VR are text.
#[inline]
pub fn is_textual(vr: VR) -> bool {
    use VR::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
    matches!(vr, AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT)
}

/// Whether a textual element holds one value only, so that a backslash in it is text (PS3.5 6.2).
#[inline]
pub fn is_single_valued(vr: VR) -> bool {
    matches!(vr, VR::LT | VR::ST | VR::UR | VR::UT)
}

#[cfg(test)]
mod tests;
