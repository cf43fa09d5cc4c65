//! RLE Lossless: the bytes of a frame, sorted by their place in a sample, each in a segment of runs (PS3.5 Annex G).

use super::Refusal;
use crate::image::pixels::{Frame, Photometric, Shape};

/// The header: how many segments there are, and where each begins (PS3.5 G.5).
const HEADER: usize = 64;
/// Most segments that the header has room for.
const SEGMENTS: usize = 15;

/// Decodes a frame. Planes become pixels: the result is colour by pixel.
///
/// # Errors
///
/// Another number of segments than the shape's samples have bytes; a segment that ends too soon.
pub(super) fn decode(codestream: &[u8], shape: &Shape) -> Result<Frame, Refusal> {
    let length = usize::try_from(full_resolution(shape).frame_length())
        .map_err(|_| Refusal::TooLarge("a frame of RLE".into()))?;
    if shape.bits_allocated < 8 {
        return Err(Refusal::unsupported("single bits in RLE, which some pack and others do not"));
    }
    let header = codestream.get(..HEADER).ok_or(Refusal::damaged("no RLE header"))?;
    let word = |n: usize| {
        u32::from_le_bytes([header[4 * n], header[4 * n + 1], header[4 * n + 2], header[4 * n + 3]])
    };
    let cell = usize::from(shape.bits_allocated) / 8;
    let expected = usize::from(shape.samples) * cell;
    if word(0) as usize != expected || expected > SEGMENTS {
        return Err(Refusal::disagrees(format!("{} RLE segments for {expected} bytes of a pixel", word(0))));
    }
    let mut bytes = vec![0; length];
    let mut plane = vec![0; length / expected];
    for n in 0..expected {
        let start = word(n + 1) as usize;
        let end = if n + 1 < expected { word(n + 2) as usize } else { codestream.len() };
        let segment = codestream.get(start.max(HEADER)..end.min(codestream.len()));
        let segment = segment.ok_or(Refusal::damaged("an RLE segment lies outside of the frame"))?;
        if expected == 1 {
            unpack(segment, &mut bytes)?;
            break;
        }
        unpack(segment, &mut plane)?;
        // The most significant byte of the first sample comes first; in the frame it lies last of its cell.
        let first = n / cell * cell + (cell - 1 - n % cell);
        for (to, from) in bytes.iter_mut().skip(first).step_by(expected).zip(&plane) {
            *to = *from;
        }
    }
    Ok(Frame { shape: full_resolution(shape), bytes })
}

/// Encodes a frame, which is colour by pixel or by plane.
///
/// # Errors
///
/// Chrominances of half the resolution; a pixel of more bytes than there are segments.
pub(super) fn encode(frame: &Frame) -> Result<Vec<u8>, Refusal> {
    let shape = &frame.shape;
    let cell = usize::from(shape.bits_allocated) / 8;
    let segments = usize::from(shape.samples) * cell;
    if shape.photometric.is_subsampled() || segments > SEGMENTS || segments == 0 {
        return Err(Refusal::unsupported("pixels of this kind in RLE"));
    }
    let length = frame.bytes.len() / segments;
    // Runs do not go from one row into the next (PS3.5 G.3.1).
    let row = usize::from(shape.columns).max(1);
    let mut out = vec![0; HEADER];
    out[..4].copy_from_slice(&(segments as u32).to_le_bytes());
    let mut plane = Vec::with_capacity(length);
    for n in 0..segments {
        let start = u32::try_from(out.len()).map_err(|_| Refusal::TooLarge("a frame of RLE".into()))?;
        out[4 * (n + 1)..4 * (n + 2)].copy_from_slice(&start.to_le_bytes());
        let (sample, byte) = (n / cell, cell - 1 - n % cell);
        let (first, step) = if shape.planar {
            (sample * cell * length + byte, cell)
        } else {
            (sample * cell + byte, segments)
        };
        plane.clear();
        plane.extend(frame.bytes.iter().skip(first).step_by(step).take(length));
        plane.chunks(row).for_each(|row| pack(row, &mut out));
        if out.len() % 2 == 1 {
            out.push(0);
        }
    }
    Ok(out)
}

/// What the data set says of a decoded frame: RLE has every sample of every pixel.
fn full_resolution(shape: &Shape) -> Shape {
    let photometric =
        if shape.photometric.is_subsampled() { Photometric::YbrFull } else { shape.photometric };
    Shape { photometric, planar: false, ..*shape }
}

/// Fills `to` from a segment (PS3.5 G.3.2). What follows in the segment is padding.
fn unpack(segment: &[u8], mut to: &mut [u8]) -> Result<(), Refusal> {
    let short = || Refusal::damaged("an RLE segment ends too soon");
    let mut at = 0;
    while !to.is_empty() {
        let control = *segment.get(at).ok_or_else(short)?;
        at += 1;
        match control {
            0..=127 => {
                let length = (usize::from(control) + 1).min(to.len());
                let literal = segment.get(at..at + length).ok_or_else(short)?;
                let (head, rest) = to.split_at_mut(length);
                head.copy_from_slice(literal);
                (to, at) = (rest, at + length);
            }
            128 => {}
            129.. => {
                let length = (257 - usize::from(control)).min(to.len());
                let (head, rest) = to.split_at_mut(length);
                head.fill(*segment.get(at).ok_or_else(short)?);
                (to, at) = (rest, at + 1);
            }
        }
    }
    Ok(())
}

/// Appends the runs of a row (PS3.5 G.3.1). Two equal bytes between others are no run: as one they would save nothing.
fn pack(row: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    let mut literal = 0;
    while at < row.len() {
        let run = row[at..].iter().take(128).take_while(|byte| **byte == row[at]).count();
        if run >= 3 || (run == 2 && literal == at) {
            literals(&row[literal..at], out);
            out.extend([(257 - run) as u8, row[at]]);
            literal = at + run;
        }
        at += run;
    }
    literals(&row[literal..], out);
}

fn literals(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(128) {
        out.push((chunk.len() - 1) as u8);
        out.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::codec::testing::{frames, shape};

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(bytes in proptest::collection::vec(0..3u8, 1..600)) {
            let mut packed = Vec::new();
            pack(&bytes, &mut packed);
            let mut unpacked = vec![9; bytes.len()];
            unpack(&packed, &mut unpacked).unwrap();
            prop_assert_eq!(unpacked, bytes);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frame in frames(1)) {
            prop_assert_eq!(decode(&encode(&frame).unwrap(), &frame.shape).unwrap(), frame);
        }
    }

    #[test]
    fn the_most_significant_bytes_stand_in_the_first_segment() {
        let shape = Shape { rows: 1, columns: 2, ..shape(16, 16) };
        let frame = Frame { shape, bytes: vec![0x01, 0x02, 0x03, 0x04] };
        let encoded = encode(&frame).unwrap();
        assert_eq!(encoded[..12], [2, 0, 0, 0, 64, 0, 0, 0, 68, 0, 0, 0]);
        assert_eq!(encoded[64..67], [1, 0x02, 0x04]);
        assert_eq!(decode(&encoded, &shape).unwrap(), frame);
    }

    #[test]
    fn planes_become_pixels() {
        let planar = Shape {
            rows: 1,
            columns: 2,
            samples: 3,
            photometric: Photometric::Rgb,
            planar: true,
            ..shape(8, 8)
        };
        let encoded = encode(&Frame { shape: planar, bytes: vec![1, 2, 3, 4, 5, 6] }).unwrap();
        let decoded = decode(&encoded, &planar).unwrap();
        assert_eq!(
            decoded,
            Frame { shape: Shape { planar: false, ..planar }, bytes: vec![1, 3, 5, 2, 4, 6] }
        );
    }

    #[test]
    fn a_segment_that_ends_too_soon_is_refused() {
        let shape = Shape { rows: 2, columns: 9, ..shape(8, 8) };
        let encoded = encode(&Frame { shape, bytes: (0..18).collect() }).unwrap();
        assert!(matches!(decode(&encoded[..encoded.len() - 3], &shape), Err(Refusal::Damaged(_))));
        assert!(matches!(decode(&encoded[..40], &shape), Err(Refusal::Damaged(_))));
        let two = Shape { samples: 3, ..shape };
        assert!(matches!(decode(&encoded, &two), Err(Refusal::Disagrees(_))));
    }
}
