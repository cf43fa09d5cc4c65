//! A fault at every step of an operation: before, within and after every PDU that goes either way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gantry::demo::{Archive, Instance, Running};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{METHODS, Method, Outcome, configuration, judge, short, study_path};
use crate::support::app::TestApp;
use crate::support::chaos::{Chaos, Harm, Plan, Way, pdus};
use crate::support::http::get;
use crate::support::objects::{Kind, expected, study};
use crate::support::process::free_port;

/// How many faults are under way at once. Most of the time goes by in time-outs.
const AT_ONCE: usize = 30;
/// Short enough for a test, long enough for a machine that has much to do.
const TIMEOUTS: &str =
    "timeouts = { connect = \"2s\", association = \"2s\", silence = \"2s\", operation = \"20s\" }";

/// An archive whose every connection, to the bridge and from it, goes through a proxy.
struct Wired {
    _archive: Running,
    app: TestApp,
    /// Between the bridge and the archive: requests and responses, and the objects of a C-GET.
    requests: Chaos,
    /// Between the archive and the bridge: the objects of a C-MOVE.
    objects: Chaos,
}

/// Of the places, the suite takes every N-th. `GANTRY_EVERY_STEP=1` is for a longer run with all of them.
fn every(nth: usize) -> usize {
    std::env::var("GANTRY_EVERY_STEP").ok().and_then(|text| text.parse().ok()).unwrap_or(nth)
}

fn instances() -> Vec<Instance> {
    study(1, 1, 3, &Kind::default())
}

impl Wired {
    async fn new(method: Method) -> Self {
        let port = free_port();
        let objects = Chaos::before(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let destination = objects.address;
        let archive = Archive::builder()
            .ae_title("PACS".parse().unwrap())
            .studies(instances())
            .destination("GANTRY".parse().unwrap(), destination)
            .start()
            .await
            .unwrap();
        let requests = Chaos::before(archive.addr()).await;
        let app = TestApp::start(&configuration(requests.address, port, method, TIMEOUTS)).await;
        Self { _archive: archive, app, requests, objects }
    }

    fn proxy(&self, of_objects: bool) -> &Chaos {
        if of_objects { &self.objects } else { &self.requests }
    }
}

/// Every place in an undisturbed retrieval: which proxy, which connection, which way, after how many bytes.
async fn places(method: Method) -> Vec<(bool, usize, Way, usize)> {
    let wired = Wired::new(method).await;
    let reply = get(wired.app.http, &study_path(1)).await;
    assert_eq!(judge(&reply, &expected(&instances()), "undisturbed"), Outcome::Complete, "{}", short(&reply));
    let mut places = Vec::new();
    for of_objects in [false, true] {
        for (connection, ways) in wired.proxy(of_objects).recorded().iter().enumerate() {
            for way in [Way::Up, Way::Down] {
                let bytes = &ways[way as usize];
                for (begin, _) in pdus(bytes) {
                    let within = [begin, begin + 3, begin + 20].into_iter().filter(|at| *at < bytes.len());
                    places.extend(within.map(|at| (of_objects, connection, way, at)));
                }
                places.push((of_objects, connection, way, bytes.len()));
            }
        }
    }
    places
}

/// One fault, the answer to the request that it hits, and the next request.
async fn one(method: Method, of_objects: bool, plan: Plan) -> Outcome {
    let what = format!("{method:?}, {} {plan:?}", if of_objects { "objects" } else { "requests" });
    let wired = Wired::new(method).await;
    let proxy = wired.proxy(of_objects);
    proxy.plan(Some(plan));
    let first = get(wired.app.http, &study_path(1)).await;
    let outcome = judge(&first, &expected(&instances()), &what);
    match outcome {
        Outcome::Failed(status) => assert!((502..=504).contains(&status), "{what}: {}", short(&first)),
        Outcome::Partial => panic!("{what}: nobody told of failures"),
        Outcome::Broken | Outcome::Complete => {}
    }
    wired.app.settle(&what).await;
    proxy.plan(None);
    let mut next = get(wired.app.http, &study_path(1)).await;
    // An association that has stalled while it was idle shows only when it is used: silence is not asked twice.
    if plan.harm == Harm::Stall && outcome == Outcome::Complete && next.status == 504 {
        wired.app.settle(&what).await;
        next = get(wired.app.http, &study_path(1)).await;
    }
    let after = judge(&next, &expected(&instances()), &what);
    // What failed as an object, and not with its whole operation, is remembered for once.
    assert!(matches!(after, Outcome::Complete | Outcome::Partial), "{what}, next: {}", short(&next));
    wired.app.settle(&what).await;
    outcome
}

async fn sweep(method: Method, harm: Harm, nth: usize) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    for (of_objects, connection, way, after) in places(method).await.into_iter().step_by(nth) {
        let turns = Arc::clone(&turns);
        runs.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            one(method, of_objects, Plan { connection, way, after, harm }).await
        });
    }
    let mut outcomes = Vec::new();
    while let Some(done) = runs.join_next().await {
        outcomes.push(done.unwrap());
    }
    let failed = outcomes.iter().filter(|outcome| **outcome != Outcome::Complete).count();
    assert!(failed * 4 > outcomes.len(), "{method:?} {harm:?}: only {failed} of {} failed", outcomes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_reset_at_any_step_is_an_error_and_leaves_nothing_behind() {
    for method in METHODS {
        sweep(method, Harm::Reset, every(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_at_any_step_is_an_error_and_leaves_nothing_behind() {
    for method in METHODS {
        sweep(method, Harm::Close, every(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stalls_at_any_step_is_an_error_in_time_and_leaves_nothing_behind() {
    for method in METHODS {
        sweep(method, Harm::Stall, every(4)).await;
    }
}
