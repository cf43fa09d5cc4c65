//! Archives without relational queries, with Patient Root only, and with less than that.

use super::*;

/// Two patients with two studies each, two series a study, two instances a series; the numbers make the UIDs.
fn instances() -> Vec<DataSet> {
    let mut all = Vec::new();
    for n in 0..16_usize {
        let (study, series) = (n / 4, n / 2);
        all.push(data_set(&[
            (tags::PATIENT_ID, ["A", "B"][study / 2]),
            (tags::PATIENT_NAME, ["Alpha", "Beta"][study / 2]),
            (tags::STUDY_DATE, ["20240101", "20240102", "20240103", "20240104"][study]),
            (tags::STUDY_INSTANCE_UID, &format!("1.{study}")),
            (tags::SERIES_INSTANCE_UID, &format!("1.{study}.{series}")),
            (tags::MODALITY, ["CT", "MR"][series % 2]),
            (tags::SOP_INSTANCE_UID, &format!("1.{study}.{series}.{n}")),
            (tags::INSTANCE_NUMBER, &n.to_string()),
        ]));
    }
    all
}

#[derive(Clone, Copy)]
struct Ways {
    /// Keys of other levels than the one asked for fail with this.
    refuses: Option<u16>,
    /// Levels from the top of the model.
    patient_root: bool,
    /// Answers have the attributes of their own level and Unique Keys only.
    terse: bool,
}

/// Matches exactly on all keys, as a strict archive does.
fn ask(ways: Ways, identifier: &DataSet) -> Answer {
    let attributes: [(Level, &[Tag]); 4] = [
        (Level::Patient, &[tags::PATIENT_ID, tags::PATIENT_NAME]),
        (Level::Study, &[tags::STUDY_INSTANCE_UID, tags::STUDY_DATE]),
        (Level::Series, &[tags::SERIES_INSTANCE_UID, tags::MODALITY]),
        (Level::Instance, &[tags::SOP_INSTANCE_UID, tags::INSTANCE_NUMBER]),
    ];
    let top = if ways.patient_root { Level::Patient } else { Level::Study };
    let level_of = |tag: Tag| {
        let level = attributes.iter().find(|(_, tags)| tags.contains(&tag)).map(|(level, _)| *level);
        level.map(|l| l.max(top))
    };
    let level = identifier.string(tags::QUERY_RETRIEVE_LEVEL).and_then(Level::from_value).unwrap();
    let levels = [Level::Patient, Level::Study, Level::Series, Level::Instance];
    let above = levels.into_iter().filter(|l| (top..level).contains(l));
    if let Some(status) = ways.refuses {
        let names_parents = above.clone().all(|l| identifier.strings(l.unique_key()).len() == 1);
        let strays = identifier
            .iter()
            .any(|(tag, _)| level_of(tag).is_some_and(|l| l > level || (l < level && tag != l.unique_key())));
        if !names_parents || strays {
            return refused(status);
        }
    }
    let mut matches = Vec::new();
    for instance in instances() {
        let fits = identifier.iter().filter(|(tag, _)| level_of(*tag).is_some()).all(|(tag, key)| {
            key.strings().is_empty() || key.strings().iter().any(|v| instance.string(tag) == Some(v))
        });
        let is_unique = |tag: Tag| levels.iter().any(|l| l.unique_key() == tag);
        let answer: DataSet = (instance.iter())
            .filter(|(tag, _)| {
                level_of(*tag).is_some_and(|l| l == level || (l < level && (!ways.terse || is_unique(*tag))))
            })
            .map(|(tag, element)| (tag, element.clone()))
            .collect();
        if fits && !matches.contains(&answer) {
            matches.push(answer);
        }
    }
    found(matches)
}

fn pacs(ways: Ways) -> Arc<Pacs> {
    let takes = if ways.patient_root { sop_class::PATIENT_ROOT_FIND } else { sop_class::STUDY_ROOT_FIND };
    Pacs::taking(vec![takes], move |identifier| ask(ways, identifier))
}

const RELATIONAL: Ways = Ways { refuses: None, patient_root: false, terse: false };
const HIERARCHICAL: Ways = Ways { refuses: Some(0xC000), ..RELATIONAL };

fn within_study(level: Level, study: &str) -> Query {
    Query { within: Some(Level::Study), ..query_with(level, &[(tags::STUDY_INSTANCE_UID, study)]) }
}

#[tokio::test]
async fn every_archive_finds_the_same_and_returns_the_parents_too() {
    let archives = [
        ("relational", RELATIONAL),
        ("relational, parents not returned", Ways { terse: true, ..RELATIONAL }),
        ("hierarchical", HIERARCHICAL),
        ("hierarchical, A900", Ways { refuses: Some(0xA900), ..HIERARCHICAL }),
        ("Patient Root, relational", Ways { patient_root: true, ..RELATIONAL }),
        ("Patient Root, parents not returned", Ways { patient_root: true, terse: true, ..RELATIONAL }),
        ("Patient Root, hierarchical", Ways { patient_root: true, terse: true, ..HIERARCHICAL }),
    ];
    for (name, ways) in archives {
        let archive = pacs(ways).archive();
        for round in 0..2 {
            let all = run(&archive, query(Level::Instance)).await.unwrap().0;
            assert_eq!(all.len(), 16, "{name} {round}");
            for found in &all {
                let original = instances()
                    .into_iter()
                    .find(|i| i.string(tags::SOP_INSTANCE_UID) == found.string(tags::SOP_INSTANCE_UID));
                for (tag, element) in &original.unwrap() {
                    assert_eq!(found.get(tag), Some(element), "{name} {round}");
                }
            }
            let series = query_with(Level::Series, &[(tags::PATIENT_NAME, "Beta"), (tags::MODALITY, "MR")]);
            let uids = values(&archive, series, tags::SERIES_INSTANCE_UID).await;
            assert_eq!(uids, ["1.2.5", "1.3.7"], "{name} {round}");
            let study = query_with(Level::Study, &[(tags::STUDY_DATE, "20240103")]);
            assert_eq!(values(&archive, study, tags::PATIENT_NAME).await, ["Beta"], "{name} {round}");
            let within = values(&archive, within_study(Level::Instance, "1.1"), tags::MODALITY).await;
            assert_eq!(within, ["CT", "CT", "MR", "MR"], "{name} {round}");
            assert_eq!(run(&archive, within_study(Level::Series, "1.9")).await.unwrap().0.len(), 0, "{name}");
        }
    }
}

#[tokio::test]
async fn a_series_search_below_its_study_is_one_plain_c_find() {
    let pacs = pacs(Ways { terse: true, ..HIERARCHICAL });
    let (matches, _) = run(&pacs.archive(), within_study(Level::Series, "1.1")).await.unwrap();
    assert_eq!((matches.len(), pacs.finds()), (2, vec!["SERIES".to_owned()]));
    assert!(!matches[0].contains(tags::PATIENT_NAME), "the study is named by the URL");
    assert!(matches[0].contains(tags::SERIES_NUMBER));
    let identifiers = pacs.identifiers.lock().unwrap();
    assert!(!identifiers[0].contains(tags::PATIENT_NAME));
}

#[tokio::test]
async fn attributes_of_the_study_come_with_its_series_on_demand() {
    let pacs = pacs(HIERARCHICAL);
    let mut query = within_study(Level::Series, "1.1");
    query.include = vec![tags::PATIENT_NAME.into(), tags::SOP_INSTANCE_UID.into()];
    let (matches, _) = run(&pacs.archive(), query).await.unwrap();
    assert_eq!(pacs.finds(), ["STUDY", "SERIES"]);
    assert_eq!(matches[0].string(tags::PATIENT_NAME), Some("Alpha"));
    assert!(!matches[0].contains(tags::SOP_INSTANCE_UID), "no attributes of lower levels");
}

#[tokio::test]
async fn a_search_that_brings_what_it_was_made_for_is_not_cancelled() {
    let pacs = pacs(Ways { terse: true, ..RELATIONAL });
    let (matches, _) = run(&pacs.archive(), query(Level::Series)).await.unwrap();
    assert!(matches.len() == 8 && pacs.finds().contains(&"STUDY".to_owned()), "parents were asked for");
    assert_eq!(pacs.cancels(), 0);
}

#[tokio::test]
async fn that_an_archive_is_not_relational_is_learnt_once() {
    let pacs = pacs(HIERARCHICAL);
    let archive = pacs.archive();
    for finds in [6, 11] {
        run(&archive, query(Level::Series)).await.unwrap();
        assert_eq!(pacs.finds().len(), finds);
    }
}

#[tokio::test]
async fn hazard_an_archive_that_answers_relational_queries_with_nothing_is_not_believed() {
    let pacs = Pacs::new(|identifier| match ask(HIERARCHICAL, identifier) {
        Answer::Matches(_, _, 0xC000) => found(vec![]),
        answer => answer,
    });
    let archive = pacs.archive();
    assert_eq!(run(&archive, query(Level::Series)).await.unwrap().0.len(), 8);
    assert_eq!(run(&archive, query(Level::Instance)).await.unwrap().0.len(), 16);
}

#[tokio::test]
async fn hazard_load_is_not_taken_for_a_missing_feature() {
    let pacs = Pacs::new(|_| refused(0xA700));
    let error = run(&pacs.archive(), query(Level::Series)).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Status { code: 0xA700, .. }));
    assert_eq!(pacs.finds().len(), 1);
}

#[tokio::test]
async fn a_study_whose_patient_nobody_knows_is_refused_with_words_in_patient_root() {
    let ways = Ways { patient_root: true, ..HIERARCHICAL };
    let archive = pacs(ways).archive();
    let error = run(&archive, within_study(Level::Series, "1.1")).await.unwrap_err();
    assert!(matches!(&error.kind, Kind::Unsupported(why) if why.contains("Patient ID")), "{error:?}");
    run(&archive, query(Level::Study)).await.unwrap();
    assert_eq!(run(&archive, within_study(Level::Series, "1.1")).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn a_search_that_would_take_too_many_is_cut_short_and_says_so() {
    let pacs = Pacs::new(|identifier| {
        match (identifier.string(tags::QUERY_RETRIEVE_LEVEL), identifier.string(tags::STUDY_INSTANCE_UID)) {
            (Some("STUDY"), _) => Answer::Endless(study(1), 3),
            (_, Some(uid)) => found(vec![data_set(&[
                (tags::STUDY_INSTANCE_UID, uid),
                (tags::SERIES_INSTANCE_UID, "1.1.1"),
            ])]),
            _ => refused(0xA900),
        }
    });
    let (matches, warnings) = run(&pacs.archive(), query(Level::Series)).await.unwrap();
    assert_eq!((matches.len(), pacs.cancels()), (1000, 1));
    assert!(warnings[0].contains("first 1000 studies"), "{warnings:?}");
}

#[tokio::test]
async fn attack_what_was_asked_for_is_not_taken_for_what_the_archive_says() {
    // It looks up by the lowest UID alone, and says nothing of what stands above.
    let own = |level: &str| match level {
        "PATIENT" => data_set(&[(tags::PATIENT_ID, "A")]),
        "STUDY" => data_set(&[(tags::STUDY_INSTANCE_UID, "1.2")]),
        "SERIES" => data_set(&[(tags::SERIES_INSTANCE_UID, "1.2.5")]),
        _ => data_set(&[(tags::SOP_INSTANCE_UID, "1.2.5.10")]),
    };
    let bare = |takes| {
        let script = move |identifier: &DataSet| {
            found(vec![own(identifier.string(tags::QUERY_RETRIEVE_LEVEL).unwrap())])
        };
        Pacs::taking(vec![takes], script).archive()
    };
    let patient_root = bare(sop_class::PATIENT_ROOT_FIND);
    let of_patient = query_with(Level::Study, &[(tags::PATIENT_ID, "A")]);
    let study_root = bare(sop_class::STUDY_ROOT_FIND);
    let mut by_uid = within_study(Level::Instance, "1.1");
    by_uid.keys.extend(query_with(Level::Instance, &[(tags::SOP_INSTANCE_UID, "1.2.5.10")]).keys);
    for (archive, query) in [(patient_root, of_patient), (study_root, by_uid)] {
        assert_eq!(run(&archive, query.clone()).await.unwrap().0.len(), 1, "{query:?}");
        let as_said = Query { as_said: true, ..query };
        assert_eq!(run(&archive, as_said.clone()).await.unwrap().0.len(), 0, "{as_said:?}");
    }
}
