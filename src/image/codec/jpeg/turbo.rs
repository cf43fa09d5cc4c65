//! JPEG of 8 bits with a cosine transform by libjpeg-turbo, which is C: with the feature `turbojpeg`, in the place of the libraries
//! in Rust.

use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

use super::baseline::{QUALITY, SCANS};
use crate::image::codec::Refusal;
use crate::image::pixels::{Photometric, Shape};

/// The segment by which Adobe says that colours are not transformed: else the library would turn what it takes for
/// luminance and chrominances.
const NO_TRANSFORMATION: [u8; 16] = [0xFF, 0xEE, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, 0];

/// Decodes what has nothing but what says how it is encoded: the samples, colour by pixel, as they are in the
/// codestream. `None`: of as many components it is not decoded here.
pub(super) fn decode(plain: &[u8], components: usize, shape: &Shape) -> Result<Option<Vec<u8>>, Refusal> {
    let format = match components {
        1 => PixelFormat::GRAY,
        3 => PixelFormat::RGB,
        _ => return Ok(None),
    };
    // Behind the Start Of Image.
    let told = [&plain[..2], &NO_TRANSFORMATION, &plain[2..]].concat();
    let (width, height) = (usize::from(shape.columns), usize::from(shape.rows));
    let mut samples = vec![0; width * height * components];
    let pixels = samples.as_mut_slice();
    let mut decoder = Decompressor::new().map_err(|_| Refusal::Failed)?;
    decoder.set_scan_limit(SCANS as u32).map_err(|_| Refusal::Failed)?;
    let image = Image { pixels, width, pitch: width * components, height, format };
    // What it warns of is an error, too: else what is missing is grey, without a word.
    decoder.decompress(&told, image).map_err(|error| Refusal::damaged(format!("libjpeg-turbo: {error}")))?;
    Ok(Some(samples))
}

/// Encodes samples, colour by pixel. `None`: those of this kind are not encoded here.
pub(super) fn encode(samples: &[u8], shape: &Shape) -> Result<Option<Vec<u8>>, Refusal> {
    let (format, sampling) = match shape.photometric {
        Photometric::Rgb => (PixelFormat::RGB, Subsamp::Sub2x1),
        // It takes no luminance and chrominances by pixel.
        Photometric::YbrFull => return Ok(None),
        _ => (PixelFormat::GRAY, Subsamp::Gray),
    };
    let (width, height) = (usize::from(shape.columns), usize::from(shape.rows));
    let pitch = width * usize::from(shape.samples);
    let encode = || {
        let mut encoder = Compressor::new()?;
        encoder.set_quality(QUALITY.into())?;
        encoder.set_subsamp(sampling)?;
        encoder.compress_to_vec(Image { pixels: samples, width, pitch, height, format })
    };
    encode().map(Some).map_err(|_| Refusal::Failed)
}
