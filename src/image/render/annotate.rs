//! Writes onto a picture whose it is and how it was taken (PS3.18 8.3.5.1.1).
//!
//! The font has the letters of Latin scripts; others become question marks, and are in the metadata. What does not fit is
//! never cut without a sign: the beginning of a patient's number is that of somebody else.

use std::str::FromStr;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::attributes::decimal;
use super::head::Head;
use super::picture::Picture;
use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, tags};

/// From this width on the larger letters are taken, where the text fits with them.
const WIDE: u32 = 900;
/// Free pixels around the text.
const MARGIN: usize = 4;
/// What stands at the end of a line of which there is more.
const MORE: &str = "...";
/// A line that is cut has so many characters at least; what would have fewer is left out.
const LEAST: usize = 12;

/// What is written onto a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Annotation {
    /// Name, ID, birth date and sex of the patient, above on the left.
    pub patient: bool,
    /// Modality, date, descriptions, and how the image was taken, below on the left.
    pub technique: bool,
    /// The image's own overlays. Of this program, not of the standard.
    pub overlays: bool,
}

/// It is none of the annotations that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an annotation is patient, technique or overlays, or several of them with commas between")]
pub struct BadAnnotation;

/// As the parameter `annotation` has it.
impl FromStr for Annotation {
    type Err = BadAnnotation;

    fn from_str(text: &str) -> Result<Self, BadAnnotation> {
        let mut annotation = Self::default();
        for word in text.split(',').map(str::trim) {
            match word {
                "patient" => annotation.patient = true,
                "technique" => annotation.technique = true,
                "overlays" => annotation.overlays = true,
                _ => return Err(BadAnnotation),
            }
        }
        Ok(annotation)
    }
}

/// Writes what is wanted onto the picture of a frame.
pub(super) fn annotate(picture: &mut Picture, head: &Head, frame: u32, wanted: Annotation) {
    if wanted.patient {
        write(picture, &patient(&head.data_set), Place::Above);
    }
    if wanted.technique {
        write(picture, &technique(&head.data_set, frame), Place::Below);
    }
}

/// Where text stands, on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the upper edge.
    Above,
    /// At the lower edge.
    Below,
}

/// Writes lines onto a picture, white on what is darkened. Lines that are too long end with three dots, and those for which
/// there is no room are left out.
pub fn write(picture: &mut Picture, lines: &[String], place: Place) {
    let room = |height| {
        let width = (picture.width as usize).saturating_sub(2 * MARGIN);
        width / get_raster_width(FontWeight::Regular, height).max(1)
    };
    let fits = |height| lines.iter().all(|line| line.chars().count() <= room(height));
    let is_large = picture.width >= WIDE && fits(RasterHeight::Size32);
    let height = if is_large { RasterHeight::Size32 } else { RasterHeight::Size16 };
    let room = room(height);
    let lines: Vec<String> = lines.iter().filter_map(|line| fitted(line, room)).collect();
    let width = get_raster_width(FontWeight::Regular, height);
    let top = match place {
        Place::Above => MARGIN,
        Place::Below => {
            let text = lines.len() * height.val() + MARGIN;
            (picture.height as usize).saturating_sub(text)
        }
    };
    for (line, row) in lines.iter().zip((top..).step_by(height.val())) {
        if row + height.val() > picture.height as usize {
            break;
        }
        for (character, column) in line.chars().zip((MARGIN..).step_by(width)) {
            let raster = get_raster(character, FontWeight::Regular, height)
                .or_else(|| get_raster('?', FontWeight::Regular, height));
            let Some(raster) = raster else { continue };
            for (y, intensities) in (row..).zip(raster.rows()) {
                for (x, &intensity) in (column..).zip(intensities) {
                    blend(picture, x, y, intensity);
                }
            }
        }
    }
}

/// A line of at most so many characters; `None`: there is no room for it.
fn fitted(line: &str, room: usize) -> Option<String> {
    if line.chars().count() <= room {
        return Some(line.to_owned());
    }
    let beginning = room.checked_sub(MORE.len()).filter(|_| room >= LEAST)?;
    Some(line.chars().take(beginning).collect::<String>() + MORE)
}

/// Darkens a pixel by half, and makes it as white as the letter is there.
fn blend(picture: &mut Picture, x: usize, y: usize, intensity: u8) {
    if x >= picture.width as usize {
        return;
    }
    let (bytes, row) = (picture.colours.bytes(), picture.row_length());
    let at = y * row + x * bytes;
    for sample in picture.pixels.get_mut(at..at + bytes).into_iter().flatten() {
        let dark = u16::from(*sample) / 2;
        let white = u16::from(intensity);
        // A mean of two bytes.
        *sample = ((dark * (255 - white) + 255 * white) / 255) as u8;
    }
}

fn patient(data_set: &DataSet) -> Vec<String> {
    let text = |tag| data_set.string(tag).unwrap_or_default();
    // The alphabetic components; the others are in scripts that the font has not.
    let name = text(tags::PATIENT_NAME).split('=').find(|group| !group.is_empty()).unwrap_or_default();
    let name = name.split('^').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let mut born = date(text(tags::PATIENT_BIRTH_DATE));
    let sex = text(tags::PATIENT_SEX);
    if !sex.is_empty() {
        born = format!("{born} {sex}").trim().to_owned();
    }
    lines([name, text(tags::PATIENT_ID).to_owned(), born])
}

fn technique(data_set: &DataSet, frame: u32) -> Vec<String> {
    let text = |tag| data_set.string(tag).unwrap_or_default().to_owned();
    let joined = |parts: &[String]| {
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    };
    let named = |name: &str, tag: Tag, unit: &str| {
        decimal(data_set, tag, 0).map_or(String::new(), |value| format!("{name}{value}{unit}"))
    };
    let frame = match data_set.int(tags::NUMBER_OF_FRAMES) {
        Some(frames) if frames > 1 => format!("frame {frame}/{frames}"),
        _ => String::new(),
    };
    lines([
        joined(&[text(tags::MODALITY), date(&text(tags::STUDY_DATE)), text(tags::STUDY_DESCRIPTION)]),
        text(tags::SERIES_DESCRIPTION),
        joined(&[
            named("series ", tags::SERIES_NUMBER, ""),
            named("image ", tags::INSTANCE_NUMBER, ""),
            frame,
        ]),
        joined(&[
            named("", tags::KVP, " kV"),
            named("", tags::X_RAY_TUBE_CURRENT, " mA"),
            named("TR ", tags::REPETITION_TIME, " ms"),
            named("TE ", tags::ECHO_TIME, " ms"),
            named("slice ", tags::SLICE_THICKNESS, " mm"),
        ]),
    ])
}

fn lines<const N: usize>(lines: [String; N]) -> Vec<String> {
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

/// A DA as people read it.
fn date(text: &str) -> String {
    match (text.len(), text.get(..4), text.get(4..6), text.get(6..)) {
        (8, Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::image::render::picture::Colours;

    fn head() -> Head {
        let mut data_set = DataSet::new();
        for (tag, vr, value) in [
            (tags::PATIENT_NAME, VR::PN, "M\u{fc}ller^Anna=\u{6c34}"),
            (tags::PATIENT_ID, VR::LO, "P-7"),
            (tags::PATIENT_BIRTH_DATE, VR::DA, "19700203"),
            (tags::PATIENT_SEX, VR::CS, "F"),
            (tags::MODALITY, VR::CS, "CT"),
            (tags::STUDY_DATE, VR::DA, "20260102"),
            (tags::SERIES_NUMBER, VR::IS, "3"),
            (tags::NUMBER_OF_FRAMES, VR::IS, "9"),
            (tags::KVP, VR::DS, "120"),
        ] {
            data_set.set_str(tag, vr, value);
        }
        Head::of(data_set)
    }

    fn picture(side: u32, colours: Colours) -> Picture {
        let pixels = vec![100; side as usize * side as usize * colours.bytes()];
        Picture { width: side, height: side, colours, pixels, icc_profile: None }
    }

    #[test]
    fn the_lines_say_whose_and_how() {
        assert_eq!(patient(&head().data_set), ["M\u{fc}ller Anna", "P-7", "1970-02-03 F"]);
        assert_eq!(technique(&head().data_set, 2), ["CT 2026-01-02", "series 3 frame 2/9", "120 kV"]);
        assert!(patient(&DataSet::new()).is_empty());
    }

    #[test]
    fn text_is_where_it_belongs_and_nowhere_else() {
        for colours in [Colours::Grey, Colours::Rgb] {
            let untouched = picture(300, colours);
            let row = untouched.row_length();
            let is_changed = |picture: &Picture, rows: std::ops::Range<usize>| {
                picture.pixels[rows.start * row..rows.end * row].iter().any(|&sample| sample != 100)
            };
            let mut above = untouched.clone();
            annotate(&mut above, &head(), 1, "patient".parse().unwrap());
            assert!(is_changed(&above, 0..60) && !is_changed(&above, 60..300));
            let mut below = untouched.clone();
            annotate(&mut below, &head(), 1, "technique".parse().unwrap());
            assert!(!is_changed(&below, 0..240) && is_changed(&below, 240..300));
            let mut none = untouched.clone();
            annotate(&mut none, &head(), 1, Annotation::default());
            assert_eq!(none, untouched);
        }
    }

    #[test]
    fn a_patients_number_is_never_cut_without_a_sign() {
        let written = |side: u32, line: &str| {
            let mut picture = picture(side, Colours::Grey);
            write(&mut picture, &[line.to_owned()], Place::Above);
            picture
        };
        assert_eq!(fitted("1234567890123", 13).as_deref(), Some("1234567890123"));
        assert_eq!(fitted("1234567890123", 12).as_deref(), Some("123456789..."));
        assert_eq!(fitted("1234567890123", 11), None);
        // Letters of 16 pixels are 8 or 9 wide.
        assert_eq!(written(60, "1234567890123"), picture(60, Colours::Grey), "no room");
        assert_eq!(written(19, "1"), picture(19, Colours::Grey), "no room for a whole line");
        let number = "1234567890".repeat(10);
        let row =
            |picture: &Picture, row: usize| picture.pixels[row * 1000..][..1000].iter().any(|&p| p != 100);
        let (large, small) = (written(1000, "1"), written(1000, &number));
        assert!(row(&large, 30) && row(&small, 18) && !row(&small, 30), "smaller letters");
        assert_ne!(small, written(1000, &number[..64]), "all of it");
    }

    #[test]
    fn no_picture_is_too_small_and_no_letter_unknown() {
        for side in [1, 3, 17, 1000] {
            let mut picture = picture(side, Colours::Rgb);
            let length = picture.pixels.len();
            write(&mut picture, &["\u{6c34}\u{1F600}x".repeat(100), String::new()], Place::Below);
            write(&mut picture, &["x".repeat(100)], Place::Above);
            assert_eq!(picture.pixels.len(), length);
        }
        assert_eq!(
            "patient, technique".parse(),
            Ok(Annotation { patient: true, technique: true, overlays: false })
        );
        assert_eq!("both".parse::<Annotation>(), Err(BadAnnotation));
    }
}
