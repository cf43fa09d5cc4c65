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

/// A block of coefficients or samples, by rows.
type Block = [[f32; 8]; 8];
/// Quantization steps, in the order of [`ZIGZAG`].
type Steps = [u16; 64];

/// Decodes a frame: its samples, colour by pixel.
pub(super) fn decode(codestream: &[u8], header: &Header, shape: &Shape) -> Result<Vec<u16>, Refusal> {
    if !header.is_full_resolution() {
        return Err(Refusal::unsupported("JPEG of 12 bits with components of fewer samples"));
    }
    let mut markers = Markers::new(codestream)?;
    let (mut dc, mut ac) = (Tables::default(), Tables::default());
    let mut steps: [Option<Steps>; 4] = [None; 4];
    let mut interval = 0;
    let mut samples = vec![0; shape.pixels() * header.components.len()];
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
        *table = Some(std::array::from_fn(|n| match wide {
            true => u16::from_be_bytes([values[2 * n], values[2 * n + 1]]),
            false => values[n].into(),
        }));
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
    fn read(&self, data: &[u8], samples: &mut [u16]) -> Result<usize, Refusal> {
        let (across, down) = (self.columns.div_ceil(8 * self.unit.0), self.rows.div_ceil(8 * self.unit.1));
        let interval = if self.interval == 0 { across * down } else { self.interval };
        let mut at = 0;
        for first in (0..across * down).step_by(interval) {
            if first > 0 {
                at += tables::restart(&data[at..])?;
            }
            let segment = Segment::read(&data[at..]);
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
        let mut block = [[0.0; 8]; 8];
        let mut set = |n: usize, value: i32| {
            let place = usize::from(ZIGZAG[n]);
            block[place / 8][place % 8] = value as f32 * f32::from(component.steps[n]);
        };
        let category = component.dc.decode(bits).ok_or_else(bad_code)?;
        if category > 16 {
            return Err(Refusal::damaged("a coefficient of more than 16 bits"));
        }
        *predicted = predicted.wrapping_add(bits.number(category.into()));
        set(0, *predicted);
        let mut n = 1;
        while n < 64 {
            let code = component.ac.decode(bits).ok_or_else(bad_code)?;
            let (zeros, category) = (usize::from(code >> 4), u32::from(code & 15));
            match (zeros, category) {
                (15, 0) => n += 16,
                (_, 0) => break,
                _ => {
                    n += zeros;
                    if n > 63 {
                        return Err(Refusal::damaged("more coefficients than a block has"));
                    }
                    set(n, bits.number(category));
                    n += 1;
                }
            }
        }
        // The rows of the product are sums of rows, so that the compiler works on eight samples at once.
        let product = |left: &Block, right: &Block| -> Block {
            std::array::from_fn(|row| {
                let mut sum = [0.0; 8];
                for (factor, line) in left[row].iter().zip(right) {
                    sum.iter_mut().zip(line).for_each(|(sum, value)| *sum += factor * value);
                }
                sum
            })
        };
        let transposed =
            |block: &Block| -> Block { std::array::from_fn(|x| std::array::from_fn(|y| block[y][x])) };
        Ok(product(&product(&self.cosines, &block), &transposed(&self.cosines)))
    }

    /// Writes the part of a block that lies in the image. `place`: its column and row among the blocks.
    fn store(&self, component: usize, place: (usize, usize), block: &Block, samples: &mut [u16]) {
        let (left, top) = (8 * place.0, 8 * place.1);
        let lines = samples.chunks_exact_mut(self.columns * self.stride).skip(top);
        for (line, values) in lines.zip(block) {
            let pixels = line.chunks_exact_mut(self.stride).skip(left);
            for (pixel, value) in pixels.zip(values) {
                pixel[component] = (value + 2048.0).round().clamp(0.0, 4095.0) as u16;
            }
        }
    }
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
