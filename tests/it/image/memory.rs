//! Objects of thousands of frames, on their way to clients that do not read: what the bridge holds has a bound.

use std::sync::Arc;

use bytes::Bytes;
use gantry::demo::Instance;
use gantry::demo::instance::Data;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
use gantry::dicom::{Uid, VR, tags};
use gantry::image::codec::encode;
use gantry::image::pixels::{Frame, Photometric, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::retrieval::study_path;
use crate::support::measured::Measured;
use crate::support::objects::{CT, EXPLICIT, RLE, instance_uid, series_uid, study_uid};
use crate::support::{DEADLINE, until};

const FRAMES: usize = 2000;
const SIDE: u16 = 96;
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// Clients of each object, of which none reads before all wait.
const READERS: usize = 2;
/// Most memory that the bridge may have had at any time, in KiB: what it is without any object, and some MiB. Two
/// objects are 72 MiB.
const MOST: u64 = 100 << 10;
/// Bytes of a piece of an object.
const PIECE: usize = 64 << 10;
/// How often the bridge is looked at, doing nothing, until it is taken to wait.
const LOOKS: usize = 30;

fn shape(side: u16, cell: u16) -> Shape {
    Shape {
        rows: side,
        columns: side,
        samples: 1,
        bits_allocated: cell,
        bits_stored: cell,
        high_bit: cell - 1,
        signed: false,
        photometric: Photometric::Monochrome2,
        planar: false,
    }
}

/// An object of so many frames, all of them the same.
fn cine(syntax: &str, study: usize, shape: Shape, frames: usize) -> Instance {
    let syntax: Uid = syntax.parse().unwrap();
    let mut image = DataSet::new();
    for (tag, vr, text) in [
        (tags::SOP_CLASS_UID, VR::UI, CT),
        (tags::SOP_INSTANCE_UID, VR::UI, &instance_uid(study, 1, 1)),
        (tags::STUDY_INSTANCE_UID, VR::UI, &study_uid(study)),
        (tags::SERIES_INSTANCE_UID, VR::UI, &series_uid(study, 1)),
        (tags::MODALITY, VR::CS, "CT"),
        (tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string()),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
    ] {
        image.set_str(tag, vr, text);
    }
    for (tag, number) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, shape.rows),
        (tags::COLUMNS, shape.columns),
        (tags::BITS_ALLOCATED, shape.bits_allocated),
        (tags::BITS_STORED, shape.bits_stored),
        (tags::HIGH_BIT, shape.high_bit),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, number);
    }
    // Stripes, which every codec is fast with.
    let rows = (0..shape.rows)
        .map(|row| vec![(row / 16) as u8; usize::from(shape.columns * shape.bits_allocated / 8)]);
    let frame = Frame { shape, bytes: rows.flatten().collect() };
    let mut parts = Vec::new();
    let mut head = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    if syntax.as_str() == EXPLICIT_VR_LE {
        let length = u32::try_from(frame.bytes.len() * frames).unwrap();
        head.extend([b"\xE0\x7F\x10\0OW\0\0", &length.to_le_bytes()[..]].concat());
        parts.push(Bytes::from(head));
        parts.extend(repeated(&frame.bytes, frames));
    } else {
        head.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0");
        let mut codestream = encode(&syntax, &frame).unwrap().bytes;
        codestream.resize(codestream.len().next_multiple_of(2), 0);
        let item = [b"\xFE\xFF\0\xE0", &(codestream.len() as u32).to_le_bytes()[..], &codestream].concat();
        parts.push(Bytes::from(head));
        parts.extend(repeated(&item, frames));
        parts.push(Bytes::from_static(b"\xFE\xFF\xDD\xE0\0\0\0\0"));
    }
    let beginning = Instance::from_prefix(syntax, &parts[0], Data::Parts(Arc::from(&parts[..])));
    beginning.unwrap()
}

/// The same bytes so many times, in pieces that share their memory.
fn repeated(bytes: &[u8], times: usize) -> Vec<Bytes> {
    let together = (PIECE / bytes.len()).clamp(1, times);
    let mut pieces = vec![Bytes::from(bytes.repeat(together)); times / together];
    pieces.push(Bytes::from(bytes.repeat(times % together)));
    pieces
}

fn instance_path(study: usize) -> String {
    format!("{}/series/{}/instances/{}", study_path(study), series_uid(study, 1), instance_uid(study, 1, 1))
}

/// Asks, and waits for the answer's beginning.
async fn begun(scene: &Measured, path: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(scene.http).await.unwrap();
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "{path} {accept}");
    stream
}

/// Waits until the bridge has nothing to do any more, as nobody reads.
async fn stalled(scene: &Measured) {
    let (mut before, mut looks) = (0, 0);
    until("the bridge waits for its clients", DEADLINE * 3, async || {
        let now = scene.processor();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
        looks == LOOKS
    })
    .await;
}

/// Reads what is left, and tells how much that was.
async fn rest(mut stream: TcpStream) -> usize {
    let (mut block, mut length) = (vec![0; 256 << 10], 0);
    loop {
        match stream.read(&mut block).await.unwrap() {
            0 => return length,
            count => length += count,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_two_thousand_frames_pass_in_bounded_memory_however_slowly_they_are_read() {
    let (large, small) = (shape(SIDE, 16), shape(64, 8));
    let instances = vec![
        cine(EXPLICIT, 1, large, FRAMES),
        cine(RLE, 2, large, FRAMES),
        cine(JPEG_LS, 3, large, FRAMES),
        cine(RLE, 4, small, FRAMES),
    ];
    let scene = Measured::start(instances, "0").await;
    let native = FRAMES * usize::try_from(large.frame_length()).unwrap();
    let list = (1..=1000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let dicom = |syntax: &str| format!("application/dicom; transfer-syntax={syntax}");
    for (path, accept, least) in [
        (instance_path(1), dicom(RLE), FRAMES * 200),
        (instance_path(2), dicom(EXPLICIT), native),
        (instance_path(3), dicom(EXPLICIT), native),
        (study_path(2), format!("application/zip; transfer-syntax={EXPLICIT}"), native),
        (
            format!("{}/frames/{list}", instance_path(3)),
            "multipart/related; type=\"application/octet-stream\"".to_owned(),
            native / 2,
        ),
        (format!("{}/rendered", instance_path(4)), "image/gif".to_owned(), FRAMES * 100),
    ] {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(begun(&scene, &path, &accept).await);
        }
        stalled(&scene).await;
        let waiting = scene.most_memory();
        // One that waited for the others would be cut off as one that never reads.
        let mut readers: JoinSet<usize> = readers.into_iter().map(rest).collect();
        while let Some(length) = readers.join_next().await {
            let length = length.unwrap();
            assert!(length >= least, "{path} {accept}: {length} bytes");
        }
        let most = scene.most_memory();
        println!("{path} {accept}: {waiting} KiB while nobody read, {most} KiB");
        assert!(most < MOST, "{path} {accept}: {most} KiB");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_frames_of_a_byte_are_not_all_worked_on_at_once() {
    let tiny = shape(1, 8);
    let scene = Measured::start(vec![cine(EXPLICIT, 1, tiny, 300_000)], "0").await;
    let reader = begun(&scene, &instance_path(1), &format!("application/dicom; transfer-syntax={RLE}")).await;
    stalled(&scene).await;
    let most = scene.most_memory();
    drop(reader);
    assert!(most < MOST, "{most} KiB");
}
