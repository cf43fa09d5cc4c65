//! Zip archives as a client has them on its disk: read by Info-ZIP and by Python, held against what the archive stores.

use std::path::Path;

use bytes::Bytes;
use gantry::demo::Fault;
use gantry::dicom::Uid;
use gantry::dicomweb::zip::{Name, Writer};

use super::{METHODS, Scene, study_path};
use crate::support::curl::curl;
use crate::support::objects::{IMPLICIT, Kind, study};
use crate::support::part10::{by_instance, file};
use crate::support::peers::python;
use crate::support::process::{Scratch, bounded};

const ZIP: &str = "Accept: application/zip; transfer-syntax=*";

/// Whether Info-ZIP takes the file for a good archive.
fn is_good(archive: &Path) -> bool {
    bounded("unzip").arg("-tqq").arg(archive).output().unwrap().status.success()
}

/// curl on another thread, as the bridge runs on this one.
async fn fetch(url: String, into: &Path) -> crate::support::curl::Answer {
    let into = into.to_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || curl(&url, &["-H", ZIP, "--output", &into])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_unpacks_into_the_files_that_the_archive_stores() {
    for method in METHODS {
        for syntax in [Kind::default().syntax, IMPLICIT] {
            let kind = Kind { syntax, pixels: 300_000, ..Kind::default() };
            let scene = Scene::new(method, study(1, 3, 7, &kind), &[], "").await;
            let scratch = Scratch::new("zip");
            let archive = scratch.path().join("study.zip");
            let answer = fetch(format!("http://{}{}", scene.app.http, study_path(1)), &archive).await;
            assert_eq!((answer.exit, answer.status, &answer.content_type[..]), (0, 200, "application/zip"));
            assert!(is_good(&archive));
            let folder = scratch.path().join("files");
            let unpacked = bounded("unzip").arg("-qq").arg(&archive).arg("-d").arg(&folder).output().unwrap();
            assert!(unpacked.status.success(), "{unpacked:?}");
            // Study, series, instance; pydicom reads each where its name says it is.
            let told = python("unzipped.py", &[archive.to_str().unwrap(), folder.to_str().unwrap()]);
            let paths: Vec<&str> = told.lines().collect();
            assert_eq!(paths.len(), 21);
            let files = paths.iter().map(|path| file(&std::fs::read(folder.join(path)).unwrap())).collect();
            let expected = scene.expected(1);
            if syntax == IMPLICIT {
                assert_eq!(by_instance(files).len(), expected.len());
            } else {
                assert_eq!(by_instance(files), expected, "byte by byte");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_short_study_is_no_zip_archive() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 5, &Kind::default()), &[Fault::FailObject(1)], "").await;
        let scratch = Scratch::new("zip");
        let archive = scratch.path().join("study.zip");
        let url = format!("http://{}{}", scene.app.http, study_path(1));
        let answer = fetch(url.clone(), &archive).await;
        assert_ne!(answer.exit, 0, "curl says that it broke off");
        assert!(!is_good(&archive), "so does Info-ZIP");
        // It is known now, and said.
        let answer = fetch(url, &archive).await;
        assert_eq!((answer.exit, answer.status), (0, 206));
        assert!(is_good(&archive));
    }
}

#[test]
fn an_archive_of_70_000_objects_is_one_to_others_too() {
    let uid = |text: String| text.parse::<Uid>().unwrap();
    let mut writer = Writer::<()>::new();
    let mut out = Vec::new();
    for n in 0..70_000 {
        let name = Name::new(
            &uid("2.25.1".to_owned()),
            Some(&uid(format!("2.25.{}", n % 7))),
            &uid(format!("2.26.{n}")),
        );
        out.push(writer.begin(name).unwrap());
        writer.write(Bytes::from(format!("object {n}")), &mut out);
    }
    out.push(writer.finish(()));
    let scratch = Scratch::new("zip");
    let archive = scratch.path().join("many.zip");
    std::fs::write(&archive, out.concat()).unwrap();
    assert!(is_good(&archive));
    assert_eq!(python("unzipped.py", &[archive.to_str().unwrap()]), "70000\n");
}
