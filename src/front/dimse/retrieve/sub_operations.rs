//! The sub-operations of a C-GET or C-MOVE: each object that the archive brings is delivered and counted, and the client
//! is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::delivery::{Delivered, Delivery, News};
use super::identifier::named;
use super::tally::{Counters, Ending, Outcome, Tally};
use crate::archive::{Archive, Error, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::Object;
use crate::dicom::query::Target;
use crate::dimse::command::Command;
use crate::dimse::status::{self, Class};
use crate::front::dimse::client::{Client, End, MAX_UNSENT};
use crate::front::dimse::status::of;

/// How long the archive may take to name what was not delivered.
const NAMING: Duration = Duration::from_secs(10);

/// The sub-operations of one request.
pub(super) struct SubOperations<'a> {
    pub(super) archive: Arc<dyn Archive>,
    pub(super) caller: Caller,
    /// The request, and its presentation context.
    pub(super) request: &'a Command,
    pub(super) context: u8,
    pub(super) delivery: Delivery,
    pub(super) tally: Tally,
    /// How many sub-operations what has not begun yet is known to have.
    pub(super) later: usize,
}

/// How far one retrieval went.
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

impl SubOperations<'_> {
    /// Retrieves one after the other; how it ended.
    ///
    /// # Errors
    /// The client's association is over. What is under way is cancelled at the archive, and aborted at the destination.
    pub(super) async fn run(&mut self, client: &mut Client, retrieves: Vec<Retrieve>) -> Result<Ending, End> {
        self.later = retrieves.iter().map(|retrieve| retrieve.only.len().max(1)).sum();
        let mut retrieves = retrieves.into_iter();
        while let Some(retrieve) = retrieves.next() {
            self.later -= retrieve.only.len().max(1);
            client.trail.study(&retrieve.target.study, retrieve.patient.as_deref());
            if let Flow::Over(ending) = self.bring(client, retrieve).await? {
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
    async fn bring(&mut self, client: &mut Client, retrieve: Retrieve) -> Result<Flow, End> {
        let mut progress = Progress::default();
        let flow = self.bring_in_form(client, &retrieve, &mut progress).await?;
        if matches!(flow, Flow::Over(_)) {
            return Ok(flow);
        }
        for (series, instances) in std::mem::take(&mut progress.put_off) {
            let target = Target { series: Some(series), instance: None, ..retrieve.target.clone() };
            let native = Retrieve { target, form: Form::Native, only: instances.clone(), ..retrieve.clone() };
            let mut progress = Progress::default();
            let flow = self.bring_in_form(client, &native, &mut progress).await?;
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
    async fn bring_in_form(
        &mut self,
        client: &mut Client,
        retrieve: &Retrieve,
        progress: &mut Progress,
    ) -> Result<Flow, End> {
        loop {
            let before = progress.settled.len();
            let having = retrieve.having.union(&progress.settled).cloned().collect();
            let again = Retrieve { having, ..retrieve.clone() };
            let end = match unless_cancelled(client, self.archive.retrieve(&self.caller, again)).await? {
                None => return Ok(Flow::Over(Ending::Cancelled)),
                Some(Err(error)) => Err(error),
                Some(Ok(retrieval)) => {
                    match self.pass_on(client, retrieve.form, retrieval, progress).await? {
                        Ok(end) => end,
                        Err(ending) => {
                            if self.delivery.given_up().is_some() {
                                self.name_the_rest(retrieve, &progress.settled).await;
                            }
                            return Ok(Flow::Over(ending));
                        }
                    }
                }
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
        client: &mut Client,
        form: Form,
        retrieval: Retrieval,
        progress: &mut Progress,
    ) -> Result<Result<Result<(), Error>, Ending>, End> {
        let Retrieval { mut objects, missing, expected, .. } = retrieval;
        let begun_with = self.tally.done();
        for instance in missing {
            self.settle(&instance, Outcome::Failed, progress);
        }
        loop {
            let object = match unless_cancelled(client, objects.next()).await? {
                None => return Ok(Err(Ending::Cancelled)),
                Some(Step::End(end)) => return Ok(Ok(end.map(drop))),
                Some(Step::Item(object)) => object,
            };
            let put_off: usize = progress.put_off.values().map(BTreeSet::len).sum();
            self.tally.expect(begun_with + expected.get().unwrap_or(0).max(put_off + 1) + self.later);
            let Object { head, series, .. } = &object;
            client.trail.next(head);
            let delivered = self.tally.delivered();
            let (instance, series) = (head.sop_instance.clone(), series.clone());
            let mut cancelled = false;
            let news = self.news();
            match self.delivery.deliver(client, object, news, &mut cancelled).await? {
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
                client.trail.delivered();
            }
            if cancelled {
                return Ok(Err(Ending::Cancelled));
            }
            if let Some(why) = self.delivery.given_up() {
                return Ok(Err(Ending::Failed(status::OUT_OF_RESOURCES_SUB_OPERATIONS, Some(why))));
            }
            if self.tell(client).await? {
                return Ok(Err(Ending::Cancelled));
            }
        }
    }

    /// A pending response. Whether the client has cancelled while there was no room for it.
    async fn tell(&mut self, client: &mut Client) -> Result<bool, End> {
        if let Some(counters) = self.tally.pending() {
            client.respond(self.context, self.pending(counters), None);
        }
        let Some(meanwhile) = client.room(MAX_UNSENT).await? else { return Ok(false) };
        meanwhile.into_cancel().map(|()| true)
    }

    /// What is told while an object is on its way.
    fn news(&self) -> News {
        News { context: self.context, pending: self.pending(self.tally.under_way()) }
    }

    fn pending(&self, counters: Counters) -> Command {
        let mut pending = self.request.response(status::PENDING);
        counters.write(&mut pending);
        pending
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
                let comment = format!("{archive}: no longer has the rest");
                Flow::Over(Ending::Failed(status::OUT_OF_RESOURCES_SUB_OPERATIONS, Some(comment)))
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
                let (code, comment) = of(&error, self.request.field);
                tracing::debug!(%error, "a retrieval ended early");
                let ending = Ending::Failed(code, comment);
                if self.names_the_rest(&ending) || may_answer(&error.kind) {
                    self.name_the_rest(retrieve, &progress.settled).await;
                }
                Flow::Over(ending)
            }
        }
    }

    /// Whether it is to be told by name what is not delivered: where something has begun, a client cannot know it
    /// otherwise.
    fn names_the_rest(&self, ending: &Ending) -> bool {
        let is_failure = matches!(ending, Ending::Failed(..));
        is_failure && (self.delivery.given_up().is_some() || self.tally.done() > 0)
    }

    /// Counts as failed, by their names, what is not settled: the archive is searched for them. Whether any was named.
    async fn name_the_rest(&mut self, retrieve: &Retrieve, settled: &BTreeSet<Uid>) -> bool {
        let naming = named(&*self.archive, &self.caller, retrieve);
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

/// Waits for something, unless the client cancels: `None`.
///
/// # Errors
/// The client's association is over.
pub(super) async fn unless_cancelled<T>(
    client: &mut Client,
    wait: impl Future<Output = T>,
) -> Result<Option<T>, End> {
    let mut wait = pin!(wait);
    tokio::select! {
        biased;
        cancelled = client.cancelled() => cancelled.map(|()| None),
        done = &mut wait => Ok(Some(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::Fake;
    use crate::caller::Priority;
    use crate::dimse::command::field;

    #[tokio::test]
    async fn hazard_a_study_that_vanishes_before_its_rest_is_asked_for_has_not_come_well() {
        let request = Command::request(field::C_GET_RQ, "1.2", 1);
        let target = Target { study: "1.2.3".parse().unwrap(), series: None, instance: None };
        let retrieve = Retrieve::new(target, Form::AsStored);
        let uid = |n: usize| format!("1.2.3.{n}").parse::<Uid>().unwrap();
        for (settled, only, status, failed) in
            [(0, 0, 0x0000, 0), (1, 0, 0xB000, 0), (1, 1, 0x0000, 0), (1, 3, 0xB000, 2)]
        {
            let retrieve = Retrieve { only: (0..only).map(uid).collect(), ..retrieve.clone() };
            let mut work = SubOperations {
                archive: Fake::named("main"),
                caller: Caller { client: None, priority: Priority::Bulk, title: None },
                request: &request,
                context: 1,
                delivery: Delivery::OntoClient,
                tally: Tally::default(),
                later: 0,
            };
            let mut progress = Progress::default();
            for n in 0..settled {
                work.tally.expect(5);
                work.settle(&uid(n), Outcome::Completed, &mut progress);
            }
            let not_found = Err(Error::new("main", Kind::NotFound));
            let ending = match work.conclude(&retrieve, not_found, &mut progress).await {
                Flow::On => Ending::Whole,
                Flow::Over(ending) => ending,
            };
            let last = work.tally.last(ending);
            assert_eq!((last.status, last.failed.len()), (status, failed), "{settled} of {only} had come");
        }
    }
}
