//! Who leaves, and what becomes of what it left.

use super::*;

/// Within this time a retrieval that nobody waits for is cancelled at the archive.
const WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn hazard_a_retrieval_that_everybody_has_left_is_cancelled_within_a_second() {
    let scene = scene();
    let [one, other] = [scene.get(&["1"]), scene.get(&["1"])];
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    one.leave().await;
    sleep(Duration::from_secs(10)).await;
    assert!(!scene.pacs.is_cancelled(at), "one still reads");
    other.leave().await;
    sleep(WITHIN).await;
    assert!(scene.pacs.is_cancelled(at));
    let again = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.having, [uid("1.1.1")].into(), "what came is kept");
    scene.pacs.open(at, &[], &["1.1.1"]);
    scene.pacs.complete(at);
    assert_eq!(again.got().await, Got::whole(&["1.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn a_retrieval_that_has_not_begun_is_cancelled_too() {
    let scene = scene();
    let client = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    client.leave().await;
    sleep(WITHIN).await;
    assert!(scene.pacs.asked()[at].answer.as_ref().unwrap().is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_at_once_finds_its_retrieval_running() {
    let scene = scene();
    let (client, at) = scene.begin(&["1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    client.leave().await;
    sleep(Duration::from_millis(200)).await;
    let back = scene.get(&["1"]);
    sleep(Duration::from_secs(10)).await;
    assert!(!scene.pacs.is_cancelled(at));
    scene.pacs.complete(at);
    assert_eq!(back.got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retrieval_that_everybody_has_left_is_finished_where_that_is_configured() {
    let config = Config { retrieve_ahead: RetrieveAhead::Finish, ..Config::default() };
    let scene = scene_with(config, false);
    let (client, at) = scene.begin(&["1"]).await;
    settle().await;
    client.leave().await;
    sleep(Duration::from_secs(10)).await;
    assert!(!scene.pacs.is_cancelled(at));
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.complete(at);
    settle().await;
    assert_eq!(scene.get(&["1"]).got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_brought_ahead_for_who_left_before_its_first_frame_is_cancelled() {
    let scene = scene();
    let client = scene.frames(&["1", "1.1", "1.1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.2").await;
    settle().await;
    client.leave().await;
    sleep(WITHIN).await;
    assert!(scene.pacs.is_cancelled(at));
}

#[tokio::test(start_paused = true)]
async fn what_runs_ends_when_the_archive_is_no_longer_served() {
    let Scene { pacs, shared, .. } = scene();
    let client = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.retrieve(&interactive(), Retrieve::new(target(&["1"]), Form::AsStored)).await }
    });
    let at = pacs.wait_for(&["1"]).await;
    pacs.open(at, &[], &[]);
    pacs.object(at, "1.1", "1.1.1").await;
    let retrieval = client.await.unwrap();
    drop(shared);
    settle().await;
    assert!(pacs.is_cancelled(at));
    assert_eq!(drain(retrieval).await, Got::failed(&["1.1.1"], Kind::ShuttingDown));
}

/// A series that comes, and the retrieval of an instance that was fetched ahead of it, and has come with it.
async fn overtaken() -> (Scene, [usize; 2]) {
    let scene = scene();
    let client = scene.frames(&["1", "1.1", "1.1.1"]);
    let [series, ahead] =
        [scene.pacs.wait_for(&["1", "1.1"]).await, scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await];
    scene.pacs.open(series, &[], &[]);
    scene.pacs.object(series, "1.1", "1.1.1").await;
    assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    (scene, [series, ahead])
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_and_came_otherwise_is_let_to_its_end_as_long_as_anybody_wants_anything() {
    let (scene, [series, ahead]) = overtaken().await;
    sleep(Duration::from_secs(2)).await;
    assert!(!scene.pacs.asked()[ahead].answer.as_ref().unwrap().is_closed(), "the series still comes");
    scene.pacs.complete(series);
    sleep(WITHIN).await;
    assert!(scene.pacs.asked()[ahead].answer.as_ref().unwrap().is_closed(), "nobody wants anything");
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_and_came_otherwise_does_not_go_on_for_ever() {
    let (scene, [series, ahead]) = overtaken().await;
    sleep(Duration::from_secs(6)).await;
    assert!(scene.pacs.asked()[ahead].answer.as_ref().unwrap().is_closed());
    assert!(!scene.pacs.is_cancelled(series));
}
