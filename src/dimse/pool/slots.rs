//! The inside of a pool: slots, who waits, and how associations come about.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::breaker::Breaker;
use super::contexts::Identity;
use super::gauges::Shown;
use super::idle::Parked;
use super::queue::{Action, Id, Queue, Share};
use super::{Config, Connect, Contexts, LeaseError, ROUND_TRIP_VALID, Reports};
use crate::dicom::{AeTitle, Uid, sop_class, transfer_syntax};
use crate::dimse::association::{Association, EstablishError, Request};
use crate::dimse::negotiation::Proposal;
use crate::metrics::OfArchive;
use crate::net::tls;
use crate::trace;

/// How long a release may take before it becomes an abort.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// For how long a peer may still count an association that has ended: it is rejected for now what takes its place.
const STILL_COUNTED: Duration = Duration::from_secs(1);
/// The times, in milliseconds, after which a rejection for now is not believed where an association has just ended: a
/// third of a second in all, far below the patience of who waits.
const SECOND_THOUGHTS: [u64; 5] = [10, 20, 40, 80, 160];
/// Time between two probes of an archive whose breaker is open.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) called: AeTitle,
    pub(super) calling: AeTitle,
    pub(super) connect: Connect,
    pub(super) config: Config,
    pub(super) figures: OfArchive,
    /// Who takes N-EVENT-REPORTs.
    pub(super) reports: Option<Arc<dyn Reports>>,
    pub(super) state: Mutex<State>,
    pub(super) tasks: TaskTracker,
    pub(super) closing: CancellationToken,
}

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) grants: HashMap<Id, oneshot::Sender<Grant>>,
    pub(super) parked: HashMap<Id, Parked>,
    /// Whether a task sees to it that what rests is watched.
    pub(super) is_guarded: bool,
    pub(super) breaker: Breaker,
    pub(super) shown: Shown,
    /// Whether the last attempt to open an association succeeded; `None`: there was none.
    pub(super) answers: Option<bool>,
    /// When an association last ended.
    pub(super) ended: Option<Instant>,
    /// The shortest time that a connection took to come about, and when.
    pub(super) round_trip: Option<(Duration, Instant)>,
}

impl State {
    /// Shows what has changed.
    pub(super) fn show(&mut self, figures: &OfArchive) {
        self.shown.show(figures, &self.queue, self.breaker.is_open());
    }

    /// The peer has answered.
    fn reached(&mut self, figures: &OfArchive) {
        self.breaker.succeeded();
        self.show(figures);
    }

    /// Whether the peer may still count an association that is no more.
    fn has_ended_lately(&self) -> bool {
        self.ended.is_some_and(|ended| ended.elapsed() < STILL_COUNTED)
    }

    fn connected_in(&mut self, took: Duration) {
        let now = Instant::now();
        let shorter = |(least, at): (Duration, Instant)| least < took && now - at < ROUND_TRIP_VALID;
        if !self.round_trip.is_some_and(shorter) {
            self.round_trip = Some((took, now));
        }
    }
}

/// What a waiter is given: its slots, and perhaps an idle association to be taken over.
pub(super) struct Grant {
    pub(super) extra: Vec<Slot>,
    pub(super) source: Source,
    pub(super) holder: Holder,
}

pub(super) enum Source {
    Open(Slot),
    Idle(Parked),
}

/// The right to one association. Free again when dropped.
pub(super) struct Slot {
    pub(super) shared: Arc<Shared>,
    /// It belonged to an idle association that was told to make room.
    pub(super) was_closing: bool,
    /// It has had an association.
    was_open: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queue.free(self.was_closing);
        if self.was_open {
            state.ended = Some(Instant::now());
        }
        drop(state);
        self.shared.dispatch();
    }
}

/// Counts for a client's share while it holds a lease.
pub(super) struct Holder {
    pub(super) shared: Arc<Shared>,
    pub(super) share: Share,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.shared.lock().queue.let_go(self.share);
        self.shared.dispatch();
    }
}

/// An open association with its slot. The association is declared, and so dropped, before the slot.
pub(super) struct Live {
    pub(super) association: Association,
    pub(super) slot: Slot,
    pub(super) identity: Identity,
    /// It was opened for one lease alone.
    pub(super) own: bool,
    pub(super) proposals: Arc<[Proposal]>,
    /// Those that it was wanted for so far.
    pub(super) served: Arc<[Proposal]>,
    pub(super) born: Instant,
    pub(super) uses: u32,
    pub(super) message_id: u16,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // An archive that is configured no more leaves no breaker open behind it.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.shown.take_back(&self.figures);
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the pool's lock")
    }

    /// Does what the queue decides. Everything that is sent or dropped, and so may take the lock again,
    /// happens outside the lock.
    pub(super) fn dispatch(self: &Arc<Self>) {
        let mut grants = Vec::new();
        let mut closings = Vec::new();
        let mut state = self.lock();
        for action in state.queue.dispatch(Instant::now()) {
            match action {
                Action::Grant { waiter, share, idle, slots } => {
                    let parked = idle.and_then(|id| state.parked.remove(&id));
                    grants.push((state.grants.remove(&waiter), parked, slots, share));
                }
                Action::Close(idle) => closings.extend(state.parked.remove(&idle)),
            }
        }
        state.show(&self.figures);
        drop(state);
        for parked in closings {
            parked.make_room();
        }
        for (waiter, parked, slots, share) in grants {
            let mut extra: Vec<Slot> = (0..slots).map(|_| self.slot()).collect();
            let source = match parked {
                Some(parked) => Source::Idle(parked),
                None => Source::Open(extra.pop().expect("a grant without an idle association has a slot")),
            };
            let grant = Grant { extra, source, holder: Holder { shared: Arc::clone(self), share } };
            // Where the waiter has left in this moment, the dropped grant gives everything back.
            let _ = waiter.map(|waiter| waiter.send(grant));
        }
    }

    /// The RAII form of a slot that the queue has counted.
    pub(super) fn slot(self: &Arc<Self>) -> Slot {
        Slot { shared: Arc::clone(self), was_closing: false, was_open: false }
    }

    /// As [`Shared::open`], in a task of its own: where nobody waits for the association any more when it has come
    /// about, it is idle. Cut in the middle it would cost the peer as much, and serve nobody.
    pub(super) async fn open_beside(
        self: &Arc<Self>,
        slot: Slot,
        contexts: &Contexts,
        deadline: Instant,
    ) -> Result<Live, LeaseError> {
        let (sender, receiver) = oneshot::channel();
        let (shared, contexts) = (Arc::clone(self), contexts.clone());
        let opening = async move {
            let opened = shared.open(slot, &contexts, deadline).await;
            if let Err(Ok(live)) = sender.send(opened) {
                shared.park(live);
            }
        };
        self.tasks.spawn(opening.instrument(trace::associate(self.figures.name())));
        receiver.await.unwrap_or(Err(LeaseError::Closed))
    }

    async fn open(
        self: &Arc<Self>,
        mut slot: Slot,
        contexts: &Contexts,
        deadline: Instant,
    ) -> Result<Live, LeaseError> {
        let mut result = self.establish(contexts, deadline).await;
        // A peer that takes as many as we may have lets the next one in when it has noticed that the last is gone.
        for pause in SECOND_THOUGHTS {
            if !is_rejected_for_now(&result) || !self.lock().has_ended_lately() {
                break;
            }
            sleep(Duration::from_millis(pause)).await;
            result = self.establish(contexts, deadline).await;
        }
        self.lock().answers = Some(result.is_ok());
        match &result {
            Err(
                LeaseError::ConnectTimeout
                | LeaseError::Handshake(_)
                | LeaseError::Establish(EstablishError::Timeout),
            ) => {
                let opened = {
                    let mut state = self.lock();
                    let opened = state.breaker.timed_out();
                    state.show(&self.figures);
                    opened
                };
                if opened {
                    tracing::warn!(peer = %self.called, "no answer to repeated attempts: not asking before a probe succeeds");
                    self.tasks.spawn(Arc::clone(self).probe());
                }
            }
            Err(LeaseError::Connect(_)) => {}
            _ => self.lock().reached(&self.figures),
        }
        slot.was_open = result.is_ok();
        let (association, identity, own) = (result?, contexts.identity(), contexts.own);
        let (proposals, served) = (Arc::clone(&contexts.offer), [].into());
        let born = Instant::now();
        Ok(Live { association, slot, identity, own, proposals, served, born, uses: 0, message_id: 0 })
    }

    async fn establish(&self, contexts: &Contexts, deadline: Instant) -> Result<Association, LeaseError> {
        let connect_deadline = deadline.min(Instant::now() + self.config.connect);
        let begin = Instant::now();
        let connecting = timeout_at(connect_deadline, (self.connect)(connect_deadline));
        let io = match connecting.await {
            Ok(Ok(io)) => {
                self.lock().connected_in(begin.elapsed() / self.config.round_trips.max(1));
                io
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(match tls::Failure::of(&error) {
                    Some(_) => LeaseError::Handshake(error),
                    None => LeaseError::ConnectTimeout,
                });
            }
            Ok(Err(error)) => return Err(LeaseError::Connect(error)),
            Err(_) => return Err(LeaseError::ConnectTimeout),
        };
        let request = Request {
            called: self.called.clone(),
            calling: contexts.calling.as_ref().unwrap_or(&self.calling).clone(),
            proposals: contexts.offer.to_vec(),
            extended: contexts.extended.to_vec(),
            roles: contexts.roles.to_vec(),
        };
        let deadline = deadline.min(Instant::now() + self.config.association);
        Association::request(io, &request, deadline).await.map_err(LeaseError::Establish)
    }

    /// Asks for an association now and then, until one comes about: then the breaker closes.
    async fn probe(self: Arc<Self>) {
        let verification = Proposal {
            abstract_syntax: Uid::from_static(sop_class::VERIFICATION),
            transfer_syntaxes: vec![Uid::from_static(transfer_syntax::IMPLICIT_VR_LE)],
            as_scp: false,
        };
        let contexts = Contexts::only([verification]);
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = sleep(PROBE_INTERVAL) => {}
            }
            let has_slot = {
                let mut state = self.lock();
                if !state.breaker.is_open() {
                    return;
                }
                state.queue.try_slot()
            };
            if !has_slot {
                continue;
            }
            let slot = self.slot();
            let deadline = Instant::now() + self.config.connect + self.config.association;
            match self.establish(&contexts, deadline).await {
                Ok(association) => {
                    self.lock().answers = Some(true);
                    association.release(Instant::now() + RELEASE_TIMEOUT).await;
                }
                Err(LeaseError::Establish(EstablishError::Rejected(_))) => {}
                Err(_) => continue,
            }
            drop(slot);
            tracing::info!(peer = %self.called, "answers again");
            self.lock().reached(&self.figures);
            return;
        }
    }
}

impl Live {
    /// Releases it.
    pub(super) async fn close(self) {
        self.association.release(Instant::now() + RELEASE_TIMEOUT).await;
        drop(self.slot);
    }

    /// Aborts it.
    pub(super) async fn cut(self) {
        self.association.abort().await;
        drop(self.slot);
    }
}

fn is_rejected_for_now(result: &Result<Association, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::Establish(EstablishError::Rejected(rj))) if rj.is_transient())
}
