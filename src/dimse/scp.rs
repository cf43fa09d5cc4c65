//! The accepting side: connections become associations, each with a task of its own that a [`Service`] fills.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::association::{Association, AssociationError, EstablishError, Requested};
use super::negotiation::Answer;
use super::pdu::{APPLICATION_CONTEXT, AssociateRj, AssociateRq, PROTOCOL_VERSION};
use super::wire::SPEAKS_TLS;
use crate::dicom::AeTitle;
use crate::net::{DimseSocket, PeerCertificate, Place, Places, counted_as, tls};

/// How long accepting pauses after the system has refused a connection: no descriptors are left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer that was rejected has to close the connection (PS3.8 9.2.3, AE-8).
const REJECTED: Duration = Duration::from_secs(2);

/// Why a connection was closed without a word.
const TOO_MANY: &str = "too many connections";
/// Why a connection did not become an association: TLS, or the request for one, did not come, or could not be understood.
const NOTHING_ASKED: &str = "no association request";

/// The limits of an acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once, those that have not asked for an association yet included; more are closed without a
    /// word.
    pub max_connections: usize,
    /// Most connections from one address that have not asked for an association yet, or were rejected; more are closed
    /// without a word, so that nobody holds all places by asking for nothing, or for nothing that they may have.
    pub max_asking: usize,
    /// The ARTIM timer (PS3.8 9.1.5): how long a connection may take to ask for an association, and how long our answer
    /// may take to leave.
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
    /// The certificate that it has shown, where it has.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// What a negotiation comes to: the answer, and what is made of it; or the reason to reject.
pub type Negotiated<T> = Result<(Answer, T), AssociateRj>;

/// What an acceptor offers.
pub trait Service: Send + Sync + 'static {
    /// A place. It is held until the connection is closed.
    type Seat: Send + Sync + 'static;
    /// What the negotiation found out, for `serve`.
    type Plan: Send + 'static;

    /// Decides whether there may be an association at all, and logs it where there may not: what the peer is told says
    /// less.
    ///
    /// # Errors
    /// The reason to reject it.
    fn admit(&self, peer: &Peer, request: &AssociateRq) -> Result<Self::Seat, AssociateRj>;

    /// Somebody was turned away before it could be asked whether to admit them, for this reason.
    fn turned_away(&self, reason: &'static str);

    /// Decides about the presentation contexts, and may ask others meanwhile. It logs a rejection, and bounds its own time; dropped, it leaves
    /// nothing behind.
    fn negotiate<'a>(
        &'a self,
        peer: &'a Peer,
        seat: &'a Self::Seat,
        request: &'a AssociateRq,
    ) -> Pin<Box<dyn Future<Output = Negotiated<Self::Plan>> + Send + 'a>>;

    /// Serves an association until it ends. `shutdown` asks to come to an end soon.
    fn serve(
        self: Arc<Self>,
        peer: Peer,
        association: Association,
        plan: Self::Plan,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Accepts connections, over TLS where it is given, until `shutdown`, then waits until the associations have ended; whoever cannot wait so
/// long drops the call, and every association with it.
pub async fn serve(
    listener: TcpListener,
    tls: Option<tls::Server>,
    service: Arc<impl Service>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let asking = Places::default();
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
        let asks = asking.take(&counted_as(address), limits.max_asking);
        let place = Arc::clone(&connections).try_acquire_owned();
        let (Some(asks), Ok(place)) = (asks, place) else {
            service.turned_away(TOO_MANY);
            continue;
        };
        let arrived = Arrived { stream, address, tls: tls.clone(), asks, _place: place };
        tasks.spawn(welcome(arrived, Arc::clone(&service), limits, shutdown.clone()));
    }
    tasks.close();
    tasks.wait().await;
}

/// A connection that has said nothing yet.
struct Arrived {
    stream: TcpStream,
    address: IpAddr,
    tls: Option<tls::Server>,
    /// Until it is admitted.
    asks: Place<IpAddr>,
    _place: OwnedSemaphorePermit,
}

async fn welcome(arrived: Arrived, service: Arc<impl Service>, limits: Limits, shutdown: CancellationToken) {
    let Arrived { stream, address, tls, asks, _place } = arrived;
    let deadline = Instant::now() + limits.artim;
    let requested = tokio::select! {
        requested = request(stream, tls, deadline) => requested,
        () = shutdown.cancelled() => return,
    };
    let (requested, certificate) = match requested {
        Ok(requested) => requested,
        Err(error) => {
            service.turned_away(NOTHING_ASKED);
            return match error.is_for_people() {
                true => tracing::info!(%address, %error, "no association"),
                false => tracing::debug!(%address, %error, "no association"),
            };
        }
    };
    let request = requested.request();
    let (calling, called) = (request.calling.clone(), request.called.clone());
    let peer = Peer { address, calling, called, certificate };
    let admitted = match misunderstood(request) {
        Some(rj) => {
            let Peer { calling, called, .. } = &peer;
            tracing::info!(%address, %calling, %called, reason = rj.reason_text(), "association rejected");
            service.turned_away(rj.reason_text());
            Err(rj)
        }
        None => service.admit(&peer, request),
    };
    // The seat is held to the end. Who has none is counted among those who ask, until the connection is closed.
    let seat = match admitted {
        Ok(seat) => seat,
        Err(rj) => return requested.reject(rj, Instant::now() + REJECTED).await,
    };
    drop(asks);
    let (answer, plan) = match service.negotiate(&peer, &seat, request).await {
        Ok(negotiated) => negotiated,
        Err(rj) => return requested.reject(rj, Instant::now() + REJECTED).await,
    };
    match requested.answer(answer, Instant::now() + limits.artim).await {
        Ok(association) => service.serve(peer, association, plan, shutdown).await,
        Err(error) => tracing::debug!(%address, %error, "no association"),
    }
    drop(seat);
}

/// Why nobody asked for an association.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error("{0}")]
    Association(#[from] EstablishError),
}

impl Unasked {
    /// One end has TLS and the other has not, or has none that is good enough: somebody has to change that. All else is
    /// the way of networks, and of those who knock at every port.
    fn is_for_people(&self) -> bool {
        match self {
            Self::Connection(error) => tls::Failure::of(error).is_some_and(|failure| !failure.is_timeout),
            Self::Association(EstablishError::Association(AssociationError::Protocol(what))) => {
                what == SPEAKS_TLS
            }
            Self::Association(_) => false,
        }
    }
}

type Asked = (Requested, Option<Arc<PeerCertificate>>);

/// Waits for the association request; with TLS, both come before `deadline`.
async fn request(stream: TcpStream, tls: Option<tls::Server>, deadline: Instant) -> Result<Asked, Unasked> {
    let socket = DimseSocket::from_stream(stream)?;
    let Some(tls) = tls else { return Ok((Requested::read(socket, deadline).await?, None)) };
    let stream = tls.accept(socket, deadline).await?;
    let certificate = stream.peer_certificate().cloned();
    Ok((Requested::read(stream, deadline).await?, certificate))
}

/// What is no DICOM of ours (PS3.8 9.3.2), or proposes nothing, where there has to be something (Table 9-11).
fn misunderstood(request: &AssociateRq) -> Option<AssociateRj> {
    if request.version & PROTOCOL_VERSION == 0 {
        return Some(AssociateRj::PROTOCOL_VERSION);
    }
    if request.application_context != APPLICATION_CONTEXT {
        return Some(AssociateRj::APPLICATION_CONTEXT);
    }
    request.contexts.is_empty().then_some(AssociateRj::NO_REASON)
}
