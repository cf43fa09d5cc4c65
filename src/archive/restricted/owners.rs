//! Whose studies are, as the archives said lately: a viewer that asks for a thousand frames is not to cost as many searches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::narrowed::PORTION;
use super::{patient_of, study_query};
use crate::archive::{Archive, Result, Step};
use crate::caller::{Caller, Priority};
use crate::dicom::query::MatchingKey;
use crate::dicom::{Uid, VR, tags};

/// How long an answer holds. A study that is given to another patient is seen by the former one so much longer, and one that
/// was not there is seen so much later.
const LIFETIME: Duration = Duration::from_secs(10);
/// Most studies that are remembered.
const MAX_STUDIES: usize = 4_096;
/// Most patients of one study that are looked at: from two on it is nobody's.
const MAX_OWNERS: usize = 16;
/// Most matches of a question for several studies that are gone through: an archive that takes no notice of the list would
/// return all that it has.
const MAX_MATCHES: usize = 2 * MAX_OWNERS * PORTION;

/// Patient IDs by archive and study. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<Mutex<HashMap<(String, Uid), Known>>>);

#[derive(Debug)]
struct Known {
    since: Instant,
    patients: Arc<[String]>,
}

impl Owners {
    /// The Patient IDs, without padding, under which the archive lists a study; none where it does not.
    ///
    /// # Errors
    /// The archive could not be asked.
    pub(super) async fn ask(
        &self,
        archive: &Arc<dyn Archive>,
        caller: &Caller,
        study: &Uid,
    ) -> Result<Arc<[String]>> {
        let key = (archive.name().to_owned(), study.clone());
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let by_uid = MatchingKey {
            path: tags::STUDY_INSTANCE_UID.into(),
            vr: VR::UI,
            values: vec![study.to_string()],
        };
        let caller = Caller { priority: Priority::Interactive, ..caller.clone() };
        let mut search = archive.search(&caller, study_query(vec![by_uid])).await?;
        let mut patients = Vec::new();
        loop {
            match search.matches.next().await {
                Step::Item(data_set) => {
                    // Archives that do not know the key return others too.
                    if data_set.uid(tags::STUDY_INSTANCE_UID).is_none_or(|uid| uid == *study) {
                        patients.push(patient_of(&data_set).to_owned());
                    }
                }
                Step::End(Ok(_)) => break,
                Step::End(Err(error)) => return Err(error),
            }
            if patients.len() >= MAX_OWNERS {
                break;
            }
        }
        let patients: Arc<[String]> = patients.into();
        // Also that there is none: else a second question would take longer for a study that is not there than for one
        // that is another patient's.
        self.remember(key, Arc::clone(&patients));
        Ok(patients)
    }

    /// The same for several studies, in their order: by one question, and a further one for each study that its answer leaves
    /// out.
    pub(super) async fn ask_all(
        &self,
        archive: &Arc<dyn Archive>,
        caller: &Caller,
        studies: &[Uid],
    ) -> Result<Vec<Arc<[String]>>> {
        let is_unknown = |study: &&Uid| self.known(&(archive.name().to_owned(), (*study).clone())).is_none();
        let unknown: Vec<&Uid> = studies.iter().filter(is_unknown).collect();
        if unknown.len() > 1 {
            self.survey(archive, caller, &unknown).await;
        }
        let mut found = Vec::with_capacity(studies.len());
        for study in studies {
            found.push(self.ask(archive, caller, study).await?);
        }
        Ok(found)
    }

    /// Asks for all of these studies at once (PS3.4 C.2.2.2.2), and remembers what the archive says of them. One that takes no
    /// list has said nothing.
    async fn survey(&self, archive: &Arc<dyn Archive>, caller: &Caller, studies: &[&Uid]) {
        let values = studies.iter().map(|study| study.to_string()).collect();
        let by_uids = MatchingKey { path: tags::STUDY_INSTANCE_UID.into(), vr: VR::UI, values };
        let caller = Caller { priority: Priority::Interactive, ..caller.clone() };
        let Ok(mut search) = archive.search(&caller, study_query(vec![by_uids])).await else { return };
        let mut found: HashMap<Uid, Vec<String>> = HashMap::new();
        for _ in 0..MAX_MATCHES {
            match search.matches.next().await {
                Step::Item(data_set) => {
                    let study = data_set.uid(tags::STUDY_INSTANCE_UID);
                    if let Some(study) = study.filter(|study| studies.contains(&study)) {
                        let patients = found.entry(study).or_default();
                        if patients.len() < MAX_OWNERS {
                            patients.push(patient_of(&data_set).to_owned());
                        }
                    }
                }
                Step::End(Ok(_)) => {
                    for (study, patients) in found {
                        self.remember((archive.name().to_owned(), study), patients.into());
                    }
                    return;
                }
                // What did not come whole may lack a second owner.
                Step::End(Err(_)) => return,
            }
        }
    }

    /// Forgets that an archive had no such study.
    pub(super) fn forget_absence(&self, archive: &str, study: &Uid) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (archive.to_owned(), study.clone());
        if known.get(&key).is_some_and(|known| known.patients.is_empty()) {
            known.remove(&key);
        }
    }

    fn known(&self, key: &(String, Uid)) -> Option<Arc<[String]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(key).filter(|known| known.since.elapsed() < LIFETIME)?;
        Some(Arc::clone(&found.patients))
    }

    fn remember(&self, key: (String, Uid), patients: Arc<[String]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_STUDIES {
            known.retain(|_, known| known.since.elapsed() < LIFETIME);
        }
        if known.len() >= MAX_STUDIES {
            known.clear();
        }
        known.insert(key, Known { since: Instant::now(), patients });
    }
}
