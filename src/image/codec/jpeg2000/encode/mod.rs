//! Frames to JPEG 2000 without loss: of Part 1 (ISO/IEC 15444-1), and of High Throughput (ISO/IEC 15444-15).
//!
//! One tile, one layer, one precinct for each resolution, the wavelet of integers, code-blocks of 64 × 64 samples. What
//! is red, green and blue becomes luminance and differences of colours by the transformation of integers (Annex G.2).

mod arithmetic;
mod bit_planes;
mod high_throughput;
mod ht_tables;
mod packets;
mod wavelet;

use self::bit_planes::Band;
use self::packets::BandBlocks;
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// How code-blocks are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image::codec) enum Coder {
    /// Bit-plane after bit-plane (Part 1).
    BitPlanes,
    /// All bit-planes at once (Part 15).
    HighThroughput,
}

/// Decompositions, where there is enough to decompose: what encoders usually do.
const LEVELS: u32 = 5;
/// Width and height of code-blocks, as an exponent.
const BLOCK: u32 = 6;
/// Bits by which a coefficient may have more than a sample, besides those of its band: what the wavelet adds to samples
/// and differences of colours that are as far apart as can be.
const GUARD_BITS: u32 = 3;
/// Most rows or columns: a precinct is not larger, and there is one.
const LONGEST: u16 = 1 << 15;

/// Whether [`encode`] takes pixels of this shape, as far as their number goes.
pub(super) fn can_encode(shape: &Shape) -> bool {
    let samples = shape.pixels() as u64 * u64::from(shape.samples);
    samples <= super::header::SAMPLES && shape.rows <= LONGEST && shape.columns <= LONGEST
}

/// Whether the colours of such frames are transformed.
pub(in crate::image::codec) fn transforms(shape: &Shape) -> bool {
    shape.photometric == Photometric::Rgb && shape.samples == 3
}

/// Encodes a frame.
pub(super) fn encode(frame: &Frame, coder: Coder) -> Result<Vec<u8>, Refusal> {
    let (samples, precision) = Samples::of(frame)?;
    let shape = &frame.shape;
    let (width, height) = (usize::from(shape.columns), usize::from(shape.rows));
    let levels = width.min(height).ilog2().min(LEVELS);
    let mut planes = planes(&samples, precision, shape);
    drop(samples);
    if let ([red, green, blue], true) = (planes.as_mut_slice(), transforms(shape)) {
        to_differences(red, green, blue);
    }
    let mut out = headers(shape, precision, levels, coder);
    let tile = out.len();
    // SOT: the one tile in one part, whose length is written when it is known; SOD.
    out.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0x93]);
    for plane in &mut planes {
        wavelet::forward(plane, width, levels);
    }
    for resolution in 0..=levels {
        for plane in &planes {
            let bands = bands(width, height, levels, resolution);
            let blocks = bands.iter().map(|band| band.blocks(plane, width, precision, coder));
            packets::write(&blocks.collect::<Vec<_>>(), &mut out);
        }
    }
    let length = u32::try_from(out.len() - tile).map_err(|_| Refusal::Failed)?;
    out[tile + 6..tile + 10].copy_from_slice(&length.to_be_bytes());
    // EOC.
    out.extend([0xFF, 0xD9]);
    Ok(out)
}

/// A plane for each component, around zero.
fn planes(samples: &[u16], precision: u32, shape: &Shape) -> Vec<Vec<i32>> {
    let unused = u32::BITS - precision;
    let level = if shape.signed { 0 } else { 1 << (precision - 1) };
    let sample = |sample: &u16| {
        if shape.signed { (i32::from(*sample) << unused) >> unused } else { i32::from(*sample) - level }
    };
    let count = usize::from(shape.samples);
    (0..count).map(|place| samples.iter().skip(place).step_by(count).map(sample).collect()).collect()
}

/// The reversible transformation of colours (G.2.1).
fn to_differences(red: &mut [i32], green: &mut [i32], blue: &mut [i32]) {
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let luminance = (*red + 2 * *green + *blue) >> 2;
        (*red, *green, *blue) = (luminance, *blue - *green, *red - *green);
    }
}

/// A band of one component, where it lies once the wavelet has been through.
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    band: Band,
    /// Bits that its coefficients have more than samples, by the wavelet's gain (Table E.1).
    gain: u32,
}

impl Place {
    /// Codes each of its code-blocks.
    fn blocks(&self, plane: &[i32], pitch: usize, precision: u32, coder: Coder) -> BandBlocks {
        let side = 1 << BLOCK;
        let mut blocks = Vec::new();
        let mut samples = Vec::new();
        for top in (0..self.height).step_by(side) {
            for left in (0..self.width).step_by(side) {
                let width = side.min(self.width - left);
                let height = side.min(self.height - top);
                samples.clear();
                for row in top..top + height {
                    let at = (self.top + row) * pitch + self.left + left;
                    samples.extend_from_slice(&plane[at..at + width]);
                }
                let planes = bit_planes_of(precision, self.gain);
                blocks.push(match coder {
                    Coder::BitPlanes => bit_planes::encode(&samples, width, self.band, planes),
                    Coder::HighThroughput => high_throughput::encode(&samples, width, planes),
                });
            }
        }
        BandBlocks { across: self.width.div_ceil(side), blocks }
    }
}

/// How many bit-planes a band has (E.2).
fn bit_planes_of(precision: u32, gain: u32) -> u32 {
    GUARD_BITS + precision + gain - 1
}

/// The bands of a resolution.
fn bands(width: usize, height: usize, levels: u32, resolution: u32) -> Vec<Place> {
    let size = |level: u32| (width.div_ceil(1 << level), height.div_ceil(1 << level));
    let level = levels - resolution;
    let (across, down) = size(level);
    if resolution == 0 {
        return vec![Place {
            left: 0,
            top: 0,
            width: across,
            height: down,
            band: Band::LowOrVertical,
            gain: 0,
        }];
    }
    let (left, top) = size(level + 1);
    let (width, height) = (across - left, down - top);
    vec![
        Place { left, top: 0, width, height: top, band: Band::Horizontal, gain: 1 },
        Place { left: 0, top, width: left, height, band: Band::LowOrVertical, gain: 1 },
        Place { left, top, width, height, band: Band::Diagonal, gain: 2 },
    ]
}

/// The main header (Annex A).
fn headers(shape: &Shape, precision: u32, levels: u32, coder: Coder) -> Vec<u8> {
    let high_throughput = coder == Coder::HighThroughput;
    let mut out = vec![0xFF, 0x4F];
    let mut segment = |marker: u8, parameters: &[u8]| {
        out.extend([0xFF, marker]);
        out.extend((parameters.len() as u16 + 2).to_be_bytes());
        out.extend_from_slice(parameters);
    };
    // SIZ: what it takes to decode it, then the image and its one tile, from the origin on.
    let [columns, rows] = [shape.columns, shape.rows].map(|size| u32::from(size).to_be_bytes());
    let mut size = vec![if high_throughput { 0x40 } else { 0 }, 0];
    for pair in [[columns, rows], [[0; 4]; 2], [columns, rows], [[0; 4]; 2]] {
        size.extend(pair.concat());
    }
    size.extend(shape.samples.to_be_bytes());
    let depth = (precision - 1) as u8 | if shape.signed { 0x80 } else { 0 };
    (0..shape.samples).for_each(|_| size.extend([depth, 1, 1]));
    segment(0x51, &size);
    if high_throughput {
        // CAP: of Part 15, reversible, all blocks of high throughput, and a bound of their magnitudes (Part 15, A.3).
        let bits = bit_planes_of(precision, if levels > 0 { 2 } else { 0 });
        segment(0x50, &[0, 2, 0, 0, 0, bits.saturating_sub(8) as u8]);
    }
    // COD: by resolution, one layer, the wavelet of integers.
    let colours = u8::from(transforms(shape));
    let block = (BLOCK - 2) as u8;
    let style = if high_throughput { 0x40 } else { 0 };
    segment(0x52, &[0, 2, 0, 1, colours, levels as u8, block, block, style, 1]);
    // QCD: no quantization; an exponent for each band, from the lowest on.
    let mut exponents = vec![(GUARD_BITS << 5) as u8];
    for resolution in 0..=levels {
        let gains: &[u32] = if resolution == 0 { &[0] } else { &[1, 1, 2] };
        exponents.extend(gains.iter().map(|gain| ((precision + gain) << 3) as u8));
    }
    segment(0x5C, &exponents);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::image::codec::testing::{frames, shape};
    use crate::image::codec::{can_encode, decode, encode};
    use crate::image::pixels::Shape;

    #[test]
    fn what_is_larger_than_a_precinct_or_than_is_decoded_is_not_encoded() {
        for syntax in ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"] {
            let syntax = syntax.parse().unwrap();
            for (rows, columns, can) in [(32768, 2048, true), (32768, 2049, false), (1, 32769, false)] {
                assert_eq!(can_encode(&syntax, &Shape { rows, columns, ..shape(16, 12) }), can);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(frame in frames(2)) {
            for syntax in ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"] {
                let syntax = syntax.parse().unwrap();
                let encoded = encode(&syntax, &frame).unwrap();
                prop_assert_eq!(decode(&syntax, &encoded.bytes, &encoded.shape).unwrap(), frame.clone());
            }
        }
    }
}
