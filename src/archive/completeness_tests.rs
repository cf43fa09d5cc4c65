//! What the ledger makes of every kind of end.

use proptest::prelude::*;

use super::*;
use crate::dimse::command::field;

/// A ledger with one operation at a time.
struct Ledger {
    ledger: super::Ledger,
    operation: OperationId,
}

impl std::ops::Deref for Ledger {
    type Target = super::Ledger;
    fn deref(&self) -> &super::Ledger {
        &self.ledger
    }
}

impl std::ops::DerefMut for Ledger {
    fn deref_mut(&mut self) -> &mut super::Ledger {
        &mut self.ledger
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(BTreeSet::new())
    }
}

impl Ledger {
    fn new(announced: BTreeSet<Uid>) -> Self {
        let mut ledger = super::Ledger::new(announced);
        let operation = ledger.begin(Scope::All, false);
        Self { ledger, operation }
    }

    fn received(&mut self, instance: &Uid, fingerprint: Fingerprint) {
        self.ledger.received(self.operation, instance, fingerprint);
    }

    fn ended(&mut self, response: &Command, failed: Vec<Uid>) {
        self.ledger.ended(self.operation, response, failed);
    }

    fn is_unwitnessed(&self) -> bool {
        self.ledger.is_unwitnessed(self.operation)
    }

    fn restart(&mut self) {
        self.ledger.withdraw(self.operation);
        self.operation = self.ledger.begin(Scope::All, false);
    }

    fn proceed(&mut self) {
        self.settle();
        self.operation = self.ledger.begin(Scope::All, false);
    }
}

fn uid(n: usize) -> Uid {
    format!("1.2.{n}").parse().unwrap()
}

fn survey(n: usize) -> BTreeMap<Uid, Uid> {
    (0..n).map(|n| (uid(n), uid(1000))).collect()
}

fn print(hash: u64) -> Fingerprint {
    Fingerprint { length: 10, hash }
}

fn arrive(ledger: &mut Ledger, n: usize) {
    ledger.began(&uid(n));
    ledger.received(&uid(n), print(n as u64));
}

fn end(status: u16, completed: Option<u16>, failed: Option<u16>) -> Command {
    let mut response = Command::request(field::C_MOVE_RQ, "1.2", 1).response(status);
    (response.completed, response.failed) = (completed, failed);
    response
}

#[test]
fn hazard_the_final_response_that_overtakes_the_last_object_is_waited_out() {
    let mut ledger = Ledger::default();
    (0..199).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0, Some(200), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Outstanding);
    arrive(&mut ledger, 199);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn success_first_without_counters_is_held_against_the_search() {
    let mut ledger = Ledger::default();
    ledger.ended(&end(0, None, None), vec![]);
    ledger.expect(survey(2));
    assert_eq!(ledger.verdict(), Verdict::Outstanding);
    (0..2).for_each(|n| arrive(&mut ledger, n));
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn a_success_that_nobody_witnesses_is_told_from_one_with_counters_or_a_search() {
    let mut ledger = Ledger::default();
    ledger.ended(&end(0, None, None), vec![]);
    assert!(ledger.is_unwitnessed());
    ledger.expect(survey(0));
    assert!(ledger.is_unwitnessed(), "a search that finds nothing knows nothing");
    ledger.expect(survey(1));
    assert!(!ledger.is_unwitnessed());
    let mut ledger = Ledger::default();
    ledger.ended(&end(0, Some(3), None), vec![]);
    assert!(!ledger.is_unwitnessed());
}

#[test]
fn as_many_objects_as_the_series_tell_need_no_search_unless_something_speaks_against_it() {
    let ledger = |told: usize, came: usize, response: &Command, failed: Vec<Uid>| {
        let mut ledger = Ledger::default();
        ledger.tell(told);
        (0..came).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(response, failed);
        ledger
    };
    assert!(ledger(3, 3, &end(0, Some(3), Some(0)), vec![]).is_as_told());
    for (told, came, response, failed) in [
        (4, 3, end(0, Some(3), Some(0)), vec![]),
        (2, 3, end(0, Some(3), Some(0)), vec![]),
        (3, 3, end(0, Some(4), Some(0)), vec![]),
        (3, 3, end(0xB000, Some(3), Some(1)), vec![]),
        (3, 3, end(0xB000, Some(3), Some(1)), vec![uid(9)]),
        (3, 3, end(0xA702, None, None), vec![]),
        (3, 3, end(0, None, None), vec![]),
        (0, 0, end(0, Some(0), Some(0)), vec![]),
    ] {
        let ledger = ledger(told, came, &response, failed);
        assert!(!ledger.is_as_told(), "{told} told, {came} came: {response:?}");
    }
    let mut untold = Ledger::default();
    arrive(&mut untold, 0);
    untold.ended(&end(0, Some(1), Some(0)), vec![]);
    assert!(!untold.is_as_told());
}

#[test]
fn hazard_a_success_without_counters_is_not_believed_for_the_number_that_the_series_tell() {
    let mut ledger = Ledger::default();
    ledger.tell(1);
    arrive(&mut ledger, 0);
    ledger.ended(&end(0, None, None), vec![]);
    assert!(ledger.is_unwitnessed(), "the number may be too low");
}

#[test]
fn hazard_an_object_that_was_announced_as_missing_does_not_hide_that_another_is() {
    let mut ledger = Ledger::new([uid(9)].into());
    ledger.tell(3);
    (0..2).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0xB000, Some(2), Some(1)), vec![]);
    assert!(!ledger.is_as_told(), "the one may be gone, and another have failed");
}

#[test]
fn hazard_a_short_study_is_never_complete() {
    let mut ledger = Ledger::default();
    ledger.expect(survey(3));
    (0..2).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![uid(2)], unnamed: 0 });
    let mut ledger = Ledger::default();
    (0..2).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0xB000, Some(2), Some(1)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![], unnamed: 1 });
    ledger.ended(&end(0xB000, Some(2), Some(1)), vec![uid(7)]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![uid(7)], unnamed: 0 });
}

#[test]
fn what_was_announced_as_missing_does_not_break_the_rest() {
    let mut ledger = Ledger::new([uid(2)].into());
    ledger.expect(survey(3));
    (0..2).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0xB000, Some(2), Some(1)), vec![uid(2)]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn more_than_the_search_named_is_welcome_and_b000_with_nothing_failed_is_complete() {
    let mut ledger = Ledger::default();
    ledger.expect(survey(1));
    (0..3).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0xB000, Some(3), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn hazard_the_same_object_twice_identical_is_dropped_different_is_an_error() {
    let mut ledger = Ledger::default();
    arrive(&mut ledger, 1);
    assert!(!ledger.began(&uid(1)), "the second is not handed out");
    ledger.received(&uid(1), print(1));
    ledger.ended(&end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
    ledger.began(&uid(1));
    ledger.received(&uid(1), print(99));
    assert_eq!(ledger.verdict(), Verdict::Conflict(uid(1)));
}

#[test]
fn hazard_failed_objects_that_come_later_are_forgiven() {
    let mut ledger = Ledger::default();
    ledger.began(&uid(1));
    ledger.broke(&uid(1));
    ledger.ended(&end(0xB000, Some(0), Some(1)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![uid(1)], unnamed: 0 });
    ledger.restart();
    assert_eq!(ledger.verdict(), Verdict::Running);
    arrive(&mut ledger, 1);
    ledger.ended(&end(0, Some(1), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn hazard_what_one_operation_owes_is_not_forgotten_when_the_next_succeeds() {
    // Of three failed ones the search names one; that one comes after all.
    let mut ledger = Ledger::default();
    ledger.expect(survey(3));
    (0..2).for_each(|n| arrive(&mut ledger, n));
    ledger.ended(&end(0xB000, Some(2), Some(3)), vec![]);
    ledger.proceed();
    arrive(&mut ledger, 2);
    ledger.ended(&end(0, Some(1), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![], unnamed: 2 });
    // Series by series, without a search: the first falls short in one of these ways.
    let ways = [
        end(0, Some(3), Some(0)),
        end(0xB000, Some(2), Some(1)),
        end(0xC000, None, None),
        end(0xFE00, None, None),
    ];
    for response in ways {
        let mut ledger = Ledger::default();
        (0..2).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(&response, vec![]);
        ledger.proceed();
        arrive(&mut ledger, 3);
        ledger.ended(&end(0, Some(1), Some(0)), vec![]);
        assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![], unnamed: 1 }, "{response:?}");
        ledger.proceed();
        ledger.ended(&end(0, Some(0), Some(0)), vec![]);
        assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![], unnamed: 1 }, "{response:?}");
    }
}

#[test]
fn what_can_be_named_is_not_owed_and_neither_is_what_an_attempt_in_another_way_failed_to_bring() {
    let mut ledger = Ledger::default();
    ledger.expect(survey(2));
    arrive(&mut ledger, 0);
    ledger.ended(&end(0xB000, Some(1), Some(1)), vec![]);
    ledger.proceed();
    arrive(&mut ledger, 1);
    ledger.ended(&end(0, Some(1), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
    let mut ledger = Ledger::default();
    ledger.ended(&end(0x0122, None, None), vec![]);
    ledger.restart();
    arrive(&mut ledger, 0);
    ledger.ended(&end(0, Some(1), Some(0)), vec![]);
    ledger.proceed();
    ledger.ended(&end(0, Some(0), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn what_the_client_has_is_not_missed_and_its_failure_is_no_failure() {
    let mut ledger = Ledger::default();
    ledger.expect(survey(3));
    ledger.confirm([uid(0), uid(1)].into());
    assert_eq!(ledger.missing(), [uid(2)]);
    arrive(&mut ledger, 2);
    ledger.ended(&end(0xB000, Some(1), Some(2)), vec![uid(0), uid(1)]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
    ledger.restart();
    ledger.ended(&end(0xB000, Some(1), Some(1)), vec![]);
    assert_ne!(ledger.verdict(), Verdict::Complete, "one that nobody can name is another");
}

proptest! {
    /// Whatever arrives in whatever order: complete means that every expected object is here.
    #[test]
    fn complete_means_complete(
        expected in 0..8_usize,
        steps in proptest::collection::vec((0..5_u8, 0..8_usize, any::<bool>()), 0..40),
    ) {
        let mut ledger = Ledger::default();
        ledger.expect(survey(expected));
        let mut here = BTreeSet::new();
        for (kind, n, flag) in steps {
            match kind {
                0 | 1 => { arrive(&mut ledger, n); here.insert(n); }
                2 => { ledger.began(&uid(n)); ledger.broke(&uid(n)); }
                3 => {
                    let status = if flag { 0 } else { 0xB000 };
                    ledger.ended(&end(status, flag.then_some(n as u16), None), vec![]);
                }
                _ => ledger.restart(),
            }
            if ledger.verdict() == Verdict::Complete {
                prop_assert!((0..expected).all(|n| here.contains(&n)));
            }
        }
    }
}

/// Two operations at once, each with its half of four objects.
fn halves() -> (super::Ledger, [OperationId; 2]) {
    let mut ledger = super::Ledger::default();
    ledger.expect(survey(4));
    let half = |numbers: [usize; 2]| Scope::Instances(numbers.map(uid).into());
    let operations = [[0, 1], [2, 3]].map(|numbers| ledger.begin(half(numbers), false));
    (ledger, operations)
}

fn bring(ledger: &mut super::Ledger, operation: OperationId, n: usize) {
    ledger.began(&uid(n));
    ledger.received(operation, &uid(n), print(n as u64));
}

#[test]
fn operations_at_once_are_complete_when_each_is() {
    let (mut ledger, [one, two]) = halves();
    [0, 1].into_iter().for_each(|n| bring(&mut ledger, one, n));
    ledger.ended(one, &end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Running);
    [2, 3].into_iter().for_each(|n| bring(&mut ledger, two, n));
    assert!(!ledger.is_outstanding(one) && !ledger.is_outstanding(two));
    ledger.ended(two, &end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn hazard_what_one_operation_brings_beyond_does_not_hide_what_another_falls_short_of() {
    let (mut ledger, [one, two]) = halves();
    [0, 1, 1].into_iter().for_each(|n| bring(&mut ledger, one, n));
    ledger.ended(one, &end(0, Some(2), Some(0)), vec![]);
    bring(&mut ledger, two, 2);
    ledger.ended(two, &end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Outstanding);
    bring(&mut ledger, two, 3);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}

#[test]
fn hazard_what_is_missing_of_one_operation_does_not_explain_the_failures_of_another() {
    let (mut ledger, [one, two]) = halves();
    [0, 1].into_iter().for_each(|n| bring(&mut ledger, one, n));
    ledger.ended(one, &end(0xB000, Some(2), Some(1)), vec![]);
    bring(&mut ledger, two, 2);
    ledger.ended(two, &end(0, Some(1), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![uid(3)], unnamed: 1 });
    ledger.settle();
    let again = ledger.begin(Scope::Instances([uid(3)].into()), false);
    bring(&mut ledger, again, 3);
    ledger.ended(again, &end(0, Some(1), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Missing { named: vec![], unnamed: 1 }, "still owed");
}

#[test]
fn what_an_operation_that_was_given_up_has_left_is_another_ones() {
    let (mut ledger, [one, two]) = halves();
    bring(&mut ledger, one, 0);
    ledger.withdraw(one);
    let again = ledger.begin(Scope::Instances([uid(1)].into()), false);
    bring(&mut ledger, again, 1);
    ledger.ended(again, &end(0, Some(1), Some(0)), vec![]);
    [2, 3].into_iter().for_each(|n| bring(&mut ledger, two, n));
    ledger.ended(two, &end(0, Some(2), Some(0)), vec![]);
    assert_eq!(ledger.verdict(), Verdict::Complete);
}
