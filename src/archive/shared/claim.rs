//! Those who read from the cache, and what is kept for them.

#![allow(dead_code, reason = "the engine of shared retrievals lands with the next change")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::cache::{Cache, Key};
use super::entry::Id;
use super::memory::Claimed;
use crate::dicom::Uid;
use crate::dicom::object::{BrokenObject, Cursor, Head};

/// One request that is being answered. Cheap to clone; all clones are the same request.
#[derive(Debug, Clone)]
pub(super) struct Reader(Arc<Attendance>);

#[derive(Debug)]
struct Attendance {
    cache: Cache,
    id: Id,
}

/// An object that is kept for a reader until it has read it, or the claim is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    reader: Reader,
    entry: Id,
    place: Id,
    head: Arc<Head>,
    series: Option<Uid>,
}

impl Reader {
    pub(super) fn new(cache: Cache) -> Self {
        let id = cache.with(super::memory::Memory::attend);
        Self(Arc::new(Attendance { cache, id }))
    }

    /// Claims an object that is in memory, whole or still coming, if its first byte is there.
    pub(super) fn claim(&self, key: &Key) -> Option<Claim> {
        self.claim_with(|memory| memory.find(key, Instant::now()))
    }

    /// Claims an object that is here, in whichever tier. What lies on disk is verified before it is claimed: all of
    /// it where it is small, else its beginning.
    pub(super) async fn recall(&self, key: &Key) -> Option<Claim> {
        self.claim(key)
    }

    /// Claims an entry.
    pub(super) fn claim_entry(&self, entry: Id) -> Option<Claim> {
        self.claim_with(|_| Some(entry))
    }

    fn claim_with(&self, find: impl FnOnce(&super::memory::Memory) -> Option<Id>) -> Option<Claim> {
        let claimed = self.0.cache.with(|memory| {
            let entry = find(memory)?;
            memory.claim(entry, self.0.id)
        });
        let Claimed { entry, place, head, series } = claimed?;
        Some(Claim { reader: self.clone(), entry, place, head, series })
    }

    /// A claim that is revoked from the start.
    pub(super) fn nothing(&self, head: Arc<Head>, series: Option<Uid>) -> Claim {
        Claim { reader: self.clone(), entry: 0, place: 0, head, series }
    }

    /// Says that others wait for what serves this reader, so that it may not keep it waiting for long.
    pub(super) fn contended(&self, contended: bool) {
        self.0.cache.with(|memory| {
            if let Some(reader) = memory.readers.get_mut(&self.0.id) {
                reader.contended = contended;
            }
        });
    }

    /// Says that the reader has taken something that is not in the cache, or waits for it.
    pub(super) fn progressed(&self) {
        self.0.cache.with(|memory| {
            if let Some(reader) = memory.readers.get_mut(&self.0.id) {
                reader.last = Instant::now();
            }
        });
    }

    /// Whether it was cut off because it took nothing for too long: it gets no claims any more.
    pub(super) fn is_cut(&self) -> bool {
        self.0.cache.with(|memory| memory.readers.get(&self.0.id).is_none_or(|reader| reader.cut))
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.cache.with(|memory| memory.readers.remove(&self.id));
    }
}

impl Claim {
    /// What identifies the object.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Series Instance UID, as the data set says.
    pub(super) fn series(&self) -> Option<&Uid> {
        self.series.as_ref()
    }

    /// Whether all of the object is here.
    pub(super) fn is_whole(&self) -> bool {
        self.reader.0.cache.with(|memory| {
            let entry = memory.entries.get(&self.entry);
            entry.is_some_and(|entry| entry.whole && entry.claims.contains_key(&self.place))
        })
    }

    /// Whether the object is gone: reading it is an error.
    pub(super) fn is_revoked(&self) -> bool {
        !self.reader.0.cache.with(|memory| memory.holds(self.entry, self.place))
    }

    /// Reads the object. An object that is gone, or breaks off, is an error.
    pub(super) fn read(self) -> Cursor {
        Cursor::over(Reading { claim: self, ended: false })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.reader.0.cache.with(|memory| memory.release(self.entry, self.place));
    }
}

/// A claim being read.
#[derive(Debug)]
struct Reading {
    claim: Claim,
    ended: bool,
}

impl Stream for Reading {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Claim { entry, place, .. } = self.claim;
        let next = self.claim.reader.0.cache.with(|memory| memory.poll(entry, place, cx));
        self.ended = matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}
