//! Clients that leave while the cache is on, before archives that take a C-CANCEL badly, and by configuration.

use std::time::Duration;

use gantry::demo::{Fault, Observations};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::retrievals;
use crate::retrieval::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::http::{get, open};
use crate::support::metrics::Figures;
use crate::support::objects::{Kind, study};
use crate::support::speed::{TooSlow, at_best, within};
use crate::support::{DEADLINE, until};

/// Objects of the study, and how long the archive takes for each: it is far from its end when its readers leave.
const OBJECTS: usize = 100;
const EACH: Fault = Fault::ObjectsSlow(30);

async fn scene(method: Method, faults: &[Fault], cache: &str) -> Scene {
    let faults = [&[EACH], faults].concat();
    let kind = Kind { pixels: 64 << 10, ..Kind::default() };
    // One association brings the study: an archive that seems far, on a busy machine, is not asked for it in shares.
    let more = format!("max_associations = 2\n[cache]\nmemory = \"64MiB\"\n{cache}");
    Scene::new(method, study(1, 1, OBJECTS, &kind), &faults, &more).await
}

/// Two clients read the beginning of the study, and then leave together.
async fn leave(scene: &Scene) {
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = open(scene.app.http, &study_path(1)).await;
        client.read_exact(&mut [0; 1000]).await.unwrap();
        clients.push(client);
    }
}

async fn wait_for(scene: &Scene, what: &str, seen: fn(&Observations) -> bool) {
    until(what, DEADLINE, async || seen(&scene.archive.observations())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_takes_a_c_cancel_badly_does_no_harm_where_readers_shared_a_retrieval() {
    for method in METHODS {
        for rude in [Fault::IgnoreCancel, Fault::AbortOnCancel(100), Fault::AbortOnCancel(20_000)] {
            at_best(async || leave_a_rude_one(method, rude).await).await;
        }
    }
}

async fn leave_a_rude_one(method: Method, rude: Fault) -> Result<(), TooSlow> {
    let what = format!("{method:?} {rude}");
    let scene = scene(method, &[rude], "").await;
    leave(&scene).await;
    let left = Instant::now();
    wait_for(&scene, &what, |seen| !seen.cancels.is_empty()).await;
    let cancelled = left.elapsed();
    scene.app.settle(&what).await;
    let settled = left.elapsed();
    assert!(scene.archive.observations().objects_sent < OBJECTS, "{what}: it went on to nobody");
    scene.archive.clear_faults();
    let next = get(scene.app.http, &study_path(1)).await;
    assert_eq!(judge(&next, &scene.expected(1), &what), Outcome::Complete);
    let figures = Figures::of(scene.app.http).await;
    let ended = ["cancelled", "complete"].map(|outcome| figures.retrievals(outcome));
    assert_eq!(ended, [1, 1], "{what}: {figures:?}");
    within(Duration::from_secs(1), cancelled, &format!("{what}: C-CANCEL"))?;
    within(Duration::from_secs(4), settled, &what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everybody_has_left_is_finished_for_the_cache_where_that_is_configured() {
    for method in METHODS {
        let scene = scene(method, &[], "retrieve_ahead = \"finish\"\n").await;
        leave(&scene).await;
        wait_for(&scene, "the retrieval ends", |seen| seen.objects_sent == OBJECTS).await;
        scene.app.settle("finished").await;
        assert!(scene.archive.observations().cancels.is_empty(), "{method:?}");
        let next = get(scene.app.http, &study_path(1)).await;
        assert_eq!(judge(&next, &scene.expected(1), "from the cache"), Outcome::Complete);
        let seen = scene.archive.observations();
        assert_eq!(seen.objects_sent, OBJECTS, "{method:?}: brought again");
        assert_eq!(retrievals(&seen), [("STUDY".to_owned(), 1)].into(), "{method:?}");
        let figures = Figures::of(scene.app.http).await;
        assert_eq!((figures.retrievals("cancelled"), figures.retrievals("complete")), (0, 1), "{figures:?}");
    }
}
