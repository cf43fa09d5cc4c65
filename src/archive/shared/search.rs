//! One C-FIND for all who ask the same: a search that is under way is joined, and its answer may be kept a while.
//!
//! Nobody owns a search but its readers. Whoever of them wants the next match and finds none at hand drives the
//! search for all; the last one that leaves takes it along, so that it is cancelled at the archive at once.

mod log;
mod reader;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;

use self::reader::{Reader, Running};
use crate::archive::{Archive, Feed, Fut, Result, Search};
use crate::caller::{Caller, Priority};
use crate::dicom::query::Query;
use crate::metrics::{Metrics, Outcome};

/// Most bytes of matches that are kept for those who come later, over all searches of all archives, under way or
/// ended: some 10,000 studies.
const MAX_BYTES: usize = 16 << 20;
/// Most answers that are remembered; the oldest gives way. Each costs its key besides its matches.
const MAX_REMEMBERED: usize = 1000;

/// The searches of all archives. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Searches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How long an answer is remembered; `None`: it is not.
    lifetime: Option<Duration>,
    metrics: Metrics,
    /// Bytes of matches that are kept.
    bytes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What may be joined.
    running: HashMap<Key, Weak<Running>>,
    remembered: HashMap<Key, Remembered>,
}

/// What makes two searches the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    archive: String,
    /// Tells archives of one name apart.
    scope: String,
    /// The keys in order and no paging, which is made from the matches.
    query: Query,
    /// Who is in a hurry does not wait where others have time.
    priority: Priority,
}

#[derive(Debug)]
struct Remembered {
    search: Arc<Running>,
    since: Instant,
}

impl Searches {
    /// Nothing is under way; answers are remembered for `lifetime`.
    pub(in crate::archive) fn new(lifetime: Option<Duration>, metrics: Metrics) -> Self {
        let (bytes, state) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Inner { lifetime, metrics, bytes, state }))
    }

    /// Searches `archive` as [`Archive::search`] does, once for all who ask the same at the same time.
    ///
    /// # Errors
    /// Those of the search, for all who share it.
    pub(in crate::archive) async fn run(
        &self,
        archive: &Arc<dyn Archive>,
        caller: &Caller,
        query: Query,
    ) -> Result<Search> {
        let key = Key::new(&**archive, &query, caller.priority);
        let (reader, outcome) = self.0.join(key, || {
            let (archive, caller) = (Arc::clone(archive), caller.clone());
            Box::pin(async move { archive.search(&caller, query).await })
        });
        let counted = Outcome { archive: archive.name().to_owned(), outcome };
        self.0.metrics.searches.get_or_create(&counted).inc();
        let warnings = reader.opened().await?;
        Ok(Search { matches: Feed::over(reader), warnings })
    }

    /// Whatever ends with what this returns changes an archive: when it is dropped, its searches are forgotten.
    pub(in crate::archive) fn forget_after(&self, archive: &str) -> Forget {
        Forget { searches: self.clone(), archive: archive.to_owned() }
    }

    /// Something has changed at an archive (`None`: at any): who searches from now on asks it anew.
    pub(in crate::archive) fn forget(&self, archive: Option<&str>) {
        let concerns = |key: &Key| archive.is_none_or(|archive| key.archive == archive);
        let mut state = self.0.lock();
        state.running.retain(|key, _| !concerns(key));
        let dropped: Vec<Remembered> =
            state.remembered.extract_if(|key, _| concerns(key)).map(|(_, remembered)| remembered).collect();
        drop(state);
        drop(dropped);
    }
}

/// Forgets the searches of an archive when it is dropped.
#[derive(Debug)]
pub(in crate::archive) struct Forget {
    searches: Searches,
    archive: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.searches.forget(Some(&self.archive));
    }
}

impl Key {
    fn new(archive: &dyn Archive, query: &Query, priority: Priority) -> Self {
        let mut query = Query { offset: 0, limit: None, ..query.clone() };
        query.keys.sort_by(|a, b| a.path.cmp(&b.path));
        query.include.sort();
        query.include.dedup();
        let (archive, scope) = (archive.name().to_owned(), archive.scope().to_owned());
        Self { archive, scope, query, priority }
    }
}

impl Inner {
    /// A reader of the search with this key: of one that is under way or remembered, else of a new one. Tells which.
    fn join(
        self: &Arc<Self>,
        key: Key,
        ask: impl FnOnce() -> Fut<'static, Result<Search>>,
    ) -> (Reader, &'static str) {
        let mut state = self.lock();
        let remembered = state
            .remembered
            .get(&key)
            .filter(|known| self.lifetime.is_some_and(|lifetime| known.since.elapsed() < lifetime));
        if let Some(reader) = remembered.and_then(|known| known.search.read_again()) {
            return (reader, "remembered");
        }
        let running = state.running.get(&key).and_then(Weak::upgrade);
        if let Some(reader) = running.as_ref().and_then(Running::join) {
            return (reader, "shared");
        }
        let (search, reader) = Running::start(Arc::clone(self), key.clone(), ask());
        state.running.retain(|_, running| running.strong_count() > 0);
        let expired = state.remembered.remove(&key);
        state.running.insert(key, Arc::downgrade(&search));
        // What is let go of is dropped without the lock.
        drop(state);
        drop((expired, running));
        (reader, "asked")
    }

    /// A search has ended well and is there from its first match on.
    fn remember(&self, search: &Arc<Running>) {
        let Some(lifetime) = self.lifetime else { return };
        let mut dropped = Vec::new();
        let mut state = self.lock();
        // It may have been forgotten while it ran.
        let is_current =
            state.running.get(&search.key).is_some_and(|running| std::ptr::eq(running.as_ptr(), &**search));
        if is_current {
            let expired = state.remembered.extract_if(|_, remembered| remembered.since.elapsed() >= lifetime);
            dropped.extend(expired.map(|(_, remembered)| remembered));
            if state.remembered.len() >= MAX_REMEMBERED {
                dropped.extend(state.take_oldest());
            }
            let remembered = Remembered { search: Arc::clone(search), since: Instant::now() };
            dropped.extend(state.remembered.insert(search.key.clone(), remembered));
        }
        drop(state);
        drop(dropped);
    }

    /// Room for so many bytes of matches, if need be in place of what is remembered.
    fn reserve(&self, bytes: usize) -> bool {
        loop {
            let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= MAX_BYTES);
            if self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok() {
                return true;
            }
            let oldest = self.lock().take_oldest();
            if oldest.is_none() {
                return false;
            }
        }
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    fn take_oldest(&mut self) -> Option<Remembered> {
        let oldest = self.remembered.iter().min_by_key(|(_, remembered)| remembered.since)?.0.clone();
        self.remembered.remove(&oldest)
    }
}

#[cfg(test)]
mod tests;
