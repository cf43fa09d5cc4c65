//! Associations that nobody has: resting for a moment, then watched by a task each, until somebody takes them over or they
//! end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::queue::Id;
use super::reports::{self, Gathering, MAX_DUE};
use super::slots::{Live, RELEASE_TIMEOUT, Shared};
use crate::dimse::association::{AssociationError, Event};

/// How long an association rests before it is watched. Who stores one object after the other, or reads page after page,
/// takes it back within a millisecond: a task for each of these moments, and the way through it, cost more than the
/// operations themselves. What the peer says meanwhile waits as long, and is heard before it is handed over.
const REST: Duration = Duration::from_millis(20);
/// How long the rest of what a peer has begun to say unasked may take to come.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// An idle association.
pub(super) enum Parked {
    /// Nobody listens to it.
    Resting(Box<Resting>),
    /// A task does, which hands it over, or tells that it has ended.
    Watched(Watched),
}

/// An association that was in use a moment ago. Dropped, it is idle again: who was to have it has left.
pub(super) struct Resting {
    /// Always there, until it is taken out.
    live: Option<Live>,
    since: Instant,
}

/// The way to an association that is watched.
pub(super) struct Watched {
    order: oneshot::Sender<Order>,
    live: oneshot::Receiver<Live>,
}

/// What is to become of an association that is watched.
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

impl Drop for Resting {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            let shared = Arc::clone(&live.slot.shared);
            shared.park(live);
        }
    }
}

impl Parked {
    /// Takes it over. `None`: it has ended, or the peer has said something unasked, and its slot comes free when that is
    /// dealt with.
    pub(super) async fn take(self) -> Option<Live> {
        match self {
            Self::Watched(Watched { order, live }) => {
                let _ = order.send(Order::HandOver);
                live.await.ok()
            }
            Self::Resting(mut resting) => {
                let mut live = resting.live.take()?;
                let spoken = poll_fn(|cx| match live.association.poll_event(cx) {
                    Poll::Ready(event) => Poll::Ready(Some(event)),
                    Poll::Pending => Poll::Ready(None),
                });
                // Out of its budget, this task would be told that nothing has come, whatever has.
                match unconstrained(spoken).await {
                    // Within a message: what is left of it is waited for.
                    None if live.association.has_unread() => {
                        let shared = Arc::clone(&live.slot.shared);
                        shared.tasks.spawn(Arc::clone(&shared).keep(live));
                        None
                    }
                    None => Some(live),
                    Some(event) => {
                        let shared = Arc::clone(&live.slot.shared);
                        let hearing = Arc::clone(&shared).hear(live, event);
                        shared.tasks.spawn(hearing);
                        None
                    }
                }
            }
        }
    }

    /// Releases it, because its slot is wanted for another kind.
    pub(super) fn make_room(self) {
        self.end(Order::MakeRoom);
    }

    /// Releases it.
    pub(super) fn release(self) {
        self.end(Order::Release);
    }

    fn end(self, order: Order) {
        match self {
            Self::Watched(watched) => drop(watched.order.send(order)),
            Self::Resting(mut resting) => {
                if let Some(mut live) = resting.live.take() {
                    live.slot.was_closing = order == Order::MakeRoom;
                    let shared = Arc::clone(&live.slot.shared);
                    shared.tasks.spawn(live.close());
                }
            }
        }
    }
}

impl Shared {
    /// Makes an association idle; one that was for one lease alone is released.
    pub(super) fn park(self: &Arc<Self>, live: Live) {
        if live.own {
            self.tasks.spawn(live.close());
            return;
        }
        let begin = {
            let mut state = self.lock();
            let id = state.queue.park(&live.identity, &live.proposals, &live.served);
            let resting = Resting { live: Some(live), since: Instant::now() };
            state.parked.insert(id, Parked::Resting(Box::new(resting)));
            !std::mem::replace(&mut state.is_guarded, true)
        };
        if begin {
            self.tasks.spawn(Arc::clone(self).guard());
        }
        self.dispatch();
    }

    /// Has everything watched that has rested for long enough, until nothing rests any more.
    async fn guard(self: Arc<Self>) {
        let mut goes_on = true;
        while goes_on {
            tokio::select! {
                () = sleep(REST) => {}
                () = self.closing.cancelled() => {}
            }
            let (rested, more) = self.rested();
            goes_on = more;
            for (id, live, orders, hand_over) in rested {
                self.tasks.spawn(Arc::clone(&self).watch(id, live, orders, hand_over));
            }
        }
    }

    /// What has rested for long enough, with its watcher's ends; and whether anything else rests.
    #[expect(clippy::type_complexity, reason = "the arguments of `watch`")]
    fn rested(&self) -> (Vec<(Id, Live, oneshot::Receiver<Order>, oneshot::Sender<Live>)>, bool) {
        let (now, all) = (Instant::now(), self.closing.is_cancelled());
        let (mut rested, mut more) = (Vec::new(), false);
        let mut state = self.lock();
        for (id, parked) in &mut state.parked {
            let Parked::Resting(resting) = parked else { continue };
            if !all && now - resting.since < REST {
                more = true;
            } else if let Some(live) = resting.live.take() {
                let (order, orders) = oneshot::channel();
                let (hand_over, receiver) = oneshot::channel();
                *parked = Parked::Watched(Watched { order, live: receiver });
                rested.push((*id, live, orders, hand_over));
            }
        }
        state.is_guarded = more;
        (rested, more)
    }

    /// Whether an association can be idle: it has not served its time, and the peer has said nothing unasked.
    pub(super) fn is_at_rest(&self, live: &Live) -> bool {
        let worn = live.uses >= self.config.max_uses || live.born.elapsed() >= self.config.max_age;
        // One on which nothing was accepted serves nobody; a new one may.
        let useless = live.association.agreement().contexts.is_empty();
        let unwanted = worn || useless || live.slot.was_closing || self.closing.is_cancelled();
        !unwanted && !live.association.has_unread()
    }

    /// Makes an association idle that nobody has any more, or ends it. Where the peer has said more than the answer to
    /// the last request, reports are served first; whatever else ends the association.
    pub(super) async fn keep(self: Arc<Self>, mut live: Live) {
        for _ in 0..MAX_DUE {
            if self.is_at_rest(&live) {
                return self.park(live);
            }
            if !live.association.has_unread() {
                break;
            }
            match timeout_at(Instant::now() + SETTLE_TIMEOUT, live.association.event()).await {
                Ok(event) => match report_of(&event) {
                    Some(report) => match self.serve(report, live).await {
                        Some(served) => live = served,
                        None => return,
                    },
                    None => return live.end(event).await,
                },
                Err(_) => break,
            }
        }
        live.close().await;
    }

    /// Deals with what the peer said or did while nobody had asked.
    async fn hear(self: Arc<Self>, live: Live, event: Result<Event, AssociationError>) {
        match report_of(&event) {
            Some(report) => {
                if let Some(live) = self.serve(report, live).await {
                    self.keep(live).await;
                }
            }
            None => live.end(event).await,
        }
    }

    /// Serves a report on an association that nobody has; `None`: that has ended it.
    async fn serve(&self, report: Gathering, mut live: Live) -> Option<Live> {
        match reports::serve(report, &mut live.association, self.reports.as_deref()).await {
            Ok(()) => Some(live),
            Err(error) => {
                tracing::debug!(peer = %self.called, %error, "a report broke off");
                live.cut().await;
                None
            }
        }
    }

    /// Watches an idle association: it ends when the peer ends it or says anything but a report, when nobody has
    /// wanted it for a while, or when its place is wanted; or it is handed over.
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
                return self.hear(live, event).await;
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

    /// Releases all idle associations.
    pub(super) fn release_idle(&self) {
        let idle: Vec<Parked> = {
            let mut state = self.lock();
            let ids: Vec<Id> = state.parked.keys().copied().collect();
            let ours: Vec<Id> = ids.into_iter().filter(|id| state.queue.unpark(*id)).collect();
            ours.iter().filter_map(|id| state.parked.remove(id)).collect()
        };
        idle.into_iter().for_each(Parked::release);
    }
}

impl Live {
    /// Ends it after what the peer did while it was idle.
    async fn end(self, event: Result<Event, AssociationError>) {
        match event {
            Ok(Event::ReleaseRequested) => {
                self.association.confirm_release(Instant::now() + RELEASE_TIMEOUT).await
            }
            // Whatever it said, nobody asked for it.
            Ok(_) => self.association.abort().await,
            Err(_) => drop(self.association),
        }
        drop(self.slot);
    }
}

/// The report that begins with this event.
fn report_of(event: &Result<Event, AssociationError>) -> Option<Gathering> {
    match event {
        Ok(Event::Command { context, command }) => Gathering::begin(*context, command),
        _ => None,
    }
}
