//! Deflated data sets, inflated in steps, so that what a few bytes swell to is never in memory at once (PS3.5 A.5).

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

/// How much is inflated in one step, in bytes.
const STEP: usize = 64 << 10;
/// Most bytes that a data set is inflated to. Deflated objects are segmentations and reports of some hundred megabytes;
/// a bomb costs time, not memory, and this bounds it to some seconds.
const MAX_INFLATED: u64 = 4 << 30;

/// An inflation in progress.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    input: Bytes,
    ended: bool,
}

/// The bytes are no deflated data set, or far too long a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDeflated;

impl Inflate {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), input: Bytes::new(), ended: false }
    }

    /// Takes the next deflated bytes, when [`Self::next`] has told that it wants more.
    pub(super) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = bytes;
    }

    /// The next inflated bytes, 64 KiB at most; `None`: more are wanted, or the end is reached.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, NotDeflated> {
        if self.ended {
            // The byte that makes the length even (PS3.5 A.5).
            self.input.clear();
            return Ok(None);
        }
        let mut out = Vec::with_capacity(STEP);
        let before = self.stream.total_in();
        let status = self.stream.decompress_vec(&self.input, &mut out, FlushDecompress::None);
        let read = self.stream.total_in() - before;
        self.input.advance(usize::try_from(read).map_err(|_| NotDeflated)?);
        self.ended = status.map_err(|_| NotDeflated)? == Status::StreamEnd;
        let stuck = out.is_empty() && !self.input.is_empty() && !self.ended;
        if stuck || self.stream.total_out() > MAX_INFLATED {
            return Err(NotDeflated);
        }
        if self.ended {
            self.input.clear();
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }

    /// Whether the last inflated byte was given out.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
pub(super) fn deflate(bytes: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(deflated: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut inflate = Inflate::new();
        let mut out = Vec::new();
        for piece in deflated.chunks(size) {
            inflate.push(Bytes::copy_from_slice(piece));
            while let Some(bytes) = inflate.next().unwrap() {
                assert!(bytes.len() <= STEP);
                out.extend_from_slice(&bytes);
            }
        }
        (out, inflate.has_ended())
    }

    #[test]
    fn it_inflates_in_steps_and_passes_over_the_padding() {
        let plain: Vec<u8> = (0..300_000_u32).map(|n| (n / 1000) as u8).collect();
        let padded = [&deflate(&plain)[..], &[0]].concat();
        for size in [1, 100, usize::MAX] {
            assert_eq!(inflated(&padded, size), (plain.clone(), true));
        }
        assert!(!inflated(&padded[..padded.len() / 2], 100).1);
    }

    #[test]
    fn garbage_is_an_error() {
        let mut inflate = Inflate::new();
        inflate.push(Bytes::from_static(&[0xFF; 40]));
        assert_eq!(inflate.next(), Err(NotDeflated));
    }
}
