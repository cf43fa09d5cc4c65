//! Handshakes over pipes, with certificates that are made here.

mod revoked;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::certificates::{
    Authority, Folder, Issued, Subject, self_signed, self_signed_device, signed_by_a_device,
};
use super::*;

/// A server, a client, and the files of both.
struct Scene {
    folder: Folder,
    authority: Authority,
    server: ServerConfig,
    client: ClientConfig,
}

fn scene() -> Scene {
    let (folder, authority) = (Folder::new(), Authority::new("Test CA"));
    let server = authority.issue(&Subject { name: "bridge", ..Subject::default() });
    let identity = identity(&folder, "server", &server);
    let ca = folder.write("ca.pem", &authority.pem);
    let server = ServerConfig { identity, clients: ClientCertificates::None, revoked: None };
    let client = ClientConfig { ca: Some(ca), ..ClientConfig::default() };
    Scene { folder, authority, server, client }
}

fn identity(folder: &Folder, name: &str, issued: &Issued) -> Identity {
    let (certificate, key) = folder.issued(name, issued);
    Identity { certificate, key }
}

impl Scene {
    fn ca(&self) -> PathBuf {
        self.folder.path("ca.pem")
    }

    fn shows(&mut self, subject: &Subject) {
        self.server.identity = identity(&self.folder, "server", &self.authority.issue(subject));
    }

    fn client_shows(&mut self, subject: &Subject) {
        let issued = self.authority.issue(subject);
        self.client.identity = Some(identity(&self.folder, "client", &issued));
    }

    /// What both ends come to: what the server knows of the client, once it has said something.
    async fn meet(&self, host: &str) -> (io::Result<Option<Arc<PeerCertificate>>>, io::Result<()>) {
        let server = Server::open(self.server.clone(), Protocol::Dimse).unwrap();
        meet(&server, &Client::new(self.client.clone()), host).await
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn meet(
    server: &Server,
    client: &Client,
    host: &str,
) -> (io::Result<Option<Arc<PeerCertificate>>>, io::Result<()>) {
    let (near, far) = duplex(1 << 16);
    let accepting = async {
        let mut stream = server.accept(far, soon()).await?;
        stream.read_exact(&mut [0; 4]).await?;
        stream.write_all(b"pong").await?;
        stream.flush().await?;
        Ok(stream.peer_certificate().cloned())
    };
    let connecting = async {
        let mut stream = client.connect(near, host, soon()).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        stream.read_exact(&mut [0; 4]).await?;
        Ok(())
    };
    tokio::join!(accepting, connecting)
}

/// What a person is told.
fn told<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    let error = result.unwrap_err();
    Failure::of(&error).unwrap_or_else(|| panic!("no failure of TLS: {error:?}")).to_string()
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_talks_to_a_server_that_shows_its_certificate() {
    let (accepted, connected) = scene().meet("localhost").await;
    connected.unwrap();
    assert_eq!(accepted.unwrap(), None, "nobody asked for the client's");
}

#[tokio::test]
async fn a_clients_certificate_tells_its_subject_its_names_and_its_fingerprint() {
    let mut scene = scene();
    scene.server.clients = ClientCertificates::Required(scene.ca());
    scene.client_shows(&Subject {
        organization: Some("St. Mary, East"),
        hosts: vec!["ct1.example"],
        uri: Some("urn:example:ct1"),
        ..Subject::client("CT1")
    });
    let (accepted, connected) = scene.meet("localhost").await;
    connected.unwrap();
    let certificate = accepted.unwrap().unwrap();
    assert_eq!(certificate.subject, r"CN=CT1,O=St. Mary\, East");
    assert_eq!(certificate.common_name.as_deref(), Some("CT1"));
    assert_eq!(certificate.names, ["ct1.example", "urn:example:ct1"]);
    let path = scene.client.identity.unwrap().certificate;
    let der = pem::certificates(&path).unwrap().remove(0);
    assert_eq!(certificate.fingerprint, ring::digest::digest(&ring::digest::SHA256, &der).as_ref());
}

#[tokio::test]
async fn a_client_without_a_certificate_comes_where_it_is_optional_and_not_where_it_is_required() {
    let mut scene = scene();
    scene.server.clients = ClientCertificates::Optional(scene.ca());
    let (accepted, connected) = scene.meet("localhost").await;
    assert_eq!((accepted.unwrap(), connected.unwrap()), (None, ()));
    scene.server.clients = ClientCertificates::Required(scene.ca());
    let (accepted, connected) = scene.meet("localhost").await;
    assert!(told(accepted).contains("showed no certificate"));
    let text = told(connected);
    assert!(
        text.contains("wants a client certificate") && text.contains("configure `certificate`"),
        "{text}"
    );
}

#[tokio::test]
async fn hazard_a_clients_certificate_that_is_no_good_is_refused_also_where_none_is_required() {
    let stranger = Authority::new("Somebody else");
    for clients in [ClientCertificates::Optional, ClientCertificates::Required] {
        let mut scene = scene();
        scene.server.clients = clients(scene.ca());
        scene.client.identity =
            Some(identity(&scene.folder, "client", &stranger.issue(&Subject::client("CT1"))));
        let (accepted, connected) = scene.meet("localhost").await;
        let text = told(accepted);
        assert!(text.contains("signed by nobody whom we trust") && text.contains("`client_ca`"), "{text}");
        assert!(told(connected).contains("our client certificate"));

        scene.client_shows(&Subject { years: (2020, 2021), ..Subject::client("CT1") });
        let (accepted, connected) = scene.meet("localhost").await;
        let text = told(accepted);
        assert!(text.contains("client's certificate has expired") && text.contains("renew"), "{text}");
        let text = told(connected);
        assert!(text.contains("our client certificate has expired"), "{text}");

        scene.client_shows(&Subject { is_client: false, ..Subject::client("CT1") });
        let text = told(scene.meet("localhost").await.0);
        assert!(text.contains("clientAuth"), "{text}");
    }
}

#[tokio::test]
async fn a_servers_certificate_that_is_no_good_is_refused_with_what_to_do() {
    let mut scene = scene();
    let years = |years| Subject { years, ..Subject::default() };
    let elsewhere = Subject { hosts: vec!["pacs.example", "pacs2.example"], ..Subject::default() };
    for (subject, what, advice) in [
        (years((2020, 2021)), "certificate has expired", "renew it"),
        (years((2080, 2090)), "not valid yet", "clocks"),
        (elsewhere, "not for localhost but for ", "server_name"),
        (Subject { hosts: vec![], ..Subject::default() }, "no host at all", "server_name"),
        (Subject { is_client: true, ..Subject::default() }, "not for this purpose", "serverAuth"),
    ] {
        scene.shows(&subject);
        let (accepted, connected) = scene.meet("localhost").await;
        let text = told(connected);
        assert!(text.contains(what) && text.contains(advice), "{text}");
        accepted.unwrap_err();
    }
    scene.authority = Authority::new("Somebody else");
    scene.shows(&Subject::default());
    let text = told(scene.meet("localhost").await.1);
    assert!(text.contains("signed by nobody whom we trust") && text.contains("`ca`"), "{text}");
    // What `openssl req -x509` makes is marked as an authority's, which is another error to the library.
    let own = self_signed(&Subject { name: "pacs", ..Subject::default() });
    scene.server.identity = identity(&scene.folder, "own", &own);
    let text = told(scene.meet("localhost").await.1);
    assert!(text.contains("has signed itself") && text.contains("`ca`") && !text.contains("Ca"), "{text}");
}

#[tokio::test]
async fn the_certificate_is_for_the_host_or_for_the_name_that_is_configured() {
    let mut scene = scene();
    scene.shows(&Subject { hosts: vec!["pacs.example"], ..Subject::default() });
    scene.client.server_name = Some("pacs.example".into());
    scene.meet("10.0.0.1").await.1.unwrap();
    scene.client.server_name = None;
    scene.meet("pacs.example").await.1.unwrap();
    assert!(told(scene.meet("10.0.0.1").await.1).contains("not for 10.0.0.1 but for "));
    assert!(told(scene.meet("no host").await.1).contains("server_name"));
    scene.shows(&Subject::default());
    scene.meet("127.0.0.1").await.1.unwrap();
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_where_it_is_listed_itself() {
    let mut scene = scene();
    let ours = self_signed(&Subject { name: "bridge", ..Subject::default() });
    let theirs = self_signed(&Subject { name: "CT1", ..Subject::default() });
    scene.server.identity = identity(&scene.folder, "server", &ours);
    scene.client.identity = Some(identity(&scene.folder, "client", &theirs));
    scene.client.ca = Some(scene.server.identity.certificate.clone());
    scene.server.clients = ClientCertificates::Required(scene.folder.path("client.pem"));
    let (accepted, connected) = scene.meet("localhost").await;
    connected.unwrap();
    assert_eq!(accepted.unwrap().unwrap().subject, "CN=CT1");
    // Its name and its dates count all the same, and nobody else is trusted for it.
    assert!(told(scene.meet("pacs.example").await.1).contains("not for pacs.example"));
    let another = self_signed(&Subject { name: "CT1", ..Subject::default() });
    scene.client.identity = Some(identity(&scene.folder, "another", &another));
    let (accepted, _) = scene.meet("localhost").await;
    told(accepted);
    let expired = self_signed(&Subject { years: (2020, 2021), ..Subject::default() });
    scene.server.identity = identity(&scene.folder, "server", &expired);
    assert!(told(scene.meet("localhost").await.1).contains("has expired"));
}

#[tokio::test]
async fn attack_a_listed_device_signs_a_certificate_for_nobody_else() {
    let mut scene = scene();
    let (device, other) = (Subject::client("CT1"), Subject::client("admin"));
    let own = self_signed_device(&device);
    let forged = signed_by_a_device(&device, &own, &other);
    // Alone in the file, and beside an authority.
    for list in [own.certificate.clone(), format!("{}{}", own.certificate, scene.authority.pem)] {
        scene.folder.write("clients.pem", &list);
        for clients in [ClientCertificates::Optional, ClientCertificates::Required] {
            scene.server.clients = clients(scene.folder.path("clients.pem"));
            scene.client.identity = Some(identity(&scene.folder, "client", &own));
            assert_eq!(scene.meet("localhost").await.0.unwrap().unwrap().subject, "CN=CT1");
            scene.client.identity = Some(identity(&scene.folder, "client", &forged));
            let text = told(scene.meet("localhost").await.0);
            assert!(text.contains("signed by nobody whom we trust"), "{text}");
        }
    }
}

#[tokio::test]
async fn attack_a_listed_archive_signs_no_other_servers_certificate() {
    let mut scene = scene();
    let subject = Subject { name: "pacs", ..Subject::default() };
    let own = self_signed_device(&subject);
    let forged = signed_by_a_device(&subject, &own, &Subject::default());
    scene.client.ca = Some(scene.folder.write("pacs.pem", &own.certificate));
    scene.server.identity = identity(&scene.folder, "server", &own);
    scene.meet("localhost").await.1.unwrap();
    scene.server.identity = identity(&scene.folder, "server", &forged);
    let text = told(scene.meet("localhost").await.1);
    assert!(text.contains("signed by nobody whom we trust"), "{text}");
}

#[tokio::test]
async fn clients_are_told_who_signs_certificates_of_listed_devices() {
    use rustls::server::danger::ClientCertVerifier;
    let scene = scene();
    let device = scene.authority.issue(&Subject::client("CT1"));
    let listed = trust::Listed::read(&scene.folder.write("device.pem", &device.certificate)).unwrap();
    let clients = trust::PinnedClients::new(listed, provider(), true).unwrap();
    let authority = trust::Listed::read(&scene.ca()).unwrap();
    let authority = trust::PinnedClients::new(authority, provider(), true).unwrap();
    let (clients, authority) = (clients.root_hint_subjects(), authority.root_hint_subjects());
    assert_eq!((clients.len(), authority.len()), (1, 1));
    assert_eq!(clients[0].as_ref(), authority[0].as_ref(), "a client chooses by it");
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told_from_one_that_does() {
    let scene = scene();
    let server = Server::open(scene.server, Protocol::Dimse).unwrap();
    for plain in [b"\x01\x00\x00\x00\x00\xCD\x00\x01".as_slice(), b"GET / HTTP/1.1\r\n\r\n"] {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(plain).await.unwrap();
        let text = told(server.accept(far, soon()).await);
        assert!(text.contains("does not speak TLS") && text.contains("without TLS"), "{text}");
    }
    let client = Client::new(scene.client);
    // A-ABORT, as an acceptor answers that takes the ClientHello for a broken PDU; then one that only hangs up.
    for (plain, expected) in [
        (b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x01".as_slice(), "does not speak TLS"),
        (b"", "closed the connection during the TLS handshake"),
    ] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(plain).await.unwrap();
        far.shutdown().await.unwrap();
        let text = told(client.connect(near, "localhost", soon()).await);
        assert!(text.contains(expected) && text.contains("at this port of the peer"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_a_handshake_that_stalls_ends_with_its_deadline_on_both_ends() {
    let scene = scene();
    let server = Server::open(scene.server, Protocol::Http).unwrap();
    let (_near, far) = duplex(1 << 16);
    let error = server.accept(far, soon()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // The files are read on a thread of their own, which paused time would overtake.
    let client = Client::new(scene.client);
    client.load_now();
    let (near, _far) = duplex(1 << 16);
    let error = client.connect(near, "localhost", soon()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(Failure::of(&error).unwrap().to_string().contains("TLS is spoken at this port"));
}

#[tokio::test]
async fn a_certificate_that_is_swapped_is_shown_in_the_next_handshake_and_a_bad_one_is_not() {
    let scene = scene();
    let server = Server::looking_every(Duration::ZERO, scene.server.clone(), Protocol::Dimse).unwrap();
    let shown = async || {
        let (near, far) = duplex(1 << 16);
        let client = Client::new(scene.client.clone());
        let (accepted, connected) =
            tokio::join!(server.accept(far, soon()), client.connect(near, "localhost", soon()));
        accepted.unwrap();
        connected.unwrap().peer_certificate().unwrap().subject.clone()
    };
    assert_eq!(shown().await, "CN=bridge");
    let renewed = scene.authority.issue(&Subject { name: "renewed", ..Subject::default() });
    // The certificate comes before its key: between them both do not fit.
    scene.folder.write("server.pem", &renewed.certificate);
    assert_eq!(shown().await, "CN=bridge", "the old pair stays in use");
    scene.folder.write("server.key", &renewed.key);
    assert_eq!(shown().await, "CN=renewed");
    scene.folder.write("server.pem", "nothing of use");
    assert_eq!(shown().await, "CN=renewed");
    std::fs::remove_file(scene.folder.path("server.key")).unwrap();
    assert_eq!(shown().await, "CN=renewed");
}

#[tokio::test]
async fn whom_we_trust_is_read_again_too() {
    let scene = scene();
    let server = Server::open(scene.server.clone(), Protocol::Dimse).unwrap();
    let client = Client::looking_every(Duration::ZERO, scene.client.clone());
    meet(&server, &client, "localhost").await.1.unwrap();
    scene.folder.write("ca.pem", &Authority::new("Another").pem);
    told(meet(&server, &client, "localhost").await.1);
    scene.folder.write("ca.pem", &scene.authority.pem);
    meet(&server, &client, "localhost").await.1.unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let scene = scene();
    let folder = &scene.folder;
    let with = |certificate: &str, key: &str| {
        let identity = Identity { certificate: folder.path(certificate), key: folder.path(key) };
        let error =
            ServerConfig { identity, clients: ClientCertificates::None, revoked: None }.check().unwrap_err();
        let name = error.path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, error.text)
    };
    let other = scene.authority.issue(&Subject::default());
    folder.write("other.key", &other.key);
    folder.write("text", "nothing");
    folder.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA");
    folder.write(
        "locked",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (certificate, key, name, text) in [
        ("gone", "server.key", "gone", "cannot be read"),
        ("text", "server.key", "text", "holds no certificate"),
        ("broken", "server.key", "broken", "is broken"),
        ("server.pem", "text", "text", "no private key"),
        ("server.pem", "locked", "locked", "without a password"),
        ("server.pem", "other.key", "other.key", "not the key of the first certificate in "),
    ] {
        let (named, told) = with(certificate, key);
        assert!(named == name && told.contains(text), "{named}: {told}");
    }
    let client = ClientConfig { ca: Some(folder.path("text")), ..ClientConfig::default() };
    assert!(client.check().unwrap_err().text.contains("no certificate"));
    scene.client.check().unwrap();
    ClientConfig::default().check().unwrap();
}

#[test]
fn hazard_no_key_shows_in_an_error_about_its_file() {
    let scene = scene();
    let key = std::fs::read_to_string(&scene.server.identity.key).unwrap();
    scene.folder.write("server.key", &key.replace("-----END", "@@@@ END"));
    let error = format!("{:?}", scene.server.check().unwrap_err());
    assert!(key.lines().filter(|line| line.len() > 30).all(|line| !error.contains(line)), "{error}");
}

#[test]
fn a_host_is_what_stands_before_the_port() {
    for (address, host) in [
        ("pacs.example:104", "pacs.example"),
        ("10.0.0.1:11112", "10.0.0.1"),
        ("[2001:db8::1]:104", "2001:db8::1"),
    ] {
        assert_eq!(host_of(address), host);
    }
}
