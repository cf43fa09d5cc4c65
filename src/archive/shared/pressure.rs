//! Who gives way when the memory is full of what readers have yet to take.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Id;
use super::memory::Memory;

/// How long a retrieval waits for room, while other readers wait for bytes, before the slowest reader loses what it
/// has not begun to read.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits before a reader of the very object that is on its way loses it in the middle, so that the others
/// get on.
const PATIENCE_UNDER_WAY: Duration = Duration::from_secs(3);
/// How long a reader may take nothing while a retrieval waits for room. Where others wait for the association, what
/// reads from it is less patient than that.
const PATIENCE_STALLED: Duration = Duration::from_secs(30);

/// Who has taken something within this time is not slow, but busy.
const PAUSE: Duration = Duration::from_millis(50);

impl Memory {
    /// Takes claims from readers so that a retrieval which waits for room since `since` can add to entry `id`.
    /// `true`: something has changed, and it should try again.
    pub(super) fn relieve(&mut self, id: Id, since: Instant, now: Instant) -> bool {
        if let Some(stalled) = self.stalled(now) {
            self.cut(stalled);
            return true;
        }
        // That nobody has room does no harm before somebody waits for bytes.
        let hungry = self.readers.values().filter(|reader| reader.hungry > 0).map(|reader| reader.last);
        let Some(hungry_since) = hungry.min() else { return false };
        let waited = now.saturating_duration_since(since.max(hungry_since));
        if waited < PATIENCE {
            return false;
        }
        let idle = |memory: &Self, reader: Id| {
            memory.readers.get(&reader).is_some_and(|r| now.saturating_duration_since(r.last) >= PAUSE)
        };
        let behind = |memory: &Self, reader: Id| memory.backlog(reader);
        // Who reads as fast as it can has not had the time to catch up yet.
        let slow =
            self.slowest(|memory, reader| if idle(memory, reader) { behind(memory, reader) } else { 0 });
        let slow = slow.or_else(|| if waited >= 2 * PATIENCE { self.slowest(behind) } else { None });
        if let Some(reader) = slow {
            self.set_lagging(reader, true);
            return true;
        }
        let wanted =
            self.entries.get(&id).is_some_and(|e| e.claims.values().any(|place| place.waker.is_some()));
        if waited < PATIENCE_UNDER_WAY || !wanted {
            return false;
        }
        let Some(reader) = self.slowest(|memory, reader| memory.unread(reader, id)) else { return false };
        let Some(entry) = self.entries.get(&id) else { return false };
        let claim = entry.claims.iter().find(|(_, place)| place.reader == reader).map(|(claim, _)| *claim);
        let Some(claim) = claim else { return false };
        self.later.cut.push(Arc::clone(&entry.key.archive));
        self.release(id, claim);
        true
    }

    /// A reader that has taken nothing for too long.
    fn stalled(&self, now: Instant) -> Option<Id> {
        let stalled = self.readers.iter().find(|(_, reader)| {
            !reader.claims.is_empty()
                && reader.hungry == 0
                && now.saturating_duration_since(reader.last) >= PATIENCE_STALLED
        });
        stalled.map(|(id, _)| *id)
    }

    /// The reader that does not wait for bytes and is furthest behind by `measure`; `None`: nobody is behind.
    fn slowest(&self, measure: impl Fn(&Self, Id) -> u64) -> Option<Id> {
        let readers = self.readers.iter().filter(|(_, reader)| reader.hungry == 0);
        let behind = readers.map(|(id, _)| (measure(self, *id), *id)).filter(|(bytes, _)| *bytes > 0);
        behind.max().map(|(_, id)| id)
    }

    /// Bytes that are kept for a reader which has not begun to read them.
    fn backlog(&self, reader: Id) -> u64 {
        let Some(reader) = self.readers.get(&reader).filter(|reader| !reader.lagging) else { return 0 };
        let held = reader.claims.iter().filter_map(|(entry, claim)| {
            let entry = self.entries.get(entry)?;
            (!entry.claims.get(claim)?.started).then_some(entry.length)
        });
        held.sum()
    }

    /// Bytes of one object that a reader has yet to take.
    fn unread(&self, reader: Id, id: Id) -> u64 {
        let Some(entry) = self.entries.get(&id) else { return 0 };
        let places = entry.claims.values().filter(|place| place.reader == reader);
        places.map(|place| entry.length - place.at).max().unwrap_or(0)
    }
}
