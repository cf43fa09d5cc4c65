//! What happens that somebody may have to answer for: who did what, to whose data, and how it went.
//!
//! The front ends and whoever decides about access tell it; the audit trail listens. To tell it costs nothing worth
//! naming and never waits: nobody's images are late because a log is slow.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::dicom::query::Level;
use crate::dicom::{AeTitle, Uid};

/// Where events are told. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events {
    listener: Option<Arc<dyn Fn(Event) + Send + Sync>>,
    /// Whether the listener wants to know instances by name.
    names: bool,
}

impl Events {
    /// Nobody listens.
    pub fn none() -> Self {
        Self::default()
    }

    /// `listener` is given each event, on the task that tells it: it must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), names: true }
    }

    /// Whether instances are named, and not only counted: what nobody wants to know is not held.
    #[must_use]
    pub fn naming_instances(self, names: bool) -> Self {
        Self { names, ..self }
    }

    /// Counts an instance of a study, and keeps its name where somebody wants it.
    pub fn count(&self, study: &mut Study, class: &Uid, instance: &Uid) {
        study.count(class, self.names.then_some(instance));
    }

    /// Somewhere that keeps all events, without a bound: for tests.
    pub fn recorded() -> (Self, Recorder) {
        let recorder = Recorder::default();
        let kept = recorder.clone();
        (Self::to(move |event| kept.lock().push(event)), recorder)
    }

    /// Whether anybody listens: what an event takes to be put together can be spared otherwise.
    pub fn is_heard(&self) -> bool {
        self.listener.is_some()
    }

    /// Tells an event. Never blocks.
    pub fn send(&self, event: Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("is_heard", &self.is_heard()).finish()
    }
}

/// The events that were told, for tests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    /// The events since the last time.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// How it went.
    pub outcome: Outcome,
    /// What a person should know of a failure; nothing of a patient, and no secret.
    pub why: Option<String>,
    /// Who did it.
    pub who: Who,
    /// What it was.
    pub what: What,
}

impl Event {
    /// What `who` has done just now, and it went well.
    pub fn now(who: Who, what: What) -> Self {
        Self { at: SystemTime::now(), outcome: Outcome::Success, why: None, who, what }
    }

    /// The same, but it went so, for this reason.
    #[must_use]
    pub fn failed(self, outcome: Outcome, why: impl Into<String>) -> Self {
        Self { outcome, why: Some(why.into()), ..self }
    }
}

/// How something went (EventOutcomeIndicator, PS3.15 A.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// It failed, and may be tried again: a wrong password, an instance that is not there.
    MinorFailure,
    /// It was ended before its time: a retrieval that broke off.
    SeriousFailure,
    /// Something cannot be used any more.
    MajorFailure,
}

/// Who does something. What is not known is left out; of the bridge itself that is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// The name under which a web client is known.
    pub user: Option<Arc<str>>,
    /// The title by which a DIMSE client calls itself.
    pub title: Option<AeTitle>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The subject of its certificate (RFC 4514), where it has shown one.
    pub certificate: Option<Arc<str>>,
}

/// What happened, in the terms of PS3.15 A.5.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The bridge has begun to serve (Application Activity).
    Started,
    /// It ends (Application Activity).
    Stopped,
    /// Somebody has said who they are (User Authentication).
    Authentication,
    /// A DIMSE client has got an association, calling us so (Network Entry).
    Entry {
        /// The title by which we were called.
        called: AeTitle,
    },
    /// Somebody searches (Query).
    Query(Query),
    /// Instances are on their way (Begin Transferring DICOM Instances).
    BeginTransferring(Transfer),
    /// Instances have been transferred, as many as are counted (DICOM Instances Transferred).
    InstancesTransferred(Transfer),
    /// An archive is told about instances, or asked about them, and they stay where they are (DICOM Instances Accessed).
    InstancesAccessed {
        /// The archive's name.
        archive: String,
        /// What is known of them.
        study: Study,
    },
    /// A procedure record was made, changed or read (Procedure Record).
    Procedure(Procedure),
    /// Something that a security officer should look at (Security Alert).
    SecurityAlert {
        /// Of what kind.
        kind: Alert,
        /// What it is about; nothing of a patient.
        text: String,
    },
}

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The archive's name.
    pub archive: String,
    /// At which level; `None`: the query itself says so.
    pub level: Option<Level>,
    /// SOP class of a C-FIND, and how its identifier is encoded; `None`: QIDO-RS.
    pub encoded: Option<(Uid, Uid)>,
    /// The identifier, or the query as it stood in the URL.
    pub text: Vec<u8>,
}

/// What is done to a procedure record: a performed procedure step, or a unified one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procedure {
    /// The archive's name.
    pub archive: String,
    /// What is done.
    pub action: Action,
    /// SOP class and instance of the step, as far as they are said.
    pub step: (Uid, Option<Uid>),
    /// The studies that it is about, where the request names them.
    pub studies: Vec<Uid>,
    /// Patient ID, where the request names it.
    pub patient: Option<String>,
}

/// What is done to a record (EventActionCode, PS3.15 A.5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Created,
    /// It is read.
    Read,
    /// It is changed.
    Updated,
}

/// Instances that go from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The archive's name.
    pub archive: String,
    /// Where they go.
    pub way: Way,
    /// What of which study. [`What::BeginTransferring`] mostly cannot tell how much it is going to be.
    pub studies: Vec<Study>,
}

/// Where instances go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// From the archive to whoever asked.
    Retrieved,
    /// From the archive to an application entity that whoever asked has named.
    Moved {
        /// The Move Destination.
        to: AeTitle,
    },
    /// To the archive.
    Stored,
}

/// What goes of one study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Study {
    /// Study Instance UID; `None`: it was not said.
    pub uid: Option<Uid>,
    /// Patient ID, where it is known without a search for it.
    pub patient: Option<String>,
    /// The instances by SOP class, as far as they are counted.
    pub classes: BTreeMap<Uid, Instances>,
}

impl Study {
    /// A study of which nothing is counted yet.
    pub fn new(uid: Option<Uid>, patient: Option<String>) -> Self {
        Self { uid, patient, classes: BTreeMap::new() }
    }

    /// Counts an instance, with or without its name.
    pub fn count(&mut self, class: &Uid, instance: Option<&Uid>) {
        let instances = self.classes.entry(class.clone()).or_default();
        instances.number += 1;
        if instances.names.len() < MAX_NAMED {
            instances.names.extend(instance.cloned());
        }
    }

    /// How many instances are counted.
    pub fn number(&self) -> usize {
        self.classes.values().map(|instances| instances.number).sum()
    }
}

/// Most instances of a SOP class that an event names; further ones are counted alone. The largest studies have some
/// ten thousand.
const MAX_NAMED: usize = 50_000;

/// Instances of one SOP class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    /// How many.
    pub number: usize,
    /// SOP Instance UIDs of the first of them.
    pub names: Vec<Uid>,
}

/// Kinds of what a security officer should look at (PS3.16 CID 403).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// A system is not who it says it is, or nobody knows it.
    NodeAuthentication,
    /// Somebody tried what they may not do.
    RestrictedFunction,
    /// What decides about security has changed: keys, certificates.
    SecurityConfiguration,
    /// Events are no longer recorded, or some were lost.
    AuditStopped,
    /// Events are recorded again.
    AuditStarted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_told_is_heard_by_whoever_listens_and_by_nobody_else() {
        let (events, recorder) = Events::recorded();
        let event = Event::now(Who::default(), What::Started);
        events.clone().send(event.clone());
        assert_eq!(recorder.take(), std::slice::from_ref(&event));
        assert!(recorder.take().is_empty());
        Events::none().send(event);
        assert!(events.is_heard() && !Events::none().is_heard());
    }

    #[test]
    fn instances_are_counted_by_their_class() {
        let mut study = Study::new(Some(uid("1.2.3")), None);
        for instance in ["1.1", "1.2", "1.3"] {
            study.count(&uid("1.2.840.10008.5.1.4.1.1.2"), Some(&uid(instance)));
        }
        study.count(&uid("1.2.840.10008.5.1.4.1.1.4"), Some(&uid("1.4")));
        assert_eq!((study.number(), study.classes.len()), (4, 2));
    }

    #[test]
    fn names_that_nobody_wants_are_not_held() {
        let class = uid("1.2.840.10008.5.1.4.1.1.2");
        for names in [true, false] {
            let events = Events::recorded().0.naming_instances(names);
            let mut study = Study::new(None, None);
            events.count(&mut study, &class, &uid("1.1"));
            assert_eq!((study.number(), study.classes[&class].names.len()), (1, usize::from(names)));
        }
    }
}
