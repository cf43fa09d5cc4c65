//! What comes out of WADO-RS is what the archive gives a client that changes nothing, bit for bit.
//!
//! The objects are the files that pydicom brings for its own tests: every kind of encoding, compression and
//! breakage that somebody once met.

use crate::support::bridge::Bridge;
use crate::support::peers::{Archive, Destination, pydicom_files, python};
use crate::support::process::Scratch;

/// The AE that the bridge is to its archives.
fn own() -> Destination {
    Destination::new("GANTRY")
}

/// Retrieves everything that `archive` holds with the reference client, by C-GET or, when it is given a `destination`,
/// by C-MOVE; then through the bridge, and compares.
fn compare(archive: &Archive, bridge: &Bridge, destination: Option<&Destination>) {
    let reference = Scratch::new("reference");
    let folder = reference.path().to_str().unwrap();
    let holds = archive.holds.to_str().unwrap();
    let address = archive.address();
    match destination {
        None => python("reference_get.py", &["get", &address, holds, folder]),
        Some(to) => {
            let to = format!("{}:{}", to.ae_title, to.port);
            python("reference_get.py", &["move", &address, holds, folder, "--own", &to])
        }
    };
    let counts = python("wado_against_reference.py", &[&bridge.url, folder, holds]);
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    assert!(counts["byte-identical"].as_u64().unwrap() >= 90, "{counts}");
}

#[test]
fn every_object_by_c_get_from_orthanc_is_byte_identical_to_the_references() {
    let (data, _) = pydicom_files();
    let own = own();
    let archive = Archive::orthanc(&data, std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "get", "");
    compare(&archive, &bridge, None);
}

#[test]
fn every_object_by_c_move_from_orthanc_is_byte_identical_to_the_references() {
    let (data, _) = pydicom_files();
    let (own, reference) = (own(), Destination::new("REFERENCE"));
    let archive = Archive::orthanc(&data, &[own.clone(), reference.clone()], serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "move", "");
    compare(&archive, &bridge, Some(&reference));
}

#[test]
fn every_object_from_a_dcmqrscp_without_c_get_is_byte_identical_to_the_references() {
    let (data, taken) = pydicom_files();
    let (own, reference) = (own(), Destination::new("REFERENCE"));
    let archive = Archive::dcmqrscp(&data, &taken, &[own.clone(), reference.clone()], &["--disable-get"]);
    // Nothing says that it has no C-GET: the bridge finds out.
    let bridge = Bridge::start(&archive, &own, "auto", "");
    compare(&archive, &bridge, Some(&reference));
}

#[test]
fn every_object_of_the_built_in_archive_is_byte_identical_to_the_references() {
    let (data, _) = pydicom_files();
    let (own, reference) = (own(), Destination::new("REFERENCE"));
    let archive = Archive::built_in(&data, &[own.clone(), reference.clone()], &[]);
    compare(&archive, &Bridge::start(&archive, &own, "get", ""), None);
    compare(&archive, &Bridge::start(&archive, &own, "move", ""), Some(&reference));
}
