//! Bits of JPEG-LS: behind a byte of ones stands one of seven bits, so that no marker comes of it (A.1, Annex C).

/// No error of samples of 16 bits is mapped to more.
const GREATEST: u32 = 0x1_FFFF;

/// Bits up to a marker.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, left-aligned; what is below them is zero.
    window: u64,
    count: u32,
    /// The last byte was FF.
    stuffed: bool,
    /// How many bits were made up behind the end.
    missing: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, count: 0, stuffed: false, missing: 0 }
    }

    /// Makes at least 48 bits available.
    #[inline]
    fn fill(&mut self) {
        if self.count > 48 {
            return;
        }
        if let Some(next) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            // Whether any of its bytes may be FF.
            let ones = (next & 0x7F7F_7F7F_7F7F_7F7F).wrapping_add(0x0101_0101_0101_0101)
                & next
                & 0x8080_8080_8080_8080;
            if ones == 0 && !self.stuffed {
                let take = (64 - self.count) / 8;
                self.window |= (next >> (64 - 8 * take) << (64 - 8 * take)) >> self.count;
                self.count += 8 * take;
                self.at += take as usize;
                return;
            }
        }
        self.fill_bytewise();
    }

    #[inline(never)]
    fn fill_bytewise(&mut self) {
        while self.count <= 56 {
            let bits = if self.stuffed { 7 } else { 8 };
            let byte = match self.data.get(self.at) {
                // A byte of ones and a set bit behind it are a marker.
                Some(0xFF) if self.data.get(self.at + 1).is_none_or(|next| *next >= 0x80) => None,
                byte => byte.copied(),
            };
            if let Some(byte) = byte {
                self.window |= (u64::from(byte) << (64 - bits)) >> self.count;
                self.stuffed = byte == 0xFF;
                self.at += 1;
            } else {
                self.missing += u64::from(bits);
                self.stuffed = false;
            }
            self.count += bits;
        }
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

    /// A limited-length Golomb code (A.5.3). `longest`: how many zeros may come before the one bit. `None`: a longer one, or
    /// one for an error that is greater than any.
    #[inline]
    pub(super) fn golomb(&mut self, k: u32, longest: u32, range_bits: u32) -> Option<i32> {
        self.fill();
        let zeros = self.window.leading_zeros();
        // Of 48 bits that there are, at most half go for the zeros, and 24 for the rest.
        if zeros < longest.min(24) {
            self.window <<= zeros + 1;
            let rest = (self.window >> 1 >> (63 - k)) as u32;
            self.window <<= k;
            self.count -= zeros + 1 + k;
            return checked((zeros << k) | rest);
        }
        let zeros = self.zeros(longest)?;
        checked(if zeros < longest { (zeros << k) | self.bits(k) } else { self.bits(range_bits) + 1 })
    }

    /// Counts zeros one by one, up to as many as the longest code has.
    #[cold]
    fn zeros(&mut self, longest: u32) -> Option<u32> {
        (0..=longest).find(|_| self.bit())
    }

    /// Whether more was read than there is.
    pub(super) fn is_overrun(&self) -> bool {
        u64::from(self.count) < self.missing
    }

    /// The place of the marker that ends these bits; what is left over until there is padding.
    pub(super) fn end(&self) -> usize {
        let rest = &self.data[self.at.min(self.data.len())..];
        // What was read ahead has no marker in it.
        let marker = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] >= 0x80);
        marker.map_or(self.data.len(), |marker| self.at + marker)
    }
}

#[inline]
fn checked(mapped: u32) -> Option<i32> {
    (mapped <= GREATEST).then_some(mapped as i32)
}

/// Writes bits.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits that do not make a byte yet, the last one lowest.
    window: u64,
    count: u32,
}

impl Writer {
    /// Appends the lowest 0 to 25 bits of a value, which has no others.
    #[inline]
    pub(super) fn bits(&mut self, value: u32, bits: u32) {
        self.window = self.window << bits | u64::from(value);
        self.count += bits;
        self.flush();
    }

    #[inline]
    fn flush(&mut self) {
        loop {
            let bits = if self.bytes.last() == Some(&0xFF) { 7 } else { 8 };
            if self.count < bits {
                return;
            }
            self.count -= bits;
            self.bytes.push((self.window >> self.count) as u8 & (0xFF >> (8 - bits)));
        }
    }

    /// Appends a limited-length Golomb code (A.5.3), as [`Reader::golomb`] reads it.
    #[inline]
    pub(super) fn golomb(&mut self, value: i32, k: u32, longest: u32, range_bits: u32) {
        let value = value as u32;
        let zeros = (value >> k).min(longest);
        for _ in 0..zeros / 24 {
            self.bits(0, 24);
        }
        self.bits(1, zeros % 24 + 1);
        if zeros < longest {
            self.bits(value & ((1 << k) - 1), k);
        } else {
            self.bits(value - 1, range_bits);
        }
    }

    /// All bytes, the last one padded with zeros.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        while self.count > 0 || self.bytes.last() == Some(&0xFF) {
            self.window <<= 1;
            self.count += 1;
            self.flush();
            // A byte of ones wants another one behind it, even where no bits are left.
            if self.count == 0 && self.bytes.last() != Some(&0xFF) {
                break;
            }
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut writer = Writer::default();
        let codes = [(0, 0), (70, 0), (70_000, 16), (23, 0), (24, 0), (5, 2), (0x1FFF, 5)];
        codes.iter().for_each(|(value, k)| writer.golomb(*value, *k, 47, 17));
        writer.bits(0x1FF, 9);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        for (value, k) in codes {
            assert_eq!(reader.golomb(k, 47, 17).unwrap(), value);
        }
        assert_eq!(reader.bits(9), 0x1FF);
        assert!(!reader.is_overrun());
    }

    #[test]
    fn the_last_byte_is_not_one_of_ones() {
        let mut writer = Writer::default();
        writer.bits(0xFF, 8);
        assert_eq!(writer.into_bytes(), [0xFF, 0]);
    }

    #[test]
    fn codes_without_end_are_refused() {
        let mut bits = Reader::new(&[0; 40]);
        assert_eq!(bits.golomb(3, 23, 8), None);
    }
}
