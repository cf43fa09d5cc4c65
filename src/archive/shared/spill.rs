//! What goes from memory to disk: whole objects when they have come, and what slow readers have yet to take when the
//! memory is full.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::Instant;

use super::disk::{Backing, Description, Draft, Stored};
use super::entry::{Id, Reserved, Run};
use super::memory::{ENTRY, Memory};
use super::readers::Claimed;

/// Bytes that are sent to disk at once where room is needed.
const AT_ONCE: u64 = 4 << 20;
/// Bytes of an object that must have come before it is sent to disk while it still comes: a block.
const LEAST: u64 = 256 << 10;

/// An object that is to be written.
#[derive(Debug)]
pub(super) struct Save {
    pub(super) description: Description,
    /// What was begun before.
    pub(super) draft: Option<Draft>,
}

/// What is to be written next.
#[derive(Debug)]
pub(super) enum Unsaved {
    /// A block.
    Block(Vec<Bytes>),
    /// Nothing, until more has come.
    Later,
    /// Nothing: the object is written.
    Whole,
    /// Nothing: the object is gone.
    Gone,
}

impl Memory {
    /// Puts a whole object into the queue for the disk, unless that is long enough.
    pub(super) fn offer(&mut self, id: Id) {
        let most = (self.size / 4).max(AT_ONCE);
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.is_open()) else { return };
        if entry.draft.is_some() || self.queued == 0 || self.queued + entry.length <= most {
            self.save(id);
        }
    }

    /// Puts an object into the queue for the disk; it stays in memory until it is written.
    fn save(&mut self, id: Id) -> bool {
        let can_save = self.can_save;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if !can_save || entry.writing || entry.unsavable || entry.is_saved() {
            return false;
        }
        entry.writing = true;
        self.queued += entry.length;
        entry.queued = entry.length;
        let urgent = entry.draft.is_some() || !entry.claims.is_empty();
        self.later.saves.push((id, urgent));
        self.hold(id);
        true
    }

    /// Sends what readers have yet to take to the disk. `true`: room will come of it.
    pub(super) fn spill(&mut self) -> bool {
        if self.queued > 0 {
            return true;
        }
        let least = |whole: bool| if whole { 1 } else { LEAST };
        let candidates = self.entries.iter().filter(|(_, entry)| {
            let unsaved = entry.length.saturating_sub(entry.on_file.max(entry.first));
            entry.is_open() && !entry.unsavable && unsaved >= least(entry.whole)
        });
        let mut candidates: Vec<(u64, Id)> = candidates.map(|(id, entry)| (entry.length, *id)).collect();
        candidates.sort_unstable();
        let mut bytes = 0;
        while bytes < AT_ONCE
            && let Some((length, id)) = candidates.pop()
        {
            if self.save(id) {
                bytes += length;
            }
        }
        bytes > 0
    }

    /// An object whose turn it is.
    pub(super) fn take_save(&mut self, id: Id) -> Option<Save> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let entry = self.entries.get_mut(&id)?;
        let description = Description {
            key: entry.key.clone(),
            head: (*entry.head).clone(),
            series: entry.series.clone(),
            expires: wall + entry.expires.saturating_duration_since(now),
        };
        Some(Save { description, draft: entry.draft.take() })
    }

    /// What is to be written from offset `from` on, in blocks of `block` bytes.
    pub(super) fn unsaved(&self, id: Id, from: u64, block: u64) -> Unsaved {
        let Some(entry) = self.entries.get(&id) else { return Unsaved::Gone };
        let end = entry.length.min(from + block);
        if from == entry.length && entry.whole {
            return Unsaved::Whole;
        }
        if end - from < block && !entry.whole {
            return Unsaved::Later;
        }
        let (mut pieces, mut at) = (Vec::new(), from);
        while at < end {
            let Some(mut piece) = entry.piece(at) else { return Unsaved::Gone };
            piece.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
            at += piece.len() as u64;
            pieces.push(piece);
        }
        Unsaved::Block(pieces)
    }

    /// Says up to which offset an object is on disk, and where.
    pub(super) fn saved(&mut self, id: Id, to: u64, backing: &Backing) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.on_file = to;
            entry.file = Some(backing.clone());
            self.backed.insert(id);
            self.later.room = true;
        }
    }

    /// Says that an object's turn is over: with what was begun, or for good.
    pub(super) fn save_over(&mut self, id: Id, draft: Option<Draft>, failed: bool) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.writing) else { return };
        entry.writing = false;
        entry.unsavable |= failed;
        entry.draft = draft;
        self.queued -= std::mem::take(&mut entry.queued);
        let more = entry.whole && entry.draft.is_some();
        if more {
            self.save(id);
        }
        self.let_go(id);
    }

    /// Frees the memory of what is on disk as well, so that entry `id` gets a new run.
    pub(super) fn drop_saved(&mut self, id: Id) -> bool {
        let counts = self.backed.iter().filter_map(|found| {
            let entry = self.entries.get(found)?;
            let closed = if *found == id { entry.runs.len() } else { entry.closed_runs() };
            Some((*found, entry.saved_runs().min(closed)))
        });
        let Some((found, count)) = counts.into_iter().find(|(_, count)| *count > 0) else { return false };
        self.drop_runs(found, count);
        if self.entries.get(&found).is_some_and(|entry| entry.whole && entry.runs.is_empty()) {
            self.backed.remove(&found);
        }
        true
    }

    /// Takes an object that lies on disk, and claims it.
    pub(super) fn adopt(&mut self, stored: Stored, reader: Id) -> Option<Claimed> {
        let Stored { key, head, series, backing, length, expires } = stored;
        let now = Instant::now();
        if let Some(id) = self.find_exactly(&key, now).filter(|id| self.entries[id].whole) {
            return self.claim(id, reader);
        }
        let left = expires.duration_since(SystemTime::now()).ok()?;
        let id = self.begin(key, head, series, now.checked_add(left)?, Reserved::default());
        let entry = self.entries.get_mut(&id)?;
        (entry.whole, entry.length) = (true, length);
        (entry.file, entry.on_file, entry.first) = (Some(backing), length, length);
        entry.unverified = true;
        self.backed.insert(id);
        let claimed = self.claim(id, reader);
        if claimed.is_none() {
            self.remove(id);
        }
        claimed
    }

    /// The file and the length of an object that has yet to be verified.
    pub(super) fn unverified(&self, id: Id) -> Option<(Backing, u64)> {
        let entry = self.entries.get(&id).filter(|entry| entry.unverified)?;
        Some((entry.file.clone()?, entry.length))
    }

    /// An object was verified; if all its bytes were read, they stay in memory if there is room.
    pub(super) fn verified(&mut self, id: Id, blocks: Vec<Bytes>) {
        let length = blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        let mut room = true;
        while room && self.used + length + ENTRY > self.size {
            room = self.evict();
        }
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.unverified) else { return };
        entry.unverified = false;
        if !room || blocks.is_empty() {
            return;
        }
        self.used += length + ENTRY;
        entry.first = 0;
        let mut start = 0;
        for block in blocks {
            let length = block.len() as u64;
            let charge = if start == 0 { length + ENTRY } else { length };
            entry.runs.push_back(Run::new(start, block, charge, false));
            start += length;
        }
    }

    /// Drops the first runs of an entry.
    pub(super) fn drop_runs(&mut self, id: Id, count: usize) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        for run in entry.runs.drain(..count) {
            entry.first = run.end;
            if run.reserved {
                entry.reserve.fetch_sub(run.charge, Relaxed);
            } else {
                self.used -= run.charge;
            }
            self.later.garbage.push(run);
        }
    }

    /// Drops what has expired and nobody reads.
    pub(super) fn drop_expired(&mut self) {
        let now = Instant::now();
        let expired = self.entries.iter().filter(|(_, e)| e.whole && e.held_by == 0 && e.expires <= now);
        let expired: Vec<Id> = expired.map(|(id, _)| *id).collect();
        expired.into_iter().for_each(|id| self.remove(id));
    }
}
