//! What is brought beyond what was asked for, and before its turn.

use super::*;

const FIRST: [&str; 3] = ["1", "1.1", "1.1.1"];

#[tokio::test(start_paused = true)]
async fn frames_of_a_cold_series_bring_it_and_the_instance_before_it() {
    let scene = scene();
    let client = scene.frames(&FIRST);
    let series = scene.pacs.wait_for(&["1", "1.1"]).await;
    let instance = scene.pacs.wait_for(&FIRST).await;
    scene.pacs.open(instance, &[], &[]);
    scene.pacs.object(instance, "1.1", "1.1.1").await;
    assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    scene.pacs.complete(instance);
    scene.pacs.open(series, &[], &[]);
    for object in ["1.1.1", "1.1.2", "1.1.3"] {
        scene.pacs.object(series, "1.1", object).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert!(!scene.pacs.is_cancelled(series), "who has got what it wanted has not left early");
    scene.pacs.complete(series);
    settle().await;
    for object in ["1.1.1", "1.1.2", "1.1.3"] {
        assert_eq!(scene.frames(&["1", "1.1", object]).got().await, Got::whole(&[object]));
    }
    assert_eq!(scene.get(&["1", "1.1"]).got().await, Got::whole(&["1.1.1", "1.1.2", "1.1.3"]));
    assert_eq!(scene.pacs.count(), 2);
    assert_eq!((scene.count("hit"), scene.count("miss")), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn whichever_brings_an_instance_first_serves_who_waits_for_it() {
    let scene = scene();
    let client = scene.frames(&FIRST);
    let series = scene.pacs.wait_for(&["1", "1.1"]).await;
    let instance = scene.pacs.wait_for(&FIRST).await;
    scene.pacs.open(series, &[], &[]);
    scene.pacs.object(series, "1.1", "1.1.1").await;
    assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    sleep(Duration::from_secs(1)).await;
    assert!(!scene.pacs.is_cancelled(series));
    assert!(!scene.pacs.asked()[instance].answer.as_ref().unwrap().is_closed(), "it is let to its end");
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_its_series_in_prospect_costs_one_retrieval_of_the_instance() {
    for retrieve_ahead in [RetrieveAhead::Off, RetrieveAhead::Series] {
        let scene = scene_with(Config { retrieve_ahead, ..Config::default() }, false);
        let client =
            if retrieve_ahead == RetrieveAhead::Off { scene.frames(&FIRST) } else { scene.get(&FIRST) };
        let at = scene.pacs.wait_for(&FIRST).await;
        settle().await;
        assert_eq!(scene.pacs.count(), 1);
        scene.pacs.open(at, &[], &[]);
        scene.pacs.object(at, "1.1", "1.1.1").await;
        scene.pacs.complete(at);
        assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_far_back_in_a_running_retrieval_is_fetched_ahead_after_a_short_patience() {
    let scene = scene();
    let (series, at) = scene.begin(&["1", "1.1"]).await;
    for n in 100..200 {
        scene.pacs.object(at, "1.1", &format!("1.1.{n}")).await;
    }
    settle().await;
    let soon = scene.get(&["1", "1.1", "1.1.2"]);
    sleep(Duration::from_millis(20)).await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    assert_eq!(soon.got().await, Got::whole(&["1.1.2"]));
    assert_eq!(scene.pacs.count(), 1, "it came in time");

    let begin = Instant::now();
    let late = scene.get(&["1", "1.1", "1.1.9"]);
    let own = scene.pacs.wait_for(&["1", "1.1", "1.1.9"]).await;
    assert!(begin.elapsed() >= Duration::from_millis(30) && begin.elapsed() < Duration::from_millis(40));
    scene.pacs.open(own, &[], &[]);
    scene.pacs.object(own, "1.1", "1.1.9").await;
    scene.pacs.complete(own);
    assert_eq!(late.got().await, Got::whole(&["1.1.9"]));
    scene.pacs.object(at, "1.1", "1.1.9").await;
    scene.pacs.complete(at);
    let got = series.got().await;
    assert_eq!(got.objects.len(), 102);
    assert_eq!(got.objects.iter().filter(|name| *name == "1.1.9").count(), 1, "and it is there once");
    assert_eq!(scene.count("ahead"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_archive_has_time_for_some_objects_before_an_instance_is_fetched_ahead_of_them() {
    let scene = scene();
    let (_series, at) = scene.begin(&["1", "1.1"]).await;
    for n in 1..=10 {
        scene.pacs.object(at, "1.1", &format!("1.1.{n}")).await;
        sleep(Duration::from_millis(50)).await;
    }
    let next = scene.get(&["1", "1.1", "1.1.16"]);
    for n in 11..=16 {
        sleep(Duration::from_millis(50)).await;
        scene.pacs.object(at, "1.1", &format!("1.1.{n}")).await;
    }
    assert_eq!(next.got().await, Got::whole(&["1.1.16"]));
    assert_eq!(scene.pacs.count(), 1);
    let (far, own) = scene.begin(&["1", "1.1", "1.1.99"]).await;
    scene.pacs.object(own, "1.1", "1.1.99").await;
    assert_eq!(far.got().await, Got::whole(&["1.1.99"]));
}

#[tokio::test(start_paused = true)]
async fn one_instance_at_a_time_is_fetched_ahead() {
    let scene = scene();
    let clients: Vec<Client> =
        (1..=6).map(|n| scene.frames(&["1", "1.1", format!("1.1.{n}").as_str()])).collect();
    let series = scene.pacs.wait_for(&["1", "1.1"]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.pacs.count(), 2, "the series, and one instance");
    let first = scene.pacs.wait_for(&FIRST).await;
    scene.pacs.open(first, &[], &[]);
    scene.pacs.object(first, "1.1", "1.1.1").await;
    scene.pacs.complete(first);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.pacs.count(), 3, "then the next");
    scene.pacs.open(series, &[], &[]);
    for n in 1..=6 {
        scene.pacs.object(series, "1.1", &format!("1.1.{n}")).await;
    }
    for (n, client) in (1..=6).zip(clients) {
        assert_eq!(client.got().await, Got::whole(&[format!("1.1.{n}").as_str()]));
    }
    assert_eq!(scene.pacs.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_same_instance_shares_what_is_fetched_ahead() {
    let scene = scene();
    let (series, at) = scene.begin(&["1", "1.1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    let [one, other] = [scene.get(&["1", "1.1", "1.1.9"]), scene.get(&["1", "1.1", "1.1.9"])];
    let own = scene.pacs.wait_for(&["1", "1.1", "1.1.9"]).await;
    let late = scene.get(&["1", "1.1", "1.1.9"]);
    settle().await;
    scene.pacs.open(own, &[], &[]);
    one.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert!(!scene.pacs.is_cancelled(own), "others wait for it");
    scene.pacs.object(own, "1.1", "1.1.9").await;
    assert_eq!(other.got().await, Got::whole(&["1.1.9"]));
    assert_eq!(late.got().await, Got::whole(&["1.1.9"]));
    assert_eq!(scene.pacs.count(), 2);
    scene.pacs.object(at, "1.1", "1.1.9").await;
    scene.pacs.complete(at);
    assert_eq!(series.got().await, Got::whole(&["1.1.1", "1.1.9"]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_a_retrieval_ends_without_is_asked_for_by_name() {
    let scene = scene();
    let series = scene.get(&["1", "1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    let client = scene.get(&["1", "1.1", "1.1.9"]);
    let own = scene.pacs.wait_for(&["1", "1.1", "1.1.9"]).await;
    scene.pacs.refuse(own, Kind::NotFound);
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.complete(at);
    assert_eq!(client.got().await, Got::failed(&[], Kind::NotFound));
    assert_eq!(series.got().await, Got::whole(&["1.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_is_asked_for_in_the_name_of_who_waits_for_it() {
    let scene = scene();
    let bulk = Caller { client: Some([10, 0, 0, 1].into()), priority: Priority::Bulk, title: None };
    let shared = Arc::clone(&scene.shared);
    let _study = tokio::spawn(async move {
        drain(shared.retrieve(&bulk, Retrieve::new(target(&["1"]), Form::AsStored)).await).await
    });
    let at = scene.pacs.wait_for(&["1"]).await;
    let _frames = scene.frames(&FIRST);
    let ahead = scene.pacs.wait_for(&FIRST).await;
    let priority = |at: usize| scene.pacs.asked()[at].caller.priority;
    assert_eq!((priority(at), priority(ahead)), (Priority::Bulk, Priority::Interactive));
}

#[tokio::test(start_paused = true)]
async fn hazard_a_series_that_had_to_make_room_is_not_brought_ahead_again_and_again() {
    let scene = scene();
    let evict = || scene.cache.purge(&Purge { instance: Some(uid("1.1.2")), ..Purge::default() });
    let first = scene.frames(&["1", "1.1", "1.1.1"]);
    let series = scene.pacs.wait_for(&["1", "1.1"]).await;
    scene.pacs.open(series, &[], &[]);
    for instance in ["1.1.1", "1.1.2"] {
        scene.pacs.object(series, "1.1", instance).await;
    }
    assert_eq!(first.got().await, Got::whole(&["1.1.1"]));
    settle().await;
    for ended in [false, true] {
        evict();
        if ended {
            scene.pacs.complete(series);
            settle().await;
        }
        let before = scene.pacs.count();
        let second = scene.frames(&["1", "1.1", "1.1.2"]);
        let at = scene.pacs.wait_for(&["1", "1.1", "1.1.2"]).await;
        assert_eq!(scene.pacs.count(), before + 1, "the instance, and no more");
        scene.pacs.open(at, &[], &[]);
        scene.pacs.object(at, "1.1", "1.1.2").await;
        scene.pacs.complete(at);
        assert_eq!(second.got().await, Got::whole(&["1.1.2"]));
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_who_waits_for_what_is_fetched_already_does_not_ask_without_end_for_it() {
    let scene = scene();
    let engine = &scene.shared.engine;
    let groups = &engine.groups;
    let member = |uids: &[&str]| groups.member(target(uids), Form::AsStored, engine.cache.reader());
    let alone = member(&["1", "1.1", "1.1.1"]);
    assert_eq!(groups.join_or_begin_instance(&alone, false).len(), 1);
    let series = member(&["1", "1.1"]);
    assert!(groups.join_or_begin(&series).is_some());
    let both = member(&["1", "1.1", "1.1.1"]);
    assert!(groups.join_or_begin_instance(&both, false).is_empty());
    assert!(groups.lane(&both).is_some() && groups.begin_ahead(&both).is_none());
    assert!(groups.lane(&both).is_none(), "it is on its way");
}

#[tokio::test(start_paused = true)]
async fn who_was_served_by_what_was_at_hand_does_not_end_the_series_that_is_brought_ahead() {
    let scene = scene();
    let frames = scene.frames(&["1", "1.1", "1.1.1"]);
    let series = scene.pacs.wait_for(&["1", "1.1"]).await;
    scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.open(series, &[], &[]);
    let (_study, study) = scene.begin(&["1"]).await;
    scene.pacs.object(study, "1.1", "1.1.1").await;
    settle().await;
    scene.pacs.object(series, "1.1", "1.1.1").await;
    assert_eq!(frames.got().await, Got::whole(&["1.1.1"]));
    sleep(Duration::from_secs(2)).await;
    assert!(!scene.pacs.is_cancelled(series));
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_ahead_and_is_gone_again_is_fetched_once_more() {
    let scene = scene();
    let (series, at) = scene.begin(&["1", "1.1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    for _ in 0..2 {
        let (client, own) = scene.begin(&["1", "1.1", "1.1.9"]).await;
        // It does not end, so that it still runs when the next one comes.
        scene.pacs.object(own, "1.1", "1.1.9").await;
        assert_eq!(client.got().await, Got::whole(&["1.1.9"]));
        scene.cache.purge(&Purge::default());
    }
    scene.pacs.complete(at);
    let again = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]);
    tokio::select! {
        got = series.got() => assert_eq!(got, Got::whole(&["1.1.1"])),
        _ = again => panic!("it had been handed out"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_at_hand_does_not_make_a_slow_archive_look_quick() {
    let scene = scene();
    let names: Vec<String> = (1..=100).map(|n| format!("1.1.{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.bring(&["1", "1.1"], &names).await;
    sleep(Duration::from_secs(60)).await;
    let _series = scene.get(&["1", "1.1"]);
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    scene.pacs.open(at, &[], &names);
    for n in 101..=110 {
        scene.pacs.object(at, "1.1", &format!("1.1.{n}")).await;
        sleep(Duration::from_millis(50)).await;
    }
    let next = scene.get(&["1", "1.1", "1.1.116"]);
    for n in 111..=116 {
        sleep(Duration::from_millis(50)).await;
        scene.pacs.object(at, "1.1", &format!("1.1.{n}")).await;
    }
    assert_eq!(next.got().await, Got::whole(&["1.1.116"]));
    assert_eq!(scene.pacs.count(), 2, "it is not fetched ahead");
}
