//! Where images are decoded, encoded and rendered: on threads of their own, so many at a time as there are processors and
//! as fit into the memory that there is for it.
//!
//! Work that has begun comes to its end, whoever still waits for it, and holds its place until then: clients that come
//! and go do not pile work up. What has become of a frame keeps its memory until it is handed on, so that clients which read
//! nothing do not pile frames up.

use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Memory of all work that is under way and of what came of it, in KiB: of some ten of the largest mammograms, or of hundreds
/// of slices.
const MEMORY: u32 = 1 << 20;
/// Most frames of an answer that are worked on at once.
const MAX_AHEAD: usize = 4;
/// How much memory the frames behind the first may take that are worked on, in bytes.
pub(super) const MAX_MEMORY_AHEAD: usize = 64 << 20;
/// How much of all memory is to be free, in KiB, for work on frames whose turn it is not yet: clients that read slowly then hold one
/// frame each, and not several.
const SPACIOUS: usize = MEMORY as usize / 2;
/// How long a frame or a picture waits for memory. Who holds it reads, or is cut off by then.
const MEMORY_WAIT: Duration = Duration::from_secs(60);

/// The workers that all requests share. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    processors: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// A piece of work did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// Its thread panicked, or the server stops.
    #[error("the work on an image ended in the middle, which is a defect of this bridge; its log has more")]
    Panicked,
    /// Others had the memory for too long.
    #[error("the bridge works on as many images for other clients as it may")]
    NoMemory,
}

/// A frame that was given to the workers. Dropped before the work has begun, it is not done at all.
pub(super) type Job<E> = AbortOnDropHandle<Result<Result<Bytes, E>, Lost>>;

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
    ///
    /// # Errors
    /// Others have it for longer than [`MEMORY_WAIT`].
    pub(super) async fn memory(&self, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Lost> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok().filter(|&kib| kib <= MEMORY);
        let Some(kib) = kib else { return Ok(None) };
        let turn = timeout(MEMORY_WAIT, acquired(&self.memory, kib)).await;
        turn.map(Some).map_err(|_| Lost::NoMemory)
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
        spawn_blocking(work).await.map_err(|_: JoinError| Lost::Panicked)
    }

    /// Gives out work on a frame that takes about so many bytes of memory; all there is, where it takes more. The bytes
    /// that come of it keep as much as they are until they are dropped.
    ///
    /// Memory is given out in the order of these calls. An answer that calls for its frames in order, and waits for the
    /// first of them, so never waits for memory that its own later frames hold.
    pub(super) fn start<E: Send + 'static>(
        &self,
        memory: usize,
        work: impl FnOnce() -> Result<Bytes, E> + Send + 'static,
    ) -> Job<E> {
        let workers = self.clone();
        let most = u64::from(MEMORY) << 10;
        let bytes = u64::try_from(memory).unwrap_or(most).min(most);
        let mut place = Box::pin(async move { workers.memory(bytes).await });
        // This is what queues it.
        let early = place.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let workers = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let memory = match early {
                Poll::Ready(memory) => memory,
                Poll::Pending => place.await,
            }?;
            let work = move || work().map(|bytes| kept(bytes, memory));
            workers.run(work).await
        }))
    }

    /// Whether an answer has to wait for its reader before it gives out more: of so many frames that are under way, with so
    /// many bytes of memory.
    pub(super) fn are_enough(&self, frames: usize, memory: usize) -> bool {
        let most = if self.memory.available_permits() >= SPACIOUS { MAX_AHEAD } else { 1 };
        frames >= most || memory > MAX_MEMORY_AHEAD
    }
}

/// Bytes with the memory that they take until they are dropped; what the work took beside goes back.
pub(super) fn kept(bytes: Bytes, memory: Option<OwnedSemaphorePermit>) -> Bytes {
    let own =
        memory.and_then(|mut memory| memory.split(bytes.len().div_ceil(1024).min(memory.num_permits())));
    Bytes::from_owner(Kept { bytes, _memory: own })
}

struct Kept {
    bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn acquired(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_many_owned(count).await.expect("it is never closed")
}

/// What has become of a job.
pub(super) fn done<T>(joined: Result<Result<T, Lost>, JoinError>) -> Result<T, Lost> {
    joined.unwrap_or(Err(Lost::Panicked))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn nothing() -> Result<Bytes, Infallible> {
        Ok(Bytes::new())
    }

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
                    nothing()
                })
            })
            .collect();
        for job in jobs {
            assert_eq!(done(job.await), Ok(nothing()));
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        let all = workers.start(usize::MAX, nothing);
        assert_eq!(done(all.await), Ok(nothing()), "alone, however much it wants");
    }

    #[tokio::test]
    async fn memory_is_bounded_and_more_than_there_is_is_refused() {
        let workers = Workers::default();
        let all = workers.memory(u64::from(MEMORY) << 10).await.unwrap().unwrap();
        assert!(workers.memory((u64::from(MEMORY) << 10) + 1).await.unwrap().is_none());
        let mut next = Box::pin(workers.memory(1));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(all);
        assert!(next.await.unwrap().is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_made_keeps_its_memory_until_it_is_handed_on() {
        let workers = Workers::default();
        let all = workers.memory.available_permits();
        let job = workers.start(100 << 20, || Ok::<_, Infallible>(vec![7; (3 << 20) + 1].into()));
        let mut bytes = done(job.await).unwrap().unwrap();
        assert_eq!(all - workers.memory.available_permits(), 3 * 1024 + 1);
        assert!(!workers.are_enough(MAX_AHEAD - 1, MAX_MEMORY_AHEAD));
        assert!(workers.are_enough(MAX_AHEAD, 0) && workers.are_enough(1, MAX_MEMORY_AHEAD + 1));
        let rest = bytes.split_off(5);
        drop(bytes);
        assert!(workers.memory.available_permits() < all);
        drop(rest);
        assert_eq!(workers.memory.available_permits(), all);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_goes_to_who_asked_first_and_nobody_waits_for_ever() {
        let workers = Workers::default();
        let held = workers.memory((u64::from(MEMORY) << 10) - 1024).await.unwrap().unwrap();
        assert!(workers.are_enough(1, 0) && !workers.are_enough(0, 0));
        let first = workers.start(2 << 10, nothing);
        let mut second = workers.start(1 << 10, nothing);
        assert!(timeout(MEMORY_WAIT / 2, &mut second).await.is_err(), "it does not overtake");
        assert_eq!(done(first.await), Err(Lost::NoMemory));
        assert_eq!(done(second.await), Ok(nothing()), "there is enough for this one");
        drop(held);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_is_lost_and_work_that_nobody_waits_for_holds_its_place() {
        let workers = Workers { processors: Arc::new(Semaphore::new(1)), ..Workers::default() };
        let panicking = workers.start(1, || {
            assert!(std::hint::black_box(false), "planted");
            nothing()
        });
        assert_eq!(done(panicking.await), Err(Lost::Panicked));
        let (begun, wait_for_begin) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let left = workers.start(1, move || {
            let _ = begun.send(());
            let _ = wait.recv();
            nothing()
        });
        tokio::task::block_in_place(|| wait_for_begin.recv()).unwrap();
        drop(left);
        let mut next = workers.start(1, nothing);
        tokio::task::yield_now().await;
        assert_eq!(workers.processors.available_permits(), 0);
        assert!(!next.is_finished());
        go.send(()).unwrap();
        assert_eq!(done((&mut next).await), Ok(nothing()));
    }
}
