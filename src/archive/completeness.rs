//! Whether everything came: what a retrieval expects, what arrived, what the archive says of it. No I/O.
//!
//! Witnesses are heard (PS3.4 C.4.2.1, C.4.3.1): the final status with its counters and list of failed UIDs, the
//! number of instances that the series tell, the IMAGE-level search where they tell none, where another number came or
//! where the archive does not count, and what came. Each may be silent: archives send no counters, cap or refuse
//! searches, hide key objects. A retrieval is complete when the final response is here, nothing is under way, and no
//! witness misses anything.
//!
//! A retrieval takes one operation or several, at once or one after the other. Each is held against its own
//! counters; what they fell short of by then is kept when the next round begins.

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
    /// How many objects the archive's series hold, by their own account (0020,1209).
    told: Option<usize>,
    /// UIDs that the client was told beforehand not to expect.
    announced: BTreeSet<Uid>,
    /// Objects that the client has at hand and that the search still lists: they need not come.
    confirmed: BTreeSet<Uid>,
    /// The objects that alone are wanted; empty: all of the target.
    only: BTreeSet<Uid>,
    received: HashMap<Uid, Fingerprint>,
    /// Objects that the archive or we said have failed, and that have not come since.
    failed: BTreeSet<Uid>,
    under_way: usize,
    /// An object broke off: its reader has seen it.
    broken: bool,
    /// An object that came twice, with different bytes.
    conflict: Option<Uid>,
    /// Objects that operations of earlier rounds owed and that nobody can name: they cannot be asked for again.
    owed: usize,
    /// The operations of this round.
    operations: BTreeMap<OperationId, Operation>,
    last_id: OperationId,
    /// The operation whose objects come over other associations: the C-MOVE under way.
    moving: OperationId,
}

/// The archive's list lacks objects that it sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShortList;

/// Names an operation of a retrieval.
pub(super) type OperationId = usize;

/// What one operation is to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole target.
    All,
    /// All of a series.
    Series(Uid),
    /// These instances.
    Instances(BTreeSet<Uid>),
}

/// What is known of one operation.
#[derive(Debug)]
struct Operation {
    scope: Scope,
    /// How many objects it has brought.
    brought: usize,
    /// Objects that the archive counts as failed and that are not missed: what nobody asked for and was refused,
    /// what the client has at hand.
    excused: usize,
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

    /// The same, for a client that wants these objects alone; none: all of the target.
    pub(super) fn limited_to(self, only: BTreeSet<Uid>) -> Self {
        Self { only, ..self }
    }

    /// Whether an object of the target is to be handed out.
    pub(super) fn wants(&self, instance: &Uid) -> bool {
        !self.confirmed.contains(instance) && (self.only.is_empty() || self.only.contains(instance))
    }

    /// Whether the archive or we said of any object that it failed, and it has not come since.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The search has ended well: these objects there are, each with its series.
    pub(super) fn expect(&mut self, instances: BTreeMap<Uid, Uid>) {
        self.expected = Some(instances);
    }

    /// The archive's series hold so many objects, by their own account (0020,1209): a hint, no proof.
    pub(super) fn tell(&mut self, instances: usize) {
        self.told = Some(instances);
    }

    /// Whether as many objects came as the archive's series told, it counts as many, and nothing speaks against it. An
    /// object that was announced as missing does not count as come: it may be gone, and another have failed.
    pub(super) fn is_as_told(&self) -> bool {
        self.told == Some(self.received.len())
            && !self.received.is_empty()
            && self.operations.values().all(Operation::is_counted)
            && self.verdict() == Verdict::Complete
    }

    /// Whether an operation has ended, and its final response does not say how many objects it sent.
    pub(super) fn is_uncounted(&self, operation: OperationId) -> bool {
        self.operations.get(&operation).is_some_and(|op| op.ended.is_some() && !op.is_counted())
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

    /// Another round begins, for what is missing. What the operations of the last one owed stays owed.
    pub(super) fn settle(&mut self) {
        let named = self.missing();
        self.owed = self.operations.values().fold(self.owed, |owed, op| owed + self.owing(op, &named, owed));
        self.operations.clear();
    }

    /// Nothing has come: what was asked for so far does not count.
    pub(super) fn start_over(&mut self) {
        debug_assert!(self.received.is_empty());
        (self.expected, self.owed) = (None, 0);
        self.failed.clear();
        self.operations.clear();
    }

    /// An operation begins. `moving`: its objects come over other associations.
    pub(super) fn begin(&mut self, scope: Scope, moving: bool) -> OperationId {
        self.last_id += 1;
        self.operations.insert(self.last_id, Operation { scope, brought: 0, excused: 0, ended: None });
        if moving {
            self.moving = self.last_id;
        }
        self.last_id
    }

    /// An operation was given up and is made again in another way, or by another: what this attempt said of it does
    /// not count.
    pub(super) fn withdraw(&mut self, operation: OperationId) {
        self.operations.remove(&operation);
    }

    /// The C-MOVE under way.
    pub(super) fn moving(&self) -> OperationId {
        self.moving
    }

    /// Whether an object broke off, so that its reader has seen the end of it.
    pub(super) fn has_broken(&self) -> bool {
        self.broken
    }

    /// An object begins to arrive. `false`: it is here already. Objects arrive one after the other.
    pub(super) fn began(&mut self, instance: &Uid) -> bool {
        self.under_way += 1;
        !self.received.contains_key(instance)
    }

    /// An object has arrived whole.
    pub(super) fn received(&mut self, operation: OperationId, instance: &Uid, fingerprint: Fingerprint) {
        self.under_way -= 1;
        self.spare(operation);
        self.failed.remove(instance);
        match self.received.get(instance) {
            Some(first) if *first != fingerprint => self.conflict = Some(instance.clone()),
            Some(_) => {}
            None => drop(self.received.insert(instance.clone(), fingerprint)),
        }
    }

    /// An object of the study that was not asked for has come and was dropped: the archive counts it.
    pub(super) fn spare(&mut self, operation: OperationId) {
        if let Some(op) = self.operations.get_mut(&operation) {
            op.brought += 1;
        }
    }

    /// An object broke off, or was refused.
    pub(super) fn broke(&mut self, instance: &Uid) {
        self.under_way -= 1;
        if !self.received.contains_key(instance) {
            self.broken = true;
            self.failed.insert(instance.clone());
        }
    }

    /// An object that nobody asked for was refused.
    pub(super) fn refused(&mut self, operation: OperationId) {
        if let Some(op) = self.operations.get_mut(&operation) {
            op.excused += 1;
        }
    }

    /// The final response has come, with the list of failed UIDs where the archive sent one.
    pub(super) fn ended(&mut self, operation: OperationId, response: &Command, failed: Vec<Uid>) {
        let class = response.status.map_or(Class::Failure, status::class);
        let mut excused = 0;
        for uid in failed.into_iter().filter(|uid| !self.received.contains_key(uid)) {
            match self.confirmed.contains(&uid) {
                true => excused += 1,
                false => drop(self.failed.insert(uid)),
            }
        }
        if let Some(op) = self.operations.get_mut(&operation) {
            op.excused += excused;
            op.ended = Some(Ended { class, counters: response.into() });
        }
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

    /// Whether the archive calls an operation a success, and no witness says of how many objects: neither its
    /// counters nor a search. What its series tell is a hint: it may be too low.
    pub(super) fn is_unwitnessed(&self, operation: OperationId) -> bool {
        let ended = self.operations.get(&operation).and_then(|op| op.ended);
        let uncounted = ended.is_some_and(|ended| {
            ended.counters.completed.is_none() && matches!(ended.class, Class::Success | Class::Warning)
        });
        uncounted && self.expected.as_ref().is_none_or(BTreeMap::is_empty)
    }

    /// Whether an operation that has ended speaks of objects that are still to come.
    pub(super) fn is_outstanding(&self, operation: OperationId) -> bool {
        let ended = self.operations.get(&operation).filter(|op| op.ended.is_some());
        ended.is_some_and(|op| self.under_way > 0 || self.lacks(op))
    }

    /// Whether there should be something that the client does not have, by the search or by an earlier retrieval.
    pub(super) fn expects_any(&self) -> bool {
        let expected = self.expected.iter().flat_map(BTreeMap::keys);
        !self.announced.is_empty() || expected.into_iter().any(|uid| !self.confirmed.contains(uid))
    }

    /// What a complete retrieval tells of the archive's lists: the length of the longest that named all that a whole
    /// series or study brought. `None`: nothing was brought whole.
    ///
    /// # Errors
    /// Objects came that no list names.
    pub(super) fn longest_list(&self) -> Option<Result<usize, ShortList>> {
        let expected = self.expected.as_ref().filter(|expected| !expected.is_empty())?;
        if self.received.keys().any(|uid| !expected.contains_key(uid)) {
            return Some(Err(ShortList));
        }
        let mut lengths: HashMap<&Uid, usize> = HashMap::new();
        expected.values().for_each(|series| *lengths.entry(series).or_default() += 1);
        let is_whole = |series: &Uid| {
            self.operations.values().any(|op| match &op.scope {
                Scope::All => true,
                Scope::Series(uid) => uid == series,
                Scope::Instances(_) => false,
            })
        };
        lengths.into_iter().filter(|(series, _)| is_whole(series)).map(|(_, length)| length).max().map(Ok)
    }

    /// How many objects have arrived whole, and their bytes.
    pub(super) fn volume(&self) -> (usize, u64) {
        (self.received.len(), self.received.values().map(|print| print.length).sum())
    }

    /// What is to be done now.
    pub(super) fn verdict(&self) -> Verdict {
        if let Some(uid) = &self.conflict {
            return Verdict::Conflict(uid.clone());
        }
        if self.operations.is_empty() || self.operations.values().any(|op| op.ended.is_none()) {
            return Verdict::Running;
        }
        if self.under_way > 0 || self.operations.values().any(|op| self.lacks(op)) {
            return Verdict::Outstanding;
        }
        let named = self.missing();
        let unnamed = self.operations.values().map(|op| self.unnamed(op, &named)).sum::<usize>() + self.owed;
        let is_clean = |op: &Operation| op.ended.is_some_and(|ended| ended.is_clean());
        // A failure as a whole, though the search misses nothing, is believed only where the search is known.
        let believed = self.operations.values().all(is_clean)
            || self.expected.as_ref().is_some_and(|expected| !expected.is_empty());
        if named.is_empty() && unnamed == 0 && believed {
            return Verdict::Complete;
        }
        Verdict::Missing { named, unnamed }
    }

    /// Whether an operation that has ended lacks something of which nobody has said that it will not come: by what
    /// the archive says that it sent, or, after a success without counters, by a search that knows better.
    fn lacks(&self, op: &Operation) -> bool {
        let Some(ended) = op.ended else { return false };
        match promised(ended.counters) {
            Some(promised) => op.brought < promised,
            None => ended.class == Class::Success && self.lacks_what_did_not_fail(&op.scope),
        }
    }

    /// Asked at every object that a final response has overtaken: mostly, counting is enough.
    fn lacks_what_did_not_fail(&self, scope: &Scope) -> bool {
        let Some(expected) = &self.expected else { return false };
        let settled = self.received.len() + self.announced.len() + self.confirmed.len() + self.failed.len();
        let is_settled = |uid: &Uid| self.is_settled(uid) || self.failed.contains(uid);
        *scope == Scope::All && expected.len() > settled
            || expected.keys().any(|uid| !is_settled(uid) && self.is_in(uid, scope))
    }

    /// How many objects an operation failed to bring that nobody can name. `named`: those that somebody can.
    fn unnamed(&self, op: &Operation, named: &[Uid]) -> usize {
        let failed = op.ended.and_then(|ended| ended.counters.failed).unwrap_or(0);
        let explained = named.iter().chain(&self.announced).filter(|uid| self.is_in(uid, &op.scope)).count();
        usize::from(failed).saturating_sub(explained + op.excused)
    }

    fn is_in(&self, uid: &Uid, scope: &Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Series(series) => {
                let known = self.expected.as_ref().and_then(|expected| expected.get(uid));
                known.is_none_or(|known| known == series)
            }
            Scope::Instances(instances) => instances.contains(uid),
        }
    }

    /// How many objects an operation leaves missing that nobody can name; at least one where it fell short and
    /// nobody can name any. `owed`: by others.
    fn owing(&self, op: &Operation, named: &[Uid], owed: usize) -> usize {
        let Some(ended) = op.ended else { return 0 };
        let in_scope = named.iter().filter(|uid| self.is_in(uid, &op.scope)).count();
        let (owing, fell_short) = if self.under_way > 0 || self.lacks(op) {
            let here = op.brought + self.under_way + in_scope;
            (promised(ended.counters).unwrap_or(0).saturating_sub(here), true)
        } else {
            let unnamed = self.unnamed(op, named);
            let searched = self.expected.as_ref().is_some_and(|expected| !expected.is_empty());
            (unnamed, unnamed > 0 || in_scope > 0 || !ended.is_clean() && !searched)
        };
        let unexplained = fell_short && in_scope == 0 && self.under_way == 0 && owed == 0;
        owing.max(usize::from(unexplained))
    }
}

impl Operation {
    /// Whether it has ended, and says how many objects it sent.
    fn is_counted(&self) -> bool {
        self.ended.is_some_and(|ended| promised(ended.counters).is_some())
    }
}

impl Ended {
    fn is_clean(self) -> bool {
        matches!(self.class, Class::Success | Class::Warning)
    }
}

/// How many objects the archive says that it sent. The counters have 16 bits: at 65,535 and beyond they say
/// nothing.
fn promised(counters: Counters) -> Option<usize> {
    let completed = counters.completed.filter(|n| *n != u16::MAX)?;
    Some(usize::from(completed) + usize::from(counters.warning.unwrap_or(0)))
}

#[cfg(test)]
#[path = "completeness_tests.rs"]
mod tests;
