//! How an answer ends that breaks off, or that nobody reads any more.
//!
//! This stands around everything that is done with an answer (validators, compression): what those hold back says
//! nothing about the reader, who is seen here alone. Where an answer breaks, the client must see it: on HTTP/1 the
//! whole connection is reset, on HTTP/2 its stream. Where the reader stalls, the answer is dropped, and with it its
//! feed and the retrieval.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::Server;
use super::body::{Broken, size_with};
use crate::net::Connection;

/// Longest piece of a stream of HTTP/2, in bytes. A piece is buffered as a whole, and how slowly a reader may
/// take one is what the time-out bounds.
const STREAM_PIECE: usize = 64 * 1024;

/// Guards the answer of every request. One that is short and there already can neither break nor hold anything.
pub(super) async fn guard(State(server): State<Server>, request: Request, next: Next) -> Response {
    // On HTTP/1 an answer has the connection for itself.
    let connection = request.extensions().get::<Connection>();
    let connection = connection.filter(|_| request.version() < Version::HTTP_2).cloned();
    next.run(request).await.map(|body| {
        let is_short = body.size_hint().exact().is_some_and(|length| length <= STREAM_PIECE as u64);
        if is_short { body } else { Body::new(Guarded::new(body, connection, server.0.config.write_timeout)) }
    })
}

/// An answer under guard.
#[derive(Debug)]
struct Guarded {
    shared: Arc<Mutex<Shared>>,
    /// Reset where the answer breaks off. Its socket cuts off a reader that stalls.
    connection: Option<Connection>,
    /// Without a connection of its own, one answer can stall while others go on: it is given up when nobody polls
    /// it.
    _watchdog: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` when all is written, or nothing more will be.
    body: Option<Body>,
    /// What is left of a piece that was longer than one may be.
    rest: Bytes,
    /// Longest piece, in bytes.
    longest: usize,
    stalled: bool,
    /// Since when the next move is the reader's; `None` while the archive's is.
    handed_out: Option<Instant>,
}

impl Guarded {
    fn new(body: Body, connection: Option<Connection>, write_timeout: Duration) -> Self {
        let longest = if connection.is_some() { usize::MAX } else { STREAM_PIECE };
        let handed_out = Some(Instant::now());
        let shared = Shared { body: Some(body), rest: Bytes::new(), longest, stalled: false, handed_out };
        let shared = Arc::new(Mutex::new(shared));
        let watch = || AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&shared), write_timeout)));
        let watchdog = connection.is_none().then(watch);
        Self { shared, connection, _watchdog: watchdog }
    }
}

impl Shared {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut bytes = std::mem::take(&mut self.rest);
        if bytes.is_empty() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            bytes = match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => bytes,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
        }
        if bytes.len() > self.longest {
            self.rest = bytes.split_off(self.longest);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut shared = lock(&self.shared);
        if shared.body.is_none() {
            return Poll::Ready(shared.stalled.then_some(Err(axum::Error::new(Broken::ReaderStalled))));
        }
        let next = shared.poll_next(cx);
        shared.handed_out = next.is_ready().then(Instant::now);
        let next = ready!(next);
        if !matches!(next, Some(Ok(_))) {
            shared.body = None;
        }
        if let (Some(Err(_)), Some(connection)) = (&next, &self.connection) {
            connection.abort();
        }
        Poll::Ready(next)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        size_with(shared.rest.len(), shared.body.as_ref())
    }
}

/// Gives up an answer that nobody polls any more.
async fn watch(shared: Weak<Mutex<Shared>>, write_timeout: Duration) {
    let mut deadline = Instant::now() + write_timeout;
    loop {
        sleep_until(deadline).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut shared = lock(&shared);
        if shared.body.is_none() {
            return;
        }
        deadline = shared.handed_out.unwrap_or_else(Instant::now) + write_timeout;
        if deadline <= Instant::now() {
            tracing::info!("a client stopped reading; its retrieval is given up");
            shared.stalled = true;
            shared.body = None;
            return;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
