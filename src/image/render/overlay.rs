//! Overlays: planes of bits over an image, in attributes of their own or, in old objects, in bits of the pixels' cells
//! that are no sample's (PS3.3 C.9.2, PS3.5 8.1.2). They are drawn in white.

use std::ops::Range;

use super::attributes::integers;
use super::head::Head;
use super::picture::Picture;
use crate::dicom::Tag;
use crate::dicom::dataset::{DataSet, Value};
use crate::image::pixels::Frame;

/// Most overlays of an image: those of the groups 6000 to 601E.
const MAX_OVERLAYS: u16 = 16;

/// Overlay Rows, in each of the groups.
const ROWS: u16 = 0x0010;
/// Overlay Columns.
const COLUMNS: u16 = 0x0011;
/// Number of Frames in Overlay.
const FRAMES: u16 = 0x0015;
/// Overlay Origin.
const ORIGIN: u16 = 0x0050;
/// Image Frame Origin.
const FRAME_ORIGIN: u16 = 0x0051;
/// Overlay Bit Position.
const BIT_POSITION: u16 = 0x0102;
/// Overlay Data.
const DATA: u16 = 0x3000;

/// Draws the overlays of a frame, from 1, onto its picture, which is as large as the frame.
pub(super) fn draw(picture: &mut Picture, head: &Head, frame: &Frame, number: u32) {
    for group in (0..MAX_OVERLAYS).map(|n| 0x6000 + 2 * n) {
        if let Some(overlay) = Overlay::read(&head.data_set, group, frame, number) {
            overlay.draw(picture);
        }
    }
}

struct Overlay<'a> {
    rows: i64,
    columns: i64,
    /// Row and column of the image at which the first bit lies, from 1.
    origin: [i64; 2],
    bits: Bits<'a>,
}

/// Where the bits are.
enum Bits<'a> {
    /// One after the other, the lowest of a byte first, from this bit on.
    Plane(&'a [u8], usize),
    /// One in each cell of so many bytes.
    Embedded { cells: &'a [u8], bytes: usize, bit: usize },
}

impl<'a> Overlay<'a> {
    /// The overlay of this group; `None`: there is none, or none of this frame.
    fn read(data_set: &'a DataSet, group: u16, frame: &'a Frame, number: u32) -> Option<Self> {
        let own = |element: u16| Tag(group, element);
        let one = |element| data_set.int(own(element));
        let side = |element| one(element).filter(|&side| (1..=i64::from(u16::MAX)).contains(&side));
        let (rows, columns) = (side(ROWS)?, side(COLUMNS)?);
        // Of which of its frames this one has the plane.
        let first = one(FRAME_ORIGIN).unwrap_or(1);
        let plane = match one(FRAMES) {
            Some(frames) => {
                let plane = i64::from(number).checked_sub(first)?;
                (0..frames).contains(&plane).then_some(plane)?
            }
            None => 0,
        };
        let bits = match data_set.get(own(DATA)).map(|element| &element.value) {
            Some(Value::Bytes(bytes)) => {
                let length = usize::try_from(rows * columns).ok()?;
                Bits::Plane(bytes, usize::try_from(plane).ok()?.checked_mul(length)?)
            }
            _ => {
                let bit = usize::try_from(one(BIT_POSITION)?).ok()?;
                let shape = &frame.shape;
                let bytes = usize::from(shape.bits_allocated) / 8;
                let is_image = rows == i64::from(shape.rows) && columns == i64::from(shape.columns);
                let is_free = bit < 8 * bytes
                    && !(shape.high_bit + 1 - shape.bits_stored..=shape.high_bit).contains(&(bit as u16));
                (is_image && is_free && shape.samples == 1).then_some(Bits::Embedded {
                    cells: &frame.bytes,
                    bytes,
                    bit,
                })?
            }
        };
        let origin = integers(data_set, own(ORIGIN)).unwrap_or([1, 1]);
        Some(Self { rows, columns, origin, bits })
    }

    fn draw(&self, picture: &mut Picture) {
        let (row_length, bytes) = (picture.row_length(), picture.colours.bytes());
        // However large it is, no more than the picture is gone through.
        let (rows, top) = within(self.rows, self.origin[0], picture.height);
        let (columns, left) = within(self.columns, self.origin[1], picture.width);
        for (row, y) in rows.zip(top..) {
            for (column, x) in columns.clone().zip(left..) {
                // Sides are of 16 bits.
                if self.bits.is_set((row * self.columns + column) as usize) {
                    let at = y * row_length + x * bytes;
                    picture.pixels.get_mut(at..at + bytes).into_iter().for_each(|pixel| pixel.fill(255));
                }
            }
        }
    }
}

impl Bits<'_> {
    fn is_set(&self, at: usize) -> bool {
        let (byte, bit) = match self {
            Self::Plane(bytes, first) => {
                let at = first.saturating_add(at);
                (bytes.get(at / 8), at % 8)
            }
            Self::Embedded { cells, bytes, bit } => (cells.get(at * bytes + bit / 8), bit % 8),
        };
        byte.is_some_and(|byte| byte >> bit & 1 == 1)
    }
}

/// Which rows or columns of an overlay lie on the picture, and at which of its own, from 0, the first of them does.
fn within(side: i64, origin: i64, length: u32) -> (Range<i64>, usize) {
    let shift = origin.saturating_sub(1);
    let first = shift.saturating_neg().max(0);
    let behind = i64::from(length).saturating_sub(shift).min(side);
    (first..behind, usize::try_from(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dicom::VR;
    use crate::dicom::dataset::Element;
    use crate::image::pixels::{Photometric, Shape};
    use crate::image::render::picture::Colours;

    fn frame() -> Frame {
        let shape = Shape {
            rows: 2,
            columns: 3,
            samples: 1,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            signed: false,
            photometric: Photometric::Monochrome2,
            planar: false,
        };
        let cells = [0x1000_u16, 0x0FFF, 0x2000, 0x3000, 0, 0x1001];
        Frame { shape, bytes: cells.iter().flat_map(|cell| cell.to_le_bytes()).collect() }
    }

    fn overlay(origin: [i16; 2], numbers: &[(Tag, &str)], data: Option<&'static [u8]>) -> DataSet {
        let mut data_set = DataSet::new();
        data_set.set_u16(Tag(0x6000, ROWS), 2);
        data_set.set_u16(Tag(0x6000, COLUMNS), 3);
        let words: Vec<u8> = origin.iter().flat_map(|word| word.to_le_bytes()).collect();
        data_set.insert(Tag(0x6000, ORIGIN), Element { vr: VR::SS, value: Value::Bytes(words.into()) });
        for (tag, value) in numbers {
            data_set.set_str(*tag, VR::IS, *value);
        }
        if let Some(data) = data {
            let value = Value::Bytes(Bytes::from_static(data));
            data_set.insert(Tag(0x6000, DATA), Element { vr: VR::OW, value });
        }
        data_set
    }

    fn drawn(data_set: DataSet, number: u32) -> Vec<u8> {
        let mut picture =
            Picture { width: 3, height: 2, colours: Colours::Grey, pixels: vec![0; 6], icc_profile: None };
        draw(&mut picture, &Head::of(data_set), &frame(), number);
        picture.pixels.iter().map(|grey| grey / 255).collect()
    }

    #[test]
    fn a_plane_lies_where_its_origin_is() {
        let bits: &[u8] = &[0b0010_1001];
        assert_eq!(drawn(overlay([1, 1], &[], Some(bits)), 1), [1, 0, 0, 1, 0, 1]);
        assert_eq!(drawn(overlay([2, 1], &[], Some(bits)), 1), [0, 0, 0, 1, 0, 0]);
        assert_eq!(drawn(overlay([0, 0], &[], Some(bits)), 1), [0, 1, 0, 0, 0, 0]);
        assert_eq!(drawn(overlay([i16::MIN, i16::MAX], &[], Some(bits)), 1), [0; 6]);
        assert_eq!(drawn(overlay([1, 1], &[], Some(&[])), 1), [0; 6], "too short");
    }

    #[test]
    fn an_overlay_far_larger_than_the_image_costs_no_more_than_the_image() {
        // Four milliards of bits, sixteen times, would be looked at for a minute.
        let mut data_set = DataSet::new();
        for group in (0..MAX_OVERLAYS).map(|n| 0x6000 + 2 * n) {
            for (element, value) in [(ROWS, 65_535), (COLUMNS, 65_535)] {
                data_set.set_u16(Tag(group, element), value);
            }
            let value = Value::Bytes(Bytes::from_static(&[0b10]));
            data_set.insert(Tag(group, DATA), Element { vr: VR::OW, value });
        }
        assert_eq!(drawn(data_set, 1), [0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_frame_has_the_plane_that_is_meant_for_it() {
        let bits: &[u8] = &[0b1100_0001, 0b0000_1000];
        let frames = [(Tag(0x6000, FRAMES), "2"), (Tag(0x6000, FRAME_ORIGIN), "3")];
        let of = |number| drawn(overlay([1, 1], &frames, Some(bits)), number);
        assert_eq!((of(3), of(4)), (vec![1, 0, 0, 0, 0, 0], vec![1, 1, 0, 0, 0, 1]));
        assert_eq!((of(2), of(5)), (vec![0; 6], vec![0; 6]));
    }

    #[test]
    fn bits_of_the_cells_are_overlays_where_they_are_no_samples() {
        let of_bit = |bit| drawn(overlay([1, 1], &[(Tag(0x6000, BIT_POSITION), bit)], None), 1);
        assert_eq!(of_bit("12"), [1, 0, 0, 1, 0, 1]);
        assert_eq!(of_bit("13"), [0, 0, 1, 1, 0, 0]);
        assert_eq!((of_bit("0"), of_bit("99")), (vec![0; 6], vec![0; 6]));
    }
}
