//! What raw sockets see of the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Version;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::Connection;
use super::*;

/// A body that the test drives: pieces, then an error, or an end when the sender is dropped.
struct Driven {
    pieces: mpsc::Receiver<Result<Bytes, &'static str>>,
    connection: Option<Connection>,
    _dropped: Option<mpsc::Sender<()>>,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let next = std::task::ready!(self.pieces.poll_recv(cx));
        if let (Some(Err(_)), Some(connection)) = (&next, &self.connection) {
            connection.abort();
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }
}

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    /// A sender into each body that was begun.
    bodies: mpsc::Receiver<mpsc::Sender<Result<Bytes, &'static str>>>,
    /// Closed when all bodies are gone.
    dropped: mpsc::Receiver<()>,
}

fn limits() -> HttpSettings {
    HttpSettings {
        max_connections: 10,
        max_connections_per_address: 10,
        proxies: Vec::new(),
        max_head: 64 << 10,
        head_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
    }
}

async fn start(settings: HttpSettings) -> Server {
    start_over(None, settings).await
}

async fn start_over(tls: Option<tls::Server>, settings: HttpSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (senders, bodies) = mpsc::channel(10);
    let (alive, dropped) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let (senders, alive) = (senders.clone(), alive.clone());
        async move {
            let (sender, pieces) = mpsc::channel(4);
            let http2 = request.version() == Version::HTTP_2;
            let connection = (!http2).then(|| request.extensions().get::<Connection>().unwrap().clone());
            senders.send(sender).await.unwrap();
            Ok::<_, Infallible>(Response::new(Driven { pieces, connection, _dropped: Some(alive) }))
        }
    });
    let task = tokio::spawn(serve_http(listener, tls, service, settings, shutdown.clone()));
    Server { address, shutdown, task, bodies, dropped }
}

impl Server {
    async fn ask(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }
}

mod over_tls;
mod retired;

const HTTP_1_0: &str = "GET / HTTP/1.0\r\n\r\n";
const HTTP_1_1: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Reads until `wanted` has come.
async fn read_until(client: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(wanted) {
        assert_ne!(client.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_body_that_broke_off_resets_the_connection_over_http_1_0_and_1_1() {
    let mut server = start(limits()).await;
    for request in [HTTP_1_0, HTTP_1_1] {
        let mut client = server.ask(request).await;
        let body = server.bodies.recv().await.unwrap();
        body.send(Ok(Bytes::from_static(b"half of it"))).await.unwrap();
        read_until(&mut client, "half of it").await;
        body.send(Err("the archive died")).await.unwrap();
        let mut rest = Vec::new();
        let error = client.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{request}");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "no terminating chunk");
    }
}

#[tokio::test]
async fn a_body_that_is_whole_ends_with_fin_over_http_1_0() {
    let mut server = start(limits()).await;
    let mut client = server.ask(HTTP_1_0).await;
    let body = server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"all of it"))).await.unwrap();
    drop(body);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("\r\n\r\nall of it"));
}

/// One frame of HTTP/2 (RFC 9113 4.1): type, flags, stream, payload.
async fn read_frame(client: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    client.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
}

#[tokio::test]
async fn a_body_that_broke_off_resets_its_stream_over_http_2() {
    let mut server = start(limits()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    opening.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS
    let fields = [0x82, 0x86, 0x84, 0x41, 1, b'x']; // GET, http, /, :authority x (RFC 7541)
    opening.extend([0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1]); // HEADERS, end of stream and of headers
    opening.extend(fields);
    client.write_all(&opening).await.unwrap();
    let body = server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"half of it"))).await.unwrap();
    loop {
        let (kind, flags, stream, payload) = read_frame(&mut client).await;
        if (kind, stream) == (0, 1) {
            assert_eq!((flags & 1, payload.as_slice()), (0, b"half of it".as_slice()));
            break;
        }
    }
    body.send(Err("the archive died")).await.unwrap();
    loop {
        let (kind, flags, stream, _) = read_frame(&mut client).await;
        assert!(!(kind == 0 && flags & 1 == 1), "the stream must not end well");
        if (kind, stream) == (3, 1) {
            break;
        }
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_and_its_body_dropped() {
    let short = HttpSettings { write_timeout: Duration::from_millis(300), ..limits() };
    let mut server = start(short).await;
    let _client = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    let piece = Bytes::from(vec![0; 1 << 20]);
    let begin = Instant::now();
    // Ends when the connection gives the body up.
    while body.send(Ok(piece.clone())).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stalled_reader_holds_little_in_the_kernel() {
    let mut server = start(limits()).await;
    let _client = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    let piece = Bytes::from(vec![0; 16 * 1024]);
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(200), body.send(Ok(piece.clone()))).await.is_ok() {
        taken += piece.len();
    }
    // The client's window fills as well. Without the limit it is 4 MB.
    assert!(taken < 1 << 20, "{taken} bytes were taken for a reader that reads nothing");
}

#[tokio::test]
async fn a_client_that_left_while_nothing_came_drops_the_body_at_once() {
    let mut server = start(limits()).await;
    let mut client = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"a first piece"))).await.unwrap();
    read_until(&mut client, "a first piece").await;
    drop(client);
    tokio::time::timeout(Duration::from_secs(1), body.closed()).await.expect("noticed within a second");
}

#[tokio::test]
async fn a_client_that_stopped_reading_and_then_left_drops_the_body_at_once() {
    let mut server = start(limits()).await;
    let client = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    let piece = Bytes::from(vec![0; 1 << 20]);
    while tokio::time::timeout(Duration::from_millis(200), body.send(Ok(piece.clone()))).await.is_ok() {}
    drop(client);
    tokio::time::timeout(Duration::from_secs(1), body.closed()).await.expect("noticed within a second");
}

#[tokio::test]
async fn a_client_that_sends_no_whole_request_is_cut() {
    let short = HttpSettings { head_timeout: Duration::from_millis(200), ..limits() };
    let server = start(short).await;
    for silence in ["", "P", "PRI * HT", "GET / HTTP/1.1\r\nHost:"] {
        let mut client = server.ask(silence).await;
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(3), read).await.expect("the server hangs up");
    }
}

#[tokio::test]
async fn a_connection_that_idles_after_a_request_is_closed() {
    let short = HttpSettings { head_timeout: Duration::from_millis(200), ..limits() };
    let mut server = start(short).await;
    let mut client = server.ask(HTTP_1_1).await;
    drop(server.bodies.recv().await.unwrap());
    read_until(&mut client, "0\r\n\r\n").await;
    let end = tokio::time::timeout(Duration::from_secs(3), client.read(&mut [0; 1])).await;
    assert_eq!(end.expect("the server hangs up").unwrap(), 0);
}

#[tokio::test]
async fn further_connections_wait_for_a_free_place() {
    let mut server = start(HttpSettings { max_connections: 1, ..limits() }).await;
    let first = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    let _second = server.ask(HTTP_1_1).await;
    let waited = tokio::time::timeout(Duration::from_millis(200), server.bodies.recv()).await;
    assert!(waited.is_err());
    drop((first, body));
    assert!(server.bodies.recv().await.is_some());
}

#[tokio::test]
async fn hazard_one_address_does_not_hold_every_connection_unless_it_is_a_proxys() {
    let mut server = start(HttpSettings { max_connections_per_address: 1, ..limits() }).await;
    let first = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed");
    drop((first, body));
    let free = async {
        loop {
            let (mut client, mut end) = (server.ask(HTTP_1_1).await, [0; 1]);
            tokio::select! {
                _ = server.bodies.recv() => break,
                _ = client.read(&mut end) => {}
            }
        }
    };
    timeout(Duration::from_secs(5), free).await.expect("the place comes back");
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut server = start(HttpSettings { max_connections_per_address: 1, proxies, ..limits() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push((server.ask(HTTP_1_1).await, server.bodies.recv().await.unwrap()));
    }
}

#[tokio::test]
async fn a_shutdown_lets_a_response_finish_and_takes_no_new_connection() {
    let mut server = start(limits()).await;
    let mut client = server.ask(HTTP_1_1).await;
    let body = server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"one "))).await.unwrap();
    read_until(&mut client, "one ").await;
    server.shutdown.cancel();
    body.send(Ok(Bytes::from_static(b"two"))).await.unwrap();
    read_until(&mut client, "two").await;
    drop(body);
    read_until(&mut client, "0\r\n\r\n").await;
    server.task.await.unwrap();
    assert!(server.dropped.recv().await.is_none(), "nothing is left over");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_response_that_outlasts_the_drain_time_is_reset() {
    let mut server = start(HttpSettings { drain_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut client = server.ask(HTTP_1_0).await;
    let body = server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    read_until(&mut client, "half").await;
    server.shutdown.cancel();
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
