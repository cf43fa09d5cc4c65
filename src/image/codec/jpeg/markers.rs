//! Marker segments of JPEG and JPEG-LS (ISO/IEC 10918-1 Annex B), and what frame and scan headers say.

use memchr::memchr;

use crate::image::codec::Refusal;
use crate::image::pixels::Shape;

/// Start Of Frame of the processes told apart here: their last byte.
pub(in crate::image::codec) mod sof {
    /// Baseline DCT.
    pub(in crate::image::codec) const BASELINE: u8 = 0xC0;
    /// Extended sequential DCT.
    pub(in crate::image::codec) const EXTENDED: u8 = 0xC1;
    /// Progressive DCT.
    pub(in crate::image::codec) const PROGRESSIVE: u8 = 0xC2;
    /// Lossless.
    pub(in crate::image::codec) const LOSSLESS: u8 = 0xC3;
    /// JPEG-LS.
    pub(in crate::image::codec) const JPEG_LS: u8 = 0xF7;
}

/// Define Huffman Tables.
pub(in crate::image::codec) const DHT: u8 = 0xC4;
/// Start Of Image.
pub(in crate::image::codec) const SOI: u8 = 0xD8;
/// End Of Image.
pub(in crate::image::codec) const EOI: u8 = 0xD9;
/// Start Of Scan.
pub(in crate::image::codec) const SOS: u8 = 0xDA;
/// Define Quantization Tables.
pub(in crate::image::codec) const DQT: u8 = 0xDB;
/// Define Restart Interval.
pub(in crate::image::codec) const DRI: u8 = 0xDD;
/// Preset parameters of JPEG-LS.
pub(in crate::image::codec) const LSE: u8 = 0xF8;
/// Application data: JFIF, or of others.
const APP0: u8 = 0xE0;
/// Application data of JPEG-LS, where a colour transformation is told.
pub(in crate::image::codec) const APP8: u8 = 0xE8;
/// Application data of Adobe, and of those who tell by it whether colours are transformed.
const APP14: u8 = 0xEE;

/// A walk from one marker to the next.
pub(in crate::image::codec) struct Markers<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Markers<'a> {
    /// Begins behind the Start Of Image.
    pub(in crate::image::codec) fn new(data: &'a [u8]) -> Result<Self, Refusal> {
        if !data.starts_with(&[0xFF, SOI]) {
            return Err(Refusal::damaged("it does not begin with a Start Of Image"));
        }
        Ok(Self { data, at: 2 })
    }

    /// The next marker and its parameters. A marker that has none ends the walk, or is passed over.
    pub(in crate::image::codec) fn next(&mut self) -> Result<(u8, &'a [u8]), Refusal> {
        let short = || Refusal::damaged("it ends within its headers");
        loop {
            let rest = self.data.get(self.at..).ok_or_else(short)?;
            // Bytes before a marker are skipped, as everybody does: fill bytes, and what is left of entropy-coded data.
            let from = memchr(0xFF, rest).ok_or_else(short)?;
            let fill = rest[from..].iter().take_while(|byte| **byte == 0xFF).count();
            let marker = *rest.get(from + fill).ok_or_else(short)?;
            self.at += from + fill + 1;
            match marker {
                EOI => return Ok((marker, &[])),
                // Stuffing, TEM, restarts, SOI: without parameters.
                0x00 | 0x01 | 0xD0..=0xD8 => {}
                _ => {
                    let length = self.data.get(self.at..self.at + 2).ok_or_else(short)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    if length < 2 {
                        return Err(Refusal::damaged("a marker segment of no length"));
                    }
                    let parameters = self.data.get(self.at + 2..self.at + length).ok_or_else(short)?;
                    self.at += length;
                    return Ok((marker, parameters));
                }
            }
        }
    }

    /// What follows: behind a Start Of Scan, entropy-coded data.
    pub(in crate::image::codec) fn rest(&self) -> &'a [u8] {
        &self.data[self.at.min(self.data.len())..]
    }

    /// Passes over what was read of [`Self::rest`].
    pub(in crate::image::codec) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// A component of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image::codec) struct Component {
    /// By which scans name it.
    pub(in crate::image::codec) id: u8,
    /// Horizontal sampling factor, 1 to 4.
    pub(in crate::image::codec) horizontal: u8,
    /// Vertical sampling factor, 1 to 4.
    pub(in crate::image::codec) vertical: u8,
    /// Its quantization table.
    pub(in crate::image::codec) quantization: u8,
}

/// A frame header (B.2.2), which agrees with the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image::codec) struct Header {
    /// Which process: one of [`sof`], or another.
    pub(in crate::image::codec) process: u8,
    /// Bits of a sample.
    pub(in crate::image::codec) precision: u8,
    /// One for each sample of a pixel.
    pub(in crate::image::codec) components: Vec<Component>,
}

impl Header {
    /// Reads a frame header. `process`: its marker.
    pub(in crate::image::codec) fn read(
        process: u8,
        parameters: &[u8],
        shape: &Shape,
    ) -> Result<Self, Refusal> {
        let [precision, h0, h1, w0, w1, count, components @ ..] = parameters else {
            return Err(Refusal::damaged("a frame header of too few bytes"));
        };
        let (rows, columns) = (u16::from_be_bytes([*h0, *h1]), u16::from_be_bytes([*w0, *w1]));
        if rows == 0 {
            return Err(Refusal::unsupported("a number of lines that is told behind the first scan"));
        }
        if (rows, columns, u16::from(*count)) != (shape.rows, shape.columns, shape.samples) {
            return Err(Refusal::disagrees(format!(
                "{columns} × {rows} pixels with {count} samples, and not {} × {} with {}",
                shape.columns, shape.rows, shape.samples
            )));
        }
        let (components, rest) = components.as_chunks::<3>();
        if components.len() != usize::from(*count) || !rest.is_empty() {
            return Err(Refusal::damaged("a frame header of another length than its components"));
        }
        let components: Vec<_> = components
            .iter()
            .map(|[id, sampling, quantization]| Component {
                id: *id,
                horizontal: sampling >> 4,
                vertical: sampling & 15,
                quantization: *quantization,
            })
            .collect();
        let factors = components.iter().flat_map(|component| [component.horizontal, component.vertical]);
        if factors.into_iter().any(|factor| !(1..=4).contains(&factor)) {
            return Err(Refusal::damaged("a sampling factor that is not 1 to 4"));
        }
        Ok(Self { process, precision: *precision, components })
    }

    /// Whether all components have the image's resolution.
    pub(in crate::image::codec) fn is_full_resolution(&self) -> bool {
        let first = self.components[0];
        self.components
            .iter()
            .all(|each| (each.horizontal, each.vertical) == (first.horizontal, first.vertical))
    }
}

/// A scan header (B.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image::codec) struct Scan {
    /// Its components: their places in the frame, and the byte that names their tables.
    pub(in crate::image::codec) components: Vec<(usize, u8)>,
    /// The three last bytes: Ss, Se, and Ah with Al; in JPEG-LS NEAR, ILV, and the point transform.
    pub(in crate::image::codec) parameters: [u8; 3],
}

impl Scan {
    /// Reads a scan header.
    pub(in crate::image::codec) fn read(parameters: &[u8], header: &Header) -> Result<Self, Refusal> {
        let (count, rest) = parameters.split_first().ok_or(Refusal::damaged("an empty scan header"))?;
        let (components, last) = rest.as_chunks::<2>();
        let ([components @ .., [ss, se]], [last]) = (components, last) else {
            return Err(Refusal::damaged("a scan header of the wrong length"));
        };
        if components.is_empty() || components.len() != usize::from(*count) {
            return Err(Refusal::damaged("a scan header of another length than its components"));
        }
        let mut found = Vec::with_capacity(components.len());
        for [id, tables] in components {
            let place = header.components.iter().position(|component| component.id == *id);
            let place =
                place.ok_or(Refusal::damaged("a scan of a component that the frame does not have"))?;
            if found.iter().any(|(other, _)| *other == place) {
                return Err(Refusal::damaged("a scan that has a component twice"));
            }
            found.push((place, *tables));
        }
        Ok(Self { components: found, parameters: [*ss, *se, *last] })
    }

    /// Whether components take turns sample by sample, or line by line. Where several have greater sampling factors, even
    /// the same ones, it is so many samples and lines of each (A.2.3).
    pub(in crate::image::codec) fn has_units_of_a_sample(&self, header: &Header) -> bool {
        let mut of_scan = self.components.iter().map(|(place, _)| header.components[*place]);
        self.components.len() == 1 || of_scan.all(|each| (each.horizontal, each.vertical) == (1, 1))
    }
}

/// What the segments before a frame tell of its colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::image::codec) struct Colours {
    /// There is a segment of JFIF, which knows luminance and chrominances only.
    pub(in crate::image::codec) jfif: bool,
    /// What Adobe's segment says: 0 for none, 1 for a transformation of three components.
    pub(in crate::image::codec) adobe: Option<u8>,
}

impl Colours {
    /// Takes note of a segment of application data.
    pub(in crate::image::codec) fn note(&mut self, marker: u8, parameters: &[u8]) {
        match marker {
            APP0 if parameters.starts_with(b"JFIF\0") => self.jfif = true,
            APP14 if parameters.starts_with(b"Adobe") => self.adobe = parameters.get(11).copied(),
            _ => {}
        }
    }
}

/// Appends a marker segment. There must be less than 64 KiB of parameters.
pub(in crate::image::codec) fn segment(out: &mut Vec<u8>, marker: u8, parameters: &[u8]) {
    out.extend([0xFF, marker]);
    out.extend((parameters.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(parameters);
}

/// Appends the Start Of Image and a frame header of components with these names, all of the image's resolution.
pub(in crate::image::codec) fn start(
    out: &mut Vec<u8>,
    process: u8,
    precision: u8,
    rows: u16,
    columns: u16,
    ids: &[u8],
) {
    let ([h0, h1], [w0, w1]) = (rows.to_be_bytes(), columns.to_be_bytes());
    let components: Vec<[u8; 3]> = ids.iter().map(|id| [*id, 0x11, 0]).collect();
    out.extend([0xFF, SOI]);
    let head = [precision, h0, h1, w0, w1, ids.len() as u8];
    segment(out, process, &[&head, components.as_flattened()].concat());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::testing::shape;

    #[test]
    fn fill_bytes_and_stuffing_are_passed_over() {
        let data = [0xFF, 0xD8, 0xFF, 0xFF, 0xDD, 0, 4, 0, 7, 1, 2, 0xFF, 0, 0xFF, 0xD3, 0xFF, 0xD9];
        let mut markers = Markers::new(&data).unwrap();
        assert_eq!(markers.next().unwrap(), (DRI, [0, 7].as_slice()));
        assert_eq!(markers.next().unwrap(), (EOI, [].as_slice()));
        assert!(matches!(markers.next(), Err(Refusal::Damaged(_))));
    }

    #[test]
    fn a_frame_of_another_size_is_refused_before_anything_is_allocated() {
        let of = |rows: u16| [&[8], rows.to_be_bytes().as_slice(), &[0, 4, 1, 1, 0x11, 0]].concat();
        assert!(Header::read(sof::BASELINE, &of(4), &shape(8, 8)).is_ok());
        let refused = Header::read(sof::BASELINE, &of(0xFFFF), &shape(8, 8));
        assert!(matches!(refused, Err(Refusal::Disagrees(_))));
        assert!(matches!(Header::read(sof::BASELINE, &of(4)[..8], &shape(8, 8)), Err(Refusal::Damaged(_))));
    }
}
