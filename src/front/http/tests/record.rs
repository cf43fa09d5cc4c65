//! What requests are recorded as.

use super::stow::{file, file_of_patient, multipart};
use super::wado::{lay, object, whole};
use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Kind, Search};
use crate::dicom::dataset::DataSet;
use crate::event::{Event, Outcome, Recorder, Study, Transfer, Way, What};

const DICOM: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// A bridge whose events are kept.
fn recorded() -> (Bridge, Recorder) {
    let (archive, shutdown) = (Fake::named("main"), CancellationToken::new());
    let archives = router::Router::new([archive.clone() as Arc<_>], None);
    let (events, recorder) = Events::recorded();
    let services = Services { events, ..services(archives, shutdown.clone()) };
    (Bridge { archive, app: app(named(Config::default()), services), shutdown }, recorder)
}

fn transfer(event: &Event) -> (&Transfer, Outcome) {
    match &event.what {
        What::InstancesTransferred(transfer) => (transfer, event.outcome),
        other => panic!("{other:?}"),
    }
}

fn numbers(transfer: &Transfer) -> Vec<(&str, usize)> {
    let of = |study: &Study| study.number();
    let name = |study| -> &str { Option::as_ref(study).map_or("", crate::dicom::Uid::as_str) };
    transfer.studies.iter().map(|study| (name(&study.uid), of(study))).collect()
}

#[tokio::test]
async fn a_study_is_recorded_as_it_begins_to_leave_and_with_what_has_left() {
    let (bridge, recorder) = recorded();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"first").await);
    driver.item(whole("1.4.2", b"second").await);
    driver.complete();
    assert_eq!(bridge.ask("GET", "/dicom-web/studies/1.2", DICOM).await.status, 200);
    let events = recorder.take();
    assert!(matches!(&events[0].what, What::BeginTransferring(begun) if numbers(begun) == [("1.2", 0)]));
    let (sent, outcome) = transfer(&events[1]);
    assert_eq!(
        (events.len(), outcome, &sent.way, sent.archive.as_str()),
        (2, Outcome::Success, &Way::Retrieved, "main")
    );
    assert_eq!(numbers(sent), [("1.2", 2)]);
}

#[tokio::test]
async fn hazard_an_answer_that_breaks_off_is_recorded_with_what_was_out_before() {
    let (bridge, recorder) = recorded();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"first").await);
    let (log, second) = object("1.4.2", "1.2.840.10008.1.2.1");
    driver.item(second);
    log.append(&Bytes::from_static(b"half")).await;
    drop(log);
    let request = Request::get("/dicom-web/studies/1.2").header("Host", "localhost").header("Accept", DICOM);
    let response = bridge.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    let events = recorder.take();
    let (sent, outcome) = transfer(&events[1]);
    assert_eq!((numbers(sent), outcome), (vec![("1.2", 1)], Outcome::SeriousFailure));
}

#[tokio::test]
async fn hazard_a_client_that_leaves_is_recorded_whenever_it_leaves() {
    let (bridge, recorder) = recorded();
    let _driver: Driver<_> = lay(&bridge, Vec::new());
    let request =
        || Request::get("/dicom-web/studies/1.2").header("Host", "localhost").header("Accept", DICOM);
    let asked = bridge.app.clone().oneshot(request().body(Body::empty()).unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(20), asked).await.is_err());
    let events = recorder.take();
    let (sent, outcome) = transfer(&events[0]);
    assert_eq!((numbers(sent), outcome), (vec![("1.2", 0)], Outcome::SeriousFailure));
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"first").await);
    let response = bridge.app.clone().oneshot(request().body(Body::empty()).unwrap()).await.unwrap();
    drop(response);
    let events = recorder.take();
    let (sent, outcome) = transfer(&events[1]);
    assert_eq!((numbers(sent), outcome), (vec![("1.2", 0)], Outcome::SeriousFailure));
}

#[tokio::test]
async fn what_is_not_there_is_recorded_as_asked_for_and_a_head_as_nothing_sent() {
    let (bridge, recorder) = recorded();
    bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotFound)));
    bridge.ask("GET", "/dicom-web/studies/1.2", DICOM).await.problem(404);
    let events = recorder.take();
    let (sent, outcome) = transfer(&events[0]);
    assert_eq!((numbers(sent), outcome), (vec![("1.2", 0)], Outcome::MinorFailure));
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"first").await);
    driver.complete();
    let path = "/dicom-web/studies/1.2/series/1.3/instances/1.4.1";
    assert_eq!(bridge.ask("HEAD", path, DICOM).await.status, 200);
    let events = recorder.take();
    let (sent, outcome) = transfer(&events[0]);
    assert_eq!((events.len(), numbers(sent), outcome), (1, vec![("1.2", 0)], Outcome::Success));
}

#[tokio::test]
async fn hazard_what_does_not_leave_is_not_counted_however_much_was_taken_for_it() {
    const JSON: &str = "application/dicom+json";
    let (bridge, recorder) = recorded();
    for (method, fails) in [("HEAD", false), ("GET", true)] {
        let driver = lay(&bridge, Vec::new());
        for uid in ["1.4.1", "1.4.2", "1.4.3"] {
            driver.item(whole(uid, b"").await);
        }
        if fails {
            driver.fail(Error::new("main", Kind::NotFound));
        } else {
            driver.complete();
        }
        let status = bridge.ask(method, "/dicom-web/studies/1.2/metadata", JSON).await.status;
        for event in recorder.take() {
            if let What::InstancesTransferred(sent) = &event.what {
                assert_eq!(numbers(sent), [("1.2", 0)], "{method} {status}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_the_client_has_already_is_recorded_as_asked_for_and_nothing_as_begun_or_sent() {
    const JSON: &str = "application/dicom+json";
    const PATH: &str = "/dicom-web/studies/1.2/metadata";
    let (bridge, recorder) = recorded();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"").await);
    driver.complete();
    let tag = bridge.ask("GET", PATH, JSON).await.header("etag").to_owned();
    assert!(matches!(recorder.take()[0].what, What::BeginTransferring(_)));
    for (method, known, status) in
        [("GET", &tag[..], 304), ("HEAD", &tag[..], 304), ("HEAD", "\"other\"", 200)]
    {
        let driver = lay(&bridge, Vec::new());
        driver.item(whole("1.4.1", b"").await);
        driver.complete();
        let headers = [("Accept", JSON), ("If-None-Match", known)];
        assert_eq!(bridge.ask_with(method, PATH, &headers).await.status, status);
        let events = recorder.take();
        assert_eq!(events.len(), 1, "{method} {status}: {events:?}");
        let (sent, outcome) = transfer(&events[0]);
        assert_eq!((numbers(sent), outcome), (vec![("1.2", 0)], Outcome::Success), "{method} {status}");
    }
}

#[tokio::test]
async fn what_is_stored_is_recorded_with_the_patient_that_it_says() {
    let (bridge, recorder) = recorded();
    let files = [("4711", "1.4.1"), ("4712", "1.4.2"), ("4711", "1.4.3")];
    let files = files.map(|(patient, instance)| file_of_patient(patient, instance));
    assert_eq!(bridge.post("/dicom-web/studies", multipart(&files)).await.status, 200);
    let events = recorder.take();
    let (stored, _) = transfer(&events[0]);
    let mut found: Vec<_> =
        stored.studies.iter().map(|study| (study.patient.as_deref(), study.number())).collect();
    found.sort();
    assert_eq!(found, [(Some("4711"), 2), (Some("4712"), 1)]);
}

#[tokio::test]
async fn a_search_is_recorded_with_its_query() {
    let (bridge, recorder) = recorded();
    let (driver, matches) = Driver::<Arc<DataSet>>::new();
    bridge.archive.push_search(Ok(Search { matches, warnings: Vec::new() }));
    driver.complete();
    bridge.get("/archives/main/studies/1.2/series?Modality=CT").await;
    bridge.archive.push_search(Err(Error::new("main", Kind::QueueFull)));
    bridge.get("/dicom-web/studies").await.problem(503);
    let events = recorder.take();
    let texts: Vec<_> = events
        .iter()
        .map(|event| match &event.what {
            What::Query(query) => (std::str::from_utf8(&query.text).unwrap(), event.outcome),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        [("studies/1.2/series?Modality=CT", Outcome::Success), ("studies", Outcome::SeriousFailure)];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn pages_are_not_recorded() {
    let (bridge, recorder) = recorded();
    for path in ["/", "/health/live", "/metrics", "/nothing"] {
        bridge.get(path).await;
    }
    assert_eq!(recorder.take(), []);
}

#[tokio::test]
async fn what_is_stored_and_what_is_not_are_two_events() {
    let (bridge, recorder) = recorded();
    bridge
        .archive
        .push_store(Err(Error::new("main", Kind::ClassRefused(crate::dicom::Uid::from_static("1.2")))));
    let files = ["1.4.1", "1.4.2", "1.4.3"].map(|instance| file("1.2", instance));
    let answer = bridge.post("/dicom-web/studies", multipart(&files)).await;
    assert_eq!(answer.status, 202);
    let events = recorder.take();
    let mut found: Vec<_> = events
        .iter()
        .map(|event| {
            let (stored, outcome) = transfer(event);
            assert_eq!(stored.way, Way::Stored);
            (numbers(stored).iter().map(|(_, number)| number).sum::<usize>(), outcome == Outcome::Success)
        })
        .collect();
    found.sort();
    assert_eq!(found, [(1, false), (2, true)]);
}
