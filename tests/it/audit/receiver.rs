//! A syslog receiver over TLS (RFC 5425) that wants to see a certificate and reads to the letter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::certificates::{Authority, Folder, Issued, Subject};

/// How long a test waits for what must come: longer than the bridge waits between two attempts.
const SOON: Duration = Duration::from_secs(30);
/// Longest message (PS3.15 A.6).
const MAX_MESSAGE: usize = 32 << 10;

/// Where a receiver may listen.
pub(super) struct Receiver {
    acceptor: TlsAcceptor,
    pub(super) address: SocketAddr,
    listener: Option<TcpListener>,
}

/// A connection of a bridge.
pub(super) struct Connection(TlsStream<TcpStream>);

impl Receiver {
    /// One that listens. `folder` gets `ca.pem`, and `bridge.pem` with its key.
    pub(super) async fn new(folder: &Folder) -> Self {
        let authority = Authority::new("Audit CA");
        folder.write("ca.pem", &authority.pem);
        folder.issued("bridge", &authority.issue(&Subject::client("GANTRY")));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&authority, &authority.issue(&Subject::default()));
        Self { acceptor, address, listener: Some(listener) }
    }

    /// The tables of a bridge that sends its trail there.
    pub(super) fn configuration(&self, folder: &Folder) -> String {
        let path = |name: &str| folder.path(name).display().to_string();
        format!(
            "[audit]\nspool = {{ path = \"{}\" }}\n[audit.syslog]\naddress = \"localhost:{}\"\n\
             tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}\n",
            path("spool"),
            self.address.port(),
            path("ca.pem"),
            path("bridge.pem"),
            path("bridge.key")
        )
    }

    /// From now on nobody is there.
    pub(super) fn go_down(&mut self) {
        self.listener = None;
    }

    pub(super) async fn come_up(&mut self) {
        self.listener = Some(TcpListener::bind(self.address).await.unwrap());
    }

    /// The next connection, which has shown a certificate.
    pub(super) async fn connection(&self) -> Connection {
        let accepted = async {
            let (stream, _) = self.listener.as_ref().unwrap().accept().await.unwrap();
            self.acceptor.accept(stream).await.unwrap()
        };
        let stream = timeout(SOON, accepted).await.expect("nobody came");
        assert!(stream.get_ref().1.peer_certificates().is_some());
        Connection(stream)
    }

    /// Why the next connection does not come about.
    pub(super) async fn refused(&self) -> String {
        let accepted = async {
            let (stream, _) = self.listener.as_ref().unwrap().accept().await.unwrap();
            self.acceptor.accept(stream).await.err()
        };
        let error = timeout(SOON, accepted).await.expect("nobody came");
        format!("{:?}", error.expect("a connection"))
    }
}

fn acceptor(authority: &Authority, own: &Issued) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

impl Connection {
    /// The next message; `None`: the bridge has said goodbye.
    ///
    /// # Panics
    /// Something else comes than RFC 5425 4.3 has, or nothing.
    pub(super) async fn message(&mut self) -> Option<String> {
        let length = self.length().await?;
        let mut text = vec![0; length];
        timeout(SOON, self.0.read_exact(&mut text)).await.expect("half a message").unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("<85>1 ") && text.contains(" DICOM+RFC3881 - \u{FEFF}<?xml"), "{text}");
        assert!(text.ends_with("</AuditMessage>"), "{text}");
        Some(text)
    }

    /// MSG-LEN and the space behind it.
    async fn length(&mut self) -> Option<usize> {
        let mut digits = String::new();
        loop {
            let mut byte = [0];
            // Without a close_notify this is an error.
            let read = timeout(SOON, self.0.read(&mut byte)).await.expect("nothing came").unwrap();
            match byte[0] {
                _ if read == 0 && digits.is_empty() => return None,
                b' ' if !digits.is_empty() => break,
                b'1'..=b'9' => digits.push(byte[0].into()),
                b'0' if !digits.is_empty() => digits.push('0'),
                other => panic!("{other:?} in a length, after {digits:?}"),
            }
        }
        let length = digits.parse().unwrap();
        assert!(length <= MAX_MESSAGE, "{length}");
        Some(length)
    }

    pub(super) async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.message().await.expect("more"));
        }
        messages
    }

    /// All that comes until the bridge says goodbye.
    pub(super) async fn rest(mut self) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    /// Whether nothing comes for so long.
    pub(super) async fn is_silent(&mut self, for_: Duration) -> bool {
        timeout(for_, self.0.read(&mut [0])).await.is_err()
    }

    /// Dies after some bytes of the next message.
    pub(super) async fn die_in_a_message(mut self) {
        let length = self.length().await.unwrap();
        self.0.read_exact(&mut vec![0; length / 2]).await.unwrap();
        let socket = self.0.into_inner().0;
        // A reset in place of an end.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The number that the search of a message was for, as in `PatientID=7`; `None`: it is of no search.
pub(super) fn number_in(message: &str) -> Option<usize> {
    let (_, query) = message.split_once("<ParticipantObjectQuery>")?;
    let (query, _) = query.split_once('<')?;
    let query = base64::engine::general_purpose::STANDARD.decode(query).unwrap();
    String::from_utf8(query).unwrap().split_once("PatientID=")?.1.parse().ok()
}
