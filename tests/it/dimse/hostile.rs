//! Clients that break the protocol: each is cut off, its place comes back, and nobody else notices.

use bytes::{BufMut, BytesMut};
use gantry::demo::{Fault, Plain};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dicom::{sop_class, tags};
use gantry::dimse::association::AssociationError;
use gantry::dimse::command::{Command, field};
use gantry::dimse::negotiation::{Proposal, number};
use gantry::dimse::pdu::{
    APPLICATION_CONTEXT, AssociateRq, PROTOCOL_VERSION, UserInformation, encode_associate_rq, kind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::acceptor::{archive, bridge, call};
use super::{GANTRY, Scene};
use crate::support::app::TestApp;
use crate::support::dimse::{Client, echo, find, identifier, proposal};
use crate::support::{DEADLINE, until};

/// Bounds what a client may take, so that each test sees its place come back.
const STRICT: &str = "accept = \"any\"\nmax_associations = 1\n\
                      timeouts = { artim = \"300ms\", read = \"300ms\", write = \"300ms\" }";

fn pdu(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    let mut pdu = BytesMut::new();
    pdu.put_slice(&[kind, 0]);
    pdu.put_u32(length);
    pdu.put_slice(body);
    pdu.to_vec()
}

/// A P-DATA-TF PDU with one PDV. `flags`: 1 a command, 2 the last fragment.
fn message(context: u8, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    let mut pdv = BytesMut::new();
    pdv.put_u32(length + 2);
    pdv.put_slice(&[context, flags]);
    pdv.put_slice(bytes);
    pdu(kind::P_DATA, length + 6, &pdv)
}

fn request() -> Vec<u8> {
    request_for(&[proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])])
}

fn request_for(proposals: &[Proposal]) -> Vec<u8> {
    let request = AssociateRq {
        version: PROTOCOL_VERSION,
        called: GANTRY.parse().unwrap(),
        calling: "RUDE".parse().unwrap(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: number(proposals),
        user: UserInformation { max_pdu: 16_384, ..UserInformation::default() },
    };
    encode_associate_rq(&request).to_vec()
}

/// Says this, and reads what is answered until the connection is closed: the types of the PDUs.
async fn say(app: &TestApp, what: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(app.dimse).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{what}: still open");
    let mut kinds = Vec::new();
    let mut rest = &answer[..];
    while let [pdu, _, a, b, c, d, more @ ..] = rest {
        kinds.push(*pdu);
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = more.get(length..).unwrap_or_default();
    }
    kinds
}

/// Whether somebody else is served now.
async fn serves(app: &TestApp) -> bool {
    let Ok(mut client) = call(app, GANTRY, "POLITE").await else { return false };
    let served = client.ask(echo(), None).await.is_ok_and(|answers| answers.status() == 0);
    client.release().await;
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_what_is_no_association_request_is_cut_off_and_leaves_no_place_taken() {
    let archive = archive().await;
    let app = bridge(archive.addr(), STRICT, "").await;
    let good = request();
    for (what, bytes) in [
        ("garbage", vec![0x47; 100]),
        ("a request of garbage", pdu(kind::ASSOCIATE_RQ, 100, &[0xFF; 100])),
        ("a request that ends in the middle", good[..good.len() / 2].to_vec()),
        ("4 GiB", pdu(kind::ASSOCIATE_RQ, u32::MAX, &[0; 100])),
        ("data before any association", message(1, 3, &[0; 20])),
        ("a release before any association", pdu(5, 4, &[0; 4])),
        ("blank titles", [&good[..10], &[b' '; 32], &good[42..]].concat()),
    ] {
        let kinds = say(&app, what, &bytes).await;
        assert!(
            kinds.iter().all(|pdu| *pdu == kind::ABORT || *pdu == kind::ASSOCIATE_RJ),
            "{what}: {kinds:?}"
        );
        until(what, DEADLINE, async || serves(&app).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_proposes_no_presentation_context_is_rejected_for_good() {
    let archive = archive().await;
    let app = bridge(archive.addr(), STRICT, "").await;
    let mut stream = TcpStream::connect(app.dimse).await.unwrap();
    stream.write_all(&request_for(&[])).await.unwrap();
    let mut answer = [0; 10];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    // Rejected-permanent, by the service user, no reason given (PS3.8 9.3.4).
    assert_eq!((answer[0], &answer[7..]), (kind::ASSOCIATE_RJ, &[1, 1, 1][..]));
    drop(stream);
    until("nobody is kept out", DEADLINE, async || serves(&app).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_who_breaks_the_protocol_is_aborted_and_leaves_no_place_taken() {
    let archive = archive().await;
    let app = bridge(archive.addr(), STRICT, "").await;
    let command = |field: u16, has_data_set| {
        let command = Command::request(field, sop_class::VERIFICATION, 1);
        Command { has_data_set, ..command }.encode()
    };
    let echo = command(field::C_ECHO_RQ, false);
    let response = Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, 9).response(0).encode();
    for (what, bytes) in [
        ("half a PDU and silence", message(1, 3, &echo)[..20].to_vec()),
        ("half a command and silence", message(1, 1, &echo[..10])),
        ("a PDU of 4 GiB", pdu(kind::P_DATA, u32::MAX, &[0; 100])),
        ("a PDV of length 0", pdu(kind::P_DATA, 4, &[0; 4])),
        ("a PDV of length 1", pdu(kind::P_DATA, 5, &[0, 0, 0, 1, 1])),
        ("a PDV that is longer than its PDU", pdu(kind::P_DATA, 6, &[0, 0, 1, 0, 1, 3])),
        ("a context that was not accepted", message(3, 3, &echo)),
        ("an even context", message(2, 3, &echo)),
        ("data that no command announced", message(1, 2, &[0; 20])),
        ("a command of garbage", message(1, 3, &[0xFF; 20])),
        ("a response to no request", message(1, 3, &response)),
        ("a data set that is announced and does not come", message(1, 3, &command(field::C_ECHO_RQ, true))),
        ("another association request", request()),
        ("a PDU of no type", pdu(0x99, 4, &[0; 4])),
    ] {
        let bytes = [request(), bytes].concat();
        let mut kinds = Vec::new();
        // The place of the one before may come back a moment later.
        until(what, DEADLINE, async || {
            kinds = say(&app, what, &bytes).await;
            kinds != [kind::ASSOCIATE_RJ]
        })
        .await;
        assert_eq!(kinds, [kind::ASSOCIATE_AC, kind::ABORT], "{what}");
        until(what, DEADLINE, async || serves(&app).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_id_zero_and_ids_that_come_again_are_served() {
    let archive = archive().await;
    let app = bridge(archive.addr(), STRICT, "").await;
    let mut client = call(&app, GANTRY, "CLIENT").await.unwrap();
    for id in [0, 0, 7, 7, u16::MAX] {
        let request = Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, id);
        let answers = client.ask(request, None).await.unwrap();
        assert_eq!((answers.status(), answers.last().command.message_id), (0, id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_second_request_while_one_is_served_ends_the_association_and_cancels_the_first() {
    let scene = Scene::new(Plain::new(50, 1, 1, 10).make(), &[Fault::FindSlow(50)], "").await;
    let proposals = vec![proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE])];
    let mut client = Client::to(scene.app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    let keys = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, "")]);
    client.send(find(), Some(&keys));
    client.message().await.unwrap();
    client.send(Command { message_id: 99, ..find() }, Some(&keys));
    let end = loop {
        match client.message().await {
            Ok(message) => assert_ne!(message.command.message_id, 99, "it was served"),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, AssociationError::Aborted { .. }), "{end:?}");
    assert!(scene.archive.wait_for(|seen| !seen.cancels.is_empty()).await.is_ok());
    scene.app.settle("a second request").await;
}
