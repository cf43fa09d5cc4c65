//! The tier on disk: each object a file of its own, in a directory that is nobody else's.
//!
//! One thread changes the directory. It looks through it at the start, writes what it is given, and removes what
//! nobody needs any more. Readers read by themselves, block by block, and verify each before any byte of it is used.

mod directory;
mod file;
mod format;
mod index;
mod space;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use self::index::Index;
use self::space::{Slot, Space, lock};
use super::cache::{DiskState, Key, Purge, WeakCache};
use super::config;
use super::entry::Id;
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::metrics::{Metrics, Tier};

pub(super) use file::{Backing, Draft};
pub(super) use format::{Damaged, Description};
pub(super) use index::Stored;

/// Largest object that is read into memory at once when it is found on disk; larger ones are read as their readers get
/// on.
const SMALL: u64 = 4 << 20;
/// How many objects are read into memory at once. Together with [`SMALL`], what this takes beyond the budget.
const LOADS: usize = 2;

/// The tier on disk.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    size: u64,
    space: Arc<Space>,
    index: Mutex<Index>,
    /// Why it is not used.
    problem: Mutex<Option<String>>,
    loads: Semaphore,
    figures: Figures,
    /// Tests let the disk fail.
    fails: AtomicBool,
}

#[derive(Debug)]
struct Figures {
    bytes: Gauge,
    objects: Gauge,
    evictions: Counter,
    damaged: Counter,
}

impl Disk {
    /// A tier as configured; nothing is in it until [`Disk::start`].
    pub(super) fn new(config: &config::Disk, metrics: &Metrics) -> Arc<Self> {
        let tier = Tier { tier: "disk" };
        let figures = Figures {
            bytes: metrics.cache_bytes.get_or_create(&tier).clone(),
            objects: metrics.cache_objects.get_or_create(&tier).clone(),
            evictions: metrics.cache_evictions.get_or_create(&tier).clone(),
            damaged: metrics.cache_damaged.clone(),
        };
        metrics.cache_limit_bytes.get_or_create(&tier).set(i64::try_from(config.size).unwrap_or(i64::MAX));
        Arc::new(Self {
            path: config.path.clone(),
            size: config.size,
            space: Space::new(config.size),
            index: Mutex::default(),
            problem: Mutex::default(),
            loads: Semaphore::new(LOADS),
            figures,
            fails: AtomicBool::new(false),
        })
    }

    /// Starts the thread that changes the directory. It ends after [`Disk::close`].
    pub(super) fn start(self: &Arc<Self>, cache: WeakCache) {
        let worker = worker::Worker::new(Arc::clone(self), cache);
        let started = std::thread::Builder::new().name("cache".into()).spawn(move || worker.run());
        if let Err(error) = started {
            self.set_problem(Some(format!("its thread cannot be started ({error})")));
        }
    }

    /// Ends the thread; what it has not written is not written. What was dropped is removed, so that the next run does
    /// not find it.
    pub(super) fn close(&self) {
        let mut doomed = Vec::new();
        self.space.add(|work| {
            work.closed = true;
            doomed = std::mem::take(&mut work.doomed);
        });
        drop(doomed);
        self.space.sweep();
    }

    /// Has entries of the tier in memory written, the urgent ones first.
    pub(super) fn save(&self, entries: &[(Id, bool)]) {
        self.space.add(|work| {
            for (id, urgent) in entries {
                if *urgent {
                    work.saves.push_front(*id);
                } else {
                    work.saves.push_back(*id);
                }
            }
        });
    }

    /// The head and the series of the object that serves a request for `key`.
    pub(super) fn about(&self, key: &Key) -> Option<(Arc<Head>, Option<Uid>)> {
        lock(&self.index).about(key, SystemTime::now())
    }

    /// Adds what there is of a study, or of one of its series.
    pub(super) fn whole(
        &self,
        study: &(Arc<str>, Uid),
        series: Option<&Uid>,
        form: Form,
        into: &mut BTreeMap<Uid, Uid>,
    ) {
        lock(&self.index).whole(study, series, form, SystemTime::now(), into);
    }

    /// How many objects there are.
    pub(super) fn objects(&self) -> u64 {
        lock(&self.index).len() as u64
    }

    /// Drops objects; tells which, and their bytes.
    pub(super) fn purge(&self, what: &Purge) -> Vec<(Key, u64)> {
        let mut index = lock(&self.index);
        index.note(what);
        let named = index.named(what);
        let doomed: Vec<_> = named.iter().filter_map(|(key, _)| index.remove(key)).collect();
        drop(index);
        self.doom(doomed);
        named
    }

    /// How it does.
    pub(super) fn state(&self) -> DiskState {
        let problem = lock(&self.problem).clone();
        DiskState { path: self.path.clone(), bytes: self.space.used(), size: self.size, problem }
    }

    /// The object that serves a request for `key`.
    pub(super) fn take(&self, key: &Key) -> Option<Stored> {
        lock(&self.index).take(key, SystemTime::now())
    }

    /// Verifies an object of `length` bytes: all of it, which is returned, if it is small against the `memory` there
    /// is, else its beginning.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) async fn load(&self, file: Backing, length: u64, memory: u64) -> Result<Vec<Bytes>, Damaged> {
        let _permit = self.loads.acquire().await.map_err(|_| Damaged)?;
        let most = SMALL.min(memory / 8);
        spawn_blocking(move || file.load(length, most)).await.map_err(|_| Damaged)?
    }

    /// The file of an object was found damaged while it was being read.
    pub(super) fn damaged(&self, key: &Key, file: &Backing) {
        self.drop_damaged(key, file.slot());
    }

    fn drop_damaged(&self, key: &Key, slot: &Arc<Slot>) {
        let mut index = lock(&self.index);
        if index.is(key, slot) {
            let doomed = index.remove(key);
            drop(index);
            self.figures.damaged.inc();
            tracing::warn!("an object of the cache on disk is damaged, and will be fetched again");
            self.doom(doomed);
        }
    }

    fn doom(&self, slots: impl IntoIterator<Item = Arc<Slot>>) {
        self.space.add(|work| work.doomed.extend(slots));
    }

    /// Says why it is not used, once; `None`: it is used.
    fn set_problem(&self, problem: Option<String>) {
        let mut now = lock(&self.problem);
        if *now != problem {
            match &problem {
                Some(problem) => {
                    let path = self.path.display();
                    tracing::warn!("the cache goes on without its disk {path}: {problem}");
                }
                None => tracing::info!("the cache uses its disk again"),
            }
        }
        *now = problem;
    }

    /// Whether a test lets the disk fail.
    fn fails(&self) -> bool {
        cfg!(test) && self.fails.load(Relaxed)
    }
}
