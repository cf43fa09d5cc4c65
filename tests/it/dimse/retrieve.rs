//! C-GET and C-MOVE.

mod cancelling;
mod destinations;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gantry::demo::{Archive, Fault, Plain, Running};
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use gantry::dicom::{Uid, sop_class, tags};
use gantry::dimse::command::{Command, field};
use gantry::dimse::negotiation::Proposal;

use super::{GANTRY, Scene};
use crate::support::dimse::{
    Answers, Client, Destination, IMAGES, Message, first_study, get, identifier, move_to, proposal,
};
use crate::support::until;

const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

/// A client that takes objects in this transfer syntax.
async fn client_taking(scene: &Scene, calling: &str, syntax: &str) -> Client {
    let classes = [
        sop_class::STUDY_ROOT_GET,
        sop_class::STUDY_ROOT_MOVE,
        sop_class::PATIENT_ROOT_GET,
        sop_class::PATIENT_ROOT_MOVE,
    ];
    let mut proposals: Vec<Proposal> =
        classes.iter().map(|class| proposal(class, &[EXPLICIT_VR_LE])).collect();
    proposals.extend(IMAGES.iter().map(|class| Proposal { as_scp: true, ..proposal(class, &[syntax]) }));
    Client::to(scene.app.dimse, GANTRY, calling, proposals).await.unwrap()
}

async fn client(scene: &Scene) -> Client {
    client_taking(scene, "CLIENT", EXPLICIT_VR_LE).await
}

/// An archive with these objects, without C-GET.
async fn without_get(plain: &Plain) -> Running {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make()).no_get();
    archive.start().await.unwrap()
}

/// A destination that is an archive of its own, with these faults.
async fn receiver(title: &str, faults: &[Fault]) -> Running {
    let mut archive = Archive::builder().ae_title(title.parse().unwrap());
    for fault in faults {
        archive = archive.fault(*fault);
    }
    archive.start().await.unwrap()
}

fn at(title: &str, running: &Running) -> String {
    format!("[ae.{title}]\naddress = \"{}\"\n", running.addr())
}

/// The objects by their SOP Instance UIDs, sorted.
fn sorted(objects: &[Message]) -> Vec<(String, &[u8])> {
    let uid = |m: &Message| m.command.sop_instance.as_ref().unwrap().to_string();
    let mut all: Vec<_> = objects.iter().map(|m| (uid(m), m.data.as_deref().unwrap())).collect();
    all.sort();
    all
}

fn failed_list(last: &Message) -> BTreeSet<String> {
    let Some(bytes) = &last.data else { return BTreeSet::new() };
    let list = DataSet::parse(bytes, Layout::ExplicitLe, None).unwrap().data_set;
    assert_eq!(list.len(), 1, "nothing but the list");
    list.strings(tags::FAILED_SOP_INSTANCE_UID_LIST).iter().cloned().collect()
}

fn uids(plain: &Plain) -> BTreeSet<String> {
    plain.make().iter().map(|instance| instance.head.sop_instance.to_string()).collect()
}

/// Holds the counters against what is known: they add up in each response, and never go back.
fn check_counters(answers: &Answers, total: u16) {
    check_growing_counters(answers, total, total);
}

/// The same, where the archive tells of one entity after the other: `first` of the objects are known at first.
fn check_growing_counters(answers: &Answers, first: u16, total: u16) {
    let (last, pending) = answers.responses.split_last().unwrap();
    let (mut before, mut sum) = (0, first);
    for response in pending {
        let counters = response.counters().map(|count| count.expect("a pending response has four counters"));
        let known = counters.iter().sum::<u16>();
        assert!((sum..=total).contains(&known), "{counters:?}");
        sum = known;
        assert!(counters[0] >= 1 && counters[1..].iter().sum::<u16>() >= before, "{counters:?}");
        assert!(response.data.is_none());
        before = counters[1..].iter().sum();
    }
    let [remaining, completed, failed, warning] = last.counters();
    assert_eq!(remaining, None, "only a cancelled retrieval tells what remains");
    assert_eq!(completed.unwrap() + failed.unwrap() + warning.unwrap(), total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_served_by_get() {
    let plain = Plain::new(1, 2, 5, 40_000);
    let scene = Scene::new(plain.make(), &[], "").await;
    let mut direct = Client::new(&scene.archive).await;
    let direct = direct.ask(get(), Some(&first_study(&plain))).await.unwrap();
    let mut client = client(&scene).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0);
    assert_eq!(sorted(&answers.objects), sorted(&direct.objects), "byte for byte");
    check_counters(&answers, 10);
    assert_eq!(scene.archive.observations().moves, 0);
    client.release().await;
    scene.app.settle("after a C-GET").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_served_by_move_where_the_archive_has_no_get() {
    let plain = Plain::new(1, 2, 5, 4000);
    let scene = Scene::before(without_get(&plain).await, "").await;
    let mut client = client(&scene).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 10));
    check_counters(&answers, 10);
    assert!(scene.archive.observations().moves > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_responses_have_four_counters_that_add_up() {
    let plain = Plain::new(1, 2, 20, 400);
    for fault in [Fault::NoCounters, Fault::CountersBackwards, Fault::NoPending, Fault::Twice(3)] {
        let scene = Scene::new(plain.make(), &[fault], "").await;
        let mut client = client(&scene).await;
        let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0, 40), "{fault}");
        check_counters(&answers, 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_uids_are_listed_and_the_status_is_b000() {
    let plain = Plain::new(1, 1, 5, 400);
    for fault in [Fault::FailObject(3), Fault::LeaveOut(3)] {
        let scene = Scene::new(plain.make(), &[fault], "").await;
        let mut client = client(&scene).await;
        let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
        let came: BTreeSet<String> = sorted(&answers.objects).into_iter().map(|(uid, _)| uid).collect();
        let missing: BTreeSet<String> = uids(&plain).difference(&came).cloned().collect();
        // What was left out once may come when it is asked for by name.
        let wanted = if missing.is_empty() { 0x0000 } else { 0xB000 };
        assert_eq!((answers.status(), failed_list(answers.last())), (wanted, missing), "{fault}");
        check_counters(&answers, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_come_is_named_where_the_archive_broke_off() {
    let plain = Plain::new(1, 2, 5, 4000);
    for fault in [Fault::AbortAfter(3), Fault::CloseAfter(3)] {
        let scene = Scene::new(plain.make(), &[fault], "").await;
        let mut client = client(&scene).await;
        let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
        assert_eq!(answers.status(), 0xB000, "{fault}");
        check_counters(&answers, 10);
        let came: BTreeSet<String> = sorted(&answers.objects).into_iter().map(|(uid, _)| uid).collect();
        let missing: BTreeSet<String> = uids(&plain).difference(&came).cloned().collect();
        assert!(!came.is_empty() && !missing.is_empty(), "{fault}");
        assert_eq!(failed_list(answers.last()), missing, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_come_is_named_where_the_archive_broke_off_before_the_first_object() {
    let plain = Plain::new(1, 2, 5, 4000);
    for (fault, status) in [
        (Fault::AbortAfter(0), 0xA702),
        (Fault::CloseAfter(0), 0xA702),
        (Fault::RetrieveFailure(0xA702), 0xA702),
        (Fault::RetrieveFailure(0xA900), 0xA900),
    ] {
        let scene = Scene::new(plain.make(), &[fault], "").await;
        let mut client = client(&scene).await;
        for request in [get(), move_to("CLIENT")] {
            let answers = client.ask(request, Some(&first_study(&plain))).await.unwrap();
            // Of a request that the archive does not understand nothing has begun.
            let missing = if status == 0xA900 { BTreeSet::new() } else { uids(&plain) };
            assert_eq!((answers.status(), failed_list(answers.last())), (status, missing), "{fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_study_is_0000_with_no_objects() {
    let scene = Scene::new(Plain::new(1, 1, 1, 400).make(), &[], "").await;
    let mut client = client(&scene).await;
    for request in [get(), move_to("CLIENT")] {
        let nothing = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, "9.9")]);
        let answers = client.ask(request, Some(&nothing)).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0, 0));
        assert_eq!(answers.last().counters(), [None, Some(0), Some(0), Some(0)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archives_own_failure_is_told_where_nothing_came() {
    let plain = Plain::new(1, 1, 3, 400);
    let scene = Scene::new(plain.make(), &[Fault::RetrieveFailure(0xA701)], "").await;
    let mut client = client(&scene).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!(answers.status(), 0xA701);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_what_no_identifier_says_is_a900() {
    let plain = Plain::new(1, 1, 3, 400);
    let scene = Scene::new(plain.make(), &[], "").await;
    let mut client = client(&scene).await;
    let study = plain.study_uid(0);
    let many = vec!["1.2.3"; 5000].join("\\");
    for identifier in [
        identifier("PATIENT", &[(tags::PATIENT_ID, "P")]),
        identifier("STUDY", &[]),
        identifier("SERIES", &[(tags::STUDY_INSTANCE_UID, study.as_str())]),
        identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, &format!("{many}\\x"))]),
    ] {
        let answers = client.ask(get(), Some(&identifier)).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0xA900, 0));
        assert!(answers.last().command.comment.is_some());
    }
    assert_eq!(scene.archive.observations().gets, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_stops_reading_holds_no_association_for_ever() {
    // Each larger than what the two ends of a connection keep.
    let plain = Plain::new(1, 1, 3, 16_000_000);
    let scene = Scene::new(plain.make(), &[], "[dimse.timeouts]\nwrite = \"1s\"\n").await;
    let mut client = client(&scene).await;
    client.send(get(), Some(&first_study(&plain)));
    client.association.flush().await.unwrap();
    let ten = Duration::from_secs(10);
    until("the archive is at work", ten, async || scene.app.in_use() > 0).await;
    until("the client is given up", ten, async || scene.app.in_use() == 0).await;
    assert!(client.answers().await.is_err(), "its association is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_the_cache_does_not_serve_under_a_title_what_came_under_another() {
    let plain = Plain::new(1, 1, 3, 400);
    let more = "calling = \"client\"\n[cache]\nmemory = \"64MiB\"\n[ae.ONE]\n[ae.TWO]\n";
    let scene = Scene::new(plain.make(), &[], more).await;
    for calling in ["ONE", "TWO", "ONE"] {
        let mut client = client_taking(&scene, calling, EXPLICIT_VR_LE).await;
        let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0, 3));
        client.release().await;
    }
    let seen = scene.archive.observations().requests;
    let gets = seen.iter().filter(|request| request.sop_class.as_str() == sop_class::STUDY_ROOT_GET);
    let titles: Vec<&str> = gets.map(|request| request.calling.as_str()).collect();
    assert_eq!(titles, ["ONE", "TWO", "ONE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_objects_are_reencoded_for_the_client() {
    let plain = Plain::new(1, 1, 5, 4000);
    let scene = Scene::new(plain.make(), &[], "").await;
    let mut client = client_taking(&scene, "CLIENT", IMPLICIT_VR_LE).await;
    let answers = client.ask(get(), Some(&first_study(&plain))).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 5));
    for object in &answers.objects {
        let data_set =
            DataSet::parse(object.data.as_ref().unwrap(), Layout::ImplicitLe, None).unwrap().data_set;
        assert_eq!(data_set.uid(tags::SOP_INSTANCE_UID), object.command.sop_instance);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_uids_and_patient_level_are_served() {
    let plain = Plain::new(2, 2, 4, 400);
    let scene = Scene::new(plain.make(), &[], "").await;
    let mut client = client(&scene).await;
    let join = |uids: &[Uid]| uids.iter().map(Uid::as_str).collect::<Vec<_>>().join("\\");
    let (study, series) = (plain.study_uid(0), plain.series_uid(0, 1));
    let studies = join(&[plain.study_uid(0), plain.study_uid(1)]);
    let both = join(&[plain.series_uid(0, 0), plain.series_uid(0, 1)]);
    let three = join(&[0, 2, 3].map(|slice| plain.instance_uid(0, 1, slice)));
    let one = plain.instance_uid(0, 1, 2);
    let set = |level, keys: &[(gantry::dicom::Tag, &str)]| {
        let mut set = identifier(level, &[]);
        for (tag, value) in keys {
            let values = value.split('\\').map(str::to_owned).collect();
            set.set_strings(*tag, gantry::dicom::VR::UI, values);
        }
        set
    };
    let (of_study, of_series) =
        ((tags::STUDY_INSTANCE_UID, study.as_str()), (tags::SERIES_INSTANCE_UID, series.as_str()));
    for (identifier, count) in [
        (set("STUDY", &[(tags::STUDY_INSTANCE_UID, &studies)]), 16),
        (set("SERIES", &[of_study, (tags::SERIES_INSTANCE_UID, &both)]), 8),
        (set("IMAGE", &[of_study, of_series, (tags::SOP_INSTANCE_UID, &three)]), 3),
        (set("IMAGE", &[of_study, of_series, (tags::SOP_INSTANCE_UID, one.as_str())]), 1),
        (set("IMAGE", &[(tags::SOP_INSTANCE_UID, &three)]), 3),
    ] {
        let sent = scene.archive.observations().objects_sent;
        let answers = client.ask(get(), Some(&identifier)).await.unwrap();
        assert_eq!((answers.status(), answers.objects.len()), (0, count), "{identifier:?}");
        check_growing_counters(&answers, count.min(4) as u16, count as u16);
        // Nothing is moved that was not asked for.
        assert_eq!(scene.archive.observations().objects_sent - sent, count);
    }
    let instance = scene.archive.first_instance().unwrap();
    let patient = instance.attributes.string(tags::PATIENT_ID).unwrap().to_owned();
    let whole = identifier("PATIENT", &[(tags::PATIENT_ID, &patient)]);
    let request = Command::request(field::C_GET_RQ, sop_class::PATIENT_ROOT_GET, 5);
    let answers = client.ask(request, Some(&whole)).await.unwrap();
    assert_eq!((answers.status(), answers.objects.len()), (0, 8));
}
