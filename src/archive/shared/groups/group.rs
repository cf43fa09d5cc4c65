//! One running retrieval: what it has brought so far, and who reads it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::{MemberId, Opening};
use crate::archive::Form;
use crate::archive::shared::cache::Key;
use crate::archive::shared::claim::{Claim, Reader};
use crate::archive::shared::entry::Id;
use crate::dicom::Uid;
use crate::dicom::query::Target;
use crate::dicom::transfer_syntax::is_native;

/// How long an instance that is wanted now waits for a running retrieval before it is fetched ahead of it, at least.
/// A near archive sends some dozens of images in that time.
const PATIENCE: Duration = Duration::from_millis(30);
/// How many objects a running retrieval may bring in that time: who looks at images in the order in which they come,
/// some at once, is not far ahead of it.
const PATIENCE_OBJECTS: u32 = 8;
/// How long an instance waits at most.
const PATIENCE_MOST: Duration = Duration::from_secs(1);
/// Most instances stored meanwhile that are told apart; with more, any may have been stored. Some hundred bytes each.
const MOST_STORED: usize = 10_000;

/// A running retrieval.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) target: Target,
    pub(super) form: Form,
    /// Set when the archive has begun to answer.
    pub(super) opening: Option<Arc<Opening>>,
    /// When its first object began to come.
    pub(super) first_object: Option<Instant>,
    /// How many objects the archive has begun to send.
    sent: u32,
    /// In the order in which they came.
    seen: Vec<Seen>,
    index: HashMap<Uid, usize>,
    pub(super) members: BTreeSet<MemberId>,
    /// One instance at a time is fetched ahead of it.
    pub(super) lane: Arc<Semaphore>,
    /// It was begun because somebody will want all of it.
    pub(super) ahead: bool,
    /// Newcomers may not attach.
    sealed: bool,
    /// What was stored at the archive since it was asked: what comes of it may be what it was before.
    stored: BTreeSet<Uid>,
    /// Since when nobody reads it, where it is of an instance that came otherwise. To be cut off in the middle of one
    /// object costs an archive more than to send it.
    pub(super) overtaken: Option<Instant>,
    /// Nobody reads it, nor will.
    pub(super) unwanted: watch::Sender<bool>,
}

/// An object that has come in a group.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) instance: Uid,
    /// Series Instance UID, as the data set says.
    pub(super) series: Option<Uid>,
    /// `None` where it was at hand before.
    syntax: Option<Uid>,
    pub(super) came: Came,
    /// The entry in the cache that this retrieval brings. Another retrieval may bring the same object, and break off.
    entry: Option<Id>,
}

/// How far an object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Begun,
    Whole,
    /// It broke off, and may come once more.
    Broken,
}

impl Group {
    pub(super) fn new(target: Target, form: Form, ahead: bool) -> Self {
        Self {
            target,
            form,
            opening: None,
            first_object: None,
            sent: 0,
            seen: Vec::new(),
            index: HashMap::new(),
            members: BTreeSet::new(),
            lane: Arc::new(Semaphore::new(1)),
            ahead,
            sealed: false,
            stored: BTreeSet::new(),
            overtaken: None,
            unwanted: watch::Sender::new(false),
        }
    }

    /// An object that has come.
    pub(super) fn find(&self, instance: &Uid) -> Option<&Seen> {
        self.index.get(instance).map(|at| &self.seen[*at])
    }

    /// What came last.
    pub(super) fn last(&self) -> Option<&Seen> {
        self.seen.last()
    }

    /// Whether an object is here, or on its way.
    pub(super) fn has(&self, instance: &Uid) -> bool {
        self.find(instance).is_some_and(|seen| seen.came != Came::Broken)
    }

    /// The archive begins to send an object.
    pub(super) fn begin_object(&mut self) {
        self.first_object.get_or_insert_with(Instant::now);
        self.sent = self.sent.saturating_add(1);
    }

    /// Writes down that an object comes; whether it had come before, and had broken off.
    pub(super) fn note(&mut self, seen: Seen) -> bool {
        let before = self.index.insert(seen.instance.clone(), self.seen.len());
        self.seen.push(seen);
        before.is_some()
    }

    /// Writes down how far an object has come.
    pub(super) fn came(&mut self, instance: &Uid, came: Came) {
        if let Some(at) = self.index.get(instance) {
            self.seen[*at].came = came;
        }
    }

    /// The objects on their way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Uid> {
        self.seen.iter().filter(|seen| seen.came == Came::Begun).map(|seen| &seen.instance)
    }

    /// What has come, in order, each object once.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Seen> {
        let latest = |(at, seen): &(usize, &Seen)| self.index.get(&seen.instance) == Some(at);
        self.seen.iter().enumerate().filter(latest).map(|(_, seen)| seen)
    }

    /// Whether an object is one of those that `target` asks for. What comes in a retrieval of the very target is, as
    /// the archive says so; of what comes in another, its data set decides.
    pub(super) fn is_for(&self, seen: &Seen, target: &Target, form: Form) -> bool {
        let in_form = form == self.form || seen.syntax.as_ref().is_some_and(is_native);
        let in_target = *target == self.target
            || ((target.series.is_none() || target.series == seen.series)
                && target.instance.as_ref().is_none_or(|instance| *instance == seen.instance));
        in_form && in_target
    }

    /// Whether all of `target` comes in this retrieval, as far as can be told: all of a series comes in that of its
    /// study only as long as every object says which series it is of.
    pub(super) fn brings_all_of(&self, target: &Target, form: Form) -> bool {
        if self.sealed || self.form != form {
            return false;
        }
        if self.target == *target {
            return true;
        }
        let wider = self.target.study == target.study
            && self.target.series.is_none()
            && target.series.is_some()
            && target.instance.is_none();
        let nothing_missing = || self.opening.as_ref().is_some_and(|opening| opening.missing.is_empty());
        let reached = || self.seen.iter().any(|seen| seen.series == target.series);
        wider && nothing_missing() && reached() && self.knows_series()
    }

    /// Whether every object so far says which series it is of.
    pub(super) fn knows_series(&self) -> bool {
        self.seen.iter().all(|seen| seen.series.is_some())
    }

    /// Whether the instance that `target` names is likely to come in this retrieval, or has.
    pub(super) fn covers(&self, target: &Target, form: Form) -> bool {
        let wider = self.target.study == target.study
            && (self.target.series.is_none() || self.target.series == target.series)
            && self
                .target
                .instance
                .as_ref()
                .is_none_or(|instance| target.instance.as_ref() == Some(instance));
        let native = || self.seen.iter().all(|seen| seen.syntax.as_ref().is_none_or(is_native));
        !self.sealed
            && wider
            && (self.form == form || (form == Form::Native && self.form == Form::AsStored && native()))
    }

    /// How long an instance that is wanted now waits to be brought, before it is fetched ahead.
    pub(super) fn patience(&self) -> Duration {
        let Some(first) = self.first_object else { return PATIENCE };
        (first.elapsed() / self.sent.max(1) * PATIENCE_OBJECTS).clamp(PATIENCE, PATIENCE_MOST)
    }

    /// The archive holds more since, or this instance in another version: lets no newcomer attach.
    pub(super) fn seal(&mut self, instance: &Uid) {
        self.sealed = true;
        if self.stored.len() < MOST_STORED {
            self.stored.insert(instance.clone());
        }
    }

    /// Whether an instance that comes may be what it was before another was stored in its place.
    pub(super) fn may_be_old(&self, instance: &Uid) -> bool {
        self.stored.contains(instance) || self.stored.len() == MOST_STORED
    }

    /// Whether it brings all of this very target, for newcomers too.
    pub(super) fn is_of(&self, target: &Target, form: Form) -> bool {
        self.target == *target && self.form == form && !self.sealed
    }

    /// A member attaches.
    pub(super) fn admit(&mut self, member: MemberId) {
        self.members.insert(member);
        self.unwanted.send_replace(false);
    }

    /// A member leaves. `served`: it has what it asked for. `finishes`: what nobody reads is finished all the same.
    pub(super) fn leave(&mut self, member: MemberId, served: bool, finishes: bool) {
        let was_one = self.members.remove(&member);
        if was_one && self.members.is_empty() {
            let goes_on = finishes || (served && self.ahead);
            self.overtaken = (served && self.target.instance.is_some()).then(Instant::now);
            self.unwanted.send_replace(!goes_on);
        }
    }
}

impl Seen {
    /// Claims the object for a reader: as this retrieval brings it, or whole as it is found under `key`.
    pub(super) fn claim(&self, reader: &Reader, key: &Key) -> Option<Claim> {
        let own = self.entry.filter(|_| self.came == Came::Begun);
        own.map_or_else(|| reader.claim_whole(key), |entry| reader.claim_entry(entry))
    }

    /// An object that begins to come.
    pub(super) fn begun(instance: Uid, series: Option<Uid>, syntax: Uid, entry: Id) -> Self {
        Self { instance, series, syntax: Some(syntax), came: Came::Begun, entry: Some(entry) }
    }

    /// An object that is at hand.
    pub(super) fn at_hand(instance: Uid, series: Option<Uid>, syntax: Option<Uid>) -> Self {
        Self { instance, series, syntax, came: Came::Whole, entry: None }
    }
}
