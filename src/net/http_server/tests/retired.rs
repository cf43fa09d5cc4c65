//! Connections on which nothing more is to be asked.

use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;

use super::*;

/// A server that answers everything, and takes nothing more on a connection on which `/last` was asked for.
async fn start() -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let service = service_fn(|request: Request<Incoming>| async move {
        if request.uri().path() == "/last" {
            request.extensions().get::<Connection>().unwrap().retire();
        }
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"answer"))))
    });
    tokio::spawn(serve_http(listener, None, service, limits(), shutdown.clone()));
    (address, shutdown)
}

#[tokio::test]
async fn a_connection_of_http_1_ends_with_the_answer_that_is_its_last() {
    let (address, shutdown) = start().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for path in ["/", "/last"] {
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        read_until(&mut client, "answer").await;
    }
    assert_eq!(timeout(Duration::from_secs(5), client.read(&mut [0])).await.unwrap().unwrap(), 0);
    shutdown.cancel();
}

#[tokio::test]
async fn a_connection_of_http_2_ends_with_the_answer_that_is_its_last() {
    let (address, shutdown) = start().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for path in ["/", "/last"] {
        let request = Request::get(format!("http://x{path}")).body(Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answer");
    }
    let ended = timeout(Duration::from_secs(5), connection).await;
    assert!(ended.is_ok(), "the server has closed it");
    shutdown.cancel();
}
