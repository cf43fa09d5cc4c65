//! JPEG-LS, lossless and near-lossless, with components one by one, by line and by sample (ISO/IEC 14495-1).

mod bits;
mod decode;
mod model;

use self::model::Preset;
use super::Refusal;
use super::jpeg::markers::{APP8, DRI, EOI, Header, LSE, Markers, SOS, Scan, sof};
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
