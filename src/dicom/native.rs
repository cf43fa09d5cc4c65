//! A data set that is turned, piece by piece, from one native transfer syntax into another.

use std::collections::VecDeque;

use bytes::Bytes;

use super::scan;
use crate::dicom::Uid;
use crate::dicom::reencode::Reencoder;
use crate::dicom::scan::Inflater;
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, is_native, layout,
};

/// The data set cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its elements.
    #[error("{0}")]
    Structure(#[from] scan::Error),
    /// Its deflation.
    #[error("{0}")]
    Deflation(scan::ErrorKind),
}

/// Whether [`Native`] makes one transfer syntax of the other.
pub fn can_become(from: &Uid, to: &Uid) -> bool {
    let is_followed = is_native(from) || from.as_str() == DEFLATED_EXPLICIT_VR_LE;
    from == to || is_followed && matches!(to.as_str(), EXPLICIT_VR_LE | IMPLICIT_VR_LE)
}

/// Longest data set that [`whole`] makes, in bytes: a deflated one has no other bound, and there is no reason to deflate a
/// short one but to fill memory.
pub const MAX_WHOLE: usize = 16 << 20;

/// A data set at hand cannot be had in another transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReencoded {
    /// It cannot be followed.
    #[error("{0}")]
    Unreadable(#[from] Error),
    /// It would be longer than what is held in memory.
    #[error("it is too long")]
    TooLong,
}

/// A data set that is at hand, in another transfer syntax that it [can become](can_become).
///
/// # Errors
/// It cannot be followed, or would be longer than 16 MiB.
pub fn whole(data: Bytes, from: &Uid, to: &Uid) -> Result<Bytes, NotReencoded> {
    let mut native = Native::new(from, to);
    native.push(data)?;
    let mut out = Vec::new();
    while let Some(piece) = native.pop()? {
        if out.len() + piece.len() > MAX_WHOLE {
            return Err(NotReencoded::TooLong);
        }
        out.extend_from_slice(&piece);
    }
    out.extend(native.finish()?.concat());
    Ok(out.into())
}

/// Turns the bytes of one object into the form that was agreed on. Pieces go in one by one, and what they become
/// is taken out before the next.
#[derive(Debug)]
pub struct Native {
    inflater: Option<Inflater>,
    reencoder: Option<Reencoder>,
    ready: VecDeque<Bytes>,
}

impl Native {
    /// From the transfer syntax `from` to `to`, which is the same, or Explicit or Implicit VR Little Endian.
    pub fn new(from: &Uid, to: &Uid) -> Self {
        let inflates = from != to && from.as_str() == DEFLATED_EXPLICIT_VR_LE;
        let reencoder = match to.as_str() {
            _ if from == to => None,
            EXPLICIT_VR_LE if inflates => None,
            IMPLICIT_VR_LE => Some(Reencoder::to_implicit(layout(from))),
            _ => Some(Reencoder::new(layout(from))),
        };
        Self { inflater: inflates.then(Inflater::default), reencoder, ready: VecDeque::new() }
    }

    /// One that nothing more goes through.
    pub(crate) fn ended() -> Self {
        Self { inflater: None, reencoder: None, ready: VecDeque::new() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The data set cannot be followed.
    pub fn push(&mut self, piece: Bytes) -> Result<(), Error> {
        match &mut self.inflater {
            Some(inflater) => {
                inflater.push(piece);
                Ok(())
            }
            None => self.reencode(piece),
        }
    }

    /// The next piece of the result; `None`: more is wanted.
    ///
    /// # Errors
    /// The data set cannot be followed.
    pub fn pop(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(inflater) = &mut self.inflater else { return Ok(None) };
            let Some(inflated) = inflater.next().map_err(Error::Deflation)? else { return Ok(None) };
            self.reencode(inflated)?;
        }
    }

    /// No more comes; the rest of the result.
    ///
    /// # Errors
    /// The data set ends in the middle.
    pub fn finish(self) -> Result<Vec<Bytes>, Error> {
        Ok(self.reencoder.map_or(Ok(Vec::new()), Reencoder::finish)?)
    }

    fn reencode(&mut self, piece: Bytes) -> Result<(), Error> {
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
    use crate::dicom::scan::tests::deflated;
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
            (DEFLATED_EXPLICIT_VR_LE, deflated(LITTLE).into()),
        ];
        for (from, bytes) in &forms {
            for (to, wanted) in [&forms[0], &forms[2]] {
                let mut form = Native::new(&Uid::from_static(from), &Uid::from_static(to));
                let mut out = Vec::new();
                for piece in bytes.chunks(5) {
                    form.push(Bytes::copy_from_slice(piece)).unwrap();
                    while let Some(piece) = form.pop().unwrap() {
                        out.extend_from_slice(&piece);
                    }
                }
                out.extend(form.finish().unwrap().concat());
                assert_eq!(out, wanted[..], "{from} to {to}");
            }
        }
    }
}
