//! The association pool of one remote AE: few associations, reused, watched while idle, never more than the
//! cap.
//!
//! A slot stands for one association that the archive sees. It is held by value from before the
//! connection is opened until after its socket is closed, so that no path, cancellation included, can leak
//! one.

mod breaker;
mod contexts;
mod gauges;
mod idle;
mod lease;
mod queue;
mod reports;
mod slots;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::association::{EstablishError, Io};
use crate::caller::{Caller, Priority};
use crate::dicom::AeTitle;
use crate::metrics::{OfArchive, Waited};
use crate::trace;
use breaker::Breaker;
use gauges::Shown;
use queue::{Id, Queue, Second, Share};
use slots::{Grant, Holder, Shared, Source, State};

/// The limits of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Most associations open at once, those that the archive opens back to us for C-MOVE included.
    pub max_associations: usize,
    /// Most requests that wait for an association; more are refused at once.
    pub max_waiting: usize,
    /// Longest time a connection may take (TCP).
    pub connect: Duration,
    /// Longest time an association may take to come about, after the connection.
    pub association: Duration,
    /// An idle association is released after this time.
    pub idle: Duration,
    /// An association is not used again when it is older than this.
    pub max_age: Duration,
    /// An association is not used again after this many operations.
    pub max_uses: u32,
    /// How many round trips a connection takes.
    pub round_trips: u32,
}

pub use contexts::Contexts;
pub use lease::Lease;
pub(super) use reports::{Due, Gathering, MAX_DUE, poll_due};
pub use reports::{MAX_REPORT_LENGTH, Report, Reports};

/// Opens a connection to the peer.
pub type Connect =
    Arc<dyn Fn(Instant) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>> + Send + Sync>;

/// Why no association could be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Too many requests wait already.
    #[error("too many requests wait")]
    QueueFull,
    /// None became free in time.
    #[error("no association became free in time")]
    QueueTimeout,
    /// The breaker is open.
    #[error("the peer did not answer lately")]
    BreakerOpen,
    /// The connection did not come about.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection did not come about in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection came about, and TLS on it did not in time.
    #[error("{0}")]
    Handshake(io::Error),
    /// The association did not come about.
    #[error("{0}")]
    Establish(EstablishError),
    /// The pool is shut down.
    #[error("shutting down")]
    Closed,
}

/// How long a measured round trip holds: routes change.
pub(super) const ROUND_TRIP_VALID: Duration = Duration::from_secs(10 * 60);

/// The pool of one remote AE. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool for the AE `called`, under our title `calling`, over connections that `connect` opens. What it holds is
    /// shown by `figures`; who has asked for N-EVENT-REPORTs takes them by `reports`.
    pub fn new(
        called: AeTitle,
        calling: AeTitle,
        connect: Connect,
        config: Config,
        figures: OfArchive,
        reports: Option<Arc<dyn Reports>>,
    ) -> Self {
        let queue = Queue::new(config.max_associations.max(1), config.max_waiting);
        let state = State {
            queue,
            grants: HashMap::new(),
            parked: HashMap::new(),
            is_guarded: false,
            breaker: Breaker::default(),
            shown: Shown::default(),
            answers: None,
            ended: None,
            round_trip: None,
        };
        let shared = Shared {
            called,
            calling,
            connect,
            config,
            figures,
            reports,
            state: Mutex::new(state),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether both are the same one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The title under which we call.
    pub fn calling(&self) -> &AeTitle {
        &self.shared.calling
    }

    /// An association that was offered what `contexts` want: an idle one, else a new one, else what becomes free until
    /// `deadline`. `slots` is 1, or 2 for an operation in which the archive opens an association back.
    ///
    /// # Errors
    /// See [`LeaseError`]. Where the call is dropped, an association that is being opened becomes idle, and nothing else
    /// stays behind.
    pub async fn lease(
        &self,
        caller: &Caller,
        contexts: &Contexts,
        slots: usize,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let figures = &self.shared.figures;
        let mut counted = Counted { figures, begin: Instant::now(), how: Waited::Not("left") };
        let span = trace::association(figures.name());
        let lease = self.lease_now(caller, contexts, slots, deadline).instrument(span.clone()).await;
        counted.how = match &lease {
            Ok(lease) if lease.reused => Waited::Idle,
            Ok(_) => Waited::Opened,
            Err(error) => Waited::Not(gauges::reason(error)),
        };
        trace::outcome(&span, counted.how.as_str(), lease.is_err());
        lease
    }

    async fn lease_now(
        &self,
        caller: &Caller,
        contexts: &Contexts,
        slots: usize,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let contexts = &contexts.named_beside(&self.shared.calling);
        let grant = self.wait(caller, contexts, slots, deadline).await?;
        let slot = match grant.source {
            Source::Open(slot) => slot,
            Source::Idle(parked) => match parked.take().await {
                Some(live) => {
                    let (want, extra) = (Arc::clone(&contexts.want), grant.extra);
                    return Ok(Lease { live, want, extra, holder: grant.holder, reused: true });
                }
                // It ended in this moment, and its slot with it; the way is free for a new one.
                None => {
                    drop((grant.extra, grant.holder));
                    return Box::pin(self.lease_now(caller, contexts, slots, deadline)).await;
                }
            },
        };
        let live = self.shared.open_beside(slot, contexts, deadline).await?;
        let (want, extra) = (Arc::clone(&contexts.want), grant.extra);
        Ok(Lease { live, want, extra, holder: grant.holder, reused: false })
    }

    /// As [`Pool::lease`], for who holds a lease already and shares what it has to do among several: at once, or not at
    /// all, and one stays free for others. It never waits for a slot, as holders that wait for each other would wait for
    /// ever.
    ///
    /// # Errors
    /// The association could not be opened; `Ok(None)`: no slot is free, or somebody else waits for it.
    pub async fn try_lane(
        &self,
        caller: &Caller,
        contexts: &Contexts,
        deadline: Instant,
    ) -> Result<Option<Lease>, LeaseError> {
        let contexts = &contexts.named_beside(&self.shared.calling);
        let (second, parked, share) = {
            let mut state = self.shared.lock();
            let Some(second) = state.queue.try_lane(contexts) else { return Ok(None) };
            let share = Share { client: caller.client, bulk: usize::from(caller.priority == Priority::Bulk) };
            state.queue.hold(share);
            state.show(&self.shared.figures);
            let parked = match &second {
                Second::Idle(id) | Second::Slot { instead_of: Some(id) } => state.parked.remove(id),
                Second::Slot { instead_of: None } => None,
            };
            (second, parked, share)
        };
        let holder = Holder { shared: Arc::clone(&self.shared), share };
        let (want, extra) = (Arc::clone(&contexts.want), Vec::new());
        match (second, parked) {
            (Second::Idle(_), None) => Ok(None),
            (Second::Idle(_), Some(parked)) => {
                // It may have ended in this moment: then there is no second one.
                let live = parked.take().await;
                Ok(live.map(|live| Lease { live, want, extra, holder, reused: true }))
            }
            (Second::Slot { .. }, superfluous) => {
                let slot = self.shared.slot();
                if let Some(superfluous) = superfluous {
                    superfluous.make_room();
                }
                let live = self.shared.open_beside(slot, contexts, deadline).await?;
                Ok(Some(Lease { live, want, extra, holder, reused: false }))
            }
        }
    }

    /// Whether requests wait for an association.
    pub fn is_contended(&self) -> bool {
        self.shared.lock().queue.waiting() > 0
    }

    /// How long a connection takes to come about: about one round trip. The least of the last minutes; `None`: there
    /// was none.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.lock().round_trip.filter(|(_, at)| at.elapsed() < ROUND_TRIP_VALID).map(|(took, _)| took)
    }

    /// Associations that are open or being opened, and those of them that are idle.
    pub fn in_use(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.queue.used(), state.queue.idle())
    }

    /// Whether the peer took the last association that was asked of it; `None`: none was asked for yet.
    pub fn answers(&self) -> Option<bool> {
        let state = self.shared.lock();
        state.answers.map(|answers| answers && !state.breaker.is_open())
    }

    /// Releases the associations that nobody has at this moment.
    pub fn release_idle(&self) {
        self.shared.release_idle();
    }

    /// Releases all idle associations, refuses new leases, and waits until the last one is back or `deadline`.
    pub async fn shut_down(&self, deadline: Instant) {
        self.shared.closing.cancel();
        self.shared.lock().grants.clear();
        self.shared.tasks.close();
        let _ = timeout_at(deadline, self.shared.tasks.wait()).await;
    }

    async fn wait(
        &self,
        caller: &Caller,
        contexts: &Contexts,
        slots: usize,
        deadline: Instant,
    ) -> Result<Grant, LeaseError> {
        let shared = &self.shared;
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = shared.lock();
            if shared.closing.is_cancelled() {
                return Err(LeaseError::Closed);
            }
            if state.breaker.is_open() {
                return Err(LeaseError::BreakerOpen);
            }
            let id = state.queue.wait(caller, contexts, slots, Instant::now());
            let id = id.ok_or(LeaseError::QueueFull)?;
            state.grants.insert(id, sender);
            id
        };
        // From here on the place in the queue is given up whenever this call ends or is dropped.
        let place = Place { shared, id };
        shared.dispatch();
        let granted = timeout_at(deadline, receiver).await;
        drop(place);
        match granted {
            Ok(Ok(grant)) => Ok(grant),
            Ok(Err(_)) => Err(LeaseError::Closed),
            Err(_) => Err(LeaseError::QueueTimeout),
        }
    }
}

/// A request for an association, counted when it is served or dropped.
struct Counted<'a> {
    figures: &'a OfArchive,
    begin: Instant,
    how: Waited,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.figures.waited(self.how, self.begin.elapsed());
    }
}

/// A place in the queue.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    id: Id,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queue.leave(self.id);
        let grant = state.grants.remove(&self.id);
        drop(state);
        drop(grant);
        self.shared.dispatch();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("called", &self.shared.called).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
