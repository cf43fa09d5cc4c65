//! Who is first in line: interactive requests before bulk ones, and in each class the clients in turn.
//!
//! A client that waits with many requests has one turn as any other: whoever comes waits for one grant to each
//! client before it, however many requests these have. Nobody starves: a client that was served goes to the end
//! of the line, and bulk work that was passed over for long enough is served next.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Contexts, Id};
use crate::caller::Priority;

/// Interactive requests that are served while bulk work waits before it has its turn: every eighth grant is its.
pub(super) const PASSES: u32 = 7;
/// How long bulk work waits at least before that counts, so that a burst of searches, as a viewer begins with, is
/// not cut in two by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: Id,
    pub(super) party: Party,
    /// The contexts that its association is to have.
    pub(super) contexts: Contexts,
    pub(super) slots: usize,
    pub(super) since: Instant,
}

/// Whose requests take turns: those of a client (`None`: the bridge itself) that are equally urgent.
pub(super) type Party = (Option<IpAddr>, Priority);

/// The requests that wait, and what is held by whom.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: Vec<Waiter>,
    /// Parties of which somebody waits.
    turns: HashMap<Party, Turn>,
    /// Grants so far.
    grants: u64,
    /// Leases that parties hold.
    held: HashMap<Party, usize>,
    /// Interactive requests that were served while bulk work waited.
    passes: u32,
}

#[derive(Debug)]
struct Turn {
    /// The grant after which the party came, or was served last: whose is lowest is next.
    after: u64,
    waiting: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Requests of a client that wait.
    pub(super) fn waiting_of(&self, client: Option<IpAddr>) -> usize {
        let parties = [Priority::Interactive, Priority::Bulk].map(|priority| (client, priority));
        parties.iter().filter_map(|party| self.turns.get(party)).map(|turn| turn.waiting).sum()
    }

    /// A request comes.
    pub(super) fn join(&mut self, waiter: Waiter) {
        let turn = self.turns.entry(waiter.party).or_insert(Turn { after: self.grants, waiting: 0 });
        turn.waiting += 1;
        self.waiters.push(waiter);
    }

    /// A request is not served any more.
    pub(super) fn leave(&mut self, id: Id) {
        if let Some(index) = self.waiters.iter().position(|waiter| waiter.id == id) {
            self.remove(index);
        }
    }

    /// The next request of those that `may` be served now.
    pub(super) fn first(&self, now: Instant, may: impl Fn(&Waiter) -> bool) -> Option<usize> {
        let bulk_is_due = self.bulk_is_due(now);
        let rank = |waiter: &Waiter| {
            let is_bulk = waiter.party.1 == Priority::Bulk;
            let held = self.held.get(&waiter.party).copied().unwrap_or(0);
            let after = self.turns.get(&waiter.party).map_or(0, |turn| turn.after);
            (is_bulk != bulk_is_due, held, after, waiter.id)
        };
        let candidates = self.waiters.iter().enumerate().filter(|(_, waiter)| may(waiter));
        candidates.min_by_key(|(_, waiter)| rank(waiter)).map(|(index, _)| index)
    }

    pub(super) fn get(&self, index: usize) -> &Waiter {
        &self.waiters[index]
    }

    /// Serves a request: its party goes to the end of the line.
    pub(super) fn serve(&mut self, index: usize) -> Waiter {
        self.grants += 1;
        let waiter = self.remove(index);
        if let Some(turn) = self.turns.get_mut(&waiter.party) {
            turn.after = self.grants;
        }
        let is_pass = waiter.party.1 == Priority::Interactive && self.bulk_waits();
        self.passes = if is_pass { self.passes.saturating_add(1) } else { 0 };
        waiter
    }

    /// A party holds one more lease.
    pub(super) fn hold(&mut self, party: Party) {
        *self.held.entry(party).or_default() += 1;
    }

    /// The reverse of [`Line::hold`].
    pub(super) fn let_go(&mut self, party: Party) {
        if let Some(count) = self.held.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&party);
            }
        }
    }

    /// Whether nobody waits and nobody holds anything.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.waiters.is_empty() && self.turns.is_empty() && self.held.is_empty()
    }

    fn bulk_is_due(&self, now: Instant) -> bool {
        let mut bulk = self.waiters.iter().filter(|waiter| waiter.party.1 == Priority::Bulk);
        self.passes >= PASSES && bulk.any(|waiter| now.duration_since(waiter.since) >= PATIENCE)
    }

    fn bulk_waits(&self) -> bool {
        self.turns.keys().any(|party| party.1 == Priority::Bulk)
    }

    fn remove(&mut self, index: usize) -> Waiter {
        // Not `swap_remove`: who came first stands first.
        let waiter = self.waiters.remove(index);
        if let Some(turn) = self.turns.get_mut(&waiter.party) {
            turn.waiting -= 1;
            if turn.waiting == 0 {
                self.turns.remove(&waiter.party);
            }
        }
        if !self.bulk_waits() {
            self.passes = 0;
        }
        waiter
    }
}
