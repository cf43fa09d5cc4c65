//! Real archives: what is stored in them through the bridge is what a client sent, byte by byte.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use gantry::archive::Kind;
use gantry::dicom::Uid;
use serde_json::Value;

use super::*;
use crate::support::curl::curl;
use crate::support::objects::{BIG_ENDIAN, EXPLICIT, IMPLICIT, JPEG_BASELINE, Kind as Like, RLE, object};
use crate::support::peers::{Archive as Peer, Destination, data, manifest, storescp};
use crate::support::process::Scratch;

fn bridge(ae_title: &str, port: u16) -> DimseArchive {
    bridge_to(ae_title, (Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(30))
}

/// Transfer syntax and data set of a Part 10 file.
fn read(file: &[u8]) -> (Uid, Bytes) {
    assert_eq!(&file[128..132], b"DICM");
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    let (mut meta, data_set) = file[144..].split_at(length);
    loop {
        let long = [b"OB", b"UN"].contains(&&[meta[4], meta[5]]);
        let (header, length) = match long {
            true => (12, u32::from_le_bytes(meta[8..12].try_into().unwrap()) as usize),
            false => (8, usize::from(u16::from_le_bytes([meta[6], meta[7]]))),
        };
        if meta[..4] == [2, 0, 0x10, 0] {
            let syntax = Uid::from_padded(&meta[header..header + length]).unwrap();
            return (syntax, Bytes::copy_from_slice(data_set));
        }
        meta = &meta[header + length..];
    }
}

/// The objects of pydicom's test files that have what an object needs.
fn pydicom_objects() -> Vec<Instance> {
    let folder = data("pydicom", &[]);
    let files = manifest(&folder).into_iter().map(|entry| entry["file"].as_str().unwrap().to_owned());
    let read = |file: String| {
        let (syntax, data_set) = read(&fs::read(folder.join(file)).unwrap());
        Instance::from_bytes(syntax, data_set).ok()
    };
    files.filter_map(read).collect()
}

/// A folder without objects.
fn nothing() -> Scratch {
    let scratch = Scratch::new("nothing");
    scratch.write("manifest.json", "[]");
    scratch
}

/// What Orthanc holds of an object.
fn in_orthanc(rest: &str, instance: &Uid) -> Option<(Uid, Bytes)> {
    let found = curl(&format!("{rest}/tools/lookup"), &["--data", instance.as_str()]).json();
    let id = found.as_array()?.first()?["ID"].as_str()?.to_owned();
    Some(read(&curl(&format!("{rest}/instances/{id}/file"), &[]).body))
}

/// Whether the archive holds this object: the same bytes, or what Orthanc makes of them, which gives sequences
/// defined lengths and values their shortest padding.
fn is_same_object(held: &(Uid, Bytes), sent: &Instance) -> bool {
    let bytes = bytes_of(sent);
    let pixels = |bytes: &Bytes| {
        let at = bytes.windows(8).rposition(|at| at[..4] == *b"\xE0\x7F\x10\0" && at[4] == b'O');
        at.map(|at| bytes.slice(at + 8..))
    };
    let read = || Instance::from_bytes(held.0.clone(), held.1.clone()).unwrap();
    held.0 == sent.head.transfer_syntax
        && (held.1 == bytes || pixels(&held.1) == pixels(&bytes) && same_attributes(&read(), sent))
}

/// Whether all but the group lengths is the same.
fn same_attributes(one: &Instance, other: &Instance) -> bool {
    let without = |instance: &Instance| {
        let mut attributes = instance.attributes.clone();
        for group in (0..0x7FE0).step_by(1) {
            attributes.remove(gantry::dicom::Tag(group, 0));
        }
        attributes
    };
    without(one) == without(other)
}

/// The file of an object in a folder of dcmqrscp or storescp.
fn in_folder(folder: &Path, instance: &Uid) -> Option<(Uid, Bytes)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let own = |file: &Vec<u8>| {
        let head = &file[..file.len().min(2000)];
        file.len() > 132
            && &file[128..132] == b"DICM"
            && head.windows(instance.as_str().len()).any(|at| at == instance.as_str().as_bytes())
    };
    files.into_iter().find(own).map(|file| read(&file))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orthanc_holds_every_object_as_it_was_sent() {
    let empty = nothing();
    let orthanc = Peer::orthanc(empty.path(), &[], serde_json::json!({}));
    let gantry = bridge(&orthanc.ae_title, orthanc.port);
    let objects = pydicom_objects();
    assert!(objects.len() > 80, "{}", objects.len());
    let mut identical = 0;
    for instance in &objects {
        match store(&gantry, &instance.head, &bytes_of(instance)).await {
            Ok(stored) => assert_eq!(stored.status, 0),
            // What Orthanc itself refuses, a file without Patient ID, say, or the same object again.
            Err(error) if matches!(error.kind, Kind::Status { .. } | Kind::SourceBroke) => continue,
            Err(error) => panic!("{:?}: {error}", instance.head),
        }
        let held = in_orthanc(&orthanc.rest, &instance.head.sop_instance).unwrap();
        let twins = objects.iter().filter(|o| o.head.sop_instance == instance.head.sop_instance);
        // Several files of pydicom have the same UIDs: Orthanc keeps the first.
        let (same, exactly) = twins.fold((false, false), |(same, exactly), twin| {
            (same || is_same_object(&held, twin), exactly || held.1 == bytes_of(twin))
        });
        assert!(same, "{:?}: another object", instance.head);
        identical += usize::from(exactly);
    }
    assert!(identical > 60, "{identical} of {}", objects.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcmqrscp_and_storescp_hold_objects_as_they_were_sent() {
    let (empty, folder) = (nothing(), Scratch::new("stored"));
    let own = Destination::new("GANTRY");
    let dcmqrscp = Peer::dcmqrscp(empty.path(), &empty.path().join("manifest.json"), &[own], &[]);
    let (storescp, port) = storescp(folder.path(), &["+B", "+xa", "--fork"]);
    for (title, port, folder) in [
        (dcmqrscp.ae_title.as_str(), dcmqrscp.port, dcmqrscp.server.folder().join("db")),
        ("STORESCP", port, folder.path().to_owned()),
    ] {
        let gantry = bridge(title, port);
        // dcmqrscp takes no compressed objects unless it is told to prefer them, and writes data sets anew.
        let exact = title != "DCMQRSCP";
        let syntaxes = [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, JPEG_BASELINE];
        for (number, syntax) in syntaxes.into_iter().enumerate().take(if exact { 5 } else { 3 }) {
            let instance = object(1, 1, number + 1, &Like { syntax, pixels: 600_000, owner: 1 });
            let stored = store(&gantry, &instance.head, &bytes_of(&instance)).await;
            assert_eq!(stored.unwrap_or_else(|error| panic!("{title}, {syntax}: {error}")).status, 0);
            let (held, bytes) = in_folder(&folder, &instance.head.sop_instance).unwrap();
            assert_eq!(held.as_str(), syntax, "{title}");
            assert!(!exact || bytes == bytes_of(&instance), "{title}, {syntax}: other bytes");
        }
    }
    drop(storescp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storescp_that_takes_implicit_vr_only_gets_native_objects_re_encoded() {
    let folder = Scratch::new("implicit");
    let (_storescp, port) = storescp(folder.path(), &["+B", "+xi", "--fork"]);
    let gantry = bridge("STORESCP", port);
    for (number, syntax) in [EXPLICIT, IMPLICIT, BIG_ENDIAN].into_iter().enumerate() {
        let instance = object(1, 1, number + 1, &Like { syntax, ..Like::default() });
        let wanted = object(1, 1, number + 1, &Like { syntax: IMPLICIT, ..Like::default() });
        store(&gantry, &instance.head, &bytes_of(&instance)).await.unwrap();
        let (held, bytes) = in_folder(folder.path(), &instance.head.sop_instance).unwrap();
        assert_eq!(held.as_str(), IMPLICIT);
        let read = Instance::from_bytes(held, bytes.clone()).unwrap();
        assert_eq!(read.attributes, wanted.attributes, "{syntax}");
        assert!(syntax == BIG_ENDIAN || bytes == bytes_of(&wanted), "{syntax}");
    }
    let compressed = object(1, 1, 9, &Like { syntax: RLE, ..Like::default() });
    let error = store(&gantry, &compressed.head, &bytes_of(&compressed)).await.unwrap_err();
    assert_eq!(error.kind, Kind::SyntaxRefused(RLE.parse().unwrap()));
    let mut unknown = object(1, 1, 10, &Like::default());
    unknown.head.sop_class = "1.2.826.0.1.3680043.9.9".parse().unwrap();
    let error = store(&gantry, &unknown.head, &bytes_of(&unknown)).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke, "the data set has another class: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storescp_that_aborts_in_the_middle_is_an_error() {
    let folder = Scratch::new("aborts");
    for option in ["--abort-during", "--abort-after"] {
        let (_storescp, port) = storescp(folder.path(), &[option]);
        let gantry = bridge("STORESCP", port);
        let instance = object(1, 1, 1, &Like { pixels: 3 << 20, ..Like::default() });
        let error = store(&gantry, &instance.head, &bytes_of(&instance)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Aborted(_)), "{option}: {error}");
        let stays: Value = serde_json::json!(gantry.associations());
        assert_eq!(stays, serde_json::json!([0, 0]), "{option}");
    }
}
