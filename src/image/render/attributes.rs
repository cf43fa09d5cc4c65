//! Reads the attributes of an image as numbers: what says how its pixels lie, and how they are shown.

use super::Error;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::{Tag, VR, tags};
use crate::image::pixels::{Photometric, Shape};

/// How the pixels of an object lie (PS3.3 C.7.6.3.1). What may be left out for a single grey sample is taken from
/// what is there.
///
/// # Errors
/// Something that is needed is missing, or contradicts the rest.
pub fn shape(data_set: &DataSet) -> Result<Shape, Error> {
    let number = |tag| data_set.int(tag).and_then(|value| u16::try_from(value).ok());
    let wanted = |tag| number(tag).filter(|&value| value > 0).ok_or(Error::Attribute(tag));
    let (rows, columns) = (wanted(tags::ROWS)?, wanted(tags::COLUMNS)?);
    let samples = number(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
    let bits_allocated = wanted(tags::BITS_ALLOCATED)?;
    let bits_stored = number(tags::BITS_STORED).filter(|&bits| bits > 0).unwrap_or(bits_allocated);
    let high_bit = number(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
    let photometric = data_set
        .string(tags::PHOTOMETRIC_INTERPRETATION)
        .and_then(Photometric::read)
        .ok_or(Error::Attribute(tags::PHOTOMETRIC_INTERPRETATION))?;
    let shape = Shape {
        rows,
        columns,
        samples,
        bits_allocated,
        bits_stored,
        high_bit,
        signed: number(tags::PIXEL_REPRESENTATION) == Some(1),
        photometric,
        planar: number(tags::PLANAR_CONFIGURATION) == Some(1),
    };
    check(&shape)?;
    Ok(shape)
}

/// Whether there can be a frame of this shape.
///
/// # Errors
/// It has no pixels, or what it says of them contradicts itself.
pub(super) fn check(shape: &Shape) -> Result<(), Error> {
    let Shape { bits_allocated, bits_stored, high_bit, .. } = *shape;
    let rules = [
        (tags::ROWS, shape.rows > 0),
        (tags::COLUMNS, shape.columns > 0),
        (tags::BITS_STORED, (1..=bits_allocated).contains(&bits_stored)),
        (tags::HIGH_BIT, high_bit < bits_allocated && high_bit.saturating_add(1) >= bits_stored),
        (tags::SAMPLES_PER_PIXEL, shape.samples == shape.photometric.samples()),
    ];
    rules.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(tag, _)| Err(Error::Attribute(*tag)))
}

/// The value at this place of an attribute, from 0, as a decimal number; `None`: there is none, or none that is finite.
pub(super) fn decimal(data_set: &DataSet, tag: Tag, at: usize) -> Option<f64> {
    decimal_of(data_set.get(tag)?, at).filter(|value| value.is_finite())
}

/// The whole numbers of an attribute, as many as there are, at most so many.
pub(super) fn integers_of(data_set: &DataSet, tag: Tag, most: usize) -> Vec<i64> {
    // Conversions saturate.
    (0..most).map_while(|at| decimal(data_set, tag, at)).map(|value| value as i64).collect()
}

/// The first whole numbers of an attribute; `None`: there are fewer.
pub(super) fn integers<const N: usize>(data_set: &DataSet, tag: Tag) -> Option<[i64; N]> {
    integers_of(data_set, tag, N).try_into().ok()
}

/// How long a frame, from 1, is shown, in milliseconds: as it was meant, else as it was taken (PS3.3 C.7.6.5, C.12.1.1.6).
/// `None`: the object does not say.
pub fn frame_time(data_set: &DataSet, number: u32) -> Option<f64> {
    let positive = |tag, at| decimal(data_set, tag, at).filter(|&value| value > 0.0);
    let rate = |tag| positive(tag, 0).map(|frames_in_a_second| 1000.0 / frames_in_a_second);
    rate(tags::RECOMMENDED_DISPLAY_FRAME_RATE)
        .or_else(|| rate(tags::CINE_RATE))
        .or_else(|| positive(tags::FRAME_TIME, 0))
        // Each is the time since the frame before; the last frame stands as long as the one before it.
        .or_else(|| positive(tags::FRAME_TIME_VECTOR, usize::try_from(number).ok()?))
        .or_else(|| positive(tags::FRAME_TIME_VECTOR, usize::try_from(number.checked_sub(1)?).ok()?))
}

/// The words of a value, whatever binary VR it has.
pub(super) fn words(element: &Element) -> Vec<u16> {
    let Value::Bytes(bytes) = &element.value else { return Vec::new() };
    bytes.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)).collect()
}

fn decimal_of(element: &Element, at: usize) -> Option<f64> {
    let Value::Bytes(bytes) = &element.value else {
        return element.strings().get(at)?.trim().parse().ok();
    };
    fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.as_chunks().0.get(at).copied()
    }
    match element.vr {
        VR::US => word(bytes, at).map(|word| u16::from_le_bytes(word).into()),
        VR::SS => word(bytes, at).map(|word| i16::from_le_bytes(word).into()),
        VR::UL => word(bytes, at).map(|word| u32::from_le_bytes(word).into()),
        VR::SL => word(bytes, at).map(|word| i32::from_le_bytes(word).into()),
        VR::FL => word(bytes, at).map(|word| f32::from_le_bytes(word).into()),
        VR::FD => word(bytes, at).map(f64::from_le_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_and_what_contradicts_itself_is_refused() {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        for (tag, value) in [(tags::ROWS, 4), (tags::COLUMNS, 6), (tags::BITS_ALLOCATED, 16)] {
            data_set.set_u16(tag, value);
        }
        let read = shape(&data_set).unwrap();
        let told = (read.rows, read.columns, read.samples, read.bits_stored, read.high_bit, read.signed);
        assert_eq!(told, (4, 6, 1, 16, 15, false));
        for (tag, value) in [
            (tags::BITS_STORED, 17),
            (tags::HIGH_BIT, 16),
            (tags::HIGH_BIT, 14),
            (tags::SAMPLES_PER_PIXEL, 3),
            (tags::ROWS, 0),
        ] {
            let mut wrong = data_set.clone();
            wrong.set_u16(tag, value);
            assert_eq!(shape(&wrong), Err(Error::Attribute(tag)), "{tag} {value}");
        }
        data_set.remove(tags::PHOTOMETRIC_INTERPRETATION);
        assert_eq!(shape(&data_set), Err(Error::Attribute(tags::PHOTOMETRIC_INTERPRETATION)));
    }

    #[test]
    fn frames_stand_as_long_as_their_object_says() {
        let with = |tag, vr, values: &[&str]| {
            let mut data_set = DataSet::new();
            data_set.set_strings(tag, vr, values.iter().map(|&value| value.to_owned()).collect());
            [1, 2, 3].map(|number| frame_time(&data_set, number))
        };
        assert_eq!(with(tags::CINE_RATE, VR::IS, &["25"]), [Some(40.0); 3]);
        assert_eq!(with(tags::FRAME_TIME, VR::DS, &["33.3"]), [Some(33.3); 3]);
        let each = [Some(50.0), Some(600.0), Some(600.0)];
        assert_eq!(with(tags::FRAME_TIME_VECTOR, VR::DS, &["0", "50", "600"]), each);
        assert_eq!(with(tags::CINE_RATE, VR::IS, &["0"]), [None; 3]);
    }

    #[test]
    fn numbers_are_read_from_text_and_from_words() {
        let mut data_set = DataSet::new();
        data_set.set_strings(tags::WINDOW_CENTER, VR::DS, vec!["-1.5e1".into(), "x".into()]);
        data_set.set_u16(tags::ROWS, 7);
        assert_eq!(decimal(&data_set, tags::WINDOW_CENTER, 0), Some(-15.0));
        assert_eq!(decimal(&data_set, tags::WINDOW_CENTER, 1), None);
        assert_eq!(decimal(&data_set, tags::ROWS, 0), Some(7.0));
        assert_eq!(decimal(&data_set, tags::ROWS, 1), None);
    }
}
