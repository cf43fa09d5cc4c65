//! Searches over the wire: few associations, one C-FIND for all who ask the same, and no waiting behind what is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gantry::demo::{Fault, Instance};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::retrieval::{Method, Scene, study_path};
use crate::support::DEADLINE;
use crate::support::http::{Reply, Version, get, get_with};
use crate::support::objects::{Kind, study, study_uid};
use crate::support::speed::{TooSlow, at_best, within};

const JSON: &str = "Accept: application/dicom+json";

/// How far the 99th percentile of searches beside a bulk retrieval may lie above that on an idle archive. Where the
/// code is not optimised, both ends take long, and the machine may have other things to do.
const BESIDE_BULK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 10 });

/// An archive with so many studies of one object.
async fn scene(studies: usize, faults: &[Fault], more: &str) -> Arc<Scene> {
    let instances: Vec<Instance> = (1..=studies).flat_map(|n| study(n, 1, 1, &Kind::default())).collect();
    Arc::new(Scene::new(Method::Get, instances, faults, more).await)
}

async fn search(scene: &Scene, query: &str) -> Reply {
    let reply = get_with(scene.app.http, &format!("/dicom-web/studies{query}"), Version::Http11, JSON).await;
    assert!(reply.whole && reply.status == 200, "{query}: {} {}", reply.status, reply.text());
    reply
}

/// Asks for all studies and leaves the reading to the caller.
async fn begin_search(scene: &Scene) -> TcpStream {
    let mut client = TcpStream::connect(scene.app.http).await.unwrap();
    let request = format!("GET /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

fn count(reply: &Reply) -> usize {
    serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap().as_array().unwrap().len()
}

async fn all(mut tasks: JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_that_ask_the_same_cost_the_archive_one_c_find() {
    let scene = scene(40, &[Fault::FindSlow(25)], "").await;
    let mut clients = JoinSet::new();
    for page in 0..50 {
        let scene = Arc::clone(&scene);
        clients.spawn(async move {
            // The first page always asks the archive, whatever was kept for the next ones.
            let (query, matches) = if page % 2 == 0 { ("", 40) } else { ("?limit=39", 39) };
            assert_eq!(count(&search(&scene, query).await), matches);
        });
    }
    all(clients).await;
    assert_eq!(scene.archive.observations().finds, 1);
    search(&scene, "?limit=1").await;
    assert_eq!(scene.archive.observations().finds, 2, "what has ended is not shared");
    let metrics = get(scene.app.http, "/metrics").await.text();
    assert!(metrics.contains("gantry_searches_total{archive=\"main\",outcome=\"asked\"} 2"), "{metrics}");
    assert!(metrics.contains("gantry_searches_total{archive=\"main\",outcome=\"shared\"} 49"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_the_last_client_that_leaves_a_shared_search_cancels_it_at_the_archive() {
    at_best(leave_a_shared_search).await;
}

async fn leave_a_shared_search() -> Result<(), TooSlow> {
    let scene = scene(100, &[Fault::FindSlow(100)], "").await;
    let (one, two) = (begin_search(&scene).await, begin_search(&scene).await);
    let until = |condition: fn(&Scene) -> bool| {
        let scene = &scene;
        async move {
            while !condition(scene) {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let begun = timeout(DEADLINE, until(|scene| scene.archive.observations().finds == 1));
    begun.await.expect("a C-FIND");
    drop(one);
    sleep(Duration::from_millis(300)).await;
    assert!(scene.archive.observations().cancels.is_empty(), "somebody still waits");
    drop(two);
    let left = Instant::now();
    let cancelled = timeout(DEADLINE, until(|scene| !scene.archive.observations().cancels.is_empty()));
    cancelled.await.expect("a C-CANCEL");
    let took = left.elapsed();
    assert_eq!(scene.archive.observations().finds, 1);
    scene.app.settle("the cancelled search").await;
    within(Duration::from_secs(1), took, "C-CANCEL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_different_searches_at_once_take_no_more_associations_than_the_cap() {
    let scene = scene(50, &[Fault::FindSlow(10)], "max_associations = 4").await;
    search(&scene, &format!("?StudyInstanceUID={}", study_uid(1))).await;
    assert_eq!(scene.archive.observations().associations.opened, 1);
    for _ in 0..5 {
        search(&scene, &format!("?StudyInstanceUID={}", study_uid(1))).await;
    }
    assert_eq!(scene.archive.observations().associations.opened, 1, "the idle one is used again");
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for n in 1..=50 {
        let scene = Arc::clone(&scene);
        clients.spawn(async move {
            let query = format!("?StudyInstanceUID={}", study_uid(n));
            assert_eq!(count(&search(&scene, &query).await), 1);
        });
    }
    all(clients).await;
    // One after the other they would take half a second of waiting alone.
    println!("50 different searches of 10 ms at cap 4: {:?}", begin.elapsed());
    let associations = scene.archive.observations().associations;
    assert_eq!((associations.opened, associations.most_open), (4, 4));
    assert_eq!(scene.archive.observations().finds, 56);
    let metrics = get(scene.app.http, "/metrics").await.text();
    for figure in ["state=\"open\"} 4", "state=\"idle\"} 4", "state=\"waiting\"} 0"] {
        assert!(metrics.contains(&format!("gantry_associations{{archive=\"main\",{figure}")), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_slow_search_holds_up_no_other_while_an_association_is_free() {
    let scene = scene(200, &[Fault::FindSlow(20)], "max_associations = 2").await;
    let ended = Arc::new(AtomicBool::new(false));
    let slow = {
        let (scene, ended) = (Arc::clone(&scene), Arc::clone(&ended));
        tokio::spawn(async move {
            assert_eq!(count(&search(&scene, "").await), 200);
            ended.store(true, Ordering::SeqCst);
        })
    };
    while scene.archive.observations().finds == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    for n in 1..=20 {
        assert_eq!(count(&search(&scene, &format!("?StudyInstanceUID={}", study_uid(n))).await), 1);
    }
    assert!(!ended.load(Ordering::SeqCst), "they waited for the slow one");
    slow.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_associations_searches_are_as_quick_beside_a_bulk_retrieval_as_on_an_idle_archive() {
    at_best(search_beside_bulk).await;
}

async fn search_beside_bulk() -> Result<(), TooSlow> {
    let mut instances = study(1, 1, 40, &Kind { pixels: 2 << 20, ..Kind::default() });
    instances.extend((2..=21).flat_map(|n| study(n, 1, 1, &Kind::default())));
    let more = "max_associations = 2\n[cache]\nmemory = \"0\"";
    let scene = Arc::new(Scene::new(Method::Get, instances, &[], more).await);
    let idle = percentile_99(&scene).await;
    let (stop, studies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reader = {
        let (scene, stop, studies) = (Arc::clone(&scene), Arc::clone(&stop), Arc::clone(&studies));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let reply = get(scene.app.http, &study_path(1)).await;
                assert!(reply.whole && reply.status == 200);
                studies.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    while scene.archive.observations().gets == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let busy = percentile_99(&scene).await;
    stop.store(true, Ordering::SeqCst);
    reader.await.unwrap();
    println!("p99 of 200 searches: idle {idle:?}, beside a bulk retrieval {busy:?}");
    assert!(studies.load(Ordering::SeqCst) >= 1);
    within(idle + BESIDE_BULK, busy, &format!("idle {idle:?}, beside a bulk retrieval"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_with_one_association_a_search_does_not_wait_for_the_end_of_a_bulk_retrieval() {
    let mut instances = study(1, 4, 60, &Kind::default());
    instances.extend(study(2, 1, 1, &Kind::default()));
    let more = "max_associations = 1\n[cache]\nmemory = \"0\"";
    let scene = Arc::new(Scene::new(Method::Get, instances, &[Fault::ObjectsSlow(15)], more).await);
    let reader = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { get(scene.app.http, &study_path(1)).await })
    };
    while scene.archive.observations().objects_sent < 5 {
        assert!(!reader.is_finished(), "the retrieval failed");
        sleep(Duration::from_millis(2)).await;
    }
    let begin = Instant::now();
    search(&scene, &format!("?StudyInstanceUID={}", study_uid(2))).await;
    println!("a search beside a bulk retrieval on one association: {:?}", begin.elapsed());
    assert!(!reader.is_finished(), "the search waited for the whole study");
    let reply = reader.await.unwrap();
    assert!(reply.whole && reply.status == 200, "nor does the search harm the retrieval");
    assert_eq!(scene.archive.observations().associations.most_open, 1);
}

/// The 99th percentile of the times of 200 searches, one after the other.
async fn percentile_99(scene: &Scene) -> Duration {
    let mut times = Vec::new();
    for n in 0..200 {
        let begin = Instant::now();
        search(scene, &format!("?StudyInstanceUID={}", study_uid(2 + n % 20))).await;
        times.push(begin.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}
