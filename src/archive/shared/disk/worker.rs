//! The one thread that changes the directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Disk;
use super::directory::{self, Directory, Entry};
use super::file::{self, Draft, Found, Refused};
use super::format::{self, BLOCK, DIGEST, Description};
use super::space::{Slot, lock};
use crate::archive::shared::cache::{Cache, WeakCache};
use crate::archive::shared::entry::Id;
use crate::archive::shared::spill::{Save, Unsaved};

/// How long a disk with which something is wrong is left alone; and how often what has expired is dropped.
const RETRY: Duration = Duration::from_secs(60);
/// So many files in a row that cannot be written are not at fault themselves.
const MOST_SPOILT: u32 = 8;

/// The thread's own.
#[derive(Debug)]
pub(super) struct Worker {
    disk: Arc<Disk>,
    cache: WeakCache,
    directory: Option<Directory>,
    /// When to look after everything again.
    next: Instant,
    /// Numbers temporary names.
    serial: u64,
    /// How many files in a row could not be written, each for reasons of its own.
    spoilt: u32,
}

impl Worker {
    pub(super) fn new(disk: Arc<Disk>, cache: WeakCache) -> Self {
        Self { disk, cache, directory: None, next: Instant::now(), serial: 0, spoilt: 0 }
    }

    /// Works until the tier is closed.
    pub(super) fn run(mut self) {
        loop {
            if self.next <= Instant::now() {
                self.next = Instant::now() + RETRY;
                self.look_after();
            }
            let patience = self.next.saturating_duration_since(Instant::now());
            let Some((save, doomed)) = self.disk.space.next(patience) else { return };
            for slot in doomed {
                self.put_aside(slot);
            }
            self.disk.space.sweep();
            if let Some(id) = save {
                self.save(id);
            }
            self.tell();
        }
    }

    fn tell(&self) {
        let figures = &self.disk.figures;
        figures.bytes.set(i64::try_from(self.disk.space.used()).unwrap_or(i64::MAX));
        figures.objects.set(i64::try_from(self.disk.objects()).unwrap_or(i64::MAX));
    }

    /// Opens the directory if it is not, tries again what failed, and drops what has expired.
    fn look_after(&mut self) {
        if self.directory.is_none() {
            match Directory::open(&self.disk.path) {
                Ok(directory) => {
                    self.take_stock(&directory);
                    lock(&self.disk.index).stock_is_taken();
                    self.directory = Some(directory);
                    self.disk.set_problem(None);
                }
                Err(problem) => return self.disk.set_problem(Some(problem)),
            }
        }
        let Some(cache) = self.cache.upgrade() else { return };
        cache.with(|memory| {
            memory.drop_expired();
            memory.can_save = true;
        });
        let mut index = lock(&self.disk.index);
        let doomed: Vec<_> =
            index.expired(SystemTime::now()).iter().filter_map(|key| index.remove(key)).collect();
        drop(index);
        doomed.into_iter().for_each(|slot| self.put_aside(slot));
        self.disk.space.sweep();
        self.tell();
    }

    /// Looks through what lies there from an earlier run.
    fn take_stock(&self, directory: &Directory) {
        let Ok(entries) = directory.entries() else { return };
        for entry in entries {
            match entry {
                Entry::Temporary(path) => drop(std::fs::remove_file(path)),
                Entry::Object(path) => self.take(path),
            }
            self.tell();
        }
    }

    /// Takes one file of an earlier run; what is damaged, has expired or does not fit is removed.
    fn take(&self, path: PathBuf) {
        let Ok(file) = directory::open_plainly(&path) else { return };
        let Ok(size) = file.metadata().map(|metadata| metadata.len()) else { return };
        let Some(slot) = Slot::new(&self.disk.space, path.clone(), size) else {
            drop(std::fs::remove_file(&path));
            return;
        };
        let found = file::find(&slot, &file).ok().filter(|found| {
            let name = format!("{}.obj", Description::name(&found.description.key));
            path.file_name().is_some_and(|given| *given == *name)
        });
        match found {
            Some(found) => drop(lock(&self.disk.index).take_in(&found, SystemTime::now())),
            None => {
                self.disk.figures.damaged.inc();
                tracing::warn!("a file of the cache on disk is damaged, and was removed");
            }
        }
        drop(slot);
        self.disk.space.sweep();
    }

    fn temporary(&mut self, name: &str) -> Option<PathBuf> {
        self.serial += 1;
        Some(self.directory.as_ref()?.path().join(format!("{name}.{}.tmp", self.serial)))
    }

    /// A file that is found no more: removed, or renamed as long as it is being read.
    fn put_aside(&mut self, slot: Arc<Slot>) {
        if Arc::strong_count(&slot) > 1
            && let Some(path) = self.temporary(&format!("{:032x}", 0))
            && let Err(error) = slot.rename(path)
        {
            tracing::debug!(%error, "a file of the cache cannot be renamed");
        }
    }

    /// Writes an entry of the tier in memory, as far as it has come.
    fn save(&mut self, id: Id) {
        let Some(cache) = self.cache.upgrade() else { return };
        let Some(Save { description, draft }) = cache.with(|memory| memory.take_save(id)) else { return };
        match self.write(&cache, id, description, draft) {
            Ok(draft) => cache.with(|memory| memory.save_over(id, draft, false)),
            Err(Refused::Full) => cache.with(|memory| memory.save_over(id, None, true)),
            Err(Refused::File(error)) if self.spoilt < MOST_SPOILT => {
                self.spoilt += 1;
                self.disk.figures.damaged.inc();
                tracing::warn!(%error, "an object cannot be written to the cache on disk, and stays in memory alone");
                cache.with(|memory| memory.save_over(id, None, true));
            }
            Err(Refused::File(error) | Refused::Tier(error)) => {
                self.next = Instant::now() + RETRY;
                let advice = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room or lower `size`",
                    io::ErrorKind::NotFound => "its directory is gone: start the bridge anew",
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                        "let the bridge write there"
                    }
                    _ => "see to the disk",
                };
                self.disk.set_problem(Some(format!("writing failed ({error}): {advice}")));
                cache.with(|memory| {
                    memory.can_save = false;
                    memory.save_over(id, None, true);
                });
            }
        }
    }

    /// Writes what there is. A draft that comes back is to be gone on with when there is more.
    fn write(
        &mut self,
        cache: &Cache,
        id: Id,
        description: Description,
        draft: Option<Draft>,
    ) -> Result<Option<Draft>, Refused> {
        if self.disk.fails() {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        let mut draft = match draft {
            Some(draft) => draft,
            None => {
                let Some(path) = self.temporary(&Description::name(&description.key)) else {
                    return Err(Refused::Full);
                };
                let space = &self.disk.space;
                self.make_room(format::MAX_HEAD + format::TAIL + BLOCK, || true)?;
                Draft::new(space, path, &description)?
            }
        };
        loop {
            match cache.with(|memory| memory.unsaved(id, draft.length(), BLOCK)) {
                Unsaved::Gone => return Ok(None),
                Unsaved::Later => return Ok(Some(draft)),
                Unsaved::Whole => break,
                Unsaved::Block(pieces) => {
                    let length: usize = pieces.iter().map(bytes::Bytes::len).sum();
                    let bytes = length as u64 + DIGEST;
                    self.make_room(bytes, || draft.slot().grow(bytes))?;
                    draft.write(&pieces)?;
                    cache.with(|memory| memory.saved(id, draft.length(), &draft.backing()));
                }
            }
        }
        self.keep(cache, id, description, draft)?;
        Ok(None)
    }

    /// Gives a whole file its name and makes it found, unless it was purged meanwhile.
    fn keep(&mut self, cache: &Cache, id: Id, description: Description, draft: Draft) -> Result<(), Refused> {
        let wanted = || cache.with(|memory| memory.is_indexed(id));
        let Some(directory) = self.directory.as_ref().filter(|_| wanted()).map(|d| d.path().to_owned())
        else {
            return Ok(());
        };
        let key = description.key.clone();
        let old = lock(&self.disk.index).remove(&key);
        if let Some(old) = old {
            self.put_aside(old);
            self.disk.space.sweep();
        }
        if lock(&self.disk.index).is_full() {
            self.evict();
        }
        let length = draft.length();
        let backing = draft.finish(&directory)?;
        let found = Found { description, backing, length };
        lock(&self.disk.index).insert(&found);
        if !wanted() {
            let doomed = lock(&self.disk.index).remove(&key);
            doomed.into_iter().for_each(|slot| self.put_aside(slot));
        }
        cache.with(|memory| memory.saved(id, length, &found.backing));
        self.spoilt = 0;
        self.disk.set_problem(None);
        Ok(())
    }

    /// Evicts until `taken` says that `bytes` fit.
    fn make_room(&self, bytes: u64, mut taken: impl FnMut() -> bool) -> Result<(), Refused> {
        loop {
            if self.disk.space.fits(bytes) && taken() {
                return Ok(());
            }
            if !self.evict() {
                return Err(Refused::Full);
            }
        }
    }

    fn evict(&self) -> bool {
        let evicted = lock(&self.disk.index).evict();
        self.disk.space.sweep();
        if evicted {
            self.disk.figures.evictions.inc();
        }
        evicted
    }
}
