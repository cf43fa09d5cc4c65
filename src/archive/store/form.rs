//! The form in which an object goes to the archive: as it is, or re-encoded among the native transfer syntaxes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::source::Broken;
use crate::dicom::Uid;
use crate::dicom::reencode::Reencoder;
use crate::dicom::scan::Inflater;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, layout};

/// Turns the bytes of one object into the form that was agreed on. Pieces go in one by one, and what they become
/// is taken out before the next.
#[derive(Debug)]
pub(super) struct Form {
    inflater: Option<Inflater>,
    reencoder: Option<Reencoder>,
    ready: VecDeque<Bytes>,
}

impl Form {
    /// From the transfer syntax `from` to `to`, which is the same, or Explicit or Implicit VR Little Endian.
    pub(super) fn new(from: &Uid, to: &Uid) -> Self {
        let inflates = from != to && from.as_str() == DEFLATED_EXPLICIT_VR_LE;
        let reencoder = match to.as_str() {
            _ if from == to => None,
            EXPLICIT_VR_LE if inflates => None,
            IMPLICIT_VR_LE => Some(Reencoder::to_implicit(layout(from))),
            _ => Some(Reencoder::new(layout(from))),
        };
        Self { inflater: inflates.then(Inflater::default), reencoder, ready: VecDeque::new() }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Broken> {
        match &mut self.inflater {
            Some(inflater) => {
                inflater.push(piece);
                Ok(())
            }
            None => self.reencode(piece),
        }
    }

    /// The next piece of the result; `None`: more is wanted.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(inflater) = &mut self.inflater else { return Ok(None) };
            let Some(inflated) = inflater.next().map_err(Broken::Deflation)? else { return Ok(None) };
            self.reencode(inflated)?;
        }
    }

    /// No more comes; the rest of the result.
    pub(super) fn finish(self) -> Result<Vec<Bytes>, Broken> {
        Ok(self.reencoder.map_or(Ok(Vec::new()), Reencoder::finish)?)
    }

    fn reencode(&mut self, piece: Bytes) -> Result<(), Broken> {
        match &mut self.reencoder {
            Some(reencoder) => self.ready.extend(reencoder.push(piece)?),
            None => self.ready.push_back(piece),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::store::tests::deflate;
    use crate::dicom::transfer_syntax::EXPLICIT_VR_BE;

    const LITTLE: &[u8] = b"\x08\x00\x60\x00CS\x02\0CT\x28\x00\x10\x00US\x02\0\x34\x12";
    const BIG: &[u8] = b"\x00\x08\x00\x60CS\0\x02CT\x00\x28\x00\x10US\0\x02\x12\x34";
    const IMPLICIT: &[u8] = b"\x08\x00\x60\x00\x02\0\0\0CT\x28\x00\x10\x00\x02\0\0\0\x34\x12";

    #[test]
    fn every_native_form_becomes_every_other() {
        let forms = [
            (EXPLICIT_VR_LE, Bytes::from_static(LITTLE)),
            (EXPLICIT_VR_BE, Bytes::from_static(BIG)),
            (IMPLICIT_VR_LE, Bytes::from_static(IMPLICIT)),
            (DEFLATED_EXPLICIT_VR_LE, deflate(LITTLE)),
        ];
        for (from, bytes) in &forms {
            for (to, wanted) in [&forms[0], &forms[2]] {
                let mut form = Form::new(&Uid::from_static(from), &Uid::from_static(to));
                let mut out = Vec::new();
                for piece in bytes.chunks(5) {
                    form.push(Bytes::copy_from_slice(piece)).unwrap();
                    while let Some(piece) = form.next().unwrap() {
                        out.extend_from_slice(&piece);
                    }
                }
                out.extend(form.finish().unwrap().concat());
                assert_eq!(out, wanted[..], "{from} to {to}");
            }
        }
    }
}
