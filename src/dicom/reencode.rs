//! Objects from one native encoding to another, piece by piece and in constant memory (PS3.5 A.1 to A.3): to
//! Explicit VR Little Endian for the web, which allows neither Implicit VR nor Big Endian (PS3.18 8.7.3), and to
//! what an archive takes.

use bytes::Bytes;

use super::byte_order::{Swapper, cell};
use super::dictionary::{is_group_length, is_us_or_ss};
use super::encode::{
    padding, put_header, put_item, put_item_end, put_sequence_end, put_undefined, put_undefined_item,
};
use super::scan::{Content, ElementHeader, Error, Event, Scanner};
use super::transfer_syntax::Layout;
use super::{Tag, VR, tags};

/// Pieces of values up to this length, in bytes, are copied next to the headers around them; longer ones pass
/// as they are. Shorter pieces cost more to hand on than to copy.
const COPIED: usize = 4096;

const ITEM: Tag = Tag(0xFFFE, 0xE000);

/// A re-encoding in progress.
///
/// Values stay what they are, byte by byte but for their order. VRs come from the dictionary where the source
/// has none; `US or SS` goes by the Pixel Representation (0028,0103) of the same data set, or of those around
/// it. What has no VR to be known is UN; so is a value that is too long for the length field of its VR (PS3.5
/// 6.2.2). Sequences and items get undefined length, as their lengths change. Group lengths are dropped, for
/// the same reason. Odd lengths are padded. To Implicit VR, the VRs are lost; the dictionary's are what a reader
/// will take them for.
#[derive(Debug)]
pub struct Reencoder {
    to: Layout,
    scanner: Scanner,
    open: Vec<Open>,
    /// Pixel Representation is 1: for the data set, and for each item that is open.
    signed: Vec<bool>,
    /// Bits Allocated of the data set itself, once it has come from big endian.
    bits: u16,
    out: Out,
}

#[derive(Debug)]
enum Open {
    /// A sequence, or fragments; whether a delimiter ends it.
    Sequence { delimited: bool },
    /// A value, or a fragment.
    Value(OpenValue),
    /// A value that is left out.
    Dropped,
}

#[derive(Debug)]
struct OpenValue {
    tag: Tag,
    swapper: Swapper,
    /// What makes its length even.
    padding: Option<u8>,
}

impl Reencoder {
    /// A re-encoding of a data set from this layout to Explicit VR Little Endian; no preamble, no group 0002.
    pub fn new(from: Layout) -> Self {
        Self::little_endian(from, true)
    }

    /// The same to Implicit VR Little Endian.
    pub fn to_implicit(from: Layout) -> Self {
        Self::little_endian(from, false)
    }

    fn little_endian(from: Layout, explicit: bool) -> Self {
        let to = if explicit { Layout::ExplicitLe } else { Layout::ImplicitLe };
        Self {
            to,
            scanner: Scanner::new(from),
            open: Vec::new(),
            signed: vec![false],
            bits: 0,
            out: Out::default(),
        }
    }

    /// Takes the next bytes and returns what can be told so far of the re-encoded data set.
    ///
    /// # Errors
    /// When the structure of the source cannot be followed.
    pub fn push(&mut self, bytes: Bytes) -> Result<Vec<Bytes>, Error> {
        self.scanner.push(bytes);
        while let Some(event) = self.scanner.next()? {
            self.step(event);
        }
        Ok(self.out.take())
    }

    /// Says that no more bytes come, and returns the rest.
    ///
    /// # Errors
    /// When the source broke off before its end.
    pub fn finish(mut self) -> Result<Vec<Bytes>, Error> {
        self.scanner.finish()?;
        Ok(self.out.take())
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Element(header) => self.element(&header),
            Event::Value(piece) => self.value(piece),
            Event::Item(_) => {
                self.signed.push(self.is_signed());
                put_undefined_item(&mut self.out.small, self.to);
            }
            Event::ItemEnd => {
                self.signed.pop();
                put_item_end(&mut self.out.small, self.to);
            }
            Event::Fragment(header) => {
                let length = header.length.unwrap_or_default();
                put_item(&mut self.out.small, self.to, length.next_multiple_of(2));
                self.open_value(ITEM, VR::OB, length, self.to);
            }
            Event::ElementEnd | Event::FragmentEnd => self.end(),
        }
    }

    fn element(&mut self, header: &ElementHeader) {
        let tag = header.tag;
        match (header.content, header.length) {
            (Content::Value, length) => {
                if is_group_length(tag) {
                    self.open.push(Open::Dropped);
                    return;
                }
                let length = length.unwrap_or_default();
                let implicit = header.layout == Layout::ImplicitLe;
                let vr = if implicit && is_us_or_ss(tag) && self.is_signed() { VR::SS } else { header.vr };
                put_header(&mut self.out.small, self.to, tag, vr, length.next_multiple_of(2));
                self.open_value(tag, vr, length, header.layout);
            }
            (Content::Items, Some(0)) => {
                put_header(&mut self.out.small, self.to, tag, VR::SQ, 0);
                self.open.push(Open::Sequence { delimited: false });
            }
            (Content::Items, _) => {
                put_undefined(&mut self.out.small, self.to, tag, VR::SQ);
                self.open.push(Open::Sequence { delimited: true });
            }
            (Content::Fragments, _) => {
                put_undefined(&mut self.out.small, self.to, tag, VR::OB);
                self.open.push(Open::Sequence { delimited: true });
            }
        }
    }

    fn open_value(&mut self, tag: Tag, vr: VR, length: u32, layout: Layout) {
        let big_endian = layout == Layout::ExplicitBe;
        let of_pixels = tag == tags::PIXEL_DATA && self.signed.len() == 1;
        let swapper = Swapper::new(match big_endian {
            true if of_pixels => cell(vr, self.bits),
            true => vr,
            false => VR::UN,
        });
        let padding = (length % 2 == 1).then_some(padding(vr));
        self.open.push(Open::Value(OpenValue { tag, swapper, padding }));
    }

    fn value(&mut self, piece: Bytes) {
        let Some(Open::Value(value)) = self.open.last_mut() else { return };
        if value.tag == tags::PIXEL_REPRESENTATION
            && let Some(signed) = self.signed.last_mut()
        {
            // 0 or 1, in either byte order.
            *signed |= piece.iter().any(|&b| b != 0);
        }
        if value.tag == tags::BITS_ALLOCATED && self.signed.len() == 1 {
            self.bits = piece.iter().fold(self.bits, |bits, &byte| bits << 8 | u16::from(byte));
        }
        if value.swapper.is_idle() {
            self.out.pass(piece);
        } else {
            value.swapper.push(&piece, &mut self.out.small);
        }
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Open::Value(mut value)) => {
                value.swapper.finish(&mut self.out.small);
                self.out.small.extend(value.padding);
            }
            Some(Open::Sequence { delimited: true }) => put_sequence_end(&mut self.out.small, self.to),
            Some(Open::Sequence { delimited: false } | Open::Dropped) | None => {}
        }
    }

    fn is_signed(&self) -> bool {
        self.signed.last().copied().unwrap_or_default()
    }
}

/// What was written: headers and short values gathered, long pieces as they came.
#[derive(Debug, Default)]
pub(super) struct Out {
    done: Vec<Bytes>,
    /// Headers and short values behind what is done.
    pub(super) small: Vec<u8>,
}

impl Out {
    /// Writes a piece of a value.
    pub(super) fn pass(&mut self, piece: Bytes) {
        if piece.len() <= COPIED {
            self.small.extend_from_slice(&piece);
        } else {
            self.flush();
            self.done.push(piece);
        }
    }

    /// What was written.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        std::mem::take(&mut self.done)
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.done.push(std::mem::take(&mut self.small).into());
        }
    }
}

#[cfg(test)]
mod tests;
