//! `gantry echo`, `find`, `fetch` and `send`, as somebody at a shell uses them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gantry::demo::instance::Instance;
use gantry::demo::{Archive as Demo, Running};
use serde_json::{Value, json};

use crate::support::command::{Ran, command, gantry, gantry_beside};
use crate::support::objects::{Kind, RLE, expected, study, study_uid};
use crate::support::part10::{File, file};
use crate::support::peers::{Archive, Destination, data, manifest};
use crate::support::process::{Scratch, free_port};
use crate::support::{DEADLINE, until};

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found
}

/// What lies in a folder, by instance.
fn brought(folder: &Path) -> BTreeMap<String, File> {
    files(folder).iter().map(|path| file(&fs::read(path).unwrap())).map(|f| (f.instance.clone(), f)).collect()
}

fn objects() -> Vec<Instance> {
    let compressed = Kind { syntax: RLE, ..Kind::default() };
    [study(1, 2, 5, &Kind::default()), study(2, 1, 2, &compressed)].concat()
}

async fn demo(change: impl FnOnce(Demo) -> Demo) -> Running {
    change(Demo::builder().ae_title("PACS".parse().unwrap()).studies(objects())).start().await.unwrap()
}

fn peer(archive: &Running) -> String {
    format!("PACS@{}", archive.addr())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_is_fetched_as_it_is_stored_by_c_get_and_by_c_move() {
    let scratch = Scratch::new("fetch");
    for (number, by_move) in [(1, false), (2, false), (1, true), (2, true)] {
        let port = free_port();
        let archive = demo(|demo| {
            let demo = demo.destination("GANTRY".parse().unwrap(), format!("127.0.0.1:{port}"));
            if by_move { demo.no_get() } else { demo }
        })
        .await;
        let out = scratch.path().join(format!("{number}-{by_move}"));
        let listen = format!("127.0.0.1:{port}");
        let ran = gantry_beside(&[
            "fetch",
            &peer(&archive),
            &study_uid(number),
            "--out",
            out.to_str().unwrap(),
            "--listen",
            &listen,
        ])
        .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let of_study: Vec<Instance> = objects()
            .into_iter()
            .filter(|one| one.head.sop_instance.as_str().starts_with(&format!("2.25.{number}.")))
            .collect();
        assert_eq!(brought(&out), expected(&of_study), "study {number}, by C-MOVE: {by_move}");
        assert_eq!(archive.observations().moves > 0, by_move);
        until("all associations end", DEADLINE, async || archive.observations().associations.open == 0).await;
    }
}

#[test]
fn orthanc_and_dcmqrscp_without_c_get_are_fetched_from_with_nothing_else_to_start() {
    let folder = data("ct", &["--slices", "40"]);
    let own = Destination::new("GANTRY");
    let to = std::slice::from_ref(&own);
    let study = manifest(&folder)[0]["study"].as_str().map(str::to_owned);
    let archives = [
        Archive::orthanc(&folder, to, json!({})),
        Archive::dcmqrscp(&folder, &folder.join("manifest.json"), to, &["--disable-get"]),
    ];
    for archive in archives {
        let peer = format!("{}@127.0.0.1:{}", archive.ae_title, archive.port);
        let found = gantry(&["find", &peer, "--json"]);
        let found: Value = serde_json::from_str(&found.out).unwrap();
        let uid = found[0]["0020000D"]["Value"][0].as_str().unwrap().to_owned();
        assert!(study.as_ref().is_none_or(|study| *study == uid));
        let scratch = Scratch::new("fetch");
        let (out, listen) = (scratch.path().join("out"), format!("127.0.0.1:{}", own.port));
        let ran = gantry(&["fetch", &peer, &uid, "--out", out.to_str().unwrap(), "--listen", &listen]);
        assert_eq!((ran.code, files(&out).len()), (0, 40), "{peer}: {ran:?}");
        assert!(ran.out.starts_with("40 objects"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_cancels_at_the_archive_and_says_what_came_and_the_rest_is_fetched_later() {
    for by_move in [false, true] {
        cancel_and_resume(by_move).await;
    }
}

async fn cancel_and_resume(by_move: bool) {
    let listen = format!("127.0.0.1:{}", free_port());
    let archive = demo(|demo| {
        let demo = demo.latency(Duration::from_millis(150)).destination("GANTRY".parse().unwrap(), &listen);
        if by_move { demo.no_get() } else { demo }
    })
    .await;
    let scratch = Scratch::new("fetch");
    let out = scratch.path().join("out");
    let (peer, study) = (peer(&archive), study_uid(1));
    let arguments = ["fetch", &peer, &study, "--out", out.to_str().unwrap(), "--listen", &listen];
    let child = command(&arguments).spawn().unwrap();
    until("something has come", DEADLINE, async || !brought_whole(&out).is_empty()).await;
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let ran: Ran = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap().into();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("interrupted") && ran.err.contains("what came: "), "{ran:?}");
    assert_eq!(archive.observations().cancels.len(), 1, "C-CANCEL, by C-MOVE: {by_move}");
    let came = brought_whole(&out);
    assert!(came.len() < 10 && came.len() == files(&out).len(), "no file is there that is not whole");
    let before = archive.observations().objects_sent;
    let ran = gantry_beside(&[&arguments[..], &["--resume"]].concat()).await;
    assert_eq!((ran.code, files(&out).len()), (0, 10), "{ran:?}");
    let again = archive.observations().objects_sent - before;
    assert!(again <= 10 - came.len() + 1, "{again} were sent again, {} were there", came.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_file_that_is_there_already_is_never_replaced_without_a_word() {
    let archive = demo(|demo| demo).await;
    let scratch = Scratch::new("fetch");
    let out = scratch.path().join("out");
    let (peer, study) = (peer(&archive), study_uid(1));
    let fetch = ["fetch", &peer, &study, "--out", out.to_str().unwrap()];
    assert_eq!(gantry_beside(&fetch).await.code, 0);
    let again = gantry_beside(&fetch).await;
    assert!(again.code == 0 && again.out.contains("10 lay there already, the same"), "{again:?}");
    let one = files(&out).pop().unwrap();
    let whole = fs::read(&one).unwrap();
    fs::write(&one, "somebody's notes").unwrap();
    let kept = gantry_beside(&fetch).await;
    assert!(kept.code == 1 && kept.err.contains("--overwrite"), "{kept:?}");
    assert!(kept.err.contains(&format!("{}: holds something else", one.display())), "{kept:?}");
    assert_eq!(fs::read(&one).unwrap(), b"somebody's notes");
    let replaced = gantry_beside(&[&fetch[..], &["--overwrite"]].concat()).await;
    assert_eq!((replaced.code, fs::read(&one).unwrap() == whole), (0, true), "{replaced:?}");
    assert_eq!(files(&out).len(), 10);
    assert_eq!(gantry_beside(&[&fetch[..], &["--overwrite", "--resume"]].concat()).await.code, 2);
}

/// The files below a folder that have their name.
fn brought_whole(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "dcm")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_study_that_does_not_come_whole_is_never_exit_code_0() {
    for fault in ["abort-in:3", "close-after:3", "fail-object:3", "leave-out:1"] {
        let archive = demo(|demo| demo.fault(fault.parse().unwrap())).await;
        let scratch = Scratch::new("fetch");
        let out = scratch.path().join("out");
        let ran =
            gantry_beside(&["fetch", &peer(&archive), &study_uid(1), "--out", out.to_str().unwrap()]).await;
        let there = brought_whole(&out).len();
        // What could be asked for once more, and came then, is whole.
        assert_eq!(ran.code == 0, there == 10, "{fault}: {there} files, {ran:?}");
        assert_eq!(files(&out).len(), there, "{fault}: a file is there that is not whole");
        assert!(fault != "leave-out:1" || ran.code == 1 && ran.err.contains("did not come"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_and_messages_say_whose_fault_it_was() {
    let archive = demo(|demo| demo).await;
    let scratch = Scratch::new("fetch");
    let out = scratch.path().join("out");
    let out = out.to_str().unwrap();
    let unknown = gantry_beside(&["fetch", &peer(&archive), "1.2.3", "--out", out]).await;
    assert!(unknown.code == 1 && unknown.err.contains("does not hold it"), "{unknown:?}");
    let nobody = format!("PACS@127.0.0.1:{}", free_port());
    let down = gantry_beside(&["echo", &nobody]).await;
    assert!(down.code == 1 && down.err.contains("the archive's side"), "{down:?}");
    let wrong = gantry_beside(&["echo", &format!("OTHER@{}", archive.addr())]).await;
    assert!(wrong.code == 1 && wrong.err.contains("called AE title"), "{wrong:?}");
    let answered = gantry_beside(&["echo", &peer(&archive)]).await;
    assert!(answered.code == 0 && answered.out.contains("answered in"), "{answered:?}");
    for usage in [
        &["echo", "PACS"][..],
        &["echo"],
        &["find", &nobody, "Nonsense=1"],
        &["fetch", &nobody, "x", "--out", out],
    ] {
        assert_eq!(gantry_beside(usage).await.code, 2, "{usage:?}");
    }
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let no_get = demo(Demo::no_get).await;
    let ran =
        gantry_beside(&["fetch", &peer(&no_get), &study_uid(1), "--out", out, "--listen", &listen]).await;
    assert!(ran.code == 1 && ran.err.contains("C-MOVE only") && ran.err.contains(&listen), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_is_a_table_or_dicom_json_and_the_search_ends_at_the_limit() {
    let archive = demo(|demo| demo).await;
    let table = gantry_beside(&["find", &peer(&archive), "PatientName=Owner1*"]).await;
    assert_eq!(table.code, 0, "{table:?}");
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].contains("PatientName") && !table.out.contains('\u{1b}'),
        "{}",
        table.out
    );
    assert!(lines[1].contains("Owner1^Study1") && lines[1].ends_with(&study_uid(1)), "{}", table.out);
    let json = gantry_beside(&["find", &peer(&archive), "--json", "--limit", "1"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    let series =
        gantry_beside(&["find", &peer(&archive), "--level", "series", "--study", &study_uid(1), "--json"])
            .await;
    let series: Value = serde_json::from_str(&series.out).unwrap();
    assert_eq!(series.as_array().unwrap().len(), 2);
    let none = gantry_beside(&["find", &peer(&archive), "PatientID=NOBODY"]).await;
    assert!(none.code == 0 && none.err.contains("nothing matches"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_sent_are_at_the_archive_and_those_that_are_not_are_named() {
    let (from, to) =
        (demo(|demo| demo).await, Demo::builder().ae_title("PACS".parse().unwrap()).start().await.unwrap());
    let scratch = Scratch::new("send");
    let out = scratch.path().join("out");
    let folder = out.to_str().unwrap();
    for number in [1, 2] {
        assert_eq!(
            gantry_beside(&["fetch", &peer(&from), &study_uid(number), "--out", folder]).await.code,
            0
        );
    }
    let ran = gantry_beside(&["send", &peer(&to), folder]).await;
    assert!(ran.code == 0 && ran.out.starts_with("stored 12 objects"), "{ran:?}");
    for one in objects() {
        assert!(to.instance(&one.head.sop_instance).is_some(), "{} is not there", one.head.sop_instance);
    }
    let text = scratch.write("readme.txt", "no object");
    let ran = gantry_beside(&["send", &peer(&to), folder, text.to_str().unwrap()]).await;
    assert!(ran.code == 1 && ran.err.contains("readme.txt: not stored"), "{ran:?}");
    assert!(ran.err.contains("1 file was not stored; stored 12 objects"), "{ran:?}");
    // A file that is cut short is never stored by half.
    let cut = files(&out).pop().unwrap();
    let bytes = fs::read(&cut).unwrap();
    let short = scratch.path().join("short.dcm");
    fs::write(&short, &bytes[..bytes.len() - 100]).unwrap();
    let stores = to.observations().stores;
    let ran = gantry_beside(&["send", &peer(&to), short.to_str().unwrap()]).await;
    assert!(ran.code == 1 && ran.err.contains("short.dcm: not stored"), "{ran:?} after {stores}");
}
