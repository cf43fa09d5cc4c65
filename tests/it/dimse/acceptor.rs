//! Who may come, how many, and in which contexts.

use std::net::SocketAddr;
use std::time::Duration;

use gantry::demo::{Archive, Plain, Running};
use gantry::dicom::sop_class;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dimse::association::EstablishError;
use gantry::dimse::negotiation::Proposal;
use gantry::dimse::pdu::AssociateRj;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::GANTRY;
use crate::support::app::TestApp;
use crate::support::dimse::{Client, IMAGES, echo, proposal};
use crate::support::{DEADLINE, until};

/// A bridge before an archive, with these keys in `[dimse]`, and these tables.
pub(super) async fn bridge(archive: SocketAddr, dimse: &str, more: &str) -> TestApp {
    let configuration = format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n{dimse}\n[archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\n{more}"
    );
    TestApp::start(&configuration).await
}

pub(super) async fn archive() -> Running {
    Archive::builder().ae_title("PACS".parse().unwrap()).start().await.unwrap()
}

/// Asks for an association that can do nothing but C-ECHO.
pub(super) async fn call(app: &TestApp, called: &str, calling: &str) -> Result<Client, EstablishError> {
    let proposals = vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
    Client::to(app.dimse, called, calling, proposals).await
}

/// How it was rejected; `None`: it was not.
fn rejected(called: Result<Client, EstablishError>) -> Option<AssociateRj> {
    match called {
        Ok(_) => None,
        Err(EstablishError::Rejected(rj)) => Some(rj),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_by_another_title_is_told_so() {
    let archive = archive().await;
    let app = bridge(archive.addr(), "accept = \"any\"", "").await;
    assert_eq!(rejected(call(&app, "OTHER", "CLIENT").await), Some(AssociateRj::CALLED_TITLE));
    assert_eq!(rejected(call(&app, GANTRY, "CLIENT").await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_rejected_unless_anybody_is_accepted() {
    let archive = archive().await;
    let known = bridge(archive.addr(), "", "[ae.CLIENT]\n").await;
    assert_eq!(rejected(call(&known, GANTRY, "STRANGER").await), Some(AssociateRj::CALLING_TITLE));
    assert_eq!(rejected(call(&known, GANTRY, "CLIENT").await), None);
    let any = bridge(archive.addr(), "accept = \"any\"", "").await;
    assert_eq!(rejected(call(&any, GANTRY, "STRANGER").await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_title_from_another_network_is_rejected() {
    let archive = archive().await;
    let tables = "[ae.FAR]\nallow_from = [\"10.0.0.0/8\"]\n[ae.NEAR]\nallow_from = [\"127.0.0.0/8\"]\n";
    let app = bridge(archive.addr(), "accept = \"any\"", tables).await;
    assert_eq!(rejected(call(&app, GANTRY, "FAR").await), Some(AssociateRj::CALLING_TITLE));
    assert_eq!(rejected(call(&app, GANTRY, "NEAR").await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_association_of_one_title_is_rejected_for_now_and_its_place_comes_back() {
    let archive = archive().await;
    let app = bridge(archive.addr(), "accept = \"any\"", "").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(call(&app, GANTRY, "CT1").await.unwrap());
    }
    assert_eq!(rejected(call(&app, GANTRY, "CT1").await), Some(AssociateRj::LOCAL_LIMIT));
    assert_eq!(rejected(call(&app, GANTRY, "CT2").await), None);
    open.pop().unwrap().release().await;
    until("its place comes back", DEADLINE, async || call(&app, GANTRY, "CT1").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_against_fifty_are_fifty_served_and_the_rest_rejected_for_now() {
    let archive = archive().await;
    let limits = "accept = \"any\"\nmax_associations = 50\nmax_associations_per_address = 50";
    let app = bridge(archive.addr(), limits, "").await;
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let address = app.dimse;
        calls.spawn(async move {
            let proposals = vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
            Client::to(address, GANTRY, &format!("CT{n}"), proposals).await
        });
    }
    let (mut served, mut turned_away) = (Vec::new(), 0);
    while let Some(called) = calls.join_next().await {
        match called.unwrap() {
            Ok(client) => served.push(client),
            Err(EstablishError::Rejected(AssociateRj::LOCAL_LIMIT)) => turned_away += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((served.len(), turned_away), (50, 150));
    for client in &mut served {
        assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    }
    // Half of them say good-bye.
    let later = served.split_off(25);
    for client in later {
        client.release().await;
    }
    drop(served);
    until("nothing is left over", DEADLINE, async || {
        let mut all = Vec::new();
        for n in 0..50 {
            all.extend(call(&app, GANTRY, &format!("AFTER{n}")).await.ok());
        }
        all.len() == 50
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_down_is_a_rejection_for_now_and_not_a_refused_class() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let app = bridge(nobody, "accept = \"any\"", "").await;
    let find = vec![proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE])];
    let called = Client::to(app.dimse, GANTRY, "WS1", find).await;
    assert_eq!(rejected(called), Some(AssociateRj::CONGESTION));
    let mut get = vec![proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE])];
    get.extend(IMAGES.map(|class| Proposal { as_scp: true, ..proposal(class, &[EXPLICIT_VR_LE]) }));
    let called = Client::to(app.dimse, GANTRY, "WS1", get).await;
    assert_eq!(rejected(called), Some(AssociateRj::CONGESTION), "a place for objects alone is of no use");
    assert_eq!(rejected(call(&app, GANTRY, "WS1").await), None, "C-ECHO is for us");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_are_what_the_archive_takes_and_it_is_asked_once() {
    let archive = archive().await;
    let app = bridge(archive.addr(), "accept = \"any\"", "").await;
    let proposals = || {
        vec![
            proposal(sop_class::STUDY_ROOT_FIND, &[IMPLICIT_VR_LE, EXPLICIT_VR_LE]),
            proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE]),
            proposal(IMAGES[0], &[EXPLICIT_VR_LE]),
            proposal("1.2.840.10008.5.1.4.31", &[EXPLICIT_VR_LE]),
        ]
    };
    let mut accepted = Vec::new();
    let mut opened = Vec::new();
    for _ in 0..3 {
        let client = Client::to(app.dimse, GANTRY, "WS1", proposals()).await.unwrap();
        let contexts = &client.association.agreement().contexts;
        accepted.push(contexts.iter().map(|context| context.abstract_syntax.to_string()).collect::<Vec<_>>());
        client.release().await;
        opened.push(archive.observations().associations.opened);
    }
    assert_eq!(accepted[0][..3], [sop_class::STUDY_ROOT_FIND, sop_class::STUDY_ROOT_GET, IMAGES[0]]);
    assert!(accepted.iter().all(|one| *one == accepted[0]));
    assert!(opened[0] >= 1 && opened.iter().all(|count| *count == opened[0]), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_who_opens_and_says_nothing_is_dropped_by_artim() {
    let archive = archive().await;
    let app = bridge(archive.addr(), "accept = \"any\"\ntimeouts = { artim = \"200ms\" }", "").await;
    let mut silent = TcpStream::connect(app.dimse).await.unwrap();
    let closed = timeout(DEADLINE, silent.read_to_end(&mut Vec::new())).await;
    assert!(closed.is_ok(), "it is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_three_hundred_silent_connections_keep_nobody_out() {
    let archive = archive().await;
    let app = bridge(archive.addr(), "accept = \"any\"", "").await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(app.dimse).await.unwrap());
    }
    let mut client = call(&app, GANTRY, "CT1").await.unwrap();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_fill_every_place_do_not_keep_out_what_a_move_brings() {
    let plain = Plain::new(1, 1, 3, 1000);
    let archive =
        Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make()).start().await.unwrap();
    let app = bridge(archive.addr(), "accept = \"any\"\nmax_associations = 2", "retrieve = \"move\"\n").await;
    archive.set_destination(GANTRY.parse().unwrap(), app.dimse);
    let mut filling = Vec::new();
    for n in 0..2 {
        filling.push(call(&app, GANTRY, &format!("CT{n}")).await.unwrap());
    }
    assert_eq!(rejected(call(&app, GANTRY, "CT9").await), Some(AssociateRj::LOCAL_LIMIT));
    let path = format!("/dicom-web/studies/{}", plain.study_uid(0));
    let reply = timeout(Duration::from_secs(20), crate::support::http::get(app.http, &path)).await.unwrap();
    assert_eq!((reply.status, reply.whole), (200, true));
    drop(filling);
}
