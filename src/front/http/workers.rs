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

/// Memory of all work that is under way, in MiB. Most images take a few; a piece of work that wants more than all has it
/// to itself.
const MEMORY: u32 = 1024;

/// The workers that all requests share. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    places: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(processors)),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
        }
    }
}

impl Workers {
    /// Gives out work that takes about so many bytes of memory. What is given out first begins first.
    pub(super) fn start<T: Send + 'static>(
        &self,
        memory: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Job<T> {
        let workers = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let place = workers.place(memory).await.ok_or(Lost)?;
            let work = spawn_blocking(move || {
                let _place = place;
                work()
            });
            work.await.map_err(|_: JoinError| Lost)
        }))
    }

    async fn place(&self, memory: usize) -> Option<[OwnedSemaphorePermit; 2]> {
        let share = u32::try_from(memory >> 20).unwrap_or(MEMORY).clamp(1, MEMORY);
        let memory = Arc::clone(&self.memory).acquire_many_owned(share).await.ok()?;
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some([memory, place])
    }
}

/// What has become of a job.
pub(super) fn done<T>(joined: Result<Result<T, Lost>, JoinError>) -> Result<T, Lost> {
    joined.unwrap_or(Err(Lost))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_is_done_at_once_than_there_is_memory_for() {
        let workers = Workers { places: Arc::new(Semaphore::new(8)), ..Workers::default() };
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                workers.start(500 << 20, move || {
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

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_is_lost_and_work_that_nobody_waits_for_holds_its_place() {
        let workers = Workers { places: Arc::new(Semaphore::new(1)), ..Workers::default() };
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
        assert_eq!(workers.places.available_permits(), 0);
        assert!(!next.is_finished());
        go.send(()).unwrap();
        assert_eq!(done((&mut next).await), Ok(1));
    }
}
