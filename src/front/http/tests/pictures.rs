//! Pictures: what `rendered` and `thumbnail` answer with.

use std::collections::BTreeSet;
use std::io::Cursor;

use super::frames::{asked_for, hold, of_class};
use super::qido;
use super::wado::lay;
use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Expected, Form, Kind, Retrieval};
use crate::caller::Priority;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::dataset::{DataSet, Element, Value as DicomValue};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR, tags};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// JPEG 2000 Part 2, which is not decoded here.
const MULTI_COMPONENT: &str = "1.2.840.10008.1.2.4.92";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const PARTS: &str = "multipart/related; type=\"image/png\"";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";

/// A grey image with frames of 4 × 2 pixels.
fn image(frames: &[[u8; 8]]) -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string());
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, 2),
        (tags::COLUMNS, 4),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, value);
    }
    image.set_str(tags::CINE_RATE, VR::IS, "20");
    let pixels = frames.as_flattened().to_vec();
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: DicomValue::Bytes(pixels.into()) });
    image.encode(Layout::ExplicitLe, QueryCharset::Auto)
}

const RISING: [u8; 8] = [0, 10, 20, 30, 40, 50, 60, 70];

/// Width, height and pixels of a PNG.
fn png(file: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    pixels.truncate(info.buffer_size());
    (info.width, info.height, pixels)
}

async fn rendered(path: &str, accept: &str) -> Answer {
    let bridge = Bridge::new();
    hold(&bridge, EXPLICIT, image(&[RISING, [7; 8], RISING])).await;
    bridge.ask("GET", &asked_for(path), accept).await
}

#[tokio::test]
async fn an_image_is_a_jpeg_unless_something_else_is_asked_for() {
    for accept in ["", "*/*", "image/*", "image/avif,image/*,*/*;q=0.8"] {
        let answer = rendered("/rendered", accept).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/jpeg"), "{accept}");
        assert!(answer.body.starts_with(&[0xFF, 0xD8]) && !answer.header("etag").is_empty());
        assert!(answer.header("content-location").ends_with("/instances/1.4/rendered"));
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    }
    let answer = rendered("/rendered", "image/png").await;
    assert_eq!(answer.header("content-type"), "image/png");
    let range = RISING.map(|value| u8::try_from((u32::from(value) * 255 + 35) / 70).unwrap());
    assert_eq!(png(&answer.body), (4, 2, range.to_vec()));
    rendered("/rendered", "image/webp").await.problem(406);
}

#[tokio::test]
async fn window_viewport_and_quality_are_obeyed_and_bad_ones_refused() {
    let answer = rendered("/rendered?window=41,1,linear", "image/png").await;
    assert_eq!(png(&answer.body).2, [0, 0, 0, 0, 0, 255, 255, 255]);
    let answer = rendered("/rendered?viewport=2%2C2&window=35,71,linear", "image/png").await;
    assert_eq!((png(&answer.body).0, png(&answer.body).1), (2, 1));
    let answer = rendered("/rendered?viewport=2,1,1,1,-2,1&window=35.5,71", "image/png").await;
    assert_eq!(
        png(&answer.body).2,
        [60, 50].map(|value: u32| u8::try_from((value * 255 + 35) / 70).unwrap())
    );
    let [best, worst] = ["100", "1"].map(|quality| format!("/rendered?quality={quality}&viewport=400,400"));
    assert!(rendered(&best, "").await.body.len() > rendered(&worst, "").await.body.len());
    rendered("/rendered?viewport=16384,16384", "image/png").await.problem(413);
    for bad in ["window=1", "viewport=0,0", "quality=0", "quality=x", "viewport=9,9,4,0"] {
        rendered(&format!("/rendered?{bad}"), "image/png").await.problem(400);
    }
}

#[tokio::test]
async fn a_gif_moves_through_all_frames_or_those_of_a_list() {
    for (path, count) in [("/rendered", 3), ("/frames/1,3/rendered", 2), ("/frames/2/rendered", 1)] {
        let answer = rendered(path, "image/gif").await;
        assert_eq!(answer.header("content-type"), "image/gif", "{path}");
        let mut gif = gif::DecodeOptions::new().read_info(&answer.body[..]).unwrap();
        let mut frames = 0;
        while let Some(frame) = gif.read_next_frame().unwrap() {
            assert_eq!((frame.width, frame.height, frame.delay), (4, 2, 5));
            frames += 1;
        }
        assert_eq!(frames, count, "{path}");
    }
}

#[tokio::test]
async fn a_gif_has_no_place_for_a_profile_and_each_frame_its_own_time() {
    for profile in ["yes", "adobergb", "displayp3", "rommrgb"] {
        rendered(&format!("/rendered?iccprofile={profile}"), "image/gif").await.problem(400);
    }
    assert_eq!(rendered("/rendered?iccprofile=srgb", "image/gif").await.status, 200);
    let bytes = image(&[RISING, [7; 8], RISING]);
    let mut data_set = DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap().data_set;
    data_set.remove(tags::CINE_RATE);
    let times = ["0", "50", "1000"].map(str::to_owned).to_vec();
    data_set.set_strings(tags::FRAME_TIME_VECTOR, VR::DS, times);
    let bridge = Bridge::new();
    hold(&bridge, EXPLICIT, data_set.encode(Layout::ExplicitLe, QueryCharset::Auto)).await;
    let answer = bridge.ask("GET", &asked_for("/rendered"), "image/gif").await;
    let mut gif = gif::DecodeOptions::new().read_info(&answer.body[..]).unwrap();
    let mut delays = Vec::new();
    while let Some(frame) = gif.read_next_frame().unwrap() {
        delays.push(frame.delay);
    }
    assert_eq!(delays, [5, 100, 100]);
}

#[tokio::test]
async fn more_before_the_pixels_than_is_read_is_not_the_archives_fault() {
    let bytes = image(&[RISING]);
    let mut data_set = DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap().data_set;
    data_set.set_items(tags::OPTICAL_PATH_SEQUENCE, vec![DataSet::new(); 1 << 19]);
    let bridge = Bridge::new();
    hold(&bridge, EXPLICIT, data_set.encode(Layout::ExplicitLe, QueryCharset::Auto)).await;
    let problem = bridge.get(&asked_for("/rendered")).await.problem(501);
    assert!(problem.contains("\"side\":\"bridge\""), "{problem}");
}

#[tokio::test]
async fn names_are_in_the_character_set_that_the_archive_is_said_to_use() {
    let named = |name: &[u8]| {
        let mut bytes = b"\x10\0\x10\0PN\x06\0".to_vec();
        bytes.extend(name);
        bytes.extend(image(&[[0; 8]]));
        bytes
    };
    let shown = async |bytes: Vec<u8>, assumed: Option<&str>| {
        let bridge = Bridge::new();
        let (driver, objects) = Driver::new();
        bridge.archive.push_retrieval(Ok(Retrieval {
            objects,
            missing: Vec::new(),
            confirmed: BTreeSet::new(),
            assumed_charset: assumed.map(|name| Charset::from_values(&[name.to_owned()])),
            without_bulk: false,
            expected: Expected::default(),
        }));
        driver.item(of_class(CT, EXPLICIT, bytes).await);
        driver.complete();
        let path = asked_for("/rendered?annotation=patient&viewport=400,200");
        png(&bridge.ask("GET", &path, "image/png").await.body).2
    };
    let latin = shown(named(b"M\xFCller"), Some("ISO_IR 100")).await;
    assert_ne!(latin, shown(named(b"M\xFCller"), None).await);
    assert_ne!(latin, shown(named(b"Muller"), None).await);
}

#[tokio::test]
async fn hazard_frames_are_pictures_of_their_own_and_the_number_counts() {
    let one = rendered("/frames/2/rendered", "image/png").await;
    assert_eq!(png(&one.body).2, [0; 8], "a frame of one value");
    assert!(one.header("content-location").ends_with("/frames/2/rendered"));
    rendered("/frames/1,3/rendered", "image/png").await.problem(406);
    let both = rendered("/frames/1,3/rendered", "multipart/related; type=\"image/png\"").await;
    let parts = super::frames::parts(&both);
    let url = "http://bridge.example/dicom-web/studies/1.2/series/1.3/instances/1.4/frames";
    assert_eq!(parts.len(), 2);
    for ((content_type, location, file), number) in parts.iter().zip([1, 3]) {
        assert_eq!(content_type, "image/png");
        assert_eq!(location, &format!("{url}/{number}/rendered"));
        assert_eq!((png(file).0, png(file).2[7]), (4, 255));
    }
    rendered("/frames/4/rendered", "").await.problem(404);
    rendered("/frames/3,1/rendered", "").await.problem(400);
    rendered("/frames/x/rendered", "").await.problem(400);
}

#[tokio::test]
async fn a_series_is_a_part_for_each_of_its_images_and_whole_or_broken() {
    let (bridge, driver) = {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        (bridge, driver)
    };
    let mut report = DataSet::new();
    report.set_str(tags::MODALITY, VR::CS, "SR");
    driver.item(of_class(CT, EXPLICIT, image(&[RISING])).await);
    driver.item(of_class(SR, EXPLICIT, report.encode(Layout::ExplicitLe, QueryCharset::Auto)).await);
    driver.item(of_class(CT, MULTI_COMPONENT, image(&[RISING])).await);
    driver.item(of_class(CT, EXPLICIT, image(&[[9; 8], RISING])).await);
    driver.complete();
    hold(&bridge, EXPLICIT, image(&[RISING])).await;
    let answer = bridge.ask("GET", "/dicom-web/studies/1.2/series/1.3/rendered", PARTS).await;
    let parts = super::frames::parts(&answer);
    assert_eq!(parts.len(), 3, "only what is no image is left out");
    let asked = bridge.archive.retrieves();
    assert_eq!((asked.len(), asked[1].form), (2, Form::Native), "what is not decoded here");
    assert_eq!(asked[1].target.instance.as_ref().unwrap().as_str(), "1.4");
    assert!(parts.iter().all(|(content_type, location, file)| {
        content_type == "image/png" && location.ends_with("/instances/1.4/rendered") && png(file).0 == 4
    }));
    assert_eq!(bridge.archive.callers()[0].priority, Priority::Bulk);

    let driver = lay(&bridge, Vec::new());
    driver.item(of_class(SR, EXPLICIT, report.encode(Layout::ExplicitLe, QueryCharset::Auto)).await);
    driver.complete();
    bridge.get("/dicom-web/studies/1.2/rendered").await.problem(404);

    let driver = lay(&bridge, Vec::new());
    driver.item(of_class(CT, EXPLICIT, image(&[RISING])).await);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    let request = Request::builder().uri("/dicom-web/studies/1.2/series/1.3/rendered");
    let request = request.header("Host", "bridge.example").body(Body::empty()).unwrap();
    let response = bridge.app.clone().oneshot(request).await.unwrap();
    assert!(response.into_body().collect().await.is_err(), "a short answer is never closed");
}

#[tokio::test]
async fn an_image_that_is_damaged_or_cannot_be_shown_is_not_left_out_of_what_says_it_is_all() {
    let short = image(&[RISING, RISING]).split_at(image(&[RISING, RISING]).len() - 12).0.to_vec();
    for (syntax, bytes) in [
        (EXPLICIT, short),
        // Without Photometric Interpretation.
        (EXPLICIT, super::frames::wide(1, 1024)),
        (MULTI_COMPONENT, image(&[RISING])),
    ] {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        driver.item(of_class(CT, EXPLICIT, image(&[RISING])).await);
        driver.item(of_class(CT, syntax, bytes).await);
        driver.complete();
        bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotAcceptable)));
        let request = Request::builder().uri("/dicom-web/studies/1.2/series/1.3/rendered");
        let request = request.header("Host", "bridge.example").body(Body::empty()).unwrap();
        let response = bridge.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_here_is_asked_for_decompressed() {
    let bridge = Bridge::new();
    hold(&bridge, MULTI_COMPONENT, image(&[RISING])).await;
    hold(&bridge, EXPLICIT, image(&[RISING])).await;
    let answer = bridge.ask("GET", &asked_for("/rendered"), "image/png").await;
    assert_eq!(png(&answer.body).0, 4);
    let forms: Vec<Form> = bridge.archive.retrieves().iter().map(|retrieve| retrieve.form).collect();
    assert_eq!(forms, [Form::AsStored, Form::Native]);
    let bridge = Bridge::new();
    hold(&bridge, MULTI_COMPONENT, image(&[RISING])).await;
    bridge.archive.push_retrieval(Err(Error::new("main", Kind::NotAcceptable)));
    bridge.get(&asked_for("/frames/1/rendered")).await.problem(501);
}

#[tokio::test]
async fn an_object_without_pixels_is_404_and_one_that_contradicts_itself_501() {
    let mut report = DataSet::new();
    report.set_str(tags::MODALITY, VR::CS, "SR");
    for (bytes, status) in [
        (report.encode(Layout::ExplicitLe, QueryCharset::Auto), 404),
        // Without Photometric Interpretation.
        (super::frames::wide(1, 1024), 501),
    ] {
        let bridge = Bridge::new();
        hold(&bridge, EXPLICIT, bytes).await;
        bridge.get(&asked_for("/rendered")).await.problem(status);
    }
}

fn listed(attributes: &[(Tag, VR, &str)]) -> DataSet {
    let mut found = DataSet::new();
    for (tag, vr, value) in attributes {
        found.set_str(*tag, *vr, *value);
    }
    found
}

fn instance(number: &str, uid: &str, class: &str) -> DataSet {
    listed(&[
        (tags::INSTANCE_NUMBER, VR::IS, number),
        (tags::SOP_INSTANCE_UID, VR::UI, uid),
        (tags::SOP_CLASS_UID, VR::UI, class),
    ])
}

/// A bridge that keeps what it has drawn.
fn keeping() -> Bridge {
    let archive = Fake::named("main");
    let shutdown = CancellationToken::new();
    let archives = router::Router::new([archive.clone() as Arc<_>], None);
    let cache = Cache::new(CacheConfig::default(), Metrics::default());
    let services = Services { cache, ..services(archives, shutdown.clone()) };
    Bridge { archive, app: app(named(Config::default()), services), shutdown }
}

#[tokio::test]
async fn a_thumbnail_of_a_series_is_the_image_in_its_middle_and_kept() {
    let bridge = keeping();
    let slices = (1..=500).map(|n| instance(&n.to_string(), &format!("1.4.{n}"), CT));
    let report = instance("999", "1.4.999", SR);
    qido::lay(&bridge, slices.rev().chain([report]));
    hold(&bridge, EXPLICIT, image(&[RISING])).await;
    let path = "/dicom-web/studies/1.2/series/1.3/thumbnail?viewport=256%2C256";
    for _ in 0..3 {
        let answer = bridge.ask("GET", path, "image/jpeg").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/jpeg"));
        assert!(answer.header("content-location").ends_with("/series/1.3/thumbnail"));
    }
    let asked = bridge.archive.retrieves();
    assert_eq!((asked.len(), bridge.archive.queries().len()), (1, 1), "one search, one instance");
    assert_eq!(asked[0].target.instance.as_ref().unwrap().as_str(), "1.4.251");
    assert!(!asked[0].ahead);
    let known = bridge.ask("GET", path, "image/jpeg").await;
    let again = [("Accept", "image/jpeg"), ("If-None-Match", known.header("etag"))];
    assert_eq!(bridge.ask_with("GET", path, &again).await.status, 304);
}

#[tokio::test]
async fn a_thumbnail_of_a_study_is_of_its_first_series_with_images() {
    let series = |number: &str, uid: &str, modality: &str| {
        listed(&[
            (tags::SERIES_NUMBER, VR::IS, number),
            (tags::SERIES_INSTANCE_UID, VR::UI, uid),
            (tags::MODALITY, VR::CS, modality),
        ])
    };
    let bridge = Bridge::new();
    qido::lay(&bridge, [series("9", "1.3.9", "CT"), series("1", "1.3.1", "SR"), series("2", "1.3.2", "CT")]);
    qido::lay(&bridge, [instance("1", "1.4.1", CT)]);
    hold(&bridge, EXPLICIT, image(&[RISING])).await;
    let answer = bridge.ask("GET", "/archives/main/studies/1.2/thumbnail", "image/png").await;
    assert_eq!((png(&answer.body).0, png(&answer.body).1), (4, 2), "never enlarged");
    let target = &bridge.archive.retrieves()[0].target;
    assert_eq!(target.series.as_ref().unwrap().as_str(), "1.3.2");
    qido::lay(&bridge, [series("1", "1.3.1", "SR")]);
    bridge.get("/archives/main/studies/1.2/thumbnail").await.problem(404);
}

#[tokio::test]
async fn a_thumbnail_does_not_hang_on_one_object_without_pixels() {
    const PRIVATE: &str = "1.3.6.1.4.1.9.9";
    let series = |uid: &str| listed(&[(tags::SERIES_INSTANCE_UID, VR::UI, uid)]);
    let empty = || DataSet::new().encode(Layout::ExplicitLe, QueryCharset::Auto);
    let bridge = Bridge::new();
    qido::lay(&bridge, [series("1.3.1"), series("1.3.2"), series("1.3.3"), series("1.3.4")]);
    qido::lay(&bridge, [instance("1", "1.4.1", SR), instance("2", "1.4.2", "1.2.840.10008.5.1.4.1.1.481.4")]);
    qido::lay(&bridge, ["1", "2", "3", "4", "5"].map(|n| instance(n, &format!("1.5.{n}"), PRIVATE)));
    qido::lay(&bridge, [instance("1", "1.6.1", PRIVATE), instance("2", "1.6.2", PRIVATE)]);
    for bytes in [empty(), empty(), empty(), empty(), image(&[RISING])] {
        hold(&bridge, EXPLICIT, bytes).await;
    }
    let answer = bridge.ask("GET", "/archives/main/studies/1.2/thumbnail", "image/png").await;
    assert_eq!((png(&answer.body).0, png(&answer.body).1), (4, 2));
    let asked = bridge.archive.retrieves();
    let asked: Vec<&str> =
        asked.iter().map(|retrieve| retrieve.target.instance.as_ref().unwrap().as_str()).collect();
    assert_eq!(asked, ["1.5.3", "1.5.4", "1.5.5", "1.6.2", "1.6.1"], "the middle first, three of a series");
}

#[tokio::test]
async fn thumbnails_of_instances_and_frames_shrink_and_what_is_no_image_has_none() {
    let thumbnail = async |path: &str, syntax, bytes: Vec<u8>| {
        let bridge = Bridge::new();
        hold(&bridge, syntax, bytes).await;
        bridge.ask("GET", &asked_for(path), "image/png").await
    };
    let whole = || image(&[RISING, [5; 8]]);
    let small = thumbnail("/thumbnail?viewport=2,2", EXPLICIT, whole()).await;
    assert_eq!((png(&small.body).0, png(&small.body).1), (2, 1));
    let second = thumbnail("/frames/2/thumbnail", EXPLICIT, whole()).await;
    assert_eq!(png(&second.body).2, [0; 8]);
    thumbnail("/thumbnail?viewport=9,9,0,0,1,1", EXPLICIT, whole()).await.problem(400);
    thumbnail("/frames/3/thumbnail", EXPLICIT, whole()).await.problem(404);
    let empty = DataSet::new().encode(Layout::ExplicitLe, QueryCharset::Auto);
    thumbnail("/thumbnail", EXPLICIT, empty).await.problem(404);
    let short = whole().split_at(whole().len() - 12).0.to_vec();
    thumbnail("/thumbnail", EXPLICIT, short).await.problem(502);
    thumbnail("/thumbnail", EXPLICIT, super::frames::wide(1, 1024)).await.problem(501);
    thumbnail("/thumbnail", "1.2.840.10008.1.2.4.102", whole()).await.problem(404);
    let bridge = Bridge::new();
    let browser = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    hold(&bridge, EXPLICIT, whole()).await;
    let answer = bridge.ask("GET", &asked_for("/thumbnail?accept=image/jpeg"), browser).await;
    assert_eq!(answer.header("content-type"), "image/jpeg");
}
