//! The bytes that were pushed and not yet walked over.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::ErrorKind;
use super::inflate::Inflater;

/// Longest run of bytes, in bytes, that the walk looks at before it takes any: a header and the tag behind it.
const LOOK_AHEAD: usize = 16;

/// Pieces in their order. Holds little more than a header between two pushes, besides what is deflated.
#[derive(Debug, Default)]
pub(super) struct Input {
    front: Bytes,
    rest: VecDeque<Bytes>,
    length: usize,
    inflater: Option<Box<Inflater>>,
}

impl Input {
    /// For bytes that are deflated.
    pub(super) fn deflated() -> Self {
        Self { inflater: Some(Box::default()), ..Self::default() }
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        match &mut self.inflater {
            Some(inflater) => inflater.push(piece),
            None => self.append(piece),
        }
    }

    /// Inflates as much as the next step needs.
    #[inline]
    pub(super) fn fill(&mut self) -> Result<(), ErrorKind> {
        if self.inflater.is_some() && self.length < LOOK_AHEAD {
            return self.inflate();
        }
        Ok(())
    }

    fn inflate(&mut self) -> Result<(), ErrorKind> {
        while self.length < LOOK_AHEAD
            && let Some(inflater) = &mut self.inflater
            && let Some(piece) = inflater.next()?
        {
            self.append(piece);
        }
        Ok(())
    }

    fn append(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.length += piece.len();
        if self.front.is_empty() {
            self.front = piece;
        } else {
            self.rest.push_back(piece);
        }
    }

    /// Whether nothing is left over, and nothing is missing of what is deflated.
    pub(super) fn is_at_end(&self) -> bool {
        self.length == 0 && self.inflater.as_ref().is_none_or(|inflater| inflater.has_ended())
    }

    /// How many bytes can be taken.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The next `N` bytes, which stay; `None` when there are not enough yet.
    #[inline]
    pub(super) fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if let Some(bytes) = self.front.first_chunk::<N>() {
            return Some(*bytes);
        }
        self.peek_pieces()
    }

    /// The same across pieces, which is rare.
    #[cold]
    fn peek_pieces<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy_front(&mut bytes).then_some(bytes)
    }

    /// The next `length` bytes, which stay, where they are in one piece.
    #[inline]
    pub(super) fn front(&self, length: usize) -> Option<&[u8]> {
        self.front.get(..length)
    }

    /// Fills `out` with the next bytes, which stay; `false` when there are not enough yet.
    pub(super) fn copy_front(&self, out: &mut [u8]) -> bool {
        if self.length < out.len() {
            return false;
        }
        let mut filled = 0;
        for piece in std::iter::once(&self.front).chain(&self.rest) {
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
    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        self.length -= count;
        if count < self.front.len() {
            self.front.advance(count);
        } else {
            self.advance_pieces(count - self.front.len());
        }
    }

    /// Drops the front, and `count` bytes behind it.
    #[cold]
    fn advance_pieces(&mut self, mut count: usize) {
        self.front = self.rest.pop_front().unwrap_or_default();
        while count > 0 && count >= self.front.len() {
            count -= self.front.len();
            self.front = self.rest.pop_front().unwrap_or_default();
        }
        self.front.advance(count);
    }

    /// Takes the next bytes as they were pushed, at most `wanted` of them, which is not zero.
    pub(super) fn take(&mut self, wanted: usize) -> Option<Bytes> {
        if self.length == 0 {
            return None;
        }
        let piece = if self.front.len() <= wanted {
            let next = self.rest.pop_front().unwrap_or_default();
            std::mem::replace(&mut self.front, next)
        } else {
            self.front.split_to(wanted)
        };
        self.length -= piece.len();
        Some(piece)
    }
}
