use bytes::Bytes;

use super::narrowed::PORTION;
use super::*;
use crate::archive::testing::{Driver, Fake};
use crate::archive::{Expected, Form};
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::object::{Budget, Head, ObjectLog};
use crate::dicom::query::Target;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, layout};

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

fn to_patients(ids: &[&str]) -> Restriction {
    Restriction { patients: ids.iter().map(|&id| id.to_owned()).collect(), ..Restriction::default() }
}

fn to_studies(uids: &[&str]) -> Restriction {
    Restriction { studies: uids.iter().map(|text| uid(text)).collect(), ..Restriction::default() }
}

fn scene(restriction: Restriction) -> (Arc<Fake>, Restricted) {
    let fake = Fake::named("main");
    let restricted = Restricted::new(fake.clone(), Arc::new(restriction), Owners::default());
    (fake, restricted)
}

fn found(study: &str, patient: Option<&str>) -> DataSet {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, study);
    if let Some(patient) = patient {
        data_set.set_str(tags::PATIENT_ID, VR::LO, patient);
    }
    data_set
}

/// Lays the answer to a search ready.
fn lay(fake: &Fake, matches: &[(&str, Option<&str>)]) {
    let (driver, feed) = Driver::new();
    for (study, patient) in matches {
        driver.item(Arc::new(found(study, *patient)));
    }
    driver.complete();
    fake.push_search(Ok(Search { matches: feed, warnings: Vec::new() }));
}

fn data_set(study: &str, patient: &str) -> Vec<u8> {
    let mut data_set = found(study, Some(patient));
    data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.9");
    data_set.set_str(tags::STUDY_ID, VR::SH, "rest");
    data_set.encode(layout(&uid(EXPLICIT_VR_LE)), QueryCharset::default())
}

/// A whole object, byte by byte.
async fn object(bytes: &[u8]) -> Object {
    let head =
        Head { sop_class: uid("1.2.5"), sop_instance: uid("1.2.3"), transfer_syntax: uid(EXPLICIT_VR_LE) };
    let (log, object) = ObjectLog::new(head, &Budget::new(1 << 20));
    for byte in bytes {
        log.append(&Bytes::copy_from_slice(&[*byte])).await;
    }
    log.finish();
    object
}

fn retrieve(study: &str) -> Retrieve {
    Retrieve::new(Target { study: uid(study), series: None, instance: None }, Form::AsStored)
}

async fn lay_object(fake: &Fake, bytes: &[u8]) {
    let (driver, objects) = Driver::new();
    driver.item(object(bytes).await);
    driver.complete();
    fake.push_retrieval(Ok(Retrieval {
        objects,
        missing: Vec::new(),
        confirmed: BTreeSet::new(),
        assumed_charset: None,
        without_bulk: false,
        expected: Expected::default(),
    }));
}

async fn first(restricted: &Restricted, study: &str) -> Result<Vec<u8>> {
    let mut retrieval = restricted.retrieve(&caller(), retrieve(study)).await?;
    match retrieval.objects.next().await {
        Step::Item(mut object) => {
            let mut bytes = Vec::new();
            while let Some(piece) = object.body.next().await {
                bytes.extend(piece.unwrap());
            }
            Ok(bytes)
        }
        Step::End(Err(error)) => Err(error),
        Step::End(Ok(_)) => panic!("no object"),
    }
}

fn query(level: Level, keys: &[(Tag, VR, &str)]) -> Query {
    let keys = keys.iter().map(|(tag, vr, value)| MatchingKey {
        path: (*tag).into(),
        vr: *vr,
        values: vec![(*value).to_owned()],
    });
    Query { level, ..study_query(keys.collect()) }
}

async fn studies(restricted: &Restricted, query: Query) -> Vec<String> {
    let mut search = restricted.search(&caller(), query).await.unwrap();
    let mut studies = Vec::new();
    loop {
        match search.matches.next().await {
            Step::Item(found) => studies.push(found.uid(tags::STUDY_INSTANCE_UID).unwrap().to_string()),
            Step::End(end) => {
                end.unwrap();
                return studies;
            }
        }
    }
}

/// The value of a key in each query that came.
fn asked(fake: &Fake, tag: Tag) -> Vec<String> {
    let value = |query: Query| {
        query
            .keys
            .iter()
            .find(|key| key.path.tags() == [tag])
            .map_or(String::new(), |key| key.values.join("\\"))
    };
    fake.queries().into_iter().map(value).collect()
}

fn not_found() -> Error {
    Error::new("main", Kind::NotFound)
}

#[tokio::test]
async fn attack_a_study_outside_is_not_there_and_the_archive_is_not_asked() {
    let (fake, restricted) = scene(to_studies(&["1.1"]));
    assert_eq!(first(&restricted, "1.2").await.unwrap_err(), not_found());
    assert!(fake.retrieves().is_empty() && fake.queries().is_empty());
    let own = data_set("1.1", "P");
    lay_object(&fake, &own).await;
    assert_eq!(first(&restricted, "1.1").await.unwrap(), own, "whole, and as it was");
}

#[tokio::test]
async fn attack_another_patients_study_is_not_there_just_as_one_that_is_not() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    for matches in [
        &[("1.2", Some("Q"))][..],
        &[],
        &[("1.2", None)],
        &[("1.2", Some("P\\Q"))],
        &[("1.2", Some("P")), ("1.2", Some("Q"))],
    ] {
        lay(&fake, matches);
        let (_, fresh) = (&fake, Restricted { owners: Owners::default(), ..restricted.clone() });
        assert_eq!(first(&fresh, "1.2").await.unwrap_err(), not_found(), "{matches:?}");
    }
    assert!(fake.retrieves().is_empty(), "not a byte was asked for");
}

#[tokio::test]
async fn attack_how_long_a_refusal_takes_tells_not_which_studies_there_are() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    lay(&fake, &[("1.2", Some("Q"))]);
    lay(&fake, &[]);
    for study in ["1.2", "1.3", "1.2", "1.3", "1.3"] {
        assert_eq!(first(&restricted, study).await.unwrap_err(), not_found());
    }
    assert_eq!(fake.queries().len(), 2, "one question for each, whether it is there or not");
}

#[tokio::test]
async fn a_study_that_was_not_there_is_seen_once_it_has_been_stored() {
    let both = Restriction { studies: [uid("1.1")].into(), ..to_patients(&["P"]) };
    let (fake, restricted) = scene(both);
    lay(&fake, &[]);
    assert_eq!(first(&restricted, "1.1").await.unwrap_err(), not_found());
    lay(&fake, &[]);
    let own = data_set("1.1", "P");
    assert!(restricted.store(&caller(), object(&own).await).await.is_ok());
    lay(&fake, &[("1.1", Some("P"))]);
    lay_object(&fake, &own).await;
    assert_eq!(first(&restricted, "1.1").await.unwrap(), own);
}

#[tokio::test]
async fn attack_an_instance_by_its_own_uid_says_itself_which_study_it_is_of() {
    let (fake, restricted) = scene(to_studies(&["1.1"]));
    for (tag, level) in
        [(tags::SERIES_INSTANCE_UID, Level::Series), (tags::SOP_INSTANCE_UID, Level::Instance)]
    {
        let (driver, feed) = Driver::new();
        driver.item(Arc::new(DataSet::new()));
        driver.item(Arc::new(found("1.2", None)));
        driver.item(Arc::new(found("1.1", None)));
        driver.complete();
        fake.push_search(Ok(Search { matches: feed, warnings: Vec::new() }));
        let keys = [(tags::STUDY_INSTANCE_UID, VR::UI, "1.1"), (tag, VR::UI, "1.2.9")];
        assert_eq!(studies(&restricted, query(level, &keys)).await, ["1.1"]);
    }
    assert!(fake.queries().iter().all(|query| query.as_said), "nothing is filled in on the way");
}

#[tokio::test]
async fn whose_a_study_is_is_asked_once_for_many_frames() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    lay(&fake, &[("1.1", Some("P "))]);
    for _ in 0..3 {
        lay_object(&fake, &data_set("1.1", "P")).await;
        assert!(first(&restricted, "1.1").await.is_ok());
    }
    assert_eq!(fake.queries().len(), 1);
}

#[tokio::test]
async fn attack_an_instance_of_another_study_below_the_own_one_does_not_come_out() {
    let (fake, restricted) = scene(to_studies(&["1.1"]));
    for bytes in [data_set("1.2", "Q"), Vec::new(), b"no data set at all".to_vec()] {
        lay_object(&fake, &bytes).await;
        assert_eq!(first(&restricted, "1.1").await.unwrap_err(), not_found());
    }
}

#[tokio::test]
async fn a_search_for_studies_is_made_for_each_patient_and_what_is_foreign_is_left_out() {
    let (fake, restricted) = scene(to_patients(&["P", "R"]));
    lay(&fake, &[("1.1", Some("P")), ("1.2", Some("Q")), ("1.3", None), ("1.4", Some("p"))]);
    lay(&fake, &[("1.5", Some("R"))]);
    assert_eq!(studies(&restricted, query(Level::Study, &[])).await, ["1.1", "1.5"]);
    assert_eq!(asked(&fake, tags::PATIENT_ID), ["P", "R"]);
}

#[tokio::test]
async fn attack_a_search_for_another_patient_is_not_made() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    let foreign = query(Level::Study, &[(tags::PATIENT_ID, VR::LO, "Q")]);
    assert!(studies(&restricted, foreign).await.is_empty());
    let foreign = query(Level::Study, &[(tags::PATIENT_ID, VR::LO, "Q*")]);
    assert!(studies(&restricted, foreign).await.is_empty());
    assert!(fake.queries().is_empty());
    // A wildcard of the client's is not one that the archive gets.
    lay(&fake, &[("1.1", Some("P"))]);
    assert_eq!(studies(&restricted, query(Level::Study, &[(tags::PATIENT_ID, VR::LO, "*")])).await, ["1.1"]);
    assert_eq!(asked(&fake, tags::PATIENT_ID), ["P"]);
}

#[tokio::test]
async fn attack_a_search_does_not_leave_its_studies() {
    let (fake, restricted) = scene(to_studies(&["1.1", "1.2"]));
    let foreign = query(Level::Study, &[(tags::STUDY_INSTANCE_UID, VR::UI, "1.3")]);
    assert!(studies(&restricted, foreign).await.is_empty());
    let foreign = query(Level::Series, &[(tags::STUDY_INSTANCE_UID, VR::UI, "1.3")]);
    assert!(studies(&restricted, foreign).await.is_empty());
    assert!(fake.queries().is_empty());
    lay(&fake, &[("1.1", None), ("1.3", None)]);
    assert_eq!(studies(&restricted, query(Level::Study, &[])).await, ["1.1"], "whatever the archive returns");
    assert_eq!(asked(&fake, tags::STUDY_INSTANCE_UID), ["1.1\\1.2"]);
}

#[tokio::test]
async fn attack_series_of_another_patients_study_are_not_listed() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    lay(&fake, &[("1.2", Some("Q"))]);
    let foreign = query(Level::Instance, &[(tags::STUDY_INSTANCE_UID, VR::UI, "1.2")]);
    assert!(studies(&restricted, foreign).await.is_empty());
    assert_eq!(fake.queries().len(), 1, "whose it is, and no more");
}

#[tokio::test]
async fn series_of_no_study_are_those_of_the_own_ones() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    lay(&fake, &[("1.1", Some("P")), ("1.2", Some("Q"))]);
    lay(&fake, &[("1.1", Some("P"))]);
    // An archive that leaves out what the search fixes, and one that returns others.
    let (driver, feed) = Driver::new();
    driver.item(Arc::new(DataSet::new()));
    driver.item(Arc::new(found("1.1", None)));
    driver.item(Arc::new(found("1.2", None)));
    driver.complete();
    fake.push_search(Ok(Search { matches: feed, warnings: Vec::new() }));
    let mut search = restricted.search(&caller(), query(Level::Series, &[])).await.unwrap();
    let mut count = 0;
    while let Step::Item(_) = search.matches.next().await {
        count += 1;
    }
    assert_eq!(count, 2);
    assert_eq!(asked(&fake, tags::STUDY_INSTANCE_UID), ["", "1.1", "1.1"]);
}

#[tokio::test]
async fn a_failure_of_a_later_search_is_a_failure() {
    let (fake, restricted) = scene(to_patients(&["P", "R"]));
    lay(&fake, &[("1.1", Some("P"))]);
    fake.push_search(Err(Error::new("main", Kind::QueueFull)));
    let mut search = restricted.search(&caller(), query(Level::Study, &[])).await.unwrap();
    assert!(matches!(search.matches.next().await, Step::Item(_)));
    assert!(matches!(search.matches.next().await, Step::End(Err(Error { kind: Kind::QueueFull, .. }))));
}

#[tokio::test]
async fn attack_an_object_is_stored_into_the_own_study_of_the_own_patient_alone() {
    let not_authorized = Err(Error::new("main", Kind::NotAuthorized));
    let (fake, restricted) = scene(to_patients(&["P"]));
    let bytes = data_set("1.1", "Q");
    assert_eq!(restricted.store(&caller(), object(&bytes).await).await, not_authorized, "another patient");
    let bytes = data_set("1.2", "P");
    lay(&fake, &[("1.2", Some("Q"))]);
    assert_eq!(
        restricted.store(&caller(), object(&bytes).await).await,
        not_authorized,
        "into another's study"
    );
    let bytes = data_set("1.3", "P");
    lay(&fake, &[]);
    assert_eq!(restricted.store(&caller(), object(&bytes).await).await, not_authorized, "nor into none");
    assert_eq!(restricted.store(&caller(), object(b"rubbish").await).await, not_authorized);
    let bytes = data_set("1.1", "P");
    lay(&fake, &[("1.1", Some("P"))]);
    assert!(restricted.store(&caller(), object(&bytes).await).await.is_ok());
    let stored = fake.stored();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].1, bytes, "whole, and as it was");
}

#[tokio::test]
async fn a_new_study_is_stored_where_the_restriction_names_it() {
    let (fake, restricted) = scene(to_studies(&["1.1"]));
    assert!(restricted.store(&caller(), object(&data_set("1.1", "P")).await).await.is_ok());
    assert!(restricted.store(&caller(), object(&data_set("1.2", "P")).await).await.is_err());
    let both = Restriction { studies: [uid("1.1")].into(), ..to_patients(&["P"]) };
    let restricted = Restricted { restriction: Arc::new(both), ..restricted };
    lay(&fake, &[]);
    assert!(restricted.store(&caller(), object(&data_set("1.1", "P")).await).await.is_ok());
    lay(&fake, &[("1.1", Some("Q"))]);
    assert!(restricted.store(&caller(), object(&data_set("1.1", "P")).await).await.is_err());
}

#[tokio::test]
async fn attack_an_object_that_changes_its_patient_behind_its_head_is_broken_off() {
    let (fake, restricted) = scene(to_studies(&["1.1"]));
    // Behind the UIDs once more what stands before them, for another study.
    let mut bytes = data_set("1.1", "P");
    bytes.extend(data_set("1.2", "Q"));
    let stored = restricted.store(&caller(), object(&bytes).await).await;
    assert!(stored.is_err() && fake.stored().is_empty(), "{stored:?}");
}

#[test]
fn messages_are_not_passed_on_unread() {
    assert!(scene(to_studies(&["1.1"])).1.relay().is_none());
}

/// A patient with so many studies, and an archive that lists them.
fn many(fake: &Fake, count: usize) -> Vec<String> {
    let uids: Vec<String> = (0..count).map(|n| format!("1.{:04}", 1_000 + n)).collect();
    let own: Vec<_> = uids.iter().map(|uid| (uid.as_str(), Some("P"))).collect();
    lay(fake, &own);
    uids
}

#[tokio::test]
async fn the_first_match_leaves_before_the_last_owner_is_known() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    let uids = many(&fake, PORTION + 2);
    let (first, last) = uids.split_at(PORTION);
    // Of the first portion one is another patient's, too, and the rest of it the archive leaves out of its answer.
    lay(
        &fake,
        &[(first[0].as_str(), Some("P")), (first[1].as_str(), Some("P")), (first[1].as_str(), Some("Q"))],
    );
    for uid in &first[2..] {
        lay(&fake, &[(uid.as_str(), Some("P"))]);
    }
    lay(&fake, &[(first[0].as_str(), None)]);
    let mut search = restricted.search(&caller(), query(Level::Series, &[])).await.unwrap();
    assert!(matches!(search.matches.next().await, Step::Item(_)));
    let named = asked(&fake, tags::STUDY_INSTANCE_UID);
    assert_eq!(named[1], first.join("\\"), "all of a portion by one question");
    assert!(named.iter().all(|named| !last.iter().any(|uid| named.contains(uid.as_str()))), "{named:?}");
    for uid in &first[2..] {
        lay(&fake, &[(uid.as_str(), None)]);
    }
    lay(&fake, &last.iter().map(|uid| (uid.as_str(), Some("P"))).collect::<Vec<_>>());
    for uid in last {
        lay(&fake, &[(uid.as_str(), None)]);
    }
    let mut seen = vec![first[0].clone()];
    let end = loop {
        match search.matches.next().await {
            Step::Item(found) => seen.push(found.uid(tags::STUDY_INSTANCE_UID).unwrap().to_string()),
            Step::End(end) => break end,
        }
    };
    end.unwrap();
    let own: Vec<String> = uids.iter().filter(|uid| **uid != first[1]).cloned().collect();
    assert_eq!(seen, own, "in order, and without what two patients have");
}

#[tokio::test]
async fn whose_the_last_studies_are_that_cannot_be_asked_is_a_failure() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    let uids = many(&fake, PORTION + 1);
    lay(&fake, &uids[..PORTION].iter().map(|uid| (uid.as_str(), Some("P"))).collect::<Vec<_>>());
    for uid in &uids[..PORTION] {
        lay(&fake, &[(uid.as_str(), None)]);
    }
    fake.push_search(Err(Error::new("main", Kind::QueueFull)));
    let mut search = restricted.search(&caller(), query(Level::Series, &[])).await.unwrap();
    for _ in 0..PORTION {
        assert!(matches!(search.matches.next().await, Step::Item(_)));
    }
    assert!(matches!(search.matches.next().await, Step::End(Err(Error { kind: Kind::QueueFull, .. }))));
}

#[tokio::test(start_paused = true)]
async fn attack_whose_a_study_is_is_asked_again_when_the_answer_is_old() {
    let (fake, restricted) = scene(to_patients(&["P"]));
    lay(&fake, &[("1.1", Some("P"))]);
    for _ in 0..2 {
        lay_object(&fake, &data_set("1.1", "P")).await;
        assert!(first(&restricted, "1.1").await.is_ok());
        tokio::time::advance(std::time::Duration::from_secs(9)).await;
    }
    // Within eighteen seconds the study was given to somebody else.
    lay(&fake, &[("1.1", Some("Q"))]);
    assert_eq!(first(&restricted, "1.1").await.unwrap_err(), not_found());
    assert_eq!(fake.queries().len(), 2);
}
