//! What only HTTP/2 lets a client do: windows that stay shut, resets without end, heads without end (RFC 9113).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Scene;
use crate::support::objects::{Kind, study, study_uid};
use crate::support::{DEADLINE, until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
/// The error codes of RFC 9113 7.
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection on which frames are written by hand.
struct Frames {
    stream: TcpStream,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error of RST_STREAM, or of GOAWAY.
    fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// The fields of a GET, each as RFC 7541 has it that needs no table.
fn fields(path: &str) -> Vec<u8> {
    let path = path.as_bytes();
    assert!(path.len() < 127);
    // GET, http, :authority, :path.
    [&[0x82, 0x86, 0x01, 9][..], b"localhost", &[0x04, path.len() as u8], path].concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(path))
}

impl Frames {
    async fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(settings).await.unwrap();
        Self { stream }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None`: the connection is closed.
    async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        };
        timeout(DEADLINE, read).await.expect("nothing comes")
    }

    /// Reads on to a frame of this kind, on this stream.
    async fn wait_for(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection is closed");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// Reads the body of an answer to its end.
    async fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.wait_for(DATA, stream).await;
            body.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_http_2_reader_that_grants_no_window_is_reset_and_other_streams_go_on() {
    let large = study(1, 1, 1, &Kind { pixels: 1 << 20, ..Kind::default() });
    let scene = Scene::with(large, "[http]\nwrite_timeout = \"500ms\"\n").await;
    let study = format!("/dicom-web/studies/{}", study_uid(1));
    for (what, window, path) in [
        ("no window, a short answer", 0, "/openapi.yaml"),
        ("no window, a long answer", 0, study.as_str()),
        ("a byte, a short answer", 1, "/openapi.yaml"),
        ("what there is without a word, a long answer", 65_535, study.as_str()),
    ] {
        let mut client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, window)).await;
        client.say(&get(1, path)).await;
        assert_eq!(client.wait_for(RST_STREAM, 1).await.error(), CANCEL, "{what}");
        // The same connection serves who reads.
        client.say(&setting(INITIAL_WINDOW, 1 << 20)).await;
        client.say(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes())).await;
        client.say(&get(3, "/health/live")).await;
        assert_eq!(client.body(3).await, b"live\n", "{what}");
    }
    scene.app.settle("readers that grant no window").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_reader_that_is_slow_and_reads_is_served_to_the_end() {
    let large = study(1, 1, 1, &Kind { pixels: 300 << 10, ..Kind::default() });
    let scene = Scene::with(large, "[http]\nwrite_timeout = \"2s\"\n").await;
    let mut client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, 1)).await;
    client.say(&get(1, &format!("/dicom-web/studies/{}", study_uid(1)))).await;
    let (mut body, grant) = (0, 40_000_u32);
    loop {
        let update = grant.to_be_bytes();
        client
            .say(&[frame(WINDOW_UPDATE, 0, 0, &update), frame(WINDOW_UPDATE, 0, 1, &update)].concat())
            .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let frame = loop {
            let frame = client.next().await.expect("open");
            assert_ne!(frame.kind, RST_STREAM);
            if frame.kind == DATA {
                break frame;
            }
        };
        body += frame.payload.len();
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert!(body > 300 << 10, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_http_2_connection_without_requests_is_closed() {
    let scene = Scene::new("[http]\nheader_timeout = \"400ms\"\nwrite_timeout = \"400ms\"\n").await;
    let mut client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, 65_535)).await;
    client.say(&get(1, "/health/live")).await;
    assert_eq!(client.body(1).await, b"live\n");
    client.wait_for(GOAWAY, 0).await;
    // Nor does it help not to answer the PING in between.
    while client.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_rapid_resets_end_the_connection_before_an_archive_is_asked() {
    const STREAMS: u32 = 20_000;
    let scene = Scene::new("").await;
    let client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, 65_535)).await;
    let pair = |n: u32| {
        [get(2 * n + 1, "/dicom-web/studies"), frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes())]
            .concat()
    };
    let flood: Vec<u8> = (0..STREAMS).flat_map(pair).collect();
    let (mut reading, mut writing) = client.stream.into_split();
    let writing = tokio::spawn(async move { writing.write_all(&flood).await.is_ok() });
    let mut answer = Vec::new();
    let closed = timeout(DEADLINE, reading.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "still open");
    writing.abort();
    // GOAWAY stands among the last frames, unless the connection was reset before it was read.
    let goaway = answer.windows(17).rfind(|w| w[3] == GOAWAY && w[..3] == [0, 0, 8] && w[5..9] == [0; 4]);
    if let Some(goaway) = goaway {
        assert_eq!(goaway[13..], ENHANCE_YOUR_CALM.to_be_bytes());
    }
    scene.app.settle("rapid resets").await;
    let finds = scene.archive.observations().finds;
    assert!(finds < 500, "{finds} searches");
    until("others are served", DEADLINE, async || {
        let mut client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, 65_535)).await;
        client.say(&get(1, "/health/live")).await;
        client.body(1).await == b"live\n"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_head_without_end_over_http_2_is_cut_off() {
    /// What a client may write before it is cut off: a few times the longest head, for what lies in the sockets.
    const MOST: usize = 16 << 20;
    let scene = Scene::new("").await;
    // A field of a kibibyte, without the table.
    let field = [&[0, 1, b'a', 0x7F, 0x81, 0x07][..], &[b'b'; 1024]].concat();
    for (what, payload) in [("fields", field), ("nothing", Vec::new())] {
        let mut client = Frames::open(scene.app.http, &setting(INITIAL_WINDOW, 65_535)).await;
        client.say(&frame(HEADERS, END_STREAM, 1, &fields("/health/live"))).await;
        let (mut reading, mut writing) = client.stream.into_split();
        let flooding = tokio::spawn(async move {
            let more = frame(CONTINUATION, 0, 1, &payload);
            let mut written = 0;
            while written < MOST && writing.write_all(&more).await.is_ok() {
                written += more.len();
            }
            written
        });
        let closed = timeout(DEADLINE, reading.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{what}: still open");
        let written = flooding.await.unwrap();
        assert!(written < MOST, "{what}: {written} bytes");
    }
}
