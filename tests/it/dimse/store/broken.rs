//! Objects that do not come whole, and objects that come whole and are none.

use gantry::demo::Archive;

use super::*;
use crate::support::dimse::Destination;
use crate::support::until;

/// How a client leaves in the middle of an object.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    Aborts,
    Vanishes,
    Releases,
}

#[tokio::test]
async fn hazard_a_half_object_is_never_whole_at_the_archive() {
    let scene = Scene::new(vec![], &[], "").await;
    let instance = object(1, 1, 1, &Kind { pixels: 3 << 20, ..Kind::default() });
    let bytes = bytes_of(&instance);
    let mut begun = 0;
    for leaves in [Leaves::Aborts, Leaves::Vanishes, Leaves::Releases] {
        // Also after the last byte, where only the flag is missing that it is the last.
        for sent in [0, 1000, 1 << 20, bytes.len()] {
            let mut client = client(&scene).await;
            let context = context_of(&client, &instance.head.sop_class, &instance.head.transfer_syntax);
            client.association.send(context, &request(&instance, 1), None);
            client.association.send_data(context, bytes.slice(..sent), false);
            client.association.flush().await.unwrap();
            if sent > 0 {
                begun += 1;
                scene.archive.wait_for(|seen| seen.stores >= begun).await.expect("it begins");
            }
            match leaves {
                Leaves::Aborts => client.association.abort().await,
                Leaves::Vanishes => drop(client),
                Leaves::Releases => client.release().await,
            }
            let quiet = scene.archive.wait_for(|seen| seen.storing == 0).await;
            quiet.unwrap_or_else(|_| panic!("{leaves:?} after {sent} bytes: it is never given up"));
            scene.app.settle("half an object").await;
            assert!(!holds(&scene.archive, &instance), "{leaves:?} after {sent} bytes");
        }
    }
    let seen = scene.archive.observations().associations;
    assert_eq!(seen.lost, 0, "it is aborted, and no connection is cut: {seen:?}");
    assert_eq!(status(&mut client(&scene).await, &instance).await, 0);
}

#[tokio::test]
async fn an_object_that_is_whole_is_stored_though_its_client_has_left() {
    let scene = Scene::new(vec![], &[Fault::StoreSlow(100)], "").await;
    let instance = object(1, 1, 1, &Kind::default());
    let mut client = client(&scene).await;
    let context = context_of(&client, &instance.head.sop_class, &instance.head.transfer_syntax);
    client.association.send(context, &request(&instance, 1), Some(bytes_of(&instance)));
    client.association.flush().await.unwrap();
    scene.archive.wait_for(|seen| seen.stores == 1).await.expect("it begins");
    client.association.abort().await;
    let there = async || scene.archive.instance(&instance.head.sop_instance).is_some();
    until("the object is stored", Duration::from_secs(10), there).await;
    scene.app.settle("stored").await;
    assert_eq!(scene.archive.observations().associations.aborted, 0);
}

#[tokio::test]
async fn a_broken_but_framed_object_is_passed_on_as_it_is() {
    // An archive that takes everything and shows it.
    let mut sink = Destination::new().await;
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).start().await.unwrap();
    let more = format!("endpoint.store = {{ ae_title = \"SINK\", address = \"{}\" }}\n", sink.address);
    let scene = Scene::before(archive, &more).await;
    let mut client = client(&scene).await;
    let good = object(1, 1, 1, &Kind::default());
    let whole = bytes_of(&good);
    let short = whole.slice(..(whole.len() / 2) & !1);
    let other = bytes_of(&object(2, 2, 2, &Kind::default()));
    for bytes in [whole, short, other, Bytes::from_static(b"no data set at all")] {
        let response = send(&mut client, &good, bytes.clone()).await.unwrap();
        assert_eq!(response.status, Some(0));
        let got = sink.next().await;
        assert_eq!(got.command.sop_instance, Some(good.head.sop_instance.clone()));
        assert!(got.data == Some(bytes), "it came with other bytes");
    }
}

#[tokio::test]
async fn a_broken_object_is_judged_by_the_archive() {
    let scene = Scene::new(vec![], &[], "").await;
    let mut client = client(&scene).await;
    let good = object(1, 1, 1, &Kind::default());
    let other = bytes_of(&object(2, 2, 2, &Kind::default()));
    assert_eq!(send(&mut client, &good, other).await.unwrap().status, Some(0xA900));
    let garbage = Bytes::from_static(b"no data set at all");
    assert_eq!(send(&mut client, &good, garbage).await.unwrap().status, Some(0xC000));
    assert_eq!(status(&mut client, &good).await, 0);
}

#[tokio::test]
async fn the_move_originator_of_a_client_is_passed_on() {
    let mut sink = Destination::new().await;
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).start().await.unwrap();
    let more = format!("endpoint.store = {{ ae_title = \"SINK\", address = \"{}\" }}\n", sink.address);
    let scene = Scene::before(archive, &more).await;
    let mut client = client(&scene).await;
    let object = object(1, 1, 1, &Kind::default());
    let context = context_of(&client, &object.head.sop_class, &object.head.transfer_syntax);
    for originator in [Some(("WORKSTATION".parse().unwrap(), 4711)), None] {
        let (move_originator, move_originator_id) = originator.clone().unzip();
        let request = Command { move_originator, move_originator_id, ..request(&object, 1) };
        client.association.send(context, &request, Some(bytes_of(&object)));
        assert_eq!(client.message().await.unwrap().command.status, Some(0));
        let got = sink.next().await.command;
        assert_eq!(got.move_originator.zip(got.move_originator_id), originator);
    }
    // One that names us was asked for by us, and is nobody's by now.
    let ours =
        Command { move_originator: GANTRY.parse().ok(), move_originator_id: Some(1), ..request(&object, 1) };
    client.association.send(context, &ours, Some(bytes_of(&object)));
    assert_eq!(client.message().await.unwrap().command.status, Some(0xC000));
}
