//! Samples into the scans of lossless JPEG-LS (ISO/IEC 14495-1, Annex A).

use super::bits::Writer;
use super::decode::begin;
use super::model::{Contexts, Preset, RUNS, predicted};

/// Encodes the samples of a frame, colour by pixel, into one scan, in which the lines of the components take turns.
pub(super) fn scan(samples: &[u16], columns: usize, components: usize, preset: &Preset) -> Vec<u8> {
    let mut encoder =
        Encoder { bits: Writer::default(), preset, contexts: Contexts::new(preset), run_index: 0 };
    let blank = vec![0; columns + 2];
    let mut lines = vec![(blank.clone(), blank, 0); components];
    for row in samples.chunks_exact(columns * components) {
        for (place, (above, current, run_index)) in lines.iter_mut().enumerate() {
            std::mem::swap(above, current);
            begin(above, current);
            for (to, from) in current[1..].iter_mut().zip(row.iter().skip(place).step_by(components)) {
                *to = *from;
            }
            encoder.run_index = *run_index;
            encoder.line(above, current);
            *run_index = encoder.run_index;
        }
    }
    encoder.bits.into_bytes()
}

struct Encoder<'a> {
    bits: Writer,
    preset: &'a Preset,
    contexts: Contexts,
    run_index: usize,
}

impl Encoder<'_> {
    /// A line of one component; places begin at 1.
    fn line(&mut self, above: &[u16], current: &[u16]) {
        let end = current.len() - 1;
        let mut at = 1;
        while at < end {
            let (left, up) = (i32::from(current[at - 1]), i32::from(above[at]));
            let (corner, next) = (i32::from(above[at - 1]), i32::from(above[at + 1]));
            let context = self.preset.context(next - up, up - corner, corner - left);
            if context != 0 {
                self.regular(context, predicted(left, up, corner), current[at].into());
                at += 1;
                continue;
            }
            let run = current[at..end].iter().take_while(|sample| i32::from(**sample) == left).count();
            at += run;
            self.run(run, at == end);
            if at < end {
                self.interruption(left, above[at].into(), current[at].into());
                at += 1;
            }
        }
    }

    /// A sample in the regular mode (A.4 to A.6).
    #[inline]
    fn regular(&mut self, number: i32, guess: i32, sample: i32) {
        let context = &mut self.contexts.regular[number.unsigned_abs() as usize];
        let sign = if number < 0 { -1 } else { 1 };
        let guess = (guess + sign * context.correction).clamp(0, self.preset.maximum);
        let error = self.preset.reduced(sign * (sample - guess));
        let k = context.golomb();
        let coded = if k == 0 && context.is_inverted() { -(error + 1) } else { error };
        let mapped = if coded >= 0 { 2 * coded } else { -2 * coded - 1 };
        self.bits.golomb(mapped, k, self.preset.limit - self.preset.range_bits - 1, self.preset.range_bits);
        context.learn(error, self.preset);
    }

    /// So many samples as the one before (A.7.1).
    fn run(&mut self, mut length: usize, to_the_end: bool) {
        while length >= 1 << RUNS[self.run_index] {
            self.bits.bits(1, 1);
            length -= 1 << RUNS[self.run_index];
            self.run_index = (self.run_index + 1).min(31);
        }
        if !to_the_end {
            self.bits.bits(length as u32, RUNS[self.run_index] + 1);
        } else if length > 0 {
            self.bits.bits(1, 1);
        }
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, left: i32, up: i32, sample: i32) {
        let kind = usize::from(left == up);
        let difference = if kind == 0 && left > up { up - sample } else { sample - up };
        let error = self.preset.reduced(difference);
        let context = &mut self.contexts.run[kind];
        let k = context.golomb();
        let mapped = context.mapped(error, k);
        let longest = self.preset.limit - RUNS[self.run_index] - 1 - self.preset.range_bits - 1;
        self.bits.golomb(mapped, k, longest, self.preset.range_bits);
        context.learn(error, mapped, self.preset);
        self.run_index = self.run_index.saturating_sub(1);
    }
}
