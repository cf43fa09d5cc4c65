//! What form the objects have, which of them come, and what a client is told that cannot have them all.

use gantry::demo::Fault;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{Layout, layout};

use super::{METHODS, Outcome, Scene, judge, short, study_path};
use crate::support::http::{Reply, Version, get, get_with};
use crate::support::objects::{
    BIG_ENDIAN, EXPLICIT, IMPLICIT, JPEG_BASELINE, Kind, instance_uid, object, series_uid, study,
};
use crate::support::part10::{by_instance, files};

/// JPEG 2000 of several components.
const JPEG_2000_PART_2: &str = "1.2.840.10008.1.2.4.92";

async fn native(scene: &Scene) -> Reply {
    let accept = "Accept: multipart/related; type=\"application/dicom\"";
    get_with(scene.app.http, &study_path(1), Version::Http11, accept).await
}

fn kind(syntax: &'static str) -> Kind {
    Kind { syntax, ..Kind::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_with_one_bad_object_breaks_once_and_is_a_206_from_then_on() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 5, &Kind::default()), &[Fault::FailObject(1)], "").await;
        let what = format!("{method:?}");
        assert_eq!(scene.study(&what).await, Outcome::Broken, "{what}");
        for _ in 0..2 {
            let reply = get(scene.app.http, &study_path(1)).await;
            assert_eq!(judge(&reply, &scene.expected(1), &what), Outcome::Partial, "{what}");
            assert_eq!(files(reply.header("content-type"), &reply.body).len(), 4, "{what}");
            assert!(reply.header("warning").starts_with("299 "), "{what}: {:?}", reply.headers);
        }
        scene.archive.clear_faults();
        // It comes again: told as missing once more, and then no more.
        assert_eq!(scene.study(&what).await, Outcome::Partial, "{what}");
        scene.assert_complete(&what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_neither_the_bridge_nor_the_archive_decodes_is_a_406_for_who_wants_it_native() {
    let by_name =
        "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.1";
    let default = "Accept: multipart/related; type=\"application/dicom\"";
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 2, &kind(JPEG_2000_PART_2)), &[], "").await;
        let instance =
            format!("{}/series/{}/instances/{}", study_path(1), series_uid(1, 1), instance_uid(1, 1, 1));
        for (path, accept) in [(study_path(1), by_name), (instance.clone(), by_name), (instance, default)] {
            let reply = get_with(scene.app.http, &path, Version::Http11, accept).await;
            assert_eq!((reply.status, reply.whole), (406, true), "{method:?} {path}: {}", short(&reply));
        }
        // Of a study it comes as it is stored to who names no transfer syntax, whatever else is in that study.
        let outcome = judge(&native(&scene).await, &scene.expected(1), &format!("{method:?}"));
        assert_eq!(outcome, Outcome::Complete, "{method:?}");
        scene.assert_complete(&format!("{method:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossy_objects_go_as_they_are_stored_also_to_who_wants_native_ones() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 2, &kind(JPEG_BASELINE)), &[], "").await;
        let outcome = judge(&native(&scene).await, &scene.expected(1), &format!("{method:?}"));
        assert_eq!(outcome, Outcome::Complete, "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn implicit_and_big_endian_objects_come_as_explicit_little_endian_with_every_attribute() {
    for method in METHODS {
        let instances = vec![
            object(1, 1, 1, &kind(IMPLICIT)),
            object(1, 1, 2, &kind(BIG_ENDIAN)),
            object(1, 1, 3, &kind(EXPLICIT)),
        ];
        let scene = Scene::new(method, instances, &[], "").await;
        let reply = get(scene.app.http, &study_path(1)).await;
        assert_eq!((reply.status, reply.whole), (200, true), "{method:?}: {}", short(&reply));
        let files = by_instance(files(reply.header("content-type"), &reply.body));
        let stored = scene.expected(1);
        assert_eq!(files.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>(), "{method:?}");
        for (instance, stored) in &stored {
            let file = &files[instance];
            assert_eq!(file.transfer_syntax, EXPLICIT, "{method:?}");
            let was = layout(&stored.transfer_syntax.parse().unwrap());
            let parse = |bytes: &[u8], layout: Layout| DataSet::parse(bytes, layout, None).unwrap().data_set;
            let (came, held) = (parse(&file.data_set, Layout::ExplicitLe), parse(&stored.data_set, was));
            let tags = |data_set: &DataSet| data_set.iter().map(|(tag, _)| tag).collect::<Vec<_>>();
            assert_eq!(tags(&came), tags(&held), "{method:?} {instance}");
            for (tag, element) in &came {
                // Implicit VR has no VRs: those of the dictionary are what both sides take.
                assert_eq!(Some(element), held.get(tag), "{method:?} {instance} {tag}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_series_or_instance_url_moves_its_own_objects_and_no_more() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 3, 4, &Kind::default()), &[], "").await;
        let series = format!("{}/series/{}", study_path(1), series_uid(1, 2));
        let instance = format!("{series}/instances/{}", instance_uid(1, 2, 3));
        let mut sent = 0;
        for (path, prefix, count) in
            [(&series, series_uid(1, 2) + ".", 4), (&instance, instance_uid(1, 2, 3), 1)]
        {
            let mut expected = scene.expected(1);
            expected.retain(|instance, _| instance.starts_with(&prefix));
            assert_eq!(expected.len(), count);
            let reply = get(scene.app.http, path).await;
            assert_eq!(judge(&reply, &expected, path), Outcome::Complete, "{method:?} {path}");
            sent += count;
            scene.app.settle("a retrieval").await;
            assert_eq!(scene.archive.observations().objects_sent, sent, "{method:?} {path}");
        }
    }
}
