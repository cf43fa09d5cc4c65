//! JPEG of 12 bits with a sequential cosine transform, which libraries leave out, or cut to 8 bits
//! (ISO/IEC 10918-1 Annex A and F).

use super::huffman::{Bits, Segment, Table, bad_code};
use super::markers::{DHT, DQT, DRI, EOI, Header, Markers, SOS, Scan};
use super::tables::{self, Tables};
use crate::image::codec::Refusal;
use crate::image::pixels::Shape;

/// Where the coefficients of a block lie, in the order in which they are coded (Figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The greatest row or column up to each of them.
const LARGEST: [u8; 64] = {
    let (mut largest, mut n, mut most) = ([0; 64], 0, 0);
    while n < 64 {
        let (row, column) = (ZIGZAG[n] / 8, ZIGZAG[n] % 8);
        let here = if row > column { row } else { column };
        most = if here > most { here } else { most };
        largest[n] = most;
        n += 1;
    }
    largest
};

/// A block of coefficients or samples, by rows.
type Block = [[f32; 8]; 8];
/// Quantization steps, where their coefficients lie.
type Steps = Block;

/// Decodes a frame: its samples, colour by pixel, as they lie in cells of 16 bits.
pub(super) fn decode(codestream: &[u8], header: &Header, shape: &Shape) -> Result<Vec<[u8; 2]>, Refusal> {
    if !header.is_full_resolution() {
        return Err(Refusal::unsupported("JPEG of 12 bits with components of fewer samples"));
    }
    let mut markers = Markers::new(codestream)?;
    let (mut dc, mut ac) = (Tables::default(), Tables::default());
    let mut steps: [Option<Steps>; 4] = [None; 4];
    let mut interval = 0;
    let mut samples = vec![[0; 2]; shape.pixels() * header.components.len()];
    let mut decoded = vec![false; header.components.len()];
    while decoded.contains(&false) {
        match markers.next()? {
            (DHT, parameters) => tables::read(parameters, &mut dc, &mut ac)?,
            (DQT, parameters) => quantization(parameters, &mut steps)?,
            (DRI, parameters) => interval = tables::restart_interval(parameters)?,
            (SOS, parameters) => {
                let scan = Scan::read(parameters, header)?;
                // Which coefficients it has is known; what some encoders write there instead is not looked at.
                let mut components = Vec::with_capacity(scan.components.len());
                for (place, names) in &scan.components {
                    let steps = steps
                        .get(usize::from(header.components[*place].quantization))
                        .and_then(Option::as_ref);
                    components.push(Component {
                        place: *place,
                        dc: dc.get(names >> 4)?,
                        ac: ac.get(names & 15)?,
                        steps: steps.ok_or(Refusal::damaged("a quantization table that was not defined"))?,
                    });
                    decoded[*place] = true;
                }
                let reader = Reader::new(header, shape, components, interval);
                markers.skip(reader.read(markers.rest(), &mut samples)?);
            }
            (EOI, _) => return Err(Refusal::damaged("it ends before its last scan")),
            _ => {}
        }
    }
    Ok(samples)
}

/// Reads quantization tables (B.2.4.1).
fn quantization(mut parameters: &[u8], tables: &mut [Option<Steps>; 4]) -> Result<(), Refusal> {
    let bad = || Refusal::damaged("a quantization table");
    while let Some((place, rest)) = parameters.split_first() {
        let wide = place >> 4 == 1;
        let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or_else(bad)?;
        let table = tables.get_mut(usize::from(place & 15)).filter(|_| *place < 0x20).ok_or_else(bad)?;
        let mut steps = [[0.0; 8]; 8];
        for (n, place) in ZIGZAG.iter().enumerate() {
            steps.as_flattened_mut()[usize::from(*place)] = match wide {
                true => u16::from_be_bytes([values[2 * n], values[2 * n + 1]]).into(),
                false => values[n].into(),
            };
        }
        *table = Some(steps);
        parameters = rest;
    }
    Ok(())
}

struct Component<'a> {
    /// Its place in a pixel.
    place: usize,
    dc: &'a Table,
    ac: &'a Table,
    steps: &'a Steps,
}

/// What reads a scan.
struct Reader<'a> {
    components: Vec<Component<'a>>,
    columns: usize,
    rows: usize,
    /// Samples of a pixel in the frame.
    stride: usize,
    /// Blocks of a component in a minimum coded unit, across and down (A.2).
    unit: (usize, usize),
    /// Units from one restart to the next, 0 for none.
    interval: usize,
    cosines: Block,
}

impl<'a> Reader<'a> {
    fn new(header: &Header, shape: &Shape, components: Vec<Component<'a>>, interval: usize) -> Self {
        let first = header.components[0];
        // Alone, a component is coded block by block, whatever its sampling factors are.
        let unit = match components.len() {
            1 => (1, 1),
            _ => (usize::from(first.horizontal), usize::from(first.vertical)),
        };
        Self {
            components,
            columns: shape.columns.into(),
            rows: shape.rows.into(),
            stride: header.components.len(),
            unit,
            interval,
            cosines: cosines(),
        }
    }

    /// Reads the scan into the frame. How many bytes it had.
    fn read(&self, data: &[u8], samples: &mut [[u8; 2]]) -> Result<usize, Refusal> {
        let (across, down) = (self.columns.div_ceil(8 * self.unit.0), self.rows.div_ceil(8 * self.unit.1));
        let interval = if self.interval == 0 { across * down } else { self.interval };
        let (mut at, mut segment) = (0, Segment::default());
        for first in (0..across * down).step_by(interval) {
            if first > 0 {
                at += tables::restart(&data[at..])?;
            }
            segment.read(&data[at..]);
            let mut bits = segment.bits();
            let mut predicted = vec![0; self.components.len()];
            for unit in first..(first + interval).min(across * down) {
                let (x, y) = (unit % across * self.unit.0, unit / across * self.unit.1);
                for (component, predicted) in self.components.iter().zip(&mut predicted) {
                    for n in 0..self.unit.0 * self.unit.1 {
                        let block = self.block(component, &mut bits, predicted)?;
                        self.store(
                            component.place,
                            (x + n % self.unit.0, y + n / self.unit.0),
                            &block,
                            samples,
                        );
                    }
                }
                if bits.is_overrun() {
                    return Err(Refusal::damaged("it ends before its last block"));
                }
            }
            at += segment.length;
        }
        Ok(at)
    }

    /// The next block of a component, dequantized and transformed (F.2.2, A.3.3).
    fn block(
        &self,
        component: &Component<'_>,
        bits: &mut Bits<'_>,
        predicted: &mut i32,
    ) -> Result<Block, Refusal> {
        let mut block = [0; 64];
        let last = coefficients(component, bits, predicted, &mut block)?;
        let block = dequantized(&block, component.steps);
        Ok(match LARGEST[last] {
            0 => flat(&self.cosines, &block),
            1..=3 => transformed::<4>(&self.cosines, &block),
            _ => transformed::<8>(&self.cosines, &block),
        })
    }

    /// Writes the part of a block that lies in the image. `place`: its column and row among the blocks.
    fn store(&self, component: usize, place: (usize, usize), block: &Block, samples: &mut [[u8; 2]]) {
        let (left, top) = (8 * place.0, 8 * place.1);
        let lines = samples.chunks_exact_mut(self.columns * self.stride).skip(top);
        for (line, values) in lines.zip(block) {
            let values = values.map(|value| sample(value).to_le_bytes());
            let line = &mut line[(left * self.stride).min(self.columns * self.stride)..];
            match line.first_chunk_mut::<8>() {
                Some(line) if self.stride == 1 => *line = values,
                _ => {
                    for (pixel, value) in line.chunks_exact_mut(self.stride).zip(values) {
                        pixel[component] = value;
                    }
                }
            }
        }
    }
}

/// The next coefficients of a component, but for those that are zero. The place of the last one, in the order of [`ZIGZAG`].
///
/// A function of its own, so that its few variables stay in registers.
#[inline(never)]
fn coefficients(
    component: &Component<'_>,
    bits: &mut Bits<'_>,
    predicted: &mut i32,
    block: &mut [i32; 64],
) -> Result<usize, Refusal> {
    let mut copy = *bits;
    let (category, difference) = coded(component.dc, &mut copy)?;
    if category > 16 {
        return Err(Refusal::damaged("a coefficient of more than 16 bits"));
    }
    *predicted = predicted.wrapping_add(difference);
    block[0] = *predicted;
    let (mut n, mut last) = (1, 0);
    while n < 64 {
        let (code, number) = coded(component.ac, &mut copy)?;
        n += usize::from(code >> 4);
        if code & 15 == 0 {
            // Sixteen zeros, or all that are left.
            if code >> 4 < 15 {
                break;
            }
        } else if n < 64 {
            block[usize::from(ZIGZAG[n] & 63)] = number;
            last = n;
        } else {
            return Err(Refusal::damaged("more coefficients than a block has"));
        }
        n += 1;
    }
    *bits = copy;
    Ok(last)
}

/// The next value, and the number behind it.
#[inline(always)]
fn coded(table: &Table, bits: &mut Bits<'_>) -> Result<(u8, i32), Refusal> {
    bits.fill();
    if let Some(both) = table.short(bits) {
        return Ok(both);
    }
    let (value, rest) = table.value(*bits).ok_or_else(bad_code)?;
    *bits = rest;
    let size = if value == 16 && table.is_dc() { 16 } else { value & 15 };
    Ok((value, bits.number(size.into())))
}

/// The coefficients by their quantization steps.
fn dequantized(block: &[i32; 64], steps: &Steps) -> Block {
    let (mut dequantized, (lines, _)) = (*steps, block.as_chunks::<8>());
    for (line, values) in dequantized.iter_mut().zip(lines) {
        line.iter_mut().zip(values).for_each(|(step, value)| *step *= *value as f32);
    }
    dequantized
}

/// The inverse transform of a block that has its first coefficient only.
fn flat(cosines: &Block, block: &Block) -> Block {
    [[cosines[0][0] * block[0][0] * cosines[0][0]; 8]; 8]
}

/// The inverse transform of a block that has coefficients in `K` rows and columns (A.3.3). Sums are made by rows, so that
/// the compiler works on several samples at once. What is left and right, or above and below, differs by the sign of
/// every other term.
fn transformed<const K: usize>(cosines: &Block, block: &Block) -> Block {
    let mut half = [[0.0; K]; 8];
    for x in 0..4 {
        let (mut upper, mut lower) = ([0.0; K], [0.0; K]);
        for u in 0..K {
            for v in 0..K {
                let term = cosines[x][u] * block[u][v];
                upper[v] += term;
                lower[v] += if u % 2 == 0 { term } else { -term };
            }
        }
        (half[x], half[7 - x]) = (upper, lower);
    }
    half.map(|line| {
        let (mut left, mut right) = ([0.0; 4], [0.0; 4]);
        for v in 0..K {
            for y in 0..4 {
                let term = line[v] * cosines[y][v];
                left[y] += term;
                right[y] += if v % 2 == 0 { term } else { -term };
            }
        }
        [left[0], left[1], left[2], left[3], right[3], right[2], right[1], right[0]]
    })
}

/// The sample of this value, which is rounded to the nearest.
fn sample(value: f32) -> u16 {
    /// From here on, a number has no fraction.
    const WHOLE: f32 = (1 << 23) as f32;
    let value = (value + 2048.0).clamp(0.0, 4095.0);
    let nearest = value + WHOLE;
    // A half was rounded to the even number.
    let up = value - (nearest - WHOLE) == 0.5;
    nearest.to_bits() as u16 + u16::from(up)
}

/// The matrix of the inverse transform: by sample, then by frequency.
fn cosines() -> Block {
    use std::f64::consts::PI;
    std::array::from_fn(|x| {
        std::array::from_fn(|u| {
            let scale = if u == 0 { 0.125_f64.sqrt() } else { 0.5 };
            (scale * ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos()) as f32
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn product(left: &Block, right: &Block) -> Block {
        std::array::from_fn(|row| {
            std::array::from_fn(|column| (0..8).fold(0.0, |sum, n| sum + left[row][n] * right[n][column]))
        })
    }

    proptest! {
        #[test]
        fn a_part_of_a_block_is_transformed_as_all_of_it(
            size in 1..=8_usize,
            values in proptest::collection::vec(-32768..32768_i32, 64),
        ) {
            let value = |y: usize, x: usize| if y.max(x) < size { values[8 * y + x] as f32 } else { 0.0 };
            let block: Block = std::array::from_fn(|y| std::array::from_fn(|x| value(y, x)));
            let cosines = cosines();
            let transposed: Block = std::array::from_fn(|y| std::array::from_fn(|x| cosines[x][y]));
            let expected = product(&product(&cosines, &block), &transposed);
            prop_assert_eq!(transformed::<8>(&cosines, &block), expected);
            if size <= 4 {
                prop_assert_eq!(transformed::<4>(&cosines, &block), expected);
            }
            if size == 1 {
                prop_assert_eq!(flat(&cosines, &block), expected);
            }
        }

        #[test]
        fn samples_are_rounded_to_the_nearest(
            value in prop_oneof![-3000.0..3000_f32, (-6000..6000).prop_map(|n| n as f32 / 2.0), any::<f32>()],
        ) {
            prop_assume!(!value.is_nan());
            prop_assert_eq!(sample(value), (value + 2048.0).round().clamp(0.0, 4095.0) as u16);
        }
    }

    #[test]
    fn the_greatest_row_or_column_is_known() {
        assert_eq!([0, 1, 2, 3, 5, 6, 9, 10, 63].map(|n| LARGEST[n]), [0, 1, 1, 2, 2, 3, 3, 4, 7]);
    }
}
