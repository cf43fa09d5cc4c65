use std::time::Duration;

use bytes::Bytes;
use gantry::demo::instance::{Data, Instance};
use gantry::demo::{Archive, Fault, Plain};
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use gantry::dicom::{Uid, sop_class, tags};
use gantry::dimse::association::EstablishError;
use gantry::dimse::command::{Command, field};

use crate::support::dimse::{Client, Destination, IMAGES, echo, find, first_study, get, identifier, move_to};

/// The data set of an object that is in parts.
fn whole(instance: &Instance) -> Bytes {
    let Data::Parts(parts) = &instance.data else { panic!("not in parts") };
    parts.concat().into()
}

#[tokio::test]
async fn a_find_answers_each_study_and_ends_with_success() {
    let archive = Archive::builder().plain(5, 1, 2, 100).start().await.unwrap();
    let mut client = Client::new(&archive).await;
    let answers = client.ask(find(), Some(&identifier("STUDY", &[(tags::PATIENT_NAME, "")]))).await.unwrap();
    assert_eq!((answers.responses.len(), answers.status()), (6, 0));
    assert_eq!(answers.responses[0].data_set().string(tags::PATIENT_NAME), Some("Müller^Jürgen"));
    let answers = client.ask(echo(), None).await.unwrap();
    assert_eq!(answers.status(), 0);
    client.release().await;
    let seen = archive.wait_for(|o| o.associations.released == 1).await.unwrap();
    assert_eq!((seen.finds, seen.echoes, seen.associations.open), (1, 1, 0));
    assert_eq!(seen.requests[0].calling.as_str(), "CLIENT");
    assert!(seen.requests[0].identifier.contains(tags::PATIENT_NAME));
}

#[tokio::test]
async fn a_get_brings_every_object_as_it_is_with_counters() {
    let plain = Plain::new(2, 2, 3, 300_000);
    let made = plain.make();
    let archive = Archive::builder().studies(made.clone()).start().await.unwrap();
    let mut client = Client::new(&archive).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.objects.len(), 6);
    for (object, made) in answers.objects.iter().zip(&made) {
        assert_eq!(object.command.sop_instance.as_ref(), Some(&made.head.sop_instance));
        assert_eq!(object.command.move_originator, None);
        assert!(object.data.as_ref() == Some(&whole(made)));
    }
    let counters: Vec<_> = answers.responses.iter().map(|r| (r.command.status, r.counters())).collect();
    assert_eq!(counters.len(), 6);
    assert_eq!(counters[0], (Some(0xFF00), [Some(5), Some(1), Some(0), Some(0)]));
    assert_eq!(counters[5], (Some(0), [None, Some(6), Some(0), Some(0)]));
    let image = identifier("IMAGE", &[(tags::SOP_INSTANCE_UID, plain.instance_uid(1, 1, 2).as_str())]);
    assert_eq!(client.ask(get(), Some(&image)).await.unwrap().objects.len(), 1);
    let nothing = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, "1.2.3")]);
    let answers = client.ask(get(), Some(&nothing)).await.unwrap();
    assert_eq!((answers.objects.len(), answers.status()), (0, 0));
    assert_eq!(archive.observations().objects_sent, 7);
}

#[tokio::test]
async fn a_move_sends_to_the_destination_and_says_who_asked() {
    let mut destination = Destination::new().await;
    let plain = Plain::new(1, 1, 4, 5000);
    let made = plain.make();
    let archive = Archive::builder()
        .studies(made.clone())
        .destination("STORE".parse().unwrap(), &destination.address)
        .move_from("SENDER".parse().unwrap())
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&archive).await;
    let answers = client.ask(move_to("STORE"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.responses.len()), (0, 4));
    assert_eq!(answers.last().counters(), [None, Some(4), Some(0), Some(0)]);
    for made in &made {
        let (calling, object) = destination.objects.recv().await.unwrap();
        assert_eq!(calling, "SENDER");
        assert!(object.data.as_ref() == Some(&whole(made)));
        assert_eq!(object.command.move_originator.unwrap().as_str(), "CLIENT");
        assert_eq!(object.command.move_originator_id, Some(77));
    }
}

#[tokio::test]
async fn a_move_to_nobody_is_told_as_such() {
    let plain = Plain::new(1, 1, 2, 100);
    let archive = Archive::builder()
        .studies(plain.make())
        .destination("DEAD".parse().unwrap(), "127.0.0.1:1")
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(move_to("NOBODY"), Some(&first_study(&plain))).await.unwrap().status(), 0xA801);
    let answers = client.ask(move_to("DEAD"), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0xA702);
    assert_eq!(answers.last().counters(), [None, Some(0), Some(2), Some(0)]);
    let failed = answers.last().data_set();
    assert_eq!(failed.strings(tags::FAILED_SOP_INSTANCE_UID_LIST).len(), 2);
}

#[tokio::test]
async fn what_is_stored_is_found_and_brought_back() {
    let archive = Archive::builder().start().await.unwrap();
    let plain = Plain::new(1, 1, 1, 200_000);
    let made = plain.make().remove(0);
    let mut client = Client::new(&archive).await;
    // The contexts of this client are for objects that come to it; the archive takes them both ways.
    let agreement = client.association.agreement();
    let context = agreement.contexts.iter().find(|c| c.abstract_syntax.as_str() == IMAGES[0]).unwrap().id;
    let mut store = Command::request(field::C_STORE_RQ, IMAGES[0], 5);
    store.sop_instance = Some(made.head.sop_instance.clone());
    store.has_data_set = true;
    client.association.send(context, &store, Some(whole(&made)));
    assert_eq!(client.answers().await.unwrap().status(), 0);
    assert_eq!(archive.count(), [1, 1, 1, 1]);
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert!(answers.objects[0].data.as_ref() == Some(&whole(&made)));
    store.sop_instance = Some(Uid::from_static("1.2.3"));
    client.association.send(context, &store, Some(whole(&made)));
    assert_eq!(client.answers().await.unwrap().status(), 0xA900, "the command names another object");
}

#[tokio::test]
async fn native_objects_come_in_the_native_syntax_that_was_agreed_and_others_fail() {
    let made = |syntax: &'static str, batch| {
        let transfer_syntax = Uid::from_static(syntax);
        Plain { transfer_syntax, batch, ..Plain::new(1, 1, 1, 1000) }
    };
    let kinds = [
        made(EXPLICIT_VR_LE, 0),
        made(IMPLICIT_VR_LE, 1),
        made(EXPLICIT_VR_BE, 2),
        made("1.2.840.10008.1.2.5", 3),
    ];
    let archive = Archive::builder().studies(kinds.iter().flat_map(Plain::make)).start().await.unwrap();
    for (syntax, layout) in [(EXPLICIT_VR_LE, Layout::ExplicitLe), (IMPLICIT_VR_LE, Layout::ImplicitLe)] {
        let mut client = Client::try_new(&archive, syntax).await.unwrap();
        for kind in &kinds[..3] {
            let answers = client.ask(get(), Some(&first_study(kind))).await.unwrap();
            assert_eq!((answers.status(), answers.objects.len()), (0, 1), "{kind:?} as {syntax}");
            let data = answers.objects[0].data.as_ref().unwrap();
            let object = DataSet::parse(data, layout, None).unwrap().data_set;
            assert_eq!(object.int(tags::ROWS), kind.make()[0].attributes.int(tags::ROWS));
        }
        let answers = client.ask(get(), Some(&first_study(&kinds[3]))).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0xA702, 0));
    }
}

#[tokio::test]
async fn a_cancelled_find_ends_with_status_cancel() {
    let archive = Archive::builder().plain(50, 1, 1, 10).fault(Fault::FindSlow(20)).start().await.unwrap();
    let mut client = Client::new(&archive).await;
    let context = client.send(find(), Some(&identifier("STUDY", &[])));
    assert_eq!(client.message().await.unwrap().command.status, Some(0xFF00));
    client.association.send(context, &Command::cancel(2), None);
    let answers = client.answers().await.unwrap();
    assert_eq!(answers.status(), 0xFE00);
    assert!(answers.responses.len() < 40);
    assert_eq!(archive.observations().cancels.len(), 1);
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0, "the association is still good");
}

#[tokio::test]
async fn a_cancelled_get_and_move_tell_what_remains() {
    let destination = Destination::new().await;
    let plain = Plain::new(1, 1, 50, 100);
    let archive = Archive::builder()
        .studies(plain.make())
        .destination("STORE".parse().unwrap(), &destination.address)
        .fault(Fault::ObjectsSlow(20))
        .start()
        .await
        .unwrap();
    for request in [get(), move_to("STORE")] {
        let mut client = Client::new(&archive).await;
        let id = request.message_id;
        let context = client.send(request, Some(&first_study(&plain)));
        // The first object of the C-GET, the first response of the C-MOVE.
        let first = client.message().await.unwrap();
        if first.command.field == field::C_STORE_RQ {
            client.association.send(first.context, &first.command.response(0), None);
        }
        client.association.send(context, &Command::cancel(id), None);
        let answers = client.answers().await.unwrap();
        assert_eq!(answers.status(), 0xFE00);
        let [remaining, completed, ..] = answers.last().counters();
        assert_eq!(remaining.unwrap() + completed.unwrap(), 50);
        assert!(remaining.unwrap() > 10);
    }
}

#[tokio::test]
async fn associations_are_limited_and_the_called_title_must_be_right() {
    let archive = Archive::builder().max_associations(2).start().await.unwrap();
    let one = Client::new(&archive).await;
    let _two = Client::new(&archive).await;
    match Client::try_new(&archive, EXPLICIT_VR_LE).await {
        Err(EstablishError::Rejected(rj)) => assert!(rj.is_transient()),
        other => panic!("{:?}", other.map(|c| c.association)),
    }
    one.release().await;
    archive.wait_for(|o| o.associations.open == 1).await.unwrap();
    let seen = archive.observations().associations;
    assert_eq!((seen.most_open, seen.opened, seen.rejected, seen.released), (2, 2, 1, 1));
    let other = Archive::builder().ae_title("OTHER".parse().unwrap()).listen(archive.addr());
    archive.stop().await;
    let other = other.start().await.unwrap();
    drop(other);
}

#[tokio::test]
async fn abilities_can_be_taken_away() {
    let archive = Archive::builder().no_get().patient_root_only().start().await.unwrap();
    let client = Client::new(&archive).await;
    let agreement = client.association.agreement();
    for refused in [sop_class::STUDY_ROOT_FIND, sop_class::STUDY_ROOT_GET, sop_class::STUDY_ROOT_MOVE] {
        assert!(agreement.for_class(refused).is_none(), "{refused}");
    }
    assert!(agreement.for_class(sop_class::PATIENT_ROOT_FIND).is_some());
    assert!(agreement.contexts.iter().all(|c| !c.requestor_is_scp));
    let archive = Archive::builder().plain(1, 1, 1, 10).no_image_level_find().start().await.unwrap();
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(find(), Some(&identifier("IMAGE", &[]))).await.unwrap().status(), 0xA900);
    let archive = Archive::builder().plain(1, 1, 1, 10).no_relational().start().await.unwrap();
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(find(), Some(&identifier("SERIES", &[]))).await.unwrap().status(), 0xA900);
}

#[tokio::test]
async fn a_killed_archive_resets_its_connections_and_comes_back_with_what_it_held() {
    let plain = Plain::new(1, 1, 1, 100);
    let archive = Archive::builder().studies(plain.make()).start().await.unwrap();
    let mut client = Client::new(&archive).await;
    archive.kill().await;
    let error = client.association.event().await.unwrap_err().to_string();
    assert!(error.contains("reset"), "{error}");
    assert!(tokio::net::TcpStream::connect(archive.addr()).await.is_err());
    archive.restart().await.unwrap();
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(get(), Some(&first_study(&plain))).await.unwrap().objects.len(), 1);
    let seen = archive.observations().associations;
    assert_eq!((seen.opened, seen.open, seen.ended), (2, 1, 1));
}

#[tokio::test]
async fn a_large_object_comes_out_of_a_file_piece_by_piece() {
    let plain = Plain::new(1, 1, 1, 5 << 20);
    let made = plain.make().remove(0);
    let folder = std::env::temp_dir().join(format!("gantry-pacs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let header = gantry::dicom::encode::part10_header(&made.head);
    std::fs::write(folder.join("large.dcm"), [&header[..], &whole(&made)].concat()).unwrap();
    let archive = Archive::builder().data(&folder).latency(Duration::from_millis(1)).start().await.unwrap();
    let mut client = Client::new(&archive).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert!(answers.objects[0].data.as_ref() == Some(&whole(&made)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_archive_that_mimics_a_slow_toolkit_is_still_right() {
    let plain = Plain::new(1, 1, 3, 1000);
    let archive = Archive::builder().studies(plain.make()).nagle().start().await.unwrap();
    let mut client = Client::new(&archive).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 3));
}
