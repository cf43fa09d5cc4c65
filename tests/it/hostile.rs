//! Objects that are made to hurt whoever reads them: the bridge says what is wrong, in bounded time and memory, and
//! goes on.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};
use gantry::demo::instance::{Data, Instance};
use gantry::demo::{Archive, Running};
use tokio::task::JoinSet;

use crate::support::bridge::Bridge;
use crate::support::http::{Reply, Version, get_with};
use crate::support::objects::{BIG_ENDIAN, EXPLICIT, IMPLICIT, JPEG_BASELINE, Kind, RLE, object};
use crate::support::process::free_port;

/// Deflated Explicit VR Little Endian.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// What the bridge may have held at any time. A debug build without any request takes some 30 MB.
const MOST_MEMORY: u64 = 200 << 20;
/// How long one answer may take, in a debug build beside other tests.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests at a time.
const AT_ONCE: usize = 4;

/// An archive with hostile objects, and a bridge before it, whose memory can be told from the archive's.
struct Scene {
    _archive: Running,
    bridge: Bridge,
    http: SocketAddr,
}

impl Scene {
    async fn new(instances: Vec<Instance>) -> Self {
        let archive =
            Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances).start().await.unwrap();
        let address = archive.addr();
        let port = free_port();
        let bridge = tokio::task::spawn_blocking(move || {
            Bridge::with_configuration(&format!(
                "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{address}\"\n"
            ))
        });
        let bridge = bridge.await.unwrap();
        let http = bridge.http.parse().unwrap();
        Self { _archive: archive, bridge, http }
    }

    /// Asks for these resources, several at a time, and wants an answer to each that is whole or visibly broken.
    async fn ask(&self, resources: Vec<(String, &'static str)>) -> Vec<(String, Reply)> {
        let mut open = JoinSet::new();
        let (mut waiting, mut replies) = (resources.into_iter(), Vec::new());
        loop {
            while open.len() < AT_ONCE {
                let Some((path, header)) = waiting.next() else { break };
                let http = self.http;
                open.spawn(async move {
                    let begin = Instant::now();
                    let reply = get_with(http, &path, Version::Http11, header).await;
                    let took = begin.elapsed();
                    assert!(took < PATIENCE, "{path} took {took:?}");
                    (path, reply)
                });
            }
            let Some(reply) = open.join_next().await else { return replies };
            replies.push(reply.unwrap());
        }
    }

    /// The bridge is alive, and has never held much.
    fn assert_unharmed(&self, what: &str) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.bridge.server.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak << 10 < MOST_MEMORY, "{what}: {peak} KiB at most");
    }
}

/// The answers that an object may get which cannot be read to its end: what could be read, or why it could not be.
fn assert_honest(path: &str, reply: &Reply) {
    let kind = reply.header("content-type");
    match (reply.status, reply.whole) {
        // The body broke off, and every client sees it.
        (0 | 200 | 206, false) => {}
        (200 | 206, true) if kind.starts_with("application/dicom+json") => {
            match serde_json::from_slice::<serde_json::Value>(&reply.body) {
                Ok(_) => {}
                // The reader goes no deeper than this, though the bridge does.
                Err(error) if error.to_string().starts_with("recursion limit") => {
                    assert_eq!(open_brackets(&reply.text()), 0, "{path}");
                }
                Err(error) => panic!("{path}: {error}"),
            }
        }
        (200 | 206, true) => assert!(kind.starts_with("multipart/related"), "{path}: {kind}"),
        (400.., true) => assert!(kind.starts_with("application/problem+json"), "{path}: {kind}"),
        (status, _) => panic!("{path}: {status} {}", reply.text()),
    }
}

/// How many brackets of a JSON text stay open.
fn open_brackets(text: &str) -> i64 {
    let outside = text.replace("\\\"", "");
    let outside = outside.split('"').step_by(2).flat_map(str::chars);
    outside.map(|c| i64::from("[{".contains(c)) - i64::from("]}".contains(c))).sum()
}

/// What is asked for of each object.
fn resources(instance: &Instance) -> [(String, &'static str); 3] {
    let path = format!(
        "/dicom-web/studies/{}/series/{}/instances/{}",
        instance.study(),
        instance.series(),
        instance.head.sop_instance
    );
    let objects = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let frames = "Accept: multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    [
        (path.clone(), objects),
        (format!("{path}/metadata"), "Accept: application/dicom+json"),
        (format!("{path}/frames/1"), frames),
    ]
}

/// The encoded data set of a small object in Explicit VR Little Endian, up to where its pixel data would begin.
fn head_of(instance: &Instance) -> Vec<u8> {
    /// The header of the pixel data, which have no bytes.
    const EMPTY_PIXEL_DATA: usize = 12;
    let Data::Memory(bytes) = &instance.data else { panic!("{:?}", instance.data) };
    bytes[..bytes.len() - EMPTY_PIXEL_DATA].to_vec()
}

/// An object whose data set goes on with these bytes behind what identifies it.
fn hostile(number: usize, tail: &[u8]) -> Instance {
    let valid = object(1, 1, number, &Kind { syntax: EXPLICIT, pixels: 0, owner: 1 });
    let bytes = [&head_of(&valid), tail].concat();
    Instance { data: Data::Memory(bytes.into()), ..valid }
}

/// The header of an element of a VR with a length of four bytes.
fn header(group: u16, element: u16, vr: &str, length: u32) -> Vec<u8> {
    [&group.to_le_bytes()[..], &element.to_le_bytes(), vr.as_bytes(), &[0, 0], &length.to_le_bytes()].concat()
}

/// Sequences within each other, of undefined length.
fn nested(depth: usize, closed: bool) -> Vec<u8> {
    let mut bytes = [header(0x0040, 0xA730, "SQ", u32::MAX), b"\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF".to_vec()]
        .concat()
        .repeat(depth);
    if closed {
        bytes.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0".repeat(depth));
    }
    bytes
}

/// A raw deflate stream that becomes `head` and then so many times a MiB of zeros. A full flush lets the same bytes
/// stand again and again.
fn bomb(head: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut block = |input: &[u8], flush| {
        let mut out = Vec::with_capacity(64 << 10);
        deflate.compress_vec(input, &mut out, flush).unwrap();
        out
    };
    let mut bytes = block(head, FlushCompress::Full);
    bytes.extend(block(&vec![0; 1 << 20], FlushCompress::Full).repeat(mebibytes));
    bytes.extend(block(&[], FlushCompress::Finish));
    bytes
}

#[tokio::test]
async fn hazard_nesting_lengths_and_bombs_cost_bounded_time_and_memory() {
    const TWO_GIB: u32 = 0x7FFF_FFFE;
    let fragment =
        [header(0x7FE0, 0x0010, "OB", u32::MAX), b"\xFE\xFF\0\xE0\xFE\xFF\xFF\x7F".to_vec(), vec![1, 2, 3]];
    let mut instances = vec![
        hostile(1, &nested(1_800, true)),
        hostile(2, &nested(1_800, false)),
        hostile(3, &nested(200_000, false)),
        hostile(4, &[header(0x0040, 0xA160, "UT", TWO_GIB), vec![1, 2, 3]].concat()),
        hostile(5, &[header(0x7FE0, 0x0010, "OW", TWO_GIB), vec![1, 2, 3]].concat()),
        hostile(6, &fragment.concat()),
        hostile(7, &[header(0x0040, 0xA730, "SQ", TWO_GIB), vec![1, 2, 3]].concat()),
    ];
    let valid = object(1, 1, 8, &Kind { syntax: EXPLICIT, pixels: 0, owner: 1 });
    let mut head = head_of(&valid);
    head.extend(header(0x0041, 0x1000, "OB", u32::try_from(BOMB << 20).unwrap()));
    let mut deflated = Instance { data: Data::Memory(bomb(&head, BOMB).into()), ..valid };
    deflated.head.transfer_syntax = DEFLATED.parse().unwrap();
    instances.push(deflated);

    let paths = instances.iter().flat_map(resources).collect();
    let scene = Scene::new(instances).await;
    for (path, reply) in scene.ask(paths).await {
        assert_honest(&path, &reply);
    }
    scene.assert_unharmed("hostile objects");
    let ready = get_with(scene.http, "/health/ready", Version::Http11, "Accept: */*").await;
    assert_eq!(ready.status, 200);
}

/// What the bomb becomes, in MiB.
const BOMB: usize = 800;

/// Ten small objects, each encoded in another way.
fn small(sample: usize, number: usize) -> Instance {
    let tails: [(&'static str, Vec<u8>); 10] = [
        (EXPLICIT, Vec::new()),
        (IMPLICIT, Vec::new()),
        (BIG_ENDIAN, Vec::new()),
        (JPEG_BASELINE, Vec::new()),
        (RLE, Vec::new()),
        (EXPLICIT, nested(3, true)),
        (
            EXPLICIT,
            [header(0x0040, 0xA730, "SQ", 16), b"\xFE\xFF\0\xE0\x08\0\0\0\x40\0\x40\xA0CS\0\0".to_vec()]
                .concat(),
        ),
        (
            EXPLICIT,
            [
                header(0x0041, 0x1001, "UN", u32::MAX),
                b"\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0".to_vec(),
            ]
            .concat(),
        ),
        (
            EXPLICIT,
            [
                b"\x41\0\x10\0LO\x04\0TEST\x41\0\x01\x10DS\x06\x001\\2\\3 ".to_vec(),
                header(0x0041, 0x1002, "OB", 4),
                vec![1; 4],
            ]
            .concat(),
        ),
        (DEFLATED, Vec::new()),
    ];
    let (syntax, tail) = &tails[sample];
    let mut kind = Kind { syntax, pixels: 16, owner: 1 };
    if !tail.is_empty() {
        kind.pixels = 0;
        let valid = object(sample + 1, 1, number, &kind);
        return Instance { data: Data::Memory([&head_of(&valid), &tail[..]].concat().into()), ..valid };
    }
    if *syntax == DEFLATED {
        kind.syntax = EXPLICIT;
        let mut made = object(sample + 1, 1, number, &kind);
        let Data::Memory(bytes) = &made.data else { panic!("{:?}", made.data) };
        made.data = Data::Memory(bomb(bytes, 0).into());
        made.head.transfer_syntax = DEFLATED.parse().unwrap();
        return made;
    }
    object(sample + 1, 1, number, &kind)
}

#[tokio::test]
async fn hazard_an_object_cut_at_any_byte_is_told_of_or_visibly_broken() {
    let mut cuts = 0;
    for sample in 0..10 {
        let Data::Memory(whole) = small(sample, 1000).data else { panic!("not in memory") };
        let cut_at = |cut: usize| {
            // Numbers of the same length, so that the same byte is cut.
            let mut instance = small(sample, 1000 + cut);
            let Data::Memory(bytes) = &instance.data else { panic!("{:?}", instance.data) };
            instance.data = Data::Memory(bytes.slice(..cut.min(bytes.len())));
            instance
        };
        let instances: Vec<_> = (0..whole.len()).map(cut_at).collect();
        cuts += instances.len();
        // That a cut object does not pass as a whole one is shown where objects are retrieved.
        let of_one = |(cut, instance)| {
            let [_, metadata, frames] = resources(instance);
            [Some(metadata), (cut % 4 == 0).then_some(frames)]
        };
        let paths = instances.iter().enumerate().flat_map(of_one).flatten().collect();
        let scene = Scene::new(instances).await;
        for (path, reply) in scene.ask(paths).await {
            assert_honest(&path, &reply);
        }
        scene.assert_unharmed("objects cut short");
    }
    assert!(cuts > 2000, "{cuts} cuts");
}
