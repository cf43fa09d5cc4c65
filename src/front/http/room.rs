//! The memory that answers share while the bridge holds them: frames that are put in another order, values whose length
//! is not known yet, and what waits for its validator.
//!
//! A bound for each request bounds nothing: any number of clients may ask, and then read nothing. What finds no room
//! streams as it comes where it can; where it cannot, the client is told to come back.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes that all answers together are held with.
pub(super) const MAX_HELD_BY_ALL: usize = 64 << 20;
/// How much of it stays free of what might as well stream.
const FOR_WHAT_CANNOT_STREAM: usize = 32 << 20;

/// The shared memory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// The memory is used up by other answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// A piece of an answer, with its place in the shared memory until it is handed on.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HELD_BY_ALL)))
    }
}

impl Room {
    /// Holds a piece of an answer that cannot stream. It does not wait: answers that each hold a part and wait for the
    /// rest would wait for each other.
    pub(super) fn hold(&self, bytes: Bytes) -> Result<Held, Full> {
        let count = u32::try_from(bytes.len()).map_err(|_| Full)?;
        let place = Arc::clone(&self.0).try_acquire_many_owned(count).map_err(|_| Full)?;
        Ok(Held { bytes, _place: Some(place) })
    }

    /// Holds a piece of an answer that might as well stream; where there is no room, gives it back.
    pub(super) fn hold_for_comfort(&self, bytes: Bytes) -> Result<Held, Bytes> {
        // Between the look and the taking others may take theirs: this part of the bound is a soft one.
        if self.0.available_permits() < FOR_WHAT_CANNOT_STREAM + bytes.len() {
            return Err(bytes);
        }
        self.hold(bytes.clone()).map_err(|Full| bytes)
    }
}

impl Held {
    /// A piece that is on its way out, and has no place.
    pub(super) fn passing(bytes: Bytes) -> Self {
        Self { bytes, _place: None }
    }

    /// What is held.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Leaves this range of it. Its place stays as it was: the memory does, too.
    pub(super) fn cut(&mut self, range: Range<usize>) {
        self.bytes = self.bytes.slice(range);
    }

    /// Hands it on, and gives its place back.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_held_never_exceeds_the_bound_and_gives_its_place_back() {
        let room = Room::default();
        let piece = Bytes::from(vec![0; MIB]);
        let held: Vec<Held> = (0..100).map_while(|_| room.hold(piece.clone()).ok()).collect();
        assert_eq!(held.len(), MAX_HELD_BY_ALL / MIB);
        assert_eq!(room.hold(Bytes::from_static(b"x")).err(), Some(Full));
        held.into_iter().for_each(|held| drop(held.into_bytes()));
        assert!(room.hold(piece).is_ok());
    }

    #[test]
    fn comfort_leaves_room_for_what_cannot_stream() {
        let room = Room::default();
        let piece = Bytes::from(vec![0; MIB]);
        let comfort: Vec<Held> = (0..100).map_while(|_| room.hold_for_comfort(piece.clone()).ok()).collect();
        assert_eq!(comfort.len(), (MAX_HELD_BY_ALL - FOR_WHAT_CANNOT_STREAM) / MIB);
        let needed: Vec<Held> = (0..100).map_while(|_| room.hold(piece.clone()).ok()).collect();
        assert_eq!(needed.len(), FOR_WHAT_CANNOT_STREAM / MIB);
    }
}
