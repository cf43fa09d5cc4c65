//! Codestreams in every transfer syntax: no codec panics but that of JPEG XL, which has assertions that codestreams can reach; a frame is as long as its shape says, and what is encoded without
//! loss is decoded to the same again.

use gantry::dicom::Uid;
use gantry::image::codec::{Refusal, can_encode, decode, encode};
use gantry::image::pixels::{Photometric, Shape};

const SYNTAXES: [&str; 7] = [
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    JPEG_XL,
];
const JPEG_XL: &str = "1.2.840.10008.1.2.4.110";
/// Those that are written without loss.
const LOSSLESS: [&str; 5] = [
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
];

/// Runs the target on one input: the transfer syntax, what the data set says of the pixels, and a codestream.
pub(crate) fn run(data: &[u8]) {
    let [choice, kind, stored, rows, columns, codestream @ ..] = data else { return };
    let syntax: Uid = SYNTAXES[usize::from(*choice) % SYNTAXES.len()].parse().expect("a UID");
    let colour = kind & 1 != 0;
    let bits_allocated = if kind & 2 == 0 { 8 } else { 16 };
    let bits_stored = u16::from(*stored).clamp(1, bits_allocated);
    let shape = Shape {
        rows: (*rows).into(),
        columns: (*columns).into(),
        samples: if colour { 3 } else { 1 },
        bits_allocated,
        bits_stored,
        high_bit: bits_stored - 1,
        signed: kind & 4 != 0,
        photometric: if colour { Photometric::Rgb } else { Photometric::Monochrome2 },
        planar: kind & 8 != 0,
    };
    let frame = match decode(&syntax, codestream, &shape) {
        Ok(frame) => frame,
        Err(refusal) => return assert!(refusal != Refusal::Failed || syntax.as_str() == JPEG_XL),
    };
    assert_eq!(frame.bytes.len() as u64, frame.shape.frame_length());
    for syntax in LOSSLESS.map(|syntax| syntax.parse().expect("a UID")) {
        if can_encode(&syntax, &frame.shape) {
            let encoded = encode(&syntax, &frame).expect("it can be encoded");
            assert_eq!(decode(&syntax, &encoded.bytes, &encoded.shape).as_ref(), Ok(&frame));
        }
    }
}
