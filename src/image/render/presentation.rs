//! Presentation states: how somebody else wants an image to be shown (PS3.4 N.2, PS3.3 A.33.1, A.33.2).
//!
//! Of a Grayscale or Color Softcopy Presentation State are applied: its Modality LUT, its VOI LUT or window, Presentation
//! LUT Shape, shutters, the displayed area with the shape of its pixels, rotation and flip. What a state does not say of
//! grey is an identity transformation, whatever the image says. Not applied are graphics, overlays, masks, a Presentation
//! LUT Sequence; areas are scaled to fit, whatever size mode they have.

use super::head::Head;
use super::picture::Picture;
use super::scale::{Region, scaled};
use super::shutter::Shutters;
use super::viewport::ratio;
use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, Uid, tags};

/// Grayscale Softcopy Presentation State Storage.
pub const GRAYSCALE: &str = "1.2.840.10008.5.1.4.1.1.11.1";
/// Color Softcopy Presentation State Storage.
pub const COLOR: &str = "1.2.840.10008.5.1.4.1.1.11.2";

/// What takes the place of an image's own attributes.
const MODALITY: [Tag; 3] = [tags::MODALITY_LUT_SEQUENCE, tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT];
const VOI: [Tag; 4] = [tags::VOILUT_SEQUENCE, tags::WINDOW_CENTER, tags::WINDOW_WIDTH, tags::VOILUT_FUNCTION];
const SHAPE: [Tag; 1] = [tags::PRESENTATION_LUT_SHAPE];

/// How a presentation state shows one frame of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Presentation {
    /// Attributes that take the place of the image's own.
    own: DataSet,
    shutters: Shutters,
    /// Left, top, right and bottom pixel of what is shown, from 1, with both ends.
    area: Option<[i64; 4]>,
    /// How much higher than wide the image's pixels are shown; `None`: as the image says.
    aspect: Option<f64>,
    /// Quarters of a turn, clockwise.
    quarters: u16,
    /// Left becomes right after that.
    is_flipped: bool,
}

impl Presentation {
    /// How this state shows a frame, from 1, of an instance; `None`: it is not about that.
    pub fn read(state: &DataSet, instance: &Uid, frame: u32) -> Option<Self> {
        let series = state.items(tags::REFERENCED_SERIES_SEQUENCE);
        let is_about = series.iter().any(|series| {
            let images = series.items(tags::REFERENCED_IMAGE_SEQUENCE);
            images.iter().any(|image| is_named(image, instance, frame))
        });
        if !is_about {
            return None;
        }
        let of_it = |sequence: Tag| state.items(sequence).iter().find(|item| applies(item, instance, frame));
        let mut own = DataSet::new();
        let mut take = |from: &DataSet, tags: &[Tag]| {
            for (tag, element) in tags.iter().filter_map(|&tag| Some((tag, from.get(tag)?))) {
                own.insert(tag, element.clone());
            }
        };
        take(state, &MODALITY);
        take(state, &SHAPE);
        if let Some(item) = of_it(tags::SOFTCOPY_VOILUT_SEQUENCE) {
            take(item, &VOI);
        }
        let displayed = of_it(tags::DISPLAYED_AREA_SELECTION_SEQUENCE);
        let area = displayed.and_then(|item| {
            let [left, top] = super::attributes::integers(item, tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER)?;
            let [right, bottom] =
                super::attributes::integers(item, tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER)?;
            // Corners of the area as it is shown: turned, they are other ones of the image.
            Some([left.min(right), top.min(bottom), left.max(right), top.max(bottom)])
        });
        let degrees = state.int(tags::IMAGE_ROTATION).and_then(|degrees| u16::try_from(degrees).ok());
        Some(Self {
            own,
            shutters: Shutters::read(state),
            area,
            aspect: displayed.and_then(|item| {
                ratio(item, tags::PRESENTATION_PIXEL_SPACING)
                    .or_else(|| ratio(item, tags::PRESENTATION_PIXEL_ASPECT_RATIO))
            }),
            quarters: degrees.unwrap_or_default() / 90 % 4,
            is_flipped: state.string(tags::IMAGE_HORIZONTAL_FLIP) == Some("Y"),
        })
    }

    /// The image's attributes with those of the state in their place: those that the state has not "shall not be used"
    /// (PS3.4 N.2.1.1, N.2.1.3).
    pub(super) fn head(&self, head: &Head) -> Head {
        let mut head = head.clone();
        head.is_presented = true;
        head.ungroup(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        head.ungroup(tags::FRAME_VOILUT_SEQUENCE);
        head.data_set.retain(|tag| ![&MODALITY[..], &VOI, &SHAPE].concat().contains(&tag));
        for (tag, element) in &self.own {
            head.data_set.insert(tag, element.clone());
        }
        head
    }

    /// What is seen of the picture: without what the shutters cover, the area that is shown, turned.
    pub(super) fn seen(&self, mut picture: Picture) -> Picture {
        self.shutters.cover(&mut picture);
        if let Some(region) = self.area.and_then(|area| part(&picture, area)) {
            // Whole pixels, so that nothing is blurred.
            let (width, height) = (region.width as u32, region.height as u32);
            picture = scaled(picture, region, width, height);
        }
        for _ in 0..self.quarters {
            picture = picture.turned();
        }
        if self.is_flipped {
            picture.flip_horizontally();
        }
        picture
    }

    /// How much higher than wide a pixel is as it is shown, where the image's is so.
    pub(super) fn aspect(&self, aspect: f64) -> f64 {
        let aspect = self.aspect.unwrap_or(aspect);
        if self.quarters % 2 == 1 { 1.0 / aspect } else { aspect }
    }
}

/// What of an area lies in the picture; `None`: nothing.
fn part(picture: &Picture, [left, top, right, bottom]: [i64; 4]) -> Option<Region> {
    let within = |from: i64, to: i64, length: u32| {
        let (from, to) = (from.max(1), to.min(i64::from(length)));
        (from <= to).then_some(((from - 1) as f64, (to - from + 1) as f64))
    };
    let (x, width) = within(left, right, picture.width)?;
    let (y, height) = within(top, bottom, picture.height)?;
    Some(Region { x, y, width, height })
}

/// Whether an item of the state applies to the frame: it names it, or no image at all.
fn applies(item: &DataSet, instance: &Uid, frame: u32) -> bool {
    let images = item.items(tags::REFERENCED_IMAGE_SEQUENCE);
    images.is_empty() || images.iter().any(|image| is_named(image, instance, frame))
}

/// Whether a reference names the frame: without frame numbers it names all.
fn is_named(image: &DataSet, instance: &Uid, frame: u32) -> bool {
    let frames = image.strings(tags::REFERENCED_FRAME_NUMBER);
    let has_frame = frames.is_empty() || frames.iter().any(|number| number.trim().parse() == Ok(frame));
    has_frame && image.uid(tags::REFERENCED_SOP_INSTANCE_UID).as_ref() == Some(instance)
}

#[cfg(test)]
mod tests;
