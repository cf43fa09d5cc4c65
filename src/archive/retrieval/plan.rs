//! What has to be known before the first operation of a retrieval, and what operations there will be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::contexts;
use super::super::error::{Error, Kind};
use super::super::survey::{Access, Series};
use super::Driver;
use crate::dicom::Uid;
use crate::dicom::query::Level;
use crate::dimse::negotiation::Proposal;

/// What a retrieval is going to ask for. Empty where everything is at hand.
#[derive(Debug, Default)]
pub(super) struct Plan {
    series: Vec<Series>,
    /// The class of the one instance.
    class: Option<Uid>,
    /// Operations that bring all there is.
    pub(super) parts: Vec<Part>,
    /// Objects that are asked for by name.
    pub(super) named: Vec<Uid>,
}

/// All of an entity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) level: Level,
    pub(super) series: Option<Uid>,
}

/// The search for what there is, in a task beside the operation.
pub(super) struct Survey {
    task: AbortOnDropHandle<()>,
    /// Cancelled when no operation of this driver holds a lease: then the search may wait for one.
    may_wait: CancellationToken,
}

impl Driver {
    /// Asks what has to be known before the operation: the series with their modalities, or the class of the
    /// one instance; and where some of it is at hand, what there is.
    pub(super) async fn plan(&mut self) -> Result<Plan, Error> {
        let target = self.collector.target().clone();
        let plan = match (&target.series, &target.instance) {
            (Some(series), Some(instance)) => self.plan_instance(series, instance).await,
            _ => self.plan_series().await,
        };
        match plan {
            // An archive that cannot search at this level is asked for the objects all the same.
            Err(Error { kind: Kind::Status { .. } | Kind::Unsupported(_), .. }) => {
                Ok(Plan { parts: vec![self.everything()], ..Plan::default() })
            }
            other => other,
        }
    }

    async fn plan_instance(&self, series: &Uid, instance: &Uid) -> Result<Plan, Error> {
        let (inner, study) = (&self.inner, &self.collector.target().study);
        let wanted = std::slice::from_ref(instance);
        let search = inner.instances_of(&self.caller, Access::Wait, study, series, wanted, true);
        let found = self.unless_gone(search).await??.unwrap_or_default();
        let class = found.get(instance).ok_or_else(|| inner.error(Kind::NotFound))?.clone();
        let at_hand = self.retrieve.having.contains(instance);
        self.collector.update(|ledger| {
            ledger.expect([(instance.clone(), series.clone())].into());
            ledger.confirm(at_hand.then(|| instance.clone()).into_iter().collect());
        });
        let parts = if at_hand { Vec::new() } else { vec![self.everything()] };
        Ok(Plan { class, parts, ..Plan::default() })
    }

    async fn plan_series(&mut self) -> Result<Plan, Error> {
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let target = self.collector.target().clone();
        let some_at_hand = !self.retrieve.having.is_empty();
        let series = self.unless_gone(inner.series_of(&caller, &target, some_at_hand)).await??;
        if series.is_empty() {
            return Err(inner.error(Kind::NotFound));
        }
        let uids: Vec<Uid> = series.iter().map(|s| s.uid.clone()).collect();
        if some_at_hand && let Some((parts, named)) = self.plan_rest(&series).await? {
            return Ok(Plan { series, parts, named, class: None });
        }
        // With one association in all, a search would wait for the whole study: it is left after each series.
        let by_series = inner.config.max_associations == 1 && uids.len() > 1;
        let part = |uid: &Uid| Part { level: Level::Series, series: Some(uid.clone()) };
        let parts = if by_series { uids.iter().map(part).collect() } else { vec![self.everything()] };
        self.survey = Some(self.survey(uids));
        Ok(Plan { series, parts, ..Plan::default() })
    }

    /// The whole target at once.
    fn everything(&self) -> Part {
        let target = self.collector.target();
        Part { level: target.level(), series: target.series.clone() }
    }

    /// Asks what there is, and takes what is at hand off it. `None`: the archive cannot tell.
    async fn plan_rest(&self, series: &[Series]) -> Result<Option<(Vec<Part>, Vec<Uid>)>, Error> {
        let (inner, target) = (&self.inner, self.collector.target());
        let uids: Vec<Uid> = series.iter().map(|s| s.uid.clone()).collect();
        // Nothing is held yet, so that it may wait at once.
        let may_wait = CancellationToken::new();
        may_wait.cancel();
        let listed =
            match self.unless_gone(inner.survey(&self.caller, &target.study, &uids, &may_wait)).await? {
                Ok(listed) => listed,
                Err(error) => {
                    tracing::debug!(archive = inner.config.name, %error, "no list of instances");
                    return Ok(None);
                }
            };
        let having = &self.retrieve.having;
        let confirmed: BTreeSet<Uid> =
            having.iter().filter(|uid| listed.contains_key(*uid)).cloned().collect();
        let mut known: BTreeMap<&Uid, usize> = BTreeMap::new();
        listed.values().for_each(|series| *known.entry(series).or_default() += 1);
        // A list may be short: some archives cap their answers without a word. It is taken for all there is only
        // where nothing speaks against it.
        let lists_are_whole = !inner.knowledge.has_short_lists();
        let is_whole = |s: &Series| {
            let listed = known.get(&s.uid).copied().unwrap_or(0);
            lists_are_whole && s.count.map_or(confirmed.len() == having.len(), |count| count == listed)
        };
        self.collector.update(|ledger| {
            ledger.expect(listed.clone());
            ledger.confirm(confirmed.clone());
        });
        let mut rest: BTreeMap<&Uid, Vec<Uid>> = BTreeMap::new();
        for uid in self.collector.ledger().missing() {
            if let Some(series) = listed.get(&uid) {
                rest.entry(series).or_default().push(uid);
            }
        }
        let (mut parts, mut named) = (Vec::new(), Vec::new());
        for s in series {
            let missing = rest.remove(&s.uid).unwrap_or_default();
            let all = known.get(&s.uid).copied().unwrap_or(0);
            // Where most is missing, what comes besides is cheaper than naming each.
            if !is_whole(s) || missing.len() * 2 > all {
                parts.push(Part { level: Level::Series, series: Some(s.uid.clone()) });
            } else {
                named.extend(missing);
            }
        }
        if parts.len() == series.len() && inner.config.max_associations > 1 {
            parts = vec![self.everything()];
        }
        Ok(Some((parts, named)))
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
    pub(super) async fn finish_survey(&mut self) -> Result<(), Error> {
        let Some(Survey { task, may_wait }) = self.survey.take() else { return Ok(()) };
        may_wait.cancel();
        self.unless_gone(task).await.map(drop)
    }

    /// The contexts for a first C-GET.
    pub(super) fn first_proposals(&self, plan: &Plan) -> Vec<Proposal> {
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
}
