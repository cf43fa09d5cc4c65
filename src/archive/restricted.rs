//! An archive of which a client sees some patients or studies only: to it, the others are not there.
//!
//! It stands before whatever answers, the cache too, so that no resource has to think of it and nothing that was fetched
//! for others leaks. What lies outside is answered as what the archive does not hold, before the archive is asked
//! where the study alone tells.

mod in_order;
mod matches;
mod narrowed;
mod objects;
mod owners;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::in_order::in_order;
use self::matches::Matches;
use self::narrowed::{Begun, Narrowed};
use self::objects::{Objects, peek};
pub use self::owners::Owners;
use super::{
    Archive, Associations, Error, Feed, Fut, Kind, Manner, Result, Retrieval, Retrieve, Search, Step, Stored,
};
use crate::caller::{Caller, Restriction};
use crate::dicom::charset::Charset;
use crate::dicom::dataset::DataSet;
use crate::dicom::matching::{Verdict, criteria};
use crate::dicom::object::Object;
use crate::dicom::query::{Level, MatchingKey, Query};
use crate::dicom::transfer_syntax::DEFLATED_EXPLICIT_VR_LE;
use crate::dicom::{Tag, Uid, VR, tags};

/// Most studies of a client's patients that are gone through where a search names none of them.
const MAX_STUDIES: usize = 1_000;

/// An archive as a client sees it that is confined. Cheap to clone.
#[derive(Clone)]
pub struct Restricted {
    archive: Arc<dyn Archive>,
    restriction: Arc<Restriction>,
    owners: Owners,
}

impl Restricted {
    /// `archive` within `restriction`. `owners` remembers whose studies are, for all clients.
    pub fn new(archive: Arc<dyn Archive>, restriction: Arc<Restriction>, owners: Owners) -> Self {
        Self { archive, restriction, owners }
    }

    /// Lets objects be stored into a study that is the client's own.
    ///
    /// A study that the archive does not have is as foreign as another patient's, unless the restriction names it: else the
    /// answer would tell which studies there are.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or why the archive could not be asked.
    pub async fn admit_store(&self, caller: &Caller, study: &Uid) -> Result<()> {
        if !self.restriction.has_study(study) {
            return Err(self.not_found());
        }
        if self.restriction.patients.is_empty() {
            return Ok(());
        }
        let is_named = self.restriction.studies.contains(study);
        if is_named {
            // It may have come since, and it will be there.
            self.owners.forget_absence(self.archive.name(), study);
        }
        let owners = self.owners.ask(&self.archive, caller, study).await?;
        if owners.is_empty() && is_named {
            self.owners.forget_absence(self.archive.name(), study);
            return Ok(());
        }
        if self.are_own(&owners) { Ok(()) } else { Err(self.not_found()) }
    }

    /// Lets a study be seen that is the client's own.
    async fn admit(&self, caller: &Caller, study: &Uid) -> Result<()> {
        if !self.restriction.has_study(study) {
            return Err(self.not_found());
        }
        if self.restriction.patients.is_empty()
            || self.are_own(&self.owners.ask(&self.archive, caller, study).await?)
        {
            return Ok(());
        }
        Err(self.not_found())
    }

    /// A study that two patients have is nobody's.
    fn are_own(&self, owners: &[String]) -> bool {
        !owners.is_empty() && owners.iter().all(|id| self.restriction.has_patient(id))
    }

    fn not_found(&self) -> Error {
        Error::new(self.archive.name(), Kind::NotFound)
    }

    /// Those of some studies that are the client's.
    async fn own_of(&self, caller: &Caller, studies: Vec<Uid>) -> Result<Vec<Uid>> {
        let named: Vec<Uid> = studies.into_iter().filter(|study| self.restriction.has_study(study)).collect();
        if self.restriction.patients.is_empty() {
            return Ok(named);
        }
        let owners = self.owners.ask_all(&self.archive, caller, &named).await?;
        let own = named.into_iter().zip(owners).filter(|(_, owners)| self.are_own(owners));
        Ok(own.map(|(study, _)| study).collect())
    }

    /// The searches that together have the matches that the client may see.
    async fn narrowed(&self, caller: &Caller, query: Query) -> Result<Narrowed> {
        let (own, by) = (self.clone(), caller.clone());
        match query.level {
            Level::Study => Ok(Narrowed::to(own, by, self.narrowed_studies(query))),
            Level::Series | Level::Instance => {
                let named = asked_studies(&query).or_else(|| {
                    let named = &self.restriction.studies;
                    (!named.is_empty()).then(|| named.iter().cloned().collect())
                });
                let studies = match named {
                    Some(named) => named,
                    None => self.studies_of_patients(caller).await?.into_iter().collect(),
                };
                Ok(Narrowed::within(own, by, query, studies))
            }
            Level::Patient => Err(Error::new(
                self.archive.name(),
                Kind::Unsupported("patients cannot be listed within a restriction".to_owned()),
            )),
        }
    }

    /// One for each patient: an archive that gives so many matches only is to give those of this one.
    fn narrowed_studies(&self, query: Query) -> Vec<Query> {
        let Some(query) = self.with_own_studies(query) else { return Vec::new() };
        if self.restriction.patients.is_empty() {
            return vec![query];
        }
        let own = self.restriction.patients.iter().filter(|id| may_match(&query, id));
        own.map(|id| with_key(query.clone(), tags::PATIENT_ID, VR::LO, vec![id.clone()])).collect()
    }

    /// The query with those of its studies that the client may name; `None`: none.
    fn with_own_studies(&self, query: Query) -> Option<Query> {
        if self.restriction.studies.is_empty() {
            return Some(query);
        }
        let own: Vec<String> = match asked_studies(&query) {
            Some(asked) => asked
                .into_iter()
                .filter(|uid| self.restriction.has_study(uid))
                .map(|u| u.to_string())
                .collect(),
            None => self.restriction.studies.iter().map(Uid::to_string).collect(),
        };
        (!own.is_empty()).then(|| with_key(query, tags::STUDY_INSTANCE_UID, VR::UI, own))
    }

    /// The studies that the archive lists for the client's patients. Of two patients with one study, the other one may not
    /// be the client's.
    async fn studies_of_patients(&self, caller: &Caller) -> Result<BTreeSet<Uid>> {
        let mut search = self.search(caller, study_query(Vec::new())).await?;
        let mut found = BTreeSet::new();
        loop {
            match search.matches.next().await {
                Step::Item(data_set) => found.extend(data_set.uid(tags::STUDY_INSTANCE_UID)),
                Step::End(Ok(_)) => return Ok(found),
                Step::End(Err(error)) => return Err(error),
            }
            if found.len() > MAX_STUDIES {
                return Err(Error::new(self.archive.name(), Kind::TooManyMatches));
            }
        }
    }
}

impl Archive for Restricted {
    fn name(&self) -> &str {
        self.archive.name()
    }

    fn scope(&self) -> &str {
        self.archive.scope()
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        let caller = caller.clone();
        Box::pin(async move {
            // What the client asked for in its own words is matched on what comes back.
            let patient = |key: &&MatchingKey| key.path.tags() == [tags::PATIENT_ID];
            let asked: Vec<_> = query.keys.iter().filter(patient).cloned().collect();
            let is_study = query.level == Level::Study;
            let query = Query { as_said: true, ..query };
            let mut narrowed = self.narrowed(&caller, query).await?;
            let Some(Begun { study, search: Search { matches, warnings } }) = narrowed.begin().await? else {
                return Ok(Search { matches: Feed::over(matches::Nothing), warnings: Vec::new() });
            };
            let filter = matches::Filter {
                restriction: Arc::clone(&self.restriction),
                asked: if is_study { criteria(&asked) } else { Vec::new() },
                is_study,
            };
            let matches = Matches::new(narrowed, matches, study, filter);
            Ok(Search { matches: Feed::over(matches), warnings })
        })
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let caller = caller.clone();
        Box::pin(async move {
            let study = retrieve.target.study.clone();
            self.admit(&caller, &study).await?;
            let retrieval = self.archive.retrieve(&caller, retrieve).await?;
            let objects = Objects::new(retrieval.objects, study, self.archive.name());
            Ok(Retrieval { objects: Feed::over(objects), ..retrieval })
        })
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        self.store_as(caller, object, Manner::default())
    }

    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, Result<Stored>> {
        let caller = caller.clone();
        Box::pin(async move {
            // To look behind its beginning, all of it would have to be inflated.
            let syntax = &object.head.transfer_syntax;
            if syntax.as_str() == DEFLATED_EXPLICIT_VR_LE {
                return Err(Error::new(self.archive.name(), Kind::SyntaxRefused(syntax.clone())));
            }
            let (found, object) = peek(object).await;
            let refused = || Error::new(self.archive.name(), Kind::NotAuthorized);
            let own_patient = self.restriction.patients.is_empty()
                || found.patient.as_ref().is_some_and(|id| self.restriction.has_patient(id));
            let study = found.study.filter(|_| own_patient).ok_or_else(refused)?;
            match self.admit_store(&caller, &study).await {
                Ok(()) => {
                    let stored = self.archive.store_as(&caller, in_order(object), manner).await;
                    self.owners.forget_absence(self.archive.name(), &study);
                    stored
                }
                Err(Error { kind: Kind::NotFound, .. }) => Err(refused()),
                Err(error) => Err(error),
            }
        })
    }

    fn omits_bulk_data(&self) -> bool {
        self.archive.omits_bulk_data()
    }

    fn assumed_charset(&self) -> Option<Charset> {
        self.archive.assumed_charset()
    }

    fn associations(&self) -> Option<Associations> {
        self.archive.associations()
    }

    fn names_client(&self) -> bool {
        self.archive.names_client()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.archive.verify(caller)
    }
}

/// A search for studies by these keys, for their Patient IDs.
fn study_query(keys: Vec<MatchingKey>) -> Query {
    Query {
        level: Level::Study,
        within: None,
        keys,
        include: vec![tags::PATIENT_ID.into()],
        include_all: false,
        as_said: true,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    }
}

/// The studies that a query names; `None`: it names none.
fn asked_studies(query: &Query) -> Option<Vec<Uid>> {
    let key = query.keys.iter().find(|key| key.path.tags() == [tags::STUDY_INSTANCE_UID])?;
    // UIDs have no wildcards but the one that matches all (PS3.4 C.2.2.2.3).
    if key.values.iter().any(|value| value.contains('*')) {
        return None;
    }
    Some(key.values.iter().filter_map(|value| value.parse().ok()).collect())
}

/// The study that a search is in: where it is for series or instances by their own UIDs, an archive may take no notice of
/// the study before them, and a match says itself which one it is of.
fn searched_study(query: &Query) -> Option<Uid> {
    if query.is_for_lower_uids() { None } else { query.single_uid(tags::STUDY_INSTANCE_UID) }
}

/// The one Patient ID of a match, without padding; empty where there is none, or several.
fn patient_of(data_set: &DataSet) -> &str {
    match data_set.strings(tags::PATIENT_ID) {
        [one] => one.trim(),
        _ => "",
    }
}

/// Whether a study of this patient can match what the query says of Patient ID.
fn may_match(query: &Query, id: &str) -> bool {
    let own: Vec<_> =
        query.keys.iter().filter(|key| key.path.tags() == [tags::PATIENT_ID]).cloned().collect();
    let mut data_set = DataSet::new();
    data_set.set_str(tags::PATIENT_ID, VR::LO, id);
    criteria(&own).iter().all(|criterion| criterion.judge(&data_set) > Verdict::Differs)
}

/// The query with this key in place of any other on its attribute.
fn with_key(mut query: Query, tag: Tag, vr: VR, values: Vec<String>) -> Query {
    query.keys.retain(|key| key.path.tags() != [tag]);
    query.keys.push(MatchingKey { path: tag.into(), vr, values });
    query
}

#[cfg(test)]
mod tests;
