//! STOW-RS, proven over the wire: what the bridge tells a client is stored is in the archive, byte by byte, and
//! nothing else is told to be.

mod faults;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use gantry::demo::instance::Data;
use gantry::demo::{Archive, Fault, Instance, Running};
use gantry::dicom::encode::part10_header;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::app::TestApp;
use crate::support::http::{Reply, get, read};
use crate::support::objects::{EXPLICIT, JPEG_BASELINE, Kind, RLE, expected, study, study_uid};
use crate::support::part10::{by_instance, files};
use crate::support::process::free_port;

/// What parts the bodies.
const BOUNDARY: &str = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1";

/// An empty archive, and a bridge before it.
struct Scene {
    archive: Running,
    app: TestApp,
}

impl Scene {
    /// An archive that has `faults`; `more` is further TOML for `[archive.main]`.
    async fn new(faults: &[Fault], more: &str) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let builder = Archive::builder().ae_title("PACS".parse().unwrap()).listen(listen).studies([]);
        let builder = faults.iter().fold(builder, |builder, fault| builder.fault(*fault));
        let archive = builder.start().await.unwrap();
        let configuration = format!(
            "[dimse]\nlisten = \"127.0.0.1:0\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n\
             retrieve = \"get\"\n{more}\n",
            archive.addr()
        );
        let app = TestApp::start(&configuration).await;
        Self { archive, app }
    }

    async fn post(&self, instances: &[Instance]) -> Fates {
        let body = body(&instances.iter().map(part10).collect::<Vec<_>>());
        Fates::of(post(self.app.http, "/dicom-web/studies", &body).await)
    }

    /// Asserts that what was told to be stored is in the archive with its very bytes, and that what was told to have
    /// failed is not.
    async fn assert_true(&self, fates: &Fates, sent: &[Instance], what: &str) {
        self.archive.clear_faults();
        let held = self.held().await;
        let sent = expected(sent);
        for instance in &fates.stored {
            assert_eq!(held.get(instance), sent.get(instance), "{what}: {instance} was told to be stored");
        }
        for (instance, _) in &fates.failed {
            assert!(!held.contains_key(instance), "{what}: {instance} was told to have failed");
        }
    }

    /// What the archive holds of study 1, as it is stored.
    async fn held(&self) -> BTreeMap<String, crate::support::part10::File> {
        // A breaker that is still open answers 503 for a moment.
        for _ in 0..200 {
            let reply = get(self.app.http, &format!("/dicom-web/studies/{}", study_uid(1))).await;
            match reply.status {
                200 => return by_instance(files(reply.header("content-type"), &reply.body)),
                404 => return BTreeMap::new(),
                503 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                status => panic!("{status}: {}", reply.text()),
            }
        }
        panic!("the archive stays away")
    }
}

/// What an answer tells of each instance.
#[derive(Debug)]
pub(super) struct Fates {
    pub(super) status: u16,
    pub(super) stored: BTreeSet<String>,
    /// With their Failure Reasons.
    failed: Vec<(String, u64)>,
    others: usize,
}

impl Fates {
    pub(super) fn of(reply: Reply) -> Self {
        assert!(reply.whole, "an answer that broke off: {reply:?}");
        let module: Value = match reply.header("content-type") {
            "application/dicom+json" => serde_json::from_slice(&reply.body).unwrap(),
            _ => Value::Null,
        };
        let items = |tag: &str| module[tag]["Value"].as_array().cloned().unwrap_or_default();
        let uid = |item: &Value| item["00081155"]["Value"][0].as_str().unwrap_or_default().to_owned();
        let reason = |item: &Value| item["00081197"]["Value"][0].as_u64().unwrap_or_default();
        Self {
            status: reply.status,
            stored: items("00081199").iter().map(uid).collect(),
            failed: items("00081198").iter().map(|item| (uid(item), reason(item))).collect(),
            others: items("0008119A").len(),
        }
    }
}

/// A PS3.10 file.
pub(super) fn part10(instance: &Instance) -> Vec<u8> {
    let Data::Memory(bytes) = &instance.data else { panic!("{:?}", instance.data) };
    [part10_header(&instance.head), bytes.to_vec()].concat()
}

/// What stands before a part.
fn delimiter() -> String {
    format!("\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n")
}

pub(super) fn body(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(delimiter().into_bytes());
        body.extend(part);
    }
    body.extend(format!("\r\n--{BOUNDARY}--").into_bytes());
    body
}

/// Begins a request with a body of this length.
async fn begin(address: SocketAddr, path: &str, length: u64) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: */*\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/related; type=\"application/dicom\"; boundary=\"{BOUNDARY}\"\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

pub(super) async fn post(address: SocketAddr, path: &str, body: &[u8]) -> Reply {
    let mut stream = begin(address, path, body.len() as u64).await;
    stream.write_all(body).await.expect("the server reads all that is written");
    read(&mut stream).await
}

/// So many instances of study 1.
fn instances(count: usize, kind: &Kind) -> Vec<Instance> {
    study(1, 1, count, kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_byte_identical_in_the_archive() {
    for syntax in [EXPLICIT, JPEG_BASELINE, RLE] {
        let scene = Scene::new(&[], "").await;
        let sent = instances(30, &Kind { syntax, pixels: 100_000, owner: 1 });
        let fates = scene.post(&sent).await;
        assert_eq!((fates.status, fates.stored.len()), (200, 30), "{syntax}: {fates:?}");
        scene.app.settle(syntax).await;
        let seen = scene.archive.observations();
        assert_eq!(seen.stores, 30, "each once");
        assert!(seen.associations.opened <= 4, "{syntax}: {:?}", seen.associations);
        assert_eq!(scene.held().await, expected(&sent), "{syntax}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_part_among_good_ones_and_one_of_another_study_are_told_apart() {
    let scene = Scene::new(&[], "").await;
    let sent = instances(3, &Kind::default());
    let foreign = study(2, 1, 1, &Kind::default());
    let mut parts: Vec<Vec<u8>> = sent.iter().map(part10).collect();
    parts.insert(1, b"no file at all".repeat(50));
    parts.insert(3, part10(&foreign[0]));
    let path = format!("/archives/main/studies/{}", study_uid(1));
    let fates = Fates::of(post(scene.app.http, &path, &body(&parts)).await);
    assert_eq!((fates.status, fates.stored.len(), fates.others), (202, 3, 1), "{fates:?}");
    assert_eq!(fates.failed, [(foreign[0].head.sop_instance.to_string(), 0xC409)]);
    scene.assert_true(&fates, &sent, "mixed").await;
    assert_eq!(scene.archive.count(), [1, 1, 1, 3]);
}
