//! JPEG of 8 bits with a cosine transform: baseline, extended and progressive by `zune-jpeg`, and written by `jpeg-encoder`.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::markers::{Header, Markers, SOI, SOS};
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Most scans of a progressive image: each goes over the whole image again, and what real encoders write has ten or so.
pub(super) const SCANS: usize = 100;
/// Most samples of a frame: a few bytes can say of each scan that there is nothing in it.
const SAMPLES: usize = 1 << 27;

/// Of 100. What dcmcjpeg takes, too: the loss is hardly seen.
pub(super) const QUALITY: u8 = 90;
/// A comment.
const COM: u8 = 0xFE;

/// Decodes a frame whose header agrees with the data set: its samples, colour by pixel, as they are in the codestream.
pub(super) fn decode(codestream: &[u8], header: &Header, shape: &Shape) -> Result<Samples, Refusal> {
    let count = shape.pixels() * header.components.len();
    if count > SAMPLES {
        return Err(Refusal::TooLarge(format!("JPEG of {count} samples").into()));
    }
    let plain = without_application_data(codestream)?;
    #[cfg(feature = "turbojpeg")]
    if let Some(samples) = super::turbo::decode(&plain, header.components.len(), shape)? {
        return Ok(Samples::Bytes(samples));
    }
    // Strict: else what is missing is grey, without a word.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(SCANS);
    let refused = |error| Refusal::damaged(format!("{error:?}"));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&plain), options);
    decoder.decode_headers().map_err(refused)?;
    // Out as it is in: no colours are transformed.
    let colours = decoder.input_colorspace().ok_or(Refusal::Failed)?;
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let samples = decoder.decode().map_err(refused)?;
    let components = colours.num_components();
    if components != header.components.len() || matches!(colours, ColorSpace::Unknown) {
        return Err(Refusal::unsupported(format!("JPEG with {} components", header.components.len())));
    }
    Ok(Samples::Bytes(samples))
}

/// Whether [`encode`] takes pixels of this shape: 8 bits and no sign, of colours or grey.
pub(super) fn can_encode(shape: &Shape) -> bool {
    let colours =
        [Photometric::Rgb, Photometric::YbrFull, Photometric::Monochrome1, Photometric::Monochrome2];
    (shape.bits_allocated, shape.bits_stored, shape.signed) == (8, 8, false)
        && shape.photometric.samples() == shape.samples
        && colours.contains(&shape.photometric)
}

/// Encodes a frame; colours become YBR_FULL_422 (PS3.5 8.2.1). Indices of a palette are refused: those
/// in between mean something else; and so are more than 8 bits, which would be lost without a word.
pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    let Shape { rows, columns, photometric, .. } = frame.shape;
    if !can_encode(&frame.shape) {
        return Err(Refusal::unsupported(format!("pixels of this kind in JPEG Baseline: {photometric}")));
    }
    let (samples, _) = Samples::of(frame)?;
    let samples: Vec<u8> = samples.into_iter().map(|sample| sample as u8).collect();
    #[cfg(feature = "turbojpeg")]
    if let Some(bytes) = super::turbo::encode(&samples, &frame.shape)? {
        return Ok(bytes);
    }
    let colours = match photometric {
        Photometric::Rgb => ColorType::Rgb,
        Photometric::YbrFull => ColorType::Ycbcr,
        _ => ColorType::Luma,
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.encode(&samples, columns, rows, colours).map_err(|_| Refusal::Failed)?;
    Ok(out)
}

/// The codestream without what does not say how it is encoded. The library would take colours from it that the frame
/// does not have, and refuse segments that others pass over.
fn without_application_data(codestream: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut markers = Markers::new(codestream)?;
    let mut plain = Vec::with_capacity(codestream.len());
    plain.extend([0xFF, SOI]);
    loop {
        let (marker, parameters) = markers.next()?;
        if let 0xE0..=0xEF | COM = marker {
            continue;
        }
        plain.extend([0xFF, marker]);
        plain.extend((parameters.len() as u16 + 2).to_be_bytes());
        plain.extend_from_slice(parameters);
        if marker == SOS {
            plain.extend_from_slice(markers.rest());
            return Ok(plain);
        }
    }
}
