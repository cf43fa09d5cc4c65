//! Retrieval, proven over the wire: what the bridge answers is complete and its own, or visibly not.

mod complete;
mod foreign;
mod forms;
mod killed;
mod readers;
mod rude;
mod sockets;
mod steps;
mod zip;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use gantry::demo::{Archive, Fault, Instance, Running};

use crate::support::app::TestApp;
use crate::support::http::{Reply, get};
use crate::support::objects::{expected, study_uid};
use crate::support::part10::{File, by_instance, files, files_so_far};
use crate::support::process::free_port;

/// How the bridge retrieves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Move,
}

pub(super) const METHODS: [Method; 2] = [Method::Get, Method::Move];

impl Method {
    fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Move => "move",
        }
    }
}

/// An archive, and a bridge before it.
pub(super) struct Scene {
    pub(super) archive: Running,
    pub(super) app: TestApp,
    instances: Vec<Instance>,
}

impl Scene {
    /// An archive that holds `instances` and has `faults`; `more` is further TOML for `[archive.main]`.
    pub(super) async fn new(method: Method, instances: Vec<Instance>, faults: &[Fault], more: &str) -> Self {
        let port = free_port();
        let archive = pacs("PACS", &instances, port, faults).start().await.unwrap();
        let app = TestApp::start(&configuration(archive.addr(), port, method, more)).await;
        Self { archive, app, instances }
    }

    /// Asks for study 1, which is to bring all that the archive holds of it.
    async fn study(&self, what: &str) -> Outcome {
        judge(&get(self.app.http, &study_path(1)).await, &self.expected(1), what)
    }

    /// What study 1 is to bring.
    pub(super) fn expected(&self, study: usize) -> BTreeMap<String, File> {
        let own = self.instances.iter().filter(|i| i.study() == study_uid(study)).cloned();
        expected(&own.collect::<Vec<_>>())
    }

    /// Asks for study 1, which is to come whole.
    async fn assert_complete(&self, what: &str) {
        let reply = get(self.app.http, &study_path(1)).await;
        assert_eq!((reply.status, reply.whole), (200, true), "{what}: {}", short(&reply));
        assert_eq!(judge(&reply, &self.expected(1), what), Outcome::Complete);
    }
}

/// An archive that moves to our Storage SCP on `port`, to be started. Its own port is one that nobody else takes
/// while it is killed.
fn pacs(title: &str, instances: &[Instance], port: u16, faults: &[Fault]) -> Archive {
    let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let builder = Archive::builder().ae_title(title.parse().unwrap()).studies(instances.to_vec());
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let builder = builder.listen(listen).destination("GANTRY".parse().unwrap(), destination);
    faults.iter().fold(builder, |builder, fault| builder.fault(*fault))
}

/// A configuration with the archive `PACS` at `address`, our Storage SCP on `port` and further TOML for the
/// table `[archive.main]`.
pub(super) fn configuration(address: SocketAddr, port: u16, method: Method, more: &str) -> String {
    format!(
        "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[archive.main]\nae_title = \"PACS\"\n\
         address = \"{address}\"\nretrieve = \"{}\"\n{more}\n",
        method.key()
    )
}

/// The path of the study with this number.
pub(super) fn study_path(study: usize) -> String {
    format!("/dicom-web/studies/{}", study_uid(study))
}

/// What a client is told of a retrieval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every object, with the bytes that are stored.
    Complete,
    /// Some objects, and the status says so.
    Partial,
    /// An error status.
    Failed(u16),
    /// A body that no client takes for whole.
    Broken,
}

/// Judges an answer that is to bring these objects.
///
/// # Panics
/// It brings something else, or says that it is complete when it is not.
pub(super) fn judge(reply: &Reply, expected: &BTreeMap<String, File>, what: &str) -> Outcome {
    let content_type = reply.header("content-type");
    let own = |files: &BTreeMap<String, File>| {
        for (instance, file) in files {
            assert_eq!(expected.get(instance), Some(file), "{what}: a foreign or damaged object");
        }
    };
    match (reply.status, reply.whole) {
        (200 | 206, true) => {
            let files = by_instance(files(content_type, &reply.body));
            own(&files);
            match reply.status {
                200 => {
                    assert_eq!(files.len(), expected.len(), "{what}: a short study behind a 200");
                    Outcome::Complete
                }
                // What was announced as missing may come after all.
                _ => Outcome::Partial,
            }
        }
        (200 | 206, false) => {
            own(&by_instance(files_so_far(content_type, &reply.body)));
            Outcome::Broken
        }
        (status @ 400.., true) => {
            let json = reply.header("content-type").starts_with("application/problem+json");
            assert!(json, "{what}: {status} without its reason");
            Outcome::Failed(status)
        }
        // The reset may overtake even the status.
        (0, false) => Outcome::Broken,
        _ => panic!("{what}: {}", short(reply)),
    }
}

/// The beginning of an answer, for a failed test.
fn short(reply: &Reply) -> String {
    let text = reply.text();
    format!("{} whole: {} {}", reply.status, reply.whole, text.chars().take(600).collect::<String>())
}
