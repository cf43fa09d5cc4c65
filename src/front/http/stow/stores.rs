//! The stores of one request: some at a time, each with its fate, and no hopeless ones.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::super::record::Record;
use super::refusal::Refusal;
use crate::archive::{Archive, Error, Kind, Result, Stored};
use crate::caller::Caller;
use crate::dicom::object::{Budget, Head, ObjectLog};
use crate::dicomweb::store_response::{Fate, Reference};
use crate::dimse::status;

/// Most objects of one request that are stored at a time: as many as an archive has associations by default.
const AT_ONCE: usize = 4;
/// Most bytes of one object that wait for the archive. Each has its own: objects that are whole and wait for
/// an association must not starve the one that holds it.
const BUDGET: u32 = 1 << 20;
/// After so many stores in a row that the archive broke off, or did not answer, no more are tried. An archive
/// that restarts takes all those down that are under way, and may be back for the next.
const MAX_LOST: usize = 2 * AT_ONCE;

/// The stores of one request. Dropped, what is under way is aborted.
pub(super) struct Stores {
    archive: Arc<dyn Archive>,
    caller: Caller,
    under_way: JoinSet<(usize, Result<Stored>)>,
    instances: Vec<Instance>,
    lost_in_a_row: usize,
    given_up: Option<Error>,
    record: Record,
}

/// An instance that came.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) reference: Reference,
    /// Patient ID, as it says.
    patient: Option<String>,
    /// `None`: under way.
    outcome: Option<Outcome>,
    /// The archive gets less than the client sent.
    elements_discarded: bool,
}

/// What became of an instance.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Not even sent.
    Refused(Refusal),
    /// The archive answered, or did not.
    Answered(Result<Stored>),
}

impl Stores {
    pub(super) fn new(archive: Arc<dyn Archive>, caller: Caller) -> Self {
        Self {
            archive,
            caller,
            under_way: JoinSet::new(),
            instances: Vec::new(),
            lost_in_a_row: 0,
            given_up: None,
            record: Record::default(),
        }
    }

    /// Notes what becomes of each instance there.
    pub(super) fn recorded(self, record: Record) -> Self {
        Self { record, ..self }
    }

    /// How many instances came.
    pub(super) fn len(&self) -> usize {
        self.instances.len()
    }

    /// Why no more are tried.
    pub(super) fn given_up(&self) -> Option<&Error> {
        self.given_up.as_ref()
    }

    /// Begins to store an object when there is room, and gives the log for its bytes; `None` when it would be
    /// hopeless. `patient`: its Patient ID, where it says one.
    pub(super) async fn begin(
        &mut self,
        reference: Reference,
        patient: Option<String>,
        head: Head,
    ) -> Option<ObjectLog> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.note(ended.ok());
        }
        while self.under_way.len() >= AT_ONCE
            && let Some(ended) = self.under_way.join_next().await
        {
            self.note(ended.ok());
        }
        let outcome = self.given_up.clone().map(|error| Outcome::Answered(Err(error)));
        let hopeless = outcome.is_some();
        self.instances.push(Instance { reference, patient, outcome, elements_discarded: false });
        if hopeless {
            self.told(self.instances.len() - 1);
            return None;
        }
        let (log, object) = ObjectLog::new(head, &Budget::new(BUDGET));
        let (archive, caller, index) =
            (Arc::clone(&self.archive), self.caller.clone(), self.instances.len() - 1);
        let storing = async move { (index, archive.store(&caller, object).await) };
        self.under_way.spawn(storing.in_current_span());
        Some(log)
    }

    /// Notes of the instance that was begun last that elements of it were left out.
    pub(super) fn elements_discarded(&mut self) {
        if let Some(instance) = self.instances.last_mut() {
            instance.elements_discarded = true;
        }
    }

    /// Notes an instance that is not sent.
    pub(super) fn refuse(&mut self, reference: Reference, refusal: Refusal) {
        let outcome = Some(Outcome::Refused(refusal));
        self.instances.push(Instance { reference, patient: None, outcome, elements_discarded: false });
        self.told(self.instances.len() - 1);
    }

    /// Waits for the answers that are still to come.
    pub(super) async fn finish(mut self) -> Vec<Instance> {
        while let Some(ended) = self.under_way.join_next().await {
            self.note(ended.ok());
        }
        let name = self.archive.name();
        for instance in &mut self.instances {
            // A task that panicked has left no answer.
            instance
                .outcome
                .get_or_insert_with(|| Outcome::Answered(Err(Error::new(name, Kind::DriverDied))));
        }
        self.instances
    }

    fn note(&mut self, ended: Option<(usize, Result<Stored>)>) {
        let Some((index, result)) = ended else { return };
        match &result {
            Err(error) if !was_tried(&error.kind) => self.given_up = Some(error.clone()),
            Err(Error { kind: Kind::Timeout(_) | Kind::Aborted(_) | Kind::Protocol(_), .. }) => {
                self.lost_in_a_row += 1;
                if self.lost_in_a_row >= MAX_LOST {
                    self.given_up = result.as_ref().err().cloned();
                }
            }
            _ => self.lost_in_a_row = 0,
        }
        self.instances[index].outcome = Some(Outcome::Answered(result));
        self.told(index);
    }

    fn told(&self, index: usize) {
        let instance = &self.instances[index];
        self.record.fate(&instance.reference, instance.patient.as_deref(), instance.fate());
    }
}

impl Instance {
    /// What became of it.
    pub(super) fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().expect("only instances of stores that have ended are handed out")
    }

    /// The same in the standard's numbers.
    pub(super) fn fate(&self) -> Fate {
        match self.outcome() {
            Outcome::Refused(refusal) => Fate::Failed(refusal.reason()),
            Outcome::Answered(Ok(Stored { status: status::SUCCESS, .. })) if self.elements_discarded => {
                Fate::Warned(status::ELEMENTS_DISCARDED)
            }
            Outcome::Answered(Ok(Stored { status: status::SUCCESS, .. })) => Fate::Stored,
            Outcome::Answered(Ok(stored)) => Fate::Warned(stored.status),
            Outcome::Answered(Err(error)) => Fate::Failed(reason(&error.kind)),
        }
    }

    /// The error of an instance that the archive never saw.
    pub(super) fn untried(&self) -> Option<&Error> {
        match self.outcome() {
            Outcome::Answered(Err(error)) if !was_tried(&error.kind) => Some(error),
            _ => None,
        }
    }
}

/// Whether the archive may have seen the object. What failed before concerns the archive, not the object, and
/// the next object would fare no better.
fn was_tried(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::QueueFull
            | Kind::QueueTimeout
            | Kind::Unreachable(_)
            | Kind::Tls(_)
            | Kind::BreakerOpen(_)
            | Kind::Rejected { .. }
            | Kind::ShuttingDown
            | Kind::Unsupported(_)
    )
}

/// The Failure Reason (PS3.18 Table I.2-2): what the archive said, as it said it.
fn reason(kind: &Kind) -> u16 {
    match kind {
        Kind::Status { code, .. } => *code,
        Kind::ClassRefused(_) => status::SOP_CLASS_NOT_SUPPORTED,
        Kind::SyntaxRefused(_) => status::TRANSFER_SYNTAX_NOT_SUPPORTED,
        Kind::SourceBroke => status::UNABLE_TO_PROCESS,
        Kind::NotAuthorized => status::NOT_AUTHORIZED,
        Kind::QueueFull | Kind::QueueTimeout => status::OUT_OF_RESOURCES,
        _ => status::PROCESSING_FAILURE,
    }
}
