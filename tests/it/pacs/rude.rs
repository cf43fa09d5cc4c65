use std::time::Duration;

use gantry::demo::{Archive, Fault, Running};
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;
use gantry::dimse::association::{AssociationError, EstablishError};
use tokio::time::timeout;

use crate::support::dimse::{Client, echo, find, identifier};

/// Longer than any answer takes that comes at all.
const SILENCE: Duration = Duration::from_millis(200);

async fn archive(fault: Fault) -> Running {
    Archive::builder().plain(4, 1, 1, 10).fault(fault).start().await.unwrap()
}

async fn associate(fault: Fault) -> Result<Client, EstablishError> {
    Client::try_new(&archive(fault).await, EXPLICIT_VR_LE).await
}

#[tokio::test]
async fn associations_are_refused_in_every_way() {
    for (fault, transient) in
        [(Fault::Refuse, false), (Fault::RefuseTransient, true), (Fault::RefuseAfter(0), true)]
    {
        match associate(fault).await.map(|_| ()) {
            Err(EstablishError::Rejected(rj)) => assert_eq!(rj.is_transient(), transient, "{fault}"),
            other => panic!("{fault}: {other:?}"),
        }
    }
    assert!(associate(Fault::RefuseAfter(1)).await.is_ok());
}

#[tokio::test]
async fn association_requests_are_answered_with_garbage_or_not_at_all() {
    let error = associate(Fault::GarbageAnswer).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, EstablishError::Association(AssociationError::Protocol(_))), "{error:?}");
    let error = associate(Fault::CloseOnAssociate).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, EstablishError::Association(AssociationError::Lost(_))), "{error:?}");
    for fault in [Fault::NoAnswer, Fault::HalfAnswer] {
        let archive = archive(fault).await;
        let answer = timeout(SILENCE, Client::try_new(&archive, EXPLICIT_VR_LE)).await;
        assert!(answer.is_err(), "{fault}");
        archive.wait_for(|o| o.associations.opened == 1 && o.associations.open == 0).await.unwrap();
    }
}

#[tokio::test]
async fn broken_pdus_come_in_place_of_the_second_match() {
    for fault in [
        Fault::Garbage(2),
        Fault::UnknownPdu(2),
        Fault::Pdu4GiB(2),
        Fault::PdvLength0(2),
        Fault::PdvLength1(2),
        Fault::OtherContext(2),
        Fault::UnannouncedDataSet(2),
    ] {
        let archive = archive(fault).await;
        let mut client = Client::new(&archive).await;
        client.send(find(), Some(&identifier("STUDY", &[])));
        assert_eq!(client.message().await.unwrap().command.status, Some(0xFF00), "{fault}");
        let error = loop {
            match client.message().await {
                // The command of the data set that it does not announce.
                Ok(message) => assert!(matches!(fault, Fault::UnannouncedDataSet(_)), "{fault}: {message:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AssociationError::Protocol(_)), "{fault}: {error:?}");
        client.association.abort().await;
        archive.wait_for(|o| o.associations.open == 0).await.unwrap();
    }
}

#[tokio::test]
async fn half_a_pdu_is_followed_by_silence() {
    let archive = archive(Fault::HalfPdu(1)).await;
    let mut client = Client::new(&archive).await;
    client.send(find(), Some(&identifier("STUDY", &[])));
    assert!(timeout(SILENCE, client.message()).await.is_err());
    assert!(client.association.has_unread());
}

#[tokio::test]
async fn responses_come_with_a_wrong_message_id_and_after_the_final_one() {
    let wrong = archive(Fault::WrongMessageId(1)).await;
    let mut client = Client::new(&wrong).await;
    assert_ne!(client.ask(echo(), None).await.unwrap().last().command.message_id, 1);
    let archive = archive(Fault::AfterFinal).await;
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    assert_eq!(client.message().await.unwrap().command.status, Some(0), "once more");
}

#[tokio::test]
async fn searches_fail_stall_break_off_and_are_capped() {
    let all = identifier("STUDY", &[]);
    for (fault, expected) in [
        (Fault::FindFailure(0xA700), (1, 0xA700)),
        (Fault::FindFailureAfter(2), (3, 0xA700)),
        (Fault::FindFailureAfter(4), (5, 0xA700)),
        (Fault::FindCap(3), (4, 0)),
    ] {
        let archive = archive(fault).await;
        let answers = Client::new(&archive).await.ask(find(), Some(&all)).await.unwrap();
        assert_eq!((answers.responses.len(), answers.status()), expected, "{fault}");
    }
    for (fault, aborts) in [(Fault::FindAbortAfter(2), true), (Fault::FindCloseAfter(2), false)] {
        let archive = archive(fault).await;
        let mut client = Client::new(&archive).await;
        client.send(find(), Some(&all));
        client.message().await.unwrap();
        client.message().await.unwrap();
        let error = client.message().await.unwrap_err();
        assert_eq!(matches!(error, AssociationError::Aborted { .. }), aborts, "{fault}: {error:?}");
    }
    let archive = archive(Fault::FindStallAfter(1)).await;
    let mut client = Client::new(&archive).await;
    client.send(find(), Some(&all));
    client.message().await.unwrap();
    assert!(timeout(SILENCE, client.message()).await.is_err());
}

#[tokio::test]
async fn idle_associations_are_closed_or_aborted_and_releases_ignored() {
    for (fault, aborts) in [(Fault::CloseIdle(30), false), (Fault::AbortIdle(30), true)] {
        let archive = archive(fault).await;
        let mut client = Client::new(&archive).await;
        assert_eq!(
            client.ask(echo(), None).await.unwrap().status(),
            0,
            "one that has served nothing is kept"
        );
        let error = client.message().await.unwrap_err();
        assert_eq!(matches!(error, AssociationError::Aborted { .. }), aborts, "{fault}: {error:?}");
        assert_eq!(archive.observations().associations.opened, 1);
    }
    let archive = archive(Fault::NoRelease).await;
    let client = Client::new(&archive).await;
    assert!(timeout(SILENCE, client.release()).await.is_err());
}

#[tokio::test]
async fn faults_come_and_go_while_the_archive_runs() {
    let archive = archive(Fault::EchoFailure(0x0110)).await;
    let mut client = Client::new(&archive).await;
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0x0110);
    archive.clear_faults();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    archive.set_fault(Fault::EchoFailure(0xC000));
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0xC000);
}
