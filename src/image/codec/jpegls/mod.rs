//! JPEG-LS, lossless and near-lossless, with components one by one, by line and by sample (ISO/IEC 14495-1).

mod bits;
mod decode;
mod encode;
mod model;

use self::model::Preset;
use super::Refusal;
use super::jpeg::markers::{APP8, DRI, EOI, Header, LSE, Markers, SOS, Scan, segment, sof, start};
use super::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Most components: those of a pixel that is coded by sample.
const COMPONENTS: usize = 4;

/// How components follow each other in a scan (C.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleave {
    /// One component only.
    None,
    /// A line of each in turn.
    Line,
    /// A sample of each in turn.
    Sample,
}

/// Decodes a frame.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    let mut markers = Markers::new(codestream)?;
    let (mut told, mut interval) = ([0; 5], 0);
    let mut frame: Option<(Header, Vec<u16>)> = None;
    let mut decoded = [false; COMPONENTS];
    loop {
        let (marker, parameters) = markers.next()?;
        match (marker, &mut frame) {
            (sof::JPEG_LS, None) => {
                let header = Header::read(marker, parameters, shape)?;
                if !(2..=16).contains(&header.precision) {
                    return Err(Refusal::damaged(format!("a precision of {} bits", header.precision)));
                }
                if !header.is_full_resolution() || header.components.len() > COMPONENTS {
                    return Err(Refusal::unsupported("JPEG-LS with components of fewer samples"));
                }
                let samples = shape.pixels() * header.components.len();
                frame = Some((header, vec![0; samples]));
            }
            (LSE, _) => told = preset_parameters(parameters)?,
            (DRI, _) => interval = restart_interval(parameters)?,
            (APP8, _) if parameters.len() == 5 && parameters.starts_with(b"mrfx") && parameters[4] != 0 => {
                return Err(Refusal::unsupported("JPEG-LS with a colour transformation"));
            }
            (SOS, Some((header, samples))) => {
                let scan = Scan::read(parameters, header)?;
                if !scan.has_units_of_a_sample(header) {
                    return Err(Refusal::unsupported("JPEG-LS in units of several samples"));
                }
                let [near, interleave, transform] = scan.parameters;
                let interleave = match (interleave, scan.components.len()) {
                    (_, 1) | (0, _) => Interleave::None,
                    (1, _) => Interleave::Line,
                    (2, _) => Interleave::Sample,
                    _ => return Err(Refusal::damaged("an interleave mode that there is not")),
                };
                if interleave == Interleave::None && scan.components.len() != 1 {
                    return Err(Refusal::damaged(
                        "a scan of several components that does not interleave them",
                    ));
                }
                if transform != 0 || scan.components.iter().any(|(_, table)| *table != 0) {
                    return Err(Refusal::unsupported("JPEG-LS with a point transform or mapping tables"));
                }
                let preset =
                    Preset::new(header.precision, near, told).ok_or(Refusal::damaged("preset parameters"))?;
                let places: Vec<usize> = scan.components.iter().map(|(place, _)| *place).collect();
                let layout = decode::Layout {
                    columns: shape.columns.into(),
                    stride: header.components.len(),
                    places: &places,
                    interleave,
                    interval,
                };
                let read = decode::scan(markers.rest(), &preset, &layout, samples)?;
                markers.skip(read);
                places.iter().for_each(|place| decoded[*place] = true);
                if decoded.iter().zip(&header.components).all(|(decoded, _)| *decoded) {
                    break;
                }
            }
            (0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF, _) => {
                return Err(Refusal::damaged("a frame of JPEG where one of JPEG-LS should be"));
            }
            (SOS, None) => return Err(Refusal::damaged("a scan before its frame header")),
            (EOI, _) => return Err(Refusal::damaged("it ends before its last scan")),
            _ => {}
        }
    }
    let (header, samples) = frame.ok_or(Refusal::damaged("no frame header"))?;
    let photometric =
        if shape.photometric.is_subsampled() { Photometric::YbrFull } else { shape.photometric };
    let shape = Shape { photometric, planar: false, ..*shape };
    let precision = u32::from(header.precision);
    // JPEG-LS knows no signs: those who have some write the bits as they are.
    Samples::from_words(samples, precision).into_frame(precision, precision, shape)
}

/// Encodes a frame without loss, by lines. Samples with a sign are written with all bits of their cells, as not every reader
/// gives a shorter one its sign back.
pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    let (samples, precision) = if frame.shape.signed {
        let bits = frame.shape.bits_allocated;
        let shape = Shape { bits_stored: bits, high_bit: bits - 1, signed: false, ..frame.shape };
        Samples::of(&Frame { shape, bytes: frame.bytes.clone() })?
    } else {
        Samples::of(frame)?
    };
    // There is no precision of one bit.
    let precision = precision.max(2);
    let Shape { rows, columns, samples: count, .. } = frame.shape;
    let preset = u8::try_from(precision).ok().and_then(|precision| Preset::new(precision, 0, [0; 5]));
    let preset = preset.ok_or(Refusal::Failed)?;
    let mut out = Vec::with_capacity(frame.bytes.len() / 2);
    start(&mut out, sof::JPEG_LS, precision as u8, rows, columns, &[1, 2, 3, 4][..usize::from(count)]);
    let interleave = if count > 1 { 1 } else { 0 };
    let selectors: Vec<[u8; 2]> = (1..=count as u8).map(|id| [id, 0]).collect();
    segment(&mut out, SOS, &[&[count as u8], selectors.as_flattened(), &[0, interleave, 0]].concat());
    encode::scan(&samples, columns.into(), count.into(), &preset, &mut out);
    out.extend([0xFF, EOI]);
    Ok(out)
}

/// MAXVAL, T1, T2, T3 and RESET (C.2.4.1.1); a 0 stands for the default.
fn preset_parameters(parameters: &[u8]) -> Result<[u16; 5], Refusal> {
    match parameters {
        [1, values @ ..] if values.len() == 10 => {
            Ok(std::array::from_fn(|n| u16::from_be_bytes([values[2 * n], values[2 * n + 1]])))
        }
        [2..=4, ..] => Err(Refusal::unsupported("JPEG-LS with mapping tables or sizes beyond 65535")),
        _ => Err(Refusal::damaged("preset parameters")),
    }
}

/// In lines, 0 for none (C.2.5): of 2 to 4 bytes.
fn restart_interval(parameters: &[u8]) -> Result<usize, Refusal> {
    if !(2..=4).contains(&parameters.len()) {
        return Err(Refusal::damaged("a restart interval"));
    }
    Ok(parameters.iter().fold(0, |interval, byte| interval << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::codec::testing::frames;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frame in frames(2)) {
            let encoded = encode(&frame).unwrap();
            let decoded = decode(&encoded, &frame.shape).unwrap();
            prop_assert_eq!(decoded, frame);
        }
    }
}
