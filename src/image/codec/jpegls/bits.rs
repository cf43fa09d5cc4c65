//! Bits of JPEG-LS: behind a byte of ones stands one of seven bits, so that no marker comes of it (A.1, Annex C).

use memchr::memchr;

/// No error of samples of 16 bits is mapped to more.
const GREATEST: u32 = 0x1_FFFF;

/// Most zeros of a code that is read at once: of 48 bits that there are, at most half go for them, and 24 for the rest.
const ZEROS: u32 = 24;

/// Bits up to a marker.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    /// The next bytes, none of which is FF, and none behind one.
    plain: &'a [u8],
    /// How many bytes come behind them.
    rest: usize,
    /// The next bits, left-aligned; below them is nothing, or what comes next.
    window: u64,
    count: u32,
    /// How many bits were made up behind the end.
    missing: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let plain = plain(data);
        Self { data, plain, rest: data.len() - plain.len(), window: 0, count: 0, missing: 0 }
    }

    /// Makes at least 49 bits available.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count > 48 {
            return;
        }
        if let Some(next) = self.plain.first_chunk::<8>() {
            // Bits of a byte that is not whole in the window are there already when the byte comes.
            self.window |= u64::from_be_bytes(*next) >> self.count;
            self.plain = &self.plain[(63 - self.count as usize) / 8..];
            self.count |= 56;
            return;
        }
        *self = self.filled();
    }

    /// As [`Self::fill`], byte by byte.
    #[cold]
    #[inline(never)]
    fn filled(mut self) -> Self {
        while self.count <= 48 {
            if let Some((byte, plain)) = self.plain.split_first() {
                self.plain = plain;
                self.push(u64::from(*byte), 8);
                continue;
            }
            match &self.data[self.data.len() - self.rest..] {
                [0xFF, byte, rest @ ..] if *byte < 0x80 => {
                    self.push(0xFF << 7 | u64::from(*byte), 15);
                    self.plain = plain(rest);
                    self.rest = rest.len() - self.plain.len();
                }
                // The end, or a byte of ones and a set bit behind it: a marker.
                _ => {
                    self.missing += 8;
                    self.push(0, 8);
                }
            }
        }
        self
    }

    fn push(&mut self, value: u64, bits: u32) {
        self.window |= value << (64 - bits) >> self.count;
        self.count += bits;
    }

    /// The next bit.
    #[inline]
    pub(super) fn bit(&mut self) -> bool {
        self.bits(1) == 1
    }

    /// The next 0 to 25 bits.
    #[inline]
    pub(super) fn bits(&mut self, bits: u32) -> u32 {
        self.fill();
        let value = if bits == 0 { 0 } else { (self.window >> (64 - bits)) as u32 };
        self.window <<= bits;
        self.count -= bits;
        value
    }

    /// A limited-length Golomb code (A.5.3), k being at most 24. `longest`: how many zeros may come before the one bit.
    /// `None`: a longer one, or one for an error that is greater than any.
    #[inline(always)]
    pub(super) fn golomb(&mut self, k: u32, longest: u32, range_bits: u32) -> Option<i32> {
        self.fill();
        let zeros = (self.window | 1).leading_zeros();
        if zeros < longest.min(ZEROS) {
            // The one bit and what comes behind it.
            let rest = (self.window << zeros >> (63 - k)) as u32;
            self.window = self.window << zeros << (k + 1);
            self.count -= zeros + 1 + k;
            return checked((zeros << k) + rest - (1 << k));
        }
        let mapped;
        (*self, mapped) = self.long_golomb(k, longest, range_bits);
        mapped
    }

    #[cold]
    #[inline(never)]
    fn long_golomb(mut self, k: u32, longest: u32, range_bits: u32) -> (Self, Option<i32>) {
        // Counted one by one, up to as many as the longest code has.
        let zeros = (0..=longest).find(|_| self.bit());
        let mapped =
            zeros.map(
                |zeros| if zeros < longest { (zeros << k) | self.bits(k) } else { self.bits(range_bits) + 1 },
            );
        (self, mapped.and_then(checked))
    }

    /// Whether more was read than there is.
    pub(super) fn is_overrun(&self) -> bool {
        u64::from(self.count) < self.missing
    }

    /// The place of the marker that ends these bits; what is left over until there is padding.
    pub(super) fn end(&self) -> usize {
        let at = self.data.len() - self.rest;
        // What was read ahead has no marker in it.
        let marker = self.data[at..].windows(2).position(|pair| pair[0] == 0xFF && pair[1] >= 0x80);
        marker.map_or(self.data.len(), |marker| at + marker)
    }
}

/// The bytes up to the first one that is FF.
fn plain(data: &[u8]) -> &[u8] {
    &data[..memchr(0xFF, data).unwrap_or(data.len())]
}

#[inline]
fn checked(mapped: u32) -> Option<i32> {
    (mapped <= GREATEST).then_some(mapped as i32)
}

/// Most bits that are written at once: with seven that wait they are not more than a window has.
const AT_ONCE: u32 = 56;

/// Room for the bits of so many samples, none of whose codes is longer than 64 bits, and for a window behind them.
pub(super) fn room(samples: usize) -> Vec<u8> {
    vec![0; 8 * samples + 8]
}

/// Writes the bits of a line into [`room`].
pub(super) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
    /// Bits that do not make a byte yet, left-aligned; what is below them is zero.
    window: u64,
    /// How many they are: 0 to 7.
    count: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, window: 0, count: 0 }
    }

    /// Appends the lowest 1 to 56 bits of a value, which has no others.
    #[inline(always)]
    pub(super) fn bits(&mut self, value: u64, bits: u32) {
        let count = self.count + bits;
        self.window |= value << (64 - count);
        self.bytes[self.at..self.at + 8].copy_from_slice(&self.window.to_be_bytes());
        self.at += count as usize / 8;
        self.window <<= count & !7;
        self.count = count & 7;
    }

    /// Appends a limited-length Golomb code (A.5.3), as [`Reader::golomb`] reads it, k being at most 24.
    #[inline(always)]
    pub(super) fn golomb(&mut self, value: i32, k: u32, longest: u32, range_bits: u32) {
        let value = value as u32;
        let zeros = value >> k;
        let (rest, rest_bits) = if zeros < longest {
            (1 << k | value & ((1 << k) - 1), k + 1)
        } else {
            (1 << range_bits | (value - 1), range_bits + 1)
        };
        if zeros < longest.min(AT_ONCE - 24) {
            return self.bits(rest.into(), zeros + rest_bits);
        }
        self.long_golomb(zeros.min(longest), rest.into(), rest_bits);
    }

    #[cold]
    fn long_golomb(&mut self, zeros: u32, rest: u64, rest_bits: u32) {
        (0..zeros).for_each(|_| self.bits(0, 1));
        self.bits(rest, rest_bits);
    }
}

/// Makes entropy-coded data of bits: behind a byte of ones come seven (A.1).
pub(super) struct Stuffer<'a> {
    out: &'a mut Vec<u8>,
    /// Bits that do not make a byte yet, the last one lowest; there are no others.
    window: u64,
    /// How many they are.
    count: u32,
    /// The last byte was FF.
    stuffed: bool,
}

impl<'a> Stuffer<'a> {
    /// Appends to what is there.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, window: 0, count: 0, stuffed: false }
    }

    /// Appends what was written of a line.
    pub(super) fn line(&mut self, line: Writer<'_>) {
        let (eights, rest) = line.bytes[..line.at].as_chunks::<8>();
        for eight in eights {
            let next = u64::from_be_bytes(*eight);
            let whole = self.window << 1 << (63 - self.count) | next >> self.count;
            if self.stuffed || has_ones(whole) {
                eight.iter().for_each(|byte| self.push((*byte).into(), 8));
            } else {
                self.out.extend_from_slice(&whole.to_be_bytes());
                self.window = next & ((1 << self.count) - 1);
            }
        }
        rest.iter().for_each(|byte| self.push((*byte).into(), 8));
        self.push(line.window >> 1 >> (63 - line.count), line.count);
    }

    /// Appends the lowest 0 to 8 bits of a value, which has no others.
    fn push(&mut self, value: u64, bits: u32) {
        self.window = self.window << bits | value;
        self.count += bits;
        while self.count >= self.due() {
            self.count -= self.due();
            let byte = (self.window >> self.count) as u8;
            self.window &= (1 << self.count) - 1;
            self.out.push(byte);
            self.stuffed = byte == 0xFF;
        }
    }

    /// How many bits the next byte has.
    fn due(&self) -> u32 {
        if self.stuffed { 7 } else { 8 }
    }

    /// Pads the last byte with zeros. A byte of ones wants another one behind it, even where no bits are left.
    pub(super) fn finish(mut self) {
        if self.count > 0 || self.stuffed {
            self.push(0, self.due() - self.count);
        }
    }
}

/// Whether one of eight bytes is FF.
#[inline(always)]
fn has_ones(eight: u64) -> bool {
    let low = 0x7F7F_7F7F_7F7F_7F7F;
    ((eight & low) + 0x0101_0101_0101_0101) & eight & !low != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of one line.
    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let (mut room, mut out) = (room(100), Vec::new());
        let mut writer = Writer::new(&mut room);
        write(&mut writer);
        let mut stuffer = Stuffer::new(&mut out);
        stuffer.line(writer);
        stuffer.finish();
        out
    }

    #[test]
    fn a_byte_behind_ones_has_seven_bits() {
        let mut bits = Reader::new(&[0xFF, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((bits.bits(15), bits.bits(8)), (0x7FFF, 0x80));
        assert!(!bits.is_overrun());
    }

    #[test]
    fn a_marker_ends_them() {
        let mut bits = Reader::new(&[0xA5, 0xFF, 0xD9]);
        assert_eq!(bits.bits(8), 0xA5);
        assert!(!bits.is_overrun());
        bits.bit();
        assert!(bits.is_overrun());
        assert_eq!(bits.end(), 1);
    }

    #[test]
    fn what_is_written_is_read() {
        let codes = [(0, 0), (70, 0), (70_000, 16), (23, 0), (24, 0), (5, 2), (0x1FFF, 5)];
        let bytes = written(|writer| {
            codes.iter().for_each(|(value, k)| writer.golomb(*value, *k, 47, 17));
            writer.bits(0x1FF, 9);
        });
        let mut reader = Reader::new(&bytes);
        for (value, k) in codes {
            assert_eq!(reader.golomb(k, 47, 17).unwrap(), value);
        }
        assert_eq!(reader.bits(9), 0x1FF);
        assert!(!reader.is_overrun());
    }

    #[test]
    fn the_last_byte_is_not_one_of_ones() {
        assert_eq!(written(|writer| writer.bits(0xFF, 8)), [0xFF, 0]);
    }

    #[test]
    fn codes_without_end_are_refused() {
        let mut bits = Reader::new(&[0; 40]);
        assert_eq!(bits.golomb(3, 23, 8), None);
    }

    /// Up to the marker, one by one; behind it zeros.
    struct Slow {
        bits: Vec<u8>,
        at: usize,
        end: usize,
    }

    impl Slow {
        fn new(data: &[u8]) -> Self {
            let marker = |at: &usize| data[*at] == 0xFF && data.get(at + 1).is_none_or(|next| *next >= 0x80);
            let end = (0..data.len()).find(marker).unwrap_or(data.len());
            let bits_of = |at: usize| {
                let bits = if at > 0 && data[at - 1] == 0xFF { 7 } else { 8 };
                (0..bits).rev().map(move |bit| data[at] >> bit & 1)
            };
            Self { bits: (0..end).flat_map(bits_of).collect(), at: 0, end }
        }

        fn bits(&mut self, bits: u32) -> u32 {
            let from = self.at;
            self.at += bits as usize;
            (from..self.at).fold(0, |value, at| value << 1 | u32::from(*self.bits.get(at).unwrap_or(&0)))
        }

        fn golomb(&mut self, k: u32, longest: u32, range_bits: u32) -> Option<i32> {
            let zeros = (0..=longest).find(|_| self.bits(1) == 1)?;
            let mapped = if zeros < longest { zeros << k | self.bits(k) } else { self.bits(range_bits) + 1 };
            (mapped <= 0x1_FFFF).then_some(mapped as i32)
        }
    }

    /// Bytes of which many are FF, and few of those begin a marker.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![4 => any::<u8>(), 1 => Just(0xFF), 1 => Just(0)];
        prop::collection::vec((byte, 0..60_u8), 0..300).prop_map(|bytes| {
            let mut data: Vec<u8> = Vec::new();
            for (byte, marker) in bytes {
                let follows = data.last() == Some(&0xFF) && marker > 0;
                data.push(if follows { byte & 0x7F } else { byte });
            }
            data
        })
    }

    proptest! {
        #[test]
        fn words_are_read_as_single_bits_are(
            data in data(),
            codes in prop::collection::vec((0..=24_u32, 1..=47_u32, 2..=17_u32, any::<bool>()), 0..200),
        ) {
            let (mut reader, mut slow) = (Reader::new(&data), Slow::new(&data));
            for (k, longest, range_bits, golomb) in codes {
                if golomb {
                    let mapped = reader.golomb(k, longest, range_bits);
                    prop_assert_eq!(mapped, slow.golomb(k, longest, range_bits));
                    if mapped.is_none() {
                        break;
                    }
                } else {
                    prop_assert_eq!(reader.bits(k), slow.bits(k));
                }
                prop_assert_eq!(reader.is_overrun(), slow.at > slow.bits.len());
            }
            if data.last() != Some(&0xFF) {
                prop_assert_eq!(reader.end(), slow.end);
            }
        }

        #[test]
        fn lines_are_joined_without_a_marker(
            lines in prop::collection::vec(
                prop::collection::vec((1..=56_u32, prop_oneof![any::<u64>(), Just(u64::MAX)]), 0..50),
                0..10,
            ),
        ) {
            let (mut room, mut out, mut expected) = (room(50), Vec::new(), Vec::new());
            let mut stuffer = Stuffer::new(&mut out);
            for line in lines {
                let mut writer = Writer::new(&mut room);
                for (bits, value) in line {
                    writer.bits(value >> (64 - bits), bits);
                    expected.extend((64 - bits..64).rev().map(|bit| (value >> bit & 1) as u8));
                }
                stuffer.line(writer);
            }
            stuffer.finish();
            let mut slow = Slow::new(&out);
            prop_assert_eq!(slow.end, out.len());
            let padding = slow.bits.split_off(expected.len());
            prop_assert_eq!(slow.bits, expected);
            prop_assert!(padding.len() < 8 && !padding.contains(&1));
        }
    }
}
