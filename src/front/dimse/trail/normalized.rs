//! What normalized requests are recorded as: procedure steps as procedure records, and storage commitment and instance
//! availability as instances that are accessed where they are. Of others there is no message that tells of them.

use bytes::Bytes;

use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::layout;
use crate::dicom::{Tag, Uid, sop_class, tags};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::event::{Action, Procedure, Study, What};

/// Action Type ID (0000,1008).
const ACTION_TYPE_ID: u16 = 0x1008;
/// Referenced Series Sequence.
const REFERENCED_SERIES_SEQUENCE: Tag = Tag(0x0008, 0x1115);
/// Scheduled Step Attributes Sequence: in it a performed procedure step names its studies (PS3.4 F.7.2).
const SCHEDULED_STEP_ATTRIBUTES_SEQUENCE: Tag = Tag(0x0040, 0x0270);
/// Referenced Request Sequence: in it a unified procedure step does (PS3.4 CC.2.5).
const REFERENCED_REQUEST_SEQUENCE: Tag = Tag(0x0040, 0xA370);
/// Most studies that a message of a procedure step names: a step for several requests has a handful.
const MAX_STUDIES: usize = 20;

/// What a request is about; `None`: nothing that is recorded.
pub(super) fn what(
    archive: &str,
    context: &AcceptedContext,
    request: &Command,
    data: &Bytes,
) -> Option<What> {
    let class = request.sop_class.as_ref().unwrap_or(&context.abstract_syntax);
    let data_set = || {
        let parsed = DataSet::parse(data, layout(&context.transfer_syntax), None);
        // What cannot be followed says nothing, and is recorded all the same.
        parsed.map(|parsed| parsed.data_set).unwrap_or_default()
    };
    match class.as_str() {
        sop_class::MPPS | sop_class::MPPS_RETRIEVE => procedure(archive, class, request, data_set),
        text if sop_class::UNIFIED_PROCEDURE_STEP.contains(&text) => {
            procedure(archive, class, request, data_set)
        }
        sop_class::STORAGE_COMMITMENT if request.field == field::N_ACTION_RQ => {
            Some(accessed(archive, &data_set()))
        }
        sop_class::INSTANCE_AVAILABILITY if request.field == field::N_CREATE_RQ => {
            Some(accessed(archive, &data_set()))
        }
        _ => None,
    }
}

fn procedure(
    archive: &str,
    class: &Uid,
    request: &Command,
    data_set: impl FnOnce() -> DataSet,
) -> Option<What> {
    let action = match request.field {
        field::N_CREATE_RQ => Action::Created,
        field::N_SET_RQ => Action::Updated,
        field::N_GET_RQ => Action::Read,
        // Of unified steps: to change the state, and to request that it is cancelled. The others are subscriptions (PS3.4
        // CC.2).
        field::N_ACTION_RQ if matches!(request.number(ACTION_TYPE_ID), Some(1 | 2)) => Action::Updated,
        _ => return None,
    };
    let data_set = data_set();
    let items = [SCHEDULED_STEP_ATTRIBUTES_SEQUENCE, REFERENCED_REQUEST_SEQUENCE];
    let items = items.into_iter().flat_map(|sequence| data_set.items(sequence));
    let mut studies: Vec<Uid> = Vec::new();
    for uid in std::iter::once(&data_set).chain(items).filter_map(|it| it.uid(tags::STUDY_INSTANCE_UID)) {
        if studies.len() < MAX_STUDIES && !studies.contains(&uid) {
            studies.push(uid);
        }
    }
    Some(What::Procedure(Procedure {
        archive: archive.to_owned(),
        action,
        step: (class.clone(), request.sop_instance.clone()),
        studies,
        patient: data_set.string(tags::PATIENT_ID).map(str::to_owned),
    }))
}

fn accessed(archive: &str, data_set: &DataSet) -> What {
    let patient = data_set.string(tags::PATIENT_ID).map(str::to_owned);
    let mut study = Study::new(data_set.uid(tags::STUDY_INSTANCE_UID), patient);
    let series = data_set.items(REFERENCED_SERIES_SEQUENCE).iter();
    let lists = std::iter::once(data_set).chain(series);
    for instance in lists.flat_map(|list| list.items(tags::REFERENCED_SOP_SEQUENCE)) {
        if let Some(class) = instance.uid(tags::REFERENCED_SOP_CLASS_UID) {
            study.count(&class, instance.uid(tags::REFERENCED_SOP_INSTANCE_UID).as_ref());
        }
    }
    What::InstancesAccessed { archive: archive.to_owned(), study }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn context(class: &str) -> AcceptedContext {
        AcceptedContext {
            id: 1,
            abstract_syntax: uid(class),
            transfer_syntax: uid(EXPLICIT_VR_LE),
            requestor_is_scu: true,
            requestor_is_scp: false,
        }
    }

    fn encoded(data_set: &DataSet) -> Bytes {
        data_set.encode(Layout::ExplicitLe, QueryCharset::Auto).into()
    }

    fn item(pairs: &[(Tag, &str)]) -> DataSet {
        let mut item = DataSet::new();
        pairs.iter().for_each(|(tag, value)| item.set_str(*tag, VR::UI, *value));
        item
    }

    #[test]
    fn a_performed_procedure_step_is_a_procedure_record_of_its_studies_and_its_patient() {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PATIENT_ID, VR::LO, "4711");
        let steps = ["1.5", "1.6", "1.5"].map(|study| item(&[(tags::STUDY_INSTANCE_UID, study)]));
        data_set.set_items(SCHEDULED_STEP_ATTRIBUTES_SEQUENCE, steps.to_vec());
        for (request, action) in [
            (field::N_CREATE_RQ, Action::Created),
            (field::N_SET_RQ, Action::Updated),
            (field::N_GET_RQ, Action::Read),
        ] {
            let sop_instance = Some(uid("1.9"));
            let request = Command { sop_instance, ..Command::request(request, sop_class::MPPS, 1) };
            let told = what("ris", &context(sop_class::MPPS), &request, &encoded(&data_set));
            let expected = Procedure {
                archive: "ris".into(),
                action,
                step: (uid(sop_class::MPPS), Some(uid("1.9"))),
                studies: vec![uid("1.5"), uid("1.6")],
                patient: Some("4711".into()),
            };
            assert_eq!(told, Some(What::Procedure(expected)));
        }
    }

    #[test]
    fn storage_commitment_is_told_with_the_instances_that_are_asked_about() {
        let mut data_set = DataSet::new();
        let references = ["1.7", "1.8"].map(|instance| {
            item(&[(tags::REFERENCED_SOP_CLASS_UID, "1.2.3"), (tags::REFERENCED_SOP_INSTANCE_UID, instance)])
        });
        data_set.set_items(tags::REFERENCED_SOP_SEQUENCE, references.to_vec());
        let request = Command::request(field::N_ACTION_RQ, sop_class::STORAGE_COMMITMENT, 1);
        let told = what("main", &context(sop_class::STORAGE_COMMITMENT), &request, &encoded(&data_set));
        let Some(What::InstancesAccessed { study, .. }) = told else { panic!("{told:?}") };
        assert_eq!(study.classes[&uid("1.2.3")].names, [uid("1.7"), uid("1.8")]);
    }

    #[test]
    fn hazard_what_cannot_be_read_is_recorded_as_unknown() {
        let request = Command::request(field::N_CREATE_RQ, sop_class::MPPS, 1);
        let told = what("ris", &context(sop_class::MPPS), &request, &Bytes::from_static(b"no data set"));
        assert!(matches!(told, Some(What::Procedure(it)) if it.studies.is_empty() && it.patient.is_none()));
    }

    #[test]
    fn subscriptions_and_print_are_no_procedure_records() {
        let push = sop_class::UNIFIED_PROCEDURE_STEP[0];
        for (class, field, action) in [
            (push, field::N_ACTION_RQ, 3),
            (push, field::N_DELETE_RQ, 0),
            ("1.2.840.10008.5.1.1.16", field::N_GET_RQ, 0),
        ] {
            let others = vec![(ACTION_TYPE_ID, Bytes::from(vec![action, 0]))];
            let request = Command { others, ..Command::request(field, class, 1) };
            assert_eq!(what("main", &context(class), &request, &Bytes::new()), None);
        }
    }
}
