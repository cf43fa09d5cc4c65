//! The bridge itself, as a user starts it: `gantry serve --config`.

use std::env;
use std::process::Command;

use super::peers::{Archive, Destination};
use super::process::{Scratch, Server, free_port};

/// The origin whose pages may use every bridge that is started here.
pub(crate) const ORIGIN: &str = "https://viewer.example";

/// The variable that names another program than the one that was built with the tests, such as a release build.
const PROGRAM: &str = "GANTRY_BRIDGE";

/// What the shell does before it starts a bridge that may do everything.
const NO_LIMIT: &str = "";

/// A running bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// The DICOMweb service of its default archive: `http://127.0.0.1:PORT/dicom-web`.
    pub(crate) url: String,
    /// `127.0.0.1:PORT`.
    pub(crate) http: String,
    /// The process.
    pub(crate) server: Server,
}

impl Bridge {
    /// Starts `gantry serve` before `archive`, retrieving by `retrieve` (`auto`, `get` or `move`), as the AE `own`,
    /// which the archive knows as a destination. `more` is further TOML for the table `[archive.main]`.
    pub(crate) fn start(archive: &Archive, own: &Destination, retrieve: &str, more: &str) -> Self {
        Self::with_configuration(&before(archive, own, retrieve, more))
    }

    /// The same, by a URL that does not depend on the Host that clients send: that for Python leaves out the port.
    pub(crate) fn start_with_public_url(archive: &Archive, own: &Destination) -> Self {
        let port = free_port();
        let public = format!("public_url = \"http://127.0.0.1:{port}\"");
        Self::listening(port, &before(archive, own, "auto", ""), &public, NO_LIMIT)
    }

    /// Starts `gantry serve` with this configuration, to which `[http]` is added.
    pub(crate) fn with_configuration(configuration: &str) -> Self {
        Self::listening(free_port(), configuration, "", NO_LIMIT)
    }

    /// The same, where no file can grow beyond so many KiB: what a disk that is full looks like to who writes.
    pub(crate) fn with_small_files(configuration: &str, kib: u32) -> Self {
        // Blocks of 512 bytes. The signal would end the process; ignored, it leaves the write's own error.
        Self::listening(free_port(), configuration, "", &format!("trap '' XFSZ; ulimit -f {}; ", kib * 2))
    }

    /// On this port; `more` is further TOML for the table `[http]`, `limit` what the shell does before it starts.
    fn listening(port: u16, configuration: &str, more: &str, limit: &str) -> Self {
        let scratch = Scratch::new("gantry");
        let text = format!(
            "{configuration}\n[http]\nlisten = \"127.0.0.1:{port}\"\ncors_origins = [\"{ORIGIN}\"]\n{more}\n"
        );
        let file = scratch.write("gantry.toml", &text);
        let mut command = Command::new("/bin/sh");
        let program = env::var(PROGRAM).unwrap_or_else(|_| env!("CARGO_BIN_EXE_gantry").to_owned());
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), &program]);
        command.arg("serve").arg("--config").arg(file).env("RUST_LOG", "debug");
        command.envs(without_cache(configuration));
        let server = Server::start("gantry", scratch, command, &[port]);
        let http = format!("127.0.0.1:{port}");
        Self { url: format!("http://{http}/dicom-web"), http, server }
    }
}

/// What switches the cache off, unless the configuration says something of it.
pub(super) fn without_cache(configuration: &str) -> Option<(String, String)> {
    (!configuration.contains("[cache]")).then(|| ("GANTRY_CACHE__MEMORY".to_owned(), "0".to_owned()))
}

/// The configuration of a bridge before `archive`.
pub(crate) fn before(archive: &Archive, own: &Destination, retrieve: &str, more: &str) -> String {
    let Destination { ae_title, port } = own;
    format!(
        "[dimse]\nlisten = \"127.0.0.1:{port}\"\nae_title = \"{ae_title}\"\n\
         move_ae_titles = [\"{ae_title}\"]\n\
         [archive.main]\nprotocol = \"dimse\"\nae_title = \"{}\"\naddress = \"127.0.0.1:{}\"\n\
         retrieve = \"{retrieve}\"\n{more}\n",
        archive.ae_title, archive.port
    )
}
