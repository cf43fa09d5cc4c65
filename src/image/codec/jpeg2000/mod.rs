//! JPEG 2000 (ISO/IEC 15444-1) and High-Throughput JPEG 2000 (ISO/IEC 15444-15): decoded by libraries, which see nothing that does not
//! agree with the data set, and written by our own.

mod encode;
mod header;
#[cfg(feature = "openjpeg")]
mod openjpeg;
#[cfg(not(feature = "openjpeg"))]
mod rust;
#[cfg(test)]
mod tests;

pub(super) use self::encode::{Coder, transforms};
#[cfg(feature = "openjpeg")]
use self::openjpeg as library;
#[cfg(not(feature = "openjpeg"))]
use self::rust as library;
use super::Refusal;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Decodes a frame. The transformation of colours is part of the format: what was transformed comes out as RGB.
pub(super) fn decode(data: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    let codestream = header::codestream(data)?;
    let header = header::read(codestream, shape)?;
    if header.precision > library::PRECISION {
        return Err(Refusal::unsupported(format!("JPEG 2000 with {} bits of a sample", header.precision)));
    }
    let codestream = header::repaired(codestream, &header);
    let samples = library::decode(&codestream, &header, shape)?;
    let photometric = match shape.photometric {
        // What was transformed was red, green and blue, whatever the data set says of it.
        _ if header.transformed && shape.samples == 3 => Photometric::Rgb,
        // Without a transformation, samples are what was put in: mostly RGB of writers that say so all the same.
        Photometric::YbrIct | Photometric::YbrRct => Photometric::Rgb,
        photometric if photometric.is_subsampled() => Photometric::YbrFull,
        photometric => photometric,
    };
    // The data set says whether samples have a sign; where the codestream says otherwise, the same bits are meant.
    let shape = Shape { photometric, planar: false, ..*shape };
    samples.into_frame(header.precision, header.precision, shape)
}

/// Encodes a frame without loss.
pub(super) fn encode(frame: &Frame, coder: Coder) -> Result<Vec<u8>, Refusal> {
    encode::encode(frame, coder)
}

/// Whether [`encode`] takes pixels of this shape, as far as their number goes.
pub(super) fn can_encode(shape: &Shape) -> bool {
    encode::can_encode(shape)
}
