//! One who reads what running retrievals bring: what has come for it, and how it ends.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::group::Group;
use super::{GroupId, Next, Opening};
use crate::archive::shared::claim::{Claim, Reader};
use crate::archive::{Complete, Error, Form, Kind, Result};
use crate::dicom::Uid;
use crate::dicom::query::Target;

/// One request that is answered from running retrievals.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) target: Target,
    pub(super) form: Form,
    /// Who reads, for the cache.
    pub(super) reader: Reader,
    /// Since when it waits.
    pub(super) since: Instant,
    /// The groups that it is attached to; several for an instance only.
    pub(super) groups: Vec<GroupId>,
    pub(super) opening: Option<Arc<Opening>>,
    /// What has come for it and was not handed out.
    inbox: VecDeque<Owed>,
    /// What came, but was not in memory any more when it was its turn.
    lost: VecDeque<Owed>,
    /// What is not in the cache at all any more. It is fetched once more when nothing else comes.
    missed: VecDeque<Owed>,
    /// What was lost, and is looked for or was found elsewhere since.
    found: BTreeSet<Uid>,
    /// The instance that it wants was handed out.
    served: bool,
    /// The instance that it wants came, and was not kept until it was handed out.
    pub(super) came_in_vain: bool,
    /// It was told that the instance is whole.
    pub(super) settled: bool,
    /// It has had its instance fetched ahead once, or found it being fetched.
    pub(super) fetched_ahead: bool,
    pub(super) end: Option<Result<Complete>>,
    /// Why the instance was not brought.
    pub(super) failure: Option<Error>,
    pub(super) waker: Option<Waker>,
}

/// An object that is to be handed out.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) instance: Uid,
    pub(super) series: Option<Uid>,
    pub(super) claim: Option<Claim>,
}

impl Member {
    pub(super) fn new(target: Target, form: Form, reader: Reader) -> Self {
        Self {
            target,
            form,
            reader,
            since: Instant::now(),
            groups: Vec::new(),
            opening: None,
            inbox: VecDeque::new(),
            lost: VecDeque::new(),
            missed: VecDeque::new(),
            found: BTreeSet::new(),
            served: false,
            settled: false,
            came_in_vain: false,
            fetched_ahead: false,
            end: None,
            failure: None,
            waker: None,
        }
    }

    /// Whether it wants an instance that has not come.
    pub(super) fn waits(&self) -> bool {
        self.target.instance.is_some() && self.inbox.is_empty() && !self.served
    }

    /// Whether anything has come for it.
    pub(super) fn has_some(&self) -> bool {
        !(self.inbox.is_empty() && self.lost.is_empty() && self.missed.is_empty())
    }

    /// Whether it has all that it asked for.
    pub(super) fn is_served(&self) -> bool {
        self.settled || matches!(self.end, Some(Ok(_))) && !self.has_some()
    }

    /// An object has come for it. One that broke off and comes once more takes the place of the broken one.
    pub(super) fn give(&mut self, owed: Owed, once_more: bool) {
        if once_more {
            if self.found.contains(&owed.instance) {
                return;
            }
            self.inbox.retain(|waiting| waiting.instance != owed.instance);
            self.lost.retain(|waiting| waiting.instance != owed.instance);
            self.missed.retain(|waiting| waiting.instance != owed.instance);
        }
        self.inbox.push_back(owed);
        self.wake();
    }

    /// What comes next for one that wants a study or series; `None`: nothing yet.
    pub(super) fn next(&mut self) -> Option<Next> {
        while let Some(owed) = self.inbox.pop_front() {
            match owed.claim {
                Some(claim) if claim.start() => return Some(Next::Object(claim)),
                _ => self.lost.push_back(Owed { claim: None, ..owed }),
            }
        }
        if let Some(Owed { instance, series, .. }) = self.lost.pop_front() {
            self.found.insert(instance.clone());
            return Some(Next::Lost { instance, series });
        }
        if let Some(Ok(_)) = &self.end
            && let Some(Owed { instance, series, .. }) = self.missed.pop_front()
        {
            return Some(Next::Missed { instance, series });
        }
        self.end.take().map(Next::End)
    }

    /// Puts off what is not in the cache any more until its group has ended: it may come once more.
    pub(super) fn put_off(&mut self, instance: Uid, series: Option<Uid>) {
        self.found.remove(&instance);
        self.missed.push_back(Owed { instance, series, claim: None });
    }

    /// Whether the instance that it wants was handed out.
    pub(super) fn was_handed_out(&self) -> bool {
        self.served
    }

    /// Takes back what has come for it: it broke off before it was handed out.
    pub(super) fn take_back(&mut self) {
        self.inbox.clear();
    }

    /// The instance that it wants, when it has come.
    pub(super) fn take_instance(&mut self) -> Option<Claim> {
        while let Some(owed) = self.inbox.pop_front() {
            if let Some(claim) = owed.claim.filter(Claim::start) {
                self.served = true;
                return Some(claim);
            }
            self.came_in_vain = true;
        }
        None
    }

    /// A group that it is attached to has ended.
    pub(super) fn group_ended(
        &mut self,
        id: GroupId,
        group: &Group,
        result: &Result<Complete>,
        archive: &str,
    ) {
        self.groups.retain(|other| *other != id);
        if self.target.instance.is_some() {
            // Of the instance itself, the retrieval of the instance knows best. That another object did not come says
            // nothing of this one.
            match result {
                Err(error) if group.target == self.target => self.failure = Some(error.clone()),
                Err(Error { kind: Kind::Incomplete { .. }, .. }) | Ok(_) => {}
                Err(error) => drop(self.failure.get_or_insert_with(|| error.clone())),
            }
        } else {
            self.end = Some(match result {
                Ok(_) if group.target != self.target && !group.knows_series() => {
                    let what = "an object does not say which series it belongs to".to_owned();
                    Err(Error::new(archive, Kind::Protocol(what)))
                }
                Ok(complete) => Ok(complete.share()),
                Err(error) => Err(error.clone()),
            });
        }
        self.wake();
    }

    /// Something has changed for it.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
