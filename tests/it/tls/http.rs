//! HTTPS: curl, with and without a client certificate, and a certificate that is swapped.

use std::time::Duration;

use gantry::demo::Archive;
use gantry::net::tls::{Client, ClientConfig, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Pki, archive, before, bridge, tool};
use crate::support::app::TestApp;
use crate::support::certificates::Subject;
use crate::support::curl::header_accepting_as_stored;
use crate::support::objects::{Kind, study, study_uid};
use crate::support::{DEADLINE, until};

/// What curl comes to: the body, then version and status.
async fn curl(app: &TestApp, path: &str, options: &[&str]) -> (bool, String) {
    let url = format!("https://localhost:{}{path}", app.http.port());
    let usual =
        ["--silent", "--show-error", "--max-time", "60", "--write-out", " %{http_version} %{http_code}"];
    let arguments: Vec<&str> = usual.iter().chain(options).copied().chain([url.as_str()]).collect();
    tool("curl", &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_asks_over_http_1_and_2_and_is_given_https_urls() {
    let (pki, archive) = (Pki::new(), archive().await);
    let app = bridge(&pki, &archive, "none", "").await;
    let ca = pki.path("ca.pem");
    for (version, expected) in [("--http1.1", " 1.1 200"), ("--http2", " 2 200")] {
        for tls in ["--tlsv1.3", "--tls-max=1.2"] {
            let tls: &[&str] = if tls == "--tlsv1.3" { &["--tlsv1.3"] } else { &["--tls-max", "1.2"] };
            let options: Vec<&str> = [version, "--cacert", &ca].iter().chain(tls).copied().collect();
            let (well, said) = curl(&app, "/dicom-web/studies?limit=5", &options).await;
            assert!(well && said.ends_with(expected), "{said}");
            assert!(
                said.contains(&format!("https://localhost:{}/dicom-web/studies/", app.http.port())),
                "{said}"
            );
        }
    }
    // What is older is refused, and so is curl where it does not know the authority.
    let (well, said) = curl(&app, "/", &["--cacert", &ca, "--tls-max", "1.1", "--tlsv1.0"]).await;
    assert!(!well, "{said}");
    let (well, said) = curl(&app, "/", &[]).await;
    assert!(!well && said.contains("certificate"), "{said}");
    let (well, said) = tool("curl", &["--silent", &format!("http://{}/", app.http)]).await;
    assert!(well && said.contains("HTTPS only"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_shows_a_certificate_where_one_is_wanted() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("client", &Subject::client("viewer"));
    pki.issue("old", &Subject { years: (2020, 2021), ..Subject::client("viewer") });
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|file| pki.path(file));
    let [old, old_key] = ["old.pem", "old.key"].map(|file| pki.path(file));
    let own = ["--cacert", &ca, "--cert", &certificate, "--key", &key];
    let expired = ["--cacert", &ca, "--cert", &old, "--key", &old_key];
    for (clients, without) in [("optional", true), ("required", false)] {
        let app = bridge(&pki, &archive, clients, "").await;
        for version in ["--http1.1", "--http2"] {
            let path = "/dicom-web/studies?limit=5";
            let (well, said) = curl(&app, path, &[&[version], own.as_slice()].concat()).await;
            assert!(well && said.ends_with(" 200"), "{clients}: {said}");
            let (well, said) = curl(&app, path, &[version, "--cacert", &ca]).await;
            assert_eq!(well, without, "{clients}: {said}");
            let (well, said) = curl(&app, path, &[&[version], expired.as_slice()].concat()).await;
            assert!(!well, "{clients}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_ends_with_a_word_of_tls() {
    let (pki, archive) = (Pki::new(), archive().await);
    let app = bridge(&pki, &archive, "none", "").await;
    let (ca, path) = (pki.path("ca.pem"), format!("/dicom-web/studies/{}", study_uid(1)));
    let options = ["--http1.0", "--cacert", &ca, "--output", "/dev/null", "-H", header_accepting_as_stored()];
    // curl takes the end of the connection for an error where nobody has said that it is the end.
    let (well, said) = curl(&app, &path, &options).await;
    assert!(well && said.ends_with(" 200"), "{said}");
}

/// A connection that shows who is there.
async fn connect(app: &TestApp, ca: &str) -> Stream<TcpStream> {
    let client = Client::new(ClientConfig { ca: Some(ca.into()), ..ClientConfig::default() });
    let socket = TcpStream::connect(app.http).await.unwrap();
    client.connect(socket, "localhost", Instant::now() + DEADLINE).await.unwrap()
}

fn shown(stream: &Stream<TcpStream>) -> String {
    stream.peer_certificate().unwrap().subject.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_swapped_while_a_large_retrieval_runs_which_ends_whole() {
    const OBJECTS: usize = 32;
    let kind = Kind { pixels: 2 << 20, ..Kind::default() };
    let archive = Archive::builder().ae_title("PACS".parse().unwrap());
    let archive = archive.studies(study(1, 1, OBJECTS, &kind)).start().await.unwrap();
    let pki = Pki::new();
    let app = bridge(&pki, &archive, "none", "").await;
    let ca = pki.path("ca.pem");
    let mut reader = connect(&app, &ca).await;
    assert_eq!(shown(&reader), "CN=bridge");
    let (path, accept) = (format!("/dicom-web/studies/{}", study_uid(1)), header_accepting_as_stored());
    let request = format!("GET {path} HTTP/1.0\r\n{accept}\r\n\r\n");
    reader.write_all(request.as_bytes()).await.unwrap();
    reader.flush().await.unwrap();
    let mut body = vec![0; 1 << 20];
    reader.read_exact(&mut body).await.unwrap();
    pki.issue("server", &Subject { name: "renewed", ..Subject::default() });
    until("the new certificate is shown", Duration::from_secs(10), async || {
        shown(&connect(&app, &ca).await) == "CN=renewed"
    })
    .await;
    reader.read_to_end(&mut body).await.unwrap();
    assert!(body.len() > OBJECTS * (2 << 20) && body.ends_with(b"--\r\n"), "{} bytes", body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("other", &Subject::default());
    let [certificate, key] = ["server.pem", "other.key"].map(|file| pki.path(file));
    let text = format!(
        "{}[http]\nlisten = \"127.0.0.1:0\"\n[http.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n[archive.main.tls]\nca = \"/nowhere.pem\"\n",
        before(archive.addr())
    );
    let config = gantry::config::Config::parse(&text, []).unwrap();
    let error = gantry::app::App::bind(config).await.unwrap_err().to_string();
    for expected in
        ["http.tls: ", "other.key: is not the key", "archive.main.tls: /nowhere.pem: cannot be read"]
    {
        assert!(error.contains(expected), "{error}");
    }
}
