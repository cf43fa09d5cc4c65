//! A connection over TLS, which reads and writes as one without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::TlsStream;

use super::failure::{End, explain};
use super::{PeerCertificate, Standing};

/// How much is read from the socket at a time: rustls asks for 4 KiB, four times for each record, and a call of the system
/// costs as much as decrypting them.
const READ_AHEAD: usize = 32 * 1024;

/// What lies below TLS.
pub(super) type Below<S> = BufReader<S>;

/// A socket as TLS reads it best.
pub(super) fn below<S: AsyncRead>(socket: S) -> Below<S> {
    BufReader::with_capacity(READ_AHEAD, socket)
}

/// A connection over TLS, after the handshake.
#[derive(Debug)]
pub struct Stream<S> {
    tls: TlsStream<Below<S>>,
    certificate: Option<Arc<PeerCertificate>>,
    end: End,
}

impl<S> Stream<S> {
    pub(super) fn new(tls: TlsStream<Below<S>>, end: End, standing: Standing) -> Self {
        let shown = tls.get_ref().1.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let certificate = shown.map(|der| Arc::new(PeerCertificate { standing, ..PeerCertificate::of(der) }));
        Self { tls, certificate, end }
    }

    /// The certificate that the peer has shown, where it has; it was found to be good.
    pub fn peer_certificate(&self) -> Option<&Arc<PeerCertificate>> {
        self.certificate.as_ref()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.end;
        match ready!(Pin::new(&mut self.tls).poll_read(cx, buffer)) {
            // Most DICOM peers close without a word of TLS. What is carried here says by itself where it ends.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read.map_err(|error| explain(error, end))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
