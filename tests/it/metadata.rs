//! Metadata over the wire: an archive that leaves bulk data out makes no difference to who reads them.

use gantry::demo::{Archive, Instance};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Tag, Uid, VR, tags};

use crate::retrieval::study_path;
use crate::support::app::TestApp;
use crate::support::http::{Version, get_with};
use crate::support::objects::{CT, EXPLICIT, instance_uid, series_uid, study_uid};

/// Bytes of each value that is bulk data: more than stays in the metadata.
const BULK: usize = 40_000;
const RAW_DATA: &str = "1.2.840.10008.5.1.4.1.1.66";

fn data_set(class: &str, instance: usize) -> DataSet {
    let mut data_set = DataSet::new();
    let mut set = |tag, vr, text: &str| data_set.set_str(tag, vr, text);
    set(tags::SOP_CLASS_UID, VR::UI, class);
    set(tags::SOP_INSTANCE_UID, VR::UI, &instance_uid(1, 1, instance));
    set(tags::STUDY_INSTANCE_UID, VR::UI, &study_uid(1));
    set(tags::SERIES_INSTANCE_UID, VR::UI, &series_uid(1, 1));
    set(tags::PATIENT_ID, VR::LO, "P1");
    set(tags::MODALITY, VR::CS, "OT");
    data_set
}

fn insert(data_set: &mut DataSet, tag: Tag, vr: VR) {
    data_set.insert(tag, Element { vr, value: Value::Bytes(vec![3; BULK].into()) });
}

fn encoded(data_set: &DataSet) -> Instance {
    let syntax: Uid = EXPLICIT.parse().unwrap();
    let bytes = data_set.encode(layout(&syntax), QueryCharset::Auto);
    Instance::from_bytes(syntax, bytes.into()).unwrap()
}

/// An image with an overlay.
fn image(instance: usize) -> Instance {
    let mut image = data_set(CT, instance);
    for (tag, number) in [
        (tags::ROWS, 100),
        (tags::COLUMNS, 200),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::PIXEL_REPRESENTATION, 0),
        (Tag(0x6000, 0x0010), 600),
        (Tag(0x6000, 0x0011), 600),
        (Tag(0x6000, 0x0100), 1),
    ] {
        image.set_u16(tag, number);
    }
    insert(&mut image, Tag(0x6000, 0x3000), VR::OW);
    insert(&mut image, tags::PIXEL_DATA, VR::OW);
    encoded(&image)
}

/// A document, and an object of nothing but private attributes.
fn others() -> [Instance; 2] {
    let mut document = data_set("1.2.840.10008.5.1.4.1.1.104.1", 8);
    document.set_str(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf");
    insert(&mut document, tags::ENCAPSULATED_DOCUMENT, VR::OB);
    let mut raw = data_set(RAW_DATA, 9);
    raw.set_str(Tag(0x0029, 0x0010), VR::LO, "VENDOR");
    insert(&mut raw, Tag(0x0029, 0x1001), VR::OB);
    [encoded(&document), encoded(&raw)]
}

/// The metadata of the study, by instance, and how many bytes the archive sent for them.
async fn metadata(without_bulk_data: bool) -> (Vec<serde_json::Value>, u64) {
    let instances: Vec<Instance> = (1..=3).map(image).chain(others()).collect();
    let builder = Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances);
    let builder = builder.listen("127.0.0.1:0".parse().unwrap());
    let builder = if without_bulk_data { builder.without_bulk_data() } else { builder };
    let archive = builder.start().await.unwrap();
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n\
         retrieve = \"get\"\n[cache]\nmemory = \"64MiB\"\n",
        archive.addr()
    ))
    .await;
    let get = async |path: &str| {
        let reply = get_with(app.http, path, Version::Http11, "Accept: application/dicom+json").await;
        assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
        serde_json::from_slice::<Vec<serde_json::Value>>(&reply.body).unwrap()
    };
    // With the first association the bridge learns what the archive can do.
    get(&format!("{}/series", study_path(1))).await;
    let mut metadata = get(&format!("{}/series/{}/metadata", study_path(1), series_uid(1, 1))).await;
    metadata.sort_by_key(|one| one["00080018"]["Value"][0].to_string());
    let text = get_with(app.http, "/metrics", Version::Http11, "Accept: */*").await.text();
    let count = "gantry_object_bytes_total{archive=\"main\"} ";
    let sent = text.lines().find_map(|line| line.strip_prefix(count)).unwrap().parse().unwrap();
    (metadata, sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_say_the_same_whether_the_archive_leaves_bulk_data_out_or_not() {
    let (whole, sent_whole) = metadata(false).await;
    let (short, sent_short) = metadata(true).await;
    assert_eq!(whole.len(), 5);
    assert_eq!(short, whole);
    let uri = whole[0]["60003000"]["BulkDataURI"].as_str().unwrap();
    assert!(uri.ends_with(&format!("/instances/{}/bulkdata/60003000", instance_uid(1, 1, 1))), "{uri}");
    assert!(sent_whole > 8 * BULK as u64, "{sent_whole}");
    // The document came with what it holds, as this archive leaves it in. Nobody can tell what an object has that
    // consists of private attributes, so that it came once more.
    assert!(sent_short < 4 * BULK as u64, "{sent_short}");
}
