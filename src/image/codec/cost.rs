//! How much memory a codec takes for a frame while it works, beside what goes in and what comes out.
//!
//! Factors were measured with an allocator that counts, on smooth images of 512 × 512 and 1024 × 1024 pixels: 8, 12 and 16 bits
//! of grey, and 8 bits of colour; what was measured stands beside each. Those of our own decoders are what their code holds. A codestream that is made to be costly can take
//! more, up to the bounds in `docs/codecs.md`. What libraries in C hold was not measured; it is taken to be as much.

use super::{JPEG_BASELINE, RLE, jpegxl};
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{Codec, codec};
use crate::image::pixels::Shape;

/// Tables and contexts, however small the frame is. Measured: up to 40 KiB.
const TABLES: u64 = 64 << 10;

/// Bytes that decoding a frame of this shape takes at its peak, beside the codestream and the frame that comes out; of
/// native frames none.
///
/// | Format | Bytes of a sample | Counted |
/// |---|---|---|
/// | RLE | by its code, a plane | 1 |
/// | JPEG: sequential; progressive; 12 bits and lossless | 0.2; 2.1; by its code, the codestream, and 2 where cells are not of 16 bits | 2 and the native frame |
/// | JPEG-LS | by its code, 2 | 2 |
/// | JPEG 2000, HTJ2K | 8.1 to 14.3; 9.7 to 13.2 | 16 |
/// | JPEG XL | 7 to 36 | what the library is allowed, and 6 |
pub fn decoding_cost(syntax: &Uid, shape: &Shape) -> u64 {
    let samples = samples(shape);
    match codec(syntax) {
        Codec::Rle => samples + TABLES,
        // A copy of the codestream, which is seldom longer than the frame.
        Codec::Jpeg => 2 * samples + native(shape) + TABLES,
        Codec::JpegLs => 2 * samples + TABLES,
        Codec::Jpeg2000 | Codec::Htj2k => 16 * samples + TABLES,
        // Its values in floating point, and as numbers.
        Codec::JpegXl => jpegxl::allowance(samples) + 6 * samples,
        _ => 0,
    }
}

/// Bytes that encoding a frame of this shape takes at its peak, beside the frame and the codestream that comes out.
///
/// Most of it is a buffer that doubles as it grows. Measured: RLE 1.3 to 3 times the native
/// frame; JPEG Lossless, JPEG-LS and JPEG Baseline 4.0 to 5.5, 2.9 to 5.6, and 3.0 bytes of a sample; JPEG 2000 and
/// HTJ2K 5.6 to 7.9.
pub fn encoding_cost(syntax: &Uid, shape: &Shape) -> u64 {
    let (samples, native) = (samples(shape), native(shape));
    match (codec(syntax), syntax.as_str()) {
        (_, RLE) => 3 * native + samples + TABLES,
        (_, JPEG_BASELINE) => 4 * samples + TABLES,
        (Codec::Jpeg | Codec::JpegLs, _) => 4 * samples + 2 * native + TABLES,
        // Planes of 4 bytes, the code-blocks of one resolution, and a codestream that grows.
        (Codec::Jpeg2000 | Codec::Htj2k, _) => 4 * samples + 4 * native + TABLES,
        _ => 0,
    }
}

fn samples(shape: &Shape) -> u64 {
    shape.pixels() as u64 * u64::from(shape.samples)
}

/// Bytes of a frame whose samples all have their cells.
fn native(shape: &Shape) -> u64 {
    samples(shape) * u64::from(shape.bits_allocated.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::testing::shape;

    /// Peaks that were measured, of 1024 × 1024 pixels, with what went in and came out taken off.
    #[test]
    fn costs_are_not_below_what_was_measured() {
        let uid = |last: &str| -> Uid { format!("1.2.840.10008.1.2.{last}").parse().unwrap() };
        let of = |bits: u16, samples| Shape { rows: 1024, columns: 1024, samples, ..shape(bits, bits) };
        for (syntax, shape, measured) in [
            ("4.50", of(8, 1), 2_219_434),
            ("4.50", of(8, 3), 3_401_021),
            ("4.51", of(16, 1), 2_097_156),
            ("4.90", of(8, 1), 14_827_715),
            ("4.90", of(8, 3), 25_417_513),
            ("4.201", of(16, 1), 13_760_923),
            ("4.201", of(8, 3), 30_642_153),
            ("4.110", of(16, 1), 9_890_403),
            ("4.112", of(8, 1), 27_721_746),
            ("4.112", of(8, 3), 40_943_086),
        ] {
            let counted = decoding_cost(&uid(syntax), &shape);
            let most = 5 * measured + jpegxl::allowance(0);
            assert!((measured..most).contains(&counted), "{syntax} {shape:?}: {counted}");
        }
        for (syntax, shape, measured) in [
            ("5", of(8, 1), 3_145_032),
            ("5", of(16, 1), 5_233_304),
            ("4.70", of(16, 1), 5_795_639),
            ("4.70", of(8, 3), 12_651_354),
            ("4.80", of(16, 1), 5_821_905),
            ("4.50", of(8, 3), 9_315_863),
            ("4.90", of(8, 1), 5_880_087),
            ("4.90", of(8, 3), 17_594_419),
            ("4.201", of(16, 1), 7_704_993),
        ] {
            let counted = encoding_cost(&uid(syntax), &shape);
            assert!((measured..measured * 5).contains(&counted), "{syntax} {shape:?}: {counted}");
        }
    }

    #[test]
    fn the_cost_of_the_largest_shape_there_can_be_is_a_number() {
        let largest = Shape { rows: u16::MAX, columns: u16::MAX, samples: u16::MAX, ..shape(u16::MAX, 1) };
        for last in ["5", "4.50", "4.70", "4.80", "4.90", "4.110", "1"] {
            let syntax = format!("1.2.840.10008.1.2.{last}").parse().unwrap();
            let _ = (decoding_cost(&syntax, &largest), encoding_cost(&syntax, &largest));
        }
    }
}
