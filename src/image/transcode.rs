//! Objects whose pixel data goes into another transfer syntax, piece by piece (PS3.5 8.2 and A.4).
//!
//! [`Transcoder::push`] takes the encoded data set in pieces of any size; [`Transcoder::pop`] hands out what becomes of
//! it, in order: bytes, and frames that are still to be worked on. That is left to the caller, as it takes long: any
//! number of frames may be worked on at once. All other elements pass as they are, byte by byte, but for those that
//! describe the pixels, or are not true of other pixels. What these will be is known before the first frame is
//! ([`codec::decoded_shape`]), so that nothing waits.

mod description;
mod lossy;
mod nested;
mod raw;
#[cfg(test)]
mod tests;
mod work;

use std::collections::VecDeque;

use bytes::Bytes;

use self::description::Description;
use self::lossy::{Origin, Place, Waiting};
use self::nested::Nested;
use self::raw::Raw;
pub use self::work::Work;
use super::codec::{self, Refusal};
use super::frames::{self, Cut, Cutter, Step as CutStep};
use super::pixels::Shape;
use crate::dicom::bulk::is_pixel_data;
use crate::dicom::dictionary::is_group_length;
use crate::dicom::encode::{put_header, put_item, put_sequence_end, put_undefined};
use crate::dicom::native::{self, Native};
use crate::dicom::object::Head;
use crate::dicom::scan::{self, Content, ElementHeader, Event, Scanner};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout, is_encapsulated, is_lossy};
use crate::dicom::{Tag, Uid, VR, tags};

/// Longest frame that is taken in, in bytes as it is compressed: nothing longer is in use, and it has to be in one piece.
pub const MAX_CODESTREAM: usize = 512 << 20;
/// Longest native pixel data, in bytes: the greatest even length that a length field can tell (PS3.5 7.1.1).
const MAX_PIXEL_DATA: u64 = 0xFFFF_FFFE;

/// Longest Image Type, in bytes: some values of 16 characters.
const MAX_IMAGE_TYPE: usize = 1024;

/// Why an object cannot be had in another transfer syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data set cannot be followed.
    #[error("the object is not the data set that its transfer syntax says: {0}")]
    DataSet(#[from] scan::Error),
    /// The native data set cannot be followed.
    #[error("the object is not the data set that its transfer syntax says: {0}")]
    Native(#[from] native::Error),
    /// Its elements are not in Explicit VR Little Endian, as all compressed objects are (PS3.5 A.4).
    #[error("the object is not encoded as its transfer syntax says")]
    Encoding,
    /// Its pixel data cannot be divided into frames.
    #[error(transparent)]
    Frames(#[from] frames::Error),
    /// A frame cannot be decoded or encoded.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What describes the pixels is missing, or in words that are not known.
    #[error("the object does not say how its pixels lie")]
    NoShape,
    /// More frames are there than Number of Frames (0028,0008) says.
    #[error("the object has more frames than it says")]
    Surplus,
    /// The pixels would not fit into an element, or a frame not into memory.
    #[error("the pixel data is too long for this transfer syntax")]
    TooLong,
    /// Floating-point pixels are never compressed, frames that share a byte are not taken apart, and colours that are not
    /// known are left alone.
    #[error("pixel data of this kind cannot be had in this transfer syntax")]
    Kind,
}

/// What becomes of an object.
#[derive(Debug)]
pub enum Piece {
    /// Bytes, as they go out.
    Bytes(Bytes),
    /// A frame to work on: what [`Work::run`] makes of it goes out here.
    Work(Work),
}

/// An object on its way from one transfer syntax to another.
#[derive(Debug)]
pub struct Transcoder {
    to: Uid,
    /// What makes Explicit VR Little Endian of other native encodings.
    native: Native,
    scanner: Scanner,
    /// What was walked over and did not go out yet.
    raw: Raw,
    /// Whether the element that is being walked over goes out.
    keeps: bool,
    /// The sequence that is being walked through, in search of what cannot go out.
    nested: Option<Nested>,
    stage: Stage,
    cutter: Cutter,
    /// In which the frames come.
    from: Uid,
    frame: Vec<u8>,
    /// What the object says of where it comes from.
    origin: Origin,
    /// Whether it becomes another image, as it is compressed with loss.
    loses: bool,
    /// Its Photometric Interpretation is none that is known.
    has_unknown_colours: bool,
    /// Image Type, which changes with that, as it comes.
    image_type: Option<Vec<u8>>,
    out: VecDeque<Piece>,
}

#[derive(Debug)]
enum Stage {
    /// Before what describes the pixels.
    Before,
    /// Amid it: it is held until all of it is here.
    Describing(Description),
    /// The pixel data is still to come; how its pixels lie, and how many frames there are. What comes before it waits for the
    /// first frame where that is compressed with loss.
    Described(Option<Shape>, u32, Option<Box<Waiting>>),
    /// The frames come; what follows them waits, and so may what goes before the first of them.
    Pixels {
        shapes: Shapes,
        frames: u32,
        waiting: Option<Box<Waiting>>,
        opening: Vec<u8>,
        behind: Vec<Bytes>,
    },
    /// What is behind the pixel data.
    Behind,
}

/// How the pixels lie on their way.
#[derive(Debug, Clone, Copy)]
struct Shapes {
    /// As they came.
    stored: Shape,
    /// Native.
    native: Shape,
    /// As they go out.
    sent: Shape,
}

impl Shapes {
    fn of(from: &Uid, to: &Uid, stored: &Shape) -> Self {
        let native = if is_encapsulated(from) { codec::decoded_shape(from, stored) } else { *stored };
        let sent = if is_encapsulated(to) { codec::encoded_shape(to, &native) } else { native };
        Self { stored: *stored, native, sent }
    }

    /// The longest frame that makes sense, in bytes as it came: noise grows when it is compressed, but not to twice its size.
    fn longest(&self) -> usize {
        let native = usize::try_from(self.native.frame_length()).unwrap_or(MAX_CODESTREAM);
        native.saturating_mul(2).saturating_add(1 << 20).min(MAX_CODESTREAM)
    }
}

/// Whether the pixel data of an object can be had in another transfer syntax, as far as the two tell; frames may be
/// refused all the same.
pub fn can_become(from: &Uid, to: &Uid) -> bool {
    let readable = !is_encapsulated(from) || codec::can_decode(from);
    readable && (to.as_str() == EXPLICIT_VR_LE || codec::encodes(to))
}

/// The head of what an object becomes in this transfer syntax. An image that loses something is another one.
pub fn sent_head(head: &Head, to: &Uid) -> Head {
    let loses = becomes_another(&head.transfer_syntax, to);
    let sop_instance =
        if loses { lossy::derived_uid(&head.sop_instance, to) } else { head.sop_instance.clone() };
    Head { sop_instance, transfer_syntax: to.clone(), ..head.clone() }
}

fn becomes_another(from: &Uid, to: &Uid) -> bool {
    from != to && is_lossy(to)
}

impl Transcoder {
    /// From an object with this head to a transfer syntax that [it can become](can_become). What comes out has
    /// [another head](sent_head).
    pub fn new(head: &Head, to: &Uid) -> Self {
        let stored = &head.transfer_syntax;
        let from = if is_encapsulated(stored) { stored.clone() } else { Uid::from_static(EXPLICIT_VR_LE) };
        Self {
            to: to.clone(),
            native: Native::new(stored, &from),
            scanner: Scanner::new(Layout::ExplicitLe),
            raw: Raw::default(),
            keeps: true,
            nested: None,
            stage: Stage::Before,
            cutter: Cutter::all(&from),
            from,
            frame: Vec::new(),
            origin: Origin::new(head, to),
            loses: becomes_another(stored, to),
            has_unknown_colours: false,
            image_type: None,
            out: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the data set. [`Self::pop`] takes out what they become, before the next.
    ///
    /// # Errors
    /// The object cannot be had in this transfer syntax; the transcoder is of no use any more.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        Ok(self.native.push(bytes)?)
    }

    /// The next of what the object becomes; `None`: more bytes of it are needed. What is not taken out takes no memory
    /// but that of the bytes that went in: what they inflate to, and the frames in them, are made one by one.
    ///
    /// # Errors
    /// As of [`Self::push`].
    pub fn pop(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Ok(Some(piece));
            }
            if self.cut()? {
                continue;
            }
            match self.native.pop()? {
                Some(piece) => self.piece(piece)?,
                None => return Ok(None),
            }
        }
    }

    /// Says that no more bytes come. [`Self::pop`] takes out the rest.
    ///
    /// # Errors
    /// The object broke off.
    pub fn finish(&mut self) -> Result<(), Error> {
        while let Some(piece) = self.native.pop()? {
            self.piece(piece)?;
        }
        let native = std::mem::replace(&mut self.native, Native::ended());
        for piece in native.finish()? {
            self.piece(piece)?;
        }
        while self.cut()? {}
        let scanner = std::mem::replace(&mut self.scanner, Scanner::new(Layout::ExplicitLe));
        let end = scanner.position();
        scanner.finish()?;
        self.pass(end)?;
        self.described();
        if self.loses && !matches!(self.stage, Stage::Behind) {
            // Nothing would be lost, and it would be another object all the same.
            return Err(Error::Kind);
        }
        match self.stage {
            Stage::Pixels { .. } => Err(Error::Frames(frames::Error::NoPixelData)),
            _ => Ok(()),
        }
    }

    fn piece(&mut self, piece: Bytes) -> Result<(), Error> {
        self.raw.push(piece.clone());
        self.scanner.push(piece.clone());
        while let Some(event) = self.scanner.next()? {
            match (event, &mut self.nested) {
                (event, Some(nested)) => {
                    nested.event(&event);
                    if nested.passes_value(&event) {
                        self.scanner.skip();
                    }
                    if nested.has_ended() {
                        self.nested_end()?;
                    }
                }
                (Event::Element(header), None) => {
                    self.element(&header)?;
                    if self.watches(&header) {
                        self.nested = Some(Nested::default());
                    } else {
                        // Whatever begins is passed over whole.
                        self.scanner.skip();
                    }
                }
                _ => {}
            }
        }
        self.pass(self.scanner.position())?;
        if !matches!(self.stage, Stage::Behind) {
            self.cutter.push(piece);
        }
        Ok(())
    }

    /// Whether a sequence may have compressed pixels in it, such as those of an icon: where those of the image are in
    /// another transfer syntax, nothing says any more in which theirs are.
    fn watches(&self, header: &ElementHeader) -> bool {
        let changes = is_encapsulated(&self.from) && self.from != self.to;
        let is_sequence = header.content == Content::Items;
        changes && is_sequence && self.keeps && !matches!(self.stage, Stage::Describing(_))
    }

    /// The sequence that was walked through goes out, unless there are compressed pixels in it.
    fn nested_end(&mut self) -> Result<(), Error> {
        self.pass(self.scanner.position())?;
        let Some(nested) = self.nested.take() else { return Ok(()) };
        if nested.has_fragments {
            return if nested.is_released { Err(Error::Kind) } else { Ok(()) };
        }
        self.route(nested.held)
    }

    /// What was walked over up to `position` goes out, or is held or dropped.
    fn pass(&mut self, position: u64) -> Result<(), Error> {
        let pieces = self.raw.take_to(position);
        if let Some(image_type) = &mut self.image_type {
            pieces.iter().for_each(|piece| image_type.extend_from_slice(piece));
            return if image_type.len() > MAX_IMAGE_TYPE { Err(Error::TooLong) } else { Ok(()) };
        }
        if let Some(nested) = &mut self.nested {
            let released = nested.hold(pieces);
            return self.route(released);
        }
        match &mut self.stage {
            Stage::Describing(description) => description.hold(pieces),
            _ if !self.keeps => {}
            _ => self.route(pieces)?,
        }
        Ok(())
    }

    /// Bytes as they came go to their place.
    fn route(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Described(_, _, Some(waiting)) => {
                let mut pieces = pieces.iter();
                pieces.try_for_each(|piece| waiting.bytes(piece)).map_err(|lossy::TooLong| Error::TooLong)?;
            }
            Stage::Pixels { behind, .. } => behind.extend(pieces),
            _ => self.out.extend(pieces.into_iter().map(Piece::Bytes)),
        }
        Ok(())
    }

    /// An element of the data set itself begins.
    fn element(&mut self, header: &ElementHeader) -> Result<(), Error> {
        self.pass(header.offset)?;
        // What passes as it is, and what is put in, have to be of one kind.
        if header.layout != Layout::ExplicitLe {
            return Err(Error::Encoding);
        }
        let tag = header.tag;
        self.keeps = !self.is_left_out(tag);
        self.originate(header);
        if tag >= tags::SAMPLES_PER_PIXEL && matches!(self.stage, Stage::Before) {
            self.stage = Stage::Describing(Description::default());
        }
        if let Stage::Describing(description) = &mut self.stage {
            if tag <= tags::PIXEL_REPRESENTATION {
                return description.begin(header);
            }
            self.described();
        }
        // Of two that describe the pixels readers take the one or the other, and only the first has changed.
        if (tags::SAMPLES_PER_PIXEL..=tags::PIXEL_REPRESENTATION).contains(&tag) {
            return Err(Error::Encoding);
        }
        if is_pixel_data(tag) && !matches!(self.stage, Stage::Pixels { .. } | Stage::Behind) {
            self.keeps = false;
            return self.pixels(tag);
        }
        if let Stage::Described(_, _, Some(waiting)) = &mut self.stage {
            waiting.element(tag);
        }
        Ok(())
    }

    /// Where the image comes from is said at its place.
    fn originate(&mut self, header: &ElementHeader) {
        if let Some(image_type) = self.image_type.take() {
            self.out.push_back(Piece::Bytes(lossy::derived(&image_type).into()));
        }
        let (said, place) = self.origin.before(header);
        if !said.is_empty() {
            self.out.push_back(Piece::Bytes(said.into()));
        }
        match place {
            Place::Before => {}
            Place::Instead => self.keeps = false,
            // What has been said is the beginning of the value, with another header.
            Place::Within => drop(self.raw.take_to(header.value_offset)),
        }
        self.image_type = (self.loses && header.tag == tags::IMAGE_TYPE).then(Vec::new);
    }

    /// Whether an element is not true any more when pixels have changed: lengths of groups, tables of where frames are,
    /// signatures; and of pixels that lose something, their range.
    fn is_left_out(&self, tag: Tag) -> bool {
        let untrue = [
            tags::EXTENDED_OFFSET_TABLE,
            tags::EXTENDED_OFFSET_TABLE_LENGTHS,
            tags::ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
            tags::MAC_PARAMETERS_SEQUENCE,
            tags::DIGITAL_SIGNATURES_SEQUENCE,
        ];
        let range = [tags::SMALLEST_IMAGE_PIXEL_VALUE, tags::LARGEST_IMAGE_PIXEL_VALUE];
        is_group_length(tag) || untrue.contains(&tag) || self.loses && range.contains(&tag)
    }

    /// All that describes the pixels is here.
    fn described(&mut self) {
        let Stage::Describing(description) = &self.stage else { return };
        let (shape, frames) = description.read();
        let sent = shape.map(|shape| Shapes::of(&self.from, &self.to, &shape).sent);
        self.out.push_back(Piece::Bytes(description.write(shape, sent).into()));
        let waiting = self.loses.then(Box::default);
        let has_unknown_colours = shape.is_none() && description.has_unknown_colours();
        self.stage = Stage::Described(shape, frames, waiting);
        self.has_unknown_colours = has_unknown_colours;
    }

    /// The pixel data begins.
    fn pixels(&mut self, tag: Tag) -> Result<(), Error> {
        let Stage::Described(Some(stored), frames, waiting) = &mut self.stage else {
            return Err(if self.has_unknown_colours { Error::Kind } else { Error::NoShape });
        };
        let (stored, frames, waiting) = (*stored, *frames, waiting.take());
        if tag != tags::PIXEL_DATA {
            return Err(Error::Kind);
        }
        let shapes = Shapes::of(&self.from, &self.to, &stored);
        let sent = shapes.sent;
        // Frames that begin within a byte would have to be put together bit by bit.
        if frames > 1 && !shapes.native.frame_bits().is_multiple_of(8) {
            return Err(Error::Kind);
        }
        let mut opening = Vec::new();
        if is_encapsulated(&self.to) {
            put_undefined(&mut opening, Layout::ExplicitLe, tag, VR::OB);
            // An empty Basic Offset Table (PS3.5 A.4): nobody knows yet how long frames will be.
            put_item(&mut opening, Layout::ExplicitLe, 0);
        } else {
            let length =
                sent.frame_length().checked_mul(frames.into()).filter(|&length| length <= MAX_PIXEL_DATA);
            let length = length
                .and_then(|length| u32::try_from(length.next_multiple_of(2)).ok())
                .ok_or(Error::TooLong)?;
            let vr = if sent.bits_allocated > 8 { VR::OW } else { VR::OB };
            put_header(&mut opening, Layout::ExplicitLe, tag, vr, length);
        }
        if waiting.is_none() {
            self.out.push_back(Piece::Bytes(std::mem::take(&mut opening).into()));
        }
        self.stage = Stage::Pixels { shapes, frames, waiting, opening, behind: Vec::new() };
        Ok(())
    }

    /// Takes out the next frame, or says that it was the last; `false`: neither is there yet.
    fn cut(&mut self) -> Result<bool, Error> {
        if matches!(self.stage, Stage::Behind) {
            return Ok(false);
        }
        let longest = match &self.stage {
            Stage::Pixels { shapes, .. } => shapes.longest(),
            _ => MAX_CODESTREAM,
        };
        loop {
            match self.cutter.next()? {
                CutStep::MoreBytes => return Ok(false),
                CutStep::Cut(Cut::Begin { .. }) => self.frame.clear(),
                CutStep::Cut(Cut::Bytes(bytes)) => {
                    if self.frame.len() + bytes.len() > longest {
                        return Err(Error::TooLong);
                    }
                    self.frame.extend_from_slice(&bytes);
                }
                CutStep::Cut(Cut::End) => return self.work().map(|()| true),
                CutStep::Done(_) => {
                    self.end()?;
                    return Ok(true);
                }
            }
        }
    }

    /// A frame is whole.
    fn work(&mut self) -> Result<(), Error> {
        let Stage::Pixels { shapes, frames, waiting, opening, .. } = &mut self.stage else {
            return Err(Error::NoShape);
        };
        *frames = frames.checked_sub(1).ok_or(Error::Surplus)?;
        let frame = std::mem::take(&mut self.frame);
        let goes_before = waiting.take().map(|waiting| (waiting, std::mem::take(opening)));
        let (from, to) = (self.from.clone(), self.to.clone());
        let work = Work { from, to, frame, shapes: *shapes, is_fragment: true, goes_before };
        self.out.push_back(Piece::Work(work));
        Ok(())
    }

    /// The last frame was cut.
    fn end(&mut self) -> Result<(), Error> {
        let Stage::Pixels { frames, shapes, behind, .. } = std::mem::replace(&mut self.stage, Stage::Behind)
        else {
            return Ok(());
        };
        if frames > 0 {
            return Err(Error::Frames(frames::Error::TooShort(frames)));
        }
        let (_, all) = self.cutter.pixels().unwrap_or_default();
        let mut closing = Vec::new();
        if is_encapsulated(&self.to) {
            put_sequence_end(&mut closing, Layout::ExplicitLe);
        } else if shapes.sent.frame_length() % 2 == 1 && all % 2 == 1 {
            closing.push(0);
        }
        self.out.push_back(Piece::Bytes(closing.into()));
        self.out.extend(behind.into_iter().map(Piece::Bytes));
        Ok(())
    }
}
