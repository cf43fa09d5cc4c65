//! An archive that lies, stalls and breaks off: whatever it does, an operation ends in time, its end is an error unless the
//! archive has said success, nothing is handed out that was not sent for it, and no association is left open.

#[allow(clippy::duplicate_mod, reason = "each target is a program of its own, and a module of the tests")]
#[path = "../support/peer.rs"]
mod peer;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::{Config, Method, Model, Timeouts};
use gantry::archive::{Archive, Error, Form, Kind, Retrieve, Step};
use gantry::caller::{Caller, Priority};
use gantry::dicom::dataset::{DataSet, Parsed};
use gantry::dicom::object::{Budget, Head, ObjectLog};
use gantry::dicom::query::Level;
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, tags};
use gantry::dicomweb::request::{self, SearchResource};
use gantry::dimse::status::{Class, class};
use gantry::metrics::Metrics;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use peer::{Peer, STUDIES};

/// Longest operation of the archive.
const OPERATION: Duration = Duration::from_secs(60);
/// A retrieval has several of them: what there is, what comes, what is missing.
const MOST: Duration = Duration::from_secs(20 * 60);

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let [what, how, script @ ..] = data else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(play(*what, Peer::new(*how, script)));
}

async fn play(what: u8, peer: std::sync::Arc<Peer>) {
    let title = |text: &str| text.parse().expect("an AE title");
    let timeouts = Timeouts {
        connect: Duration::from_secs(1),
        association: Duration::from_secs(2),
        silence: Duration::from_secs(5),
        operation: OPERATION,
        idle: Duration::from_secs(15),
    };
    let config = Config {
        max_associations: 2,
        model: [Model::Auto, Model::Patient][usize::from(what >> 4 & 1)],
        retrieve: [Method::Auto, Method::Get][usize::from(what >> 5 & 1)],
        timeouts,
        ..Config::new("main".into(), title("PACS"), "memory".into(), title("GANTRY"))
    };
    let archive = DimseArchive::over(config, None, None, Metrics::default(), |_| peer.connector());
    let begin = Instant::now();
    if let Err(error) = ask(&archive, &peer, what).await {
        assert_ne!(error.kind, Kind::DriverDied);
    }
    assert!(begin.elapsed() <= MOST, "{:?}", begin.elapsed());
    archive.shut_down(Instant::now() + OPERATION).await;
    drop(archive);
    advance(OPERATION).await;
    for _ in 0..64 {
        yield_now().await;
    }
    assert_eq!(peer.open(), 0, "associations are left open");
}

async fn ask(archive: &DimseArchive, peer: &Peer, what: u8) -> Result<(), Error> {
    let search = |level, study: Option<&'static str>, series: Option<&'static str>, query| {
        let resource = SearchResource {
            level,
            study: study.map(Uid::from_static),
            series: series.map(Uid::from_static),
        };
        find(archive, peer, resource, query)
    };
    let target = |series: Option<&str>, instance: Option<&str>| {
        request::target(STUDIES[0], series, instance).expect("a target")
    };
    match what & 0x0F {
        0 => search(Level::Study, None, None, "PatientName=M*&includefield=all").await,
        1 => search(Level::Series, Some(STUDIES[0]), None, "Modality=CT").await,
        2 => search(Level::Instance, Some(STUDIES[0]), Some("1.1.1"), "").await,
        3 => search(Level::Instance, None, None, "PatientID=P&SOPInstanceUID=1.1.1.1").await,
        4 => search(Level::Study, None, None, "ModalitiesInStudy=CT&StudyDate=20260101-").await,
        5 | 6 => retrieve(archive, peer, Retrieve::new(target(None, None), Form::AsStored)).await,
        7 => retrieve(archive, peer, Retrieve::new(target(Some("1.1.1"), None), Form::Native)).await,
        8 => retrieve(archive, peer, Retrieve::new(target(Some("1.1.1"), None), Form::WithoutBulkData)).await,
        9 => {
            let having = BTreeSet::from([Uid::from_static("1.1.1.0")]);
            let rest = Retrieve { having, ..Retrieve::new(target(None, None), Form::AsStored) };
            retrieve(archive, peer, rest).await
        }
        10 => {
            let instance = target(Some("1.1.1"), Some("1.1.1.1"));
            retrieve(archive, peer, Retrieve::new(instance, Form::AsStored)).await
        }
        11..=13 => store(archive, peer).await,
        _ => archive.verify(&caller()).await,
    }
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

async fn find(
    archive: &DimseArchive,
    peer: &Peer,
    resource: SearchResource,
    query: &str,
) -> Result<(), Error> {
    let query = request::search(&resource, query).expect("a query").query;
    let mut search = archive.search(&caller(), query).await?;
    let mut found = 0;
    loop {
        match search.matches.next().await {
            Step::Item(_) => found += 1,
            Step::End(end) => {
                end?;
                let (pending, successes) = peer.responses();
                assert!(successes > 0, "a good end of which the archive knows nothing");
                assert!(found <= pending, "{found} matches of {pending} responses");
                return Ok(());
            }
        }
    }
}

async fn retrieve(archive: &DimseArchive, peer: &Peer, retrieve: Retrieve) -> Result<(), Error> {
    let instance = retrieve.target.instance.clone();
    let mut retrieval = archive.retrieve(&caller(), retrieve).await?;
    let mut came: Vec<(Head, Vec<u8>, bool)> = Vec::new();
    let end = loop {
        match retrieval.objects.next().await {
            Step::Item(mut object) => {
                let mut bytes = Vec::new();
                let is_whole = loop {
                    match object.body.next().await {
                        Some(Ok(piece)) => bytes.extend_from_slice(&piece),
                        Some(Err(_)) => break false,
                        None => break true,
                    }
                };
                came.push((object.head, bytes, is_whole));
            }
            Step::End(end) => break end,
        }
    };
    let whole = came.iter().filter(|(.., is_whole)| *is_whole);
    let mut uids = BTreeSet::new();
    for (Head { sop_instance: uid, transfer_syntax: syntax, .. }, bytes, _) in whole {
        let was_sent = peer.objects().iter().any(|(sent, body)| sent == uid && body == bytes);
        assert!(was_sent, "{uid} was not sent like this");
        assert!(instance.as_ref().is_none_or(|wanted| wanted == uid), "{uid} was not asked for");
        assert!(!is_foreign(bytes, syntax), "{uid} is of another study");
        assert!(uids.insert(uid), "{uid} came twice");
    }
    end?;
    assert!(came.iter().all(|(.., is_whole)| *is_whole), "a good end behind half an object");
    assert!(peer.responses().1 > 0, "a good end of which the archive knows nothing");
    Ok(())
}

/// Whether an object says itself that it is of another study than the one that was asked for.
fn is_foreign(bytes: &[u8], syntax: &Uid) -> bool {
    let says = |read: Parsed| read.data_set.uid(tags::STUDY_INSTANCE_UID);
    let study = DataSet::parse(bytes, layout(syntax), None).ok().and_then(says);
    study.is_some_and(|study| study.as_str() == STUDIES[1])
}

async fn store(archive: &DimseArchive, peer: &Peer) -> Result<(), Error> {
    let uid = Uid::from_static;
    let head = Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.7"),
        sop_instance: uid("1.1.1.1"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
    };
    let (log, object) = ObjectLog::new(head, &Budget::new(1 << 16));
    log.append(&Bytes::from_static(b"\x08\0\x18\0UI\x08\x001.1.1.1\0")).await;
    log.finish();
    let stored = archive.store(&caller(), object).await?;
    let is_known = stored.status > 1 || peer.responses().1 > 0;
    assert!(is_known && matches!(class(stored.status), Class::Success | Class::Warning), "{stored:?}");
    Ok(())
}
