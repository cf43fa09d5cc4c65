//! The driver of a retrieval: it owns the lease, brings the objects by C-GET or C-MOVE, asks once more for
//! what is missing, and says how it ended. Readers hold cursors; when the reader leaves, it cancels.

mod operation;
#[cfg(test)]
pub(crate) mod planted_panic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::collector::Collector;
use super::completeness::{Ledger, Verdict};
use super::contexts;
use super::error::{Error, Kind};
use super::remote::Inner;
use super::survey::{Access, Series};
use super::{Complete, Feed, Form, Fut, Retrieval, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::Object;
use crate::dicom::query::{Level, Target};
use crate::dimse::negotiation::Proposal;

/// How long a reader may take nothing before it is given up.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// Most UIDs in one request at instance level: the list stays far below the 64 KiB of a short element.
const UIDS_PER_REQUEST: usize = 64;

/// Starts a retrieval; resolves with its first object, or with what went wrong before.
pub(super) fn start(
    inner: Arc<Inner>,
    caller: Caller,
    retrieve: Retrieve,
) -> Fut<'static, super::Result<Retrieval>> {
    Box::pin(async move {
        let announced = inner.failures().of(&retrieve, Instant::now());
        let missing: Vec<Uid> = announced.iter().cloned().collect();
        let (steps, receiver) = mpsc::channel(Collector::capacity());
        let gone = CancellationToken::new();
        let collector = Collector::new(
            retrieve.target.clone(),
            inner.config.foreign_uids,
            steps.clone(),
            Ledger::new(announced),
            gone.clone(),
            READER_PATIENCE,
            inner.retrieve.clone(),
        );
        let mut objects = Feed::new(&inner.config.name, receiver, gone.drop_guard());
        let driver =
            Driver { inner: Arc::clone(&inner), caller, retrieve, collector, survey: None, failure: None };
        let running = driver.run(steps);
        #[cfg(test)]
        let running = planted_panic::planted(running);
        inner.tasks.spawn(running);
        match objects.next().await {
            Step::End(Err(error)) => Err(error),
            Step::End(Ok(_)) => Err(inner.error(Kind::NotFound)),
            first @ Step::Item(_) => {
                objects.put_back(first);
                let assumed_charset = inner.assumed_charset();
                let confirmed = BTreeSet::new();
                Ok(Retrieval { objects, missing, confirmed, assumed_charset, without_bulk: false })
            }
        }
    })
}

struct Driver {
    inner: Arc<Inner>,
    caller: Caller,
    retrieve: Retrieve,
    collector: Arc<Collector>,
    survey: Option<Survey>,
    /// The last failure status of an operation.
    failure: Option<Error>,
}

/// The search for what there is, in a task beside the operation.
struct Survey {
    task: AbortOnDropHandle<()>,
    /// Cancelled when no operation of this driver holds a lease: then the search may wait for one.
    may_wait: CancellationToken,
}

/// What is known before the operation.
#[derive(Default)]
struct Plan {
    series: Vec<Series>,
    /// The class of the one instance.
    class: Option<Uid>,
}

/// What one operation is to bring.
struct Ask {
    level: Level,
    series: Option<Uid>,
    instances: Vec<Uid>,
    /// The contexts for a C-GET.
    proposals: Vec<Proposal>,
}

impl Driver {
    async fn run(mut self, steps: mpsc::Sender<Step<Object>>) {
        let begin = Instant::now();
        let result = self.bring_all().await;
        self.inner.failures().have_come(self.retrieve.form, |uid| self.collector.ledger().has(uid));
        let (count, archive) = (self.collector.ledger().count(), &self.inner.config.name);
        let ms = begin.elapsed().as_millis() as u64;
        match &result {
            Ok(_) => tracing::debug!(%archive, count, ms, "retrieval complete"),
            Err(Error { kind: Kind::Cancelled | Kind::NotFound, .. }) => {
                tracing::debug!(%archive, count, ms, "retrieval ended");
            }
            Err(error) => tracing::warn!(%archive, count, ms, %error, "retrieval failed"),
        }
        let gone = self.collector.gone().clone();
        tokio::select! {
            _ = steps.send(Step::End(result)) => {}
            () = gone.cancelled() => {}
        }
    }

    /// Everything: the plan, the operations, what is missing once more, the verdict.
    async fn bring_all(&mut self) -> Result<Complete, Error> {
        let plan = self.plan().await?;
        let target = self.collector.target().clone();
        let proposals = self.first_proposals(&plan);
        // With one association in all, a search would wait for the whole study: it is left after each series.
        let by_series =
            self.inner.config.max_associations == 1 && target.series.is_none() && plan.series.len() > 1;
        let parts =
            if by_series { plan.series.iter().map(|s| Some(s.uid.clone())).collect() } else { vec![None] };
        for part in parts {
            let level = if part.is_some() { Level::Series } else { target.level() };
            let series = part.or_else(|| target.series.clone());
            let instances = target.instance.iter().cloned().collect();
            self.operate(Ask { level, series, instances, proposals: proposals.clone() }).await?;
        }
        if let Verdict::Missing { named, .. } = self.verdict()
            && !named.is_empty()
        {
            self.bring_missing(named).await?;
        }
        let verdict = self.verdict();
        self.conclude(verdict).await
    }

    /// Asks what has to be known before the operation: the series with their modalities, or the class of the
    /// one instance.
    async fn plan(&mut self) -> Result<Plan, Error> {
        let target = self.collector.target().clone();
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let plan = match (&target.series, &target.instance) {
            (Some(series), Some(instance)) => {
                let wanted = std::slice::from_ref(instance);
                let search = inner.instances_of(&caller, Access::Wait, &target.study, series, wanted, true);
                self.unless_gone(search).await?.and_then(|found| {
                    let found = found.unwrap_or_default();
                    let class = found.get(instance).ok_or_else(|| inner.error(Kind::NotFound))?.clone();
                    self.collector.update(|l| l.expect([(instance.clone(), series.clone())].into()));
                    Ok(Plan { series: Vec::new(), class })
                })
            }
            _ => self.unless_gone(inner.series_of(&caller, &target)).await?.and_then(|series| {
                if series.is_empty() {
                    return Err(inner.error(Kind::NotFound));
                }
                self.survey = Some(self.survey(series.iter().map(|s| s.uid.clone()).collect()));
                Ok(Plan { series, class: None })
            }),
        };
        match plan {
            // An archive that cannot search at this level is asked for the objects all the same.
            Err(Error { kind: Kind::Status { .. } | Kind::Unsupported(_), .. }) => Ok(Plan::default()),
            other => other,
        }
    }

    /// Looks up what each series holds, UIDs only, beside the operation.
    fn survey(&self, series: Vec<Uid>) -> Survey {
        let (inner, caller, collector) =
            (Arc::clone(&self.inner), self.caller.clone(), Arc::clone(&self.collector));
        let may_wait = CancellationToken::new();
        let patience = may_wait.clone();
        let task = tokio::spawn(async move {
            let study = &collector.target().study;
            match inner.survey(&caller, study, &series, &patience).await {
                Ok(instances) => collector.update(|ledger| ledger.expect(instances)),
                Err(error) => tracing::debug!(archive = inner.config.name, %error, "no list of instances"),
            }
        });
        Survey { task: AbortOnDropHandle::new(task), may_wait }
    }

    /// Waits for the survey; no operation of this driver may hold a lease now.
    async fn finish_survey(&mut self) -> Result<(), Error> {
        let Some(Survey { task, may_wait }) = self.survey.take() else { return Ok(()) };
        may_wait.cancel();
        self.unless_gone(task).await.map(drop)
    }

    fn first_proposals(&self, plan: &Plan) -> Vec<Proposal> {
        let (form, model) = (self.retrieve.form, self.inner.config.model);
        match &plan.class {
            Some(class) => contexts::of_class(form, class, model),
            None => {
                let modalities: BTreeSet<String> = plan.series.iter().map(|s| s.modality.clone()).collect();
                let modalities: Vec<String> = modalities.into_iter().collect();
                contexts::likely(form, &modalities, &self.inner.learnt(), model)
            }
        }
    }

    /// Asks once more, by name and with the contexts of their classes, for what did not come.
    async fn bring_missing(&mut self, named: Vec<Uid>) -> Result<(), Error> {
        let target = self.collector.target().clone();
        let mut by_series: BTreeMap<Uid, Vec<Uid>> = BTreeMap::new();
        for instance in named {
            let known = self.collector.ledger().expected().and_then(|all| all.get(&instance).cloned());
            // Without its series an instance cannot be asked for (PS3.4 C.4.2.2.1, hierarchical).
            if let Some(series) = known.or_else(|| target.series.clone()) {
                by_series.entry(series).or_default().push(instance);
            }
        }
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        for (series, instances) in by_series {
            for instances in instances.chunks(UIDS_PER_REQUEST) {
                let search =
                    inner.instances_of(&caller, Access::Wait, &target.study, &series, instances, true);
                let classes = self.unless_gone(search).await?.ok().flatten().unwrap_or_default();
                for (instances, proposals) in self.batches(instances, &classes) {
                    let series = Some(series.clone());
                    self.operate(Ask { level: Level::Instance, series, instances, proposals }).await?;
                    if self.collector.ledger().count() == 0 && self.moves_in_vain() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the archive's last word to a C-MOVE was a failure. With nothing here at all it does not reach us,
    /// and would not with any further part.
    fn moves_in_vain(&self) -> bool {
        let failed = self.failure.as_ref().map(|error| &error.kind);
        matches!(failed, Some(Kind::Status { operation: "C-MOVE", .. }))
    }

    /// Instances by the contexts that they need. Those of unknown class try the likely ones.
    fn batches(
        &self,
        instances: &[Uid],
        classes: &BTreeMap<Uid, Option<Uid>>,
    ) -> Vec<(Vec<Uid>, Vec<Proposal>)> {
        let (form, model) = (self.retrieve.form, self.inner.config.model);
        let class_of = |uid: &Uid| classes.get(uid).cloned().flatten();
        let known: BTreeSet<Uid> = instances.iter().filter_map(class_of).collect();
        let known: Vec<Uid> = known.into_iter().collect();
        let mut batches = Vec::new();
        for proposals in contexts::exhaustive(form, &known, model) {
            let fits = |class: &Uid| proposals.iter().any(|p| p.as_scp && p.abstract_syntax == *class);
            let wanted = instances.iter().filter(|uid| class_of(uid).is_some_and(|class| fits(&class)));
            batches.push((wanted.cloned().collect::<Vec<_>>(), proposals.clone()));
        }
        let unknown: Vec<Uid> = instances.iter().filter(|uid| class_of(uid).is_none()).cloned().collect();
        batches.push((unknown, contexts::likely(form, &[], &self.inner.learnt(), model)));
        batches.retain(|(instances, _)| !instances.is_empty());
        batches
    }

    /// What the ledger says after an operation. What is still outstanding then will not come any more.
    fn verdict(&self) -> Verdict {
        let ledger = self.collector.ledger();
        match ledger.verdict(false) {
            Verdict::Running | Verdict::Outstanding => {
                let named = ledger.missing();
                Verdict::Missing { unnamed: usize::from(named.is_empty()), named }
            }
            verdict => verdict,
        }
    }

    async fn conclude(&mut self, verdict: Verdict) -> Result<Complete, Error> {
        let count = self.collector.ledger().count();
        let (named, unnamed) = match verdict {
            // What failed before, or what the search names, is there: it only does not come.
            Verdict::Complete if count == 0 && self.collector.ledger().expects_any() => (Vec::new(), 1),
            Verdict::Complete if count == 0 => return Err(self.inner.error(Kind::NotFound)),
            Verdict::Complete => return Ok(Complete::mint()),
            Verdict::Conflict(_) => {
                let what = "it sent two different objects under one SOP Instance UID";
                return Err(self.inner.error(Kind::Protocol(what.into())));
            }
            Verdict::Missing { named, unnamed } => (named, unnamed),
            Verdict::Running | Verdict::Outstanding => (Vec::new(), 1),
        };
        // Where nothing comes there is nothing to answer 206 with.
        if count > 0 {
            let ledger = self.collector.ledger();
            let (mut failures, now) = (self.inner.failures(), Instant::now());
            failures.remember(&self.retrieve, &named, ledger.expected(), now);
        }
        if count == 0 && self.retrieve.form == Form::Native && self.exists_compressed(&named).await {
            return Err(self.inner.error(Kind::NotAcceptable).advise("ask for it with transfer-syntax=*"));
        }
        let incomplete = self.inner.error(Kind::Incomplete { missing: named.len() + unnamed });
        Err(self.failure.take().filter(|_| count == 0).unwrap_or(incomplete))
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
            () = self.collector.gone().cancelled() => Err(self.nobody_waits()),
            done = wait => Ok(done),
        }
    }

    fn nobody_waits(&self) -> Error {
        let stalled = self.collector.has_stalled();
        self.inner.error(if stalled { Kind::ReaderStalled } else { Kind::Cancelled })
    }
}

#[cfg(test)]
mod tests;
