//! Where pictures are made: of so many objects at once, by the workers that all requests share.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::draw::NotDrawn;
use crate::front::http::workers::Workers;

/// How many objects are read for pictures at the same time, for each processor: each waits for its archive longer than
/// for its picture.
const READERS: usize = 16;

/// How many objects at a time may have more before their pixels than [`SMALL_HEAD`], up to
/// [`MAX_HEAD`](crate::image::render::head::MAX_HEAD) each.
const LARGE_HEADS: usize = 4;
/// What each object may have before its pixels, in bytes: all that images without overlays and colour tables have.
pub(super) const SMALL_HEAD: usize = 1 << 20;

/// As much memory as the workers have, in bytes.
const ALL_MEMORY: u64 = 1 << 30;

/// What pictures share. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::front::http) struct Workshop {
    readers: Arc<Semaphore>,
    large_heads: Arc<Semaphore>,
    workers: Workers,
}

impl Workshop {
    /// One with these workers.
    pub(in crate::front::http) fn new(workers: Workers) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let readers = Arc::new(Semaphore::new(processors * READERS));
        Self { readers, large_heads: Arc::new(Semaphore::new(LARGE_HEADS)), workers }
    }

    /// A place for an object that is read. Waits for its turn.
    pub(super) async fn reader(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.readers).acquire_owned().await.expect("it is never closed")
    }

    /// A place for an object with more than [`SMALL_HEAD`] before its pixels. Waits for its turn; who has one waits for no
    /// other.
    pub(super) async fn large_head(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.large_heads).acquire_owned().await.expect("it is never closed")
    }

    /// Memory for so many bytes, and for what a codec takes besides; all there is, where the codec takes more. Waits for its
    /// turn.
    ///
    /// # Errors
    /// There is not as much, or others have it for too long.
    pub(super) async fn memory(&self, bytes: u64, codec: u64) -> Result<OwnedSemaphorePermit, NotDrawn> {
        let bytes = bytes.saturating_add(codec).min(ALL_MEMORY.max(bytes));
        self.workers.memory(bytes).await?.ok_or(NotDrawn::TooLarge)
    }

    /// Runs what keeps a processor busy, when one is free.
    ///
    /// # Errors
    /// It panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDrawn> {
        Ok(self.workers.run(work).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::http::workers::Lost;

    #[tokio::test(start_paused = true)]
    async fn a_picture_waits_for_memory_for_a_minute_and_for_more_than_there_is_not_at_all() {
        let workshop = Workshop::new(Workers::default());
        assert!(matches!(workshop.memory(ALL_MEMORY + 1, 0).await, Err(NotDrawn::TooLarge)));
        let all = workshop.memory(1 << 20, u64::MAX).await.unwrap();
        assert!(matches!(workshop.memory(1, 0).await, Err(NotDrawn::Lost(Lost::NoMemory))));
        drop(all);
        assert!(workshop.memory(1, 0).await.is_ok());
    }
}
