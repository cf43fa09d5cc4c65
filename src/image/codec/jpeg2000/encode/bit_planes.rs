//! Code-blocks of JPEG 2000: bit-plane after bit-plane, in three passes each (ISO/IEC 15444-1 Annex D).

use super::arithmetic::{Coder, Context};
use super::packets::Block;

/// Where a band has its edges, which is what contexts depend on (Table D.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Band {
    /// What is low in both directions, or high from top to bottom.
    LowOrVertical,
    /// High from left to right.
    Horizontal,
    /// High in both directions.
    Diagonal,
}

/// Rows of a stripe.
const STRIPE: usize = 4;

// What is known of a sample: which neighbours are significant, and of those beside, above and below, which are negative.
const NE: u16 = 1;
const SE: u16 = 1 << 1;
const SW: u16 = 1 << 2;
const NW: u16 = 1 << 3;
const N: u16 = 1 << 4;
const E: u16 = 1 << 5;
const S: u16 = 1 << 6;
const W: u16 = 1 << 7;
const NEIGHBOURS: u16 = 0xFF;
/// From a neighbour to whether it is negative.
const NEGATIVE: u16 = 4;
const SIGNIFICANT: u16 = 1 << 12;
const REFINED: u16 = 1 << 13;
/// Coded in this bit-plane.
const CODED: u16 = 1 << 14;

const SIGNS: usize = 9;
const MAGNITUDES: usize = 14;
const RUN: usize = 17;
const UNIFORM: usize = 18;

/// Contexts of significance by band and neighbours.
static SIGNIFICANCE: [[u8; 256]; 3] =
    [significance(Band::LowOrVertical), significance(Band::Horizontal), significance(Band::Diagonal)];
/// Contexts of signs, and whether they are turned over, by the upper bits of the neighbours and their signs.
static SIGN: [(u8, bool); 256] = signs();

/// Codes a block. `samples`: row by row. `planes`: how many bit-planes the band has.
pub(super) fn encode(samples: &[i32], width: usize, band: Band, planes: u32) -> Block {
    let greatest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    let count = u32::BITS - greatest.leading_zeros();
    if count == 0 {
        return Block { bytes: Vec::new(), passes: 0, zero_planes: planes };
    }
    let mut coding = Coding::new(samples, width, band);
    for plane in (0..count).rev() {
        if plane + 1 < count {
            coding.significance(plane);
            coding.refinement(plane);
        }
        coding.cleanup(plane);
    }
    Block { bytes: coding.coder.finish(), passes: 3 * count - 2, zero_planes: planes - count }
}

struct Coding<'a> {
    samples: &'a [i32],
    width: usize,
    height: usize,
    significance: &'static [u8; 256],
    /// With a border of one on each side.
    flags: Vec<u16>,
    contexts: [Context; 19],
    coder: Coder,
}

impl<'a> Coding<'a> {
    fn new(samples: &'a [i32], width: usize, band: Band) -> Self {
        let height = samples.len() / width;
        // Table D.7.
        let mut contexts = [Context::default(); 19];
        contexts[0] = Context::in_state(4);
        contexts[RUN] = Context::in_state(3);
        contexts[UNIFORM] = Context::in_state(46);
        Self {
            samples,
            width,
            height,
            significance: &SIGNIFICANCE[band as usize],
            flags: vec![0; (width + 2) * (height + 2)],
            contexts,
            coder: Coder::new(),
        }
    }

    /// The rows of each stripe.
    fn stripes(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let height = self.height;
        (0..height).step_by(STRIPE).map(move |top| top..(top + STRIPE).min(height))
    }

    fn place(&self, row: usize, column: usize) -> usize {
        (row + 1) * (self.width + 2) + column + 1
    }

    fn bit(&self, row: usize, column: usize, plane: u32) -> bool {
        (self.samples[row * self.width + column].unsigned_abs() >> plane) & 1 == 1
    }

    /// The significance propagation pass (D.3.1).
    fn significance(&mut self, plane: u32) {
        for rows in self.stripes() {
            for column in 0..self.width {
                for row in rows.clone() {
                    let place = self.place(row, column);
                    let flags = self.flags[place];
                    if flags & NEIGHBOURS == 0 || flags & SIGNIFICANT != 0 {
                        continue;
                    }
                    self.flags[place] |= CODED;
                    self.zero(row, column, plane);
                }
            }
        }
    }

    /// The magnitude refinement pass (D.3.3).
    fn refinement(&mut self, plane: u32) {
        for rows in self.stripes() {
            for column in 0..self.width {
                for row in rows.clone() {
                    let place = self.place(row, column);
                    let flags = self.flags[place];
                    if flags & (SIGNIFICANT | CODED) != SIGNIFICANT {
                        continue;
                    }
                    let context = match (flags & REFINED, flags & NEIGHBOURS) {
                        (0, 0) => MAGNITUDES,
                        (0, _) => MAGNITUDES + 1,
                        _ => MAGNITUDES + 2,
                    };
                    self.code(self.bit(row, column, plane), context);
                    self.flags[place] |= REFINED;
                }
            }
        }
    }

    /// The cleanup pass (D.3.4).
    fn cleanup(&mut self, plane: u32) {
        for rows in self.stripes() {
            for column in 0..self.width {
                let mut row = rows.start;
                let untouched =
                    rows.len() == STRIPE && rows.clone().all(|row| self.flags[self.place(row, column)] == 0);
                if untouched {
                    let Some(first) = rows.clone().position(|row| self.bit(row, column, plane)) else {
                        self.code(false, RUN);
                        continue;
                    };
                    self.code(true, RUN);
                    self.code(first & 2 != 0, UNIFORM);
                    self.code(first & 1 != 0, UNIFORM);
                    self.sign(rows.start + first, column);
                    row += first + 1;
                }
                for row in row..rows.end {
                    if self.flags[self.place(row, column)] & (SIGNIFICANT | CODED) == 0 {
                        self.zero(row, column, plane);
                    }
                }
                for row in rows.clone() {
                    let place = self.place(row, column);
                    self.flags[place] &= !CODED;
                }
            }
        }
    }

    /// Whether a sample becomes significant (D.3.1).
    fn zero(&mut self, row: usize, column: usize, plane: u32) {
        let around = self.flags[self.place(row, column)] & NEIGHBOURS;
        let context = self.significance[usize::from(around)];
        let is_one = self.bit(row, column, plane);
        self.code(is_one, context.into());
        if is_one {
            self.sign(row, column);
        }
    }

    /// The sign of a sample that becomes significant (D.3.2), which its neighbours learn of.
    fn sign(&mut self, row: usize, column: usize) {
        let (place, pitch) = (self.place(row, column), self.width + 2);
        let negative = self.samples[row * self.width + column] < 0;
        let (context, turned) = SIGN[usize::from(self.flags[place] >> 4 & 0xFF)];
        self.code(negative ^ turned, context.into());
        let flags = &mut self.flags;
        flags[place] |= SIGNIFICANT;
        let beside = |flag: u16| flag | if negative { flag << NEGATIVE } else { 0 };
        flags[place - pitch - 1] |= SE;
        flags[place - pitch] |= beside(S);
        flags[place - pitch + 1] |= SW;
        flags[place - 1] |= beside(E);
        flags[place + 1] |= beside(W);
        flags[place + pitch - 1] |= NE;
        flags[place + pitch] |= beside(N);
        flags[place + pitch + 1] |= NW;
    }

    fn code(&mut self, symbol: bool, context: usize) {
        self.coder.encode(symbol, &mut self.contexts[context]);
    }
}

/// Table D.1.
const fn significance(band: Band) -> [u8; 256] {
    let mut table = [0; 256];
    let mut around = 0;
    while around < 256 {
        let bits = around as u16;
        let beside = (bits & (E | W)).count_ones();
        let above = (bits & (N | S)).count_ones();
        let corners = (bits & (NE | SE | SW | NW)).count_ones();
        let (first, second) =
            if matches!(band, Band::Horizontal) { (above, beside) } else { (beside, above) };
        table[around] = match band {
            Band::Diagonal => match (corners, first + second) {
                (0, 0) => 0,
                (0, 1) => 1,
                (0, _) => 2,
                (1, 0) => 3,
                (1, 1) => 4,
                (1, _) => 5,
                (2, 0) => 6,
                (2, _) => 7,
                _ => 8,
            },
            _ => match (first, second, corners) {
                (0, 0, 0) => 0,
                (0, 0, 1) => 1,
                (0, 0, _) => 2,
                (0, 1, _) => 3,
                (0, _, _) => 4,
                (1, 0, 0) => 5,
                (1, 0, _) => 6,
                (1, _, _) => 7,
                _ => 8,
            },
        };
        around += 1;
    }
    table
}

/// Tables D.2 and D.3.
const fn signs() -> [(u8, bool); 256] {
    let mut table = [(0, false); 256];
    let mut around = 0;
    while around < 256 {
        let flags = (around as u16) << 4;
        let across = contribution(flags, E) + contribution(flags, W);
        let down = contribution(flags, N) + contribution(flags, S);
        let sum = 3 * limited(across) + limited(down);
        table[around] = (SIGNS as u8 + sum.unsigned_abs() as u8, sum < 0);
        around += 1;
    }
    table
}

const fn contribution(flags: u16, neighbour: u16) -> i32 {
    match (flags & neighbour != 0, flags & (neighbour << NEGATIVE) != 0) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => -1,
    }
}

const fn limited(sum: i32) -> i32 {
    if sum > 1 {
        1
    } else if sum < -1 {
        -1
    } else {
        sum
    }
}
