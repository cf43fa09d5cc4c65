use std::io::Write as _;

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{IMPLICIT_VR_LE, Layout};
use crate::dimse::command::{Command, field};
use dicom_core::VR;

fn data(uid: &str) -> Bytes {
    let mut data = DataSet::new();
    data.set_str(TRANSACTION_UID, VR::UI, uid);
    data.encode(Layout::ImplicitLe, QueryCharset::Auto).into()
}

fn report(class: &str, event_type: u16, data: Bytes) -> Report {
    let others = vec![(EVENT_TYPE_ID, Bytes::copy_from_slice(&event_type.to_le_bytes()))];
    let command = Command { others, ..Command::request(field::N_EVENT_REPORT_RQ, class, 1) };
    Report { command, transfer_syntax: IMPLICIT_VR_LE.parse().unwrap(), data }
}

fn transaction(archive: &str, uid: &str) -> Transaction {
    Transaction { archive: archive.into(), uid: uid.parse().unwrap() }
}

fn asker(client: &str) -> Asker {
    Asker {
        client: client.parse().unwrap(),
        called: "GANTRY".parse().unwrap(),
        transfer_syntax: IMPLICIT_VR_LE.parse().unwrap(),
    }
}

fn commitments() -> Commitments {
    let named = |name: &str, title: &str| ArchiveConfig {
        name: name.into(),
        ae_title: title.parse().unwrap(),
        ..crate::archive::testing::config()
    };
    let archives = [named("main", "PACS"), named("other", "PACS"), named("third", "VNA")];
    Commitments::open(None, Config::default(), &archives).unwrap()
}

const CLASS: &str = sop_class::STORAGE_COMMITMENT;

#[tokio::test]
async fn a_report_is_taken_once_it_is_waited_for_and_told_apart_by_archive() {
    let all = commitments();
    let reports = all.of("main");
    assert_eq!(reports.take(report(CLASS, 1, data("1.2"))).await, status::INVALID_ARGUMENT);
    let asking = all.asked(transaction("main", "1.2"), asker("A")).await.unwrap();
    assert_eq!(all.reported("other", report(CLASS, 1, data("1.2"))).await, status::INVALID_ARGUMENT);
    assert_eq!(reports.take(report(CLASS, 1, data("1.2"))).await, status::SUCCESS);
    tokio::time::timeout(Duration::from_secs(5), all.news()).await.unwrap();
    asking.refused().await;
    let undelivered = all.undelivered().await;
    assert_eq!(undelivered.len(), 1, "who has reported has not refused");
    let (event, bytes) = all.report(&undelivered[0].transaction).await.unwrap();
    assert_eq!((event.event_type, bytes), (1, data("1.2")));
    all.delivered(&undelivered[0].transaction).await;
    assert!(all.undelivered().await.is_empty());
    assert_eq!(reports.take(report(CLASS, 1, data("1.2"))).await, status::SUCCESS, "told once more");
}

#[tokio::test]
async fn what_is_no_report_of_storage_commitment_is_refused_by_its_reason() {
    let all = commitments();
    let _asking = all.asked(transaction("main", "1.2"), asker("A")).await.unwrap();
    let other = report("1.2.840.10008.5.1.1.16", 1, data("1.2"));
    assert_eq!(all.reported("main", other).await, status::NO_SUCH_SOP_CLASS);
    assert_eq!(all.reported("main", report(CLASS, 3, data("1.2"))).await, status::NO_SUCH_EVENT_TYPE);
    for broken in [Bytes::new(), Bytes::from_static(b"\x08\x00\x95\x11\xff\xff\xff\x7f1.2")] {
        assert_eq!(all.reported("main", report(CLASS, 1, broken)).await, status::INVALID_ARGUMENT);
    }
    assert_eq!(all.reported("main", report(CLASS, 2, data("1.2"))).await, status::SUCCESS);
}

#[tokio::test]
async fn an_archive_whose_title_several_have_is_known_by_what_it_was_asked() {
    let all = commitments();
    let by = |calling: &str, uid: &str| {
        let (all, calling, report) = (all.clone(), calling.parse().unwrap(), report(CLASS, 1, data(uid)));
        async move { all.reported_by(&calling, report).await }
    };
    let _first = all.asked(transaction("other", "1.2"), asker("A")).await.unwrap();
    assert_eq!(by("VNA", "1.2").await, status::INVALID_ARGUMENT, "another archive was asked");
    let _second = all.asked(transaction("main", "1.2"), asker("B")).await.unwrap();
    assert_eq!(by("PACS", "1.2").await, status::INVALID_ARGUMENT, "it could be either");
    let _third = all.asked(transaction("main", "1.3"), asker("B")).await.unwrap();
    assert_eq!(by("PACS", "1.3").await, status::SUCCESS);
    assert_eq!(all.undelivered().await[0].transaction, transaction("main", "1.3"));
    let _fourth = all.asked(transaction("third", "1.4"), asker("B")).await.unwrap();
    assert_eq!(by("ELSEWHERE", "1.4").await, status::SUCCESS);
}

#[test]
fn hazard_a_deflated_data_set_does_not_fill_the_memory() {
    let deflated = |bytes: &[u8]| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let small = b"\x08\x00\x95\x11UI\x04\x001.2\0";
    let syntax = Uid::from_static(DEFLATED_EXPLICIT_VR_LE);
    assert_eq!(transaction_uid(&deflated(small).into(), &syntax), "1.2".parse().ok());
    let length = (native::MAX_WHOLE as u32).to_le_bytes();
    let mut bomb = [&small[..], b"\x09\x00\x10\x00UN\0\0", &length].concat();
    bomb.resize(bomb.len() + native::MAX_WHOLE, 0);
    assert_eq!(transaction_uid(&deflated(&bomb).into(), &syntax), None);
}
