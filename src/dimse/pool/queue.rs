//! Who gets the next association: the pool's decisions, without sockets, clocks or locks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::caller::{Caller, Priority};
use crate::dimse::negotiation::Proposal;

/// How long bulk work waits before it counts as interactive, so that it is never starved.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Release this idle association: its slot is wanted for another kind.
    Close(Id),
}

/// What a holder is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) client: Option<IpAddr>,
    /// Slots of bulk work.
    pub(super) bulk: usize,
}

/// What a holder gets besides.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// This idle association.
    Idle(Id),
    /// A slot for a new one.
    Slot,
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    id: Id,
    client: Option<IpAddr>,
    priority: Priority,
    want: Vec<Proposal>,
    slots: usize,
    since: Instant,
}

#[derive(Debug)]
struct Idle {
    id: Id,
    proposals: Vec<Proposal>,
}

/// Slots, waiters and idle associations of one pool.
#[derive(Debug)]
pub(super) struct Queue {
    cap: usize,
    most_waiting: usize,
    used: usize,
    waiters: Vec<Waiter>,
    idle: Vec<Idle>,
    /// Idle associations that were told to close and whose slot has not come back.
    closing: usize,
    held: HashMap<Option<IpAddr>, usize>,
    /// Slots that bulk work holds.
    bulk: usize,
    next_id: Id,
}

impl Queue {
    pub(super) fn new(cap: usize, most_waiting: usize) -> Self {
        let (waiters, idle) = (Vec::new(), Vec::new());
        Self {
            cap,
            most_waiting,
            used: 0,
            waiters,
            idle,
            closing: 0,
            held: HashMap::new(),
            bulk: 0,
            next_id: 0,
        }
    }

    /// Slots in use, idle associations included.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
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

    /// A request comes. `None`: the queue is full.
    pub(super) fn wait(
        &mut self,
        caller: &Caller,
        want: &[Proposal],
        slots: usize,
        now: Instant,
    ) -> Option<Id> {
        let id = self.fresh_id();
        let waiter = Waiter {
            id,
            client: caller.client,
            priority: caller.priority,
            want: want.to_vec(),
            // A weight above the share is cut to it, so that it can run.
            slots: slots.min(self.share(caller.priority)),
            since: now,
        };
        self.waiters.push(waiter);
        // Whoever can be served at once does not count as waiting.
        (self.waiters.len() <= self.most_waiting || self.can_serve_all()).then_some(id).or_else(|| {
            self.waiters.pop();
            None
        })
    }

    fn can_serve_all(&self) -> bool {
        self.waiters.len() == 1 && self.used - self.idle.len().min(self.used) < self.cap
    }

    /// A waiter gave up before it was served.
    pub(super) fn leave(&mut self, id: Id) {
        self.waiters.retain(|w| w.id != id);
    }

    /// An association became idle; it keeps its slot.
    pub(super) fn park(&mut self, proposals: &[Proposal]) -> Id {
        let id = self.fresh_id();
        self.idle.push(Idle { id, proposals: proposals.to_vec() });
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
        *self.held.entry(share.client).or_default() += 1;
        self.bulk += share.bulk;
    }

    /// The reverse of [`Queue::hold`].
    pub(super) fn let_go(&mut self, share: Share) {
        if let Some(count) = self.held.get_mut(&share.client) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&share.client);
            }
        }
        self.bulk = self.bulk.saturating_sub(share.bulk);
    }

    /// For who holds an association already: an idle one that fits, or one more slot if one is free, and
    /// nothing where somebody waits.
    pub(super) fn try_second(&mut self, want: &[Proposal]) -> Option<Second> {
        if !self.waiters.is_empty() {
            return None;
        }
        if let Some(index) = self.fitting(want) {
            return Some(Second::Idle(self.idle.remove(index).id));
        }
        (self.used < self.cap).then(|| {
            self.used += 1;
            Second::Slot
        })
    }

    fn fitting(&self, want: &[Proposal]) -> Option<usize> {
        self.idle.iter().position(|i| want.iter().all(|p| i.proposals.contains(p)))
    }

    /// Serves whoever can be served, in order; to be called after every change.
    pub(super) fn dispatch(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(index) = self.first_in_line(now) {
            let waiter = &self.waiters[index];
            let fitting = self.fitting(&waiter.want);
            let slots = self.affordable(waiter);
            let needed = slots - usize::from(fitting.is_some());
            if self.used + needed > self.cap {
                // The oldest idle association of another kind makes room.
                let spare = (0..self.idle.len()).find(|i| Some(*i) != fitting);
                if let Some(spare) = spare.filter(|_| self.used + needed - self.closing > self.cap) {
                    actions.push(Action::Close(self.idle.remove(spare).id));
                    self.closing += 1;
                    continue;
                }
                break;
            }
            self.used += needed;
            let waiter = self.waiters.remove(index);
            let idle = fitting.map(|index| self.idle.remove(index).id);
            let bulk = if waiter.priority == Priority::Bulk { slots } else { 0 };
            let share = Share { client: waiter.client, bulk };
            actions.push(Action::Grant { waiter: waiter.id, share, idle, slots: needed });
            self.hold(share);
        }
        actions
    }

    /// Interactive before bulk, then the client that holds least, then who came first. Who is first in line
    /// is never passed by a smaller request, so that nobody waits for ever.
    fn first_in_line(&self, now: Instant) -> Option<usize> {
        let rank = |w: &Waiter| {
            let bulk = w.priority == Priority::Bulk && now.duration_since(w.since) < PATIENCE;
            (bulk, self.held.get(&w.client).copied().unwrap_or(0), w.since, w.id)
        };
        // Bulk work that has its whole share waits for bulk work, and holds up nobody else.
        let may = |w: &Waiter| w.priority != Priority::Bulk || self.bulk < self.share(w.priority);
        (0..self.waiters.len()).filter(|i| may(&self.waiters[*i])).min_by_key(|i| rank(&self.waiters[*i]))
    }

    /// The slots that a request gets now: those that it asks for, as far as there are so many, and one at
    /// least. The second one of a C-MOVE stands for what the archive opens back to us; a search, or the next
    /// C-MOVE, is not made to wait for a whole study for its sake.
    fn affordable(&self, waiter: &Waiter) -> usize {
        let free = self.cap - self.used + self.idle.len();
        let share = match waiter.priority {
            Priority::Bulk => self.share(waiter.priority) - self.bulk,
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(client: u8, priority: Priority) -> Caller {
        Caller { client: Some([10, 0, 0, client].into()), priority }
    }

    fn want(kind: u8) -> Vec<Proposal> {
        vec![Proposal {
            abstract_syntax: format!("1.{kind}").parse().unwrap(),
            transfer_syntaxes: vec![],
            as_scp: false,
        }]
    }

    fn granted(actions: &[Action]) -> Vec<(Id, Option<Id>)> {
        let grant = |a: &Action| match a {
            Action::Grant { waiter, idle, .. } => (*waiter, *idle),
            Action::Close(id) => panic!("{id} is to close"),
        };
        actions.iter().map(grant).collect()
    }

    #[test]
    fn interactive_comes_before_bulk_and_the_client_that_holds_least_first() {
        let now = Instant::now();
        let mut queue = Queue::new(1, 10);
        let first = queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
        assert_eq!(granted(&queue.dispatch(now)), [(first, None)]);
        let bulk = queue.wait(&caller(2, Priority::Bulk), &want(1), 1, now).unwrap();
        let same = queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
        let other = queue.wait(&caller(3, Priority::Interactive), &want(1), 1, now).unwrap();
        assert_eq!(queue.dispatch(now), []);
        for expected in [other, same, bulk] {
            queue.free(false);
            assert_eq!(granted(&queue.dispatch(now)), [(expected, None)]);
        }
    }

    #[test]
    fn bulk_work_is_not_starved() {
        let now = Instant::now();
        let mut queue = Queue::new(1, 10);
        queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
        queue.dispatch(now);
        let bulk = queue.wait(&caller(2, Priority::Bulk), &want(1), 1, now).unwrap();
        let later = now + PATIENCE;
        queue.wait(&caller(3, Priority::Interactive), &want(1), 1, later).unwrap();
        queue.free(false);
        assert_eq!(granted(&queue.dispatch(later)), [(bulk, None)]);
    }

    #[test]
    fn a_full_queue_refuses() {
        let now = Instant::now();
        let mut queue = Queue::new(1, 1);
        assert!(queue.wait(&caller(1, Priority::Bulk), &want(1), 1, now).is_some());
        queue.dispatch(now);
        assert!(queue.wait(&caller(1, Priority::Bulk), &want(1), 1, now).is_some());
        assert_eq!(queue.wait(&caller(1, Priority::Bulk), &want(1), 1, now), None);
    }

    #[test]
    fn an_idle_association_of_another_kind_makes_room_at_the_cap() {
        let now = Instant::now();
        let mut queue = Queue::new(1, 10);
        queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
        queue.dispatch(now);
        let idle = queue.park(&want(1));
        let other = queue.wait(&caller(1, Priority::Interactive), &want(2), 1, now).unwrap();
        assert_eq!(queue.dispatch(now), [Action::Close(idle)]);
        assert_eq!(queue.dispatch(now), [], "one close for one waiter");
        queue.free(true);
        assert_eq!(granted(&queue.dispatch(now)), [(other, None)]);
        let idle = queue.park(&want(2));
        let same = queue.wait(&caller(1, Priority::Interactive), &want(2), 1, now).unwrap();
        assert_eq!(granted(&queue.dispatch(now)), [(same, Some(idle))]);
    }

    #[test]
    fn bulk_work_leaves_a_slot_to_searches_and_does_not_hold_them_up() {
        let now = Instant::now();
        let mut queue = Queue::new(2, 10);
        let study = queue.wait(&caller(1, Priority::Bulk), &want(1), 2, now).unwrap();
        assert_eq!(granted(&queue.dispatch(now)), [(study, None)]);
        let next_study = queue.wait(&caller(2, Priority::Bulk), &want(1), 1, now).unwrap();
        let search = queue.wait(&caller(2, Priority::Interactive), &want(2), 1, now + PATIENCE).unwrap();
        assert_eq!(granted(&queue.dispatch(now + PATIENCE)), [(search, None)]);
        queue.free(false);
        queue.let_go(Share { client: Some([10, 0, 0, 1].into()), bulk: 1 });
        assert_eq!(granted(&queue.dispatch(now)), [(next_study, None)]);
    }

    #[test]
    fn a_second_c_move_and_an_urgent_one_go_ahead_with_one_slot_where_two_are_not_free() {
        let now = Instant::now();
        let mut queue = Queue::new(4, 10);
        let one = queue.wait(&caller(1, Priority::Bulk), &want(1), 2, now).unwrap();
        let two = queue.wait(&caller(2, Priority::Bulk), &want(1), 2, now).unwrap();
        let three = queue.wait(&caller(3, Priority::Bulk), &want(1), 2, now).unwrap();
        assert_eq!(granted(&queue.dispatch(now)), [(one, None), (two, None)]);
        assert_eq!(queue.used(), 3, "the last slot is not for bulk work");
        let urgent = queue.wait(&caller(4, Priority::Interactive), &want(1), 2, now).unwrap();
        assert_eq!(granted(&queue.dispatch(now)), [(urgent, None)]);
        assert_eq!(queue.used(), 4);
        queue.free(false);
        queue.let_go(Share { client: Some([10, 0, 0, 2].into()), bulk: 1 });
        assert_eq!(granted(&queue.dispatch(now)), [(three, None)]);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Wait(u8, bool, u8, usize),
        Leave(usize),
        Finish(usize, bool),
        IdleEnds(usize),
        Second,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..3_u8, any::<bool>(), 0..3_u8, 1..3_usize).prop_map(|(c, b, k, s)| Op::Wait(c, b, k, s)),
            1 => any::<usize>().prop_map(Op::Leave),
            3 => (any::<usize>(), any::<bool>()).prop_map(|(i, p)| Op::Finish(i, p)),
            1 => any::<usize>().prop_map(Op::IdleEnds),
            1 => Just(Op::Second),
        ]
    }

    /// The shell, without sockets: closing is done at once.
    #[derive(Default)]
    struct Model {
        waiting: Vec<(Id, u8, usize, bool)>,
        open: Vec<(u8, usize, Share)>,
        idle: Vec<(Id, u8)>,
        seconds: usize,
    }

    impl Model {
        fn run(&mut self, queue: &mut Queue, cap: usize) {
            loop {
                let actions = queue.dispatch(Instant::now());
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    match action {
                        Action::Grant { waiter, idle, share, slots } => {
                            self.idle.retain(|i| Some(i.0) != idle);
                            self.serve(waiter, cap, share, slots + usize::from(idle.is_some()));
                        }
                        Action::Close(id) => {
                            self.idle.retain(|i| i.0 != id);
                            queue.free(true);
                        }
                    }
                }
            }
            let slots = self.open.iter().map(|o| o.1).sum::<usize>() + self.idle.len() + self.seconds;
            assert_eq!(queue.used(), slots, "slots are counted right");
            assert!(queue.used() <= cap, "never above the cap");
            let bulk_only = self.waiting.iter().all(|w| w.3);
            let room = if bulk_only { 3 } else { 2 };
            assert!(self.waiting.is_empty() || slots + room > cap, "nobody waits while there is room");
        }

        fn serve(&mut self, id: Id, cap: usize, share: Share, granted: usize) {
            let index = self.waiting.iter().position(|w| w.0 == id).expect("it waits");
            let (_, kind, slots, bulk) = self.waiting.remove(index);
            let most = if bulk && cap > 1 { cap - 1 } else { cap };
            assert!((1..=slots).contains(&granted), "never more than asked for, and never nothing");
            self.open.push((kind, granted, share));
            let held: usize = self.open.iter().map(|o| o.2.bulk).sum();
            assert!(held <= most.max(1), "bulk work leaves a slot to others");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_happens_all_slots_come_back(cap in 1..5_usize, ops in proptest::collection::vec(op(), 0..60)) {
            let mut queue = Queue::new(cap, 8);
            let mut model = Model::default();
            for op in ops {
                match op {
                    Op::Wait(client, bulk, kind, slots) => {
                        let priority = if bulk { Priority::Bulk } else { Priority::Interactive };
                        if let Some(id) = queue.wait(&caller(client, priority), &want(kind), slots, Instant::now()) {
                            model.waiting.push((id, kind, slots, bulk));
                        }
                    }
                    Op::Leave(n) if !model.waiting.is_empty() => {
                        let (id, ..) = model.waiting.remove(n % model.waiting.len());
                        queue.leave(id);
                    }
                    Op::Finish(n, park) if !model.open.is_empty() => {
                        let (kind, slots, share) = model.open.remove(n % model.open.len());
                        queue.let_go(share);
                        (1..slots).for_each(|_| queue.free(false));
                        if park {
                            model.idle.push((queue.park(&want(kind)), kind));
                        } else {
                            queue.free(false);
                        }
                    }
                    Op::IdleEnds(n) if !model.idle.is_empty() => {
                        let (id, _) = model.idle.remove(n % model.idle.len());
                        prop_assert!(queue.unpark(id));
                        queue.free(false);
                    }
                    Op::Second => match queue.try_second(&want(1)) {
                        Some(Second::Idle(id)) => {
                            model.idle.retain(|i| i.0 != id);
                            model.seconds += 1;
                        }
                        Some(Second::Slot) => model.seconds += 1,
                        None => {}
                    },
                    _ => {}
                }
                model.run(&mut queue, cap);
            }
            (0..std::mem::take(&mut model.seconds)).for_each(|_| queue.free(false));
            model.run(&mut queue, cap);
            while let Some((_, slots, share)) = model.open.pop() {
                queue.let_go(share);
                (0..slots).for_each(|_| queue.free(false));
                model.run(&mut queue, cap);
            }
            prop_assert!(model.waiting.is_empty(), "everybody was served");
            prop_assert_eq!(queue.used(), queue.idle());
            prop_assert!(queue.held.is_empty() && queue.bulk == 0, "nobody holds anything");
        }
    }
}
