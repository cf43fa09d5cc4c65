//! Objects that pass through while they come, and answers on the wire.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll};

use futures_core::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

use super::super::wado::serve;
use super::*;
use crate::archive::{Archive, Fut, Result, Retrieval, Retrieve, Search};
use crate::caller::Caller;
use crate::dicom::object::Object;
use crate::dicom::query::Query;

type Piece = std::result::Result<Bytes, std::io::Error>;

/// The client's side of a body.
pub(super) struct Feeder(mpsc::UnboundedSender<Piece>);

/// The bridge's side of it.
pub(super) struct Sent(mpsc::UnboundedReceiver<Piece>);

impl Feeder {
    pub(super) fn new() -> (Self, Sent) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Sent(receiver))
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        assert!(self.0.send(Ok(Bytes::copy_from_slice(bytes))).is_ok(), "the body is gone");
    }

    pub(super) fn fail(&self) {
        let _ = self.0.send(Err(std::io::ErrorKind::ConnectionReset.into()));
    }
}

impl Stream for Sent {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

pub(super) fn body(sent: Sent) -> Body {
    Body::from_stream(sent)
}

/// An archive that answers when it is let, and counts.
#[derive(Default)]
struct Gate {
    /// Stores that may read and answer.
    open: Option<Semaphore>,
    begun: Notify,
    under_way: AtomicUsize,
    most: AtomicUsize,
    aborted: Mutex<Vec<String>>,
    finished: Mutex<Vec<String>>,
}

/// Notes a store that was dropped.
struct UnderWay<'a>(&'a Gate, String);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.0.finished.lock().unwrap().contains(&self.1) {
            self.0.aborted.lock().unwrap().push(self.1.clone());
        }
    }
}

impl Archive for Gate {
    fn name(&self) -> &str {
        "main"
    }

    fn search(&self, _: &Caller, _: Query) -> Fut<'_, Result<Search>> {
        unreachable!()
    }

    fn retrieve(&self, _: &Caller, _: Retrieve) -> Fut<'_, Result<Retrieval>> {
        unreachable!()
    }

    fn verify(&self, _: &Caller) -> Fut<'_, Result<()>> {
        unreachable!()
    }

    fn store(&self, _: &Caller, mut object: Object) -> Fut<'_, Result<Stored>> {
        Box::pin(async move {
            let name = object.head.sop_instance.to_string();
            let _guard = UnderWay(self, name.clone());
            self.most.fetch_max(self.under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            self.begun.notify_one();
            if let Some(open) = &self.open {
                open.acquire().await.unwrap().forget();
            }
            while let Some(piece) = object.body.next().await {
                piece.map_err(|_| Error::new("main", Kind::SourceBroke))?;
            }
            self.finished.lock().unwrap().push(name);
            Ok(Stored { status: 0, comment: None })
        })
    }
}

fn gated(stores: usize) -> (Arc<Gate>, Router) {
    let gate = Arc::new(Gate { open: Some(Semaphore::new(stores)), ..Gate::default() });
    let archives = router::Router::new([gate.clone() as Arc<_>], None);
    (gate, app(named(Config::default()), services(archives, CancellationToken::new())))
}

#[tokio::test]
async fn later_parts_are_sent_while_earlier_ones_wait_for_their_answers_four_at_a_time() {
    let (gate, app) = gated(0);
    let files: Vec<_> = (0..20).map(|n| file("1.2", &format!("1.4.{n}"))).collect();
    let posting = tokio::spawn(async move {
        send(&app, STUDIES, &[("Content-Type", TYPE)], multipart(&files).into()).await
    });
    while gate.under_way.load(Ordering::Relaxed) < 4 {
        gate.begun.notified().await;
    }
    gate.open.as_ref().unwrap().add_permits(20);
    let answer = posting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.stored().len()), (200, 20));
    assert_eq!(gate.most.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn hazard_a_slow_archive_holds_the_client_back_and_memory_stays_bounded() {
    let (gate, app) = gated(0);
    let head = [b"--b\r\n\r\n", &file("1.2", "1.4.1")[..]].concat();
    let (sender, receiver) = mpsc::channel::<Piece>(1);
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let feeding = tokio::spawn(async move {
        sender.send(Ok(head.into())).await.unwrap();
        let piece = Bytes::from(vec![0; 64 << 10]);
        // A part of 4 GiB.
        for _ in 0..1 << 16 {
            if sender.send(Ok(piece.clone())).await.is_err() {
                return;
            }
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    struct Few(mpsc::Receiver<Piece>);
    impl Stream for Few {
        type Item = Piece;
        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Piece>> {
            self.0.poll_recv(cx)
        }
    }
    let sent = Body::from_stream(Few(receiver));
    let request =
        Request::post(STUDIES).header("Host", "localhost").header("Content-Type", TYPE).body(sent).unwrap();
    let posting = tokio::spawn(app.oneshot(request));
    gate.begun.notified().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = taken.load(Ordering::Relaxed);
    assert!(before < 2 << 20, "{before} bytes were taken though the archive took none");
    // The client leaves: the object is aborted at once.
    posting.abort();
    let _ = posting.await;
    feeding.await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*gate.aborted.lock().unwrap(), ["1.4.1"]);
    assert_eq!(gate.under_way.load(Ordering::Relaxed), 0);
}

/// Posts to a server on a socket and reads what comes back to its end.
async fn over_the_wire(headers: &str, body: &[u8]) -> String {
    over_the_wire_to(STUDIES, headers, body).await
}

async fn over_the_wire_to(path: &str, headers: &str, body: &[u8]) -> String {
    let bridge = Bridge::new();
    let mut client = TcpStream::connect(serve(&bridge).await).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n");
    let mut text = Vec::new();
    let talk = async {
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(body).await.expect("the server takes it all");
        client.read_to_end(&mut text).await.expect("no reset");
    };
    timeout(Duration::from_secs(20), talk).await.expect("an answer");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn hazard_a_client_that_writes_everything_first_sees_its_answer_and_no_reset() {
    let large = vec![b'x'; 32 << 20];
    let length = large.len();
    let wrong = over_the_wire(&format!("Content-Type: text/plain\r\nContent-Length: {length}"), &large).await;
    assert!(wrong.starts_with("HTTP/1.1 415 "), "{wrong}");
    let headers = format!("Content-Type: {TYPE}\r\nContent-Length: {length}");
    let endless_preamble = over_the_wire(&headers, &large).await;
    assert!(endless_preamble.starts_with("HTTP/1.1 400 "), "{endless_preamble}");
    for (path, status) in [("/dicomweb/studies", 404), ("/dicom-web/series", 405)] {
        let nowhere = over_the_wire_to(path, &headers, &large).await;
        assert!(nowhere.starts_with(&format!("HTTP/1.1 {status} ")), "{nowhere}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_refused_before_it_sends_and_told_to_go_on_otherwise() {
    let refused =
        over_the_wire("Content-Type: text/plain\r\nContent-Length: 99\r\nExpect: 100-continue", b"").await;
    assert!(refused.starts_with("HTTP/1.1 415 "), "{refused}");
    let body = multipart(&[file("1.2", "1.4.1")]);
    let headers = format!("Content-Type: {TYPE}\r\nContent-Length: {}\r\nExpect: 100-continue", body.len());
    let taken = over_the_wire(&headers, &body).await;
    assert!(taken.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "), "{taken}");
}

#[tokio::test]
async fn chunked_bodies_are_read_and_a_lost_connection_stores_nothing() {
    let body = multipart(&[file("1.2", "1.4.1")]);
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunked: Vec<u8> = body.chunks(7).map(chunk).collect::<Vec<_>>().concat();
    let headers = format!("Content-Type: {TYPE}\r\nTransfer-Encoding: chunked");
    let answer = over_the_wire(&headers, &[&chunked[..], b"0\r\n\r\n"].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let bridge = Bridge::new();
    let mut client = TcpStream::connect(serve(&bridge).await).await.unwrap();
    let head = format!("POST {STUDIES} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&chunked[..chunked.len() - 100]).await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(bridge.archive.stored().is_empty());
}
