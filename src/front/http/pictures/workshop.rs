//! Where pictures are made: so many at once as there are processors, with so much memory.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::draw::NotDrawn;

/// Memory of all pictures that are being made, in KiB: of some ten of the largest mammograms, or of hundreds of slices.
const MEMORY: u32 = 1 << 20;
/// How many objects are read for pictures at the same time, for each processor: each waits for its archive longer than
/// for its picture.
const READERS: usize = 16;

/// The processors and the memory that pictures share. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::front::http) struct Workshop {
    readers: Arc<Semaphore>,
    processors: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Default for Workshop {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            readers: Arc::new(Semaphore::new(processors * READERS)),
            processors: Arc::new(Semaphore::new(processors)),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
        }
    }
}

impl Workshop {
    /// A place for an object that is read. Waits for its turn.
    pub(super) async fn reader(&self) -> OwnedSemaphorePermit {
        acquired(&self.readers, 1).await
    }

    /// Memory for so many bytes, all of it at once, so that nobody who has a part waits for the rest. Waits for its turn.
    ///
    /// # Errors
    /// There is not as much.
    pub(super) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, NotDrawn> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok().filter(|&kib| kib <= MEMORY);
        Ok(acquired(&self.memory, kib.ok_or(NotDrawn::TooLarge)?).await)
    }

    /// Runs what keeps a processor busy, when one is free. What has begun runs to its end, whoever waits for it.
    ///
    /// # Errors
    /// It panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDrawn> {
        let place = acquired(&self.processors, 1).await;
        let work = move || {
            let done = work();
            drop(place);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| NotDrawn::Panicked)
    }
}

async fn acquired(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_many_owned(count).await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_the_end_of_one_picture_and_gives_its_place_back() {
        let workshop = Workshop::default();
        for _ in 0..100 {
            let done: Result<(), NotDrawn> = workshop.run(|| panic!("planted")).await;
            assert!(matches!(done, Err(NotDrawn::Panicked)));
        }
        assert_eq!(workshop.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_more_than_there_is_is_refused() {
        let workshop = Workshop::default();
        let all = workshop.memory(u64::from(MEMORY) << 10).await.unwrap();
        assert!(matches!(workshop.memory((u64::from(MEMORY) << 10) + 1).await, Err(NotDrawn::TooLarge)));
        let mut next = Box::pin(workshop.memory(1));
        assert!(
            futures_core::Future::poll(
                next.as_mut(),
                &mut std::task::Context::from_waker(std::task::Waker::noop())
            )
            .is_pending()
        );
        drop(all);
        assert!(next.await.is_ok());
    }
}
