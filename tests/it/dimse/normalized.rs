//! Normalized operations: passed on with all that they say, and answered as the archive answers.

use bytes::Bytes;
use gantry::dicom::sop_class;
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;
use gantry::dimse::command::{Command, field};

use super::scripted::{Scripted, What};
use super::{GANTRY, scripted_app};
use crate::audit::{entry, messages};
use crate::support::app::TestApp;
use crate::support::dimse::{Client, Message, proposal};

const DATA: &[u8] = b"\x40\x00\x52\x02CS\x0c\0IN PROGRESS ";
const INSTANCE: &str = "1.2.3.4";

async fn scene() -> (Scripted, TestApp, Client) {
    scene_with("").await
}

async fn scene_with(more: &str) -> (Scripted, TestApp, Client) {
    let archive = Scripted::new().await;
    let app = scripted_app(&archive, more).await;
    let proposals = vec![proposal(sop_class::MPPS, &[EXPLICIT_VR_LE])];
    let client = Client::to(app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    (archive, app, client)
}

/// Sends a request; its answer comes by [`Client::message`].
async fn ask(client: &mut Client, command: &Command, data: Option<Bytes>) {
    let context = client.association.agreement().contexts[0].id;
    let command = Command { has_data_set: data.is_some(), ..command.clone() };
    client.association.send(context, &command, data);
    client.association.flush().await.unwrap();
}

fn request(field: u16, id: u16) -> Command {
    Command {
        requested: field != field::N_CREATE_RQ,
        sop_instance: INSTANCE.parse().ok(),
        ..Command::request(field, sop_class::MPPS, id)
    }
}

fn others(elements: &[(u16, &'static [u8])]) -> Vec<(u16, Bytes)> {
    elements.iter().map(|(element, value)| (*element, Bytes::from_static(value))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_procedure_step_is_recorded_with_who_made_it_and_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("audit.jsonl");
    let audit = format!("[audit]\nfile = {{ path = \"{}\" }}\n", trail.display());
    let (mut archive, app, mut client) = scene_with(&audit).await;
    for (field, status) in [(field::N_CREATE_RQ, 0), (field::N_SET_RQ, 0x0110)] {
        ask(&mut client, &request(field, 1), Some(Bytes::from_static(DATA))).await;
        let (association, message) = archive.message().await;
        archive.answer(association, &message, status);
        assert_eq!(client.message().await.unwrap().command.status, Some(status));
    }
    client.release().await;
    app.stop().await;
    let told: Vec<_> = messages(&trail).into_iter().filter(|(code, ..)| code == "110111").collect();
    assert_eq!(told, [entry("110111", 0, "CLIENT", 0), entry("110111", 8, "CLIENT", 0)]);
    let text = std::fs::read_to_string(&trail).unwrap();
    assert_eq!(text.matches(&format!("\"MPPS\":\"{INSTANCE}\"")).count(), 2, "{text}");
    assert!(text.contains("AETITLES=PACS"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_n_operation_passes_with_all_its_command_elements() {
    let (mut archive, _app, mut client) = scene().await;
    let attributes: &[(u16, &[u8])] = &[(0x1005, b"\x08\0\x18\0\x08\0\x16\0"), (0x2222, b"private ")];
    let requests = [
        (request(field::N_CREATE_RQ, 11), true),
        (Command { sop_instance: None, ..request(field::N_CREATE_RQ, 12) }, true),
        (request(field::N_SET_RQ, 13), true),
        (Command { others: others(attributes), ..request(field::N_GET_RQ, 14) }, false),
        (Command { others: others(&[(0x1008, &[7, 0])]), ..request(field::N_ACTION_RQ, 15) }, true),
        (request(field::N_DELETE_RQ, 16), false),
    ];
    for (command, has_data) in requests {
        let data = has_data.then(|| Bytes::from_static(DATA));
        ask(&mut client, &command, data.clone()).await;
        let (association, Message { context, command: seen, data: brought }) = archive.message().await;
        let expected = Command { has_data_set: has_data, message_id: seen.message_id, ..command.clone() };
        assert_eq!((seen, brought), (expected.clone(), data), "as it was asked");
        let answer = Command {
            sop_instance: "1.2.3.5".parse().ok(),
            comment: Some("as you like it".into()),
            has_data_set: true,
            others: others(&[
                (0x0901, b"\x40\0\x52\x02"),
                (0x0903, &[0x10, 0xA7]),
                (0x1005, b"\x40\0\x52\x02"),
            ]),
            ..expected.response(0x0110)
        };
        archive.say(association, context, answer.clone(), Some(Bytes::from_static(DATA)));
        let got = client.message().await.unwrap();
        assert_eq!(got.command, Command { message_id: command.message_id, ..answer }, "as it was answered");
        assert_eq!(got.data.as_deref(), Some(DATA));
    }
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_create_is_not_made_twice() {
    let (mut archive, _app, mut client) = scene().await;
    // An association that has served before, and is lost with the next request.
    ask(&mut client, &request(field::N_GET_RQ, 1), None).await;
    let (first, message) = archive.message().await;
    archive.answer(first, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    let nameless = Command { sop_instance: None, ..request(field::N_CREATE_RQ, 2) };
    ask(&mut client, &nameless, None).await;
    let (again, _) = archive.message().await;
    assert_eq!(again, first);
    archive.abort(again);
    assert_eq!(client.message().await.unwrap().command.status, Some(0x0110));
    assert!(archive.is_silent().await, "it was made once");
    // With a name it can be made twice: the second one would be refused as a duplicate, or is the first.
    ask(&mut client, &request(field::N_GET_RQ, 3), None).await;
    let (second, message) = archive.message().await;
    archive.answer(second, &message, 0);
    client.message().await.unwrap();
    ask(&mut client, &request(field::N_CREATE_RQ, 4), None).await;
    let (association, _) = archive.message().await;
    assert_eq!(association, second);
    archive.abort(association);
    let (third, message) = archive.message().await;
    assert_eq!((third > second, &message.command.sop_instance), (true, &INSTANCE.parse().ok()));
    archive.answer(third, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_or_no_normalized_request_is_refused_and_the_next_is_served() {
    let (mut archive, _app, mut client) = scene().await;
    ask(&mut client, &request(field::N_SET_RQ, 1), Some(vec![0; (4 << 20) + 2].into())).await;
    assert_eq!(client.message().await.unwrap().command.status, Some(0x0213));
    for refused in [field::C_GET_RQ, field::N_EVENT_REPORT_RQ] {
        ask(&mut client, &request(refused, 2), Some(Bytes::from_static(DATA))).await;
        assert_eq!(client.message().await.unwrap().command.status, Some(0x0211), "{refused:04X}");
    }
    ask(&mut client, &request(field::N_SET_RQ, 3), Some(vec![0; 4 << 20].into())).await;
    let (association, message) = archive.message().await;
    assert_eq!(message.data.as_ref().map(Bytes::len), Some(4 << 20));
    archive.answer(association, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_done_though_its_client_has_left() {
    let (mut archive, app, mut client) = scene().await;
    ask(&mut client, &request(field::N_CREATE_RQ, 1), Some(Bytes::from_static(DATA))).await;
    let (association, message) = archive.message().await;
    client.association.abort().await;
    assert!(archive.is_silent().await, "the archive is not disturbed");
    archive.answer(association, &message, 0);
    app.settle("after the client has left").await;
    let proposals = vec![proposal(sop_class::MPPS, &[EXPLICIT_VR_LE])];
    let mut client = Client::to(app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    ask(&mut client, &request(field::N_SET_RQ, 1), None).await;
    let seen = archive.next().await;
    assert!(matches!(seen.what, What::Message(_)) && seen.association == association, "{seen:?}");
}
