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

/// What pictures share. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::front::http) struct Workshop {
    readers: Arc<Semaphore>,
    workers: Workers,
}

impl Workshop {
    /// One with these workers.
    pub(in crate::front::http) fn new(workers: Workers) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self { readers: Arc::new(Semaphore::new(processors * READERS)), workers }
    }

    /// A place for an object that is read. Waits for its turn.
    pub(super) async fn reader(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.readers).acquire_owned().await.expect("it is never closed")
    }

    /// Memory for so many bytes. Waits for its turn.
    ///
    /// # Errors
    /// There is not as much.
    pub(super) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, NotDrawn> {
        self.workers.memory(bytes).await.ok_or(NotDrawn::TooLarge)
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
