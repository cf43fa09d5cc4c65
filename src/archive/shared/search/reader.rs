//! A search under way, driven by whichever of its readers wants the next match first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::log::{Id, Log, weight};
use super::{Inner, Key};
use crate::archive::{Complete, Error, Feed, Fut, Kind, Result, Search, Step, Steps};
use crate::dicom::dataset::DataSet;

/// Most bytes of matches of one search that are kept for who joins late: some 5,000 studies.
const MAX_BYTES: usize = super::MAX_BYTES / 2;
/// Most bytes by which the fastest reader of a search that nobody can join any more is ahead of the slowest.
const MAX_AHEAD: usize = 1 << 20;
/// How long the readers of one search wait for the slowest of them before it is cut off.
const PATIENCE: Duration = Duration::from_secs(3);
/// Matches that go from hand to hand at a time, so that locks are taken for many.
const BATCH: usize = 64;

/// A search, from its beginning until its last reader leaves.
pub(super) struct Running {
    pub(super) key: Key,
    searches: Arc<Inner>,
    course: tokio::sync::Mutex<Course>,
    log: Mutex<Log>,
    /// A reader has gone on, or left.
    moved: Notify,
}

/// What the reader that drives waits for.
enum Course {
    Opening(Fut<'static, Result<Search>>),
    Open(Feed<Arc<DataSet>>),
    Ended,
}

/// One of the readers of a search.
#[derive(Debug)]
pub(super) struct Reader {
    search: Arc<Running>,
    id: Id,
    taken: VecDeque<Arc<DataSet>>,
    has_ended: bool,
}

impl Running {
    /// A search that is about to open, and its first reader.
    pub(super) fn start(
        searches: Arc<Inner>,
        key: Key,
        opening: Fut<'static, Result<Search>>,
    ) -> (Arc<Self>, Reader) {
        let mut log = Log::default();
        let id = log.join().expect("a new log is open to all");
        let course = tokio::sync::Mutex::new(Course::Opening(opening));
        let search = Self { key, searches, course, log: Mutex::new(log), moved: Notify::new() };
        let search = Arc::new(search);
        (Arc::clone(&search), Reader::new(search, id))
    }

    /// One more reader of a search that has not ended yet; `None` where its first matches are gone.
    pub(super) fn join(self: &Arc<Self>) -> Option<Reader> {
        let id = {
            let mut log = self.log();
            log.end.is_none().then(|| log.join()).flatten()?
        };
        Some(Reader::new(Arc::clone(self), id))
    }

    /// One more reader of a search that has ended well.
    pub(super) fn read_again(self: &Arc<Self>) -> Option<Reader> {
        let id = self.log().join()?;
        Some(Reader::new(Arc::clone(self), id))
    }

    /// Waits for the next that the search brings, for all its readers. Only one of them does at a time; who waited for
    /// its turn finds perhaps that it `is_served` by then.
    async fn drive(self: &Arc<Self>, id: Id, is_served: impl Fn(&Log) -> bool) {
        let mut course = self.course.lock().await;
        if is_served(&self.log()) {
            return;
        }
        match &mut *course {
            Course::Opening(opening) => {
                let opened = opening.await;
                let mut log = self.log();
                match opened {
                    Ok(search) => {
                        *course = Course::Open(search.matches);
                        log.opened = Some(Ok(search.warnings));
                    }
                    Err(error) => {
                        *course = Course::Ended;
                        log.end = Some(Err(error.clone()));
                        log.opened = Some(Err(error));
                    }
                }
            }
            Course::Open(feed) => {
                self.wait_for_room(id).await;
                let mut step = feed.next().await;
                for _ in 0..BATCH {
                    match step {
                        Step::Item(data_set) => self.add(data_set),
                        Step::End(end) => {
                            *course = Course::Ended;
                            return self.end(end);
                        }
                    }
                    if !self.has_room() {
                        return;
                    }
                    let Some(next) = feed.ready() else { return };
                    step = next;
                }
                feed.put_back(step);
            }
            Course::Ended => {}
        }
    }

    fn add(&self, data_set: Arc<DataSet>) {
        let bytes = weight(&data_set);
        let (is_closed, fits) = {
            let log = self.log();
            (log.is_closed(), log.bytes() + bytes <= MAX_BYTES)
        };
        // Not under the lock of this log: what makes room has its own. Only who drives closes it.
        let is_kept = is_closed || (fits && self.searches.reserve(bytes));
        if !is_kept {
            self.close();
        }
        self.log().push(data_set, bytes);
    }

    /// The search grows too large to be joined.
    fn close(&self) {
        let mut log = self.log();
        let reserved = log.bytes();
        log.close();
        drop(log);
        self.searches.release(reserved);
    }

    fn end(self: &Arc<Self>, end: Result<Complete>) {
        let mut log = self.log();
        let is_worth_it = end.is_ok() && !log.is_closed();
        log.end = Some(end);
        drop(log);
        if is_worth_it {
            self.searches.remember(self);
        }
    }

    fn has_room(&self) -> bool {
        let log = self.log();
        !log.is_closed() || log.bytes() <= MAX_AHEAD
    }

    async fn wait_for_room(&self, driver: Id) {
        while !self.has_room() {
            if timeout(PATIENCE, self.moved.notified()).await.is_err() {
                self.log().cut_slowest(driver);
            }
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let log = self.log();
        if !log.is_closed() {
            self.searches.release(log.bytes());
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("archive", &self.key.archive).finish_non_exhaustive()
    }
}

impl Reader {
    fn new(search: Arc<Running>, id: Id) -> Self {
        Self { search, id, taken: VecDeque::new(), has_ended: false }
    }

    /// The warnings of the search, when it has opened.
    ///
    /// # Errors
    /// Why it did not come about.
    pub(super) async fn opened(&self) -> Result<Vec<String>> {
        loop {
            if let Some(opened) = &self.search.log().opened {
                return opened.clone();
            }
            self.search.drive(self.id, |log| log.opened.is_some()).await;
        }
    }

    fn error(&self, kind: Kind) -> Step<Arc<DataSet>> {
        Step::End(Err(Error::new(&self.search.key.archive, kind)))
    }
}

impl Steps<Arc<DataSet>> for Reader {
    fn ready(&mut self) -> Option<Step<Arc<DataSet>>> {
        if self.taken.is_empty() && !self.has_ended {
            let mut log = self.search.log();
            let is_served = log.serves(self.id);
            log.take(self.id, BATCH, &mut self.taken);
            let end = if self.taken.is_empty() { log.told_end() } else { None };
            drop(log);
            if !self.taken.is_empty() {
                self.search.moved.notify_one();
            } else if !is_served {
                self.has_ended = true;
                return Some(self.error(Kind::ReaderStalled));
            } else if let Some(end) = end {
                self.has_ended = true;
                return Some(Step::End(end));
            }
        }
        self.taken.pop_front().map(Step::Item)
    }

    fn next(&mut self) -> Fut<'_, Step<Arc<DataSet>>> {
        Box::pin(async {
            loop {
                if let Some(step) = self.ready() {
                    return step;
                }
                if self.has_ended {
                    return self.error(Kind::DriverDied);
                }
                self.search.drive(self.id, |log| log.has_news(self.id)).await;
            }
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.search.log().leave(self.id);
        self.search.moved.notify_one();
    }
}
