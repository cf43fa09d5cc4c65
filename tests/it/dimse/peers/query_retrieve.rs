//! DCMTK's and pynetdicom's clients before Orthanc and dcmqrscp.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Called, dcmtk, empty, same};
use crate::support::DEADLINE;
use crate::support::bridge::{Bridge, before};
use crate::support::peers::{Archive, Destination, data, manifest};
use crate::support::process::{Scratch, bounded};

/// An archive, the bridge before it, and where movescu listens.
struct Street {
    archive: Archive,
    bridge: Called,
    mover: Destination,
    scratch: Scratch,
    process: Bridge,
    /// The archive sends to movescu itself.
    moves_directly: bool,
}

impl Street {
    fn new(start: impl Fn(&[Destination]) -> Archive, moves: &str) -> Self {
        let (own, mover) = (Destination::new("GANTRY"), Destination::new("MOVER"));
        let archive = start(&[own.clone(), mover.clone()]);
        let configuration = before(&archive, &own, "auto", "").replacen(
            "[archive.main]",
            &format!(
                "accept = \"any\"\n[ae.MOVER]\naddress = \"127.0.0.1:{}\"\nmove = \"{moves}\"\n[archive.main]",
                mover.port
            ),
            1,
        );
        let process = Bridge::with_configuration(&configuration);
        Self {
            archive,
            bridge: Called::new(&own.ae_title, own.port),
            mover,
            scratch: Scratch::new("clients"),
            process,
            moves_directly: moves == "direct",
        }
    }

    fn direct(&self) -> Called {
        Called::new(&self.archive.ae_title, self.archive.port)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Retrieves by C-GET through the bridge, and directly where the archive can.
    fn get(&self, keys: &[&str], reference: Option<&Path>) -> usize {
        let (direct, through) = (self.folder("direct"), self.folder("through"));
        let get = |peer: &Called, folder: &Path| {
            let mut options = vec!["-S", "-od", empty(folder)];
            options.extend(keys.iter().flat_map(|key| ["-k", key]));
            peer.succeed("getscu", "GETSCU", &options, &[])
        };
        get(&self.bridge, &through);
        match reference {
            Some(reference) => same(reference, &through, &[]),
            None => {
                get(&self.direct(), &direct);
                same(&direct, &through, &[])
            }
        }
    }

    /// Retrieves by C-MOVE, both ways, to movescu itself.
    fn move_(&self, keys: &[&str]) -> usize {
        let folders = [self.folder("direct"), self.folder("through")];
        for (peer, folder) in [(self.direct(), &folders[0]), (self.bridge.clone(), &folders[1])] {
            let port = self.mover.port.to_string();
            let title = self.mover.ae_title.as_str();
            let mut options = vec!["-S", "-aem", title, "--port", &port, "-od", empty(folder)];
            options.extend(keys.iter().flat_map(|key| ["-k", key]));
            peer.succeed("movescu", title, &options, &[]);
        }
        same(&folders[0], &folders[1], &[])
    }
}

/// The UIDs of the CT's study, series and one instance.
fn uids(folder: &Path) -> [String; 3] {
    let first = manifest(folder).remove(0);
    ["study", "series", "instance"].map(|level| first[level].as_str().unwrap().to_owned())
}

fn same_answers(street: &Street, ct: &Path, get_directly: bool) {
    let [study, series, instance] = uids(ct);
    for peer in [street.direct(), street.bridge.clone()] {
        peer.succeed("echoscu", "ECHOSCU", &[], &[]);
    }
    let study_key = format!("StudyInstanceUID={study}");
    let series_key = format!("SeriesInstanceUID={series}");
    let instance_key = format!("SOPInstanceUID={instance}");
    let level = |level: &str| format!("QueryRetrieveLevel={level}");
    let reference = (!get_directly).then_some(ct);
    assert_eq!(street.get(&[&level("STUDY"), &study_key], reference), 40);
    assert_eq!(street.get(&[&level("SERIES"), &study_key, &series_key], reference), 40);
    if get_directly {
        assert_eq!(street.get(&[&level("IMAGE"), &study_key, &series_key, &instance_key], None), 1);
        let (direct, through) = (street.direct(), street.bridge.clone());
        let [direct, through] = [direct, through].map(|peer| peer.session("query", "PYTHON", &[&study]));
        assert_eq!(direct, through);
        assert_eq!(through["objects"].as_array().unwrap().len(), 40);
    }
    assert_eq!(street.move_(&[&level("STUDY"), &study_key]), 40);
    assert_eq!(street.move_(&[&level("SERIES"), &study_key, &series_key]), 40);
    assert_eq!(street.move_(&[&level("IMAGE"), &study_key, &series_key, &instance_key]), 1);
    // The line of each association says what was done, and nothing of whom.
    let person = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=SMITH*", "-k", "PatientID"];
    street.bridge.succeed("findscu", "FINDSCU", &person, &[]);
    // It is written when the client has gone.
    let is_of_findscu = |line: &&str| line.contains("association ended") && line.contains("calling=FINDSCU");
    let begin = Instant::now();
    let log = loop {
        let log = street.process.server.whole_log();
        if log.lines().any(|line| is_of_findscu(&line)) {
            break log;
        }
        assert!(begin.elapsed() < DEADLINE, "no line: {log}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let line = log.lines().find(is_of_findscu).unwrap();
    for part in [" INFO ", "called=GANTRY", "operations=\"C-FIND 1\"", "end=\"released\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!log.to_uppercase().contains("SMITH"), "a patient's name is in the log");
    // What was moved through the bridge is counted, and what went past it is not.
    let moved = log.lines().filter(|line| line.contains("association ended") && line.contains("C-MOVE 1"));
    let counts: Vec<bool> = moved.map(|line| line.contains(" objects=0 ")).collect();
    assert!(counts.len() >= 3 && counts.iter().all(|none| *none == street.moves_directly), "{log}");
    // What is not there.
    let nowhere = ["-S", "-aem", "NOBODY", "-k", &level("STUDY"), "-k", &study_key];
    let (_, refused) = dcmtk("movescu", "MOVER", &street.bridge, &nowhere);
    assert!(refused.contains("MoveDestinationUnknown"), "{refused}");
}

/// The folders of the CT and of the names.
fn both() -> (PathBuf, PathBuf) {
    (data("ct", &["--slices", "40"]), data("names", &[]))
}

#[test]
fn same_answers_as_direct_before_orthanc() {
    let (ct, names) = both();
    for moves in ["relay", "direct"] {
        let street = Street::new(
            |to| {
                let archive = Archive::orthanc(&ct, to, serde_json::json!({}));
                crate::support::peers::python("load_orthanc.py", &[archive.rest.as_ref(), names.as_os_str()]);
                archive
            },
            moves,
        );
        same_answers(&street, &ct, true);
    }
}

#[test]
fn same_answers_as_direct_before_dcmqrscp() {
    let (ct, names) = both();
    let start = |to: &[Destination], options: &[&str]| {
        let archive = Archive::dcmqrscp(&ct, &ct.join("manifest.json"), to, options);
        let files = manifest(&names).into_iter().map(|entry| names.join(entry["file"].as_str().unwrap()));
        let database = archive.server.folder().join("db");
        let done = bounded("/usr/bin/dcmqridx").arg(database).args(files).output().unwrap();
        assert!(done.status.success());
        archive
    };
    same_answers(&Street::new(|to| start(to, &[]), "relay"), &ct, true);
    let without_get = Street::new(|to| start(to, &["--disable-get"]), "direct");
    same_answers(&without_get, &ct, false);
}

#[test]
fn what_storescu_stores_through_the_bridge_is_what_it_stores_directly() {
    let (own, (ct, names)) = (Destination::new("GANTRY"), both());
    let scratch = Scratch::new("stored");
    let files: Vec<PathBuf> = [&ct, &names]
        .iter()
        .flat_map(|folder| {
            manifest(folder).into_iter().map(|entry| folder.join(entry["file"].as_str().unwrap()))
        })
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let received = ["direct", "through"].map(|name| {
        let folder = scratch.path().join(name);
        empty(&folder);
        let (server, port) = crate::support::peers::storescp(&folder, &[]);
        let archive = Called::new("STORESCP", port);
        if name == "direct" {
            archive.succeed("storescu", "STORESCU", &[], &files);
        } else {
            let configuration = format!(
                "[dimse]\nlisten = \"127.0.0.1:{}\"\nae_title = \"GANTRY\"\naccept = \"known\"\n[ae.STORESCU]\n\
                 [archive.main]\nae_title = \"STORESCP\"\naddress = \"127.0.0.1:{port}\"\n\
                 # It serves one association after the other.\nmax_associations = 1\n",
                own.port
            );
            let _bridge = Bridge::with_configuration(&configuration);
            let through = Called::new(&own.ae_title, own.port);
            through.succeed("storescu", "STORESCU", &[], &files);
            let (well, said) = dcmtk("echoscu", "STRANGER", &through, &[]);
            assert!(!well && said.contains("Calling AE Title Not Recognized"), "{said}");
        }
        drop(server);
        folder
    });
    assert_eq!(same(&received[0], &received[1], &[]), files.len());
}
