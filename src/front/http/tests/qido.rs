//! Searches.

use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Kind, Search};
use crate::caller::Priority;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::Level;
use crate::dicom::{VR, tags};

pub(super) fn study(uid: &str, date: &str) -> DataSet {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, uid);
    data_set.set_str(tags::STUDY_DATE, VR::DA, date);
    data_set
}

/// Lays the answer to a search ready that ends well after `matches`.
pub(super) fn lay(bridge: &Bridge, matches: impl IntoIterator<Item = DataSet>) -> Driver<Arc<DataSet>> {
    let driver = lay_open(bridge, matches);
    driver.complete();
    driver
}

fn lay_open(bridge: &Bridge, matches: impl IntoIterator<Item = DataSet>) -> Driver<Arc<DataSet>> {
    let (driver, feed) = Driver::new();
    matches.into_iter().for_each(|data_set| driver.item(Arc::new(data_set)));
    bridge.archive.push_search(Ok(Search { matches: feed, warnings: Vec::new() }));
    driver
}

fn uids(answer: &Answer) -> Vec<String> {
    let value = |entry: &Value| entry["0020000D"]["Value"][0].as_str().unwrap().to_owned();
    answer.json().as_array().unwrap().iter().map(value).collect()
}

#[tokio::test]
async fn studies_come_as_dicom_json_latest_first_with_a_retrieve_url_of_this_bridge() {
    let bridge = Bridge::new();
    lay(&bridge, [study("1.1", "20200101"), study("1.3", "20240101"), study("1.2", "20240101")]);
    let answer = bridge.get("/dicom-web/studies?PatientID=7").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/dicom+json");
    assert_eq!(uids(&answer), ["1.2", "1.3", "1.1"]);
    let url = &answer.json()[0]["00081190"];
    assert_eq!(url["vr"], "UR");
    assert_eq!(url["Value"][0], "http://bridge.example/dicom-web/studies/1.2");
    assert_eq!(bridge.archive.queries()[0].keys.len(), 1);
    assert_eq!(bridge.archive.callers()[0].priority, Priority::Interactive);
}

#[tokio::test]
async fn every_resource_searches_at_its_level_and_links_to_it() {
    let bridge = Bridge::new();
    for (path, level, url) in [
        ("/dicom-web/studies", Level::Study, "/dicom-web/studies/1.2"),
        ("/archives/main/series", Level::Series, "/archives/main/studies/1.2/series/1.3"),
        ("/dicom-web/instances", Level::Instance, "/dicom-web/studies/1.2/series/1.3/instances/1.4"),
        ("/dicom-web/studies/1.2/series", Level::Series, "/dicom-web/studies/1.2/series/1.3"),
        (
            "/dicom-web/studies/1.2/instances",
            Level::Instance,
            "/dicom-web/studies/1.2/series/1.3/instances/1.4",
        ),
        (
            "/dicom-web/studies/1.2/series/1.3/instances",
            Level::Instance,
            "/dicom-web/studies/1.2/series/1.3/instances/1.4",
        ),
    ] {
        let mut found = DataSet::new();
        // What the path says, an archive may leave out.
        if !path.contains("/1.2/") {
            found.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
        }
        found.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
        found.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.4");
        lay(&bridge, [found]);
        let answer = bridge.get(path).await;
        assert_eq!(answer.json()[0]["00081190"]["Value"][0], format!("http://bridge.example{url}"), "{path}");
        assert_eq!(bridge.archive.queries().last().unwrap().level, level);
    }
}

#[tokio::test]
async fn hazard_a_failed_search_is_never_an_empty_list() {
    let bridge = Bridge::new();
    let status = |code| Kind::Status { operation: "C-FIND", code, comment: None, client_keys: false };
    for (kind, expected) in [
        (status(0xA700), 503),
        (status(0xC001), 502),
        (Kind::Unreachable("connection refused".to_owned()), 503),
        (Kind::Timeout("C-FIND"), 504),
    ] {
        bridge.archive.push_search(Err(Error::new("main", kind.clone())));
        let answer = bridge.get("/dicom-web/studies").await;
        answer.problem(expected);
        assert_eq!(answer.header("retry-after").is_empty(), expected != 503);
        // The same behind the first match.
        lay_open(&bridge, [study("1.1", "")]).fail(Error::new("main", kind));
        bridge.get("/dicom-web/studies").await.problem(expected);
    }
}

#[tokio::test]
async fn hazard_a_search_whose_driver_died_is_an_error() {
    let bridge = Bridge::new();
    drop(lay_open(&bridge, [study("1.1", "")]));
    bridge.get("/dicom-web/studies").await.problem(500);
}

#[tokio::test]
async fn no_match_is_204_also_behind_the_offset() {
    let bridge = Bridge::new();
    lay(&bridge, []);
    let answer = bridge.get("/dicom-web/studies").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    lay(&bridge, [study("1.1", "")]);
    assert_eq!(bridge.get("/dicom-web/studies?offset=1").await.status, 204);
    lay(&bridge, [study("1.1", "")]);
    assert_eq!(bridge.get("/dicom-web/studies?limit=0").await.status, 204);
}

#[tokio::test]
async fn pages_fit_together_though_the_archive_answers_in_any_order() {
    let bridge = Bridge::new();
    let all = |reversed: bool| {
        let mut studies: Vec<DataSet> = (10..22).map(|n| study(&format!("1.{n}"), "20240101")).collect();
        if reversed {
            studies.reverse();
        }
        studies
    };
    lay(&bridge, all(false));
    let first = bridge.get("/dicom-web/studies?limit=5").await;
    assert_eq!(uids(&first), ["1.10", "1.11", "1.12", "1.13", "1.14"]);
    let service = "299 http://bridge.example/dicom-web";
    let more = |n| format!("{service}: There are {n} additional results that can be requested");
    assert_eq!(first.header("warning"), more(7));
    // From the snapshot: no further search is laid ready.
    let second = bridge.get("/dicom-web/studies?limit=5&offset=5").await;
    assert_eq!(uids(&second), ["1.15", "1.16", "1.17", "1.18", "1.19"]);
    assert_eq!(second.header("warning"), more(2));
    let third = bridge.get("/dicom-web/studies?offset=10&limit=5").await;
    assert_eq!(uids(&third), ["1.20", "1.21"]);
    assert_eq!(third.header("warning"), "");
    // The first page is always asked for anew.
    lay(&bridge, all(true));
    assert_eq!(uids(&bridge.get("/dicom-web/studies?limit=5&offset=0").await), uids(&first));
}

#[tokio::test]
async fn hazard_a_search_with_a_limit_is_cancelled_when_it_has_enough() {
    let bridge = Bridge::new();
    // The archive goes on and on: no end is laid ready.
    let driver = lay_open(&bridge, (0..1_000).map(|n| study(&format!("1.{n}"), "20240101")));
    let answer = bridge.get("/dicom-web/studies?limit=2").await;
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    assert!(answer.header("warning").ends_with(": There are additional results that can be requested"));
    assert!(driver.cancelled.is_cancelled());
}

#[tokio::test]
async fn a_large_result_is_ordered_chunk_by_chunk_so_that_its_pages_stay_what_they_were() {
    let bridge = Bridge::new();
    let arrivals = || (0..1_500).rev().map(|n| study(&format!("1.{}", 10_000 + n), "20240101"));
    lay(&bridge, arrivals());
    let all = uids(&bridge.get("/dicom-web/studies").await);
    assert_eq!((all[0].as_str(), all[1_000].as_str()), ("1.10500", "1.10000"));
    // A page from the first chunk, by a search that was stopped behind it, and one from the second.
    lay(&bridge, arrivals());
    assert_eq!(uids(&bridge.get("/dicom-web/studies?limit=3").await), all[..3]);
    lay(&bridge, arrivals());
    assert_eq!(uids(&bridge.get("/dicom-web/studies?limit=3&offset=999").await), all[999..1_002]);
    assert_eq!(uids(&bridge.get("/dicom-web/studies?limit=3&offset=1002").await), all[1_002..1_005]);
}

#[tokio::test]
async fn a_result_that_is_too_large_for_one_answer_is_413_and_says_what_to_do() {
    let bridge = Bridge::new();
    let mut large = study("1.1", "20240101");
    large.set_str(tags::ADDITIONAL_PATIENT_HISTORY, VR::LT, "x".repeat(3 << 20));
    let driver = lay_open(&bridge, [large.clone(), large]);
    assert!(bridge.get("/dicom-web/studies").await.problem(413).contains("`limit`"));
    assert!(driver.cancelled.is_cancelled());
}

#[tokio::test]
async fn warnings_of_the_archive_reach_the_client_as_ascii() {
    let bridge = Bridge::new();
    let (driver, feed) = Driver::new();
    driver.item(Arc::new(study("1.1", "")));
    driver.complete();
    let text = "The fuzzymatching parameter is not supported. Only literal matching has been performed.";
    let warnings = vec![text.to_owned(), "line\nbreak ü".to_owned()];
    bridge.archive.push_search(Ok(Search { matches: feed, warnings }));
    let answer = bridge.get("/dicom-web/studies?fuzzymatching=true").await;
    let found: Vec<&str> =
        answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    let service = "299 http://bridge.example/dicom-web";
    assert_eq!(found, [format!("{service}: {text}"), format!("{service}: line?break ?")]);
    assert!(bridge.archive.queries()[0].fuzzy);
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let bridge = Bridge::new();
    lay(&bridge, [study("1.1", "")]);
    let answer = bridge.ask("HEAD", "/dicom-web/studies", "application/dicom+json").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert!(answer.header("content-length").parse::<usize>().unwrap() > 10);
}

#[tokio::test]
async fn a_client_that_takes_plain_json_only_gets_it() {
    let bridge = Bridge::new();
    lay(&bridge, [study("1.1", "")]);
    let answer = bridge.ask("GET", "/dicom-web/studies", "application/json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    lay(&bridge, [study("1.1", "")]);
    let answer = bridge.ask("GET", "/dicom-web/studies", "application/dicom+json, application/json").await;
    assert_eq!(answer.header("content-type"), "application/dicom+json");
}
