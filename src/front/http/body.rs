//! The body of an answer that streams while its objects arrive.
//!
//! Where something breaks on the way, the body ends with an error, and `guard` sees to it that the client notices.
//! Dropped, when the client has left, the body drops its feed, and with it the retrieval.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::archive::Error;
use crate::dicom::object::BrokenObject;

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
    #[error("an object is not the data set that its transfer syntax says: {0}")]
    Native(#[from] crate::dicom::native::Error),
    #[error(transparent)]
    Transcoding(#[from] crate::image::transcode::Error),
    #[error("{0}")]
    Codec(#[from] crate::image::codec::Refusal),
    #[error(transparent)]
    Lost(#[from] super::workers::Lost),
    #[error("an object comes in no form that was asked for")]
    NotAcceptable,
    #[error(transparent)]
    Frames(#[from] crate::image::frames::Error),
    #[error(transparent)]
    Values(#[from] crate::image::bulk::Error),
    #[error(transparent)]
    Picture(#[from] super::pictures::NotDrawn),
    #[error("the object has no such value")]
    NoValue,
    #[error(transparent)]
    Zip(#[from] crate::dicomweb::zip::Error),
    #[error("more than the one object came that was asked for")]
    Surplus,
    #[error("the bridge holds as much for other clients as it may")]
    NoRoom,
    #[error("the client stopped reading")]
    ReaderStalled,
}

/// Why the body of an answer broke off, and whose objects were in it.
#[derive(Debug, thiserror::Error)]
#[error("{broken}")]
pub(super) struct BrokenOff {
    pub(super) archive: String,
    pub(super) broken: Broken,
}

/// A streaming answer.
#[derive(Debug)]
pub(super) struct Streaming<P> {
    archive: String,
    /// `None` when all is written, or nothing more will be.
    pieces: Option<P>,
}

/// The size of `held` bytes with what is left of `rest` behind them.
pub(super) fn size_with(held: usize, rest: Option<&axum::body::Body>) -> SizeHint {
    let rest = rest.map_or(SizeHint::with_exact(0), http_body::Body::size_hint);
    let mut hint = SizeHint::new();
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper + held as u64);
    }
    hint.set_lower(rest.lower() + held as u64);
    hint
}

/// Nothing is pinned within.
impl<P> Unpin for Streaming<P> {}

impl<P: Pieces> Streaming<P> {
    /// A body of these pieces, of objects of this archive.
    pub(super) fn new(pieces: P, archive: &str) -> Self {
        Self { archive: archive.to_owned(), pieces: Some(pieces) }
    }
}

impl<P: Pieces> http_body::Body for Streaming<P> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        Poll::Ready(match ready!(pieces.poll_next(cx)) {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => {
                self.pieces = None;
                None
            }
            Err(broken) => {
                match &broken {
                    // The archive layer, which saw it, has said so.
                    Broken::Archive(_) => tracing::debug!("an answer broke off: {broken}"),
                    _ => tracing::warn!("an answer broke off: {broken}"),
                }
                self.pieces = None;
                Some(Err(BrokenOff { archive: self.archive.clone(), broken }))
            }
        })
    }
}
