//! Whether everything came: what a retrieval expects, what arrived, what the archive says of it. No I/O.
//!
//! Three witnesses are heard (PS3.4 C.4.2.1, C.4.3.1): the final status with its counters and list of failed
//! UIDs, the IMAGE-level search that runs beside the retrieval, and what came. Each may be silent: archives
//! send no counters, cap or refuse searches, hide key objects. A retrieval is complete when the final
//! response is here, nothing is under way, and no witness misses anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dicom::Uid;
use crate::dimse::command::Command;
use crate::dimse::status::{self, Class};

/// Length and hash of an object's bytes: enough to tell whether the same object came twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Bytes.
    pub(super) length: u64,
    /// XXH3 of the bytes.
    pub(super) hash: u64,
}

/// The sub-operation counters of a response (PS3.7 9.1.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    pub(super) remaining: Option<u16>,
    pub(super) completed: Option<u16>,
    pub(super) failed: Option<u16>,
    pub(super) warning: Option<u16>,
}

impl From<&Command> for Counters {
    fn from(c: &Command) -> Self {
        Self { remaining: c.remaining, completed: c.completed, failed: c.failed, warning: c.warning }
    }
}

/// What is known of one retrieval.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// UIDs that the search named, with their series; `None` as long as it has not ended well.
    expected: Option<BTreeMap<Uid, Uid>>,
    /// UIDs that the client was told beforehand not to expect.
    announced: BTreeSet<Uid>,
    /// Objects that the client has at hand and that the search still lists: they need not come.
    confirmed: BTreeSet<Uid>,
    received: HashMap<Uid, Fingerprint>,
    /// Objects that the archive or we said have failed, and that have not come since.
    failed: BTreeSet<Uid>,
    /// Objects that the archive counts as failed and that are not missed: what nobody asked for and was refused,
    /// what the client has at hand.
    excused: usize,
    under_way: usize,
    /// An object that came twice, with different bytes.
    conflict: Option<Uid>,
    /// Objects that earlier operations owed and that nobody can name: they cannot be asked for again.
    owed: usize,
    /// Of the operation that runs now: how many objects it has brought.
    brought: usize,
    ended: Option<Ended>,
}

/// The end of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ended {
    class: Class,
    counters: Counters,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The operation still runs.
    Running,
    /// The final response is here; objects that it speaks of are still to come.
    Outstanding,
    /// Everything came.
    Complete,
    /// These objects are missing and may be asked for by name; more may be missing that nobody can name.
    Missing {
        /// SOP Instance UIDs that are missing.
        named: Vec<Uid>,
        /// How many failed that nobody can name.
        unnamed: usize,
    },
    /// The archive sent two different objects under one UID.
    Conflict(Uid),
}

impl Ledger {
    /// A ledger for a retrieval whose client knows that these objects will be missing.
    pub(super) fn new(announced: BTreeSet<Uid>) -> Self {
        Self { announced, ..Self::default() }
    }

    /// The search has ended well: these objects there are, each with its series.
    pub(super) fn expect(&mut self, instances: BTreeMap<Uid, Uid>) {
        self.expected = Some(instances);
    }

    /// The client has these objects, and the search lists them.
    pub(super) fn confirm(&mut self, instances: BTreeSet<Uid>) {
        self.confirmed = instances;
    }

    /// What the client has and the search lists.
    pub(super) fn confirmed(&self) -> &BTreeSet<Uid> {
        &self.confirmed
    }

    /// What the search named; `None` as long as it has not ended, or if it failed.
    pub(super) fn expected(&self) -> Option<&BTreeMap<Uid, Uid>> {
        self.expected.as_ref()
    }

    /// Another operation begins, for another part or for what is missing. What the last one owed stays owed.
    pub(super) fn proceed(&mut self) {
        self.owed += self.owing();
        self.restart();
    }

    /// The same operation begins anew, in another way: what the last attempt said of it does not count.
    pub(super) fn restart(&mut self) {
        self.ended = None;
        self.brought = 0;
        self.excused = 0;
    }

    /// An object begins to arrive. `false`: it is here already. Objects arrive one after the other.
    pub(super) fn began(&mut self, instance: &Uid) -> bool {
        self.under_way += 1;
        !self.received.contains_key(instance)
    }

    /// An object has arrived whole.
    pub(super) fn received(&mut self, instance: &Uid, fingerprint: Fingerprint) {
        self.under_way -= 1;
        self.brought += 1;
        self.failed.remove(instance);
        match self.received.get(instance) {
            Some(first) if *first != fingerprint => self.conflict = Some(instance.clone()),
            Some(_) => {}
            None => drop(self.received.insert(instance.clone(), fingerprint)),
        }
    }

    /// An object of the study that was not asked for has come and was dropped: the archive counts it.
    pub(super) fn spare(&mut self) {
        self.brought += 1;
    }

    /// An object broke off, or was refused.
    pub(super) fn broke(&mut self, instance: &Uid) {
        self.under_way -= 1;
        if !self.received.contains_key(instance) {
            self.failed.insert(instance.clone());
        }
    }

    /// An object that nobody asked for was refused.
    pub(super) fn refused(&mut self) {
        self.excused += 1;
    }

    /// The final response has come, with the list of failed UIDs where the archive sent one.
    pub(super) fn ended(&mut self, response: &Command, failed: Vec<Uid>) {
        let class = response.status.map_or(Class::Failure, status::class);
        for uid in failed.into_iter().filter(|uid| !self.received.contains_key(uid)) {
            match self.confirmed.contains(&uid) {
                true => self.excused += 1,
                false => drop(self.failed.insert(uid)),
            }
        }
        self.ended = Some(Ended { class, counters: response.into() });
    }

    /// How many different objects have arrived whole.
    pub(super) fn count(&self) -> usize {
        self.received.len()
    }

    /// Whether an object has arrived whole.
    pub(super) fn has(&self, instance: &Uid) -> bool {
        self.received.contains_key(instance)
    }

    /// The UIDs that are known to be missing, announced ones left out.
    pub(super) fn missing(&self) -> Vec<Uid> {
        let expected = self.expected.iter().flat_map(BTreeMap::keys);
        let missing = expected.chain(&self.failed).filter(|uid| !self.is_settled(uid));
        let missing: BTreeSet<&Uid> = missing.collect();
        missing.into_iter().cloned().collect()
    }

    /// Whether an object has come, or need not come.
    fn is_settled(&self, uid: &Uid) -> bool {
        self.received.contains_key(uid) || self.announced.contains(uid) || self.confirmed.contains(uid)
    }

    /// Whether the archive calls the operation a success, and no witness says of how many objects: neither its
    /// counters nor a search.
    pub(super) fn is_unwitnessed(&self) -> bool {
        let uncounted = self.ended.is_some_and(|ended| {
            ended.counters.completed.is_none() && matches!(ended.class, Class::Success | Class::Warning)
        });
        uncounted && self.expected.as_ref().is_none_or(BTreeMap::is_empty)
    }

    /// Whether there should be something that the client does not have, by the search or by an earlier retrieval.
    pub(super) fn expects_any(&self) -> bool {
        let expected = self.expected.iter().flat_map(BTreeMap::keys);
        !self.announced.is_empty() || expected.into_iter().any(|uid| !self.confirmed.contains(uid))
    }

    /// Whether objects came that the search did not name.
    pub(super) fn has_more_than_expected(&self) -> bool {
        self.expected.as_ref().is_some_and(|expected| {
            !expected.is_empty() && self.received.keys().any(|uid| !expected.contains_key(uid))
        })
    }

    /// What is to be done now. `surveying`: the search may still name what it expects.
    pub(super) fn verdict(&self, surveying: bool) -> Verdict {
        if let Some(uid) = &self.conflict {
            return Verdict::Conflict(uid.clone());
        }
        let Some(ended) = &self.ended else { return Verdict::Running };
        if self.under_way > 0 || surveying {
            return Verdict::Outstanding;
        }
        // What the archive says that it sent, or a success without counters and a search that knows better.
        let outstanding = match promised(ended.counters) {
            Some(promised) => self.brought < promised,
            None => ended.class == Class::Success && self.lacks_what_did_not_fail(),
        };
        if outstanding {
            return Verdict::Outstanding;
        }
        let failed = usize::from(ended.counters.failed.unwrap_or(0));
        let named = self.missing();
        let unnamed = failed.saturating_sub(named.len() + self.announced.len() + self.excused) + self.owed;
        let clean = matches!(ended.class, Class::Success | Class::Warning);
        if named.is_empty() && unnamed == 0 && clean {
            return Verdict::Complete;
        }
        // A failure as a whole, though the search misses nothing, is believed only where the search is known.
        if named.is_empty() && unnamed == 0 && self.expected.as_ref().is_some_and(|e| !e.is_empty()) {
            return Verdict::Complete;
        }
        Verdict::Missing { named, unnamed }
    }

    /// Whether the search named objects that have not come, of which nobody has said that they will not. Asked
    /// at every object that a final response has overtaken: mostly, counting is enough.
    fn lacks_what_did_not_fail(&self) -> bool {
        let Some(expected) = &self.expected else { return false };
        let settled = self.received.len() + self.announced.len() + self.confirmed.len() + self.failed.len();
        expected.len() > settled
            || !expected.keys().all(|uid| self.is_settled(uid) || self.failed.contains(uid))
    }

    /// How many objects the operation that ended leaves missing that nobody can name; at least one where it
    /// fell short and nobody can name any.
    fn owing(&self) -> usize {
        let (owing, named) = match (self.verdict(false), &self.ended) {
            (Verdict::Missing { named, unnamed }, _) => (unnamed - self.owed, named),
            (Verdict::Outstanding, Some(ended)) => {
                let named = self.missing();
                let here = self.brought + self.under_way + named.len();
                (promised(ended.counters).unwrap_or(0).saturating_sub(here), named)
            }
            _ => return 0,
        };
        let unexplained = named.is_empty() && self.under_way == 0 && self.owed == 0;
        owing.max(usize::from(unexplained))
    }
}

/// How many objects the archive says that it sent. The counters have 16 bits: at 65,535 and beyond they say
/// nothing.
fn promised(counters: Counters) -> Option<usize> {
    let completed = counters.completed.filter(|n| *n != u16::MAX)?;
    Some(usize::from(completed) + usize::from(counters.warning.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dimse::command::field;

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
        assert_eq!(ledger.verdict(false), Verdict::Outstanding);
        arrive(&mut ledger, 199);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
    }

    #[test]
    fn success_first_without_counters_is_held_against_the_search() {
        let mut ledger = Ledger::default();
        ledger.ended(&end(0, None, None), vec![]);
        assert_eq!(ledger.verdict(true), Verdict::Outstanding);
        ledger.expect(survey(2));
        assert_eq!(ledger.verdict(false), Verdict::Outstanding);
        (0..2).for_each(|n| arrive(&mut ledger, n));
        assert_eq!(ledger.verdict(false), Verdict::Complete);
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
    fn hazard_a_short_study_is_never_complete() {
        let mut ledger = Ledger::default();
        ledger.expect(survey(3));
        (0..2).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(&end(0, Some(2), Some(0)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![uid(2)], unnamed: 0 });
        let mut ledger = Ledger::default();
        (0..2).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(&end(0xB000, Some(2), Some(1)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![], unnamed: 1 });
        ledger.ended(&end(0xB000, Some(2), Some(1)), vec![uid(7)]);
        assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![uid(7)], unnamed: 0 });
    }

    #[test]
    fn what_was_announced_as_missing_does_not_break_the_rest() {
        let mut ledger = Ledger::new([uid(2)].into());
        ledger.expect(survey(3));
        (0..2).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(&end(0xB000, Some(2), Some(1)), vec![uid(2)]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
    }

    #[test]
    fn more_than_the_search_named_is_welcome_and_b000_with_nothing_failed_is_complete() {
        let mut ledger = Ledger::default();
        ledger.expect(survey(1));
        (0..3).for_each(|n| arrive(&mut ledger, n));
        ledger.ended(&end(0xB000, Some(3), Some(0)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
    }

    #[test]
    fn hazard_the_same_object_twice_identical_is_dropped_different_is_an_error() {
        let mut ledger = Ledger::default();
        arrive(&mut ledger, 1);
        assert!(!ledger.began(&uid(1)), "the second is not handed out");
        ledger.received(&uid(1), print(1));
        ledger.ended(&end(0, Some(2), Some(0)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
        ledger.began(&uid(1));
        ledger.received(&uid(1), print(99));
        assert_eq!(ledger.verdict(false), Verdict::Conflict(uid(1)));
    }

    #[test]
    fn hazard_failed_objects_that_come_later_are_forgiven() {
        let mut ledger = Ledger::default();
        ledger.began(&uid(1));
        ledger.broke(&uid(1));
        ledger.ended(&end(0xB000, Some(0), Some(1)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![uid(1)], unnamed: 0 });
        ledger.restart();
        assert_eq!(ledger.verdict(false), Verdict::Running);
        arrive(&mut ledger, 1);
        ledger.ended(&end(0, Some(1), Some(0)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
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
        assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![], unnamed: 2 });
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
            assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![], unnamed: 1 }, "{response:?}");
            ledger.proceed();
            ledger.ended(&end(0, Some(0), Some(0)), vec![]);
            assert_eq!(ledger.verdict(false), Verdict::Missing { named: vec![], unnamed: 1 }, "{response:?}");
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
        assert_eq!(ledger.verdict(false), Verdict::Complete);
        let mut ledger = Ledger::default();
        ledger.ended(&end(0x0122, None, None), vec![]);
        ledger.restart();
        arrive(&mut ledger, 0);
        ledger.ended(&end(0, Some(1), Some(0)), vec![]);
        ledger.proceed();
        ledger.ended(&end(0, Some(0), Some(0)), vec![]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
    }

    #[test]
    fn what_the_client_has_is_not_missed_and_its_failure_is_no_failure() {
        let mut ledger = Ledger::default();
        ledger.expect(survey(3));
        ledger.confirm([uid(0), uid(1)].into());
        assert_eq!(ledger.missing(), [uid(2)]);
        arrive(&mut ledger, 2);
        ledger.ended(&end(0xB000, Some(1), Some(2)), vec![uid(0), uid(1)]);
        assert_eq!(ledger.verdict(false), Verdict::Complete);
        ledger.restart();
        ledger.ended(&end(0xB000, Some(1), Some(1)), vec![]);
        assert_ne!(ledger.verdict(false), Verdict::Complete, "one that nobody can name is another");
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
                if ledger.verdict(false) == Verdict::Complete {
                    prop_assert!((0..expected).all(|n| here.contains(&n)));
                }
            }
        }
    }
}
