//! What somebody who means harm can try: each line of the threat model in `docs/security.md` that no other test shows.

mod described;
mod dimse;
mod http;
mod http2;
mod limits;
mod log;
mod slow;

use gantry::demo::{Archive, Instance, Running};

use crate::support::app::TestApp;
use crate::support::objects::{Kind, study};

/// The built-in archive with one study of two series, and the bridge before it.
struct Scene {
    archive: Running,
    app: TestApp,
}

impl Scene {
    /// `more`: tables of the configuration; keys of `[dimse]` come first.
    async fn new(more: &str) -> Self {
        Self::with(study(1, 2, 3, &Kind::default()), more).await
    }

    async fn with(instances: Vec<Instance>, more: &str) -> Self {
        let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances);
        let archive = archive.start().await.unwrap();
        let configuration = format!(
            "[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n[dimse]\nlisten = \"127.0.0.1:0\"\n{more}",
            archive.addr()
        );
        let app = TestApp::start(&configuration).await;
        archive.set_destination("GANTRY".parse().unwrap(), app.dimse);
        Self { archive, app }
    }
}
