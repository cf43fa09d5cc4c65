//! TLS, as clients and archives that others have written speak it.

pub(crate) mod archives;
mod dimse;
mod http;
mod revoked;
mod scan;

use std::net::SocketAddr;
use std::path::PathBuf;

use gantry::demo::{Archive, Running};

use crate::support::app::TestApp;
use crate::support::certificates::{Authority, Folder, Issued, Subject};
use crate::support::objects::{Kind, study};
use crate::support::process::bounded;

/// An authority, what it has issued, and where that lies.
pub(crate) struct Pki {
    authority: Authority,
    folder: Folder,
}

impl Pki {
    /// With `ca.pem`, and `server.pem` for loopback.
    pub(crate) fn new() -> Self {
        let pki = Self { authority: Authority::new("Test CA"), folder: Folder::new() };
        pki.folder.write("ca.pem", &pki.authority.pem);
        pki.issue("server", &Subject { name: "bridge", ..Subject::default() });
        pki
    }

    fn issue(&self, file: &str, subject: &Subject) {
        self.keep(file, &self.authority.issue(subject));
    }

    pub(crate) fn keep(&self, file: &str, issued: &Issued) {
        self.folder.issued(file, issued);
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path(file).to_str().unwrap().to_owned()
    }

    /// The keys of a listener; `clients` is `none`, `optional` or `required`.
    fn listener(&self, clients: &str) -> String {
        let own =
            format!("certificate = \"{}\"\nkey = \"{}\"\n", self.path("server.pem"), self.path("server.key"));
        match clients {
            "none" => own,
            _ => {
                format!("{own}client_certificates = \"{clients}\"\nclient_ca = \"{}\"\n", self.path("ca.pem"))
            }
        }
    }
}

/// An archive with a small study.
async fn archive() -> Running {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap());
    archive.studies(study(1, 1, 3, &Kind::default())).start().await.unwrap()
}

/// The tables of a bridge before an archive, as far as TLS does not change them.
fn before(archive: SocketAddr) -> String {
    format!(
        "[archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\n[dimse]\nlisten = \"127.0.0.1:0\"\naccept = \"any\"\n"
    )
}

/// A bridge that speaks HTTPS, and DIMSE over TLS at a second port.
async fn bridge(pki: &Pki, archive: &Running, clients: &str, more: &str) -> TestApp {
    let listener = pki.listener(clients);
    let configuration = format!(
        "{}[dimse.tls]\nlisten = \"127.0.0.1:0\"\n{listener}[http.tls]\n{listener}{more}",
        before(archive.addr())
    );
    TestApp::start(&configuration).await
}

/// Runs a program to its end, without holding up the bridge in this process: whether it ended well, and all it said.
async fn run(program: PathBuf, arguments: Vec<String>) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || bounded(program).args(arguments).output().unwrap());
    let output = output.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// One of Debian's programs.
async fn tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    run(PathBuf::from("/usr/bin").join(name), arguments).await
}
