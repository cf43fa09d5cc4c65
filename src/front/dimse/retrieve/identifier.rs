//! What the identifier of a C-GET or C-MOVE asks for (PS3.4 C.4.2.1.4.1, C.4.2.2.1, C.4.3.1.3.1).
//!
//! The level names its unique key, of which there may be a list; the unique keys above it have one value each. Where
//! they are left out the retrieval is relational (PS3.4 C.4.2.2.2), and the archive is searched for what is above.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::transfer::{Unnamed, key, matches};
use crate::archive::{Archive, Error, Form, Retrieve};
use crate::caller::{Caller, Priority};
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::{Level, MatchingKey, Target};
use crate::dicom::{Tag, Uid, sop_class, tags};

/// Most UIDs that one identifier may name, and most studies of a patient: a client that wants more asks at the level
/// above. So many take some hundred kilobytes of bookkeeping.
const MOST_UIDS: usize = 4096;
/// Most instances of a request for which somebody may wait at a screen.
const FEW_INSTANCES: usize = 4;

/// A query/retrieve information model (PS3.4 C.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    Patient,
    Study,
    PatientStudyOnly,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    level: Level,
    /// Patient ID: of the level PATIENT, or above what is asked for, as far as the client says.
    patient: Option<String>,
    /// Above what is asked for, as far as the client says.
    study: Option<Uid>,
    series: Option<Uid>,
    /// The unique keys of the level, each once and in the client's order; none of the level PATIENT.
    uids: Vec<Uid>,
}

/// The identifier does not match the SOP class (A900): why, for the Error Comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) &'static str);

/// Why there is nothing to retrieve.
#[derive(Debug)]
pub(super) enum Unresolved {
    /// The fault is the identifier's.
    Refused(Refusal),
    /// The archive could not be searched.
    Failed(Error),
}

impl From<Unnamed> for Unresolved {
    fn from(unnamed: Unnamed) -> Self {
        match unnamed {
            Unnamed::TooMany => Self::Refused(Refusal("it matches more than can be retrieved at once")),
            Unnamed::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Refusal> for Unresolved {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Model {
    /// The model of a C-GET or C-MOVE class.
    pub(super) fn of(class: &Uid) -> Option<Self> {
        match class.as_str() {
            sop_class::PATIENT_ROOT_GET | sop_class::PATIENT_ROOT_MOVE => Some(Self::Patient),
            sop_class::STUDY_ROOT_GET | sop_class::STUDY_ROOT_MOVE => Some(Self::Study),
            sop_class::PATIENT_STUDY_ONLY_GET | sop_class::PATIENT_STUDY_ONLY_MOVE => {
                Some(Self::PatientStudyOnly)
            }
            _ => None,
        }
    }

    fn levels(self) -> &'static [Level] {
        let all = &[Level::Patient, Level::Study, Level::Series, Level::Instance];
        match self {
            Self::Patient => all,
            Self::Study => &all[1..],
            Self::PatientStudyOnly => &all[..2],
        }
    }
}

/// Reads an identifier. Keys that are no unique ones do not restrict a retrieval.
///
/// # Errors
/// The level or its unique key is missing, there are too many values, or one is malformed.
pub(super) fn selection(identifier: &DataSet, model: Model) -> Result<Selection, Refusal> {
    let level = identifier.string(tags::QUERY_RETRIEVE_LEVEL).and_then(Level::from_value);
    let level = level.filter(|level| model.levels().contains(level));
    let level = level.ok_or(Refusal("Query/Retrieve Level is missing or not of this model"))?;
    let patient = match identifier.strings(tags::PATIENT_ID) {
        [one] => Some(one.trim()).filter(|id| !id.is_empty() && !id.contains(['*', '?'])),
        _ => None,
    };
    let patient = patient.map(str::to_owned);
    let (mut study, mut series, mut uids) = (None, None, Vec::new());
    match level {
        Level::Patient if patient.is_none() => {
            return Err(Refusal("a retrieval of a patient needs one Patient ID"));
        }
        Level::Patient => {}
        _ => uids = list(identifier, level.unique_key())?,
    }
    if level > Level::Study {
        study = single(identifier, tags::STUDY_INSTANCE_UID)?;
    }
    if level > Level::Series {
        series = single(identifier, tags::SERIES_INSTANCE_UID)?;
    }
    let read = [tags::QUERY_RETRIEVE_LEVEL, tags::SPECIFIC_CHARACTER_SET, tags::PATIENT_ID];
    let is_key = |tag: Tag| model.levels().iter().any(|level| level.unique_key() == tag);
    let ignored = identifier.iter().filter(|(tag, _)| !read.contains(tag) && !is_key(*tag)).count();
    if ignored > 0 {
        tracing::debug!(ignored, "keys of a retrieval that are not unique keys");
    }
    Ok(Selection { level, patient, study, series, uids })
}

/// The values of the level's unique key, each once.
fn list(identifier: &DataSet, tag: Tag) -> Result<Vec<Uid>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut uids = values(identifier, tag)?;
    uids.retain(|uid| seen.insert(uid.clone()));
    match uids.len() {
        0 => Err(Refusal("the unique key of the level is missing")),
        1..=MOST_UIDS => Ok(uids),
        _ => Err(Refusal("more than 4096 UIDs: ask for the level above")),
    }
}

/// The value of a unique key above the level.
fn single(identifier: &DataSet, tag: Tag) -> Result<Option<Uid>, Refusal> {
    match values(identifier, tag)?.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(Refusal("several values of a unique key above the level")),
    }
}

fn values(identifier: &DataSet, tag: Tag) -> Result<Vec<Uid>, Refusal> {
    let values = identifier.strings(tag).iter().map(|value| value.trim_matches([' ', '\0']));
    let uids = values.filter(|value| !value.is_empty()).map(str::parse);
    uids.collect::<Result<_, _>>().map_err(|_| Refusal("a UID of the identifier is malformed"))
}

impl Selection {
    /// How urgent it is: a few images may be for somebody who waits at a screen.
    pub(super) fn priority(&self) -> Priority {
        match self.level {
            Level::Instance if self.uids.len() <= FEW_INSTANCES => Priority::Interactive,
            _ => Priority::Bulk,
        }
    }

    /// What to retrieve, one after the other; nothing where the patient has no studies.
    ///
    /// # Errors
    /// The archive cannot tell what is above the level, or which studies the patient has.
    pub(super) async fn resolve(
        self,
        archive: &dyn Archive,
        caller: &Caller,
        form: Form,
    ) -> Result<Vec<Retrieve>, Unresolved> {
        let retrieve = |study: &Uid, series: Option<&Uid>| {
            let target = Target { study: study.clone(), series: series.cloned(), instance: None };
            Retrieve { patient: self.patient.clone(), ..Retrieve::new(target, form) }
        };
        let of_series = |study: &Uid, series: &Uid, instances: Vec<Uid>| {
            let mut retrieve = retrieve(study, Some(series));
            match <[Uid; 1]>::try_from(instances) {
                Ok([one]) => retrieve.target.instance = Some(one),
                Err(several) => retrieve.only = several.into_iter().collect(),
            }
            retrieve
        };
        match (self.level, &self.study, &self.series) {
            (Level::Patient, ..) => {
                let studies = self.studies(archive, caller).await?;
                Ok(studies.iter().map(|study| retrieve(study, None)).collect())
            }
            (Level::Study, ..) => Ok(self.uids.iter().map(|study| retrieve(study, None)).collect()),
            (Level::Series, Some(study), _) => {
                Ok(self.uids.iter().map(|series| retrieve(study, Some(series))).collect())
            }
            (Level::Instance, Some(study), Some(series)) => {
                Ok(vec![of_series(study, series, self.uids.clone())])
            }
            (Level::Series, None, _) => {
                let parents = self.parents(archive, caller).await?;
                let studies =
                    self.uids.iter().filter_map(|series| Some((&parents.get(series)?.study, series)));
                Ok(studies.map(|(study, series)| retrieve(study, Some(series))).collect())
            }
            (Level::Instance, ..) => {
                let mut by_series: BTreeMap<(Uid, Uid), Vec<Uid>> = BTreeMap::new();
                for (instance, parents) in self.parents(archive, caller).await? {
                    let Some(series) = parents.series else { return Err(NOT_KNOWN.into()) };
                    by_series.entry((parents.study, series)).or_default().push(instance);
                }
                let all = by_series.into_iter();
                Ok(all.map(|((study, series), instances)| of_series(&study, &series, instances)).collect())
            }
        }
    }

    /// The studies of the patient.
    async fn studies(&self, archive: &dyn Archive, caller: &Caller) -> Result<Vec<Uid>, Unresolved> {
        let patient = self.patient.clone().unwrap_or_default();
        let (path, vr) = (tags::PATIENT_ID.into(), vr_of(tags::PATIENT_ID));
        let key = MatchingKey { path, vr, values: vec![patient.clone()] };
        let mut studies = BTreeSet::new();
        for found in matches(archive, caller, Level::Study, vec![key], MOST_UIDS).await? {
            // Archives match on Patient IDs by rules of their own, and another patient's studies are not wanted.
            let is_own = found.string(tags::PATIENT_ID).is_none_or(|id| id.trim() == patient);
            if let Some(study) = found.uid(tags::STUDY_INSTANCE_UID).filter(|_| is_own) {
                studies.insert(study);
            }
        }
        Ok(studies.into_iter().collect())
    }

    /// What is above each UID of the level: exactly one of each.
    async fn parents(
        &self,
        archive: &dyn Archive,
        caller: &Caller,
    ) -> Result<BTreeMap<Uid, Parents>, Unresolved> {
        let mut keys = vec![key(self.level.unique_key(), &self.uids)];
        keys.extend(
            self.study.as_ref().map(|study| key(tags::STUDY_INSTANCE_UID, std::slice::from_ref(study))),
        );
        keys.extend(self.series.as_ref().map(|s| key(tags::SERIES_INSTANCE_UID, std::slice::from_ref(s))));
        let mut parents: BTreeMap<Uid, Parents> = BTreeMap::new();
        for found in matches(archive, caller, self.level, keys, MOST_UIDS).await? {
            let (Some(uid), Some(study)) =
                (found.uid(self.level.unique_key()), found.uid(tags::STUDY_INSTANCE_UID))
            else {
                continue;
            };
            let above = Parents { study, series: found.uid(tags::SERIES_INSTANCE_UID) };
            let is_wanted = self.uids.contains(&uid)
                && self.study.as_ref().is_none_or(|study| *study == above.study)
                && self.series.as_ref().is_none_or(|series| Some(series) == above.series.as_ref());
            if is_wanted && parents.insert(uid, above.clone()).is_some_and(|other| other != above) {
                return Err(Refusal("a UID is not unique in the archive: name all levels").into());
            }
        }
        match parents.len() == self.uids.len() {
            true => Ok(parents),
            false => Err(NOT_KNOWN.into()),
        }
    }
}

const NOT_KNOWN: Refusal = Refusal("the levels above are not known: name their unique keys");

/// What is above a series or an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parents {
    study: Uid,
    series: Option<Uid>,
}

#[cfg(test)]
mod tests;
