//! The association pool of one remote AE: few associations, reused, watched while idle, never more than the
//! cap.
//!
//! A slot stands for one association that the archive sees. It is held by value from before the
//! connection is opened until after its socket is closed, so that no path, cancellation included, can leak
//! one.

mod breaker;
mod queue;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::association::{Association, AssociationError, EstablishError, Event, Io, Request};
use super::negotiation::Proposal;
use crate::caller::Caller;
use crate::dicom::{AeTitle, Uid, sop_class, transfer_syntax};
use breaker::Breaker;
use queue::{Action, Id, Queue, Second, Share};

/// How long a release may take before it becomes an abort.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two probes of an archive whose breaker is open.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

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
}

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
    /// The association did not come about.
    #[error("{0}")]
    Establish(EstablishError),
    /// The pool is shut down.
    #[error("shutting down")]
    Closed,
}

/// The pool of one remote AE. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    called: AeTitle,
    calling: AeTitle,
    connect: Connect,
    config: Config,
    state: Mutex<State>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

struct State {
    queue: Queue,
    grants: HashMap<Id, oneshot::Sender<Grant>>,
    parked: HashMap<Id, Parked>,
    breaker: Breaker,
}

/// What a waiter is given: its slots, and perhaps an idle association to be taken over.
struct Grant {
    extra: Vec<Slot>,
    source: Source,
    holder: Holder,
}

enum Source {
    Open(Slot),
    Idle(Parked),
}

/// The way to an idle association: its watcher hands it over, or tells that it has ended.
struct Parked {
    order: oneshot::Sender<Order>,
    live: oneshot::Receiver<Live>,
}

/// What is to become of an idle association.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// A waiter takes it over.
    HandOver,
    /// It is released because its slot is wanted for another kind.
    MakeRoom,
    /// It is released because nobody wants it.
    Release,
    /// It stays idle: the waiter that was to have it has left.
    Keep,
}

/// The right to one association. Free again when dropped.
struct Slot {
    shared: Arc<Shared>,
    /// It belonged to an idle association that was told to make room.
    was_closing: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().queue.free(self.was_closing);
        self.shared.dispatch();
    }
}

/// Counts for a client's share while it holds a lease.
struct Holder {
    shared: Arc<Shared>,
    share: Share,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.shared.lock().queue.let_go(self.share);
        self.shared.dispatch();
    }
}

/// An open association with its slot. The association is declared, and so dropped, before the slot.
struct Live {
    association: Association,
    slot: Slot,
    proposals: Vec<Proposal>,
    born: Instant,
    uses: u32,
    message_id: u16,
}

/// An association for the time of some operations. Dropped, the association is cut; after a clean final
/// response call [`Lease::give_back`].
pub struct Lease {
    live: Live,
    extra: Vec<Slot>,
    holder: Holder,
    reused: bool,
}

impl Pool {
    /// A pool for the AE `called`, under our title `calling`, over connections that `connect` opens.
    pub fn new(called: AeTitle, calling: AeTitle, connect: Connect, config: Config) -> Self {
        let queue = Queue::new(config.max_associations.max(1), config.max_waiting);
        let state =
            State { queue, grants: HashMap::new(), parked: HashMap::new(), breaker: Breaker::default() };
        let shared = Shared {
            called,
            calling,
            connect,
            config,
            state: Mutex::new(state),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The title under which we call.
    pub fn calling(&self) -> &AeTitle {
        &self.shared.calling
    }

    /// An association whose proposals contain `want`: an idle one, else a new one, else what becomes free
    /// until `deadline`. `slots` is 1, or 2 for an operation in which the archive opens an association back.
    ///
    /// # Errors
    /// See [`LeaseError`]. Nothing stays behind, also when the call is dropped.
    pub async fn lease(
        &self,
        caller: &Caller,
        want: &[Proposal],
        slots: usize,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let grant = self.wait(caller, want, slots, deadline).await?;
        let slot = match grant.source {
            Source::Open(slot) => slot,
            Source::Idle(parked) => {
                let _ = parked.order.send(Order::HandOver);
                match parked.live.await {
                    Ok(live) => {
                        return Ok(Lease { live, extra: grant.extra, holder: grant.holder, reused: true });
                    }
                    // It ended in this moment, and its slot with it; the way is free for a new one.
                    Err(_) => {
                        drop((grant.extra, grant.holder));
                        return Box::pin(self.lease(caller, want, slots, deadline)).await;
                    }
                }
            }
        };
        let live = self.shared.open(slot, want, deadline).await?;
        Ok(Lease { live, extra: grant.extra, holder: grant.holder, reused: false })
    }

    /// As [`Pool::lease`], for who holds a lease already: at once, or not at all. It never waits for a slot,
    /// as holders that wait for each other would wait for ever.
    ///
    /// # Errors
    /// The association could not be opened; `Ok(None)`: no slot is free, or somebody else waits for it.
    pub async fn try_second(
        &self,
        caller: &Caller,
        want: &[Proposal],
        deadline: Instant,
    ) -> Result<Option<Lease>, LeaseError> {
        let (second, parked, share) = {
            let mut state = self.shared.lock();
            let Some(second) = state.queue.try_second(want) else { return Ok(None) };
            // It is for a short search, which is no bulk work.
            let share = Share { client: caller.client, bulk: 0 };
            state.queue.hold(share);
            let parked = match &second {
                Second::Idle(id) => state.parked.remove(id),
                Second::Slot => None,
            };
            (second, parked, share)
        };
        let holder = Holder { shared: Arc::clone(&self.shared), share };
        let slot = (second == Second::Slot).then(|| self.shared.slot());
        if let Some(parked) = parked {
            let _ = parked.order.send(Order::HandOver);
            // It may have ended in this moment: then there is no second one.
            let live = parked.live.await.ok();
            return Ok(live.map(|live| Lease { live, extra: Vec::new(), holder, reused: true }));
        }
        let Some(slot) = slot else { return Ok(None) };
        let live = self.shared.open(slot, want, deadline).await?;
        Ok(Some(Lease { live, extra: Vec::new(), holder, reused: false }))
    }

    /// Whether requests wait for an association.
    pub fn is_contended(&self) -> bool {
        self.shared.lock().queue.waiting() > 0
    }

    /// Associations that are open or being opened, and those of them that are idle.
    pub fn in_use(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.queue.used(), state.queue.idle())
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
        want: &[Proposal],
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
            let id = state.queue.wait(caller, want, slots, Instant::now()).ok_or(LeaseError::QueueFull)?;
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

impl Lease {
    /// The association.
    pub fn association(&mut self) -> &mut Association {
        &mut self.live.association
    }

    /// Whether the association has served somebody before: it may have died unseen, so that a request which
    /// got no response at all may be tried once more on a new one.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// A message ID that no operation of this association has used lately (PS3.7 9.3).
    pub fn next_message_id(&mut self) -> u16 {
        self.live.message_id = self.live.message_id.wrapping_add(1).max(1);
        self.live.message_id
    }

    /// Gives the association back after a clean final response. Only then may it serve others.
    pub fn give_back(self) {
        let Self { mut live, extra, holder, .. } = self;
        drop(extra);
        drop(holder);
        live.uses += 1;
        let shared = Arc::clone(&live.slot.shared);
        let config = &shared.config;
        let worn = live.uses >= config.max_uses || live.born.elapsed() >= config.max_age;
        // One on which nothing was accepted serves nobody; a new one may.
        let useless = live.association.agreement().contexts.is_empty();
        if worn || useless || live.association.has_unread() || shared.closing.is_cancelled() {
            shared.tasks.spawn(live.close());
        } else {
            shared.park(live);
        }
    }

    /// Aborts the association: the peer is told and the connection closed, then the slot is free.
    pub async fn abort(self) {
        let Self { live, extra, holder, .. } = self;
        live.association.abort().await;
        drop((live.slot, extra, holder));
    }
}

impl Live {
    /// Releases it.
    async fn close(self) {
        self.association.release(Instant::now() + RELEASE_TIMEOUT).await;
        drop(self.slot);
    }

    /// Ends it after what the peer did while it was idle.
    async fn end(self, event: Result<Event, AssociationError>) {
        match event {
            Ok(Event::ReleaseRequested) => {
                self.association.confirm_release(Instant::now() + RELEASE_TIMEOUT).await
            }
            // Whatever it said, nobody asked for it (a late N-EVENT-REPORT, say).
            Ok(_) => self.association.abort().await,
            Err(_) => drop(self.association),
        }
        drop(self.slot);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the pool's lock")
    }

    /// Does what the queue decides. Everything that is sent or dropped, and so may take the lock again,
    /// happens outside the lock.
    fn dispatch(self: &Arc<Self>) {
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
        drop(state);
        for parked in closings {
            let _ = parked.order.send(Order::MakeRoom);
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
    fn slot(self: &Arc<Self>) -> Slot {
        Slot { shared: Arc::clone(self), was_closing: false }
    }

    async fn open(
        self: &Arc<Self>,
        slot: Slot,
        want: &[Proposal],
        deadline: Instant,
    ) -> Result<Live, LeaseError> {
        let result = self.establish(want, deadline).await;
        match &result {
            Err(LeaseError::ConnectTimeout | LeaseError::Establish(EstablishError::Timeout)) => {
                let opened = self.lock().breaker.timed_out();
                if opened {
                    tracing::warn!(peer = %self.called, "no answer to repeated attempts: not asking before a probe succeeds");
                    self.tasks.spawn(Arc::clone(self).probe());
                }
            }
            Err(LeaseError::Connect(_)) => {}
            _ => self.lock().breaker.succeeded(),
        }
        let (association, proposals) = (result?, want.to_vec());
        Ok(Live { association, slot, proposals, born: Instant::now(), uses: 0, message_id: 0 })
    }

    async fn establish(&self, want: &[Proposal], deadline: Instant) -> Result<Association, LeaseError> {
        let connect_deadline = deadline.min(Instant::now() + self.config.connect);
        let connecting = timeout_at(connect_deadline, (self.connect)(connect_deadline));
        let io = match connecting.await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(LeaseError::ConnectTimeout);
            }
            Ok(Err(error)) => return Err(LeaseError::Connect(error)),
            Err(_) => return Err(LeaseError::ConnectTimeout),
        };
        let request = Request {
            called: self.called.clone(),
            calling: self.calling.clone(),
            proposals: want.to_vec(),
            extended: Vec::new(),
        };
        let deadline = deadline.min(Instant::now() + self.config.association);
        Association::request(io, &request, deadline).await.map_err(LeaseError::Establish)
    }

    /// Asks for an association now and then, until one comes about: then the breaker closes.
    async fn probe(self: Arc<Self>) {
        let want = [Proposal {
            abstract_syntax: Uid::from_static(sop_class::VERIFICATION),
            transfer_syntaxes: vec![Uid::from_static(transfer_syntax::IMPLICIT_VR_LE)],
            as_scp: false,
        }];
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = sleep(PROBE_INTERVAL) => {}
            }
            let slot = {
                let mut state = self.lock();
                if !state.breaker.is_open() {
                    return;
                }
                state.queue.try_second(&want)
            };
            // Idle associations to an archive that does not answer are rare; they need no probe.
            let Some(Second::Slot) = slot else { continue };
            let slot = self.slot();
            match self.establish(&want, Instant::now() + self.config.connect + self.config.association).await
            {
                Ok(association) => association.release(Instant::now() + RELEASE_TIMEOUT).await,
                Err(LeaseError::Establish(EstablishError::Rejected(_))) => {}
                Err(_) => continue,
            }
            drop(slot);
            tracing::info!(peer = %self.called, "answers again");
            self.lock().breaker.succeeded();
            return;
        }
    }

    /// Makes an association idle, watched by a task of its own.
    fn park(self: &Arc<Self>, live: Live) {
        let (order, orders) = oneshot::channel();
        let (hand_over, receiver) = oneshot::channel();
        let id = {
            let mut state = self.lock();
            let id = state.queue.park(&live.proposals);
            state.parked.insert(id, Parked { order, live: receiver });
            id
        };
        self.tasks.spawn(Arc::clone(self).watch(id, live, orders, hand_over));
        self.dispatch();
    }

    /// Watches an idle association: it ends when the peer ends it or says anything, when nobody has wanted
    /// it for a while, or when its place is wanted; or it is handed over.
    async fn watch(
        self: Arc<Self>,
        id: Id,
        mut live: Live,
        mut orders: oneshot::Receiver<Order>,
        hand_over: oneshot::Sender<Live>,
    ) {
        let deadline = (Instant::now() + self.config.idle).min(live.born + self.config.max_age);
        let order = tokio::select! {
            // In this order: who has spoken is never handed over.
            biased;
            event = live.association.event() => {
                let order = self.withdraw(id, orders).await;
                live.slot.was_closing = order == Order::MakeRoom;
                // Who was promised it learns now that it has ended, and opens a new one.
                drop(hand_over);
                live.end(event).await;
                return;
            }
            order = &mut orders => order.unwrap_or(Order::Keep),
            () = sleep_until(deadline) => self.withdraw(id, orders).await,
            () = self.closing.cancelled() => self.withdraw(id, orders).await,
        };
        match order {
            Order::HandOver => {
                if let Err(live) = hand_over.send(live) {
                    self.park(live);
                }
            }
            Order::Keep => self.park(live),
            Order::MakeRoom | Order::Release => {
                live.slot.was_closing = order == Order::MakeRoom;
                live.close().await;
            }
        }
    }

    /// Takes an association out of the idle ones: to be released, unless somebody was faster, whose order
    /// is then on its way.
    async fn withdraw(&self, id: Id, orders: oneshot::Receiver<Order>) -> Order {
        let ours = {
            let mut state = self.lock();
            let ours = state.queue.unpark(id);
            ours.then(|| state.parked.remove(&id))
        };
        match ours {
            Some(_) => Order::Release,
            None => orders.await.unwrap_or(Order::Keep),
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("called", &self.shared.called).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("reused", &self.reused).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
