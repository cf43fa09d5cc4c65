//! The writing end of an object in the cache.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::cache::Cache;
use super::claim::{Claim, Reader};
use super::entry::{Id, Reserved};
use super::memory::Admission;
use super::pressure::PATIENCE;
use crate::dicom::Uid;
use crate::dicom::object::Head;

/// Size of the blocks into which bytes are received. A slice of one keeps all of it in memory.
const BLOCK: usize = 256 << 10;
/// Most bytes between two slices of one block: the headers of a PDU and a PDV, and some.
const GAP: usize = 64;
/// Most slices that are kept apart: each costs some bytes of its own.
const MAX_PIECES: usize = 512;

/// One running retrieval's right to some memory outside the budget, so that it moves on however full that is.
#[derive(Debug, Default)]
pub(super) struct Reserve(Reserved);

impl Reserve {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(super) fn of(&self) -> Reserved {
        Arc::clone(&self.0)
    }
}

/// Brings one object. Dropped without [`Writer::finish`], the object is broken for all its readers.
#[derive(Debug)]
pub(super) struct Writer {
    cache: Cache,
    id: Id,
    head: Arc<Head>,
    series: Option<Uid>,
    open: Option<OpenRun>,
    /// The entry was given up: nobody reads it, and there is no room.
    gone: bool,
    finished: bool,
}

/// Slices of one block, as far as can be told from where they lie.
#[derive(Debug)]
struct OpenRun {
    pieces: Vec<Bytes>,
    length: usize,
    /// Where the first slice begins, and the last one ends.
    addresses: (usize, usize),
    charge: u64,
}

impl OpenRun {
    fn new(piece: Bytes, charge: u64) -> Self {
        let start = piece.as_ptr() as usize;
        let addresses = (start, start + piece.len());
        Self { length: piece.len(), pieces: vec![piece], addresses, charge }
    }

    /// Whether a slice follows in the same block.
    fn takes(&self, piece: &Bytes) -> bool {
        let start = piece.as_ptr() as usize;
        let (first, last) = self.addresses;
        (last..=last + GAP).contains(&start) && start + piece.len() <= first + BLOCK
    }

    fn push(&mut self, piece: Bytes) {
        self.addresses.1 = piece.as_ptr() as usize + piece.len();
        self.length += piece.len();
        self.pieces.push(piece);
    }

    /// A copy, where it saves much of the block.
    fn copy(&self) -> Option<Bytes> {
        let wasteful = self.length as u64 <= self.charge / 4 * 3 || self.pieces.len() > MAX_PIECES;
        wasteful.then(|| {
            let mut copy = Vec::with_capacity(self.length);
            self.pieces.iter().for_each(|piece| copy.extend_from_slice(piece));
            copy.into()
        })
    }
}

impl Writer {
    pub(super) fn new(cache: Cache, id: Id, head: Arc<Head>, series: Option<Uid>) -> Self {
        Self { cache, id, head, series, open: None, gone: false, finished: false }
    }

    /// The entry that it brings, which may not be the one that is found under its key.
    pub(super) fn entry(&self) -> Id {
        self.id
    }

    /// Claims the object for a reader; the claim is revoked from the start if the object was given up.
    pub(super) fn claim_for(&self, reader: &Reader) -> Claim {
        let claim = reader.claim_entry(self.id);
        claim.unwrap_or_else(|| reader.nothing(Arc::clone(&self.head), self.series.clone()))
    }

    /// Adds bytes when there is room. An object that nobody claims, and that there is no room for, is given up, and
    /// what comes of it is dropped. Cancel-safe: a dropped call has added nothing.
    pub(super) async fn append(&mut self, bytes: Bytes) {
        if bytes.is_empty() || self.gone {
            return;
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.takes(&bytes)) {
            open.push(bytes.clone());
            self.gone = !self.cache.with(|memory| memory.extend(self.id, bytes));
            return;
        }
        self.close();
        let charge = bytes.len().max(BLOCK) as u64;
        let since = Instant::now();
        loop {
            let room = self.cache.room().notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let admission = self.cache.with(|memory| {
                loop {
                    let admission = memory.admit(self.id, &bytes, charge);
                    if admission != Admission::Full || !memory.relieve(self.id, since, Instant::now()) {
                        return admission;
                    }
                }
            });
            match admission {
                Admission::Admitted => break,
                Admission::Gone => {
                    self.gone = true;
                    return;
                }
                // Time passes without room: who gives way is looked at again.
                Admission::Full => drop(timeout(PATIENCE / 2, room).await),
            }
        }
        self.open = Some(OpenRun::new(bytes, charge));
    }

    /// Makes the object one for those alone who read it already: another may lie in its place by now.
    pub(super) fn hide(&self) {
        self.cache.with(|memory| memory.forget(self.id));
    }

    /// Says that the object is whole. One that was given up stays broken.
    pub(super) fn finish(mut self) {
        if self.gone {
            return;
        }
        self.close();
        self.finished = true;
        self.cache.with(|memory| memory.finish(self.id));
    }

    /// The next slice lies in another block.
    fn close(&mut self) {
        if let Some(copy) = self.open.take().and_then(|open| open.copy()) {
            self.cache.with(|memory| memory.replace(self.id, copy));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.cache.with(|memory| memory.remove(self.id));
        }
    }
}
