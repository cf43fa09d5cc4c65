//! JPEG 2000 of both parts by OpenJPEG, which is C: with the feature `openjpeg`, in the place of the libraries in Rust.

use jpeg2k::{DecodeParameters, Image};

use super::header::Header;
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::Shape;

/// Most bits of a sample: with those that wavelet and colours add, its coefficients have 31.
pub(super) const PRECISION: u32 = 24;

/// The samples of a codestream, colour by pixel. `header`, `shape`: what was found to agree with the codestream.
pub(super) fn decode(codestream: &[u8], header: &Header, shape: &Shape) -> Result<Samples, Refusal> {
    // Strictly, since what is missing would be grey without a word.
    let parameters = DecodeParameters::new().strict(true);
    let image = Image::from_bytes_with(codestream, parameters)
        .map_err(|error| Refusal::damaged(format!("OpenJPEG: {error}")))?;
    let components = image.components();
    let (count, pixels) = (usize::from(shape.samples), shape.pixels());
    let size = (u32::from(shape.columns), u32::from(shape.rows));
    if components.len() != count || components.iter().any(|each| (each.width(), each.height()) != size) {
        return Err(Refusal::Failed);
    }
    let mask = u32::MAX >> (u32::BITS - header.precision);
    let planes: Vec<&[i32]> = components.iter().map(|component| component.data()).collect();
    Ok(match header.precision {
        0..=8 => Samples::Bytes(by_pixel(&planes, pixels, |sample| (sample as u32 & mask) as u8)),
        9..=16 => Samples::Words(by_pixel(&planes, pixels, |sample| (sample as u32 & mask) as u16)),
        _ => Samples::Longs(by_pixel(&planes, pixels, |sample| sample as u32 & mask)),
    })
}

fn by_pixel<T: Copy + Default>(planes: &[&[i32]], pixels: usize, sample: impl Fn(i32) -> T) -> Vec<T> {
    if let [plane] = planes {
        return plane.iter().map(|value| sample(*value)).collect();
    }
    let mut samples = vec![T::default(); pixels * planes.len()];
    for (place, plane) in planes.iter().enumerate() {
        for (to, from) in samples.iter_mut().skip(place).step_by(planes.len()).zip(*plane) {
            *to = sample(*from);
        }
    }
    samples
}
