//! What encoder and decoder of JPEG-LS know alike: the parameters, the contexts, and how they learn (Annex A).

/// Contexts of the regular mode: 9 × 9 × 9 quantized gradients, of which those that differ in sign only are one.
pub(super) const CONTEXTS: usize = 365;
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
    /// What gradients become, from that of -MAXVAL on.
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
        Some(Self {
            maximum,
            near,
            range,
            range_bits: bits_of(range),
            limit: 2 * (bits + bits.max(8)),
            reset,
            quantized: quantized(maximum, near, [t1, t2, t3]),
        })
    }

    /// Whether errors are not quantized, and their modulo is a power of two.
    pub(super) fn is_lossless(&self) -> bool {
        self.near == 0 && self.range == self.maximum + 1 && self.range & self.maximum == 0
    }

    /// One of -4 to 4 for a gradient, to which MAXVAL was added (A.3.3).
    #[inline(always)]
    pub(super) fn quantized(&self, raised: i32) -> i32 {
        self.quantized[raised as u32 as usize].into()
    }

    /// The context of three gradients, from -364 to 364: with its sign (A.3.4).
    #[inline(always)]
    pub(super) fn context(&self, first: i32, second: i32, third: i32) -> i32 {
        let maximum = self.maximum;
        81 * self.quantized(first + maximum)
            + 9 * self.quantized(second + maximum)
            + self.quantized(third + maximum)
    }

    /// A sample from its prediction and the quantized error (A.4.4, A.5). `LOSSLESS`: [`Self::is_lossless`].
    #[inline(always)]
    pub(super) fn reconstructed<const LOSSLESS: bool>(&self, predicted: i32, error: i32) -> i32 {
        if LOSSLESS {
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

    /// A difference modulo the range, of the least size, where [`Self::is_lossless`] (A.4.5).
    #[inline(always)]
    pub(super) fn reduced(&self, difference: i32) -> i32 {
        // The bit above them all becomes the sign.
        let unused = 32 - self.range_bits;
        difference << unused >> unused
    }
}

/// What gradients from -`maximum` to `maximum` become (A.3.3).
fn quantized(maximum: i32, near: i32, [t1, t2, t3]: [i32; 3]) -> Vec<i8> {
    let size = |size: i32| match size {
        _ if size <= near => 0,
        _ if size < t1 => 1,
        _ if size < t2 => 2,
        _ if size < t3 => 3,
        _ => 4,
    };
    let mut quantized = vec![4; 2 * maximum as usize + 1];
    quantized[..maximum as usize].fill(-4);
    for gradient in 0..t3 {
        quantized[(maximum + gradient) as usize] = size(gradient);
        quantized[(maximum - gradient) as usize] = -size(gradient);
    }
    quantized
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
    (left + above - corner).max(least).min(most)
}

/// What a context of the regular mode has learnt (A.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// A: the sum of the errors' sizes.
    sizes: i32,
    /// B: the bias, from which the correction is made.
    bias: i32,
    /// N: how many samples there were; at most RESET.
    count: u16,
    /// C: the correction of predictions.
    correction: i8,
    /// The parameter of the Golomb code of the next error (A.5.1).
    k: u8,
}

impl Context {
    fn new(sizes: i32) -> Self {
        Self { sizes, bias: 0, count: 1, correction: 0, k: golomb(sizes, 1) as u8 }
    }

    /// The parameter of the Golomb code of the next error.
    #[inline(always)]
    pub(super) fn golomb(&self) -> u32 {
        self.k.into()
    }

    /// The correction of predictions.
    #[inline(always)]
    pub(super) fn correction(&self) -> i32 {
        self.correction.into()
    }

    /// Whether the code of an error is that of its complement: only where k and NEAR are 0 (A.5.2).
    #[inline(always)]
    pub(super) fn is_inverted(&self) -> bool {
        2 * self.bias <= -i32::from(self.count)
    }

    /// Learns from a quantized error (A.6).
    #[inline(always)]
    pub(super) fn learn<const LOSSLESS: bool>(&mut self, error: i32, preset: &Preset) {
        let (mut bias, mut count) = (self.bias, i32::from(self.count));
        // A codestream may say RESET and errors so that the sum has no end.
        let mut sizes = self.sizes.saturating_add(error.abs());
        bias += if LOSSLESS { error } else { error * (2 * preset.near + 1) };
        if count == preset.reset {
            sizes >>= 1;
            bias = if bias >= 0 { bias >> 1 } else { -((1 - bias) >> 1) };
            count >>= 1;
        }
        count += 1;
        if bias <= -count {
            bias = (bias + count).max(1 - count);
            self.correction = (self.correction).saturating_sub(1);
        } else if bias > 0 {
            bias = (bias - count).min(0);
            self.correction = (self.correction).saturating_add(1);
        }
        (self.sizes, self.bias, self.count) = (sizes, bias, count as u16);
        self.k = next_golomb(self.k.into(), sizes, count) as u8;
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

/// The greatest k that there is: no error is greater than 2^16, so that A stays below 2^17 × N, whatever RESET is.
const GREATEST_K: u32 = 17;

/// The least k so that `count << k` is not less than `sizes`.
#[inline(always)]
fn golomb(sizes: i32, count: i32) -> u32 {
    // A sum and a count of 0 have no leading one, but those of 1 are as long.
    let k = (count | 1).leading_zeros().saturating_sub((sizes | 1).leading_zeros());
    (k + u32::from((i64::from(count) << k) < i64::from(sizes))).min(GREATEST_K)
}

/// As [`golomb`], from what it was one error before: it becomes less by one at most, and seldom greater by more.
#[inline(always)]
fn next_golomb(k: u32, sizes: i32, count: i32) -> u32 {
    let (wide, reached) = (sizes as u64, (count as u64) << k);
    if 2 * reached < wide {
        return golomb(sizes, count);
    }
    (k + u32::from(reached < wide) - u32::from((k > 0) & (reached >= 2 * wide))).min(GREATEST_K)
}

/// All contexts of a scan, from its beginning or that of a restart interval.
#[derive(Debug, Clone)]
pub(super) struct Contexts {
    /// By the size of a context's number.
    pub(super) regular: Box<[Context; CONTEXTS]>,
    /// By RItype.
    pub(super) run: [RunContext; 2],
}

impl Contexts {
    /// Those that have learnt nothing yet (A.2.1).
    pub(super) fn new(preset: &Preset) -> Self {
        let sizes = ((preset.range + 32) / 64).max(2);
        let run = |kind| RunContext { sizes, count: 1, negative: 0, kind };
        Self { regular: Box::new([Context::new(sizes); CONTEXTS]), run: [run(0), run(1)] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn gradients_become_what_the_thresholds_say() {
        let preset = Preset::new(8, 1, [200, 3, 3, 9, 0]).unwrap();
        let quantized = |gradient: i32| preset.quantized(gradient + 200);
        for (gradient, expected) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 3),
            (8, 3),
            (9, 4),
            (200, 4),
            (-1, 0),
            (-2, -1),
            (-8, -3),
            (-200, -4),
        ] {
            assert_eq!(quantized(gradient), expected, "{gradient}");
        }
        let widest = Preset::new(2, 0, [3, 3, 3, 3, 0]).unwrap();
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|raised| widest.quantized(raised)), [-4, -1, -1, 0, 1, 1, 4]);
    }

    #[test]
    fn differences_are_reduced_to_the_range() {
        for precision in 2..=12 {
            let preset = Preset::new(precision, 0, [0; 5]).unwrap();
            assert!(preset.is_lossless());
            let (range, greatest) = (preset.range, preset.maximum);
            for difference in -greatest..=greatest {
                let reduced = preset.reduced(difference);
                assert!((-range / 2..range / 2).contains(&reduced));
                assert_eq!((difference - reduced) % range, 0);
            }
        }
    }

    proptest! {
        #[test]
        fn the_prediction_is_that_of_the_standard(left in 0..9_i32, above in 0..9_i32, corner in 0..9_i32) {
            let expected = if corner >= left.max(above) {
                left.min(above)
            } else if corner <= left.min(above) {
                left.max(above)
            } else {
                left + above - corner
            };
            prop_assert_eq!(predicted(left, above, corner), expected);
        }

        #[test]
        fn k_is_the_least_that_will_do_and_not_more_than_17(
            precision in 2..=16_u8,
            reset in prop_oneof![Just(3), Just(64), Just(u16::MAX), 3..200_u16],
            errors in prop::collection::vec((0..=17_u32, any::<bool>(), 1..100_usize), 1..200),
        ) {
            let preset = Preset::new(precision, 0, [0, 0, 0, 0, reset]).unwrap();
            let mut context = Contexts::new(&preset).regular[0];
            for (bits, negative, times) in errors {
                let error = if bits == 17 { 1 << 16 } else { (1 << bits) >> 1 };
                for _ in 0..times {
                    context.learn::<true>(if negative { -error } else { error }, &preset);
                    let (sizes, count) = (u64::from(context.sizes as u32), u64::from(context.count));
                    let least = (0..64).find(|k| count << k >= sizes);
                    prop_assert_eq!(Some(context.golomb()), least);
                    prop_assert!(context.golomb() <= GREATEST_K && i32::from(context.count) <= preset.reset);
                }
            }
        }
    }

    #[test]
    fn the_greatest_errors_do_not_make_k_greater() {
        for reset in [3, 64, u16::MAX] {
            let preset = Preset::new(16, 0, [0, 0, 0, 0, reset]).unwrap();
            let mut contexts = Contexts::new(&preset);
            for _ in 0..200_000 {
                contexts.regular[0].learn::<false>(-1 << 16, &preset);
                contexts.run[1].learn(-1 << 16, 0x1_FFFF, &preset);
                let Context { sizes, count, .. } = contexts.regular[0];
                assert!(i64::from(sizes) <= i64::from(count) << GREATEST_K);
                let RunContext { sizes, count, .. } = contexts.run[1];
                assert!(i64::from(sizes) + i64::from(count >> 1) <= i64::from(count) << GREATEST_K);
            }
        }
    }
}
