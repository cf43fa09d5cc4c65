//! Pixels of one sample become grey, or the colours of a palette: Modality LUT, VOI LUT, Presentation LUT Shape
//! (PS3.4 N.2.1, PS3.3 C.11.1, C.11.2).
//!
//! Samples of up to 16 bits go through one table, with an entry for each value that there can be; longer and floating
//! ones are computed one by one.

use super::attributes::decimal;
use super::head::Head;
use super::lut::{Inputs, Lut};
use super::palette::Palette;
use super::picture::{Colours, Picture};
use super::voi::{Voi, Window};
use super::{Error, attributes};
use crate::dicom::dataset::DataSet;
use crate::dicom::{VR, tags};
use crate::image::pixels::{Frame, Photometric, Shape};

/// Most Bits Stored that go through a table.
const MAX_TABLE_BITS: u16 = 16;

/// X-Ray Angiographic, X-Ray Radiofluoroscopic and (retired) X-Ray Angiographic Bi-Plane Image Storage. Their Modality LUT
/// leads back to the intensity of the X-rays, and is no part of how they are shown (PS3.3 C.8.7.1.1.2, PS3.4 N.2.1.2).
const OF_INTENSITY: [&str; 3] =
    ["1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.3"];

/// A frame of grey pixels as a picture; of the pixels that its supplemental palette colours, in their colours.
pub(super) fn render(
    head: &Head,
    frame: &Frame,
    number: u32,
    window: Option<Window>,
) -> Result<Picture, Error> {
    let pipeline = Pipeline::read(head, &frame.shape, number, window);
    let samples = Samples::of(head, frame)?;
    let supplement = supplemental_palette(head, &frame.shape);
    let Samples::Indices(indices) = samples else { return Ok(wide(&pipeline, frame, samples)) };
    let voi = pipeline.voi.clone().unwrap_or_else(|| pipeline.range_of_indices(&frame.shape, &indices));
    // Of 65,536 values a slice has some thousand.
    let (least, greatest) =
        indices.iter().fold((u16::MAX, 0), |(low, high), &at| (low.min(at), high.max(at)));
    let there = i64::from(least)..=i64::from(greatest);
    let table: Vec<u8> = (0..)
        .zip(stored_values(&frame.shape))
        .map(|(at, stored)| if there.contains(&at) { pipeline.at(stored as f64, &voi) } else { 0 })
        .collect();
    Ok(match supplement {
        None => Picture::of(&frame.shape, Colours::Grey, mapped(&indices, &table)),
        Some(palette) => {
            let colours: Vec<[u8; 3]> = stored_values(&frame.shape)
                .zip(&table)
                .map(|(stored, &grey)| if stored < palette.first() { [grey; 3] } else { palette.at(stored) })
                .collect();
            Picture::of(&frame.shape, Colours::Rgb, mapped(&indices, &colours).into_flattened())
        }
    })
}

/// A frame of PALETTE COLOR as a picture.
pub(super) fn palette(head: &Head, frame: &Frame) -> Result<Picture, Error> {
    let missing = Error::Attribute(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA);
    let palette = Palette::read(&head.data_set, stored(head, &frame.shape)).ok_or(missing)?;
    let Samples::Indices(indices) = Samples::of(head, frame)? else {
        return Err(Error::Attribute(tags::BITS_STORED));
    };
    let table: Vec<[u8; 3]> = stored_values(&frame.shape).map(|stored| palette.at(stored)).collect();
    Ok(Picture::of(&frame.shape, Colours::Rgb, mapped(&indices, &table).into_flattened()))
}

/// The samples of a frame.
enum Samples {
    /// How much they are above the least value there can be.
    Indices(Vec<u16>),
    /// To be read one by one.
    Integers,
    Floats,
    Doubles,
}

impl Samples {
    fn of(head: &Head, frame: &Frame) -> Result<Self, Error> {
        let Shape { bits_allocated, bits_stored, high_bit, .. } = frame.shape;
        match (head.pixels, bits_allocated) {
            (tags::FLOAT_PIXEL_DATA, 32) => return Ok(Self::Floats),
            (tags::DOUBLE_FLOAT_PIXEL_DATA, 64) => return Ok(Self::Doubles),
            (tags::PIXEL_DATA, 32) if bits_stored > MAX_TABLE_BITS => return Ok(Self::Integers),
            _ => {}
        }
        let shift = high_bit + 1 - bits_stored;
        let mask = u16::MAX >> (16 - bits_stored.min(16));
        // In two's complement the least value has the highest bit alone.
        let sign = if frame.shape.signed { 1 << (bits_stored.min(16) - 1) } else { 0 };
        let index = |cell: u16| (cell >> shift & mask) ^ sign;
        let bytes = &frame.bytes[..];
        Ok(Self::Indices(match bits_allocated {
            1 => (0..frame.shape.pixels())
                .map(|at| bytes.get(at / 8).map_or(0, |&byte| u16::from(byte >> (at % 8) & 1) ^ sign))
                .collect(),
            8 => bytes.iter().map(|&cell| index(cell.into())).collect(),
            16 => bytes.as_chunks().0.iter().map(|&cell| index(u16::from_le_bytes(cell))).collect(),
            32 => {
                let cells = bytes.as_chunks().0.iter();
                // Only what the mask leaves.
                cells.map(|&cell| ((u32::from_le_bytes(cell) >> shift) as u16 & mask) ^ sign).collect()
            }
            _ => return Err(Error::Attribute(tags::BITS_ALLOCATED)),
        }))
    }
}

/// What becomes of a stored value.
struct Pipeline {
    modality: Modality,
    /// `None`: from the least to the greatest value of the frame.
    voi: Option<Voi>,
    padding: Option<(f64, f64)>,
    inverse: bool,
}

enum Modality {
    Rescale { slope: f64, intercept: f64 },
    Table(Lut),
}

impl Pipeline {
    fn read(head: &Head, shape: &Shape, number: u32, window: Option<Window>) -> Self {
        let modality = Modality::read(head, shape, number);
        let values = modality.values(stored(head, shape));
        let own = || Voi::read(head.group_or_top(number, tags::FRAME_VOILUT_SEQUENCE), values);
        let identity = || head.is_presented.then(|| Voi::identity(values)).flatten();
        let binary = || (shape.bits_stored == 1).then_some(Voi::Range(0.0, 1.0));
        let data_set = &head.data_set;
        let is_negative = shape.photometric == Photometric::Monochrome1;
        let inverse = match data_set.string(tags::PRESENTATION_LUT_SHAPE) {
            // What a state says is said of all images (PS3.4 N.2.1.4).
            Some(shape) if head.is_presented => shape == "INVERSE",
            // An image that is MONOCHROME1 says INVERSE, too: that is one inversion (PS3.3 C.8.11.3.1.2).
            shape => shape == Some("INVERSE") || is_negative,
        };
        Self {
            modality,
            voi: window.map(Voi::Window).or_else(own).or_else(identity).or_else(binary),
            padding: padding(data_set, shape),
            inverse,
        }
    }

    /// The grey of a stored value. Padding is the background, which is black.
    fn at(&self, stored: f64, voi: &Voi) -> u8 {
        if self.is_padding(stored) {
            return 0;
        }
        let grey = voi.at(self.modality.at(stored));
        if self.inverse { 255 - grey } else { grey }
    }

    fn is_padding(&self, stored: f64) -> bool {
        self.padding.is_some_and(|(least, greatest)| (least..=greatest).contains(&stored))
    }

    fn range_of_indices(&self, shape: &Shape, indices: &[u16]) -> Voi {
        let mut seen = vec![false; 1 << shape.bits_stored.min(MAX_TABLE_BITS)];
        for &index in indices {
            if let Some(seen) = seen.get_mut(usize::from(index)) {
                *seen = true;
            }
        }
        let stored =
            stored_values(shape).zip(seen).filter(|(_, seen)| *seen).map(|(stored, _)| stored as f64);
        self.range(stored)
    }

    /// From the least to the greatest value of these, without padding.
    fn range(&self, stored: impl Iterator<Item = f64>) -> Voi {
        let values = stored.filter(|&stored| !self.is_padding(stored)).map(|stored| self.modality.at(stored));
        let (least, greatest) = values
            .filter(|value| value.is_finite())
            .fold((f64::MAX, f64::MIN), |(least, greatest), value| (least.min(value), greatest.max(value)));
        Voi::Range(least, greatest)
    }
}

impl Modality {
    fn read(head: &Head, shape: &Shape, number: u32) -> Self {
        let class = head.data_set.string(tags::SOP_CLASS_UID);
        if !head.is_presented && class.is_some_and(|class| OF_INTENSITY.contains(&class)) {
            return Self::Rescale { slope: 1.0, intercept: 0.0 };
        }
        let table = head.data_set.items(tags::MODALITY_LUT_SEQUENCE).first();
        if let Some(table) = table.and_then(|table| Lut::read(table, stored(head, shape))) {
            return Self::Table(table);
        }
        let group = head.group_or_top(number, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let slope = decimal(group, tags::RESCALE_SLOPE, 0).filter(|&slope| slope != 0.0).unwrap_or(1.0);
        Self::Rescale { slope, intercept: decimal(group, tags::RESCALE_INTERCEPT, 0).unwrap_or(0.0) }
    }

    fn at(&self, stored: f64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => stored * slope + intercept,
            Self::Table(lut) => lut.at(stored as i64).into(),
        }
    }

    /// The values that can come out where these go in.
    fn values(&self, stored: Inputs) -> Inputs {
        let (one, other) = match self {
            Self::Rescale { .. } => (self.at(stored.least), self.at(stored.greatest)),
            Self::Table(lut) => (0.0, lut.max().into()),
        };
        Inputs { least: one.min(other), greatest: one.max(other) }
    }
}

/// Samples that no table is made for.
fn wide(pipeline: &Pipeline, frame: &Frame, samples: Samples) -> Picture {
    let bytes = &frame.bytes[..];
    let grey = match samples {
        Samples::Floats => {
            let values = bytes.as_chunks().0.iter().map(|&cell| f64::from(f32::from_le_bytes(cell)));
            computed(pipeline, values)
        }
        Samples::Doubles => {
            computed(pipeline, bytes.as_chunks().0.iter().map(|&cell| f64::from_le_bytes(cell)))
        }
        Samples::Integers | Samples::Indices(_) => {
            let shape = frame.shape;
            let values = bytes.as_chunks().0.iter().map(|&cell| sample(cell, &shape));
            computed(pipeline, values)
        }
    };
    Picture::of(&frame.shape, Colours::Grey, grey)
}

/// The sample in a cell of 32 bits, a whole number of any sign.
fn sample(cell: [u8; 4], shape: &Shape) -> f64 {
    let above = u32::from(31_u16.saturating_sub(shape.high_bit));
    let below = u32::from(32_u16.saturating_sub(shape.bits_stored)).min(31);
    let top = u32::from_le_bytes(cell) << above;
    if shape.signed { f64::from(top.cast_signed() >> below) } else { f64::from(top >> below) }
}

fn computed(pipeline: &Pipeline, stored: impl Iterator<Item = f64> + Clone) -> Vec<u8> {
    let voi = pipeline.voi.clone().unwrap_or_else(|| pipeline.range(stored.clone()));
    stored.map(|stored| pipeline.at(stored, &voi)).collect()
}

/// The values that samples can have.
fn stored(head: &Head, shape: &Shape) -> Inputs {
    if head.pixels != tags::PIXEL_DATA {
        return Inputs { least: f64::NEG_INFINITY, greatest: f64::INFINITY };
    }
    let count = 2_f64.powi(shape.bits_stored.into());
    let least = if shape.signed { -count / 2.0 } else { 0.0 };
    Inputs { least, greatest: least + count - 1.0 }
}

/// Every value that a sample of up to 16 bits can have, the least first.
fn stored_values(shape: &Shape) -> impl Iterator<Item = i64> + use<> {
    let count = 1_i64 << shape.bits_stored.min(MAX_TABLE_BITS);
    let least = if shape.signed { -count / 2 } else { 0 };
    least..least + count
}

fn mapped<T: Copy + Default>(indices: &[u16], table: &[T]) -> Vec<T> {
    indices.iter().map(|&index| table.get(usize::from(index)).copied().unwrap_or_default()).collect()
}

/// The stored values that are padding, with both ends (PS3.3 C.7.5.1.1.2).
fn padding(data_set: &DataSet, shape: &Shape) -> Option<(f64, f64)> {
    let either = |whole, float, double| {
        let value = decimal(data_set, whole, 0).map(|value| match data_set.get(whole) {
            // Words whose VR forgets the sign of the pixels.
            Some(element) if shape.signed && element.vr == VR::US => {
                attributes::words(element).first().map_or(value, |word| word.cast_signed().into())
            }
            _ => value,
        });
        value.or_else(|| decimal(data_set, float, 0)).or_else(|| decimal(data_set, double, 0))
    };
    let value = either(
        tags::PIXEL_PADDING_VALUE,
        tags::FLOAT_PIXEL_PADDING_VALUE,
        tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE,
    )?;
    let limit = either(
        tags::PIXEL_PADDING_RANGE_LIMIT,
        tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT,
        tags::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT,
    )
    .unwrap_or(value);
    Some((value.min(limit), value.max(limit)))
}

/// The palette that colours the stored values from its first mapped one on, where some are shown in colour (PS3.3
/// C.7.6.19, C.8.16.1.2).
fn supplemental_palette(head: &Head, shape: &Shape) -> Option<Palette> {
    let coloured = matches!(head.data_set.string(tags::PIXEL_PRESENTATION), Some("COLOR" | "MIXED"));
    (coloured && shape.photometric == Photometric::Monochrome2)
        .then(|| Palette::read(&head.data_set, stored(head, shape)))
        .flatten()
}

#[cfg(test)]
mod tests;
