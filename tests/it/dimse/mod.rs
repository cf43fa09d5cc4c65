//! The DIMSE front end: scripted clients over real sockets, before the built-in archive and scripted ones.

mod acceptor;
mod commitment;
mod find;
mod hostile;
mod normalized;
mod own;
mod peers;
mod retrieve;
mod scripted;
pub(crate) mod store;
mod together;

use gantry::demo::{Archive, Fault, Instance, Running};

use crate::support::app::TestApp;
use crate::support::dimse::Destination;
pub(crate) use scripted::Scripted;

/// The title by which the bridge is called.
pub(crate) const GANTRY: &str = "GANTRY";

/// The bridge before a scripted archive, `PACS`. `more`: tables of the configuration; keys of the archive's own table come
/// first.
pub(crate) async fn scripted_app(archive: &Scripted, more: &str) -> TestApp {
    let configuration = format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\nae_title = \"{GANTRY}\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n{more}",
        archive.address
    );
    TestApp::start(&configuration).await
}

/// The built-in archive, and the bridge before it.
struct Scene {
    archive: Running,
    app: TestApp,
    /// Where `[ae.CLIENT]` listens.
    destination: Destination,
}

impl Scene {
    /// `more`: tables of the configuration; keys of the archive's own table come first.
    async fn new(instances: Vec<Instance>, faults: &[Fault], more: &str) -> Self {
        let mut archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances);
        for fault in faults {
            archive = archive.fault(*fault);
        }
        Self::before(archive.start().await.unwrap(), more).await
    }

    /// The bridge before an archive that runs already.
    async fn before(archive: Running, more: &str) -> Self {
        let destination = Destination::new().await;
        let configuration = format!(
            "[dimse]\nlisten = \"127.0.0.1:0\"\nae_title = \"{GANTRY}\"\n\
             [ae.CLIENT]\naddress = \"{}\"\n\
             [archive.main]\nae_title = \"{}\"\naddress = \"{}\"\n{more}",
            destination.address,
            archive.ae_title(),
            archive.addr(),
        );
        let app = TestApp::start(&configuration).await;
        archive.set_destination(GANTRY.parse().unwrap(), app.dimse);
        Self { archive, app, destination }
    }
}
