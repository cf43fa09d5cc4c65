//! The dicomweb-clients for Python and JavaScript, unmodified, with everything that they can do.

use std::path::Path;

use crate::support::bridge::Bridge;
use crate::support::peers::{Archive, Destination, data, python};
use crate::support::process::{Scratch, bounded};

const CLIENTS: [&str; 2] = ["python", "javascript"];

/// Searches and retrieves in every way that the clients know.
fn use_everything(archive: &Archive, own: &Destination) {
    let bridge = Bridge::start_with_public_url(archive, own);
    let folder = data("viewers", &[]);
    for client in CLIENTS {
        python("clients.py", &[client, &bridge.url, folder.to_str().unwrap(), "use"]);
    }
}

#[test]
fn clients_find_and_retrieve_everything_of_orthanc() {
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&data("viewers", &[]), std::slice::from_ref(&own), serde_json::json!({}));
    use_everything(&archive, &own);
}

#[test]
fn clients_find_and_retrieve_everything_of_the_built_in_archive() {
    let own = Destination::new("GANTRY");
    use_everything(&Archive::built_in(&data("viewers", &[]), std::slice::from_ref(&own), &[]), &own);
}

/// An Orthanc that holds nothing, and keeps everything as it comes.
fn empty_orthanc(own: &Destination) -> Archive {
    let nothing = Scratch::new("nothing");
    nothing.write("manifest.json", "[]");
    Archive::orthanc(nothing.path(), std::slice::from_ref(own), serde_json::json!({}))
}

/// Sends the files of `folder` to `archive` with DCMTK, each in its transfer syntax.
fn send(folder: &Path, archive: &Archive) {
    let sent = bounded("/usr/bin/dcmsend")
        .args(["--decompress-never", "--scan-directories", "--no-halt", "-aec", &archive.ae_title])
        .args(["127.0.0.1", &archive.port.to_string()])
        .arg(folder)
        .env("TCP_NODELAY", "1")
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

#[test]
fn what_clients_store_is_in_orthanc_byte_for_byte() {
    let own = Destination::new("GANTRY");
    let folder = data("viewers", &[]);
    let direct = empty_orthanc(&own);
    send(&folder, &direct);
    for client in CLIENTS {
        let archive = empty_orthanc(&own);
        let bridge = Bridge::start(&archive, &own, "auto", "");
        python("clients.py", &[client, &bridge.url, folder.to_str().unwrap(), "store"]);
        python("same_in_orthanc.py", &[folder.to_str().unwrap(), &archive.rest, &direct.rest]);
    }
}

#[test]
fn what_clients_store_is_in_the_built_in_archive_byte_for_byte() {
    let own = Destination::new("GANTRY");
    let folder = data("viewers", &[]);
    for client in CLIENTS {
        let (empty, out) = (Scratch::new("empty"), Scratch::new("stored"));
        let archive = Archive::built_in(empty.path(), std::slice::from_ref(&own), &[]);
        let bridge = Bridge::start(&archive, &own, "auto", "");
        python("clients.py", &[client, &bridge.url, folder.to_str().unwrap(), "store"]);
        let manifest = folder.join("manifest.json");
        let (manifest, out) = (manifest.to_str().unwrap(), out.path());
        python("reference_get.py", &["get", &archive.address(), manifest, out.to_str().unwrap()]);
        for entry in crate::support::peers::manifest(&folder) {
            let file = std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
            let kept = std::fs::read(out.join(entry["instance"].as_str().unwrap())).unwrap();
            let stored = crate::support::part10::file(&file).data_set;
            assert!(kept == stored, "{client}: {}: other bytes", entry["file"]);
        }
    }
}
