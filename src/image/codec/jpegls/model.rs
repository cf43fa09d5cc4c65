//! What encoder and decoder of JPEG-LS know alike: the parameters, the contexts, and how they learn (Annex A).

/// Contexts of the regular mode: 9 × 9 × 9 quantized gradients, of which those that differ in sign only are one.
const CONTEXTS: usize = 365;
/// How long runs are that one bit stands for, as powers of two, by the run index (A.7.1.1).
pub(super) const RUNS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The parameters of a scan.
#[derive(Debug, Clone)]
pub(super) struct Preset {
    /// Greatest value of a sample.
    pub(super) maximum: i32,
    /// How much a sample may differ from the original.
    pub(super) near: i32,
    /// What quantized prediction errors are modulo of.
    pub(super) range: i32,
    /// How many bits that takes.
    pub(super) range_bits: u32,
    /// Longest code of a prediction error, in bits.
    pub(super) limit: u32,
    /// After how many samples a context forgets half.
    reset: i32,
    /// Where gradients are quantized: T3, and for -T3 to T3 what they become.
    last_threshold: i32,
    quantized: Vec<i8>,
}

impl Preset {
    /// `told`: MAXVAL, T1, T2, T3 and RESET, where not 0. `None`: they contradict each other, or the precision.
    pub(super) fn new(precision: u8, near: u8, told: [u16; 5]) -> Option<Self> {
        let or = |told: u16, default: i32| if told == 0 { default } else { i32::from(told) };
        let greatest = (1 << precision) - 1;
        let maximum = or(told[0], greatest);
        let near = i32::from(near);
        if maximum > greatest || near > maximum / 2 {
            return None;
        }
        let defaults = default_thresholds(maximum, near);
        let (t1, t2, t3) = (or(told[1], defaults[0]), or(told[2], defaults[1]), or(told[3], defaults[2]));
        if !(near < t1 && t1 <= t2 && t2 <= t3 && t3 <= maximum) {
            return None;
        }
        let reset = or(told[4], 64);
        if reset < 3 {
            return None;
        }
        let range = (maximum + 2 * near) / (2 * near + 1) + 1;
        let bits = bits_of(maximum + 1).max(2);
        let quantize = |difference: i32| {
            let of = |size: i32| match size {
                _ if size <= near => 0,
                _ if size < t1 => 1,
                _ if size < t2 => 2,
                _ if size < t3 => 3,
                _ => 4,
            };
            if difference < 0 { -of(-difference) } else { of(difference) }
        };
        Some(Self {
            maximum,
            near,
            range,
            range_bits: bits_of(range),
            limit: 2 * (bits + bits.max(8)),
            reset,
            last_threshold: t3,
            quantized: (-t3..=t3).map(quantize).collect(),
        })
    }

    /// One of -4 to 4 for a gradient (A.3.3).
    #[inline]
    pub(super) fn quantized(&self, gradient: i32) -> i32 {
        let t3 = self.last_threshold;
        self.quantized[(gradient.clamp(-t3, t3) + t3) as usize].into()
    }

    /// The context of three gradients, from -364 to 364: with its sign (A.3.4).
    #[inline]
    pub(super) fn context(&self, first: i32, second: i32, third: i32) -> i32 {
        81 * self.quantized(first) + 9 * self.quantized(second) + self.quantized(third)
    }

    /// A sample from its prediction and the quantized error (A.4.4, A.5).
    #[inline]
    pub(super) fn reconstructed(&self, predicted: i32, error: i32) -> i32 {
        if self.near == 0 && self.range == self.maximum + 1 && self.range & self.maximum == 0 {
            // Without loss, and of a range that is a power of two, it is a remainder.
            return (predicted + error) & self.maximum;
        }
        let step = 2 * self.near + 1;
        let mut sample = predicted + error * step;
        if sample < -self.near {
            sample += self.range * step;
        } else if sample > self.maximum + self.near {
            sample -= self.range * step;
        }
        sample.clamp(0, self.maximum)
    }
}

impl Preset {
    /// A difference modulo the range, of the least size (A.4.5).
    pub(super) fn reduced(&self, difference: i32) -> i32 {
        let positive = if difference < 0 { difference + self.range } else { difference };
        if positive >= (self.range + 1) / 2 { positive - self.range } else { positive }
    }
}

/// The least number of bits that count to `values`.
fn bits_of(values: i32) -> u32 {
    32 - ((values - 1) as u32).leading_zeros()
}

/// T1, T2 and T3 where they are not told (C.2.4.1.1.1).
fn default_thresholds(maximum: i32, near: i32) -> [i32; 3] {
    let within = |value: i32, least: i32| if value > maximum || value < least { least } else { value };
    let basic = [3, 7, 21];
    let [t1, t2, t3] = if maximum >= 128 {
        let factor = (maximum.min(4095) + 128) / 256;
        [factor * (basic[0] - 2) + 2, factor * (basic[1] - 3) + 3, factor * (basic[2] - 4) + 4]
    } else {
        let factor = 256 / (maximum + 1);
        [(basic[0] / factor).max(2), (basic[1] / factor).max(3), (basic[2] / factor).max(4)]
    };
    let t1 = within(t1 + 3 * near, near + 1);
    let t2 = within(t2 + 5 * near, t1);
    [t1, t2, within(t3 + 7 * near, t2)]
}

/// The prediction from three neighbours: left, above, and the corner between (A.4.1).
#[inline]
pub(super) fn predicted(left: i32, above: i32, corner: i32) -> i32 {
    let (least, most) = (left.min(above), left.max(above));
    if corner >= most {
        least
    } else if corner <= least {
        most
    } else {
        left + above - corner
    }
}

/// What a context of the regular mode has learnt (A.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// A: the sum of the errors' sizes.
    sizes: i32,
    /// B: the bias, from which the correction is made.
    bias: i32,
    /// C: the correction of predictions.
    pub(super) correction: i32,
    /// N: how many samples there were.
    count: i32,
}

impl Context {
    /// The parameter of the Golomb code of the next error (A.5.1).
    #[inline]
    pub(super) fn golomb(&self) -> u32 {
        golomb(self.sizes, self.count)
    }

    /// Whether the code of an error is that of its complement: only where k and NEAR are 0 (A.5.2).
    #[inline]
    pub(super) fn is_inverted(&self) -> bool {
        2 * self.bias <= -self.count
    }

    /// Learns from a quantized error (A.6).
    #[inline]
    pub(super) fn learn(&mut self, error: i32, preset: &Preset) {
        // A codestream may say RESET and errors so that the sum has no end.
        self.sizes = self.sizes.saturating_add(error.abs());
        self.bias += error * (2 * preset.near + 1);
        if self.count == preset.reset {
            self.sizes >>= 1;
            self.bias = if self.bias >= 0 { self.bias >> 1 } else { -((1 - self.bias) >> 1) };
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// What a context of samples that interrupt a run has learnt (A.7.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    sizes: i32,
    count: i32,
    /// Nn: how many errors were negative.
    negative: i32,
    /// RItype: 1 where left and above are alike.
    kind: i32,
}

impl RunContext {
    /// The parameter of the Golomb code of the next error.
    pub(super) fn golomb(&self) -> u32 {
        golomb(self.sizes.saturating_add(if self.kind == 1 { self.count >> 1 } else { 0 }), self.count)
    }

    /// The error that a mapped one stands for (A.7.2.2).
    pub(super) fn unmapped(&self, mapped: i32, k: u32) -> i32 {
        let value = mapped + self.kind;
        let odd = value & 1;
        let size = (value + odd) / 2;
        if (k != 0 || 2 * self.negative >= self.count) == (odd == 1) { -size } else { size }
    }

    /// What an error is mapped to (A.7.2.2): as [`Self::unmapped`] has it back.
    pub(super) fn mapped(&self, error: i32, k: u32) -> i32 {
        let often_negative = 2 * self.negative >= self.count;
        let odd = if error > 0 { k == 0 && !often_negative } else { error < 0 && (k != 0 || often_negative) };
        2 * error.abs() - self.kind - i32::from(odd)
    }

    /// Learns from an error and what it was mapped to.
    pub(super) fn learn(&mut self, error: i32, mapped: i32, preset: &Preset) {
        if error < 0 {
            self.negative += 1;
        }
        self.sizes = self.sizes.saturating_add((mapped + 1 - self.kind) >> 1);
        if self.count == preset.reset {
            self.sizes >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
    }
}

/// The least k so that `count << k` is not less than `sizes`; at most 24, which only foreign parameters come to.
#[inline]
fn golomb(sizes: i32, count: i32) -> u32 {
    let k = count.leading_zeros().saturating_sub(sizes.leading_zeros());
    (k + u32::from((i64::from(count) << k) < i64::from(sizes))).min(24)
}

/// All contexts of a scan, from its beginning or that of a restart interval.
#[derive(Debug, Clone)]
pub(super) struct Contexts {
    /// By the size of a context's number.
    pub(super) regular: Vec<Context>,
    /// By RItype.
    pub(super) run: [RunContext; 2],
}

impl Contexts {
    /// Those that have learnt nothing yet (A.2.1).
    pub(super) fn new(preset: &Preset) -> Self {
        let sizes = ((preset.range + 32) / 64).max(2);
        let run = |kind| RunContext { sizes, count: 1, negative: 0, kind };
        let context = Context { sizes, bias: 0, correction: 0, count: 1 };
        Self { regular: vec![context; CONTEXTS], run: [run(0), run(1)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_thresholds_are_those_of_the_standard() {
        assert_eq!(default_thresholds(255, 0), [3, 7, 21]);
        assert_eq!(default_thresholds(4095, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(65535, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(127, 0), [2, 3, 10]);
        assert_eq!(default_thresholds(255, 3), [12, 22, 42]);
    }

    #[test]
    fn parameters_that_contradict_each_other_are_refused() {
        assert!(Preset::new(8, 0, [0; 5]).is_some());
        assert!(Preset::new(8, 128, [0; 5]).is_none());
        assert!(Preset::new(8, 0, [256, 0, 0, 0, 0]).is_none());
        assert!(Preset::new(8, 0, [0, 9, 8, 0, 0]).is_none());
        assert!(Preset::new(8, 0, [0, 0, 0, 0, 2]).is_none());
    }
}
