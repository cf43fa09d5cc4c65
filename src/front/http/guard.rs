//! How a request is let in, and how an answer ends that breaks off, or that nobody reads any more.
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
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Version};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::body::{Broken, size_with};
use super::limits::Admitted;
use super::{PAGES, Page, Server, stow};
use crate::net::{Connection, HttpStream};

/// Longest piece of a stream of HTTP/2, in bytes. A piece is buffered as a whole, and how slowly a reader may
/// take one is what the time-out bounds.
const STREAM_PIECE: usize = 64 * 1024;

/// Lets a request in, or tells its client to come back, and guards its answer. One that is short and there already can
/// neither break nor hold anything, unless on HTTP/2, where it waits for the reader's window.
pub(super) async fn guard(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let config = &server.0.config;
    // Whoever asks whether we are there must not be told that we are busy.
    let admitted = match server.0.kept.gate.admit(config, connection.as_ref(), request.headers()) {
        Err(problem) if !is_health(&request) => {
            let (head, body) = request.into_parts();
            if head.method == Method::POST {
                stow::pass_over_little(&server, &head.headers, body).await;
            }
            return problem.into_response();
        }
        Err(_) => {
            // Nor are credentials checked of those who are over their limit.
            request.headers_mut().remove(AUTHORIZATION);
            None
        }
        Ok(admitted) => Some(admitted),
    };
    // On HTTP/1 an answer has the connection for itself.
    let is_http2 = request.version() >= Version::HTTP_2;
    let connection = connection.filter(|_| !is_http2);
    let stream = if is_http2 { HttpStream::current() } else { None };
    next.run(request).await.map(|body| {
        let length = body.size_hint().exact();
        let is_short = length.is_some_and(|length| length <= STREAM_PIECE as u64) && stream.is_none();
        if is_short || length == Some(0) {
            return body;
        }
        Body::new(Guarded::new(body, connection, stream, admitted, config.write_timeout))
    })
}

/// Whether the request asks for nothing but how we do.
fn is_health(request: &Request) -> bool {
    let path = request.uri().path();
    let is_page = |(known, page): &(&str, Page)| *known == path && matches!(page, Page::Live | Page::Ready);
    matches!(*request.method(), Method::GET | Method::HEAD) && PAGES.iter().any(is_page)
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
    /// The request is under way as long as its answer is.
    _admitted: Option<Admitted>,
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
    fn new(
        body: Body,
        connection: Option<Connection>,
        stream: Option<HttpStream>,
        admitted: Option<Admitted>,
        write_timeout: Duration,
    ) -> Self {
        let longest = if connection.is_some() { usize::MAX } else { STREAM_PIECE };
        let handed_out = Some(Instant::now());
        let shared = Shared { body: Some(body), rest: Bytes::new(), longest, stalled: false, handed_out };
        let shared = Arc::new(Mutex::new(shared));
        let watch = || watch(Arc::downgrade(&shared), stream, write_timeout);
        let watchdog = connection.is_none().then(|| AbortOnDropHandle::new(tokio::spawn(watch())));
        Self { shared, connection, _watchdog: watchdog, _admitted: admitted }
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
        } else if self.longest < usize::MAX && bytes.len() > 1 {
            // hyper holds a piece back until the window has room behind all that went before it. So the end is asked for,
            // and the watch over with it, when the reader has granted all of the answer but this byte.
            self.rest = bytes.split_off(bytes.len() - 1);
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

/// Gives up an answer that nobody polls any more, and with it its stream.
async fn watch(shared: Weak<Mutex<Shared>>, stream: Option<HttpStream>, write_timeout: Duration) {
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
            // Nobody asks the body, which could only answer that it is gone.
            if let Some(stream) = stream {
                stream.reset();
            }
            return;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
