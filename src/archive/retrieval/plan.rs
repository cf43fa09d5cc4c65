//! What has to be known before the first operation of a retrieval, and what operations there will be.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Form;
use super::super::contexts;
use super::super::error::{Error, Kind};
use super::super::survey::Series;
use super::{Ask, Driver, UIDS_PER_REQUEST};
use crate::dicom::Uid;
use crate::dicom::query::{Level, Target};
use crate::dimse::pool::Contexts;

/// Fewest objects that are worth several associations, or turns with others.
const WORTH_CUTTING: usize = 24;

/// What a retrieval is going to ask for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    series: Vec<Series>,
    /// The class of the one instance.
    class: Option<Uid>,
    /// The operations; none where everything is at hand.
    pub(super) parts: Vec<Part>,
    /// How many associations may bring them at once.
    pub(super) lanes: usize,
}

/// What one operation brings: all of an entity, or some instances of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) level: Level,
    pub(super) series: Option<Uid>,
    /// Of [`Level::Instance`]; else none.
    pub(super) instances: Vec<Uid>,
}

impl Part {
    /// All of a series.
    pub(super) fn of_series(series: &Uid) -> Self {
        Self { level: Level::Series, series: Some(series.clone()), instances: Vec::new() }
    }
}

/// How a retrieval is cut into operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Associations at once.
    lanes: usize,
    /// Others want the association too: between two operations they have their turn.
    in_turns: bool,
}

impl Driver {
    /// Asks what has to be known before the operation: the series with their modalities, or the class of the
    /// one instance; and where some of it is at hand, what there is.
    pub(super) async fn plan(&self) -> Result<Plan, Error> {
        let target = self.collector.target().clone();
        if let (false, Some(series)) = (self.retrieve.only.is_empty(), &target.series) {
            return self.plan_only(series).await;
        }
        let plan = match (&target.series, &target.instance) {
            (Some(series), Some(instance)) => self.plan_instance(series, instance).await,
            _ => self.plan_series().await,
        };
        match plan {
            // An archive that cannot search at this level is asked for the objects all the same.
            Err(Error { kind: Kind::Status { .. } | Kind::Unsupported(_), .. }) => {
                Ok(Plan { parts: vec![self.everything()], lanes: 1, ..Plan::default() })
            }
            other => other,
        }
    }

    /// What would bring the one instance, if it has the class of those that came of its series before.
    pub(super) fn presume(&self) -> Option<Ask> {
        let Target { series, instance, .. } = self.collector.target();
        let series = series.as_ref().filter(|_| instance.is_some())?;
        // By C-MOVE, only what the archive is known to have is waited for.
        if !self.inner.tries_get() || !self.retrieve.having.is_empty() {
            return None;
        }
        let class = self.inner.knowledge.classes.of(series)?;
        self.expected.tell(1);
        let contexts =
            contexts::of_class(self.retrieve.form, &class, &self.inner.learnt(), self.inner.terms());
        let Part { level, series, instances } = self.everything();
        Some(Ask { level, series, instances, contexts })
    }

    async fn plan_instance(&self, series: &Uid, instance: &Uid) -> Result<Plan, Error> {
        let (inner, study) = (&self.inner, &self.collector.target().study);
        let wanted = std::slice::from_ref(instance);
        let search = inner.instances_of(&self.caller, study, series, wanted, true);
        let found = self.unless_gone(search).await??;
        let class = found.get(instance).ok_or_else(|| inner.error(Kind::NotFound))?.clone();
        let at_hand = self.retrieve.having.contains(instance);
        let confirmed: BTreeSet<Uid> = at_hand.then(|| instance.clone()).into_iter().collect();
        self.told().confirmed = confirmed.clone();
        self.collector.update(|ledger| {
            ledger.expect([(instance.clone(), series.clone())].into());
            ledger.confirm(confirmed);
        });
        self.expected.tell(usize::from(!at_hand));
        let parts = if at_hand { Vec::new() } else { vec![self.everything()] };
        Ok(Plan { class, parts, lanes: 1, series: Vec::new() })
    }

    /// Some instances of a series, as the client names them. Only where nobody knows their class is the series asked
    /// for, as its modality tells what contexts are likely.
    async fn plan_only(&self, series: &Uid) -> Result<Plan, Error> {
        let (inner, target) = (&self.inner, self.collector.target());
        let wanted: Vec<Uid> = self.retrieve.only.difference(&self.retrieve.having).cloned().collect();
        let class = inner.knowledge.classes.of(series);
        let mut found = Vec::new();
        if class.is_none() {
            found = match self.unless_gone(inner.series_of(&self.caller, target)).await? {
                Ok(found) if found.is_empty() => return Err(inner.error(Kind::NotFound)),
                Ok(found) => found,
                Err(Error { kind: Kind::Status { .. } | Kind::Unsupported(_), .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
        }
        self.expected.tell(wanted.len());
        let expected = wanted.iter().map(|uid| (uid.clone(), series.clone())).collect();
        self.collector.update(|ledger| ledger.expect(expected));
        let most = if inner.knowledge.takes_lists_of_uids() { UIDS_PER_REQUEST } else { 1 };
        let part = |instances: &[Uid]| Part {
            level: Level::Instance,
            series: Some(series.clone()),
            instances: instances.to_vec(),
        };
        let parts = wanted.chunks(most).map(part).collect();
        Ok(Plan { series: found, class, parts, lanes: 1 })
    }

    async fn plan_series(&self) -> Result<Plan, Error> {
        let (inner, target) = (&self.inner, self.collector.target());
        let series = self.unless_gone(inner.series_of(&self.caller, target)).await??;
        if series.is_empty() {
            return Err(inner.error(Kind::NotFound));
        }
        let uids: Vec<Uid> = series.iter().map(|s| s.uid.clone()).collect();
        let cut = self.cut(&series);
        if (!self.retrieve.having.is_empty() || cut.lanes > 1 || cut.in_turns || self.omits_bulk_data())
            && let Some(parts) = self.plan_listed(&series, cut).await?
        {
            return Ok(Plan { series, parts, lanes: cut.lanes, class: None });
        }
        // With one association in all, a search would wait for the whole study: it is left after each series.
        let by_series = inner.config.max_associations == 1 && uids.len() > 1;
        let parts =
            if by_series { uids.iter().map(Part::of_series).collect() } else { vec![self.everything()] };
        if let Some(told) = series.iter().map(|s| s.count).sum() {
            self.collector.ledger().tell(told);
            self.expected.tell(told.saturating_sub(self.retrieve.having.len()));
        }
        self.state().unlisted = uids;
        Ok(Plan { series, parts, lanes: 1, class: None })
    }

    /// Whether the objects are to come without bulk data, and can: instances are asked for by name then.
    pub(super) fn omits_bulk_data(&self) -> bool {
        self.retrieve.form == Form::WithoutBulkData && self.inner.omits_bulk_data()
    }

    /// The whole target at once.
    fn everything(&self) -> Part {
        let target = self.collector.target();
        let instances = target.instance.iter().cloned().collect();
        Part { level: target.level(), series: target.series.clone(), instances }
    }

    /// Whether it is worth while to know beforehand what there is, and to bring it piece by piece.
    fn cut(&self, series: &[Series]) -> Cut {
        let inner = &self.inner;
        // Where the archive does not tell, it is taken for worth it: the list will show.
        let told: Option<usize> = series.iter().map(|s| s.count).sum();
        if told.is_some_and(|told| told < WORTH_CUTTING) {
            return Cut { lanes: 1, in_turns: false };
        }
        let round_trip = inner.retrieve.round_trip().or_else(|| inner.query.round_trip());
        let most = inner.config.max_associations.saturating_sub(1);
        let lanes = if inner.tries_get() { inner.pace.lanes(round_trip, most) } else { 1 };
        Cut { lanes, in_turns: inner.config.max_associations == 1 || inner.retrieve.is_contended() }
    }

    /// Asks what there is, takes what is at hand off it, and cuts the rest into operations. `None`: the archive
    /// cannot tell.
    async fn plan_listed(&self, series: &[Series], cut: Cut) -> Result<Option<Vec<Part>>, Error> {
        let (inner, target) = (&self.inner, self.collector.target());
        let uids: Vec<Uid> = series.iter().map(|s| s.uid.clone()).collect();
        let search = inner.survey(&self.caller, &target.study, &uids);
        let listed = match self.unless_gone(search).await? {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(archive = inner.config.name, %error, "no list of instances");
                return Ok(None);
            }
        };
        let having = &self.retrieve.having;
        let at_hand: BTreeSet<Uid> = having.iter().filter(|uid| listed.contains_key(*uid)).cloned().collect();
        self.told().confirmed = at_hand.clone();
        let mut lengths: BTreeMap<&Uid, usize> = BTreeMap::new();
        listed.values().for_each(|series| *lengths.entry(series).or_default() += 1);
        let missing = {
            let mut ledger = self.collector.ledger();
            ledger.expect(listed.clone());
            ledger.confirm(at_hand);
            ledger.missing()
        };
        self.expected.tell(missing.len());
        let cuts = (cut.lanes > 1 || cut.in_turns) && missing.len() >= WORTH_CUTTING;
        let mut sizes = self.inner.pace.sizes(missing.len(), if cuts { cut.lanes } else { 0 });
        let mut rest: BTreeMap<&Uid, Vec<Uid>> = BTreeMap::new();
        for uid in missing {
            if let Some(series) = listed.get(&uid) {
                rest.entry(series).or_default().push(uid);
            }
        }
        let mut parts = Vec::new();
        for s in series {
            let missing = rest.remove(&s.uid).unwrap_or_default();
            let length = lengths.get(&s.uid).copied().unwrap_or(0);
            let is_whole = inner.knowledge.is_whole_list(length, s.count);
            // Where most is missing, what comes besides costs less than naming each.
            let at_once = missing.len() * 2 > length
                && !(cuts && missing.len() > sizes.typical())
                && !self.omits_bulk_data();
            if !is_whole || at_once || !inner.knowledge.takes_lists_of_uids() && !missing.is_empty() {
                parts.push(Part::of_series(&s.uid));
                continue;
            }
            let mut left = missing.as_slice();
            while !left.is_empty() {
                let (instances, others) = left.split_at(sizes.next().min(left.len()));
                let (series, instances) = (Some(s.uid.clone()), instances.to_vec());
                parts.push(Part { level: Level::Instance, series, instances });
                left = others;
            }
        }
        if !cuts && parts.len() == series.len() && parts.iter().all(|part| part.level == Level::Series) {
            parts = vec![self.everything()];
        }
        Ok(Some(parts))
    }

    /// Looks up what each series holds, UIDs only, unless that is known or says nothing new: where as many objects have
    /// come as the archive's series told, and it counts as many, the list costs it up to a tenth of what they did. No
    /// operation of this driver may hold a lease now.
    pub(super) async fn list_what_there_is(&self) -> Result<(), Error> {
        let unlisted = std::mem::take(&mut self.state().unlisted);
        if unlisted.is_empty() || self.collector.ledger().is_as_told() {
            return Ok(());
        }
        let study = &self.collector.target().study;
        match self.unless_gone(self.inner.survey(&self.caller, study, &unlisted)).await? {
            Ok(instances) => {
                self.expected.tell(instances.len());
                self.collector.update(|ledger| ledger.expect(instances));
            }
            Err(error) => {
                tracing::debug!(archive = self.inner.config.name, %error, "no list of instances");
            }
        }
        Ok(())
    }

    /// The contexts for a first C-GET.
    pub(super) fn first_contexts(&self, plan: &Plan) -> Contexts {
        let (form, terms, learnt) = (self.retrieve.form, self.inner.terms(), self.inner.learnt());
        match &plan.class {
            Some(class) => contexts::of_class(form, class, &learnt, terms),
            None => {
                let modalities: BTreeSet<String> = plan.series.iter().map(|s| s.modality.clone()).collect();
                let modalities: Vec<String> = modalities.into_iter().collect();
                contexts::likely(form, &modalities, &learnt, terms)
            }
        }
    }
}
