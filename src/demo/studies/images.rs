//! The pictures: slices through the head phantom, its shadow, and a beating heart.

use std::sync::OnceLock;

use crate::demo::head::{Slice, Tissues};
use crate::demo::noise::{Field, NoiseTile, Random};

/// Width and height in which slices are drawn before they are enlarged: the phantom has no finer detail, and
/// it takes a quarter of the time.
const DRAWN: usize = 256;
/// Millimetres from edge to edge.
const FIELD_OF_VIEW: f32 = 240.0;

/// What all images are made of, computed when first needed.
#[derive(Debug, Default)]
pub(super) struct Scene {
    folds: OnceLock<Field>,
    noise: OnceLock<NoiseTile>,
}

impl Scene {
    fn folds(&self) -> &Field {
        self.folds.get_or_init(|| Field::new(11))
    }

    fn noise(&self) -> &NoiseTile {
        self.noise.get_or_init(|| NoiseTile::new(12))
    }

    /// A CT slice, 512 × 512, 12 bits, stored with an offset of 1024.
    pub(super) fn ct(&self, z: f32, key: u64) -> Vec<u8> {
        let slice = Slice::new(z, DRAWN, FIELD_OF_VIEW, &Tissues::CT, self.folds());
        self.enlarged(&slice, 512, key, 5.0, 1024.0, 4095.0)
    }

    /// An MR slice, 256 × 256, 12 bits.
    pub(super) fn mr(&self, z: f32, t2: bool, key: u64) -> Vec<u8> {
        let tissues = if t2 { &Tissues::MR_T2 } else { &Tissues::MR_T1 };
        let slice = Slice::new(z, DRAWN, FIELD_OF_VIEW, tissues, self.folds());
        self.enlarged(&slice, DRAWN, key, 16.0, 0.0, 4095.0)
    }

    /// A slice enlarged to `size` by linear interpolation, with noise of deviation `sigma`.
    fn enlarged(&self, slice: &Slice, size: usize, key: u64, sigma: f32, offset: f32, most: f32) -> Vec<u8> {
        let step = DRAWN as f32 / size as f32;
        let place = |i: usize| {
            let at = ((i as f32 + 0.5) * step - 0.5).clamp(0.0, (DRAWN - 1) as f32);
            let cell = (at as usize).min(DRAWN - 2);
            (cell, at - cell as f32)
        };
        let columns: Vec<(usize, f32)> = (0..size).map(place).collect();
        let mut out = Vec::with_capacity(size * size * 2);
        for row in 0..size {
            let (y, v) = place(row);
            let upper = &slice.values[y * DRAWN..(y + 1) * DRAWN];
            let lower = &slice.values[(y + 1) * DRAWN..(y + 2) * DRAWN];
            let noise = self.noise().row(key, row);
            for ((x, u), sample) in columns.iter().zip(noise) {
                let above = upper[*x] + (upper[*x + 1] - upper[*x]) * u;
                let below = lower[*x] + (lower[*x + 1] - lower[*x]) * u;
                let value = above + (below - above) * v + f32::from(*sample) * (sigma / NoiseTile::PER_SIGMA);
                out.extend_from_slice(&((value + offset).clamp(0.0, most) as u16).to_le_bytes());
            }
        }
        out
    }

    /// The head's shadow from behind, `size` × `size`, 12 bits: what X-rays leave of it.
    pub(super) fn projection(&self, size: usize) -> Vec<u8> {
        const PLANES: usize = 96;
        const WIDTH: usize = 192;
        let mut shadow = vec![0.0f32; PLANES * WIDTH];
        for (plane, line) in shadow.chunks_mut(WIDTH).enumerate() {
            let z = 98.0 - 150.0 * plane as f32 / PLANES as f32;
            let slice = Slice::new(z, WIDTH, FIELD_OF_VIEW, &Tissues::CT, self.folds());
            for row in slice.values.chunks(WIDTH) {
                line.iter_mut().zip(row).for_each(|(sum, hu)| *sum += (hu + 1000.0).max(0.0));
            }
        }
        let most = shadow.iter().fold(1.0f32, |most, v| most.max(*v));
        let mut out = Vec::with_capacity(size * size * 2);
        for row in 0..size {
            let plane = row * (PLANES - 1) / size;
            let v = (row * (PLANES - 1)) as f32 / size as f32 - plane as f32;
            let noise = self.noise().row(7, row % 512);
            for column in 0..size {
                let at = (column * (WIDTH - 1)) as f32 / size as f32;
                let (x, u) = (at as usize, at.fract());
                let line = |p: usize| {
                    let cells = &shadow[p * WIDTH..];
                    cells[x] + (cells[x + 1] - cells[x]) * u
                };
                let depth = (line(plane) + (line(plane + 1) - line(plane)) * v) / most;
                let value = 3900.0 * depth.powf(0.8) + f32::from(noise[column % 512]) * 0.7 + 60.0;
                out.extend_from_slice(&(value.clamp(0.0, 4095.0) as u16).to_le_bytes());
            }
        }
        out
    }

    /// A beating heart in an ultrasound sector, RGB, with the flow at the valve in colour.
    pub(super) fn heart(&self, width: usize, height: usize, frames: usize) -> Vec<u8> {
        let folds = self.folds();
        let mut random = Random::new(13);
        let mut out = Vec::with_capacity(width * height * 3 * frames);
        for frame in 0..frames {
            let phase = frame as f32 / frames as f32 * std::f32::consts::TAU;
            let squeeze = 1.0 - 0.16 * (0.5 - 0.5 * phase.cos());
            for row in 0..height {
                for column in 0..width {
                    let x = (column as f32 - width as f32 / 2.0) / height as f32;
                    let y = row as f32 / height as f32;
                    let radius = (x * x + y * y).sqrt();
                    let inside = x.abs() < y * 0.85 && (0.06..0.98).contains(&radius);
                    if !inside {
                        out.extend_from_slice(&[0, 0, 0]);
                        continue;
                    }
                    let speckle = 0.55 + 0.45 * folds.at(x * 90.0, y * 90.0 + frame as f32 * 0.15, 3.0);
                    let chamber = |cx: f32, cy: f32, a: f32, b: f32| {
                        (((x - cx) / (a * squeeze)).powi(2) + ((y - cy) / (b * squeeze)).powi(2)).sqrt()
                    };
                    let nearest = chamber(-0.13, 0.42, 0.11, 0.2)
                        .min(chamber(0.13, 0.42, 0.1, 0.17))
                        .min(chamber(-0.12, 0.76, 0.12, 0.11))
                        .min(chamber(0.13, 0.76, 0.12, 0.11));
                    let tissue = if nearest < 1.0 { 0.06 } else { (1.5 - (nearest - 1.0)).clamp(0.25, 1.0) };
                    let grey =
                        (tissue * speckle * (1.05 - radius * 0.4) + 0.02 * random.unit()).clamp(0.0, 1.0);
                    let jet = chamber(-0.125, 0.6, 0.05, 0.16);
                    let flow = (1.0 - jet).max(0.0) * (phase.sin()).abs();
                    let base = grey * 230.0;
                    let (red, blue) =
                        if phase.sin() > 0.0 { (flow * 220.0, 0.0) } else { (0.0, flow * 220.0) };
                    let byte = |v: f32| v.clamp(0.0, 255.0) as u8;
                    out.extend_from_slice(&[byte(base + red), byte(base + flow * 60.0), byte(base + blue)]);
                }
            }
        }
        out
    }
}
