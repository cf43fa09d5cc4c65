//! Storage commitment: each client gets its own report, whenever and however the archive sends it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, Layout};
use gantry::dicom::{Tag, VR, sop_class};
use gantry::dimse::association::{Association, EstablishError, Request};
use gantry::dimse::command::{Command, field};
use gantry::dimse::negotiation::Proposal;
use gantry::dimse::pdu::AssociateRj;
use gantry::net::{DimseSocket, tls};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::scripted::{Scripted, What};
use super::{GANTRY, scripted_app};
use crate::support::app::TestApp;
use crate::support::certificates::{Authority, Folder, Subject};
use crate::support::dimse::{Client, Message, proposal, soon};
use crate::support::{DEADLINE, until};

const TRANSACTION: Tag = Tag(0x0008, 0x1195);
const RETRIEVE_AE_TITLE: Tag = Tag(0x0008, 0x0054);
const FAILED: Tag = Tag(0x0008, 0x1198);
const INSTANCE: Tag = Tag(0x0008, 0x1155);

/// One archive, one client that listens, and where the bridge keeps its state.
struct Scene {
    archive: Scripted,
    listener: Scripted,
    home: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { archive: Scripted::new().await, listener: Scripted::new().await, home }
    }

    /// The bridge, with so many associations to the archive at most.
    async fn app(&self, most: usize) -> TestApp {
        self.app_that_waits(most, "").await
    }

    /// As [`Scene::app`], with more keys of `[dimse.commitment]`.
    async fn app_that_waits(&self, most: usize, keys: &str) -> TestApp {
        let state = self.home.path().join("state");
        let more = format!(
            "max_associations = {most}\n[ae.LISTENS]\naddress = \"{}\"\n[ae.AWAY]\n[ae.OTHER]\n\
             [state]\npath = \"{}\"\n[dimse.commitment]\nretry_after = \"200ms\"\n{keys}",
            self.listener.address,
            state.display()
        );
        scripted_app(&self.archive, &more).await
    }
}

async fn client(app: &TestApp, title: &str) -> Client {
    let proposals = vec![proposal(sop_class::STORAGE_COMMITMENT, &[EXPLICIT_VR_LE])];
    Client::to(app.dimse, GANTRY, title, proposals).await.unwrap()
}

fn data(transaction: &str, failed: &[&str]) -> DataSet {
    let mut data = DataSet::new();
    data.set_str(TRANSACTION, VR::UI, transaction);
    let item = |uid: &&str| {
        let mut item = DataSet::new();
        item.set_str(INSTANCE, VR::UI, *uid);
        item
    };
    if !failed.is_empty() {
        data.set_items(FAILED, failed.iter().map(item).collect());
    }
    data
}

fn encoded(data: &DataSet) -> Option<Bytes> {
    Some(data.encode(Layout::ExplicitLe, QueryCharset::Auto).into())
}

/// Asks for commitment, and sees the archive be asked.
async fn ask(client: &mut Client, archive: &mut Scripted, transaction: &str) -> (usize, Message) {
    send(client, transaction).await;
    archive.message().await
}

/// The N-ACTION that asks for storage commitment.
fn request_commitment() -> Command {
    Command {
        requested: true,
        has_data_set: true,
        sop_instance: sop_class::STORAGE_COMMITMENT_INSTANCE.parse().ok(),
        others: vec![(0x1008, Bytes::from_static(&[1, 0]))],
        ..Command::request(field::N_ACTION_RQ, sop_class::STORAGE_COMMITMENT, 7)
    }
}

async fn send(client: &mut Client, transaction: &str) {
    client.send(request_commitment(), Some(&data(transaction, &[])));
    client.association.flush().await.unwrap();
}

/// A report of an archive, with this message ID.
fn report(id: u16, event: u8) -> Command {
    Command {
        sop_instance: sop_class::STORAGE_COMMITMENT_INSTANCE.parse().ok(),
        others: vec![(0x1002, Bytes::copy_from_slice(&[event, 0]))],
        ..Command::request(field::N_EVENT_REPORT_RQ, sop_class::STORAGE_COMMITMENT, id)
    }
}

/// Sends a report on an association, and gives the status of its answer.
async fn tell(archive: &mut Scripted, association: usize, context: u8, event: u8, data: &DataSet) -> u16 {
    archive.say(association, context, report(99, event), encoded(data));
    let (answered, answer) = archive.message().await;
    assert_eq!((answered, answer.context, answer.command.field), (association, context, 0x8100));
    assert_eq!(answer.command.number(0x1002), Some(event.into()));
    answer.command.status.unwrap()
}

/// Takes a report in and answers it; its event type and data set.
async fn told(client: &mut Client) -> (u16, DataSet) {
    let message = client.message().await.unwrap();
    assert_eq!(message.command.field, field::N_EVENT_REPORT_RQ);
    client.association.send(message.context, &message.command.response(0), None);
    client.association.flush().await.unwrap();
    (message.command.number(0x1002).unwrap(), message.data_set())
}

/// As an archive opens an association to report.
fn reporting() -> Request {
    let proposal = Proposal { as_scp: true, ..proposal(sop_class::STORAGE_COMMITMENT, &[EXPLICIT_VR_LE]) };
    Request {
        called: GANTRY.parse().unwrap(),
        calling: "PACS".parse().unwrap(),
        proposals: vec![proposal],
        extended: vec![],
        roles: vec![],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_on_the_same_association() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut client = client(&app, "AWAY").await;
    let (association, message) = ask(&mut client, &mut scene.archive, "1.2.1").await;
    assert_eq!(message.data_set(), data("1.2.1", &[]));
    scene.archive.answer(association, &message, 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    let mut result = data("1.2.1", &["1.5.1"]);
    result.set_str(RETRIEVE_AE_TITLE, VR::AE, "PACS");
    assert_eq!(tell(&mut scene.archive, association, message.context, 2, &result).await, 0);
    let (event, heard) = told(&mut client).await;
    result.set_str(RETRIEVE_AE_TITLE, VR::AE, GANTRY);
    assert_eq!((event, heard), (2, result), "the archive's own, but for who is to be asked for the objects");
    assert_eq!(tell(&mut scene.archive, association, message.context, 2, &data("1.2.1", &[])).await, 0);
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_on_a_new_association() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut client = client(&app, "LISTENS").await;
    let (association, message) = ask(&mut client, &mut scene.archive, "1.2.2").await;
    scene.archive.answer(association, &message, 0);
    client.message().await.unwrap();
    client.release().await;
    let new = scene.archive.open(app.dimse, &reporting()).await;
    assert_eq!(tell(&mut scene.archive, new, 1, 1, &data("1.2.2", &[])).await, 0);
    scene.archive.release(new);
    let (association, heard) = scene.listener.message().await;
    let asked = scene.listener.request(association);
    assert_eq!((asked.called.as_str(), asked.calling.as_str()), ("LISTENS", GANTRY));
    let role = &asked.user.roles[0];
    assert_eq!((role.scu, role.scp), (false, true), "we are the SCP");
    assert_eq!(heard.command, Command { message_id: 1, has_data_set: true, ..report(1, 1) });
    assert_eq!(heard.data_set(), data("1.2.2", &[]));
    scene.listener.answer(association, &heard, 0);
    assert!(matches!(scene.listener.next().await.what, What::Released));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_after_a_restart() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut asking = client(&app, "AWAY").await;
    let (association, message) = ask(&mut asking, &mut scene.archive, "1.2.3").await;
    scene.archive.answer(association, &message, 0);
    asking.message().await.unwrap();
    asking.release().await;
    app.stop().await;
    let app = scene.app(2).await;
    let new = scene.archive.open(app.dimse, &reporting()).await;
    assert_eq!(tell(&mut scene.archive, new, 1, 2, &data("1.2.3", &["1.9"])).await, 0);
    scene.archive.release(new);
    // The report itself survives, too.
    app.stop().await;
    let app = scene.app(2).await;
    let mut again = client(&app, "AWAY").await;
    assert_eq!(told(&mut again).await, (2, data("1.2.3", &["1.9"])));
    again.release().await;
    app.stop().await;
    let app = scene.app(2).await;
    let mut once_more = client(&app, "AWAY").await;
    assert!(
        tokio::time::timeout(Duration::from_millis(500), once_more.message()).await.is_err(),
        "it is told once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_two_clients_each_get_their_own_report() {
    let mut scene = Scene::new().await;
    let app = scene.app(1).await;
    let (mut one, mut two) = (client(&app, "AWAY").await, client(&app, "OTHER").await);
    for (client, transaction) in [(&mut one, "1.2.4"), (&mut two, "1.2.5")] {
        let (association, message) = ask(client, &mut scene.archive, transaction).await;
        scene.archive.answer(association, &message, 0);
        client.message().await.unwrap();
    }
    let last = scene.archive.count() - 1;
    for (transaction, failed) in [("1.2.5", &["1.8", "1.9"][..]), ("1.2.4", &[])] {
        let event = if failed.is_empty() { 1 } else { 2 };
        let status = tell(&mut scene.archive, last, 1, event, &data(transaction, failed)).await;
        assert_eq!(status, 0);
    }
    assert_eq!(told(&mut one).await, (1, data("1.2.4", &[])));
    assert_eq!(told(&mut two).await, (2, data("1.2.5", &["1.8", "1.9"])));
    // The same UID of another client's, while the first waits.
    let (association, message) = ask(&mut one, &mut scene.archive, "1.2.6").await;
    send(&mut two, "1.2.6").await;
    let refused = two.message().await.unwrap().command;
    assert_eq!((refused.status, refused.comment.as_deref()), (Some(0x0110), Some("transaction UID in use")));
    scene.archive.answer(association, &message, 0);
    one.message().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_overtakes_the_response_is_delivered_after_it() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut client = client(&app, "AWAY").await;
    let (association, message) = ask(&mut client, &mut scene.archive, "1.2.7").await;
    let status = tell(&mut scene.archive, association, message.context, 1, &data("1.2.7", &[])).await;
    assert_eq!(status, 0);
    scene.archive.answer(association, &message, 0);
    let response = client.message().await.unwrap();
    assert_eq!((response.command.field, response.command.status), (0x8130, Some(0)));
    assert_eq!(told(&mut client).await, (1, data("1.2.7", &[])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_transaction_is_refused_0115_and_so_is_one_that_the_archive_refused() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut client = client(&app, "AWAY").await;
    let (association, message) = ask(&mut client, &mut scene.archive, "1.2.8").await;
    scene.archive.answer(association, &message, 0x0213);
    assert_eq!(client.message().await.unwrap().command.status, Some(0x0213));
    for (transaction, event, status) in [("1.2.8", 1, 0x0115), ("1.2.9", 2, 0x0115), ("1.2.9", 3, 0x0113)] {
        let data = data(transaction, &[]);
        assert_eq!(tell(&mut scene.archive, association, message.context, event, &data).await, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_away_is_tried_again_until_it_is_there() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut client = client(&app, "LISTENS").await;
    let (association, message) = ask(&mut client, &mut scene.archive, "1.2.10").await;
    scene.archive.answer(association, &message, 0);
    client.message().await.unwrap();
    client.release().await;
    let status = tell(&mut scene.archive, association, message.context, 1, &data("1.2.10", &[])).await;
    assert_eq!(status, 0);
    // It hears, and does not answer.
    for _ in 0..2 {
        let (unanswered, _) = scene.listener.message().await;
        scene.listener.abort(unanswered);
    }
    let (association, heard) = scene.listener.message().await;
    assert_eq!(heard.data_set(), data("1.2.10", &[]));
    scene.listener.answer(association, &heard, 0xB000);
    assert!(matches!(scene.listener.next().await.what, What::Released));
    assert!(scene.listener.is_silent().await, "a warning is an answer");
    until("everything is given back", DEADLINE, async || app.in_use() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_away_is_tried_until_its_time_is_up() {
    let mut scene = Scene::new().await;
    let app = scene.app_that_waits(2, "retry_for = \"400ms\"\n").await;
    let mut away = client(&app, "AWAY").await;
    let (association, message) = ask(&mut away, &mut scene.archive, "1.2.12").await;
    scene.archive.answer(association, &message, 0);
    away.message().await.unwrap();
    away.release().await;
    let data = data("1.2.12", &[]);
    assert_eq!(tell(&mut scene.archive, association, message.context, 1, &data).await, 0);
    // A report that is known is well; one that is forgotten was never asked for.
    until("it is given up", DEADLINE, async || {
        tell(&mut scene.archive, association, message.context, 1, &data).await == 0x0115
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_does_not_report_is_waited_for_until_its_time_is_up() {
    let mut scene = Scene::new().await;
    let app = scene.app_that_waits(2, "wait = \"400ms\"\n").await;
    let (mut one, mut two) = (client(&app, "AWAY").await, client(&app, "OTHER").await);
    let (association, message) = ask(&mut one, &mut scene.archive, "1.2.13").await;
    scene.archive.answer(association, &message, 0);
    one.message().await.unwrap();
    // Its Transaction UID is free for others then.
    until("it is given up", DEADLINE, async || {
        send(&mut two, "1.2.13").await;
        tokio::select! {
            refused = two.message() => refused.unwrap().command.status != Some(0x0110),
            _ = scene.archive.message() => true,
        }
    })
    .await;
}

/// Asks for an association from this address of the machine.
async fn call_from(address: &str, app: &TestApp, request: &Request) -> Result<Association, EstablishError> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let socket = DimseSocket::from_stream(socket.connect(app.dimse).await.unwrap()).unwrap();
    Association::request(socket, request, soon()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_nobody_but_an_archive_reports() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let mut asking = client(&app, "AWAY").await;
    let (association, message) = ask(&mut asking, &mut scene.archive, "1.2.11").await;
    scene.archive.answer(association, &message, 0);
    asking.message().await.unwrap();
    // Under the archive's own title, from elsewhere.
    let error = call_from("127.0.0.2", &app, &reporting()).await.err();
    assert!(
        matches!(error, Some(EstablishError::Rejected(AssociateRj::CALLING_TITLE))),
        "an archive's title is no proof: {error:?}"
    );
    // A client, from where the archive is: it is not granted the role, and may not say so without.
    let stranger = Request { calling: "OTHER".parse().unwrap(), ..reporting() };
    let association = call_from("127.0.0.1", &app, &stranger).await.unwrap();
    assert_eq!(association.agreement().contexts, [], "the role is not granted");
    let proposals = vec![proposal(sop_class::STORAGE_COMMITMENT, &[EXPLICIT_VR_LE])];
    let stranger = Request { proposals, ..stranger };
    let mut association = call_from("127.0.0.1", &app, &stranger).await.unwrap();
    let context = association.agreement().contexts[0].id;
    let told = Command { has_data_set: true, ..report(1, 1) };
    association.send(context, &told, encoded(&data("1.2.11", &[])));
    let answer = crate::support::dimse::message(&mut association).await.unwrap();
    assert_eq!(answer.command.status, Some(0x0211));
    // Neither has told the client anything, and the archive still can.
    let new = scene.archive.over(call_from("127.0.0.1", &app, &reporting()).await.unwrap());
    assert_eq!(tell(&mut scene.archive, new, 1, 2, &data("1.2.11", &["1.9"])).await, 0);
    assert_eq!(self::told(&mut asking).await, (2, data("1.2.11", &["1.9"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_comes_over_tls_and_goes_on_over_tls() {
    let (folder, authority) = (Folder::new(), Authority::new("Test CA"));
    let ca = folder.write("ca.pem", &authority.pem);
    let (certificate, key) = folder.issued("both", &authority.issue_for_both(&Subject::default()));
    let identity = tls::Identity { certificate: certificate.clone(), key: key.clone() };
    let mut scene = Scene::new().await;
    // Before the client that listens stands what speaks TLS for it.
    let clients = tls::ClientCertificates::Required(ca.clone());
    let config = tls::ServerConfig { identity, clients, revoked: None };
    let (server, before) = (tls::Server::open(config, tls::Protocol::Dimse).unwrap(), scene.listener.address);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let standing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut outside = server.accept(stream, soon()).await.unwrap();
        let mut inside = TcpStream::connect(before).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
    });
    let keys = format!("certificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
    let more = format!(
        "[ae.SECURE]\naddress = \"localhost:{port}\"\n[ae.SECURE.tls]\nca = \"{}\"\n{keys}\
         [dimse.tls]\nlisten = \"127.0.0.1:0\"\n{keys}",
        ca.display()
    );
    let app = scripted_app(&scene.archive, &more).await;
    let mut asking = client(&app, "SECURE").await;
    let (association, message) = ask(&mut asking, &mut scene.archive, "1.2.40").await;
    scene.archive.answer(association, &message, 0);
    asking.message().await.unwrap();
    asking.release().await;
    let client = tls::Client::new(tls::ClientConfig { ca: Some(ca), ..tls::ClientConfig::default() });
    let socket = DimseSocket::connect(&app.dimse_tls.unwrap().to_string(), soon()).await.unwrap();
    let secure = client.connect(socket, "localhost", soon()).await.unwrap();
    let new = scene.archive.over(Association::request(secure, &reporting(), soon()).await.unwrap());
    assert_eq!(tell(&mut scene.archive, new, 1, 1, &data("1.2.40", &[])).await, 0);
    let (association, heard) = scene.listener.message().await;
    assert_eq!(heard.data_set(), data("1.2.40", &[]));
    scene.listener.answer(association, &heard, 0);
    assert!(matches!(scene.listener.next().await.what, What::Released));
    standing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_room_is_told_again_and_one_that_refuses_a_report_is_not() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    for (transaction, refusal, again) in [("1.2.20", 0x0213, true), ("1.2.21", 0x0110, false)] {
        let mut client = client(&app, "LISTENS").await;
        let (association, message) = ask(&mut client, &mut scene.archive, transaction).await;
        scene.archive.answer(association, &message, 0);
        client.message().await.unwrap();
        client.release().await;
        let data = data(transaction, &[]);
        assert_eq!(tell(&mut scene.archive, association, message.context, 1, &data).await, 0);
        let (first, heard) = scene.listener.message().await;
        scene.listener.answer(first, &heard, refusal);
        if again {
            let (second, heard) = scene.listener.message().await;
            assert_eq!(heard.data_set(), data);
            scene.listener.answer(second, &heard, 0);
        }
        assert!(matches!(scene.listener.next().await.what, What::Released));
        assert!(scene.listener.is_silent().await, "told once more than it should be: {refusal:04X}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_encoded_for_its_client_holds_up_no_other() {
    let mut scene = Scene::new().await;
    let app = scene.app(2).await;
    let big_endian = || vec![proposal(sop_class::STORAGE_COMMITMENT, &[EXPLICIT_VR_BE])];
    let mut client = Client::to(app.dimse, GANTRY, "AWAY", big_endian()).await.unwrap();
    let in_big_endian =
        |transaction: &str| Some(data(transaction, &[]).encode(Layout::ExplicitBe, QueryCharset::Auto));
    let mut asked_on = (0, 0);
    for transaction in ["1.2.30", "1.2.31"] {
        client.association.send(1, &request_commitment(), in_big_endian(transaction).map(Bytes::from));
        client.association.flush().await.unwrap();
        let (association, message) = scene.archive.message().await;
        scene.archive.answer(association, &message, 0);
        assert_eq!(client.message().await.unwrap().command.status, Some(0));
        asked_on = (association, message.context);
    }
    // The first report comes in what cannot become big endian.
    let new = scene.archive.open(app.dimse, &reporting()).await;
    assert_eq!(tell(&mut scene.archive, new, 1, 1, &data("1.2.30", &[])).await, 0);
    // The second one in the client's own, on the association on which it was asked for.
    let (association, context) = asked_on;
    scene.archive.say(association, context, report(99, 1), in_big_endian("1.2.31").map(Bytes::from));
    assert_eq!(scene.archive.message().await.1.command.status, Some(0));
    let told_first = client.message().await.unwrap();
    let heard = DataSet::parse(told_first.data.as_ref().unwrap(), Layout::ExplicitBe, None).unwrap().data_set;
    assert_eq!(heard, data("1.2.31", &[]));
    client.association.send(told_first.context, &told_first.command.response(0), None);
    client.release().await;
    // The first is told when it can be.
    let mut again = self::client(&app, "AWAY").await;
    assert_eq!(told(&mut again).await, (1, data("1.2.30", &[])));
}
