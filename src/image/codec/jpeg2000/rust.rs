//! JPEG 2000 by libraries in Rust: Part 1 by `hayro-jpeg2000`, reversible High Throughput by `dicom-toolkit-jpeg2000`.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::header::Header;
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::Shape;

/// Most bits of a sample: as many as they are exact to.
pub(super) const PRECISION: u32 = 16;

/// The samples of a codestream, colour by pixel.
pub(super) fn decode(codestream: &[u8], header: &Header, _: &Shape) -> Result<Samples, Refusal> {
    // What the codestream is, it says itself.
    if header.high_throughput { part15(codestream, header) } else { part1(codestream, header) }
}

/// The samples of a codestream of Part 1.
fn part1(codestream: &[u8], header: &Header) -> Result<Samples, Refusal> {
    // Strictly, since what is missing would be grey without a word.
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let refused = |error| Refusal::damaged(format!("{error}"));
    let image = Image::new(codestream, &settings).map_err(refused)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(refused)?;
    let components: Vec<&[f32]> = decoded.components().iter().map(|component| component.samples()).collect();
    let greatest = ((1_u32 << header.precision) - 1) as f32;
    // The library moves the range of signed samples up, too: moving it back is turning the first bit over.
    let sign = if header.signed { 1 << (header.precision - 1) } else { 0 };
    // To the nearest integer: in floating point there is no fraction from here on, and the integer is in the lower bits.
    const WHOLE: f32 = (1_u32 << 23) as f32;
    let sample = |value: f32| (value.clamp(0.0, greatest) + WHOLE).to_bits() as u16 ^ sign;
    Ok(if header.precision > 8 {
        Samples::Cells(by_pixel(&components, |value| sample(value).to_le_bytes()))
    } else {
        Samples::Bytes(by_pixel(&components, |value| sample(value) as u8))
    })
}

/// The values of components that are of one size, colour by pixel.
fn by_pixel<T: Copy + Default>(components: &[&[f32]], value: impl Fn(f32) -> T) -> Vec<T> {
    if let [component] = components {
        return component.iter().map(|&from| value(from)).collect();
    }
    let mut values = vec![T::default(); components.iter().map(|component| component.len()).sum()];
    for (place, component) in components.iter().enumerate() {
        for (to, from) in values.iter_mut().skip(place).step_by(components.len()).zip(*component) {
            *to = value(*from);
        }
    }
    values
}

/// The samples of a codestream of Part 15. The library, which is a fork of the other, has pixels of its own making where a
/// codestream is not reversible, off by several levels: those are refused.
fn part15(codestream: &[u8], header: &Header) -> Result<Samples, Refusal> {
    if !header.reversible {
        return Err(Refusal::unsupported("High-Throughput JPEG 2000 that is not reversible"));
    }
    let settings = dicom_toolkit_jpeg2000::DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let refused = |error| Refusal::damaged(format!("{error}"));
    let image = dicom_toolkit_jpeg2000::Image::new(codestream, &settings).map_err(refused)?;
    let decoded = image.decode_native().map_err(refused)?;
    let sign = if header.signed { 1 << (header.precision - 1) } else { 0 };
    let cells = |pair: &[u8; 2]| (u16::from_le_bytes(*pair) ^ sign).to_le_bytes();
    Ok(match decoded.bytes_per_sample {
        1 => Samples::Bytes(decoded.data.into_iter().map(|byte| byte ^ sign as u8).collect()),
        _ => Samples::from_cells(decoded.data.as_chunks().0.iter().map(cells).collect(), header.precision),
    })
}
