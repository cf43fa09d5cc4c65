//! How pixels lie once they are decoded or encoded, as far as transfer syntax and data set tell before a frame is seen.

use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{Codec, codec};
use crate::image::pixels::{Photometric, Shape};

/// The shape of the frames that [`super::decode`] makes of those that are described by `shape`. Codestreams of JPEG may
/// turn out to be of another Photometric Interpretation.
pub fn decoded_shape(syntax: &Uid, shape: &Shape) -> Shape {
    let transforms = matches!(codec(syntax), Codec::Jpeg2000 | Codec::Htj2k | Codec::JpegXl);
    let photometric = match shape.photometric {
        Photometric::YbrIct | Photometric::YbrRct | Photometric::Xyb if transforms => Photometric::Rgb,
        // Chrominances come at full resolution.
        photometric if photometric.is_subsampled() => Photometric::YbrFull,
        photometric => photometric,
    };
    Shape { photometric, planar: false, ..*shape }
}

/// The shape of the data set around the frames that [`super::encode`] makes of native ones.
pub fn encoded_shape(syntax: &Uid, shape: &Shape) -> Shape {
    // RLE has colours by plane (PS3.5 G.2).
    Shape { planar: codec(syntax) == Codec::Rle && shape.samples > 1, ..*shape }
}

/// Whether frames are encoded to this transfer syntax, where their shape is a usual one.
pub fn encodes(syntax: &Uid) -> bool {
    codec(syntax) == Codec::Rle
}
