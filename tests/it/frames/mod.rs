//! Frames and bulk data over the wire: their bytes are those that the archive holds, and what breaks is seen.

use gantry::demo::{Fault, Instance};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, VR, tags};

use crate::retrieval::{METHODS, Scene, study_path};
use crate::support::http::{Reply, Version, get_with};
use crate::support::objects::{BIG_ENDIAN, CT, EXPLICIT, IMPLICIT, RLE, instance_uid, series_uid, study_uid};

const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const FRAMES: usize = 12;
/// Bytes of a frame: 100 × 100 pixels of 16 bits.
const FRAME: usize = 20_000;

/// The bytes of frame `number`, little endian.
fn frame(number: usize) -> Vec<u8> {
    (0..FRAME).map(|at| (at / 2 * number + at % 2 * 7) as u8).collect()
}

/// An image of many frames.
fn image(syntax: &str) -> Instance {
    let mut image = DataSet::new();
    let mut set = |tag, vr, text: &str| image.set_str(tag, vr, text);
    set(tags::SOP_CLASS_UID, VR::UI, CT);
    set(tags::SOP_INSTANCE_UID, VR::UI, &instance_uid(1, 1, 1));
    set(tags::STUDY_INSTANCE_UID, VR::UI, &study_uid(1));
    set(tags::SERIES_INSTANCE_UID, VR::UI, &series_uid(1, 1));
    set(tags::PATIENT_ID, VR::LO, "P1");
    set(tags::MODALITY, VR::CS, "CT");
    set(tags::NUMBER_OF_FRAMES, VR::IS, &FRAMES.to_string());
    image.set_u16(tags::ROWS, 100);
    image.set_u16(tags::COLUMNS, 100);
    image.set_u16(tags::BITS_ALLOCATED, 16);
    let syntax: Uid = syntax.parse().unwrap();
    let layout = layout(&syntax);
    let frames = (1..=FRAMES).map(frame);
    if syntax.as_str() == RLE {
        let mut bytes = image.encode(layout, QueryCharset::Auto);
        bytes.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0");
        for frame in frames {
            bytes.extend(b"\xFE\xFF\0\xE0");
            bytes.extend((frame.len() as u32).to_le_bytes());
            bytes.extend(frame);
        }
        bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
        return Instance::from_bytes(syntax, bytes.into()).unwrap();
    }
    let value = Value::Bytes(frames.collect::<Vec<_>>().concat().into());
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    Instance::from_bytes(syntax, image.encode(layout, QueryCharset::Auto).into()).unwrap()
}

fn path(of_instance: &str) -> String {
    format!("{}/series/{}/instances/{}{of_instance}", study_path(1), series_uid(1, 1), instance_uid(1, 1, 1))
}

async fn ask(scene: &Scene, of_instance: &str, accept: &str) -> Reply {
    let header = format!("Accept: {accept}");
    get_with(scene.app.http, &path(of_instance), Version::Http11, &header).await
}

/// The contents of the parts of a whole multipart answer.
fn parts(reply: &Reply) -> Vec<Vec<u8>> {
    assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
    let boundary = reply.header("content-type").rsplit("boundary=").next().unwrap();
    let text: String = reply.body.iter().map(|&b| char::from(b)).collect();
    let text = text.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("a closing boundary");
    let content = |part: &str| part.split_once("\r\n\r\n").unwrap().1.chars().map(|c| c as u8).collect();
    text.split(&format!("\r\n--{boundary}\r\n")).map(content).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_frames_are_pixel_exact_and_the_number_counts() {
    for method in METHODS {
        for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE] {
            let scene = Scene::new(method, vec![image(syntax)], &[], "").await;
            for list in [vec![1], vec![7], vec![FRAMES], vec![2, 3, 11], vec![5, 1]] {
                let text: Vec<String> = list.iter().map(ToString::to_string).collect();
                let reply = ask(&scene, &format!("/frames/{}", text.join(",")), STORED).await;
                let wanted: Vec<_> = list.iter().map(|&number| frame(number)).collect();
                assert!(parts(&reply) == wanted, "{method:?} {syntax} {list:?}");
            }
            let beyond = ask(&scene, &format!("/frames/{}", FRAMES + 1), STORED).await;
            assert_eq!(beyond.status, 404, "{method:?} {syntax}");
            scene.app.settle("frames").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_comes_in_ranges_and_whole() {
    for method in METHODS {
        let scene = Scene::new(method, vec![image(BIG_ENDIAN)], &[], "").await;
        let all: Vec<u8> = (1..=FRAMES).flat_map(frame).collect();
        let whole = ask(&scene, "/bulkdata/7FE00010", "*/*").await;
        assert_eq!((whole.status, whole.whole), (200, true), "{method:?}");
        assert!(whole.body == all, "{method:?}: little endian, as metadata are");
        let part = ask(&scene, "/bulkdata/7FE00010", "*/*\r\nRange: bytes=30000-49999").await;
        assert_eq!((part.status, part.whole), (206, true), "{method:?}");
        assert!(part.body == all[30_000..50_000], "{method:?}");
        assert_eq!(part.header("content-range"), format!("bytes 30000-49999/{}", all.len()));
        assert_eq!(ask(&scene, "/bulkdata/00281201", "*/*").await.status, 404);
        scene.app.settle("values").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_breaks_within_the_object_is_an_error_or_a_broken_answer() {
    for method in METHODS {
        for fault in [Fault::CloseIn(1), Fault::AbortIn(1)] {
            let scene = Scene::new(method, vec![image(EXPLICIT)], &[fault], "").await;
            let every = (1..=FRAMES).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
            for (of_instance, accept) in [
                (format!("/frames/{every}"), STORED),
                (format!("/frames/{FRAMES}"), "application/octet-stream"),
                ("/bulkdata/7FE00010".to_owned(), "*/*"),
                ("/bulkdata".to_owned(), STORED),
            ] {
                let reply = ask(&scene, &of_instance, accept).await;
                let seen = reply.status == 0 || reply.status >= 500 || !reply.whole;
                assert!(seen, "{method:?} {fault} {of_instance}: {}", reply.status);
                scene.app.settle("a break").await;
            }
            scene.archive.clear_faults();
            let reply = ask(&scene, "/frames/3", STORED).await;
            assert!(parts(&reply) == [frame(3)], "{method:?} {fault}: the next request");
        }
    }
}
