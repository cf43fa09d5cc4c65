//! C-STORE: the client is told what the archive says, after it has said it, and nothing else.

mod broken;
mod during;
mod kills;
mod memory;
mod several;

use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::demo::instance::{Data, Instance};
use gantry::demo::{Fault, Running};
use gantry::dicom::Uid;
use gantry::dimse::association::AssociationError;
use gantry::dimse::command::{Command, field};
use gantry::dimse::status::{Class, class};

use super::{GANTRY, Scene};
use crate::support::dimse::{Client, proposal};
use crate::support::objects::{CT, EXPLICIT, IMPLICIT, Kind, RLE, object};
use crate::support::{DEADLINE, until};

/// A client that may store CT images in any form.
async fn client(scene: &Scene) -> Client {
    let proposals = [EXPLICIT, IMPLICIT, RLE].map(|syntax| proposal(CT, &[syntax])).to_vec();
    Client::to(scene.app.dimse, GANTRY, "CLIENT", proposals).await.unwrap()
}

/// The context in which an object of this class is sent in this transfer syntax.
fn context_of(client: &Client, class: &Uid, syntax: &Uid) -> u8 {
    let contexts = &client.association.agreement().contexts;
    contexts
        .iter()
        .find(|c| c.abstract_syntax == *class && c.transfer_syntax == *syntax)
        .expect("accepted")
        .id
}

fn request(instance: &Instance, id: u16) -> Command {
    let head = &instance.head;
    let request = Command::request(field::C_STORE_RQ, head.sop_class.as_str(), id);
    Command {
        sop_instance: Some(head.sop_instance.clone()),
        priority: Some(0),
        has_data_set: true,
        ..request
    }
}

/// Sends an object, and waits for the response.
pub(crate) async fn store(client: &mut Client, instance: &Instance) -> Result<Command, AssociationError> {
    send(client, instance, bytes_of(instance)).await
}

/// The same, with these bytes in place of its own.
async fn send(client: &mut Client, instance: &Instance, bytes: Bytes) -> Result<Command, AssociationError> {
    let context = context_of(client, &instance.head.sop_class, &instance.head.transfer_syntax);
    client.association.send(context, &request(instance, 7), Some(bytes));
    let response = client.message().await?;
    assert_eq!((response.context, response.command.message_id), (context, 7));
    assert_eq!(response.command.sop_instance.as_ref(), Some(&instance.head.sop_instance));
    assert_eq!((response.command.field, response.data), (field::C_STORE_RQ | field::RESPONSE, None));
    Ok(response.command)
}

async fn status(client: &mut Client, instance: &Instance) -> u16 {
    store(client, instance).await.unwrap().status.unwrap()
}

/// The data set of an object in memory.
pub(crate) fn bytes_of(instance: &Instance) -> Bytes {
    match &instance.data {
        Data::Memory(bytes) => bytes.clone(),
        Data::Parts(parts) => parts.concat().into(),
        other => panic!("{other:?}"),
    }
}

/// Whether the archive holds the object, and if so, as it was sent.
fn holds(archive: &Running, instance: &Instance) -> bool {
    let Some(held) = archive.instance(&instance.head.sop_instance) else { return false };
    assert_eq!(held.head, instance.head);
    assert!(bytes_of(&held) == bytes_of(instance), "it is stored with other bytes");
    true
}

#[tokio::test]
async fn the_answer_is_the_archives_and_comes_after_it() {
    let pause = Duration::from_millis(200);
    let slow = Fault::StoreSlow(200);
    for (faults, wanted) in [
        (vec![slow], 0),
        (vec![slow, Fault::StoreWarning(0xB007)], 0xB007),
        (vec![slow, Fault::StoreFailure(0xA700)], 0xA700),
        (vec![slow, Fault::StoreFailure(0xC123)], 0xC123),
        (vec![slow, Fault::StoreFailure(0x0124)], 0x0124),
    ] {
        let scene = Scene::new(vec![], &faults, "").await;
        let mut client = client(&scene).await;
        for (number, syntax) in [EXPLICIT, IMPLICIT, RLE].into_iter().enumerate() {
            let object = object(1, 1, number + 1, &Kind { syntax, pixels: 300_000, ..Kind::default() });
            let begin = Instant::now();
            assert_eq!(status(&mut client, &object).await, wanted, "{faults:?}");
            assert!(begin.elapsed() >= pause, "before the archive");
            assert_eq!(holds(&scene.archive, &object), class(wanted) != Class::Failure, "{faults:?}");
        }
        client.release().await;
        scene.app.settle("stored").await;
    }
}

#[tokio::test]
async fn one_association_behind_serves_one_object_after_the_other() {
    let scene = Scene::new(vec![], &[], "").await;
    let mut client = client(&scene).await;
    for number in 1..=50 {
        assert_eq!(status(&mut client, &object(1, 1, number, &Kind::default())).await, 0);
    }
    let seen = scene.archive.observations();
    assert_eq!((seen.stores, scene.archive.count()[3]), (50, 50));
    assert!(seen.associations.opened <= 2, "{seen:?}");
}

#[tokio::test]
async fn a_native_object_is_re_encoded_for_an_archive_that_takes_one_form_only() {
    let scene = Scene::new(vec![], &[Fault::StoreOnlyImplicit], "").await;
    let mut client = client(&scene).await;
    let [explicit, implicit] =
        [EXPLICIT, IMPLICIT].map(|syntax| object(1, 1, 1, &Kind { syntax, ..Kind::default() }));
    assert_eq!(status(&mut client, &explicit).await, 0);
    assert!(holds(&scene.archive, &implicit), "what was explicit is implicit now");
}

#[tokio::test]
async fn hazard_an_archive_that_fails_in_the_middle_is_a_failure_and_the_association_goes_on() {
    let large = Kind { pixels: 6 << 20, ..Kind::default() };
    for fault in [
        Fault::StoreEarly(0xA700),
        Fault::StoreAbortIn(1),
        Fault::StoreCloseIn(1),
        Fault::StoreStall,
        Fault::StoreDeafIn(1),
    ] {
        let scene = Scene::new(vec![], &[], "timeouts = { silence = \"1s\", idle = \"50ms\" }").await;
        let mut client = client(&scene).await;
        // What fails on an association that was idle may have died there, and is tried once more on a new one.
        let is_alone = async || scene.archive.observations().associations.open == 0;
        until("the association by which it was asked is released", DEADLINE, is_alone).await;
        scene.archive.set_fault(fault);
        let object = object(1, 1, 1, &large);
        let response = store(&mut client, &object).await.unwrap();
        let code = response.status.unwrap();
        // An association that was lost is taken for one that had died before, once.
        let lost = matches!(fault, Fault::StoreAbortIn(_) | Fault::StoreCloseIn(_));
        assert!(lost || class(code) == Class::Failure, "{fault}: {code:04X}");
        if let Fault::StoreEarly(told) = fault {
            assert_eq!(code, told as u16);
        }
        assert_eq!(holds(&scene.archive, &object), class(code) == Class::Success, "{fault}");
        scene.archive.clear_faults();
        let again = async {
            loop {
                if status(&mut client, &object).await == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), again)
            .await
            .unwrap_or_else(|_| panic!("{fault}: it never recovers"));
        assert!(holds(&scene.archive, &object), "{fault}");
    }
}

#[tokio::test]
async fn an_archive_that_is_down_is_a_failure_and_the_association_goes_on() {
    let scene = Scene::new(vec![], &[], "").await;
    let mut client = client(&scene).await;
    let object = object(1, 1, 1, &Kind::default());
    assert_eq!(status(&mut client, &object).await, 0);
    scene.archive.kill().await;
    let code = status(&mut client, &object).await;
    assert_eq!(class(code), Class::Failure, "{code:04X}");
}

#[tokio::test]
async fn a_request_without_an_object_or_its_name_is_refused_and_the_next_is_served() {
    let scene = Scene::new(vec![], &[], "").await;
    let mut client = client(&scene).await;
    let object = object(1, 1, 1, &Kind::default());
    let context = context_of(&client, &object.head.sop_class, &object.head.transfer_syntax);
    let nameless = Command { sop_instance: None, ..request(&object, 1) };
    client.association.send(context, &nameless, Some(bytes_of(&object)));
    assert_eq!(client.message().await.unwrap().command.status, Some(0x0117));
    let empty = Command { has_data_set: false, ..request(&object, 2) };
    client.association.send(context, &empty, None);
    assert_eq!(client.message().await.unwrap().command.status, Some(0xC000));
    assert_eq!(status(&mut client, &object).await, 0);
    assert_eq!(scene.archive.observations().stores, 1);
}

#[tokio::test]
async fn the_same_object_on_two_associations_at_once_is_stored_by_both() {
    let scene = Scene::new(vec![], &[Fault::StoreSlow(50)], "").await;
    let (mut one, mut other) = (client(&scene).await, client(&scene).await);
    let object = object(1, 1, 1, &Kind::default());
    assert_eq!(tokio::join!(status(&mut one, &object), status(&mut other, &object)), (0, 0));
    assert_eq!(scene.archive.observations().stores, 2);
}
