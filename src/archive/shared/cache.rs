//! The objects at hand: in memory first, on disk second, both bounded by bytes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::claim::Reader;
use super::config::Config;
use super::disk;
use super::entry::{Entry, Id};
use super::memory::{Later, Memory};
use super::search::Searches;
use super::writer::{Reserve, Writer};
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::metrics::{Metrics, Of, Tier};

/// The cache of all archives. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    searches: Searches,
    metrics: Metrics,
    memory: Mutex<Memory>,
    disk: Option<Arc<disk::Disk>>,
    /// Somebody who waits for room may try again.
    room: Notify,
    figures: Figures,
}

/// The figures of the tier in memory, so that they need no look-up.
#[derive(Debug)]
struct Figures {
    bytes: Gauge,
    objects: Gauge,
    evictions: Counter,
}

/// Every form.
pub(super) const FORMS: [Form; 3] = [Form::AsStored, Form::Native, Form::WithoutBulkData];

/// A cache that ends when nobody else has it any more.
#[derive(Debug, Clone)]
pub(super) struct WeakCache(Weak<Inner>);

impl WeakCache {
    /// The cache, while there is one.
    pub(super) fn upgrade(&self) -> Option<Cache> {
        self.0.upgrade().map(Cache)
    }
}

/// What an object is found under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The archive's [scope](crate::archive::Archive::scope).
    pub(super) archive: Arc<str>,
    /// Study Instance UID.
    pub(super) study: Uid,
    /// SOP Instance UID.
    pub(super) instance: Uid,
    /// The form in which it was asked for.
    pub(super) form: Form,
}

/// What is to be dropped. A field that is `None` restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// The archive's name.
    pub archive: Option<String>,
    /// Study Instance UID.
    pub study: Option<Uid>,
    /// Series Instance UID.
    pub series: Option<Uid>,
    /// SOP Instance UID.
    pub instance: Option<Uid>,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Objects.
    pub objects: u64,
    /// Their bytes, each counted once.
    pub bytes: u64,
}

/// The archive's name, of its scope.
fn name_in(scope: &str) -> &str {
    scope.split_once('/').map_or(scope, |(name, _)| name)
}

/// How the cache does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Objects at hand, in whichever tier.
    pub objects: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Most bytes in memory.
    pub memory_size: u64,
    /// The tier on disk, where one is configured.
    pub disk: Option<DiskState>,
}

/// How the tier on disk does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// Its directory.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes on disk.
    pub size: u64,
    /// Why it is not used; `None`: it works.
    pub problem: Option<String>,
}

impl Cache {
    /// A cache as configured. What is wrong with the disk is logged and told by [`Cache::state`]; the cache then
    /// does without.
    pub fn new(config: Config, metrics: Metrics) -> Self {
        let tier = Tier { tier: "memory" };
        let figures = Figures {
            bytes: metrics.cache_bytes.get_or_create(&tier).clone(),
            objects: metrics.cache_objects.get_or_create(&tier).clone(),
            evictions: metrics.cache_evictions.get_or_create(&tier).clone(),
        };
        let limit = i64::try_from(config.memory).unwrap_or(i64::MAX);
        metrics.cache_limit_bytes.get_or_create(&tier).set(limit);
        let searches = Searches::new(config.searches, metrics.clone());
        let memory = Mutex::new(Memory::new(config.memory));
        let disk = config.disk.as_ref().map(|disk| disk::Disk::new(disk, &metrics));
        let room = Notify::new();
        let cache = Self(Arc::new(Inner { config, searches, metrics, memory, disk, room, figures }));
        if let Some(disk) = cache.disk() {
            disk.start(WeakCache(Arc::downgrade(&cache.0)));
        }
        cache
    }

    /// The searches of all archives.
    pub(in crate::archive) fn searches(&self) -> &Searches {
        &self.0.searches
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether nothing is kept at all.
    pub(super) fn is_off(&self) -> bool {
        self.0.config.memory == 0 && self.0.config.disk.is_none()
    }

    /// Who will read: one for each request that is being answered.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    /// What one running retrieval may hold beyond the budget.
    pub(super) fn reserve(&self) -> Reserve {
        Reserve::new()
    }

    /// Begins an object. It is found under `key` at once, unless another is, which then comes first.
    pub(super) fn begin(&self, key: Key, head: Head, series: Option<Uid>, reserve: &Reserve) -> Writer {
        let expires = Instant::now() + self.0.config.ttl;
        let head = Arc::new(head);
        let id =
            self.with(|memory| memory.begin(key, Arc::clone(&head), series.clone(), expires, reserve.of()));
        Writer::new(self.clone(), id, head, series)
    }

    /// Whether the object is here, whole and fresh.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.about(key).is_some()
    }

    /// The head and the series of an object that is here, whole and fresh.
    pub(super) fn about(&self, key: &Key) -> Option<(Arc<Head>, Option<Uid>)> {
        self.about_in_memory(key).or_else(|| self.disk()?.about(key))
    }

    /// The same, of the tier in memory alone.
    pub(super) fn about_in_memory(&self, key: &Key) -> Option<(Arc<Head>, Option<Uid>)> {
        self.with(|memory| {
            let entry = memory.entries.get(&memory.find(key, Instant::now())?)?;
            entry.whole.then(|| (Arc::clone(&entry.head), entry.series.clone()))
        })
    }

    /// SOP Instance UIDs of the objects of a study, or of one of its series, that are here, whole and fresh, each with
    /// its series. An object that does not say which series it is of is left out: were it dropped, it could not be
    /// asked for again.
    pub(super) fn whole(
        &self,
        archive: &str,
        study: &Uid,
        series: Option<&Uid>,
        form: Form,
    ) -> BTreeMap<Uid, Uid> {
        let (now, archive): (_, Arc<str>) = (Instant::now(), archive.into());
        let serves = |entry: &Entry| {
            entry.whole
                && entry.serves(now)
                && entry.is_of(form)
                && series.is_none_or(|s| entry.series.as_ref() == Some(s))
        };
        let mut whole: BTreeMap<Uid, Uid> = self.with(|memory| {
            let entries = memory.of_study(&archive, study).filter(|(_, entry)| serves(entry));
            entries
                .filter_map(|(_, entry)| Some((entry.key.instance.clone(), entry.series.clone()?)))
                .collect()
        });
        if let Some(disk) = self.disk() {
            disk.whole(&(archive, study.clone()), series, form, &mut whole);
        }
        whole
    }

    /// Makes an object found no more, in any form.
    pub(super) fn forget(&self, archive: &str, instance: &Uid) {
        self.drop_objects(&Purge {
            archive: Some(archive.to_owned()),
            instance: Some(instance.clone()),
            ..Purge::default()
        });
    }

    /// Drops objects. Readers that have begun are not disturbed.
    pub fn purge(&self, what: &Purge) -> Purged {
        self.0.searches.forget(what.archive.as_deref());
        self.drop_objects(what)
    }

    fn drop_objects(&self, what: &Purge) -> Purged {
        let mut dropped: HashMap<Key, u64> = self.with(|memory| {
            let mut dropped = HashMap::new();
            memory.purges += 1;
            for id in memory.named(what) {
                let entry = memory.entries.get(&id);
                dropped.extend(entry.map(|entry| (entry.key.clone(), entry.length)));
                memory.forget(id);
            }
            dropped
        });
        if let Some(disk) = self.disk() {
            dropped.extend(disk.purge(what));
        }
        Purged { objects: dropped.len() as u64, bytes: dropped.values().sum() }
    }

    /// How the cache does.
    pub fn state(&self) -> State {
        let disk = self.disk().map(|disk| disk.state());
        let (objects, memory) = self.with(|memory| {
            let now = Instant::now();
            // What is on disk as well is counted there.
            let whole = memory.entries.values().filter(|e| e.whole && e.serves(now) && !e.is_saved());
            (whole.count() as u64, memory.used)
        });
        let objects = objects + self.disk().map_or(0, |disk| disk.objects());
        State { objects, memory, memory_size: self.0.config.memory, disk }
    }

    /// The tier on disk.
    pub(super) fn disk(&self) -> Option<&Arc<disk::Disk>> {
        self.0.disk.as_ref()
    }

    /// An entry's file is damaged: it is found no more.
    pub(super) fn damaged(&self, entry: Id, file: &disk::Backing) {
        let key = self.with(|memory| {
            let key = memory.entries.get(&entry).map(|entry| entry.key.clone());
            memory.remove(entry);
            key
        });
        if let (Some(disk), Some(key)) = (self.disk(), key) {
            disk.damaged(&key, file);
        }
    }

    /// What those wait for who need room.
    pub(super) fn room(&self) -> &Notify {
        &self.0.room
    }

    /// Does something with the tier in memory, and then what it has left to be done without the lock.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut memory);
        let Later { wake, garbage, saves, room, cut, evicted } = std::mem::take(&mut memory.later);
        let figures = &self.0.figures;
        figures.bytes.set(i64::try_from(memory.used).unwrap_or(i64::MAX));
        figures.objects.set(i64::try_from(memory.entries.len()).unwrap_or(i64::MAX));
        drop(memory);
        figures.evictions.inc_by(evicted);
        drop(garbage);
        if let Some(disk) = self.disk().filter(|_| !saves.is_empty()) {
            disk.save(&saves);
        }
        wake.into_iter().for_each(std::task::Waker::wake);
        if room {
            self.0.room.notify_waiters();
        }
        for archive in cut {
            let archive = name_in(&archive).to_owned();
            self.0.metrics.readers_cut.get_or_create(&Of { archive }).inc();
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

impl Purge {
    /// Whether it names objects of this study.
    pub(super) fn names_study(&self, archive: &str, study: &Uid) -> bool {
        self.archive.as_deref().is_none_or(|name| name == name_in(archive))
            && self.study.as_ref().is_none_or(|uid| uid == study)
    }

    /// Whether it names objects of this series.
    pub(super) fn names_series(&self, series: Option<&Uid>) -> bool {
        self.series.is_none() || self.series.as_ref() == series
    }
}
