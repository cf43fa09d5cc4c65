//! `gantry health`: asks the bridge that runs with this configuration whether it is well, for what watches it and has no curl.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{Failure, check_config};
use crate::net::tls::{Client, ClientCertificates, ServerConfig};

/// How long all of it may take: less than the 3 s after which a container's health check is given up in the `Dockerfile`.
const WITHIN: Duration = Duration::from_millis(2_500);
/// Most bytes of an answer that are read: `/health/ready` has a few hundred for each archive.
const MAX_ANSWER: u64 = 256 * 1024;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file of the bridge. Without it, the environment's GANTRY_… variables alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask whether it is ready for work, and not only whether it lives.
    #[arg(long)]
    ready: bool,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = check_config::load(arguments.config.as_deref())?;
    let address = reached_at(config.http.listen);
    let path = if arguments.ready { "/health/ready" } else { "/health/live" };
    let deadline = Instant::now() + WITHIN;
    let asked = timeout_at(deadline, ask(address, config.http.tls.as_ref(), path, deadline));
    let answer = match asked.await {
        Ok(answer) => answer.map_err(|error| Failure::Other(format!("no answer from {address}: {error}")))?,
        Err(_) => return Err(Failure::Other(format!("no answer from {address} within {WITHIN:?}"))),
    };
    match answer {
        Some(answer) if !answer.starts_with("HTTP/1.1 200 ") => {
            Err(Failure::Other(format!("{address}{path}: {}", answer.lines().next().unwrap_or_default())))
        }
        _ => Ok(()),
    }
}

/// Where what listens there is reached from this machine.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// What the server answers; `None` where it tells those alone who show a certificate: that it shakes hands is all that can
/// be seen.
async fn ask(
    address: SocketAddr,
    tls: Option<&ServerConfig>,
    path: &str,
    deadline: Instant,
) -> io::Result<Option<String>> {
    let socket = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return exchange(socket, path).await.map(Some) };
    let client = Client::of_ourselves(&tls.identity).map_err(io::Error::other)?;
    let stream = client.connect(socket, "", deadline).await?;
    match tls.clients {
        ClientCertificates::Required(_) => Ok(None),
        _ => exchange(stream, path).await.map(Some),
    }
}

/// One request and its answer, until the server closes.
async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    io.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(reached_at(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
