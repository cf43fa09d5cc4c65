//! Objects on their way into another transfer syntax: no panic, the size of the pieces changes nothing, what comes out whole
//! is a data set, and what was compressed without loss decompresses to what it was.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::object::Head;
use gantry::dicom::scan::Scanner;
use gantry::image::transcode::{Piece, Transcoder, can_become};

const RLE: &str = "1.2.840.10008.1.2.5";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2",
    EXPLICIT,
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    RLE,
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
];
/// Frames that would take more memory are not worked on, in bytes: a few bytes may say that they have any size.
const MAX_WORK: usize = 4 << 20;

/// Runs the target on one input: the transfer syntax, the size of the pieces, and the data set.
pub(crate) fn run(data: &[u8]) {
    let [choice, size, bytes @ ..] = data else { return };
    let from = SYNTAXES[usize::from(*choice) % SYNTAXES.len()];
    let size = usize::from(*size) + 1;
    for to in [EXPLICIT, RLE] {
        if !can_become(&uid(from), &uid(to)) {
            continue;
        }
        let whole = transcoded(from, to, bytes, usize::MAX);
        assert_eq!(transcoded(from, to, bytes, size), whole, "{from} to {to}");
        let Some(whole) = whole else { continue };
        let mut scanner = Scanner::for_transfer_syntax(&uid(to));
        scanner.push(whole.clone().into());
        while scanner.next().expect("a data set").is_some() {}
        scanner.finish().expect("a whole data set");
        if to == RLE {
            let Some(native) = transcoded(RLE, EXPLICIT, &whole, size) else {
                assert_eq!(from, RLE, "what was compressed here");
                continue;
            };
            let again = transcoded(EXPLICIT, RLE, &native, size).expect("what was decompressed here");
            assert_eq!(transcoded(RLE, EXPLICIT, &again, size), Some(native));
        }
    }
}

fn uid(text: &'static str) -> Uid {
    Uid::from_static(text)
}

fn head(syntax: &'static str) -> Head {
    let (sop_class, sop_instance) = (uid("1.2.840.10008.5.1.4.1.1.7.4"), uid("1.2.3"));
    Head { sop_class, sop_instance, transfer_syntax: uid(syntax) }
}

/// What becomes of an object; `None`: it cannot be had.
fn transcoded(from: &'static str, to: &'static str, bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut transcoder = Transcoder::new(&head(from), &uid(to));
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        transcoder.push(Bytes::copy_from_slice(piece)).ok()?;
        take(&mut transcoder, &mut out)?;
    }
    transcoder.finish().ok()?;
    take(&mut transcoder, &mut out)?;
    Some(out)
}

fn take(transcoder: &mut Transcoder, out: &mut Vec<u8>) -> Option<()> {
    while let Some(piece) = transcoder.pop().ok()? {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(&bytes),
            Piece::Work(work) if work.memory() > MAX_WORK => return None,
            Piece::Work(work) => out.extend_from_slice(&work.run().ok()?),
        }
    }
    Some(())
}
