//! A picture: pixels of 8 bits that mean what they look like, without gaps.

use bytes::Bytes;

use crate::image::pixels::Shape;

/// What the pixels of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// One byte: 0 black, 255 white.
    Grey,
    /// Three bytes: red, green, blue.
    Rgb,
}

impl Colours {
    /// Bytes of a pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What its pixels are.
    pub colours: Colours,
    /// Row by row from the top, `width` × `height` × [`Colours::bytes`].
    pub pixels: Vec<u8>,
    /// The ICC profile of its colours, where it has one.
    pub icc_profile: Option<Bytes>,
}

impl Picture {
    /// A picture of the size that a frame has. What is missing of its pixels is black, what is too much is cut off.
    pub(super) fn of(shape: &Shape, colours: Colours, mut pixels: Vec<u8>) -> Self {
        pixels.resize(shape.pixels() * colours.bytes(), 0);
        Self { width: shape.columns.into(), height: shape.rows.into(), colours, pixels, icc_profile: None }
    }

    /// Bytes of a row.
    pub fn row_length(&self) -> usize {
        self.width as usize * self.colours.bytes()
    }

    /// Left becomes right.
    pub fn flip_horizontally(&mut self) {
        let (row, bytes) = (self.row_length().max(1), self.colours.bytes());
        for row in self.pixels.chunks_exact_mut(row) {
            row.reverse();
            // The bytes of a pixel are in their order again.
            row.chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
        }
    }

    /// Above becomes below.
    pub fn flip_vertically(&mut self) {
        let row = self.row_length().max(1);
        let height = self.pixels.len() / row;
        let (above, below) = self.pixels.split_at_mut(height.div_ceil(2) * row);
        for (above, below) in above.chunks_exact_mut(row).zip(below.chunks_exact_mut(row).rev()) {
            above.swap_with_slice(below);
        }
    }

    /// The picture after a quarter of a turn, clockwise.
    pub fn turned(self) -> Self {
        let (width, height, bytes) = (self.width as usize, self.height as usize, self.colours.bytes());
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for column in 0..width {
            for row in (0..height).rev() {
                let at = (row * width + column) * bytes;
                pixels.extend_from_slice(self.pixels.get(at..at + bytes).unwrap_or_default());
            }
        }
        Self { width: self.height, height: self.width, pixels, ..self }
    }

    /// The same picture with three bytes for a pixel.
    pub fn into_rgb(mut self) -> Self {
        if self.colours == Colours::Grey {
            self.pixels = self.pixels.iter().flat_map(|&grey| [grey; 3]).collect();
            self.colours = Colours::Rgb;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(height: u32, colours: Colours, pixels: &[u8]) -> Picture {
        let width = u32::try_from(pixels.len() / colours.bytes()).unwrap() / height;
        Picture { width, height, colours, pixels: pixels.to_vec(), icc_profile: None }
    }

    #[test]
    fn pictures_are_turned_by_pixels_and_by_rows() {
        let mut grey = picture(3, Colours::Grey, &[1, 2, 3, 4, 5, 6]);
        grey.flip_vertically();
        assert_eq!(grey.pixels, [5, 6, 3, 4, 1, 2]);
        grey.flip_horizontally();
        assert_eq!(grey.pixels, [6, 5, 4, 3, 2, 1]);
        let mut colour = picture(1, Colours::Rgb, &[1, 2, 3, 4, 5, 6]);
        colour.flip_horizontally();
        assert_eq!(colour.pixels, [4, 5, 6, 1, 2, 3]);
        colour.flip_vertically();
        assert_eq!(colour.pixels, [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn grey_has_three_equal_colours() {
        assert_eq!(picture(1, Colours::Grey, &[7, 9]).into_rgb().pixels, [7, 7, 7, 9, 9, 9]);
    }
}
