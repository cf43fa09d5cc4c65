//! Keys that an archive does not match on, or that one identifier cannot hold.

use super::*;

/// A study of a patient with a description.
fn described(number: usize, name: &str, description: &str) -> DataSet {
    let mut study = study(number);
    study.set_str(tags::PATIENT_NAME, vr_of(tags::PATIENT_NAME), name);
    study.set_str(tags::STUDY_DESCRIPTION, vr_of(tags::STUDY_DESCRIPTION), description);
    study
}

fn everything() -> Vec<DataSet> {
    vec![
        described(1, "Doe^John", "CT THORAX"),
        described(2, "Müller^Jürgen", "MR HEAD"),
        described(3, "Roe^Jane", ""),
        described(4, "DOE^JANE", "CT HEAD"),
    ]
}

/// Matches on UIDs only.
fn ignoring_optional_keys(identifier: &DataSet) -> Answer {
    let uids = identifier.strings(tags::STUDY_INSTANCE_UID).to_vec();
    let wanted =
        |s: &DataSet| uids.is_empty() || uids.iter().any(|u| s.string(tags::STUDY_INSTANCE_UID) == Some(u));
    found(everything().into_iter().filter(wanted).collect())
}

#[tokio::test]
async fn hazard_keys_that_the_archive_ignores_are_matched_here() {
    let pacs = Pacs::new(ignoring_optional_keys);
    let archive = pacs.archive();
    for (tag, value, expected) in [
        (tags::PATIENT_NAME, "doe*", &["1.1", "1.4"][..]),
        (tags::PATIENT_NAME, "Mueller*", &[]),
        (tags::PATIENT_NAME, "Müller*", &["1.2"]),
        (tags::STUDY_DESCRIPTION, "*CT*", &["1.1", "1.4"]),
        (tags::STUDY_DESCRIPTION, "\"\"", &["1.3"]),
        (tags::STUDY_INSTANCE_UID, "1.2,1.3", &["1.2", "1.3"]),
    ] {
        let query = query_with(Level::Study, &[(tag, value)]);
        assert_eq!(values(&archive, query, tags::STUDY_INSTANCE_UID).await, expected, "{tag} {value}");
    }
}

#[tokio::test]
async fn what_an_archive_matched_by_rules_of_its_own_is_kept() {
    // It folds accents and takes open ranges for studies without a date, and it minds its keys.
    let pacs = Pacs::new(|identifier| {
        let is_known = |tag: Tag, values: &[&str]| identifier.string(tag).is_none_or(|v| values.contains(&v));
        let name = is_known(tags::PATIENT_NAME, &["Muller*"]);
        let date = is_known(tags::STUDY_DATE, &["20240101-"]);
        let mut study = described(2, "Müller^Jürgen", "MR HEAD");
        study.set_empty(tags::STUDY_DATE, vr_of(tags::STUDY_DATE));
        found(if name && date { vec![study] } else { vec![] })
    });
    let archive = pacs.archive();
    for (tag, value) in [(tags::PATIENT_NAME, "Muller*"), (tags::STUDY_DATE, "20240101-")] {
        for _ in 0..2 {
            let query = query_with(Level::Study, &[(tag, value)]);
            assert_eq!(values(&archive, query, tags::STUDY_INSTANCE_UID).await, ["1.2"], "{tag}");
        }
    }
    assert_eq!(pacs.finds().len(), 6, "each key was put to the proof once");
}

#[tokio::test]
async fn a_list_becomes_several_searches_and_one_result_without_duplicates() {
    let all = [("1.1", "CT"), ("1.2", "CT,PT"), ("1.3", "MR"), ("1.4", "PT")];
    let pacs = Pacs::new(move |identifier| {
        let wanted = identifier.string(tags::MODALITIES_IN_STUDY).unwrap_or("").to_owned();
        let hits = all.iter().filter(|(_, modalities)| modalities.split(',').any(|m| m == wanted));
        found(
            hits.map(|(uid, m)| data_set(&[(tags::STUDY_INSTANCE_UID, uid), (tags::MODALITIES_IN_STUDY, m)]))
                .collect(),
        )
    });
    let query = query_with(Level::Study, &[(tags::MODALITIES_IN_STUDY, "CT,PT")]);
    assert_eq!(values(&pacs.archive(), query, tags::STUDY_INSTANCE_UID).await, ["1.1", "1.2", "1.4"]);
    assert_eq!(pacs.finds().len(), 2);
}

#[tokio::test]
async fn modalities_in_study_are_counted_where_the_archive_has_none() {
    let pacs = Pacs::new(|identifier| {
        let uid = identifier.string(tags::STUDY_INSTANCE_UID);
        match (identifier.string(tags::QUERY_RETRIEVE_LEVEL), uid) {
            (Some("STUDY"), _) => found((1..=3).map(study).collect()),
            (_, Some(uid)) => {
                let modalities = if uid == "1.2" { &["MR", "SR"][..] } else { &["CT"] };
                let series = |m: &&str| {
                    data_set(&[
                        (tags::STUDY_INSTANCE_UID, uid),
                        (tags::SERIES_INSTANCE_UID, &format!("{uid}.{}", m.len())),
                        (tags::MODALITY, m),
                        (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, "20"),
                    ])
                };
                found(modalities.iter().map(series).collect())
            }
            _ => refused(0xA900),
        }
    });
    let archive = pacs.archive();
    let mut query = query_with(Level::Study, &[(tags::MODALITIES_IN_STUDY, "MR")]);
    query.include = vec![tags::NUMBER_OF_STUDY_RELATED_INSTANCES.into()];
    let (matches, _) = run(&archive, query).await.unwrap();
    assert_eq!(matches.len(), 1);
    assert_eq!(matches[0].strings(tags::MODALITIES_IN_STUDY), ["MR", "SR"]);
    assert_eq!(matches[0].int(tags::NUMBER_OF_STUDY_RELATED_SERIES), Some(2));
    assert_eq!(matches[0].int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES), Some(40));
    assert_eq!(pacs.finds(), ["STUDY", "SERIES", "SERIES", "SERIES"]);
    run(&archive, super::query(Level::Study)).await.unwrap();
    assert_eq!(pacs.finds().len(), 5, "a plain list of studies costs one C-FIND");
}

#[tokio::test]
async fn the_client_is_told_what_was_not_done() {
    let pacs = Pacs::new(|_| Answer::Matches(0xFF01, vec![described(1, "Doe^John", "X")], 0));
    let mut query = query_with(Level::Study, &[(tags::PATIENT_NAME, "Doe*")]);
    query.fuzzy = true;
    let (_, warnings) = run(&pacs.archive(), query).await.unwrap();
    assert_eq!(warnings[0], NO_FUZZY_MATCHING);
    assert!(warnings[1].contains("does not support all"), "{warnings:?}");
}

#[tokio::test]
async fn text_goes_out_in_the_narrowest_character_set_and_comes_back_in_unicode() {
    let pacs = Pacs::new(|_| found(vec![described(1, "山田^太郎", "X")]));
    let archive = pacs.archive();
    let names = ["Doe*", "Müller*", "山田*"];
    for name in names {
        let query = query_with(Level::Study, &[(tags::PATIENT_NAME, name)]);
        run(&archive, query).await.unwrap();
    }
    let identifiers = pacs.identifiers.lock().unwrap();
    let sent = |name: &str| identifiers.iter().find(|i| i.string(tags::PATIENT_NAME) == Some(name)).unwrap();
    let charsets = names.map(|name| sent(name).string(tags::SPECIFIC_CHARACTER_SET));
    assert_eq!(charsets, [None, Some("ISO_IR 100"), Some("ISO_IR 192")]);
}
