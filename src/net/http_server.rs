//! The accept loop of an HTTP server whose connections can be counted, cut and drained.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http_socket::{Connection, HttpSocket};
use super::http_streams::HttpStreams;
use super::{Network, Places, counted_as, tls};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Most streams that a client has open on one HTTP/2 connection. Viewers ask for six to eight things at once
/// over HTTP/1.1; more gains nothing, as an archive serves a few associations only.
const HTTP2_STREAMS: u32 = 32;
/// Most bytes that HTTP/2 holds for a stream whose reader is slow.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Most streams that a client has opened and reset again before they were looked at (CVE-2023-44487), and most that were
/// reset by us for its mistakes; one more ends the connection. Viewers reset what they scroll past, a few dozen at once.
const HTTP2_RESETS: usize = 64;
/// How often a silent HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// How long a client that has been turned away may take to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);
/// Most bytes that are read of it meanwhile.
const FAREWELL_BYTES: u64 = 64 * 1024;
/// What a client is told that speaks HTTP without TLS.
const WITHOUT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: application/problem+json\r\nContent-Length: 120\r\nConnection: close\r\n\r\n\
    {\"title\":\"Bad Request\",\"status\":400,\"side\":\"client\",\
    \"detail\":\"this port speaks HTTPS only\",\"advice\":\"Use an https URL.\"}";
/// How long to wait after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Most connections at a time; further ones wait in the listener's queue.
    pub max_connections: usize,
    /// Most connections from one address, or from one network of IPv6 that a site has whole; further ones are closed.
    pub max_connections_per_address: usize,
    /// Networks from whose addresses there may be any number of them: proxies, behind which are many clients.
    pub proxies: Vec<Network>,
    /// Most bytes of a request's head. At least 8 KiB.
    pub max_head: usize,
    /// How long a request's head may take to come, and how long a connection may idle.
    pub head_timeout: Duration,
    /// How long a write may wait for the client to read.
    pub write_timeout: Duration,
    /// How long requests under way may still take after the shutdown began.
    pub drain_timeout: Duration,
}

/// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 (prior knowledge) on `listener` until `shutdown`, then waits for the
/// requests under way, at most [`HttpSettings::drain_timeout`]; what is left then is reset.
///
/// With `tls`, all of it goes over TLS, and a client that speaks HTTP without it is told so.
///
/// Each request carries its [`Connection`](super::Connection) in its extensions.
pub async fn serve_http<S, B>(
    listener: TcpListener,
    tls: Option<tls::Server>,
    service: S,
    settings: HttpSettings,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let addresses = Places::default();
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, address, slot)) => {
                let is_proxy = settings.proxies.iter().any(|network| network.contains(address));
                let place = addresses.take(&counted_as(address), settings.max_connections_per_address);
                if place.is_none() && !is_proxy {
                    tracing::debug!(%address, "an HTTP connection too many from one address");
                    continue;
                }
                let (tls, service, shutdown) = (tls.clone(), service.clone(), shutdown.clone());
                let settings = settings.clone();
                connections.spawn(async move {
                    if let Err(error) = connection(stream, tls, service, settings, shutdown).await {
                        tracing::debug!(%error, "an HTTP connection ended early");
                    }
                    drop((place, slot));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTP connections for the moment");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("nobody closes the semaphore");
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip(), slot))
}

async fn connection<S, B>(
    stream: TcpStream,
    tls: Option<tls::Server>,
    service: S,
    settings: HttpSettings,
    shutdown: CancellationToken,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let socket = HttpSocket::new(stream, settings.head_timeout, settings.write_timeout)?;
    let handle = socket.connection().clone();
    let Some(tls) = tls else { return requests(socket, handle, service, settings, shutdown).await };
    let shaken = tokio::select! {
        shaken = shake_hands(socket, &tls, Instant::now() + settings.head_timeout) => shaken?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let Some(stream) = shaken else { return Ok(()) };
    let handle = handle.secured(stream.peer_certificate().cloned());
    requests(stream, handle, service, settings, shutdown).await
}

/// The TLS handshake. `None`: the client has left, or speaks HTTP without TLS, and was told so.
async fn shake_hands(
    mut socket: HttpSocket,
    tls: &tls::Server,
    deadline: Instant,
) -> io::Result<Option<tls::Stream<HttpSocket>>> {
    let peer = socket.connection().peer;
    match timeout_at(deadline, socket.first_byte()).await?? {
        None => return Ok(None),
        // A method begins with a capital, a TLS handshake with 22 (RFC 8446 5.1).
        Some(b'A'..=b'Z') => {
            tracing::info!(%peer, "a client speaks HTTP without TLS: give it an https URL");
            timeout_at(deadline, socket.write_all(WITHOUT_TLS)).await??;
            timeout_at(deadline, socket.shutdown()).await??;
            // What is unread when the connection closes becomes a reset, which overtakes the answer.
            let (mut rest, mut nowhere) = (socket.take(FAREWELL_BYTES), tokio::io::sink());
            let drain = tokio::io::copy(&mut rest, &mut nowhere);
            let _ = timeout(FAREWELL, drain).await;
            return Ok(None);
        }
        Some(_) => {}
    }
    let shaken = tls.accept(socket, deadline).await;
    if let Some(failure) = shaken.as_ref().err().and_then(tls::Failure::of).filter(|why| !why.is_timeout) {
        tracing::info!(%peer, %failure, "no HTTPS connection");
    }
    shaken.map(Some)
}

/// Serves the requests of one connection.
async fn requests<S, B, I>(
    socket: I,
    handle: Connection,
    service: S,
    settings: HttpSettings,
    shutdown: CancellationToken,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let per_request = handle.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        per_request.established();
        request.extensions_mut().insert(per_request.clone());
        service.call(request)
    });
    let streams = HttpStreams::default();
    let builder = builder(&settings, streams.clone());
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    let goes_on = tokio::select! {
        result = serving.as_mut() => return result,
        () = shutdown.cancelled() => false,
        () = streams.idle(settings.head_timeout) => true,
        () = handle.retired() => true,
    };
    serving.as_mut().graceful_shutdown();
    if goes_on {
        // A request that was on its way when the client was told is served, as slowly as its reader may read.
        tokio::select! {
            result = serving.as_mut() => return result,
            () = streams.idle(settings.write_timeout) => {}
            () = shutdown.cancelled() => {
                if let Ok(result) = timeout(settings.drain_timeout, serving).await {
                    return result;
                }
            }
        }
    } else if let Ok(result) = timeout(settings.drain_timeout, serving).await {
        return result;
    }
    // Dropped with the connection, the socket sends RST: what is cut short must not look whole.
    handle.abort();
    Ok(())
}

fn builder(settings: &HttpSettings, streams: HttpStreams) -> auto::Builder<HttpStreams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(settings.max_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .max_local_error_reset_streams(HTTP2_RESETS)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

#[cfg(test)]
mod tests;
