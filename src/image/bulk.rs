//! Cuts values out of an object's bytes while they pass: what metadata only point to (PS3.18 8.7.3.3, Annex F.2.6).
//!
//! Values come as they are encoded, little endian; encapsulated pixel data comes as its frames. The byte that
//! makes an encapsulated document even is left out where the object says how long the document is.

mod path;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use super::frames::attributes::Attributes;
use super::frames::encapsulated::Encapsulated;
use super::frames::{Cut, Error as FrameError};
use crate::dicom::bulk::{is_bulk_data, is_pixel_data};
use crate::dicom::byte_order::{Swapper, cell};
use crate::dicom::scan::{self, Content, ElementHeader, Event, Scanner};
use crate::dicom::transfer_syntax::{Layout, codec};
use crate::dicom::{Tag, Uid, tags};

pub use path::{BadPath, BulkPath};

/// Which values are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The one at this path.
    Path(BulkPath),
    /// Those that metadata point to where binary values up to so many bytes stand in them ([`is_bulk_data`]).
    Large(usize),
    /// The pixel data.
    Pixels,
}

/// What comes out of a [`Values`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A value, or a frame of one, begins.
    Begin(Value),
    /// Its next bytes, never empty.
    Bytes(Bytes),
    /// It is whole.
    End,
}

/// What is known of a value before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Where it stands.
    pub path: BulkPath,
    /// Its length in bytes, where that is known.
    pub length: Option<u64>,
    /// The frame's number and the count of frames, where it is encapsulated pixel data; a video is one frame.
    pub frame: Option<(u32, u32)>,
}

/// Why a value cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data set cannot be followed.
    #[error("the object is not the data set that its transfer syntax says: {0}")]
    DataSet(#[from] scan::Error),
    /// Its pixel data cannot be divided into frames.
    #[error(transparent)]
    Frames(#[from] FrameError),
}

/// A walk through the values of one object in progress.
#[derive(Debug)]
pub struct Values {
    scanner: Option<Scanner>,
    syntax: Uid,
    selection: Selection,
    /// The sequences around, each with the number of its item; 0 before the first.
    sequences: Vec<(Tag, u32)>,
    /// For each open element with something in it, whether it is a sequence.
    open: Vec<bool>,
    attributes: Attributes,
    stage: Stage,
    document: Document,
    out: VecDeque<Piece>,
    /// The one value that was wanted is out.
    done: bool,
}

#[derive(Debug)]
enum Stage {
    Between,
    /// A wanted value; what turns its words around.
    Value(Option<Swapper>),
    /// Wanted frames.
    Frames(Box<Encapsulated>, VecDeque<Cut>),
    /// The length of the document, as a number.
    DocumentLength(Vec<u8>),
}

/// An encapsulated document whose last byte waits for its length (0042,0015), which stands behind it.
#[derive(Debug, Default)]
struct Document {
    open: bool,
    length: u64,
    passed: u64,
    last: Option<Bytes>,
}

impl Values {
    /// A walk through an object in this transfer syntax.
    pub fn new(transfer_syntax: &Uid, selection: Selection) -> Self {
        Self {
            scanner: Some(Scanner::for_transfer_syntax(transfer_syntax)),
            syntax: transfer_syntax.clone(),
            selection,
            sequences: Vec::new(),
            open: Vec::new(),
            attributes: Attributes::new(None),
            stage: Stage::Between,
            document: Document::default(),
            out: VecDeque::new(),
            done: false,
        }
    }

    /// Adds the next bytes of the data set. Call [`Self::next`] until it wants more before the next piece.
    pub fn push(&mut self, bytes: Bytes) {
        if let Some(scanner) = &mut self.scanner {
            scanner.push(bytes);
        }
    }

    /// The next piece; `None`: more bytes are needed, or [`Self::is_done`].
    ///
    /// # Errors
    /// A wanted value cannot be cut.
    #[expect(clippy::should_implement_trait, reason = "None is not the end, so this is no iterator")]
    pub fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Ok(Some(piece));
            }
            if self.done {
                return Ok(None);
            }
            let Some(scanner) = &mut self.scanner else { return Ok(None) };
            match scanner.next()? {
                Some(event) => self.step(event)?,
                None => return Ok(None),
            }
        }
    }

    /// Whether the one value that was wanted is out, so that no more bytes are needed.
    pub fn is_done(&self) -> bool {
        self.done && self.out.is_empty()
    }

    /// Whether the end of the object has been told and all is out.
    pub fn is_finished(&self) -> bool {
        self.scanner.is_none() && self.out.is_empty()
    }

    /// Says that no more bytes come; what is left follows by [`Self::next`].
    ///
    /// # Errors
    /// The object broke off.
    pub fn finish(&mut self) -> Result<(), Error> {
        if let Some(scanner) = self.scanner.take().filter(|_| !self.done) {
            scanner.finish()?;
        }
        self.end_document(None);
        Ok(())
    }

    fn step(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Element(header) => self.element(&header)?,
            Event::Value(bytes) => self.value(bytes),
            Event::Item(_) => {
                if let Some((_, item)) = self.sequences.last_mut() {
                    *item = item.saturating_add(1);
                }
            }
            Event::ItemEnd => {}
            Event::Fragment(header) => {
                if let Stage::Frames(frames, cuts) = &mut self.stage {
                    frames.begin(header, cuts);
                }
            }
            Event::FragmentEnd => {
                if let (Stage::Frames(frames, cuts), Some(scanner)) = (&mut self.stage, &self.scanner) {
                    frames.end(scanner.position(), cuts)?;
                }
            }
            Event::ElementEnd => self.element_end()?,
        }
        self.pass_frames();
        Ok(())
    }

    fn element(&mut self, header: &ElementHeader) -> Result<(), Error> {
        let at_top = self.sequences.is_empty();
        if at_top {
            self.attributes.element(header);
            if self.document.open && header.tag > tags::ENCAPSULATED_DOCUMENT_LENGTH {
                self.end_document(None);
            }
            if self.document.open && header.tag == tags::ENCAPSULATED_DOCUMENT_LENGTH {
                self.stage = Stage::DocumentLength(Vec::new());
            }
        }
        self.open.push(header.content == Content::Items);
        if header.content == Content::Items {
            self.sequences.push((header.tag, 0));
            return Ok(());
        }
        if !self.is_wanted(header) {
            return Ok(());
        }
        if header.content == Content::Fragments {
            let attributes = if at_top {
                std::mem::replace(&mut self.attributes, Attributes::new(None))
            } else {
                // An icon: one frame, whatever the image around it has.
                Attributes::new(None)
            };
            let frames = Encapsulated::new(&self.syntax, attributes, None)?;
            self.stage = Stage::Frames(Box::new(frames), VecDeque::new());
            return Ok(());
        }
        let length = u64::from(header.length.unwrap_or_default());
        let is_document = at_top && header.tag == tags::ENCAPSULATED_DOCUMENT && length > 0;
        let value =
            Value { path: self.path(header.tag), length: (!is_document).then_some(length), frame: None };
        self.out.push_back(Piece::Begin(value));
        if is_document {
            self.document = Document { open: true, length, passed: 0, last: None };
        }
        let vr = if at_top && is_pixel_data(header.tag) {
            cell(header.vr, self.attributes.bits)
        } else {
            header.vr
        };
        self.stage = Stage::Value((header.layout == Layout::ExplicitBe).then(|| Swapper::new(vr)));
        Ok(())
    }

    fn value(&mut self, bytes: Bytes) {
        match &mut self.stage {
            Stage::Between => {
                if self.sequences.is_empty() {
                    self.attributes.value(&bytes);
                }
            }
            Stage::Value(swapper) => {
                let bytes = match swapper {
                    None => bytes,
                    Some(swapper) => {
                        let mut turned = Vec::with_capacity(bytes.len() + 8);
                        swapper.push(&bytes, &mut turned);
                        turned.into()
                    }
                };
                let bytes = if self.document.open { self.document.hold_last(bytes) } else { bytes };
                if !bytes.is_empty() {
                    self.out.push_back(Piece::Bytes(bytes));
                }
            }
            Stage::Frames(frames, cuts) => frames.value(bytes, cuts),
            Stage::DocumentLength(value) => value.extend_from_slice(&bytes[..bytes.len().min(8)]),
        }
    }

    fn element_end(&mut self) -> Result<(), Error> {
        if self.open.pop() == Some(true) {
            self.sequences.pop();
        }
        match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Between => self.attributes.element_end(),
            Stage::Value(swapper) => {
                let mut rest = Vec::new();
                if let Some(mut swapper) = swapper {
                    swapper.finish(&mut rest);
                }
                if !rest.is_empty() {
                    self.out.push_back(Piece::Bytes(rest.into()));
                }
                if !self.document.open {
                    self.end_value();
                }
            }
            Stage::Frames(mut frames, mut cuts) => {
                frames.finish(&mut cuts)?;
                self.stage = Stage::Frames(frames, cuts);
                self.pass_frames();
                self.stage = Stage::Between;
                self.done = matches!(self.selection, Selection::Path(_) | Selection::Pixels);
            }
            Stage::DocumentLength(value) => {
                let length = value.first_chunk().map(|&bytes| u32::from_le_bytes(bytes));
                self.end_document(length);
            }
        }
        Ok(())
    }

    fn end_value(&mut self) {
        self.out.push_back(Piece::End);
        self.done = matches!(self.selection, Selection::Path(_));
    }

    /// Ends a document that is open, whose length is this where the object says so.
    fn end_document(&mut self, length: Option<u32>) {
        if !std::mem::take(&mut self.document.open) {
            return;
        }
        let padded = length.is_some_and(|length| u64::from(length) + 1 == self.document.length);
        if let Some(last) = self.document.last.take().filter(|_| !padded) {
            self.out.push_back(Piece::Bytes(last));
        }
        self.end_value();
    }

    /// Makes pieces of what was cut of frames.
    fn pass_frames(&mut self) {
        let Stage::Frames(frames, cuts) = &mut self.stage else { return };
        let count = frames.announced();
        let cuts = std::mem::take(cuts);
        for cut in cuts {
            let piece = match cut {
                Cut::Begin { number, length } => {
                    let path = self.path(tags::PIXEL_DATA);
                    Piece::Begin(Value { path, length, frame: Some((number, count)) })
                }
                Cut::Bytes(bytes) => Piece::Bytes(bytes),
                Cut::End => Piece::End,
            };
            self.out.push_back(piece);
        }
    }

    fn is_wanted(&self, header: &ElementHeader) -> bool {
        let at_top = self.sequences.is_empty();
        match &self.selection {
            Selection::Path(path) => path.is(&self.sequences, header.tag),
            Selection::Pixels => at_top && is_pixel_data(header.tag),
            Selection::Large(inline) => is_bulk_data(header, at_top, *inline),
        }
    }

    fn path(&self, tag: Tag) -> BulkPath {
        BulkPath::new(self.sequences.clone(), tag)
    }
}

impl Document {
    /// Holds the last byte of the value back.
    fn hold_last(&mut self, mut bytes: Bytes) -> Bytes {
        self.passed += bytes.len() as u64;
        if self.passed == self.length {
            self.last = Some(bytes.split_off(bytes.len().saturating_sub(1)));
        }
        bytes
    }
}

/// The media type of an object's encapsulated document, which its SOP class settles (PS3.3 A.45, A.85, A.105);
/// MIME Type of Encapsulated Document (0042,0012) stands behind the document.
pub fn document_type(sop_class: &Uid) -> Option<&'static str> {
    Some(match sop_class.as_str() {
        "1.2.840.10008.5.1.4.1.1.104.1" => "application/pdf",
        "1.2.840.10008.5.1.4.1.1.104.2" => "text/xml",
        "1.2.840.10008.5.1.4.1.1.104.3" => "model/stl",
        "1.2.840.10008.5.1.4.1.1.104.4" => "model/obj",
        "1.2.840.10008.5.1.4.1.1.104.5" => "model/mtl",
        _ => return None,
    })
}

/// Whether pixel data under this transfer syntax is a video.
pub fn is_video(syntax: &Uid) -> bool {
    codec(syntax).is_video()
}
