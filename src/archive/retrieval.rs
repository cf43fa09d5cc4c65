//! The driver of a retrieval: it owns the lease, brings the objects by C-GET or C-MOVE, asks once more for
//! what is missing, and says how it ended. Readers hold cursors; when the reader leaves, it cancels.

mod moving;
mod named;
mod operation;
mod plan;
#[cfg(test)]
pub(crate) mod planted_panic;
mod work;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::collector::Collector;
use super::completeness::{Ledger, Scope, Verdict};
use super::dimse::config::ForeignUids;
use super::error::{Error, Kind};
use super::remote::Inner;
use super::{Complete, Expected, Feed, Form, Fut, Retrieval, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::Object;
use crate::dicom::query::{Level, Target};
use crate::dimse::pool::Contexts;
use crate::trace;
use work::Meter;

pub(super) use named::UIDS_PER_REQUEST;

/// How long a reader may take nothing before it is given up.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// Starts a retrieval; resolves with its first object, or with what went wrong before.
pub(super) fn start(
    inner: Arc<Inner>,
    caller: Caller,
    retrieve: Retrieve,
) -> Fut<'static, super::Result<Retrieval>> {
    Box::pin(async move {
        let mut announced = inner.failures().of(&retrieve, Instant::now());
        announced.retain(|uid| !retrieve.having.contains(uid));
        let missing: Vec<Uid> = announced.iter().cloned().collect();
        let only = retrieve.only.difference(&retrieve.having).cloned().collect();
        let taken_over = inner.take_over_patient(&retrieve);
        let (steps, receiver) = mpsc::channel(Collector::capacity());
        let gone = CancellationToken::new();
        let collector = Collector::new(
            retrieve.target.clone(),
            inner.config.foreign_uids,
            steps.clone(),
            Ledger::new(announced).limited_to(only),
            gone.clone(),
            READER_PATIENCE,
            inner.retrieve.clone(),
        );
        let mut objects = Feed::new(&inner.config.name, receiver, gone.clone().drop_guard());
        let (begin, span) = (Instant::now(), trace::retrieval(&inner.config.name));
        let coming = Arc::<OnceLock<Span>>::default();
        let told = Arc::<Mutex<Told>>::default();
        let expected = Expected::default();
        let driver = Arc::new(Driver {
            inner: Arc::clone(&inner),
            caller,
            retrieve,
            collector,
            stop: gone.child_token(),
            state: Mutex::default(),
            told: Arc::clone(&told),
            expected: expected.clone(),
            taken_over,
            _coming: Arc::clone(&coming),
        });
        let running = driver.run(steps).instrument(span.clone());
        #[cfg(test)]
        let running = planted_panic::planted(running);
        inner.tasks.spawn(running);
        match objects.next().instrument(trace::first_object(&span)).await {
            Step::End(Err(error)) => Err(error),
            first => {
                inner.figures.first_object(begin.elapsed());
                let _ = coming.set(trace::objects(&span));
                objects.put_back(first);
                let Told { confirmed, without_bulk } =
                    std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
                let assumed_charset = inner.assumed_charset();
                let without_bulk = without_bulk.unwrap_or(false);
                Ok(Retrieval { objects, missing, confirmed, assumed_charset, without_bulk, expected })
            }
        }
    })
}

struct Driver {
    inner: Arc<Inner>,
    caller: Caller,
    retrieve: Retrieve,
    collector: Arc<Collector>,
    /// Nothing more is to be asked: the reader has left, or an operation has failed for good.
    stop: CancellationToken,
    state: Mutex<State>,
    told: Arc<Mutex<Told>>,
    /// How many objects are going to come.
    expected: Expected,
    /// The Patient ID is the client's, and nothing has proved it yet.
    taken_over: bool,
    /// The span from the first object on, which ends with the driver.
    _coming: Arc<OnceLock<Span>>,
}

/// What is known when the first object comes. Apart from the driver: who waits for that object must not keep alive
/// what a driver that has died would close.
#[derive(Default)]
struct Told {
    confirmed: BTreeSet<Uid>,
    /// Objects are asked for without their bulk data. The first operation decides for all: readers have been told when
    /// the next begins, and would take what a later one leaves out for what the object does not have.
    without_bulk: Option<bool>,
}

/// What the operations of a retrieval leave for each other.
#[derive(Default)]
struct State {
    /// Series whose instances have not been listed yet.
    unlisted: Vec<Uid>,
    /// The last failure status of an operation.
    failure: Option<Error>,
    /// An operation has ended well, and what it asked for matched nothing.
    found_nothing: bool,
    /// One operation is to bring everything: its counters are the retrieval's.
    is_single: bool,
    meter: Meter,
}

/// What one operation is to bring.
struct Ask {
    level: Level,
    series: Option<Uid>,
    instances: Vec<Uid>,
    /// The contexts for a C-GET.
    contexts: Contexts,
}

impl Ask {
    fn scope(&self) -> Scope {
        match &self.series {
            _ if !self.instances.is_empty() => Scope::Instances(self.instances.iter().cloned().collect()),
            Some(series) if self.level == Level::Series => Scope::Series(series.clone()),
            _ => Scope::All,
        }
    }
}

impl Driver {
    async fn run(self: Arc<Self>, steps: mpsc::Sender<Step<Object>>) {
        let begin = Instant::now();
        let result = Box::pin(self.bring_all()).await;
        if self.taken_over && self.collector.ledger().count() == 0 {
            self.inner.knowledge.patients.forget(&self.retrieve.target.study);
        }
        self.inner.failures().have_come(self.retrieve.form, |uid| self.collector.ledger().has(uid));
        let (count, archive) = (self.collector.ledger().count(), &self.inner.config.name);
        let ms = begin.elapsed().as_millis() as u64;
        self.count_end(&result, begin.elapsed());
        match &result {
            Ok(_) => tracing::debug!(%archive, count, ms, "retrieval complete"),
            Err(Error { kind: Kind::Cancelled | Kind::NotFound, .. }) => {
                tracing::debug!(%archive, count, ms, "retrieval ended");
            }
            Err(error) => tracing::warn!(%archive, count, ms, %error, "retrieval failed"),
        }
        // A reader that was given up is still there, and may come to the end of what is queued for it: then it is to learn
        // why there is no more. When it leaves, nothing can be sent any more.
        let has_left = self.collector.gone().is_cancelled() && !self.collector.has_stalled();
        if !has_left {
            let _ = steps.send(Step::End(result)).await;
        }
    }

    /// Everything: the plan, the operations, what is missing once more, the verdict.
    async fn bring_all(self: &Arc<Self>) -> Result<Complete, Error> {
        if self.bring_presumed().await? {
            let verdict = self.verdict();
            return self.conclude(verdict).await;
        }
        let plan = self.plan().await?;
        if plan.parts.is_empty() {
            return self.conclude(Verdict::Complete).await;
        }
        let contexts = self.first_contexts(&plan);
        self.bring_parts(plan, contexts).await?;
        self.list_what_there_is().await?;
        if let Verdict::Missing { named, .. } = self.verdict()
            && !named.is_empty()
        {
            self.inner.figures.asked_again(named.len());
            self.collector.update(Ledger::settle);
            self.bring_named(named).await?;
        }
        let verdict = self.verdict();
        self.conclude(verdict).await
    }

    /// Asks for the one instance by the class that others of its series have, without a search before. `false`: it did
    /// not come. Perhaps it has another class, perhaps there is none: a search is to tell.
    async fn bring_presumed(self: &Arc<Self>) -> Result<bool, Error> {
        let Some(ask) = self.presume() else { return Ok(false) };
        let result = self.operate(&ask).await;
        let mut ledger = self.collector.ledger();
        match result {
            Err(error) if ledger.has_broken() || !matches!(error.kind, Kind::Status { .. }) => {
                return Err(error);
            }
            _ if ledger.count() > 0 => {
                let of_series = |uid: Uid| Some((uid, ask.series.clone()?));
                ledger.expect(ask.instances.into_iter().filter_map(of_series).collect());
                return Ok(true);
            }
            _ => {}
        }
        ledger.start_over();
        drop(ledger);
        self.state().failure = None;
        Ok(false)
    }

    /// What the ledger says after an operation. What is still outstanding then will not come any more.
    fn verdict(&self) -> Verdict {
        let ledger = self.collector.ledger();
        match ledger.verdict() {
            Verdict::Running | Verdict::Outstanding => {
                let named = ledger.missing();
                Verdict::Missing { unnamed: usize::from(named.is_empty()), named }
            }
            verdict => verdict,
        }
    }

    async fn conclude(&self, verdict: Verdict) -> Result<Complete, Error> {
        let (count, at_hand) = {
            let ledger = self.collector.ledger();
            (ledger.count(), !ledger.confirmed().is_empty())
        };
        let (named, unnamed) = match verdict {
            Verdict::Complete if at_hand => return Ok(self.complete()),
            // What failed before, or what the search names, is there: it only does not come.
            Verdict::Complete if count == 0 && self.collector.ledger().expects_any() => (Vec::new(), 1),
            Verdict::Complete if count == 0 => return Err(self.inner.error(Kind::NotFound)),
            Verdict::Complete => return Ok(self.complete()),
            Verdict::Conflict(instance) => return Err(self.inner.error(Kind::Conflict(instance))),
            Verdict::Missing { named, unnamed } => (named, unnamed),
            Verdict::Running | Verdict::Outstanding => (Vec::new(), 1),
        };
        // Where nothing comes there is nothing to answer 206 with.
        let is_limited = !self.retrieve.only.is_empty();
        // A name that the client gave may be one of nothing.
        if count > 0 && !is_limited {
            let ledger = self.collector.ledger();
            let (mut failures, now) = (self.inner.failures(), Instant::now());
            failures.remember(&self.retrieve, &named, ledger.expected(), now);
        }
        if count == 0 && self.retrieve.form == Form::Native && self.exists_compressed(&named).await {
            return Err(self.inner.error(Kind::NotAcceptable).advise("ask for it with transfer-syntax=*"));
        }
        if count == 0 && is_limited && unnamed == 0 && self.matches_nothing() {
            return Err(self.inner.error(Kind::NotFound));
        }
        self.inner.figures.missing(named.len() + unnamed);
        let incomplete = self.inner.error(Kind::Incomplete { missing: named.len() + unnamed, named });
        Err(self.state().failure.take().filter(|_| count == 0).unwrap_or(incomplete))
    }

    /// Whether the archive says, and nothing speaks against it, that it has nothing of what was named.
    fn matches_nothing(&self) -> bool {
        let state = self.state();
        state.found_nothing && state.failure.is_none() && !self.collector.ledger().has_failed()
    }

    /// Everything is here; how far the archive's lists are to be relied on shows now.
    fn complete(&self) -> Complete {
        if self.inner.config.foreign_uids == ForeignUids::Refuse {
            match self.collector.ledger().longest_list() {
                Some(Ok(longest)) => self.inner.knowledge.learn_whole_lists(longest),
                Some(Err(_)) => self.inner.knowledge.learn_short_lists(),
                None => {}
            }
        }
        Complete::mint()
    }

    /// Counts the retrieval by how it ended.
    fn count_end(&self, result: &Result<Complete, Error>, took: Duration) {
        let outcome = match result.as_ref().map_err(|error| &error.kind) {
            Ok(_) => "complete",
            Err(Kind::Incomplete { .. }) => "incomplete",
            Err(Kind::Cancelled | Kind::ReaderStalled) => "cancelled",
            Err(_) => "failed",
        };
        let (objects, bytes) = self.collector.ledger().volume();
        self.inner.figures.retrieved(outcome, took, objects, bytes);
        let span = Span::current();
        trace::outcome(&span, outcome, matches!(outcome, "incomplete" | "failed"));
        trace::brought(&span, objects, bytes);
    }

    /// Whether one of the missing objects can be had as it is stored: then nothing failed but the form.
    async fn exists_compressed(&self, missing: &[Uid]) -> bool {
        let target = {
            let (target, ledger) = (self.collector.target(), self.collector.ledger());
            let any = || ledger.expected().and_then(|all| all.keys().next());
            let Some(instance) = missing.first().or_else(any) else { return false };
            let series = ledger.expected().and_then(|all| all.get(instance).cloned());
            let series = series.or_else(|| target.series.clone());
            Target { study: target.study.clone(), series, instance: Some(instance.clone()) }
        };
        let retrieve = Retrieve::new(target, Form::AsStored);
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        // Its first bytes are enough; dropping it cancels the rest.
        matches!(self.unless_gone(start(inner, caller, retrieve)).await, Ok(Ok(_)))
    }

    /// Waits for something that holds no association that would have to be cancelled.
    async fn unless_gone<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(self.nobody_waits()),
            done = wait => Ok(done),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left of it tells no untruth: completeness is in the ledger.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nobody_waits(&self) -> Error {
        let stalled = self.collector.has_stalled();
        self.inner.error(if stalled { Kind::ReaderStalled } else { Kind::Cancelled })
    }
}

#[cfg(test)]
mod tests;
