//! Where images are decoded, encoded and rendered: on threads of their own, so many at a time as there are processors and
//! as fit into the memory that there is for it.
//!
//! Work that has begun comes to its end, whoever still waits for it, and holds its place until then: clients that come
//! and go do not pile work up.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::task::AbortOnDropHandle;

/// Memory of all work that is under way, in KiB: of some ten of the largest mammograms, or of hundreds of slices.
const MEMORY: u32 = 1 << 20;

/// The workers that all requests share. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    processors: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// A piece of work did not come to its end: its thread panicked, or the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work on an image ended in the middle, which is a defect of this bridge; its log has more")]
pub(super) struct Lost;

/// Work that was given to the workers. Dropped before it has begun, it is not done at all.
pub(super) type Job<T> = AbortOnDropHandle<Result<T, Lost>>;

impl Default for Workers {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self {
            processors: Arc::new(Semaphore::new(processors)),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
        }
    }
}

impl Workers {
    /// Memory for so many bytes, all of it at once, so that nobody who has a part waits for the rest. Waits for its turn;
    /// `None`: there is not as much.
    pub(super) async fn memory(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok().filter(|&kib| kib <= MEMORY)?;
        Some(acquired(&self.memory, kib).await)
    }

    /// Runs what keeps a processor busy, when one is free. What has begun runs to its end, whoever waits for it.
    ///
    /// # Errors
    /// It panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let place = acquired(&self.processors, 1).await;
        let work = move || {
            let _place = place;
            work()
        };
        spawn_blocking(work).await.map_err(|_: JoinError| Lost)
    }

    /// Gives out work that takes about so many bytes of memory; all there is, where it takes more. What is given out first
    /// begins first.
    pub(super) fn start<T: Send + 'static>(
        &self,
        memory: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Job<T> {
        let workers = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let most = u64::from(MEMORY) << 10;
            let memory = workers.memory(u64::try_from(memory).unwrap_or(most).min(most)).await;
            let work = || {
                let _memory = memory;
                work()
            };
            workers.run(work).await
        }))
    }
}

async fn acquired(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_many_owned(count).await.expect("it is never closed")
}

/// What has become of a job.
pub(super) fn done<T>(joined: Result<Result<T, Lost>, JoinError>) -> Result<T, Lost> {
    joined.unwrap_or(Err(Lost))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_is_done_at_once_than_there_is_memory_for() {
        let workers = Workers { processors: Arc::new(Semaphore::new(8)), ..Workers::default() };
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                workers.start(400 << 20, move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for job in jobs {
            assert_eq!(done(job.await), Ok(()));
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(done(workers.start(usize::MAX, || 7).await), Ok(7), "alone, however much it wants");
    }

    #[tokio::test]
    async fn memory_is_bounded_and_more_than_there_is_is_refused() {
        let workers = Workers::default();
        let all = workers.memory(u64::from(MEMORY) << 10).await.unwrap();
        assert!(workers.memory((u64::from(MEMORY) << 10) + 1).await.is_none());
        let mut next = Box::pin(workers.memory(1));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(all);
        assert!(next.await.is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_is_lost_and_work_that_nobody_waits_for_holds_its_place() {
        let workers = Workers { processors: Arc::new(Semaphore::new(1)), ..Workers::default() };
        let panicking = workers.start(1, || assert!(std::hint::black_box(false), "planted"));
        assert_eq!(done(panicking.await), Err(Lost));
        let (begun, wait_for_begin) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let left = workers.start(1, move || {
            let _ = begun.send(());
            let _ = wait.recv();
        });
        tokio::task::block_in_place(|| wait_for_begin.recv()).unwrap();
        drop(left);
        let mut next = workers.start(1, || 1);
        tokio::task::yield_now().await;
        assert_eq!(workers.processors.available_permits(), 0);
        assert!(!next.is_finished());
        go.send(()).unwrap();
        assert_eq!(done((&mut next).await), Ok(1));
    }
}
