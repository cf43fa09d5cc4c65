//! How many bytes the cache's files take, and what its one thread is to do.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::archive::shared::entry::Id;

/// A bound on bytes of files, and the work on them.
#[derive(Debug)]
pub(super) struct Space {
    size: u64,
    used: AtomicU64,
    work: Mutex<Work>,
    bell: Condvar,
}

/// What is to be done by the one thread that changes the directory.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Entries of the tier in memory that are to be written.
    pub(super) saves: VecDeque<Id>,
    /// Files that are found no more, but may be being read.
    pub(super) doomed: Vec<Arc<Slot>>,
    /// Files that nobody needs any more, with their bytes.
    unneeded: Vec<(PathBuf, u64)>,
    /// There is nothing to be done any more.
    pub(super) closed: bool,
}

/// One file, which is removed when nobody needs it any more, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Slot {
    space: Arc<Space>,
    path: Mutex<PathBuf>,
    bytes: AtomicU64,
    keep: AtomicBool,
}

impl Space {
    pub(super) fn new(size: u64) -> Arc<Self> {
        Arc::new(Self { size, used: AtomicU64::new(0), work: Mutex::default(), bell: Condvar::new() })
    }

    /// Bytes now, those of files that are about to be removed included.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Whether `bytes` more fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.used().checked_add(bytes).is_some_and(|used| used <= self.size)
    }

    /// Counts `bytes` more, if they fit.
    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.size);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Gives the thread something to do.
    pub(super) fn add(&self, add: impl FnOnce(&mut Work)) {
        add(&mut lock(&self.work));
        self.bell.notify_one();
    }

    /// Waits for something to do, but not longer than `patience`; `None`: it is closed. What is returned is of
    /// everything but the entries to be written, of which it takes one.
    pub(super) fn next(&self, patience: Duration) -> Option<(Option<Id>, Vec<Arc<Slot>>)> {
        let idle = |work: &mut Work| {
            !work.closed && work.saves.is_empty() && work.doomed.is_empty() && work.unneeded.is_empty()
        };
        let waited = self.bell.wait_timeout_while(lock(&self.work), patience, idle);
        let (mut work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!work.closed).then(|| (work.saves.pop_front(), std::mem::take(&mut work.doomed)))
    }

    /// Removes the files that nobody needs any more.
    pub(super) fn sweep(&self) {
        let unneeded = std::mem::take(&mut lock(&self.work).unneeded);
        for (path, bytes) in unneeded {
            match std::fs::remove_file(&path) {
                // Gone, or something else lies in its place, which is left alone.
                Err(error)
                    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) =>
                {
                    tracing::warn!(%error, "a file of the cache cannot be removed; its bytes stay counted");
                }
                _ => drop(self.used.fetch_sub(bytes, Relaxed)),
            }
        }
    }
}

impl Slot {
    /// A file of `bytes` bytes at `path`, if they fit. It is removed when the slot is dropped.
    pub(super) fn new(space: &Arc<Space>, path: PathBuf, bytes: u64) -> Option<Arc<Self>> {
        space.take(bytes).then(|| {
            let (path, bytes) = (Mutex::new(path), AtomicU64::new(bytes));
            Arc::new(Self { space: Arc::clone(space), path, bytes, keep: AtomicBool::new(false) })
        })
    }

    /// The file is to grow by `bytes`. `false`: they do not fit.
    pub(super) fn grow(&self, bytes: u64) -> bool {
        let fits = self.space.take(bytes);
        if fits {
            self.bytes.fetch_add(bytes, Relaxed);
        }
        fits
    }

    /// Whether the file stays when the slot is dropped.
    pub(super) fn keep(&self, keep: bool) {
        self.keep.store(keep, Relaxed);
    }

    /// Gives the file another name, unless something else lies there by now; who opens it meanwhile waits.
    pub(super) fn rename(&self, path: PathBuf) -> io::Result<()> {
        let mut old = lock(&self.path);
        if !std::fs::symlink_metadata(&*old)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        std::fs::rename(&*old, &path)?;
        *old = path;
        Ok(())
    }

    /// Opens the file for reading, unless something else lies there by now: to open a FIFO would wait for ever.
    pub(super) fn open(&self) -> io::Result<File> {
        super::directory::open_plainly(&lock(&self.path))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Relaxed);
        if self.keep.load(Relaxed) {
            self.space.used.fetch_sub(bytes, Relaxed);
        } else {
            let path = std::mem::take(self.path.get_mut().unwrap_or_else(PoisonError::into_inner));
            self.space.add(|work| work.unneeded.push((path, bytes)));
        }
    }
}

/// Nothing that is done under one of these locks panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
