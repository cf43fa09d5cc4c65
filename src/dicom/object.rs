//! A composite object as it passes through: what identifies it, and the log of its bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Uid;

/// What identifies an object on its way, known before its first byte (PS3.7 9.1.1, the C-STORE request and
/// its presentation context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// SOP Class UID.
    pub sop_class: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// The transfer syntax of the bytes that follow.
    pub transfer_syntax: Uid,
}

/// One object on its way: its head, and its data set as the bytes come. No preamble, no group 0002.
#[derive(Debug)]
pub struct Object {
    /// What identifies the object.
    pub head: Head,
    /// Series Instance UID, as the data set itself says; `None` where it does not, or nobody has looked.
    pub series: Option<Uid>,
    /// The encoded data set.
    pub body: Cursor,
}

/// How many bytes of objects may wait for their reader, over all the logs that share it.
#[derive(Debug, Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    size: u32,
    /// Where the memory comes from that is shared with others; `None`: it is all its own.
    shared: Option<(Reserve, CommonMemory)>,
}

/// Memory that several budgets draw on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommonMemory {
    permits: Arc<Semaphore>,
    size: u32,
}

/// Memory that is a budget's own, however much the others hold.
#[derive(Debug, Clone)]
struct Reserve {
    permits: Arc<Semaphore>,
    size: u32,
}

/// Bytes that were admitted. Dropped, their place is free again.
#[derive(Debug)]
struct Admitted {
    _own: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
}

impl CommonMemory {
    /// This many bytes.
    pub fn new(size: u32) -> Self {
        Self { permits: Arc::new(Semaphore::new(size as usize)), size }
    }
}

impl Budget {
    /// A budget of `size` bytes.
    pub fn new(size: u32) -> Self {
        Self { permits: Arc::new(Semaphore::new(size as usize)), size, shared: None }
    }

    /// A budget of `size` bytes, of which `reserve` are its own and the rest comes from `common` as far as others leave
    /// some. As its own bytes come back when they are read, no set of budgets can wait for each other.
    pub fn sharing(common: &CommonMemory, reserve: u32, size: u32) -> Self {
        let own = Reserve { permits: Arc::new(Semaphore::new(reserve as usize)), size: reserve };
        Self { shared: Some((own, common.clone())), ..Self::new(size) }
    }

    /// Waits until `length` bytes fit. A piece larger than the whole budget takes all of it, so that it can
    /// pass at all.
    async fn admit(&self, length: usize) -> Admitted {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let own = acquire(&self.permits, length.min(self.size)).await;
        let shared = match &self.shared {
            None => None,
            Some((reserve, common)) => Some(tokio::select! {
                biased;
                permit = acquire(&reserve.permits, length.min(reserve.size)) => permit,
                permit = acquire(&common.permits, length.min(common.size)) => permit,
            }),
        };
        Admitted { _own: own, _shared: shared }
    }
}

async fn acquire(permits: &Arc<Semaphore>, wanted: u32) -> OwnedSemaphorePermit {
    Arc::clone(permits).acquire_many_owned(wanted).await.expect("nobody closes a budget")
}

/// An object's data set ended before its last byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the object broke off before its last byte")]
pub struct BrokenObject;

#[derive(Debug)]
enum Entry {
    Bytes(Bytes, Admitted),
    Finished,
}

/// The writing end of an object's log. Dropped without [`ObjectLog::finish`], the reader sees an error:
/// there is no way to end an object well by accident.
#[derive(Debug)]
pub struct ObjectLog {
    entries: mpsc::UnboundedSender<Entry>,
    budget: Budget,
}

/// The reading end of an object's log: the bytes in order, then the end, which is an error unless the writer
/// said that the object is whole.
#[derive(Debug)]
pub struct Cursor {
    source: Source,
    done: bool,
}

/// Bytes of an object from somewhere else than its own log.
type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenObject>> + Send>>;

enum Source {
    Log(mpsc::UnboundedReceiver<Entry>),
    Stream(Pieces),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "Log",
            Self::Stream(_) => "Stream",
        })
    }
}

impl ObjectLog {
    /// A log whose unread bytes are charged to `budget`.
    pub fn new(head: Head, budget: &Budget) -> (Self, Object) {
        // Unbounded in entries, bounded in bytes: each entry holds its permit.
        let (sender, receiver) = mpsc::unbounded_channel();
        let object =
            Object { head, series: None, body: Cursor { source: Source::Log(receiver), done: false } };
        (Self { entries: sender, budget: budget.clone() }, object)
    }

    /// Adds bytes when the budget admits them. Cancel-safe: a dropped call has added nothing. What nobody
    /// reads any more is dropped.
    pub async fn append(&self, bytes: &Bytes) {
        if bytes.is_empty() || self.entries.is_closed() {
            return;
        }
        let permit = tokio::select! {
            permit = self.budget.admit(bytes.len()) => permit,
            () = self.entries.closed() => return,
        };
        let _ = self.entries.send(Entry::Bytes(bytes.clone(), permit));
    }

    /// Says that the object is whole.
    pub fn finish(self) {
        let _ = self.entries.send(Entry::Finished);
    }
}

impl Stream for Cursor {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = match &mut self.source {
            Source::Log(entries) => match ready!(entries.poll_recv(cx)) {
                Some(Entry::Bytes(bytes, _permit)) => Some(Ok(bytes)),
                Some(Entry::Finished) => None,
                None => Some(Err(BrokenObject)),
            },
            Source::Stream(pieces) => ready!(pieces.as_mut().poll_next(cx)),
        };
        self.done = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl Cursor {
    /// A cursor over bytes that lie somewhere else than in an [`ObjectLog`]. A stream that ends says that the object
    /// is whole.
    pub fn over(pieces: impl Stream<Item = Result<Bytes, BrokenObject>> + Send + 'static) -> Self {
        Self { source: Source::Stream(Box::pin(pieces)), done: false }
    }

    /// The next bytes; `None` at the object's good end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BrokenObject>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
            sop_instance: Uid::from_static("1.2.3"),
            transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
        }
    }

    #[tokio::test]
    async fn a_writer_dropped_without_finish_is_an_error_for_the_reader() {
        let budget = Budget::new(100);
        let (log, mut object) = ObjectLog::new(head(), &budget);
        log.append(&Bytes::from_static(b"half")).await;
        drop(log);
        assert_eq!(object.body.next().await, Some(Ok(Bytes::from_static(b"half"))));
        assert_eq!(object.body.next().await, Some(Err(BrokenObject)));
        assert_eq!(object.body.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_stops_the_writer_and_an_oversized_piece_passes() {
        let budget = Budget::new(10);
        let (log, mut object) = ObjectLog::new(head(), &budget);
        log.append(&Bytes::from_static(b"twelve bytes")).await;
        let more = Bytes::from_static(b"x");
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), log.append(&more)).await.is_err());
        assert!(object.body.next().await.unwrap().is_ok());
        log.append(&more).await;
        log.finish();
        assert_eq!(object.body.next().await, Some(Ok(Bytes::from_static(b"x"))));
        assert_eq!(object.body.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn hazard_readers_that_stall_hold_what_is_common_and_no_more_and_hold_up_nobody_who_reads() {
        const PIECE: usize = 10;
        let common = CommonMemory::new(100);
        let piece = Bytes::from_static(&[0; PIECE]);
        let mut stalled = Vec::new();
        let mut held = 0;
        for _ in 0..50 {
            let budget = Budget::sharing(&common, 20, 60);
            let (log, object) = ObjectLog::new(head(), &budget);
            let filled = async {
                loop {
                    log.append(&piece).await;
                    held += PIECE;
                }
            };
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), filled).await;
            stalled.push((log, object));
        }
        assert_eq!(held, 50 * 20 + 100, "the reserves, and what is common once");
        let budget = Budget::sharing(&common, 20, 60);
        let (log, mut object) = ObjectLog::new(head(), &budget);
        let reading = async {
            for _ in 0..1000 {
                assert!(object.body.next().await.unwrap().is_ok());
            }
        };
        let writing = async {
            for _ in 0..1000 {
                log.append(&piece).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(1), async { tokio::join!(reading, writing) })
            .await
            .expect("who reads is not held up");
        drop(stalled);
        for _ in 0..6 {
            log.append(&piece).await;
        }
    }

    #[tokio::test]
    async fn a_reader_that_left_does_not_hold_the_writer() {
        let budget = Budget::new(1);
        let (log, object) = ObjectLog::new(head(), &budget);
        log.append(&Bytes::from_static(b"a")).await;
        drop(object);
        log.append(&Bytes::from_static(b"b")).await;
        log.finish();
    }
}
