//! The connection beneath an association, with two things that no proper peer needs: to say something else than
//! the association does, and to break off with RST.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::DimseSocket;

/// The connection.
#[derive(Debug)]
pub(super) struct Line {
    /// `None` only within the drop.
    socket: Option<DimseSocket>,
    forged: Forged,
    /// When set, the connection ends with RST.
    reset: Arc<AtomicBool>,
}

/// What the next write says in place of what it is given.
#[derive(Debug, Clone, Default)]
pub(super) struct Forged(Arc<Mutex<Option<Bytes>>>);

impl Forged {
    /// The next write says `bytes` instead; they may be none.
    pub(super) fn say(&self, bytes: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }
}

impl Line {
    pub(super) fn new(socket: DimseSocket, reset: Arc<AtomicBool>) -> Self {
        Self { socket: Some(socket), forged: Forged::default(), reset }
    }

    pub(super) fn forged(&self) -> Forged {
        self.forged.clone()
    }

    fn socket(&mut self) -> Pin<&mut DimseSocket> {
        Pin::new(self.socket.as_mut().expect("the socket stays until the drop"))
    }

    /// Writes the forged bytes, if there are any: `length` bytes of the real ones are taken for written then.
    fn poll_forged(&mut self, cx: &mut Context<'_>, length: usize) -> Option<Poll<io::Result<usize>>> {
        let forged = self.forged.clone();
        let mut forged = forged.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = forged.as_mut()?;
        while !bytes.is_empty() {
            match self.socket().poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) => bytes.advance(written),
                other => return Some(other),
            }
        }
        *forged = None;
        Some(Poll::Ready(Ok(length)))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed)
            && let Some(socket) = self.socket.take()
        {
            socket.abort();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.poll_forged(cx, bytes.len()) {
            Some(done) => done,
            None => self.socket().poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.socket().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.poll_forged(cx, slices.iter().map(|slice| slice.len()).sum()) {
            Some(done) => done,
            None => self.socket().poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
