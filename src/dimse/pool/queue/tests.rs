//! The pool's decisions, one by one and in any order.

use proptest::prelude::*;

use super::line::{PASSES, PATIENCE};
use super::*;

fn caller(client: u8, priority: Priority) -> Caller {
    Caller { client: Some([10, 0, 0, client].into()), priority, title: None }
}

fn want(kind: u8) -> Contexts {
    Contexts::only(vec![proposal(kind)])
}

fn proposal(kind: u8) -> Proposal {
    Proposal {
        abstract_syntax: format!("1.{kind}").parse().unwrap(),
        transfer_syntaxes: vec![],
        as_scp: false,
    }
}

/// The same under a client's title; 0: under our own.
fn under(title: u8, contexts: Contexts) -> Contexts {
    contexts.under((title > 0).then(|| format!("CLIENT{title}").parse().unwrap()))
}

/// Parks an association that has served nothing but what it was opened for.
fn park(queue: &mut Queue, kind: u8) -> Id {
    park_opened(queue, &want(kind))
}

fn park_opened(queue: &mut Queue, contexts: &Contexts) -> Id {
    queue.park(&contexts.identity(), &contexts.want, &contexts.want)
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

/// A pool of one slot, which is always given back at once and granted to the next in line.
struct Turns {
    queue: Queue,
    now: Instant,
    busy: Option<Share>,
}

impl Turns {
    fn new(most_waiting: usize) -> Self {
        let mut queue = Queue::new(1, most_waiting);
        let now = Instant::now();
        queue.wait(&caller(99, Priority::Interactive), &want(1), 1, now).unwrap();
        let mut turns = Self { queue, now, busy: None };
        turns.next();
        turns
    }

    fn wait(&mut self, client: u8, priority: Priority) -> Id {
        self.queue.wait(&caller(client, priority), &want(1), 1, self.now).unwrap()
    }

    /// Who is served next.
    fn next(&mut self) -> Id {
        if let Some(share) = self.busy.take() {
            self.queue.let_go(share);
            self.queue.free(false);
        }
        let actions = self.queue.dispatch(self.now);
        let [Action::Grant { waiter, share, .. }] = &actions[..] else { panic!("{actions:?}") };
        self.busy = Some(*share);
        *waiter
    }
}

#[test]
fn hazard_a_client_with_200_queued_requests_does_not_delay_the_first_of_another() {
    let mut turns = Turns::new(1000);
    let crowd: Vec<Id> = (0..200).map(|_| turns.wait(1, Priority::Interactive)).collect();
    assert_eq!(turns.next(), crowd[0]);
    let other = turns.wait(2, Priority::Interactive);
    let next: Vec<Id> = (0..2).map(|_| turns.next()).collect();
    assert!(next.contains(&other), "no later than after one more of the crowd");
    // One after the other, it has every second turn.
    let mut served = 0;
    for _ in 0..20 {
        let own = turns.wait(2, Priority::Interactive);
        while turns.next() != own {
            served += 1;
        }
    }
    assert!((10..=21).contains(&served), "{served}");
}

#[test]
fn requests_of_one_client_are_served_in_the_order_in_which_they_came() {
    let mut turns = Turns::new(1000);
    let ids: Vec<Id> = (0..50).map(|_| turns.wait(1, Priority::Interactive)).collect();
    let served: Vec<Id> = (0..50).map(|_| turns.next()).collect();
    assert_eq!(served, ids);
}

#[test]
fn hazard_nobody_is_starved_by_clients_that_always_come_anew() {
    let mut turns = Turns::new(1000);
    let mut old: Vec<Id> = (0..5).map(|_| turns.wait(1, Priority::Interactive)).collect();
    let mut since = 0;
    for new in 0.. {
        turns.wait(2 + (2 * new % 200) as u8, Priority::Interactive);
        turns.wait(3 + (2 * new % 200) as u8, Priority::Interactive);
        let served = turns.next();
        since += 1;
        if served == old[0] {
            old.remove(0);
            since = 0;
        }
        if old.is_empty() {
            break;
        }
        // One grant to each of those that were there before its last turn, twice as many every time.
        assert!(since < 200, "starved");
    }
}

#[test]
fn hazard_bulk_work_has_every_eighth_turn_however_many_searches_come() {
    let mut turns = Turns::new(1000);
    let mut bulk: Vec<Id> = (0..3).map(|_| turns.wait(1, Priority::Bulk)).collect();
    turns.now += PATIENCE;
    let mut passes = 0;
    while !bulk.is_empty() {
        turns.wait(2, Priority::Interactive);
        let served = turns.next();
        if served == bulk[0] {
            assert_eq!(passes, PASSES);
            passes = 0;
            bulk.remove(0);
        } else {
            passes += 1;
            assert!(passes <= PASSES);
        }
    }
}

#[test]
fn a_burst_of_searches_is_not_cut_in_two_by_bulk_work_that_has_not_waited_long() {
    let mut turns = Turns::new(1000);
    let bulk = turns.wait(1, Priority::Bulk);
    let burst: Vec<Id> = (0..40).map(|_| turns.wait(2, Priority::Interactive)).collect();
    assert!(burst.iter().all(|id| turns.next() == *id));
    assert_eq!(turns.next(), bulk);
}

#[test]
fn a_client_fills_no_more_than_half_of_the_queue() {
    let mut turns = Turns::new(10);
    for _ in 0..5 {
        turns.wait(1, Priority::Bulk);
    }
    let more = |turns: &mut Turns, client| {
        turns.queue.wait(&caller(client, Priority::Interactive), &want(1), 1, turns.now).is_some()
    };
    assert!(!more(&mut turns, 1));
    assert!((0..5).all(|_| more(&mut turns, 2)));
    assert!(!more(&mut turns, 3), "it is full");
}

#[test]
fn hazard_an_idle_association_is_used_by_who_wants_it_while_the_first_in_line_waits_for_another_kind() {
    let now = Instant::now();
    let mut queue = Queue::new(2, 10);
    for _ in 0..2 {
        queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
    }
    queue.dispatch(now);
    let (old, young) = (park(&mut queue, 1), park(&mut queue, 1));
    let first = queue.wait(&caller(2, Priority::Interactive), &want(2), 1, now).unwrap();
    assert_eq!(queue.dispatch(now), [Action::Close(old)]);
    let second = queue.wait(&caller(3, Priority::Interactive), &want(1), 1, now).unwrap();
    assert_eq!(granted(&queue.dispatch(now)), [(second, Some(young))]);
    let third = queue.wait(&caller(3, Priority::Interactive), &want(1), 1, now).unwrap();
    assert_eq!(queue.dispatch(now), []);
    queue.free(true);
    assert_eq!(granted(&queue.dispatch(now)), [(first, None)], "it was not passed for the slot");
    queue.free(false);
    assert_eq!(granted(&queue.dispatch(now)), [(third, None)]);
}

#[test]
fn a_burst_uses_idle_associations_first_then_opens_new_ones_up_to_the_cap() {
    let now = Instant::now();
    let mut queue = Queue::new(4, 100);
    queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap();
    queue.dispatch(now);
    let idle = park(&mut queue, 1);
    queue.let_go(Share { client: caller(1, Priority::Interactive).client, bulk: 0 });
    let burst: Vec<Id> =
        (0..50).map(|_| queue.wait(&caller(1, Priority::Interactive), &want(1), 1, now).unwrap()).collect();
    let expected = [(burst[0], Some(idle)), (burst[1], None), (burst[2], None), (burst[3], None)];
    assert_eq!(granted(&queue.dispatch(now)), expected);
    assert_eq!((queue.used(), queue.waiting()), (4, 46));
}

#[test]
fn who_shares_its_work_among_several_leaves_one_slot_to_others() {
    let now = Instant::now();
    let mut queue = Queue::new(3, 10);
    queue.wait(&caller(1, Priority::Bulk), &want(1), 1, now).unwrap();
    queue.dispatch(now);
    assert_eq!(queue.try_lane(&want(1)), Some(Second::Slot { instead_of: None }));
    assert_eq!(queue.try_lane(&want(1)), None);
    queue.wait(&caller(2, Priority::Interactive), &want(1), 1, now).unwrap();
    assert_eq!(queue.dispatch(now).len(), 1, "one that somebody waits for may have it");
    let idle = park(&mut queue, 1);
    assert_eq!(queue.try_lane(&want(1)), None);
    queue.free(false);
    assert_eq!(queue.try_lane(&want(1)), Some(Second::Idle(idle)));
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
    let idle = park(&mut queue, 1);
    let other = queue.wait(&caller(1, Priority::Interactive), &want(2), 1, now).unwrap();
    assert_eq!(queue.dispatch(now), [Action::Close(idle)]);
    assert_eq!(queue.dispatch(now), [], "one close for one waiter");
    queue.free(true);
    assert_eq!(granted(&queue.dispatch(now)), [(other, None)]);
    let idle = park(&mut queue, 2);
    let same = queue.wait(&caller(1, Priority::Interactive), &want(2), 1, now).unwrap();
    assert_eq!(granted(&queue.dispatch(now)), [(same, Some(idle))]);
}

#[test]
fn an_association_under_one_title_serves_no_other_and_makes_room_at_the_cap() {
    let now = Instant::now();
    let mut queue = Queue::new(2, 10);
    let lease = |queue: &mut Queue, title| {
        queue.wait(&caller(1, Priority::Interactive), &under(title, want(1)), 1, now).unwrap()
    };
    let first = lease(&mut queue, 1);
    assert_eq!(granted(&queue.dispatch(now)), [(first, None)]);
    let idle = park_opened(&mut queue, &under(1, want(1)));
    let second = lease(&mut queue, 2);
    assert_eq!(granted(&queue.dispatch(now)), [(second, None)], "the idle one is another's");
    let third = lease(&mut queue, 3);
    assert_eq!(queue.dispatch(now), [Action::Close(idle)], "one cap over all titles");
    queue.free(true);
    assert_eq!(granted(&queue.dispatch(now)), [(third, None)]);
    let idle = park_opened(&mut queue, &under(2, want(1)));
    let again = lease(&mut queue, 2);
    assert_eq!(granted(&queue.dispatch(now)), [(again, Some(idle))]);
}

#[test]
fn an_idle_association_whose_work_a_new_one_can_do_too_makes_way_for_it_where_two_are_open() {
    let now = Instant::now();
    let mut queue = Queue::new(4, 10);
    let more = Contexts::offering(vec![proposal(2)], vec![proposal(1), proposal(2)]);
    let opens = |queue: &mut Queue, contexts: &Contexts| {
        let waiter = queue.wait(&caller(1, Priority::Interactive), contexts, 1, now).unwrap();
        let actions = queue.dispatch(now);
        let closed = actions.iter().find_map(|a| if let Action::Close(id) = a { Some(*id) } else { None });
        (granted(&actions[usize::from(closed.is_some())..]) == [(waiter, None)], closed)
    };
    assert_eq!(opens(&mut queue, &want(1)), (true, None));
    let alone = park(&mut queue, 1);
    assert_eq!(opens(&mut queue, &more), (true, None), "there was one only");
    assert_eq!(
        opens(&mut queue, &want(3)),
        (true, None),
        "what was wanted of it before cannot be had of that"
    );
    queue.free(false);
    assert_eq!(opens(&mut queue, &more), (true, Some(alone)));
    queue.free(true);
    let (other, used) = (park(&mut queue, 3), queue.used());
    assert_eq!(queue.try_lane(&more), Some(Second::Slot { instead_of: None }));
    let all = Contexts::offering(vec![proposal(1)], (0..4).map(proposal).collect::<Vec<_>>());
    assert_eq!(queue.try_lane(&all), Some(Second::Slot { instead_of: Some(other) }));
    assert_eq!(queue.used(), used + 2, "until it is closed");
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

/// What is wanted, under which title, and whether for one lease alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    class: u8,
    title: u8,
    own: bool,
}

impl Kind {
    fn contexts(self) -> Contexts {
        let contexts = under(self.title, want(self.class));
        if self.own { contexts.of_its_own([]) } else { contexts }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let own = proptest::bool::weighted(0.1);
    (0..3_u8, 0..3_u8, own).prop_map(|(class, title, own)| Kind { class, title, own })
}

#[derive(Debug, Clone)]
enum Op {
    Wait(u8, bool, Kind, usize),
    Leave(usize),
    Finish(usize, bool),
    IdleEnds(usize),
    Second,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_u8, any::<bool>(), kind(), 1..3_usize).prop_map(|(c, b, k, s)| Op::Wait(c, b, k, s)),
        1 => any::<usize>().prop_map(Op::Leave),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(i, p)| Op::Finish(i, p)),
        1 => any::<usize>().prop_map(Op::IdleEnds),
        1 => Just(Op::Second),
    ]
}

/// The shell, without sockets: closing is done at once.
#[derive(Default)]
struct Model {
    waiting: Vec<(Id, Kind, usize, bool)>,
    open: Vec<(Kind, usize, Share)>,
    idle: Vec<(Id, Kind)>,
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
                        if let Some(taken) = self.idle.iter().find(|i| Some(i.0) == idle) {
                            let wanted = self.waiting.iter().find(|w| w.0 == waiter).expect("it waits").1;
                            assert_eq!(taken.1, wanted, "never one of another class or title");
                            assert!(!wanted.own, "one of its own is a new one");
                        }
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
    fn whatever_happens_all_slots_come_back_and_no_association_changes_its_title(cap in 1..5_usize, ops in proptest::collection::vec(op(), 0..60)) {
        let mut queue = Queue::new(cap, 8);
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Wait(client, bulk, kind, slots) => {
                    let priority = if bulk { Priority::Bulk } else { Priority::Interactive };
                    if let Some(id) = queue.wait(&caller(client, priority), &kind.contexts(), slots, Instant::now()) {
                        model.waiting.push((id, kind, slots, bulk));
                    }
                }
                Op::Leave(n) if !model.waiting.is_empty() => {
                    let (id, ..) = model.waiting.remove(n % model.waiting.len());
                    queue.leave(id);
                }
                Op::Finish(n, parks) if !model.open.is_empty() => {
                    let (kind, slots, share) = model.open.remove(n % model.open.len());
                    queue.let_go(share);
                    (1..slots).for_each(|_| queue.free(false));
                    if parks && !kind.own {
                        model.idle.push((park_opened(&mut queue, &kind.contexts()), kind));
                    } else {
                        queue.free(false);
                    }
                }
                Op::IdleEnds(n) if !model.idle.is_empty() => {
                    let (id, _) = model.idle.remove(n % model.idle.len());
                    prop_assert!(queue.unpark(id));
                    queue.free(false);
                }
                Op::Second => match queue.try_lane(&want(1)) {
                    Some(Second::Idle(id)) => {
                        model.idle.retain(|i| i.0 != id);
                        model.seconds += 1;
                    }
                    Some(Second::Slot { instead_of }) => {
                        if let Some(id) = instead_of {
                            model.idle.retain(|i| i.0 != id);
                            queue.free(true);
                        }
                        model.seconds += 1;
                    }
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
        prop_assert!(queue.line.is_at_rest() && queue.bulk == 0, "nobody holds anything");
    }
}
