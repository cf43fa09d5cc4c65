//! The tier in memory: what is there, how much of it there may be, and what makes room.
//!
//! Everything here happens under the cache's one lock, takes no time to speak of and never waits. What is to be done
//! when the lock is released (waking, freeing) is left in [`Later`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::cache::{FORMS, Key, Purge};
use super::entry::{Entry, Id, Reserved, Run};
use super::readers::Attending;
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::Head;

/// What a running retrieval may hold outside the budget, in bytes: four receive blocks, so that it moves on however
/// full the memory is.
pub(super) const RESERVE: u64 = 1 << 20;

/// What an object costs beside its bytes, in bytes: its entry, its UIDs in several places, its place in the maps; measured
/// with 100,000 objects of 700 bytes each. Small objects cost little else; in what blocks are charged it is lost.
pub(super) const ENTRY: u64 = 1 << 10;

/// What is to be done after the lock was released.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Who waits for bytes, or has lost its claim.
    pub(super) wake: Vec<Waker>,
    /// What is to be freed.
    pub(super) garbage: Vec<Run>,
    /// Entries to be written to disk, and whether that is urgent.
    pub(super) saves: Vec<(Id, bool)>,
    /// Somebody who waits for room may try again.
    pub(super) room: bool,
    /// Archives whose reader was cut off.
    pub(super) cut: Vec<Arc<str>>,
    /// Objects that made room for others.
    pub(super) evicted: u64,
}

/// Whether there is room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    Full,
    /// The entry was given up.
    Gone,
}

/// Objects of one study, by SOP Instance UID and form.
type Study = HashMap<(Uid, Form), Id>;

/// The tier in memory.
#[derive(Debug)]
pub(super) struct Memory {
    /// Most bytes.
    pub(super) size: u64,
    /// Bytes now, without the reserves.
    pub(super) used: u64,
    next: Id,
    pub(super) entries: HashMap<Id, Entry>,
    studies: HashMap<(Arc<str>, Uid), Study>,
    /// What may be evicted, the longest unused first.
    pub(super) order: BTreeMap<u64, Id>,
    pub(super) readers: HashMap<Id, Attending>,
    /// Bytes of objects that wait to be written to disk, or are being written.
    pub(super) queued: u64,
    /// Whether there is a disk to write to.
    pub(super) can_save: bool,
    /// How many claims of each entry have begun to be read: what they have passed may be dropped.
    pub(super) begun: HashMap<Id, usize>,
    /// Entries of which something is on disk, and perhaps in memory as well.
    pub(super) backed: BTreeSet<Id>,
    /// How often objects were dropped by name: what came meanwhile may be one of them.
    pub(super) purges: u64,
    pub(super) later: Later,
}

impl Memory {
    /// An empty tier of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            used: 0,
            next: 0,
            entries: HashMap::new(),
            studies: HashMap::new(),
            order: BTreeMap::new(),
            readers: HashMap::new(),
            queued: 0,
            can_save: false,
            begun: HashMap::new(),
            backed: BTreeSet::new(),
            purges: 0,
            later: Later::default(),
        }
    }

    pub(super) fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    /// A new entry, found under its key unless one that serves is there already.
    pub(super) fn begin(
        &mut self,
        key: Key,
        head: Arc<Head>,
        series: Option<Uid>,
        expires: Instant,
        reserve: Reserved,
    ) -> Id {
        let id = self.id();
        let taken = self.find(&key, Instant::now()).is_some();
        let entry = Entry {
            key: key.clone(),
            head,
            series,
            expires,
            whole: false,
            length: 0,
            first: 0,
            runs: VecDeque::new(),
            claims: HashMap::new(),
            held_by: 0,
            stamp: None,
            reserve,
            file: None,
            on_file: 0,
            draft: None,
            writing: false,
            queued: 0,
            unsavable: false,
            unverified: false,
            began: Some(self.purges),
        };
        self.entries.insert(id, entry);
        if !taken {
            self.index(&key, id);
        }
        id
    }

    /// Makes the entry the one that is found under its key.
    fn index(&mut self, key: &Key, id: Id) {
        let study = self.studies.entry((Arc::clone(&key.archive), key.study.clone())).or_default();
        if let Some(old) = study.insert((key.instance.clone(), key.form), id)
            && old != id
        {
            self.settle(old);
        }
    }

    pub(super) fn unindex(&mut self, id: Id) {
        let Some(entry) = self.entries.get(&id) else { return };
        let study_key = (Arc::clone(&entry.key.archive), entry.key.study.clone());
        let Some(study) = self.studies.get_mut(&study_key) else { return };
        let instance = (entry.key.instance.clone(), entry.key.form);
        if study.get(&instance) == Some(&id) {
            study.remove(&instance);
        }
        if study.is_empty() {
            self.studies.remove(&study_key);
        }
    }

    /// Whether the entry is the one that is found under its key.
    pub(super) fn is_indexed(&self, id: Id) -> bool {
        let Some(Entry { key, .. }) = self.entries.get(&id) else { return false };
        let study = self.studies.get(&(Arc::clone(&key.archive), key.study.clone()));
        study.and_then(|study| study.get(&(key.instance.clone(), key.form))) == Some(&id)
    }

    pub(super) fn find_exactly(&self, key: &Key, now: Instant) -> Option<Id> {
        let study = self.studies.get(&(Arc::clone(&key.archive), key.study.clone()))?;
        let id = *study.get(&(key.instance.clone(), key.form))?;
        self.entries.get(&id)?.serves(now).then_some(id)
    }

    /// The entry that serves a request for `key`. What is stored natively serves requests for the native form too.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<Id> {
        self.find_exactly(key, now).or_else(|| {
            let stored = Key { form: Form::AsStored, ..key.clone() };
            let id = (key.form == Form::Native).then(|| self.find_exactly(&stored, now)).flatten()?;
            self.entries[&id].is_of(Form::Native).then_some(id)
        })
    }

    /// Entries of a study, whole or on their way, with what they are found under.
    pub(super) fn of_study(&self, archive: &Arc<str>, study: &Uid) -> impl Iterator<Item = (Id, &Entry)> {
        let found = self.studies.get(&(Arc::clone(archive), study.clone()));
        found.into_iter().flat_map(Study::values).filter_map(|id| Some((*id, self.entries.get(id)?)))
    }

    /// Entries that can be found and that are named.
    pub(super) fn named(&self, what: &Purge) -> Vec<Id> {
        let mut named = Vec::new();
        for (_, study) in self.studies.iter().filter(|((archive, study), _)| what.names_study(archive, study))
        {
            match &what.instance {
                Some(uid) => named.extend(FORMS.iter().filter_map(|form| study.get(&(uid.clone(), *form)))),
                None => named.extend(study.values()),
            }
        }
        named.retain(|id| self.entries.get(id).is_some_and(|entry| what.names_series(entry.series.as_ref())));
        named
    }

    /// Makes an entry found no more, nor when it is whole; it is dropped when nobody reads it.
    pub(super) fn forget(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.began = None;
        }
        self.unindex(id);
        self.settle(id);
    }

    /// Adds a piece that begins a new run of `charge` bytes, if there is room or room can be made.
    pub(super) fn admit(&mut self, id: Id, piece: &Bytes, charge: u64) -> Admission {
        let reserved = loop {
            if !self.entries.contains_key(&id) {
                return Admission::Gone;
            }
            if self.used + charge <= self.size {
                break false;
            }
            if self.evict() || self.drop_saved(id) {
                continue;
            }
            let Some(entry) = self.entries.get(&id) else { return Admission::Gone };
            // The first piece of all passes whatever its size.
            let held = entry.reserve.load(Relaxed);
            let fits = held == 0 || held + charge <= RESERVE;
            let unclaimed = entry.held_by == 0;
            if fits && (!unclaimed || self.can_save) {
                break true;
            }
            if self.can_save && self.spill() {
                return Admission::Full;
            }
            if unclaimed {
                self.remove(id);
                return Admission::Gone;
            }
            if !self.drop_passed(id) {
                return Admission::Full;
            }
        };
        let Some(entry) = self.entries.get_mut(&id) else { return Admission::Gone };
        if reserved {
            entry.reserve.fetch_add(charge, Relaxed);
        } else {
            self.used += charge;
        }
        entry.runs.push_back(Run::new(entry.length, piece.clone(), charge, reserved));
        entry.length += piece.len() as u64;
        self.wake(id);
        Admission::Admitted
    }

    /// Adds a piece to the run that was begun last. `false`: the entry was given up.
    pub(super) fn extend(&mut self, id: Id, piece: Bytes) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let Some(run) = entry.runs.back_mut() else { return false };
        entry.length += piece.len() as u64;
        run.push(piece);
        self.wake(id);
        true
    }

    /// Puts a copy in the place of the pieces of the run that was begun last.
    pub(super) fn replace(&mut self, id: Id, copy: Bytes) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(run) = entry.runs.back_mut().filter(|run| run.end - run.start == copy.len() as u64) else {
            return;
        };
        let beside = if run.start == 0 { ENTRY } else { 0 };
        let saved = run.charge.saturating_sub(copy.len() as u64 + beside);
        let (start, reserved) = (run.start, run.reserved);
        let old = std::mem::replace(run, Run::new(start, copy, run.charge - saved, reserved));
        if reserved {
            entry.reserve.fetch_sub(saved, Relaxed);
        } else {
            self.used -= saved;
        }
        self.later.garbage.push(old);
        self.later.room = true;
    }

    /// The object is whole.
    pub(super) fn finish(&mut self, id: Id) {
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.whole = true;
        let may_be_found = entry.is_open() && entry.began == Some(self.purges);
        let key = entry.key.clone();
        self.wake(id);
        let better =
            may_be_found && self.find_exactly(&key, now).is_none_or(|found| !self.entries[&found].whole);
        if better {
            self.index(&key, id);
        }
        if self.is_indexed(id) {
            self.offer(id);
        }
        self.settle(id);
    }

    /// Drops an entry, whoever reads it.
    pub(super) fn remove(&mut self, id: Id) {
        self.unindex(id);
        let Some(mut entry) = self.entries.remove(&id) else { return };
        self.backed.remove(&id);
        if let Some(stamp) = entry.stamp {
            self.order.remove(&stamp);
        }
        for (claim, place) in entry.claims.drain() {
            self.leave(id, claim, place);
        }
        let (shared, reserved) = entry.charges();
        self.queued -= entry.queued;
        self.used -= shared;
        entry.reserve.fetch_sub(reserved, Relaxed);
        self.later.garbage.extend(entry.runs);
        self.later.room = true;
    }

    /// Decides what becomes of an entry that nothing keeps: it may be evicted, or is of no use any more.
    pub(super) fn settle(&mut self, id: Id) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.whole && entry.held_by == 0) else {
            return;
        };
        let (_, reserved) = entry.charges();
        let in_memory = entry.first == 0;
        let useful = in_memory && entry.serves(Instant::now()) && self.used + reserved <= self.size;
        if !useful || !self.is_indexed(id) {
            return self.remove(id);
        }
        let stamp = self.id();
        self.used += reserved;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.reserve.fetch_sub(reserved, Relaxed);
            entry.runs.iter_mut().for_each(|run| run.reserved = false);
            if let Some(old) = entry.stamp.replace(stamp) {
                self.order.remove(&old);
            }
            self.order.insert(stamp, id);
        }
    }

    /// Drops what was unused the longest. `false`: everything is in use.
    pub(super) fn evict(&mut self) -> bool {
        let Some((_, id)) = self.order.pop_first() else { return false };
        self.remove(id);
        self.later.evicted += 1;
        true
    }

    /// Drops what every reader of an object has passed: of this one, else of any. Nobody can begin it any more.
    fn drop_passed(&mut self, id: Id) -> bool {
        let droppable = |found: Id, entry: &Entry| {
            entry.passed().min(if found == id { entry.runs.len() } else { entry.closed_runs() })
        };
        let own = self.entries.get(&id).map(|entry| (id, droppable(id, entry)));
        let begun = self.begun.keys().filter_map(|id| Some((*id, self.entries.get(id)?)));
        let all = || begun.map(|(id, entry)| (id, droppable(id, entry)));
        let found = own.filter(|(_, count)| *count > 0).or_else(|| all().find(|(_, count)| *count > 0));
        let Some((found, count)) = found else { return false };
        self.drop_runs(found, count);
        true
    }
}
