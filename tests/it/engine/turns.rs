//! One association for everybody: bulk work and searches take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry::demo::Fault;
use tokio::time::Instant;

use crate::retrieval::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::http::{Version, get, get_with};
use crate::support::metrics::Figures;
use crate::support::objects::{Kind, study, study_uid};
use crate::support::speed::{TooSlow, at_best, within};
use crate::support::viewer::JSON;
use crate::support::{DEADLINE, until};

/// Objects of the study, and how many milliseconds the archive takes for each: three seconds in all.
const OBJECTS: usize = 300;
const EACH: u32 = 10;
/// A search waits for the share that runs: some dozens of objects, and some for a machine that is busy.
const LONGEST: Duration = Duration::from_millis(2000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_with_one_association_a_search_waits_for_no_whole_study_and_the_study_is_not_starved() {
    for method in METHODS {
        for cache in ["0", "64MiB"] {
            at_best(async || search_beside_bulk(method, cache).await).await;
        }
    }
}

async fn search_beside_bulk(method: Method, cache: &str) -> Result<(), TooSlow> {
    let what = format!("{method:?}, cache {cache}");
    let mut objects = study(1, 1, OBJECTS, &Kind::default());
    objects.extend(study(2, 1, 1, &Kind::default()));
    let more = format!("max_associations = 1\n[cache]\nmemory = \"{cache}\"");
    let scene = Scene::new(method, objects, &[Fault::ObjectsSlow(EACH)], &more).await;
    let scene = Arc::new(scene);
    let ended = Arc::new(AtomicBool::new(false));
    let bulk = {
        let (scene, ended) = (Arc::clone(&scene), Arc::clone(&ended));
        tokio::spawn(async move {
            let reply = get(scene.app.http, &study_path(1)).await;
            ended.store(true, Ordering::SeqCst);
            reply
        })
    };
    until("the study comes", DEADLINE, async || scene.archive.observations().objects_sent > 5).await;
    let mut times = Vec::new();
    // One search after the other: the study has to get its turns in between.
    while !ended.load(Ordering::SeqCst) {
        let begin = Instant::now();
        let path = format!("/dicom-web/studies?StudyInstanceUID={}", study_uid(2));
        let reply = get_with(scene.app.http, &path, Version::Http11, JSON).await;
        assert_eq!((reply.status, reply.whole), (200, true), "{what}: {}", reply.text());
        times.push(begin.elapsed());
        let open = Figures::of(scene.app.http).await.sum("associations", &["state=\"open\""]);
        assert!(open <= 1, "{what}: {open} associations");
    }
    let longest = times.iter().max().unwrap();
    println!("{what}: {} searches beside the study, the longest took {longest:?}", times.len());
    assert!(times.len() > 2, "{what}: {times:?}");
    assert_eq!(judge(&bulk.await.unwrap(), &scene.expected(1), &what), Outcome::Complete);
    within(LONGEST, *longest, &format!("{what}: a search"))
}
