//! The socket under an HTTP connection: it cuts readers that stall, and it can end with RST in place of FIN.
//!
//! Over HTTP/1.0 the end of the connection is the end of the body, so a body that broke off must not end like
//! one that is whole. Proxies make the same mistake: nginx speaks HTTP/1.0 to its back ends by default. A
//! reset is the one thing that every client and proxy takes for an error.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::PeerCertificate;

/// How much unsent data the kernel holds for a connection before it stops to take more, in bytes. Enough to
/// keep a fast reader busy; without the limit a hundred stalled readers hold hundreds of megabytes.
#[cfg(target_os = "linux")]
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// An HTTP connection, as a request sees it: found in the request's extensions.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The address of the client, or of the proxy before it.
    pub peer: SocketAddr,
    /// What it carries is encrypted on its way.
    pub is_secure: bool,
    /// The certificate that the client has shown, where it has.
    pub certificate: Option<Arc<PeerCertificate>>,
    flags: Arc<Flags>,
}

#[derive(Debug, Default)]
struct Flags {
    aborted: AtomicBool,
    established: AtomicBool,
    retired: CancellationToken,
}

impl Connection {
    /// The handle of a connection that is not there, for tests and fuzz targets of what only looks at it.
    pub fn of(peer: SocketAddr) -> Self {
        Self { peer, is_secure: false, certificate: None, flags: Arc::default() }
    }

    /// What comes now comes over TLS, from who has shown this certificate.
    pub(super) fn secured(self, certificate: Option<Arc<PeerCertificate>>) -> Self {
        Self { is_secure: true, certificate, ..self }
    }

    /// Lets the connection end with RST, with nothing more sent. For HTTP/1, where it has one response at a
    /// time; on HTTP/2 an error of the body resets its stream alone.
    pub fn abort(&self) {
        self.flags.aborted.store(true, Ordering::Release);
    }

    /// Lets the connection take no further requests; those under way are answered.
    pub fn retire(&self) {
        self.flags.retired.cancel();
    }

    /// Waits until somebody has said so.
    pub(super) async fn retired(&self) {
        self.flags.retired.cancelled().await;
    }

    /// Says that the first request's head has come, which ends the time-out for it.
    pub(super) fn established(&self) {
        self.flags.established.store(true, Ordering::Release);
    }
}

/// A TCP connection that carries HTTP.
#[derive(Debug)]
pub struct HttpSocket {
    stream: TcpStream,
    connection: Connection,
    write_timeout: Duration,
    /// Runs while a write waits for the reader.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs until the first request's head has come.
    first_head: Option<Pin<Box<Sleep>>>,
}

impl HttpSocket {
    /// Takes over an accepted connection. A first request that takes longer than `head_timeout` and a write
    /// that waits longer than `write_timeout` end it.
    ///
    /// # Errors
    /// The connection is closed already.
    pub fn new(stream: TcpStream, head_timeout: Duration, write_timeout: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // A kernel that does not know the option costs memory, not the connection.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOT_SENT_LOW_WATER);
        let peer = stream.peer_addr()?;
        let connection = Connection { peer, is_secure: false, certificate: None, flags: Arc::default() };
        let first_head = Some(Box::pin(sleep(head_timeout)));
        Ok(Self { stream, connection, write_timeout, stalled: None, first_head })
    }

    /// The first byte that comes, which stays to be read; `None`: the client has closed the connection.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.stream.peek(&mut byte).await? > 0).then_some(byte[0]))
    }

    /// The handle on this connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn aborted(&self) -> bool {
        self.connection.flags.aborted.load(Ordering::Acquire)
    }

    /// Passes on what a write came to; one that waits too long aborts the connection.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.connection.abort();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }

    fn check(&self) -> io::Result<()> {
        if self.aborted() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Drop for HttpSocket {
    fn drop(&mut self) {
        if self.aborted() {
            // Fails only where the connection is gone already, which is what is wanted.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for HttpSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.connection.flags.established.load(Ordering::Acquire) {
            self.first_head = None;
        }
        if let (Poll::Pending, Some(timer)) = (&result, &mut self.first_head)
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came")));
        }
        result
    }
}

impl AsyncWrite for HttpSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        // Nothing is buffered here, so this never waits for the reader.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A FIN before the RST would look like a good end.
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
