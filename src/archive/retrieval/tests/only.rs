//! Some instances of a series, as a client of a Q/R service class names them.

use super::*;

fn named(series: &str, numbers: &[usize]) -> Retrieve {
    let target =
        Target { study: STUDY.parse().unwrap(), series: Some(series.parse().unwrap()), instance: None };
    let only = numbers.iter().map(|n| format!("{series}.{n}").parse().unwrap()).collect();
    Retrieve { only, ..Retrieve::new(target, Form::AsStored) }
}

fn bulk() -> Caller {
    Caller { client: None, priority: Priority::Bulk, title: None }
}

async fn come(archive: &DimseArchive, retrieve: Retrieve) -> Result<Vec<String>, Error> {
    let mut came = bring(archive, &bulk(), retrieve).await?.0;
    came.sort();
    Ok(came)
}

#[tokio::test]
async fn instances_that_are_named_come_alone_by_one_request() {
    let pacs = Arc::new(Pacs::with(EXPLICIT_VR_LE, 3, Mutex::default()));
    let archive = pacs.archive();
    for finds in [1, 1] {
        let came = come(&archive, named(SERIES[0], &[1, 3])).await.unwrap();
        assert_eq!(came, ["1.1.1.1", "1.1.1.3"]);
        assert_eq!(*pacs.finds.lock().unwrap(), finds, "once their class is known, no search is needed");
    }
    assert_eq!(*pacs.gets.lock().unwrap(), [("IMAGE".to_owned(), 2), ("IMAGE".to_owned(), 2)]);
    let rest = Retrieve { having: ["1.1.1.1".parse().unwrap()].into(), ..named(SERIES[0], &[1, 3]) };
    assert_eq!(come(&archive, rest).await.unwrap(), ["1.1.1.3"]);
}

#[tokio::test]
async fn hazard_an_archive_that_knows_no_lists_of_uids_brings_what_is_named_and_nothing_else() {
    let pacs = Arc::new(Pacs { knows_lists: false, ..Pacs::with(EXPLICIT_VR_LE, 4, Mutex::default()) });
    let archive = pacs.archive();
    for gets in [4, 3] {
        let came = come(&archive, named(SERIES[0], &[1, 2, 4])).await.unwrap();
        assert_eq!(came, ["1.1.1.1", "1.1.1.2", "1.1.1.4"]);
        assert_eq!(pacs.gets.lock().unwrap().drain(..).count(), gets, "lists are tried once");
    }
}

#[tokio::test]
async fn hazard_names_of_nothing_teach_nothing_about_the_archive() {
    let pacs = Arc::new(Pacs::with(EXPLICIT_VR_LE, 2, Mutex::default()));
    let archive = pacs.archive();
    let error = come(&archive, named(SERIES[0], &[7, 8, 9])).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(archive.inner.knowledge.takes_lists_of_uids());
    let error = come(&archive, named(SERIES[0], &[1, 9])).await.unwrap_err();
    assert_eq!(error.kind, Kind::Incomplete { missing: 1, named: vec!["1.1.1.9".parse().unwrap()] });
    let whole = named(SERIES[0], &[]);
    let retrieval = archive.retrieve(&bulk(), whole).await.unwrap();
    assert!(retrieval.missing.is_empty(), "{:?}", retrieval.missing);
}

#[tokio::test]
async fn how_many_objects_are_going_to_come_is_told() {
    let pacs = Arc::new(Pacs::with(EXPLICIT_VR_LE, 3, Mutex::default()));
    let archive = pacs.archive();
    let study = Target { study: STUDY.parse().unwrap(), series: None, instance: None };
    let study = Retrieve::new(study, Form::AsStored);
    for (retrieve, expected) in [(study, 6), (named(SERIES[1], &[]), 3), (named(SERIES[1], &[1, 2]), 2)] {
        let retrieval = archive.retrieve(&bulk(), retrieve).await.unwrap();
        assert_eq!(retrieval.expected.get(), Some(expected));
    }
}

#[tokio::test]
async fn hazard_a_patient_id_of_a_client_that_brings_nothing_is_forgotten() {
    let pacs = Arc::new(Pacs::with(EXPLICIT_VR_LE, 1, Mutex::default()));
    let archive = pacs.archive();
    let patients = &archive.inner.knowledge.patients;
    for (study, kept) in [(STUDY, Some("P1")), ("9.9", None)] {
        let target = Target { study: study.parse().unwrap(), series: None, instance: None };
        let retrieve = Retrieve { patient: Some("P1".into()), ..Retrieve::new(target, Form::AsStored) };
        let _ = come(&archive, retrieve).await;
        assert_eq!(patients.patient_of(&study.parse().unwrap()).as_deref(), kept);
    }
}
