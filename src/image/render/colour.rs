//! Pixels of three samples become red, green and blue of 8 bits (PS3.3 C.7.6.3.1.2).
//!
//! Windows are for grey pixels only: nothing is changed about colours but their range.

use super::Error;
use super::lut::scaled;
use super::picture::{Colours, Picture};
use crate::dicom::tags;
use crate::image::pixels::{Frame, Photometric, Shape};

/// A frame of three samples for each pixel as a picture.
pub(super) fn render(frame: &Frame) -> Result<Picture, Error> {
    let shape = &frame.shape;
    let samples = samples(frame)?;
    let mut pixels = match shape.photometric {
        Photometric::YbrFull422 | Photometric::YbrPartial422 => doubled(&samples, shape),
        _ if shape.planar => interleaved(&samples),
        _ => samples,
    };
    pixels.truncate(shape.pixels() * 3);
    match shape.photometric {
        Photometric::Rgb => {}
        Photometric::YbrFull | Photometric::YbrFull422 => convert(&mut pixels, full_range),
        Photometric::YbrPartial422 => convert(&mut pixels, part_of_range),
        _ => return Err(Error::Attribute(tags::PHOTOMETRIC_INTERPRETATION)),
    }
    Ok(Picture::of(shape, Colours::Rgb, pixels))
}

/// The samples as they come, each in 8 bits.
fn samples(frame: &Frame) -> Result<Vec<u8>, Error> {
    let Shape { bits_allocated, bits_stored, high_bit, .. } = frame.shape;
    // Of more than 16 bits the 16 above.
    let shift = high_bit + 1 - bits_stored.min(16);
    let mask = u16::MAX >> (16 - bits_stored.min(16));
    match bits_allocated {
        8 if bits_stored == 8 => Ok(frame.bytes.clone()),
        8 => Ok(frame.bytes.iter().map(|&cell| scaled(u16::from(cell) >> shift & mask, mask)).collect()),
        16 => {
            let cells = frame.bytes.as_chunks().0.iter();
            Ok(cells.map(|&cell| scaled(u16::from_le_bytes(cell) >> shift & mask, mask)).collect())
        }
        32 => {
            let cells = frame.bytes.as_chunks().0.iter();
            // Only what the mask leaves.
            Ok(cells.map(|&cell| scaled((u32::from_le_bytes(cell) >> shift) as u16 & mask, mask)).collect())
        }
        _ => Err(Error::Attribute(tags::BITS_ALLOCATED)),
    }
}

/// Planes become pixels.
fn interleaved(samples: &[u8]) -> Vec<u8> {
    let plane = samples.len() / 3;
    let (first, rest) = samples.split_at(plane);
    let (second, third) = rest.split_at(plane);
    first.iter().zip(second).zip(third).flat_map(|((&a, &b), &c)| [a, b, c]).collect()
}

/// Y1 Y2 CB CR becomes two pixels. Rows of an odd length end within a pair.
fn doubled(samples: &[u8], shape: &Shape) -> Vec<u8> {
    let pixels = samples.as_chunks().0.iter().flat_map(|&[y1, y2, cb, cr]| [[y1, cb, cr], [y2, cb, cr]]);
    let mut pixels: Vec<[u8; 3]> = pixels.collect();
    // The last pixel of a picture with an odd number of them is half a group.
    if let [.., y1, cb] = samples[..]
        && samples.len() % 4 == 2
        && pixels.len() < shape.pixels()
    {
        pixels.push([y1, cb, 128]);
    }
    pixels.into_flattened()
}

/// Pixels of YBR_FULL as red, green and blue.
pub(in crate::image) fn rgb_of_ybr_full(pixels: &mut [u8]) {
    convert(pixels, full_range);
}

/// Pixels of red, green and blue as YBR_FULL, by the equations of PS3.3 C.7.6.3.1.2.
pub(in crate::image) fn ybr_full_of_rgb(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut().0 {
        let [r, g, b]: [f32; 3] = pixel.map(f32::from);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let (cb, cr) = (
            128.0 - 0.168_736 * r - 0.331_264 * g + 0.5 * b,
            128.0 + 0.5 * r - 0.418_688 * g - 0.081_312 * b,
        );
        *pixel = [y, cb, cr].map(|v| (v + 0.5) as u8);
    }
}

fn convert(pixels: &mut [u8], to_rgb: impl Fn([f32; 3]) -> [f32; 3]) {
    for pixel in pixels.as_chunks_mut().0 {
        let [y, cb, cr]: [u8; 3] = *pixel;
        // Conversions saturate.
        *pixel = to_rgb([y.into(), f32::from(cb) - 128.0, f32::from(cr) - 128.0]).map(|v| (v + 0.5) as u8);
    }
}

/// The inverse of the equations of YBR_FULL.
fn full_range([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
}

/// The inverse of the equations of YBR_PARTIAL_422: Y from 16 to 235, chrominances from 16 to 240.
fn part_of_range([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    let y = (y - 16.0) * (255.0 / 219.0);
    full_range([y, cb * (255.0 / 224.0), cr * (255.0 / 224.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back_from_the_other_interpretation() {
        let colours = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [12, 200, 99]];
        let mut pixels = colours.concat();
        ybr_full_of_rgb(&mut pixels);
        assert_eq!(pixels[6..9], [76, 85, 255]);
        rgb_of_ybr_full(&mut pixels);
        assert!(pixels.iter().zip(colours.concat()).all(|(&a, b)| a.abs_diff(b) <= 1), "{pixels:?}");
    }

    fn shape(photometric: Photometric) -> Shape {
        Shape {
            rows: 1,
            columns: 2,
            samples: 3,
            bits_allocated: 8,
            bits_stored: 8,
            high_bit: 7,
            signed: false,
            photometric,
            planar: false,
        }
    }

    fn rgb(shape: Shape, bytes: &[u8]) -> Vec<u8> {
        render(&Frame { shape, bytes: bytes.to_vec() }).unwrap().pixels
    }

    #[test]
    fn planes_and_pixels_are_the_same_picture() {
        let colours = [1, 2, 3, 4, 5, 6];
        let shape = shape(Photometric::Rgb);
        assert_eq!(rgb(shape, &colours), colours);
        assert_eq!(rgb(Shape { planar: true, ..shape }, &[1, 4, 2, 5, 3, 6]), colours);
    }

    #[test]
    fn sixteen_bits_are_scaled_to_eight() {
        let shape = Shape { bits_allocated: 16, bits_stored: 12, high_bit: 11, ..shape(Photometric::Rgb) };
        let bytes: Vec<u8> =
            [0_u16, 2048, 4095, 0xF000, 1, 4094].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(rgb(shape, &bytes), [0, 128, 255, 0, 0, 255]);
        let wide = Shape { bits_allocated: 32, bits_stored: 32, high_bit: 31, ..shape };
        let bytes: Vec<u8> = [0, u32::MAX / 2 + 1, u32::MAX, 1, 2, u32::MAX - 1]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(rgb(wide, &bytes), [0, 128, 255, 0, 0, 255]);
    }

    #[test]
    fn hazard_luminance_and_chrominance_become_the_colours_they_stand_for() {
        // Red and white by the equations of C.7.6.3.1.2.
        assert_eq!(
            rgb(shape(Photometric::YbrFull), &[76, 85, 255, 255, 128, 128]),
            [254, 0, 0, 255, 255, 255]
        );
        // Two pixels share their chrominances.
        assert_eq!(rgb(shape(Photometric::YbrFull422), &[76, 255, 128, 128]), [76, 76, 76, 255, 255, 255]);
        assert_eq!(rgb(shape(Photometric::YbrPartial422), &[16, 235, 128, 128]), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn an_odd_number_of_pixels_with_shared_chrominances_is_a_whole_picture() {
        let odd = Shape { columns: 3, ..shape(Photometric::YbrFull422) };
        assert_eq!(rgb(odd, &[10, 20, 128, 128, 30, 128]), [10, 10, 10, 20, 20, 20, 30, 30, 30]);
    }
}
