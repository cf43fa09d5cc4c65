//! Multipart bodies and the files in them: no panic, and the size of the pieces changes nothing.

use bytes::Bytes;
use gantry::dicom::part10::MetaReader;
use gantry::dicomweb::media_type::ContentType;
use gantry::dicomweb::multipart::read::{Error, Event, Reader};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((size, body)) = data.split_first() else { return };
    let (parts, end) = read(body, usize::MAX);
    assert_eq!(read(body, usize::from(*size) + 1), (parts.clone(), end));
    assert!(parts.concat().len() <= body.len());
    for part in &parts {
        let mut reader = MetaReader::new();
        for piece in part.chunks(usize::from(*size) + 1) {
            if !matches!(reader.push(Bytes::copy_from_slice(piece)), Ok(None)) {
                break;
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = ContentType::parse(text);
        let _ = Reader::new(text);
    }
}

fn read(body: &[u8], size: usize) -> (Vec<Vec<u8>>, Result<(), Error>) {
    let mut reader = Reader::new("b").expect("a boundary");
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for piece in body.chunks(size.min(body.len().max(1))) {
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.next() {
                Ok(Some(Event::Part(_))) => parts.push(Vec::new()),
                Ok(Some(Event::Data(bytes))) => parts.last_mut().expect("a part").extend(bytes),
                Ok(Some(Event::PartEnd)) => {}
                Ok(None) => break,
                Err(error) => return (parts, Err(error)),
            }
        }
    }
    (parts, reader.finish())
}
