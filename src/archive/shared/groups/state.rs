//! What happens to groups and their members, under the one lock.

use std::collections::BTreeMap;

use super::group::{Came, Group, Seen};
use super::member::{Member, Owed};
use super::{Begun, GroupId, Groups, MemberId};
use crate::archive::shared::writer::Writer;
use crate::archive::{Complete, Error, Form, Kind};
use crate::dicom::Uid;
use crate::dicom::query::Target;

/// All groups and members of one archive.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) members: BTreeMap<MemberId, Member>,
    last: u64,
}

impl State {
    /// A number that was not used yet.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Begins a group that these members read.
    pub(super) fn begin(&mut self, target: Target, form: Form, members: &[MemberId], ahead: bool) -> Begun {
        let id = self.next_id();
        let group = Group::new(target.clone(), form, ahead);
        let lane = group.lane.clone();
        self.groups.insert(id, group);
        for member in members {
            self.attach(id, *member);
        }
        Begun { group: id, target, form, lane }
    }

    fn attach(&mut self, id: GroupId, member_id: MemberId) {
        let (Some(group), Some(member)) = (self.groups.get_mut(&id), self.members.get_mut(&member_id)) else {
            return;
        };
        group.admit(member_id);
        member.groups.push(id);
        member.opening.clone_from(&group.opening);
    }

    /// Attaches a member that wants a study or series to a group that brings all of it, and gives it what came
    /// before. `false`: there is none.
    pub(super) fn join(&mut self, groups: &Groups, member_id: MemberId) -> bool {
        let Some(Member { target, form, .. }) = self.members.get(&member_id) else { return false };
        let found = self.groups.iter().find(|(_, group)| group.brings_all_of(target, *form));
        let Some(id) = found.map(|(id, _)| *id) else { return false };
        self.attach(id, member_id);
        let (Some(group), Some(member)) = (self.groups.get(&id), self.members.get_mut(&member_id)) else {
            return false;
        };
        for seen in group.latest() {
            if seen.came != Came::Broken && group.is_for(seen, &member.target, member.form) {
                let key = groups.key(&group.target.study, &seen.instance, group.form);
                let claim = seen.claim(&member.reader, &key);
                let (instance, series) = (seen.instance.clone(), seen.series.clone());
                member.give(Owed { instance, series, claim }, false);
            }
        }
        true
    }

    /// Attaches a member that wants an instance to every group that may bring it. `false`: there is none.
    pub(super) fn join_all(&mut self, groups: &Groups, member_id: MemberId) -> bool {
        let Some(member) = self.members.get_mut(&member_id) else { return false };
        let (target, form) = (member.target.clone(), member.form);
        let Some(instance) = &target.instance else { return false };
        let mut may_bring = Vec::new();
        for (id, group) in self.groups.iter().filter(|(_, group)| group.covers(&target, form)) {
            let seen = group.find(instance).filter(|seen| seen.came != Came::Broken);
            let Some(seen) = seen else {
                may_bring.push(*id);
                continue;
            };
            // What has come already does not come again: it is here, or this group is of no use.
            let key = groups.key(&target.study, instance, group.form);
            let claim = group.is_for(seen, &target, form).then(|| seen.claim(&member.reader, &key)).flatten();
            if claim.is_some() {
                member.end = (seen.came == Came::Whole).then(|| Ok(Complete::mint()));
                member.give(Owed { instance: instance.clone(), series: seen.series.clone(), claim }, false);
                may_bring = vec![*id];
                break;
            }
        }
        may_bring.iter().for_each(|id| self.attach(*id, member_id));
        !may_bring.is_empty()
    }

    /// Gives what a group has just noted to those of its members that want it. `again`: it had broken off before.
    pub(super) fn deliver(&mut self, groups: &Groups, id: GroupId, writer: Option<&Writer>, again: bool) {
        let Self { groups: all, members, .. } = self;
        let Some((group, seen)) = all.get(&id).and_then(|group| Some((group, group.last()?))) else { return };
        let key = groups.key(&group.target.study, &seen.instance, group.form);
        let mut served = Vec::new();
        for member_id in &group.members {
            let Some(member) = members.get_mut(member_id) else { continue };
            let wants_one = member.target.instance.is_some();
            if !group.is_for(seen, &member.target, member.form) || (wants_one && !member.waits()) {
                continue;
            }
            let claim = match writer {
                Some(writer) => Some(writer.claim_for(&member.reader)),
                None => seen.claim(&member.reader, &key),
            };
            if wants_one {
                if claim.is_none() {
                    member.came_in_vain = true;
                    continue;
                }
                member.end = (seen.came == Came::Whole).then(|| Ok(Complete::mint()));
                served.push(*member_id);
            }
            let (instance, series) = (seen.instance.clone(), seen.series.clone());
            member.give(Owed { instance, series, claim }, again);
        }
        for member_id in served {
            self.detach(groups, member_id, |other| other != id);
        }
    }

    /// An object of a group has come whole, or has broken off: who wanted this one is told.
    pub(super) fn settle(&mut self, groups: &Groups, id: GroupId, instance: &Uid, whole: bool) {
        let Some(group) = self.groups.get(&id) else { return };
        let mut settled = Vec::new();
        for member_id in &group.members {
            let Some(member) = self.members.get_mut(member_id) else { continue };
            if member.target.instance.as_ref() != Some(instance) || member.waits() {
                continue;
            }
            if whole {
                member.end = Some(Ok(Complete::mint()));
            } else if member.was_handed_out() {
                member.end = Some(Err(Error::new(
                    &groups.archive,
                    Kind::Incomplete { missing: 1, named: Vec::new() },
                )));
            } else {
                member.take_back();
                continue;
            }
            settled.push(*member_id);
        }
        for member_id in settled {
            self.detach(groups, member_id, |_| true);
            self.members.get_mut(&member_id).into_iter().for_each(Member::wake);
        }
    }

    /// A member that has what it asked for leaves those of its groups.
    fn detach(&mut self, groups: &Groups, member_id: MemberId, leaves: impl Fn(GroupId) -> bool) {
        let Some(member) = self.members.get_mut(&member_id) else { return };
        for id in member.groups.extract_if(.., |id| leaves(*id)) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.leave(member_id, true, groups.finishes);
            }
        }
    }

    /// Tells every member of a group that something has changed.
    pub(super) fn wake_members(&mut self, id: GroupId) {
        for member in self.groups.get(&id).iter().flat_map(|group| &group.members) {
            self.members.get_mut(member).into_iter().for_each(Member::wake);
        }
    }

    /// Writes down what came in a group; whether it had come before, and had broken off.
    pub(super) fn note(&mut self, id: GroupId, seen: Seen) -> bool {
        self.groups.get_mut(&id).is_some_and(|group| group.note(seen))
    }
}
