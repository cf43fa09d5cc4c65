//! How pixels lie once they are decoded or encoded, as far as transfer syntax and data set tell before a frame is seen.

use super::{HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_BASELINE, JPEG_LOSSLESS_SV1, JPEG_LS, RLE, jpeg2000};
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{Codec, codec};
use crate::image::pixels::{Photometric, Shape};

/// The shape of the frames that [`super::decode`] makes of those that are described by `shape`. Codestreams of JPEG may
/// turn out to be of another Photometric Interpretation.
pub fn decoded_shape(syntax: &Uid, shape: &Shape) -> Shape {
    let transforms = matches!(codec(syntax), Codec::Jpeg2000 | Codec::Htj2k | Codec::JpegXl);
    let photometric = match shape.photometric {
        Photometric::YbrIct | Photometric::YbrRct | Photometric::Xyb if transforms => Photometric::Rgb,
        // What was a JPEG once comes as it is shown.
        photometric if photometric.is_subsampled() && codec(syntax) == Codec::JpegXl => Photometric::Rgb,
        // Chrominances come at full resolution.
        photometric if photometric.is_subsampled() => Photometric::YbrFull,
        photometric => photometric,
    };
    Shape { photometric, planar: false, ..*shape }
}

/// The shape of the data set around the frames that [`super::encode`] makes of native ones.
pub fn encoded_shape(syntax: &Uid, shape: &Shape) -> Shape {
    let photometric = match (syntax.as_str(), shape.photometric) {
        (JPEG_BASELINE, Photometric::Rgb | Photometric::YbrFull) => Photometric::YbrFull422,
        (JPEG_2000_LOSSLESS | HTJ2K_LOSSLESS, _) if jpeg2000::transforms(shape) => Photometric::YbrRct,
        (_, photometric) => photometric,
    };
    // The segments of RLE are planes, and Planar Configuration says so of its frames (PS3.3 C.7.6.3.1.3).
    let planar = syntax.as_str() == RLE && shape.samples > 1;
    Shape { photometric, planar, ..*shape }
}

/// Whether frames are encoded to this transfer syntax, where their shape is one that [`super::can_encode`] takes.
pub fn encodes(syntax: &Uid) -> bool {
    let all = [RLE, JPEG_LS, JPEG_LOSSLESS_SV1, JPEG_BASELINE, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS];
    all.contains(&syntax.as_str())
}
