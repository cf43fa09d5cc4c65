//! Bytes that were pushed, taken out by their place in the data set.

use std::collections::VecDeque;

use bytes::Bytes;

/// What was pushed and not taken out yet.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pieces: VecDeque<Bytes>,
    /// Where the first of them stands.
    begin: u64,
}

impl Raw {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.pieces.push_back(piece);
    }

    /// What stands before `position`.
    pub(super) fn take_to(&mut self, position: u64) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while let Some(front) = self.pieces.front_mut() {
            let wanted = position.saturating_sub(self.begin);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(front.len());
            if wanted == 0 {
                break;
            }
            let piece = front.split_to(wanted);
            self.begin += piece.len() as u64;
            taken.push(piece);
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
        taken
    }
}
