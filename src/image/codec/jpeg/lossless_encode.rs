//! Samples into lossless JPEG, process 14 with selection value 1: each sample is predicted by the one to its left
//! (ISO/IEC 10918-1 Annex H, K.2).

use super::markers::{DHT, EOI, SOS, segment, sof, start};
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::{Frame, Photometric, Shape};

/// Categories of differences: by how many bits they take, up to 16.
const CATEGORIES: usize = 17;
/// Longest Huffman code.
const LONGEST: u32 = 16;

/// Encodes a frame without loss.
pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    let (samples, precision) = Samples::of(frame)?;
    let precision = precision.max(2);
    let Shape { rows, columns, samples: count, photometric, .. } = frame.shape;
    let count = usize::from(count);
    let differences = differences(&samples, columns.into(), count, 1 << (precision - 1));
    let mut frequencies = [0_u64; CATEGORIES];
    differences.iter().for_each(|difference| frequencies[category(*difference)] += 1);
    let lengths = code_lengths(&frequencies);
    // Other decoders take colours for luminance and chrominances unless the components say what they are.
    let ids: &[u8] = if photometric == Photometric::Rgb { b"RGB" } else { &[1, 2, 3, 4] };
    let ids = ids.get(..count).ok_or(Refusal::unsupported("more colours than have a name"))?;
    let mut out = Vec::with_capacity(frame.bytes.len() / 2);
    start(&mut out, sof::LOSSLESS, precision as u8, rows, columns, ids);
    let (table, codes) = table(&lengths);
    segment(&mut out, DHT, &table);
    let selectors: Vec<[u8; 2]> = ids.iter().map(|id| [*id, 0]).collect();
    segment(&mut out, SOS, &[&[count as u8], selectors.as_flattened(), &[1, 0, 0]].concat());
    let mut bits = Bits { out, window: 0, count: 0 };
    for difference in differences {
        let category = category(difference);
        let (code, length) = codes[category];
        bits.push(code, length);
        // A difference of 32768 is told by its category alone.
        if category < 16 {
            let raw = if difference < 0 { difference - 1 } else { difference };
            bits.push(raw as u32 & ((1 << category) - 1), category as u32);
        }
    }
    let mut out = bits.finish();
    out.extend([0xFF, EOI]);
    Ok(out)
}

/// What each sample differs by from its prediction, modulo 2^16: from the one to its left, in the first column from the
/// one above.
fn differences(samples: &[u16], columns: usize, count: usize, origin: u16) -> Vec<i16> {
    let line = columns * count;
    let difference = |n: usize| {
        let predicted = match n {
            _ if n % line >= count => samples[n - count],
            _ if n >= line => samples[n - line],
            _ => origin,
        };
        samples[n].wrapping_sub(predicted) as i16
    };
    (0..samples.len()).map(difference).collect()
}

/// How many bits a difference takes. -32768 stands for 32768 as well, which is the 16th category.
fn category(difference: i16) -> usize {
    (16 - difference.unsigned_abs().leading_zeros()) as usize
}

/// The lengths of Huffman codes, 0 where there is none; no code has ones only.
fn code_lengths(frequencies: &[u64; CATEGORIES]) -> [u32; CATEGORIES] {
    let mut frequencies = *frequencies;
    loop {
        // Trees, each with its frequency and what is in it. One place is kept free, for the code of ones.
        let present = (0..CATEGORIES).filter(|n| frequencies[*n] > 0);
        let mut trees: Vec<(u64, Vec<usize>)> = present.map(|n| (frequencies[n], vec![n])).collect();
        trees.push((0, vec![CATEGORIES]));
        let mut lengths = [0; CATEGORIES + 1];
        while trees.len() > 1 {
            trees.sort_by_key(|(frequency, _)| std::cmp::Reverse(*frequency));
            let (Some(a), Some(b)) = (trees.pop(), trees.pop()) else { break };
            let both: Vec<usize> = a.1.into_iter().chain(b.1).collect();
            both.iter().for_each(|n| lengths[*n] += 1);
            trees.push((a.0 + b.0, both));
        }
        let [lengths @ .., _] = lengths;
        if lengths.iter().all(|length| *length <= LONGEST) {
            return lengths;
        }
        // The more alike frequencies are, the more alike the lengths.
        frequencies.iter_mut().for_each(|frequency| *frequency = frequency.div_ceil(2));
    }
}

/// The parameters of the DHT segment, and for each category its code and how long that is (Annex C).
fn table(lengths: &[u32; CATEGORIES]) -> (Vec<u8>, [(u32, u32); CATEGORIES]) {
    let mut codes = [(0, 0); CATEGORIES];
    let (mut counts, mut values, mut code) = ([0; LONGEST as usize], Vec::new(), 0);
    for length in 1..=LONGEST {
        for category in (0..CATEGORIES).filter(|category| lengths[*category] == length) {
            codes[category] = (code, length);
            counts[length as usize - 1] += 1;
            values.push(category as u8);
            code += 1;
        }
        code <<= 1;
    }
    ([&[0], counts.as_slice(), &values].concat(), codes)
}

/// Writes bits, with a zero byte behind each byte of ones.
struct Bits {
    out: Vec<u8>,
    window: u64,
    count: u32,
}

impl Bits {
    /// Appends the lowest 0 to 16 bits of a value, which has no others.
    fn push(&mut self, value: u32, bits: u32) {
        self.window = self.window << bits | u64::from(value);
        self.count += bits;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.window >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
        }
    }

    /// The last byte is padded with ones (F.1.2.3).
    fn finish(mut self) -> Vec<u8> {
        let padding = (8 - self.count % 8) % 8;
        self.push((1 << padding) - 1, padding);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::codec::jpeg::decode;
    use crate::image::codec::testing::frames;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frame in frames(2)) {
            let encoded = encode(&frame).unwrap();
            prop_assert_eq!(decode(&encoded, &frame.shape).unwrap(), frame);
        }

        #[test]
        fn codes_are_short_enough_and_leave_one_free(frequencies in proptest::array::uniform17(0..u64::MAX >> 8)) {
            let lengths = code_lengths(&frequencies);
            let taken: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (LONGEST - length)).sum();
            prop_assert!(taken < 1 << LONGEST);
        }
    }

    #[test]
    fn frequencies_as_unlike_as_can_be_have_codes() {
        let fibonacci = std::array::from_fn(|n| 1_u64 << (3 * n));
        assert!(code_lengths(&fibonacci).iter().all(|length| (1..=LONGEST).contains(length)));
    }

    #[test]
    fn the_greatest_difference_is_a_category_alone() {
        assert_eq!([0, 1, -1, 2, 32767, -32767, i16::MIN].map(category), [0, 1, 1, 2, 15, 15, 16]);
    }
}
