//! The body of an answer that streams while its objects arrive.
//!
//! Where something breaks on the way, the client must see it: the body ends with an error, which resets the
//! stream of HTTP/2, and on HTTP/1 the whole connection. Dropped, when the client has left, the body drops its
//! feed, and with it the retrieval.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::archive::Error;
use crate::dicom::object::BrokenObject;
use crate::net::Connection;

/// What a streaming answer consists of, in order.
pub(super) trait Pieces: Send + 'static {
    /// The next bytes; `None` at the good end, which there is only once everything came that was to come.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>>;
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Archive(Error),
    #[error(transparent)]
    Object(#[from] BrokenObject),
    #[error("an object is not the data set that its transfer syntax says: {0}")]
    Encoding(#[from] crate::dicom::scan::Error),
    #[error(transparent)]
    Frames(#[from] crate::image::frames::Error),
    #[error(transparent)]
    Values(#[from] crate::image::bulk::Error),
    #[error("the object has no such value")]
    NoValue,
    #[error("more than the one object came that was asked for")]
    Surplus,
    #[error("the client stopped reading")]
    ReaderStalled,
}

/// How an answer that broke off, or that nobody reads, is ended.
#[derive(Debug)]
pub(super) enum Channel {
    /// HTTP/1: the answer has the connection for itself, which is reset. Its socket cuts off a reader that
    /// stalls.
    Connection(Connection),
    /// HTTP/2: an error resets the stream alone. One stream can stall while the connection lives, so the body
    /// itself gives up when nobody polls it for this long.
    Stream(Duration),
}

/// Longest piece of a stream of HTTP/2, in bytes. A piece is buffered as a whole, and how slowly a reader may
/// take one is what the time-out bounds.
const STREAM_PIECE: usize = 64 * 1024;

/// A streaming answer.
#[derive(Debug)]
pub(super) struct Streaming<P> {
    shared: Arc<Mutex<Shared<P>>>,
    connection: Option<Connection>,
    _watchdog: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared<P> {
    /// `None` when all is written, or nothing more will be.
    pieces: Option<P>,
    /// What is left of a piece that was longer than one may be.
    rest: Bytes,
    /// Longest piece, in bytes.
    longest: usize,
    stalled: bool,
    /// Since when the next move is the reader's; `None` while the archive's is.
    handed_out: Option<Instant>,
}

impl<P: Pieces> Streaming<P> {
    /// A body of these pieces.
    pub(super) fn new(pieces: P, channel: Channel) -> Self {
        let (connection, write_timeout, longest) = match channel {
            Channel::Connection(connection) => (Some(connection), None, usize::MAX),
            Channel::Stream(write_timeout) => (None, Some(write_timeout), STREAM_PIECE),
        };
        let handed_out = Some(Instant::now());
        let shared = Shared { pieces: Some(pieces), rest: Bytes::new(), longest, stalled: false, handed_out };
        let shared = Arc::new(Mutex::new(shared));
        let watchdog = write_timeout
            .map(|limit| AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&shared), limit))));
        Self { shared, connection, _watchdog: watchdog }
    }
}

impl<P: Pieces> Shared<P> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(Ok(None)) };
        let mut bytes = std::mem::take(&mut self.rest);
        if bytes.is_empty() {
            let Some(next) = ready!(pieces.poll_next(cx))? else { return Poll::Ready(Ok(None)) };
            bytes = next;
        }
        if bytes.len() > self.longest {
            self.rest = bytes.split_off(self.longest);
        }
        Poll::Ready(Ok(Some(bytes)))
    }
}

impl<P: Pieces> http_body::Body for Streaming<P> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut shared = lock(&self.shared);
        if shared.pieces.is_none() {
            return Poll::Ready(shared.stalled.then_some(Err(Broken::ReaderStalled)));
        }
        let next = shared.poll_next(cx);
        shared.handed_out = next.is_ready().then(Instant::now);
        Poll::Ready(match ready!(next) {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => {
                shared.pieces = None;
                None
            }
            Err(broken) => {
                match &broken {
                    // The archive layer, which saw it, has said so.
                    Broken::Archive(_) => tracing::debug!("an answer broke off: {broken}"),
                    _ => tracing::warn!("an answer broke off: {broken}"),
                }
                shared.pieces = None;
                if let Some(connection) = &self.connection {
                    connection.abort();
                }
                Some(Err(broken))
            }
        })
    }
}

/// Gives up the retrieval of a body that nobody polls any more.
async fn watch<P: Pieces>(shared: Weak<Mutex<Shared<P>>>, write_timeout: Duration) {
    let mut deadline = Instant::now() + write_timeout;
    loop {
        sleep_until(deadline).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut shared = lock(&shared);
        if shared.pieces.is_none() {
            return;
        }
        deadline = shared.handed_out.unwrap_or_else(Instant::now) + write_timeout;
        if deadline <= Instant::now() {
            tracing::info!("a client stopped reading; its retrieval is given up");
            shared.stalled = true;
            shared.pieces = None;
            return;
        }
    }
}

fn lock<P>(shared: &Mutex<Shared<P>>) -> MutexGuard<'_, Shared<P>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
