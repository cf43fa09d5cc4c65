//! Web and DIMSE clients before one archive that allows few associations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry::demo::{Archive, Plain};
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;
use gantry::dicom::{sop_class, tags};
use gantry::dimse::negotiation::Proposal;
use tokio::time::Instant;

use super::GANTRY;
use super::acceptor::bridge;
use super::store::store;
use crate::support::dimse::{Client, find, get, identifier, proposal};
use crate::support::http;
use crate::support::objects::{CT, Kind, object};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_and_dimse_share_two_associations_and_nobody_starves() {
    let plain = Plain::new(2, 1, 20, 20_000);
    let archive =
        Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make()).start().await.unwrap();
    let app = bridge(archive.addr(), "accept = \"any\"", "max_associations = 2\n").await;
    archive.set_destination(GANTRY.parse().unwrap(), app.dimse);
    let end = Instant::now() + Duration::from_secs(20);
    let counts: [Arc<AtomicUsize>; 6] = Default::default();
    let mut parties = tokio::task::JoinSet::new();
    for (n, count) in counts.iter().take(2).enumerate() {
        let (address, count) = (app.http, Arc::clone(count));
        let path = format!("/dicom-web/studies/{}", plain.study_uid(n));
        parties.spawn(async move {
            while Instant::now() < end && count.load(Ordering::Relaxed) < 10 {
                let reply = http::get(address, &path).await;
                assert_eq!((reply.status, reply.whole), (200, true));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let keys = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, "")]);
    for (n, calling) in [(2, "WS1"), (3, "WS2")] {
        let (address, count, keys) = (app.dimse, Arc::clone(&counts[n]), keys.clone());
        parties.spawn(async move {
            while Instant::now() < end && count.load(Ordering::Relaxed) < 10 {
                let proposals = vec![proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE])];
                let mut client = Client::to(address, GANTRY, calling, proposals).await.unwrap();
                let answers = client.ask(find(), Some(&keys)).await.unwrap();
                assert!(answers.status() == 0 && answers.responses.len() >= 3, "{answers:?}");
                client.release().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (address, count) = (app.dimse, Arc::clone(&counts[4]));
    let study = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, plain.study_uid(0).as_str())]);
    parties.spawn(async move {
        while Instant::now() < end && count.load(Ordering::Relaxed) < 10 {
            let objects = Proposal { as_scp: true, ..proposal(CT, &[EXPLICIT_VR_LE]) };
            let proposals = vec![proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE]), objects];
            let mut client = Client::to(address, GANTRY, "WS3", proposals).await.unwrap();
            let answers = client.ask(get(), Some(&study)).await.unwrap();
            assert_eq!((answers.status(), answers.objects.len()), (0, 20));
            client.release().await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (address, count) = (app.dimse, Arc::clone(&counts[5]));
    parties.spawn(async move {
        while Instant::now() < end && count.load(Ordering::Relaxed) < 10 {
            let number = count.load(Ordering::Relaxed) + 1;
            let object = object(9, 1, number, &Kind::default());
            let mut client =
                Client::to(address, GANTRY, "CT1", vec![proposal(CT, &[EXPLICIT_VR_LE])]).await.unwrap();
            let response = store(&mut client, &object).await.unwrap();
            assert_eq!(response.status, Some(0));
            client.release().await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    while let Some(party) = parties.join_next().await {
        party.unwrap();
    }
    let counts = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
    assert!(archive.observations().associations.most_open <= 2);
}
