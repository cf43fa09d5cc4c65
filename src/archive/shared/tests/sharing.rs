//! Who attaches to what, and what it gets of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn many_readers_of_a_series_cost_one_retrieval_and_each_gets_all_of_it() {
    let scene = scene();
    let (first, at) = scene.begin(&["1", "1.1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    let more: Vec<Client> = (0..100).map(|_| scene.get(&["1", "1.1"])).collect();
    scene.pacs.object(at, "1.1", "1.1.2").await;
    settle().await;
    let late = scene.get(&["1", "1.1"]);
    settle().await;
    scene.pacs.complete(at);
    for client in more.into_iter().chain([first, late]) {
        assert_eq!(client.got().await, Got::whole(&["1.1.1", "1.1.2"]));
    }
    assert_eq!(scene.pacs.count(), 1);
    assert_eq!((scene.count("miss"), scene.count("attached")), (1, 101));
}

#[tokio::test(start_paused = true)]
async fn readers_get_an_object_while_it_comes() {
    let scene = scene();
    let (first, at) = scene.begin_by_hand().await;
    let log = scene.pacs.begin(at, "1.1", "1.1.1", EXPLICIT);
    let mut retrieval = first.await.unwrap().unwrap();
    let Step::Item(mut object) = retrieval.objects.next().await else { panic!() };
    log.append(&Bytes::from_static(b"1.1")).await;
    assert_eq!(object.body.next().await, Some(Ok(Bytes::from_static(b"1.1"))));
    log.append(&Bytes::from_static(b".1")).await;
    log.finish();
    assert_eq!(object.body.next().await, Some(Ok(Bytes::from_static(b".1"))));
    assert_eq!(object.body.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_that_of_every_reader_with_what_it_got_before() {
    let scene = scene();
    let clients: Vec<Client> = (0..3).map(|_| scene.get(&["1"])).collect();
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.fail(at, Kind::Timeout("an object"));
    for client in clients {
        assert_eq!(client.got().await, Got::failed(&["1.1.1"], Kind::Timeout("an object")));
    }
    let clients: Vec<Client> = (0..3).map(|_| scene.get(&["2"])).collect();
    let at = scene.pacs.wait_for(&["2"]).await;
    scene.pacs.refuse(at, Kind::NotFound);
    for client in clients {
        assert_eq!(client.got().await, Got::failed(&[], Kind::NotFound));
    }
    assert_eq!(scene.pacs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_not_to_come_is_told_to_every_reader() {
    let scene = scene();
    let first = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    let early = scene.get(&["1"]);
    scene.pacs.open(at, &["1.1.9"], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    let late = scene.get(&["1"]);
    settle().await;
    scene.pacs.complete(at);
    let partial = Got { missing: 1, ..Got::whole(&["1.1.1"]) };
    assert_eq!(first.got().await, partial);
    assert_eq!(early.got().await, partial);
    assert_eq!(late.got().await, partial);
    assert_eq!(scene.get(&["1"]).got().await, partial, "from the cache");
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_though_it_was_known_not_to_is_not_missing_from_the_next_answer() {
    let scene = scene();
    let first = scene.get(&["1"]);
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &["1.1.2"], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    scene.pacs.complete(at);
    let whole = Got::whole(&["1.1.1", "1.1.2"]);
    assert_eq!(first.got().await, Got { missing: 1, ..whole.clone() }, "it was told so before");
    assert_eq!((scene.get(&["1"]).got().await, scene.pacs.count()), (whole, 1));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_dies_is_an_error_for_every_reader() {
    let scene = scene();
    let clients = [scene.get(&["1"]), scene.get(&["1"]), scene.get(&["1", "1.1", "1.1.9"])];
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    let log = scene.pacs.begin(at, "1.1", "1.1.2", EXPLICIT);
    settle().await;
    drop(log);
    drop(scene.pacs.asked()[at].driver.take());
    let [first, second, instance] = clients;
    assert_eq!(first.got().await, Got::failed(&["1.1.1"], Kind::SourceBroke));
    assert_eq!(second.got().await, Got::failed(&["1.1.1"], Kind::SourceBroke));
    assert_eq!(instance.got().await, Got::failed(&[], Kind::DriverDied));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_taken_from_the_study_that_brings_it() {
    let scene = scene();
    let (study, at) = scene.begin(&["1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    assert_eq!(scene.get(&["1", "1.1", "1.1.1"]).got().await, Got::whole(&["1.1.1"]));
    let second = scene.get(&["1", "1.1", "1.1.2"]);
    settle().await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    assert_eq!(second.got().await, Got::whole(&["1.1.2"]));
    scene.pacs.complete(at);
    assert_eq!(study.got().await, Got::whole(&["1.1.1", "1.1.2"]));
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_series_is_taken_from_the_study_that_has_reached_it_and_from_no_other() {
    let scene = scene();
    let (study, at) = scene.begin(&["1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    let reached = scene.get(&["1", "1.1"]);
    let (not_reached, own) = scene.begin(&["1", "1.2"]).await;
    scene.pacs.object(own, "1.2", "1.2.1").await;
    scene.pacs.complete(own);
    assert_eq!(not_reached.got().await, Got::whole(&["1.2.1"]));
    scene.pacs.object(at, "1.2", "1.2.1").await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    scene.pacs.complete(at);
    assert_eq!(study.got().await, Got::whole(&["1.1.1", "1.2.1", "1.1.2"]));
    assert_eq!(reached.got().await, Got::whole(&["1.1.1", "1.1.2"]));
    assert_eq!(scene.pacs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn hazard_an_instance_under_the_wrong_series_is_not_answered_from_the_cache_or_another_retrieval() {
    let scene = scene();
    let (study, at) = scene.begin(&["1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    for running in [true, false] {
        let wrong = scene.get(&["1", "1.2", "1.1.1"]);
        let own = scene.pacs.wait_for(&["1", "1.2", "1.1.1"]).await;
        scene.pacs.refuse(own, Kind::NotFound);
        assert_eq!(wrong.got().await, Got::failed(&[], Kind::NotFound), "running: {running}");
        if running {
            scene.pacs.complete(at);
            settle().await;
        }
    }
    assert_eq!(study.got().await, Got::whole(&["1.1.1"]));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_breaks_off_and_comes_again_is_whole_for_who_had_not_begun_it() {
    let scene = scene();
    let (slow, at) = scene.begin_by_hand().await;
    let broken = scene.pacs.begin(at, "1.1", "1.1.1", EXPLICIT);
    broken.append(&Bytes::from_static(b"1.")).await;
    let slow = slow.await.unwrap();
    drop(broken);
    settle().await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    scene.pacs.complete(at);
    settle().await;
    assert_eq!(drain(slow).await, Got::whole(&["1.1.2", "1.1.1"]));
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_natively_serves_who_wants_it_native_and_nothing_else_does() {
    let scene = scene();
    scene.bring(&["1", "1.1", "1.1.1"], &["1.1.1"]).await;
    let native = |uids: &[&str]| scene.ask(Retrieve::new(target(uids), Form::Native));
    assert_eq!(native(&["1", "1.1", "1.1.1"]).got().await, Got::whole(&["1.1.1"]));
    assert_eq!(scene.pacs.count(), 1);
    let (compressed, at) = scene.begin(&["1", "1.1", "1.1.2"]).await;
    let log = scene.pacs.begin(at, "1.1", "1.1.2", JPEG);
    let waiting = native(&["1", "1.1", "1.1.2"]);
    log.append(&Bytes::from_static(b"1.1.2")).await;
    log.finish();
    scene.pacs.complete(at);
    assert_eq!(compressed.got().await, Got::whole(&["1.1.2"]));
    let at = scene.pacs.wait_for(&["1", "1.1", "1.1.2"]).await;
    assert_eq!(scene.pacs.asked()[at].retrieve.form, Form::Native);
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.2").await;
    scene.pacs.complete(at);
    assert_eq!(waiting.got().await, Got::whole(&["1.1.2"]));
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_every_request_is_one_to_the_archive() {
    let scene = scene_with(Config::off(), false);
    for count in 1..=2 {
        let client = scene.frames(&["1", "1.1", "1.1.1"]);
        let at = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
        scene.pacs.open(at, &[], &[]);
        scene.pacs.object(at, "1.1", "1.1.1").await;
        scene.pacs.complete(at);
        assert_eq!(client.got().await, Got::whole(&["1.1.1"]));
        assert_eq!(scene.pacs.count(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_breaks_off_and_is_here_by_another_way_does_not_come_twice() {
    let scene = scene();
    let shared = Arc::clone(&scene.shared);
    let slow = tokio::spawn(async move {
        shared.retrieve(&interactive(), Retrieve::new(target(&["1", "1.1"]), Form::AsStored)).await
    });
    let at = scene.pacs.wait_for(&["1", "1.1"]).await;
    scene.pacs.open(at, &[], &[]);
    scene.pacs.object(at, "1.1", "1.1.1").await;
    let slow = slow.await.unwrap();
    let (ahead, own) = scene.begin(&["1", "1.1", "1.1.2"]).await;
    let whole = scene.pacs.begin(own, "1.1", "1.1.2", EXPLICIT);
    settle().await;
    let broken = scene.pacs.begin(at, "1.1", "1.1.2", EXPLICIT);
    settle().await;
    whole.append(&Bytes::from_static(b"1.1.2")).await;
    whole.finish();
    scene.pacs.complete(own);
    assert_eq!(ahead.got().await, Got::whole(&["1.1.2"]));
    drop(broken);
    settle().await;
    let slow = tokio::spawn(drain(slow));
    settle().await;
    scene.pacs.object(at, "1.1", "1.1.2").await;
    scene.pacs.complete(at);
    assert_eq!(slow.await.unwrap(), Got::whole(&["1.1.1", "1.1.2"]));
}

#[tokio::test(start_paused = true)]
async fn hazard_what_another_retrieval_brings_and_breaks_is_not_given_to_who_missed_it() {
    let scene = scene();
    let (first, at) = scene.begin(&["1"]).await;
    scene.pacs.object(at, "1.1", "1.1.1").await;
    settle().await;
    scene.cache.purge(&Purge::default());
    let missed = scene.shared.retrieve(&interactive(), Retrieve::new(target(&["1"]), Form::AsStored)).await;
    let (instance, own) = scene.begin(&["1", "1.1", "1.1.1"]).await;
    let broken = scene.pacs.begin(own, "1.1", "1.1.1", EXPLICIT);
    broken.append(&Bytes::from_static(b"1.")).await;
    settle().await;
    let missed = tokio::spawn(drain(missed));
    settle().await;
    drop(broken);
    settle().await;
    scene.pacs.object(own, "1.1", "1.1.1").await;
    scene.pacs.complete(own);
    settle().await;
    scene.pacs.complete(at);
    assert_eq!(missed.await.unwrap(), Got::whole(&["1.1.1"]));
    assert_eq!(instance.got().await, Got::failed(&[], Kind::SourceBroke), "it had begun the broken one");
    assert_eq!(first.got().await, Got::whole(&["1.1.1"]));
}
