//! An HTTP/1 client on a bare socket: it tells a body that is whole from one that broke off as strictly as the
//! protocol allows, and it can read as slowly as a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::curl::header_accepting_as_stored;

/// No answer of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a client that reads nothing has room for, in bytes.
const SMALL_WINDOW: u32 = 4096;

/// The version of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The end of the connection is the end of the body.
    Http10,
    /// Chunks.
    Http11,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status; 0 when none came.
    pub(crate) status: u16,
    /// Header fields, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, as much as came.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as the protocol says that a whole one ends.
    pub(crate) whole: bool,
}

impl Reply {
    /// A header field's value, empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Gets the objects at `path` as they are stored.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    get_with(address, path, Version::Http11, header_accepting_as_stored()).await
}

/// Gets `path` with one more header field.
pub(crate) async fn get_with(address: SocketAddr, path: &str, version: Version, header: &str) -> Reply {
    ask_with(address, "GET", path, version, header).await
}

/// Asks for `path` by this method, with one more header field.
pub(crate) async fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    version: Version,
    header: &str,
) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    request(&mut stream, method, path, version, header).await;
    read(&mut stream).await
}

/// Asks for `path` as it is stored and leaves the reading to the caller, whose socket takes next to nothing.
pub(crate) async fn open(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL_WINDOW).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    request(&mut stream, "GET", path, Version::Http11, header_accepting_as_stored()).await;
    stream
}

async fn request(stream: &mut TcpStream, method: &str, path: &str, version: Version, header: &str) {
    let version = if version == Version::Http10 { "1.0" } else { "1.1" };
    let text =
        format!("{method} {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads the answer to its end, or to where it breaks off.
pub(crate) async fn read(stream: &mut TcpStream) -> Reply {
    let mut raw = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut raw)).await.expect("the answer never ends");
    parse(raw, ended.is_ok())
}

/// `closed`: the connection ended with FIN, and not with RST.
fn parse(raw: Vec<u8>, closed: bool) -> Reply {
    let nothing = Reply { status: 0, headers: Vec::new(), body: Vec::new(), whole: false };
    let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") else { return nothing };
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let rest = raw[end + 4..].to_vec();
    let reply = Reply { status, headers, body: Vec::new(), whole: false };
    let (body, whole) = if reply.header("transfer-encoding") == "chunked" {
        unchunk(&rest)
    } else if let Ok(length) = reply.header("content-length").parse::<usize>() {
        let whole = rest.len() == length;
        (rest, whole)
    } else {
        (rest, closed)
    };
    Reply { body, whole, ..reply }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, rest == b"\r\n");
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            break;
        }
        rest = &rest[size + 2..];
    }
    (body, false)
}
