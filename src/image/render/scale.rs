//! Makes pictures smaller and larger: smaller by the mean of the area that a pixel covers, so that nothing thin
//! vanishes; larger by straight lines between the middles of pixels.

use super::picture::Picture;

/// A part of a picture, in its pixels; not empty, and within it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// What a pixel is made of: neighbouring pixels from the first on, and the weight of each. The weights add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The part of a picture in this size.
pub(super) fn scaled(picture: Picture, region: Region, width: u32, height: u32) -> Picture {
    let whole = Region { x: 0.0, y: 0.0, width: picture.width.into(), height: picture.height.into() };
    if region == whole && (width, height) == (picture.width, picture.height) {
        return picture;
    }
    let columns = taps(region.x, region.width, picture.width, width);
    let rows = taps(region.y, region.height, picture.height, height);
    let (row_length, bytes) = (picture.row_length(), picture.colours.bytes());
    let mut pixels = Vec::with_capacity(width as usize * height as usize * bytes);
    let mut row = vec![0_f32; row_length];
    for Taps { first, weights } in &rows {
        row.fill(0.0);
        let sources = picture.pixels.chunks_exact(row_length.max(1)).skip(*first);
        for (source, &weight) in sources.zip(weights) {
            for (sum, &sample) in row.iter_mut().zip(source) {
                *sum += weight * f32::from(sample);
            }
        }
        match bytes {
            1 => across::<1>(&row, &columns, &mut pixels),
            _ => across::<3>(&row, &columns, &mut pixels),
        }
    }
    Picture { width, height, pixels, ..picture }
}

/// A row of pixels with `N` samples each.
fn across<const N: usize>(row: &[f32], columns: &[Taps], pixels: &mut Vec<u8>) {
    let row: &[[f32; N]] = row.as_chunks().0;
    for Taps { first, weights } in columns {
        let mut sums = [0.5_f32; N];
        for (source, &weight) in row.iter().skip(*first).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(source) {
                *sum += weight * sample;
            }
        }
        // Conversions saturate; the half rounds.
        pixels.extend(sums.map(|sum| sum as u8));
    }
}

/// What each of `count` pixels is made of that show `extent` from `start` on of a line of `length`.
fn taps(start: f64, extent: f64, length: u32, count: u32) -> Vec<Taps> {
    let step = extent / f64::from(count.max(1));
    let last = length.saturating_sub(1);
    (0..count)
        .map(|n| {
            let from = start + step * f64::from(n);
            // How much of the pixel at a place counts.
            let (begin, end, weight): (f64, f64, &dyn Fn(f64) -> f64) = if step >= 1.0 {
                let to = from + step;
                (from, to, &move |at: f64| (to.min(at + 1.0) - from.max(at)).max(0.0))
            } else {
                let middle = from + step / 2.0 - 0.5;
                (middle, middle + 1.0, &move |at: f64| (1.0 - (at - middle).abs()).max(0.0))
            };
            // Beyond an edge the last pixel goes on.
            let place = |at: f64| (at.max(0.0) as u32).min(last);
            let (first, behind) = (place(begin.floor()), place((end.ceil() - 1.0).max(begin.floor())));
            let weights = (first..=behind).map(|at| weight(at.into()) as f32);
            let weights: Vec<f32> = match weights.clone().sum::<f32>() {
                sum if sum > 0.0 => weights.map(|weight| weight / sum).collect(),
                _ => vec![1.0],
            };
            Taps { first: first as usize, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::render::picture::Colours;

    fn line(pixels: &[u8], width: u32) -> Vec<u8> {
        let length = u32::try_from(pixels.len()).unwrap();
        let pixels = pixels.to_vec();
        let picture = Picture { width: length, height: 1, colours: Colours::Grey, pixels, icc_profile: None };
        let region = Region { x: 0.0, y: 0.0, width: length.into(), height: 1.0 };
        scaled(picture, region, width, 1).pixels
    }

    #[test]
    fn smaller_pixels_are_means_of_areas() {
        assert_eq!(line(&[0, 100, 200, 100], 2), [50, 150]);
        assert_eq!(line(&[0, 0, 255, 0, 0, 0, 0, 0], 1), [32], "a thin line is still there");
        // Half of the middle pixel each.
        assert_eq!(line(&[30, 60, 90], 2), [40, 80]);
    }

    #[test]
    fn larger_pixels_lie_on_lines_between_the_middles() {
        assert_eq!(line(&[0, 100], 4), [0, 25, 75, 100]);
        assert_eq!(line(&[7], 3), [7, 7, 7]);
    }

    proptest! {
        #[test]
        fn any_part_in_any_size_is_a_whole_picture_within_the_range_of_its_pixels(
            (width, height) in (1_u32..12, 1_u32..12),
            (to_width, to_height) in (1_u32..30, 1_u32..30),
            (x, y, w, h) in (0.0..0.95, 0.0..0.95, 0.001..1.0, 0.001..1.0),
            least in 0_u8..200, rgb: bool, seed: [u8; 16],
        ) {
            let colours = if rgb { Colours::Rgb } else { Colours::Grey };
            let count = (width * height) as usize * colours.bytes();
            let pixels: Vec<u8> = seed.iter().cycle().take(count).map(|n| least + n % 50).collect();
            let picture = Picture { width, height, colours, pixels: pixels.clone(), icc_profile: None };
            let part = |from: f64, extent: f64, side: u32| {
                (from * f64::from(side), (extent * f64::from(side)).min((1.0 - from) * f64::from(side)))
            };
            let ((x, width), (y, height)) = (part(x, w, width), part(y, h, height));
            let shown = scaled(picture, Region { x, y, width, height }, to_width, to_height);
            prop_assert_eq!(shown.pixels.len(), (to_width * to_height) as usize * colours.bytes());
            let (low, high) = (pixels.iter().min().unwrap(), pixels.iter().max().unwrap());
            prop_assert!(shown.pixels.iter().all(|pixel| (low..=high).contains(&pixel)));
        }
    }
}
