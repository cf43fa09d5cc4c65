//! The searches of a retrieval: what there is, so that what is missing can be told.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::error::{Error, Kind};
use super::remote::Inner;
use crate::caller::Caller;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::{Level, Target};
use crate::dicom::{Tag, Uid, VR, sop_class, tags, transfer_syntax};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::scu::{Operation, OperationError, Reply};
use crate::dimse::status;

/// Most matches of one of these searches: no study has more instances.
const MOST_MATCHES: usize = 500_000;
/// How long a C-FIND that nobody waits for any more may take to end.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// A series of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) uid: Uid,
    /// Modality (0008,0060), empty where the archive does not tell.
    pub(super) modality: String,
    /// Number of Series Related Instances (0020,1209), where the archive tells one that can be.
    pub(super) count: Option<usize>,
}

impl Inner {
    /// The series of a study, or the one series of the target.
    pub(super) async fn series_of(&self, caller: &Caller, target: &Target) -> Result<Vec<Series>, Error> {
        let mut keys = DataSet::new();
        keys.set_str(tags::STUDY_INSTANCE_UID, VR::UI, target.study.as_str());
        set_or_empty(&mut keys, tags::SERIES_INSTANCE_UID, target.series.as_ref());
        keys.set_empty(tags::MODALITY, VR::CS);
        keys.set_empty(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS);
        let matches = self.find(caller, Level::Series, keys).await?;
        let series = |m: &DataSet| {
            let asked = target.series.as_ref().is_none_or(|s| is_own(m, tags::SERIES_INSTANCE_UID, s));
            if !asked || !is_own(m, tags::STUDY_INSTANCE_UID, &target.study) {
                return None;
            }
            let modality = m.string(tags::MODALITY).unwrap_or_default().to_owned();
            let count = m.int(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).and_then(|n| usize::try_from(n).ok());
            let count = count.filter(|count| *count <= MOST_MATCHES);
            m.uid(tags::SERIES_INSTANCE_UID).map(|uid| Series { uid, modality, count })
        };
        Ok(matches.iter().filter_map(series).collect())
    }

    /// The instances of a series, each with its SOP class where that is asked for and told.
    pub(super) async fn instances_of(
        &self,
        caller: &Caller,
        study: &Uid,
        series: &Uid,
        instances: &[Uid],
        with_class: bool,
    ) -> Result<BTreeMap<Uid, Option<Uid>>, Error> {
        let mut keys = DataSet::new();
        keys.set_str(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
        keys.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        let wanted = instances.iter().map(|uid| uid.as_str().to_owned()).collect();
        keys.set_strings(tags::SOP_INSTANCE_UID, VR::UI, wanted);
        if with_class {
            keys.set_empty(tags::SOP_CLASS_UID, VR::UI);
        }
        let matches = self.find(caller, Level::Instance, keys).await?;
        let instance = |m: &DataSet| {
            let own =
                is_own(m, tags::STUDY_INSTANCE_UID, study) && is_own(m, tags::SERIES_INSTANCE_UID, series);
            own.then(|| Some((m.uid(tags::SOP_INSTANCE_UID)?, m.uid(tags::SOP_CLASS_UID))))?
        };
        Ok(matches.iter().filter_map(instance).collect())
    }

    /// One C-FIND, all its matches.
    async fn find(&self, caller: &Caller, level: Level, mut keys: DataSet) -> Result<Vec<DataSet>, Error> {
        keys.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level.as_str());
        loop {
            let limits = self.limits();
            let mut lease =
                self.lease(&self.query, caller, &self.query_contexts(), 1, limits.deadline).await?;
            let agreement = lease.association().agreement();
            let class = self.class(agreement, sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_ROOT_FIND);
            self.name_patient(class, &mut keys);
            let mut command = Command::request(field::C_FIND_RQ, class, 0);
            command.priority = Some(0);
            let encode = |context: &AcceptedContext| {
                let layout = transfer_syntax::layout(&context.transfer_syntax);
                Some(keys.encode(layout, self.config.query_charset.clone()).into())
            };
            let mut finding =
                Finding { inner: self, operation: Some(self.start(lease, command, encode, limits)?) };
            let found = finding.matches().await;
            let Some(operation) = finding.operation.take() else { return Err(self.error(Kind::Cancelled)) };
            match found {
                Ok(response) => {
                    operation.finish();
                    return match response {
                        (matches, response) if response.status == Some(status::SUCCESS) => {
                            self.learn_patient(&matches);
                            Ok(matches)
                        }
                        (_, response) => Err(self.status_error("C-FIND", &response, false)),
                    };
                }
                Err(error) => {
                    let again = operation.may_retry(&error);
                    operation.abort().await;
                    if !again {
                        return Err(self.operation_error(error));
                    }
                }
            }
        }
    }

    /// Adds the Patient ID to an identifier of the Patient Root model, which wants it above the study (PS3.4
    /// C.6.1). Where it is not known the query is relational, and asks for it.
    pub(super) fn name_patient(&self, class: &str, keys: &mut DataSet) {
        let patient_root =
            [sop_class::PATIENT_ROOT_FIND, sop_class::PATIENT_ROOT_GET, sop_class::PATIENT_ROOT_MOVE];
        let Some(study) = keys.uid(tags::STUDY_INSTANCE_UID).filter(|_| patient_root.contains(&class)) else {
            return;
        };
        match self.knowledge.patients.patient_of(&study) {
            Some(patient) => keys.set_str(tags::PATIENT_ID, VR::LO, patient),
            None if class == sop_class::PATIENT_ROOT_FIND => keys.set_empty(tags::PATIENT_ID, VR::LO),
            None => {}
        }
    }

    fn learn_patient(&self, matches: &[DataSet]) {
        let first = matches.first();
        let study = first.and_then(|m| m.uid(tags::STUDY_INSTANCE_UID));
        let patient = first.and_then(|m| m.string(tags::PATIENT_ID)).filter(|id| !id.is_empty());
        if let (Some(study), Some(patient)) = (study, patient) {
            self.knowledge.patients.learn(study, patient.to_owned());
        }
    }

    /// The instances of some series, each with its series.
    pub(super) async fn survey(
        &self,
        caller: &Caller,
        study: &Uid,
        series: &[Uid],
    ) -> Result<BTreeMap<Uid, Uid>, Error> {
        let mut all = BTreeMap::new();
        for uid in series {
            let instances = self.instances_of(caller, study, uid, &[], false).await?;
            all.extend(instances.into_keys().map(|instance| (instance, uid.clone())));
        }
        Ok(all)
    }
}

/// A C-FIND under way. Dropped, it is let to its end for a short while: these searches are short, and an association
/// that is cut costs the archive more.
struct Finding<'a> {
    inner: &'a Inner,
    operation: Option<Operation>,
}

impl Finding<'_> {
    /// The matches and the final response of a C-FIND.
    async fn matches(&mut self) -> Result<(Vec<DataSet>, Command), OperationError> {
        let Some(operation) = &mut self.operation else { return Err(OperationError::NotAccepted) };
        let layout = operation.layout();
        let assumed = self.inner.assumed_charset();
        let mut matches = Vec::new();
        loop {
            match operation.next().await? {
                Reply::Pending(_, Some(identifier)) if matches.len() < MOST_MATCHES => {
                    let parsed = DataSet::parse(&identifier, layout, assumed.as_ref());
                    let parsed =
                        parsed.map_err(|e| OperationError::Protocol(format!("a C-FIND identifier: {e}")))?;
                    matches.push(parsed.data_set);
                }
                Reply::Final(response, _) => return Ok((matches, response)),
                _ => return Err(OperationError::Protocol("not a response to C-FIND".into())),
            }
        }
    }
}

impl Drop for Finding<'_> {
    fn drop(&mut self) {
        if let Some(operation) = self.operation.take()
            && Handle::try_current().is_ok()
        {
            self.inner.tasks.spawn(end(operation));
        }
    }
}

/// Drops what still comes of a C-FIND that nobody waits for any more.
async fn end(mut operation: Operation) {
    operation.hurry(Instant::now() + LEFT_ALONE);
    loop {
        match operation.next().await {
            Ok(Reply::Final(..)) => return operation.finish(),
            Ok(_) => {}
            Err(_) => return operation.abort().await,
        }
    }
}

/// Whether a match belongs to what was asked for, as far as it says.
fn is_own(found: &DataSet, tag: Tag, wanted: &Uid) -> bool {
    found.uid(tag).is_none_or(|uid| uid == *wanted)
}

fn set_or_empty(keys: &mut DataSet, tag: Tag, uid: Option<&Uid>) {
    match uid {
        Some(uid) => keys.set_str(tag, VR::UI, uid.as_str()),
        None => keys.set_empty(tag, VR::UI),
    }
}
