//! Who gets an object: every case in which it could be given to the wrong retrieval.

use std::net::Ipv4Addr;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::completeness::Ledger;
use super::super::dimse::config::{ForeignUids, Method, Timeouts};
use super::super::{Arrival, Step, testing};
use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Object;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use crate::dicom::{VR, tags};
use crate::dimse::pool::{self, Pool};
use crate::dimse::status;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

fn title(text: &str) -> AeTitle {
    text.parse().unwrap()
}

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

/// An archive on the one host that all of them share.
fn archive(name: &str) -> Config {
    Config {
        name: name.to_owned(),
        ae_title: title(name),
        address: format!("{HOST}:104"),
        retrieve: Method::Move,
        max_associations: 4,
        timeouts: Timeouts::default(),
        ..testing::config()
    }
}

/// A retrieval of the entity that the path names: `study`, `study/series` or `study/series/instance`.
fn retrieval(path: &str) -> (Arc<Collector>, mpsc::Receiver<Step<Object>>) {
    retrieval_taking(path, ForeignUids::Refuse)
}

fn retrieval_taking(path: &str, foreign: ForeignUids) -> (Arc<Collector>, mpsc::Receiver<Step<Object>>) {
    let mut uids = path.split('/').map(uid);
    let target = Target { study: uids.next().unwrap(), series: uids.next(), instance: uids.next() };
    let (steps, receiver) = mpsc::channel(Collector::capacity());
    let config = pool::Config {
        max_associations: 1,
        max_waiting: 1,
        connect: Duration::from_secs(1),
        association: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        max_age: Duration::from_secs(1),
        max_uses: 1,
        round_trips: 1,
    };
    let nowhere: pool::Connect = Arc::new(|_| Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) }));
    let pool = Pool::new(
        title("NOBODY"),
        title("GANTRY"),
        nowhere,
        config,
        crate::metrics::OfArchive::default(),
        None,
    );
    let (ledger, gone) = (Ledger::default(), CancellationToken::new());
    let patience = Duration::from_secs(30);
    (Collector::new(target, foreign, steps, ledger, gone, patience, pool), receiver)
}

/// A destination that knows these archives.
fn destination(archives: &[&Config]) -> MoveDestination {
    destination_beside(archives, &[])
}

/// A destination that knows these archives, and clients by these titles.
fn destination_beside(archives: &[&Config], clients: &[&str]) -> MoveDestination {
    let clients = clients.iter().map(|client| title(client));
    MoveDestination::new(title("GANTRY"), "127.0.0.1:11112", archives.iter().copied(), clients)
}

async fn register(
    moves: &MoveDestination,
    archive: &Config,
    collector: &Arc<Collector>,
) -> Option<Registration> {
    let deadline = Instant::now() + Duration::from_secs(600);
    moves.register(archive, &archive.calling, Form::AsStored, collector, deadline).await
}

/// Sent by `calling` on the host of the archives, without a Move Originator.
fn from(calling: &str) -> Origin {
    Origin { address: HOST, calling: title(calling), originator: None }
}

/// The same, in the course of this C-MOVE of ours.
fn from_move(calling: &str, id: u16) -> Origin {
    Origin { originator: Some((title("GANTRY"), id)), ..from(calling) }
}

/// Whose the object `study/series/instance` is: the one of `candidates` by its index, `leftover` or `nobody`.
fn whose(moves: &MoveDestination, origin: &Origin, path: &str, candidates: &[&Arc<Collector>]) -> String {
    let uids: Vec<Uid> = path.split('/').map(uid).collect();
    let head = Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: uids[2].clone(),
        transfer_syntax: uid(EXPLICIT_VR_LE),
    };
    let found = Identifiers {
        study: Some(uids[0].clone()),
        series: Some(uids[1].clone()),
        instance: Some(uids[2].clone()),
        ..Identifiers::default()
    };
    match moves.claim(origin, &head, &found) {
        Claim::Live { collector, .. } => {
            candidates.iter().position(|c| Arc::ptr_eq(c, &collector)).unwrap().to_string()
        }
        Claim::Leftover => "leftover".into(),
        Claim::Unknown => "nobody".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_to_the_move_that_its_originator_names() {
    let pacs = archive("A");
    let moves = destination(&[&pacs]);
    let ((one, _steps_one), (two, _steps_two)) = (retrieval("1"), retrieval("2"));
    let (first, second) =
        (register(&moves, &pacs, &one).await.unwrap(), register(&moves, &pacs, &two).await.unwrap());
    let both = [&one, &two];
    assert_eq!(whose(&moves, &from_move("A", first.message_id()), "1/1.1/1.1.1", &both), "0");
    assert_eq!(whose(&moves, &from_move("A", second.message_id()), "2/2.1/2.1.1", &both), "1");
}

#[tokio::test(start_paused = true)]
async fn hazard_a_message_id_alone_never_decides() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let ((one, _steps_one), (two, _steps_two)) = (retrieval("1"), retrieval("2"));
    let (first, second) =
        (register(&moves, &a, &one).await.unwrap(), register(&moves, &b, &two).await.unwrap());
    let both = [&one, &two];
    // B counts by itself and hits on the number of A's move.
    assert_eq!(whose(&moves, &from_move("B", first.message_id()), "2/2.1/2.1.1", &both), "1");
    assert_eq!(whose(&moves, &from_move("B", first.message_id()), "1/1.1/1.1.1", &both), "nobody");
    // A names its own move, and brings what was asked of B.
    assert_eq!(whose(&moves, &from_move("A", first.message_id()), "2/2.1/2.1.1", &both), "nobody");
    assert_eq!(whose(&moves, &from_move("A", second.message_id()), "1/1.1/1.1.1", &both), "0");
}

#[tokio::test(start_paused = true)]
async fn without_a_move_originator_the_uids_and_the_sender_decide() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let ((one, _steps_one), (two, _steps_two)) = (retrieval("1/1.1"), retrieval("2/2.1/2.1.1"));
    let _moves = (register(&moves, &a, &one).await.unwrap(), register(&moves, &b, &two).await.unwrap());
    let both = [&one, &two];
    assert_eq!(whose(&moves, &from("A"), "1/1.1/1.1.1", &both), "0");
    assert_eq!(whose(&moves, &from("B"), "2/2.1/2.1.1", &both), "1");
    assert_eq!(whose(&moves, &from("A"), "2/2.1/2.1.1", &both), "nobody", "asked of the other archive");
    assert_eq!(whose(&moves, &from("A"), "3/1.1/1.1.1", &both), "nobody", "another study");
    assert_eq!(whose(&moves, &Origin { address: ELSEWHERE, ..from("A") }, "1/1.1/1.1.1", &both), "nobody");
}

#[tokio::test(start_paused = true)]
async fn an_archive_may_send_from_a_title_that_is_not_its_own_but_not_from_another_archives() {
    let mut a = archive("A");
    let (b, c) = (archive("B"), archive("C"));
    a.store_from = vec![StoreFrom { ae_title: Some(title("A_MOVER")), network: "10.0.0.96/28".parse().ok() }];
    let moves = destination(&[&a, &b, &c]);
    let (one, _steps_one) = retrieval("1");
    let _move = register(&moves, &a, &one).await.unwrap();
    assert_eq!(whose(&moves, &from("STORESCU"), "1/1.1/1.1.1", &[&one]), "0", "its own address");
    assert_eq!(whose(&moves, &from("C"), "1/1.1/1.1.1", &[&one]), "nobody", "the title is C's");
    let mover = Origin { address: ELSEWHERE, ..from("A_MOVER") };
    assert_eq!(whose(&moves, &mover, "1/1.1/1.1.1", &[&one]), "0", "as store_from says");
    let (two, _steps_two) = retrieval("2");
    let _other = register(&moves, &b, &two).await.unwrap();
    assert_eq!(whose(&moves, &from("A_MOVER"), "2/2.1/2.1.1", &[&one, &two]), "nobody", "the title is A's");
}

#[tokio::test(start_paused = true)]
async fn hazard_two_archives_with_the_same_uids_never_move_at_the_same_time() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let ((one, _steps_one), (two, _steps_two), (other, _steps_other)) =
        (retrieval("1"), retrieval("1/1.1"), retrieval("1/1.2/1.2.1"));
    let first = register(&moves, &a, &one).await.unwrap();
    let second = register(&moves, &b, &two);
    tokio::pin!(second);
    assert!(
        timeout_at(Instant::now() + Duration::from_secs(60), &mut second).await.is_err(),
        "one at a time"
    );
    first.settled();
    let second = second.await.unwrap();
    assert_eq!(moves.under_way(), 1);
    assert_eq!(whose(&moves, &from("ANY"), "1/1.1/1.1.1", &[&one, &two]), "1");
    // What cannot share an object does not wait: another series.
    let third = register(&moves, &a, &other).await.unwrap();
    assert_eq!(moves.under_way(), 2);
    drop((second, third));
    assert_eq!(moves.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn hazard_a_stalled_reader_does_not_hold_up_a_move_of_the_same_objects() {
    let a = archive("A");
    let moves = destination(&[&a]);
    let ((one, mut unread), (two, _steps_two)) = (retrieval("1"), retrieval("1/1.1"));
    let first = register(&moves, &a, &one).await.unwrap();
    // More objects than anybody takes: the last of them waits for the reader.
    let filling = async {
        for n in 0.. {
            let instance = uid(&format!("1.1.{n}"));
            let found = Identifiers {
                study: Some(uid("1")),
                series: Some(uid("1.1")),
                instance: Some(instance.clone()),
                ..Identifiers::default()
            };
            let head = Head {
                sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
                sop_instance: instance,
                transfer_syntax: uid(EXPLICIT_VR_LE),
            };
            if one.admit(head, &found, true, 0).await.is_err() {
                break;
            }
        }
        drop(first);
    };
    let begin = Instant::now();
    let (_second, ()) = tokio::join!(register(&moves, &a, &two), filling);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(one.has_stalled() && unread.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_move_that_waits_for_another_gives_up_at_its_deadline() {
    let a = archive("A");
    let moves = destination(&[&a]);
    let (one, _steps_one) = retrieval("1");
    let _first = register(&moves, &a, &one).await.unwrap();
    let begin = Instant::now();
    let deadline = begin + Duration::from_secs(7);
    assert!(moves.register(&a, &a.calling, Form::AsStored, &one, deadline).await.is_none());
    assert_eq!(begin.elapsed().as_secs(), 7);
    assert_eq!(moves.under_way(), 1);
}

#[tokio::test(start_paused = true)]
async fn hazard_leftovers_of_a_move_that_was_given_up_go_to_nobody_else() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let ((one, _steps_one), (two, _steps_two)) = (retrieval("1"), retrieval("1"));
    let first = register(&moves, &a, &one).await.unwrap();
    let id = first.message_id();
    drop(first);
    assert_eq!(whose(&moves, &from_move("A", id), "1/1.1/1.1.1", &[]), "leftover");
    assert_eq!(whose(&moves, &from("A"), "1/1.1/1.1.1", &[]), "leftover", "without an originator too");
    assert_eq!(whose(&moves, &from("A"), "2/1.1/1.1.1", &[]), "nobody");
    // The same archive may be asked again at once: its leftovers are the same objects.
    let again = register(&moves, &a, &two).await.unwrap();
    assert_eq!(whose(&moves, &from_move("A", id), "1/1.1/1.1.1", &[&two]), "leftover");
    assert_eq!(whose(&moves, &from("A"), "1/1.1/1.1.1", &[&two]), "0");
    again.settled();
    // Another archive's objects have the same UIDs and other bytes: not before the leftovers are over.
    let begin = Instant::now();
    let _other = register(&moves, &b, &two).await.unwrap();
    assert!(begin.elapsed() >= LEFTOVERS, "{:?}", begin.elapsed());
    assert_eq!(whose(&moves, &from_move("A", id), "1/1.1/1.1.1", &[&two]), "nobody");
}

#[tokio::test(start_paused = true)]
async fn a_move_that_settled_leaves_nothing_to_wait_for() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let (one, _steps_one) = retrieval("1");
    let first = register(&moves, &a, &one).await.unwrap();
    let id = first.message_id();
    first.settled();
    assert_eq!(whose(&moves, &from_move("A", id), "1/1.1/1.1.1", &[]), "leftover", "a second copy, late");
    assert_eq!(whose(&moves, &from("A"), "1/1.1/1.1.1", &[]), "nobody");
    let begin = Instant::now();
    let _second = register(&moves, &b, &one).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn hazard_an_archive_that_always_sends_the_same_message_id_is_understood() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let (one, _steps_one) = retrieval("1");
    let first = register(&moves, &a, &one).await.unwrap();
    let always = first.message_id();
    first.settled();
    let (two, _steps_two) = retrieval("1");
    let second = register(&moves, &a, &two).await.unwrap();
    assert_ne!(second.message_id(), always);
    assert_eq!(whose(&moves, &from_move("A", always), "1/1.1/1.1.1", &[&two]), "0");
    second.settled();
    // From a title that may be anybody's, it may as well be a late copy of the first: not for another archive.
    let (three, _steps_three) = retrieval("1");
    let _third = register(&moves, &b, &three).await.unwrap();
    assert_eq!(whose(&moves, &from_move("ANY", always), "1/1.1/1.1.1", &[&three]), "leftover");
    assert_eq!(whose(&moves, &from_move("B", always), "1/1.1/1.1.1", &[&three]), "0");
}

#[tokio::test(start_paused = true)]
async fn hazard_message_ids_are_unique_over_all_archives_and_when_they_wrap() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let (one, _steps_one) = retrieval("1");
    let long = register(&moves, &a, &one).await.unwrap();
    moves.shared.lock().last_id = u16::MAX - 1;
    let mut seen = vec![long.message_id()];
    for n in 2..6 {
        let (collector, _receiver) = retrieval(&n.to_string());
        let registration = register(&moves, if n % 2 == 0 { &b } else { &a }, &collector).await.unwrap();
        seen.push(registration.message_id());
    }
    assert_eq!(seen, [1, u16::MAX, 2, 3, 4], "neither 0 nor one that is under way");
    moves.shared.lock().last_id = u16::MAX - 1;
    let (two, _steps_two) = retrieval("9");
    let next = register(&moves, &b, &two).await.unwrap();
    assert_eq!(next.message_id(), 5, "nor one whose objects may still come");
}

#[tokio::test(start_paused = true)]
async fn changed_uids_are_taken_only_where_the_originator_vouches_and_the_archive_is_known_for_it() {
    let (a, b) = (archive("A"), archive("B"));
    let moves = destination(&[&a, &b]);
    let ((coerces, _steps_one), (strict, _steps_two)) =
        (retrieval_taking("1", ForeignUids::IfCorrelated), retrieval("2"));
    let first = register(&moves, &a, &coerces).await.unwrap();
    let second = register(&moves, &b, &strict).await.unwrap();
    let both = [&coerces, &strict];
    assert_eq!(whose(&moves, &from_move("A", first.message_id()), "8/8.1/8.1.1", &both), "0");
    assert_eq!(whose(&moves, &from("A"), "8/8.1/8.1.1", &both), "nobody");
    assert_eq!(whose(&moves, &from_move("B", second.message_id()), "8/8.1/8.1.1", &both), "nobody");
}

#[tokio::test(start_paused = true)]
async fn of_several_syntaxes_the_proposers_order_counts_but_lossy_comes_last() {
    let a = archive("A");
    let moves = destination(&[&a]);
    let choose = |proposed: &[&str]| {
        let proposed: Vec<Uid> = proposed.iter().map(|s| uid(s)).collect();
        moves.choose_syntax(HOST, &title("A"), &proposed).map(|s| s.to_string())
    };
    let some = |syntax: &str| Some(syntax.to_owned());
    assert_eq!(choose(&[JPEG_LOSSLESS, EXPLICIT_VR_LE]), some(JPEG_LOSSLESS));
    assert_eq!(choose(&[EXPLICIT_VR_LE, JPEG_LOSSLESS]), some(EXPLICIT_VR_LE));
    assert_eq!(choose(&[JPEG_BASELINE, IMPLICIT_VR_LE]), some(IMPLICIT_VR_LE), "never lossy unless alone");
    assert_eq!(choose(&[JPEG_BASELINE]), some(JPEG_BASELINE));
    assert_eq!(choose(&[]), None);
    // Where all who wait want native objects, the archive is made to decompress; lossy only goes as it is.
    let ((one, _steps_one), (two, _steps_two)) = (retrieval("1"), retrieval("2"));
    let deadline = Instant::now() + Duration::from_secs(1);
    let native = moves.register(&a, &a.calling, Form::Native, &one, deadline).await.unwrap();
    assert_eq!(choose(&[JPEG_LOSSLESS, EXPLICIT_VR_LE]), some(EXPLICIT_VR_LE));
    assert_eq!(choose(&[JPEG_LOSSLESS]), None);
    assert_eq!(choose(&[JPEG_LOSSLESS, JPEG_BASELINE]), None);
    assert_eq!(choose(&[JPEG_BASELINE]), some(JPEG_BASELINE));
    native.settled();
    let _stored = register(&moves, &a, &two).await.unwrap();
    assert_eq!(choose(&[JPEG_LOSSLESS, EXPLICIT_VR_LE]), some(JPEG_LOSSLESS), "somebody wants it as stored");
}

#[tokio::test(start_paused = true)]
async fn of_two_series_of_one_study_each_gets_its_own_objects_without_an_originator() {
    let pacs = archive("A");
    let moves = destination(&[&pacs]);
    let ((one, _first_feed), (two, _second_feed)) = (retrieval("1/1.1"), retrieval("1/1.2"));
    let _moves = (register(&moves, &pacs, &one).await.unwrap(), register(&moves, &pacs, &two).await.unwrap());
    let both = [&one, &two];
    assert_eq!(whose(&moves, &from("A"), "1/1.1/1.1.1", &both), "0");
    assert_eq!(whose(&moves, &from("A"), "1/1.2/1.2.1", &both), "1");
}

#[tokio::test(start_paused = true)]
async fn moves_for_native_and_for_stored_objects_of_one_archive_take_turns_in_order() {
    let pacs = archive("A");
    let moves = destination(&[&pacs]);
    let feeds = [retrieval("1"), retrieval("2"), retrieval("3"), retrieval("4")];
    let deadline = Instant::now() + Duration::from_secs(600);
    let register = |n: usize, form| moves.register(&pacs, &pacs.calling, form, &feeds[n].0, deadline);
    let first = register(0, Form::AsStored).await.unwrap();
    let second = register(1, Form::AsStored).await.unwrap();
    let soon = Duration::from_millis(10);
    let native = register(2, Form::Native);
    tokio::pin!(native);
    assert!(tokio::time::timeout(soon, &mut native).await.is_err(), "stored ones are under way");
    let late = register(3, Form::AsStored);
    tokio::pin!(late);
    assert!(tokio::time::timeout(soon, &mut late).await.is_err(), "it came after the native one");
    first.settled();
    second.settled();
    let native = tokio::time::timeout(soon, native).await.unwrap().unwrap();
    assert!(tokio::time::timeout(soon, &mut late).await.is_err(), "the native one is under way");
    native.settled();
    assert!(tokio::time::timeout(soon, late).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_holds_up_nobody() {
    let pacs = archive("A");
    let moves = destination(&[&pacs]);
    let feeds = [retrieval("1"), retrieval("2"), retrieval("3")];
    let deadline = Instant::now() + Duration::from_secs(600);
    let _first = moves.register(&pacs, &pacs.calling, Form::AsStored, &feeds[0].0, deadline).await.unwrap();
    let soon = Duration::from_millis(10);
    let native = moves.register(&pacs, &pacs.calling, Form::Native, &feeds[1].0, deadline);
    assert!(tokio::time::timeout(soon, native).await.is_err());
    let stored = moves.register(&pacs, &pacs.calling, Form::AsStored, &feeds[2].0, deadline);
    assert!(tokio::time::timeout(soon, stored).await.unwrap().is_some());
}

#[tokio::test]
async fn hazard_what_no_move_lets_come_is_not_even_held() {
    let a = archive("A");
    let moves = destination(&[&a]);
    assert!(!moves.expects(&from("A")), "nothing has been asked for");
    let (collector, _feed) = retrieval("1.2");
    let registration = register(&moves, &a, &collector).await.unwrap();
    assert!(moves.expects(&from("A")));
    assert!(!moves.expects(&Origin { address: ELSEWHERE, ..from("A") }));
    drop(registration);
    assert!(moves.expects(&from("A")), "its leftovers may still come");
}

#[tokio::test(start_paused = true)]
async fn hazard_a_client_store_during_a_move_is_not_given_to_the_move() {
    let store_from = vec![StoreFrom { ae_title: Some(title("GATE")), network: None }];
    let a = Config { store_from, ..archive("A") };
    let moves = destination_beside(&[&a], &["MODALITY", "GATE"]);
    let (collector, _feed) = retrieval("1.2");
    let _registration = register(&moves, &a, &collector).await.unwrap();
    // It runs where the archive runs, and sends an object of the very study.
    assert!(!moves.expects(&from("MODALITY")));
    assert_eq!(whose(&moves, &from("MODALITY"), "1.2/1.2.1/1.2.1.1", &[&collector]), "nobody");
    // The archive's own titles stay its own, though they are known as a client's too; so does a stranger's.
    for sender in ["A", "GATE", "A-STORE"] {
        assert_eq!(whose(&moves, &from(sender), "1.2/1.2.1/1.2.1.1", &[&collector]), "0", "{sender}");
    }
}

#[tokio::test]
async fn what_no_move_asked_for_is_given_back_and_what_we_asked_for_is_not() {
    let a = archive("A");
    let moves = destination(&[&a]);
    let (collector, _feed) = retrieval("1.2");
    let registration = register(&moves, &a, &collector).await.unwrap();
    let mut data_set = DataSet::new();
    data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, "9.1.1");
    data_set.set_str(tags::MODALITY, VR::CS, "CT");
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "9");
    data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "9.1");
    let bytes = Bytes::from(data_set.encode(Layout::ExplicitLe, QueryCharset::Auto));
    let head = Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: uid("9.1.1"),
        transfer_syntax: uid(EXPLICIT_VR_LE),
    };
    let (first, last) = (bytes.slice(..20), bytes.slice(20..));
    let mut arrival = Arrival::of_move(head.clone(), moves.clone(), from("A"));
    arrival.push(first.clone(), false).await;
    assert!(arrival.unclaimed().is_none(), "nobody knows yet");
    arrival.push(last.clone(), true).await;
    let unclaimed = arrival.unclaimed().unwrap();
    assert_eq!(unclaimed.held, [first, last]);
    assert_eq!(unclaimed.identifiers.modality.as_deref(), Some("CT"));
    assert!(arrival.unclaimed().is_none());
    assert_eq!(arrival.finish(), status::UNABLE_TO_PROCESS);
    let ours = from_move("A", registration.message_id());
    let mut arrival = Arrival::of_move(head, moves, ours);
    arrival.push(bytes, true).await;
    assert!(arrival.unclaimed().is_none(), "it would be stored where it comes from");
    assert_eq!(arrival.finish(), status::UNABLE_TO_PROCESS);
}

#[tokio::test]
async fn a_move_under_a_clients_title_is_known_by_that_title() {
    let pacs = archive("PACS");
    let moves = destination(&[&pacs]);
    let (one, _steps) = retrieval("1");
    let deadline = Instant::now() + Duration::from_secs(1);
    let modality = title("MODALITY");
    let registration = moves.register(&pacs, &modality, Form::AsStored, &one, deadline).await.unwrap();
    let id = registration.message_id();
    for (originator, is_it) in [("MODALITY", true), ("GANTRY", false)] {
        let origin = Origin { originator: Some((title(originator), id)), ..from("PACS") };
        let head =
            Head { sop_class: uid("1.2"), sop_instance: uid("1.1.1"), transfer_syntax: uid(EXPLICIT_VR_LE) };
        let found = Identifiers { study: Some(uid("1")), ..Identifiers::default() };
        let claim = moves.claim(&origin, &head, &found);
        assert!(
            matches!(claim, Claim::Live { correlated, .. } if correlated == is_it),
            "{originator}: {claim:?}"
        );
    }
}
