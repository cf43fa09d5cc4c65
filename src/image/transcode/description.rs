//! The attributes that describe pixels (PS3.3 C.7.6.3.1), from Samples per Pixel to Pixel Representation: read, and
//! written with what has changed.

use bytes::Bytes;

use super::Error;
use crate::dicom::encode::put_header;
use crate::dicom::scan::ElementHeader;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR, tags};
use crate::image::frames::attributes::Attributes;
use crate::image::pixels::Shape;

/// Most bytes of these elements, and of others between them. A dozen numbers is what stands there.
const MAX_HELD: u64 = 64 << 10;

/// The elements, as they came.
#[derive(Debug, Default)]
pub(super) struct Description {
    bytes: Vec<u8>,
    /// Where the bytes stand in the data set.
    begin: u64,
    elements: Vec<ElementHeader>,
}

impl Description {
    /// The next element begins, and all before it is held.
    ///
    /// # Errors
    /// More stands between them than is held; or they do not ascend (PS3.5 7.1), so that one may be there twice.
    pub(super) fn begin(&mut self, header: &ElementHeader) -> Result<(), Error> {
        match self.elements.last() {
            None => self.begin = header.offset,
            Some(last) if last.tag >= header.tag => return Err(Error::Encoding),
            Some(_) => {}
        }
        let end = header.value_offset.saturating_add(header.length.map_or(0, u64::from));
        if end - self.begin > MAX_HELD || header.length.is_none() {
            return Err(Error::TooLong);
        }
        self.elements.push(*header);
        Ok(())
    }

    /// Holds what was walked over.
    pub(super) fn hold(&mut self, pieces: Vec<Bytes>) {
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
    }

    /// What it says: how the pixels of a frame lie, and how many frames there are.
    pub(super) fn read(&self) -> (Option<Shape>, u32) {
        let attributes = self.attributes();
        // What is no number is refused with the pixel data, where the cutter reads it, too.
        (attributes.shape(), attributes.frames().unwrap_or(1))
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new(None);
        for header in &self.elements {
            attributes.element(header);
            attributes.value(self.within(header.value_offset, self.end(header)));
            attributes.element_end();
        }
        attributes
    }

    /// Whether the pixels are described, but for what their colours are.
    pub(super) fn has_unknown_colours(&self) -> bool {
        self.attributes().has_unknown_colours()
    }

    /// The elements with these pixels described in them, in place of those that came.
    pub(super) fn write(&self, stored: Option<Shape>, sent: Option<Shape>) -> Vec<u8> {
        let (Some(stored), Some(sent)) = (stored, sent) else { return self.bytes.clone() };
        let mut changed = changes(&stored, &sent).into_iter().peekable();
        let mut out = Vec::with_capacity(self.bytes.len() + 16);
        for header in &self.elements {
            while let Some((tag, vr, value)) = changed.next_if(|(tag, ..)| *tag < header.tag) {
                put(&mut out, tag, vr, &value);
            }
            match changed.next_if(|(tag, ..)| *tag == header.tag) {
                Some((tag, vr, value)) => put(&mut out, tag, vr, &value),
                None => out.extend_from_slice(self.within(header.offset, self.end(header))),
            }
        }
        changed.for_each(|(tag, vr, value)| put(&mut out, tag, vr, &value));
        out
    }

    fn end(&self, header: &ElementHeader) -> u64 {
        header.value_offset + header.length.map_or(0, u64::from)
    }

    fn within(&self, from: u64, to: u64) -> &[u8] {
        let place = |at: u64| usize::try_from(at - self.begin).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.get(place(from)..place(to)).unwrap_or_default()
    }
}

/// The attributes that differ, ascending.
fn changes(stored: &Shape, sent: &Shape) -> Vec<(Tag, VR, Vec<u8>)> {
    let mut changes = Vec::new();
    if stored.photometric != sent.photometric {
        let mut name = sent.photometric.name().as_bytes().to_vec();
        if name.len() % 2 == 1 {
            name.push(b' ');
        }
        changes.push((tags::PHOTOMETRIC_INTERPRETATION, VR::CS, name));
    }
    let numbers = [
        (tags::PLANAR_CONFIGURATION, u16::from(stored.planar), u16::from(sent.planar)),
        (tags::BITS_ALLOCATED, stored.bits_allocated, sent.bits_allocated),
        (tags::BITS_STORED, stored.bits_stored, sent.bits_stored),
        (tags::HIGH_BIT, stored.high_bit, sent.high_bit),
        (tags::PIXEL_REPRESENTATION, u16::from(stored.signed), u16::from(sent.signed)),
    ];
    let numbers = numbers.into_iter().filter(|(_, stored, sent)| stored != sent);
    changes.extend(numbers.map(|(tag, _, sent)| (tag, VR::US, sent.to_le_bytes().to_vec())));
    changes
}

fn put(out: &mut Vec<u8>, tag: Tag, vr: VR, value: &[u8]) {
    put_header(out, Layout::ExplicitLe, tag, vr, u32::try_from(value.len()).unwrap_or_default());
    out.extend_from_slice(value);
}
