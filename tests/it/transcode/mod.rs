//! Transfer syntaxes that a client asks for: pixels are the same in each of them, and what cannot be had says so.

use bytes::Bytes;
use gantry::demo::Instance;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::object::Head;
use gantry::dicom::transfer_syntax::{Layout, layout};
use gantry::dicom::{Uid, VR, tags};
use gantry::image::transcode::{Piece, Transcoder};

use crate::retrieval::{METHODS, Method, Scene, study_path};
use crate::support::http::{Reply, Version, get_with};
use crate::support::objects::{
    BIG_ENDIAN, CT, EXPLICIT, IMPLICIT, JPEG_BASELINE, RLE, instance_uid, series_uid, study_uid,
};
use crate::support::part10::{by_instance, files};

const FRAMES: usize = 9;
/// Bytes of a frame: 60 × 40 pixels of 16 bits.
const FRAME: usize = 4800;
const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.22";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
/// JPEG 2000 of several components, which nobody decodes.
const JPEG_2000_PART_2: &str = "1.2.840.10008.1.2.4.92";

/// The bytes of frame `number`, little endian.
fn frame(number: usize) -> Vec<u8> {
    (0..FRAME).map(|at| if at % 2 == 0 { (at / 120 * number) as u8 } else { (at / 999) as u8 }).collect()
}

fn begun(class: &str, instance: usize) -> DataSet {
    let mut object = DataSet::new();
    object.set_str(tags::SOP_CLASS_UID, VR::UI, class);
    object.set_str(tags::SOP_INSTANCE_UID, VR::UI, instance_uid(1, 1, instance));
    object.set_str(tags::STUDY_INSTANCE_UID, VR::UI, study_uid(1));
    object.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series_uid(1, 1));
    object.set_str(tags::PATIENT_ID, VR::LO, "P1");
    object.set_str(tags::MODALITY, VR::CS, "CT");
    object
}

/// An image of many frames, stored in this transfer syntax.
fn image(syntax: &str, instance: usize) -> Instance {
    Instance::from_bytes(syntax.parse().unwrap(), encoded(syntax, instance).into()).unwrap()
}

/// Its data set.
fn encoded(syntax: &str, instance: usize) -> Vec<u8> {
    let syntax: Uid = syntax.parse().unwrap();
    let mut image = begun(CT, instance);
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, FRAMES.to_string());
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, number) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, 40),
        (tags::COLUMNS, 60),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, number);
    }
    let value = Value::Bytes((1..=FRAMES).flat_map(frame).collect::<Vec<_>>().into());
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    let native = [EXPLICIT, IMPLICIT, BIG_ENDIAN].contains(&syntax.as_str());
    let bytes = image.encode(if native { layout(&syntax) } else { Layout::ExplicitLe }, QueryCharset::Auto);
    if native { bytes } else { compressed(bytes, &syntax) }
}

fn compressed(native: Vec<u8>, syntax: &Uid) -> Vec<u8> {
    let [sop_class, sop_instance, transfer_syntax] = [CT, "1.2.3", EXPLICIT].map(|uid| uid.parse().unwrap());
    let mut transcoder = Transcoder::new(&Head { sop_class, sop_instance, transfer_syntax }, syntax);
    let mut out = Vec::new();
    let mut take = |transcoder: &mut Transcoder| {
        while let Some(piece) = transcoder.pop().unwrap() {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(&bytes),
                Piece::Work(work) => out.extend_from_slice(&work.run().unwrap()),
            }
        }
    };
    transcoder.push(Bytes::from(native)).unwrap();
    take(&mut transcoder);
    transcoder.finish().unwrap();
    take(&mut transcoder);
    out
}

fn report(instance: usize) -> Instance {
    let report = begun(REPORT, instance).encode(Layout::ExplicitLe, QueryCharset::Auto);
    Instance::from_bytes(EXPLICIT.parse().unwrap(), report.into()).unwrap()
}

/// The same image with a first frame that nobody can decode.
fn damaged(instance: usize) -> Instance {
    let mut bytes = encoded(RLE, instance);
    // The first frame's header says that its only segments begin behind its end.
    let first =
        bytes.windows(12).position(|it| it.starts_with(b"\xFE\xFF\0\xE0") && it[8..12] == [2, 0, 0, 0]);
    let first = first.unwrap() + 12;
    bytes[first..first + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    Instance::from_bytes(RLE.parse().unwrap(), bytes.into()).unwrap()
}

async fn ask(scene: &Scene, path: &str, accept: &str) -> Reply {
    get_with(scene.app.http, path, Version::Http11, &format!("Accept: {accept}")).await
}

fn dicom(syntax: &str) -> String {
    format!("multipart/related; type=\"application/dicom\"; transfer-syntax={syntax}")
}

fn instance_path() -> String {
    format!("{}/series/{}/instances/{}", study_path(1), series_uid(1, 1), instance_uid(1, 1, 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_have_the_same_pixels_in_every_syntax_that_they_are_asked_for_in() {
    let last = frame(FRAMES);
    for method in METHODS {
        for stored in [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, JPEG_LS, JPEG_LOSSLESS] {
            let images = [1, 2, 3].map(|number| image(stored, number)).to_vec();
            let scene = Scene::new(method, images, &[], "").await;
            for (wanted, sent) in [
                (EXPLICIT, EXPLICIT),
                (RLE, RLE),
                (JPEG_LS, JPEG_LS),
                (JPEG_LOSSLESS, JPEG_LOSSLESS),
                ("*", stored),
            ] {
                let what = format!("{method:?} {stored} {wanted}");
                let sent = if [IMPLICIT, BIG_ENDIAN].contains(&sent) { EXPLICIT } else { sent };
                let reply = ask(&scene, &study_path(1), &dicom(wanted)).await;
                assert_eq!((reply.status, reply.whole), (200, true), "{what}: {}", reply.text());
                let files = by_instance(files(reply.header("content-type"), &reply.body));
                assert_eq!(files.len(), 3, "{what}");
                for (number, file) in (1..).zip(files.values()) {
                    assert_eq!(file.transfer_syntax, sent, "{what}");
                    let expected = encoded(sent, number);
                    assert!(
                        file.data_set == expected || stored == BIG_ENDIAN || stored == IMPLICIT,
                        "{what}"
                    );
                    let native = |it: &[u8]| it.windows(FRAME).any(|it| it == last);
                    assert!(native(&file.data_set) || sent != EXPLICIT, "{what}");
                }
            }
            scene.app.settle("transcoding").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_come_in_the_order_and_the_syntax_that_are_asked_for() {
    let rle = |number: usize| {
        let all = Bytes::from(encoded(RLE, 1));
        let mut cutter = gantry::image::frames::Cutter::new(&RLE.parse().unwrap(), vec![number as u32]);
        cutter.push(all);
        let mut frame = Vec::new();
        loop {
            match cutter.next().unwrap() {
                gantry::image::frames::Step::Cut(gantry::image::frames::Cut::Bytes(bytes)) => {
                    frame.extend(bytes)
                }
                gantry::image::frames::Step::Cut(_) => {}
                _ => return frame,
            }
        }
    };
    for stored in [EXPLICIT, BIG_ENDIAN, RLE] {
        let scene = Scene::new(Method::Get, vec![image(stored, 1)], &[], "").await;
        for list in [vec![1], vec![2, 5, 9], vec![7, 3, 4]] {
            let names = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let path = format!("{}/frames/{names}", instance_path());
            let native = ask(&scene, &path, "multipart/related; type=application/octet-stream").await;
            assert!(
                parts(&native, EXPLICIT) == list.iter().map(|&it| frame(it)).collect::<Vec<_>>(),
                "{stored} {list:?}"
            );
            let packed = ask(&scene, &path, "multipart/related; type=image/dicom-rle").await;
            assert!(
                parts(&packed, RLE) == list.iter().map(|&it| rle(it)).collect::<Vec<_>>(),
                "{stored} {list:?}"
            );
        }
        let one = ask(&scene, &format!("{}/frames/3", instance_path()), "application/octet-stream").await;
        assert_eq!(one.header("content-length"), FRAME.to_string());
        assert!(one.body == frame(3), "{stored}");
    }
}

/// The contents of the parts of a whole multipart answer, which are labelled with this transfer syntax.
fn parts(reply: &Reply, syntax: &str) -> Vec<Vec<u8>> {
    assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
    let boundary = reply.header("content-type").rsplit("boundary=").next().unwrap();
    let text: String = reply.body.iter().map(|&b| char::from(b)).collect();
    let text = text.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("a closing boundary");
    let content = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("transfer-syntax={syntax}")), "{head}");
        content.chars().map(|c| c as u8).collect()
    };
    text.split(&format!("\r\n--{boundary}\r\n")).map(content).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_among_images_comes_as_it_is() {
    let scene = Scene::new(Method::Get, vec![image(EXPLICIT, 1), report(2)], &[], "").await;
    let reply = ask(&scene, &study_path(1), &dicom(RLE)).await;
    assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
    let files = by_instance(files(reply.header("content-type"), &reply.body));
    let syntaxes: Vec<_> = files.values().map(|file| file.transfer_syntax.as_str()).collect();
    assert_eq!(syntaxes, [RLE, EXPLICIT]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_frame_that_cannot_be_decoded_is_an_error_or_a_broken_answer_and_never_a_shorter_one() {
    for method in METHODS {
        let scene = Scene::new(method, vec![damaged(1)], &[], "").await;
        for (path, accept) in [
            (study_path(1), dicom(EXPLICIT)),
            (study_path(1), "application/zip; transfer-syntax=1.2.840.10008.1.2.1".to_owned()),
            (instance_path(), dicom(EXPLICIT)),
            (format!("{}/frames/1", instance_path()), "application/octet-stream".to_owned()),
            (
                format!("{}/frames/3,1", instance_path()),
                "multipart/related; type=application/octet-stream".to_owned(),
            ),
        ] {
            let reply = ask(&scene, &path, &accept).await;
            assert_eq!(reply.status, 502, "{method:?} {path} {accept}: {}", reply.text());
            assert!(reply.text().contains("damaged"), "{}", reply.text());
        }
        // The others of its frames are all right.
        let second = ask(&scene, &format!("{}/frames/2", instance_path()), "application/octet-stream").await;
        assert!(second.status == 200 && second.body == frame(2));
        // As it is stored, it goes.
        let stored = ask(&scene, &study_path(1), &dicom("*")).await;
        assert_eq!((stored.status, stored.whole), (200, true));
        scene.app.settle("damage").await;
        // Behind others the answer has begun.
        let scene = Scene::new(method, vec![image(RLE, 1), damaged(2)], &[], "").await;
        for accept in [dicom(EXPLICIT), "application/zip; transfer-syntax=1.2.840.10008.1.2.1".to_owned()] {
            let reply = ask(&scene, &study_path(1), &accept).await;
            assert!(reply.status == 502 || !reply.whole, "{method:?} {accept}: {}", reply.status);
        }
        // To who names no transfer syntax it goes as it is stored.
        let reply = ask(&scene, &study_path(1), "multipart/related; type=\"application/dicom\"").await;
        assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
        let files = by_instance(files(reply.header("content-type"), &reply.body));
        let syntaxes: Vec<_> = files.values().map(|file| file.transfer_syntax.as_str()).collect();
        assert_eq!(syntaxes, [EXPLICIT, RLE]);
        scene.app.settle("damage").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_in_a_syntax_is_a_406_that_says_what_can() {
    let scene = Scene::new(Method::Get, vec![image(EXPLICIT, 1)], &[], "").await;
    for (path, accept) in [
        (study_path(1), dicom(JPEG_2000_PART_2)),
        (study_path(1), dicom(IMPLICIT)),
        (study_path(1), dicom(JPEG_BASELINE)),
        (format!("{}/frames/1", instance_path()), format!("image/jpeg; transfer-syntax={JPEG_BASELINE}")),
        (instance_path(), dicom(BIG_ENDIAN)),
        (format!("{}/frames/1", instance_path()), "image/jpx".to_owned()),
        (format!("{}/frames/1", instance_path()), "multipart/related; type=video/mp4".to_owned()),
    ] {
        let reply = ask(&scene, &path, &accept).await;
        assert_eq!(reply.status, 406, "{path} {accept}: {}", reply.text());
        assert!(reply.text().contains("transfer-syntax=*"), "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_twelve_bits_do_not_become_eight_and_what_loses_something_is_another_image() {
    // Twelve bits and more are a 406, above. Eight bits of grey:
    let mut image = begun(CT, 1);
    image.set_str(tags::IMAGE_TYPE, VR::CS, "ORIGINAL");
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, number) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, 40),
        (tags::COLUMNS, 60),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, number);
    }
    let pixels: Vec<u8> = (0..2400).map(|at| (at / 60 * 5) as u8).collect();
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: Value::Bytes(pixels.into()) });
    let stored = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let stored = Instance::from_bytes(EXPLICIT.parse().unwrap(), stored.into()).unwrap();
    let scene = Scene::new(Method::Get, vec![stored], &[], "").await;
    let reply = ask(&scene, &study_path(1), &dicom(JPEG_BASELINE)).await;
    assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
    let files = by_instance(files(reply.header("content-type"), &reply.body));
    let (instance, file) = files.first_key_value().unwrap();
    assert_eq!(file.transfer_syntax, JPEG_BASELINE);
    assert!(instance.starts_with("2.25.") && *instance != instance_uid(1, 1, 1), "{instance}");
    let has = |text: &str| file.data_set.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(has(instance) && has("DERIVED") && has("ISO_10918_1") && has(&instance_uid(1, 1, 1)));
    let again = ask(&scene, &study_path(1), &dicom(JPEG_BASELINE)).await;
    assert!(again.text().contains(instance), "the same each time");
    // Frames by themselves have no name that would have to change.
    let path = format!("{}/frames/1", instance_path());
    let frame = ask(&scene, &path, &format!("image/jpeg; transfer-syntax={JPEG_BASELINE}")).await;
    assert!(frame.status == 200 && frame.body.starts_with(b"\xFF\xD8\xFF"));
}
