//! JPEG XL by `jxl-oxide` (ISO/IEC 18181-1).

use jxl_oxide::frame::Encoding;
use jxl_oxide::image::BitDepth;
use jxl_oxide::{AllocTracker, InitializeResult, JxlImage, JxlThreadPool};

use super::Refusal;
use super::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Bytes that the library may take for each sample: a few buffers of 4 bytes, and references to other frames.
const BYTES_OF_A_SAMPLE: u64 = 32;
/// Bytes that it may take besides, for tables and trees, however small the image.
const BYTES_BESIDES: u64 = 64 << 20;
/// Most samples of a frame: what the largest detectors have. The library may then take 1 GiB.
const SAMPLES: usize = 1 << 25;

/// Bytes that the library may take for a frame of so many samples.
pub(super) fn allowance(samples: u64) -> u64 {
    BYTES_BESIDES + samples * BYTES_OF_A_SAMPLE
}

/// Decodes a frame. What was transformed to XYB, or is JPEG once more compressed, comes out as RGB.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    let count = shape.pixels() * usize::from(shape.samples);
    if count > SAMPLES {
        return Err(Refusal::TooLarge(format!("JPEG XL of {count} samples").into()));
    }
    let image = read(codestream, count)?;
    let precision = header(&image, shape)?;
    if image.num_loaded_keyframes() != 1 || !image.is_loading_done() {
        return Err(Refusal::damaged("it is no whole image, or more than one"));
    }
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| Refusal::damaged(error.to_string());
    let frame = image.frame_header(0).ok_or(Refusal::Failed)?;
    // The library's edge-preserving filter makes other pixels than libjxl's where there is no row above or below.
    if frame.encoding == Encoding::VarDct && shape.rows == 1 {
        return Err(Refusal::unsupported("JPEG XL of a single row with a cosine transform"));
    }
    let transformed = image.frame_header(0).is_some_and(|frame| frame.do_ycbcr)
        || image.image_header().metadata.xyb_encoded;
    let render = image.render_frame(0).map_err(refused)?;
    let mut stream = render.stream_no_alpha();
    if (stream.width(), stream.height(), stream.channels())
        != (shape.columns.into(), shape.rows.into(), shape.samples.into())
    {
        return Err(Refusal::Failed);
    }
    let mut values = vec![0_f32; count];
    if stream.write_to_buffer(&mut values) != count {
        return Err(Refusal::Failed);
    }
    let greatest = ((1_u32 << precision) - 1) as f32;
    let words =
        values.into_iter().map(|value| (value * greatest).round().clamp(0.0, greatest) as u16).collect();
    let photometric = match shape.photometric {
        Photometric::Xyb | Photometric::YbrIct | Photometric::YbrRct => Photometric::Rgb,
        told if told.samples() == 3 && (transformed || told.is_subsampled()) => Photometric::Rgb,
        told => told,
    };
    let shape = Shape { photometric, planar: false, ..*shape };
    Samples::from_words(words, precision).into_frame(precision, precision, shape)
}

/// Parses the codestream, within bounds. `samples`: how many there should be.
fn read(codestream: &[u8], samples: usize) -> Result<JxlImage, Refusal> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| Refusal::damaged(error.to_string());
    let builder = JxlImage::builder().pool(JxlThreadPool::none());
    let allowance = usize::try_from(allowance(samples as u64)).unwrap_or(usize::MAX);
    let tracker = AllocTracker::with_limit(allowance);
    let mut image = builder.alloc_tracker(tracker).build_uninit();
    image.feed_bytes(codestream).map_err(refused)?;
    match image.try_init().map_err(refused)? {
        InitializeResult::Initialized(image) => Ok(image),
        InitializeResult::NeedMoreData(_) => Err(Refusal::damaged("it ends within its headers")),
    }
}

/// Holds the image's header against the data set. Bits of a sample.
fn header(image: &JxlImage, shape: &Shape) -> Result<u32, Refusal> {
    let (width, height, metadata) = (image.width(), image.height(), &image.image_header().metadata);
    let samples = if metadata.grayscale() { 1 } else { 3 };
    if (width, height, samples) != (shape.columns.into(), shape.rows.into(), shape.samples) {
        return Err(Refusal::disagrees(format!(
            "{width} × {height} pixels with {samples} samples, and not {} × {} with {}",
            shape.columns, shape.rows, shape.samples
        )));
    }
    if !metadata.ec_info.is_empty() || metadata.orientation != 1 || metadata.animation.is_some() {
        return Err(Refusal::unsupported("JPEG XL with further channels, turned, or moving"));
    }
    match metadata.bit_depth {
        BitDepth::IntegerSample { bits_per_sample: bits @ 1..=16 } => Ok(bits),
        _ => Err(Refusal::unsupported("JPEG XL of more than 16 bits, or of floating point")),
    }
}
