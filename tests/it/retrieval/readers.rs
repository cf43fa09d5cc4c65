//! Clients that stop reading, and clients that leave.

use std::time::Duration;

use gantry::demo::Fault;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::curl::header_accepting_as_stored;
use crate::support::http::{get, open};
use crate::support::objects::{Kind, instance_uid, series_uid, study};
use crate::support::speed::{TooSlow, at_best, within};
use crate::support::{DEADLINE, until};

/// A reader that takes nothing for three seconds is given up where others wait; then the archive has a second
/// to end what was cancelled.
const CONTENDED: Duration = Duration::from_millis(4900);

/// More than the bridge and the kernel hold between the archive and a client that reads nothing.
fn large() -> Kind {
    Kind { pixels: 1 << 20, ..Kind::default() }
}

/// How long a client reads nothing at least. `GANTRY_STALL_SECONDS` sets it for a longer run.
fn stall() -> Duration {
    let seconds = std::env::var("GANTRY_STALL_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Waits until the archive sends nothing any more, and has something left.
async fn stalled(scene: &Scene, all: usize) {
    let mut before = 0;
    loop {
        sleep(Duration::from_millis(150)).await;
        let sent = scene.archive.observations().objects_sent;
        assert!(sent < all, "the whole study fits in between: it stalls nothing");
        if sent > 0 && sent == before {
            return;
        }
        before = sent;
    }
}

/// Study 1 is large, study 2 is small.
async fn scene(method: Method, associations: usize) -> (Scene, usize) {
    let mut instances = study(1, 1, 48, &large());
    let all = instances.len();
    instances.extend(study(2, 1, 10, &Kind::default()));
    let scene = Scene::new(method, instances, &[], &format!("max_associations = {associations}")).await;
    (scene, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_reads_nothing_delays_no_other() {
    for method in METHODS {
        let (scene, all) = scene(method, 4).await;
        let client = open(scene.app.http, &study_path(1)).await;
        stalled(&scene, all).await;
        let begin_of_stall = Instant::now();
        for round in 0.. {
            if round >= 10 && begin_of_stall.elapsed() >= stall() {
                break;
            }
            at_best(async || {
                let begin = Instant::now();
                let reply = get(scene.app.http, &study_path(2)).await;
                let took = begin.elapsed();
                assert_eq!(judge(&reply, &scene.expected(2), "another client"), Outcome::Complete);
                // Far below the time after which a stalled reader is given up.
                within(Duration::from_secs(2), took, &format!("{method:?}: another client"))
            })
            .await;
        }
        drop(client);
        scene.app.settle("after it has left").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_clients_that_read_nothing_are_cut_off_where_others_wait_for_what_they_hold() {
    for method in METHODS {
        at_best(async || wait_for_those_that_read_nothing(method).await).await;
    }
}

async fn wait_for_those_that_read_nothing(method: Method) -> Result<(), TooSlow> {
    let (scene, all) = scene(method, 4).await;
    // As many as the archive has associations for; the moves of one study follow one another.
    let mut clients = Vec::new();
    for _ in 0..if method == Method::Get { 4 } else { 1 } {
        clients.push(open(scene.app.http, &study_path(1)).await);
    }
    stalled(&scene, all * clients.len()).await;
    let begin = Instant::now();
    let one = format!("{}/series/{}/instances/{}", study_path(1), series_uid(1, 1), instance_uid(1, 1, 9));
    let reply = get(scene.app.http, &one).await;
    let took = begin.elapsed();
    let mut expected = scene.expected(1);
    expected.retain(|instance, _| *instance == instance_uid(1, 1, 9));
    assert_eq!(judge(&reply, &expected, "who waits"), Outcome::Complete);
    drop(clients);
    scene.app.settle("after all").await;
    within(CONTENDED, took, &format!("{method:?}: who waits"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_leaves_is_a_c_cancel_at_the_archive_within_a_second() {
    for (method, had_stopped) in METHODS.into_iter().flat_map(|m| [(m, false), (m, true)]) {
        at_best(async || leave(method, had_stopped).await).await;
    }
}

async fn leave(method: Method, had_stopped: bool) -> Result<(), TooSlow> {
    let what = format!("{method:?}, had stopped reading: {had_stopped}");
    let (scene, all) = scene(method, 4).await;
    let mut client = open(scene.app.http, &study_path(1)).await;
    if had_stopped {
        stalled(&scene, all).await;
    } else {
        let mut read = vec![0; 64 << 10];
        client.read_exact(&mut read).await.unwrap();
    }
    let left = Instant::now();
    drop(client);
    until(&what, DEADLINE, async || !scene.archive.observations().cancels.is_empty()).await;
    let cancelled = left.elapsed();
    scene.app.settle(&what).await;
    let settled = left.elapsed();
    let sent = scene.archive.observations().objects_sent;
    assert!(sent < all, "{what}: it went on sending to nobody");
    assert_eq!(scene.archive.observations().associations.aborted, 0, "{what}: cancelled, not aborted");
    let next = get(scene.app.http, &study_path(2)).await;
    assert_eq!(judge(&next, &scene.expected(2), &what), Outcome::Complete);
    within(Duration::from_secs(1), cancelled, &format!("{what}: C-CANCEL"))?;
    within(Duration::from_secs(4), settled, &what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_stream_of_http2_that_is_given_up_is_a_c_cancel_within_a_second() {
    for method in METHODS {
        at_best(async || give_up_a_stream(method).await).await;
    }
}

async fn give_up_a_stream(method: Method) -> Result<(), TooSlow> {
    let (scene, all) = scene(method, 4).await;
    let mut client = tokio::process::Command::new("/usr/bin/curl")
        .args(["--silent", "--http2-prior-knowledge", "--limit-rate", "1K", "--output", "/dev/null"])
        .args(["-H", header_accepting_as_stored()])
        .arg(format!("http://{}{}", scene.app.http, study_path(1)))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    stalled(&scene, all).await;
    client.kill().await.unwrap();
    let begin = Instant::now();
    let seen = scene.archive.wait_for(|seen| !seen.cancels.is_empty()).await.unwrap();
    let took = begin.elapsed();
    assert!(seen.objects_sent < all, "{method:?}");
    scene.app.settle(&format!("{method:?}")).await;
    within(Duration::from_secs(1), took, &format!("{method:?}: C-CANCEL"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_ignores_or_punishes_a_c_cancel_costs_a_second() {
    for method in METHODS {
        for fault in [Fault::IgnoreCancel, Fault::AbortOnCancel(100)] {
            at_best(async || leave_a_rude_one(method, fault).await).await;
        }
    }
}

async fn leave_a_rude_one(method: Method, fault: Fault) -> Result<(), TooSlow> {
    let what = format!("{method:?} {fault}");
    let (scene, _) = scene(method, 4).await;
    scene.archive.set_fault(fault);
    scene.archive.set_fault(Fault::ObjectsSlow(20));
    let mut client = open(scene.app.http, &study_path(1)).await;
    client.read_exact(&mut [0; 1000]).await.unwrap();
    drop(client);
    let begin = Instant::now();
    scene.app.settle(&what).await;
    let took = begin.elapsed();
    scene.archive.clear_faults();
    let next = get(scene.app.http, &study_path(2)).await;
    assert_eq!(judge(&next, &scene.expected(2), &what), Outcome::Complete);
    within(Duration::from_secs(3), took, &what)
}
