//! Many clients of one series, some of them slow.

use std::net::SocketAddr;
use std::time::Duration;

use gantry::demo::Fault;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::retrievals;
use crate::retrieval::{Method, Outcome, Scene, judge, study_path};
use crate::support::http::{get, open, read};
use crate::support::objects::{Kind, series_uid, study};
use crate::support::speed::{TooSlow, at_best, within};
use crate::support::viewer::Connection;
use crate::support::{curl, metrics::Figures};

const FAST: usize = 90;
const SLOW: usize = 10;
/// Objects of the series.
const OBJECTS: usize = 16;
/// Bytes of each: what the slow clients do not read is more than the kernel holds for them.
const SIZE: usize = 128 << 10;
/// How fast a slow client reads: 100 KB/s, a tenth of that at a time.
const SIP: usize = 10_000;
/// Between two sips.
const PAUSE: Duration = Duration::from_millis(100);
/// What the fast ones may take longer: by this factor, and by this much, as the machine may be busy otherwise. Waiting
/// for the slow ones would take them twenty seconds.
const FACTOR: u32 = 2;
const SLACK: Duration = Duration::from_millis(300);

fn series() -> String {
    format!("{}/series/{}", study_path(1), series_uid(1, 1))
}

async fn scene(memory: &str) -> Scene {
    let objects = study(1, 1, OBJECTS, &Kind { pixels: SIZE, ..Kind::default() });
    Scene::new(Method::Get, objects, &[], &format!("[cache]\nmemory = \"{memory}\"")).await
}

/// A client that reads slowly until it is dropped.
struct Slow(AbortHandle);

impl Slow {
    /// Returns when the answer has begun.
    async fn begin(address: SocketAddr) -> Self {
        let mut client = open(address, &series()).await;
        client.read_exact(&mut [0; SIP]).await.unwrap();
        Self(tokio::spawn(sip(client)).abort_handle())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sip(mut client: TcpStream) {
    while client.read_exact(&mut [0; SIP]).await.is_ok() {
        sleep(PAUSE).await;
    }
}

/// How long the fast clients take that ask for the series at once: the median.
async fn fast(scene: &Scene) -> Duration {
    let mut clients = JoinSet::new();
    for _ in 0..FAST {
        let address = scene.app.http;
        clients.spawn(async move {
            let begin = Instant::now();
            let header = curl::header_accepting_as_stored();
            let reply = Connection::to(address).await.get(&series(), header).await;
            assert_eq!((reply.status, reply.whole), (200, true));
            assert!(reply.body.len() > OBJECTS * SIZE);
            begin.elapsed()
        });
    }
    let mut times = clients.join_all().await;
    times.sort();
    times[FAST / 2]
}

/// Clients that read slowly, and the median time of the fast ones beside them.
async fn beside_slow(scene: &Scene) -> (Vec<Slow>, Duration) {
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(Slow::begin(scene.app.http).await);
    }
    let beside = fast(scene).await;
    (slow, beside)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_ten_slow_clients_of_a_hundred_cost_the_others_nothing_and_the_archive_one_retrieval() {
    at_best(read_beside_slow_ones).await;
}

async fn read_beside_slow_ones() -> Result<(), TooSlow> {
    let alone = fast(&scene("64MiB").await).await;
    let scene = scene("64MiB").await;
    let (slow, beside) = beside_slow(&scene).await;
    println!("median of {FAST} clients: alone {alone:?}, beside {SLOW} slow ones {beside:?}");
    assert_eq!(retrievals(&scene.archive.observations()), [("SERIES".to_owned(), 1)].into());
    assert_eq!(scene.archive.observations().objects_sent, OBJECTS);
    drop(slow);
    scene.app.settle("after the slow ones").await;
    let figures = Figures::of(scene.app.http).await;
    assert_eq!((figures.retrievals("complete"), figures.requests("miss")), (1, 1), "{figures:?}");
    let served = figures.requests("attached") + figures.requests("hit");
    assert_eq!(served, (FAST + SLOW - 1) as u64, "{figures:?}");
    within(alone * FACTOR + SLACK, beside, &format!("alone {alone:?}, beside slow ones"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_slow_clients_hold_up_nobody_where_the_cache_is_smaller_than_the_series() {
    at_best(read_beside_slow_ones_with_little_memory).await;
}

async fn read_beside_slow_ones_with_little_memory() -> Result<(), TooSlow> {
    let alone = fast(&scene("1MiB").await).await;
    let scene = scene("1MiB").await;
    let (slow, beside) = beside_slow(&scene).await;
    println!("with little memory: alone {alone:?}, beside {SLOW} slow ones {beside:?}");
    drop(slow);
    scene.app.settle("after the slow ones").await;
    // Those who hold up others are given some time before they lose what is kept for them.
    let grace = Duration::from_secs(2);
    within(alone * FACTOR + SLACK + grace, beside, &format!("alone {alone:?}, beside slow ones"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_loses_an_object_in_the_middle_sees_it_break_off_and_is_counted() {
    // One object, larger than the cache and all that the kernel holds; both clients are there when it begins.
    let objects = study(1, 1, 1, &Kind { pixels: 48 << 20, ..Kind::default() });
    let cache = "[cache]\nmemory = \"1MiB\"";
    let scene = Scene::new(Method::Get, objects, &[Fault::ObjectsSlow(1000)], cache).await;
    let mut slow = open(scene.app.http, &study_path(1)).await;
    let fast = get(scene.app.http, &study_path(1)).await;
    assert_eq!(judge(&fast, &scene.expected(1), "who reads"), Outcome::Complete);
    let slow = read(&mut slow).await;
    assert_eq!(judge(&slow, &scene.expected(1), "who does not"), Outcome::Broken);
    assert_eq!(slow.status, 200, "it had begun");
    let figures = Figures::of(scene.app.http).await;
    assert_eq!(figures.sum("readers_cut_total", &["archive=\"main\""]), 1, "{figures:?}");
}
