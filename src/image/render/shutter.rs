//! Shutters: what of an image is covered (PS3.3 C.7.6.11, C.11.12).

use super::attributes::{integers, integers_of};
use super::picture::Picture;
use crate::dicom::dataset::DataSet;
use crate::dicom::tags;

/// Most corners of a shutter: what a person draws has some dozen.
const MAX_CORNERS: usize = 1024;

/// Shapes whose outside is covered; a pixel is seen that lies within all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Shutters {
    shapes: Vec<Shape>,
    /// The grey of what is covered.
    grey: u8,
}

/// In rows and columns, from 1.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Left, right, upper, lower edge, the last that are covered.
    Rectangle([i64; 4]),
    /// Row and column of the middle, and the radius, in pixels of columns.
    Circle([i64; 2], i64),
    /// Rows and columns of the corners.
    Polygon(Vec<[i64; 2]>),
}

impl Shutters {
    /// Those of a data set.
    pub(super) fn read(data_set: &DataSet) -> Self {
        let one = |tag| data_set.int(tag);
        let named: Vec<&str> =
            data_set.strings(tags::SHUTTER_SHAPE).iter().map(|shape| shape.trim()).collect();
        // Each once: attributes are there for one of a kind.
        let kinds = ["RECTANGULAR", "CIRCULAR", "POLYGONAL"].into_iter().filter(|kind| named.contains(kind));
        let shapes = kinds.filter_map(|kind| {
            Some(match kind {
                "RECTANGULAR" => Shape::Rectangle([
                    one(tags::SHUTTER_LEFT_VERTICAL_EDGE)?,
                    one(tags::SHUTTER_RIGHT_VERTICAL_EDGE)?,
                    one(tags::SHUTTER_UPPER_HORIZONTAL_EDGE)?,
                    one(tags::SHUTTER_LOWER_HORIZONTAL_EDGE)?,
                ]),
                "CIRCULAR" => Shape::Circle(
                    integers(data_set, tags::CENTER_OF_CIRCULAR_SHUTTER)?,
                    one(tags::RADIUS_OF_CIRCULAR_SHUTTER)?,
                ),
                "POLYGONAL" => {
                    let numbers =
                        integers_of(data_set, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, 2 * MAX_CORNERS);
                    Shape::Polygon(numbers.as_chunks().0.to_vec())
                }
                _ => return None,
            })
        });
        let grey = one(tags::SHUTTER_PRESENTATION_VALUE).and_then(|value| u16::try_from(value).ok());
        Self { shapes: shapes.collect(), grey: (grey.unwrap_or_default() >> 8) as u8 }
    }

    /// Covers what is outside.
    pub(super) fn cover(&self, picture: &mut Picture) {
        let (row_length, bytes) = (picture.row_length().max(1), picture.colours.bytes());
        for shape in &self.shapes {
            for (row, samples) in (1..).zip(picture.pixels.chunks_exact_mut(row_length)) {
                let width = samples.len() / bytes;
                let mut cover = |from: usize, to: usize| {
                    samples.get_mut(from * bytes..to * bytes).into_iter().for_each(|it| it.fill(self.grey));
                };
                // Columns from 0 that are decided. Where spans touch, the later one begins before the other's end.
                let mut done = 0;
                for [from, to] in shape.seen_in(row) {
                    let column = |column: i64| usize::try_from(column).unwrap_or(0).min(width);
                    cover(done, column(from.saturating_sub(1)));
                    done = done.max(column(to));
                }
                cover(done, width);
            }
        }
    }
}

impl Shape {
    /// The first and the last column of what is seen of a row, from left to right.
    fn seen_in(&self, row: i64) -> Vec<[i64; 2]> {
        match self {
            Self::Rectangle([left, right, upper, lower]) if row > *upper && row < *lower => {
                vec![[left.saturating_add(1), right.saturating_sub(1)]]
            }
            Self::Rectangle(_) => Vec::new(),
            Self::Circle([middle, column], radius) => {
                let (away, radius) = ((row as f64 - *middle as f64), *radius as f64);
                let half = (radius * radius - away * away).sqrt();
                // Not a number where the row is beyond the circle. Conversions saturate.
                if half.is_nan() {
                    return Vec::new();
                }
                vec![[(*column as f64 - half).ceil() as i64, (*column as f64 + half).floor() as i64]]
            }
            Self::Polygon(corners) => {
                let next = corners.iter().skip(1).chain(corners.first());
                let row = row as f64;
                let mut crossings: Vec<f64> = corners
                    .iter()
                    .zip(next)
                    .map(|(from, to)| (from.map(|n| n as f64), to.map(|n| n as f64)))
                    .filter(|(from, to)| (from[0] <= row) != (to[0] <= row))
                    .map(|(from, to)| from[1] + (row - from[0]) / (to[0] - from[0]) * (to[1] - from[1]))
                    .collect();
                crossings.sort_by(f64::total_cmp);
                let (pairs, _) = crossings.as_chunks::<2>();
                pairs.iter().map(|[from, to]| [from.ceil() as i64, to.floor() as i64]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{Tag, VR};
    use crate::image::render::picture::Colours;

    /// What is seen of 6 × 6 white pixels.
    fn covered(elements: &[(Tag, VR, &str)]) -> Vec<String> {
        let mut data_set = DataSet::new();
        for (tag, vr, value) in elements {
            data_set.set_strings(*tag, *vr, value.split('\\').map(str::to_owned).collect());
        }
        let pixels = vec![255; 36];
        let mut picture = Picture { width: 6, height: 6, colours: Colours::Grey, pixels, icc_profile: None };
        Shutters::read(&data_set).cover(&mut picture);
        let row = |row: &[u8]| row.iter().map(|&grey| if grey == 255 { '#' } else { '.' }).collect();
        picture.pixels.chunks(6).map(row).collect()
    }

    #[test]
    fn a_rectangle_shows_what_is_between_its_edges() {
        let rectangle = [
            (tags::SHUTTER_SHAPE, VR::CS, "RECTANGULAR"),
            (tags::SHUTTER_LEFT_VERTICAL_EDGE, VR::IS, "1"),
            (tags::SHUTTER_RIGHT_VERTICAL_EDGE, VR::IS, "5"),
            (tags::SHUTTER_UPPER_HORIZONTAL_EDGE, VR::IS, "2"),
            (tags::SHUTTER_LOWER_HORIZONTAL_EDGE, VR::IS, "5"),
        ];
        assert_eq!(covered(&rectangle), ["......", "......", ".###..", ".###..", "......", "......"]);
        assert_eq!(covered(&rectangle[..4]), ["######"; 6], "an edge is missing");
    }

    #[test]
    fn circles_and_polygons_show_what_is_within_them() {
        let circle = [
            (tags::SHUTTER_SHAPE, VR::CS, "CIRCULAR"),
            (tags::CENTER_OF_CIRCULAR_SHUTTER, VR::IS, "3\\3"),
            (tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, "2"),
        ];
        assert_eq!(covered(&circle), ["..#...", ".###..", "#####.", ".###..", "..#...", "......"]);
        let triangle = [
            (tags::SHUTTER_SHAPE, VR::CS, "POLYGONAL"),
            (tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, VR::IS, "1\\1\\6\\1\\6\\6"),
        ];
        assert_eq!(covered(&triangle), ["#.....", "##....", "###...", "####..", "#####.", "......"]);
        let both: Vec<_> = [(tags::SHUTTER_SHAPE, VR::CS, "CIRCULAR\\POLYGONAL")]
            .into_iter()
            .chain([circle[1], circle[2], triangle[1]])
            .collect();
        assert_eq!(covered(&both), ["......", ".#....", "###...", ".###..", "..#...", "......"]);
    }

    #[test]
    fn a_comb_of_many_corners_is_covered_between_its_teeth() {
        // Up and down between the first row and the last, in every second column; three times the same.
        let corners: Vec<String> =
            (0..3).map(|n| format!("1\\{}\\7\\{}\\1\\{}", 2 * n + 1, 2 * n + 1, 2 * n + 2)).collect();
        let comb = [
            (tags::SHUTTER_SHAPE, VR::CS, "POLYGONAL\\POLYGONAL\\POLYGONAL"),
            (tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, VR::IS, &corners.join("\\")[..]),
        ];
        assert_eq!(covered(&comb), ["######", "#.#.#.", "#.#.#.", "#.#.#.", "#.#.#.", "#.#.#."]);
    }

    #[test]
    fn shutters_that_make_no_sense_cover_all_or_nothing_and_never_panic() {
        for value in ["9223372036854775807", "-9223372036854775808", "0"] {
            let circle = [
                (tags::SHUTTER_SHAPE, VR::CS, "CIRCULAR"),
                (tags::CENTER_OF_CIRCULAR_SHUTTER, VR::IS, &format!("{value}\\{value}")[..]),
                (tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, value),
            ];
            let _ = covered(&circle);
            let corners = [
                (tags::SHUTTER_SHAPE, VR::CS, "POLYGONAL"),
                (tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, VR::IS, &format!("{value}\\1\\5\\{value}\\3")[..]),
            ];
            let _ = covered(&corners);
        }
        assert_eq!(covered(&[(tags::SHUTTER_SHAPE, VR::CS, "BITMAP")]), ["######"; 6]);
    }
}
