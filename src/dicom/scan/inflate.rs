//! Deflated data sets, inflated as far as the walk has come (PS3.5 A.5).

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use super::{ErrorKind, MAX_INFLATED};

/// Most bytes that are inflated at once. A bomb costs time then, but no memory.
const PIECE: usize = 64 << 10;

/// Fewest bytes that room is made for.
const SMALLEST_PIECE: usize = 1 << 10;

/// How many times their length deflated bytes hardly exceed in ordinary data sets: how much room a short piece
/// gets, not a bound.
const USUAL_RATIO: usize = 8;

/// A deflated stream on its way: inflated in steps, so that what a few bytes swell to is never in memory at once.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    deflated: VecDeque<Bytes>,
    ended: bool,
    /// Most bytes that come out.
    limit: u64,
    /// The last piece had no room for more.
    is_full: bool,
    /// What was inflated so far is all that can be.
    is_damaged: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        // Without the header and the checksum of zlib.
        Self {
            decompress: Decompress::new(false),
            deflated: VecDeque::new(),
            ended: false,
            limit: MAX_INFLATED,
            is_full: false,
            is_damaged: false,
        }
    }
}

impl Inflater {
    /// Takes the next deflated bytes.
    pub fn push(&mut self, piece: Bytes) {
        // Behind the end of the stream there may be padding to an even length.
        if !self.ended && !piece.is_empty() {
            self.deflated.push_back(piece);
        }
    }

    /// The next bytes, 64 KiB at most; `None`: more deflated ones are needed, or it is the end.
    ///
    /// # Errors
    /// What was pushed is not deflated, or inflates to more than [`MAX_INFLATED`] bytes.
    #[expect(clippy::should_implement_trait, reason = "None is not the end, so this is no iterator")]
    pub fn next(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        if self.is_damaged {
            return Err(ErrorKind::NotDeflated);
        }
        let mut out = Vec::new();
        // What did not fit the last time may still be inside, though all deflated bytes were taken.
        while !self.ended && (self.is_full || !self.deflated.is_empty()) {
            let front = self.deflated.front().map_or(&[][..], |front| front);
            if out.capacity() == 0 {
                out.reserve_exact((front.len() * USUAL_RATIO).clamp(SMALLEST_PIECE, PIECE));
            }
            let (begun, filled) = (self.decompress.total_in(), out.len());
            let status = self.decompress.decompress_vec(front, &mut out, FlushDecompress::None);
            let taken = usize::try_from(self.decompress.total_in() - begun).unwrap_or(front.len());
            self.ended = matches!(status, Ok(Status::StreamEnd));
            self.is_full = out.len() == out.capacity();
            let is_stuck = !front.is_empty() && taken == 0 && out.len() == filled;
            if status.is_err() || (is_stuck && !self.ended && !self.is_full) {
                self.is_damaged = true;
                break;
            }
            self.take(taken);
            if self.is_full {
                break;
            }
        }
        if self.ended {
            self.deflated.clear();
        }
        if self.decompress.total_out() > self.limit {
            return Err(ErrorKind::TooLarge);
        }
        match self.is_damaged && out.is_empty() {
            true => Err(ErrorKind::NotDeflated),
            false => Ok((!out.is_empty()).then(|| out.into())),
        }
    }

    fn take(&mut self, count: usize) {
        if let Some(front) = self.deflated.front_mut() {
            front.advance(count);
            if front.is_empty() {
                self.deflated.pop_front();
            }
        }
    }

    /// Whether the end of the stream has come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::scan::tests::deflated;

    #[test]
    fn hazard_a_bomb_comes_out_in_pieces_and_not_without_end() {
        let bomb = deflated(&vec![0; 8 << 20]);
        assert!(bomb.len() < 9 << 10);
        let mut inflater = Inflater { limit: 4 << 20, ..Inflater::default() };
        inflater.push(bomb.into());
        let mut total = 0;
        let end = loop {
            match inflater.next() {
                Ok(Some(piece)) => {
                    assert!(piece.len() <= PIECE);
                    total += piece.len();
                }
                end => break end,
            }
        };
        assert_eq!(end, Err(ErrorKind::TooLarge));
        assert!(total <= 4 << 20, "{total}");
    }

    #[test]
    fn what_fills_a_piece_to_the_last_byte_leaves_nothing_behind() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let plain: Vec<u8> = (0..length).map(|i| ((i * i) >> 7) as u8).collect();
            let mut inflater = Inflater::default();
            inflater.push(deflated(&plain).into());
            let mut out = Vec::new();
            while let Some(piece) = inflater.next().unwrap() {
                out.extend_from_slice(&piece);
            }
            assert!(inflater.has_ended());
            assert!(out == plain, "{length}");
        }
    }
}
