//! Matches of several searches, one behind the other, without those that the client may not see.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::{patient_of, searched_study};
use crate::archive::{Archive, Complete, Feed, Fut, Result, Search, Step, Steps};
use crate::caller::{Caller, Restriction};
use crate::dicom::dataset::DataSet;
use crate::dicom::matching::{Criterion, Verdict};
use crate::dicom::query::Query;
use crate::dicom::{Uid, tags};

type Opening = Pin<Box<dyn Future<Output = Result<Search>> + Send>>;

/// What a match has to be to be seen.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) restriction: Arc<Restriction>,
    /// What the client said of Patient ID, which the search says otherwise.
    pub(super) asked: Vec<Criterion>,
    /// The matches are studies, and say whose they are.
    pub(super) is_study: bool,
}

impl Filter {
    /// Whether a match may be seen. `asked`: the study that was searched in.
    fn admits(&self, found: &DataSet, asked: Option<&Uid>) -> bool {
        let study = found.uid(tags::STUDY_INSTANCE_UID);
        // An archive may leave out what the search fixes, and may not have understood it.
        let study = match (study, asked) {
            (Some(study), Some(asked)) if study != *asked => return false,
            (Some(study), _) => study,
            (None, Some(asked)) => asked.clone(),
            (None, None) => return false,
        };
        if !self.restriction.has_study(&study) {
            return false;
        }
        if !self.is_study {
            return true;
        }
        self.restriction.has_patient(patient_of(found))
            && self.asked.iter().all(|criterion| criterion.judge(found) > Verdict::Differs)
    }
}

/// The matches of several searches.
pub(super) struct Matches {
    archive: Arc<dyn Archive>,
    caller: Caller,
    filter: Filter,
    current: Feed<Arc<DataSet>>,
    /// The study that the current search is in, where it is one.
    study: Option<Uid>,
    rest: VecDeque<Query>,
    /// The next search begins.
    opening: Option<Opening>,
}

impl Matches {
    /// The matches of `current`, a search in `study`, and of the searches `rest`.
    pub(super) fn new(
        archive: Arc<dyn Archive>,
        caller: Caller,
        current: Feed<Arc<DataSet>>,
        study: Option<Uid>,
        rest: VecDeque<Query>,
        filter: Filter,
    ) -> Self {
        Self { archive, caller, filter, current, study, rest, opening: None }
    }

    /// Takes a step of the current search; `None`: it is none for the client.
    fn take(&mut self, step: Step<Arc<DataSet>>) -> Option<Step<Arc<DataSet>>> {
        match step {
            Step::Item(found) => self.filter.admits(&found, self.study.as_ref()).then_some(Step::Item(found)),
            Step::End(Ok(complete)) => {
                let Some(query) = self.rest.pop_front() else { return Some(Step::End(Ok(complete))) };
                self.study = searched_study(&query);
                let (archive, caller) = (Arc::clone(&self.archive), self.caller.clone());
                self.opening = Some(Box::pin(async move { archive.search(&caller, query).await }));
                None
            }
            end @ Step::End(Err(_)) => {
                self.rest.clear();
                Some(end)
            }
        }
    }
}

impl Steps<Arc<DataSet>> for Matches {
    fn ready(&mut self) -> Option<Step<Arc<DataSet>>> {
        while self.opening.is_none() {
            let step = self.current.ready()?;
            if let Some(step) = self.take(step) {
                return Some(step);
            }
        }
        None
    }

    fn next(&mut self) -> Fut<'_, Step<Arc<DataSet>>> {
        // What is under way stays in `self`: a call that is dropped has taken nothing.
        Box::pin(async move {
            loop {
                if let Some(opening) = &mut self.opening {
                    let opened = opening.as_mut().await;
                    self.opening = None;
                    match opened {
                        Ok(search) => self.current = search.matches,
                        Err(error) => {
                            self.rest.clear();
                            return Step::End(Err(error));
                        }
                    }
                }
                let step = self.current.next().await;
                if let Some(step) = self.take(step) {
                    return step;
                }
            }
        })
    }
}

impl fmt::Debug for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matches").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}

/// No matches: nothing that was asked for may be seen, and the archive is not asked.
#[derive(Debug)]
pub(super) struct Nothing;

impl Steps<Arc<DataSet>> for Nothing {
    fn ready(&mut self) -> Option<Step<Arc<DataSet>>> {
        Some(Step::End(Ok(Complete::mint())))
    }

    fn next(&mut self) -> Fut<'_, Step<Arc<DataSet>>> {
        Box::pin(async { Step::End(Ok(Complete::mint())) })
    }
}
