//! Certificates that are revoked while the bridge runs, and while a connection is open with them.

use std::net::SocketAddr;

use gantry::demo::Running;
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;
use gantry::dicom::{Uid, sop_class};
use gantry::dimse::association::{Association, Event, Request, Requested};
use gantry::dimse::command::{Command, field};
use gantry::net::DimseSocket;
use gantry::net::tls::{Client, ClientConfig, Identity, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::{Pki, archive, before};
use crate::support::app::TestApp;
use crate::support::certificates::{Issued, Subject};
use crate::support::dimse::{Client as DimseClient, echo, proposal};
use crate::support::{DEADLINE, until};

/// A class that nobody knows: each client has an association of its own at the archive.
const PRIVATE: &str = "1.3.6.1.4.1.9.9.9";

/// A bridge that wants certificates which are not revoked, over HTTP and DIMSE, and two clients of it.
struct Scene {
    pki: Pki,
    ct1: Issued,
    app: TestApp,
    _archive: Option<Running>,
}

impl Scene {
    async fn new() -> Self {
        let archive = archive().await;
        let scene = Self::before(archive.addr()).await;
        Self { _archive: Some(archive), ..scene }
    }

    async fn before(archive: SocketAddr) -> Self {
        let pki = Pki::new();
        let ct1 = pki.authority.issue(&Subject::client("CT1"));
        pki.keep("ct1", &ct1);
        pki.issue("ct2", &Subject::client("CT2"));
        pki.folder.write("crl.pem", &pki.authority.revoke(&[], 2090));
        let listener = format!("{}client_revoked = \"{}\"\n", pki.listener("required"), pki.path("crl.pem"));
        let configuration = format!(
            "{}[dimse.tls]\nlisten = \"127.0.0.1:0\"\n{listener}[http.tls]\n{listener}",
            before(archive)
        );
        Self { app: TestApp::start(&configuration).await, pki, ct1, _archive: None }
    }

    fn revoke_ct1(&self) {
        self.pki.folder.write("crl.pem", &self.pki.authority.revoke(&[&self.ct1], 2090));
    }

    fn client(&self, file: &str) -> Client {
        let [certificate, key] = ["pem", "key"].map(|end| self.pki.folder.path(&format!("{file}.{end}")));
        Client::new(ClientConfig {
            ca: Some(self.pki.folder.path("ca.pem")),
            identity: Some(Identity { certificate, key }),
            ..ClientConfig::default()
        })
    }

    async fn http(&self, file: &str) -> Stream<TcpStream> {
        let socket = TcpStream::connect(self.app.http).await.unwrap();
        self.client(file).connect(socket, "localhost", Instant::now() + DEADLINE).await.unwrap()
    }

    /// An association for one class; `None`: it is not let in.
    async fn associate(&self, file: &str, class: &str) -> Option<DimseClient> {
        let deadline = Instant::now() + DEADLINE;
        let address = self.app.dimse_tls.unwrap().to_string();
        let socket = DimseSocket::connect(&address, deadline).await.unwrap();
        let stream = self.client(file).connect(socket, "localhost", deadline).await.ok()?;
        let request = Request {
            called: "GANTRY".parse().unwrap(),
            calling: file.to_uppercase().parse().unwrap(),
            proposals: vec![proposal(class, &[EXPLICIT_VR_LE])],
            extended: vec![],
            roles: vec![],
        };
        let association = Association::request(stream, &request, deadline).await.ok()?;
        Some(DimseClient { association })
    }
}

/// An archive that takes every class and answers every request with success. Whether each association was released is
/// told when it has ended.
async fn agreeable() -> (SocketAddr, UnboundedReceiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let socket = DimseSocket::from_stream(socket).unwrap();
                let deadline = Instant::now() + DEADLINE;
                let requested = Requested::read(socket, deadline).await.unwrap();
                let first = |_: &Uid, syntaxes: &[Uid]| Ok(syntaxes[0].clone());
                let mut association = requested.accept(first, |_| false, deadline).await.unwrap();
                loop {
                    match association.event().await {
                        Ok(Event::Command { context, command }) => {
                            association.send(context, &command.response(0), None);
                            association.flush().await.unwrap();
                        }
                        Ok(Event::Data { .. }) => {}
                        end => {
                            let _ = ended.send(matches!(end, Ok(Event::ReleaseRequested)));
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, ends)
}

/// Asks once more on a connection: the whole answer, which has a length.
async fn ask(stream: &mut Stream<TcpStream>) -> String {
    let request = b"GET /dicom-web/studies?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = timeout(DEADLINE, stream.read(&mut piece)).await.unwrap().unwrap();
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: Option<usize> = length.and_then(|text| text.trim().parse().ok());
        if let (Some(length), Some(head)) = (length, text.find("\r\n\r\n"))
            && answer.len() >= head + 4 + length
        {
            return text;
        }
        assert!(read > 0, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_revoked_certificate_opens_no_connection_and_asks_nothing_more_on_one_that_is_open() {
    let scene = Scene::new().await;
    let (mut own, mut other) = (scene.http("ct1").await, scene.http("ct2").await);
    for stream in [&mut own, &mut other] {
        assert!(ask(stream).await.starts_with("http/1.1 200"));
    }
    scene.revoke_ct1();
    let mut refusal = String::new();
    until("the open connection is refused", DEADLINE, async || {
        refusal = ask(&mut own).await;
        !refusal.starts_with("http/1.1 200")
    })
    .await;
    assert!(refusal.starts_with("http/1.1 401") && refusal.contains("has been revoked"), "{refusal}");
    assert_eq!(timeout(DEADLINE, own.read(&mut [0])).await.unwrap().unwrap(), 0, "and it is closed");
    assert!(ask(&mut other).await.starts_with("http/1.1 200"), "others go on");
    // The handshake of TLS 1.3 has ended for the client before its certificate is looked at.
    let mut again = scene.http("ct1").await;
    let _ = again.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let read = timeout(DEADLINE, again.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(read, Err(_) | Ok(0)), "{read:?}");
    assert!(ask(&mut scene.http("ct2").await).await.starts_with("http/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_an_association_ends_before_the_next_request_of_who_was_revoked() {
    let scene = Scene::new().await;
    let mut own = scene.associate("ct1", sop_class::VERIFICATION).await.unwrap();
    let mut other = scene.associate("ct2", sop_class::VERIFICATION).await.unwrap();
    for client in [&mut own, &mut other] {
        assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    }
    scene.revoke_ct1();
    until("the association is ended", DEADLINE, async || own.ask(echo(), None).await.is_err()).await;
    assert_eq!(other.ask(echo(), None).await.unwrap().status(), 0, "others go on");
    assert!(scene.associate("ct1", sop_class::VERIFICATION).await.is_none(), "nor is there another one");
    assert!(scene.associate("ct2", sop_class::VERIFICATION).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_session_that_passes_unread_ends_before_the_next_request_of_who_was_revoked() {
    let (archive, mut ends) = agreeable().await;
    let scene = Scene::before(archive).await;
    let mut own = scene.associate("ct1", PRIVATE).await.unwrap();
    let mut other = scene.associate("ct2", PRIVATE).await.unwrap();
    let get =
        || Command { sop_instance: "1.2.3".parse().ok(), ..Command::request(field::N_GET_RQ, PRIVATE, 1) };
    for client in [&mut own, &mut other] {
        assert_eq!(client.ask(get(), None).await.unwrap().status(), 0);
    }
    scene.revoke_ct1();
    until("the session is ended", DEADLINE, async || own.ask(get(), None).await.is_err()).await;
    let released = timeout(DEADLINE, ends.recv()).await.unwrap().unwrap();
    assert!(!released, "at the archive it is cut as well");
    assert_eq!(other.ask(get(), None).await.unwrap().status(), 0, "others go on");
    assert!(scene.associate("ct1", PRIVATE).await.is_none(), "nor is there another one");
}
