//! The scans of JPEG-LS into samples (ISO/IEC 14495-1, Annexes A and F).

use super::bits::Reader;
use super::model::{Contexts, Preset, RUNS, predicted};
use super::{COMPONENTS, Interleave};
use crate::image::codec::Refusal;
use crate::image::codec::jpeg::tables::restart;

/// Where the samples of a scan lie in the frame.
pub(super) struct Layout<'a> {
    pub(super) columns: usize,
    /// Samples of a pixel.
    pub(super) stride: usize,
    /// The places of the scan's components in a pixel.
    pub(super) places: &'a [usize],
    pub(super) interleave: Interleave,
    /// Lines after which the contexts begin anew, 0 for never.
    pub(super) interval: usize,
}

/// Decodes a scan into the samples of a frame, colour by pixel. How many bytes it had.
pub(super) fn scan(
    data: &[u8],
    preset: &Preset,
    layout: &Layout<'_>,
    samples: &mut [u16],
) -> Result<usize, Refusal> {
    let line = layout.columns * layout.stride;
    let interval = if layout.interval == 0 { samples.len() / line } else { layout.interval };
    let mut at = 0;
    for (n, lines) in samples.chunks_mut(line.saturating_mul(interval)).enumerate() {
        if n > 0 {
            at += restart(&data[at..])?;
        }
        let mut decoder = Decoder::new(&data[at..], preset);
        match layout.interleave {
            Interleave::Sample => by_sample(&mut decoder, layout, lines)?,
            Interleave::None | Interleave::Line => by_line(&mut decoder, layout, lines)?,
        }
        at += decoder.bits.end();
    }
    Ok(at)
}

/// Lines of one component, or of each in turn: they share the contexts, but for the run index.
fn by_line(decoder: &mut Decoder<'_>, layout: &Layout<'_>, samples: &mut [u16]) -> Result<(), Refusal> {
    // A line has a neighbour at either end (A.2.1).
    let blank = vec![0; layout.columns + 2];
    let mut lines: Vec<_> = layout.places.iter().map(|_| (blank.clone(), blank.clone(), 0)).collect();
    for row in samples.chunks_exact_mut(layout.columns * layout.stride) {
        for (place, (above, current, run_index)) in layout.places.iter().zip(&mut lines) {
            std::mem::swap(above, current);
            begin(above, current);
            decoder.run_index = *run_index;
            decoder.line(above, current)?;
            *run_index = decoder.run_index;
            for (to, from) in row.iter_mut().skip(*place).step_by(layout.stride).zip(&current[1..]) {
                *to = *from;
            }
        }
        decoder.check()?;
    }
    Ok(())
}

/// Samples of each component in turn. A run is one of all components.
fn by_sample(decoder: &mut Decoder<'_>, layout: &Layout<'_>, samples: &mut [u16]) -> Result<(), Refusal> {
    let blank = vec![0; layout.columns + 2];
    let mut above = vec![blank.clone(); layout.places.len()];
    let mut current = vec![blank; layout.places.len()];
    for row in samples.chunks_exact_mut(layout.columns * layout.stride) {
        std::mem::swap(&mut above, &mut current);
        above.iter_mut().zip(&mut current).for_each(|(above, current)| begin(above, current));
        decoder.line_of_pixels(&above, &mut current)?;
        for (place, current) in layout.places.iter().zip(&current) {
            for (to, from) in row.iter_mut().skip(*place).step_by(layout.stride).zip(&current[1..]) {
                *to = *from;
            }
        }
        decoder.check()?;
    }
    Ok(())
}

/// The neighbours beyond both ends: behind the line above stands its last sample, before the current line what is above it.
pub(super) fn begin(above: &mut [u16], current: &mut [u16]) {
    let end = above.len() - 1;
    above[end] = above[end - 1];
    current[0] = above[1];
}

fn bad_code() -> Refusal {
    Refusal::damaged("a code that there is not")
}

struct Decoder<'a> {
    bits: Reader<'a>,
    preset: &'a Preset,
    contexts: Contexts,
    run_index: usize,
}

impl<'a> Decoder<'a> {
    fn new(data: &'a [u8], preset: &'a Preset) -> Self {
        Self { bits: Reader::new(data), preset, contexts: Contexts::new(preset), run_index: 0 }
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.bits.is_overrun() { Err(Refusal::damaged("it ends before its last line")) } else { Ok(()) }
    }

    /// A line of one component; places begin at 1.
    fn line(&mut self, above: &[u16], current: &mut [u16]) -> Result<(), Refusal> {
        let above = &above[..current.len()];
        let end = current.len() - 1;
        let mut at = 1;
        while at < end {
            // The neighbours move along with the sample: what was above it is the corner of the next one, and so are gradients.
            let (mut corner, mut up, mut left) =
                (i32::from(above[at - 1]), i32::from(above[at]), i32::from(current[at - 1]));
            let mut second = self.preset.quantized(up - corner);
            while at < end {
                let next = i32::from(above[at + 1]);
                let first = self.preset.quantized(next - up);
                let context = 81 * first + 9 * second + self.preset.quantized(corner - left);
                if context == 0 {
                    break;
                }
                left = self.regular(context, predicted(left, up, corner)).ok_or_else(bad_code)?;
                current[at] = left as u16;
                (corner, up, second) = (up, next, first);
                at += 1;
            }
            if at == end {
                break;
            }
            let run = self.run(end - at)?;
            current[at..at + run].fill(left as u16);
            at += run;
            if at < end {
                current[at] = self.interruption(left, above[at].into())? as u16;
                self.run_index = self.run_index.saturating_sub(1);
                at += 1;
            }
        }
        Ok(())
    }

    /// A line of all components.
    fn line_of_pixels(&mut self, above: &[Vec<u16>], current: &mut [Vec<u16>]) -> Result<(), Refusal> {
        let end = above[0].len() - 1;
        let mut at = 1;
        while at < end {
            let mut contexts = [0; COMPONENTS];
            for ((context, above), current) in contexts.iter_mut().zip(above).zip(&*current) {
                let (left, up) = (i32::from(current[at - 1]), i32::from(above[at]));
                let (corner, next) = (i32::from(above[at - 1]), i32::from(above[at + 1]));
                *context = self.preset.context(next - up, up - corner, corner - left);
            }
            if contexts.iter().any(|context| *context != 0) {
                for ((context, above), current) in contexts.iter().zip(above).zip(&mut *current) {
                    let guess = predicted(current[at - 1].into(), above[at].into(), above[at - 1].into());
                    current[at] = self.regular(*context, guess).ok_or_else(bad_code)? as u16;
                }
                at += 1;
                continue;
            }
            let run = self.run(end - at)?;
            for current in &mut *current {
                let left = current[at - 1];
                current[at..at + run].fill(left);
            }
            at += run;
            if at < end {
                for (above, current) in above.iter().zip(&mut *current) {
                    let (left, up) = (i32::from(current[at - 1]), i32::from(above[at]));
                    current[at] = self.interruption_of(0, left, up)? as u16;
                }
                self.run_index = self.run_index.saturating_sub(1);
                at += 1;
            }
        }
        Ok(())
    }

    /// A sample in the regular mode (A.4 to A.6).
    #[inline]
    fn regular(&mut self, number: i32, guess: i32) -> Option<i32> {
        let context = &mut self.contexts.regular[number.unsigned_abs() as usize];
        let sign = if number < 0 { -1 } else { 1 };
        let guess = (guess + sign * context.correction).clamp(0, self.preset.maximum);
        let k = context.golomb();
        let mapped =
            self.bits.golomb(k, self.preset.limit - self.preset.range_bits - 1, self.preset.range_bits)?;
        let mut error = if mapped & 1 == 0 { mapped >> 1 } else { -((mapped + 1) >> 1) };
        if k == 0 && self.preset.near == 0 && context.is_inverted() {
            error = -(error + 1);
        }
        context.learn(error, self.preset);
        Some(self.preset.reconstructed(guess, sign * error))
    }

    /// How many samples are as the one before, of at most `longest` (A.7.1.2).
    fn run(&mut self, longest: usize) -> Result<usize, Refusal> {
        let mut length = 0;
        while self.bits.bit() {
            let piece = 1 << RUNS[self.run_index];
            if longest - length < piece {
                return Ok(longest);
            }
            length += piece;
            self.run_index = (self.run_index + 1).min(31);
            if length == longest {
                return Ok(length);
            }
        }
        length += self.bits.bits(RUNS[self.run_index]) as usize;
        if length < longest { Ok(length) } else { Err(Refusal::damaged("a run beyond the end of its line")) }
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, left: i32, up: i32) -> Result<i32, Refusal> {
        self.interruption_of(usize::from((left - up).abs() <= self.preset.near), left, up)
    }

    fn interruption_of(&mut self, kind: usize, left: i32, up: i32) -> Result<i32, Refusal> {
        let context = &mut self.contexts.run[kind];
        let k = context.golomb();
        let longest = self.preset.limit - RUNS[self.run_index] - 1 - self.preset.range_bits - 1;
        let mapped = self.bits.golomb(k, longest, self.preset.range_bits).ok_or_else(bad_code)?;
        let error = context.unmapped(mapped, k);
        context.learn(error, mapped, self.preset);
        let (guess, error) = match kind {
            1 => (left, error),
            _ if left > up => (up, -error),
            _ => (up, error),
        };
        Ok(self.preset.reconstructed(guess, error))
    }
}
