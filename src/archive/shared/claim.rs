//! Those who read from the cache, and what is kept for them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cache::{Cache, Key};
use super::disk::{Backing, Damaged};
use super::entry::{Id, Next};
use super::readers::Claimed;
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

    /// Claims an object that is in memory whole: one that still comes may yet break off.
    pub(super) fn claim_whole(&self, key: &Key) -> Option<Claim> {
        self.claim(key).filter(Claim::is_whole)
    }

    /// Claims an object that is here whole, in whichever tier, for a reader that begins it at once. What lies on disk is
    /// verified first: all of it if it is small, which then is in memory as well, else its beginning.
    pub(super) async fn recall(&self, key: &Key) -> Option<Claim> {
        let claimed = self.claim_whole(key).filter(Claim::start);
        let Some(disk) = self.0.cache.disk().filter(|_| claimed.is_none()) else { return claimed };
        let stored = disk.take(key)?;
        let claimed = self.0.cache.with(|memory| memory.adopt(stored, self.0.id))?;
        let claim = self.of(claimed);
        claim.verify().await;
        claim.start().then_some(claim)
    }

    fn of(&self, claimed: Claimed) -> Claim {
        let Claimed { entry, place, head, series } = claimed;
        Claim { reader: self.clone(), entry, place, head, series }
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
        Some(self.of(claimed?))
    }

    /// A claim that is revoked from the start.
    pub(super) fn nothing(&self, head: Arc<Head>, series: Option<Uid>) -> Claim {
        Claim { reader: self.clone(), entry: 0, place: 0, head, series }
    }

    /// Names it in the tier in memory.
    #[cfg(test)]
    pub(super) fn id(&self) -> Id {
        self.0.id
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

    /// Says that the object is handed out: from now on it is kept, however far behind its reader is. `false`: it is
    /// gone.
    pub(super) fn start(&self) -> bool {
        self.reader.0.cache.with(|memory| memory.start(self.entry, self.place))
    }

    /// Verifies an object that was found on disk: afterwards it is as good as any, or the claim is revoked.
    async fn verify(&self) {
        let cache = &self.reader.0.cache;
        let Some((file, length)) = cache.with(|memory| memory.unverified(self.entry)) else { return };
        let Some(disk) = cache.disk() else { return };
        match disk.load(file.clone(), length, cache.config().memory).await {
            Ok(blocks) => cache.with(|memory| memory.verified(self.entry, blocks)),
            Err(Damaged) => cache.damaged(self.entry, &file),
        }
    }

    /// Reads the object. An object that is gone, or breaks off, is an error.
    pub(super) fn read(self) -> Cursor {
        Cursor::over(Reading { claim: self, block: None, ended: false })
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
    /// A block that is being read from disk.
    block: Option<Block>,
    ended: bool,
}

/// A block that is being read from disk, and how many bytes of it the reader has had.
#[derive(Debug)]
struct Block {
    read: JoinHandle<Result<Bytes, Damaged>>,
    file: Backing,
    skip: u64,
}

impl Reading {
    /// The next bytes. Blocks of the disk are read one by one: the kernel reads ahead.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenObject>>> {
        let Claim { entry, place, .. } = self.claim;
        let cache = &self.claim.reader.0.cache;
        if self.block.is_none() {
            match cache.with(|memory| memory.next(entry, place, cx)) {
                Next::Bytes(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Next::Wait => return Poll::Pending,
                Next::End => return Poll::Ready(None),
                Next::Broken => return Poll::Ready(Some(Err(BrokenObject))),
                Next::File { file, start, length, skip } => {
                    let reading = file.clone();
                    let read = tokio::task::spawn_blocking(move || reading.read(start, length));
                    self.block = Some(Block { read, file, skip });
                }
            }
        }
        let Some(block) = &mut self.block else { return Poll::Pending };
        let read = ready!(Pin::new(&mut block.read).poll(cx));
        let Some(Block { file, skip, .. }) = self.block.take() else { return Poll::Pending };
        self.claim.reader.progressed();
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        match read {
            Ok(Ok(bytes)) if skip < bytes.len() => Poll::Ready(Some(Ok(bytes.slice(skip..)))),
            _ => {
                cache.damaged(entry, &file);
                Poll::Ready(Some(Err(BrokenObject)))
            }
        }
    }
}

impl Stream for Reading {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = self.poll(cx);
        self.ended = matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}
