//! Thumbnails over the wire: what they cost the archive.

use gantry::demo::Instance;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
use gantry::dicom::{Uid, VR, tags};

use crate::retrieval::{METHODS, Scene, study_path};
use crate::support::http::{Version, get_with};
use crate::support::objects::{CT, instance_uid, series_uid, study_uid};

const SLICES: usize = 500;
const SIDE: u16 = 64;

/// A slice whose pixels rise to its number.
fn slice(number: usize) -> Instance {
    let mut image = DataSet::new();
    for (tag, vr, text) in [
        (tags::SOP_CLASS_UID, VR::UI, CT),
        (tags::SOP_INSTANCE_UID, VR::UI, &instance_uid(1, 1, number)),
        (tags::STUDY_INSTANCE_UID, VR::UI, &study_uid(1)),
        (tags::SERIES_INSTANCE_UID, VR::UI, &series_uid(1, 1)),
        (tags::PATIENT_ID, VR::LO, "P1"),
        (tags::MODALITY, VR::CS, "CT"),
        (tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
    ] {
        image.set_str(tag, vr, text);
    }
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, SIDE),
        (tags::COLUMNS, SIDE),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::HIGH_BIT, 11),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, value);
    }
    let count = u32::from(SIDE) * u32::from(SIDE);
    let pixels: Vec<u8> =
        (0..count).flat_map(|at| ((at * number as u32 / count) as u16).to_le_bytes()).collect();
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value: Value::Bytes(pixels.into()) });
    let bytes = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    Instance::from_bytes(Uid::from_static(EXPLICIT_VR_LE), bytes.into()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thumbnail_of_five_hundred_slices_costs_a_search_and_one_instance() {
    for method in METHODS {
        let cache = "[cache]\nmemory = \"64MiB\"";
        let scene = Scene::new(method, (1..=SLICES).map(slice).collect(), &[], cache).await;
        let before = scene.archive.observations();
        let path = format!("{}/series/{}/thumbnail?viewport=32,32", study_path(1), series_uid(1, 1));
        let ask = async || get_with(scene.app.http, &path, Version::Http11, "Accept: image/jpeg").await;
        let reply = ask().await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "image/jpeg"), "{}", reply.text());
        assert!(reply.body.starts_with(&[0xFF, 0xD8, 0xFF]) && reply.body.len() < 4096);
        scene.app.settle("a thumbnail that is drawn").await;
        let after = scene.archive.observations();
        assert_eq!(after.objects_sent - before.objects_sent, 1, "{method:?}");
        assert_eq!(after.gets + after.moves - before.gets - before.moves, 1, "{method:?}");
        let asked = &after.requests[before.requests.len()..];
        let instance = asked.iter().find_map(|request| request.identifier.string(tags::SOP_INSTANCE_UID));
        let levels: Vec<_> =
            asked.iter().map(|it| it.identifier.string(tags::QUERY_RETRIEVE_LEVEL)).collect();
        assert!(levels.iter().all(|level| *level == Some("IMAGE")), "{method:?} {levels:?}");
        assert_eq!(instance, Some(instance_uid(1, 1, SLICES / 2 + 1).as_str()), "{method:?}: the middle");
        // Once drawn it is there.
        let again = ask().await;
        assert_eq!(again.body, reply.body, "{method:?}");
        let later = scene.archive.observations();
        assert_eq!((later.finds, later.objects_sent), (after.finds, after.objects_sent), "{method:?}");
        scene.app.settle("a thumbnail").await;
    }
}
