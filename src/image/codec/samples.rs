//! Samples as a codestream has them, and the cells of Pixel Data that they stand in (PS3.5 8.1.1).

use super::Refusal;
use crate::image::pixels::{Frame, Shape};

/// The samples of a frame, colour by pixel: each modulo two to the power of its precision.
pub(super) enum Samples {
    /// Of 8 bits, or fewer.
    Bytes(Vec<u8>),
    /// Of 9 to 16 bits.
    Words(Vec<u16>),
    /// The same, as they lie in cells of 16 bits.
    Cells(Vec<[u8; 2]>),
    /// Of more bits, which few codecs know.
    #[cfg(feature = "openjpeg")]
    Longs(Vec<u32>),
}

impl Samples {
    /// The native frame. `precision`: the bits of a sample in the codestream. `sign_bit`: which bit is the sign, counted from
    /// 1, where the data set says that samples are signed; no codestream of JPEG or JPEG-LS knows of signs.
    pub(super) fn into_frame(self, precision: u32, sign_bit: u32, shape: Shape) -> Result<Frame, Refusal> {
        if precision > u32::from(shape.bits_allocated) {
            let why = format!("{precision} bits of a sample in cells of {}", shape.bits_allocated);
            return Err(Refusal::disagrees(why));
        }
        let cell = u32::from(shape.bits_allocated);
        let lift = lift(precision, &shape)?;
        // Shifted up and down again, the sign fills the rest of the cell.
        let shift = if shape.signed { cell.saturating_sub(sign_bit + lift) } else { 0 };
        let up = shift + lift;
        let bytes = match (self, cell) {
            (Self::Bytes(mut bytes), 8) => {
                if up > 0 {
                    bytes.iter_mut().for_each(|byte| *byte = (((*byte << up) as i8) >> shift) as u8);
                }
                bytes
            }
            (Self::Words(words), 16) => cells(words, |word| short(word, up, shift)),
            (Self::Cells(mut cells), 16) => {
                if up > 0 {
                    cells.iter_mut().for_each(|cell| *cell = short(u16::from_le_bytes(*cell), up, shift));
                }
                cells.into_flattened()
            }
            (Self::Bytes(bytes), 16) => cells(bytes, |byte| short(byte.into(), up, shift)),
            (Self::Bytes(bytes), 32) => cells(bytes, |byte| long(byte.into(), up, shift)),
            (Self::Words(words), 32) => cells(words, |word| long(word.into(), up, shift)),
            (Self::Cells(shorts), 32) => {
                cells(shorts, |cell| long(u16::from_le_bytes(cell).into(), up, shift))
            }
            #[cfg(feature = "openjpeg")]
            (Self::Longs(longs), 32) => cells(longs, |sample| long(sample, up, shift)),
            // Single bits, from the least significant one on.
            (Self::Bytes(bytes), 1) => bytes
                .chunks(8)
                .map(|eight| eight.iter().enumerate().fold(0, |byte, (n, bit)| byte | (bit & 1) << n))
                .collect(),
            _ => return Err(Refusal::unsupported(format!("cells of {cell} bits"))),
        };
        Ok(Frame { shape, bytes })
    }

    /// The samples of a native frame, colour by pixel, and their precision: Bits Stored. Where cells have something besides
    /// the sample, such as an overlay, it is the whole cell that is taken, since nothing may be lost.
    pub(super) fn of(frame: &Frame) -> Result<(Vec<u16>, u32), Refusal> {
        let Shape { samples, bits_allocated, bits_stored, high_bit, signed, .. } = frame.shape;
        if frame.bytes.len() as u64 != frame.shape.frame_length() {
            return Err(Refusal::disagrees("a frame of another length than its pixels have"));
        }
        let cells: Vec<u16> = match bits_allocated {
            8 => frame.bytes.iter().map(|byte| u16::from(*byte)).collect(),
            16 => frame.bytes.chunks_exact(2).map(|cell| u16::from_le_bytes([cell[0], cell[1]])).collect(),
            _ => return Err(Refusal::unsupported(format!("cells of {bits_allocated} bits"))),
        };
        let shift = bits_allocated - bits_stored;
        let sample = u16::MAX >> (16 - bits_stored);
        let whole = u16::MAX >> (16 - bits_allocated);
        let extended = |cell: u16| {
            let negative = signed && (cell >> (bits_stored - 1)) & 1 == 1;
            cell & !sample & whole == if negative { !sample & whole } else { 0 }
        };
        let is_plain =
            shift == 0 || (high_bit == bits_stored - 1 && cells.iter().all(|cell| extended(*cell)));
        let (mask, precision) = if is_plain { (sample, bits_stored) } else { (whole, bits_allocated) };
        let (planes, pixels) = (usize::from(samples), frame.shape.pixels());
        let ordered: Vec<u16> = if frame.shape.planar && planes > 1 {
            (0..pixels * planes).map(|n| cells[n % planes * pixels + n / planes] & mask).collect()
        } else {
            cells.into_iter().map(|cell| cell & mask).collect()
        };
        Ok((ordered, precision.into()))
    }

    /// Samples of this precision that were decoded to 16 bits.
    pub(super) fn from_words(words: Vec<u16>, precision: u32) -> Self {
        if precision > 8 {
            Self::Words(words)
        } else {
            Self::Bytes(words.into_iter().map(|word| word as u8).collect())
        }
    }

    /// The same, of samples that lie in cells.
    pub(super) fn from_cells(cells: Vec<[u8; 2]>, precision: u32) -> Self {
        if precision > 8 {
            Self::Cells(cells)
        } else {
            Self::Bytes(cells.into_iter().map(|[low, _]| low).collect())
        }
    }
}

/// By how many bits samples of this precision lie higher in their cells than in the codestream, so that the most
/// significant one is High Bit, as the data set goes on saying.
fn lift(precision: u32, shape: &Shape) -> Result<u32, Refusal> {
    let Shape { bits_allocated, bits_stored, high_bit, .. } = *shape;
    let top = u32::from(high_bit) + 1;
    // Of whole cells, and of cells up to High Bit, each bit is at its place.
    if precision == u32::from(bits_allocated) || precision == top || high_bit < bits_stored {
        return Ok(0);
    }
    if precision != u32::from(bits_stored) || high_bit >= bits_allocated {
        return Err(Refusal::disagrees(format!(
            "{precision} bits of a sample, and not {bits_stored} up to bit {high_bit}"
        )));
    }
    Ok(top - precision)
}

fn short(sample: u16, up: u32, down: u32) -> [u8; 2] {
    ((((sample << up) as i16) >> down) as u16).to_le_bytes()
}

fn long(sample: u32, up: u32, down: u32) -> [u8; 4] {
    ((((sample << up) as i32) >> down) as u32).to_le_bytes()
}

fn cells<T: Copy, const N: usize>(samples: Vec<T>, cell: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = vec![0; samples.len() * N];
    for (to, from) in bytes.chunks_exact_mut(N).zip(samples) {
        to.copy_from_slice(&cell(from));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::testing::shape;

    #[test]
    fn hazard_a_high_bit_outside_of_the_cell_is_none_of_the_sample() {
        let shape = Shape { rows: 1, columns: 2, high_bit: u16::MAX, ..shape(16, 12) };
        let frame = Frame { shape, bytes: vec![0x34, 0x02, 0xFF, 0x0F] };
        assert_eq!(Samples::of(&frame), Ok((vec![0x0234, 0x0FFF], 16)));
    }

    #[test]
    fn the_sign_fills_the_cell() {
        let signed = Shape { rows: 1, columns: 2, signed: true, ..shape(16, 12) };
        let frame = Samples::Words(vec![0x0FFF, 0x07FF]).into_frame(12, 12, signed).unwrap();
        assert_eq!(frame.bytes, [0xFF, 0xFF, 0xFF, 0x07]);
        let frame = Samples::Bytes(vec![0x80, 0x7F]).into_frame(8, 8, signed).unwrap();
        assert_eq!(frame.bytes, [0x80, 0xFF, 0x7F, 0x00]);
        let unsigned =
            Samples::Words(vec![0x0FFF, 0x07FF]).into_frame(12, 12, Shape { signed: false, ..signed });
        assert_eq!(unsigned.unwrap().bytes, [0xFF, 0x0F, 0xFF, 0x07]);
    }

    #[test]
    fn cells_become_what_words_do() {
        for (allocated, stored, high_bit, signed) in [
            (16, 12, 11, false),
            (16, 12, 11, true),
            (16, 12, 13, true),
            (32, 12, 11, true),
            (8, 8, 7, false),
        ] {
            let shape = Shape { rows: 1, columns: 3, high_bit, signed, ..shape(allocated, stored) };
            let words = vec![0x0FFF, 0x07FF, 0x0123];
            let cells = words.iter().map(|word: &u16| word.to_le_bytes()).collect();
            let precision = stored.into();
            let frame = Samples::from_cells(cells, precision).into_frame(precision, precision, shape);
            assert_eq!(frame, Samples::from_words(words, precision).into_frame(precision, precision, shape));
        }
    }

    #[test]
    fn hazard_samples_lie_where_high_bit_says() {
        let high = |signed| Shape { rows: 1, columns: 2, high_bit: 15, signed, ..shape(16, 12) };
        let words = || Samples::Words(vec![0x0FFF, 0x07FF]);
        let frame = words().into_frame(12, 12, high(false)).unwrap();
        assert_eq!((frame.bytes, frame.shape), (vec![0xF0, 0xFF, 0xF0, 0x7F], high(false)));
        assert_eq!(words().into_frame(12, 12, high(true)).unwrap().bytes, [0xF0, 0xFF, 0xF0, 0x7F]);
        let amid = Shape { high_bit: 13, ..high(true) };
        assert_eq!(words().into_frame(12, 12, amid).unwrap().bytes, [0xFC, 0xFF, 0xFC, 0x1F]);
        // Whole cells, and cells up to the high bit, lie there already.
        assert_eq!(words().into_frame(16, 16, high(false)).unwrap().bytes, [0xFF, 0x0F, 0xFF, 0x07]);
        let cell = Samples::Words(vec![0x3FFC, 0x1FFC]);
        assert_eq!(cell.into_frame(14, 14, amid).unwrap().bytes, [0xFC, 0xFF, 0xFC, 0x1F]);
        // Whatever has another precision, nobody knows where it belongs.
        assert!(matches!(words().into_frame(13, 13, high(false)), Err(Refusal::Disagrees(_))));
        let outside = Shape { high_bit: 16, ..high(false) };
        assert!(matches!(words().into_frame(12, 12, outside), Err(Refusal::Disagrees(_))));
    }

    #[test]
    fn a_sample_does_not_lose_bits_to_its_cell() {
        let eight = Shape { rows: 1, columns: 1, ..shape(8, 8) };
        assert!(matches!(Samples::Words(vec![0x0FFF]).into_frame(12, 12, eight), Err(Refusal::Disagrees(_))));
    }

    #[test]
    fn what_stands_in_cells_besides_the_sample_is_not_lost() {
        let overlaid = Shape { rows: 1, columns: 2, ..shape(16, 12) };
        let frame = |bytes: [u8; 4], shape| Frame { shape, bytes: bytes.to_vec() };
        assert_eq!(Samples::of(&frame([0xFF, 0x0F, 0, 0], overlaid)).unwrap(), (vec![0x0FFF, 0], 12));
        assert_eq!(Samples::of(&frame([0xFF, 0x1F, 0, 0], overlaid)).unwrap(), (vec![0x1FFF, 0], 16));
        let signed = Shape { signed: true, ..overlaid };
        assert_eq!(
            Samples::of(&frame([0xFF, 0xFF, 0xFF, 0x07], signed)).unwrap(),
            (vec![0x0FFF, 0x07FF], 12)
        );
        assert_eq!(Samples::of(&frame([0xFF, 0x0F, 0, 0], signed)).unwrap(), (vec![0x0FFF, 0], 16));
    }

    #[test]
    fn single_bits_fill_bytes_from_the_least_bit_on() {
        let bits = Shape { rows: 1, columns: 9, ..shape(1, 1) };
        let frame = Samples::Bytes(vec![1, 0, 0, 0, 0, 0, 0, 1, 1]).into_frame(1, 1, bits).unwrap();
        assert_eq!(frame.bytes, [0x81, 0x01]);
    }
}
