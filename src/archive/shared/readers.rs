//! Who reads from the tier in memory, how far each has come, and what is kept for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::entry::{Id, Next, Place};
use super::memory::Memory;
use crate::dicom::Uid;
use crate::dicom::object::Head;

/// Someone who is being answered.
#[derive(Debug)]
pub(super) struct Attending {
    /// When it last took something.
    pub(super) last: Instant,
    /// How many of its claims wait for bytes.
    pub(super) hungry: usize,
    /// It is far behind: what it has not begun to read is not kept for it.
    pub(super) lagging: bool,
    /// It took nothing for too long, and gets nothing any more.
    pub(super) cut: bool,
    /// Its claims, each with its entry.
    pub(super) claims: HashSet<(Id, Id)>,
}

/// A claim that was made.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) entry: Id,
    pub(super) place: Id,
    pub(super) head: Arc<Head>,
    pub(super) series: Option<Uid>,
}

impl Memory {
    /// A new reader.
    pub(super) fn attend(&mut self) -> Id {
        let id = self.id();
        let (last, claims) = (Instant::now(), HashSet::new());
        let reader = Attending { last, hungry: 0, lagging: false, cut: false, claims };
        self.readers.insert(id, reader);
        id
    }

    /// What a claim that is no more means for its reader.
    pub(super) fn leave(&mut self, entry: Id, claim: Id, place: Place) {
        if let Some(reader) = self.readers.get_mut(&place.reader) {
            reader.claims.remove(&(entry, claim));
            reader.hungry -= usize::from(place.waker.is_some());
        }
        self.later.wake.extend(place.waker);
        if let Some(count) = self.begun.get_mut(&entry).filter(|_| place.started) {
            *count -= 1;
            if *count == 0 {
                self.begun.remove(&entry);
            }
        }
    }

    /// Claims an entry for a reader, if its first byte is still there.
    pub(super) fn claim(&mut self, id: Id, reader: Id) -> Option<Claimed> {
        let claim = self.id();
        let entry = self.entries.get_mut(&id).filter(|entry| entry.is_open())?;
        let attending = self.readers.get_mut(&reader).filter(|reader| !reader.cut)?;
        attending.claims.insert((id, claim));
        entry.claims.insert(claim, Place { reader, at: 0, started: false, waker: None });
        let claimed =
            Claimed { entry: id, place: claim, head: Arc::clone(&entry.head), series: entry.series.clone() };
        if !attending.lagging {
            self.hold(id);
        }
        Some(claimed)
    }

    /// One more claim keeps the entry.
    pub(super) fn hold(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.held_by += 1;
        if let Some(stamp) = entry.stamp.take() {
            self.order.remove(&stamp);
        }
    }

    /// One claim less keeps the entry.
    pub(super) fn let_go(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.held_by -= 1;
        self.later.room = true;
        self.settle(id);
    }

    /// Drops a claim.
    pub(super) fn release(&mut self, id: Id, claim: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(place) = entry.claims.remove(&claim) else { return };
        let started = place.started;
        let mut held = started;
        if let Some(reader) = self.readers.get_mut(&place.reader) {
            held |= !reader.lagging;
            reader.last = Instant::now();
        }
        self.leave(id, claim, place);
        if held {
            self.let_go(id);
        }
    }

    /// Takes every claim from a reader that takes nothing.
    pub(super) fn cut(&mut self, id: Id) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.cut = true;
        let claims: Vec<_> = reader.claims.iter().copied().collect();
        let archive = claims.first().and_then(|(entry, _)| self.entries.get(entry));
        self.later.cut.extend(archive.map(|entry| Arc::clone(&entry.key.archive)));
        for (entry, claim) in claims {
            self.release(entry, claim);
        }
    }

    /// Says whether a reader is too far behind for what it has not begun to be kept for it.
    pub(super) fn set_lagging(&mut self, id: Id, lagging: bool) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        if std::mem::replace(&mut reader.lagging, lagging) == lagging {
            return;
        }
        let claims: Vec<_> = reader.claims.iter().copied().collect();
        for (entry, claim) in claims {
            let place = self.entries.get(&entry).and_then(|entry| entry.claims.get(&claim));
            match place {
                Some(place) if !place.started && lagging => self.let_go(entry),
                Some(place) if !place.started => self.hold(entry),
                _ => {}
            }
        }
    }

    /// Says that a claim's reader has begun: from now on the entry is kept for it, however far behind it is. `false`: the
    /// claim is no more.
    pub(super) fn start(&mut self, id: Id, claim: Id) -> bool {
        let place = self.entries.get_mut(&id).and_then(|entry| entry.claims.get_mut(&claim));
        let Some(place) = place else { return false };
        let begins = !std::mem::replace(&mut place.started, true);
        let reader = place.reader;
        *self.begun.entry(id).or_default() += usize::from(begins);
        if begins && self.readers.get(&reader).is_some_and(|reader| reader.lagging) {
            self.hold(id);
        }
        true
    }

    /// The next bytes for a claim. Once they are [`Next::End`] or [`Next::Broken`], it is dropped.
    pub(super) fn next(&mut self, id: Id, claim: Id, cx: &mut Context<'_>) -> Next {
        if !self.start(id, claim) {
            return Next::Broken;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return Next::Broken };
        let Some(place) = entry.claims.get(&claim) else { return Next::Broken };
        let next = entry.next(place.at);
        let Some(place) = entry.claims.get_mut(&claim) else { return Next::Broken };
        let waited = place.waker.take().is_some();
        let waits = matches!(next, Next::Wait);
        place.waker = waits.then(|| cx.waker().clone());
        match &next {
            Next::Bytes(piece) => place.at += piece.len() as u64,
            Next::File { start, length, .. } => place.at = start + length,
            Next::Wait | Next::End | Next::Broken => {}
        }
        let reader_id = place.reader;
        let Some(reader) = self.readers.get_mut(&reader_id) else { return Next::Broken };
        reader.last = Instant::now();
        reader.hungry = reader.hungry + usize::from(waits) - usize::from(waited);
        if waits {
            self.set_lagging(reader_id, false);
        }
        self.later.room = true;
        if matches!(next, Next::End | Next::Broken) {
            self.release(id, claim);
        }
        next
    }

    /// Wakes who waits for bytes of the entry.
    pub(super) fn wake(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        for place in entry.claims.values_mut() {
            if let Some(waker) = place.waker.take() {
                if let Some(reader) = self.readers.get_mut(&place.reader) {
                    reader.hungry -= 1;
                    reader.last = Instant::now();
                }
                self.later.wake.push(waker);
            }
        }
    }
}
