use std::sync::Mutex;

use bytes::Bytes;
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::archive::dimse::DimseArchive;
use crate::archive::relay::{Relay as _, Service};
use crate::archive::testing::config;
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::association::{AssociationError, Event, Io, Requested};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::{AssociateRq, Role};
use crate::dimse::pool::Connect;
use crate::metrics::Metrics;

const PRINT: &str = "1.2.840.10008.5.1.1.9";

fn opening() -> Opening {
    let proposal = |class: &str, syntaxes: &[&str]| Proposal {
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: syntaxes.iter().map(|s| s.parse().unwrap()).collect(),
        as_scp: false,
    };
    Opening {
        service: Service::Query,
        proposals: vec![
            proposal("1.2.3", &[EXPLICIT_VR_LE]),
            proposal(PRINT, &[EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            proposal("1.2.3", &[IMPLICIT_VR_LE]),
        ],
        roles: vec![Role { sop_class: PRINT.parse().unwrap(), scu: true, scp: true }],
        extended: vec![("1.2.3".parse().unwrap(), Bytes::from_static(&[1, 0]))],
    }
}

/// An archive that takes everything and says how each association ended.
fn archive() -> (DimseArchive, Arc<Mutex<Vec<AssociateRq>>>, mpsc::UnboundedReceiver<String>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (ends, ended) = mpsc::unbounded_channel();
    let seen = Arc::clone(&requests);
    let connect: Connect = Arc::new(move |deadline| {
        let (seen, ends) = (Arc::clone(&seen), ends.clone());
        Box::pin(async move {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(async move {
                let requested = Requested::read(theirs, deadline).await.unwrap();
                seen.lock().unwrap().push(requested.request().clone());
                let last = |_: &Uid, s: &[Uid]| Ok(s.last().unwrap().clone());
                let mut association = requested.accept(last, |_| true, deadline).await.unwrap();
                let end = match association.event().await {
                    Ok(Event::ReleaseRequested) => {
                        association.confirm_release(deadline).await;
                        "released".to_owned()
                    }
                    Err(AssociationError::Aborted { by, .. }) => format!("aborted by {by}"),
                    other => format!("{other:?}"),
                };
                let _ = ends.send(end);
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    });
    let archive = DimseArchive::over(config(), None, None, Metrics::default(), move |_| connect.clone());
    (archive, requests, ended)
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: Some("PRINTER_SCU".parse().unwrap()) }
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_for_as_the_client_asked_and_serves_nobody_else() {
    let (archive, requests, mut ended) = archive();
    for _ in 0..2 {
        let mut own = archive.open(&caller(), opening()).await.unwrap();
        let agreed = &own.association().agreement().contexts;
        let syntaxes: Vec<_> = agreed.iter().map(|c| (c.id, c.transfer_syntax.as_str())).collect();
        assert_eq!(syntaxes, [(1, EXPLICIT_VR_LE), (3, IMPLICIT_VR_LE), (5, IMPLICIT_VR_LE)]);
        assert!(agreed[1].requestor_is_scu && agreed[1].requestor_is_scp);
        own.release().await;
        assert_eq!(ended.recv().await.unwrap(), "released");
    }
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2, "never used again");
    assert_eq!(requests[0].calling.as_str(), "PRINTER_SCU");
    assert_eq!(requests[0].user.extended, opening().extended);
    assert_eq!(requests[0].user.roles, opening().roles);
}

#[tokio::test(start_paused = true)]
async fn hazard_a_session_that_is_dropped_is_aborted_and_not_cut() {
    let (archive, _, mut ended) = archive();
    drop(archive.open(&caller(), opening()).await.unwrap());
    assert_eq!(ended.recv().await.unwrap(), "aborted by 0");
    archive.open(&caller(), opening()).await.unwrap().abort().await;
    assert_eq!(ended.recv().await.unwrap(), "aborted by 0");
}

#[tokio::test(start_paused = true)]
async fn sessions_leave_an_association_to_searches() {
    let (archive, _, _ended) = archive();
    let own = archive.open(&caller(), opening()).await.unwrap();
    let second = timeout(Duration::from_secs(15), archive.open(&caller(), opening())).await;
    assert!(second.is_err(), "two associations at most: the second session waits");
    let caller = Caller { priority: Priority::Interactive, ..caller() };
    let contexts = Contexts::only(opening().proposals);
    let deadline = Instant::now() + Duration::from_secs(1);
    let lease = archive.inner.lease(&archive.inner.query, &caller, &contexts, 1, deadline).await.unwrap();
    lease.give_back();
    own.release().await;
    archive.open(&caller, opening()).await.unwrap().release().await;
}
