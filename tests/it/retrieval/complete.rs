//! Every object, every time, whatever the archive's responses say and when they come.

use std::time::Duration;

use gantry::demo::Fault;
use tokio::time::Instant;

use super::{METHODS, Method, Outcome, Scene, configuration, judge, pacs, study_path};
use crate::support::app::TestApp;
use crate::support::http::get;
use crate::support::objects::{Kind, expected, study};
use crate::support::process::free_port;

/// How late the last object is: long past everything else. `GANTRY_LAST_LATE_MS` sets it for a longer run.
fn lateness() -> u32 {
    std::env::var("GANTRY_LAST_LATE_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(1200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_hundred_retrievals_by_c_move_bring_200_of_200_every_time() {
    let scene = Scene::new(Method::Move, study(1, 2, 100, &Kind::default()), &[], "").await;
    for round in 0..100 {
        scene.assert_complete(&format!("round {round}")).await;
    }
    scene.app.settle("after a hundred").await;
    let seen = scene.archive.observations();
    assert_eq!((seen.moves, seen.objects_sent), (100, 20_000), "nothing was fetched twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_the_final_response_first_without_counters_and_originator_and_the_last_object_late() {
    let late = Fault::LastLate(lateness());
    for faults in [
        vec![Fault::FinalFirst],
        vec![Fault::FinalFirst, Fault::NoCounters],
        vec![Fault::NoCounters, Fault::NoOriginator, Fault::NoPending],
        vec![Fault::FinalFirst, Fault::NoCounters, Fault::NoOriginator, late],
        vec![Fault::FinalFirst, late],
    ] {
        let scene = Scene::new(Method::Move, study(1, 2, 100, &Kind::default()), &faults, "").await;
        let begin = Instant::now();
        scene.assert_complete(&format!("{faults:?}")).await;
        let is_late = begin.elapsed() >= Duration::from_millis(lateness().into());
        assert!(is_late || !faults.contains(&late), "{faults:?}: {:?}", begin.elapsed());
        scene.app.settle(&format!("{faults:?}")).await;
        assert_eq!(scene.archive.observations().moves, 1, "{faults:?}: nothing was asked for twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_late_objects_does_not_slow_what_is_complete() {
    let scene = Scene::new(Method::Move, study(1, 1, 1, &Kind::default()), &[], "").await;
    // The searches, the C-MOVE and the archive's association are in this; a pause of any use is longer.
    const LIMIT: Duration = Duration::from_millis(10);
    let mut fastest = Duration::MAX;
    for _ in 0..200 {
        if fastest < LIMIT {
            return;
        }
        let begin = Instant::now();
        scene.assert_complete("one object").await;
        fastest = fastest.min(begin.elapsed());
    }
    panic!("never faster than {fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_study_that_the_archive_caps_without_a_word_is_not_taken_for_whole() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 5, &Kind::default()), &[Fault::LeaveOut(1)], "").await;
        let what = format!("{method:?}");
        assert_eq!(scene.study(&what).await, Outcome::Broken, "{what}");
        scene.app.settle(&what).await;
        assert_eq!(scene.study(&what).await, Outcome::Partial, "{what}: told up front");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_where_neither_counters_nor_a_search_tell_what_is_missing_silence_does() {
    let faults = [Fault::FinalFirst, Fault::NoCounters, Fault::ObjectsSlow(5), Fault::LastLate(600)];
    wait_for_silence(&faults).await;
    // What the series tell is no witness either: it may be an old number.
    wait_for_silence(&[faults.as_slice(), &[Fault::FindTellsFewer(1)]].concat()).await;
}

async fn wait_for_silence(faults: &[Fault]) {
    let (port, instances) = (free_port(), study(1, 1, 20, &Kind::default()));
    let archive = pacs("PACS", &instances, port, faults).no_image_level_find().start().await.unwrap();
    let silence = "timeouts = { silence = \"1s\" }";
    let app = TestApp::start(&configuration(archive.addr(), port, Method::Move, silence)).await;
    let reply = get(app.http, &study_path(1)).await;
    let what = format!("{faults:?}");
    assert_eq!(judge(&reply, &expected(&instances), &what), Outcome::Complete, "{what}");
    app.settle(&what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_study_of_which_nothing_comes_is_an_error_and_never_a_404() {
    for method in METHODS {
        let scene = Scene::new(method, study(1, 1, 1, &Kind::default()), &[Fault::FailObject(1)], "").await;
        for round in 0..3 {
            let what = format!("{method:?}, round {round}");
            assert_eq!(scene.study(&what).await, Outcome::Failed(502), "{what}");
        }
        scene.archive.clear_faults();
        scene.assert_complete(&format!("{method:?}")).await;
        scene.app.settle(&format!("{method:?}")).await;
        let unknown = get(scene.app.http, &study_path(77)).await;
        assert_eq!((unknown.status, unknown.whole), (404, true), "{method:?}");
    }
}
