//! The pixels of one frame, out of their compressed form and into it (PS3.5 8.2, Annex A.4).
//!
//! What comes out stands for native Pixel Data in Explicit VR Little Endian: colour by pixel, signs extended to the
//! whole cell. Colours are not transformed, but for JPEG 2000 and JPEG XL, whose transformations are part of the format:
//! what a codestream of JPEG holds as luminance and chrominances is YBR_FULL, at full resolution. `docs/codecs.md` says which
//! code decodes what, and how it compares.
//!
//! It is foreign bytes all the way: each codestream's own header is held against the data set before anything is
//! allocated by it, and a panic of a library is a refusal.

mod cost;
mod jpeg;
mod jpeg2000;
mod jpegls;
mod jpegxl;
mod refusal;
mod rle;
mod samples;
mod shapes;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::cost::{decoding_cost, encoding_cost};
pub use self::refusal::Refusal;
pub use self::shapes::{decoded_shape, encoded_shape, encodes};
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{Codec, codec};
use crate::image::pixels::{Frame, Photometric, Shape};

/// RLE Lossless.
const RLE: &str = "1.2.840.10008.1.2.5";
/// JPEG Baseline (Process 1).
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// The processes of JPEG that are decoded.
const JPEG: [&str; 6] = [
    JPEG_BASELINE,
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.55",
    "1.2.840.10008.1.2.4.57",
    JPEG_LOSSLESS_SV1,
];
/// JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1).
const JPEG_LOSSLESS_SV1: &str = "1.2.840.10008.1.2.4.70";
/// JPEG-LS Lossless.
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// JPEG 2000 (Lossless Only).
const JPEG_2000_LOSSLESS: &str = "1.2.840.10008.1.2.4.90";
/// High-Throughput JPEG 2000 (Lossless Only).
const HTJ2K_LOSSLESS: &str = "1.2.840.10008.1.2.4.201";

/// Most bytes of a native frame: more than any single image has that is not tiled, and what one request may cost.
pub const LONGEST_FRAME: u64 = 1 << 30;

/// A frame that was compressed, and what its data set must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The frame's codestream, without padding to even length.
    pub bytes: Vec<u8>,
    /// What describes it now; as the frame's own, but for Photometric Interpretation and Planar Configuration.
    pub shape: Shape,
}

/// Decodes one frame. `codestream`: its fragments, joined, maybe with a padding byte. `shape`: what the data set says.
/// The frame's own shape is what the data set must say with it.
///
/// It costs CPU, and several times the frame's memory: not for a thread that others wait for.
///
/// # Errors
///
/// See [`Refusal`]. Nothing is made up: a codestream that breaks off is damaged, even where some rows are whole.
pub fn decode(syntax: &Uid, codestream: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    checked(shape)?;
    // No codec turns a part of the range into all of it, which is what the frame would be said to have.
    if matches!(shape.photometric, Photometric::YbrPartial422 | Photometric::YbrPartial420) {
        return Err(Refusal::unsupported(format!("codestreams that are {}", shape.photometric)));
    }
    let frame = isolated(|| match codec(syntax) {
        Codec::Rle => rle::decode(codestream, shape),
        Codec::Jpeg => jpeg::decode(codestream, shape),
        Codec::JpegLs => jpegls::decode(codestream, shape),
        Codec::Jpeg2000 | Codec::Htj2k => jpeg2000::decode(codestream, shape),
        Codec::JpegXl => jpegxl::decode(codestream, shape),
        _ => Err(Refusal::unsupported(format!("decoding the transfer syntax {}", syntax.as_str()))),
    })?;
    whole(frame)
}

/// Whether frames of this transfer syntax are decoded here, all that is usual of it.
pub fn can_decode(syntax: &Uid) -> bool {
    match codec(syntax) {
        Codec::Rle | Codec::JpegLs | Codec::Jpeg2000 | Codec::Htj2k | Codec::JpegXl => true,
        // Baseline, extended, progressive and lossless; of the retired processes those with Huffman codes.
        Codec::Jpeg => JPEG.contains(&syntax.as_str()),
        _ => false,
    }
}

/// Encodes one frame: without loss, or, to JPEG Baseline, with little.
///
/// # Errors
///
/// A syntax that is not written here, or not for such pixels: where [`can_encode`] says no.
pub fn encode(syntax: &Uid, frame: &Frame) -> Result<Encoded, Refusal> {
    if !can_encode(syntax, &frame.shape) {
        checked(&frame.shape)?;
        return Err(Refusal::unsupported(format!("encoding such pixels to {}", syntax.as_str())));
    }
    isolated(|| {
        let bytes = match syntax.as_str() {
            RLE => rle::encode(frame)?,
            JPEG_LS => jpegls::encode(frame)?,
            JPEG_LOSSLESS_SV1 => jpeg::encode_lossless(frame)?,
            JPEG_2000_LOSSLESS => jpeg2000::encode(frame, jpeg2000::Coder::BitPlanes)?,
            HTJ2K_LOSSLESS => jpeg2000::encode(frame, jpeg2000::Coder::HighThroughput)?,
            _ => jpeg::encode_baseline(frame)?,
        };
        Ok(Encoded { bytes, shape: encoded_shape(syntax, &frame.shape) })
    })
}

/// Whether frames of this shape can be encoded to the syntax.
pub fn can_encode(syntax: &Uid, shape: &Shape) -> bool {
    if checked(shape).is_err() || shape.photometric.is_subsampled() {
        return false;
    }
    let (bits, samples) = (shape.bits_allocated, shape.samples);
    match syntax.as_str() {
        // Whether single bits are packed in RLE, the standard does not say.
        RLE => bits >= 8 && samples * (bits / 8) <= 15,
        JPEG_LS | JPEG_LOSSLESS_SV1 | JPEG_2000_LOSSLESS | HTJ2K_LOSSLESS => {
            let is_2000 = matches!(codec(syntax), Codec::Jpeg2000 | Codec::Htj2k);
            matches!(bits, 8 | 16)
                && matches!(samples, 1 | 3)
                && (shape.bits_stored > 1 || !shape.signed)
                && (!is_2000 || jpeg2000::can_encode(shape))
        }
        JPEG_BASELINE => jpeg::can_encode_baseline(shape),
        _ => false,
    }
}

/// A shape that pixels can have, and whose frame is not too long.
fn checked(shape: &Shape) -> Result<(), Refusal> {
    let Shape { rows, columns, samples, bits_allocated, bits_stored, .. } = *shape;
    if rows == 0 || columns == 0 || !(1..=4).contains(&samples) {
        return Err(Refusal::disagrees(format!(
            "an image of {columns} × {rows} pixels with {samples} samples"
        )));
    }
    if !matches!(bits_allocated, 1 | 8 | 16 | 32 | 64) || !(1..=bits_allocated).contains(&bits_stored) {
        return Err(Refusal::unsupported(format!("{bits_stored} bits stored of {bits_allocated}")));
    }
    let bytes = shape.pixels() as u64 * u64::from(samples) * u64::from(bits_allocated.div_ceil(8));
    if bytes > LONGEST_FRAME {
        return Err(Refusal::TooLarge(format!("a frame of {bytes} bytes").into()));
    }
    Ok(())
}

/// A frame of as many bytes as its shape promises: whoever takes it counts on that, and no codec is trusted with it.
fn whole(frame: Frame) -> Result<Frame, Refusal> {
    if frame.bytes.len() as u64 == frame.shape.frame_length() { Ok(frame) } else { Err(Refusal::Failed) }
}

/// Runs a codec so that a panic of it ends here. It is the one place where that is done: libraries parse what came
/// over a network, and not each of them is known to take everything.
fn isolated<T>(codec: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    // Nothing outlives the closure but its result, so that nothing half done is seen.
    catch_unwind(AssertUnwindSafe(codec)).unwrap_or(Err(Refusal::Failed))
}

#[cfg(test)]
pub(in crate::image) mod testing {
    //! What the codecs' tests have in common.

    use crate::image::pixels::{Photometric, Shape};

    use proptest::prelude::*;

    use crate::image::pixels::Frame;

    /// Frames of every kind that is colour by pixel, in 8 and 16 bits, with at least so many bits stored.
    pub(in crate::image) fn frames(least: u16) -> impl Strategy<Value = Frame> {
        let sizes = (1..20_u16, 1..40_u16, prop_oneof![Just(1), Just(3)]);
        let bits = (prop_oneof![Just(8), Just(16)], least..=16_u16, any::<bool>());
        (sizes, bits, 0..4_u32, any::<u64>()).prop_map(
            |((rows, columns, samples), (cell, stored, signed), kind, seed)| {
                let photometric = if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 };
                let stored = stored.min(cell);
                let shape = Shape { rows, columns, samples, signed, photometric, ..shape(cell, stored) };
                let mut random = seed | 1;
                let bytes = (0..shape.pixels() * usize::from(samples)).flat_map(|n| {
                    random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let value = match kind {
                        // Noise, slopes, flat places, and both ends of the range.
                        0 => random >> 40,
                        1 => (n / usize::from(samples)) as u64 + (random >> 62),
                        2 => u64::from(n % 50 > 40),
                        _ => 0_u64.wrapping_sub(random >> 63),
                    };
                    let shift = 64 - u32::from(stored);
                    let value = value << shift;
                    let value = if signed { (value as i64 >> shift) as u64 } else { value >> shift };
                    value.to_le_bytes().into_iter().take(usize::from(cell / 8))
                });
                Frame { shape, bytes: bytes.collect() }
            },
        )
    }

    /// Grey and unsigned, 4 rows of 4.
    pub(in crate::image) fn shape(bits_allocated: u16, bits_stored: u16) -> Shape {
        Shape {
            rows: 4,
            columns: 4,
            samples: 1,
            bits_allocated,
            bits_stored,
            high_bit: bits_stored - 1,
            signed: false,
            photometric: Photometric::Monochrome2,
            planar: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::shape;
    use super::*;

    #[test]
    fn a_frame_that_is_not_as_long_as_its_shape_says_is_a_failure() {
        for (length, is_whole) in [(16, true), (15, false), (17, false), (0, false)] {
            let frame = Frame { shape: shape(8, 8), bytes: vec![0; length] };
            assert_eq!(whole(frame.clone()), if is_whole { Ok(frame) } else { Err(Refusal::Failed) });
        }
    }

    #[test]
    fn a_panic_of_a_codec_is_a_refusal() {
        let planted: Result<(), Refusal> = isolated(|| std::hint::black_box(None).unwrap());
        assert_eq!(planted, Err(Refusal::Failed));
    }

    fn uid(last: &str) -> Uid {
        format!("1.2.840.10008.1.2.{last}").parse().unwrap()
    }

    #[test]
    fn hazard_a_palette_stays_one() {
        let shape = Shape { photometric: Photometric::PaletteColor, ..shape(8, 8) };
        let frame = Frame { shape, bytes: (0..16).collect() };
        for syntax in ["5", "4.70", "4.80"].map(uid) {
            let encoded = encode(&syntax, &frame).unwrap();
            assert_eq!(encoded.shape, shape);
            assert_eq!(decode(&syntax, &encoded.bytes, &encoded.shape), Ok(frame.clone()));
        }
        // Between two indices lies no colour between.
        assert!(!can_encode(&uid("4.50"), &shape));
    }

    #[test]
    fn hazard_twelve_bits_are_not_cut_to_eight() {
        let shape = shape(16, 12);
        assert!(!can_encode(&uid("4.50"), &shape));
        let frame = Frame { shape, bytes: [0xFF, 0x0F].repeat(16) };
        assert!(matches!(encode(&uid("4.50"), &frame), Err(Refusal::Unsupported(_))));
        let encoded = encode(&uid("4.70"), &frame).unwrap();
        let eight = Shape { bits_allocated: 8, bits_stored: 8, high_bit: 7, ..shape };
        assert!(matches!(decode(&uid("4.70"), &encoded.bytes, &eight), Err(Refusal::Disagrees(_))));
    }

    #[test]
    fn colours_of_baseline_lose_little() {
        let shape = Shape { rows: 16, columns: 16, samples: 3, photometric: Photometric::Rgb, ..shape(8, 8) };
        let frame = Frame { shape, bytes: [200, 100, 50].repeat(256) };
        let encoded = encode(&uid("4.50"), &frame).unwrap();
        assert_eq!(encoded.shape.photometric, Photometric::YbrFull422);
        let decoded = decode(&uid("4.50"), &encoded.bytes, &encoded.shape).unwrap();
        assert_eq!(decoded.shape.photometric, Photometric::YbrFull);
        // Y, CB and CR of that colour (PS3.3 C.7.6.3.1.2).
        let expected = [124, 86, 182].repeat(256);
        assert!(decoded.bytes.iter().zip(&expected).all(|(ours, theirs)| ours.abs_diff(*theirs) <= 2));
    }

    /// Codestreams of three lines, made one of six with a restart between: the lines are the same, so their codes are.
    #[test]
    fn restarts_begin_anew() {
        let of = |rows: u16| {
            let shape =
                Shape { rows, columns: 7, samples: 3, photometric: Photometric::Rgb, ..shape(16, 12) };
            let once: Vec<u8> =
                (0..63_u32).flat_map(|n| [((n * n * 37) >> 3) as u8, (n % 16) as u8]).collect();
            Frame { shape, bytes: once.repeat(usize::from(rows) / 3) }
        };
        for (syntax, interval) in [("4.70", 21_u16), ("4.80", 3)] {
            let three = encode(&uid(syntax), &of(3)).unwrap().bytes;
            let scan = three.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
            let (codes, end) = three[scan + 14..].split_at(three.len() - scan - 16);
            let [i0, i1] = interval.to_be_bytes();
            let mut six = three[..scan].to_vec();
            let rows = six.windows(3).position(|bytes| bytes == [12, 0, 3]).unwrap();
            six[rows + 2] = 6;
            six.extend([0xFF, 0xDD, 0, 4, i0, i1]);
            six.extend(&three[scan..scan + 14]);
            six.extend([codes, &[0xFF, 0xD0], codes, end].concat());
            assert_eq!(decode(&uid(syntax), &six, &of(6).shape).unwrap(), of(6), "{syntax}");
            let unmarked = [&six[..six.len() - 4 - codes.len()], codes, end].concat();
            assert!(decode(&uid(syntax), &unmarked, &of(6).shape).is_err(), "{syntax}");
        }
    }

    #[test]
    fn hazard_a_part_of_the_range_is_not_said_to_be_all_of_it() {
        let shape = Shape { samples: 3, photometric: Photometric::Rgb, ..shape(8, 8) };
        let frame = Frame { shape, bytes: vec![16; 48] };
        for syntax in ["5", "4.50", "4.80"].map(uid) {
            let encoded = encode(&syntax, &frame).unwrap();
            assert!(decode(&syntax, &encoded.bytes, &encoded.shape).is_ok());
            for photometric in [Photometric::YbrPartial422, Photometric::YbrPartial420] {
                let partial = Shape { photometric, ..shape };
                let refused = decode(&syntax, &encoded.bytes, &partial);
                assert!(matches!(refused, Err(Refusal::Unsupported(_))), "{refused:?}");
            }
        }
    }

    #[test]
    fn hazard_units_of_several_samples_are_not_read_as_one_of_each_component() {
        let shape = Shape { samples: 3, photometric: Photometric::Rgb, ..shape(8, 8) };
        let frame = Frame { shape, bytes: (0..48).collect() };
        let grey = Frame { shape: testing::shape(8, 8), bytes: (0..16).collect() };
        for (syntax, marker) in [("4.70", 0xC3), ("4.80", 0xF7)] {
            let with_factors = |frame: &Frame| {
                let mut bytes = encode(&uid(syntax), frame).unwrap().bytes;
                let at = bytes.windows(2).position(|pair| pair == [0xFF, marker]).unwrap() + 11;
                (0..usize::from(frame.shape.samples)).for_each(|n| bytes[at + 3 * n] = 0x22);
                decode(&uid(syntax), &bytes, &frame.shape)
            };
            assert!(matches!(with_factors(&frame), Err(Refusal::Unsupported(_))), "{syntax}");
            // Alone, a component is coded sample by sample, whatever its factors are.
            assert_eq!(with_factors(&grey), Ok(grey.clone()), "{syntax}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_anything_is_read() {
        let huge = Shape { rows: 65535, columns: 65535, ..shape(16, 16) };
        assert!(matches!(decode(&uid("5"), &[], &huge), Err(Refusal::TooLarge(_))));
    }
}
