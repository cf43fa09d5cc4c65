//! Retrievals without bulk data (PS3.4 Annex Z).

use super::*;
use crate::demo;

/// Bytes of pixel data of each object.
const PIXELS: usize = 4096;

async fn archive_before(pacs: demo::Archive) -> (demo::Running, DimseArchive) {
    let running = pacs.plain(1, 2, 5, PIXELS).start().await.unwrap();
    let config = Config { address: running.addr().to_string(), ..config() };
    let archive = DimseArchive::new(config, None, None, Metrics::default());
    (running, archive)
}

fn study_of(pacs: &demo::Running) -> Retrieve {
    let study = pacs.first_instance().unwrap().study().parse().unwrap();
    Retrieve::new(Target { study, series: None, instance: None }, Form::WithoutBulkData)
}

/// The lengths of the objects that come, and whether they are said to be without bulk data.
async fn lengths(archive: &DimseArchive, retrieve: Retrieve) -> (Vec<usize>, bool) {
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let mut retrieval = archive.retrieve(&caller, retrieve).await.unwrap();
    let mut lengths = Vec::new();
    loop {
        match retrieval.objects.next().await {
            Step::Item(mut object) => {
                let mut length = 0;
                while let Some(bytes) = object.body.next().await {
                    length += bytes.unwrap().len();
                }
                lengths.push(length);
            }
            Step::End(end) => {
                end.unwrap();
                return (lengths, retrieval.without_bulk);
            }
        }
    }
}

#[tokio::test]
async fn that_an_archive_omits_bulk_data_is_learnt_along_with_anything_else_and_used() {
    let (pacs, archive) = archive_before(demo::Archive::builder().without_bulk_data()).await;
    assert!(!archive.omits_bulk_data());
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    archive.verify(&caller).await.unwrap();
    assert!(archive.omits_bulk_data());
    let (lengths, without_bulk) = lengths(&archive, study_of(&pacs)).await;
    assert!(without_bulk);
    assert_eq!(lengths.len(), 10);
    assert!(lengths.iter().all(|length| (100..PIXELS).contains(length)), "{lengths:?}");
    let requests = pacs.observations().requests;
    let light = requests.iter().filter(|r| r.sop_class.as_str() == sop_class::WITHOUT_BULK_DATA_GET);
    let named = light.map(|r| {
        assert!(!r.identifier.contains(tags::STUDY_INSTANCE_UID), "a key that the model does not have");
        r.identifier.strings(tags::SOP_INSTANCE_UID).len()
    });
    assert_eq!(named.sum::<usize>(), 10);
}

#[tokio::test]
async fn an_archive_that_omits_nothing_sends_whole_objects() {
    let (pacs, archive) = archive_before(demo::Archive::builder()).await;
    let (lengths, without_bulk) = lengths(&archive, study_of(&pacs)).await;
    assert!(!archive.omits_bulk_data() && !without_bulk);
    assert!(lengths.len() == 10 && lengths.iter().all(|length| *length > PIXELS), "{lengths:?}");
}

#[tokio::test]
async fn hazard_an_archive_that_accepts_the_class_and_fails_the_request_sends_whole_objects() {
    let mut pacs = Pacs::with(EXPLICIT_VR_LE, 3, Mutex::default());
    pacs.keeps_bulk_data = true;
    let pacs = Arc::new(pacs);
    let archive = pacs.archive();
    assert_eq!(run(&archive, None, Form::WithoutBulkData).await.unwrap().len(), 6);
    assert!(!archive.omits_bulk_data());
    let before = pacs.gets();
    assert_eq!(run(&archive, None, Form::WithoutBulkData).await.unwrap().len(), 6);
    assert_eq!(pacs.gets(), before + 1, "and is not asked for that again");
}
