//! Lossless JPEG, process 14: each sample is predicted from its neighbours, the difference is Huffman-coded
//! (ISO/IEC 10918-1 Annex H).

use super::huffman::{Bits, Segment, Table, bad_code};
use super::markers::{DHT, DRI, EOI, Header, Markers, SOS, Scan, sof};
use super::tables::{self, Tables};
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::Shape;

/// A sample as it lies in Pixel Data, so that it need not be copied there.
type Cell = [u8; 2];

/// Decodes a frame: its samples, colour by pixel, and their precision.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<(Samples, u32), Refusal> {
    let mut markers = Markers::new(codestream)?;
    let mut tables = Tables::default();
    let mut interval = 0;
    let mut frame: Option<(Header, Vec<Cell>)> = None;
    let mut decoded = [false; 4];
    loop {
        let (marker, parameters) = markers.next()?;
        match (marker, &mut frame) {
            (DHT, _) => tables::read(parameters, &mut tables, &mut Tables::default())?,
            (DRI, _) => interval = tables::restart_interval(parameters)?,
            (sof::LOSSLESS, None) => {
                let header = Header::read(marker, parameters, shape)?;
                if !(2..=16).contains(&header.precision) {
                    return Err(Refusal::damaged(format!("a precision of {} bits", header.precision)));
                }
                if !header.is_full_resolution() || header.components.len() > decoded.len() {
                    return Err(Refusal::unsupported("lossless JPEG with components of fewer samples"));
                }
                let samples = shape.pixels() * header.components.len();
                frame = Some((header, vec![[0; 2]; samples]));
            }
            (SOS, Some((header, samples))) => {
                let scan = Scan::read(parameters, header)?;
                if !scan.has_units_of_a_sample(header) {
                    return Err(Refusal::unsupported("lossless JPEG in units of several samples"));
                }
                let read =
                    Reader::new(header, &scan, &tables, shape, interval)?.read(markers.rest(), samples)?;
                markers.skip(read);
                scan.components.iter().for_each(|(place, _)| decoded[*place] = true);
                // Whatever stands behind the last scan is not looked at, as nobody does: often the end marker is missing.
                if decoded.iter().zip(&header.components).all(|(decoded, _)| *decoded) {
                    break;
                }
            }
            (0xC0..=0xCF, _) => return Err(Refusal::unsupported(format!("JPEG process {marker:02X}"))),
            (SOS, None) => return Err(Refusal::damaged("a scan before its frame header")),
            (EOI, _) => return Err(Refusal::damaged("it ends before its last scan")),
            _ => {}
        }
    }
    let (header, samples) = frame.ok_or(Refusal::damaged("no frame header"))?;
    let precision = u32::from(header.precision);
    Ok((Samples::from_cells(samples, precision), precision))
}

/// What reads a scan.
struct Reader<'a> {
    /// For each component of the scan: its place in a pixel, and its table.
    components: Vec<(usize, &'a Table)>,
    /// Samples of a pixel in the frame.
    stride: usize,
    columns: usize,
    rows: usize,
    /// Lines after which prediction begins anew; all of them where there are no restarts.
    interval: usize,
    /// Which neighbours predict, 1 to 7 (Table H.1).
    predictor: u8,
    /// What the first sample is predicted with.
    origin: u16,
    /// How many low bits were cut off.
    transform: u8,
}

impl<'a> Reader<'a> {
    fn new(
        header: &Header,
        scan: &Scan,
        tables: &'a Tables,
        shape: &Shape,
        interval: usize,
    ) -> Result<Self, Refusal> {
        let [predictor, _, transform] = scan.parameters;
        let (transform, columns, rows) =
            (transform & 15, usize::from(shape.columns), usize::from(shape.rows));
        if !(1..=7).contains(&predictor) || transform >= header.precision {
            return Err(Refusal::damaged("a predictor or point transform that there is not"));
        }
        if !interval.is_multiple_of(columns) {
            return Err(Refusal::damaged("a restart within a line"));
        }
        let mut components = Vec::with_capacity(scan.components.len());
        for (place, names) in &scan.components {
            components.push((*place, tables.get(names >> 4)?));
        }
        let origin = 1 << (header.precision - transform - 1);
        let interval = if interval == 0 { rows } else { interval / columns };
        let stride = header.components.len();
        Ok(Self { components, stride, columns, rows, interval, predictor, origin, transform })
    }

    /// Reads the scan into the frame. How many bytes it had.
    fn read(&self, data: &[u8], samples: &mut [Cell]) -> Result<usize, Refusal> {
        let line = self.columns * self.stride;
        let (mut at, mut segment) = (0, Segment::default());
        for (n, lines) in samples.chunks_mut(line * self.interval).enumerate() {
            if n > 0 {
                at += tables::restart(&data[at..])?;
            }
            segment.read(&data[at..]);
            self.interval(segment.bits(), lines)?;
            at += segment.length;
        }
        if self.transform > 0 {
            for (place, _) in &self.components {
                samples
                    .iter_mut()
                    .skip(*place)
                    .step_by(self.stride)
                    .for_each(|sample| *sample = (value(*sample) << self.transform).to_le_bytes());
            }
        }
        debug_assert!(samples.len() == self.rows * line);
        Ok(at)
    }

    /// Reads the lines up to a restart. Components that are all there, and in order, are read faster.
    fn interval(&self, bits: Bits<'_>, lines: &mut [Cell]) -> Result<(), Refusal> {
        match (self.components.as_slice(), self.stride) {
            ([(0, table)], 1) => self.pixels([table], bits, lines),
            ([(0, first), (1, second), (2, third)], 3) => self.pixels([first, second, third], bits, lines),
            _ => self.components(bits, lines),
        }
    }

    /// Reads lines of whole pixels.
    fn pixels<const N: usize>(
        &self,
        tables: [&Table; N],
        mut bits: Bits<'_>,
        lines: &mut [Cell],
    ) -> Result<(), Refusal> {
        let (pixels, _) = lines.as_chunks_mut::<N>();
        let (mut above, mut rest) = pixels.split_at_mut(self.columns);
        let bits = &mut bits;
        // Nothing is above: only what is to the left predicts.
        line_by_left(tables, bits, [self.origin; N], above)?;
        while !rest.is_empty() {
            let (line, below) = rest.split_at_mut(self.columns);
            match self.predictor {
                1 => line_by_left(tables, bits, above[0].map(value), line)?,
                2 => line_by(tables, bits, above, line, |_, up, _| up)?,
                3 => line_by(tables, bits, above, line, |_, _, corner| corner)?,
                4 => line_by(tables, bits, above, line, |left, up, corner| left + up - corner)?,
                5 => line_by(tables, bits, above, line, |left, up, corner| left + ((up - corner) >> 1))?,
                6 => line_by(tables, bits, above, line, |left, up, corner| up + ((left - corner) >> 1))?,
                _ => line_by(tables, bits, above, line, |left, up, _| (left + up) >> 1)?,
            }
            (above, rest) = (line, below);
        }
        Ok(())
    }

    /// Reads lines of some components of a pixel.
    fn components(&self, mut bits: Bits<'_>, lines: &mut [Cell]) -> Result<(), Refusal> {
        let line = self.columns * self.stride;
        let mut diffs = vec![0; line];
        for row in 0..lines.len() / line {
            let (above, current) = lines.split_at_mut(row * line);
            self.differences(&mut bits, &mut diffs)?;
            let above = row.checked_sub(1).map(|row| &above[row * line..]);
            for (place, _) in &self.components {
                self.predict(
                    &diffs[*place..],
                    above.map(|above| &above[*place..]),
                    &mut current[*place..line],
                );
            }
        }
        Ok(())
    }

    /// The differences of a line, modulo 2^16 (H.1.2.2).
    fn differences(&self, bits: &mut Bits<'_>, diffs: &mut [u16]) -> Result<(), Refusal> {
        for pixel in diffs.chunks_exact_mut(self.stride) {
            for (place, table) in &self.components {
                pixel[*place] = difference(table, bits)?;
            }
        }
        whole(bits)
    }

    /// Makes samples of the differences of one component of a line.
    fn predict(&self, diffs: &[u16], above: Option<&[Cell]>, line: &mut [Cell]) {
        let (stride, Some(above)) = (self.stride, above) else {
            let mut left = self.origin;
            for (sample, diff) in line.iter_mut().zip(diffs).step_by(self.stride) {
                left = left.wrapping_add(*diff);
                *sample = left.to_le_bytes();
            }
            return;
        };
        // The first sample is predicted from above, in every line but the first.
        let mut corner = value(above[0]);
        let mut left = corner.wrapping_add(diffs[0]);
        line[0] = left.to_le_bytes();
        let rest = line.iter_mut().zip(diffs).zip(above).step_by(stride).skip(1);
        macro_rules! each {
            ($predict:expr) => {
                for ((sample, diff), up) in rest {
                    let predict: fn(i32, i32, i32) -> i32 = $predict;
                    let up = value(*up);
                    left = (predict(left.into(), up.into(), corner.into()) as u16).wrapping_add(*diff);
                    *sample = left.to_le_bytes();
                    corner = up;
                }
            };
        }
        match self.predictor {
            1 => each!(|left, _, _| left),
            2 => each!(|_, up, _| up),
            3 => each!(|_, _, corner| corner),
            4 => each!(|left, up, corner| left + up - corner),
            5 => each!(|left, up, corner| left + ((up - corner) >> 1)),
            6 => each!(|left, up, corner| up + ((left - corner) >> 1)),
            _ => each!(|left, up, _| (left + up) >> 1),
        }
    }
}

/// Reads a line that is predicted by what is to the left. `start`: what predicts the first pixel.
#[inline(never)]
fn line_by_left<const N: usize>(
    tables: [&Table; N],
    bits: &mut Bits<'_>,
    start: [u16; N],
    line: &mut [[Cell; N]],
) -> Result<(), Refusal> {
    let (mut copy, mut left) = (*bits, start);
    for pixel in line {
        for n in 0..N {
            left[n] = left[n].wrapping_add(difference(tables[n], &mut copy)?);
        }
        *pixel = left.map(u16::to_le_bytes);
    }
    *bits = copy;
    whole(bits)
}

/// Reads a line that is predicted by what is to the left, above, and above to the left; its first pixel by the one above.
#[inline(never)]
fn line_by<const N: usize>(
    tables: [&Table; N],
    bits: &mut Bits<'_>,
    above: &[[Cell; N]],
    line: &mut [[Cell; N]],
    predict: impl Fn(i32, i32, i32) -> i32,
) -> Result<(), Refusal> {
    let ([corner, above @ ..], [first, rest @ ..]) = (above, line) else { return Ok(()) };
    let mut corner = corner.map(value);
    line_by_left(tables, bits, corner, std::slice::from_mut(first))?;
    let (mut copy, mut left) = (*bits, first.map(value));
    for (pixel, up) in rest.iter_mut().zip(above) {
        let up = up.map(value);
        for n in 0..N {
            let predicted = predict(left[n].into(), up[n].into(), corner[n].into()) as u16;
            left[n] = predicted.wrapping_add(difference(tables[n], &mut copy)?);
        }
        *pixel = left.map(u16::to_le_bytes);
        corner = up;
    }
    *bits = copy;
    whole(bits)
}

/// The sample that lies in a cell.
fn value(cell: Cell) -> u16 {
    u16::from_le_bytes(cell)
}

/// The next difference, modulo 2^16.
#[inline(always)]
fn difference(table: &Table, bits: &mut Bits<'_>) -> Result<u16, Refusal> {
    bits.fill();
    if let Some((_, number)) = table.short(bits) {
        return Ok(number as u16);
    }
    let (difference, rest) = long_difference(table, *bits)?;
    *bits = rest;
    Ok(difference)
}

/// The same, of any code, and what follows.
#[cold]
#[inline(never)]
fn long_difference<'a>(table: &Table, bits: Bits<'a>) -> Result<(u16, Bits<'a>), Refusal> {
    let (category, mut bits) = table.value(bits).ok_or_else(bad_code)?;
    match category {
        0..=15 => Ok((bits.number(category.into()) as u16, bits)),
        // It stands for 32768 alone, without further bits.
        16 => Ok((0x8000, bits)),
        _ => Err(Refusal::damaged("a difference of more than 16 bits")),
    }
}

/// Refuses a line that ends behind the data.
fn whole(bits: &Bits<'_>) -> Result<(), Refusal> {
    if bits.is_overrun() { Err(Refusal::damaged("it ends before its last line")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All categories, with codes of 3 to 12 bits, and no bits that are none.
    const TABLE: [u8; 34] = [
        0, 0, 0, 7, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 3, 4, 5, 6, 2, 1, 0, 7, 8, 9, 10, 11, 12, 13, 14,
        15, 16,
    ];

    proptest! {
        #[test]
        fn whole_pixels_are_read_as_single_components_are(
            (columns, rows, stride) in (1..20_usize, 1..10_usize, prop_oneof![Just(1_usize), Just(3)]),
            predictor in 1..=7_u8,
            origin in (0..16).prop_map(|bit| 1_u16 << bit),
            data in proptest::collection::vec(0..255_u8, 0..1000),
        ) {
            let (_, table, _) = Table::read(&TABLE).unwrap();
            let components = (0..stride).map(|place| (place, &table)).collect();
            let reader =
                Reader { components, stride, columns, rows, interval: rows, predictor, origin, transform: 0 };
            let mut segment = Segment::default();
            segment.read(&data);
            let mut whole = vec![[0; 2]; columns * rows * stride];
            let mut single = whole.clone();
            let results =
                (reader.interval(segment.bits(), &mut whole), reader.components(segment.bits(), &mut single));
            prop_assert_eq!(&results.0, &results.1);
            prop_assert!(results.0.is_err() || whole == single);
        }
    }
}
