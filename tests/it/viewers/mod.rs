//! What viewers ask for, request by request as they were recorded, before archives that can do more and less, without
//! a cache and with one.
//!
//! The table of requests stands in `tests/peers/viewers.py`, beside what pydicom reads of the files.

use crate::support::bridge::{Bridge, ORIGIN};
use crate::support::peers::{Archive, Destination, data, python};

/// Replays every request before a new archive that moves to its own destination, each without a cache and with one: the
/// requests store something, too.
fn replay(archive: impl Fn(&Destination) -> Archive) {
    for cache in ["", "[cache]\nmemory = \"64MiB\""] {
        let own = Destination::new("GANTRY");
        let archive = archive(&own);
        let bridge = Bridge::start(&archive, &own, "auto", cache);
        let folder = data("viewers", &[]);
        python("viewers.py", &[bridge.url.as_str(), folder.to_str().unwrap(), ORIGIN]);
    }
}

/// Replays every request before the built-in archive with these options.
fn replay_before_the_built_in(options: &[&str]) {
    replay(|own| Archive::built_in(&data("viewers", &[]), std::slice::from_ref(own), options));
}

#[test]
fn viewers_get_what_they_ask_for_of_orthanc() {
    let folder = data("viewers", &[]);
    replay(|own| Archive::orthanc(&folder, std::slice::from_ref(own), serde_json::json!({})));
}

#[test]
fn viewers_get_what_they_ask_for_of_an_archive_without_c_get() {
    replay_before_the_built_in(&["--no-get"]);
}

#[test]
fn viewers_get_what_they_ask_for_of_an_archive_without_relational_queries() {
    replay_before_the_built_in(&["--no-relational"]);
}

#[test]
fn viewers_get_what_they_ask_for_of_an_archive_that_matches_unique_keys_only() {
    replay_before_the_built_in(&["--ignore-optional-keys"]);
}

#[test]
fn viewers_get_what_they_ask_for_of_an_archive_that_has_the_patient_root_model_only() {
    replay_before_the_built_in(&["--patient-root-only"]);
}
