//! The accepting side: connections become associations, each with a task of its own that a [`Service`] fills.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::association::{Association, Requested};
use super::negotiation::Decision;
use super::pdu::{APPLICATION_CONTEXT, AssociateRj, AssociateRq};
use crate::dicom::{AeTitle, Uid};
use crate::net::DimseSocket;

/// Connections beyond the limit that are told so at once; more are closed without a word.
const MOST_REJECTIONS: usize = 64;
/// How long accepting pauses after the system has refused a connection: no descriptors are left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of an acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most associations at once; the next is rejected as transient, local limit exceeded (PS3.8 9.3.4).
    pub max_associations: usize,
    /// The ARTIM timer (PS3.8 9.1.5): how long a connection may take to ask for an association.
    pub artim: Duration,
}

/// Who has asked for an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The title that it calls itself.
    pub calling: AeTitle,
    /// The title that it calls us.
    pub called: AeTitle,
}

/// What an acceptor offers.
pub trait Service: Send + Sync + 'static {
    /// Decides whether there may be an association at all.
    ///
    /// # Errors
    /// The reason to reject it.
    fn admit(&self, peer: &Peer, request: &AssociateRq) -> Result<(), AssociateRj>;

    /// Decides about one presentation context: the transfer syntax of those proposed, or why not.
    ///
    /// # Errors
    /// The reason, of [`context_result`](super::pdu::context_result).
    fn decide(&self, peer: &Peer, abstract_syntax: &Uid, proposed: &[Uid]) -> Decision;

    /// Whether the requestor may be SCP of a class: for the storage classes of a C-GET.
    fn grants_scp(&self, abstract_syntax: &Uid) -> bool {
        let _ = abstract_syntax;
        false
    }

    /// Serves an association until it ends. `shutdown` asks to come to an end soon.
    fn serve(
        self: Arc<Self>,
        peer: Peer,
        association: Association,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Accepts connections until `shutdown`, then waits until the associations have ended; whoever cannot wait so
/// long drops the call, and every association with it.
pub async fn serve(
    listener: TcpListener,
    service: Arc<impl Service>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let associations = Arc::new(Semaphore::new(limits.max_associations));
    let rejections = Arc::new(Semaphore::new(MOST_REJECTIONS));
    let tasks = TaskTracker::new();
    // Ends the tasks also when this call is dropped.
    let _end = shutdown.child_token().drop_guard();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = match Arc::clone(&associations).try_acquire_owned() {
            Ok(permit) => Seat::Served(permit),
            Err(_) => match Arc::clone(&rejections).try_acquire_owned() {
                Ok(permit) => Seat::Rejected(permit),
                Err(_) => continue,
            },
        };
        tasks.spawn(welcome(stream, address, seat, Arc::clone(&service), limits, shutdown.clone()));
    }
    tasks.close();
    tasks.wait().await;
}

/// A connection's place, held until it is closed.
enum Seat {
    Served(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
    Rejected(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

async fn welcome(
    stream: TcpStream,
    address: IpAddr,
    seat: Seat,
    service: Arc<impl Service>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let Ok(socket) = DimseSocket::from_stream(stream) else { return };
    let deadline = Instant::now() + limits.artim;
    let requested = tokio::select! {
        requested = Requested::read(socket, deadline) => requested,
        () = shutdown.cancelled() => return,
    };
    let requested = match requested {
        Ok(requested) => requested,
        Err(error) => return tracing::debug!(%address, %error, "no association"),
    };
    let request = requested.request();
    let peer = Peer { address, calling: request.calling.clone(), called: request.called.clone() };
    let admitted = match &seat {
        Seat::Rejected(_) => Err(AssociateRj::LOCAL_LIMIT),
        Seat::Served(_) if request.application_context != APPLICATION_CONTEXT => {
            Err(AssociateRj::APPLICATION_CONTEXT)
        }
        Seat::Served(_) => service.admit(&peer, request),
    };
    let deadline = Instant::now() + limits.artim;
    if let Err(rj) = admitted {
        let Peer { calling, called, .. } = &peer;
        tracing::info!(%address, %calling, %called, reason = rj.reason_text(), "association rejected");
        return requested.reject(rj, deadline).await;
    }
    let decide = |class: &Uid, proposed: &[Uid]| service.decide(&peer, class, proposed);
    match requested.accept(decide, |class| service.grants_scp(class), deadline).await {
        Ok(association) => service.serve(peer, association, shutdown).await,
        Err(error) => tracing::debug!(%address, %error, "no association"),
    }
    drop(seat);
}
