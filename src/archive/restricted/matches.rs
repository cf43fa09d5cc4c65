//! Matches of several searches, one behind the other, without those that the client may not see.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::narrowed::{Begun, Narrowed};
use super::patient_of;
use crate::archive::{Complete, Feed, Fut, Result, Step, Steps};
use crate::caller::Restriction;
use crate::dicom::dataset::DataSet;
use crate::dicom::matching::{Criterion, Verdict};
use crate::dicom::{Uid, tags};

/// The next search begins; those behind it come back with it.
type Opening = Pin<Box<dyn Future<Output = (Narrowed, Result<Option<Begun>>)> + Send>>;

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
    filter: Filter,
    current: Feed<Arc<DataSet>>,
    /// The study that the current search is in, where it is one.
    study: Option<Uid>,
    /// The searches behind it; `None`: one of them begins, or nothing more comes.
    rest: Option<Narrowed>,
    opening: Option<Opening>,
    /// That the last search that has ended was whole.
    whole: Option<Complete>,
}

impl Matches {
    /// The matches of `current`, a search in `study`, and of the searches `rest`.
    pub(super) fn new(
        rest: Narrowed,
        current: Feed<Arc<DataSet>>,
        study: Option<Uid>,
        filter: Filter,
    ) -> Self {
        Self { filter, current, study, rest: Some(rest), opening: None, whole: None }
    }

    /// Takes a step of the current search; `None`: it is none for the client.
    fn take(&mut self, step: Step<Arc<DataSet>>) -> Option<Step<Arc<DataSet>>> {
        match step {
            Step::Item(found) => self.filter.admits(&found, self.study.as_ref()).then_some(Step::Item(found)),
            Step::End(Ok(complete)) => {
                let Some(mut rest) = self.rest.take() else { return Some(Step::End(Ok(complete))) };
                self.whole = Some(complete);
                self.opening = Some(Box::pin(async move {
                    let begun = rest.begin().await;
                    (rest, begun)
                }));
                None
            }
            end @ Step::End(Err(_)) => {
                self.rest = None;
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
                    let (rest, begun) = opening.as_mut().await;
                    self.opening = None;
                    match (begun, self.whole.take()) {
                        (Ok(Some(Begun { study, search })), _) => {
                            (self.rest, self.study, self.current) = (Some(rest), study, search.matches);
                        }
                        (Ok(None), Some(complete)) => return Step::End(Ok(complete)),
                        (Ok(None), None) => unreachable!("a search begins behind one that was whole"),
                        (Err(error), _) => return Step::End(Err(error)),
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
        f.debug_struct("Matches").field("study", &self.study).finish_non_exhaustive()
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
