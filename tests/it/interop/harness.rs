//! The peers themselves: that they start, hold what they are given, and hand it out, without a bridge between.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::peers::{Archive, Destination, data, manifest, nginx, pydicom_files, python};
use crate::support::process::{Scratch, bounded};

/// What `reference_get.py` wrote to `out`.
fn retrieved(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("retrieved.json")).unwrap()).unwrap()
}

/// The SOP Instance UIDs of a manifest.
fn instances(entries: &[Value]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry["instance"].as_str().unwrap().to_owned()).collect()
}

/// The SOP Instance UIDs that the reference client was given.
fn received(out: &Path) -> BTreeSet<String> {
    retrieved(out)["objects"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_reference_client_gets_every_object_that_orthanc_holds() {
    let names = data("names", &[]);
    let archive = Archive::orthanc(&names, &[], serde_json::json!({}));
    let out = Scratch::new("reference");
    let arguments =
        ["get", &archive.address(), archive.holds.to_str().unwrap(), out.path().to_str().unwrap()];
    python("reference_get.py", &arguments);
    assert_eq!(received(out.path()), instances(&manifest(&names)));
}

#[test]
fn the_reference_client_is_moved_every_object_by_orthanc_and_by_dcmqrscp() {
    let names = data("names", &[]);
    let own = Destination::new("REFERENCE");
    let orthanc = Archive::orthanc(&names, std::slice::from_ref(&own), serde_json::json!({}));
    let dcmqrscp = Archive::dcmqrscp(&names, &orthanc.holds, std::slice::from_ref(&own), &["--disable-get"]);
    for archive in [&orthanc, &dcmqrscp] {
        let out = Scratch::new("reference");
        let to = format!("{}:{}", own.ae_title, own.port);
        let holds = archive.holds.to_str().unwrap();
        let arguments = ["move", &archive.address(), holds, out.path().to_str().unwrap(), "--own", &to];
        python("reference_get.py", &arguments);
        assert_eq!(received(out.path()), instances(&manifest(&names)), "{}", archive.ae_title);
    }
}

#[test]
fn orthanc_takes_most_of_the_files_that_pydicom_brings() {
    let (folder, taken) = pydicom_files();
    let taken: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(taken).unwrap()).unwrap();
    let all = manifest(&folder).len();
    assert!(taken.len() >= 100 && taken.len() <= all, "{} of {all}", taken.len());
}

#[test]
fn dcmtk_clients_and_nginx_answer() {
    let archive = Archive::orthanc(&data("names", &[]), &[], serde_json::json!({}));
    let echo = bounded("/usr/bin/echoscu")
        .args(["-aec", &archive.ae_title, "127.0.0.1", &archive.port.to_string()])
        .status()
        .unwrap();
    assert!(echo.success());
    let (_nginx, port) = nginx(archive.rest.trim_start_matches("http://"));
    let answer = crate::support::curl::curl(&format!("http://127.0.0.1:{port}/system"), &[]);
    assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
    assert_eq!(answer.json()["DicomAet"], "ORTHANC");
}
