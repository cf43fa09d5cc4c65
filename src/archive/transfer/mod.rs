//! Objects of an archive brought to a receiver, one after the other and counted: what a C-GET or C-MOVE asks for, or a
//! person who sends a study somewhere.
//!
//! A [`Transfer`] makes the retrievals and gives each object to its [`Delivery`]; its [`Tally`] counts what the receiver
//! really has. The [`Requestor`] is told how far it is, and may call it off.

mod destination;
mod named;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Archive, Error, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::{Head, Object};
use crate::dicom::query::Target;
use crate::dimse::status::{self, Class};

pub use destination::ToDestination;
pub use named::{Unnamed, key, matches};
pub use tally::{Outcome, Tally};

/// How long the archive may take to name what was not delivered.
const NAMING: Duration = Duration::from_secs(10);

/// Whoever has asked for a transfer.
pub trait Requestor: Send {
    /// Why it cannot go on for them, such as an association that is over.
    type Gone: Send;

    /// Resolves when they call it off. Cancel-safe.
    fn cancelled(&mut self) -> impl Future<Output = Result<(), Self::Gone>> + Send;

    /// Tells them how far it is. Whether they have called it off meanwhile.
    fn tell(&mut self, tally: &Tally) -> impl Future<Output = Result<bool, Self::Gone>> + Send;

    /// Tells them that an object is still on its way.
    fn tell_under_way(&mut self, tally: &Tally);

    /// The next objects are of this study, and of this patient, as far as that is known.
    fn study(&mut self, study: &Uid, patient: Option<&str>);

    /// This object is next.
    fn next(&mut self, head: &Head);

    /// An object of so many bytes has passed.
    fn passed(&mut self, bytes: u64);

    /// The object that was next is where it is to be.
    fn delivered(&mut self);
}

/// Where objects go.
pub trait Delivery<R: Requestor>: Send {
    /// Delivers an object. `cancelled` is set where the requestor calls the transfer off meanwhile.
    ///
    /// # Errors
    /// It cannot go on for the requestor.
    fn deliver(
        &mut self,
        requestor: &mut R,
        object: Object,
        tally: &Tally,
        cancelled: &mut bool,
    ) -> impl Future<Output = Result<Delivered, R::Gone>> + Send;

    /// Why nothing more is to be delivered.
    fn given_up(&self) -> Option<String>;
}

/// What has become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The receiver has answered, or cannot be made to.
    Ended(Outcome),
    /// The receiver does not take it in its transfer syntax.
    WrongSyntax,
    /// The archive's bytes broke off.
    Broken,
    /// The requestor has called it off, and it took too long.
    Abandoned,
}

impl Delivered {
    /// As the receiver's response says.
    pub fn by_status(code: u16) -> Self {
        Self::Ended(match status::class(code) {
            Class::Success => Outcome::Completed,
            Class::Warning => Outcome::Warning,
            _ => Outcome::Failed,
        })
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing more to come. Single objects may have failed, which the tally tells.
    Whole,
    /// The requestor has called it off.
    Cancelled,
    /// Before its time.
    Failed(Failure),
}

/// Why a transfer ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The archive could not go on.
    Archive(Error),
    /// The archive of this name has no longer the rest.
    Vanished(String),
    /// The receiver is given up; the text says why.
    Receiver(String),
}

/// Objects on their way from an archive.
pub struct Transfer<'a, R, D> {
    archive: Arc<dyn Archive>,
    caller: Caller,
    requestor: &'a mut R,
    delivery: D,
    /// What has become of the objects.
    pub tally: Tally,
    /// How many sub-operations what has not begun yet is known to have.
    later: usize,
}

/// How far one retrieval went.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    /// To its end; what failed is counted.
    On,
    /// No further.
    Over(Ending),
}

/// What one retrieval, begun perhaps more than once, has done.
#[derive(Default)]
struct Progress {
    /// Instances that are delivered, counted or put off.
    settled: BTreeSet<Uid>,
    /// Those that the receiver does not take in their transfer syntax, by their series.
    put_off: BTreeMap<Uid, BTreeSet<Uid>>,
    /// Those that broke off.
    broken: BTreeSet<Uid>,
}

impl<'a, R: Requestor, D: Delivery<R>> Transfer<'a, R, D> {
    /// From this archive, on behalf of this caller.
    pub fn new(archive: Arc<dyn Archive>, caller: Caller, requestor: &'a mut R, delivery: D) -> Self {
        Self { archive, caller, requestor, delivery, tally: Tally::default(), later: 0 }
    }

    /// Retrieves one after the other; how it ended.
    ///
    /// # Errors
    /// It cannot go on for the requestor. What is under way is cancelled at the archive, and aborted at the receiver.
    pub async fn run(&mut self, retrieves: Vec<Retrieve>) -> Result<Ending, R::Gone> {
        self.later = retrieves.iter().map(|retrieve| retrieve.only.len().max(1)).sum();
        let mut retrieves = retrieves.into_iter();
        while let Some(retrieve) = retrieves.next() {
            self.later -= retrieve.only.len().max(1);
            self.requestor.study(&retrieve.target.study, retrieve.patient.as_deref());
            if let Flow::Over(ending) = self.bring(retrieve).await? {
                if self.names_the_rest(&ending) {
                    let goes_on = self.delivery.given_up().is_some();
                    for retrieve in retrieves {
                        // An archive that failed may not be there to be asked.
                        if !self.name_the_rest(&retrieve, &BTreeSet::new()).await && !goes_on {
                            break;
                        }
                    }
                }
                return Ok(ending);
            }
        }
        Ok(Ending::Whole)
    }

    /// One retrieval, and what of it is wanted natively once more.
    async fn bring(&mut self, retrieve: Retrieve) -> Result<Flow, R::Gone> {
        let mut progress = Progress::default();
        let flow = self.bring_in_form(&retrieve, &mut progress).await?;
        if matches!(flow, Flow::Over(_)) {
            return Ok(flow);
        }
        for (series, instances) in std::mem::take(&mut progress.put_off) {
            let target = Target { series: Some(series), instance: None, ..retrieve.target.clone() };
            let native = Retrieve { target, form: Form::Native, only: instances.clone(), ..retrieve.clone() };
            let mut progress = Progress::default();
            let flow = self.bring_in_form(&native, &mut progress).await?;
            for instance in instances.difference(&progress.settled) {
                self.tally.count(instance, Outcome::Failed);
            }
            if matches!(flow, Flow::Over(_)) {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// One retrieval in one form. It begins again where the engine gave up a receiver that is slow but not dead: others
    /// have had their turn meanwhile.
    async fn bring_in_form(&mut self, retrieve: &Retrieve, progress: &mut Progress) -> Result<Flow, R::Gone> {
        loop {
            let before = progress.settled.len();
            let having = retrieve.having.union(&progress.settled).cloned().collect();
            let again = Retrieve { having, ..retrieve.clone() };
            let end =
                match unless_cancelled(self.requestor, self.archive.retrieve(&self.caller, again)).await? {
                    None => return Ok(Flow::Over(Ending::Cancelled)),
                    Some(Err(error)) => Err(error),
                    Some(Ok(retrieval)) => match self.pass_on(retrieve.form, retrieval, progress).await? {
                        Ok(end) => end,
                        Err(ending) => {
                            if self.delivery.given_up().is_some() {
                                self.name_the_rest(retrieve, &progress.settled).await;
                            }
                            return Ok(Flow::Over(ending));
                        }
                    },
                };
            match end {
                Err(Error { kind: Kind::ReaderStalled, .. }) if progress.settled.len() > before => {}
                end => return Ok(self.conclude(retrieve, end, progress).await),
            }
        }
    }

    /// Delivers what a retrieval brings; how that ended, or what ends everything.
    async fn pass_on(
        &mut self,
        form: Form,
        retrieval: Retrieval,
        progress: &mut Progress,
    ) -> Result<Result<Result<(), Error>, Ending>, R::Gone> {
        let Retrieval { mut objects, missing, expected, .. } = retrieval;
        let begun_with = self.tally.done();
        for instance in missing {
            self.settle(&instance, Outcome::Failed, progress);
        }
        loop {
            let object = match unless_cancelled(self.requestor, objects.next()).await? {
                None => return Ok(Err(Ending::Cancelled)),
                Some(Step::End(end)) => return Ok(Ok(end.map(drop))),
                Some(Step::Item(object)) => object,
            };
            let put_off: usize = progress.put_off.values().map(BTreeSet::len).sum();
            self.tally.expect(begun_with + expected.get().unwrap_or(0).max(put_off + 1) + self.later);
            let Object { head, series, .. } = &object;
            self.requestor.next(head);
            let delivered = self.tally.delivered();
            let (instance, series) = (head.sop_instance.clone(), series.clone());
            let mut cancelled = false;
            let delivering = self.delivery.deliver(self.requestor, object, &self.tally, &mut cancelled);
            match delivering.await? {
                Delivered::Ended(outcome) => self.settle(&instance, outcome, progress),
                Delivered::WrongSyntax => match series.filter(|_| form != Form::Native) {
                    Some(series) => {
                        progress.settled.insert(instance.clone());
                        progress.put_off.entry(series).or_default().insert(instance);
                    }
                    None => self.settle(&instance, Outcome::Failed, progress),
                },
                Delivered::Broken => drop(progress.broken.insert(instance)),
                Delivered::Abandoned => {}
            }
            if self.tally.delivered() > delivered {
                self.requestor.delivered();
            }
            if cancelled {
                return Ok(Err(Ending::Cancelled));
            }
            if let Some(why) = self.delivery.given_up() {
                return Ok(Err(Ending::Failed(Failure::Receiver(why))));
            }
            if self.requestor.tell(&self.tally).await? {
                return Ok(Err(Ending::Cancelled));
            }
        }
    }

    fn settle(&mut self, instance: &Uid, outcome: Outcome, progress: &mut Progress) {
        progress.broken.remove(instance);
        if progress.settled.insert(instance.clone()) {
            self.tally.count(instance, outcome);
        }
    }

    /// Counts what did not come.
    async fn conclude(
        &mut self,
        retrieve: &Retrieve,
        end: Result<(), Error>,
        progress: &mut Progress,
    ) -> Flow {
        for instance in std::mem::take(&mut progress.broken) {
            self.settle(&instance, Outcome::Failed, progress);
        }
        match end {
            // It was there a moment ago: what has not come is not nothing.
            Err(Error { kind: Kind::NotFound, .. })
                if !progress.settled.is_empty() && !retrieve.only.is_empty() =>
            {
                for instance in &retrieve.only {
                    self.settle(instance, Outcome::Failed, progress);
                }
                Flow::On
            }
            Err(Error { kind: Kind::NotFound, archive, .. }) if !progress.settled.is_empty() => {
                Flow::Over(Ending::Failed(Failure::Vanished(archive)))
            }
            Ok(()) | Err(Error { kind: Kind::NotFound, .. }) => Flow::On,
            Err(Error { kind: Kind::Incomplete { missing, named }, .. }) => {
                let unnamed = missing.saturating_sub(named.len());
                for instance in named {
                    self.settle(&instance, Outcome::Failed, progress);
                }
                self.tally.fail_unnamed(unnamed);
                Flow::On
            }
            Err(Error { kind: Kind::NotAcceptable, .. }) => {
                if !self.name_the_rest(retrieve, &progress.settled).await {
                    self.tally.fail_unnamed(1);
                }
                Flow::On
            }
            Err(error) => {
                tracing::debug!(%error, "a retrieval ended early");
                let may_answer = may_answer(&error.kind);
                let ending = Ending::Failed(Failure::Archive(error));
                if self.names_the_rest(&ending) || may_answer {
                    self.name_the_rest(retrieve, &progress.settled).await;
                }
                Flow::Over(ending)
            }
        }
    }

    /// Whether it is to be told by name what is not delivered: where something has begun, a requestor cannot know it
    /// otherwise.
    fn names_the_rest(&self, ending: &Ending) -> bool {
        let is_failure = matches!(ending, Ending::Failed(..));
        is_failure && (self.delivery.given_up().is_some() || self.tally.done() > 0)
    }

    /// Counts as failed, by their names, what is not settled: the archive is searched for them. Whether any was named.
    async fn name_the_rest(&mut self, retrieve: &Retrieve, settled: &BTreeSet<Uid>) -> bool {
        let naming = named::named(&*self.archive, &self.caller, retrieve);
        let named = timeout(NAMING, naming).await.unwrap_or_default();
        let rest: Vec<&Uid> = named.difference(settled).collect();
        rest.iter().for_each(|instance| self.tally.count(instance, Outcome::Failed));
        !rest.is_empty()
    }
}

/// Whether an archive that ended a retrieval so, before its first object, may tell what there is: it was there, and
/// began.
fn may_answer(kind: &Kind) -> bool {
    match kind {
        Kind::Aborted(_) | Kind::Protocol(_) | Kind::Conflict(_) | Kind::Timeout("silence" | "operation") => {
            true
        }
        Kind::Status { code, .. } => {
            status::class(*code) == Class::Failure && (*code >> 12 == 0xC || *code >> 8 == 0xA7)
        }
        _ => false,
    }
}

/// Waits for something, unless the requestor calls it off: `None`.
///
/// # Errors
/// It cannot go on for the requestor.
pub async fn unless_cancelled<R: Requestor, T>(
    requestor: &mut R,
    wait: impl Future<Output = T> + Send,
) -> Result<Option<T>, R::Gone> {
    let mut wait = pin!(wait);
    tokio::select! {
        biased;
        cancelled = requestor.cancelled() => cancelled.map(|()| None),
        done = &mut wait => Ok(Some(done)),
    }
}

#[cfg(test)]
mod tests;
