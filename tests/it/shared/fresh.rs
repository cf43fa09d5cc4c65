//! What is at hand is what the archive holds.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry::demo::Fault;

use super::{instance_path, retrievals};
use crate::retrieval::{METHODS, Outcome, Scene, judge, study_path};
use crate::support::http::get;
use crate::support::objects::{Kind, expected, object, study};

/// A bridge that asks the archive before each answer what there is.
async fn careful(method: crate::retrieval::Method) -> Scene {
    let more = "\n[cache]\nmemory = \"64MiB\"\nrevalidate = \"1ms\"\n";
    Scene::new(method, study(1, 1, 10, &Kind::default()), &[], more).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_that_has_grown_is_answered_with_what_is_new_and_only_that_is_brought() {
    for method in METHODS {
        let scene = careful(method).await;
        let mut all = scene.expected(1);
        assert_eq!(judge(&get(scene.app.http, &study_path(1)).await, &all, "before"), Outcome::Complete);
        let new = object(1, 2, 1, &Kind::default());
        all.extend(expected(std::slice::from_ref(&new)));
        scene.archive.add([new]);
        assert_eq!(judge(&get(scene.app.http, &study_path(1)).await, &all, "after"), Outcome::Complete);
        scene.app.settle("what is new").await;
        assert_eq!(scene.archive.observations().objects_sent, 11, "{method:?}");
        let asked = retrievals(&scene);
        assert_eq!(judge(&get(scene.app.http, &study_path(1)).await, &all, "again"), Outcome::Complete);
        assert_eq!(retrievals(&scene), asked, "{method:?}: nothing was to be brought");
        scene.app.settle("growth").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_down_is_told_for_a_study_while_an_instance_comes_from_the_cache() {
    for method in METHODS {
        let scene = careful(method).await;
        let all = scene.expected(1);
        assert_eq!(judge(&get(scene.app.http, &study_path(1)).await, &all, "before"), Outcome::Complete);
        tokio::time::sleep(Duration::from_millis(5)).await;
        scene.archive.set_fault(Fault::FindFailure(0xA700));
        let study = get(scene.app.http, &study_path(1)).await;
        let of_instance = |uid: &str| -> BTreeMap<_, _> {
            all.clone().into_iter().filter(|(instance, _)| instance == uid).collect()
        };
        let one = get(scene.app.http, &instance_path(4)).await;
        assert_eq!(judge(&one, &of_instance("2.25.1.1.4"), "an instance"), Outcome::Complete);
        // An archive that cannot list is asked for the objects all the same.
        let told = study.status >= 500 || judge(&study, &all, "the study") == Outcome::Complete;
        assert!(told, "{method:?}: {}", study.status);
        scene.app.settle("an archive that is down").await;
    }
}
