//! The object that is to be stored: its bytes as they come, checked before they go on where they are to be, and
//! its beginning kept for a second attempt.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::timeout;

use super::broken::{Broken, PATIENCE};
use super::check::Check;
use crate::dicom::object::{BrokenObject, Cursor};

/// How much of an object is kept, so that it can be sent again where an association turns out to have died while
/// it was idle: most images whole. The loss of an association shows within a round trip.
const MAX_KEPT: usize = 1 << 20;
/// Most pieces that are kept: each keeps the block alive that it lies in.
const MAX_KEPT_PIECES: usize = 256;

/// The object's data set.
#[derive(Debug)]
pub(super) struct Source {
    cursor: Cursor,
    /// The walk along it; `None`: it is passed on as it is, or the end has come and was a good one.
    check: Option<Check>,
    /// Taken from the cursor, and perhaps not walked over to its end: who waits for it may leave meanwhile.
    taken: Option<Bytes>,
    /// What was read ahead, or is to be sent again.
    ahead: VecDeque<Bytes>,
    /// The beginning, as far as it was given out; `None` when that is too much by now.
    kept: Option<Vec<Bytes>>,
    kept_length: usize,
}

impl Source {
    pub(super) fn new(cursor: Cursor, check: Option<Check>) -> Self {
        Self { cursor, check, taken: None, ahead: VecDeque::new(), kept: Some(Vec::new()), kept_length: 0 }
    }

    /// Waits for the first bytes, so that no association is held for an object that does not come, or that is
    /// seen at once not to be what it should be.
    pub(super) async fn begin(&mut self) -> Result<(), Broken> {
        let first = timeout(PATIENCE, self.read()).await.map_err(|_| Broken::Stalled)??;
        self.ahead.push_back(first.ok_or(Broken::Empty)?);
        Ok(())
    }

    /// The next bytes, which are known to be well-formed where there is a check; `None`: the object is whole.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let piece = match self.ahead.pop_front() {
            Some(piece) => Some(piece),
            None => self.read().await?,
        };
        if let (Some(kept), Some(piece)) = (&mut self.kept, &piece) {
            self.kept_length += piece.len();
            kept.push(piece.clone());
            if self.kept_length > MAX_KEPT || kept.len() > MAX_KEPT_PIECES {
                self.kept = None;
            }
        }
        Ok(piece)
    }

    /// Goes back to the beginning. `false`: too much was given out.
    pub(super) fn rewind(&mut self) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        kept.drain(..).rev().for_each(|piece| self.ahead.push_front(piece));
        self.kept_length = 0;
        true
    }

    /// Gives up the beginning: there will be no second attempt.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        let mut fresh = Bytes::new();
        while self.taken.is_none() {
            match self.cursor.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    fresh = piece.clone();
                    self.taken = Some(piece);
                }
                Some(Err(BrokenObject)) => return Err(Broken::BrokeOff),
                None => {
                    self.check.take().map_or(Ok(()), Check::finish)?;
                    return Ok(None);
                }
            }
        }
        if let Some(check) = &mut self.check {
            // Of what was taken by a call that was dropped, the check has the bytes already.
            check.push(fresh).await?;
        }
        Ok(self.taken.take())
    }
}
