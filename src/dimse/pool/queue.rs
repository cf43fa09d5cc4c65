//! Who gets the next association: the pool's decisions, without sockets, clocks or locks.

mod line;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use self::line::{Line, Waiter};
use super::Contexts;
use super::contexts::Identity;
use crate::caller::{Caller, Priority};
use crate::dimse::negotiation::Proposal;

/// So many associations are open before one that is idle is released in exchange for a new one that can do the same and
/// more: one that brings objects, and one for what cannot wait for it.
const FEW: usize = 2;

/// Names a waiting request or an idle association.
pub(super) type Id = u64;

/// What the shell is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Serve a waiter.
    Grant {
        /// Who waited.
        waiter: Id,
        /// What is counted for it as long as it is held.
        share: Share,
        /// The idle association to take over; else one of the slots is for a new one.
        idle: Option<Id>,
        /// Slots taken for it now.
        slots: usize,
    },
    /// Release this idle association: its slot is wanted for another kind, or a new one does the same.
    Close(Id),
}

/// What a holder is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) client: Option<IpAddr>,
    /// Slots of bulk work.
    pub(super) bulk: usize,
}

impl Share {
    fn party(self) -> line::Party {
        (self.client, if self.bulk > 0 { Priority::Bulk } else { Priority::Interactive })
    }
}

/// What a holder gets besides.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// This idle association.
    Idle(Id),
    /// A slot for a new one, and perhaps an idle association that is not needed beside it: to be released.
    Slot {
        /// The idle association.
        instead_of: Option<Id>,
    },
}

#[derive(Debug)]
struct Idle {
    id: Id,
    identity: Identity,
    proposals: Arc<[Proposal]>,
    /// What it was wanted for so far.
    served: Arc<[Proposal]>,
}

/// Slots, waiters and idle associations of one pool.
#[derive(Debug)]
pub(super) struct Queue {
    cap: usize,
    most_waiting: usize,
    used: usize,
    line: Line,
    /// The one that was used last stands last.
    idle: Vec<Idle>,
    /// Idle associations that were told to close and whose slot has not come back.
    closing: usize,
    /// Slots that bulk work holds.
    bulk: usize,
    next_id: Id,
}

impl Queue {
    pub(super) fn new(cap: usize, most_waiting: usize) -> Self {
        let (line, idle) = (Line::default(), Vec::new());
        Self { cap, most_waiting, used: 0, line, idle, closing: 0, bulk: 0, next_id: 0 }
    }

    /// Slots in use, idle associations included.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Most slots that work of this urgency may hold together: bulk work leaves one to searches, so that
    /// these never wait for a whole study.
    fn share(&self, priority: Priority) -> usize {
        match priority {
            Priority::Bulk if self.cap > 1 => self.cap - 1,
            _ => self.cap,
        }
    }

    /// A request comes. `None`: the queue is full, or half full with what this client waits for.
    pub(super) fn wait(
        &mut self,
        caller: &Caller,
        contexts: &Contexts,
        slots: usize,
        now: Instant,
    ) -> Option<Id> {
        let id = self.fresh_id();
        self.line.join(Waiter {
            id,
            party: (caller.client, caller.priority),
            contexts: contexts.clone(),
            // A weight above the share is cut to it, so that it can run.
            slots: slots.min(self.share(caller.priority)),
            since: now,
        });
        // Whoever can be served at once does not count as waiting.
        let has_place = self.line.len() <= self.most_waiting
            && self.line.waiting_of(caller.client) <= self.most_waiting.div_ceil(2);
        if has_place || self.can_serve_all() {
            return Some(id);
        }
        self.line.leave(id);
        None
    }

    fn can_serve_all(&self) -> bool {
        self.line.len() == 1 && self.used - self.idle.len().min(self.used) < self.cap
    }

    /// A waiter gave up before it was served.
    pub(super) fn leave(&mut self, id: Id) {
        self.line.leave(id);
    }

    /// An association became idle; it keeps its slot.
    pub(super) fn park(
        &mut self,
        identity: &Identity,
        proposals: &Arc<[Proposal]>,
        served: &Arc<[Proposal]>,
    ) -> Id {
        let id = self.fresh_id();
        let (identity, proposals, served) = (identity.clone(), Arc::clone(proposals), Arc::clone(served));
        self.idle.push(Idle { id, identity, proposals, served });
        id
    }

    /// An idle association ended by itself; its slot comes back when its socket is closed. `false`: it was
    /// not idle any more.
    pub(super) fn unpark(&mut self, id: Id) -> bool {
        let before = self.idle.len();
        self.idle.retain(|i| i.id != id);
        before != self.idle.len()
    }

    /// A socket is closed: its slot is free again.
    pub(super) fn free(&mut self, was_closing: bool) {
        debug_assert!(self.used > 0, "a slot came back twice");
        self.used = self.used.saturating_sub(1);
        if was_closing {
            self.closing = self.closing.saturating_sub(1);
        }
    }

    /// What a client holds, for fairness and for the share of bulk work.
    pub(super) fn hold(&mut self, share: Share) {
        self.line.hold(share.party());
        self.bulk += share.bulk;
    }

    /// The reverse of [`Queue::hold`].
    pub(super) fn let_go(&mut self, share: Share) {
        self.line.let_go(share.party());
        self.bulk = self.bulk.saturating_sub(share.bulk);
    }

    /// One more slot, if one is free and nobody waits; what is idle stays so.
    pub(super) fn try_slot(&mut self) -> bool {
        let is_free = self.line.is_empty() && self.used < self.cap;
        self.used += usize::from(is_free);
        is_free
    }

    /// For work that shares what it has to do among several: an idle one that fits, or one more slot, and nothing where
    /// somebody waits; one slot stays free for others.
    pub(super) fn try_lane(&mut self, contexts: &Contexts) -> Option<Second> {
        let busy = self.used.saturating_sub(self.idle.len());
        if busy + 2 > self.cap || !self.line.is_empty() {
            return None;
        }
        if let Some(index) = self.fitting(contexts) {
            return Some(Second::Idle(self.idle.remove(index).id));
        }
        (self.used < self.cap).then(|| {
            let instead_of = self.superfluous(contexts);
            self.used += 1;
            Second::Slot { instead_of }
        })
    }

    /// The idle association that was used last of those that will do, so that those beyond what is needed stay idle
    /// and are released in time.
    fn fitting(&self, contexts: &Contexts) -> Option<usize> {
        self.idle.iter().rposition(|idle| contexts.fit(&idle.identity, &idle.proposals))
    }

    /// Takes out an idle association that is not needed beside a new one with these contexts: it is to be released.
    fn superfluous(&mut self, contexts: &Contexts) -> Option<Id> {
        if self.used < FEW {
            return None;
        }
        let index = self.idle.iter().position(|idle| contexts.replace(&idle.identity, &idle.served))?;
        self.closing += 1;
        Some(self.idle.remove(index).id)
    }

    /// Serves whoever can be served, in order; to be called after every change.
    pub(super) fn dispatch(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.used < self.cap || !self.idle.is_empty() {
            let Some(index) = self.line.first(now, |waiter| self.may(waiter)) else { break };
            let waiter = self.line.get(index);
            let fitting = self.fitting(&waiter.contexts);
            let slots = self.affordable(waiter);
            let needed = slots - usize::from(fitting.is_some());
            if self.used + needed <= self.cap {
                if fitting.is_none() {
                    let contexts = waiter.contexts.clone();
                    actions.extend(self.superfluous(&contexts).map(Action::Close));
                }
                actions.push(self.grant(index, fitting, slots));
                continue;
            }
            if self.used + needed > self.cap + self.closing {
                // The idle association of another kind that was used longest ago makes room.
                let Some(spare) = (0..self.idle.len()).find(|i| Some(*i) != fitting) else { break };
                actions.push(Action::Close(self.idle.remove(spare).id));
                self.closing += 1;
                continue;
            }
            // Slots are being freed for it. Whoever wants no more than one of the idle associations does not wait with
            // it, for it takes nothing away.
            let may_pass = |waiter: &Waiter| {
                self.may(waiter) && waiter.slots == 1 && self.fitting(&waiter.contexts).is_some()
            };
            let Some(index) = self.line.first(now, may_pass) else { break };
            let fitting = self.fitting(&self.line.get(index).contexts);
            actions.push(self.grant(index, fitting, 1));
        }
        actions
    }

    /// Serves a waiter with so many slots, an idle association among them.
    fn grant(&mut self, index: usize, idle: Option<usize>, slots: usize) -> Action {
        let waiter = self.line.serve(index);
        let needed = slots - usize::from(idle.is_some());
        self.used += needed;
        let idle = idle.map(|index| self.idle.remove(index).id);
        let bulk = if waiter.party.1 == Priority::Bulk { slots } else { 0 };
        let share = Share { client: waiter.party.0, bulk };
        self.hold(share);
        Action::Grant { waiter: waiter.id, share, idle, slots: needed }
    }

    /// Bulk work that has its whole share waits for bulk work, and holds up nobody else.
    fn may(&self, waiter: &Waiter) -> bool {
        waiter.party.1 != Priority::Bulk || self.bulk < self.share(Priority::Bulk)
    }

    /// The slots that a request gets now: those that it asks for, as far as there are so many, and one at
    /// least. The second one of a C-MOVE stands for what the archive opens back to us; a search, or the next
    /// C-MOVE, is not made to wait for a whole study for its sake.
    fn affordable(&self, waiter: &Waiter) -> usize {
        let free = self.cap - self.used + self.idle.len();
        let share = match waiter.party.1 {
            Priority::Bulk => self.share(Priority::Bulk) - self.bulk,
            Priority::Interactive => self.cap,
        };
        waiter.slots.min(free).min(share).max(1)
    }

    fn fresh_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests;
