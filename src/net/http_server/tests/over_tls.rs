//! The same over TLS.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::super::tls::certificates::{Authority, Folder, Subject};
use super::super::super::tls::{
    Client, ClientCertificates, ClientConfig, Identity, Protocol, Server as TlsServer, ServerConfig, Stream,
};
use super::*;

/// A server over TLS, and a client that trusts it.
struct Scene {
    server: Server,
    client: Client,
    _folder: Folder,
}

async fn scene(settings: HttpSettings) -> Scene {
    let (folder, authority) = (Folder::new(), Authority::new("Test CA"));
    let (certificate, key) = folder.issued("server", &authority.issue(&Subject::default()));
    let identity = Identity { certificate, key };
    let ca = folder.write("ca.pem", &authority.pem);
    let config = ServerConfig { identity, clients: ClientCertificates::None, revoked: None };
    let tls = TlsServer::open(config, Protocol::Http).unwrap();
    let client = Client::new(ClientConfig { ca: Some(ca), ..ClientConfig::default() });
    Scene { server: start_over(Some(tls), settings).await, client, _folder: folder }
}

impl Scene {
    async fn ask(&self, request: &str) -> Stream<TcpStream> {
        let socket = TcpStream::connect(self.server.address).await.unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        let mut client = self.client.connect(socket, "localhost", soon).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.flush().await.unwrap();
        client
    }
}

async fn read_until(client: &mut Stream<TcpStream>, wanted: &str) {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(wanted) {
        assert_ne!(client.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn a_body_that_broke_off_resets_the_connection_over_tls_too() {
    let mut scene = scene(limits()).await;
    for request in [HTTP_1_0, HTTP_1_1] {
        let mut client = scene.ask(request).await;
        let body = scene.server.bodies.recv().await.unwrap();
        body.send(Ok(Bytes::from_static(b"half of it"))).await.unwrap();
        read_until(&mut client, "half of it").await;
        body.send(Err("the archive died")).await.unwrap();
        let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{request}");
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_over_tls_too() {
    let short = HttpSettings { write_timeout: Duration::from_millis(300), ..limits() };
    let mut scene = scene(short).await;
    let _client = scene.ask(HTTP_1_1).await;
    let body = scene.server.bodies.recv().await.unwrap();
    let piece = Bytes::from(vec![0; 1 << 20]);
    let begin = Instant::now();
    while body.send(Ok(piece.clone())).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_shutdown_lets_a_response_finish_over_tls_too() {
    let mut scene = scene(limits()).await;
    let mut client = scene.ask(HTTP_1_1).await;
    let body = scene.server.bodies.recv().await.unwrap();
    body.send(Ok(Bytes::from_static(b"one "))).await.unwrap();
    read_until(&mut client, "one ").await;
    scene.server.shutdown.cancel();
    body.send(Ok(Bytes::from_static(b"two"))).await.unwrap();
    drop(body);
    read_until(&mut client, "0\r\n\r\n").await;
    scene.server.task.await.unwrap();
}

#[tokio::test]
async fn hazard_a_client_that_stalls_in_the_handshake_is_cut() {
    let short = HttpSettings { head_timeout: Duration::from_millis(200), ..limits() };
    let scene = scene(short).await;
    // Nothing; the beginning of a ClientHello; a whole handshake without a request.
    for silence in [b"".as_slice(), b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = TcpStream::connect(scene.server.address).await.unwrap();
        client.write_all(silence).await.unwrap();
        let read = async { client.read_to_end(&mut Vec::new()).await };
        let _ = tokio::time::timeout(Duration::from_secs(3), read).await.expect("the server hangs up");
    }
    let mut client = scene.ask("").await;
    let read = async { client.read_to_end(&mut Vec::new()).await };
    let _ = tokio::time::timeout(Duration::from_secs(3), read).await.expect("the server hangs up");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_handshake() {
    let scene = scene(limits()).await;
    let mut client = TcpStream::connect(scene.server.address).await.unwrap();
    client.write_all(b"\x16\x03\x01").await.unwrap();
    // Whoever is served later is accepted later.
    drop(scene.ask("").await);
    scene.server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(3), scene.server.task).await.expect("ends at once").unwrap();
}

#[tokio::test]
async fn a_client_that_speaks_http_without_tls_is_told_so() {
    let scene = scene(limits()).await;
    let mut client = scene.server.ask(HTTP_1_1).await;
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
    assert!(body.contains("HTTPS only") && body.contains("https URL"), "{text}");
}
