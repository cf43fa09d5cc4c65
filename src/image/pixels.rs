//! The pixels of one frame, and what says how they lie: the Image Pixel Description Macro (PS3.3 C.7.6.3.1).
//!
//! Decoders make a [`Frame`], encoders and the renderer take one, and native pixel data are cut into some.

use std::fmt;

/// Photometric Interpretation (0028,0004): what the samples of a pixel mean (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Photometric {
    /// Grey, the least value white.
    Monochrome1,
    /// Grey, the least value black.
    Monochrome2,
    /// Indices of a table of colours.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luminance and two chrominances, of the full range of values.
    YbrFull,
    /// The same; native pixels have one pair of chrominances for two of a row: Y1 Y2 CB CR.
    YbrFull422,
    /// Luminance and two chrominances of a part of the range, one pair for two pixels of a row; retired.
    YbrPartial422,
    /// The same, one pair for four pixels of two rows: only in video.
    YbrPartial420,
    /// The irreversible transformation of JPEG 2000; never of native pixels.
    YbrIct,
    /// The reversible transformation of JPEG 2000; never of native pixels.
    YbrRct,
    /// The colour space of JPEG XL; never of native pixels.
    Xyb,
}

impl Photometric {
    const NAMES: [(Self, &str); 11] = [
        (Self::Monochrome1, "MONOCHROME1"),
        (Self::Monochrome2, "MONOCHROME2"),
        (Self::PaletteColor, "PALETTE COLOR"),
        (Self::Rgb, "RGB"),
        (Self::YbrFull, "YBR_FULL"),
        (Self::YbrFull422, "YBR_FULL_422"),
        (Self::YbrPartial422, "YBR_PARTIAL_422"),
        (Self::YbrPartial420, "YBR_PARTIAL_420"),
        (Self::YbrIct, "YBR_ICT"),
        (Self::YbrRct, "YBR_RCT"),
        (Self::Xyb, "XYB"),
    ];

    /// The interpretation of this Defined Term; `None`: not one that is known. Spaces around it do not count.
    pub fn read(term: &str) -> Option<Self> {
        let term = term.trim_matches([' ', '\0']);
        Self::NAMES.iter().find(|(_, name)| *name == term).map(|(photometric, _)| *photometric)
    }

    /// Its Defined Term.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(photometric, _)| *photometric == self).map_or("", |(_, name)| name)
    }

    /// How many samples a pixel has.
    pub fn samples(self) -> u16 {
        match self {
            Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor => 1,
            _ => 3,
        }
    }

    /// Whether native pixels of it have half the chrominance samples, or fewer.
    pub fn is_subsampled(self) -> bool {
        matches!(self, Self::YbrFull422 | Self::YbrPartial422 | Self::YbrPartial420)
    }
}

impl fmt::Display for Photometric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the pixels of a frame lie in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per Pixel (0028,0002).
    pub samples: u16,
    /// Bits Allocated (0028,0100): of the cell of a sample.
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101): of them, those that are the sample.
    pub bits_stored: u16,
    /// High Bit (0028,0102): the sample's most significant one, from 0.
    pub high_bit: u16,
    /// Pixel Representation (0028,0103): samples are in two's complement.
    pub signed: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Planar Configuration (0028,0006) is 1: all of a sample, then all of the next.
    pub planar: bool,
}

impl Shape {
    /// How many pixels there are.
    pub fn pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// How many bits a native frame has, without padding (PS3.5 8.1.1).
    pub fn frame_bits(&self) -> u64 {
        let samples = match self.photometric {
            Photometric::YbrFull422 | Photometric::YbrPartial422 if self.samples == 3 => 2,
            _ => u64::from(self.samples),
        };
        self.pixels() as u64 * samples * u64::from(self.bits_allocated)
    }

    /// How many bytes a native frame has that stands for itself: the last bits of the last byte may be no pixel's.
    pub fn frame_length(&self) -> u64 {
        self.frame_bits().div_ceil(8)
    }
}

/// A native frame: the bytes that would stand in Pixel Data (7FE0,0010) in Explicit VR Little Endian, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// How they lie.
    pub shape: Shape,
    /// [`Shape::frame_length`] bytes.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_they_are_written() {
        for (photometric, name) in Photometric::NAMES {
            assert_eq!(Photometric::read(&format!("{name} ")), Some(photometric));
            assert_eq!(photometric.to_string(), name);
        }
        assert_eq!(Photometric::read("HSV"), None);
    }

    #[test]
    fn a_frame_is_as_long_as_its_cells() {
        let grey = Shape {
            rows: 3,
            columns: 5,
            samples: 1,
            bits_allocated: 1,
            bits_stored: 1,
            high_bit: 0,
            signed: false,
            photometric: Photometric::Monochrome2,
            planar: false,
        };
        assert_eq!(grey.frame_length(), 2);
        assert_eq!(Shape { bits_allocated: 16, ..grey }.frame_length(), 30);
        let colour = Shape { samples: 3, bits_allocated: 8, ..grey };
        assert_eq!(Shape { photometric: Photometric::Rgb, ..colour }.frame_length(), 45);
        assert_eq!(Shape { columns: 6, photometric: Photometric::YbrFull422, ..colour }.frame_length(), 36);
    }
}
