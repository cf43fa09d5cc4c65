//! The operations of a retrieval that are still to be run, and the associations that share them: one as a rule, more
//! where the archive is far away or slow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::super::error::Error;
use super::operation::Attempt;
use super::plan::{Part, Plan};
use super::{Ask, Driver};
use crate::dicom::query::Level;
use crate::dimse::pool::Contexts;

/// The operations that wait, and how the associations fare.
struct Work {
    parts: Mutex<VecDeque<Part>>,
    contexts: Contexts,
    /// Why the retrieval cannot be saved, and whether one more association has failed.
    failure: Mutex<(Option<Error>, bool)>,
}

/// How many objects came in what time, by the number of associations that brought them.
#[derive(Debug)]
pub(super) struct Meter {
    lanes: usize,
    since: Instant,
    objects: usize,
    samples: BTreeMap<usize, (usize, Duration)>,
}

impl Driver {
    /// Runs the operations of the plan.
    pub(super) async fn bring_parts(self: &Arc<Self>, plan: Plan, contexts: Contexts) -> Result<(), Error> {
        let most = plan.lanes;
        {
            let mut state = self.state();
            (state.meter, state.is_single) = (Meter::default(), plan.parts.len() == 1);
        }
        let parts = Mutex::new(plan.parts.into());
        let work = Arc::new(Work { parts, contexts, failure: Mutex::default() });
        let mut further = JoinSet::new();
        // How many are known to pay; each beyond has to show it.
        let mut allowed = self.inner.pace.proven_lanes().max(1);
        loop {
            while let Some(ended) = further.try_join_next() {
                go_on_panicking(ended);
            }
            let Some(part) = work.take() else {
                match further.join_next().await {
                    Some(ended) => go_on_panicking(ended),
                    None => break,
                }
                continue;
            };
            while further.len() + 1 < allowed.min(most) && work.is_worth_one_more(further.len()) {
                further.spawn(Arc::clone(self).further_lane(Arc::clone(&work)).in_current_span());
            }
            if let Err(error) = self.operate(&work.ask(part)).await {
                self.stop.cancel();
                while let Some(ended) = further.join_next().await {
                    go_on_panicking(ended);
                }
                return Err(work.failure().0.take().unwrap_or(error));
            }
            allowed += 1;
            if !self.inner.knowledge.takes_lists_of_uids() {
                match self.retrieve.only.is_empty() {
                    true => work.ask_by_series(),
                    false => work.ask_one_by_one(),
                }
            }
        }
        self.state().is_single = false;
        let failure = work.failure().0.take();
        let samples = self.state().meter.read();
        // A slow reader makes all associations equally slow.
        if !self.collector.was_held_up() {
            self.inner.pace.learn_lanes(&samples);
        }
        failure.map_or(Ok(()), Err)
    }

    /// One more association that takes operations, as long as there are some and nobody else wants it. It never
    /// waits for one: who holds one must not.
    async fn further_lane(self: Arc<Self>, work: Arc<Work>) {
        let inner = &self.inner;
        loop {
            let limits = inner.limits();
            let contexts = inner.offered(&self.caller, &work.contexts);
            let lease = inner.retrieve.try_lane(&self.caller, &contexts, limits.deadline);
            let lease = match self.unless_gone(lease).await {
                Ok(Ok(Some(lease))) => lease,
                Ok(Ok(None)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::debug!(archive = inner.config.name, %error, "no further association");
                    return work.failure().1 = true;
                }
            };
            let Some(part) = work.take() else { return lease.give_back() };
            let ask = work.ask(part.clone());
            let _counted = Counted::new(&self);
            let attempt = self.get(&ask, lease, limits).await;
            let error = match attempt {
                Ok(Attempt::Ended(_)) => continue,
                Ok(Attempt::Stale | Attempt::Refused(_)) => None,
                Err(error) => Some(error),
            };
            let mut failure = work.failure();
            failure.1 = true;
            // An object that broke off cannot be brought again: its reader has seen it.
            if self.collector.ledger().has_broken() {
                failure.0 = failure.0.take().or(error);
                self.stop.cancel();
            }
            drop(failure);
            return work.put_back(part, |uid| self.collector.ledger().has(uid));
        }
    }
}

impl Work {
    fn take(&self) -> Option<Part> {
        self.parts().pop_front()
    }

    /// What an association could not bring goes to the others, without what has come.
    fn put_back(&self, mut part: Part, has: impl Fn(&crate::dicom::Uid) -> bool) {
        if part.level == Level::Instance {
            part.instances.retain(|uid| !has(uid));
            if part.instances.is_empty() {
                return;
            }
        }
        self.parts().push_front(part);
    }

    fn is_worth_one_more(&self, further: usize) -> bool {
        !self.failure().1 && self.parts().len() > further
    }

    /// The archive does not know lists of UIDs: what is left is asked for by series.
    fn ask_by_series(&self) {
        let mut parts = self.parts();
        let mut whole: VecDeque<Part> = VecDeque::new();
        for part in parts.drain(..) {
            let part = match &part.series {
                Some(series) if part.instances.len() > 1 => Part::of_series(series),
                _ => part,
            };
            if !whole.contains(&part) {
                whole.push_back(part);
            }
        }
        *parts = whole;
    }

    /// The same, where a whole series would be too much.
    fn ask_one_by_one(&self) {
        let mut parts = self.parts();
        let one = |part: &Part, uid| Part { instances: vec![uid], ..part.clone() };
        let singles = parts.drain(..).flat_map(|part| {
            let uids = part.instances.clone();
            uids.into_iter().map(move |uid| one(&part, uid)).collect::<Vec<_>>()
        });
        let singles: VecDeque<Part> = singles.collect();
        *parts = singles;
    }

    fn ask(&self, part: Part) -> Ask {
        let Part { level, series, instances } = part;
        Ask { level, series, instances, contexts: self.contexts.clone() }
    }

    fn parts(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, (Option<Error>, bool)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an association as one that brings objects, as long as it lives.
struct Counted<'a>(&'a Driver);

impl<'a> Counted<'a> {
    fn new(driver: &'a Driver) -> Self {
        driver.state().meter.change(1);
        Self(driver)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.state().meter.change(-1);
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self { lanes: 1, since: Instant::now(), objects: 0, samples: BTreeMap::new() }
    }
}

impl Meter {
    /// An object has come.
    pub(super) fn object(&mut self) {
        self.objects += 1;
    }

    fn change(&mut self, by: isize) {
        let now = Instant::now();
        let sample = self.samples.entry(self.lanes).or_default();
        sample.0 += self.objects;
        sample.1 += now - self.since;
        (self.objects, self.since) = (0, now);
        self.lanes = self.lanes.saturating_add_signed(by);
    }

    fn read(&mut self) -> BTreeMap<usize, (usize, Duration)> {
        self.change(0);
        std::mem::take(&mut self.samples)
    }
}

/// A panic of a task is one of its retrieval.
fn go_on_panicking(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
