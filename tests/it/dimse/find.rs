//! C-ECHO and C-FIND: what the archive answers reaches the client as it is, when it comes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::demo::{Archive, Fault, Plain};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use gantry::dicom::{sop_class, tags};
use gantry::dimse::association::{Request, Requested};
use gantry::dimse::command::{Command, field};
use gantry::net::DimseSocket;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::scripted::Scripted;
use super::{GANTRY, Scene, scripted_app};
use crate::support::dimse::{Answers, Client, Message, echo, find, identifier, message, proposal, soon};
use crate::support::metrics::Figures;
use crate::support::speed::{at_best, within};
use crate::support::{DEADLINE, until};

/// What the searches below ask for: each study, by name.
fn studies() -> DataSet {
    let keys = [(tags::STUDY_INSTANCE_UID, ""), (tags::PATIENT_NAME, ""), (tags::STUDY_DESCRIPTION, "")];
    identifier("STUDY", &keys)
}

/// A bridge before an archive of so many studies; `more` keys of the archive.
async fn scene(studies: usize, faults: &[Fault], more: &str) -> Scene {
    Scene::new(Plain::new(studies, 1, 1, 10).make(), faults, more).await
}

/// An association to the bridge that searches, in this syntax.
async fn searcher_in(scene: &Scene, calling: &str, syntax: &str) -> Client {
    let classes = [sop_class::STUDY_ROOT_FIND, sop_class::MODALITY_WORKLIST_FIND];
    let proposals = classes.iter().map(|class| proposal(class, &[syntax])).collect();
    Client::to(scene.app.dimse, GANTRY, calling, proposals).await.unwrap()
}

async fn searcher(scene: &Scene) -> Client {
    searcher_in(scene, "CLIENT", EXPLICIT_VR_LE).await
}

fn cancel() -> Command {
    Command::cancel(find().message_id)
}

/// Queues a C-CANCEL of `find`.
fn cancel_find(client: &mut Client) {
    let context = client.association.agreement().for_class(sop_class::STUDY_ROOT_FIND).unwrap().id;
    client.association.send(context, &cancel(), None);
}

/// The statuses of a search: how many matches, and the end.
fn told(answers: &Answers) -> (usize, u16) {
    (answers.responses.len() - 1, answers.status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_is_answered_here_and_the_archive_sees_none() {
    let scene = Scene::new(Vec::new(), &[], "").await;
    let proposals = vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
    let mut client = Client::to(scene.app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    assert_eq!(scene.archive.observations().echoes, 0);
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matches_are_the_archives_but_for_our_title() {
    let scene = scene(20, &[], "").await;
    let direct = Client::new(&scene.archive).await.ask(find(), Some(&studies())).await.unwrap();
    let mut client = searcher(&scene).await;
    let through = client.ask(find(), Some(&studies())).await.unwrap();
    assert_eq!((told(&direct), told(&through)), ((20, 0), (20, 0)));
    for (direct, through) in direct.responses.iter().zip(&through.responses) {
        let (mut wanted, command) = (direct.clone(), through.command.clone());
        if wanted.data.is_some() {
            let mut data_set = wanted.data_set();
            assert_eq!(data_set.string(tags::RETRIEVE_AE_TITLE), Some("PACS"));
            data_set.set_str(tags::RETRIEVE_AE_TITLE, gantry::dicom::VR::AE, GANTRY);
            wanted.data = Some(data_set.encode(Layout::ExplicitLe, QueryCharset::Auto).into());
            assert_eq!(through.data_set(), data_set);
        }
        assert_eq!(command, wanted.command);
    }
    client.release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matches_come_before_the_archive_has_ended() {
    let scene = scene(3, &[Fault::FindStallAfter(2)], "").await;
    let mut client = searcher(&scene).await;
    client.send(find(), Some(&studies()));
    for _ in 0..2 {
        assert_eq!(client.message().await.unwrap().command.status, Some(0xFF00));
    }
    client.association.abort().await;
    scene.app.settle("an aborted search").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_the_archive_within_a_second_and_its_fe00_comes_back() {
    let scene = scene(200, &[Fault::FindSlow(20)], "").await;
    let mut client = searcher(&scene).await;
    client.send(find(), Some(&studies()));
    client.message().await.unwrap();
    let begin = Instant::now();
    // One for another message is for nobody.
    let other = Command::cancel(find().message_id + 1);
    let context = client.association.agreement().for_class(sop_class::STUDY_ROOT_FIND).unwrap().id;
    client.association.send(context, &other, None);
    client.message().await.unwrap();
    assert_eq!(scene.archive.observations().cancels.len(), 0);
    cancel_find(&mut client);
    let answers = client.answers().await.unwrap();
    assert_eq!(answers.status(), 0xFE00);
    assert!(answers.responses.len() < 100, "{}", answers.responses.len());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(scene.archive.observations().cancels.len(), 1);
    // One that comes too late is dropped, and the association goes on.
    cancel_find(&mut client);
    scene.archive.clear_faults();
    assert_eq!(told(&client.ask(find(), Some(&studies())).await.unwrap()), (200, 0));
    assert_eq!(scene.archive.observations().associations.opened, 1, "it was left clean");
    // Each search is counted once.
    let figures = Figures::of(scene.app.http).await;
    let ended = |how: &str| figures.sum("dimse_operations_total", &[&format!("outcome=\"{how}\"")]);
    assert_eq!((ended("cancelled"), ended("success"), ended("failure")), (1, 1, 0));
    assert_eq!(figures.sum("dimse_associations", &[]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_cancels() {
    for politely in [true, false] {
        let scene = scene(200, &[Fault::FindSlow(20)], "").await;
        let mut client = searcher(&scene).await;
        client.send(find(), Some(&studies()));
        client.message().await.unwrap();
        if politely {
            client.release().await;
        } else {
            drop(client);
        }
        let cancelled = async || scene.archive.observations().cancels.len() == 1;
        until("a C-CANCEL", DEADLINE, cancelled).await;
        scene.app.settle("a client that left").await;
        assert_eq!(scene.archive.observations().associations.lost, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identifier_in_implicit_vr_reaches_an_explicit_archive() {
    let scene = scene(3, &[], "").await;
    let mut client = searcher_in(&scene, "CLIENT", IMPLICIT_VR_LE).await;
    let context = client.association.agreement().for_class(sop_class::STUDY_ROOT_FIND).unwrap().id;
    let encoded = Bytes::from(studies().encode(Layout::ImplicitLe, QueryCharset::Auto));
    client.association.send(context, &Command { has_data_set: true, ..find() }, Some(encoded));
    let answers = client.answers().await.unwrap();
    assert_eq!(told(&answers), (3, 0));
    for answer in &answers.responses[..3] {
        let match_ =
            DataSet::parse(answer.data.as_ref().unwrap(), Layout::ImplicitLe, None).unwrap().data_set;
        assert!(match_.string(tags::STUDY_INSTANCE_UID).is_some());
        assert_eq!(match_.string(tags::RETRIEVE_AE_TITLE), Some(GANTRY));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_ff01_stays_ff01() {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).plain(2, 1, 1, 10);
    let scene = Scene::before(archive.ignore_optional_keys().start().await.unwrap(), "").await;
    let answers = searcher(&scene)
        .await
        .ask(find(), Some(&identifier("STUDY", &[(tags::STUDY_DESCRIPTION, "Plain*")])))
        .await
        .unwrap();
    let statuses: Vec<_> = answers.responses.iter().map(|answer| answer.command.status.unwrap()).collect();
    assert_eq!(statuses, [0xFF01, 0xFF01, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a700_is_not_success() {
    let scene = scene(5, &[Fault::FindFailure(0xA700)], "").await;
    let mut client = searcher(&scene).await;
    assert_eq!(told(&client.ask(find(), Some(&studies())).await.unwrap()), (0, 0xA700));
    scene.archive.clear_faults();
    scene.archive.set_fault(Fault::FindFailureAfter(2));
    assert_eq!(told(&client.ask(find(), Some(&studies())).await.unwrap()), (2, 0xA700));
    scene.archive.stop().await;
    let answers = client.ask(find(), Some(&studies())).await.unwrap();
    assert_eq!(told(&answers), (0, 0xA700));
    assert_eq!(answers.last().command.comment.as_deref(), Some("main: not reachable, try again later"));
}

/// After whatever an archive does wrong, the client is told so on its own association, the next search is right, and
/// nothing of the first one is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_after_a_search_that_went_wrong_the_next_one_is_right() {
    for (fault, said) in [
        (Fault::FindStallAfter(1), (1, 0xA700)),
        (Fault::FindAbortAfter(1), (1, 0xC001)),
        (Fault::FindCloseAfter(1), (1, 0xC001)),
        (Fault::WrongMessageId(2), (1, 0xC001)),
        (Fault::Garbage(2), (1, 0xC001)),
        (Fault::UnannouncedDataSet(2), (1, 0xC001)),
        (Fault::AfterFinal, (4, 0)),
    ] {
        let scene = scene(4, &[fault], "[archive.main.timeouts]\nsilence = \"300ms\"\n").await;
        let mut client = searcher(&scene).await;
        let answers = client.ask(find(), Some(&studies())).await.unwrap();
        assert_eq!(told(&answers), said, "{fault}: {:?}", answers.last());
        assert!(said.1 == 0 || answers.last().command.comment.is_some(), "{fault}");
        scene.archive.clear_faults();
        let again = client.ask(find(), Some(&studies())).await.unwrap();
        assert_eq!(told(&again), (4, 0), "{fault}: {:?}", again.last());
        scene.app.settle(&fault.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extended_negotiation_is_the_archives_and_holds_for_the_association_that_is_searched() {
    let mut archive = Scripted::new().await;
    let app = scripted_app(&archive, "").await;
    let class = sop_class::STUDY_ROOT_FIND;
    let told = |information: &'static [u8]| vec![(class.parse().unwrap(), Bytes::from_static(information))];
    for (asked, answer) in
        [(&[1, 0, 0][..], &[0, 0, 1][..]), (&[1, 1], &[1, 1]), (&[], &[]), (&[1, 0, 0], &[0, 0, 1])]
    {
        let extended = if asked.is_empty() { vec![] } else { told(asked) };
        let request = Request {
            called: GANTRY.parse().unwrap(),
            calling: "CLIENT".parse().unwrap(),
            proposals: vec![proposal(class, &[EXPLICIT_VR_LE])],
            extended: extended.clone(),
            roles: vec![],
        };
        let mut client = Client::asking(app.dimse, &request).await.unwrap();
        let expected = if answer.is_empty() { vec![] } else { told(answer) };
        assert_eq!(client.association.agreement().extended, expected);
        client.send(find(), Some(&studies()));
        client.association.flush().await.unwrap();
        let (association, message) = archive.message().await;
        assert_eq!(archive.request(association).user.extended, extended, "asked with {asked:?}");
        archive.answer(association, &message, 0);
        assert_eq!(client.answers().await.unwrap().status(), 0);
        client.release().await;
    }
    assert_eq!(archive.count(), 3, "what was learnt is not asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_responses_of_a_cancelled_search_are_not_the_next_ones() {
    for fault in [Fault::IgnoreCancel, Fault::AbortOnCancel(50), Fault::AbortOnCancel(5_000)] {
        let scene = scene(300, &[Fault::FindSlow(10), fault], "").await;
        let mut client = searcher(&scene).await;
        client.send(find(), Some(&studies()));
        client.message().await.unwrap();
        let begin = Instant::now();
        cancel_find(&mut client);
        assert_eq!(client.answers().await.unwrap().status(), 0xFE00, "{fault}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{fault}: {:?}", begin.elapsed());
        scene.archive.clear_faults();
        let one = identifier("STUDY", &[(tags::STUDY_DESCRIPTION, "Plain study 7")]);
        assert_eq!(told(&client.ask(find(), Some(&one)).await.unwrap()), (1, 0), "{fault}");
        scene.app.settle(&fault.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_identifier_that_is_too_long_or_not_there_is_refused_and_the_association_goes_on() {
    let scene = scene(2, &[], "").await;
    let mut client = searcher(&scene).await;
    let long = identifier("STUDY", &[(tags::STUDY_DESCRIPTION, &"x".repeat(60_000))]);
    let context = client.association.agreement().for_class(sop_class::STUDY_ROOT_FIND).unwrap().id;
    let encoded = long.encode(Layout::ExplicitLe, QueryCharset::Auto).repeat(20);
    client.association.send(context, &Command { has_data_set: true, ..find() }, Some(encoded.into()));
    let answers = client.answers().await.unwrap();
    assert_eq!(told(&answers), (0, 0xA900));
    assert_eq!(answers.last().command.comment.as_deref(), Some("the identifier is too long"));
    assert_eq!(told(&client.ask(find(), None).await.unwrap()), (0, 0xA900));
    assert_eq!(told(&client.ask(find(), Some(&studies())).await.unwrap()), (2, 0));
    assert_eq!(scene.archive.observations().finds, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_the_archive_and_nobody_else() {
    let scene = scene(3_000, &[], "").await;
    let mut slow = searcher(&scene).await;
    slow.send(find(), Some(&studies()));
    slow.message().await.unwrap();
    let mut quick = searcher(&scene).await;
    let one = identifier("STUDY", &[(tags::STUDY_DESCRIPTION, "Plain study 7")]);
    assert_eq!(told(&quick.ask(find(), Some(&one)).await.unwrap()), (1, 0));
    assert_eq!(told(&slow.answers().await.unwrap()), (2_999, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_clients_title_each_client_has_associations_of_its_own_within_one_cap() {
    let more = "calling = \"client\"\nmax_associations = 1\n[ae.OTHER]\n";
    let scene = scene(2, &[], more).await;
    for calling in ["CLIENT", "OTHER", "CLIENT"] {
        let mut client = searcher_in(&scene, calling, EXPLICIT_VR_LE).await;
        assert_eq!(told(&client.ask(find(), Some(&studies())).await.unwrap()), (2, 0));
        client.release().await;
    }
    let seen = scene.archive.observations();
    let callers: Vec<&str> = seen.requests.iter().map(|request| request.calling.as_str()).collect();
    assert_eq!(callers, ["CLIENT", "OTHER", "CLIENT"]);
    assert_eq!(seen.associations.most_open, 1);
}

/// A worklist SCP with one entry, which tells whom it was called by and what it was asked.
async fn worklist() -> (String, mpsc::UnboundedReceiver<(String, Message)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let requested =
                    Requested::read(DimseSocket::from_stream(stream).unwrap(), soon()).await.unwrap();
                let called = requested.request().called.to_string();
                let mut association =
                    requested.accept(|_, syntaxes| Ok(syntaxes[0].clone()), |_| false, soon()).await.unwrap();
                while let Ok(question) = message(&mut association).await {
                    let (context, data) = (question.context, question.data.clone());
                    let pending = Command { has_data_set: true, ..question.command.response(0xFF00) };
                    association.send(context, &pending, data);
                    association.send(context, &question.command.response(0), None);
                    let _ = sender.send((called.clone(), question));
                }
                association.confirm_release(soon()).await;
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worklist_query_goes_to_the_worklist_endpoint() {
    let (address, mut asked) = worklist().await;
    let more =
        format!("[archive.main.endpoint.worklist]\nae_title = \"WORKLIST\"\naddress = \"{address}\"\n");
    let scene = scene(1, &[], &more).await;
    let mut client = searcher(&scene).await;
    let question = Command::request(field::C_FIND_RQ, sop_class::MODALITY_WORKLIST_FIND, 5);
    let mut entry = DataSet::new();
    entry.set_str(tags::PATIENT_NAME, gantry::dicom::VR::PN, "Doe^*");
    // A worklist's own, which is none of ours.
    entry.set_str(tags::RETRIEVE_AE_TITLE, gantry::dicom::VR::AE, "PACS");
    let answers = client.ask(question, Some(&entry)).await.unwrap();
    assert_eq!(told(&answers), (1, 0));
    assert_eq!(answers.responses[0].data_set(), entry);
    let (called, question) = asked.recv().await.unwrap();
    assert_eq!((called.as_str(), question.data_set()), ("WORKLIST", entry));
    assert_eq!(scene.archive.observations().finds, 0);
}

/// The median time of 200 searches for one study on an open association.
async fn median(client: &mut Client) -> Duration {
    let one = identifier("STUDY", &[(tags::STUDY_DESCRIPTION, "Plain study 7")]);
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        assert_eq!(told(&client.ask(find(), Some(&one)).await.unwrap()), (1, 0));
        times.push(begin.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// The bound of a millisecond is the benchmark's; this one is against waiting for anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_takes_little_longer_than_a_direct_one() {
    let scene = scene(200, &[], "").await;
    at_best(async || {
        let direct = median(&mut Client::new(&scene.archive).await).await;
        let through = median(&mut searcher(&scene).await).await;
        println!("C-FIND, median of 200: direct {direct:?}, through {through:?}");
        within(Duration::from_millis(20), through.saturating_sub(direct), "a search through the bridge")
    })
    .await;
    let begin = Instant::now();
    let all = searcher(&scene).await.ask(find(), Some(&studies())).await.unwrap();
    assert_eq!(told(&all), (200, 0));
    println!("200 matches through: {:?}", begin.elapsed());
}
