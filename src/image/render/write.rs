//! Pictures as files: PNG, JPEG and GIF (PS3.18 8.7.4).

use std::fmt;

use super::picture::{Colours, Picture};

/// How good a JPEG is where nobody says so, from 1 to 100: beyond it files grow, and eyes see nothing.
pub const DEFAULT_QUALITY: u8 = 90;

/// From this quality on colours are as sharp as grey; below, four pixels share theirs.
const SHARP_COLOURS: u8 = 90;

/// How hard colours of a GIF are sought, from 1, the best, to 30.
const GIF_SPEED: i32 = 10;

/// A picture that is no file: a side is longer than the format can say.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be written: {0}")]
pub struct NotWritten(String);

/// The picture as PNG: 8 bits, grey or colours, its profile in it.
///
/// # Errors
/// It is too large for the format.
pub fn png(picture: &Picture) -> Result<Vec<u8>, NotWritten> {
    let mut info = png::Info::with_size(picture.width, picture.height);
    info.bit_depth = png::BitDepth::Eight;
    info.color_type = match picture.colours {
        Colours::Grey => png::ColorType::Grayscale,
        Colours::Rgb => png::ColorType::Rgb,
    };
    info.icc_profile = picture.icc_profile.as_deref().map(Into::into);
    let mut file = Vec::with_capacity(picture.pixels.len() / 2 + 1024);
    let mut encoder = png::Encoder::with_info(&mut file, info).map_err(not_written)?;
    encoder.set_compression(png::Compression::Fastest);
    encoder.set_filter(png::Filter::Up);
    let mut writer = encoder.write_header().map_err(not_written)?;
    writer.write_image_data(&picture.pixels).map_err(not_written)?;
    writer.finish().map_err(not_written)?;
    Ok(file)
}

/// The picture as baseline JPEG of this quality, from 1 to 100, its profile in it.
///
/// # Errors
/// A side is longer than 65,535 pixels.
pub fn jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, NotWritten> {
    let side = |side: u32| u16::try_from(side).map_err(not_written);
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let mut file = Vec::with_capacity(picture.pixels.len() / 4 + 1024);
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, quality.clamp(1, 100));
    let colours = match picture.colours {
        Colours::Grey => jpeg_encoder::ColorType::Luma,
        Colours::Rgb => jpeg_encoder::ColorType::Rgb,
    };
    encoder.set_sampling_factor(match quality {
        SHARP_COLOURS.. => jpeg_encoder::SamplingFactor::F_1_1,
        _ => jpeg_encoder::SamplingFactor::F_2_2,
    });
    if let Some(profile) = &picture.icc_profile {
        encoder.add_icc_profile(profile).map_err(not_written)?;
    }
    encoder.encode(&picture.pixels, width, height, colours).map_err(not_written)?;
    Ok(file)
}

/// A GIF in the making, of one picture or of many that follow each other again and again.
#[derive(Default)]
pub struct Gif {
    encoder: Option<gif::Encoder<Vec<u8>>>,
}

impl fmt::Debug for Gif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gif").field("length", &self.length()).finish_non_exhaustive()
    }
}

impl Gif {
    /// Adds a picture, which stands for this long, in milliseconds. The first one's size is that of all.
    ///
    /// # Errors
    /// A side is longer than 65,535 pixels.
    pub fn add(&mut self, picture: &Picture, milliseconds: f64) -> Result<(), NotWritten> {
        let side = |side: u32| u16::try_from(side).map_err(not_written);
        let (width, height) = (side(picture.width)?, side(picture.height)?);
        let mut frame = match picture.colours {
            Colours::Grey => {
                let palette = (0..=255).flat_map(|grey: u8| [grey; 3]).collect::<Vec<u8>>();
                gif::Frame::from_palette_pixels(width, height, picture.pixels.clone(), palette, None)
            }
            Colours::Rgb => gif::Frame::from_rgb_speed(width, height, &picture.pixels, GIF_SPEED),
        };
        // In hundredths of a second; browsers slow down what is quicker than two.
        frame.delay = (milliseconds / 10.0).round().clamp(2.0, 6000.0) as u16;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[]).map_err(not_written)?;
                encoder.set_repeat(gif::Repeat::Infinite).map_err(not_written)?;
                none.insert(encoder)
            }
        };
        encoder.write_frame(&frame).map_err(not_written)
    }

    /// How many bytes it has so far.
    pub fn length(&self) -> usize {
        self.encoder.as_ref().map_or(0, |encoder| encoder.get_ref().len())
    }

    /// The file.
    ///
    /// # Errors
    /// It has no picture.
    pub fn finish(self) -> Result<Vec<u8>, NotWritten> {
        let encoder = self.encoder.ok_or_else(|| not_written("no picture"))?;
        encoder.into_inner().map_err(not_written)
    }
}

fn not_written(error: impl ToString) -> NotWritten {
    NotWritten(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;

    use super::*;

    fn picture(colours: Colours) -> Picture {
        let pixels = (0..64 * 48 * colours.bytes()).map(|n| (n / 3 % 251) as u8).collect();
        Picture { width: 64, height: 48, colours, pixels, icc_profile: None }
    }

    #[test]
    fn a_png_has_exactly_the_pixels_and_the_profile() {
        for colours in [Colours::Grey, Colours::Rgb] {
            let picture = Picture { icc_profile: Some(Bytes::from_static(b"profile")), ..picture(colours) };
            let file = png(&picture).unwrap();
            let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert!(pixels == picture.pixels);
            assert_eq!(reader.info().icc_profile.as_deref(), Some(&b"profile"[..]));
        }
    }

    #[test]
    fn a_jpeg_is_smaller_the_lower_its_quality_is() {
        for colours in [Colours::Grey, Colours::Rgb] {
            let lengths = [100, 90, 50, 1].map(|quality| jpeg(&picture(colours), quality).unwrap().len());
            assert!(lengths.is_sorted_by(|better, worse| better > worse), "{lengths:?}");
        }
        let wide = Picture { width: 70_000, height: 1, pixels: vec![0; 70_000], ..picture(Colours::Grey) };
        assert!(jpeg(&wide, 90).is_err());
    }

    #[test]
    fn a_gif_has_its_pictures_in_order_and_grey_ones_exactly() {
        let mut gif = Gif::default();
        let (first, second) = (picture(Colours::Grey), picture(Colours::Rgb));
        gif.add(&first, 40.0).unwrap();
        gif.add(&second, 250.0).unwrap();
        let file = gif.finish().unwrap();
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut reader = options.read_info(&file[..]).unwrap();
        let frame = reader.read_next_frame().unwrap().unwrap();
        assert_eq!((frame.width, frame.height, frame.delay), (64, 48, 4));
        let grey: Vec<u8> = frame.buffer.iter().step_by(4).copied().collect();
        assert!(grey == first.pixels);
        assert_eq!(reader.read_next_frame().unwrap().unwrap().delay, 25);
        assert!(reader.read_next_frame().unwrap().is_none());
        assert!(Gif::default().finish().is_err());
    }
}
