//! Lossless JPEG, process 14: each sample is predicted from its neighbours, the difference is Huffman-coded
//! (ISO/IEC 10918-1 Annex H).

use super::huffman::{Bits, Segment, Table, bad_code};
use super::markers::{DHT, DRI, EOI, Header, Markers, SOS, Scan, sof};
use super::tables::{self, Tables};
use crate::image::codec::Refusal;
use crate::image::codec::samples::Samples;
use crate::image::pixels::Shape;

/// Decodes a frame: its samples, colour by pixel, and their precision.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<(Samples, u32), Refusal> {
    let mut markers = Markers::new(codestream)?;
    let mut tables = Tables::default();
    let mut interval = 0;
    let mut frame: Option<(Header, Vec<u16>)> = None;
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
                frame = Some((header, vec![0; samples]));
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
    Ok((Samples::from_words(samples, precision), precision))
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
    fn read(&self, data: &[u8], samples: &mut [u16]) -> Result<usize, Refusal> {
        let line = self.columns * self.stride;
        let mut at = 0;
        let mut diffs = vec![0; line];
        for (n, lines) in samples.chunks_mut(line * self.interval).enumerate() {
            if n > 0 {
                at += tables::restart(&data[at..])?;
            }
            let segment = Segment::read(&data[at..]);
            let mut bits = segment.bits();
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
            at += segment.length;
        }
        if self.transform > 0 {
            for (place, _) in &self.components {
                samples
                    .iter_mut()
                    .skip(*place)
                    .step_by(self.stride)
                    .for_each(|sample| *sample <<= self.transform);
            }
        }
        debug_assert!(samples.len() == self.rows * line);
        Ok(at)
    }

    /// The differences of a line, modulo 2^16 (H.1.2.2).
    fn differences(&self, bits: &mut Bits<'_>, diffs: &mut [u16]) -> Result<(), Refusal> {
        for pixel in diffs.chunks_exact_mut(self.stride) {
            for (place, table) in &self.components {
                let category = table.decode(bits).ok_or_else(bad_code)?;
                pixel[*place] = match category {
                    0..=15 => bits.number(category.into()) as u16,
                    // It stands for 32768 alone, without further bits.
                    16 => 0x8000,
                    _ => return Err(Refusal::damaged("a difference of more than 16 bits")),
                };
            }
        }
        if bits.is_overrun() { Err(Refusal::damaged("it ends before its last line")) } else { Ok(()) }
    }

    /// Makes samples of the differences of one component of a line.
    fn predict(&self, diffs: &[u16], above: Option<&[u16]>, line: &mut [u16]) {
        let (stride, Some(above)) = (self.stride, above) else {
            let mut left = self.origin;
            for (sample, diff) in line.iter_mut().zip(diffs).step_by(self.stride) {
                left = left.wrapping_add(*diff);
                *sample = left;
            }
            return;
        };
        // The first sample is predicted from above, in every line but the first.
        let mut left = above[0].wrapping_add(diffs[0]);
        line[0] = left;
        let mut corner = above[0];
        let rest = line.iter_mut().zip(diffs).zip(above).step_by(stride).skip(1);
        macro_rules! each {
            ($predict:expr) => {
                for ((sample, diff), up) in rest {
                    let predict: fn(i32, i32, i32) -> i32 = $predict;
                    left = (predict(left.into(), (*up).into(), corner.into()) as u16).wrapping_add(*diff);
                    *sample = left;
                    corner = *up;
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
