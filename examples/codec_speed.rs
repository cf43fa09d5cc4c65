//! Decodes and encodes frames as `bench/codecs.py` asks for it: a line of what describes one in, the milliseconds of
//! processor time that it took out. `library` is the decoding by the library alone that stands behind: to what that makes,
//! which is not yet a native frame; where there is none, `-`.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdin, stdout};

use gantry::dicom::Uid;
use gantry::image::codec::{decode, encode};
use gantry::image::pixels::{Frame, Photometric, Shape};
use rustix::time::{ClockId, clock_gettime};

/// `decode|encode|library`, transfer syntax, rows, columns, samples, bits allocated, bits stored, file.
fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let [what, syntax, rows, columns, samples, bits_allocated, bits_stored, file] =
            line.split('|').collect::<Vec<_>>()[..]
        else {
            return Err("eight fields in a line".into());
        };
        let (syntax, samples, bits_stored): (Uid, u16, u16) =
            (syntax.parse()?, samples.parse()?, bits_stored.parse()?);
        let shape = Shape {
            rows: rows.parse()?,
            columns: columns.parse()?,
            samples,
            bits_allocated: bits_allocated.parse()?,
            bits_stored,
            high_bit: bits_stored - 1,
            signed: false,
            photometric: if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 },
            planar: false,
        };
        let bytes = std::fs::read(file)?;
        let took = match what {
            "decode" => {
                let start = milliseconds();
                decode(&syntax, &bytes, &shape)?;
                milliseconds() - start
            }
            "library" => {
                let start = milliseconds();
                if !by_library(syntax.as_str(), &bytes, &shape)? {
                    writeln!(stdout(), "-")?;
                    continue;
                }
                milliseconds() - start
            }
            _ => {
                let frame = Frame { shape, bytes };
                let start = milliseconds();
                encode(&syntax, &frame)?;
                milliseconds() - start
            }
        };
        writeln!(stdout(), "{took}")?;
    }
    Ok(())
}

/// Decodes a frame by the library that does so in [`decode`]; `false`: that is our own code.
fn by_library(syntax: &str, codestream: &[u8], shape: &Shape) -> Result<bool, Box<dyn Error>> {
    match syntax {
        "1.2.840.10008.1.2.4.50" => jpeg(codestream, shape)?,
        "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => jpeg_2000(codestream)?,
        "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.203" => htj2k(codestream)?,
        "1.2.840.10008.1.2.4.110" | "1.2.840.10008.1.2.4.112" => jpeg_xl(codestream, shape)?,
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(feature = "turbojpeg")]
fn jpeg(codestream: &[u8], _: &Shape) -> Result<(), Box<dyn Error>> {
    black_box(turbojpeg::decompress(codestream, turbojpeg::PixelFormat::RGB)?);
    Ok(())
}

#[cfg(not(feature = "turbojpeg"))]
fn jpeg(codestream: &[u8], shape: &Shape) -> Result<(), Box<dyn Error>> {
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::{bytestream::ZCursor, options::DecoderOptions};

    // As the bridge has it: in the colours that it is stored in.
    let colours = if shape.samples == 3 { ColorSpace::YCbCr } else { ColorSpace::Luma };
    let options = DecoderOptions::default().jpeg_set_out_colorspace(colours);
    let decoded = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(codestream), options).decode();
    black_box(decoded.map_err(|error| format!("{error:?}"))?);
    Ok(())
}

#[cfg(feature = "openjpeg")]
fn jpeg_2000(codestream: &[u8]) -> Result<(), Box<dyn Error>> {
    black_box(jpeg2k::Image::from_bytes(codestream)?);
    Ok(())
}

#[cfg(feature = "openjpeg")]
fn htj2k(codestream: &[u8]) -> Result<(), Box<dyn Error>> {
    jpeg_2000(codestream)
}

#[cfg(not(feature = "openjpeg"))]
fn jpeg_2000(codestream: &[u8]) -> Result<(), Box<dyn Error>> {
    let image = hayro_jpeg2000::Image::new(codestream, &hayro_jpeg2000::DecodeSettings::default());
    let image = image.map_err(|error| error.to_string())?;
    let mut context = hayro_jpeg2000::DecoderContext::default();
    black_box(image.decode(&mut context).map_err(|error| error.to_string())?);
    Ok(())
}

#[cfg(not(feature = "openjpeg"))]
fn htj2k(codestream: &[u8]) -> Result<(), Box<dyn Error>> {
    let settings = dicom_toolkit_jpeg2000::DecodeSettings::default();
    let image =
        dicom_toolkit_jpeg2000::Image::new(codestream, &settings).map_err(|error| error.to_string())?;
    black_box(image.decode_native().map_err(|error| error.to_string())?);
    Ok(())
}

fn jpeg_xl(codestream: &[u8], shape: &Shape) -> Result<(), Box<dyn Error>> {
    let pool = jxl_oxide::JxlThreadPool::none();
    let image =
        jxl_oxide::JxlImage::builder().pool(pool).read(codestream).map_err(|error| error.to_string())?;
    let render = image.render_frame(0).map_err(|error| error.to_string())?;
    let mut samples = vec![0_f32; shape.pixels() * usize::from(shape.samples)];
    render.stream_no_alpha().write_to_buffer(&mut samples);
    black_box(samples);
    Ok(())
}

/// What this thread has had of a processor.
fn milliseconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
