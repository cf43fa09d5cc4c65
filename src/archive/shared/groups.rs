//! The retrievals of one archive that run, and who reads them.
//!
//! A running retrieval is a group: it brings the objects of its target once, and any number of members take them. A
//! member that comes late is given what came before. Everything here happens under one lock, takes no time to speak
//! of and never waits.

mod group;
mod member;
mod membership;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Key};
use super::claim::{Claim, Reader};
use super::proofs::{Proof, Proven};
use super::writer::{Reserve, Writer};
use crate::archive::{Complete, Expected, Form, Result};
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::dicom::query::Target;

use group::{Came, Group, Seen};
use member::{Member, Owed};
use state::State;

pub(super) use membership::Membership;

/// How long a retrieval that nobody reads any more goes on, for a reader that comes back: within the second in which
/// it is to be cancelled.
const LINGER: Duration = Duration::from_millis(300);
/// How long one of an instance that another has brought meanwhile goes on, as long as anybody wants anything of the
/// archive: mostly to its end.
const OVERTAKEN: Duration = Duration::from_secs(5);

/// Names a group.
pub(super) type GroupId = u64;
/// Names a member.
pub(super) type MemberId = u64;

/// The running retrievals of one archive.
pub(super) struct Groups {
    archive: String,
    /// Under what its objects are kept.
    scope: Arc<str>,
    cache: Cache,
    /// A retrieval that nobody reads any more is finished for the cache.
    finishes: bool,
    state: Mutex<State>,
}

/// What is known of a retrieval when its first object has begun.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// SOP Instance UIDs that are known not to come.
    pub(super) missing: Vec<Uid>,
    /// Those that were at hand, and that the archive still lists, with their series as far as it is known.
    pub(super) confirmed: Vec<(Uid, Option<Uid>)>,
    /// How many objects come for whom, as far as is known.
    pub(super) expected: Option<(Target, Expected)>,
}

/// A group that was begun, and has to be run.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) group: GroupId,
    pub(super) target: Target,
    pub(super) form: Form,
    /// The right to fetch ahead in it, of which there is one.
    pub(super) lane: Arc<Semaphore>,
}

/// What a member of a group gets next.
#[derive(Debug)]
pub(super) enum Next {
    /// An object, which is kept for the member.
    Object(Claim),
    /// An object that came, but is not in memory any more.
    Lost { instance: Uid, series: Option<Uid> },
    /// An object that came and is not in the cache any more, nor will it come again.
    Missed { instance: Uid, series: Option<Uid> },
    /// The end.
    End(Result<Complete>),
}

impl Groups {
    pub(super) fn new(archive: &str, scope: &str, cache: Cache, finishes: bool) -> Self {
        Self { archive: archive.to_owned(), scope: scope.into(), cache, finishes, state: Mutex::default() }
    }

    /// What an object of this archive is found under.
    pub(super) fn key(&self, study: &Uid, instance: &Uid, form: Form) -> Key {
        Key { archive: Arc::clone(&self.scope), study: study.clone(), instance: instance.clone(), form }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the groups")
    }

    /// A member that is attached to nothing yet.
    pub(super) fn member(self: &Arc<Self>, target: Target, form: Form, reader: Reader) -> Membership {
        let mut state = self.state();
        let id = state.next_id();
        state.members.insert(id, Member::new(target, form, reader));
        Membership::new(Arc::clone(self), id)
    }

    /// Attaches a member that wants a study or series to a running retrieval that brings all of it.
    pub(super) fn join(&self, member: &Membership) -> bool {
        self.state().join(self, member.id())
    }

    /// Begins a retrieval of the member's target, unless one has begun that it can attach to.
    pub(super) fn join_or_begin(&self, member: &Membership) -> Option<Begun> {
        let mut state = self.state();
        if state.join(self, member.id()) {
            return None;
        }
        let (target, form) = state.members.get(&member.id()).map(|m| (m.target.clone(), m.form))?;
        Some(state.begin(target, form, &[member.id()], false))
    }

    /// Gives a member that wants a study or series what was proven to be all of it.
    pub(super) fn supply(&self, member: &Membership, proof: &Proof) {
        let mut state = self.state();
        let Some(member) = state.members.get_mut(&member.id()) else { return };
        for (instance, series) in &proof.instances {
            let claim = member.reader.claim_whole(&self.key(&member.target.study, instance, member.form));
            member.give(Owed { instance: instance.clone(), series: series.clone(), claim }, false);
        }
        let missing = proof.missing.clone();
        let expected = Some((member.target.clone(), Expected::of(proof.instances.len())));
        member.opening = Some(Arc::new(Opening { missing, expected, ..Opening::default() }));
        member.end = Some(Ok(proof.complete.share()));
    }

    /// Whether what runs brings all of a target.
    pub(super) fn brings(&self, target: &Target, form: Form) -> bool {
        self.state().groups.values().any(|group| match target.instance {
            Some(_) => group.covers(target, form),
            None => group.brings_all_of(target, form),
        })
    }

    /// Attaches a member that wants an instance to every running retrieval that covers it; where there is none,
    /// begins one: of the instance, and with `ahead` of its series, too.
    pub(super) fn join_or_begin_instance(&self, member: &Membership, ahead: bool) -> Vec<Begun> {
        let mut state = self.state();
        if state.join_all(self, member.id()) {
            return Vec::new();
        }
        let Some((target, form)) = state.members.get(&member.id()).map(|m| (m.target.clone(), m.form)) else {
            return Vec::new();
        };
        let series = Target { instance: None, ..target.clone() };
        let mut begun = Vec::new();
        // One that runs has had the instance already, or else it would bring it.
        let runs = state.groups.values().any(|group| group.is_of(&series, form));
        if ahead && !runs {
            begun.push(state.begin(series, form, &[member.id()], true));
        }
        begun.push(state.begin(target, form, &[member.id()], false));
        begun
    }

    /// Begins a retrieval of the one instance that a member wants now, for all who wait for it; `None`: it has come,
    /// or is being fetched.
    pub(super) fn begin_ahead(&self, member: &Membership) -> Option<Begun> {
        let mut state = self.state();
        let Member { target, form, .. } = state.members.get(&member.id()).filter(|m| m.waits())?;
        let (target, form) = (target.clone(), *form);
        let waiting = state.members.iter().filter(|(_, m)| m.waits() && m.target == target && m.form == form);
        let waiting: Vec<MemberId> = waiting.map(|(id, _)| *id).collect();
        for id in &waiting {
            state.members.get_mut(id).into_iter().for_each(|member| member.fetched_ahead = true);
        }
        if state.groups.values().any(|group| group.target == target && group.form == form) {
            return None;
        }
        Some(state.begin(target, form, &waiting, false))
    }

    /// Where a member that wants an instance may have it fetched ahead, and from when on; `None`: nowhere.
    pub(super) fn lane(&self, member: &Membership) -> Option<(Arc<Semaphore>, Instant)> {
        let state = self.state();
        let member = state.members.get(&member.id()).filter(|m| m.waits() && !m.fetched_ahead)?;
        let mut groups = member.groups.iter().filter_map(|id| state.groups.get(id));
        let group = groups.find(|group| group.target != member.target)?;
        let due = group.first_object.unwrap_or(member.since).max(member.since) + group.patience();
        Some((Arc::clone(&group.lane), due))
    }

    /// The archive has begun to answer.
    pub(super) fn open(&self, id: GroupId, opening: Opening) {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(&id) else { return };
        let (study, form) = (group.target.study.clone(), group.form);
        let opening = Arc::new(opening);
        group.opening = Some(Arc::clone(&opening));
        for member in group.members.clone() {
            state.members.get_mut(&member).into_iter().for_each(|m| m.opening = Some(Arc::clone(&opening)));
        }
        for (instance, series) in &opening.confirmed {
            let about = self.cache.about(&self.key(&study, instance, form));
            let syntax = about.map(|(head, _)| head.transfer_syntax.clone());
            let again = state.note(id, Seen::at_hand(instance.clone(), series.clone(), syntax));
            state.deliver(self, id, None, again);
        }
        state.wake_members(id);
    }

    /// An object begins to come in a group; `None`: it is here already, and this copy is to be dropped.
    pub(super) fn begin_object(
        &self,
        id: GroupId,
        head: &Head,
        series: Option<&Uid>,
        reserve: &Reserve,
    ) -> Option<Writer> {
        let mut state = self.state();
        let group = state.groups.get_mut(&id)?;
        group.begin_object();
        if group.has(&head.sop_instance) {
            return None;
        }
        let may_be_old = group.may_be_old(&head.sop_instance);
        let key = self.key(&group.target.study, &head.sop_instance, group.form);
        // Who waits for the one instance has looked for it on disk before: it is not fetched from there again.
        let is_here = match group.target.instance {
            Some(_) => self.cache.about_in_memory(&key).is_some(),
            None => self.cache.has(&key),
        };
        let writer = (!is_here).then(|| self.cache.begin(key, head.clone(), series.cloned(), reserve));
        if let Some(writer) = writer.as_ref().filter(|_| may_be_old) {
            writer.hide();
        }
        let (instance, syntax) = (head.sop_instance.clone(), head.transfer_syntax.clone());
        let seen = match &writer {
            Some(writer) => Seen::begun(instance, series.cloned(), syntax, writer.entry()),
            None => Seen::at_hand(instance, series.cloned(), Some(syntax)),
        };
        let again = state.note(id, seen);
        state.deliver(self, id, writer.as_ref(), again);
        writer
    }

    /// An object has come whole, or has broken off.
    pub(super) fn end_object(&self, id: GroupId, instance: &Uid, whole: bool) {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(&id) else { return };
        group.came(instance, if whole { Came::Whole } else { Came::Broken });
        state.settle(self, id, instance, whole);
    }

    /// What a group has brought, which all came.
    pub(super) fn proven(&self, id: GroupId, complete: &Complete) -> Option<Proven> {
        let state = self.state();
        let group = state.groups.get(&id)?;
        // What was known not to come may have come all the same.
        let missing = group.opening.iter().flat_map(|opening| &opening.missing);
        Some(Proven {
            instances: group.latest().map(|seen| (seen.instance.clone(), seen.series.clone())).collect(),
            missing: missing.filter(|uid| !group.has(uid)).cloned().collect(),
            complete: complete.share(),
        })
    }

    /// A group has ended: its members are told.
    pub(super) fn end(&self, id: GroupId, result: &Result<Complete>) {
        let mut state = self.state();
        let under_way = state.groups.get(&id).into_iter().flat_map(Group::under_way);
        let under_way: Vec<Uid> = under_way.cloned().collect();
        for instance in under_way {
            state.settle(self, id, &instance, false);
        }
        let Some(group) = state.groups.remove(&id) else { return };
        for member in &group.members {
            if let Some(member) = state.members.get_mut(member) {
                member.group_ended(id, &group, result, &self.archive);
            }
        }
    }

    /// Lets no newcomer attach to what runs now: the archive holds this instance since, or in another version.
    pub(super) fn seal(&self, instance: &Uid) {
        self.state().groups.values_mut().for_each(|group| group.seal(instance));
    }

    /// Resolves when nobody has wanted a group for a while. It is gone then.
    pub(super) async fn abandoned(&self, id: GroupId) {
        let unwanted = self.state().groups.get(&id).map(|group| group.unwanted.subscribe());
        let Some(mut unwanted) = unwanted else { return };
        loop {
            if unwanted.wait_for(|unwanted| *unwanted).await.is_err() {
                return std::future::pending().await;
            }
            if timeout(LINGER, unwanted.wait_for(|unwanted| !*unwanted)).await.is_err() && self.give_up(id) {
                return;
            }
        }
    }

    fn give_up(&self, id: GroupId) -> bool {
        let mut state = self.state();
        let group = state.groups.get(&id);
        let unwanted = group.is_none_or(|group| *group.unwanted.borrow());
        let overtaken = group.and_then(|group| group.overtaken).is_some_and(|at| at.elapsed() < OVERTAKEN);
        let is_wanted = |(other, group): (&GroupId, &Group)| *other != id && !*group.unwanted.borrow();
        if overtaken && (!state.members.is_empty() || state.groups.iter().any(is_wanted)) {
            return false;
        }
        if unwanted {
            state.groups.remove(&id);
        }
        unwanted
    }
}
