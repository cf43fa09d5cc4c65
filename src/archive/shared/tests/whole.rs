//! What is at hand, and whether it still is what the archive holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::archive::shared::groups::Next;

/// Longer than a proof is believed, shorter than objects are kept.
const AFTER_A_WHILE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_was_whole_a_moment_ago_is_answered_without_asking() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    assert_eq!(scene.get(&["1"]).got().await, Got::whole(&["1.1.1", "1.1.2"]));
    assert_eq!((scene.pacs.count(), scene.count("hit")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn later_the_archive_is_asked_what_there_is_and_brings_only_what_is_new() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    sleep(AFTER_A_WHILE).await;
    let grown = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.having, [uid("1.1.1"), uid("1.1.2")].into());
    scene.pacs.open(at, &[], &["1.1.1", "1.1.2"]);
    scene.pacs.object(at, "1.1", "1.1.3").await;
    scene.pacs.complete(at);
    assert_eq!(grown.got().await, Got::whole(&["1.1.1", "1.1.2", "1.1.3"]));
}

#[tokio::test(start_paused = true)]
async fn hazard_what_the_archive_has_deleted_is_not_served() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    sleep(AFTER_A_WHILE).await;
    let client = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &[], &["1.1.2"]);
    scene.pacs.complete(at);
    assert_eq!(client.got().await, Got::whole(&["1.1.2"]));
    let deleted = scene.get(&["1", "1.1", "1.1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.refuse(at, Kind::NotFound);
    assert_eq!(deleted.got().await, Got::failed(&[], Kind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_cannot_be_asked_is_the_answer_for_a_study_but_an_instance_is_served() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    sleep(AFTER_A_WHILE).await;
    let study = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.refuse(at, Kind::Unreachable("refused".into()));
    assert_eq!(study.got().await, Got::failed(&[], Kind::Unreachable("refused".into())));
    assert_eq!(scene.get(&["1", "1.1", "1.1.1"]).got().await, Got::whole(&["1.1.1"]));
    sleep(Config::default().ttl).await;
    let expired = scene.get(&["1", "1.1", "1.1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.refuse(at, Kind::Unreachable("refused".into()));
    assert_eq!(expired.got().await, Got::failed(&[], Kind::Unreachable("refused".into())));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_sends_all_again_is_taken_at_its_word_and_nothing_comes_twice() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    sleep(AFTER_A_WHILE).await;
    let (client, at) = scene.begin(&["1"]).await;
    for object in ["1.1.2", "1.1.3", "1.1.1"] {
        scene.pacs.object(at, "1.1", object).await;
    }
    scene.pacs.complete(at);
    assert_eq!(client.got().await, Got::whole(&["1.1.2", "1.1.3", "1.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_meanwhile_is_fetched_again() {
    let scene = scene();
    let (reader, at) = scene.begin_by_hand().await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    let reader = reader.await.unwrap();
    settle().await;
    let other = {
        scene.pacs.object(at, "1.1", "1.1.2").await;
        settle().await;
        scene.cache.purge(&Purge { instance: Some(uid("1.1.1")), ..Purge::default() });
        scene.get(&["1"])
    };
    settle().await;
    scene.pacs.complete(at);
    assert_eq!(drain(reader).await, Got::whole(&["1.1.1", "1.1.2"]), "it is kept for who was there");
    let again = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.open(again, &[], &[]);
    scene.pacs.object(again, "1.1", "1.1.1").await;
    scene.pacs.complete(again);
    assert_eq!(other.got().await, Got::whole(&["1.1.2", "1.1.1"]));
    assert_eq!(scene.pacs.count(), 2);
}

async fn store(scene: &Scene, instance: &str) {
    let head = Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: uid(instance),
        transfer_syntax: uid(EXPLICIT),
    };
    let (_log, object) = ObjectLog::new(head, &Budget::new(1));
    scene.shared.store(&interactive(), object).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hazard_what_runs_while_objects_are_stored_proves_nothing_and_leaves_nothing_of_them() {
    let scene = scene();
    let (running, at) = scene.begin(&["1"]).await;
    let coming = scene.pacs.begin(at, "1.1", "1.1.1", EXPLICIT);
    settle().await;
    for instance in ["1.1.1", "1.1.2", "1.1.4"] {
        store(&scene, instance).await;
    }
    coming.append(&Bytes::from_static(b"1.1.1")).await;
    coming.finish();
    for instance in ["1.1.2", "1.1.3"] {
        scene.pacs.object(at, "1.1", instance).await;
    }
    scene.pacs.complete(at);
    assert_eq!(running.got().await, Got::whole(&["1.1.1", "1.1.2", "1.1.3"]), "as it was when it was asked");
    let after = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.having, [uid("1.1.3")].into());
    scene.pacs.open(at, &[], &["1.1.3"]);
    for instance in ["1.1.1", "1.1.2", "1.1.4"] {
        scene.pacs.object(at, "1.1", instance).await;
    }
    scene.pacs.complete(at);
    assert_eq!(after.got().await, Got::whole(&["1.1.3", "1.1.1", "1.1.2", "1.1.4"]));
}

#[tokio::test(start_paused = true)]
async fn hazard_of_two_different_objects_under_one_uid_none_is_served_later() {
    let scene = scene();
    let (client, at) = scene.begin(&["1"]).await;
    for instance in ["1.1.1", "1.1.2"] {
        scene.pacs.object(at, "1.1", instance).await;
    }
    let conflict = Kind::Conflict(uid("1.1.1"));
    scene.pacs.fail(at, conflict.clone());
    assert_eq!(client.got().await, Got::failed(&["1.1.1", "1.1.2"], conflict));
    assert_eq!(scene.get(&["1", "1.1", "1.1.2"]).got().await, Got::whole(&["1.1.2"]));
    let again = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.having, [uid("1.1.2")].into());
    again.leave().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_evicted_while_the_archive_was_asked_whether_it_has_it_still_is_fetched_again() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1", "1.1.2"]).await;
    sleep(AFTER_A_WHILE).await;
    let client = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.cache.purge(&Purge { instance: Some(uid("1.1.1")), ..Purge::default() });
    scene.pacs.open(at, &[], &["1.1.1", "1.1.2"]);
    scene.pacs.complete(at);
    let again = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.open(again, &[], &[]);
    scene.pacs.object(again, "1.1", "1.1.1").await;
    scene.pacs.complete(again);
    assert_eq!(client.got().await, Got::whole(&["1.1.2", "1.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_came_and_was_not_kept_is_not_said_to_be_missing() {
    let scene = scene();
    let shared = Arc::clone(&scene.shared);
    let names = ["1", "1.1", "1.1.1"];
    let retrieve = Retrieve::new(target(&names), Form::AsStored);
    let asks = tokio::spawn(async move { shared.retrieve(&interactive(), retrieve).await.err() });
    for _ in 0..2 {
        let at = scene.pacs.wait_for(&names).await;
        // Nothing is kept for one who was cut off.
        scene.cache.with(|memory| {
            let readers: Vec<_> = memory.readers.keys().copied().collect();
            readers.into_iter().for_each(|reader| memory.cut(reader));
        });
        scene.pacs.open(at, &[], &[]);
        scene.pacs.object(at, "1.1", "1.1.1").await;
        scene.pacs.complete(at);
    }
    let error = asks.await.unwrap().expect("it was not kept");
    assert_eq!(error.kind, Kind::Incomplete { missing: 1, named: Vec::new() });
}

#[tokio::test(start_paused = true)]
async fn hazard_what_was_stored_since_is_in_the_next_answer() {
    let scene = scene();
    scene.bring(&["1"], &["1.1.1"]).await;
    let running = scene.get(&["2"]);
    let before = scene.pacs.wait_for(&["2"]).await;
    store(&scene, "1.1.1").await;
    let after = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.having, BTreeSet::new(), "it may have been replaced");
    scene.pacs.open(at, &[], &[]);
    for object in ["1.1.1", "1.1.2"] {
        scene.pacs.object(at, "1.1", object).await;
    }
    scene.pacs.complete(at);
    assert_eq!(after.got().await, Got::whole(&["1.1.1", "1.1.2"]));
    let new = scene.get(&["2"]);
    let own = loop {
        let own = scene.pacs.wait_for(&["2"]).await;
        if own != before {
            break own;
        }
        sleep(LOOK).await;
    };
    for at in [before, own] {
        scene.pacs.open(at, &[], &[]);
        scene.pacs.object(at, "2.1", "2.1.1").await;
        scene.pacs.complete(at);
    }
    assert_eq!(running.got().await, Got::whole(&["2.1.1"]));
    assert_eq!(new.got().await, Got::whole(&["2.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn without_bulk_data_is_served_by_what_is_whole_and_else_asked_of_an_archive_that_can() {
    let scene = scene_with(Config::default(), true);
    let short = |uids: &[&str]| scene.ask(Retrieve::new(target(uids), Form::WithoutBulkData));
    let client = short(&["1", "1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.form, Form::WithoutBulkData);
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.complete(at);
    assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    scene.bring(&["1", "1.1"], &["1.1.1"]).await;
    assert_eq!(short(&["1", "1.1"]).got().await, Got::whole(&["1.1.1"]));
    assert_eq!(short(&["1", "1.1", "1.1.1"]).got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.pacs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_bulk_data_is_the_whole_object_where_the_archive_cannot_leave_it_out() {
    let scene = scene();
    let client = scene.ask(Retrieve::new(target(&["1", "1.1"]), Form::WithoutBulkData));
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.form, Form::AsStored);
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.complete(at);
    assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.frames(&["1", "1.1", "1.1.1"]).got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.pacs.count(), 1);
}

/// Looks for a proof when it is woken.
struct Looks {
    engine: Arc<Engine>,
    found: AtomicBool,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let proof = self.engine.proven(&target(&["1"]), Form::AsStored, true);
        self.found.store(proof.is_some(), Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_who_learns_that_a_retrieval_has_ended_finds_what_it_has_proven() {
    let scene = scene();
    let engine = &scene.shared.engine;
    let (_first, at) = scene.begin(&["1"]).await;
    settle().await;
    let member = engine.groups.member(target(&["1"]), Form::AsStored, engine.cache.reader());
    assert!(engine.groups.join(&member));
    let looks = Arc::new(Looks { engine: Arc::clone(engine), found: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&looks));
    assert!(member.poll_next(&mut Context::from_waker(&waker)).is_pending());
    scene.pacs.complete(at);
    settle().await;
    assert!(looks.found.load(Ordering::Relaxed), "another retrieval would begin");
}

#[tokio::test(start_paused = true)]
async fn hazard_what_is_evicted_just_when_it_was_found_whole_is_still_known_by_its_series() {
    let scene = scene();
    let engine = &scene.shared.engine;
    scene.bring(&["1"], &["1.1.1"]).await;
    let proof = engine.proven(&target(&["1"]), Form::AsStored, true).unwrap();
    scene.cache.purge(&Purge::default());
    let member = engine.groups.member(target(&["1"]), Form::AsStored, engine.cache.reader());
    engine.groups.supply(&member, &proof);
    let next = member.poll_next(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Next::Lost { instance, series }) = next else { panic!("{next:?}") };
    assert_eq!((instance, series), (uid("1.1.1"), Some(uid("1.1"))));
}
