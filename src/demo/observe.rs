//! What the archive saw: for tests that ask how kindly it was treated.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::dicom::dataset::DataSet;
use crate::dicom::{AeTitle, Uid};

/// Most requests that are kept with their identifiers. A benchmark sends more, and nobody reads those.
const MAX_REQUESTS: usize = 10_000;

/// What has happened since the start.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// Associations that others opened.
    pub associations: Associations,
    /// C-ECHO requests.
    pub echoes: usize,
    /// C-FIND requests.
    pub finds: usize,
    /// C-GET requests.
    pub gets: usize,
    /// C-MOVE requests.
    pub moves: usize,
    /// C-STORE requests that came in.
    pub stores: usize,
    /// Most of them that were under way at once.
    pub most_storing: usize,
    /// Those under way now.
    pub storing: usize,
    /// Bytes of data sets that came with them.
    pub bytes_stored: u64,
    /// Objects sent whole, by C-GET and C-MOVE.
    pub objects_sent: usize,
    /// When a C-CANCEL came, in order.
    pub cancels: Vec<Instant>,
    /// The C-FIND, C-GET and C-MOVE requests, in order, the first 10,000.
    pub requests: Vec<Request>,
}

/// How many associations there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Associations {
    /// Accepted, over all.
    pub opened: usize,
    /// Open now.
    pub open: usize,
    /// Most that were open at once.
    pub most_open: usize,
    /// Most presentation contexts that one of them proposed.
    pub most_contexts: usize,
    /// Ended by A-RELEASE.
    pub released: usize,
    /// Ended by the peer's A-ABORT.
    pub aborted: usize,
    /// Ended by a connection that was closed or broke.
    pub lost: usize,
    /// Ended by the archive itself: a fault, a broken protocol, [`Running::kill`](super::Running::kill).
    pub ended: usize,
    /// Refused.
    pub rejected: usize,
}

/// A request with its identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub calling: AeTitle,
    /// Affected SOP Class UID: model and operation.
    pub sop_class: Uid,
    /// Its message ID.
    pub message_id: u16,
    /// The identifier.
    pub identifier: DataSet,
}

/// How an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Released,
    Aborted,
    Lost,
    ByUs,
}

/// Where it is all written down.
#[derive(Debug)]
pub(super) struct Observer(watch::Sender<Observations>);

impl Observer {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Observations::default()))
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Observations)) {
        self.0.send_modify(change);
    }

    pub(super) fn request(&self, request: Request) {
        self.note(|o| {
            if o.requests.len() < MAX_REQUESTS {
                o.requests.push(request);
            }
        });
    }

    /// Counts a C-STORE as under way until the guard is dropped.
    pub(super) fn storing(self: &Arc<Self>) -> Storing {
        let mut number = 0;
        self.note(|o| {
            o.stores += 1;
            o.storing += 1;
            o.most_storing = o.most_storing.max(o.storing);
            number = u32::try_from(o.stores).unwrap_or(u32::MAX);
        });
        Storing { observer: self.clone(), number }
    }

    /// Counts an association as open until the guard is dropped.
    pub(super) fn opened(self: &Arc<Self>, contexts: usize) -> Open {
        self.note(|o| {
            let associations = &mut o.associations;
            associations.opened += 1;
            associations.open += 1;
            associations.most_open = associations.most_open.max(associations.open);
            associations.most_contexts = associations.most_contexts.max(contexts);
        });
        Open { observer: self.clone(), ended: Ended::ByUs }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Observations> {
        self.0.subscribe()
    }
}

/// A C-STORE that counts as under way.
pub(super) struct Storing {
    observer: Arc<Observer>,
    /// Which one it is, counted from 1 since the start.
    pub(super) number: u32,
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.observer.note(|o| o.storing -= 1);
    }
}

/// An association that counts as open.
pub(super) struct Open {
    observer: Arc<Observer>,
    /// How it ended.
    pub(super) ended: Ended,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.observer.note(|o| {
            let associations = &mut o.associations;
            associations.open -= 1;
            match self.ended {
                Ended::Released => associations.released += 1,
                Ended::Aborted => associations.aborted += 1,
                Ended::Lost => associations.lost += 1,
                Ended::ByUs => associations.ended += 1,
            }
        });
    }
}
