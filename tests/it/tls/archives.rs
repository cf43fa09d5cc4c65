//! Archives behind the bridge: Orthanc over TLS, and all that can be wrong with a certificate, as web clients are told.

use std::net::SocketAddr;

use gantry::net::tls::{ClientCertificates, Identity, Protocol, Server, ServerConfig};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Pki, archive};
use crate::support::DEADLINE;
use crate::support::app::TestApp;
use crate::support::certificates::{Authority, Subject};
use crate::support::http::{Version, get, get_with};
use crate::support::objects::study_uid;
use crate::support::peers::{Archive, data};
use crate::support::process::free_port;

/// TLS before something that has none; ended when it is dropped.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Shows `FILE.pem` before `behind`, and may want a certificate.
pub(crate) async fn terminator(
    pki: &Pki,
    file: &str,
    clients: ClientCertificates,
    behind: SocketAddr,
) -> Terminator {
    let identity = Identity {
        certificate: pki.folder.path(&format!("{file}.pem")),
        key: pki.folder.path(&format!("{file}.key")),
    };
    let tls = Server::open(ServerConfig { identity, clients, revoked: None }, Protocol::Dimse).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut near = tls.accept(stream, Instant::now() + DEADLINE).await?;
                let mut far = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Terminator { address, task }
}

/// A bridge before `archive`, which has these tables too.
async fn before(archive: SocketAddr, more: &str) -> TestApp {
    TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\n{more}"
    ))
    .await
}

fn trusting(pki: &Pki) -> String {
    format!("[archive.main.tls]\nca = \"{}\"\n", pki.path("ca.pem"))
}

/// Status and body of a search.
async fn search(app: &TestApp) -> (u16, String) {
    let accept = "Accept: application/dicom+json";
    let reply = get_with(app.http, "/dicom-web/studies?limit=5", Version::Http11, accept).await;
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_searched_and_retrieved_from_over_tls() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("bridge", &Subject::client("GANTRY"));
    let clients = ClientCertificates::Required(pki.folder.path("ca.pem"));
    let tls = terminator(&pki, "server", clients, archive.addr()).await;
    let own = format!("certificate = \"{}\"\nkey = \"{}\"\n", pki.path("bridge.pem"), pki.path("bridge.key"));
    let app = before(tls.address, &format!("{}{own}", trusting(&pki))).await;
    let (status, body) = search(&app).await;
    assert_eq!(status, 200, "{body}");
    let reply = get(app.http, &format!("/dicom-web/studies/{}", study_uid(1))).await;
    assert_eq!((reply.status, reply.whole), (200, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_archives_tls_is_a_status_and_a_word_of_what_to_do() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("old", &Subject { years: (2020, 2021), ..Subject::default() });
    pki.issue("elsewhere", &Subject { hosts: vec!["pacs.example"], ..Subject::default() });
    pki.keep("foreign", &Authority::new("Another").issue(&Subject::default()));
    let cases = [
        ("old", "has expired", "renew it"),
        ("elsewhere", "is not for 127.0.0.1 but for ", "server_name"),
        ("foreign", "signed by nobody whom we trust", "`ca`"),
    ];
    for (file, what, advice) in cases {
        let tls = terminator(&pki, file, ClientCertificates::None, archive.addr()).await;
        let (status, body) = search(&before(tls.address, &trusting(&pki)).await).await;
        assert!(status == 502 && body.contains(what) && body.contains(advice), "{file}: {status} {body}");
    }
    let back = pki.authority.issue(&Subject::default());
    pki.keep("back", &back);
    let lists = pki.folder.write("crl.pem", &pki.authority.revoke(&[&back], 2090));
    let looking = format!("{}revoked = \"{}\"\n", trusting(&pki), lists.display());
    for (file, expected) in [("server", 200), ("back", 502)] {
        let tls = terminator(&pki, file, ClientCertificates::None, archive.addr()).await;
        let (status, body) = search(&before(tls.address, &looking).await).await;
        assert_eq!(
            (status, body.contains("has been revoked")),
            (expected, expected == 502),
            "{file}: {body}"
        );
    }

    let tls = terminator(&pki, "elsewhere", ClientCertificates::None, archive.addr()).await;
    let named = format!("{}server_name = \"pacs.example\"\n", trusting(&pki));
    let (status, body) = search(&before(tls.address, &named).await).await;
    assert_eq!(status, 200, "{body}");

    let clients = ClientCertificates::Required(pki.folder.path("ca.pem"));
    let tls = terminator(&pki, "server", clients, archive.addr()).await;
    let (status, body) = search(&before(tls.address, &trusting(&pki)).await).await;
    assert!(status == 502 && body.contains("wants a client certificate"), "{status} {body}");

    // One end has TLS and the other has not.
    let (status, body) = search(&before(archive.addr(), &trusting(&pki)).await).await;
    assert!(
        status == 502 && body.contains("turn TLS on") || body.contains("check that TLS is spoken"),
        "{body}"
    );
    let tls = terminator(&pki, "server", ClientCertificates::None, archive.addr()).await;
    let (status, body) = search(&before(tls.address, "").await).await;
    assert!(status == 502 && body.contains("TLS"), "{status} {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_stalls_in_the_handshake_is_a_time_out() {
    let pki = Pki::new();
    // Accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let more = format!("timeouts = {{ connect = \"300ms\" }}\n{}", trusting(&pki));
    let begin = Instant::now();
    let (status, body) = search(&before(silent.local_addr().unwrap(), &more).await).await;
    assert!(status == 504 && body.contains("TLS handshake") && body.contains("timeouts.connect"), "{body}");
    assert!(begin.elapsed() < DEADLINE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orthanc_over_tls_answers_searches_and_sends_by_c_get_and_c_move() {
    let pki = Pki::new();
    pki.issue("bridge", &Subject { name: "GANTRY", ..Subject::client("GANTRY") });
    // Orthanc shows one certificate, as a server and as a client.
    let own = pki.authority.issue_for_both(&Subject { name: "ORTHANC", ..Subject::default() });
    pki.keep("orthanc", &own);
    let port = free_port();
    let back = json!({ "AET": "GANTRY", "Host": "localhost", "Port": port, "UseDicomTls": true });
    let extra = json!({
        "DicomTlsEnabled": true,
        "DicomTlsCertificate": pki.path("orthanc.pem"),
        "DicomTlsPrivateKey": pki.path("orthanc.key"),
        "DicomTlsTrustedCertificates": pki.path("ca.pem"),
        "DicomModalities": { "GANTRY": back },
    });
    let folder = data("ct", &["--slices", "40"]);
    let orthanc = tokio::task::spawn_blocking(move || Archive::orthanc(&folder, &[], extra)).await.unwrap();
    let manifest = crate::support::peers::manifest(&data("ct", &["--slices", "40"]));
    let study = manifest[0]["study"].as_str().unwrap();
    for retrieve in ["get", "move"] {
        let app = TestApp::start(&format!(
            "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[dimse.tls]\n{}\
             [archive.main]\nae_title = \"ORTHANC\"\naddress = \"localhost:{}\"\nretrieve = \"{retrieve}\"\n\
             [archive.main.tls]\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            pki.listener("required"),
            orthanc.port,
            pki.path("ca.pem"),
            pki.path("bridge.pem"),
            pki.path("bridge.key"),
        ))
        .await;
        let (status, body) = search(&app).await;
        assert_eq!(status, 200, "{body}");
        let reply = get(app.http, &format!("/dicom-web/studies/{study}")).await;
        assert_eq!((reply.status, reply.whole), (200, true), "{retrieve}: {}", reply.text());
        app.stop().await;
    }
}
