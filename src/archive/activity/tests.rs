use std::time::Duration;

use super::super::testing::{Driver, Fake};
use super::super::{Archive, Form, Retrieval, Search, Step};
use super::*;

fn caller() -> Caller {
    Caller { client: Some([10, 0, 0, 7].into()), priority: Priority::Bulk, title: None }
}

fn study() -> Retrieve {
    let target = Target { study: "1.2.3".parse().unwrap(), series: None, instance: None };
    Retrieve::new(target, Form::AsStored)
}

fn retrieval(objects: super::super::Feed<crate::dicom::object::Object>) -> Retrieval {
    Retrieval {
        objects,
        missing: Vec::new(),
        confirmed: Default::default(),
        assumed_charset: None,
        without_bulk: false,
        expected: Expected::of(7),
    }
}

fn all_studies() -> crate::dicom::query::Query {
    crate::dicom::query::Query {
        level: crate::dicom::query::Level::Study,
        within: None,
        keys: Vec::new(),
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    }
}

fn status(code: u16) -> Error {
    let comment = Some("no patient Doe^John".to_owned());
    Error::new("main", Kind::Status { operation: "C-FIND", code, comment, client_keys: false })
}

#[tokio::test]
async fn hazard_failures_are_kept_without_what_an_archive_says_of_patients_and_once_where_they_repeat() {
    let (fake, activity) = (Fake::named("main"), Activity::default());
    let archive = Observed::new(fake.clone(), activity.clone());
    assert_eq!(activity.standing("main").is_well(), None);
    for code in [0xA700, 0xA700, 0xC000] {
        fake.push_search(Err(status(code)));
        assert!(archive.search(&caller(), all_studies()).await.is_err());
    }
    let failures = activity.failures();
    assert_eq!(failures.iter().map(|failure| failure.times).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((failures[0].attempt, failures[0].client), (Attempt::Search, caller().client));
    assert!(!format!("{activity:?}").contains("Doe"), "{activity:?}");
    assert_eq!(activity.standing("main").is_well(), Some(false));
    archive.verify(&caller()).await.unwrap();
    assert_eq!(activity.standing("main").is_well(), Some(true));
}

#[tokio::test]
async fn what_fails_after_it_has_begun_is_noted_and_what_is_the_clients_fault_is_not() {
    let (fake, activity) = (Fake::named("main"), Activity::default());
    let archive = Observed::new(fake.clone(), activity.clone());
    for kind in [Kind::NotFound, Kind::Cancelled, Kind::TooManyMatches, Kind::Timeout("silence")] {
        let (driver, matches) = Driver::new();
        driver.fail(Error::new("main", kind));
        fake.push_search(Ok(Search { matches, warnings: Vec::new() }));
        let query = all_studies();
        let mut search = archive.search(&caller(), query).await.unwrap();
        assert!(matches!(search.matches.next().await, Step::End(Err(_))));
    }
    let failures = activity.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].error.kind, Kind::Timeout("silence"));
}

#[test]
fn the_oldest_failures_give_way() {
    let activity = Activity::default();
    for code in 0..150 {
        activity.failed("main", &caller(), Attempt::Search, &status(0xC000 + code));
    }
    let failures = activity.failures();
    assert_eq!(failures.len(), MOST_FAILURES);
    assert!(matches!(failures[0].error.kind, Kind::Status { code: 0xC095, .. }), "{:?}", failures[0]);
}

#[tokio::test]
async fn a_retrieval_is_listed_while_it_runs_and_can_be_ended() {
    let (fake, activity) = (Fake::named("main"), Activity::default());
    let archive = Followed::new(fake.clone(), activity.clone());
    let (driver, objects) = Driver::new();
    fake.push_retrieval(Ok(retrieval(objects)));
    let mut first = archive.retrieve(&caller(), study()).await.unwrap();
    let (second, objects) = Driver::new();
    fake.push_retrieval(Ok(retrieval(objects)));
    let other = archive.retrieve(&caller(), study()).await.unwrap();
    let running = activity.running();
    assert_eq!(running.iter().map(|one| one.expected()).collect::<Vec<_>>(), [Some(7), Some(7)]);
    assert_eq!((running[0].target.clone(), running[0].client), (study().target, caller().client));
    let next = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        running[0].cancel();
    };
    let (step, ()) = tokio::join!(first.objects.next(), next);
    assert!(matches!(step, Step::End(Err(Error { kind: Kind::Cancelled, .. }))), "{step:?}");
    drop(first);
    assert!(driver.cancelled.is_cancelled(), "the archive is told");
    assert_eq!(activity.running().len(), 1);
    drop(other);
    assert!(second.cancelled.is_cancelled());
    assert!(activity.running().is_empty());
}
