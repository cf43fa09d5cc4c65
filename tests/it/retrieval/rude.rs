//! Every rude behaviour that the built-in archive has, once by C-GET and once by C-MOVE.

use std::sync::Arc;
use std::time::Duration;

use gantry::demo::Fault;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{METHODS, Method, Outcome, Scene};
use crate::support::objects::{Kind, study};

/// How many archives are rude at once. Most of the time goes by in time-outs.
const AT_ONCE: usize = 30;
const TIMEOUTS: &str =
    "timeouts = { connect = \"2s\", association = \"2s\", silence = \"2s\", operation = \"20s\" }";
/// An archive that did not answer is asked again after a probe.
const PROBED: Duration = Duration::from_secs(10);

/// The fault of this kind, with waits that a test can bear.
fn fault(name: &str) -> Fault {
    match name {
        "last-late" => Fault::LastLate(200),
        "abort-on-cancel" => Fault::AbortOnCancel(200),
        _ => name.parse().unwrap(),
    }
}

/// Faults with which a client gets everything all the same.
const HARMLESS: &[&str] = &[
    "close-idle",
    "abort-idle",
    "no-release",
    "after-final",
    "echo-failure",
    "find-failure",
    "find-failure-after",
    "find-cap",
    "find-slow",
    "final-first",
    "last-late",
    "objects-slow",
    "no-counters",
    "counters-backwards",
    "no-pending",
    "no-originator",
    "wrong-originator-id",
    "wrong-originator-title",
    "foreign",
    "twice",
    "other-syntax",
    "ignore-cancel",
    "abort-on-cancel",
];

async fn be_rude(method: Method, name: &str) -> String {
    let what = format!("{method:?} {name}");
    let mut instances = study(1, 1, 4, &Kind::default());
    instances.extend(study(2, 1, 4, &Kind::default()));
    let scene = Scene::new(method, instances, &[fault(name)], TIMEOUTS).await;
    let outcome = scene.study(&what).await;
    if HARMLESS.contains(&name) {
        assert_eq!(outcome, Outcome::Complete, "{what}");
    }
    scene.app.settle(&what).await;
    scene.archive.clear_faults();
    let begin = Instant::now();
    // What failed is told once more, and what did not answer is left alone for a while; on a busy machine nothing may come in
    // time for once.
    loop {
        match scene.study(&what).await {
            Outcome::Complete => break,
            Outcome::Partial | Outcome::Failed(503 | 504) if begin.elapsed() < PROBED => {
                sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{what}: {other:?} when it is polite again"),
        }
    }
    scene.app.settle(&what).await;
    format!("{what}: {outcome:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_whatever_an_archive_does_the_answer_is_whole_or_visibly_not_and_nothing_stays() {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    // Those of storing are for the tests of that.
    let kinds = || Fault::KINDS.iter().filter(|kind| !kind.name.starts_with("store-"));
    for (method, kind) in METHODS.into_iter().flat_map(|m| kinds().map(move |k| (m, k))) {
        let turns = Arc::clone(&turns);
        runs.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            be_rude(method, kind.name).await
        });
    }
    let mut failed = Vec::new();
    while let Some(done) = runs.join_next().await {
        match done {
            Ok(story) => println!("{story}"),
            Err(error) => failed.push(error.to_string()),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
