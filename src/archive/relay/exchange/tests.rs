//! Requests passed on over real associations, in memory, to archives that do as a test says.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::archive::Archive;
use crate::archive::dimse::DimseArchive;
use crate::archive::relay::{Relay, Service};
use crate::archive::testing::config;
use crate::caller::Priority;
use crate::dicom::sop_class;
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE,
};
use crate::dimse::association::{Association, Event, Io, Requested};
use crate::dimse::pdu::context_result;
use crate::metrics::Metrics;

/// Patient ID, in both forms.
const EXPLICIT: &[u8] = b"\x10\0\x20\0LO\x02\x001 ";
const IMPLICIT: &[u8] = b"\x10\0\x20\0\x02\0\0\x001 ";

/// What the archive does with a request.
enum Act {
    Answer(u16, Option<Bytes>),
    Comment(u16, &'static str),
    AwaitCancel,
    Cut,
}

use Act::{Answer as Say, AwaitCancel, Comment, Cut};

type Script = dyn Fn(usize) -> Vec<Act> + Send + Sync;

/// The syntax that is proposed first.
const ANY: &str = "2.25.0";

/// An archive that takes every class in one syntax, and what it has seen.
struct Pacs {
    syntax: &'static str,
    takes: Box<dyn Fn(&str) -> bool + Send + Sync>,
    script: Box<Script>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<(Command, Bytes)>,
    cancels: usize,
    aborts: usize,
    associations: usize,
}

impl Pacs {
    /// Each request is told its number, from 0.
    fn new(script: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static) -> Arc<Self> {
        Self::in_syntax(EXPLICIT_VR_LE, |_| true, script)
    }

    fn in_syntax(
        syntax: &'static str,
        takes: impl Fn(&str) -> bool + Send + Sync + 'static,
        script: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (takes, script) = (Box::new(takes), Box::new(script));
        Arc::new(Self { syntax, takes, script, seen: Mutex::default() })
    }

    fn archive(self: &Arc<Self>) -> DimseArchive {
        let pacs = Arc::clone(self);
        DimseArchive::over(config(), None, None, Metrics::default(), move |_| {
            let pacs = Arc::clone(&pacs);
            Arc::new(move |_| {
                let (ours, theirs) = duplex(1 << 16);
                tokio::spawn(Arc::clone(&pacs).serve(theirs));
                Box::pin(async move { Ok(Box::new(ours) as Box<dyn Io>) })
            })
        })
    }

    fn seen<T>(&self, of: impl Fn(&Seen) -> T) -> T {
        of(&self.seen.lock().unwrap())
    }

    /// Waits until what was seen is so.
    async fn until(&self, what: impl Fn(&Seen) -> bool) {
        let wait = async {
            while !self.seen(&what) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), wait).await.expect("the archive never saw it");
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let Ok(requested) = Requested::read(io, deadline).await else { return };
        let syntax = Uid::from_static(self.syntax);
        let decide = |class: &Uid, syntaxes: &[Uid]| match (self.takes)(class.as_str()) {
            true if self.syntax == ANY => Ok(syntaxes[0].clone()),
            true if syntaxes.contains(&syntax) => Ok(syntax.clone()),
            true => Err(context_result::TRANSFER_SYNTAXES),
            false => Err(context_result::ABSTRACT_SYNTAX),
        };
        let Ok(mut association) = requested.accept(decide, |_| true, deadline).await else { return };
        self.seen.lock().unwrap().associations += 1;
        let mut request = (0, Command::default());
        loop {
            match association.event().await {
                Ok(Event::ReleaseRequested) => return association.confirm_release(deadline).await,
                Ok(Event::Command { command, .. }) if command.field == field::C_CANCEL_RQ => {
                    self.seen.lock().unwrap().cancels += 1;
                }
                Ok(Event::Command { context, command }) if command.has_data_set => {
                    request = (context, command);
                }
                Ok(Event::Command { context, command }) => {
                    if self.answer(&mut association, context, &command, Bytes::new()).await.is_none() {
                        return;
                    }
                }
                Ok(Event::Data { bytes, last }) => {
                    assert!(last, "these are short");
                    let (context, request) = &request;
                    if self.answer(&mut association, *context, request, bytes).await.is_none() {
                        return;
                    }
                }
                Err(_) => {
                    self.seen.lock().unwrap().aborts += 1;
                    return;
                }
            }
        }
    }

    async fn answer(
        &self,
        association: &mut Association,
        context: u8,
        request: &Command,
        data: Bytes,
    ) -> Option<()> {
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.requests.push((request.clone(), data));
            seen.requests.len() - 1
        };
        for act in (self.script)(number) {
            match act {
                Say(status, data) => {
                    let response = Command { has_data_set: data.is_some(), ..request.response(status) };
                    association.send(context, &response, data);
                }
                Comment(status, comment) => {
                    let response = Command { comment: Some(comment.into()), ..request.response(status) };
                    association.send(context, &response, None);
                }
                AwaitCancel => match association.event().await {
                    Ok(Event::Command { command, .. }) if command.field == field::C_CANCEL_RQ => {
                        self.seen.lock().unwrap().cancels += 1;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => {
                        self.seen.lock().unwrap().aborts += 1;
                        return None;
                    }
                },
                Cut => return None,
            }
            association.flush().await.ok()?;
        }
        Some(())
    }
}

const PRINT: &str = "1.2.840.10008.5.1.1.9";
const FILM_SESSION: &str = "1.2.840.10008.5.1.1.1";

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

/// A C-FIND, in this syntax.
fn find(syntax: &'static str, data: &'static [u8]) -> Invocation {
    Invocation {
        service: Service::Query,
        abstract_syntax: Uid::from_static(sop_class::STUDY_ROOT_FIND),
        command: Command::request(field::C_FIND_RQ, sop_class::STUDY_ROOT_FIND, 0),
        data: Some(Bytes::from_static(data)),
        transfer_syntax: Uid::from_static(syntax),
        extended: Arc::default(),
        repeatable: true,
    }
}

/// A request of another kind, with a message ID of its own.
fn request(field: u16, class: &'static str) -> Invocation {
    Invocation {
        abstract_syntax: Uid::from_static(class),
        command: Command::request(field, class, 77),
        ..find(EXPLICIT_VR_LE, EXPLICIT)
    }
}

async fn invoke(archive: &DimseArchive, invocation: Invocation) -> Result<Exchange> {
    Relay::invoke(archive, &caller(), invocation).await
}

/// Status and data set of all answers, and the error that they end in.
async fn run(exchange: &mut Exchange) -> (Vec<(u16, Option<Bytes>)>, Option<Kind>) {
    let mut answers = Vec::new();
    loop {
        match exchange.next().await {
            Ok(Answer::Pending(command, data)) => answers.push((command.status.unwrap(), data)),
            Ok(Answer::Final(command, data)) => {
                answers.push((command.status.unwrap(), data));
                return (answers, None);
            }
            Err(error) => return (answers, Some(error.kind)),
        }
    }
}

fn some(data: &'static [u8]) -> Option<Bytes> {
    Some(Bytes::from_static(data))
}

/// Waits until nothing of the archive is in use.
async fn at_rest(archive: &DimseArchive) -> (usize, usize) {
    let wait = async {
        loop {
            let (open, idle) = archive.associations();
            if open == idle {
                return (open, idle);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.expect("an association never comes back")
}

#[tokio::test]
async fn answers_come_as_the_archive_gives_them() {
    let pacs = Pacs::new(|_| vec![Say(0xFF00, some(EXPLICIT)), Say(0xFF01, some(EXPLICIT)), Say(0, None)]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    let (answers, error) = run(&mut exchange).await;
    assert_eq!(answers, [(0xFF00, some(EXPLICIT)), (0xFF01, some(EXPLICIT)), (0, None)]);
    assert_eq!((error, at_rest(&archive).await), (None, (1, 1)));
    assert!(pacs.seen(|seen| seen.requests[0].0.message_id != 0), "it was given one");
}

#[tokio::test]
async fn hazard_a_failure_is_an_answer_with_its_status_and_comment() {
    let pacs = Pacs::new(|_| vec![Comment(0xA700, "no room")]);
    let mut exchange = invoke(&pacs.archive(), find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    let Answer::Final(response, None) = exchange.next().await.unwrap() else { panic!() };
    assert_eq!((response.status, response.comment.as_deref()), (Some(0xA700), Some("no room")));
    assert_eq!(exchange.next().await.unwrap_err().kind, Kind::Cancelled, "there is no answer after it");
}

#[tokio::test]
async fn data_sets_are_re_encoded_where_the_archive_takes_another_syntax() {
    let answer = |data: &'static [u8]| move |_| vec![Say(0xFF00, some(data)), Say(0, None)];
    let explicit = Pacs::new(answer(EXPLICIT));
    let mut exchange = invoke(&explicit.archive(), find(IMPLICIT_VR_LE, IMPLICIT)).await.unwrap();
    assert_eq!(run(&mut exchange).await.0[0].1, some(IMPLICIT));
    assert_eq!(explicit.seen(|seen| seen.requests[0].1.clone()), EXPLICIT);

    let implicit = Pacs::in_syntax(IMPLICIT_VR_LE, |_| true, answer(IMPLICIT));
    let mut exchange = invoke(&implicit.archive(), find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    assert_eq!(run(&mut exchange).await.0[0].1, some(EXPLICIT));
    assert_eq!(implicit.seen(|seen| seen.requests[0].1.clone()), IMPLICIT);
}

#[tokio::test]
async fn other_classes_are_asked_in_the_clients_own_syntax() {
    let pacs = Pacs::in_syntax(ANY, |_| true, |_| vec![Say(0, some(IMPLICIT))]);
    let own = Invocation {
        data: some(IMPLICIT),
        transfer_syntax: Uid::from_static(IMPLICIT_VR_LE),
        ..request(field::N_SET_RQ, sop_class::MPPS)
    };
    let mut exchange = invoke(&pacs.archive(), own).await.unwrap();
    assert_eq!(run(&mut exchange).await.0, [(0, some(IMPLICIT))]);
    assert_eq!(pacs.seen(|seen| seen.requests[0].1.clone()), IMPLICIT);
}

#[tokio::test]
async fn a_context_that_is_deflated_or_big_endian_only_is_proposed_on_a_fresh_association() {
    for syntax in [DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE] {
        for (field, class) in [
            (field::C_FIND_RQ, sop_class::STUDY_ROOT_FIND),
            (field::C_FIND_RQ, sop_class::MODALITY_WORKLIST_FIND),
            (field::N_SET_RQ, sop_class::MPPS),
        ] {
            let pacs = Pacs::in_syntax(syntax, |_| true, |_| vec![Say(0, some(b"as it is"))]);
            let archive = pacs.archive();
            for _ in 0..2 {
                let own = Invocation { transfer_syntax: Uid::from_static(syntax), ..request(field, class) };
                let mut exchange = invoke(&archive, own).await.unwrap();
                assert_eq!(run(&mut exchange).await.0, [(0, some(b"as it is"))], "{class} in {syntax}");
            }
            assert_eq!(pacs.seen(|seen| seen.requests[0].1.clone()), EXPLICIT);
            assert_eq!(pacs.seen(|seen| seen.associations), 1, "it serves the next one");
        }
    }
}

#[tokio::test]
async fn data_sets_that_cannot_be_read_are_the_fault_of_who_made_them() {
    const BROKEN: &[u8] = b"\x10\0\x20\0\xFF\xFF\0\0";
    let pacs = Pacs::new(|_| vec![Say(0xFF00, some(b"\x10\0\x20\0LO\xFF\0")), Say(0, None)]);
    let archive = pacs.archive();
    let theirs = invoke(&archive, find(IMPLICIT_VR_LE, BROKEN)).await.unwrap_err();
    assert!(matches!(theirs.kind, Kind::BadKeys(_)), "{theirs}");
    assert_eq!((at_rest(&archive).await, pacs.seen(|seen| seen.requests.len())), ((1, 1), 0));
    let mut exchange = invoke(&archive, find(IMPLICIT_VR_LE, IMPLICIT)).await.unwrap();
    assert!(matches!(exchange.next().await.unwrap_err().kind, Kind::Protocol(_)));
}

#[tokio::test]
async fn one_idle_association_serves_searches_and_requests_passed_on() {
    let pacs = Pacs::new(|_| vec![Say(0, None)]);
    let archive = pacs.archive();
    archive.verify(&caller()).await.unwrap();
    let classes = [sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_ROOT_FIND, sop_class::STUDY_ROOT_MOVE];
    for class in classes {
        let field = if class == sop_class::STUDY_ROOT_MOVE { field::C_MOVE_RQ } else { field::C_FIND_RQ };
        run(&mut invoke(&archive, request(field, class)).await.unwrap()).await;
    }
    assert_eq!(pacs.seen(|seen| seen.associations), 1);
    // The next one can do more, and takes its place.
    for field in [field::C_FIND_RQ, field::C_FIND_RQ] {
        let worklist = request(field, sop_class::MODALITY_WORKLIST_FIND);
        run(&mut invoke(&archive, worklist).await.unwrap()).await;
        archive.verify(&caller()).await.unwrap();
    }
    assert_eq!(pacs.seen(|seen| seen.associations), 2);
}

#[tokio::test]
async fn a_message_id_of_its_own_is_kept() {
    let pacs = Pacs::new(|_| vec![Say(0, None)]);
    let moved = request(field::C_MOVE_RQ, sop_class::STUDY_ROOT_MOVE);
    let mut exchange = invoke(&pacs.archive(), moved).await.unwrap();
    assert_eq!(run(&mut exchange).await.0, [(0, None)]);
    assert_eq!(pacs.seen(|seen| seen.requests[0].0.message_id), 77);
}

#[tokio::test]
async fn a_request_goes_out_in_the_context_of_its_meta_class() {
    let pacs = Pacs::new(|_| vec![Say(0, some(EXPLICIT))]);
    let mut create = request(field::N_CREATE_RQ, PRINT);
    create.command.sop_class = FILM_SESSION.parse().ok();
    let mut exchange = invoke(&pacs.archive(), create).await.unwrap();
    assert_eq!(run(&mut exchange).await.0, [(0, some(EXPLICIT))]);
    let class = pacs.seen(|seen| seen.requests[0].0.sop_class.clone());
    assert_eq!(class.unwrap().as_str(), FILM_SESSION);
}

#[tokio::test]
async fn a_class_that_is_not_taken_is_said_to_be_unsupported() {
    let pacs = Pacs::in_syntax(EXPLICIT_VR_LE, |class| class != sop_class::STUDY_ROOT_FIND, |_| vec![]);
    let archive = pacs.archive();
    let error = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Unsupported(_)), "{error}");
    assert_eq!(at_rest(&archive).await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_archive_and_its_answer_comes_back() {
    let pacs = Pacs::new(|_| vec![Say(0xFF00, some(EXPLICIT)), AwaitCancel, Say(0xFE00, None)]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    exchange.next().await.unwrap();
    exchange.cancel();
    exchange.cancel();
    assert_eq!(run(&mut exchange).await, (vec![(0xFE00, None)], None));
    assert_eq!((pacs.seen(|seen| seen.cancels), at_rest(&archive).await), (1, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_ignores_a_cancel_is_left_after_a_second() {
    let pacs = Pacs::new(|_| vec![AwaitCancel, AwaitCancel]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    let before = Instant::now();
    exchange.cancel();
    assert_eq!(run(&mut exchange).await, (vec![], Some(Kind::Cancelled)));
    assert!(before.elapsed() < Duration::from_millis(1100), "{:?}", before.elapsed());
    assert_eq!(at_rest(&archive).await, (0, 0), "its association was aborted");
}

#[tokio::test(start_paused = true)]
async fn hazard_an_archive_that_aborts_on_a_cancel_has_cancelled() {
    let pacs = Pacs::new(|_| vec![AwaitCancel, Cut]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    exchange.cancel();
    assert_eq!(run(&mut exchange).await, (vec![], Some(Kind::Cancelled)));
    assert_eq!(at_rest(&archive).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn hazard_an_exchange_that_is_dropped_is_cancelled_and_its_association_comes_back() {
    let pacs = Pacs::new(|_| {
        let pending = || Say(0xFF00, some(EXPLICIT));
        vec![pending(), AwaitCancel, pending(), pending(), Say(0xFE00, None)]
    });
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    exchange.next().await.unwrap();
    drop(exchange);
    pacs.until(|seen| seen.cancels == 1).await;
    assert_eq!(at_rest(&archive).await, (1, 1));
    assert_eq!(pacs.seen(|seen| seen.aborts), 0);
}

#[tokio::test(start_paused = true)]
async fn a_normalized_request_that_is_dropped_is_aborted() {
    let pacs = Pacs::new(|_| vec![AwaitCancel]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, request(field::N_ACTION_RQ, PRINT)).await.unwrap();
    assert!(timeout(Duration::from_secs(1), exchange.next()).await.is_err());
    exchange.cancel();
    drop(exchange);
    pacs.until(|seen| seen.aborts == 1).await;
    assert_eq!((pacs.seen(|seen| seen.cancels), at_rest(&archive).await), (0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_archive_is_left_after_its_time() {
    let pacs = Pacs::new(|_| vec![AwaitCancel]);
    let archive = pacs.archive();
    let mut exchange = invoke(&archive, find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    assert_eq!(run(&mut exchange).await, (vec![], Some(Kind::Timeout("silence"))));
    assert_eq!(at_rest(&archive).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_nobody_asked_is_not_the_archives_silence() {
    let pacs = Pacs::new(|_| vec![Say(0xFF00, some(EXPLICIT)), AwaitCancel]);
    let mut exchange = invoke(&pacs.archive(), find(EXPLICIT_VR_LE, EXPLICIT)).await.unwrap();
    exchange.next().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    exchange.forgive_silence();
    assert!(timeout(Duration::from_secs(4), exchange.next()).await.is_err(), "the configured 5 s go on");
}

/// Requests on an association that has served somebody before and is cut now: the answers, and how often the request
/// came.
async fn on_a_dead_association(invocation: Invocation) -> (Option<Kind>, usize) {
    let pacs = Pacs::new(|number| if number == 1 { vec![Cut] } else { vec![Say(0, None)] });
    let archive = pacs.archive();
    run(&mut invoke(&archive, invocation.clone()).await.unwrap()).await;
    let mut exchange = invoke(&archive, invocation).await.unwrap();
    let (_, error) = run(&mut exchange).await;
    (error, pacs.seen(|seen| seen.requests.len()) - 1)
}

#[tokio::test]
async fn a_request_is_made_once_more_where_its_association_had_died() {
    assert_eq!(on_a_dead_association(find(EXPLICIT_VR_LE, EXPLICIT)).await, (None, 2));
}

#[tokio::test]
async fn hazard_what_must_not_be_made_twice_is_made_once() {
    let create = Invocation { repeatable: false, ..request(field::N_CREATE_RQ, PRINT) };
    let (error, times) = on_a_dead_association(create).await;
    assert!(matches!(error, Some(Kind::Aborted(_))), "{error:?}");
    assert_eq!(times, 1);
}

#[tokio::test]
async fn hazard_answers_that_the_protocol_does_not_have_end_the_association() {
    let long = || Some(Bytes::from(vec![0; MAX_MATCH_LENGTH + 1]));
    let (find, get) = (field::C_FIND_RQ, field::N_GET_RQ);
    for (field, what) in [(find, None), (find, long()), (get, some(EXPLICIT))] {
        let pacs = Pacs::new(move |_| vec![Say(0xFF00, what.clone()), AwaitCancel]);
        let archive = pacs.archive();
        let mut exchange = invoke(&archive, request(field, sop_class::STUDY_ROOT_FIND)).await.unwrap();
        let error = exchange.next().await.unwrap_err();
        assert!(matches!(error.kind, Kind::Protocol(_)), "{error}");
        assert_eq!(at_rest(&archive).await, (0, 0));
    }
}
