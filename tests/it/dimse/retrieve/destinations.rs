//! C-MOVE to destinations of all kinds.

use std::sync::Arc;

use gantry::dimse::association::{Event, Requested};
use gantry::dimse::pdu::context_result;
use gantry::net::DimseSocket;
use tokio::net::TcpListener;

use super::*;
use crate::support::dimse::soon;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_relayed_with_originator_and_message_id() {
    let plain = Plain::new(1, 2, 5, 4000);
    let mut scene = Scene::new(plain.make(), &[], "[ae.MODALITY]\n").await;
    let mut client = client_taking(&scene, "MODALITY", EXPLICIT_VR_LE).await;
    let answers = client.ask(move_to("CLIENT"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 0));
    check_counters(&answers, 10);
    for _ in 0..10 {
        let Message { command, .. } = scene.destination.next().await;
        let originator = command.move_originator.map(|title| title.to_string());
        assert_eq!((originator.as_deref(), command.move_originator_id), (Some("MODALITY"), Some(77)));
    }
    assert_eq!(scene.archive.observations().moves, 0, "the archive needs not know the destination");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_move_goes_to_the_archive_and_not_through_us() {
    let plain = Plain::new(1, 1, 5, 4000);
    let mut destination = Destination::new().await;
    let scene = Scene::new(plain.make(), &[], "[ae.DIRECT]\nmove = \"direct\"\n").await;
    scene.archive.set_destination("DIRECT".parse().unwrap(), &destination.address);
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("DIRECT"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0);
    assert!(answers.responses.iter().all(|response| response.command.message_id == 77));
    for _ in 0..5 {
        let (sender, message) = destination.objects.recv().await.unwrap();
        assert_eq!((sender.as_str(), message.command.move_originator_id), ("PACS", Some(77)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_failed_is_a702() {
    let plain = Plain::new(1, 1, 4, 400);
    let receiver = receiver("FULL", &[Fault::StoreFailure(0xA700)]).await;
    let scene = Scene::new(plain.make(), &[], &at("FULL", &receiver)).await;
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("FULL"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), failed_list(answers.last())), (0xA702, uids(&plain)));
    check_counters(&answers, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_of_the_destination_are_counted() {
    let plain = Plain::new(1, 1, 4, 400);
    let receiver = receiver("FUSSY", &[Fault::StoreWarning(0xB007)]).await;
    let scene = Scene::new(plain.make(), &[], &at("FUSSY", &receiver)).await;
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("FUSSY"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.last().counters()), (0xB000, [None, Some(0), Some(0), Some(4)]));
    assert!(answers.last().data.is_none(), "nothing has failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_unknown_destination_is_a801_and_no_object_moves() {
    let plain = Plain::new(1, 1, 3, 400);
    let scene = Scene::new(plain.make(), &[], "[ae.NOWHERE]\nallow_from = [\"127.0.0.1\"]\n").await;
    let mut client = client(&scene).await;
    // A move to ourselves would be one of the archive to itself.
    for destination in ["UNKNOWN", GANTRY, "NOWHERE"] {
        let answers = client.ask(move_to(destination), Some(&first_study(&plain))).await.unwrap();
        assert_eq!(answers.status(), 0xA801, "{destination}");
    }
    let seen = scene.archive.observations();
    assert_eq!((seen.gets, seen.moves, seen.objects_sent), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_down_is_a702_with_every_uid() {
    let plain = Plain::new(1, 2, 4, 400);
    let refuses = receiver("REFUSES", &[Fault::Refuse]).await;
    let more = format!("[ae.DOWN]\naddress = \"127.0.0.1:1\"\n{}", at("REFUSES", &refuses));
    let scene = Scene::new(plain.make(), &[], &more).await;
    let mut client = client(&scene).await;
    for (destination, what) in [("DOWN", "cannot be reached"), ("REFUSES", "refuses the association")] {
        let answers = client.ask(move_to(destination), Some(&first_study(&plain))).await.unwrap();
        assert_eq!((answers.status(), failed_list(answers.last())), (0xA702, uids(&plain)), "{destination}");
        let comment = answers.last().command.comment.as_deref();
        assert_eq!(comment, Some(format!("destination {destination} {what}").as_str()));
    }
    scene.app.settle("after a move to nobody").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_destination_that_breaks_off_has_what_is_counted_as_completed_and_no_more() {
    let plain = Plain::new(1, 1, 6, 40_000);
    for fault in [Fault::StoreAbortIn(3), Fault::StoreCloseIn(3), Fault::StoreFailureAt(3)] {
        let receiver = receiver("BREAKS", &[fault]).await;
        let scene = Scene::new(plain.make(), &[], &at("BREAKS", &receiver)).await;
        let mut client = client(&scene).await;
        let answers = client.ask(move_to("BREAKS"), Some(&first_study(&plain))).await.unwrap();
        check_counters(&answers, 6);
        let completed = usize::from(answers.last().command.completed.unwrap());
        assert_eq!(receiver.count()[3], completed, "{fault}");
        assert_eq!(failed_list(answers.last()).len(), 6 - completed, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_object_for_who_takes_native_ones_is_failed_by_name() {
    let plain = Plain { transfer_syntax: JPEG_LOSSLESS.parse::<Uid>().unwrap(), ..Plain::new(1, 1, 3, 400) };
    let native = receiver("NATIVE", &[Fault::StoreOnlyNative]).await;
    let scene = Scene::new(plain.make(), &[], &at("NATIVE", &native)).await;
    let mut client = client(&scene).await;
    for request in [get(), move_to("NATIVE"), move_to("NATIVE")] {
        let answers = client.ask(request, Some(&first_study(&plain))).await.unwrap();
        assert_eq!((answers.status(), failed_list(answers.last())), (0xA702, uids(&plain)));
        check_counters(&answers, 3);
    }
    let mut client = client_taking(&scene, "CLIENT", JPEG_LOSSLESS).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_two_moves_of_two_clients_each_get_their_own() {
    let plain = Plain::new(2, 1, 20, 4000);
    let (first, second) = (receiver("FIRST", &[]).await, receiver("SECOND", &[]).await);
    let more = at("FIRST", &first) + &at("SECOND", &second);
    let scene = Scene::before(without_get(&plain).await, &more).await;
    let (mut one, mut two) = (client(&scene).await, client(&scene).await);
    let study = |n| identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, plain.study_uid(n).as_str())]);
    let (study_one, study_two) = (study(0), study(1));
    let answers = tokio::join!(
        one.ask(move_to("FIRST"), Some(&study_one)),
        two.ask(move_to("SECOND"), Some(&study_two))
    );
    for answers in [answers.0.unwrap(), answers.1.unwrap()] {
        assert_eq!(answers.status(), 0);
        check_counters(&answers, 20);
    }
    for (receiver, n) in [(&first, 0), (&second, 1)] {
        assert_eq!(receiver.count()[3], 20);
        assert!(receiver.instance(&plain.instance_uid(n, 0, 7)).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_no_fault_of_an_archive_is_told_as_success() {
    let plain = Plain::new(1, 1, 6, 40_000);
    for fault in [
        Fault::AbortAfter(3),
        Fault::CloseAfter(3),
        Fault::CloseIn(3),
        Fault::Foreign(2),
        Fault::OtherInstance(2),
        Fault::OtherSyntax(2),
        Fault::TwiceDifferent(2),
    ] {
        let receiver = receiver("CLIENT2", &[]).await;
        let scene = Scene::new(plain.make(), &[fault], &at("CLIENT2", &receiver)).await;
        let mut client = client(&scene).await;
        let answers = client.ask(move_to("CLIENT2"), Some(&first_study(&plain))).await.unwrap();
        let whole: Vec<bool> =
            plain.make().iter().map(|i| receiver.instance(&i.head.sop_instance).is_some()).collect();
        let here = whole.iter().filter(|is_here| **is_here).count();
        let [_, completed, failed, warning] = answers.last().counters().map(|count| count.unwrap_or(0));
        assert_eq!(usize::from(completed + warning), here, "{fault}");
        let is_whole = failed == 0 && here == 6 && !matches!(fault, Fault::TwiceDifferent(_));
        assert_eq!(answers.status() == 0, is_whole, "{fault}: {:04X}", answers.status());
        scene.app.settle("after a fault").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_answers_slowly_gets_everything_while_others_wait() {
    // Longer for each object than a reader may take nothing while others want the association.
    let slow = receiver("SLOW", &[Fault::StoreSlow(3500)]).await;
    let plain = Plain::new(2, 1, 6, 1_500_000);
    let more = format!("max_associations = 2\n[ae.OTHER]\n{}", at("SLOW", &slow));
    let scene = Scene::new(plain.make(), &[], &more).await;
    let study = |n| identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, plain.study_uid(n).as_str())]);
    let (is_over, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    let other = async || {
        let mut client = client_taking(&scene, "OTHER", EXPLICIT_VR_LE).await;
        while !is_over.load(Ordering::Relaxed) {
            let answers = client.ask(get(), Some(&study(1))).await.unwrap();
            assert_eq!((answers.status(), answers.objects.len()), (0, 6));
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let moving = async {
        let mut client = client(&scene).await;
        let answers = client.ask(move_to("SLOW"), Some(&study(0))).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
        answers
    };
    let (answers, ..) = tokio::join!(moving, other(), other(), other());
    assert_eq!((answers.status(), slow.count()[3]), (0, 6));
    check_counters(&answers, 6);
    assert!(turns.load(Ordering::Relaxed) > 3, "the others have had their turns");
    assert!(scene.archive.observations().gets > turns.load(Ordering::Relaxed) + 1, "it had to begin again");
}

/// A Storage SCP that refuses every presentation context, and counts who asks.
async fn refuser() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap().to_string(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let socket = DimseSocket::from_stream(stream).unwrap();
            let Ok(requested) = Requested::read(socket, soon()).await else { continue };
            let no_class = |_: &Uid, _: &[Uid]| Err(context_result::ABSTRACT_SYNTAX);
            let Ok(mut association) = requested.accept(no_class, |_| false, soon()).await else { continue };
            if let Ok(Event::ReleaseRequested) = association.event().await {
                association.confirm_release(soon()).await;
            }
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_takes_no_class_is_not_asked_anew_for_every_object() {
    let plain = Plain::new(1, 1, 12, 400);
    let (address, asked) = refuser().await;
    let scene = Scene::new(plain.make(), &[], &format!("[ae.REFUSER]\naddress = \"{address}\"\n")).await;
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("REFUSER"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), failed_list(answers.last())), (0xA702, uids(&plain)));
    check_counters(&answers, 12);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_associations_to_a_destination_are_released_with_the_last_move_to_it() {
    let plain = Plain::new(1, 1, 5, 4000);
    let receiver = receiver("OTHER", &[]).await;
    let scene = Scene::new(plain.make(), &[], &at("OTHER", &receiver)).await;
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("OTHER"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0);
    // Far below the 15 s after which what nobody uses is released anyhow.
    let released = async || receiver.observations().associations.open == 0;
    until("the destination is left", Duration::from_secs(5), released).await;
    let seen = receiver.observations().associations;
    assert_eq!((seen.opened, seen.released), (1, 1), "one for all objects, released and not cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_that_the_first_object_is_on_its_way_where_that_takes_a_while() {
    let plain = Plain::new(1, 1, 3, 4000);
    let receiver = receiver("SLOW", &[Fault::StoreSlow(200)]).await;
    let scene = Scene::new(plain.make(), &[], &at("SLOW", &receiver)).await;
    let mut client = client(&scene).await;
    let answers = client.ask(move_to("SLOW"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0);
    check_growing_counters(&answers, 1, 3);
    let first = answers.responses[0].counters();
    assert!(first[0] >= Some(1) && first[1..] == [Some(0); 3], "{first:?}");
}
