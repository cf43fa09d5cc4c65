//! Huffman codes of JPEG, and the bits that they stand in (ISO/IEC 10918-1 Annex C, F.2.2).

use memchr::memchr;

use crate::image::codec::Refusal;

/// Codes up to this length are found in one step.
const FAST: u32 = 10;

/// A table that decodes.
pub(super) struct Table {
    /// By the next [`FAST`] bits: the length of the code, or 0 for a longer one, and its value.
    fast: Vec<(u8, u8)>,
    /// For each length: the first code, left-aligned to 16 bits, that is longer.
    bound: [u32; 17],
    /// For each length: what is added to a code for the place of its value.
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Table {
    /// Reads one table of a DHT segment: class and place, the table, and what follows.
    pub(super) fn read(segment: &[u8]) -> Result<(u8, Self, &[u8]), Refusal> {
        let bad = || Refusal::damaged("a Huffman table");
        let (place, rest) = segment.split_first().ok_or_else(bad)?;
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(bad)?;
        let total = counts.iter().map(|count| usize::from(*count)).sum();
        if total > 256 || total > rest.len() {
            return Err(bad());
        }
        let (values, rest) = rest.split_at(total);
        Ok((*place, Self::new(counts, values).ok_or_else(bad)?, rest))
    }

    fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut table =
            Self { fast: vec![(0, 0); 1 << FAST], bound: [0; 17], offset: [0; 17], values: values.to_vec() };
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.offset[length as usize] = place as i32 - code as i32;
            if code + count > 1 << length {
                return None;
            }
            for _ in 0..count {
                if length <= FAST {
                    let from = (code << (FAST - length)) as usize;
                    table.fast[from..from + (1 << (FAST - length))].fill((length as u8, values[place]));
                }
                code += 1;
                place += 1;
            }
            table.bound[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The next value; `None`: the code is not in the table.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Option<u8> {
        bits.fill();
        let (length, value) = self.fast[bits.peek(FAST) as usize];
        if length > 0 {
            bits.drop(length.into());
            return Some(value);
        }
        self.decode_long(bits)
    }

    #[cold]
    fn decode_long(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let next = bits.peek(16);
        let length = (FAST + 1..=16).find(|length| next < self.bound[*length as usize])?;
        bits.drop(length);
        let place = (next >> (16 - length)) as i32 + self.offset[length as usize];
        self.values.get(usize::try_from(place).ok()?).copied()
    }
}

/// What stands in the data is no code.
pub(super) fn bad_code() -> Refusal {
    Refusal::damaged("a Huffman code that is not in the table")
}

/// Entropy-coded data up to a marker, without its stuffing.
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// How many bytes it had with its stuffing.
    pub(super) length: usize,
}

impl Segment {
    /// Up to the next marker, or the end of the data.
    pub(super) fn read(data: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let mut at = 0;
        while let Some(found) = memchr(0xFF, &data[at..]) {
            bytes.extend_from_slice(&data[at..at + found]);
            at += found;
            if data.get(at + 1) != Some(&0) {
                return Self { bytes, length: at };
            }
            bytes.push(0xFF);
            at += 2;
        }
        bytes.extend_from_slice(&data[at..]);
        Self { bytes, length: data.len() }
    }

    /// Its bits.
    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { bytes: &self.bytes, at: 0, window: 0, count: 0, missing: 0 }
    }
}

/// Bits, the most significant one first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, left-aligned; what is below them is zero.
    window: u64,
    /// How many of them there are.
    count: u32,
    /// How many bits were made up behind the end.
    missing: u64,
}

impl Bits<'_> {
    /// Makes at least 48 bits available.
    #[inline]
    pub(super) fn fill(&mut self) {
        if self.count > 48 {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let take = (64 - self.count) / 8;
            let kept = u64::from_be_bytes(*next) >> (64 - 8 * take) << (64 - 8 * take);
            self.window |= kept >> self.count;
            self.count += 8 * take;
            self.at += take as usize;
        } else {
            self.fill_slowly();
        }
    }

    #[cold]
    fn fill_slowly(&mut self) {
        while self.count <= 56 {
            let byte = self.bytes.get(self.at).copied();
            self.missing += if byte.is_none() { 8 } else { 0 };
            self.window |= u64::from(byte.unwrap_or(0)) << (56 - self.count);
            self.count += 8;
            self.at += 1;
        }
    }

    /// The next 1 to 16 bits. There must be as many.
    #[inline]
    pub(super) fn peek(&self, bits: u32) -> u32 {
        (self.window >> (64 - bits)) as u32
    }

    /// Passes over 0 to 32 bits that there are.
    #[inline]
    pub(super) fn drop(&mut self, bits: u32) {
        self.window <<= bits;
        self.count -= bits;
    }

    /// A number of 0 to 16 bits in the form of F.2.2.1: with a first bit of 0 it is negative. There must be as many bits.
    #[inline]
    pub(super) fn number(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        let raw = self.peek(bits) as i32;
        self.drop(bits);
        if raw >> (bits - 1) == 0 { raw - (1 << bits) + 1 } else { raw }
    }

    /// Whether more was read than there is.
    pub(super) fn is_overrun(&self) -> bool {
        u64::from(self.count) < self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 0, 10, 110 and one of 12 bits.
    const TABLE: [u8; 21] = [0x10, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 6, 7, 8];

    #[test]
    fn codes_of_every_length_are_found() {
        let (place, table, rest) = Table::read(&TABLE).unwrap();
        assert_eq!((place, rest), (0x10, [].as_slice()));
        let segment = Segment::read(&[0b0101_1011, 0b1000_0000, 0b0000_0000, 0xFF, 0xD9]);
        let mut bits = segment.bits();
        let values: Vec<u8> = (0..4).map(|_| table.decode(&mut bits).unwrap()).collect();
        assert_eq!(values, [5, 6, 7, 8]);
        assert!(!bits.is_overrun());
        bits.drop(6);
        bits.fill();
        bits.drop(1);
        assert!(bits.is_overrun());
    }

    #[test]
    fn a_table_of_more_codes_than_there_can_be_is_refused() {
        assert!(Table::read(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).is_err());
        assert!(Table::read(&TABLE[..18]).is_err());
        let (_, empty, _) = Table::read(&[0; 17]).unwrap();
        assert_eq!(empty.decode(&mut Segment::read(&[0; 9]).bits()), None);
    }

    #[test]
    fn stuffing_is_taken_out_up_to_a_marker() {
        let segment = Segment::read(&[1, 0xFF, 0, 2, 0xFF, 0xD0, 3]);
        assert_eq!((segment.bytes.as_slice(), segment.length), ([1, 0xFF, 2].as_slice(), 4));
    }

    #[test]
    fn numbers_have_their_sign_in_the_first_bit() {
        let segment = Segment::read(&[0b1010_1100]);
        let mut bits = segment.bits();
        bits.fill();
        assert_eq!((bits.number(3), bits.number(3), bits.number(0)), (5, -4, 0));
    }
}
