//! The scans of JPEG-LS into samples (ISO/IEC 14495-1, Annexes A and F).

use super::bits::Reader;
use super::model::{CONTEXTS, Context, Contexts, Preset, RUNS, predicted};
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
        if preset.is_lossless() {
            decoder.lines::<true>(layout, lines)?;
        } else {
            decoder.lines::<false>(layout, lines)?;
        }
        at += decoder.bits.end();
    }
    Ok(at)
}

/// Lines of one component, or of each in turn: they share the contexts, but for the run index.
fn by_line<const LOSSLESS: bool>(
    decoder: &mut Decoder<'_>,
    layout: &Layout<'_>,
    samples: &mut [u16],
) -> Result<(), Refusal> {
    // A line has a neighbour at either end (A.2.1).
    let blank = vec![0; layout.columns + 2];
    let mut lines: Vec<_> = layout.places.iter().map(|_| (blank.clone(), blank.clone(), 0)).collect();
    for row in samples.chunks_exact_mut(layout.columns * layout.stride) {
        for (place, (above, current, run_index)) in layout.places.iter().zip(&mut lines) {
            std::mem::swap(above, current);
            begin(above, current);
            decoder.run_index = *run_index;
            decoder.line::<LOSSLESS>(above, current)?;
            *run_index = decoder.run_index;
            spread(&current[1..=layout.columns], row, *place, layout.stride);
        }
        decoder.check()?;
    }
    Ok(())
}

/// Samples of each component in turn, of which there are `N`. A run is one of all components.
fn by_sample<const LOSSLESS: bool, const N: usize>(
    decoder: &mut Decoder<'_>,
    layout: &Layout<'_>,
    samples: &mut [u16],
) -> Result<(), Refusal> {
    let in_order = layout.stride == N && layout.places.is_sorted();
    let mut above = vec![[0; N]; layout.columns + 2];
    let mut current = above.clone();
    for row in samples.chunks_exact_mut(layout.columns * layout.stride) {
        std::mem::swap(&mut above, &mut current);
        begin(&mut above, &mut current);
        decoder.line_of_pixels::<LOSSLESS, N>(&above, &mut current)?;
        if in_order {
            row.copy_from_slice(current[1..=layout.columns].as_flattened());
        } else {
            for (to, from) in row.chunks_exact_mut(layout.stride).zip(&current[1..]) {
                layout.places.iter().zip(from).for_each(|(place, sample)| to[*place] = *sample);
            }
        }
        decoder.check()?;
    }
    Ok(())
}

/// Puts the samples of a component into a row of pixels.
fn spread(samples: &[u16], row: &mut [u16], place: usize, stride: usize) {
    if stride == 1 {
        return row.copy_from_slice(samples);
    }
    for (pixel, sample) in row.chunks_exact_mut(stride).zip(samples) {
        pixel[place] = *sample;
    }
}

/// The neighbours beyond both ends: behind the line above stands its last sample, before the current line what is above it.
pub(super) fn begin<T: Copy>(above: &mut [T], current: &mut [T]) {
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

    /// Lines of the scan. `LOSSLESS`: [`Preset::is_lossless`].
    fn lines<const LOSSLESS: bool>(
        &mut self,
        layout: &Layout<'_>,
        samples: &mut [u16],
    ) -> Result<(), Refusal> {
        match (layout.interleave, layout.places.len()) {
            (Interleave::Sample, 2) => by_sample::<LOSSLESS, 2>(self, layout, samples),
            (Interleave::Sample, 3) => by_sample::<LOSSLESS, 3>(self, layout, samples),
            (Interleave::Sample, _) => by_sample::<LOSSLESS, COMPONENTS>(self, layout, samples),
            (Interleave::None | Interleave::Line, _) => by_line::<LOSSLESS>(self, layout, samples),
        }
    }

    /// A line of one component; places begin at 1.
    fn line<const LOSSLESS: bool>(&mut self, above: &[u16], current: &mut [u16]) -> Result<(), Refusal> {
        let above = &above[..current.len()];
        let end = current.len() - 1;
        let mut at = 1;
        while at < end {
            let regular = self.regulars::<LOSSLESS>(&above[at - 1..], &mut current[at - 1..end]);
            at += regular.ok_or_else(bad_code)?;
            if at == end {
                break;
            }
            let left = i32::from(current[at - 1]);
            let run = self.run(end - at)?;
            current[at..at + run].fill(left as u16);
            at += run;
            if at < end {
                current[at] = self.interruption::<LOSSLESS>(left, above[at].into())? as u16;
                self.run_index = self.run_index.saturating_sub(1);
                at += 1;
            }
        }
        Ok(())
    }

    /// Samples in the regular mode, up to a run or the end. How many there were, behind the one on the left.
    #[inline(never)]
    fn regulars<const LOSSLESS: bool>(&mut self, above: &[u16], current: &mut [u16]) -> Option<usize> {
        let ([corner, up, nexts @ ..], [left, samples @ ..]) = (above, current) else {
            return None;
        };
        let (preset, contexts) = (self.preset, &mut *self.contexts.regular);
        let maximum = preset.maximum;
        // In registers, where nothing else may point to it.
        let mut bits = self.bits;
        // The neighbours move along with the sample: what was above it is the corner of the next one, and so are gradients.
        let (mut corner, mut up, mut left) = (i32::from(*corner), i32::from(*up), i32::from(*left));
        // Whatever waits for the sample on the left has to be short.
        let mut raised = corner + maximum;
        let mut second = preset.quantized(up - corner + maximum);
        let mut count = 0;
        for (sample, next) in samples.iter_mut().zip(nexts) {
            let third = preset.quantized(raised - left);
            let next = i32::from(*next);
            raised = up + maximum;
            let first = preset.quantized(next + maximum - up);
            let number = 81 * first + 9 * second + third;
            if number == 0 {
                break;
            }
            left = regular::<LOSSLESS>(&mut bits, contexts, preset, number, predicted(left, up, corner))?;
            *sample = left as u16;
            (corner, up, second) = (up, next, first);
            count += 1;
        }
        self.bits = bits;
        Some(count)
    }

    /// A line of all components.
    fn line_of_pixels<const LOSSLESS: bool, const N: usize>(
        &mut self,
        above: &[[u16; N]],
        current: &mut [[u16; N]],
    ) -> Result<(), Refusal> {
        let end = current.len() - 1;
        let mut at = 1;
        while at < end {
            let regular = self.regular_pixels::<LOSSLESS, N>(&above[at - 1..], &mut current[at - 1..end]);
            at += regular.ok_or_else(bad_code)?;
            if at == end {
                break;
            }
            let left = current[at - 1];
            let run = self.run(end - at)?;
            current[at..at + run].fill(left);
            at += run;
            if at < end {
                for ((left, up), current) in left.iter().zip(&above[at]).zip(&mut current[at]) {
                    *current = self.interruption_of::<LOSSLESS>(0, (*left).into(), (*up).into())? as u16;
                }
                self.run_index = self.run_index.saturating_sub(1);
                at += 1;
            }
        }
        Ok(())
    }

    /// Pixels with a sample in the regular mode, up to a run or the end. How many there were, behind the one on the left.
    #[inline(never)]
    fn regular_pixels<const LOSSLESS: bool, const N: usize>(
        &mut self,
        above: &[[u16; N]],
        current: &mut [[u16; N]],
    ) -> Option<usize> {
        let ([corner, up, nexts @ ..], [left, pixels @ ..]) = (above, current) else {
            return None;
        };
        let (preset, contexts) = (self.preset, &mut *self.contexts.regular);
        let mut bits = self.bits;
        let (mut corner, mut up, mut left) = (corner.map(i32::from), up.map(i32::from), left.map(i32::from));
        let mut count = 0;
        for (pixel, next) in pixels.iter_mut().zip(nexts) {
            let next = next.map(i32::from);
            let numbers: [i32; N] = std::array::from_fn(|n| {
                preset.context(next[n] - up[n], up[n] - corner[n], corner[n] - left[n])
            });
            if numbers == [0; N] {
                break;
            }
            for n in 0..N {
                let guess = predicted(left[n], up[n], corner[n]);
                left[n] = regular::<LOSSLESS>(&mut bits, contexts, preset, numbers[n], guess)?;
            }
            *pixel = left.map(|sample| sample as u16);
            (corner, up) = (up, next);
            count += 1;
        }
        self.bits = bits;
        Some(count)
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
    fn interruption<const LOSSLESS: bool>(&mut self, left: i32, up: i32) -> Result<i32, Refusal> {
        self.interruption_of::<LOSSLESS>(usize::from((left - up).abs() <= self.preset.near), left, up)
    }

    fn interruption_of<const LOSSLESS: bool>(
        &mut self,
        kind: usize,
        left: i32,
        up: i32,
    ) -> Result<i32, Refusal> {
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
        Ok(self.preset.reconstructed::<LOSSLESS>(guess, error))
    }
}

/// A sample in the regular mode (A.4 to A.6).
#[inline(always)]
fn regular<const LOSSLESS: bool>(
    bits: &mut Reader<'_>,
    contexts: &mut [Context; CONTEXTS],
    preset: &Preset,
    number: i32,
    guess: i32,
) -> Option<i32> {
    // All ones where the context is that of the opposite gradients.
    let sign = number >> 31;
    let context = &mut contexts[number.unsigned_abs() as usize];
    let guess = (guess + ((context.correction() ^ sign) - sign)).max(0).min(preset.maximum);
    let k = context.golomb();
    let mapped = bits.golomb(k, preset.limit - preset.range_bits - 1, preset.range_bits)?;
    let mut error = (mapped >> 1) ^ -(mapped & 1);
    if k == 0 && (LOSSLESS || preset.near == 0) {
        error ^= -i32::from(context.is_inverted());
    }
    context.learn::<LOSSLESS>(error, preset);
    Some(preset.reconstructed::<LOSSLESS>(guess, (error ^ sign) - sign))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode;
    use super::*;

    const COLUMNS: usize = 23;
    const ROWS: usize = 5;

    fn decoded<const LOSSLESS: bool>(
        data: &[u8],
        precision: u8,
        places: &[usize],
        interleave: Interleave,
    ) -> Result<Vec<u16>, Refusal> {
        let preset = Preset::new(precision, 0, [0; 5]).unwrap();
        let stride = places.len();
        let mut samples = vec![0; COLUMNS * ROWS * stride];
        let layout = Layout { columns: COLUMNS, stride, places, interleave, interval: 0 };
        Decoder::new(data, &preset).lines::<LOSSLESS>(&layout, &mut samples)?;
        Ok(samples)
    }

    /// Any bytes are the bits of some image, but for a code now and then that there is not.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![1 => 0..0xFF_u8, 1 => 0x80..0xFF_u8], 2000)
    }

    proptest! {
        #[test]
        fn without_loss_all_is_as_with_some_that_is_none(
            samples in prop::collection::vec(any::<u16>(), COLUMNS * ROWS),
            precision in 2..=16_u8,
            components in 1..=COMPONENTS,
        ) {
            let preset = Preset::new(precision, 0, [0; 5]).unwrap();
            let samples: Vec<_> =
                samples.iter().map(|sample| sample >> (16 - precision)).cycle().take(COLUMNS * ROWS * components).collect();
            let mut data = Vec::new();
            encode::scan(&samples, COLUMNS, components, &preset, &mut data);
            let places = &[0, 1, 2, 3][..components];
            prop_assert_eq!(decoded::<true>(&data, precision, places, Interleave::Line), Ok(samples.clone()));
            prop_assert_eq!(decoded::<false>(&data, precision, places, Interleave::Line), Ok(samples));
        }

        #[test]
        fn components_go_where_their_places_are(data in data(), by_sample in any::<bool>()) {
            let interleave = if by_sample { Interleave::Sample } else { Interleave::Line };
            let plain = decoded::<true>(&data, 8, &[0, 1, 2], interleave);
            let turned = decoded::<true>(&data, 8, &[2, 1, 0], interleave);
            let turned = turned.map(|mut samples| {
                samples.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
                samples
            });
            prop_assert_eq!(plain, turned);
        }
    }
}
