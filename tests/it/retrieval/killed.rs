//! The archive dies in the middle of an operation, at places that a seed chooses: the client sees an error, the
//! next request succeeds, nothing is left over.

use std::time::{Duration, Instant};

use gantry::demo::{Fault, Observations};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::curl::{Answer, curl, header_accepting_as_stored};
use crate::support::http::Reply;
use crate::support::objects::{Kind, study};
use crate::support::speed::{at_best, within};

const PROTOCOLS: [&str; 3] = ["--http1.0", "--http1.1", "--http2-prior-knowledge"];

/// How many places there are for each operation. `GANTRY_KILLS` sets it for a longer run.
fn places() -> usize {
    std::env::var("GANTRY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// curl's answer as the judge wants it: it is whole where curl says so.
fn reply(answer: Answer) -> Reply {
    Reply {
        status: answer.status,
        headers: vec![("content-type".into(), answer.content_type)],
        body: answer.body,
        whole: answer.exit == 0,
    }
}

async fn ask(url: String, protocol: &'static str, accept: &'static str) -> Reply {
    let asked = tokio::task::spawn_blocking(move || curl(&url, &[protocol, "-H", accept])).await;
    reply(asked.unwrap())
}

/// When the archive is killed: how far a request has come, and then some time more.
struct Progress {
    /// Slows the request down, so that there is time to kill it.
    slow: Fault,
    /// Counts what the archive has done.
    count: fn(&Observations) -> usize,
    /// How far a request comes.
    steps: usize,
    /// How long each of these steps takes at least.
    step: Duration,
}

/// Kills the archive at seeded places of a request, and has each answer judged. Returns how many were hit.
async fn kill_in_the_middle(
    scene: &Scene,
    progress: Progress,
    path: &str,
    accept: &'static str,
    check: impl Fn(&Reply, &str) -> Outcome,
) -> usize {
    let url = format!("http://{}{path}", scene.app.http);
    assert_eq!(check(&ask(url.clone(), PROTOCOLS[1], accept).await, "before"), Outcome::Complete);
    let mut random = StdRng::seed_from_u64(0x6761_6E74_7279);
    let mut hit = 0;
    for place in 0..places() {
        let protocol = PROTOCOLS[place % PROTOCOLS.len()];
        let (steps, delay) =
            (random.random_range(0..progress.steps), progress.step.mul_f64(random.random_range(0.0..1.0)));
        let what = format!("{path} {protocol}, place {place}, after {steps} and {delay:?}");
        scene.archive.set_fault(progress.slow);
        let before = (progress.count)(&scene.archive.observations());
        let asked = tokio::spawn(ask(url.clone(), protocol, accept));
        let far_enough = |seen: &Observations| (progress.count)(seen) >= before + steps;
        assert!(scene.archive.wait_for(far_enough).await.is_ok(), "{what}: it does not come so far");
        sleep(delay).await;
        scene.archive.kill().await;
        let outcome = check(&asked.await.unwrap(), &what);
        match outcome {
            Outcome::Failed(status) => assert!((502..=504).contains(&status), "{what}: {status}"),
            Outcome::Partial => panic!("{what}: nobody told of failures"),
            Outcome::Broken | Outcome::Complete => {}
        }
        hit += usize::from(outcome != Outcome::Complete);
        scene.app.settle(&what).await;
        scene.archive.clear_faults();
        scene.archive.restart().await.unwrap();
        let next = check(&ask(url.clone(), protocol, accept).await, &what);
        assert_eq!(next, Outcome::Complete, "{what}: the next request");
        scene.app.settle(&what).await;
    }
    hit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_killed_in_a_retrieval_is_an_error_for_the_client_and_no_more() {
    let kind = Kind { pixels: 40_000, ..Kind::default() };
    for method in METHODS {
        let scene = Scene::new(method, study(1, 2, 15, &kind), &[], "").await;
        let expected = scene.expected(1);
        let check = |reply: &Reply, what: &str| judge(reply, &expected, &format!("{method:?} {what}"));
        let accept = header_accepting_as_stored();
        let progress = Progress {
            slow: Fault::ObjectsSlow(1),
            count: |seen| seen.objects_sent,
            steps: 29,
            step: Duration::from_millis(1),
        };
        let hit = kill_in_the_middle(&scene, progress, &study_path(1), accept, check).await;
        assert!(hit * 2 > places(), "{method:?}: only {hit} of {} hit anything", places());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_killed_in_a_search_never_makes_a_short_list() {
    const INSTANCES: usize = 60;
    let instances = study(1, 1, INSTANCES, &Kind { pixels: 10, ..Kind::default() });
    let scene = Scene::new(Method::Get, instances, &[], "").await;
    let check = |reply: &Reply, what: &str| match (reply.status, reply.whole) {
        (200, true) => {
            let list: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(list.as_array().unwrap().len(), INSTANCES, "{what}");
            Outcome::Complete
        }
        (200, false) => Outcome::Broken,
        (status @ 400.., true) => Outcome::Failed(status),
        _ => panic!("{what}: {reply:?}"),
    };
    // No answer is taken from what an earlier search found.
    let path = format!("{}/instances", study_path(1));
    let accept = "Accept: application/dicom+json";
    let progress = Progress {
        slow: Fault::FindSlow(1),
        count: |seen| seen.finds,
        steps: 2,
        step: Duration::from_millis(INSTANCES as u64),
    };
    let hit = kill_in_the_middle(&scene, progress, &path, accept, check).await;
    assert!(hit * 2 > places(), "only {hit} of {} hit anything", places());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_down_answers_at_once_with_a_503() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 1, &Kind::default()), &[], "").await;
        scene.assert_complete("while it is up").await;
        scene.archive.kill().await;
        at_best(async || {
            let begin = Instant::now();
            let outcome = scene.study("while it is down").await;
            let took = begin.elapsed();
            assert_eq!(outcome, Outcome::Failed(503), "{method:?}");
            within(Duration::from_secs(2), took, &format!("{method:?}: while it is down"))
        })
        .await;
        scene.app.settle("while it is down").await;
    }
}
