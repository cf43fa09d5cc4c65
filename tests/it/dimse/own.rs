//! Sessions on associations of their own: print, as a camera does it, and classes that nobody knows.

use bytes::Bytes;
use gantry::dicom::sop_class;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dimse::association::{AssociationError, EstablishError, Event, Request, Requested};
use gantry::dimse::command::{Command, field};
use gantry::dimse::pdu::{AssociateRj, Role};
use gantry::net::DimseSocket;
use tokio::net::TcpListener;

use super::scripted::{Scripted, Seen, What};
use super::{GANTRY, scripted_app};
use crate::audit::{entry, messages};
use crate::support::app::TestApp;
use crate::support::dimse::{Client, Message, identifier, proposal, soon};
use crate::support::{DEADLINE, until};

/// Basic Grayscale Print Management, a meta SOP class.
const PRINT: &str = "1.2.840.10008.5.1.1.9";
const SESSION: &str = "1.2.840.10008.5.1.1.1";
const FILM_BOX: &str = "1.2.840.10008.5.1.1.2";
const IMAGE_BOX: &str = "1.2.840.10008.5.1.1.4";
const PRINTER: &str = "1.2.840.10008.5.1.1.16";
const PRIVATE: &str = "1.3.6.1.4.1.9.9.9";

fn request() -> Request {
    Request {
        called: GANTRY.parse().unwrap(),
        calling: "CLIENT".parse().unwrap(),
        proposals: vec![
            proposal(PRIVATE, &[EXPLICIT_VR_LE]),
            proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE]),
            proposal(PRINT, &[EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
        ],
        extended: vec![(PRIVATE.parse().unwrap(), Bytes::from_static(&[1, 2]))],
        roles: vec![Role { sop_class: PRIVATE.parse().unwrap(), scu: true, scp: true }],
    }
}

async fn scene(more: &str) -> (Scripted, TestApp, Client) {
    let archive = Scripted::new().await;
    let app = scripted_app(&archive, more).await;
    let client = Client::asking(app.dimse, &request()).await.unwrap();
    (archive, app, client)
}

/// The client's number of the context of a class.
fn context(client: &Client, class: &str) -> u8 {
    client.association.agreement().for_class(class).unwrap().id
}

async fn say(client: &mut Client, class: &str, command: &Command, data: Option<Bytes>) {
    let context = context(client, class);
    let command = Command { has_data_set: data.is_some(), ..command.clone() };
    client.association.send(context, &command, data);
    client.association.flush().await.unwrap();
}

/// Waits for the client's abort: who, and why.
async fn aborted(client: &mut Client) -> u8 {
    match client.message().await {
        Err(AssociationError::Aborted { by, .. }) => by,
        other => panic!("not aborted: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_class_has_one_association_for_its_life() {
    let (mut archive, _app, mut client) = scene("").await;
    let asked = archive.request(0);
    assert_eq!(archive.count(), 1);
    let classes: Vec<_> = asked.contexts.iter().map(|c| c.abstract_syntax.clone().unwrap()).collect();
    assert_eq!(classes, [PRIVATE, PRINT].map(|class| class.parse().unwrap()));
    assert_eq!(asked.contexts[1].transfer_syntaxes.len(), 2, "the client's own");
    assert_eq!(asked.user.extended, request().extended);
    assert_eq!(asked.user.roles, request().roles);
    let granted = client.association.agreement().for_class(PRIVATE).unwrap();
    assert!(granted.requestor_is_scu && granted.requestor_is_scp);
    for id in 1..=3 {
        let unknown = Command {
            others: vec![(0x4321, Bytes::from_static(b"??"))],
            ..Command::request(0x0777, PRIVATE, id)
        };
        say(&mut client, PRIVATE, &unknown, None).await;
        let (association, message) = archive.message().await;
        assert_eq!((association, &message.command), (0, &unknown), "all as it was, with its message ID");
        archive.answer(association, &message, 0xFF00);
        archive.answer(association, &message, 0xB123);
        assert_eq!(client.message().await.unwrap().command.status, Some(0xFF00));
        assert_eq!(client.message().await.unwrap().command.status, Some(0xB123));
    }
    // Other contexts are served as ever, in between.
    let echo = Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, 9);
    say(&mut client, sop_class::VERIFICATION, &echo, None).await;
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    client.release().await;
    assert!(matches!(archive.next().await, Seen { association: 0, what: What::Released }));
    assert_eq!(archive.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_print_job_passes_and_its_printer_is_heard_in_between() {
    let (mut archive, _app, mut client) = scene("").await;
    let pixels = Bytes::from((0..8_u32 << 20).map(|n| (n * 31 % 251) as u8).collect::<Vec<_>>());
    let instance = |command: Command| Command { sop_instance: "1.2.3".parse().ok(), ..command };
    let named =
        |field, class, id| Command { requested: true, ..instance(Command::request(field, class, id)) };
    let steps = [
        (
            Command::request(field::N_CREATE_RQ, SESSION, 1),
            Some(Bytes::from_static(b"\x00\x20\x10\x00IS\x02\x001 ")),
        ),
        (instance(Command::request(field::N_CREATE_RQ, FILM_BOX, 2)), None),
        (named(field::N_SET_RQ, IMAGE_BOX, 3), Some(pixels)),
        (named(field::N_ACTION_RQ, FILM_BOX, 4), None),
        (named(field::N_GET_RQ, PRINTER, 5), None),
        (named(field::N_DELETE_RQ, SESSION, 6), None),
    ];
    for (command, data) in steps {
        say(&mut client, PRINT, &command, data.clone()).await;
        let (association, message) = archive.message().await;
        let expected = Command { has_data_set: data.is_some(), ..command };
        assert_eq!((association, &message.command), (0, &expected));
        assert!(message.data == data, "the data set");
        // The printer has something to say before it answers.
        let report = Command {
            others: vec![(0x1002, Bytes::from_static(&[2, 0]))],
            ..Command::request(field::N_EVENT_REPORT_RQ, PRINTER, 100 + expected.message_id)
        };
        archive.say(0, message.context, report, data.clone().map(|data| data.slice(..data.len().min(20))));
        let heard = client.message().await.unwrap();
        assert_eq!(heard.context, context(&client, PRINT));
        assert_eq!((heard.command.field, heard.command.message_id), (0x0100, 100 + expected.message_id));
        say(&mut client, PRINT, &heard.command.response(0), None).await;
        let (_, answer) = archive.message().await;
        assert_eq!((answer.command.field, answer.command.message_id), (0x8100, heard.command.message_id));
        archive.say(0, message.context, expected.response(0), data);
        let Message { command, data: answered, .. } = client.message().await.unwrap();
        assert_eq!((command.message_id, command.status), (expected.message_id, Some(0)));
        assert!(answered == message.data);
    }
    client.release().await;
    assert!(matches!(archive.next().await.what, What::Released));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_answered_while_a_request_is_served_that_is_not_for_the_session() {
    let mut archive = Scripted::new().await;
    let app = scripted_app(&archive, "").await;
    let mut request = request();
    request.proposals.push(proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE]));
    let mut client = Client::asking(app.dimse, &request).await.unwrap();
    // The session's association and the one by which the archive was asked come in any order.
    let is_session = |n: &usize| archive.request(*n).contexts[0].abstract_syntax == PRIVATE.parse().ok();
    let session = (0..archive.count()).find(is_session).unwrap();
    let report = Command::request(field::N_EVENT_REPORT_RQ, PRINTER, 100);
    archive.say(session, 1, report, None);
    let heard = client.message().await.unwrap();
    let find = Command::request(field::C_FIND_RQ, sop_class::STUDY_ROOT_FIND, 2);
    client.send(find, Some(&identifier("STUDY", &[])));
    client.association.flush().await.unwrap();
    let (searched, search) = archive.message().await;
    // Only now it answers the report, with a data set.
    let said = Some(Bytes::from_static(b"\x00\x20\x10\x00IS\x02\x001 "));
    say(&mut client, PRIVATE, &heard.command.response(0), said.clone()).await;
    let (answered, answer) = archive.message().await;
    assert_eq!((answered, answer.command.field, answer.data), (session, 0x8100, said));
    archive.answer(searched, &search, 0);
    let found = client.message().await.unwrap().command;
    assert_eq!((found.field, found.status), (0x8020, Some(0)));
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_class_that_passes_unread_carries_nothing_that_its_client_may_not_do() {
    let mut archive = Scripted::new().await;
    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("audit.jsonl");
    let audit = format!("[audit]\nfile = {{ path = \"{}\" }}\n", trail.display());
    let app = scripted_app(&archive, &format!("[ae.PRINTS]\nallow = [\"normalized\"]\n{audit}")).await;
    let prints = Request { calling: "PRINTS".parse().unwrap(), ..request() };
    let mut client = Client::asking(app.dimse, &prints).await.unwrap();
    assert!(client.association.agreement().for_class(PRIVATE).is_none(), "it may be anything");
    for (field, id) in [(field::C_FIND_RQ, 1), (field::C_STORE_RQ, 2), (field::C_MOVE_RQ, 3), (0x0777, 4)] {
        let request = Command::request(field, PRINT, id);
        say(&mut client, PRINT, &request, Some(Bytes::from_static(b"\x00\x20\x10\x00IS\x02\x001 "))).await;
        let answer = client.message().await.unwrap().command;
        assert_eq!((answer.status, answer.message_id), (Some(0x0124), id), "{field:04X}");
    }
    let get = Command {
        requested: true,
        sop_instance: "1.2.3".parse().ok(),
        ..Command::request(field::N_GET_RQ, PRINTER, 5)
    };
    say(&mut client, PRINT, &get, None).await;
    let (association, message) = archive.message().await;
    assert_eq!(message.command, get, "the first that the archive hears");
    archive.answer(association, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    client.release().await;
    app.stop().await;
    let told = messages(&trail).into_iter().filter(|(code, ..)| code == "110113");
    assert_eq!(told.collect::<Vec<_>>(), vec![entry("110113", 4, "PRINTS", 0); 4], "each is an alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_on_either_side_ends_the_other() {
    let (mut archive, app, client) = scene("").await;
    client.association.abort().await;
    let Seen { association: 0, what: What::Lost(AssociationError::Aborted { by: 0, .. }) } =
        archive.next().await
    else {
        panic!("not aborted behind");
    };
    let mut client = Client::asking(app.dimse, &request()).await.unwrap();
    archive.abort(1);
    assert_eq!(aborted(&mut client).await, 0);
    let mut client = Client::asking(app.dimse, &request()).await.unwrap();
    archive.release(2);
    assert_eq!(aborted(&mut client).await, 0);
    // In the middle of a message.
    let mut client = Client::asking(app.dimse, &request()).await.unwrap();
    let set = Command { has_data_set: true, ..Command::request(field::N_SET_RQ, IMAGE_BOX, 1) };
    let print = context(&client, PRINT);
    client.association.send(print, &set, None);
    client.association.send_data(print, Bytes::from(vec![0; 1 << 20]), false);
    client.association.flush().await.unwrap();
    client.association.abort().await;
    loop {
        match archive.next().await.what {
            What::Lost(AssociationError::Aborted { .. }) => break,
            What::Message(message) => panic!("half a message is whole: {:?}", message.command),
            _ => {}
        }
    }
    app.settle("sessions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_its_session_opens_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\nmax_associations = 1\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n",
        listener.local_addr().unwrap()
    ))
    .await;
    for _ in 0..2 {
        let asked = request();
        let address = app.dimse;
        let asking = tokio::spawn(async move { Client::asking(address, &asked).await });
        let (stream, _) = listener.accept().await.unwrap();
        let requested = Requested::read(DimseSocket::from_stream(stream).unwrap(), soon()).await.unwrap();
        asking.abort();
        assert!(asking.await.is_err(), "it was waiting");
        let accepted = requested.accept(|_, s| Ok(s[0].clone()), |_| true, soon()).await;
        let mut session = accepted.unwrap();
        let end = session.event().await;
        assert!(matches!(end, Err(AssociationError::Aborted { .. })), "{end:?}");
        drop(session);
        // The only place comes back, too.
        app.settle("a client that left").await;
        let echo = || vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
        let served = async || Client::to(address, GANTRY, "CLIENT", echo()).await.is_ok();
        until("its place comes back", DEADLINE, served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_who_does_not_read_is_waited_for_and_nothing_is_gathered() {
    let (mut archive, app, mut client) = scene("").await;
    let print = context(&client, PRINT);
    let get = Command::request(field::N_GET_RQ, PRINTER, 1);
    say(&mut client, PRINT, &get, None).await;
    let (_, message) = archive.message().await;
    // Both send 32 MB before they read.
    let large = Bytes::from(vec![7; 32 << 20]);
    archive.say(0, message.context, get.response(0), Some(large.clone()));
    let set = Command { has_data_set: true, ..Command::request(field::N_SET_RQ, IMAGE_BOX, 2) };
    client.association.send(print, &set, Some(large.clone()));
    let mut answer = 0;
    while answer < large.len() {
        if let Event::Data { bytes, .. } = client.association.event().await.unwrap() {
            answer += bytes.len();
        }
    }
    client.association.flush().await.unwrap();
    let (_, message) = archive.message().await;
    assert!(message.data == Some(large));
    archive.answer(0, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    client.release().await;
    app.settle("a session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_leave_a_slot_to_others() {
    let more = "max_associations = 2\n[dimse.timeouts]\nnegotiation = \"500ms\"\n";
    let (mut archive, app, client) = scene(more).await;
    for _ in 0..2 {
        let waiting = Client::asking(app.dimse, &request()).await.err();
        assert!(
            matches!(waiting, Some(EstablishError::Rejected(AssociateRj::CONGESTION))),
            "told to come again: {waiting:?}"
        );
    }
    // A search passes meanwhile.
    let proposals = vec![proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE])];
    let mut searching = Client::to(app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    let find = Command::request(field::C_FIND_RQ, sop_class::STUDY_ROOT_FIND, 2);
    searching.send(find, Some(&identifier("STUDY", &[])));
    searching.association.flush().await.unwrap();
    let (association, message) = archive.message().await;
    archive.answer(association, &message, 0);
    assert_eq!(searching.message().await.unwrap().command.status, Some(0));
    searching.release().await;
    client.release().await;
    let mut third = Client::asking(app.dimse, &request()).await.unwrap();
    say(&mut third, PRINT, &Command::request(field::N_GET_RQ, PRINTER, 1), None).await;
    archive.message().await;
}
