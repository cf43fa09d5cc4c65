//! C-CANCEL, and clients that leave.

use std::time::Instant;

use super::*;

/// Cancels after fifty sub-operations; the final response.
async fn cancelled(client: &mut Client, request: Command, identifier: &DataSet) -> (Message, usize) {
    let (id, mut pending, mut objects) = (request.message_id, 0, 0);
    let context = client.send(request, Some(identifier));
    loop {
        let message = client.message().await.unwrap();
        if message.command.field == field::C_STORE_RQ {
            client.association.send(message.context, &message.command.response(0), None);
            objects += 1;
            continue;
        }
        if message.command.status != Some(0xFF00) {
            return (message, objects);
        }
        pending += 1;
        if pending == 50 {
            client.association.send(context, &Command::cancel(id), None);
        }
    }
}

async fn cancel_after_fifty(
    scene: &Scene,
    plain: &Plain,
    request: Command,
    mut got: impl FnMut(usize) -> usize,
) {
    let mut client = client(scene).await;
    let (last, objects) = cancelled(&mut client, request, &first_study(plain)).await;
    assert_eq!(last.command.status, Some(0xFE00));
    let counters = last.counters().map(Option::unwrap);
    assert_eq!(counters.iter().sum::<u16>(), 500, "{counters:?}");
    // One response may have told only that the first object was on its way.
    assert!((49..100).contains(&counters[1]), "{counters:?}");
    until("a C-CANCEL at the archive", Duration::from_secs(1), async || {
        !scene.archive.observations().cancels.is_empty()
    })
    .await;
    scene.app.settle("after a C-CANCEL").await;
    assert_eq!(got(objects), usize::from(counters[1]));
}

/// How many objects a destination has.
fn at_destination(destination: &mut Destination) -> usize {
    std::iter::from_fn(|| destination.objects.try_recv().ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_after_fifty_get() {
    let plain = Plain::new(1, 1, 500, 400);
    let scene = Scene::new(plain.make(), &[Fault::ObjectsSlow(1)], "").await;
    cancel_after_fifty(&scene, &plain, get(), |objects| objects).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_after_fifty_relay() {
    let plain = Plain::new(1, 1, 500, 400);
    let mut scene = Scene::new(plain.make(), &[Fault::ObjectsSlow(1)], "").await;
    let mut destination = std::mem::replace(&mut scene.destination, Destination::new().await);
    cancel_after_fifty(&scene, &plain, move_to("CLIENT"), |_| at_destination(&mut destination)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_after_fifty_relay_by_move() {
    let plain = Plain::new(1, 1, 500, 400);
    let archive = without_get(&plain).await;
    archive.set_fault(Fault::ObjectsSlow(1));
    let mut scene = Scene::before(archive, "").await;
    let mut destination = std::mem::replace(&mut scene.destination, Destination::new().await);
    cancel_after_fifty(&scene, &plain, move_to("CLIENT"), |_| at_destination(&mut destination)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_after_fifty_direct() {
    let plain = Plain::new(1, 1, 500, 400);
    let mut destination = Destination::new().await;
    let more = "[ae.DIRECT]\nmove = \"direct\"\n";
    let scene = Scene::new(plain.make(), &[Fault::ObjectsSlow(1)], more).await;
    scene.archive.set_destination("DIRECT".parse().unwrap(), &destination.address);
    cancel_after_fifty(&scene, &plain, move_to("DIRECT"), |_| at_destination(&mut destination)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_ignores_a_cancel_or_aborts_after_it_holds_up_no_client() {
    let plain = Plain::new(1, 1, 500, 400);
    let more = "[ae.DIRECT]\nmove = \"direct\"\n";
    for fault in [Fault::IgnoreCancel, Fault::AbortOnCancel(50), Fault::AbortOnCancel(5_000)] {
        for (request, has_get) in
            [(get(), true), (get(), false), (move_to("CLIENT"), true), (move_to("DIRECT"), true)]
        {
            let what = format!("{fault} {:04X} {:?} {has_get}", request.field, request.move_destination);
            let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make());
            let archive = if has_get { archive } else { archive.no_get() };
            let archive = archive.fault(Fault::ObjectsSlow(5)).fault(fault).start().await.unwrap();
            let scene = Scene::before(archive, more).await;
            let destination = Destination::new().await;
            scene.archive.set_destination("DIRECT".parse().unwrap(), &destination.address);
            let mut client = client(&scene).await;
            let begin = Instant::now();
            let (last, _) = cancelled(&mut client, request, &first_study(&plain)).await;
            assert_eq!(last.command.status, Some(0xFE00), "{what}");
            // Fifty objects, and the second after which an archive is waited for no more.
            assert!(begin.elapsed() < Duration::from_secs(3), "{what}: {:?}", begin.elapsed());
            until(&what, Duration::from_secs(1), async || !scene.archive.observations().cancels.is_empty())
                .await;
            scene.archive.clear_faults();
            let one = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, "9.9")]);
            assert_eq!(client.ask(get(), Some(&one)).await.unwrap().status(), 0, "{what}: the next one");
            scene.app.settle(&what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_leaves_cancels_at_the_archive() {
    let plain = Plain::new(1, 1, 500, 400);
    for abort in [true, false] {
        let scene = Scene::new(plain.make(), &[Fault::ObjectsSlow(5)], "").await;
        let mut client = client(&scene).await;
        client.send(move_to("CLIENT"), Some(&first_study(&plain)));
        assert_eq!(client.message().await.unwrap().command.status, Some(0xFF00));
        match abort {
            true => client.association.abort().await,
            false => drop(client),
        }
        until("a C-CANCEL at the archive", Duration::from_secs(1), async || {
            !scene.archive.observations().cancels.is_empty()
        })
        .await;
        scene.app.settle("after a client that left").await;
    }
}
