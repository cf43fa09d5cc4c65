//! From the bytes of an object to its metadata, as they come off the wire: DICOM JSON (PS3.18 Annex F) or
//! Native XML (PS3.19 A.1).
//!
//! A [`Transcriber`] takes the encoded data set in pieces of any size and has its text ready when the last one
//! is in. Nothing is built in between: values go from the walk into the text. What is long or no text stays
//! where it is, and a URL tells where that is. One bad element is one [`Warning`].

use std::sync::Arc;

use bytes::Bytes;

use self::left_out::LeftOut;
use super::document::{Content as Written, Document, Notation};
use super::json::Json;
use super::xml::Xml;
pub use crate::dicom::bulk::MAX_INLINE;
use crate::dicom::bulk::{is_bulk_data, is_pixel_data};
use crate::dicom::byte_order::{swapped, word_size};
use crate::dicom::charset::Charset;
use crate::dicom::dataset::{Warning, WarningKind, is_textual, unpadded, values_in};
use crate::dicom::dictionary::is_group_length;
use crate::dicom::scan::{Content, ElementHeader, Error, ErrorKind, Event, Scanner};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, Uid, VR, tags};

mod left_out;

pub use left_out::is_told_by_the_rest;

/// Most bytes of text that one object becomes, give or take its last value; an enhanced image of 20,000 frames has about 40 MB. Past it,
/// the transcript is cut off and says so.
pub const MAX_TEXT: usize = 64 << 20;

/// Most warnings that are kept of one object.
pub const MAX_WARNINGS: usize = 64;

/// What the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object of the DICOM JSON model (PS3.18 F.2).
    Json,
    /// One document of the Native DICOM Model (PS3.19 A.1).
    Xml,
}

/// What is not written into the text, and where it is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkData {
    /// Longest binary value (OB, OD, OF, OL, OV, OW, UN), in bytes, that stays in the text. Pixel data never does;
    /// values of other VRs do, up to [`MAX_INLINE`].
    pub inline: usize,
    /// The URL of the instance's bulk data, without a slash at its end. An attribute's own adds its path: `/{tag}`, and in items
    /// `/{sequence}/{number of the item, from 1}/{tag}`.
    pub url: String,
}

/// An object's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Well-formed JSON or XML, in UTF-8; of a data set that could not be followed to its end, what was
    /// understood.
    pub text: Vec<u8>,
    /// What was wrong with single elements, [`MAX_WARNINGS`] at most.
    pub warnings: Vec<Warning>,
    /// Why and where the text ends before the data set does.
    pub broken: Option<Error>,
}

/// A transcription in progress.
#[derive(Debug)]
pub struct Transcriber(Notated);

/// One of each notation, so that the walk and what is written of it become one piece of code.
#[derive(Debug)]
enum Notated {
    Json(Transcription<Json>),
    Xml(Transcription<Xml>),
}

#[derive(Debug)]
struct Transcription<N> {
    scanner: Scanner,
    writer: Writer<N>,
    bulk: BulkData,
    value: Option<OpenValue>,
    broken: Option<Error>,
    is_at_pixels: bool,
}

/// What makes text of values.
#[derive(Debug)]
struct Writer<N> {
    document: Document<N>,
    /// The data set, and each item that is open.
    scopes: Vec<Scope>,
    warnings: Vec<Warning>,
    /// For an object that comes without its bulk data.
    left_out: Option<Box<LeftOut>>,
}

/// What holds for the values of a data set, or of an item.
#[derive(Debug, Clone)]
struct Scope {
    charset: Arc<Charset>,
    /// Pixel Representation is 1.
    signed: bool,
}

/// A value on its way.
#[derive(Debug)]
struct OpenValue {
    header: ElementHeader,
    vr: VR,
    /// The first piece, mostly the only one, as it came.
    piece: Bytes,
    /// All of them, when there are several.
    joined: Vec<u8>,
}

impl Transcriber {
    /// A transcription of a data set in this transfer syntax, from its first byte; no preamble, no group 0002.
    /// Text is in the `assumed` character set where the data set names none.
    pub fn new(format: Format, transfer_syntax: &Uid, assumed: Option<&Charset>, bulk: BulkData) -> Self {
        Self(match format {
            Format::Json => Notated::Json(Transcription::new(Json, transfer_syntax, assumed, bulk)),
            Format::Xml => Notated::Xml(Transcription::new(Xml, transfer_syntax, assumed, bulk)),
        })
    }

    /// Takes the next bytes of the data set.
    pub fn push(&mut self, bytes: Bytes) {
        match &mut self.0 {
            Notated::Json(transcription) => transcription.push(bytes),
            Notated::Xml(transcription) => transcription.push(bytes),
        }
    }

    /// Whether all that matters has come: the walk is at the pixel data, or cannot go on. Behind
    /// the pixel data stand padding and signatures, and private elements of some scanners (group 7FE1), which
    /// metadata have to have. Who wants no more than this calls [`Self::stop`].
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Notated::Json(transcription) => transcription.is_done(),
            Notated::Xml(transcription) => transcription.is_done(),
        }
    }

    /// Says that the object comes without its bulk data (PS3.4 Z.1.3), before its first byte. What the rest of it says
    /// to be there is written as a URL all the same; whether that can be told, [`is_told_by_the_rest`] says.
    pub fn without_bulk_data(mut self) -> Self {
        let left_out = Some(Box::default());
        match &mut self.0 {
            Notated::Json(transcription) => transcription.writer.left_out = left_out,
            Notated::Xml(transcription) => transcription.writer.left_out = left_out,
        }
        self
    }

    /// Says that the data set has ended.
    pub fn finish(self) -> Transcript {
        match self.0 {
            Notated::Json(transcription) => transcription.finish(),
            Notated::Xml(transcription) => transcription.finish(),
        }
    }

    /// Ends the transcription where it is, though more bytes may come.
    pub fn stop(self) -> Transcript {
        match self.0 {
            Notated::Json(transcription) => transcription.stop(),
            Notated::Xml(transcription) => transcription.stop(),
        }
    }
}

impl<N: Notation> Transcription<N> {
    fn new(notation: N, transfer_syntax: &Uid, assumed: Option<&Charset>, bulk: BulkData) -> Self {
        let charset = Arc::new(assumed.cloned().unwrap_or_else(Charset::ascii));
        Self {
            scanner: Scanner::for_transfer_syntax(transfer_syntax),
            writer: Writer {
                document: Document::new(notation, Vec::with_capacity(USUAL_TEXT)),
                scopes: vec![Scope { charset, signed: false }],
                warnings: Vec::new(),
                left_out: None,
            },
            bulk,
            value: None,
            broken: None,
            is_at_pixels: false,
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if self.broken.is_some() {
            return;
        }
        self.scanner.push(bytes);
        loop {
            match self.scanner.next() {
                Ok(Some(event)) => self.step(event),
                Ok(None) => return,
                Err(error) => self.broken = Some(error),
            }
            if self.broken.is_some() {
                return;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.is_at_pixels || self.broken.is_some()
    }

    fn finish(mut self) -> Transcript {
        if self.broken.is_none() {
            let scanner = std::mem::replace(&mut self.scanner, Scanner::new(Layout::ExplicitLe));
            self.broken = scanner.finish().err();
        }
        self.stop()
    }

    fn stop(mut self) -> Transcript {
        self.writer.document.end_all();
        self.writer.scopes.truncate(1);
        self.writer.left_out(None, &self.bulk.url);
        let (text, twice) = self.writer.document.finish();
        let mut warnings = self.writer.warnings;
        let room = MAX_WARNINGS - warnings.len();
        warnings
            .extend(twice.into_iter().take(room).map(|tag| Warning { tag, kind: WarningKind::Duplicate }));
        Transcript { text, warnings, broken: self.broken }
    }

    // Inlined up to the walk itself, so that an event never goes through memory.
    #[inline(always)]
    fn step(&mut self, event: Event) {
        match event {
            Event::Element(header) => self.element(&header),
            Event::Value(piece) => {
                if let Some(value) = &mut self.value {
                    value.push(piece);
                }
            }
            Event::ElementEnd => match self.value.take() {
                Some(value) => self.writer.value(&value.header, value.vr, value.bytes()),
                None => self.writer.document.end_sequence(),
            },
            Event::Item(_) => self.writer.begin_item(),
            Event::ItemEnd => {
                self.writer.left_out(None, &self.bulk.url);
                self.writer.end_item();
            }
            // Elements with fragments are passed over.
            Event::Fragment(_) | Event::FragmentEnd => {}
        }
        if self.writer.document.length() > MAX_TEXT {
            let (offset, tag) = (self.scanner.position(), Tag(0, 0));
            self.broken = Some(Error { kind: ErrorKind::TooLarge, offset, tag });
        }
    }

    fn element(&mut self, header: &ElementHeader) {
        let tag = header.tag;
        self.writer.left_out(Some(tag), &self.bulk.url);
        if header.content == Content::Items {
            self.writer.document.begin_sequence(tag);
            return;
        }
        let at_top = self.writer.scopes.len() == 1;
        self.is_at_pixels |= at_top && is_pixel_data(tag);
        let vr = header.value_vr(self.writer.scope().signed);
        let is_bulk = is_bulk_data(header, at_top, self.bulk.inline);
        if is_group_length(tag) {
            self.scanner.skip();
        } else if is_bulk {
            self.writer.document.attribute(tag, vr, Written::BulkData(&self.bulk.url));
            self.scanner.skip();
        } else if let Some(value) = self.scanner.value() {
            self.writer.value(header, vr, value);
            self.scanner.skip();
        } else {
            self.value = Some(OpenValue { header: *header, vr, piece: Bytes::new(), joined: Vec::new() });
        }
    }
}

impl<N: Notation> Writer<N> {
    fn begin_item(&mut self) {
        self.document.begin_item();
        let scope = self.scope().clone();
        self.scopes.push(scope);
        if let Some(left_out) = &mut self.left_out {
            left_out.begin_item(self.scopes.len() - 1);
        }
    }

    /// Writes what was left out in the data set or item that is open: before the attribute that begins, or before its
    /// end.
    fn left_out(&mut self, next: Option<Tag>, url: &str) {
        let depth = self.scopes.len() - 1;
        let passed = self.left_out.as_mut().map(|left_out| match next {
            Some(tag) => left_out.before(depth, tag),
            None => left_out.end(depth),
        });
        for (tag, vr) in passed.into_iter().flatten() {
            self.document.attribute(tag, vr, Written::BulkData(url));
        }
    }

    fn end_item(&mut self) {
        self.scopes.pop();
        for tag in self.document.end_item() {
            self.warn(tag, WarningKind::Duplicate);
        }
    }

    /// Writes an attribute with this value.
    fn value(&mut self, header: &ElementHeader, vr: VR, bytes: &[u8]) {
        let tag = header.tag;
        if header.is_no_sequence() {
            self.warn(tag, WarningKind::NotASequence);
        }
        if tag == tags::PIXEL_REPRESENTATION {
            self.scope().signed = header.is_nonzero(bytes);
        }
        if let Some(left_out) = &mut self.left_out {
            left_out.value(self.scopes.len() - 1, header, bytes);
        }
        if is_textual(vr) {
            self.text(tag, vr, bytes);
        } else {
            self.other(header, vr, bytes);
        }
    }

    /// Writes an attribute with this value, which is no text.
    fn other(&mut self, header: &ElementHeader, vr: VR, bytes: &[u8]) {
        let tag = header.tag;
        let whole = bytes.len() - bytes.len() % word_size(vr);
        if whole < bytes.len() {
            self.warn(tag, WarningKind::BrokenWord);
        }
        let bytes = &bytes[..whole];
        // UN is in little endian wherever it stands (PS3.5 6.2.2).
        if header.layout == Layout::ExplicitBe && header.vr != VR::UN {
            self.document.attribute(tag, vr, Written::Bytes(&swapped(vr, bytes)));
        } else {
            self.document.attribute(tag, vr, Written::Bytes(bytes));
        }
    }

    #[inline]
    fn text(&mut self, tag: Tag, vr: VR, bytes: &[u8]) {
        let value = &bytes[unpadded(vr, bytes)];
        let is_written = self.scope().charset.has_ascii(vr) && self.document.plain(tag, vr, value);
        if !is_written {
            self.any_text(tag, vr, bytes);
        }
    }

    #[inline(never)]
    fn any_text(&mut self, tag: Tag, vr: VR, bytes: &[u8]) {
        let decoded;
        let text = match self.scope().charset.as_ascii(bytes, vr) {
            Some(text) => text,
            None => {
                decoded = self.scope().charset.decode(bytes, vr);
                if decoded.damaged {
                    self.warn(tag, WarningKind::UndecodableText);
                }
                &decoded.text
            }
        };
        if tag == tags::SPECIFIC_CHARACTER_SET {
            self.charset(&values_in(vr, text).collect::<Vec<_>>());
        }
        self.document.attribute(tag, vr, Written::Text(text));
    }

    fn charset(&mut self, values: &[&str]) {
        let charset = Charset::from_values(values);
        if !charset.is_known() {
            self.warn(tags::SPECIFIC_CHARACTER_SET, WarningKind::UnknownCharset);
        }
        // An empty one says nothing more than none at all.
        if !values.is_empty() {
            self.scope().charset = Arc::new(charset);
        }
    }

    fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the data set itself is always open")
    }

    fn warn(&mut self, tag: Tag, kind: WarningKind) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { tag, kind });
        }
    }
}

/// Room for the metadata of an ordinary image, in bytes.
const USUAL_TEXT: usize = 16 << 10;

impl OpenValue {
    fn push(&mut self, piece: Bytes) {
        if self.piece.is_empty() {
            self.piece = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.piece);
        }
        self.joined.extend_from_slice(&piece);
    }

    fn bytes(&self) -> &[u8] {
        if self.joined.is_empty() { &self.piece } else { &self.joined }
    }
}

#[cfg(test)]
mod tests;
