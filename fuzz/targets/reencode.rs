//! Re-encoding: no panic, the size of the pieces changes nothing, and the result can be followed.

use bytes::Bytes;
use gantry::dicom::reencode::Reencoder;
use gantry::dicom::scan::{Error, Scanner};
use gantry::dicom::transfer_syntax::Layout;

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
