//! One frame on its way into another transfer syntax.

use bytes::Bytes;

use super::Shapes;
use super::lossy::Waiting;
use crate::dicom::Uid;
use crate::dicom::encode::put_item;
use crate::dicom::transfer_syntax::{Layout, is_encapsulated, is_lossy};
use crate::image::codec::{self, Refusal};
use crate::image::pixels::{Frame, Photometric, Shape};
use crate::image::render::colour::{rgb_of_ybr_full, ybr_full_of_rgb};

/// A frame to be decoded, encoded, or both.
#[derive(Debug)]
pub struct Work {
    pub(super) from: Uid,
    pub(super) to: Uid,
    /// As it came.
    pub(super) frame: Vec<u8>,
    pub(super) shapes: Shapes,
    /// Where it is encoded, whether it goes out with what stands around it in Pixel Data.
    pub(super) is_fragment: bool,
    /// What goes before the frame and depends on it.
    pub(super) goes_before: Option<(Box<Waiting>, Vec<u8>)>,
}

impl Work {
    /// A frame by itself, from one transfer syntax to another.
    pub fn of_frame(from: &Uid, to: &Uid, frame: Vec<u8>, shape: &Shape) -> Self {
        let shapes = Shapes::of(from, to, shape);
        Self { from: from.clone(), to: to.clone(), frame, shapes, is_fragment: false, goes_before: None }
    }

    /// How many bytes it takes while it is done, about: the frame as it came, native, and as it goes out, and what the
    /// codecs take beside.
    pub fn memory(&self) -> usize {
        let Self { from, to, shapes, .. } = self;
        let decoding = codec::decoding_cost(from, &shapes.stored);
        let encoding = codec::encoding_cost(to, &shapes.native);
        let native = shapes.native.frame_length();
        let bytes = native.saturating_mul(2).saturating_add(decoding.max(encoding));
        usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(self.frame.len())
    }

    /// Does the work, which takes milliseconds to seconds of a processor, and tells the bytes that go out. Of a frame by
    /// itself that is the native frame or the codestream; as part of Pixel Data a codestream is a whole fragment.
    ///
    /// # Errors
    /// The frame cannot be decoded or encoded truthfully.
    pub fn run(self) -> Result<Bytes, Refusal> {
        let Self { from, to, frame, shapes, is_fragment, goes_before } = self;
        let native = match is_encapsulated(&from) {
            true => codec::decode(&from, &frame, &shapes.stored)?,
            false => Frame { shape: shapes.stored, bytes: frame },
        };
        let native = as_told(native, &shapes.native)?;
        if !is_encapsulated(&to) {
            return Ok(if is_fragment { native } else { as_described(native, &shapes.stored)? }.bytes.into());
        }
        if is_lossy(&to) && native.shape.photometric == Photometric::PaletteColor {
            return Err(Refusal::Unsupported(
                "a palette's indices would be others after compression with loss".into(),
            ));
        }
        let encoded = codec::encode(&to, &native)?;
        if !is_fragment {
            return Ok(encoded.bytes.into());
        }
        let mut out = match goes_before {
            None => Vec::with_capacity(encoded.bytes.len() + 9),
            Some((waiting, opening)) => {
                [waiting.written(native.shape.frame_length(), encoded.bytes.len()), opening].concat()
            }
        };
        put_fragment(&mut out, &encoded.bytes)?;
        Ok(out.into())
    }
}

/// The frame as the data set describes it, which was written before the frame was seen. Codestreams of JPEG tell of
/// themselves whether they have luminance and chrominances, and some data sets are of another opinion.
fn as_told(mut frame: Frame, told: &Shape) -> Result<Frame, Refusal> {
    let shape = frame.shape;
    let turn = match (shape.photometric, told.photometric) {
        (Photometric::YbrFull, Photometric::Rgb) => rgb_of_ybr_full,
        (Photometric::Rgb, Photometric::YbrFull) => ybr_full_of_rgb,
        (is, was) if is != was => return Err(disagreement(is, was)),
        _ => return Ok(frame),
    };
    if shape.bits_stored != 8 || shape.bits_allocated != 8 || shape.planar {
        return Err(disagreement(shape.photometric, told.photometric));
    }
    turn(&mut frame.bytes);
    Ok(Frame { shape: *told, ..frame })
}

/// A native frame by itself, as the data set describes it that was stored: nobody tells who asks for a frame alone that its
/// pixels lie in another way.
fn as_described(mut frame: Frame, stored: &Shape) -> Result<Frame, Refusal> {
    if stored.photometric.is_subsampled() && !frame.shape.photometric.is_subsampled() {
        let detail = format!(
            "the data set says {}, which a native frame with all of its chrominances is not",
            stored.photometric
        );
        return Err(Refusal::Unsupported(detail.into()));
    }
    if stored.planar && frame.shape.samples > 1 && !frame.shape.planar {
        frame.bytes = by_plane(&frame);
        frame.shape.planar = true;
    }
    Ok(frame)
}

/// The samples of all pixels by plane.
fn by_plane(frame: &Frame) -> Vec<u8> {
    let (samples, cell) = (usize::from(frame.shape.samples), usize::from(frame.shape.bits_allocated / 8));
    let pixel = (samples * cell).max(1);
    let mut planes = Vec::with_capacity(frame.bytes.len());
    for sample in 0..samples {
        for pixel in frame.bytes.chunks_exact(pixel) {
            planes.extend_from_slice(&pixel[sample * cell..][..cell]);
        }
    }
    planes
}

fn disagreement(is: Photometric, told: Photometric) -> Refusal {
    Refusal::Disagrees(format!("the pixels are {is}, the data set says that they are {told}").into())
}

fn put_fragment(out: &mut Vec<u8>, codestream: &[u8]) -> Result<(), Refusal> {
    let length = u32::try_from(codestream.len().next_multiple_of(2));
    let length = length.map_err(|_| Refusal::TooLarge("a codestream of 4 GiB".into()))?;
    put_item(out, Layout::ExplicitLe, length);
    out.extend_from_slice(codestream);
    if codestream.len() % 2 == 1 {
        out.push(0);
    }
    Ok(())
}
