//! Frames of native pixel data: they follow each other without a gap, so arithmetic finds them (PS3.5 8.1.1).
//!
//! Their length is Rows × Columns × Samples per Pixel × Bits Allocated. Frames of one-bit pixels may begin
//! within a byte: such a frame is shifted so that its first pixel is the lowest bit of its first byte, and the
//! bits behind its last pixel are zero. The byte that makes the whole value even is part of no frame. Big
//! endian cells are turned around.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::attributes::Attributes;
use super::{Cut, Error};
use crate::dicom::byte_order::{Swapper, cell};
use crate::dicom::scan::ElementHeader;
use crate::dicom::transfer_syntax::Layout;

/// Fewest bits behind the last frame that are no padding to an even number of bytes.
const LEAST_SURPLUS: u64 = 16;

/// A cut through native pixel data in progress.
#[derive(Debug)]
pub(super) struct Native {
    /// Length of a frame in bits.
    frame_bits: u64,
    wanted: Numbers,
    /// The frame whose bytes come next.
    current: Option<Frame>,
    /// Where the next bytes stand in the value.
    position: u64,
    swapper: Option<Swapper>,
}

/// Frame numbers, ascending.
#[derive(Debug)]
enum Numbers {
    All(std::ops::RangeInclusive<u32>),
    Some(std::vec::IntoIter<u32>),
}

#[derive(Debug)]
struct Frame {
    number: u32,
    /// Where it stands, in whole bytes.
    bytes: Range<u64>,
    begun: bool,
    /// For a frame that is no whole number of bytes from its first bit to its last.
    bits: Option<BitShifter>,
}

impl Native {
    /// A cut through the pixel data of this header; `None`: all frames.
    ///
    /// # Errors
    /// The frames are longer than the pixel data, or their length is not known; there is one frame, and room for
    /// two; there are no pixel data.
    pub(super) fn new(
        header: &ElementHeader,
        attributes: &Attributes,
        wanted: Option<Vec<u32>>,
    ) -> Result<Self, Error> {
        let value_bits = u64::from(header.length.unwrap_or_default()) * 8;
        let frames = attributes.frames()?;
        if value_bits == 0 {
            return Err(Error::NoPixelData);
        }
        let frame_bits = frame_bits(attributes, frames, value_bits);
        if frame_bits == 0 {
            return Err(Error::NoGeometry);
        }
        // Most objects of one frame do not say that it is one: one more may well be meant to be there.
        let surplus = value_bits.saturating_sub(frame_bits);
        if frames == 1 && surplus >= frame_bits.max(LEAST_SURPLUS) {
            return Err(Error::Surplus);
        }
        let last = wanted.as_ref().map_or(frames, |list| list.last().copied().unwrap_or_default());
        if u64::from(last).checked_mul(frame_bits).is_none_or(|end| end > value_bits) {
            let whole = u32::try_from(value_bits / frame_bits).unwrap_or(u32::MAX);
            return Err(Error::TooShort(whole.saturating_add(1).min(last)));
        }
        let wanted = match wanted {
            Some(list) => Numbers::Some(list.into_iter()),
            None => Numbers::All(1..=frames),
        };
        let swapper =
            (header.layout == Layout::ExplicitBe).then(|| Swapper::new(cell(header.vr, attributes.bits)));
        let mut native = Self { frame_bits, wanted, current: None, position: 0, swapper };
        native.current = native.following();
        Ok(native)
    }

    /// Whether every wanted frame is out.
    pub(super) fn is_done(&self) -> bool {
        self.current.is_none()
    }

    /// The value ends.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.current.as_ref().map_or(Ok(()), |frame| Err(Error::TooShort(frame.number)))
    }

    /// The next piece of the value.
    pub(super) fn value(&mut self, piece: Bytes, out: &mut VecDeque<Cut>) {
        let piece = match &mut self.swapper {
            None => piece,
            Some(swapper) => {
                let mut turned = Vec::with_capacity(piece.len() + 8);
                swapper.push(&piece, &mut turned);
                turned.into()
            }
        };
        let begin = self.position;
        self.position += piece.len() as u64;
        // Neighbouring frames of bits share a byte, so a piece is offered to one frame after the other.
        while let Some(frame) = &mut self.current {
            if frame.bytes.start >= self.position {
                return;
            }
            if !frame.begun {
                frame.begun = true;
                let length = Some(self.frame_bits.div_ceil(8));
                out.push_back(Cut::Begin { number: frame.number, length });
            }
            let within = |place: u64| usize::try_from(place.saturating_sub(begin)).unwrap_or(usize::MAX);
            let part = within(frame.bytes.start)..within(frame.bytes.end).min(piece.len());
            if !part.is_empty() {
                let part = piece.slice(part);
                let part = match &mut frame.bits {
                    None => part,
                    Some(bits) => bits.push(&part),
                };
                if !part.is_empty() {
                    out.push_back(Cut::Bytes(part));
                }
            }
            if frame.bytes.end > self.position {
                return;
            }
            if let Some(rest) = frame.bits.take().and_then(BitShifter::finish) {
                out.push_back(Cut::Bytes(rest));
            }
            out.push_back(Cut::End);
            self.current = self.following();
        }
    }

    /// The next wanted frame. Its end was held against the length of the value, so nothing overflows.
    fn following(&mut self) -> Option<Frame> {
        let number = match &mut self.wanted {
            Numbers::All(numbers) => numbers.next(),
            Numbers::Some(numbers) => numbers.next(),
        }?;
        let begin = u64::from(number - 1) * self.frame_bits;
        let end = begin + self.frame_bits;
        let aligned = begin.is_multiple_of(8) && self.frame_bits.is_multiple_of(8);
        let bits = (!aligned).then(|| BitShifter::new(begin % 8, self.frame_bits));
        Some(Frame { number, bytes: begin / 8..end.div_ceil(8), begun: false, bits })
    }
}

/// The length of a frame in bits; 0 where it is not known. `value_bits` is the length of the whole value.
fn frame_bits(attributes: &Attributes, frames: u32, value_bits: u64) -> u64 {
    let Attributes { rows, columns, samples, bits, .. } = *attributes;
    let pixels = u64::from(rows) * u64::from(columns);
    // Four 16-bit numbers fit into 64 bits.
    let full = pixels * u64::from(samples) * u64::from(bits);
    if !attributes.halved_chrominance() || samples != 3 {
        return full;
    }
    // Some writers say so and store every sample all the same.
    let all = full.checked_mul(u64::from(frames));
    if all.is_some_and(|all| all > 0 && all <= value_bits) { full } else { full / 3 * 2 }
}

/// Moves the bits of a frame to the beginning of a byte. Pixels fill a byte from its lowest bit on.
#[derive(Debug)]
struct BitShifter {
    /// How many bits of the first byte belong to the frame before.
    shift: u32,
    /// How many bits of the frame are still to be written.
    left: u64,
    /// The byte whose upper bits are not written yet.
    held: Option<u8>,
}

impl BitShifter {
    fn new(shift: u64, bits: u64) -> Self {
        Self { shift: u32::try_from(shift % 8).unwrap_or_default(), left: bits, held: None }
    }

    fn push(&mut self, piece: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(piece.len());
        for &byte in piece {
            if let Some(low) = self.held.replace(byte) {
                out.extend(self.byte(low, byte));
            }
        }
        out.into()
    }

    /// What is left in the last byte.
    fn finish(mut self) -> Option<Bytes> {
        let last = self.held.take()?;
        self.byte(last, 0).map(|byte| Bytes::from(vec![byte]))
    }

    /// The byte that begins in `low` and ends in `high`; `None` behind the frame's last pixel.
    fn byte(&mut self, low: u8, high: u8) -> Option<u8> {
        let both = u16::from_le_bytes([low, high]) >> self.shift;
        let taken = self.left.min(8);
        self.left -= taken;
        let mask = (1u16 << taken) - 1;
        (taken > 0).then(|| (both & mask).to_le_bytes()[0])
    }
}
