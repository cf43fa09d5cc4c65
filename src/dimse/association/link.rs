//! The connection below an association: frames in and out, and its end.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::dimse::pdu;
use crate::dimse::wire::{Frame, FrameReader, Outbound, WireError};

/// How long an A-ABORT may take to leave before the connection is cut without it.
const ABORT_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a peer that has confirmed a release may take to close the connection after us.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection: TCP, TLS, or a pipe in a test.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The association is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum AssociationError {
    /// The peer sent A-ABORT.
    #[error("A-ABORT from the {}, reason {reason}", if *by == 0 { "application" } else { "protocol layer" })]
    Aborted {
        /// Source: 0 service user, 2 service provider (PS3.8 9.3.8).
        by: u8,
        /// Reason, meaningful from the provider.
        reason: u8,
    },
    /// The connection was closed or failed.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer broke the protocol; the text says how.
    #[error("{0}")]
    Protocol(String),
}

impl AssociationError {
    /// What an A-ABORT of this body says.
    pub(super) fn aborted(body: &[u8]) -> Self {
        match body {
            [_, _, source, reason, ..] => Self::Aborted { by: *source, reason: *reason },
            _ => Self::Aborted { by: 0, reason: 0 },
        }
    }
}

/// The connection with both its queues.
pub(super) struct Link {
    io: Box<dyn Io>,
    pub(super) reader: FrameReader,
    pub(super) out: Outbound,
    /// The tail of the queue has not been written whole: an A-ABORT would land inside a PDU.
    writing: bool,
}

impl Link {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { io, reader: FrameReader::default(), out: Outbound::new(0), writing: false }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() && !self.writing {
            return Poll::Ready(Ok(()));
        }
        self.writing = true;
        let done = self.out.poll_flush(&mut self.io, cx);
        self.writing = done.is_pending();
        done
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, AssociationError>> {
        // A write that fails does not hide what the peer said before it left: its A-ABORT is still to be read.
        let write = self.poll_flush(cx);
        let read = self.reader.poll_frame(&mut self.io, cx).map_err(from_wire);
        match (read, write) {
            (Poll::Pending, Poll::Ready(Err(error))) => {
                Poll::Ready(Err(AssociationError::Lost(error.to_string())))
            }
            (read, _) => read,
        }
    }

    pub(super) async fn frame(&mut self) -> Result<Frame, AssociationError> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    pub(super) async fn flush(&mut self) -> Result<(), AssociationError> {
        poll_fn(|cx| self.poll_flush(cx)).await.map_err(|e| AssociationError::Lost(e.to_string()))
    }

    /// Closes our side and waits, for a moment, until the peer has closed its own: before that it may count the
    /// association as open.
    pub(super) async fn close(&mut self) {
        let closed = async {
            self.io.shutdown().await?;
            while self.frame().await.is_ok() {}
            Ok::<_, io::Error>(())
        };
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }

    /// What is queued and not begun is of no use to the peer any more; only the A-ABORT is sent.
    pub(super) async fn abort(&mut self, source: u8, reason: u8) {
        if !self.writing {
            self.out = Outbound::new(0);
        }
        self.out.push(pdu::abort(source, reason));
        let _ = timeout(ABORT_TIMEOUT, self.flush()).await;
    }
}

fn from_wire(error: WireError) -> AssociationError {
    match error {
        WireError::Io(error) => AssociationError::Lost(error.to_string()),
        WireError::Closed => AssociationError::Lost("closed by the peer".to_owned()),
        WireError::Protocol(what) => AssociationError::Protocol(what.to_owned()),
    }
}
