//! Metadata from bytes: no panic, whatever they are, and the same text in pieces of any size.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::scan::ErrorKind;
use gantry::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE,
};
use gantry::dicomweb::transcribe::{BulkData, Format, Transcriber, Transcript};

const SYNTAXES: [&str; 4] = [IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let syntax = Uid::from_static(SYNTAXES[usize::from(choice % 4)]);
    let format = if choice / 4 % 2 == 0 { Format::Json } else { Format::Xml };
    let whole = transcribe(format, &syntax, bytes, usize::MAX);
    assert!(std::str::from_utf8(&whole.text).is_ok());
    let in_pieces = transcribe(format, &syntax, bytes, usize::from(choice / 8) + 1);
    // How much comes out of a damaged stream before the damage shows is for the inflater to say.
    if whole.broken.is_none_or(|e| e.kind != ErrorKind::NotDeflated) {
        assert_eq!(in_pieces, whole);
    }
}

fn transcribe(format: Format, syntax: &Uid, bytes: &[u8], size: usize) -> Transcript {
    let bulk = BulkData { inline: 32, url: "http://host/bulkdata".into() };
    let mut transcriber = Transcriber::new(format, syntax, None, bulk);
    for piece in bytes.chunks(size) {
        transcriber.push(Bytes::copy_from_slice(piece));
    }
    transcriber.finish()
}
