//! The objects at hand: in memory first, on disk second, both bounded by bytes.

#![allow(dead_code, reason = "the engine of shared retrievals lands with the next change")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::claim::Reader;
use super::config::Config;
use super::entry::Entry;
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

/// What an object is found under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The archive's name in the configuration.
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
        let searches = Searches::new(config.searches, metrics.clone());
        let memory = Mutex::new(Memory::new(config.memory));
        Self(Arc::new(Inner { config, searches, metrics, memory, room: Notify::new(), figures }))
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
        let id = self.with(|memory| {
            memory.begin(key.clone(), Arc::clone(&head), series.clone(), expires, reserve.of())
        });
        Writer::new(self.clone(), id, key, head, series)
    }

    /// Whether the object is here, whole and fresh.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.with(|memory| memory.find(key, Instant::now()).is_some_and(|id| memory.entries[&id].whole))
    }

    /// SOP Instance UIDs of the objects of a study, or of one of its series, that are here, whole and fresh.
    pub(super) fn whole(
        &self,
        archive: &str,
        study: &Uid,
        series: Option<&Uid>,
        form: Form,
    ) -> BTreeSet<Uid> {
        let (now, archive) = (Instant::now(), archive.into());
        let serves = |entry: &Entry| {
            entry.whole
                && entry.serves(now)
                && entry.is_of(form)
                && series.is_none_or(|s| entry.series.as_ref() == Some(s))
        };
        self.with(|memory| {
            let entries = memory.of_study(&archive, study).filter(|(_, entry)| serves(entry));
            entries.map(|(_, entry)| entry.key.instance.clone()).collect()
        })
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
        self.with(|memory| {
            let mut purged = Purged::default();
            for id in memory.indexed(what.archive.as_deref()) {
                let Some(entry) = memory.entries.get(&id).filter(|entry| what.names(entry)) else { continue };
                purged.objects += 1;
                purged.bytes += entry.length;
                memory.forget(id);
            }
            purged
        })
    }

    /// How the cache does.
    pub fn state(&self) -> State {
        let (objects, memory) = self.with(|memory| {
            let now = Instant::now();
            let whole = memory.entries.values().filter(|entry| entry.whole && entry.serves(now));
            (whole.count() as u64, memory.used)
        });
        State { objects, memory, memory_size: self.0.config.memory, disk: None }
    }

    /// What those wait for who need room.
    pub(super) fn room(&self) -> &Notify {
        &self.0.room
    }

    /// Does something with the tier in memory, and then what it has left to be done without the lock.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut memory);
        let Later { wake, garbage, room, cut, evicted } = std::mem::take(&mut memory.later);
        let figures = &self.0.figures;
        figures.bytes.set(i64::try_from(memory.used).unwrap_or(i64::MAX));
        figures.objects.set(i64::try_from(memory.entries.len()).unwrap_or(i64::MAX));
        drop(memory);
        figures.evictions.inc_by(evicted);
        drop(garbage);
        wake.into_iter().for_each(std::task::Waker::wake);
        if room {
            self.0.room.notify_waiters();
        }
        for archive in cut {
            self.0.metrics.readers_cut.get_or_create(&Of { archive: archive.to_string() }).inc();
        }
        result
    }
}

impl Purge {
    fn names(&self, entry: &Entry) -> bool {
        self.archive.as_deref().is_none_or(|archive| *archive == *entry.key.archive)
            && self.study.as_ref().is_none_or(|study| *study == entry.key.study)
            && self.series.as_ref().is_none_or(|series| entry.series.as_ref() == Some(series))
            && self.instance.as_ref().is_none_or(|instance| *instance == entry.key.instance)
    }
}
