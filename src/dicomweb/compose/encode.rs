//! Writes the data set of an object, with its bulk data in place.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::syntax::{Form, is_video};
use super::{Error, PixelData, length_of};
use crate::dicom::charset::Charset;
use crate::dicom::dataset::{DataSet, Step, Value};
use crate::dicom::encode::{
    padding, put_element, put_header, put_item, put_item_end, put_sequence_end, put_undefined,
    put_undefined_item,
};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR, tags};
use crate::dicomweb::bulk::Part;
use crate::dicomweb::metadata::ElementPath;

/// Longest value or fragment, in bytes, that a 32-bit length field can tell: even, and not the undefined length.
const MAX_VALUE: u64 = 0xFFFF_FFFE;

const LAYOUT: Layout = Layout::ExplicitLe;

/// A stretch of an encoded data set.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// Of the bulk data.
    Bulk(Range<u64>),
}

/// Writes the data set: what is small together, bulk data as references to where it lies.
pub(super) struct Encoder {
    pixels: Option<PixelData>,
    pieces: VecDeque<Piece>,
    small: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(pixels: Option<PixelData>) -> Self {
        Self { pixels, pieces: VecDeque::new(), small: Vec::new() }
    }

    /// The pieces of the data set. `wanted` is in its order.
    pub(super) fn run(
        mut self,
        data_set: &DataSet,
        mut wanted: VecDeque<(ElementPath, Vec<Part>)>,
    ) -> Result<VecDeque<Piece>, Error> {
        // Metadata is in UTF-8, and so says the data set wherever that matters.
        let charset = Charset::utf8();
        let mut within: Vec<(Tag, usize)> = Vec::new();
        for step in data_set.walk() {
            match step {
                Step::Element(tag, element) => {
                    let is_next = |(path, _): &(ElementPath, _)| path.tag == tag && path.within == within;
                    if wanted.front().is_some_and(is_next)
                        && let Some((path, parts)) = wanted.pop_front()
                    {
                        self.bulk(path, element.vr, &parts)?;
                        continue;
                    }
                    match &element.value {
                        Value::Bytes(bytes) if tag == tags::PIXEL_DATA && within.is_empty() => {
                            self.inline_pixels(element.vr, bytes)?;
                        }
                        _ => put_element(&mut self.small, LAYOUT, tag, element, &charset),
                    }
                    if !element.items().is_empty() {
                        within.push((tag, 0));
                    }
                }
                Step::Item => put_undefined_item(&mut self.small, LAYOUT),
                Step::ItemEnd => {
                    if let Some((_, number)) = within.last_mut() {
                        *number += 1;
                    }
                    put_item_end(&mut self.small, LAYOUT);
                }
                Step::SequenceEnd => {
                    within.pop();
                    put_sequence_end(&mut self.small, LAYOUT);
                }
            }
        }
        // References are in the order of the data set, so that one without an element would hide those behind it.
        if let Some((path, _)) = wanted.pop_front() {
            return Err(Error::MissingBulkData(path));
        }
        self.flush();
        Ok(self.pieces)
    }

    /// An element whose value is in these parts.
    fn bulk(&mut self, path: ElementPath, vr: VR, parts: &[Part]) -> Result<(), Error> {
        let fragments = parts.iter().map(|part| part.range.clone()).map(Piece::Bulk).collect();
        match &self.pixels {
            Some(pixels) if path.tag == tags::PIXEL_DATA && path.within.is_empty() => {
                check_frames(pixels, parts.len())?;
                match &pixels.form {
                    Form::Native => self.native_pixels(path, vr, fragments, length_of(parts)),
                    Form::Encapsulated(_) => {
                        let lengths: Vec<u64> = parts.iter().map(Part::length).collect();
                        self.encapsulated(path, fragments, &lengths)
                    }
                }
            }
            pixels if path.tag == tags::PIXEL_DATA && parts.first().is_some_and(is_compressed) => {
                // An icon is encapsulated in the object's transfer syntax or not at all (PS3.5 A.4).
                let syntax = match pixels {
                    Some(PixelData { form: Form::Encapsulated(syntax), .. }) => Some(syntax),
                    _ => None,
                };
                let labelled = parts.first().and_then(|part| part.transfer_syntax.as_ref());
                if syntax.is_none() || (labelled.is_some() && labelled != syntax) || parts.len() > 1 {
                    return Err(Error::UnsupportedPixelData);
                }
                self.encapsulated(path, fragments, &[length_of(parts)])
            }
            _ => self.value(path, vr, fragments, length_of(parts)),
        }
    }

    fn inline_pixels(&mut self, vr: VR, bytes: &Bytes) -> Result<(), Error> {
        let path = ElementPath { within: Vec::new(), tag: tags::PIXEL_DATA };
        let (pieces, length) = (vec![Piece::Bytes(bytes.clone())], bytes.len() as u64);
        match &self.pixels {
            None => self.value(path, vr, Vec::new(), 0),
            Some(PixelData { form: Form::Native, .. }) => self.native_pixels(path, vr, pieces, length),
            Some(pixels) => {
                check_frames(pixels, 1)?;
                self.encapsulated(path, pieces, &[length])
            }
        }
    }

    fn native_pixels(
        &mut self,
        path: ElementPath,
        vr: VR,
        pieces: Vec<Piece>,
        length: u64,
    ) -> Result<(), Error> {
        let pixels = self.pixels.as_ref();
        if let Some(expected) = pixels.and_then(|pixels| pixels.native_length)
            && length < expected
        {
            return Err(Error::ShortPixelData { length, expected });
        }
        // More than eight bits are words; up to eight may be either (PS3.5 8.1.2).
        let is_wide = pixels.and_then(|pixels| pixels.bits).is_some_and(|bits| bits > 8);
        let vr = if vr == VR::OB && !is_wide { VR::OB } else { VR::OW };
        self.value(path, vr, pieces, length)
    }

    fn value(&mut self, path: ElementPath, vr: VR, pieces: Vec<Piece>, length: u64) -> Result<(), Error> {
        let even = even(length).ok_or_else(|| Error::TooLong(path.clone()))?;
        put_header(&mut self.small, LAYOUT, path.tag, vr, even);
        self.pass(pieces);
        if u64::from(even) > length {
            self.small.push(padding(vr));
        }
        Ok(())
    }

    /// One fragment a piece, behind a basic offset table where there are several frames (PS3.5 A.4).
    fn encapsulated(&mut self, path: ElementPath, pieces: Vec<Piece>, lengths: &[u64]) -> Result<(), Error> {
        if lengths.contains(&0) {
            return Err(Error::UnsupportedPixelData);
        }
        put_undefined(&mut self.small, LAYOUT, path.tag, VR::OB);
        let table = offset_table(lengths).unwrap_or_default();
        put_item(&mut self.small, LAYOUT, u32::try_from(table.len()).unwrap_or_default());
        self.small.extend(table);
        for (piece, length) in pieces.into_iter().zip(lengths) {
            let even = even(*length).ok_or_else(|| Error::TooLong(path.clone()))?;
            put_item(&mut self.small, LAYOUT, even);
            self.pass(vec![piece]);
            if u64::from(even) > *length {
                self.small.push(0);
            }
        }
        put_sequence_end(&mut self.small, LAYOUT);
        Ok(())
    }

    fn pass(&mut self, pieces: Vec<Piece>) {
        self.flush();
        self.pieces.extend(pieces.into_iter().filter(|piece| match piece {
            Piece::Bytes(bytes) => !bytes.is_empty(),
            Piece::Bulk(range) => !range.is_empty(),
        }));
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(Piece::Bytes(std::mem::take(&mut self.small).into()));
        }
    }
}

/// One part for all, where nothing has to be known about its frames, or one for each.
fn check_frames(pixels: &PixelData, parts: usize) -> Result<(), Error> {
    let whole = match &pixels.form {
        Form::Native => parts == 1,
        Form::Encapsulated(syntax) => parts == 1 && is_video(syntax),
    };
    if whole || parts as u64 == pixels.frames {
        return Ok(());
    }
    Err(Error::FrameCount { frames: pixels.frames, parts })
}

fn is_compressed(part: &Part) -> bool {
    part.media_type.starts_with("image/") || part.media_type.starts_with("video/")
}

/// The length with padding; `None`: there is no such value.
fn even(length: u64) -> Option<u32> {
    u32::try_from(length.next_multiple_of(2)).ok().filter(|even| u64::from(*even) <= MAX_VALUE)
}

/// Where each frame's fragment begins, counted from the first one's item. Empty for a single frame, which needs
/// none, and where an offset has more than 32 bits.
fn offset_table(lengths: &[u64]) -> Option<Vec<u8>> {
    if lengths.len() < 2 {
        return None;
    }
    let mut table = Vec::with_capacity(4 * lengths.len());
    let mut offset = 0_u64;
    for length in lengths {
        table.extend(u32::try_from(offset).ok()?.to_le_bytes());
        offset += 8 + length.next_multiple_of(2);
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_an_even_length_below_the_undefined_one() {
        assert_eq!((even(0), even(3), even(MAX_VALUE)), (Some(0), Some(4), Some(0xFFFF_FFFE)));
        assert_eq!((even(MAX_VALUE + 1), even(1 << 32)), (None, None));
        assert_eq!(offset_table(&[u64::from(u32::MAX), 2, 2]), None, "offsets beyond 32 bits");
    }
}
