//! Clients that leave, and clients that are slow.

use std::time::Duration;

use gantry::demo::Fault;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use super::{FRAMES, instance_path, scene};
use crate::retrieval::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::http::{Version, get, get_with, open};
use crate::support::objects::{Kind, series_uid, study};
use crate::support::speed::{TooSlow, at_best, within};
use crate::support::{DEADLINE, until};

/// More than the kernel holds for a client that reads nothing.
fn large() -> Kind {
    Kind { pixels: 1 << 20, ..Kind::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_the_last_client_that_leaves_is_a_c_cancel_at_the_archive_within_a_second() {
    for method in METHODS {
        at_best(async || leave_one_by_one(method).await).await;
    }
}

async fn leave_one_by_one(method: Method) -> Result<(), TooSlow> {
    // One association brings the study, which takes it five seconds.
    let instances = study(1, 1, 100, &large());
    let scene = scene(method, instances, &[Fault::ObjectsSlow(50)], "max_associations = 2").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = open(scene.app.http, &study_path(1)).await;
        client.read_exact(&mut [0; 1000]).await.unwrap();
        clients.push(client);
    }
    let last = clients.pop();
    drop(clients);
    sleep(Duration::from_millis(700)).await;
    assert!(scene.archive.observations().cancels.is_empty(), "{method:?}: one still reads");
    drop(last);
    let begin = Instant::now();
    let cancelled = scene.archive.wait_for(|seen| !seen.cancels.is_empty());
    assert!(timeout(DEADLINE, cancelled).await.is_ok(), "{method:?}: no C-CANCEL");
    let took = begin.elapsed();
    scene.app.settle("the last has left").await;
    scene.archive.clear_faults();
    let next = get(scene.app.http, &study_path(1)).await;
    assert_eq!(judge(&next, &scene.expected(1), "who comes later"), Outcome::Complete);
    within(Duration::from_secs(1), took, &format!("{method:?}: C-CANCEL"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_whose_frames_are_viewed_is_brought_to_its_end_though_nobody_waits() {
    for method in METHODS {
        let scene = scene(method, study(1, 1, 20, &Kind::default()), &[Fault::ObjectsSlow(20)], "").await;
        let path = format!("{}/frames/1", instance_path(1));
        let frame = get_with(scene.app.http, &path, Version::Http11, FRAMES).await;
        assert_eq!((frame.status, frame.whole), (200, true), "{method:?}");
        // Its retrieval may yet have to wait for its turn.
        until("the series", DEADLINE, async || scene.archive.observations().objects_sent >= 20).await;
        scene.app.settle("the series").await;
        let sent = scene.archive.observations().objects_sent;
        assert!(scene.archive.observations().cancels.is_empty(), "{method:?}");
        let path = format!("{}/series/{}", study_path(1), series_uid(1, 1));
        let series = get(scene.app.http, &path).await;
        assert_eq!(judge(&series, &scene.expected(1), "the series"), Outcome::Complete);
        assert_eq!(scene.archive.observations().objects_sent, sent, "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_clients_that_read_nothing_hold_up_no_other() {
    for method in METHODS {
        at_best(async || read_beside_slow_ones(method).await).await;
    }
}

async fn read_beside_slow_ones(method: Method) -> Result<(), TooSlow> {
    // More than the cache holds: what the slow ones have not read cannot all be kept for them.
    let cache = "\n[cache]\nmemory = \"8MiB\"\n";
    let scene = Scene::new(method, study(1, 1, 32, &large()), &[], cache).await;
    let all = scene.expected(1);
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(open(scene.app.http, &study_path(1)).await);
    }
    for client in &mut slow {
        client.read_exact(&mut [0; 1000]).await.unwrap();
    }
    let begin = Instant::now();
    let fast: Vec<_> = (0..5)
        .map(|_| {
            let address = scene.app.http;
            tokio::spawn(async move { get(address, &study_path(1)).await })
        })
        .collect();
    for client in fast {
        assert_eq!(judge(&client.await.unwrap(), &all, "a fast one"), Outcome::Complete);
    }
    let took = begin.elapsed();
    drop(slow);
    scene.app.settle("slow clients").await;
    // Below the time after which a client that reads nothing is given up.
    within(Duration::from_secs(20), took, &format!("{method:?}: the fast ones"))
}
