//! The bytes of an object between a writer and a reader in one task.
//!
//! An [`ObjectLog`](crate::dicom::object::ObjectLog) wakes its reader with each piece. Where that is the task that writes,
//! each piece wakes the task that is running: it is polled once more for nothing, and taken by another thread.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::dicom::object::{BrokenObject, Cursor};

/// The writing end. Dropped without [`Pipe::finish`], the reader sees an error.
///
/// Nobody is woken: who writes polls the reader before the task rests.
pub(super) struct Pipe(Arc<Mutex<Held>>);

struct Reader(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    length: usize,
    end: Option<Result<(), BrokenObject>>,
    /// Nobody reads any more.
    is_closed: bool,
}

impl Pipe {
    /// A pipe, and what is read from it.
    pub(super) fn new() -> (Self, Cursor) {
        let held = Arc::new(Mutex::default());
        (Self(Arc::clone(&held)), Cursor::over(Reader(held)))
    }

    /// How many bytes nobody has read.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).length
    }

    /// Adds bytes. What nobody reads any more is dropped.
    pub(super) fn push(&self, bytes: Bytes) {
        let mut held = lock(&self.0);
        if !held.is_closed && !bytes.is_empty() {
            held.length += bytes.len();
            held.pieces.push_back(bytes);
        }
    }

    /// The object is whole.
    pub(super) fn finish(self) {
        lock(&self.0).end = Some(Ok(()));
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        lock(&self.0).end.get_or_insert(Err(BrokenObject));
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut held = lock(&self.0);
        if let Some(piece) = held.pieces.pop_front() {
            held.length -= piece.len();
            return Poll::Ready(Some(Ok(piece)));
        }
        match &held.end {
            None => Poll::Pending,
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken.clone()))),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut held = lock(&self.0);
        (held.pieces, held.length, held.is_closed) = (VecDeque::new(), 0, true);
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_only_a_finished_object_ends_well() {
        for whole in [true, false] {
            let (pipe, mut cursor) = Pipe::new();
            pipe.push(Bytes::from_static(b"ab"));
            pipe.push(Bytes::from_static(b"c"));
            assert_eq!(pipe.len(), 3);
            assert_eq!(cursor.next().await, Some(Ok(Bytes::from_static(b"ab"))));
            assert_eq!(pipe.len(), 1);
            if whole {
                pipe.finish()
            } else {
                drop(pipe)
            }
            assert_eq!(cursor.next().await, Some(Ok(Bytes::from_static(b"c"))));
            assert_eq!(cursor.next().await, if whole { None } else { Some(Err(BrokenObject)) });
        }
    }

    #[test]
    fn what_nobody_reads_any_more_is_not_kept() {
        let (pipe, cursor) = Pipe::new();
        pipe.push(Bytes::from_static(b"ab"));
        drop(cursor);
        pipe.push(Bytes::from_static(b"c"));
        assert_eq!(pipe.len(), 0);
    }
}
