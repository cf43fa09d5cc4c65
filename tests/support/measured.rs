//! A bridge as a process of its own, before an archive within the test's: what it holds can be told from the archive's.

use std::fs;
use std::net::SocketAddr;

use gantry::demo::instance::Instance;
use gantry::demo::{Archive, Running};

use super::bridge::Bridge;
use super::process::free_port;

/// Both of them.
pub(crate) struct Measured {
    /// The archive.
    pub(crate) archive: Running,
    /// The bridge.
    pub(crate) bridge: Bridge,
    /// Where it serves DICOMweb.
    pub(crate) http: SocketAddr,
}

impl Measured {
    /// An archive with these objects and a bridge before it; `cache` is the memory of its cache, such as `64MiB`.
    pub(crate) async fn start(instances: Vec<Instance>, cache: &'static str) -> Self {
        let archive =
            Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances).start().await.unwrap();
        let (address, port) = (archive.addr(), free_port());
        let bridge = tokio::task::spawn_blocking(move || {
            Bridge::with_configuration(&format!(
                "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[cache]\nmemory = \"{cache}\"\n\
                 [archive.main]\nae_title = \"PACS\"\naddress = \"{address}\"\n"
            ))
        });
        let bridge = bridge.await.unwrap();
        let http = bridge.http.parse().unwrap();
        Self { archive, bridge, http }
    }

    /// The most memory that the bridge has had at a time, in KiB.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.bridge.server.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Of a processor's time what the bridge has used, in ticks of the kernel's clock.
    pub(crate) fn processor(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.bridge.server.pid())).unwrap();
        // Behind the name, which may have blanks in it.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        [11, 12].map(|at: usize| fields[at].parse::<u64>().unwrap()).iter().sum()
    }
}
