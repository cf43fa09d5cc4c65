//! Zip archives of studies, series and instances.

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{VR, tags};

const ZIP: &str = "application/zip; transfer-syntax=*";

/// An object whose data set said its series.
async fn of_series(series: &'static str, uid: &'static str, bytes: &'static [u8]) -> Object {
    Object { series: Some(Uid::from_static(series)), ..whole(uid, bytes).await }
}

/// The names in the directory of an archive; none where there is no directory.
fn names(archive: &[u8]) -> Vec<String> {
    let places = (0..archive.len()).filter(|&at| archive[at..].starts_with(b"PK\x01\x02"));
    let name = |at: usize| {
        let length = usize::from(u16::from_le_bytes([archive[at + 28], archive[at + 29]]));
        String::from_utf8(archive[at + 46..at + 46 + length].to_vec()).unwrap()
    };
    places.map(name).collect()
}

#[tokio::test]
async fn a_study_comes_in_folders_by_its_uids_whatever_way_it_is_asked_for() {
    for (path, accept) in [
        ("/dicom-web/studies/1.2", ZIP),
        ("/dicom-web/studies/1.2?accept=application/zip;transfer-syntax=*", "text/html,*/*;q=0.8"),
        ("/dicom-web/studies/1.2?accept=application%2Fzip%3Btransfer-syntax%3D%2A", ""),
    ] {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        driver.item(of_series("1.3.1", "1.4.1", b"first data set").await);
        driver.item(of_series("1.3.2", "1.4.2", b"second data set").await);
        driver.item(whole("1.4.3", b"it does not say its series").await);
        driver.complete();
        let answer = bridge.ask("GET", path, accept).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/zip"));
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"1.2.zip\"");
        let expected = ["1.2/1.3.1/1.4.1.dcm", "1.2/1.3.2/1.4.2.dcm", "1.2/without-series/1.4.3.dcm"];
        assert_eq!(names(&answer.body), expected);
        let body: String = answer.body.iter().map(|&b| char::from(b)).collect();
        assert_eq!(body.matches("DICM").count(), 3);
        assert!(body.contains("first data set") && body.contains("second data set"));
        assert_eq!(bridge.archive.retrieves()[0].form, Form::AsStored);
    }
}

#[tokio::test]
async fn series_and_instances_come_too_and_an_instance_has_a_validator() {
    let path = "/dicom-web/studies/1.2/series/1.3";
    for (path, file_name, known) in [
        (path.to_owned(), "1.3.zip", ""),
        (format!("{path}/instances/1.4"), "1.4.zip", ""),
        (format!("{path}/instances/1.4"), "1.4.zip", "again"),
    ] {
        let bridge = Bridge::new();
        let lay_one = async || {
            let driver = lay(&bridge, Vec::new());
            driver.item(whole("1.4", b"data set").await);
            driver.complete();
        };
        lay_one().await;
        let answer = bridge.ask("GET", &path, "application/zip").await;
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{file_name}\""));
        assert_eq!(names(&answer.body), ["1.2/1.3/1.4.dcm"]);
        assert_eq!(bridge.archive.retrieves()[0].form, Form::AsStored, "what is kept for the next client");
        if !known.is_empty() {
            lay_one().await;
            let headers = [("Accept", "application/zip"), ("If-None-Match", answer.header("etag"))];
            let again = bridge.ask_with("GET", &path, &headers).await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        }
    }
}

#[tokio::test]
async fn hazard_a_short_study_has_no_directory_and_breaks() {
    let bridge = Bridge::new();
    let path = "/dicom-web/studies/1.2?accept=application/zip";
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"all of it").await);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    let text = broken(&bridge, path).await;
    assert!(text.ends_with("all of it") && !text.contains("PK\x01\x02"));

    let driver = lay(&bridge, Vec::new());
    let (log, half) = object("1.4.2", EXPLICIT);
    driver.item(half);
    driver.complete();
    log.append(&Bytes::from_static(b"half of it")).await;
    drop(log);
    assert!(broken(&bridge, path).await.ends_with("half of it"));
}

#[tokio::test]
async fn objects_known_to_be_missing_make_it_206_with_a_warning() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, vec![Uid::from_static("1.4.9")]);
    driver.item(whole("1.4.1", b"x").await);
    driver.complete();
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2", ZIP).await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("warning"), "299 http://bridge.example/dicom-web: 1 instances are missing");
    assert_eq!(names(&answer.body), ["1.2/without-series/1.4.1.dcm", "1.2/MISSING.txt"]);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains(
        "1 instances are missing here: the archive lists them, and has not delivered them.\n\n1.4.9\n"
    ));
}

#[tokio::test]
async fn hazard_the_same_object_twice_breaks_the_archive() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole("1.4.1", b"one").await);
    driver.item(whole("1.4.1", b"other").await);
    driver.complete();
    assert!(broken(&bridge, "/dicom-web/studies/1.2?accept=application/zip").await.ends_with("one"));
}

#[tokio::test]
async fn what_the_web_has_not_is_re_encoded_on_its_way_into_the_archive() {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::PATIENT_ID, VR::LO, "P1");
    let head = Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: Uid::from_static("1.4"),
        transfer_syntax: Uid::from_static("1.2.840.10008.1.2"),
    };
    let (log, object) = ObjectLog::new(head, &Budget::new(1 << 24));
    log.append(&data_set.encode(Layout::ImplicitLe, QueryCharset::Auto).into()).await;
    log.finish();
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(object);
    driver.complete();
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2", ZIP).await;
    let text: String = answer.body.iter().map(|&b| char::from(b)).collect();
    assert!(text.contains("LO\x02\0P1") && text.contains("1.2.840.10008.1.2.1\0"));
}

#[tokio::test]
async fn hazard_zip_slip_no_path_of_a_request_becomes_one_of_an_archive() {
    let bridge = Bridge::new();
    for path in ["..%2F..%2Fetc", "1.2%0d%0aX:%20y", "1.2%2Fx", &"1".repeat(300)] {
        let answer = bridge.ask("GET", &format!("/dicom-web/studies/{path}"), ZIP).await;
        answer.problem(400);
        assert_eq!(answer.header("content-disposition"), "");
    }
}
