//! What those are told who run the bridge: metrics, traces, the log, health, the service manager; and that the documents
//! about it are true.

mod documents;
mod figures;
mod health;
mod lines;
mod service;
mod traces;

use std::net::SocketAddr;

use gantry::demo::{Archive, Instance, Running};

use crate::support::bridge::Bridge;
use crate::support::http::{Reply, Version, ask_with};
use crate::support::process::bounded;

/// An archive of the test's own with these objects.
async fn archive(instances: Vec<Instance>) -> Running {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances);
    archive.start().await.unwrap()
}

/// The binary, as it is started by an operator, before an archive at this address.
fn bridge(archive: SocketAddr, more: &str) -> Bridge {
    let dimse = crate::support::process::free_port();
    Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"127.0.0.1:{dimse}\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\nretrieve = \"get\"\n{more}\n"
    ))
}

/// Asks for `path` with one more header field.
async fn ask(bridge: &Bridge, path: &str, header: &str) -> Reply {
    ask_with(bridge.http.parse().unwrap(), "GET", path, Version::Http11, header).await
}

/// Runs a command on a file of this repository.
///
/// # Panics
/// It finds fault with it, or is not there: `make peers` installs it.
fn check(program: &str, arguments: &[&str]) {
    let output = bounded(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: run `make peers` first"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}: {}", said.concat());
}
