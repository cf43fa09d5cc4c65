//! Makes a picture of a frame, as a display would show it (PS3.4 N.2, PS3.18 8.3.5). No I/O.
//!
//! [`HeadReader`] gathers from the object what says how its pixels are shown, while a
//! [`Cutter`](super::frames::Cutter) cuts the frame out of the same bytes. [`render()`] takes both and goes the way of
//! the standard: the values of the modality, those of interest, grey or colours, the part that is asked for, the size.
//! [`mod@write`] makes a file of the picture.
//!
//! Overlays are drawn where that is asked for: viewers draw them, and expect a picture without. Windows do not change
//! colours.

use crate::dicom::Tag;
use crate::image::pixels::{Frame, Photometric};

pub mod annotate;
pub mod attributes;
pub(in crate::image) mod colour;
mod grey;
pub mod head;
pub mod icc;
mod lut;
mod overlay;
mod palette;
pub mod picture;
pub mod presentation;
mod scale;
mod shutter;
pub mod viewport;
pub mod voi;
pub mod write;

pub use self::annotate::Annotation;
pub use self::head::{Head, HeadReader};
pub use self::icc::Profile;
pub use self::picture::{Colours, Picture};
pub use self::presentation::Presentation;
pub use self::viewport::Viewport;
pub use self::voi::Window;

/// Most pixels of a frame that is shown, maybe smaller: what whole slides have that are not tiled.
pub const MAX_FRAME: u64 = 1 << 27;

/// How a picture is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Options {
    /// In place of what the image says itself; of no effect on colours.
    pub window: Option<Window>,
    /// What of it is wanted, and how large; `None`: all of it, as large as it is.
    pub viewport: Option<Viewport>,
    /// What is written onto it.
    pub annotation: Annotation,
    /// What its colours are to be.
    pub profile: Profile,
}

/// Why there is no picture of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An attribute is missing that is needed, contradicts others, or says something that is not known here.
    #[error("the pixels cannot be shown for the sake of their attribute {0}")]
    Attribute(Tag),
    /// The frame has fewer bytes than its pixels need.
    #[error("the frame is shorter than its pixels")]
    TooShort,
    /// The part that is asked for is outside of the image.
    #[error("the part that is asked for lies outside of the image")]
    Region,
    /// The frame has more than [`MAX_FRAME`] pixels.
    #[error("frames of more than {MAX_FRAME} pixels are not rendered")]
    FrameTooLarge,
    /// The picture would have more than [`viewport::MAX_PIXELS`].
    #[error("the picture would be too large")]
    TooLarge,
}

/// A picture of a frame, which is the object's frame of this number, from 1.
///
/// # Errors
/// The pixels are none that can be shown, or the wanted part of them is none.
pub fn render(head: &Head, frame: &Frame, number: u32, options: &Options) -> Result<Picture, Error> {
    finished(pixels(head, frame, number, options)?, head, number, options, viewport::aspect(head, number))
}

/// The same, shown as a presentation state wants it. The window of `options` takes the place of the state's, the viewport
/// is of what the state shows.
///
/// # Errors
/// As of [`render()`].
pub fn render_as(
    head: &Head,
    frame: &Frame,
    number: u32,
    options: &Options,
    presentation: &Presentation,
) -> Result<Picture, Error> {
    let picture = presentation.seen(pixels(&presentation.head(head), frame, number, options)?);
    finished(picture, head, number, options, presentation.aspect(viewport::aspect(head, number)))
}

/// The pixels as they look like, where they are.
fn pixels(head: &Head, frame: &Frame, number: u32, options: &Options) -> Result<Picture, Error> {
    let shape = &frame.shape;
    attributes::check(shape)?;
    if shape.pixels() as u64 > MAX_FRAME {
        return Err(Error::FrameTooLarge);
    }
    if (frame.bytes.len() as u64) < shape.frame_length() {
        return Err(Error::TooShort);
    }
    let mut picture = match shape.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => {
            grey::render(head, frame, number, options.window)?
        }
        Photometric::PaletteColor => grey::palette(head, frame)?,
        _ => colour::render(frame)?,
    };
    if options.annotation.overlays {
        overlay::draw(&mut picture, head, frame, number);
    }
    Ok(picture)
}

/// Their colours, what is seen of them and how large, and what is written onto them.
fn finished(
    picture: Picture,
    head: &Head,
    number: u32,
    options: &Options,
    aspect: f64,
) -> Result<Picture, Error> {
    let picture = icc::coloured(picture, head, number, options.profile)?;
    let mut picture = viewport::fitted(picture, options.viewport, aspect)?;
    annotate::annotate(&mut picture, head, number, options.annotation);
    Ok(picture)
}
