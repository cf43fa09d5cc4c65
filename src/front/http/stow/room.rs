//! The memory that the metadata of all requests share, while it comes and while it is taken apart.
//!
//! A document's bound alone bounds nothing: any number of clients may send one each, and leave it unfinished.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes of metadata that all requests together hold: two documents of the longest kind, or those of more
/// clients than ever come at a time.
const MAX_BYTES: usize = 128 << 20;
/// Most requests whose metadata are taken apart and stored at a time. Taken apart, a document needs some times
/// its length; further requests wait.
const MAX_OPENED: usize = 4;

/// The shared memory.
#[derive(Debug, Clone)]
pub(in super::super) struct Room {
    bytes: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

/// The memory is used up by other requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Room,
    held: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: Arc::new(Semaphore::new(MAX_BYTES)), opened: Arc::new(Semaphore::new(MAX_OPENED)) }
    }
}

impl Room {
    /// The share of one request, which is nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { room: self.clone(), held: None }
    }
}

impl Share {
    /// Takes room for so many more bytes. It does not wait: requests that each hold a part and wait for the rest
    /// would wait for each other.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let count = u32::try_from(bytes).map_err(|_| Full)?;
        let permit = Arc::clone(&self.room.bytes).try_acquire_many_owned(count).map_err(|_| Full)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }

    /// Waits until the metadata may be taken apart, as long as what is given back is held.
    pub(super) async fn open(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room.opened).acquire_owned().await.ok()
    }
}
