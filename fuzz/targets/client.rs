//! A DIMSE client that knows no manners, before an archive that has none either: no panic, and when the client has gone
//! nothing of it is left.
//!
//! An input says how the archive accepts associations, how many bytes of it are the archive's, and what the client does: with
//! the highest bit of the first byte set, the rest goes over the wire as it stands.

#[allow(dead_code, reason = "the target `archive` looks at what was sent, too")]
#[allow(clippy::duplicate_mod, reason = "each target is a program of its own, and a module of the tests")]
#[path = "../support/peer.rs"]
mod peer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry::archive::commitment::{Commitments, Config as CommitmentConfig};
use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::{Config as ArchiveConfig, Timeouts};
use gantry::archive::{Archive, MoveDestination};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{AeTitle, Tag, Uid, VR, sop_class, tags};
use gantry::dimse::association::{Association, Request, Requested};
use gantry::dimse::command::Command;
use gantry::dimse::negotiation::Proposal;
use gantry::dimse::pdu::Role;
use gantry::dimse::scp::{Peer as Caller, Service};
use gantry::event::Events;
use gantry::front::dimse::config::Config;
use gantry::front::dimse::{Front, Services};
use gantry::metrics::Metrics;
use gantry::router::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, timeout};
use tokio_util::sync::CancellationToken;

use peer::Peer;

/// Most operations of the client.
const MOST: usize = 64;
/// Longer than the front end waits for anybody.
const LONG: Duration = Duration::from_secs(3600);
/// What a client may ask for, and a class that is nobody's.
const CLASSES: [&str; 12] = [
    sop_class::VERIFICATION,
    sop_class::STUDY_ROOT_FIND,
    sop_class::STUDY_ROOT_GET,
    sop_class::STUDY_ROOT_MOVE,
    sop_class::PATIENT_ROOT_FIND,
    sop_class::PATIENT_ROOT_MOVE,
    sop_class::MODALITY_WORKLIST_FIND,
    sop_class::MPPS,
    sop_class::STORAGE_COMMITMENT,
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.1.9",
    "1.2.3.4",
];
/// Requests, and what is none.
const FIELDS: [u16; 16] = [
    0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0FFF, 0x8020,
    0x8001, 0x0002, 0x8100,
];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let [how, length, rest @ ..] = data else { return };
    let (script, client) = rest.split_at(usize::from(*length).min(rest.len()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(play(*how, Peer::new(*how & 0x7F, script), client));
}

async fn play(how: u8, peer: Arc<Peer>, client: &[u8]) {
    let title = |text: &str| text.parse::<AeTitle>().expect("an AE title");
    let timeouts = Timeouts { silence: Duration::from_secs(5), ..Timeouts::default() };
    let config = ArchiveConfig {
        timeouts,
        ..ArchiveConfig::new("main".into(), title("PACS"), "memory".into(), title("GANTRY"))
    };
    let metrics = Metrics::default();
    let archive = DimseArchive::over(config, None, None, metrics.clone(), |_| peer.connector());
    let shutdown = CancellationToken::new();
    let commitments = Commitments::open(None, CommitmentConfig::default(), &[]).expect("nothing to open");
    let services = Services {
        router: Router::new([Arc::new(archive.clone()) as Arc<dyn Archive>], None),
        moves: MoveDestination::new(title("GANTRY"), "memory", [], []),
        commitments: commitments.clone(),
        metrics,
        events: Events::none(),
        shutdown: shutdown.clone(),
    };
    let front = Front::new(Config { accept_any: true, ..Config::new(title("GANTRY")) }, services);
    let (ours, theirs) = duplex(1 << 14);
    let served = tokio::spawn(serve(Arc::clone(&front), theirs));
    if how & 0x80 != 0 {
        say(ours, client).await;
    } else {
        converse(ours, client.iter().copied().collect()).await;
    }
    let ended = timeout(LONG, served).await;
    assert!(matches!(ended, Ok(Ok(()))), "the client has gone, and is still served: {ended:?}");
    assert_eq!(front.associations(), 0);
    shutdown.cancel();
    assert!(timeout(LONG, front.drained()).await.is_ok(), "something of the client is left");
    archive.shut_down(Instant::now() + LONG).await;
    commitments.close().await;
    drop(archive);
    for _ in 0..64 {
        yield_now().await;
    }
    assert_eq!(peer.open(), 0, "associations are left open");
}

/// As the acceptor does it with a connection.
async fn serve(front: Arc<Front>, io: DuplexStream) {
    let Ok(requested) = Requested::read(io, Instant::now() + LONG).await else { return };
    let request = requested.request();
    let peer = Caller {
        address: [127, 0, 0, 1].into(),
        calling: request.calling.clone(),
        called: request.called.clone(),
        certificate: None,
    };
    let seat = match front.admit(&peer, request) {
        Ok(seat) => seat,
        Err(rj) => return requested.reject(rj, Instant::now() + LONG).await,
    };
    let (answer, plan) = match front.negotiate(&peer, &seat, request).await {
        Ok(negotiated) => negotiated,
        Err(rj) => return requested.reject(rj, Instant::now() + LONG).await,
    };
    if let Ok(association) = requested.answer(answer, Instant::now() + LONG).await {
        front.serve(peer, association, plan, CancellationToken::new()).await;
    }
}

/// Sends the bytes as they are, and takes what comes.
async fn say(mut io: DuplexStream, bytes: &[u8]) {
    let _ = timeout(LONG, io.write_all(bytes)).await;
    let _ = timeout(Duration::from_secs(1), io.read_to_end(&mut Vec::new())).await;
}

/// Sends messages: a byte says which, the next ones of what.
async fn converse(io: DuplexStream, mut script: VecDeque<u8>) {
    let proposals = CLASSES.map(|class| Proposal {
        abstract_syntax: Uid::from_static(class),
        transfer_syntaxes: ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"].map(Uid::from_static).to_vec(),
        as_scp: class == CLASSES[9],
    });
    let request = Request {
        called: "GANTRY".parse().expect("an AE title"),
        calling: "CLIENT".parse().expect("an AE title"),
        proposals: proposals.to_vec(),
        extended: vec![(Uid::from_static(sop_class::STUDY_ROOT_FIND), Bytes::from_static(&[1, 1]))],
        roles: vec![Role {
            sop_class: Uid::from_static(sop_class::STORAGE_COMMITMENT),
            scu: script.front().is_none_or(|byte| byte & 1 == 0),
            scp: true,
        }],
    };
    let Ok(mut association) = Association::request(io, &request, Instant::now() + LONG).await else { return };
    for _ in 0..MOST {
        let Some(byte) = script.pop_front() else { break };
        let n = byte >> 4;
        match byte & 0x0F {
            // In the context that it belongs to, or in another one.
            0..=8 => message(&mut association, n, &mut script),
            9 => {
                let last = n & 1 == 0;
                association.send_data(2 * n + 1, bytes(&mut script), last);
            }
            10 => advance(Duration::from_millis(100 << n)).await,
            11 => return association.abort().await,
            12 => return association.release(Instant::now() + LONG).await,
            13 => return,
            _ => {
                // What comes, for a moment.
                while let Ok(Ok(_)) = timeout(Duration::from_millis(10), association.event()).await {}
            }
        }
        if association.unsent() > 0 && !matches!(timeout(LONG, association.flush()).await, Ok(Ok(()))) {
            return;
        }
        for _ in 0..8 {
            yield_now().await;
        }
    }
    while let Ok(Ok(_)) = timeout(Duration::from_secs(100), association.event()).await {}
    association.release(Instant::now() + LONG).await;
}

/// A message with a data set that is made of little, or of nothing.
fn message(association: &mut Association, n: u8, script: &mut VecDeque<u8>) {
    let (how, of) = (script.pop_front().unwrap_or(0), script.pop_front().unwrap_or(0));
    let class = CLASSES[usize::from(how & 0x0F) % CLASSES.len()];
    let field = FIELDS[usize::from(n)];
    let context = association.agreement().for_class(class).map_or(how, |context| context.id);
    let mut command = Command::request(field, class, u16::from(of));
    command.sop_instance = format!("1.1.1.{}", of & 3).parse().ok();
    command.requested = matches!(field, 0x0110..=0x0130);
    command.move_destination =
        (field == 0x0021).then(|| ["CLIENT", "NOBODY"][usize::from(of & 1)].parse().ok()).flatten();
    command.status = command.is_response().then_some(u16::from(of) << 8);
    command.others = match of & 0x80 {
        0 => Vec::new(),
        _ => [0x1002, 0x1005, 0x1008].map(|tag| (tag, Bytes::copy_from_slice(&[of & 3, 0]))).to_vec(),
    };
    let syntax = association.agreement().context(context).map(|context| layout(&context.transfer_syntax));
    let data = match (how >> 4 & 3, syntax) {
        (0, _) | (_, None) => None,
        (1, _) => Some(bytes(script)),
        (_, Some(syntax)) => Some(identifier(of).encode(syntax, QueryCharset::Auto).into()),
    };
    command.has_data_set = data.is_some() || how & 0x80 != 0;
    // Without its data set where that was announced: something else comes in its place.
    match data {
        Some(data) if how & 0x40 != 0 => {
            association.send(context, &command, None);
            association.send_data(context, data, false);
        }
        data => association.send(context, &command, data),
    }
}

/// The identifier of a query or a retrieval, with a bit of each.
fn identifier(of: u8) -> DataSet {
    let mut data_set = DataSet::new();
    let level = ["STUDY", "SERIES", "IMAGE", "PATIENT"][usize::from(of & 3)];
    data_set.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
    let mut put = |bit: u8, tag, vr, value: &str| {
        if of & bit == 0 {
            data_set.set_str(tag, vr, value);
        }
    };
    put(4, tags::STUDY_INSTANCE_UID, VR::UI, "1.1");
    put(8, tags::SERIES_INSTANCE_UID, VR::UI, "1.1.1");
    put(16, tags::SOP_INSTANCE_UID, VR::UI, "1.1.1.1");
    put(32, tags::PATIENT_ID, VR::LO, "P");
    put(64, Tag(0x0008, 0x1195), VR::UI, "1.5");
    put(64, tags::SOP_CLASS_UID, VR::UI, CLASSES[9]);
    data_set
}

/// A length, and so many bytes.
fn bytes(script: &mut VecDeque<u8>) -> Bytes {
    let length = usize::from(script.pop_front().unwrap_or(0)).min(script.len());
    script.drain(..length).collect()
}
