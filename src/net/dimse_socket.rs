//! A TCP connection that carries DIMSE without waiting on delayed acknowledgements.
//!
//! DIMSE is a dialogue of small messages. With the operating system's defaults on either side, Nagle's
//! algorithm waits for an acknowledgement that the other side delays by 40 ms, once a message: 200 CT slices
//! take 10 s in place of 0.25 s. `TCP_NODELAY` cures our half. Most archives leave Nagle on, so we also have
//! to acknowledge at once what they send: `TCP_QUICKACK`, which Linux forgets again by itself and which is
//! therefore set anew after every read.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

/// A TCP connection to or from a DIMSE peer.
#[derive(Debug)]
pub struct DimseSocket {
    stream: TcpStream,
    peer: SocketAddr,
}

impl DimseSocket {
    /// Connects to `address` (`host:port`; an IPv6 host in brackets). The addresses that the name resolves to
    /// are tried in order, each for its share of the time that is left, so that one that swallows packets
    /// does not hide the next.
    ///
    /// # Errors
    /// The name does not resolve, no address answers, or the deadline has passed
    /// ([`io::ErrorKind::TimedOut`]).
    pub async fn connect(address: &str, deadline: Instant) -> io::Result<Self> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection request");
        let found = timeout_at(deadline, lookup_host(address)).await.map_err(|_| late())??;
        let addresses: Vec<SocketAddr> = found.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (tried, one) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match timeout(share, TcpStream::connect(one)).await {
                Ok(Ok(stream)) => return Self::from_stream(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = late(),
            }
        }
        Err(last)
    }

    /// Takes over a connection that is there already, as one accepted from a listener.
    ///
    /// # Errors
    /// The connection is closed already.
    pub fn from_stream(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let socket = Self { stream, peer };
        socket.acknowledge_at_once();
        Ok(socket)
    }

    /// The address of the peer.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address on this connection.
    ///
    /// # Errors
    /// The connection is closed already.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Turns Nagle's algorithm off (`true`, as it is from the beginning) or on, for who mimics an archive that
    /// leaves it on.
    ///
    /// # Errors
    /// The connection is closed already.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }

    /// Closes the connection with RST: what is unsent is thrown away, and the peer sees an error in place of
    /// an end.
    pub fn abort(self) {
        // Without the option the drop still closes the connection, only politely.
        let _ = self.stream.set_zero_linger();
    }

    fn acknowledge_at_once(&self) {
        // A hint to the kernel; a failure means that the connection is gone, which the next read tells.
        #[cfg(target_os = "linux")]
        let _ = self.stream.set_quickack(true);
    }
}

impl AsyncRead for DimseSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.acknowledge_at_once();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DimseSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn connected_and_accepted_sockets_send_at_once_and_keep_quickack_armed_over_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connected = DimseSocket::connect(&address.to_string(), soon()).await.unwrap();
        assert_eq!(connected.peer_addr(), address);
        let (stream, _) = listener.accept().await.unwrap();
        let mut accepted = DimseSocket::from_stream(stream).unwrap();
        assert!(connected.is_write_vectored() && accepted.is_write_vectored());
        for _ in 0..50 {
            exchange(&mut connected, &mut accepted).await;
            exchange(&mut accepted, &mut connected).await;
        }
    }

    async fn exchange(from: &mut DimseSocket, to: &mut DimseSocket) {
        from.write_all(b"ping").await.unwrap();
        to.read_exact(&mut [0; 4]).await.unwrap();
        assert!(to.stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert!(to.stream.quickack().unwrap());
    }

    #[tokio::test]
    async fn an_aborted_connection_is_reset_and_not_closed_politely() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ours = DimseSocket::connect(&address, soon()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        ours.abort();
        let error = theirs.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_host_that_does_not_answer_is_a_timeout() {
        use socket2::{Domain, Socket, Type};
        // A listener whose queue is full drops further connection requests, as a dead host does.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap().to_string();
        let mut queued = Vec::new();
        let error = loop {
            assert!(queued.len() < 100, "the queue never fills");
            let deadline = Instant::now() + Duration::from_millis(200);
            match DimseSocket::connect(&address, deadline).await {
                Ok(socket) => queued.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
