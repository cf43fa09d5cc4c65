//! How the process ends: asked to, it finishes what runs; killed, it leaves nothing that it has called stored.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use gantry::demo::{Archive, Fault, Instance, Observations, Running};
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;
use gantry::dicom::{sop_class, tags};
use gantry::dimse::negotiation::Proposal;
use tokio::task::JoinSet;

use crate::dimse::store::{bytes_of, store};
use crate::retrieval::{Outcome, judge, study_path};
use crate::stow::{Fates, body, part10, post};
use crate::support::bridge::Bridge;
use crate::support::dimse::{Client, get as get_request, identifier, proposal};
use crate::support::http::get;
use crate::support::objects::{CT, Kind, expected, object, study, study_uid};
use crate::support::process::free_port;
use crate::support::{DEADLINE, until};

/// Objects in each study that is retrieved.
const OBJECTS: usize = 8;

async fn archive(instances: impl IntoIterator<Item = Instance>, faults: &[Fault]) -> Running {
    let archive =
        Archive::builder().ae_title("PACS".parse().unwrap()).max_associations(64).studies(instances);
    faults.iter().fold(archive, |archive, fault| archive.fault(*fault)).start().await.unwrap()
}

/// The binary before this archive, and where it takes HTTP and DIMSE.
fn bridge(archive: &Running) -> (Bridge, SocketAddr, SocketAddr) {
    let dimse = free_port();
    let bridge = Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"127.0.0.1:{dimse}\"\naccept = \"any\"\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\nretrieve = \"get\"\nmax_associations = 60\n",
        archive.addr()
    ));
    let http = bridge.http.parse().unwrap();
    (bridge, http, SocketAddr::from(([127, 0, 0, 1], dimse)))
}

/// The studies of which objects were asked for.
fn studies_asked_for(seen: &Observations) -> usize {
    let gets = seen.requests.iter().filter(|request| request.sop_class.as_str() == sop_class::STUDY_ROOT_GET);
    gets.filter_map(|request| request.identifier.string(tags::STUDY_INSTANCE_UID))
        .collect::<BTreeSet<_>>()
        .len()
}

async fn retrieve_by_dimse(dimse: SocketAddr, number: usize) {
    let objects = Proposal { as_scp: true, ..proposal(CT, &[EXPLICIT_VR_LE]) };
    let proposals = vec![proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE]), objects];
    let mut client = Client::to(dimse, "GANTRY", &format!("WS{number}"), proposals).await.unwrap();
    let keys = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, &study_uid(number))]);
    let answers = client.ask(get_request(), Some(&keys)).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, OBJECTS), "study {number}");
}

async fn storing_client(dimse: SocketAddr, number: usize) -> Client {
    let proposals = vec![proposal(CT, &[EXPLICIT_VR_LE])];
    Client::to(dimse, "GANTRY", &format!("CT{number}"), proposals).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_twenty_retrievals_and_five_stores_end_whole() {
    let kind = Kind::default();
    let studies: BTreeMap<usize, Vec<Instance>> =
        (1..=20).map(|number| (number, study(number, 1, OBJECTS, &kind))).collect();
    let faults = [Fault::ObjectsSlow(400), Fault::StoreSlow(3000)];
    let archive = archive(studies.values().flatten().cloned(), &faults).await;
    let (mut bridge, http, dimse) = bridge(&archive);
    let mut parties = JoinSet::new();
    for (number, instances) in studies {
        parties.spawn(async move {
            if number > 14 {
                return retrieve_by_dimse(dimse, number).await;
            }
            let reply = get(http, &study_path(number)).await;
            assert_eq!(judge(&reply, &expected(&instances), "whole"), Outcome::Complete, "study {number}");
        });
    }
    for number in 21..=23 {
        let instances = study(number, 1, 2, &kind);
        parties.spawn(async move {
            let parts: Vec<Vec<u8>> = instances.iter().map(part10).collect();
            let fates = Fates::of(post(http, "/dicom-web/studies", &body(&parts)).await);
            assert_eq!((fates.status, fates.stored.len()), (200, 2), "{fates:?}");
        });
    }
    for number in 24..=25 {
        parties.spawn(async move {
            let mut client = storing_client(dimse, number).await;
            let response = store(&mut client, &object(number, 1, 1, &Kind::default())).await.unwrap();
            assert_eq!(response.status, Some(0), "study {number}");
        });
    }
    archive.wait_for(|seen| studies_asked_for(seen) == 20 && seen.storing >= 5).await.unwrap();
    assert_eq!(parties.try_join_next().map(|_| ()), None, "all are under way");
    bridge.server.terminate();
    while let Some(party) = parties.join_next().await {
        party.unwrap();
    }
    let mut status = None;
    until("the process ends", DEADLINE, async || {
        status = bridge.server.ended();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success(), "{status:?}");
    for number in 24..=25 {
        assert!(archive.instance(&object(number, 1, 1, &kind).head.sop_instance).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_bridge_that_is_killed_has_called_nothing_stored_that_the_archive_does_not_have() {
    let archive = archive([], &[Fault::StoreSlow(5)]).await;
    let (mut bridge, http, dimse) = bridge(&archive);
    let mut parties = JoinSet::new();
    // Each stores request after request until the connection breaks, and tells what it was told to be stored.
    for number in 1..=4 {
        parties.spawn(async move {
            let mut stored = Vec::new();
            for series in 1.. {
                let all = study(number, series, 3, &Kind::default()).split_off((series - 1) * 3);
                let parts: Vec<Vec<u8>> = all.iter().map(part10).collect();
                let request =
                    tokio::spawn(
                        async move { Fates::of(post(http, "/dicom-web/studies", &body(&parts)).await) },
                    );
                // It broke in the middle of a request, or could not connect.
                let Ok(fates) = request.await else { break };
                stored.extend(
                    all.into_iter().filter(|one| fates.stored.contains(one.head.sop_instance.as_str())),
                );
            }
            stored
        });
    }
    for number in 5..=6 {
        parties.spawn(async move {
            let mut client = storing_client(dimse, number).await;
            let mut stored = Vec::new();
            for instance in 1.. {
                let sent = object(number, 1, instance, &Kind::default());
                match store(&mut client, &sent).await {
                    Ok(response) if response.status == Some(0) => stored.push(sent),
                    _ => break,
                }
            }
            stored
        });
    }
    archive.wait_for(|seen| seen.stores >= 60).await.unwrap();
    bridge.server.kill();
    let mut acknowledged = Vec::new();
    while let Some(stored) = parties.join_next().await {
        let stored = stored.unwrap();
        assert!(!stored.is_empty(), "each was told of something");
        acknowledged.extend(stored);
    }
    for sent in &acknowledged {
        let held = archive.instance(&sent.head.sop_instance);
        let bytes = held.as_deref().map(bytes_of);
        assert!(bytes == Some(bytes_of(sent)), "{} was called stored", sent.head.sop_instance);
    }
}
