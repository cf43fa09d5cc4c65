//! A viewer's connections: kept alive, one request after the other on each, some of them at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::Reply;

/// How many requests a browser has under way at once on HTTP/1.1.
pub(crate) const AT_ONCE: usize = 6;
/// What OHIF accepts for frames.
pub(crate) const FRAMES: &str = "Accept: multipart/related; type=application/octet-stream; transfer-syntax=*";
/// What it accepts for metadata and searches.
pub(crate) const JSON: &str = "Accept: application/dicom+json";

/// A connection that is kept alive.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to a bridge.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(BufReader::with_capacity(256 << 10, TcpStream::connect(address).await.unwrap()))
    }

    /// Gets `path` with one more header field. An answer that breaks off is not whole; the connection is then of no
    /// further use.
    pub(crate) async fn get(&mut self, path: &str, header: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Reply { status: 0, headers: Vec::new(), body: Vec::new(), whole: false };
        let Some(line) = self.line().await else { return reply };
        reply.status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while let Some(line) = self.line().await.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        reply.whole = match reply.header("content-length").parse() {
            Ok(length) => self.take(&mut reply.body, length).await,
            Err(_) => self.chunks(&mut reply.body).await,
        };
        reply
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    }

    async fn take(&mut self, body: &mut Vec<u8>, length: usize) -> bool {
        let taken = (&mut self.0).take(length as u64).read_to_end(body).await;
        taken.is_ok_and(|taken| taken == length)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(line) = self.line().await {
            let Ok(length) = usize::from_str_radix(line.split(';').next().unwrap_or(""), 16) else { break };
            if !self.take(body, length).await || self.line().await.as_deref() != Some("") {
                break;
            }
            if length == 0 {
                return true;
            }
        }
        false
    }
}

/// Gets all of `paths`, [`AT_ONCE`] of them at a time, in their order.
pub(crate) async fn get_all(address: SocketAddr, paths: &[String], header: &'static str) -> Vec<Reply> {
    let (paths, next) = (Arc::new(paths.to_vec()), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (paths, next) = (Arc::clone(&paths), Arc::clone(&next));
        workers.spawn(async move {
            let (mut connection, mut replies) = (Connection::to(address).await, Vec::new());
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = paths.get(at) else { return replies };
                replies.push((at, connection.get(path, header).await));
            }
        });
    }
    let mut replies: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    replies.sort_by_key(|(at, _)| *at);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

/// The body of the only part of a `multipart/related` answer.
///
/// # Panics
/// There is no such part, or the answer does not end after it.
pub(crate) fn only_part(reply: &Reply) -> &[u8] {
    let boundary = reply.header("content-type").split("boundary=").nth(1).expect("a boundary");
    let end = format!("\r\n--{}--", boundary.split(';').next().unwrap().trim_matches('"'));
    let body = reply.body.strip_suffix(b"\r\n").unwrap_or(&reply.body);
    let body = body.strip_suffix(end.as_bytes()).expect("the closing boundary");
    let head = body.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a part's head");
    &body[head + 4..]
}
