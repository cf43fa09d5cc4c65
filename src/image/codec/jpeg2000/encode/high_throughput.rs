//! Code-blocks of High-Throughput JPEG 2000: one cleanup pass, which takes every bit-plane at once (ISO/IEC 15444-15
//! clause 7).
//!
//! Samples go in quads of two rows and two columns, top left, bottom left, top right, bottom right. Three streams of
//! bits tell of them: MEL whether quads without significant neighbours have any, VLC which samples are significant
//! and how many bits the greatest has, MagSgn the bits themselves.

use std::sync::LazyLock;

use super::ht_tables::{FIRST_ROW, OTHER_ROWS};
use super::packets::Block;

/// Exponents by which runs of MEL grow (Table 2).
const MEL_EXPONENTS: [u32; 13] = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5];

/// The code of a quad: by its context, which samples are significant, and which exponents are greatest.
#[derive(Clone, Copy, Default)]
struct Code {
    bits: u32,
    length: u32,
    /// Of which samples it tells the exponent.
    known: u32,
}

static CODES: LazyLock<[Vec<Code>; 2]> = LazyLock::new(|| [codes(&FIRST_ROW), codes(&OTHER_ROWS)]);

/// Codes a block. `samples`: row by row. `planes`: how many bit-planes the band has.
pub(super) fn encode(samples: &[i32], width: usize, planes: u32) -> Block {
    if samples.iter().all(|sample| *sample == 0) {
        return Block { bytes: Vec::new(), passes: 0, zero_planes: planes };
    }
    let mut streams = Streams::default();
    let across = width.div_ceil(2);
    // Of the row of quads above: for the left edge of each column of quads, what the lower samples on both sides of
    // it have in common; one more on either side.
    let mut above = vec![Edge::default(); across + 2];
    let (first_row, other_rows) = (&CODES[0], &CODES[1]);
    for (n, rows) in samples.chunks(2 * width).enumerate() {
        let mut edges = vec![Edge::default(); across + 2];
        let mut left = Quad::default();
        let mut pending = None;
        for column in 0..across {
            let quad = Quad::read(rows, width, 2 * column);
            let significant = quad.significant;
            let (context, least) = if n == 0 {
                (left.significant >> 1 | left.significant & 1, 1)
            } else {
                let (near, far) = (above[column], above[column + 1]);
                let beside = u32::from(left.significant & 0b1100 != 0);
                let context = u32::from(near.significant) | beside << 1 | u32::from(far.significant) << 2;
                let single = significant & significant.wrapping_sub(1) == 0;
                let around = near.exponent.max(far.exponent).saturating_sub(1);
                (context, if single { 1 } else { around.max(1) })
            };
            let greatest = quad.exponents.into_iter().max().unwrap_or(0);
            let length = greatest.max(least);
            let offset = length - least;
            let which = if offset == 0 {
                0
            } else {
                (0..4).fold(0, |which, n| which | u32::from(quad.exponents[n] == greatest) << n)
            };
            let table = if n == 0 { first_row } else { other_rows };
            let code = table[(context << 8 | significant << 4 | which) as usize];
            streams.vlc.put(code.bits, code.length);
            if context == 0 {
                streams.mel.put(significant != 0);
            }
            for (n, value) in quad.values.into_iter().enumerate() {
                if significant >> n & 1 == 1 {
                    streams.bits.put(value, length - (code.known >> n & 1));
                }
            }
            // Offsets are told of two quads at a time.
            pending = match pending {
                None => Some(offset),
                Some(before) => {
                    streams.offsets(before, offset, n == 0);
                    None
                }
            };
            for (edge, sample) in [(column, 1), (column + 1, 3)] {
                edges[edge].significant |= significant >> sample & 1 == 1;
                edges[edge].exponent = edges[edge].exponent.max(quad.exponents[sample]);
            }
            left = quad;
        }
        if let Some(before) = pending {
            streams.offsets(before, 0, n == 0);
        }
        above = edges;
    }
    Block { bytes: streams.finish(), passes: 1, zero_planes: planes - 1 }
}

/// What two lower samples beside each other have in common.
#[derive(Clone, Copy, Default)]
struct Edge {
    significant: bool,
    /// The greater exponent.
    exponent: u32,
}

#[derive(Clone, Copy, Default)]
struct Quad {
    /// A bit for each sample.
    significant: u32,
    /// How many bits twice the magnitude less one has.
    exponents: [u32; 4],
    /// Twice the magnitude less two, and the sign.
    values: [u32; 4],
}

impl Quad {
    /// The quad whose left column this is, of one row or two.
    fn read(rows: &[i32], width: usize, column: usize) -> Self {
        let mut quad = Self::default();
        for (n, (right, below)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
            if column + right >= width {
                continue;
            }
            let sample = rows.get(below * width + column + right).copied().unwrap_or(0);
            if sample != 0 {
                let twice = 2 * sample.unsigned_abs();
                quad.significant |= 1 << n;
                quad.exponents[n] = u32::BITS - (twice - 1).leading_zeros();
                quad.values[n] = twice - 2 + u32::from(sample < 0);
            }
        }
        quad
    }
}

#[derive(Default)]
struct Streams {
    bits: Forward,
    mel: Mel,
    vlc: Backward,
}

impl Streams {
    /// The offsets of the exponents of two quads (7.3.6). `first_row`: where those of both are told by MEL, too.
    fn offsets(&mut self, one: u32, other: u32, first_row: bool) {
        if first_row && one > 0 && other > 0 {
            self.mel.put(one.min(other) > 2);
        }
        if first_row && one > 2 && other > 2 {
            self.offset_pair(one - 2, other - 2);
        } else if first_row && one > 2 && other > 0 {
            self.vlc.prefix(one);
            self.vlc.put(other - 1, 1);
            self.vlc.suffix(one);
        } else {
            self.offset_pair(one, other);
        }
    }

    fn offset_pair(&mut self, one: u32, other: u32) {
        self.vlc.prefix(one);
        self.vlc.prefix(other);
        self.vlc.suffix(one);
        self.vlc.suffix(other);
    }

    /// The three, one behind the other, and in the last bits how long the second and third are (7.1).
    fn finish(self) -> Vec<u8> {
        let mut bytes = self.bits.finish();
        let tail = self.mel.finish(self.vlc);
        bytes.extend(&tail);
        let (length, end) = (tail.len(), bytes.len());
        bytes[end - 1] = (length >> 4) as u8;
        bytes[end - 2] = bytes[end - 2] & 0xF0 | (length & 0xF) as u8;
        bytes
    }
}

/// MagSgn: from the least bit on; behind a byte of all ones comes one of seven bits (7.1.2).
#[derive(Default)]
struct Forward {
    bytes: Vec<u8>,
    byte: u64,
    count: u32,
}

impl Forward {
    fn put(&mut self, value: u32, length: u32) {
        self.byte |= (u64::from(value) & ((1 << length) - 1)) << self.count;
        self.count += length;
        while self.count >= self.room() {
            let room = self.room();
            self.bytes.push((self.byte & ((1 << room) - 1)) as u8);
            self.byte >>= room;
            self.count -= room;
        }
    }

    fn room(&self) -> u32 {
        if self.bytes.last() == Some(&0xFF) { 7 } else { 8 }
    }

    /// The bytes; behind them stand ones, as the decoder takes it.
    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            let room = self.room();
            self.put(u32::MAX, room - self.count);
        }
        if self.bytes.last() == Some(&0xFF) {
            self.bytes.pop();
        }
        self.bytes
    }
}

/// The adaptive run-length coder (7.3.3).
#[derive(Default)]
struct Mel {
    bytes: Vec<u8>,
    byte: u8,
    count: u32,
    state: usize,
    run: u32,
}

impl Mel {
    fn put(&mut self, event: bool) {
        let exponent = MEL_EXPONENTS[self.state];
        if !event {
            self.run += 1;
            if self.run >= 1 << exponent {
                self.bit(1);
                self.run = 0;
                self.state = (self.state + 1).min(12);
            }
        } else {
            self.bit(0);
            (0..exponent).rev().for_each(|place| self.bit((self.run >> place & 1) as u8));
            self.run = 0;
            self.state = self.state.saturating_sub(1);
        }
    }

    fn bit(&mut self, bit: u8) {
        self.byte = self.byte << 1 | bit;
        self.count += 1;
        if self.count == self.room() {
            self.bytes.push(self.byte);
            (self.byte, self.count) = (0, 0);
        }
    }

    fn room(&self) -> u32 {
        if self.bytes.last() == Some(&0xFF) { 7 } else { 8 }
    }

    /// Both streams; where they meet, they share a byte if they can.
    fn finish(mut self, vlc: Backward) -> Vec<u8> {
        if self.run > 0 {
            self.bit(1);
        }
        let left = self.room() - self.count;
        let byte = ((u32::from(self.byte) << left) & 0xFF) as u8;
        let of_mel = ((0xFF_u32 << left) & 0xFF) as u8;
        let of_vlc = ((1_u32 << vlc.count) - 1) as u8;
        let (mut bytes, mut other) = (self.bytes, vlc.bytes);
        // A byte of all ones would change how the bits behind it are read.
        let both = byte | vlc.byte;
        let agree = ((both ^ byte) & of_mel) | ((both ^ vlc.byte) & of_vlc) == 0;
        if of_mel | of_vlc == 0 {
        } else if agree && both != 0xFF && other.len() > 1 {
            bytes.push(both);
        } else {
            bytes.push(byte);
            other.push(vlc.byte);
        }
        bytes.extend(other.iter().rev());
        bytes
    }
}

/// VLC: read from the last byte back, and each from its least bit on; before a byte above 0x8F, seven ones end a byte
/// (7.1.4).
struct Backward {
    /// The last one first.
    bytes: Vec<u8>,
    byte: u8,
    count: u32,
    /// Whether the byte may end after seven bits.
    may_end: bool,
}

impl Default for Backward {
    /// Twelve bits are for the length.
    fn default() -> Self {
        Self { bytes: vec![0xFF], byte: 0xF, count: 4, may_end: true }
    }
}

impl Backward {
    fn put(&mut self, mut value: u32, mut length: u32) {
        while length > 0 {
            let room = 8 - u32::from(self.may_end) - self.count;
            let taken = room.min(length);
            self.byte |= ((value & ((1 << taken) - 1)) << self.count) as u8;
            self.count += taken;
            value >>= taken;
            length -= taken;
            if taken < room {
                return;
            }
            if self.may_end && self.byte != 0x7F {
                self.may_end = false;
                continue;
            }
            self.bytes.push(self.byte);
            self.may_end = self.byte > 0x8F;
            (self.byte, self.count) = (0, 0);
        }
    }

    /// How an offset begins (Table 3). None is greater than 32, which have one more part.
    fn prefix(&mut self, offset: u32) {
        match offset {
            0 => {}
            1 => self.put(1, 1),
            2 => self.put(0b10, 2),
            3 | 4 => self.put(0b100, 3),
            _ => self.put(0, 3),
        }
    }

    /// How it goes on.
    fn suffix(&mut self, offset: u32) {
        match offset {
            0..3 => {}
            3 | 4 => self.put(offset - 3, 1),
            _ => self.put(offset - 5, 5),
        }
    }
}

/// The codes of a table, by context, significant samples and greatest exponents: of those that say what is right, the one
/// that says most.
fn codes(rows: &[u32]) -> Vec<Code> {
    let mut codes = vec![Code::default(); 8 << 8];
    for (place, code) in codes.iter_mut().enumerate() {
        let (quad, which) = (place as u32 >> 4, place as u32 & 0xF);
        for row in rows
            .iter()
            .filter(|row| *row >> 20 == (quad >> 4) << 8 | (quad & 0xF) << 4 | u32::from(which > 0))
        {
            let digit = |n: u32| row >> (4 * n) & 0xF;
            let (known, greatest) = (digit(4), digit(3));
            let says_more = known.count_ones() >= code.known.count_ones();
            if which & known == greatest && says_more {
                *code = Code { bits: row >> 4 & 0xFF, length: digit(0), known };
            }
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quad_has_a_code() {
        for (table, codes) in CODES.iter().enumerate() {
            for (place, code) in codes.iter().enumerate() {
                let (context, significant, which) = (place >> 8, place >> 4 & 0xF, place & 0xF);
                // Where MEL says that nothing is significant, no more is said.
                let is_met = which & !significant == 0 && (context, significant) != (0, 0);
                assert!(!is_met || code.length > 0, "{table} {place:03X}");
            }
        }
    }
}
