//! Reproducible randomness: the same seed gives the same archive, byte by byte, on every machine.

/// A generator of pseudo-random numbers (SplitMix64): tiny, seeded, good enough for noise.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers for the same seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// A number of the normal distribution with mean 0 and standard deviation 1, by the sum of four uniform
    /// ones: its tails are short, as a detector's are after calibration.
    pub(super) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732
    }
}

/// Scrambles 64 bits, the finalizer of SplitMix64.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A plane of noise that slices share, each at its own offset: drawing fresh noise for every pixel would take
/// longer than the image itself.
#[derive(Debug)]
pub(super) struct NoiseTile {
    samples: Vec<i8>,
}

impl NoiseTile {
    /// Width and height of the tile, larger than any image row that reads from it.
    const SIZE: usize = 768;
    /// Units of a sample per standard deviation.
    pub(super) const PER_SIGMA: f32 = 30.0;

    /// A tile of noise that is correlated over neighbouring pixels, as a reconstruction kernel leaves it.
    pub(super) fn new(seed: u64) -> Self {
        let size = Self::SIZE;
        let mut random = Random::new(seed);
        let raw: Vec<f32> = (0..size * size).map(|_| random.normal()).collect();
        let at = |x: usize, y: usize| raw[(y % size) * size + x % size];
        let samples = (0..size * size)
            .map(|i| {
                let (x, y) = (i % size + size, i / size + size);
                let cross = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1);
                // 2 and 1 as weights: the variance of the sum is 4 + 4 · 1.
                let smooth = (2.0 * at(x, y) + cross) / 8f32.sqrt();
                (smooth * Self::PER_SIGMA).clamp(-127.0, 127.0) as i8
            })
            .collect();
        Self { samples }
    }

    /// The noise of one image row, at least 512 samples, for the image named by `key`.
    pub(super) fn row(&self, key: u64, y: usize) -> &[i8] {
        let offset = mix(key);
        let shift = (offset as usize) % (Self::SIZE - 512);
        let row = (y + (offset >> 32) as usize) % Self::SIZE;
        &self.samples[row * Self::SIZE + shift..(row + 1) * Self::SIZE]
    }
}

/// Smooth noise in space: values on a lattice, interpolated. Folds of the cortex, trabeculae and speckle are
/// made of it.
#[derive(Debug)]
pub(super) struct Field {
    lattice: Vec<f32>,
}

impl Field {
    const SIZE: usize = 32;

    /// A field of values between -1 and 1.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self { lattice: (0..Self::SIZE.pow(3)).map(|_| random.unit() * 2.0 - 1.0).collect() }
    }

    /// The value at a place, in units of the lattice; it repeats after 32.
    pub(super) fn at(&self, x: f32, y: f32, z: f32) -> f32 {
        let cell = |v: f32| {
            let floor = v.floor();
            let fraction = v - floor;
            (floor as i32 as usize % Self::SIZE, fraction * fraction * (3.0 - 2.0 * fraction))
        };
        let ((x0, fx), (y0, fy), (z0, fz)) = (cell(x + 4096.0), cell(y + 4096.0), cell(z + 4096.0));
        let value = |dx: usize, dy: usize, dz: usize| {
            let (x, y, z) = ((x0 + dx) % Self::SIZE, (y0 + dy) % Self::SIZE, (z0 + dz) % Self::SIZE);
            self.lattice[(z * Self::SIZE + y) * Self::SIZE + x]
        };
        let along_x = |dy, dz| value(0, dy, dz) + (value(1, dy, dz) - value(0, dy, dz)) * fx;
        let along_y = |dz| along_x(0, dz) + (along_x(1, dz) - along_x(0, dz)) * fy;
        along_y(0) + (along_y(1) - along_y(0)) * fz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_noise_and_another_seed_does_not() {
        let tile = NoiseTile::new(1);
        assert_eq!(tile.row(5, 3), NoiseTile::new(1).row(5, 3));
        assert_ne!(tile.row(5, 3), NoiseTile::new(2).row(5, 3));
        assert!((0..2000).all(|key| tile.row(key, 511).len() >= 512));
    }

    #[test]
    fn the_noise_has_mean_zero_and_the_promised_deviation() {
        let samples = NoiseTile::new(7).samples;
        let n = samples.len() as f32;
        let mean = samples.iter().map(|s| f32::from(*s)).sum::<f32>() / n;
        let variance = samples.iter().map(|s| (f32::from(*s) - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.5, "{mean}");
        assert!((variance.sqrt() - NoiseTile::PER_SIGMA).abs() < 1.0, "{}", variance.sqrt());
    }
}
