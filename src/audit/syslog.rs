//! The sink that is a syslog receiver: RFC 5424 messages over TLS (RFC 5425), as PS3.15 A.6 and IHE's audit record
//! repositories have them.
//!
//! Syslog has no acknowledgement. A record counts as brought when the connection has lived on for [`SETTLED`] after it
//! was written, longer than the system keeps a connection whose peer takes nothing; what was written before an end that
//! the receiver announced counts too, but for the last moments. The rest is sent again on the next connection, so that a
//! receiver that broke down may find the last records twice, and none missing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::message::{Message, harmless};
use super::spool::{Position, Reader};

/// How long after it was written a record counts as brought.
const SETTLED: Duration = Duration::from_secs(20);
/// How long the system waits for the peer to take what was sent, before it gives a connection up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// What was written so shortly before the receiver's end may have crossed with it.
pub(super) const CROSSED: Duration = Duration::from_millis(500);
/// How long to connect may take, with the handshake.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long a write may wait for the receiver.
const WRITE: Duration = Duration::from_secs(30);
/// The first pause between two attempts, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the receiver has to close the connection at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// How much the system buffers of what was written, in bytes: what may have to be sent twice.
const SEND_BUFFER: u32 = 64 << 10;
/// Longest HOSTNAME (RFC 5424 6).
const MAX_HOSTNAME: usize = 255;

/// A connection to a receiver.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Makes a TCP connection into one that records may go over.
pub(super) type Secure = Arc<dyn Fn(TcpStream) -> Connecting + Send + Sync>;

/// The connection as it is.
pub(super) fn plain() -> Secure {
    Arc::new(|stream| Box::pin(async move { Ok(Box::new(stream) as Box<dyn Stream>) }))
}

/// The header's part that is always the same.
#[derive(Debug, Clone)]
pub(super) struct Header {
    priority: u8,
    hostname: String,
}

impl Header {
    /// `facility`: 0 to 23. Audit messages have the severity Notice (PS3.15 A.6).
    pub(super) fn new(facility: u8, hostname: &str) -> Self {
        let graphic = hostname.chars().filter(char::is_ascii_graphic).take(MAX_HOSTNAME);
        let hostname: String = graphic.collect();
        let hostname = if hostname.is_empty() { "-".to_owned() } else { hostname };
        Self { priority: facility * 8 + 5, hostname }
    }

    /// A message with its length before it (RFC 5425 4.3).
    pub(super) fn frame(&self, message: &Message) -> Vec<u8> {
        let Self { priority, hostname } = self;
        let time: String =
            message.event_identification.event_date_time.chars().filter(char::is_ascii_graphic).collect();
        let process = std::process::id();
        // U+FEFF says that UTF-8 follows (RFC 5424 6.4).
        let text = format!(
            "<{priority}>1 {time} {hostname} gantry {process} DICOM+RFC3881 - \u{FEFF}{}",
            message.to_xml()
        );
        let mut frame = format!("{} ", text.len()).into_bytes();
        frame.extend_from_slice(text.as_bytes());
        frame
    }
}

/// A receiver.
pub(super) struct Syslog {
    pub(super) address: String,
    pub(super) header: Header,
    pub(super) secure: Secure,
}

/// Brings records to the receiver, until there are no more. `lost` is told of what cannot be read any more. It reads from
/// the disk as it goes, and is to have a runtime of its own.
pub(super) async fn run(syslog: Syslog, mut reader: Reader, lost: impl Fn(u64)) {
    let mut pause = FIRST_PAUSE;
    let mut is_last = false;
    while !reader.is_at_the_end() {
        reader.more().await;
        if reader.is_at_the_end() {
            return;
        }
        let error = match syslog.connect().await {
            Ok(stream) => {
                let mut session = Session { written: VecDeque::new(), stream };
                let began = Instant::now();
                let end = session.run(&syslog.header, &mut reader, &lost).await;
                if began.elapsed() > pause {
                    pause = FIRST_PAUSE;
                }
                match end {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        reader.go_back();
        if reader.has_more() {
            // The first time, and then ever more rarely.
            let receiver = &syslog.address;
            tracing::error!(receiver, %error, "the audit trail does not reach the syslog receiver; it is kept in the spool");
        }
        // At the end there is one more attempt; what is left then is for the next start.
        if reader.is_closed() || timeout(pause, reader.closed()).await.is_ok() {
            if std::mem::replace(&mut is_last, true) {
                return;
            }
            continue;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Syslog {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(CONNECT, async {
            let stream = TcpStream::connect(&self.address).await?;
            let socket = socket2::SockRef::from(&stream);
            socket.set_send_buffer_size(SEND_BUFFER as usize)?;
            #[cfg(target_os = "linux")]
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(UNACKNOWLEDGED))?;
            (self.secure)(stream).await
        })
        .await
        .map_err(late)?
    }
}

/// One connection.
struct Session {
    stream: Box<dyn Stream>,
    /// What has been written and does not count as brought yet.
    written: VecDeque<(Instant, Position)>,
}

/// What a session waits for.
enum Turn {
    More,
    Settled,
    Closed(io::Result<()>),
}

impl Session {
    /// Until the connection ends or all is brought.
    async fn run(&mut self, header: &Header, reader: &mut Reader, lost: &impl Fn(u64)) -> io::Result<()> {
        loop {
            self.settle(reader, Instant::now().checked_sub(SETTLED));
            if reader.is_at_the_end() {
                return self.finish(reader).await;
            }
            let settles = self.written.front().map(|(at, _)| *at + SETTLED);
            let mut nothing = [0; 256];
            let turn = tokio::select! {
                biased;
                read = self.stream.read(&mut nothing) => match read {
                    // A receiver has nothing to say.
                    Ok(count) if count > 0 => continue,
                    end => Turn::Closed(end.map(drop)),
                },
                () = sleep_until(settles.unwrap_or_else(Instant::now)), if settles.is_some() => Turn::Settled,
                () = reader.more() => Turn::More,
            };
            match turn {
                Turn::Settled => {}
                Turn::Closed(Ok(())) => {
                    self.settle(reader, Instant::now().checked_sub(CROSSED));
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
                }
                Turn::Closed(Err(error)) => return Err(error),
                Turn::More => {
                    let batch = reader.read()?;
                    if batch.damaged {
                        lost(1);
                    }
                    let mut frames = Vec::new();
                    let behind = batch.records.last().map(|(_, behind)| *behind);
                    for (record, _) in &batch.records {
                        match serde_json::from_slice::<Message>(record) {
                            Ok(message) => frames.extend(header.frame(&message)),
                            // Of another version.
                            Err(_) => lost(1),
                        }
                    }
                    self.write(&frames).await?;
                    self.written.extend(behind.map(|behind| (Instant::now(), behind)));
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it takes nothing any more");
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(WRITE, write).await.map_err(late)?
    }

    /// What was written up to this moment counts as brought.
    fn settle(&mut self, reader: &Reader, until: Option<Instant>) {
        let Some(until) = until else { return };
        while let Some((at, behind)) = self.written.front().copied()
            && at <= until
        {
            reader.acknowledge(behind);
            self.written.pop_front();
        }
    }

    /// Says goodbye: a receiver that closes then has read everything.
    async fn finish(&mut self, reader: &Reader) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut nothing = [0; 256];
        let closed = async {
            while self.stream.read(&mut nothing).await? > 0 {}
            io::Result::Ok(())
        };
        if let Ok(closed) = timeout(GOODBYE, closed).await {
            closed?;
            self.settle(reader, Some(Instant::now()));
        }
        // One that does not close may not have read it: the next start sends it again.
        Ok(())
    }
}

/// The name of this machine; empty where it has none.
pub(super) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().map(harmless).collect()
}

/// Whether an address, as it is configured, is one of this machine's own loopback.
pub(super) fn is_loopback(address: &str) -> bool {
    let socket = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    socket || address.rsplit_once(':').is_some_and(|(host, _)| host == "localhost")
}

#[cfg(test)]
mod tests;
