//! JPEG: baseline, extended and lossless (ISO/IEC 10918-1), told apart by what the codestream says rather than by the
//! transfer syntax, as more than one vendor mixes them up.

mod baseline;
mod extended;
mod huffman;
mod lossless;
mod lossless_encode;
pub(super) mod markers;
pub(super) mod tables;
#[cfg(feature = "turbojpeg")]
mod turbo;

use self::markers::{Colours, Header, Markers, SOS, sof};
use super::Refusal;
use super::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Decodes a frame.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    let (header, colours) = headers(codestream, shape)?;
    let (samples, precision) = match (header.process, header.precision) {
        (sof::LOSSLESS, _) => lossless::decode(codestream, shape)?,
        (sof::BASELINE | sof::EXTENDED | sof::PROGRESSIVE, 8) => {
            (baseline::decode(codestream, &header, shape)?, 8)
        }
        (sof::BASELINE | sof::EXTENDED, 12) => {
            (Samples::Cells(extended::decode(codestream, &header, shape)?), 12)
        }
        (process, precision) => {
            return Err(Refusal::unsupported(format!(
                "JPEG process {process:02X} with {precision} bits of a sample"
            )));
        }
    };
    let shape =
        Shape { photometric: photometric(&header, &colours, shape.photometric), planar: false, ..*shape };
    // Whether samples have a sign is not told; where they do, it is where the data set has it.
    samples.into_frame(precision, precision.max(shape.bits_stored.into()), shape)
}

/// Encodes a frame to lossless JPEG, process 14 with selection value 1.
pub(super) fn encode_lossless(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    lossless_encode::encode(frame)
}

/// Encodes a frame of 8 bits to baseline JPEG; colours to luminance, and chrominances of half the resolution.
pub(super) fn encode_baseline(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    baseline::encode(frame)
}

/// Whether [`encode_baseline`] takes pixels of this shape.
pub(super) fn can_encode_baseline(shape: &Shape) -> bool {
    baseline::can_encode(shape)
}

/// The frame header, and what stands before the first scan about colours.
fn headers(codestream: &[u8], shape: &Shape) -> Result<(Header, Colours), Refusal> {
    let mut markers = Markers::new(codestream)?;
    let (mut colours, mut header) = (Colours::default(), None);
    loop {
        match markers.next()? {
            // DHT, JPG and DAC are no frame headers.
            (0xC4 | 0xC8 | 0xCC, _) => {}
            (process @ 0xC0..=0xCF, parameters) => header = Some(Header::read(process, parameters, shape)?),
            (SOS | markers::EOI, _) => break,
            (marker, parameters) => colours.note(marker, parameters),
        }
    }
    Ok((header.ok_or(Refusal::damaged("no frame header"))?, colours))
}

/// What the samples of a decoded frame mean. The data set is believed but where the codestream names its components
/// R, G and B, or is of JFIF, which has no red, green and blue, or says by Adobe's segment whether colours were
/// transformed before the cosine transform, or has fewer samples of some components, which only chrominances have; and
/// the samples now have the image's resolution.
fn photometric(header: &Header, colours: &Colours, told: Photometric) -> Photometric {
    if header.components.len() != 3 {
        return told;
    }
    let ids: Vec<u8> = header.components.iter().map(|component| component.id).collect();
    let adobe = colours.adobe.filter(|_| header.process != sof::LOSSLESS);
    match told {
        Photometric::PaletteColor => told,
        _ if ids == *b"RGB" || ids == *b"rgb" || adobe == Some(0) => Photometric::Rgb,
        Photometric::Rgb if colours.jfif || adobe == Some(1) || !header.is_full_resolution() => {
            Photometric::YbrFull
        }
        told if told.is_subsampled() => Photometric::YbrFull,
        told => told,
    }
}

#[cfg(test)]
mod tests {
    use super::markers::Component;
    use super::*;

    #[test]
    fn colours_are_what_the_codestream_says_where_it_does() {
        let header = |process: u8, ids: [u8; 3]| {
            let component = |id| Component { id, horizontal: 1, vertical: 1, quantization: 0 };
            Header { process, precision: 8, components: ids.map(component).to_vec() }
        };
        let (dct, named) = (header(sof::BASELINE, [1, 2, 3]), header(sof::BASELINE, *b"RGB"));
        let (plain, jfif) = (Colours::default(), Colours { jfif: true, adobe: None });
        let adobe = |transform| Colours { jfif: false, adobe: Some(transform) };
        let (rgb, ybr, half) = (Photometric::Rgb, Photometric::YbrFull, Photometric::YbrFull422);
        for (header, colours, told, meant) in [
            (&dct, plain, rgb, rgb),
            (&dct, plain, half, ybr),
            (&dct, jfif, rgb, ybr),
            (&dct, adobe(0), half, rgb),
            (&dct, adobe(1), rgb, ybr),
            (&named, plain, half, rgb),
            // Without loss nothing was transformed, whatever stands there.
            (&header(sof::LOSSLESS, [1, 2, 3]), adobe(0), ybr, ybr),
        ] {
            assert_eq!(photometric(header, &colours, told), meant, "{header:?} {colours:?} {told}");
        }
    }

    #[test]
    fn hazard_chrominances_of_half_the_resolution_are_not_red_or_blue() {
        let component = |(id, factors)| Component { id, horizontal: factors, vertical: 1, quantization: 0 };
        let header = |factors: [u8; 3]| {
            let components = [1, 2, 3].into_iter().zip(factors).map(component).collect();
            Header { process: sof::BASELINE, precision: 8, components }
        };
        let of = |header, told| photometric(&header, &Colours::default(), told);
        assert_eq!(of(header([2, 1, 1]), Photometric::Rgb), Photometric::YbrFull);
        assert_eq!(of(header([2, 2, 2]), Photometric::Rgb), Photometric::Rgb);
    }
}
