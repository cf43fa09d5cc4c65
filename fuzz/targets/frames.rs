//! Frames and bulk data: no panic, the size of the pieces changes nothing, and what begins ends or is an error.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::image::bulk::{Piece, Selection, Values};
use gantry::image::frames::{Cut, Cutter, Step};

const SYNTAXES: [&str; 7] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.102",
];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let [choice, size, bytes @ ..] = data else { return };
    let syntax: Uid = SYNTAXES[usize::from(*choice) % SYNTAXES.len()].parse().expect("a UID");
    let size = usize::from(*size) + 1;
    for wanted in [None, Some(vec![1]), Some(vec![2, 5])] {
        assert_eq!(frames(&syntax, wanted.clone(), bytes, size), frames(&syntax, wanted, bytes, usize::MAX));
    }
    for selection in [
        Selection::Pixels,
        Selection::Large(8),
        Selection::Path("54000100/1/54001010".parse().expect("a path")),
    ] {
        assert_eq!(values(&syntax, &selection, bytes, size), values(&syntax, &selection, bytes, usize::MAX));
    }
}

/// The frames, `None` where one could not be cut.
fn frames(syntax: &Uid, wanted: Option<Vec<u32>>, bytes: &[u8], size: usize) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut cutter = match wanted {
        Some(wanted) => Cutter::new(syntax, wanted),
        None => Cutter::all(syntax),
    };
    let mut out: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut open = false;
    for piece in bytes.chunks(size) {
        cutter.push(Bytes::copy_from_slice(piece));
        loop {
            match cutter.next().ok()? {
                Step::MoreBytes => break,
                Step::Done(_) => {
                    assert!(!open);
                    return Some(out);
                }
                Step::Cut(Cut::Begin { number, .. }) => {
                    assert!(!std::mem::replace(&mut open, true));
                    out.push((number, Vec::new()));
                }
                Step::Cut(Cut::Bytes(bytes)) => out.last_mut().expect("a frame is open").1.extend(bytes),
                Step::Cut(Cut::End) => assert!(std::mem::replace(&mut open, false)),
            }
        }
    }
    cutter.finish().ok().map(|_| out)
}

/// The values, `None` where the object could not be followed.
fn values(syntax: &Uid, selection: &Selection, bytes: &[u8], size: usize) -> Option<Vec<(String, Vec<u8>)>> {
    let mut values = Values::new(syntax, selection.clone());
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    let mut pieces = bytes.chunks(size);
    loop {
        while let Some(piece) = values.next().ok()? {
            match piece {
                Piece::Begin(value) => out.push((value.path.to_string(), Vec::new())),
                Piece::Bytes(bytes) => out.last_mut().expect("a value is open").1.extend(bytes),
                Piece::End => {}
            }
        }
        if values.is_done() || values.is_finished() {
            return Some(out);
        }
        match pieces.next() {
            Some(piece) => values.push(Bytes::copy_from_slice(piece)),
            None => values.finish().ok()?,
        }
    }
}
