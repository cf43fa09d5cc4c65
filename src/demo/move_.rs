//! C-MOVE: objects on an association of our own to the destination, responses on the one that asked (PS3.4 C.4.2).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::archive::Shared;
use super::delivery::{Counters, Delivery};
use super::faults::{Fault, Faults};
use super::line::Line;
use super::plan::{plan, select};
use super::server::{Connection, Operation};
use super::session::{End, Session};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, is_native};
use crate::dicom::{AeTitle, Uid};
use crate::dimse::association::{Association, Request};
use crate::dimse::negotiation::Proposal;
use crate::dimse::status;
use crate::net::DimseSocket;

/// How long the destination may take to accept an association.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the destination may take to confirm a release.
const RELEASE: Duration = Duration::from_secs(2);

/// Performs a C-MOVE.
pub(super) async fn run(
    session: &mut Session,
    connection: &Connection,
    operation: Operation,
) -> Result<(), End> {
    let shared = &connection.shared;
    let faults = session.faults.clone();
    let (context, request) = (operation.context, &operation.request);
    let (delivery, destination) = match prepare(shared, &operation, &faults) {
        Ok(prepared) => prepared,
        Err(status) => return session.send(context, request.response(status), None).await,
    };
    let total = delivery.counters.remaining;
    let (report, mut progress) = mpsc::unbounded_channel();
    let sending = send(Arc::clone(shared), destination, delivery, report, session.cancel.clone());
    if faults.has(Fault::FinalFirst) {
        connection.spawn(async {
            // Nobody is left to be told how it went.
            let _ = sending.await;
        });
        let counters = Counters { completed: total, ..Counters::default() };
        return conclude(session, &operation, &counters, false).await;
    }
    tokio::pin!(sending);
    let counters = loop {
        tokio::select! {
            biased;
            Some(counters) = progress.recv() => pending(session, &operation, &counters).await?,
            counters = &mut sending => break counters?,
            response = session.response() => {
                if response?.is_some() {
                    return Err(End::Broken);
                }
            }
        }
    };
    while let Ok(counters) = progress.try_recv() {
        pending(session, &operation, &counters).await?;
    }
    conclude(session, &operation, &counters, session.is_cancelled()).await
}

/// The objects, and where they go.
fn prepare(
    shared: &Shared,
    operation: &Operation,
    faults: &Faults,
) -> Result<(Delivery, (AeTitle, String)), u16> {
    if let Some(status) = faults.status(Fault::RetrieveFailure) {
        return Err(status);
    }
    let request = &operation.request;
    let title = request.move_destination.clone().ok_or(status::MOVE_DESTINATION_UNKNOWN)?;
    let address = shared.destination(&title).ok_or(status::MOVE_DESTINATION_UNKNOWN)?;
    let store = shared.store();
    let planned = plan(select(&store, &operation.identifier)?, faults, &store);
    let originator = (operation.calling.clone(), request.message_id);
    let observer = Arc::clone(&shared.observer);
    let mut delivery =
        Delivery::new(planned, faults.clone(), observer, shared.settings.latency, Some(originator));
    delivery.twist_originator(&shared.settings.ae_title);
    Ok((delivery, (title, address)))
}

async fn pending(session: &mut Session, operation: &Operation, counters: &Counters) -> Result<(), End> {
    if counters.remaining == 0 || session.faults.has(Fault::NoPending) {
        return Ok(());
    }
    let mut response = operation.request.response(status::PENDING);
    counters.put(&mut response, &session.faults);
    session.send(operation.context, response, None).await
}

async fn conclude(
    session: &mut Session,
    operation: &Operation,
    counters: &Counters,
    cancelled: bool,
) -> Result<(), End> {
    let mut response = operation.request.response(counters.status(cancelled));
    counters.put(&mut response, &session.faults);
    session.send(operation.context, response, counters.identifier(operation.layout)).await
}

/// Sends the objects, reports after each, and tells the numbers at the end.
///
/// # Errors
/// A fault ends both associations.
async fn send(
    shared: Arc<Shared>,
    (title, address): (AeTitle, String),
    mut delivery: Delivery,
    report: mpsc::UnboundedSender<Counters>,
    cancel: CancellationToken,
) -> Result<Counters, End> {
    if delivery.counters.remaining == 0 {
        return Ok(delivery.counters);
    }
    let Some(mut session) = associate(&shared, title, &address, &delivery).await else {
        delivery.give_up();
        return Ok(delivery.counters);
    };
    session.cancel = cancel;
    loop {
        // An object that is on its way is sent to its end.
        if session.is_cancelled() {
            break;
        }
        match delivery.next(&mut session).await {
            Ok(true) => drop(report.send(delivery.counters.clone())),
            Ok(false) => break,
            Err(End::Abort) => {
                session.association.abort().await;
                return Err(End::Abort);
            }
            Err(End::Close) => return Err(End::Close),
            Err(_) => {
                delivery.give_up();
                session.association.abort().await;
                return Ok(delivery.counters);
            }
        }
    }
    let cancelled = session.is_cancelled();
    session.association.release(Instant::now() + RELEASE).await;
    if !cancelled {
        delivery.give_up();
    }
    Ok(delivery.counters)
}

async fn associate(shared: &Shared, called: AeTitle, address: &str, delivery: &Delivery) -> Option<Session> {
    let settings = &shared.settings;
    let deadline = Instant::now() + CONNECT;
    let socket = DimseSocket::connect(address, deadline).await.ok()?;
    if settings.nagle {
        socket.set_nodelay(false).ok()?;
    }
    let line = Line::new(socket, Arc::clone(&shared.reset));
    let forged = line.forged();
    let calling = settings.move_from.clone().unwrap_or_else(|| settings.ae_title.clone());
    let request =
        Request { called, calling, proposals: proposals(delivery), extended: Vec::new(), roles: Vec::new() };
    let association = Association::request(line, &request, deadline).await.ok()?;
    Some(Session::new(association, forged, Arc::clone(&shared.observer), settings.nagle))
}

/// One context for each class and syntax that the objects are stored in, and one with the uncompressed syntaxes
/// for each class of native objects.
fn proposals(delivery: &Delivery) -> Vec<Proposal> {
    let mut proposals: Vec<Proposal> = Vec::new();
    let mut add = |abstract_syntax: &Uid, transfer_syntaxes: Vec<Uid>| {
        let proposal =
            Proposal { abstract_syntax: abstract_syntax.clone(), transfer_syntaxes, as_scp: false };
        if !proposals.contains(&proposal) {
            proposals.push(proposal);
        }
    };
    for instance in delivery.queued() {
        let head = &instance.head;
        add(&head.sop_class, vec![head.transfer_syntax.clone()]);
        if is_native(&head.transfer_syntax) {
            let native = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static);
            add(&head.sop_class, native.to_vec());
        }
    }
    proposals
}
