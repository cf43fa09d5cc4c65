//! Re-encoding and de-identification: no panic, the size of the pieces changes nothing, and the result can be followed.

use bytes::Bytes;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::deidentify::{Deidentifier, Key};
use gantry::dicom::object::Head;
use gantry::dicom::reencode::Reencoder;
use gantry::dicom::scan::{Error, Scanner};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use gantry::dicom::{Uid, tags};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let from = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe][usize::from(choice % 3)];
    let whole = reencode(from, bytes, usize::MAX);
    assert_eq!(reencode(from, bytes, usize::from(choice / 3) + 1), whole);
    let Ok(whole) = whole else { return };
    let mut scanner = Scanner::new(Layout::ExplicitLe);
    scanner.push(whole.into());
    while scanner.next().expect("what was written can be followed").is_some() {}
    scanner.finish().expect("what was written is whole");
    let syntax = [IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE][usize::from(choice % 3)];
    let whole = deidentify(syntax, bytes, usize::MAX);
    assert_eq!(deidentify(syntax, bytes, usize::from(choice / 3) + 1), whole);
    if let Ok(whole) = whole {
        let read =
            DataSet::parse(&whole, Layout::ExplicitLe, None).expect("what was written can be followed");
        assert!(read.data_set.string(tags::PATIENT_NAME).is_none());
    }
}

fn deidentify(syntax: &'static str, source: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let head = Head {
        sop_class: Uid::from_static("1.2"),
        sop_instance: Uid::from_static("1.2"),
        transfer_syntax: Uid::from_static(syntax),
    };
    let mut deidentifier = Deidentifier::new(&head, &Key::from_secret(b"fuzz"));
    let mut out = Vec::new();
    for piece in source.chunks(size) {
        deidentifier.push(Bytes::copy_from_slice(piece))?;
        while let Some(piece) = deidentifier.pop()? {
            out.extend_from_slice(&piece);
        }
    }
    out.extend(deidentifier.finish()?.concat());
    Ok(out)
}

fn reencode(from: Layout, source: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let mut reencoder = Reencoder::new(from);
    let mut out = Vec::new();
    for piece in source.chunks(size) {
        out.extend(reencoder.push(Bytes::copy_from_slice(piece))?.concat());
    }
    out.extend(reencoder.finish()?.concat());
    Ok(out)
}
