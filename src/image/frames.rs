//! Cuts frames out of an object's bytes while they pass: native and encapsulated (PS3.5 8 and A.4, PS3.3
//! C.7.6.3).
//!
//! [`Cutter::push`] takes the encoded data set in pieces of any size, [`Cutter::next`] hands out the wanted
//! frames in ascending order. Frame bytes are slices of what was pushed; nothing is gathered but the offset
//! tables, and those only as far as the last wanted frame. What a frame's boundaries are taken from stands in
//! `encapsulated` and `native`.

pub(super) mod attributes;
pub(super) mod encapsulated;
mod list;
pub(super) mod native;
mod offsets;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use self::attributes::Attributes;
use self::encapsulated::Encapsulated;
use self::native::Native;
use super::pixels::Shape;
use crate::dicom::bulk::is_pixel_data;
use crate::dicom::scan::{self, Content, ElementHeader, Event, Scanner};
use crate::dicom::transfer_syntax::is_encapsulated;
use crate::dicom::{Uid, tags};

pub use list::{BadFrameList, FrameList, MAX_FRAMES_ASKED};

/// What comes out of a [`Cutter`].
#[derive(Debug)]
pub enum Cut {
    /// A frame begins.
    Begin {
        /// Its number, from 1.
        number: u32,
        /// Its length in bytes, where that is known beforehand.
        length: Option<u64>,
    },
    /// The next bytes of the frame, never empty.
    Bytes(Bytes),
    /// The frame is whole.
    End,
}

/// The next step of a [`Cutter`].
#[derive(Debug)]
pub enum Step {
    /// A piece of a frame.
    Cut(Cut),
    /// More bytes of the object are needed.
    MoreBytes,
    /// All wanted frames were cut; what follows in the object is not needed.
    Done(AllCut),
}

/// Proof that every wanted frame was cut whole. Only a [`Cutter`] makes one.
#[derive(Debug)]
pub struct AllCut(());

/// Why a frame cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object has no pixel data.
    #[error("the object has no pixel data")]
    NoPixelData,
    /// A frame was asked for that the object does not have.
    #[error("the object has {frames} frames; frame {number} was asked for")]
    OutOfRange {
        /// The frame that was asked for.
        number: u32,
        /// Number of Frames (0028,0008).
        frames: u32,
    },
    /// The pixel data is a video, whose frames do not stand for themselves.
    #[error("the object is a video, whose frames cannot be cut out")]
    Video,
    /// The pixel data ends before the frame does.
    #[error("the pixel data of the object ends before frame {0} does")]
    TooShort(u32),
    /// The offset table names places where no fragment begins, so that nobody can tell the frames apart.
    #[error("the offset table of the object does not fit its fragments")]
    WrongOffsets,
    /// Number of Frames (0028,0008) is no positive number, so that nobody can tell how many frames there are.
    #[error("the Number of Frames of the object is no positive number")]
    NumberOfFrames,
    /// More frames are there than Number of Frames (0028,0008) says.
    #[error("the object has more frames than it says")]
    Surplus,
    /// Rows, Columns, Samples per Pixel or Bits Allocated are missing or zero, so that the length of a frame is
    /// not known.
    #[error("the object does not say how large its frames are")]
    NoGeometry,
    /// Native pixel data under an encapsulated transfer syntax, or the other way round.
    #[error("the pixel data is not encoded as the transfer syntax says")]
    WrongEncoding,
    /// The data set cannot be followed.
    #[error("the object is not the data set that its transfer syntax says: {0}")]
    DataSet(#[from] scan::Error),
}

/// A cut through one object in progress.
#[derive(Debug)]
pub struct Cutter {
    /// `None` when no more bytes come.
    scanner: Option<Scanner>,
    syntax: Uid,
    wanted: Wanted,
    depth: usize,
    attributes: Attributes,
    /// What the data set said of its pixels, once they have begun.
    pixels: Option<(Option<Shape>, u32)>,
    is_float: bool,
    stage: Stage,
    out: VecDeque<Cut>,
}

/// Which frames are wanted.
#[derive(Debug)]
enum Wanted {
    All,
    /// Ascending, without repetition.
    Some(Vec<u32>),
}

#[derive(Debug)]
enum Stage {
    /// The pixel data has not come yet.
    Before,
    Native(Native),
    Encapsulated(Box<Encapsulated>),
    /// All wanted frames have been cut.
    Done,
}

impl Cutter {
    /// A cut of the frames with these numbers, which ascend, out of an object in this transfer syntax.
    pub fn new(transfer_syntax: &Uid, ascending: Vec<u32>) -> Self {
        debug_assert!(ascending.is_sorted_by(|a, b| a < b), "ascending");
        Self::with(transfer_syntax, Wanted::Some(ascending))
    }

    /// A cut of every frame. A video is one frame.
    pub fn all(transfer_syntax: &Uid) -> Self {
        Self::with(transfer_syntax, Wanted::All)
    }

    fn with(transfer_syntax: &Uid, wanted: Wanted) -> Self {
        Self {
            scanner: Some(Scanner::for_transfer_syntax(transfer_syntax)),
            syntax: transfer_syntax.clone(),
            depth: 0,
            attributes: Attributes::new(wanted.last()),
            wanted,
            pixels: None,
            is_float: false,
            stage: Stage::Before,
            out: VecDeque::new(),
        }
    }

    /// How the pixels of each frame lie, where the data set says it in words that are known, and how many frames there
    /// are; `None`: the pixel data has not begun.
    pub fn pixels(&self) -> Option<(Option<Shape>, u32)> {
        self.pixels
    }

    /// Whether the pixel data that has begun is Float or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25).
    pub fn are_numbers_of_floating_point(&self) -> bool {
        self.is_float
    }

    /// Adds the next bytes of the data set. Call [`Self::next`] until it wants more before the next piece.
    pub fn push(&mut self, bytes: Bytes) {
        if let Some(scanner) = &mut self.scanner {
            scanner.push(bytes);
        }
    }

    /// The next step.
    ///
    /// # Errors
    /// A wanted frame cannot be cut; the cutter is of no use any more.
    #[expect(clippy::should_implement_trait, reason = "its steps are more than items, so it is no iterator")]
    pub fn next(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(cut) = self.out.pop_front() {
                return Ok(Step::Cut(cut));
            }
            if matches!(self.stage, Stage::Done) {
                return Ok(Step::Done(AllCut(())));
            }
            let Some(scanner) = &mut self.scanner else { return Ok(Step::MoreBytes) };
            match scanner.next()? {
                Some(event) => self.step(event)?,
                None => return Ok(Step::MoreBytes),
            }
        }
    }

    /// Says that no more bytes come, after [`Self::next`] wanted more.
    ///
    /// # Errors
    /// Always, unless all wanted frames were cut: what they are missing.
    pub fn finish(mut self) -> Result<AllCut, Error> {
        if matches!(self.stage, Stage::Done) {
            return Ok(AllCut(()));
        }
        if let Some(scanner) = self.scanner.take() {
            scanner.finish()?;
        }
        Err(Error::NoPixelData)
    }

    fn step(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Element(header) => {
                if self.depth == 0 && is_pixel_data(header.tag) {
                    return self.begin(&header);
                }
                if self.depth == 0 {
                    self.attributes.element(&header);
                }
            }
            Event::Value(piece) => match &mut self.stage {
                Stage::Before => self.attributes.value(&piece),
                Stage::Native(native) => native.value(piece, &mut self.out),
                Stage::Encapsulated(fragments) => fragments.value(piece, &mut self.out),
                Stage::Done => {}
            },
            Event::Fragment(header) => {
                if let Stage::Encapsulated(fragments) = &mut self.stage {
                    fragments.begin(header, &mut self.out);
                }
            }
            Event::FragmentEnd => {
                if let (Stage::Encapsulated(fragments), Some(scanner)) = (&mut self.stage, &self.scanner) {
                    fragments.end(scanner.position(), &mut self.out)?;
                }
            }
            Event::ElementEnd => self.element_end()?,
            Event::Item(_) => self.depth += 1,
            Event::ItemEnd => self.depth -= 1,
        }
        let done = match &self.stage {
            Stage::Native(native) => native.is_done(),
            Stage::Encapsulated(fragments) => fragments.is_done(),
            Stage::Before | Stage::Done => false,
        };
        if done {
            self.stage = Stage::Done;
        }
        Ok(())
    }

    /// The pixel data begins.
    fn begin(&mut self, header: &ElementHeader) -> Result<(), Error> {
        let frames = self.attributes.frames()?;
        self.pixels = Some((self.attributes.shape(), frames));
        self.is_float = header.tag != tags::PIXEL_DATA;
        let wanted = match std::mem::replace(&mut self.wanted, Wanted::All) {
            Wanted::Some(list) => {
                if let Some(&number) = list.iter().find(|&&number| number == 0 || number > frames) {
                    return Err(Error::OutOfRange { number, frames });
                }
                Some(list)
            }
            Wanted::All => None,
        };
        let encapsulated = header.content == Content::Fragments;
        if encapsulated != is_encapsulated(&self.syntax) {
            return Err(Error::WrongEncoding);
        }
        self.stage = if encapsulated {
            let attributes = std::mem::replace(&mut self.attributes, Attributes::new(None));
            Stage::Encapsulated(Box::new(Encapsulated::new(&self.syntax, attributes, wanted)?))
        } else {
            Stage::Native(Native::new(header, &self.attributes, wanted)?)
        };
        Ok(())
    }

    fn element_end(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Before => {
                self.attributes.element_end();
                Ok(())
            }
            Stage::Native(native) => native.finish(),
            Stage::Encapsulated(fragments) => fragments.finish(&mut self.out),
            Stage::Done => Ok(()),
        }
    }
}

impl Wanted {
    fn last(&self) -> Option<u32> {
        match self {
            Self::All => None,
            Self::Some(list) => list.last().copied(),
        }
    }
}
