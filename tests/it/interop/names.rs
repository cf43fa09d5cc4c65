//! Names in every character set that the standard knows come out as they are, and are found by what they are.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::bridge::Bridge;
use crate::support::curl::curl;
use crate::support::peers::{Archive, Destination, data, manifest};

/// The components groups of a name in DICOM JSON (PS3.18 F.2.2), joined as they stand in a data set.
fn joined(name: &Value) -> String {
    let groups =
        ["Alphabetic", "Ideographic", "Phonetic"].map(|group| name[group].as_str().unwrap_or_default());
    groups.join("=").trim_end_matches('=').to_owned()
}

/// Patient ID → Patient's Name of every study that has `patient_name`; of every study when that is empty.
fn search(bridge: &Bridge, patient_name: &str) -> BTreeMap<String, String> {
    let key = format!("PatientName={patient_name}");
    let answer = curl(&format!("{}/studies", bridge.url), &["--get", "--data-urlencode", &key]);
    assert_eq!(answer.exit, 0, "{answer:?}");
    if answer.status == 204 {
        return BTreeMap::new();
    }
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let value = |study: &Value, tag: &str| study[tag]["Value"][0].clone();
    let json = answer.json();
    let studies = json.as_array().unwrap().iter();
    studies.map(|study| (text(&value(study, "00100020")), joined(&value(study, "00100010")))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What the studies of the manifest are to be found as.
fn expected() -> BTreeMap<String, String> {
    let entries = manifest(&data("names", &[]));
    entries.iter().map(|entry| (text(&entry["patient_id"]), text(&entry["name"]))).collect()
}

/// Orthanc keeps katakana of ISO 2022 IR 13 but leaves the escapes of the kanji behind them in the text.
const LOST_BY_ORTHANC: &str = "N10";
/// dcmqrscp does not find that name when it is asked for it in UTF-8.
const NOT_FOUND_BY_DCMQRSCP: &str = "N10";

/// Asks for each name by its first component group, and wants its patient among the answers.
fn each_is_found_by_its_name(bridge: &Bridge, except: &str) {
    for (patient_id, name) in expected() {
        let group = name.split('=').next().unwrap_or_default();
        if !group.is_empty() && patient_id != except {
            let found = search(bridge, &format!("{group}*"));
            assert_eq!(found.get(&patient_id), Some(&name), "{patient_id} by {group}: {found:?}");
        }
    }
}

#[test]
fn the_22_names_come_right_out_of_an_archive_that_stores_them_right() {
    let own = Destination::new("GANTRY");
    let folder = data("names", &[]);
    // Each answer comes in the character set that its object is stored in.
    let holds = folder.join("manifest.json");
    let archive = Archive::dcmqrscp(&folder, &holds, std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "auto", "");
    assert_eq!(search(&bridge, ""), expected());
    each_is_found_by_its_name(&bridge, NOT_FOUND_BY_DCMQRSCP);
}

#[test]
fn the_22_names_come_right_out_of_the_built_in_archive() {
    let own = Destination::new("GANTRY");
    let archive = Archive::built_in(&data("names", &[]), std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "auto", "");
    assert_eq!(search(&bridge, ""), expected());
    each_is_found_by_its_name(&bridge, "");
}

#[test]
fn names_come_right_out_of_an_archive_that_answers_in_utf_8() {
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&data("names", &[]), std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let (mut found, mut expected) = (search(&bridge, ""), expected());
    assert!(found.remove(LOST_BY_ORTHANC).is_some() && expected.remove(LOST_BY_ORTHANC).is_some());
    assert_eq!(found, expected);
    each_is_found_by_its_name(&bridge, LOST_BY_ORTHANC);
}
