//! What lies on disk, by what it is found under.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::file::{Backing, Found};
use super::format::Description;
use super::space::Slot;
use crate::archive::Form;
use crate::archive::shared::cache::{FORMS, Key, Purge};
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax;

/// Most files: what is known of them takes some hundred bytes of memory each.
const MAX_FILES: usize = 200_000;

/// Most purges that are told apart while the files of an earlier run are looked through; with more, none of what is
/// found from then on is used.
const MAX_EARLY: usize = 10_000;

/// One object on disk.
#[derive(Debug)]
struct Record {
    backing: Backing,
    head: Arc<Head>,
    series: Option<Uid>,
    length: u64,
    expires: SystemTime,
    stamp: u64,
}

impl Record {
    fn is_native(&self) -> bool {
        transfer_syntax::is_native(&self.head.transfer_syntax)
    }
}

/// An object that lies on disk; as long as somebody has this, its file is there.
#[derive(Debug)]
pub(in crate::archive::shared) struct Stored {
    pub(in crate::archive::shared) key: Key,
    pub(in crate::archive::shared) head: Arc<Head>,
    pub(in crate::archive::shared) series: Option<Uid>,
    pub(in crate::archive::shared) backing: Backing,
    pub(in crate::archive::shared) length: u64,
    pub(in crate::archive::shared) expires: SystemTime,
}

type Study = HashMap<(Uid, Form), Record>;

/// The objects on disk.
#[derive(Debug, Default)]
pub(super) struct Index {
    studies: HashMap<(Arc<str>, Uid), Study>,
    /// The longest unused first.
    order: BTreeMap<u64, Key>,
    next: u64,
    /// What was dropped before all files of an earlier run were looked through.
    early: Early,
    stock_taken: bool,
}

/// What was dropped by name and may yet be found on disk.
#[derive(Debug, Default)]
struct Early {
    /// Instances, of whichever archive.
    instances: HashSet<Uid>,
    others: Vec<Purge>,
    too_many: bool,
}

impl Early {
    fn names(&self, key: &Key, series: Option<&Uid>) -> bool {
        let named = |what: &Purge| {
            what.names_study(&key.archive, &key.study)
                && what.names_series(series)
                && what.instance.as_ref().is_none_or(|uid| *uid == key.instance)
        };
        self.too_many || self.instances.contains(&key.instance) || self.others.iter().any(named)
    }
}

impl Index {
    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing more is to be added before something was removed.
    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= MAX_FILES
    }

    /// Takes note of what is being dropped, as long as not everything was looked through that may be named.
    pub(super) fn note(&mut self, what: &Purge) {
        if self.stock_taken {
            return;
        }
        let early = &mut self.early;
        early.too_many |= early.instances.len() + early.others.len() >= MAX_EARLY;
        match &what.instance {
            _ if early.too_many => {}
            Some(instance) => drop(early.instances.insert(instance.clone())),
            None => early.others.push(what.clone()),
        }
    }

    /// The files of an earlier run were looked through.
    pub(super) fn stock_is_taken(&mut self) {
        (self.stock_taken, self.early) = (true, Early::default());
    }

    /// Adds an object of an earlier run, unless it has expired or was dropped meanwhile.
    pub(super) fn take_in(&mut self, found: &Found, now: SystemTime) -> bool {
        let Description { key, series, expires, .. } = &found.description;
        *expires > now && !self.is_full() && !self.early.names(key, series.as_ref()) && self.insert(found)
    }

    /// Adds an object, whose file then stays. `false`: there is one already.
    pub(super) fn insert(&mut self, found: &Found) -> bool {
        let Found { description, backing, length } = found;
        let key = &description.key;
        let study = self.studies.entry((Arc::clone(&key.archive), key.study.clone())).or_default();
        let place = (key.instance.clone(), key.form);
        if study.contains_key(&place) {
            return false;
        }
        self.next += 1;
        backing.slot().keep(true);
        let (backing, head) = (backing.clone(), Arc::new(description.head.clone()));
        let (series, expires) = (description.series.clone(), description.expires);
        study.insert(place, Record { backing, head, series, length: *length, expires, stamp: self.next });
        self.order.insert(self.next, key.clone());
        true
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        let study = self.studies.get(&(Arc::clone(&key.archive), key.study.clone()))?;
        study.get(&(key.instance.clone(), key.form))
    }

    /// Whether this file is the one that is found under `key`.
    pub(super) fn is(&self, key: &Key, slot: &Arc<Slot>) -> bool {
        self.record(key).is_some_and(|record| Arc::ptr_eq(record.backing.slot(), slot))
    }

    /// What serves a request for `key`.
    fn find(&self, key: &Key, now: SystemTime) -> Option<(Key, &Record)> {
        let fresh = |key: Key| Some((key.clone(), self.record(&key).filter(|record| record.expires > now)?));
        let stored = || fresh(Key { form: Form::AsStored, ..key.clone() }).filter(|(_, r)| r.is_native());
        fresh(key.clone()).or_else(|| (key.form == Form::Native).then(stored).flatten())
    }

    /// The head and the series of what serves a request for `key`.
    pub(super) fn about(&self, key: &Key, now: SystemTime) -> Option<(Arc<Head>, Option<Uid>)> {
        self.find(key, now).map(|(_, record)| (Arc::clone(&record.head), record.series.clone()))
    }

    /// What serves a request for `key`; it counts as used.
    pub(super) fn take(&mut self, key: &Key, now: SystemTime) -> Option<Stored> {
        let (key, Record { backing, head, series, length, expires, stamp }) = self.find(key, now)?;
        let (backing, head, series, old) = (backing.clone(), Arc::clone(head), series.clone(), *stamp);
        let stored = Stored { key, head, series, backing, length: *length, expires: *expires };
        self.next += 1;
        let study = self.studies.get_mut(&(Arc::clone(&stored.key.archive), stored.key.study.clone()))?;
        study.get_mut(&(stored.key.instance.clone(), stored.key.form))?.stamp = self.next;
        self.order.remove(&old);
        self.order.insert(self.next, stored.key.clone());
        Some(stored)
    }

    /// Adds the SOP Instance UIDs of what serves requests for a study, or one of its series.
    pub(super) fn whole(
        &self,
        study: &(Arc<str>, Uid),
        series: Option<&Uid>,
        form: Form,
        now: SystemTime,
        into: &mut BTreeMap<Uid, Uid>,
    ) {
        for ((instance, of), record) in self.studies.get(study).into_iter().flatten() {
            let formed = *of == form || form == Form::Native && *of == Form::AsStored && record.is_native();
            let wanted = series.is_none_or(|series| record.series.as_ref() == Some(series));
            if formed
                && wanted
                && record.expires > now
                && let Some(series) = &record.series
            {
                into.insert(instance.clone(), series.clone());
            }
        }
    }

    /// Drops an object. Its file goes when nobody reads it any more.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Slot>> {
        let of = (Arc::clone(&key.archive), key.study.clone());
        let study = self.studies.get_mut(&of)?;
        let record = study.remove(&(key.instance.clone(), key.form))?;
        if study.is_empty() {
            self.studies.remove(&of);
        }
        self.order.remove(&record.stamp);
        record.backing.slot().keep(false);
        Some(Arc::clone(record.backing.slot()))
    }

    /// Drops what was unused the longest and is not being read.
    pub(super) fn evict(&mut self) -> bool {
        let unused =
            |key: &&Key| self.record(key).is_some_and(|record| Arc::strong_count(record.backing.slot()) == 1);
        let Some(key) = self.order.values().find(unused).cloned() else { return false };
        self.remove(&key).is_some()
    }

    /// What is named, with its length.
    pub(super) fn named(&self, what: &Purge) -> Vec<(Key, u64)> {
        let mut named = Vec::new();
        for (of, records) in
            self.studies.iter().filter(|((archive, study), _)| what.names_study(archive, study))
        {
            let mut add = |((instance, form), record): (&(Uid, Form), &Record)| {
                if what.names_series(record.series.as_ref()) {
                    let (archive, study) = of.clone();
                    named.push((
                        Key { archive, study, instance: instance.clone(), form: *form },
                        record.length,
                    ));
                }
            };
            match &what.instance {
                Some(uid) => {
                    let found = FORMS.iter().filter_map(|form| records.get_key_value(&(uid.clone(), *form)));
                    found.for_each(add);
                }
                None => records.iter().for_each(&mut add),
            }
        }
        named
    }

    /// What has expired.
    pub(super) fn expired(&self, now: SystemTime) -> Vec<Key> {
        let expired = |key: &&Key| self.record(key).is_some_and(|record| record.expires <= now);
        self.order.values().filter(expired).cloned().collect()
    }
}
