//! What happens at the archives just now and what failed lately, for a person who looks after the bridge.
//!
//! [`Observed`] stands before an archive and notes how its operations go; [`Followed`] stands before what readers
//! share and lists the retrievals under way, which can be ended from here. Nothing of a patient is kept: of a failure
//! what it was and what to do about it, of a retrieval the UIDs of what is retrieved while it runs.

mod followed;
mod observed;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::error::{Error, Fault, Kind};
use super::{Expected, Retrieve};
use crate::caller::{Caller, Priority};
use crate::dicom::query::Target;

pub use followed::Followed;
pub use observed::Observed;

/// Most failures that are kept: some screens full. The oldest give way.
const MOST_FAILURES: usize = 100;
/// Most archives of which is kept how they stand: those that were configured since the start.
const MOST_ARCHIVES: usize = 4096;

/// What happens at all archives. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    standing: BTreeMap<String, Standing>,
    failures: VecDeque<Failure>,
    running: BTreeMap<u64, Arc<Running>>,
    last_id: u64,
}

/// How an archive stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// When it last did what it was asked.
    pub success: Option<SystemTime>,
    /// When it last did not, and why.
    pub failure: Option<(SystemTime, Error)>,
}

impl Standing {
    /// Whether the last it was asked went well; `None`: it was not asked yet.
    pub fn is_well(&self) -> Option<bool> {
        match (&self.success, &self.failure) {
            (None, None) => None,
            (Some(success), Some((failure, _))) => Some(success > failure),
            (success, None) => Some(success.is_some()),
            (None, Some(_)) => Some(false),
        }
    }
}

/// Something that failed, once or several times in a row.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it failed last.
    pub at: SystemTime,
    /// How often, since nothing else failed at this archive.
    pub times: usize,
    /// What was tried.
    pub attempt: Attempt,
    /// Why, without what the archive may have said of a patient.
    pub error: Error,
    /// Who asked for it last; `None`: the bridge itself.
    pub client: Option<IpAddr>,
}

/// What was asked of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// C-ECHO.
    Echo,
    /// A search.
    Search,
    /// A retrieval.
    Retrieval,
    /// A store.
    Store,
    /// A message that is passed on as it is.
    Message,
}

/// A retrieval under way.
#[derive(Debug)]
pub struct Running {
    /// Its number, unlike that of any other since the start.
    pub id: u64,
    /// The archive's name.
    pub archive: String,
    /// What is retrieved.
    pub target: Target,
    /// Since when.
    pub begun: SystemTime,
    /// For whom; `None`: for the bridge itself.
    pub client: Option<IpAddr>,
    /// How urgent it is.
    pub priority: Priority,
    objects: AtomicUsize,
    expected: Mutex<Expected>,
    cancel: CancellationToken,
}

impl Running {
    /// How many objects its reader has been given.
    pub fn objects(&self) -> usize {
        self.objects.load(Ordering::Relaxed)
    }

    /// How many there are going to be; `None`: nobody has told.
    pub fn expected(&self) -> Option<usize> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).get()
    }

    /// Ends it: its reader is told that it was cancelled, and the archive where nobody else waits for it.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Activity {
    /// How the archive of this name stands.
    pub fn standing(&self, archive: &str) -> Standing {
        self.state().standing.get(archive).cloned().unwrap_or_default()
    }

    /// What failed lately, the latest first.
    pub fn failures(&self) -> Vec<Failure> {
        self.state().failures.iter().rev().cloned().collect()
    }

    /// The retrievals under way, the oldest first.
    pub fn running(&self) -> Vec<Arc<Running>> {
        self.state().running.values().cloned().collect()
    }

    /// Notes how something went.
    fn note<T>(&self, archive: &str, caller: &Caller, attempt: Attempt, went: Result<&T, &Error>) {
        match went {
            Ok(_) => self.succeeded(archive),
            Err(error) if is_of_the_archive(error) => self.failed(archive, caller, attempt, error),
            Err(_) => {}
        }
    }

    fn succeeded(&self, archive: &str) {
        let mut state = self.state();
        if let Some(standing) = state.standing_of(archive) {
            standing.success = Some(SystemTime::now());
        }
    }

    fn failed(&self, archive: &str, caller: &Caller, attempt: Attempt, error: &Error) {
        let (at, error) = (SystemTime::now(), without_comment(error));
        let mut state = self.state();
        if let Some(standing) = state.standing_of(archive) {
            standing.failure = Some((at, error.clone()));
        }
        let last = state.failures.iter_mut().rev().find(|failure| failure.error.archive == error.archive);
        match last {
            Some(last) if last.attempt == attempt && is_alike(&last.error, &error) => {
                (last.times, last.at, last.client) = (last.times + 1, at, caller.client);
                last.error = error;
            }
            _ => {
                let failure = Failure { at, times: 1, attempt, error, client: caller.client };
                state.failures.push_back(failure);
                if state.failures.len() > MOST_FAILURES {
                    state.failures.pop_front();
                }
            }
        }
    }

    /// A retrieval begins; it is listed until what is returned is dropped.
    fn begin(&self, archive: &str, caller: &Caller, retrieve: &Retrieve) -> Entry {
        let mut state = self.state();
        state.last_id += 1;
        let running = Arc::new(Running {
            id: state.last_id,
            archive: archive.to_owned(),
            target: retrieve.target.clone(),
            begun: SystemTime::now(),
            client: caller.client,
            priority: caller.priority,
            objects: AtomicUsize::new(0),
            expected: Mutex::default(),
            cancel: CancellationToken::new(),
        });
        state.running.insert(running.id, Arc::clone(&running));
        Entry { activity: self.clone(), running }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn standing_of(&mut self, archive: &str) -> Option<&mut Standing> {
        if !self.standing.contains_key(archive) && self.standing.len() < MOST_ARCHIVES {
            self.standing.insert(archive.to_owned(), Standing::default());
        }
        self.standing.get_mut(archive)
    }
}

/// The place of a retrieval in the list.
#[derive(Debug)]
struct Entry {
    activity: Activity,
    running: Arc<Running>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.activity.state().running.remove(&self.running.id);
    }
}

/// Whether it is for the operator to do something about it.
fn is_of_the_archive(error: &Error) -> bool {
    let is_nobodys = matches!(error.kind, Kind::Cancelled | Kind::ShuttingDown);
    error.fault() != Fault::Client && !is_nobodys
}

/// Without the Error Comment (0000,0902), in which archives repeat what a patient is called.
fn without_comment(error: &Error) -> Error {
    let mut error = error.clone();
    if let Kind::Status { comment, .. } = &mut error.kind {
        *comment = None;
    }
    if let Kind::Incomplete { named, .. } = &mut error.kind {
        named.clear();
    }
    error
}

/// Whether they say the same to a person.
fn is_alike(one: &Error, other: &Error) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::BreakerOpen(_), Kind::BreakerOpen(_)) => true,
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests;
