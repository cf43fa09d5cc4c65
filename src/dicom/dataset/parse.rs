//! From the bytes of a peer to a data set. What can be understood is kept: one bad element is a warning.

use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{DataSet, Element, Value, is_textual, values_in};
use crate::dicom::byte_order::{swapped, word_size};
use crate::dicom::charset::Charset;
use crate::dicom::dictionary::is_group_length;
use crate::dicom::scan::{Content, ElementHeader, Error, ErrorKind, Event, Scanner};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR, tags};

/// Most elements of a data set in memory, those in items included, and items without any. Answers to queries have dozens; each
/// costs some hundred bytes however short it is on the wire.
pub const MAX_ELEMENTS: usize = 100_000;

/// A data set as read, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What could be understood.
    pub data_set: DataSet,
    /// What could not.
    pub warnings: Vec<Warning>,
}

/// An element that was not encoded as it should be. Names no value: it may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// The element.
    pub tag: Tag,
    /// What is wrong with it.
    pub kind: WarningKind,
}

/// What is wrong with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// Bytes that have no meaning in the character set; U+FFFD stands for them.
    UndecodableText,
    /// A value of (0008,0005) that the standard does not have.
    UnknownCharset,
    /// Not a whole number of words; what is left over was dropped.
    BrokenWord,
    /// It says that it is a sequence, and holds no items; it is kept as UN.
    NotASequence,
    /// Encapsulated pixel data, which has no place here; dropped.
    PixelData,
    /// The tag was there before; the first one is kept.
    Duplicate,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            WarningKind::UndecodableText => "has bytes that its character set has not",
            WarningKind::UnknownCharset => "names an unknown character set",
            WarningKind::BrokenWord => "is no whole number of words",
            WarningKind::NotASequence => "is no sequence though it says so",
            WarningKind::PixelData => "is encapsulated and was left out",
            WarningKind::Duplicate => "comes twice",
        };
        write!(f, "{} {what}", self.tag)
    }
}

impl DataSet {
    /// Reads an encoded data set; no preamble, no group 0002.
    ///
    /// Text is decoded by the Specific Character Set (0008,0005) of the data set, in items by their own where
    /// they have one (PS3.3 C.12.1.1.2), and by `assumed` where there is none. Group lengths are dropped. UN
    /// elements get the VR of the dictionary. Memory is linear in the length of `bytes`.
    ///
    /// # Errors
    /// When the structure cannot be followed to the end, or there are more than [`MAX_ELEMENTS`].
    pub fn parse(bytes: &[u8], layout: Layout, assumed: Option<&Charset>) -> Result<Parsed, Error> {
        let mut scanner = Scanner::new(layout);
        scanner.push(Bytes::copy_from_slice(bytes));
        let mut builder = Builder::new(assumed);
        while let Some(event) = scanner.next()? {
            builder.step(event, scanner.position())?;
        }
        scanner.finish()?;
        Ok(builder.finish())
    }
}

/// Puts a data set together from the events of a walk. Elements and items that the walk was made to pass over are
/// not in it.
#[derive(Debug)]
pub(crate) struct Builder {
    current: Scope,
    /// The sequences around `current`, outermost first, each with the data set that it stands in.
    around: Vec<(Scope, OpenSequence)>,
    /// The sequence in `current` that is between items.
    sequence: Option<OpenSequence>,
    value: Vec<u8>,
    header: Option<ElementHeader>,
    elements: usize,
    warnings: Vec<Warning>,
    tag: Tag,
}

/// A data set, or an item, that is being read.
#[derive(Debug)]
struct Scope {
    data_set: DataSet,
    charset: Arc<Charset>,
    /// Pixel Representation is 1.
    signed: bool,
}

#[derive(Debug)]
struct OpenSequence {
    tag: Tag,
    items: Vec<DataSet>,
}

impl Builder {
    /// Nothing read yet. Text is in the character set `assumed` until the data set names its own.
    pub(crate) fn new(assumed: Option<&Charset>) -> Self {
        let charset = Arc::new(assumed.cloned().unwrap_or_else(Charset::ascii));
        Self {
            current: Scope { data_set: DataSet::new(), charset, signed: false },
            around: Vec::new(),
            sequence: None,
            value: Vec::new(),
            header: None,
            elements: 0,
            warnings: Vec::new(),
            tag: Tag(0, 0),
        }
    }

    /// The next event of the walk, which has come to byte `offset`.
    ///
    /// # Errors
    /// There are more than [`MAX_ELEMENTS`].
    pub(crate) fn step(&mut self, event: Event, offset: u64) -> Result<(), Error> {
        match event {
            Event::Element(header) => {
                self.tag = header.tag;
                self.count(offset)?;
                match header.content {
                    Content::Items => {
                        self.sequence = Some(OpenSequence { tag: header.tag, items: Vec::new() });
                    }
                    Content::Value => self.header = Some(header),
                    Content::Fragments => self.warn(header.tag, WarningKind::PixelData),
                }
            }
            Event::Value(piece) => {
                if self.header.is_some() {
                    self.value.extend_from_slice(&piece);
                }
            }
            Event::Item(_) => {
                if let Some(sequence) = self.sequence.take() {
                    let charset = Arc::clone(&self.current.charset);
                    let item = Scope { data_set: DataSet::new(), charset, signed: self.current.signed };
                    self.around.push((std::mem::replace(&mut self.current, item), sequence));
                }
            }
            Event::ItemEnd => {
                if let Some((scope, mut sequence)) = self.around.pop() {
                    let item = std::mem::replace(&mut self.current, scope);
                    // What has no elements takes memory all the same.
                    if item.data_set.is_empty() {
                        self.count(offset)?;
                    }
                    sequence.items.push(item.data_set);
                    self.sequence = Some(sequence);
                }
            }
            Event::ElementEnd => {
                if let Some(header) = self.header.take() {
                    let mut value = std::mem::take(&mut self.value);
                    self.end_of_value(header, &value);
                    // Its room is the next value's.
                    value.clear();
                    self.value = value;
                } else if let Some(OpenSequence { tag, items, .. }) = self.sequence.take() {
                    self.insert(tag, Element { vr: VR::SQ, value: Value::Items(items) });
                }
            }
            Event::Fragment(_) | Event::FragmentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, offset: u64) -> Result<(), Error> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Error { kind: ErrorKind::TooManyHeaders, offset, tag: self.tag });
        }
        Ok(())
    }

    /// The data set as far as the walk has come.
    pub(crate) fn finish(mut self) -> Parsed {
        let outermost = self.around.drain(..).next();
        let top = outermost.map_or(self.current, |(scope, _)| scope);
        Parsed { data_set: top.data_set, warnings: self.warnings }
    }

    fn end_of_value(&mut self, header: ElementHeader, value: &[u8]) {
        let tag = header.tag;
        if is_group_length(tag) {
            return;
        }
        if header.is_no_sequence() {
            self.warn(tag, WarningKind::NotASequence);
        }
        let vr = header.value_vr(self.current.signed);
        if tag == tags::PIXEL_REPRESENTATION {
            self.current.signed = header.is_nonzero(value);
        }
        let value = if is_textual(vr) {
            self.text(tag, vr, value)
        } else {
            // UN is in little endian wherever it stands (PS3.5 6.2.2).
            let swap = header.layout == Layout::ExplicitBe && header.vr != VR::UN;
            let whole = value.len() - value.len() % word_size(vr);
            if whole < value.len() {
                self.warn(tag, WarningKind::BrokenWord);
            }
            let value = &value[..whole];
            Value::Bytes(if swap { swapped(vr, value).into() } else { Bytes::copy_from_slice(value) })
        };
        self.insert(tag, Element { vr, value });
    }

    fn text(&mut self, tag: Tag, vr: VR, bytes: &[u8]) -> Value {
        let values = match self.current.charset.as_ascii(bytes, vr) {
            Some(text) => owned_values(vr, text),
            None => {
                let decoded = self.current.charset.decode(bytes, vr);
                if decoded.damaged {
                    self.warn(tag, WarningKind::UndecodableText);
                }
                owned_values(vr, &decoded.text)
            }
        };
        if tag == tags::SPECIFIC_CHARACTER_SET {
            let charset = Charset::from_values(&values);
            if !charset.is_known() {
                self.warn(tag, WarningKind::UnknownCharset);
            }
            // An empty one says nothing more than none at all.
            if !values.is_empty() {
                self.current.charset = Arc::new(charset);
            }
        }
        Value::Strings(values)
    }

    fn insert(&mut self, tag: Tag, element: Element) {
        match self.current.data_set.elements.entry(tag) {
            Entry::Vacant(place) => {
                place.insert(element);
            }
            Entry::Occupied(_) => self.warn(tag, WarningKind::Duplicate),
        }
    }

    fn warn(&mut self, tag: Tag, kind: WarningKind) {
        self.warnings.push(Warning { tag, kind });
    }
}

/// The values as they are kept. Nearly all have one: then there is room for no more.
fn owned_values(vr: VR, text: &str) -> Vec<String> {
    let mut values = values_in(vr, text);
    if values.is_several() {
        return values.map(str::to_owned).collect();
    }
    values.next().map(|value| vec![value.to_owned()]).unwrap_or_default()
}
