//! Huffman codes of JPEG, and the bits that they stand in (ISO/IEC 10918-1 Annex C, F.2.2).

use memchr::memchr;

use crate::image::codec::Refusal;

/// Codes up to this length are found in one step.
const FAST: u32 = 10;
/// Class of the tables for DC and lossless coding: their values are categories.
const DC: u8 = 0;

/// What the next bits say where they begin with a short code.
#[derive(Clone, Copy, Default)]
struct Short {
    /// Bits of the code; 0 where it is not a short one.
    code: u8,
    /// Bits of the number behind it: the low four of its value.
    number: u8,
    /// Bits of both.
    both: u8,
    value: u8,
}

/// A table that decodes.
pub(super) struct Table {
    /// By the next [`FAST`] bits.
    short: Box<[Short; 1 << FAST]>,
    /// For each length: the first code, left-aligned to 16 bits, that is longer.
    bound: [u32; 17],
    /// For each length: what is added to a code for the place of its value.
    offset: [i32; 17],
    values: Vec<u8>,
    class: u8,
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
        Ok((*place, Self::new(place >> 4, counts, values).ok_or_else(bad)?, rest))
    }

    fn new(class: u8, counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let short = Box::new([Short::default(); 1 << FAST]);
        let mut table = Self { short, bound: [0; 17], offset: [0; 17], values: values.to_vec(), class };
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.offset[length as usize] = place as i32 - code as i32;
            if code + count > 1 << length {
                return None;
            }
            for _ in 0..count {
                // A category of 16 is rare, and means one thing without loss and another with it.
                if length <= FAST && (class != DC || values[place] < 16) {
                    table.add_short(code, length, values[place]);
                }
                code += 1;
                place += 1;
            }
            table.bound[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Whether it is one for DC, and for lossless coding.
    pub(super) fn is_dc(&self) -> bool {
        self.class == DC
    }

    fn add_short(&mut self, code: u32, length: u32, value: u8) {
        let from = (code << (FAST - length)) as usize;
        let (code, number) = (length as u8, value & 15);
        let short = Short { code, number, both: code + number, value };
        self.short[from..from + (1 << (FAST - length))].fill(short);
    }

    /// The next value and the number behind it, which has as many bits as the low four of the value say. There must be
    /// 32 bits. `None`: it is not a short code; nothing is passed over.
    #[inline(always)]
    pub(super) fn short(&self, bits: &mut Bits<'_>) -> Option<(u8, i32)> {
        let short = self.short[(bits.window >> (64 - FAST)) as usize];
        let number = number(bits.window << short.code, short.number.into());
        bits.drop(short.both.into());
        if short.code > 0 { Some((short.value, number)) } else { None }
    }

    /// The next value, whatever its code, and what follows; `None`: the code is not in the table. There must be 16 bits.
    #[cold]
    #[inline(never)]
    pub(super) fn value<'a>(&self, mut bits: Bits<'a>) -> Option<(u8, Bits<'a>)> {
        let next = bits.peek(16);
        let length = (1..=16).find(|length| next < self.bound[*length as usize])?;
        bits.drop(length);
        let place = (next >> (16 - length)) as i32 + self.offset[length as usize];
        Some((*self.values.get(usize::try_from(place).ok()?)?, bits))
    }
}

/// A number of 0 to 16 bits, the first ones of a window, in the form of F.2.2.1: with a first bit of 0 it is negative.
#[inline(always)]
fn number(window: u64, bits: u32) -> i32 {
    // All ones for a negative number, which is the complement of what its bits say.
    let sign = !(window as i64 >> 63);
    let size = (window ^ sign as u64) >> 1 >> (63 - bits);
    (size as i32 ^ sign as i32) - sign as i32
}

/// What stands in the data is no code.
pub(super) fn bad_code() -> Refusal {
    Refusal::damaged("a Huffman code that is not in the table")
}

/// Entropy-coded data up to a marker, without its stuffing.
#[derive(Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// How many bytes it had with its stuffing.
    pub(super) length: usize,
}

impl Segment {
    /// Becomes what there is up to the next marker, or the end of the data.
    pub(super) fn read(&mut self, data: &[u8]) {
        self.bytes.clear();
        self.bytes.reserve(data.len());
        let mut at = 0;
        while let Some(found) = memchr(0xFF, &data[at..]) {
            self.bytes.extend_from_slice(&data[at..at + found]);
            at += found;
            if data.get(at + 1) != Some(&0) {
                self.length = at;
                return;
            }
            self.bytes.push(0xFF);
            at += 2;
        }
        self.bytes.extend_from_slice(&data[at..]);
        self.length = data.len();
    }

    /// Its bits.
    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { rest: &self.bytes, window: 0, count: 0, missing: 0 }
    }
}

/// Bits, the most significant one first. It is copied where it is used often, so that it lies in registers.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    /// The bytes behind those that are counted.
    rest: &'a [u8],
    /// The next bits, left-aligned; what is below them is zero, or the bits that come next.
    window: u64,
    /// How many of them are counted: less than 64.
    count: u64,
    /// How many bits were made up behind the end.
    missing: u64,
}

impl Bits<'_> {
    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if let Some(next) = self.rest.first_chunk::<8>() {
            self.window |= u64::from_be_bytes(*next) >> self.count;
            // As many bytes as fit: 63 less the count, by 8.
            self.rest = &self.rest[(!self.count / 8 % 8) as usize..];
            self.count |= 56;
        } else {
            *self = self.filled_slowly();
        }
    }

    #[cold]
    #[inline(never)]
    fn filled_slowly(mut self) -> Self {
        while self.count < 56 {
            let byte = self.rest.split_off_first();
            self.missing += if byte.is_none() { 8 } else { 0 };
            self.window |= u64::from(byte.copied().unwrap_or(0)) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    /// The next 1 to 16 bits. There must be as many.
    #[inline]
    fn peek(&self, bits: u32) -> u32 {
        (self.window >> (64 - bits)) as u32
    }

    /// Passes over 0 to 32 bits that there are.
    #[inline]
    fn drop(&mut self, bits: u32) {
        self.window <<= bits;
        self.count -= u64::from(bits);
    }

    /// A number of 0 to 16 bits in the form of F.2.2.1. There must be as many bits.
    #[inline]
    pub(super) fn number(&mut self, bits: u32) -> i32 {
        let number = number(self.window, bits);
        self.drop(bits);
        number
    }

    /// Whether more was read than there is.
    pub(super) fn is_overrun(&self) -> bool {
        self.count < self.missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(data: &[u8]) -> Segment {
        let mut segment = Segment::default();
        segment.read(data);
        segment
    }

    /// Codes 0, 10, 110 and one of 12 bits.
    const TABLE: [u8; 21] = [0x10, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 6, 7, 8];

    #[test]
    fn codes_of_every_length_are_found() {
        let (place, table, rest) = Table::read(&TABLE).unwrap();
        assert_eq!((place, rest), (0x10, [].as_slice()));
        let segment = segment(&[0b0101_1011, 0b1000_0000, 0b0000_0000, 0xFF, 0xD9]);
        let mut bits = segment.bits();
        for expected in [5, 6, 7, 8] {
            bits.fill();
            let (value, rest) = table.value(bits).unwrap();
            assert_eq!(value, expected);
            bits = rest;
        }
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
        let segment = segment(&[0; 9]);
        let mut bits = segment.bits();
        bits.fill();
        assert!(empty.short(&mut bits).is_none() && empty.value(bits).is_none());
    }

    #[test]
    fn stuffing_is_taken_out_up_to_a_marker() {
        let segment = segment(&[1, 0xFF, 0, 2, 0xFF, 0xD0, 3]);
        assert_eq!((segment.bytes.as_slice(), segment.length), ([1, 0xFF, 2].as_slice(), 4));
    }

    #[test]
    fn numbers_have_their_sign_in_the_first_bit() {
        let segment = segment(&[0b1010_1100]);
        let mut bits = segment.bits();
        bits.fill();
        assert_eq!((bits.number(3), bits.number(3), bits.number(0)), (5, -4, 0));
    }

    /// A table that has so many codes of each length, as long as there is room.
    fn table(class: u8, wishes: [u8; 16], values: &[u8]) -> Table {
        let mut free = 1_u32;
        let counts = wishes.map(|wish| {
            free *= 2;
            let count = u32::from(wish).min(free - 1);
            free -= count;
            count as u8
        });
        let total = counts.iter().map(|count| usize::from(*count)).sum();
        Table::new(class, &counts, &values[..total]).unwrap()
    }

    proptest! {
        #[test]
        fn short_codes_are_read_as_any_are(
            class in 0..2_u8,
            wishes in proptest::array::uniform16(0..16_u8),
            values in proptest::collection::vec(any::<u8>(), 240),
            data in proptest::collection::vec(0..255_u8, 0..64),
        ) {
            let values: Vec<u8> = values.iter().map(|value| value % 20 * (1 + 12 * class)).collect();
            let table = table(class, wishes, &values);
            let segment = segment(&data);
            let mut bits = segment.bits();
            while !bits.is_overrun() {
                bits.fill();
                let (mut quick, slow) = (bits, table.value(bits));
                let Some((value, mut rest)) = slow else {
                    prop_assert!(table.short(&mut quick).is_none());
                    break;
                };
                if let Some(both) = table.short(&mut quick) {
                    prop_assert!(class == 1 || value < 16);
                    prop_assert_eq!(both, (value, rest.number((value & 15).into())));
                    prop_assert_eq!((quick.window, quick.count), (rest.window, rest.count));
                }
                bits = rest;
            }
        }

        #[test]
        fn bits_come_one_after_the_other(
            data in proptest::collection::vec(any::<u8>(), 0..64),
            widths in proptest::collection::vec(1..=16_u32, 0..64),
        ) {
            let segment = Segment { bytes: data.clone(), length: data.len() };
            let (mut bits, mut at) = (segment.bits(), 0);
            for width in widths {
                bits.fill();
                let expected = (at..at + width as usize).fold(0, |number, n| {
                    number << 1 | data.get(n / 8).map_or(0, |byte| u32::from(byte >> (7 - n % 8) & 1))
                });
                prop_assert_eq!(bits.peek(width), expected);
                bits.drop(width);
                at += width as usize;
                prop_assert_eq!(bits.is_overrun(), at > 8 * data.len());
            }
        }
    }
}
