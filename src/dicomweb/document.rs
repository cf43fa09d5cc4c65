//! A data set as text in the making: what DICOM JSON and Native XML have in common.
//!
//! Attributes go in as they come and stand by ascending tag in the end; group lengths and the File Meta
//! Information are left out; Specific Character Set (0008,0005) describes the text as sent (PS3.18 F.2.2,
//! PS3.19 A.1). How things look is for a [`Notation`] to say.

mod notation;

use std::collections::BTreeMap;

use crate::dicom::dataset::{DataSet, Element, Step, Value, values_in};
use crate::dicom::dictionary::is_group_length;
use crate::dicom::{Tag, VR, tags};

pub use self::notation::Besides;
pub(super) use self::notation::{Content, Notation, Strings, is_empty, is_plain, name_groups};

/// Text in the making.
#[derive(Debug)]
pub(super) struct Document<N> {
    notation: N,
    out: Vec<u8>,
    /// Where the text of this data set begins.
    start: usize,
    /// The data set, and each item that is open within it.
    scopes: Vec<Scope>,
    /// The attributes of every scope so far, those of the innermost last.
    attributes: Vec<Attribute>,
    /// How many sequences are open that are left out, each within the other.
    left_out: usize,
}

/// A data set or item whose attributes are being written.
#[derive(Debug)]
struct Scope {
    /// Where its attributes begin in the list of all.
    first: usize,
    is_ascending: bool,
    /// The sequence that is open in it.
    sequence: Option<Tag>,
    /// How many items that has so far.
    items: u32,
    /// The owners of its blocks of private elements (PS3.5 7.8.1).
    creators: BTreeMap<Tag, String>,
}

#[derive(Debug, Clone, Copy)]
struct Attribute {
    tag: Tag,
    /// Where its text begins.
    start: usize,
}

/// Room for the attributes of an ordinary image.
const USUAL_ATTRIBUTES: usize = 128;

impl<N: Notation> Document<N> {
    /// A document whose text is appended to `out`.
    pub(super) fn new(notation: N, mut out: Vec<u8>) -> Self {
        notation.begin(&mut out);
        let start = out.len();
        let attributes = Vec::with_capacity(USUAL_ATTRIBUTES);
        let mut document = Self { notation, out, start, scopes: Vec::new(), attributes, left_out: 0 };
        document.open_scope();
        document
    }

    /// The whole of a data set, and one textual attribute besides, in place of its own of that tag.
    pub(super) fn of(
        notation: N,
        data_set: &DataSet,
        mut besides: Option<Besides<'_>>,
        out: Vec<u8>,
    ) -> Vec<u8> {
        let mut document = Self::new(notation, out);
        for step in data_set.walk() {
            match step {
                Step::Element(tag, element) => {
                    if document.depth() == 0
                        && let Some(due) = besides.take_if(|besides| besides.tag <= tag)
                    {
                        document.attribute(due.tag, due.vr, Content::Text(due.text));
                        if due.tag == tag {
                            continue;
                        }
                    }
                    document.element(tag, element);
                }
                Step::Item => document.begin_item(),
                // What is in memory has each tag once.
                Step::ItemEnd => drop(document.end_item()),
                Step::SequenceEnd => document.end_sequence(),
            }
        }
        if let Some(due) = besides {
            document.attribute(due.tag, due.vr, Content::Text(due.text));
        }
        document.finish().0
    }

    /// Writes an element, or begins it where its items follow.
    fn element(&mut self, tag: Tag, element: &Element) {
        match &element.value {
            Value::Items(items) => {
                self.begin_sequence(tag);
                if items.is_empty() {
                    self.end_sequence();
                }
            }
            Value::Strings(values) => match &values[..] {
                [] if self.plain(tag, element.vr, b"") => {}
                [only] if self.plain(tag, element.vr, only.as_bytes()) => {}
                values => self.attribute(tag, element.vr, Content::Strings(values)),
            },
            Value::Bytes(bytes) => self.attribute(tag, element.vr, Content::Bytes(bytes)),
        }
    }

    /// How long the text is, in bytes.
    pub(super) fn length(&self) -> usize {
        self.out.len() - self.start
    }

    /// How deep the innermost item is in sequences; 0: none is open.
    pub(super) fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// Writes an attribute.
    pub(super) fn attribute(&mut self, tag: Tag, vr: VR, content: Content<'_>) {
        if self.left_out > 0 || is_left_out(tag) {
            return;
        }
        if tag == tags::SPECIFIC_CHARACTER_SET {
            self.charset();
            return;
        }
        self.begin_attribute(tag, vr);
        match content {
            Content::Strings(values) => self.strings(tag, vr, Strings::Divided(values.iter())),
            Content::Text(text) => self.strings(tag, vr, Strings::InText(values_in(vr, text))),
            Content::Bytes([]) => {}
            Content::Bytes(bytes) => self.notation.bytes(&mut self.out, vr, bytes),
            Content::BulkData(url) => {
                let path = Path { scopes: &self.scopes, tag };
                self.notation.bulk_data(&mut self.out, format_args!("{url}{path}"));
            }
        }
        self.notation.end_attribute(&mut self.out);
    }

    /// Writes a textual attribute that has this value alone, or none where it is empty: in ASCII and without padding.
    /// `false`: it is none of those that there is a short way for.
    #[inline]
    pub(super) fn plain(&mut self, tag: Tag, vr: VR, value: &[u8]) -> bool {
        if tag == tags::SPECIFIC_CHARACTER_SET || !is_plain(value) {
            return false;
        }
        if self.left_out > 0 || is_left_out(tag) {
            return true;
        }
        let start = self.out.len();
        let is_written = self.notation.plain(&mut self.out, tag, vr, value);
        if is_written {
            self.list(tag, start);
        }
        is_written
    }

    /// Begins a sequence; its items and its end follow.
    pub(super) fn begin_sequence(&mut self, tag: Tag) {
        if self.left_out > 0 || is_left_out(tag) {
            self.left_out += 1;
            return;
        }
        self.begin_attribute(tag, VR::SQ);
        let scope = self.scope();
        scope.sequence = Some(tag);
        scope.items = 0;
    }

    /// Begins the next item of the sequence that is open.
    pub(super) fn begin_item(&mut self) {
        if self.left_out > 0 {
            return;
        }
        let scope = self.scope();
        scope.items += 1;
        let number = scope.items;
        if number == 1 {
            self.notation.begin_items(&mut self.out);
        }
        self.notation.begin_item(&mut self.out, number);
        self.open_scope();
    }

    /// Ends the item, and tells the tags that it had twice; the first of each is kept.
    pub(super) fn end_item(&mut self) -> Vec<Tag> {
        if self.left_out > 0 || self.scopes.len() < 2 {
            return Vec::new();
        }
        let twice = self.close_scope();
        self.notation.end_item(&mut self.out);
        twice
    }

    /// Ends the sequence.
    pub(super) fn end_sequence(&mut self) {
        if self.left_out > 0 {
            self.left_out -= 1;
            return;
        }
        let scope = self.scope();
        scope.sequence = None;
        if scope.items > 0 {
            self.notation.end_items(&mut self.out);
        }
        self.notation.end_attribute(&mut self.out);
    }

    /// Ends every item and sequence that is open.
    pub(super) fn end_all(&mut self) {
        self.left_out = 0;
        loop {
            if self.scope().sequence.is_some() {
                self.end_sequence();
            }
            if self.depth() == 0 {
                return;
            }
            self.end_item();
        }
    }

    /// Ends the document and returns its text, with the tags that the data set had twice.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<Tag>) {
        let twice = self.sort();
        let has_charset = self.attributes.iter().any(|a| a.tag == tags::SPECIFIC_CHARACTER_SET);
        if !has_charset && !self.out[self.start..].is_ascii() {
            self.charset();
            self.sort();
        }
        self.notation.end(&mut self.out);
        (self.out, twice)
    }

    fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the data set itself is always open")
    }

    fn open_scope(&mut self) {
        self.scopes.push(Scope {
            first: self.attributes.len(),
            is_ascending: true,
            sequence: None,
            items: 0,
            creators: BTreeMap::new(),
        });
    }

    fn close_scope(&mut self) -> Vec<Tag> {
        let twice = self.sort();
        let scope = self.scopes.pop().expect("only what is open is closed");
        self.attributes.truncate(scope.first);
        twice
    }

    /// Puts the attributes of the innermost scope in order, and tells which tags were there twice.
    fn sort(&mut self) -> Vec<Tag> {
        let scope = self.scope();
        let (first, is_ascending) = (scope.first, std::mem::replace(&mut scope.is_ascending, true));
        let Some(begin) = self.attributes.get(first).filter(|_| !is_ascending).map(|a| a.start) else {
            return Vec::new();
        };
        let attributes = self.attributes.drain(first..).collect::<Vec<_>>();
        let ends = attributes.iter().skip(1).map(|a| a.start).chain([self.out.len()]);
        let mut parts: Vec<_> = attributes.iter().zip(ends).map(|(a, end)| (a.tag, a.start..end)).collect();
        parts.sort_by_key(|(tag, _)| *tag);
        let unsorted = self.out.split_off(begin);
        let mut twice = Vec::new();
        for (tag, range) in parts {
            if self.attributes[first..].last().is_some_and(|last| last.tag == tag) {
                twice.push(tag);
                continue;
            }
            self.attributes.push(Attribute { tag, start: self.out.len() });
            self.out.extend_from_slice(&unsorted[range.start - begin..range.end - begin]);
        }
        twice
    }

    /// Notes that the text of an attribute begins here.
    #[inline]
    fn list(&mut self, tag: Tag, start: usize) {
        let scope = self.scopes.last_mut().expect("the data set itself is always open");
        if self.attributes.len() > scope.first && self.attributes.last().is_some_and(|last| last.tag >= tag) {
            scope.is_ascending = false;
        }
        self.attributes.push(Attribute { tag, start });
    }

    fn begin_attribute(&mut self, tag: Tag, vr: VR) {
        self.list(tag, self.out.len());
        let owner = if self.notation.names_creators() { creator_of(tag) } else { None };
        let scope = self.scopes.last().expect("the data set itself is always open");
        let creator = owner.and_then(|owner| scope.creators.get(&owner));
        self.notation.begin_attribute(&mut self.out, tag, vr, creator.map(String::as_str));
    }

    fn strings(&mut self, tag: Tag, vr: VR, values: Strings<'_>) {
        if self.notation.names_creators() && is_creator(tag) {
            let owner = values.clone().next().unwrap_or_default().trim();
            if !owner.is_empty() {
                self.scope().creators.insert(tag, owner.to_owned());
            }
        }
        if values.is_several() || values.clone().next().is_some_and(|only| !is_empty(vr, only)) {
            self.notation.strings(&mut self.out, vr, values);
        }
    }

    fn charset(&mut self) {
        self.begin_attribute(tags::SPECIFIC_CHARACTER_SET, VR::CS);
        let values = values_in(VR::CS, "ISO_IR 192");
        self.notation.strings(&mut self.out, VR::CS, Strings::InText(values));
        self.notation.end_attribute(&mut self.out);
    }
}

fn is_left_out(tag: Tag) -> bool {
    is_group_length(tag) || matches!(tag.group(), 0x0000 | 0x0002)
}

fn is_creator(tag: Tag) -> bool {
    tag.group() % 2 == 1 && matches!(tag.element(), 0x0010..=0x00FF)
}

/// The Private Creator of the block that a private element is in (PS3.5 7.8.1).
fn creator_of(tag: Tag) -> Option<Tag> {
    (tag.group() % 2 == 1 && tag.element() >= 0x1000).then(|| Tag(tag.group(), tag.element() >> 8))
}

/// Where an attribute stands: `/{tag}`, in items `/{sequence}/{number of the item}/{tag}`.
struct Path<'a> {
    scopes: &'a [Scope],
    tag: Tag,
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let around = &self.scopes[..self.scopes.len() - 1];
        for Scope { sequence, items, .. } in around {
            if let Some(sequence) = sequence {
                write!(f, "/{:04X}{:04X}/{items}", sequence.group(), sequence.element())?;
            }
        }
        write!(f, "/{:04X}{:04X}", self.tag.group(), self.tag.element())
    }
}
