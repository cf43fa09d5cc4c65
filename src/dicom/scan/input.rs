//! The bytes that were pushed and not yet walked over.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Pieces in their order. Holds little more than a header between two pushes.
#[derive(Debug, Default)]
pub(super) struct Input {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Input {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The next `N` bytes, which stay; `None` when there are not enough yet.
    pub(super) fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy_front(&mut bytes).then_some(bytes)
    }

    /// Fills `out` with the next bytes, which stay; `false` when there are not enough yet.
    pub(super) fn copy_front(&self, out: &mut [u8]) -> bool {
        if self.length < out.len() {
            return false;
        }
        let mut filled = 0;
        for piece in &self.pieces {
            let taken = piece.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&piece[..taken]);
            filled += taken;
            if filled == out.len() {
                break;
            }
        }
        true
    }

    /// Drops the next `count` bytes, which are there.
    pub(super) fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(front) = self.pieces.front_mut()
            && count > 0
        {
            let taken = count.min(front.len());
            front.advance(taken);
            count -= taken;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// Takes the next bytes as they were pushed, at most `wanted` of them, which is not zero.
    pub(super) fn take(&mut self, wanted: usize) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        let piece = if front.len() <= wanted { self.pieces.pop_front()? } else { front.split_to(wanted) };
        self.length -= piece.len();
        Some(piece)
    }
}
