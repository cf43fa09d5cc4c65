//! The attributes that say how pixel data is divided into frames; all of them come before it.

use super::Error;
use super::offsets::{OffsetTable, TableReader};
use crate::dicom::scan::ElementHeader;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, tags};
use crate::image::pixels::{Photometric, Shape};

/// Longest value that is read, in bytes: an IS has 12 characters, a CS 16.
const MAX_VALUE: usize = 64;

/// What has been read of them.
#[derive(Debug)]
pub(in crate::image) struct Attributes {
    /// Number of Frames (0028,0008); `None`: it is no positive number.
    frames: Option<u32>,
    /// Rows, Columns, Samples per Pixel, Bits Allocated.
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) samples: u16,
    pub(in crate::image) bits: u16,
    /// Photometric Interpretation, where it is one that is known.
    photometric: Option<Photometric>,
    /// Whether there is one at all.
    tells_colours: bool,
    /// Bits Stored and High Bit.
    bits_stored: Option<u16>,
    high_bit: Option<u16>,
    /// Pixel Representation and Planar Configuration are 1.
    signed: bool,
    planar: bool,
    extended_offsets: Option<TableReader>,
    extended_lengths: Option<TableReader>,
    open: Option<Open>,
    /// The last frame whose place is of interest; `None`: the last there is.
    last: Option<u32>,
}

#[derive(Debug)]
enum Open {
    Value(Tag, Layout, Vec<u8>),
    Offsets,
    Lengths,
}

impl Attributes {
    /// Nothing read yet.
    pub(in crate::image) fn new(last: Option<u32>) -> Self {
        Self {
            frames: Some(1),
            rows: 0,
            columns: 0,
            samples: 1,
            bits: 0,
            photometric: None,
            tells_colours: false,
            bits_stored: None,
            high_bit: None,
            signed: false,
            planar: false,
            extended_offsets: None,
            extended_lengths: None,
            open: None,
            last,
        }
    }

    /// How many frames there are: one where the object does not say, as images of single frames do not.
    ///
    /// # Errors
    /// What it says is no positive number. To take that for one would lose the others.
    pub(in crate::image) fn frames(&self) -> Result<u32, Error> {
        self.frames.ok_or(Error::NumberOfFrames)
    }

    /// Whether native pixels have half the chrominance samples (PS3.3 C.7.6.3.1.2).
    pub(super) fn halved_chrominance(&self) -> bool {
        matches!(self.photometric, Some(Photometric::YbrFull422 | Photometric::YbrPartial422))
    }

    /// How the pixels of a frame lie; `None`: the data set does not say. Bits Stored and High Bit are those of a full
    /// cell where they are missing.
    pub(in crate::image) fn shape(&self) -> Option<Shape> {
        let bits_stored = self.bits_stored.filter(|&bits| bits > 0).unwrap_or(self.bits);
        let is_told = self.rows > 0 && self.columns > 0 && self.samples > 0 && self.bits > 0;
        is_told.then_some(Shape {
            rows: self.rows,
            columns: self.columns,
            samples: self.samples,
            bits_allocated: self.bits,
            bits_stored,
            high_bit: self.high_bit.unwrap_or(bits_stored.saturating_sub(1)),
            signed: self.signed,
            photometric: self.photometric?,
            planar: self.planar,
        })
    }

    /// Whether all but the Photometric Interpretation is known, and that is there.
    pub(in crate::image) fn has_unknown_colours(&self) -> bool {
        self.photometric.is_none() && self.tells_colours && self.rows > 0 && self.columns > 0 && self.bits > 0
    }

    /// The last frame whose place is of interest.
    pub(in crate::image::frames) fn last(&self) -> Option<u32> {
        self.last
    }

    /// The Extended Offset Table with its lengths, where both are there and fit (PS3.3 C.7.6.3.1.8).
    pub(in crate::image::frames) fn extended_table(&mut self) -> Option<(OffsetTable, Vec<u64>)> {
        let frames = self.frames?;
        let offsets = self.extended_offsets.take()?.offsets(frames)?;
        let lengths = self.extended_lengths.take()?.entries(frames)?;
        Some((offsets, lengths))
    }

    /// An element of the data set itself begins.
    pub(in crate::image) fn element(&mut self, header: &ElementHeader) {
        self.open = match header.tag {
            tags::EXTENDED_OFFSET_TABLE => {
                self.extended_offsets = Some(TableReader::new(8, self.last));
                Some(Open::Offsets)
            }
            tags::EXTENDED_OFFSET_TABLE_LENGTHS => {
                self.extended_lengths = Some(TableReader::new(8, self.last));
                Some(Open::Lengths)
            }
            tag @ (tags::NUMBER_OF_FRAMES
            | tags::ROWS
            | tags::COLUMNS
            | tags::SAMPLES_PER_PIXEL
            | tags::BITS_ALLOCATED
            | tags::BITS_STORED
            | tags::HIGH_BIT
            | tags::PIXEL_REPRESENTATION
            | tags::PLANAR_CONFIGURATION
            | tags::PHOTOMETRIC_INTERPRETATION) => Some(Open::Value(tag, header.layout, Vec::new())),
            _ => None,
        };
    }

    /// The next piece of a value.
    pub(in crate::image) fn value(&mut self, piece: &[u8]) {
        match &mut self.open {
            Some(Open::Value(_, _, value)) => {
                let room = MAX_VALUE - value.len();
                value.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Some(Open::Offsets) => self.extended_offsets.iter_mut().for_each(|table| table.push(piece)),
            Some(Open::Lengths) => self.extended_lengths.iter_mut().for_each(|table| table.push(piece)),
            None => {}
        }
    }

    /// An element ends.
    pub(in crate::image) fn element_end(&mut self) {
        let Some(Open::Value(tag, layout, value)) = self.open.take() else { return };
        let number = || match (value.first_chunk(), layout) {
            (Some(&bytes), Layout::ExplicitBe) => u16::from_be_bytes(bytes),
            (Some(&bytes), _) => u16::from_le_bytes(bytes),
            (None, _) => 0,
        };
        let text = || std::str::from_utf8(&value).unwrap_or_default().trim_matches([' ', '\0']);
        match tag {
            // An empty value says as much as none; of one that is too long not all was read.
            tags::NUMBER_OF_FRAMES if value.iter().all(|byte| matches!(byte, b' ' | 0)) => {}
            tags::NUMBER_OF_FRAMES => {
                let number = text().parse().ok().filter(|&frames| frames > 0);
                self.frames = number.filter(|_| value.len() < MAX_VALUE);
            }
            tags::ROWS => self.rows = number(),
            tags::COLUMNS => self.columns = number(),
            tags::SAMPLES_PER_PIXEL => self.samples = number(),
            tags::BITS_ALLOCATED => self.bits = number(),
            tags::BITS_STORED => self.bits_stored = Some(number()),
            tags::HIGH_BIT => self.high_bit = Some(number()),
            tags::PIXEL_REPRESENTATION => self.signed = number() != 0,
            tags::PLANAR_CONFIGURATION => self.planar = number() == 1,
            _ => {
                self.tells_colours = !text().is_empty();
                self.photometric = Photometric::read(text());
            }
        }
    }
}
