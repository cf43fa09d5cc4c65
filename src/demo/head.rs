//! A made-up human head: what lies where, in millimetres, and how bright each tissue is under a modality.
//!
//! `x` runs to the patient's left, `y` to the back, `z` to the vertex; the origin is the third ventricle.

use super::noise::Field;

/// How bright a tissue is: Hounsfield units for CT, signal for MR.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tissues {
    pub(super) air: f32,
    pub(super) skin: f32,
    pub(super) fat: f32,
    pub(super) compact_bone: f32,
    pub(super) marrow: f32,
    pub(super) fluid: f32,
    pub(super) grey: f32,
    pub(super) white: f32,
    pub(super) blood: f32,
    pub(super) dura: f32,
    pub(super) calcification: f32,
    pub(super) lens: f32,
}

impl Tissues {
    /// Hounsfield units.
    pub(super) const CT: Self = Self {
        air: -1000.0,
        skin: 35.0,
        fat: -95.0,
        compact_bone: 1350.0,
        marrow: 550.0,
        fluid: 6.0,
        grey: 40.0,
        white: 27.0,
        blood: 68.0,
        dura: 58.0,
        calcification: 190.0,
        lens: 85.0,
    };

    /// Signal of a T1-weighted gradient echo, 0 to 1000.
    pub(super) const MR_T1: Self = Self {
        air: 6.0,
        skin: 420.0,
        fat: 930.0,
        compact_bone: 25.0,
        marrow: 480.0,
        fluid: 90.0,
        grey: 400.0,
        white: 590.0,
        blood: 300.0,
        dura: 260.0,
        calcification: 120.0,
        lens: 330.0,
    };

    /// Signal of a T2-weighted spin echo, 0 to 1000.
    pub(super) const MR_T2: Self = Self {
        air: 6.0,
        skin: 300.0,
        fat: 620.0,
        compact_bone: 20.0,
        marrow: 330.0,
        fluid: 960.0,
        grey: 520.0,
        white: 370.0,
        blood: 180.0,
        dura: 90.0,
        calcification: 60.0,
        lens: 150.0,
    };
}

/// An axial slice through the head.
pub(super) struct Slice {
    /// Brightness, row by row.
    pub(super) values: Vec<f32>,
    size: usize,
    mm_per_pixel: f32,
    z: f32,
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slice").field("size", &self.size).field("z", &self.z).finish_non_exhaustive()
    }
}

/// An ellipsoid on the patient's left with its twin on the right, or one on the midline.
struct Ellipsoid {
    centre: (f32, f32, f32),
    radii: (f32, f32, f32),
    /// Rotation in the axial plane, degrees; the twin turns the other way.
    turn: f32,
}

const fn at(centre: (f32, f32, f32), radii: (f32, f32, f32), turn: f32) -> Ellipsoid {
    Ellipsoid { centre, radii, turn }
}

/// Depth below the skin, in millimetres, where the skull's inner table ends and the meninges begin.
const BRAIN_DEPTH: f32 = 13.0;
/// Semi-axes of the head at the skin.
const HEAD: (f32, f32, f32) = (77.0, 97.0, 98.0);

impl Slice {
    /// The slice at height `z` (about -48 at the skull base, 95 just below the vertex), `size` × `size` pixels
    /// over a square of `field_of_view` millimetres.
    pub(super) fn new(z: f32, size: usize, field_of_view: f32, tissues: &Tissues, folds: &Field) -> Self {
        let mm_per_pixel = field_of_view / size as f32;
        let mut slice = Self { values: vec![tissues.air; size * size], size, mm_per_pixel, z };
        slice.paint_head(tissues, folds);
        slice.paint_deep_structures(tissues);
        slice.paint_skull_base(tissues, folds);
        slice
    }

    fn paint_head(&mut self, t: &Tissues, folds: &Field) {
        let z = self.z;
        // Below the equator the head narrows little: the ellipsoid is drawn out downwards.
        let c = if z > 0.0 { HEAD.2 } else { 190.0 };
        for row in 0..self.size {
            for column in 0..self.size {
                let (x, y) = self.place(column, row);
                let r = ((x / HEAD.0).powi(2) + (y / HEAD.1).powi(2) + (z / c).powi(2)).sqrt();
                let depth = (1.0 - r) * 84.0;
                if depth < -0.5 {
                    continue;
                }
                let cover = (depth + 0.5).clamp(0.0, 1.0);
                let value = if depth < BRAIN_DEPTH {
                    scalp_and_skull(depth, t, folds.at(x * 0.5, y * 0.5, z * 0.5))
                } else {
                    brain(x, y, z, depth - BRAIN_DEPTH, t, folds)
                };
                let pixel = &mut self.values[row * self.size + column];
                *pixel += (value - *pixel) * cover;
            }
        }
    }

    fn paint_deep_structures(&mut self, t: &Tissues) {
        // Grey nuclei first, then the fluid spaces that border them.
        self.pair(&at((13.0, -22.0, 12.0), (5.5, 10.0, 11.0), -15.0), t.grey);
        self.pair(&at((25.0, -5.0, 7.0), (7.0, 16.0, 10.0), 12.0), t.grey);
        self.pair(&at((10.5, 11.0, 7.0), (8.0, 13.0, 10.0), -20.0), t.grey);
        self.pair(&at((9.0, -29.0, 13.0), (4.5, 16.0, 12.0), -17.0), t.fluid);
        self.pair(&at((9.0, -3.0, 24.0), (5.0, 25.0, 7.0), -6.0), t.fluid);
        self.pair(&at((23.0, 32.0, 9.0), (6.0, 14.0, 11.0), 24.0), t.fluid);
        self.pair(&at((30.0, 8.0, -14.0), (3.5, 14.0, 5.0), 10.0), t.fluid);
        self.one(&at((0.0, 2.0, 2.0), (2.4, 13.0, 10.0), 0.0), t.fluid);
        self.one(&at((0.0, -6.0, -22.0), (13.0, 9.0, 6.0), 0.0), t.fluid);
        self.one(&at((0.0, 24.0, -6.0), (13.0, 4.0, 6.0), 0.0), t.fluid);
        self.one(&at((0.0, 14.0, -28.0), (13.0, 11.0, 24.0), 0.0), t.white);
        self.one(&at((0.0, 33.0, -32.0), (7.0, 5.0, 9.0), 0.0), t.fluid);
        self.one(&at((0.0, 19.0, 5.0), (2.6, 3.0, 3.0), 0.0), t.calcification);
        self.pair(&at((22.0, 33.0, 9.0), (2.4, 3.6, 4.0), 24.0), t.calcification);
        // The finding of the report: a fresh haemorrhage in the right basal ganglia with its oedema.
        let oedema = t.white + (t.fluid - t.white) * 0.45;
        self.one(&at((-29.0, -3.0, 14.0), (14.0, 19.0, 14.0), -12.0), oedema);
        self.one(&at((-28.0, -3.0, 14.0), (9.5, 14.0, 10.0), -12.0), t.blood);
    }

    fn paint_skull_base(&mut self, t: &Tissues, folds: &Field) {
        self.pair(&at((36.0, 8.0, -42.0), (28.0, 8.0, 10.0), 32.0), t.compact_bone);
        for row in 0..self.size {
            for column in 0..self.size {
                let (x, y) = self.place(column, row);
                // Mastoid cells: air and thin walls.
                let (dx, dy, dz) = ((x.abs() - 56.0) / 13.0, (y - 24.0) / 16.0, (self.z + 44.0) / 12.0);
                if dx * dx + dy * dy + dz * dz < 1.0 {
                    let cells = folds.at(x * 0.45, y * 0.45, self.z * 0.45);
                    self.values[row * self.size + column] = if cells > 0.0 { t.air } else { t.compact_bone };
                }
            }
        }
        self.pair(&at((32.0, -62.0, -40.0), (19.0, 24.0, 16.0), 14.0), t.compact_bone);
        self.pair(&at((32.0, -63.0, -40.0), (17.5, 22.5, 14.5), 14.0), t.fat);
        self.pair(&at((31.0, -73.0, -40.0), (12.5, 12.5, 12.5), 0.0), t.grey);
        self.pair(&at((31.0, -73.0, -40.0), (11.5, 11.5, 11.5), 0.0), t.fluid);
        self.pair(&at((31.0, -81.5, -40.0), (4.5, 2.5, 4.5), 0.0), t.lens);
        self.pair(&at((24.0, -54.0, -40.0), (2.2, 14.0, 2.2), -16.0), t.grey);
        self.one(&at((0.0, -60.0, -46.0), (13.0, 26.0, 16.0), 0.0), t.compact_bone);
        self.pair(&at((5.8, -60.0, -46.0), (4.6, 23.0, 14.0), 0.0), t.air);
        self.one(&at((0.0, -24.0, -44.0), (15.0, 13.0, 10.0), 0.0), t.compact_bone);
        self.pair(&at((6.5, -24.0, -44.0), (5.5, 11.0, 8.5), 0.0), t.air);
        self.pair(&at((8.0, -80.0, -22.0), (7.0, 4.0, 12.0), 10.0), t.air);
    }

    /// The place of a pixel's centre, millimetres from the middle of the image.
    fn place(&self, column: usize, row: usize) -> (f32, f32) {
        let middle = (self.size as f32 - 1.0) / 2.0;
        ((column as f32 - middle) * self.mm_per_pixel, (row as f32 - middle) * self.mm_per_pixel)
    }

    fn pair(&mut self, left: &Ellipsoid, value: f32) {
        let (x, y, z) = left.centre;
        self.one(left, value);
        self.one(&at((-x, y, z), left.radii, -left.turn), value);
    }

    /// Paints one ellipsoid, its edge smoothed over a millimetre as partial volume does.
    fn one(&mut self, e: &Ellipsoid, value: f32) {
        let ((cx, cy, cz), (a, b, c)) = (e.centre, e.radii);
        let dz = (self.z - cz) / c;
        if dz.abs() >= 1.0 {
            return;
        }
        let (sin, cos) = e.turn.to_radians().sin_cos();
        let smallest = a.min(b).min(c);
        let reach = a.max(b) + 1.0;
        let middle = (self.size as f32 - 1.0) / 2.0;
        let index = |mm: f32| ((mm / self.mm_per_pixel + middle).max(0.0) as usize).min(self.size - 1);
        let (left, right) = (index(cx - reach), index(cx + reach));
        let (top, bottom) = (index(cy - reach), index(cy + reach));
        for row in top..=bottom {
            for column in left..=right {
                let (x, y) = self.place(column, row);
                let (u, v) = ((x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin);
                let r = ((u / a).powi(2) + (v / b).powi(2) + dz * dz).sqrt();
                let cover = ((1.0 - r) * smallest + 0.5).clamp(0.0, 1.0);
                let pixel = &mut self.values[row * self.size + column];
                *pixel += (value - *pixel) * cover;
            }
        }
    }
}

fn scalp_and_skull(depth: f32, t: &Tissues, texture: f32) -> f32 {
    match depth {
        d if d < 1.8 => t.skin,
        d if d < 5.2 => t.fat,
        d if d < 7.2 => t.compact_bone,
        d if d < 10.6 => t.marrow * (1.0 + 0.35 * texture),
        d if d < 12.4 => t.compact_bone,
        _ => t.dura,
    }
}

/// The brain at `depth` millimetres below the dura.
fn brain(x: f32, y: f32, z: f32, depth: f32, t: &Tissues, folds: &Field) -> f32 {
    let falx = x.abs() < 0.9 && (z > 34.0 || !(-42.0..=48.0).contains(&y)) && z > -18.0;
    if falx {
        return t.dura;
    }
    if depth < 1.4 || (x.abs() < 2.2 && depth < 26.0 && z > -18.0) {
        return t.fluid;
    }
    let cerebellum = z < -16.0 && y > 12.0;
    let (scale, reach) = if cerebellum { (0.16, 20.0) } else { (0.085, 15.0) };
    let fold = folds.at(x * scale, y * scale, z * scale)
        + 0.5 * folds.at(y * scale * 2.1 + 7.0, x * scale * 2.1, z * scale * 2.1);
    // A sulcus follows the surface where the field changes sign; it fades with depth.
    let sulcus = fold.abs() + (depth / reach).powi(2) * 0.22;
    let ribbon = smooth(0.20, 0.34, sulcus).min(smooth(3.4, 4.6, depth));
    let grey_and_white = t.grey + (t.white - t.grey) * ribbon;
    t.fluid + (grey_and_white - t.fluid) * smooth(0.045, 0.10, sulcus)
}

/// 0 below `low`, 1 above `high`, smooth between.
fn smooth(low: f32, high: f32, value: f32) -> f32 {
    let u = ((value - low) / (high - low)).clamp(0.0, 1.0);
    u * u * (3.0 - 2.0 * u)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_has_air_around_bone_around_brain_around_ventricles() {
        let slice = Slice::new(13.0, 256, 240.0, &Tissues::CT, &Field::new(1));
        let at = |x_mm: f32, y_mm: f32| {
            let pixel = |mm: f32| (mm * 256.0 / 240.0 + 127.5) as usize;
            slice.values[pixel(y_mm) * 256 + pixel(x_mm)]
        };
        assert_eq!(at(-110.0, -110.0), -1000.0);
        assert!((0..30).any(|mm| at(-75.0 + mm as f32, 0.0) > 1000.0), "no skull on the way in");
        assert!((3.0..12.0).contains(&at(9.0, -29.0)), "frontal horn: {}", at(9.0, -29.0));
        assert!((60.0..75.0).contains(&at(-28.0, -3.0)), "haemorrhage: {}", at(-28.0, -3.0));
    }
}
