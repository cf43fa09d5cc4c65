use std::collections::BTreeSet;
use std::time::Duration;

use gantry::demo::{Archive, Fault, Plain, Running};
use gantry::dicom::Uid;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::tags;
use gantry::dicom::transfer_syntax::Layout;
use gantry::dimse::association::AssociationError;
use gantry::dimse::command::Command;
use tokio::time::{Instant, timeout};

use crate::support::dimse::{Answers, Client, Destination, first_study, get, move_to};

/// Longer than any answer takes that comes at all.
const SILENCE: Duration = Duration::from_millis(200);

/// Two studies of five objects each.
fn plain() -> Plain {
    Plain::new(2, 1, 5, 2000)
}

async fn archive(faults: &[Fault]) -> (Running, Destination) {
    let destination = Destination::new().await;
    let archive = Archive::builder()
        .studies(plain().make())
        .destination("STORE".parse().unwrap(), &destination.address);
    let archive = faults.iter().fold(archive, |archive, fault| archive.fault(*fault));
    (archive.start().await.unwrap(), destination)
}

async fn retrieve(archive: &Running, request: Command) -> Result<Answers, AssociationError> {
    Client::new(archive).await.ask(request, Some(&first_study(&plain()))).await
}

async fn got(fault: Fault) -> Answers {
    retrieve(&archive(&[fault]).await.0, get()).await.unwrap()
}

fn uids(answers: &Answers) -> Vec<Uid> {
    answers.objects.iter().map(|o| o.command.sop_instance.clone().unwrap()).collect()
}

#[tokio::test]
async fn success_comes_before_the_first_object() {
    let (archive, mut destination) = archive(&[Fault::FinalFirst, Fault::ObjectsSlow(20)]).await;
    let answers = retrieve(&archive, move_to("STORE")).await.unwrap();
    assert_eq!((answers.status(), answers.responses.len()), (0, 1));
    assert_eq!(answers.last().counters(), [None, Some(5), Some(0), Some(0)]);
    assert!(destination.objects.try_recv().is_err(), "an object came before the final response");
    for _ in 0..5 {
        destination.next().await;
    }
}

#[tokio::test]
async fn the_last_object_comes_late_and_a_cancel_does_not_wait_for_it() {
    let (archive, mut destination) = archive(&[Fault::LastLate(300)]).await;
    let begun = Instant::now();
    assert_eq!(retrieve(&archive, move_to("STORE")).await.unwrap().status(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    archive.clear_faults();
    archive.set_fault(Fault::LastLate(60_000));
    let mut client = Client::new(&archive).await;
    let context = client.send(move_to("STORE"), Some(&first_study(&plain())));
    for _ in 0..4 {
        client.message().await.unwrap();
    }
    client.association.send(context, &Command::cancel(77), None);
    let answers = client.answers().await.unwrap();
    assert_eq!(answers.status(), 0xFE00);
    assert_eq!(answers.last().counters()[..2], [Some(1), Some(4)]);
    for _ in 0..9 {
        destination.next().await;
    }
}

#[tokio::test]
async fn responses_lack_counters_or_do_not_come_or_go_backwards() {
    let answers = got(Fault::NoCounters).await;
    assert!(answers.responses.iter().all(|r| r.counters() == [None; 4]));
    assert_eq!(got(Fault::NoPending).await.responses.len(), 1);
    let answers = got(Fault::CountersBackwards).await;
    let completed: Vec<_> = answers.responses.iter().map(|r| r.command.completed.unwrap()).collect();
    assert_eq!(completed, [4, 3, 2, 1, 5]);
    assert_eq!(got(Fault::RetrieveFailure(0xA702)).await.status(), 0xA702);
}

#[tokio::test]
async fn the_move_originator_is_missing_or_wrong() {
    for (fault, expected) in [
        (Fault::NoOriginator, (None, None)),
        (Fault::WrongOriginatorId(9), (Some("CLIENT"), Some(9))),
        (Fault::WrongOriginatorTitle, (Some("PACS"), Some(77))),
    ] {
        let (archive, mut destination) = archive(&[fault]).await;
        retrieve(&archive, move_to("STORE")).await.unwrap();
        let command = destination.next().await.command;
        let seen = (command.move_originator.as_ref().map(|t| t.as_str()), command.move_originator_id);
        assert_eq!(seen, expected, "{fault}");
    }
}

#[tokio::test]
async fn objects_are_left_out_or_fail() {
    let answers = got(Fault::LeaveOut(2)).await;
    assert_eq!((answers.objects.len(), answers.status()), (4, 0));
    assert_eq!(answers.last().counters(), [None, Some(4), Some(0), Some(0)]);
    let answers = got(Fault::FailObject(2)).await;
    assert_eq!((answers.objects.len(), answers.status()), (4, 0xB000));
    assert_eq!(answers.last().counters(), [None, Some(4), Some(1), Some(0)]);
    let failed = answers.last().data_set();
    let expected = plain().instance_uid(0, 0, 1).to_string();
    assert_eq!(failed.strings(tags::FAILED_SOP_INSTANCE_UID_LIST), [expected]);
}

#[tokio::test]
async fn objects_come_that_nobody_asked_for() {
    let answers = got(Fault::Foreign(2)).await;
    assert_eq!(answers.objects.len(), 6);
    let study = answers.objects[2].data_set().uid(tags::STUDY_INSTANCE_UID).unwrap();
    assert_eq!(study, plain().study_uid(1));
    assert_eq!(answers.last().counters(), [None, Some(5), Some(0), Some(0)]);
}

#[tokio::test]
async fn objects_come_twice_the_same_or_different() {
    for (fault, same) in [(Fault::Twice(3), true), (Fault::TwiceDifferent(3), false)] {
        let answers = got(fault).await;
        let uids = uids(&answers);
        assert_eq!((uids.len(), uids.iter().collect::<BTreeSet<_>>().len()), (6, 5), "{fault}");
        assert_eq!(uids[2], uids[3]);
        assert_eq!(answers.objects[2].data == answers.objects[3].data, same, "{fault}");
    }
}

#[tokio::test]
async fn objects_are_not_what_their_command_or_context_says() {
    let answers = got(Fault::OtherInstance(1)).await;
    let object = &answers.objects[0];
    assert_ne!(object.command.sop_instance, object.data_set().uid(tags::SOP_INSTANCE_UID));
    let answers = got(Fault::OtherSyntax(1)).await;
    let data = answers.objects[0].data.as_ref().unwrap();
    assert_ne!(Some(data), got(Fault::NoPending).await.objects[0].data.as_ref());
    let parsed = DataSet::parse(data, Layout::ImplicitLe, None).unwrap().data_set;
    assert_eq!(parsed.uid(tags::SOP_INSTANCE_UID), answers.objects[0].command.sop_instance);
}

#[tokio::test]
async fn retrievals_break_off_after_and_within_objects() {
    for (fault, aborts) in [
        (Fault::AbortAfter(2), true),
        (Fault::AbortIn(3), true),
        (Fault::CloseAfter(2), false),
        (Fault::CloseIn(3), false),
        (Fault::AbortAfter(5), true),
    ] {
        for request in [get(), move_to("STORE")] {
            let (archive, mut destination) = archive(&[fault]).await;
            let field = request.field;
            let error = retrieve(&archive, request).await.unwrap_err();
            assert_eq!(
                matches!(error, AssociationError::Aborted { .. }),
                aborts,
                "{fault} {field}: {error:?}"
            );
            let sent = archive.wait_for(|o| o.associations.open == 0).await.unwrap().objects_sent;
            assert_eq!(sent, if fault == Fault::AbortAfter(5) { 5 } else { 2 }, "{fault} {field}");
            assert!(destination.objects.len() <= sent);
            destination.objects.close();
        }
    }
}

#[tokio::test]
async fn retrievals_fall_silent_after_and_within_objects() {
    for fault in [Fault::StallAfter(2), Fault::StallIn(3)] {
        for request in [get(), move_to("STORE")] {
            let (archive, _destination) = archive(&[fault]).await;
            let field = request.field;
            let answer = timeout(SILENCE, retrieve(&archive, request)).await;
            assert!(answer.is_err(), "{fault} {field}");
            // The client has left; so does the archive.
            archive.wait_for(|o| o.associations.open == 0).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_cancel_is_ignored_or_answered_with_an_abort() {
    let cancelled = async |fault| {
        let (archive, _destination) = archive(&[fault, Fault::ObjectsSlow(20)]).await;
        let mut client = Client::new(&archive).await;
        let context = client.send(move_to("STORE"), Some(&first_study(&plain())));
        client.association.send(context, &Command::cancel(77), None);
        client.answers().await
    };
    let answers = cancelled(Fault::IgnoreCancel).await.unwrap();
    assert_eq!((answers.status(), answers.last().command.completed), (0, Some(5)));
    let error = cancelled(Fault::AbortOnCancel(30)).await.unwrap_err();
    assert!(matches!(error, AssociationError::Aborted { .. }), "{error:?}");
}
