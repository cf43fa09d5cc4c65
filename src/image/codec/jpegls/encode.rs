//! Samples into the scans of lossless JPEG-LS (ISO/IEC 14495-1, Annex A).

use super::bits::{Stuffer, Writer, room};
use super::decode::begin;
use super::model::{CONTEXTS, Context, Contexts, Preset, RUNS, predicted};

/// Encodes the samples of a frame, colour by pixel, into one scan, in which the lines of the components take turns. It is
/// appended to `out`. `preset`: one that is lossless.
pub(super) fn scan(samples: &[u16], columns: usize, components: usize, preset: &Preset, out: &mut Vec<u8>) {
    let (mut room, mut stuffer) = (room(columns), Stuffer::new(out));
    let mut contexts = Contexts::new(preset);
    let blank = vec![0; columns + 2];
    let mut lines = vec![(blank.clone(), blank, 0); components];
    for row in samples.chunks_exact(columns * components) {
        for (place, (above, current, run_index)) in lines.iter_mut().enumerate() {
            std::mem::swap(above, current);
            begin(above, current);
            gather(row, place, components, &mut current[1..=columns]);
            let bits = Writer::new(&mut room);
            let mut encoder = Encoder { bits, preset, contexts: &mut contexts, run_index: *run_index };
            encoder.line(above, current);
            *run_index = encoder.run_index;
            stuffer.line(encoder.bits);
        }
    }
    stuffer.finish();
}

/// The samples of a component from a row of pixels.
fn gather(row: &[u16], place: usize, components: usize, samples: &mut [u16]) {
    if components == 1 {
        return samples.copy_from_slice(row);
    }
    for (sample, pixel) in samples.iter_mut().zip(row.chunks_exact(components)) {
        *sample = pixel[place];
    }
}

struct Encoder<'a> {
    bits: Writer<'a>,
    preset: &'a Preset,
    contexts: &'a mut Contexts,
    run_index: usize,
}

impl Encoder<'_> {
    /// A line of one component; places begin at 1.
    fn line(&mut self, above: &[u16], current: &[u16]) {
        let end = current.len() - 1;
        let mut at = 1;
        while at < end {
            at += self.regulars(&above[at - 1..], &current[at - 1..end]);
            if at == end {
                break;
            }
            let left = current[at - 1];
            let run = current[at..end].iter().take_while(|sample| **sample == left).count();
            at += run;
            self.run(run, at == end);
            if at < end {
                self.interruption(left.into(), above[at].into(), current[at].into());
                at += 1;
            }
        }
    }

    /// Samples in the regular mode, up to a run or the end. How many there were, behind the one on the left.
    #[inline(never)]
    fn regulars(&mut self, above: &[u16], current: &[u16]) -> usize {
        let ([corner, up, nexts @ ..], [left, samples @ ..]) = (above, current) else {
            return 0;
        };
        let (bits, preset, contexts) = (&mut self.bits, self.preset, &mut *self.contexts.regular);
        let maximum = preset.maximum;
        let (mut corner, mut up, mut left) = (i32::from(*corner), i32::from(*up), i32::from(*left));
        let mut second = preset.quantized(up - corner + maximum);
        let mut count = 0;
        for (sample, next) in samples.iter().zip(nexts) {
            let (sample, next) = (i32::from(*sample), i32::from(*next));
            let first = preset.quantized(next - up + maximum);
            let number = 81 * first + 9 * second + preset.quantized(corner - left + maximum);
            if number == 0 {
                break;
            }
            regular(bits, contexts, preset, number, predicted(left, up, corner), sample);
            (corner, up, left, second) = (up, next, sample, first);
            count += 1;
        }
        count
    }

    /// So many samples as the one before (A.7.1).
    fn run(&mut self, mut length: usize, to_the_end: bool) {
        while length >= 1 << RUNS[self.run_index] {
            self.bits.bits(1, 1);
            length -= 1 << RUNS[self.run_index];
            self.run_index = (self.run_index + 1).min(31);
        }
        if !to_the_end {
            self.bits.bits(length as u64, RUNS[self.run_index] + 1);
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

/// A sample in the regular mode (A.4 to A.6).
#[inline(always)]
fn regular(
    bits: &mut Writer<'_>,
    contexts: &mut [Context; CONTEXTS],
    preset: &Preset,
    number: i32,
    guess: i32,
    sample: i32,
) {
    // All ones where the context is that of the opposite gradients.
    let sign = number >> 31;
    let context = &mut contexts[number.unsigned_abs() as usize];
    let guess = (guess + ((context.correction() ^ sign) - sign)).max(0).min(preset.maximum);
    let error = preset.reduced(((sample - guess) ^ sign) - sign);
    let k = context.golomb();
    let coded = error ^ -i32::from((k == 0) & context.is_inverted());
    let mapped = (coded << 1) ^ (coded >> 31);
    bits.golomb(mapped, k, preset.limit - preset.range_bits - 1, preset.range_bits);
    context.learn::<true>(error, preset);
}
