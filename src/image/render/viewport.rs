//! What of an image is shown, and how large: the parameter `viewport` (PS3.18 8.3.5.1.3), and pixels that are not
//! square.

use std::str::FromStr;

use super::Error;
use super::attributes::decimal;
use super::head::Head;
use super::picture::Picture;
use super::presentation::Presentation;
use super::scale::{Region, scaled};
use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, tags};
use crate::image::pixels::Shape;

/// Greatest width and height of a viewport: what the widest walls of screens have.
pub const MAX_SIDE: u32 = 16_384;

/// Most pixels of a picture: more than any detector has, and what one may cost.
pub const MAX_PIXELS: u64 = 1 << 26;

/// How much higher than wide a pixel may be, or the other way round; what says more is not believed.
const MAX_ASPECT: f64 = 16.0;

/// Where a picture has to fit in, and what of the image it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    width: u32,
    height: u32,
    x: f64,
    y: f64,
    /// `None`: to the edge. Negative: flipped.
    region_width: Option<f64>,
    region_height: Option<f64>,
    /// The region is in fractions of the image, and not in pixels.
    is_relative: bool,
    enlarges: bool,
}

/// It is no viewport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a viewport is vw,vh or vw,vh,sx,sy,sw,sh: whole numbers from 1 to 16384, then decimal ones; sw and sh are not 0"
)]
pub struct BadViewport;

impl Viewport {
    /// How many pixels fit in.
    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// At most so many pixels of all of the image; smaller images stay as they are.
    pub fn at_most(width: u32, height: u32) -> Self {
        let (x, y, region_width, region_height) = (0.0, 0.0, None, None);
        Self { width, height, x, y, region_width, region_height, is_relative: false, enlarges: false }
    }

    /// As WADO-URI asks for it (PS3.18 9.5): within so many columns and rows, of which each may be any number, the part
    /// between these edges, left, top, right and bottom, in fractions of the image. `None`: a side that no picture has.
    pub fn of_fractions(columns: Option<u32>, rows: Option<u32>, edges: Option<[f64; 4]>) -> Option<Self> {
        let side =
            |side: Option<u32>| Some(side.unwrap_or(MAX_SIDE)).filter(|side| (1..=MAX_SIDE).contains(side));
        let [left, top, right, bottom] = edges.unwrap_or([0.0, 0.0, 1.0, 1.0]);
        Some(Self {
            width: side(columns)?,
            height: side(rows)?,
            x: left,
            y: top,
            region_width: Some(right - left),
            region_height: Some(bottom - top),
            is_relative: true,
            enlarges: columns.is_some() || rows.is_some(),
        })
    }

    /// The same, but smaller images stay as they are.
    pub fn without_enlarging(self) -> Self {
        Self { enlarges: false, ..self }
    }

    /// Whether it names a part of the image, which thumbnails have not (PS3.18 8.3.5.1.3.2).
    pub fn has_region(&self) -> bool {
        self.x != 0.0 || self.y != 0.0 || self.region_width.is_some() || self.region_height.is_some()
    }
}

impl FromStr for Viewport {
    type Err = BadViewport;

    fn from_str(text: &str) -> Result<Self, BadViewport> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [width, height, region @ ..] = &parts[..] else { return Err(BadViewport) };
        if region.len() > 4 {
            return Err(BadViewport);
        }
        let side = |text: &str| match text.parse() {
            Ok(side @ 1..=MAX_SIDE) => Ok(side),
            _ => Err(BadViewport),
        };
        let number = |at: usize| match region.get(at) {
            None | Some(&"") => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(BadViewport),
            },
        };
        let place = |at| match number(at)? {
            Some(number) if number < 0.0 => Err(BadViewport),
            number => Ok(number.unwrap_or(0.0)),
        };
        let extent = |at| number(at).and_then(|n| if n == Some(0.0) { Err(BadViewport) } else { Ok(n) });
        Ok(Self {
            width: side(width)?,
            height: side(height)?,
            x: place(0)?,
            y: place(1)?,
            region_width: extent(2)?,
            region_height: extent(3)?,
            is_relative: false,
            enlarges: true,
        })
    }
}

/// The picture in its viewport: the part of it that is asked for, flipped, as large as fits in with square pixels.
/// `aspect`: how much higher than wide a pixel is. Without a viewport nothing is made smaller.
///
/// # Errors
/// The part lies outside of the image, or the picture would have more than [`MAX_PIXELS`].
pub(super) fn fitted(picture: Picture, viewport: Option<Viewport>, aspect: f64) -> Result<Picture, Error> {
    let (region, width, height) =
        placed(picture.width, picture.height, viewport, aspect).ok_or(Error::Region)?;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge);
    }
    let mut picture = scaled(picture, region, width, height);
    if viewport.and_then(|viewport| viewport.region_width).is_some_and(|width| width < 0.0) {
        picture.flip_horizontally();
    }
    if viewport.and_then(|viewport| viewport.region_height).is_some_and(|height| height < 0.0) {
        picture.flip_vertically();
    }
    Ok(picture)
}

/// What part of an image of this size is seen, and how wide and high that is; `None`: nothing.
fn placed(width: u32, height: u32, viewport: Option<Viewport>, aspect: f64) -> Option<(Region, u32, u32)> {
    let whole = Region { x: 0.0, y: 0.0, width: width.into(), height: height.into() };
    let region = viewport.map_or(Some(whole), |viewport| part(whole, &viewport))?;
    // The least size with square pixels in which nothing is lost.
    let (width, height) = (region.width * (1.0 / aspect).max(1.0), region.height * aspect.max(1.0));
    let scale = viewport.map_or(1.0, |viewport| {
        let fit = (f64::from(viewport.width) / width).min(f64::from(viewport.height) / height);
        if viewport.enlarges { fit } else { fit.min(1.0) }
    });
    // Conversions saturate.
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    Some((region, side(width), side(height)))
}

/// The part of the image that a viewport names, as far as it is there.
fn part(whole: Region, viewport: &Viewport) -> Option<Region> {
    let extent = |from: f64, wanted: Option<f64>, length: f64| {
        let unit = if viewport.is_relative { length } else { 1.0 };
        let from = from * unit;
        let there = length - from;
        let extent = wanted.map_or(there, |wanted| (wanted.abs() * unit).min(there));
        (extent > 0.0).then_some((from, extent))
    };
    let (x, width) = extent(viewport.x, viewport.region_width, whole.width)?;
    let (y, height) = extent(viewport.y, viewport.region_height, whole.height)?;
    Some(Region { x, y, width, height })
}

/// How many pixels the picture of a frame has; of one that a presentation state shows, which may turn it or show a part of
/// it, the most that it may have.
pub fn pixels_of(
    head: &Head,
    number: u32,
    shape: &Shape,
    viewport: Option<Viewport>,
    presentation: Option<&Presentation>,
) -> u64 {
    let own = aspect(head, number);
    let aspect = presentation.map_or(own, |presentation| presentation.aspect(own));
    let placed = placed(shape.columns.into(), shape.rows.into(), viewport, aspect);
    let wanted = placed.map_or(0, |(_, width, height)| u64::from(width) * u64::from(height));
    match (presentation, viewport) {
        (Some(_), Some(viewport)) => wanted.max(viewport.pixels()),
        _ => wanted,
    }
}

/// How much higher than wide the pixels of a frame are: by their distances in the patient or at the detector, else by
/// Pixel Aspect Ratio (0028,0034), 1 where nothing says so (PS3.3 C.7.6.3.1.7, 10.7.1).
pub(super) fn aspect(head: &Head, number: u32) -> f64 {
    let top = &head.data_set;
    let measures = head.group_or_top(number, tags::PIXEL_MEASURES_SEQUENCE);
    [
        (measures, tags::PIXEL_SPACING),
        (top, tags::IMAGER_PIXEL_SPACING),
        (top, tags::NOMINAL_SCANNED_PIXEL_SPACING),
        (top, tags::PIXEL_ASPECT_RATIO),
    ]
    .into_iter()
    .find_map(|(data_set, tag)| ratio(data_set, tag))
    .unwrap_or(1.0)
}

/// How much higher than wide a pixel is by an attribute with its height and its width; `None`: that is not to be believed.
pub(super) fn ratio(data_set: &DataSet, tag: Tag) -> Option<f64> {
    let (vertical, horizontal) = (decimal(data_set, tag, 0)?, decimal(data_set, tag, 1)?);
    let aspect = vertical / horizontal;
    (vertical > 0.0 && (1.0 / MAX_ASPECT..=MAX_ASPECT).contains(&aspect)).then_some(aspect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::image::render::picture::Colours;

    fn picture(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height).map(|n| n as u8).collect();
        Picture { width, height, colours: Colours::Grey, pixels, icc_profile: None }
    }

    fn in_viewport(picture: Picture, viewport: &str, aspect: f64) -> Picture {
        fitted(picture, Some(viewport.parse().unwrap()), aspect).unwrap()
    }

    #[test]
    fn a_picture_fits_in_and_keeps_its_proportions() {
        for (viewport, size) in
            [("100,100", (100, 50)), ("30,8", (16, 8)), ("1,1", (1, 1)), ("64,32", (64, 32))]
        {
            let shown = in_viewport(picture(64, 32), viewport, 1.0);
            assert_eq!((shown.width, shown.height), size, "{viewport}");
            assert_eq!(shown.pixels.len(), (size.0 * size.1) as usize);
        }
        let small = fitted(picture(64, 32), Some(Viewport::at_most(200, 200)), 1.0).unwrap();
        assert_eq!((small.width, small.height), (64, 32), "not enlarged");
    }

    #[test]
    fn the_size_of_a_picture_is_known_before_it_is_drawn() {
        for viewport in ["64,64", "7,99", "9,9,1,1,-2,3"] {
            let viewport = Some(viewport.parse().unwrap());
            let mut data_set = DataSet::new();
            data_set.set_strings(tags::PIXEL_SPACING, VR::DS, vec!["1".into(), "2".into()]);
            let shape = Shape {
                rows: 4,
                columns: 5,
                samples: 1,
                bits_allocated: 8,
                bits_stored: 8,
                high_bit: 7,
                signed: false,
                photometric: crate::image::pixels::Photometric::Monochrome2,
                planar: false,
            };
            let drawn = fitted(picture(5, 4), viewport, 0.5).unwrap();
            let told = pixels_of(&Head::of(data_set), 1, &shape, viewport, None);
            assert_eq!(told, drawn.pixels.len() as u64);
        }
    }

    #[test]
    fn pixels_become_square_and_nothing_is_lost() {
        let size = |picture: Picture| (picture.width, picture.height);
        assert_eq!(size(fitted(picture(64, 32), None, 2.0).unwrap()), (64, 64));
        assert_eq!(size(fitted(picture(64, 32), None, 0.5).unwrap()), (128, 32));
        assert_eq!(size(in_viewport(picture(64, 32), "64,64", 2.0)), (64, 64));
        assert_eq!(size(in_viewport(picture(64, 32), "64,64", 1.0)), (64, 32));
    }

    #[test]
    fn a_region_is_cut_out_and_flipped_where_its_size_is_negative() {
        let picture = || picture(4, 3);
        assert_eq!(in_viewport(picture(), "2,2,1,1,2,2", 1.0).pixels, [5, 6, 9, 10]);
        assert_eq!(in_viewport(picture(), "2,2,1,1,-2,2", 1.0).pixels, [6, 5, 10, 9]);
        assert_eq!(in_viewport(picture(), "2,2,1,1,2,-2", 1.0).pixels, [9, 10, 5, 6]);
        // To the edge, where nothing is said; and what reaches beyond it ends there.
        assert_eq!(in_viewport(picture(), "2,2,2,1", 1.0).pixels, [6, 7, 10, 11]);
        assert_eq!(in_viewport(picture(), "2,2,2,1,,", 1.0).pixels, [6, 7, 10, 11]);
        assert_eq!(in_viewport(picture(), "2,2,2,1,99,99", 1.0).pixels, [6, 7, 10, 11]);
        let outside = fitted(picture(), Some("2,2,4,0,1,1".parse().unwrap()), 1.0);
        assert_eq!(outside, Err(Error::Region));
    }

    #[test]
    fn what_is_no_viewport_is_refused() {
        for bad in [
            "",
            "1",
            "0,1",
            "1,0",
            "1,1,1,1,1,1,1",
            "16385,1",
            "1.5,2",
            "-1,1",
            "1,1,-1",
            "1,1,0,0,0,1",
            "1,1,nan",
            "1,1,0,0,inf",
            "a,b",
        ] {
            assert_eq!(bad.parse::<Viewport>(), Err(BadViewport), "{bad}");
        }
        assert!(!"1,1".parse::<Viewport>().unwrap().has_region());
        assert!("1,1,0,0,-5".parse::<Viewport>().unwrap().has_region());
    }

    #[test]
    fn the_aspect_of_pixels_is_that_of_their_distances() {
        let aspect_of = |tag, vr, vertical: &str, horizontal: &str| {
            let mut data_set = DataSet::new();
            data_set.set_strings(tag, vr, vec![vertical.into(), horizontal.into()]);
            aspect(&Head::of(data_set), 1)
        };
        assert_eq!(aspect_of(tags::PIXEL_SPACING, VR::DS, "0.5", "0.25"), 2.0);
        assert_eq!(aspect_of(tags::PIXEL_ASPECT_RATIO, VR::IS, "1", "2"), 0.5);
        assert_eq!(aspect_of(tags::PIXEL_SPACING, VR::DS, "0", "0"), 1.0);
        assert_eq!(aspect_of(tags::PIXEL_ASPECT_RATIO, VR::IS, "1", "65535"), 1.0, "not believed");
        assert_eq!(aspect(&Head::of(DataSet::new()), 1), 1.0);
    }
}
