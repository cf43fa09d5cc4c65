//! Asking over real associations, in memory, at an archive that accepts what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::Config;
use crate::archive::relay::Service;
use crate::archive::testing::config;
use crate::dimse::association::{Event, Io, Requested};
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::context_result;
use crate::dimse::pool::Connect;
use crate::metrics::Metrics;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// An archive, and what it was asked.
struct Pacs {
    policy: fn(&Uid, &[Uid]) -> Decision,
    most_contexts: usize,
    /// How many contexts each association proposed, and under which title.
    proposed: Mutex<Vec<(usize, String)>>,
    down: Mutex<bool>,
    ends: AtomicUsize,
}

impl Pacs {
    fn new(policy: fn(&Uid, &[Uid]) -> Decision) -> Arc<Self> {
        Arc::new(Self::with(policy, MAX_CONTEXTS))
    }

    fn with(policy: fn(&Uid, &[Uid]) -> Decision, most_contexts: usize) -> Self {
        let (proposed, down, ends) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self { policy, most_contexts, proposed, down, ends }
    }

    fn archive(self: &Arc<Self>, config: Config) -> DimseArchive {
        let pacs = Arc::clone(self);
        DimseArchive::over(config, None, None, Metrics::default(), move |_| connector(Arc::clone(&pacs)))
    }

    fn proposed(&self) -> Vec<usize> {
        self.proposed.lock().unwrap().iter().map(|(contexts, _)| *contexts).collect()
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) -> Option<()> {
        let deadline = Instant::now() + Duration::from_secs(36_000);
        let requested = Requested::read(io, deadline).await.ok()?;
        let request = requested.request();
        let contexts = request.contexts.len();
        self.proposed.lock().unwrap().push((contexts, request.calling.to_string()));
        if contexts > self.most_contexts {
            return None;
        }
        // Long enough for a second one to ask meanwhile.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut association = requested.accept(self.policy, |_| false, deadline).await.ok()?;
        if let Ok(event) = association.event().await {
            assert_eq!(event, Event::ReleaseRequested);
            association.confirm_release(deadline).await;
        }
        self.ends.fetch_add(1, Ordering::SeqCst);
        None
    }
}

fn connector(pacs: Arc<Pacs>) -> Connect {
    Arc::new(move |_| {
        let pacs = Arc::clone(&pacs);
        Box::pin(async move {
            if *pacs.down.lock().unwrap() {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(pacs.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    })
}

fn everything(_: &Uid, syntaxes: &[Uid]) -> Decision {
    Ok(syntaxes[0].clone())
}

fn no_jpeg(_: &Uid, syntaxes: &[Uid]) -> Decision {
    let taken = syntaxes.iter().find(|syntax| syntax.as_str() != JPEG);
    taken.cloned().ok_or(context_result::TRANSFER_SYNTAXES)
}

fn ct_only(class: &Uid, syntaxes: &[Uid]) -> Decision {
    if class.as_str() == CT { everything(class, syntaxes) } else { Err(context_result::ABSTRACT_SYNTAX) }
}

fn asked(service: Service, class: &str, syntaxes: &[&str]) -> Asked {
    let transfer_syntaxes = syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect();
    Asked { service, abstract_syntax: class.parse().unwrap(), transfer_syntaxes, extended: None }
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Bulk, title: None }
}

fn accepted(syntaxes: &[&str]) -> Taken {
    Taken::Accepted(syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(), None)
}

async fn takes(archive: &DimseArchive, asked: &[Asked]) -> Vec<Taken> {
    ask(Arc::clone(&archive.inner), caller(), asked.to_vec()).await
}

#[tokio::test(start_paused = true)]
async fn an_archive_is_asked_once_and_each_syntax_is_answered_for_itself() {
    let pacs = Pacs::new(no_jpeg);
    let archive = pacs.archive(config());
    let asks = [asked(Service::Store, CT, &[JPEG, RLE]), asked(Service::Store, "1.2.3", &[JPEG])];
    let answers = [accepted(&[RLE]), Taken::Refused(context_result::TRANSFER_SYNTAXES)];
    for _ in 0..3 {
        assert_eq!(takes(&archive, &asks).await, answers);
    }
    assert_eq!(pacs.proposed(), [4 + 3], "each with the two native ones besides");
    assert_eq!(archive.associations(), (1, 1), "it serves what comes next");
}

#[tokio::test(start_paused = true)]
async fn two_that_ask_the_same_at_once_ask_once() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(config());
    let asks = [asked(Service::Store, CT, &[RLE])];
    let (one, two) = tokio::join!(takes(&archive, &asks), takes(&archive, &asks));
    assert_eq!((one, two), (vec![accepted(&[RLE])], vec![accepted(&[RLE])]));
    assert_eq!(pacs.proposed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_association_was_opened_for_anyway_is_not_asked() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(config());
    let inner = &archive.inner;
    let deadline = inner.limits().deadline;
    let lease = inner.lease(&inner.query, &caller(), &inner.query_contexts(), 1, deadline).await.unwrap();
    lease.give_back();
    let find = asked(Service::Query, sop_class::STUDY_ROOT_FIND, &[IMPLICIT_VR_LE, EXPLICIT_VR_LE]);
    assert_eq!(takes(&archive, &[find]).await, [accepted(&[EXPLICIT_VR_LE])]);
    assert_eq!(pacs.proposed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_association_by_which_queries_are_asked_about_serves_searches() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(config());
    let asks = [asked(Service::Retrieve, sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE, IMPLICIT_VR_LE])];
    assert_eq!(takes(&archive, &asks).await, [accepted(&[EXPLICIT_VR_LE])]);
    let inner = &archive.inner;
    let contexts = Contexts::only(query_profile());
    let lease = inner.lease(&inner.query, &caller(), &contexts, 1, inner.limits().deadline).await.unwrap();
    assert!(lease.is_reused());
}

fn nothing(_: &Uid, _: &[Uid]) -> Decision {
    Err(context_result::ABSTRACT_SYNTAX)
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_asked_about_with_extended_negotiation_and_without_it_is_remembered_both_ways() {
    let both = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];
    let get = asked(Service::Retrieve, sop_class::STUDY_ROOT_GET, &both);
    let relational = Asked { extended: Some(Bytes::from_static(&[1])), ..get.clone() };
    let asks = [relational, get, asked(Service::Retrieve, sop_class::STUDY_ROOT_MOVE, &both)];
    for (policy, answer) in [
        (nothing as fn(&Uid, &[Uid]) -> Decision, Taken::Refused(context_result::ABSTRACT_SYNTAX)),
        (everything, accepted(&[EXPLICIT_VR_LE])),
    ] {
        let pacs = Pacs::new(policy);
        let archive = pacs.archive(config());
        for _ in 0..3 {
            assert_eq!(takes(&archive, &asks).await, vec![answer.clone(); 3]);
        }
        assert_eq!(pacs.proposed().len(), 2, "asked once, in two associations");
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_is_down_is_not_known_and_asked_again() {
    let pacs = Pacs::new(ct_only);
    let archive = pacs.archive(config());
    *pacs.down.lock().unwrap() = true;
    let asks = [asked(Service::Store, CT, &[RLE]), asked(Service::Store, "1.2.3", &[RLE])];
    for taken in takes(&archive, &asks).await {
        assert!(matches!(taken, Taken::Unknown(Error { kind: Kind::Unreachable(_), .. })), "{taken:?}");
    }
    *pacs.down.lock().unwrap() = false;
    let answers = [accepted(&[RLE]), Taken::Refused(context_result::ABSTRACT_SYNTAX)];
    assert_eq!(takes(&archive, &asks).await, answers);
}

#[tokio::test(start_paused = true)]
async fn hazard_an_archive_that_breaks_off_large_requests_is_asked_in_halves() {
    let pacs = Arc::new(Pacs::with(everything, 20));
    let archive = pacs.archive(config());
    let asks: Vec<Asked> =
        (0..30).map(|n| asked(Service::Store, &format!("1.2.{n}"), &[RLE, JPEG])).collect();
    assert_eq!(takes(&archive, &asks).await, vec![accepted(&[RLE, JPEG]); 30]);
    let refused = pacs.proposed().into_iter().filter(|contexts| *contexts > 20).count();
    assert!(refused < 20, "{refused}");
    let none = Arc::new(Pacs::with(everything, 0));
    let archive = none.archive(config());
    assert!(takes(&archive, &asks).await.iter().all(|taken| matches!(taken, Taken::Unknown(_))));
    assert_eq!(none.proposed(), [120, 60, 30, 16], "and no further");
}

#[tokio::test(start_paused = true)]
async fn more_than_one_association_can_propose_takes_several() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(config());
    let asks: Vec<Asked> = (0..100).map(|n| asked(Service::Store, &format!("1.2.{n}"), &[])).collect();
    takes(&archive, &asks).await;
    let asks: Vec<Asked> = (0..100).map(|n| asked(Service::Store, &format!("1.2.{n}"), &[RLE])).collect();
    assert_eq!(takes(&archive, &asks).await, vec![accepted(&[RLE]); 100]);
    assert!(pacs.proposed().iter().all(|contexts| *contexts <= MAX_CONTEXTS));
}

/// So many transfer syntaxes, of which no two are alike.
fn syntaxes(count: usize) -> Vec<Uid> {
    (0..count).map(|n| format!("1.2.3.{n}").parse().unwrap()).collect()
}

fn ten_only(_: &Uid, syntaxes: &[Uid]) -> Decision {
    let ten = |syntax: &&Uid| syntax.as_str().len() == "1.2.3.0".len();
    syntaxes.iter().find(ten).cloned().ok_or(context_result::TRANSFER_SYNTAXES)
}

#[tokio::test(start_paused = true)]
async fn hazard_a_client_that_offers_every_transfer_syntax_there_is_is_told_which_are_taken() {
    for count in [24, 100, 300] {
        let pacs = Pacs::new(ten_only);
        let archive = pacs.archive(config());
        let all = syntaxes(count);
        let asks = [Asked { transfer_syntaxes: all.clone(), ..asked(Service::Store, CT, &[]) }];
        for _ in 0..2 {
            assert_eq!(takes(&archive, &asks).await, [Taken::Accepted(all[..10].to_vec(), None)], "{count}");
        }
        // In contexts of their own, as many clients propose them.
        let each = |syntax: &Uid| Asked { transfer_syntaxes: vec![syntax.clone()], ..asks[0].clone() };
        let taken = takes(&archive, &all.iter().map(each).collect::<Vec<_>>()).await;
        assert!(taken[..10].iter().all(|one| matches!(one, Taken::Accepted(..))), "{count}");
        assert!(taken[10..].iter().all(|one| matches!(one, Taken::Refused(_))), "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_clients_title_each_title_is_asked_for_itself() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(Config { calling_client: true, ..config() });
    let asks = [asked(Service::Store, CT, &[RLE])];
    for title in ["CT1", "CT2", "CT1"] {
        let caller = Caller { title: Some(title.parse().unwrap()), ..caller() };
        assert_eq!(ask(Arc::clone(&archive.inner), caller, asks.to_vec()).await, [accepted(&[RLE])]);
    }
    let titles: Vec<String> = pacs.proposed.lock().unwrap().iter().map(|(_, title)| title.clone()).collect();
    assert_eq!(titles, ["CT1", "CT2"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_learnt_even_where_the_client_has_gone() {
    let pacs = Pacs::new(everything);
    let archive = pacs.archive(config());
    let asks = [asked(Service::Store, CT, &[RLE])];
    let gone = tokio::time::timeout(Duration::from_millis(10), takes(&archive, &asks)).await;
    assert!(gone.is_err());
    assert_eq!(takes(&archive, &asks).await, [accepted(&[RLE])]);
    assert_eq!(pacs.proposed().len(), 1);
}
