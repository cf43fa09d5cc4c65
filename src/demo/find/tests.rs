use super::*;
use crate::demo::plain::Plain;
use crate::dicom::charset::Charset;

const ALL: Abilities = Abilities { relational: true, image_level: true, optional_keys: true };

/// Eight studies, each of a patient of its own, of two series (CT, MR) with three objects each.
fn store() -> Store {
    let mut store = Store::default();
    Plain::new(8, 2, 3, 100).make().into_iter().for_each(|instance| store.insert(instance));
    store
}

fn key(identifier: &mut DataSet, tag: Tag, value: &str) {
    let vr = crate::dicom::dataset::vr_of(tag);
    let values = if value.is_empty() { vec![] } else { value.split('\\').map(str::to_owned).collect() };
    identifier.set_strings(tag, vr, values);
}

fn identifier(level: &str, keys: &[(Tag, &str)]) -> DataSet {
    let mut identifier = DataSet::new();
    key(&mut identifier, tags::QUERY_RETRIEVE_LEVEL, level);
    keys.iter().for_each(|(tag, value)| key(&mut identifier, *tag, value));
    identifier
}

fn find(level: &str, keys: &[(Tag, &str)]) -> Vec<DataSet> {
    let query = Query::new(identifier(level, keys), Model::PatientRoot, ALL).unwrap();
    let archive = "PACS".parse().unwrap();
    query.matches(&store()).iter().map(|found| query.answer(found, &archive)).collect()
}

fn count(level: &str, keys: &[(Tag, &str)]) -> usize {
    find(level, keys).len()
}

#[test]
fn every_level_has_its_entities() {
    let sizes = ["PATIENT", "STUDY", "SERIES", "IMAGE"].map(|level| count(level, &[]));
    assert_eq!(sizes, [8, 8, 16, 48]);
}

#[test]
fn every_kind_of_matching_finds_what_it_should_and_no_more() {
    use tags::*;
    for (keys, expected) in [
        (&[(PATIENT_ID, "P000003")][..], 1),
        (&[(PATIENT_ID, "P00000*")], 8),
        (&[(PATIENT_ID, "P00000?")], 8),
        (&[(PATIENT_ID, "P00000")], 0),
        (&[(PATIENT_NAME, "*")], 8),
        (&[(PATIENT_NAME, "")], 8),
        (&[(PATIENT_NAME, "müller^*")], 1),
        (&[(PATIENT_NAME, "smith^mary anne")], 1),
        (&[(PATIENT_NAME, "山田*")], 1),
        (&[(PATIENT_NAME, "Παπαδόπουλος^Νίκος")], 1),
        (&[(STUDY_DATE, "20150101")], 1),
        (&[(STUDY_DATE, "20150101-20170303")], 3),
        (&[(STUDY_DATE, "-20160202")], 2),
        (&[(STUDY_DATE, "20220808-")], 1),
        (&[(STUDY_DATE, "20150101-20150101"), (STUDY_TIME, "0900-1000")], 0),
        (&[(STUDY_DATE, "20150101-20150101"), (STUDY_TIME, "0800-0801")], 1),
        (&[(ACCESSION_NUMBER, "A0000001")], 1),
        (&[(MODALITIES_IN_STUDY, "MR")], 8),
        (&[(MODALITIES_IN_STUDY, "US")], 0),
        (&[(NUMBER_OF_STUDY_RELATED_INSTANCES, "6")], 8),
        (&[(STUDY_DESCRIPTION, "plain*")], 0),
        (&[(MODALITY, "US")], 8),
    ] {
        assert_eq!(count("STUDY", keys), expected, "{keys:?}");
    }
}

#[test]
fn uids_match_as_lists_and_narrow_the_levels_below() {
    let plain = Plain::new(8, 2, 3, 100);
    let studies = format!("{}\\{}\\1.2.3", plain.study_uid(0), plain.study_uid(5));
    assert_eq!(count("STUDY", &[(tags::STUDY_INSTANCE_UID, &studies)]), 2);
    let (study, series) = (plain.study_uid(2), plain.series_uid(2, 1));
    let keys = [(tags::STUDY_INSTANCE_UID, study.as_str()), (tags::SERIES_INSTANCE_UID, series.as_str())];
    assert_eq!(count("SERIES", &keys[..1]), 2);
    assert_eq!(count("IMAGE", &keys), 3);
    assert_eq!(count("IMAGE", &[keys[0], (tags::MODALITY, "MR")]), 3);
    assert_eq!(count("IMAGE", &[(tags::INSTANCE_NUMBER, "2")]), 16);
    assert_eq!(count("IMAGE", &[keys[1], (tags::STUDY_INSTANCE_UID, "1.2.3")]), 0);
}

#[test]
fn keys_in_a_sequence_match_within_it_and_come_back_alone() {
    let mut request = DataSet::new();
    key(&mut request, tags::REQUESTED_PROCEDURE_ID, "RP4");
    let mut identifier = identifier("SERIES", &[]);
    identifier.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![request]);
    let query = Query::new(identifier, Model::StudyRoot, ALL).unwrap();
    let matches = query.matches(&store());
    assert_eq!(matches.len(), 2);
    let answer = query.answer(&matches[0], &"PACS".parse().unwrap());
    let item = &answer.items(tags::REQUEST_ATTRIBUTES_SEQUENCE)[0];
    assert_eq!((item.string(tags::REQUESTED_PROCEDURE_ID), item.len()), (Some("RP4"), 1));
}

#[test]
fn answers_have_what_was_asked_for_and_only_attributes_of_the_level_and_above() {
    use tags::*;
    let asked = [
        PATIENT_ID,
        MODALITY,
        STUDY_DESCRIPTION,
        MODALITIES_IN_STUDY,
        SOP_CLASSES_IN_STUDY,
        NUMBER_OF_STUDY_RELATED_SERIES,
        NUMBER_OF_STUDY_RELATED_INSTANCES,
        NUMBER_OF_PATIENT_RELATED_STUDIES,
        INSTANCE_AVAILABILITY,
        ADMISSION_ID,
    ]
    .map(|tag| (tag, ""));
    let answer = find("STUDY", &asked).remove(0);
    assert_eq!(answer.string(PATIENT_ID), Some("P000001"));
    assert_eq!(answer.string(STUDY_DESCRIPTION), Some("Plain study 1"));
    assert_eq!(answer.strings(MODALITIES_IN_STUDY), ["CT", "MR"]);
    assert_eq!(answer.strings(SOP_CLASSES_IN_STUDY).len(), 2);
    assert_eq!(answer.int(NUMBER_OF_STUDY_RELATED_SERIES), Some(2));
    assert_eq!(answer.int(NUMBER_OF_STUDY_RELATED_INSTANCES), Some(6));
    assert_eq!(answer.int(NUMBER_OF_PATIENT_RELATED_STUDIES), Some(1));
    assert_eq!(answer.string(RETRIEVE_AE_TITLE), Some("PACS"));
    assert_eq!(answer.string(QUERY_RETRIEVE_LEVEL), Some("STUDY"));
    assert_eq!(answer.string(INSTANCE_AVAILABILITY), Some("ONLINE"));
    // A series has these; a study answers them without a value.
    assert!(answer.get(MODALITY).unwrap().value.is_empty());
    assert!(answer.get(ADMISSION_ID).unwrap().value.is_empty());
    assert!(!answer.contains(PATIENT_NAME));
}

#[test]
fn answers_come_in_the_character_set_that_the_object_is_stored_in() {
    let query = Query::new(identifier("STUDY", &[(tags::PATIENT_NAME, "")]), Model::StudyRoot, ALL).unwrap();
    let mut labels = Vec::new();
    for found in query.matches(&store()) {
        let encoded = query.encode(&found, &"PACS".parse().unwrap(), Layout::ImplicitLe);
        let answer = DataSet::parse(&encoded, Layout::ImplicitLe, None).unwrap().data_set;
        let label = answer.strings(tags::SPECIFIC_CHARACTER_SET).to_vec();
        assert_eq!(Charset::from_values(&label), found.instance.charset);
        assert_eq!(answer.string(tags::PATIENT_NAME), found.instance.attributes.string(tags::PATIENT_NAME));
        labels.push(label.join("\\"));
    }
    assert_eq!(labels[..5], ["ISO_IR 100", "", "ISO_IR 126", "ISO 2022 IR 6\\ISO 2022 IR 87", "GB18030"]);
}

#[test]
fn what_the_model_or_the_archive_has_not_is_refused() {
    let refused = |model, abilities, level: &str, keys: &[(Tag, &str)]| {
        Query::new(identifier(level, keys), model, abilities).err()
    };
    let a900 = Some(status::IDENTIFIER_DOES_NOT_MATCH);
    let (patient, study) = (Model::PatientRoot, Model::StudyRoot);
    assert_eq!(refused(study, ALL, "PATIENT", &[]), a900);
    assert_eq!(refused(patient, ALL, "PATIENT", &[]), None);
    assert_eq!(refused(study, ALL, "INSTANCE", &[]), a900);
    assert_eq!(refused(study, Abilities { image_level: false, ..ALL }, "IMAGE", &[]), a900);
    let hierarchical = Abilities { relational: false, ..ALL };
    let in_study = [(tags::STUDY_INSTANCE_UID, "1.2"), (tags::PATIENT_ID, "P1")];
    assert_eq!(refused(study, hierarchical, "STUDY", &[]), None);
    assert_eq!(refused(patient, hierarchical, "STUDY", &[]), a900);
    assert_eq!(refused(study, hierarchical, "SERIES", &[]), a900);
    assert_eq!(refused(study, hierarchical, "SERIES", &in_study[..1]), None);
    assert_eq!(refused(patient, hierarchical, "SERIES", &in_study[..1]), a900);
    assert_eq!(refused(patient, hierarchical, "SERIES", &in_study), None);
    assert_eq!(refused(study, hierarchical, "IMAGE", &in_study), a900);
}

#[test]
fn an_archive_that_ignores_optional_keys_says_so() {
    let poor = Abilities { optional_keys: false, ..ALL };
    let keys = [(tags::PATIENT_NAME, "Nobody"), (tags::PATIENT_ID, "P000001")];
    let query = Query::new(identifier("STUDY", &keys), Model::StudyRoot, poor).unwrap();
    assert_eq!(query.matches(&store()).len(), 1);
    assert!(query.ignores_keys());
    let query = Query::new(identifier("STUDY", &keys[1..]), Model::StudyRoot, poor).unwrap();
    assert!(!query.ignores_keys());
}
