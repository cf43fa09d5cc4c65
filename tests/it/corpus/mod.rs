//! Real files: what pydicom and pydicom-data bring for their own tests, in every encoding, compression and breakage that
//! somebody once met, against what comes out of the bridge.
//!
//! What a file says is read by pydicom (`tests/peers/corpus.py`). Whatever is different is told of all files at once.

mod decode;
mod hostile;
mod mutations;

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::bridge::Bridge;
use crate::support::curl::curl;
use crate::support::metrics::Figures;
use crate::support::peers::{Archive, Destination, data, manifest, python};
use crate::support::process::Scratch;

/// A file, an aspect of it, and why what comes out is not what pydicom reads. One that is right after all fails the test.
type Excuse = (&'static str, &'static str, &'static str);

const EXCUSED: &[Excuse] = &[
    ("test_files/rtplan_truncated.dcm", "json", "cut short: the archive does not take it"),
    ("test_files/rtplan_truncated.dcm", "xml", "cut short: the archive does not take it"),
    ("test_files/MR_truncated.dcm", "json", "cut short: the bulk data visibly break off"),
    ("test_files/MR_truncated.dcm", "xml", "cut short: the bulk data visibly break off"),
    ("test_files/MR_truncated.dcm", "frames", "cut short: the frame visibly breaks off"),
    (
        "test_files/nested_priv_SQ.dcm",
        "frames",
        "it has pixel data without Rows: an object that is no image is a 502",
    ),
    (
        "data/color3d_jpeg_baseline.dcm",
        "transcoded",
        "off by 3 from pylibjpeg, and by 1 from libjpeg-turbo: see `decode`",
    ),
    ("data/mlut_18.dcm", "transcoded", "pydicom leaves samples of JPEG-LS without the sign that they have"),
    (
        "test_files/SC_rgb_jpeg.dcm",
        "transcoded",
        "compressed, and all the same in Implicit VR: an object that is not what it says is a 502",
    ),
    ("test_files/badVR.dcm", "frames", "its Number of Frames, 1A, is no number to pydicom"),
    ("test_files/badVR.dcm", "json", "pydicom does not take its Number of Frames, 1A, from JSON"),
    (
        "test_files/SC_rgb_jpeg.dcm",
        "json",
        "implicit VR in a JPEG transfer syntax: the VR of the pixel data is a guess",
    ),
    (
        "test_files/SC_rgb_jpeg.dcm",
        "xml",
        "implicit VR in a JPEG transfer syntax: the VR of the pixel data is a guess",
    ),
    ("test_files/rtdose_rle.dcm", "json", "a sequence written as UN with a length stays UN"),
    ("test_files/rtdose_rle.dcm", "xml", "a sequence written as UN with a length stays UN"),
    ("test_files/rtdose_rle_1frame.dcm", "json", "a sequence written as UN with a length stays UN"),
    ("test_files/rtdose_rle_1frame.dcm", "xml", "a sequence written as UN with a length stays UN"),
    ("data/bad_sequence.dcm", "json", "a sequence written as UN with a length stays UN"),
    ("data/bad_sequence.dcm", "xml", "a sequence written as UN with a length stays UN"),
];

/// A cache that holds all of it, for `[archive.main]` to be followed by.
const CACHE: &str = "[cache]\nmemory = \"512MiB\"";

/// Compares these aspects of every file's object, as the bridge gives it from the built-in archive.
fn compare(aspects: &[&str]) {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let archive = Archive::built_in(&folder, std::slice::from_ref(&own), &[]);
    compare_with(&Bridge::start(&archive, &own, "auto", ""), &folder, aspects);
}

/// The same, through this bridge before an archive that holds the files of `folder`.
fn compare_with(bridge: &Bridge, folder: &Path, aspects: &[&str]) {
    let mut arguments = vec![bridge.url.as_str(), folder.to_str().unwrap()];
    arguments.extend(aspects);
    let found: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        serde_json::from_str(&python("corpus_against_bridge.py", &arguments)).unwrap();
    let mut problems = Vec::new();
    for (file, of_file) in &found {
        for (aspect, wrong) in of_file {
            if !EXCUSED.iter().any(|(f, a, _)| (f, a) == (&file.as_str(), &aspect.as_str())) {
                problems.push(format!("{file}, {aspect}: {}", wrong.join("\n  ")));
            }
        }
    }
    for (file, aspect, reason) in EXCUSED.iter().filter(|(_, aspect, _)| aspects.contains(aspect)) {
        if !found.get(*file).is_some_and(|of_file| of_file.contains_key(*aspect)) {
            problems.push(format!("{file}, {aspect}: is right, and was excused: {reason}"));
        }
    }
    assert!(problems.is_empty(), "{} of all:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn metadata_in_json_say_of_every_file_what_pydicom_reads() {
    compare(&["json"]);
}

#[test]
fn metadata_in_xml_say_of_every_file_what_pydicom_reads() {
    compare(&["xml"]);
}

#[test]
fn objects_of_every_file_have_the_same_pixels_in_every_transfer_syntax() {
    compare(&["transcoded"]);
}

#[test]
fn frames_of_every_file_are_what_pydicom_cuts() {
    compare(&["frames"]);
}

#[test]
fn every_file_comes_out_of_a_cold_and_of_a_warm_cache_as_it_is_stored() {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let archive = Archive::built_in(&folder, std::slice::from_ref(&own), &[]);
    let reference = Scratch::new("reference");
    let (reference, holds) = (reference.path().to_str().unwrap(), archive.holds.to_str().unwrap());
    python("reference_get.py", &["get", &archive.address(), holds, reference]);
    let bridge = Bridge::start(&archive, &own, "auto", CACHE);
    for round in ["cold", "warm"] {
        let counts = python("wado_against_reference.py", &[&bridge.url, reference, holds]);
        let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
        println!("{round}: {counts}");
        assert!(counts["byte-identical"].as_u64().unwrap() >= 150, "{round}: {counts}");
    }
    let metrics = String::from_utf8(curl(&format!("http://{}/metrics", bridge.http), &[]).body).unwrap();
    let figures = Figures::new(metrics);
    // Each object came once, and everything else came out of the cache.
    assert!(figures.sum("objects_total", &[]) <= manifest(&folder).len() as u64, "{figures:?}");
    assert!(figures.requests("hit") >= 100, "{figures:?}");
}

#[test]
fn metadata_and_frames_of_every_file_are_the_same_out_of_the_cache() {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let archive = Archive::built_in(&folder, std::slice::from_ref(&own), &[]);
    // What is brought for the one is at hand for the other.
    compare_with(&Bridge::start(&archive, &own, "auto", CACHE), &folder, &["json", "frames"]);
}

/// Files that cannot be stored, and why.
const NOT_STORED: &[(&str, &str)] = &[
    ("test_files/MR_truncated.dcm", "cut short"),
    ("test_files/rtplan_truncated.dcm", "cut short"),
    ("test_files/SC_rgb_jpeg.dcm", "implicit VR in a JPEG transfer syntax"),
    ("test_files/nested_priv_SQ.dcm", "has elements of group 0001, which no data set may have (PS3.5 7.8)"),
];

#[test]
fn every_file_that_is_stored_is_in_the_archive_byte_for_byte() {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let (empty, out) = (Scratch::new("empty"), Scratch::new("stored"));
    let archive = Archive::built_in(empty.path(), std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let address = archive.address();
    let arguments = [&bridge.url, &address, folder.to_str().unwrap(), out.path().to_str().unwrap()];
    let wrong: BTreeMap<String, String> =
        serde_json::from_str(&python("store_corpus.py", &arguments)).unwrap();
    let excused = |file: &str| NOT_STORED.iter().any(|(excused, _)| *excused == file);
    let problems: Vec<_> = wrong.iter().filter(|(file, _)| !excused(file)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let right: Vec<_> = NOT_STORED.iter().filter(|(file, _)| !wrong.contains_key(*file)).collect();
    assert!(right.is_empty(), "right after all: {right:?}");
}

/// Files that are not stored as pydicom describes them, and why.
const NOT_DESCRIBED: &[(&str, &str)] = &[
    ("test_files/MR_truncated.dcm", "its pixel data is cut short, and metadata with such is refused"),
    ("test_files/badVR.dcm", "pydicom does not write its Number of Frames, 1A, as JSON"),
];

#[test]
fn every_file_that_pydicom_describes_in_json_is_stored_with_its_attributes_and_frames() {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let empty = Scratch::new("empty");
    let archive = Archive::built_in(empty.path(), std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let arguments = [bridge.url.as_str(), folder.to_str().unwrap()];
    let wrong: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&python("describe_corpus.py", &arguments)).unwrap();
    let excused = |file: &str| NOT_DESCRIBED.iter().any(|(excused, _)| *excused == file);
    let problems: Vec<_> = wrong.iter().filter(|(file, _)| !excused(file)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let right: Vec<_> = NOT_DESCRIBED.iter().filter(|(file, _)| !wrong.contains_key(*file)).collect();
    assert!(right.is_empty(), "right after all: {right:?}");
}

#[test]
fn reports_show_every_value_that_pydicom_and_dcmtk_read() {
    let folder = data("corpus", &[]);
    let own = Destination::new("GANTRY");
    let archive = Archive::built_in(&folder, std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "auto", CACHE);
    let told = python("reports_against_dcmtk.py", &[&bridge.url[..], folder.to_str().unwrap()]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["missing"], serde_json::json!({}), "{told:#}");
    assert!(told["reports"].as_u64() >= Some(3) && told["by_dcmtk"].as_u64() >= Some(1), "{told:#}");
}
