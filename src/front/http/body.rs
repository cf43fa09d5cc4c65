//! The body of a retrieval: objects become PS3.10 files as their bytes arrive, and it ends well only when the
//! archive layer has proven that everything came.
//!
//! Where something breaks on the way, the client must see it: the body ends with an error, which resets the
//! stream of HTTP/2, and on HTTP/1 the whole connection. Dropped, when the client has left, the body drops its
//! feed, and with it the retrieval.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::Frame;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::archive::{Complete, Error, Feed, Kind, Step};
use crate::dicom::encode::part10_header;
use crate::dicom::object::{Cursor, Head, Object};
use crate::dicom::reencode::Reencoder;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_allowed_on_the_web, layout};
use crate::dicom::{Uid, object::BrokenObject};
use crate::dicomweb::multipart::Writer;
use crate::net::Connection;

/// The transfer syntax that an object of this head has on the web: its own, or Explicit VR Little Endian for
/// those that the web does not have (PS3.18 8.7.3).
pub(super) fn web_syntax(head: &Head) -> Uid {
    if is_allowed_on_the_web(&head.transfer_syntax) {
        head.transfer_syntax.clone()
    } else {
        Uid::from_static(EXPLICIT_VR_LE)
    }
}

/// What stands around the files.
#[derive(Debug)]
pub(super) enum Framing {
    /// `multipart/related`, one file a part.
    Multipart(Writer<Complete>),
    /// One bare file.
    SinglePart,
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

/// A streaming answer with PS3.10 files.
#[derive(Debug)]
pub(super) struct ObjectBody {
    shared: Arc<Mutex<Shared>>,
    connection: Option<Connection>,
    _watchdog: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` when all is written, or nothing more will be.
    files: Option<Files>,
    stalled: bool,
    /// Since when the next move is the reader's; `None` while the archive's is.
    handed_out: Option<Instant>,
}

impl ObjectBody {
    /// A body of `first` and what follows it in `feed`.
    pub(super) fn new(first: Object, feed: Feed<Object>, framing: Framing, channel: Channel) -> Self {
        let (connection, write_timeout, longest) = match channel {
            Channel::Connection(connection) => (Some(connection), None, usize::MAX),
            Channel::Stream(write_timeout) => (None, Some(write_timeout), STREAM_PIECE),
        };
        let mut files = Files {
            feed,
            framing: Some(framing),
            current: None,
            ready: VecDeque::new(),
            objects: 0,
            longest,
        };
        // The first file fits into either framing.
        let _ = files.begin(first);
        let shared = Shared { files: Some(files), stalled: false, handed_out: Some(Instant::now()) };
        let shared = Arc::new(Mutex::new(shared));
        let watchdog = write_timeout
            .map(|limit| AbortOnDropHandle::new(tokio::spawn(watch(Arc::downgrade(&shared), limit))));
        Self { shared, connection, _watchdog: watchdog }
    }
}

impl http_body::Body for ObjectBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut shared = lock(&self.shared);
        let Some(files) = &mut shared.files else {
            return Poll::Ready(shared.stalled.then_some(Err(Broken::ReaderStalled)));
        };
        let next = files.poll_next(cx);
        shared.handed_out = next.is_ready().then(Instant::now);
        Poll::Ready(match ready!(next) {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => {
                shared.files = None;
                None
            }
            Err(broken) => {
                match &broken {
                    // The archive layer, which saw it, has said so.
                    Broken::Archive(_) => tracing::debug!("an answer broke off: {broken}"),
                    _ => tracing::warn!("an answer broke off: {broken}"),
                }
                shared.files = None;
                if let Some(connection) = &self.connection {
                    connection.abort();
                }
                Some(Err(broken))
            }
        })
    }
}

/// Gives up the retrieval of a body that nobody polls any more.
async fn watch(shared: Weak<Mutex<Shared>>, write_timeout: Duration) {
    let mut deadline = Instant::now() + write_timeout;
    loop {
        sleep_until(deadline).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut shared = lock(&shared);
        if shared.files.is_none() {
            return;
        }
        deadline = shared.handed_out.unwrap_or_else(Instant::now) + write_timeout;
        if deadline <= Instant::now() {
            tracing::info!("a client stopped reading; its retrieval is given up");
            shared.stalled = true;
            shared.files = None;
            return;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of the body, in order.
#[derive(Debug)]
struct Files {
    feed: Feed<Object>,
    /// Taken when the body is complete.
    framing: Option<Framing>,
    current: Option<File>,
    ready: VecDeque<Bytes>,
    objects: usize,
    /// Longest piece, in bytes.
    longest: usize,
}

/// The object that is being written.
#[derive(Debug)]
struct File {
    body: Cursor,
    /// For the syntaxes that the web does not have.
    reencoder: Option<Reencoder>,
}

impl Files {
    /// The next bytes, or the good end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(mut bytes) = self.ready.pop_front() {
                if bytes.len() > self.longest {
                    self.ready.push_front(bytes.split_off(self.longest));
                }
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.framing.is_none() {
                return Poll::Ready(Ok(None));
            }
            if let Some(file) = &mut self.current {
                match ready!(Pin::new(&mut file.body).poll_next(cx)).transpose()? {
                    Some(bytes) => match &mut file.reencoder {
                        None => self.ready.push_back(bytes),
                        Some(reencoder) => self.ready.extend(reencoder.push(bytes)?),
                    },
                    None => {
                        if let Some(reencoder) = self.current.take().and_then(|file| file.reencoder) {
                            self.ready.extend(reencoder.finish()?);
                        }
                    }
                }
                continue;
            }
            // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
            let step = ready!(pin!(self.feed.next()).poll(cx));
            match step {
                Step::Item(object) => self.begin(object)?,
                Step::End(Ok(complete)) => self.finish(complete),
                Step::End(Err(error)) => return Poll::Ready(Err(Broken::Archive(error))),
            }
        }
    }

    /// Begins a file: the part's headers and the File Meta Information, in one piece.
    fn begin(&mut self, object: Object) -> Result<(), Broken> {
        let Object { head, body } = object;
        let syntax = web_syntax(&head);
        let reencoder =
            (syntax != head.transfer_syntax).then(|| Reencoder::new(layout(&head.transfer_syntax)));
        let file_head = Head { transfer_syntax: syntax.clone(), ..head };
        let meta = part10_header(&file_head);
        let opening = match &mut self.framing {
            Some(Framing::Multipart(writer)) => {
                let content_type = format!("application/dicom; transfer-syntax={syntax}");
                let mut opening = writer.part(&[("Content-Type", &content_type)]).to_vec();
                opening.extend(meta);
                opening
            }
            Some(Framing::SinglePart) if self.objects == 0 => meta,
            _ => return Err(Broken::Surplus),
        };
        self.objects += 1;
        self.ready.push_back(opening.into());
        self.current = Some(File { body, reencoder });
        Ok(())
    }

    fn finish(&mut self, complete: Complete) {
        if let Some(Framing::Multipart(writer)) = self.framing.take() {
            self.ready.push_back(writer.finish(complete));
        }
    }
}

/// The error for a feed that ended where its first object should have been.
pub(super) fn no_objects(archive: &str) -> Error {
    Error::new(archive, Kind::NotFound)
}
