//! Negotiations before an archive that says what a test says.

use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::archive::commitment::{Commitments, Config as CommitmentConfig};
use crate::archive::relay::{Asked, Exchange, Invocation, Opening, Own, Relay};
use crate::archive::{Error, Fut, Kind as Failure, MoveDestination, Result as Answered};
use crate::archive::{Retrieval, Retrieve, Search, Stored};
use crate::caller::Caller;
use crate::dicom::AeTitle;
use crate::dicom::object::Object;
use crate::dicom::query::Query;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::{APPLICATION_CONTEXT, PROTOCOL_VERSION, UserInformation};
use crate::event::Events;
use crate::front::dimse::Services;
use crate::front::dimse::config::{AeConfig, Config, Moves, Operation, Whence};
use crate::metrics::Metrics;
use crate::router::Router;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
const BOTH: [&str; 2] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];

/// What an archive says to a question; `None`: nothing, ever.
type Says = fn(&Asked) -> Option<Taken>;

struct Scripted {
    says: Says,
    asked: Mutex<Vec<Asked>>,
}

impl Archive for Scripted {
    fn name(&self) -> &str {
        "main"
    }

    fn search(&self, _: &Caller, _: Query) -> Fut<'_, Answered<Search>> {
        unreachable!("nobody searches")
    }

    fn retrieve(&self, _: &Caller, _: Retrieve) -> Fut<'_, Answered<Retrieval>> {
        unreachable!("nobody retrieves")
    }

    fn store(&self, _: &Caller, _: Object) -> Fut<'_, Answered<Stored>> {
        unreachable!("nobody stores")
    }

    fn relay(&self) -> Option<&dyn Relay> {
        Some(self)
    }

    fn verify(&self, _: &Caller) -> Fut<'_, Answered<()>> {
        unreachable!("nobody verifies")
    }
}

impl Relay for Scripted {
    fn takes<'a>(&'a self, _: &'a Caller, asked: &'a [Asked]) -> Fut<'a, Vec<Taken>> {
        self.asked.lock().unwrap().extend_from_slice(asked);
        let taken: Option<Vec<Taken>> = asked.iter().map(self.says).collect();
        Box::pin(async {
            match taken {
                Some(taken) => taken,
                None => std::future::pending().await,
            }
        })
    }

    fn invoke<'a>(&'a self, _: &'a Caller, _: Invocation) -> Fut<'a, Answered<Exchange>> {
        unreachable!("nothing is passed on")
    }

    fn open<'a>(&'a self, _: &'a Caller, _: Opening) -> Fut<'a, Answered<Own>> {
        Box::pin(async { Err(down()) })
    }
}

fn down() -> Error {
    Error::new("main", Failure::Unreachable("it is down".into()))
}

/// Takes all but JPEG.
fn no_jpeg(asked: &Asked) -> Option<Taken> {
    let taken: Vec<Uid> =
        asked.transfer_syntaxes.iter().filter(|syntax| syntax.as_str() != JPEG).cloned().collect();
    let answer = asked.extended.as_ref().map(|_| Bytes::from_static(&[1, 0]));
    Some(if taken.is_empty() { Taken::Refused(4) } else { Taken::Accepted(taken, answer) })
}

fn is_down(_: &Asked) -> Option<Taken> {
    Some(Taken::Unknown(down()))
}

fn silent(_: &Asked) -> Option<Taken> {
    None
}

/// Knows Study Root FIND, and cannot be asked about anything else.
fn forgetful(asked: &Asked) -> Option<Taken> {
    if asked.abstract_syntax.as_str() == sop_class::STUDY_ROOT_FIND { no_jpeg(asked) } else { is_down(asked) }
}

fn title(text: &str) -> AeTitle {
    text.parse().unwrap()
}

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn front(says: Says) -> (Arc<Scripted>, Arc<Front>) {
    let archive = Arc::new(Scripted { says, asked: Mutex::default() });
    let router = Router::new([Arc::clone(&archive) as Arc<dyn Archive>], None);
    let moves = MoveDestination::new(title("GANTRY"), "127.0.0.1:104", [], []);
    let config =
        Config { archives: [(title("PACS"), from("10.0.0.1:104"))].into(), ..Config::new(title("GANTRY")) };
    let commitments = Commitments::open(None, CommitmentConfig::default(), &[]).unwrap();
    let (metrics, shutdown) = (Metrics::default(), CancellationToken::new());
    let events = Events::none();
    (archive, Front::new(config, Services { router, moves, commitments, metrics, events, shutdown }))
}

/// A request with these contexts, numbered 1, 3, 5, …
fn request(contexts: &[(&str, &[&str])]) -> AssociateRq {
    let context = |((class, syntaxes), n): (&(&str, &[&str]), u8)| ProposedContext {
        id: 2 * n + 1,
        abstract_syntax: class.parse().ok(),
        transfer_syntaxes: syntaxes.iter().map(|syntax| uid(syntax)).collect(),
    };
    AssociateRq {
        version: PROTOCOL_VERSION,
        called: title("GANTRY"),
        calling: title("CT1"),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: contexts.iter().zip(0..).map(context).collect(),
        user: UserInformation::default(),
    }
}

fn role(class: &str, scu: bool, scp: bool) -> Role {
    Role { sop_class: uid(class), scu, scp }
}

fn from(address: &str) -> Whence {
    Whence { addresses: [address.to_owned()].into(), networks: Vec::new() }
}

async fn negotiated(front: &Front, comes_as: admission::Kind, request: &AssociateRq) -> Negotiated<Plan> {
    let peer = Peer {
        address: [10, 0, 0, 1].into(),
        calling: request.calling.clone(),
        called: request.called.clone(),
        certificate: None,
    };
    negotiate(front, &peer, comes_as, request).await
}

async fn answer(says: Says, request: &AssociateRq) -> Result<Answer, AssociateRj> {
    let (_, front) = front(says);
    negotiated(&front, admission::Kind::Client, request).await.map(|(answer, _)| answer)
}

async fn decisions(says: Says, contexts: &[(&str, &[&str])]) -> Result<Vec<Decision>, AssociateRj> {
    answer(says, &request(contexts)).await.map(|answer| answer.contexts)
}

fn accepted(syntax: &str) -> Decision {
    Ok(uid(syntax))
}

#[tokio::test]
async fn each_context_of_a_class_is_decided_by_itself() {
    let contexts: [(&str, &[&str]); 5] = [
        (CT, &[JPEG]),
        (CT, &[JPEG, LOSSLESS]),
        (CT, &[IMPLICIT_VR_LE]),
        (sop_class::STUDY_ROOT_FIND, &BOTH),
        (sop_class::STUDY_ROOT_FIND, &[IMPLICIT_VR_LE]),
    ];
    let expected = [
        Err(4),
        accepted(LOSSLESS),
        accepted(IMPLICIT_VR_LE),
        accepted(EXPLICIT_VR_LE),
        accepted(IMPLICIT_VR_LE),
    ];
    assert_eq!(decisions(no_jpeg, &contexts).await.unwrap(), expected);
}

#[tokio::test]
async fn what_cannot_be_a_context_is_none() {
    let contexts: [(&str, &[&str]); 5] =
        [(CT, &BOTH), ("no UID", &BOTH), (CT, &[]), (MR, &BOTH), (sop_class::WITHOUT_BULK_DATA_GET, &BOTH)];
    let mut request = request(&contexts);
    (request.contexts[0].id, request.contexts[3].id) = (2, 9);
    let answer = answer(no_jpeg, &request).await.unwrap();
    assert_eq!(
        answer.contexts,
        [Err(1), Err(3), Err(4), accepted(EXPLICIT_VR_LE), Err(1)],
        "9 is there twice"
    );
}

#[tokio::test]
async fn an_archive_that_is_down_is_a_rejection_for_now_and_not_a_refused_class() {
    let find: (&str, &[&str]) = (sop_class::STUDY_ROOT_FIND, &BOTH);
    let echo: (&str, &[&str]) = (sop_class::VERIFICATION, &BOTH);
    for contexts in [vec![find], vec![find, echo], vec![("1.2.3", &BOTH[..])]] {
        assert_eq!(decisions(is_down, &contexts).await, Err(AssociateRj::CONGESTION));
    }
    assert_eq!(decisions(is_down, &[echo]).await.unwrap(), [accepted(EXPLICIT_VR_LE)]);
    let decisions = decisions(forgetful, &[find, (CT, &BOTH)]).await.unwrap();
    assert_eq!(decisions, [accepted(EXPLICIT_VR_LE), Err(context_result::NO_REASON)]);
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_does_not_answer_holds_nobody_up() {
    let begin = Instant::now();
    let found = decisions(silent, &[(CT, &BOTH), (sop_class::VERIFICATION, &BOTH)]).await;
    assert_eq!(found, Err(AssociateRj::CONGESTION));
    assert_eq!(begin.elapsed(), Duration::from_secs(15));
}

#[tokio::test]
async fn an_scp_role_is_granted_for_retrieval_only() {
    let mut request =
        request(&[(sop_class::STUDY_ROOT_GET, &BOTH), (CT, &[JPEG]), (sop_class::STUDY_ROOT_FIND, &BOTH)]);
    request.user.roles =
        vec![role(CT, false, true), role(sop_class::STUDY_ROOT_FIND, true, true), role(MR, false, true)];
    let (archive, front) = front(no_jpeg);
    let (answer, plan) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
    let expected = [accepted(EXPLICIT_VR_LE), accepted(JPEG), accepted(EXPLICIT_VR_LE)];
    assert_eq!(answer.contexts, expected, "as the client says it takes them");
    assert_eq!(answer.roles, [role(CT, false, true), role(sop_class::STUDY_ROOT_FIND, true, false)]);
    assert!(matches!(plan.contexts[&3], Served::Storage) && matches!(plan.contexts[&1], Served::Get(_)));
    let asks_to_store = archive.asked.lock().unwrap().iter().any(|asked| asked.service == Service::Store);
    assert!(!asks_to_store, "of what it is to be sent");
    // Without C-GET the archive would have to store to the requestor.
    request.contexts.remove(0);
    let (answer, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
    assert_eq!(
        (&answer.contexts[0], &answer.roles[0]),
        (&Err(4), &role(sop_class::STUDY_ROOT_FIND, true, false))
    );
}

#[tokio::test]
async fn extended_negotiation_is_answered_as_the_archive_answers() {
    let (find, get) = (sop_class::STUDY_ROOT_FIND, sop_class::STUDY_ROOT_GET);
    let mut request = request(&[(find, &BOTH), (get, &BOTH), (CT, &BOTH)]);
    let item = |class: &str| (uid(class), Bytes::from_static(&[1, 1]));
    request.user.extended = vec![item(find), item(CT)];
    let (archive, front) = front(no_jpeg);
    let (answer, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
    assert_eq!(answer.extended, [(uid(find), Bytes::from_static(&[1, 0]))]);
    let asked = archive.asked.lock().unwrap();
    let told: Vec<_> = asked.iter().filter_map(|one| one.extended.clone()).collect();
    assert_eq!(told, [Bytes::from_static(&[1, 1])]);
}

#[tokio::test]
async fn a_service_that_a_client_is_not_allowed_is_refused_by_the_user() {
    let classes =
        [sop_class::VERIFICATION, sop_class::STUDY_ROOT_FIND, sop_class::STUDY_ROOT_GET, sop_class::MPPS, MR];
    let contexts: Vec<(&str, &[&str])> = classes.iter().map(|class| (*class, &BOTH[..])).collect();
    let request = request(&contexts);
    let refused = Err(context_result::USER_REJECTION);
    for (aes, any, expected) in [
        (
            vec![allowing("CT1", &[Operation::Find, Operation::Store])],
            None,
            [false, true, false, false, true],
        ),
        (vec![allowing("CT1", &[])], None, [false; 5]),
        (vec![], Some([Operation::Echo].into()), [true, false, false, false, false]),
        (vec![], None, [true; 5]),
    ] {
        let (_, mut front) = front(no_jpeg);
        let config = Arc::make_mut(&mut Arc::get_mut(&mut front).unwrap().config);
        (config.aes, config.allow_any) = (aes, any);
        let (answer, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
        let expected =
            expected.map(|allowed| if allowed { accepted(EXPLICIT_VR_LE) } else { refused.clone() });
        assert_eq!(answer.contexts, expected);
    }
}

fn allowing(calling: &str, operations: &[Operation]) -> AeConfig {
    AeConfig {
        title: title(calling),
        address: None,
        allow_from: Vec::new(),
        moves: Moves::Relay,
        max_associations: None,
        tls: None,
        certificate_subject: None,
        allow: Some(operations.iter().copied().collect()),
        archives: None,
    }
}

#[tokio::test]
async fn an_archive_reports_commitment_and_does_nothing_else_as_a_client() {
    let commit = sop_class::STORAGE_COMMITMENT;
    let mut request = request(&[(commit, &BOTH), (sop_class::VERIFICATION, &BOTH), (CT, &BOTH)]);
    request.user.roles = vec![role(commit, false, true)];
    let (archive, front) = front(no_jpeg);
    let (answer, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
    assert_eq!(answer.contexts[0], Err(3), "a client has nothing to report");
    request.calling = title("PACS");
    archive.asked.lock().unwrap().clear();
    let (answer, plan) = negotiated(&front, admission::Kind::Archive, &request).await.unwrap();
    assert_eq!(answer.contexts, [accepted(EXPLICIT_VR_LE), accepted(EXPLICIT_VR_LE), Err(3)]);
    assert_eq!(answer.roles, [role(commit, false, true)]);
    assert!(matches!(plan.contexts[&1], Served::Normalized(Service::Commit, _)));
    assert!(archive.asked.lock().unwrap().is_empty(), "it is not asked whether it takes its own reports");
}

#[tokio::test]
async fn hazard_an_archives_title_is_no_word_of_the_archives() {
    let commit = sop_class::STORAGE_COMMITMENT;
    let mut request = request(&[(commit, &BOTH), (sop_class::VERIFICATION, &BOTH)]);
    request.user.roles = vec![role(commit, false, true)];
    request.calling = title("PACS");
    for (whence, comes) in [
        (from("10.0.0.2:104"), false),
        (from("10.0.0.1:104"), true),
        (from("nobody.invalid:104"), false),
        (Whence { networks: vec!["10.0.0.0/24".parse().unwrap()], ..from("10.9.9.9:104") }, true),
        (Whence { networks: vec!["10.0.1.0/24".parse().unwrap()], ..from("10.9.9.9:104") }, false),
    ] {
        let (_, mut front) = front(no_jpeg);
        Arc::make_mut(&mut Arc::get_mut(&mut front).unwrap().config).archives =
            [(title("PACS"), whence.clone())].into();
        let archive = negotiated(&front, admission::Kind::Archive, &request).await;
        assert_eq!(archive.is_ok(), comes, "{whence:?}");
        assert!(comes || archive.is_err_and(|rj| rj == AssociateRj::CALLING_TITLE));
        // Where anybody may come, under whatever title, nobody else reports.
        let (client, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
        assert_eq!(client.contexts[0].is_ok(), comes, "{whence:?}");
        // One that is listed has said who it is.
        let listed = AeConfig { allow_from: vec!["10.0.0.1".parse().unwrap()], ..allowing("PACS", &[]) };
        Arc::make_mut(&mut Arc::get_mut(&mut front).unwrap().config).aes = vec![listed];
        let (client, _) = negotiated(&front, admission::Kind::Client, &request).await.unwrap();
        assert!(client.contexts[0].is_ok());
    }
}

#[tokio::test]
async fn what_a_move_brings_is_taken_without_asking() {
    let request =
        self::request(&[(CT, &[JPEG]), ("1.3.6.1.4.1.9", &[LOSSLESS]), (sop_class::STUDY_ROOT_FIND, &BOTH)]);
    let (archive, front) = front(silent);
    let (answer, plan) = negotiated(&front, admission::Kind::Return, &request).await.unwrap();
    assert_eq!(answer.contexts, [accepted(JPEG), accepted(LOSSLESS), Err(3)]);
    assert!(plan.is_return && archive.asked.lock().unwrap().is_empty());
    assert!(!may_bring(&request, &[]), "it also wants to search");
    let brought = AssociateRq { contexts: request.contexts[..2].to_vec(), ..request };
    assert!(may_bring(&brought, &[]));
    let print = "1.2.840.10008.5.1.1.27";
    assert!(may_bring(&self::request(&[(CT, &BOTH), (print, &BOTH)]), &[]), "beside retired classes");
    assert!(!may_bring(&self::request(&[(print, &BOTH)]), &[]) && !may_bring(&self::request(&[]), &[]));
}
