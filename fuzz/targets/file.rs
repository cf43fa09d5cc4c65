//! PS3.10 files as they are stored: the File Meta Information and what identifies an object. No panic, and the size of the
//! pieces changes nothing.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::head::HeadReader;
use gantry::dicom::part10::MetaReader;

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((size, file)) = data.split_first() else { return };
    let size = usize::from(*size) + 1;
    assert_eq!(read(file, size), read(file, usize::MAX));
}

/// What is found, as text; `None`: it cannot be read.
fn read(file: &[u8], size: usize) -> Option<String> {
    let mut meta = MetaReader::new();
    let mut pieces = file.chunks(size);
    let (found, rest) = loop {
        if let Some(done) = meta.push(Bytes::copy_from_slice(pieces.next()?)).ok()? {
            break done;
        }
    };
    let syntax: Uid = found.transfer_syntax.clone()?;
    let mut head = HeadReader::new(&syntax);
    let mut done = head.push(rest, false);
    while !done {
        let Some(piece) = pieces.next() else { break };
        done = head.push(Bytes::copy_from_slice(piece), false);
    }
    if !done {
        head.push(Bytes::new(), true);
    }
    let declared = head.transfer_syntax(&syntax);
    let (identifiers, _) = head.into_parts();
    Some(format!("{found:?} {declared} {identifiers:?}"))
}
