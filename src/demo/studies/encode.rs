//! Headers and pixels into the bytes of a data set.

use bytes::Bytes;

use super::RLE_LOSSLESS;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{Layout, layout};
use crate::dicom::{Uid, VR, tags};

/// The shape of pixel data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixels {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// 1, or 3 for RGB, interleaved.
    pub(super) samples: usize,
    pub(super) frames: usize,
    /// Bits allocated: 8 or 16.
    pub(super) bits: u16,
    /// Bits stored.
    pub(super) stored: u16,
}

impl Pixels {
    /// Adds the Image Pixel attributes (PS3.3 C.7.6.3).
    pub(super) fn describe(&self, object: &mut DataSet) {
        object.set_u16(tags::SAMPLES_PER_PIXEL, self.samples as u16);
        let interpretation = if self.samples == 3 { "RGB" } else { "MONOCHROME2" };
        object.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, interpretation);
        if self.samples == 3 {
            object.set_u16(tags::PLANAR_CONFIGURATION, 0);
        }
        if self.frames > 1 {
            object.set_str(tags::NUMBER_OF_FRAMES, VR::IS, self.frames.to_string());
        }
        object.set_u16(tags::ROWS, self.rows as u16);
        object.set_u16(tags::COLUMNS, self.columns as u16);
        object.set_u16(tags::BITS_ALLOCATED, self.bits);
        object.set_u16(tags::BITS_STORED, self.stored);
        object.set_u16(tags::HIGH_BIT, self.stored - 1);
        object.set_u16(tags::PIXEL_REPRESENTATION, 0);
    }
}

/// The encoded header of an object, its text in the character set given.
pub(super) fn header(object: &DataSet, syntax: &Uid, charset: &Charset) -> Vec<u8> {
    object.encode(layout(syntax), QueryCharset::Forced(charset.clone()))
}

/// The whole data set: `header`, then the pixels (16-bit samples little endian) as the syntax has them.
pub(super) fn encoded(header: &[u8], syntax: &Uid, pixels: &Pixels, mut samples: Vec<u8>) -> Bytes {
    let mut out = Vec::with_capacity(header.len() + samples.len() + 64);
    out.extend_from_slice(header);
    if syntax.as_str() == RLE_LOSSLESS {
        encapsulate(&mut out, &rle(&samples, usize::from(pixels.bits / 8)));
        return out.into();
    }
    if samples.len() % 2 == 1 {
        samples.push(0);
    }
    let length = u32::try_from(samples.len()).expect("made-up pixels are below 4 GiB");
    match layout(syntax) {
        Layout::ImplicitLe => {
            out.extend_from_slice(&[0xE0, 0x7F, 0x10, 0]);
            out.extend_from_slice(&length.to_le_bytes());
        }
        Layout::ExplicitLe => {
            out.extend_from_slice(&[0xE0, 0x7F, 0x10, 0]);
            out.extend_from_slice(if pixels.bits == 8 { b"OB\0\0" } else { b"OW\0\0" });
            out.extend_from_slice(&length.to_le_bytes());
        }
        Layout::ExplicitBe => {
            out.extend_from_slice(&[0x7F, 0xE0, 0, 0x10]);
            out.extend_from_slice(b"OW\0\0");
            out.extend_from_slice(&length.to_be_bytes());
            samples.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse());
        }
    }
    out.extend_from_slice(&samples);
    out.into()
}

/// One frame as encapsulated pixel data with an empty offset table (PS3.5 A.4).
fn encapsulate(out: &mut Vec<u8>, frame: &[u8]) {
    out.extend_from_slice(&[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
    out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    out.extend_from_slice(frame);
    out.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
}

/// RLE of one grey frame: a segment for each byte of a sample, the high one first (PS3.5 Annex G).
fn rle(samples: &[u8], bytes_per_sample: usize) -> Vec<u8> {
    let segments: Vec<Vec<u8>> = (0..bytes_per_sample)
        .rev()
        .map(|plane| {
            let bytes: Vec<u8> = samples.iter().skip(plane).step_by(bytes_per_sample).copied().collect();
            pack_bits(&bytes)
        })
        .collect();
    let mut out = vec![0; 64];
    out[..4].copy_from_slice(&(segments.len() as u32).to_le_bytes());
    for (n, segment) in segments.iter().enumerate() {
        let offset = out.len() as u32;
        out[4 + 4 * n..8 + 4 * n].copy_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(segment);
    }
    out
}

/// One segment: runs of equal bytes, and stretches of others, of even length.
fn pack_bits(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take(128).take_while(|b| **b == first).count();
        if run > 2 {
            out.extend_from_slice(&[(257 - run) as u8, first]);
            rest = &rest[run..];
            continue;
        }
        let ends = |i: usize| rest.get(i..i + 3).is_some_and(|w| w[0] == w[1] && w[1] == w[2]);
        let literal = (1..rest.len().min(128)).find(|i| ends(*i)).unwrap_or(rest.len().min(128));
        out.push((literal - 1) as u8);
        out.extend_from_slice(&rest[..literal]);
        rest = &rest[literal..];
    }
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_unpack_to_what_they_were() {
        let cases: [&[u8]; 4] = [&[], &[1], &[7; 300], &[1, 2, 2, 3, 3, 3, 3, 4, 5, 5]];
        for bytes in cases {
            let packed = pack_bits(bytes);
            let (mut unpacked, mut i) = (Vec::new(), 0);
            while i < packed.len() && unpacked.len() < bytes.len() {
                let n = usize::from(packed[i]);
                if n < 128 {
                    unpacked.extend_from_slice(&packed[i + 1..i + 2 + n]);
                    i += n + 2;
                } else {
                    unpacked.extend(std::iter::repeat_n(packed[i + 1], 257 - n));
                    i += 2;
                }
            }
            assert_eq!(unpacked, bytes);
        }
    }
}
