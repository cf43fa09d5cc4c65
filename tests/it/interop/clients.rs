//! DICOMweb clients as they are, against the bridge before real archives.

use crate::support::bridge::Bridge;
use crate::support::curl::{curl, header_accepting_as_stored};
use crate::support::peers::{Archive, Destination, nginx, pydicom_files, python};

#[test]
fn dicomweb_client_searches_and_retrieves_unmodified() {
    let (data, _) = pydicom_files();
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&data, std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    python("dicomweb_client_session.py", &[&bridge.url, archive.holds.to_str().unwrap()]);
}

#[test]
fn an_archive_that_is_down_is_an_error_and_not_an_empty_list() {
    let (data, _) = pydicom_files();
    let own = Destination::new("GANTRY");
    let mut archive = Archive::orthanc(&data, std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let url = format!("{}/studies", bridge.url);
    assert_eq!(curl(&url, &[]).status, 200);
    archive.server.kill();
    let answer = curl(&url, &[]);
    assert_eq!((answer.exit, answer.status), (0, 503), "{answer:?}");
    assert!(answer.content_type.starts_with("application/problem+json"), "{answer:?}");
}

#[test]
fn a_study_through_a_default_nginx_is_the_study_without_one() {
    let (data, _) = pydicom_files();
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&data, std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let (_nginx, port) = nginx(&bridge.http);
    let holds: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(&archive.holds).unwrap()).unwrap();
    let study = holds[0]["study"].as_str().unwrap();
    let accept = header_accepting_as_stored();
    let direct = curl(&format!("{}/studies/{study}", bridge.url), &["-H", accept]);
    let proxied = curl(&format!("http://127.0.0.1:{port}/dicom-web/studies/{study}"), &["-H", accept]);
    assert_eq!((direct.exit, direct.status), (0, 200), "{}", String::from_utf8_lossy(&direct.body));
    assert_eq!((proxied.exit, proxied.status), (0, 200));
    // The boundary may differ from answer to answer, its length may not.
    assert_eq!(direct.body.len(), proxied.body.len());
}
