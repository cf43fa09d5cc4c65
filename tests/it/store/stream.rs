//! Objects larger than memory would like: they pass through, and what is under way is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry::archive::Kind;
use gantry::demo::Plain;

use super::*;
use crate::support::speed::{TooSlow, at_best, within};

/// Most bytes that are between the object's source and the archive: the budget, what is kept for a second attempt,
/// what is queued, and the buffers of the connection.
const MOST_UNDER_WAY: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_two_gigabytes_passes_without_being_gathered() {
    let scene = Scene::new(&[Fault::StoreDiscard]).await;
    let instance = Plain::new(1, 1, 1, 2 << 30).make().remove(0);
    let Data::Parts(parts) = &instance.data else { panic!("not in parts") };
    let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
    assert!(length > 2 << 30);
    let (log, object) = ObjectLog::new(instance.head.clone(), &Budget::new(BUDGET));
    let most = Arc::new(AtomicU64::new(0));
    let feed = async {
        let mut fed = 0;
        for part in parts.iter() {
            log.append(part).await;
            fed += part.len() as u64;
            let there = scene.archive.observations().bytes_stored;
            most.fetch_max(fed - there, Ordering::Relaxed);
        }
        log.finish();
    };
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let (stored, ()) = tokio::join!(scene.gantry.store(&caller, object), feed);
    assert_eq!(stored.unwrap().status, 0);
    assert_eq!(scene.archive.observations().bytes_stored, length);
    let most = most.load(Ordering::Relaxed);
    assert!(most < MOST_UNDER_WAY, "{most} bytes were under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_reads_no_further_holds_the_source_back_and_times_out() {
    at_best(store_in_a_deaf_one).await;
}

async fn store_in_a_deaf_one() -> Result<(), TooSlow> {
    let scene = Scene::new(&[Fault::StoreDeafIn(1)]).await;
    let instance = Plain::new(1, 1, 1, 200 << 20).make().remove(0);
    let Data::Parts(parts) = &instance.data else { panic!("not in parts") };
    let (log, object) = ObjectLog::new(instance.head.clone(), &Budget::new(BUDGET));
    let fed = AtomicU64::new(0);
    let feed = async {
        for part in parts.iter() {
            log.append(part).await;
            fed.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        log.finish();
    };
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let begin = Instant::now();
    let store = async {
        let stored = scene.gantry.store(&caller, object).await;
        (stored, fed.load(Ordering::Relaxed))
    };
    let ((stored, fed), ()) = tokio::join!(store, feed);
    let took = begin.elapsed();
    assert_eq!(stored.unwrap_err().kind, Kind::Timeout("silence"));
    assert!(fed < MOST_UNDER_WAY, "{fed} bytes were taken from the source");
    scene.settle("deaf").await;
    within(Duration::from_secs(20), took, "deaf")
}
