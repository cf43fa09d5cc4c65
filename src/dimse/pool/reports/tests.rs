use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::duplex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::*;
use crate::caller::{Caller, Priority};
use crate::dimse::association::{Io, Requested};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pool::{Config, Connect, Contexts, Lease, Pool};
use crate::dimse::scu::{Limits, Operation, Reply};

const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// Takes reports, each after this time, with success.
#[derive(Default)]
struct Taker {
    after: Duration,
    taken: Mutex<Vec<Report>>,
}

impl Reports for Taker {
    fn take(&self, report: Report) -> Pin<Box<dyn Future<Output = u16> + Send>> {
        self.taken.lock().unwrap().push(report);
        Box::pin({
            let after = self.after;
            async move {
                sleep(after).await;
                status::SUCCESS
            }
        })
    }
}

impl Taker {
    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

/// A pool of one association, whose archive plays `script` on every association; and how many were opened.
fn pool<F>(
    taker: Option<&Arc<Taker>>,
    script: impl Fn(Peer) -> F + Send + Sync + 'static,
) -> (Pool, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let opened = Arc::new(AtomicUsize::new(0));
    let (counted, script) = (Arc::clone(&opened), Arc::new(script));
    let connect: Connect = Arc::new(move |deadline| {
        let script = Arc::clone(&script);
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(async move {
                let requested = Requested::read(theirs, deadline).await.unwrap();
                let accepted = requested.accept(|_, s| Ok(s[0].clone()), |_| true, deadline).await;
                script(Peer { association: accepted.unwrap() }).await;
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    });
    let config = Config {
        max_associations: 1,
        max_waiting: 16,
        connect: Duration::from_secs(5),
        association: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        max_age: Duration::from_secs(600),
        max_uses: 1000,
        round_trips: 1,
    };
    let (called, calling) = ("PACS".parse().unwrap(), "GANTRY".parse().unwrap());
    let reports = taker.map(|taker| Arc::clone(taker) as Arc<dyn Reports>);
    (Pool::new(called, calling, connect, config, crate::metrics::OfArchive::default(), reports), opened)
}

/// The archive's end.
struct Peer {
    association: Association,
}

impl Peer {
    /// The next request.
    async fn request(&mut self) -> Command {
        match self.association.event().await {
            Ok(Event::Command { command, .. }) if !command.is_response() => command,
            other => panic!("not a request: {other:?}"),
        }
    }

    /// Queues the response to it.
    fn respond(&mut self, request: &Command) {
        self.association.send(1, &request.response(0), None);
    }

    /// Queues a report.
    fn report(&mut self, id: u16, data: Option<Bytes>) {
        let report = Command {
            has_data_set: data.is_some(),
            others: vec![(0x1002, Bytes::from_static(&[1, 0]))],
            ..Command::request(field::N_EVENT_REPORT_RQ, FIND, id)
        };
        self.association.send(1, &report, data);
    }

    /// The status of the answer to a report, which must be the next thing that comes.
    async fn answered(&mut self, id: u16) -> u16 {
        match self.association.event().await {
            Ok(Event::Command { command, .. }) if command.message_id == id => {
                assert_eq!((command.field, command.number(0x1002)), (0x8100, Some(1)));
                command.status.unwrap()
            }
            other => panic!("not the answer to report {id}: {other:?}"),
        }
    }

    /// Serves requests until the association ends.
    async fn serve(mut self) {
        while let Ok(Event::Command { command, .. }) = self.association.event().await {
            self.respond(&command);
        }
    }
}

fn data() -> Option<Bytes> {
    Some(Bytes::from_static(b"\x08\x00\x16\x00UI\x04\x001.2\0"))
}

async fn lease(pool: &Pool) -> Lease {
    let proposal = Proposal {
        abstract_syntax: FIND.parse().unwrap(),
        transfer_syntaxes: vec!["1.2.840.10008.1.2".parse().unwrap()],
        as_scp: false,
    };
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    pool.lease(&caller, &Contexts::only([proposal]), 1, limits().deadline).await.unwrap()
}

fn limits() -> Limits {
    Limits { silence: Duration::from_secs(60), deadline: Instant::now() + Duration::from_secs(120) }
}

/// One request and its response.
async fn operate(pool: &Pool) {
    let request = Command::request(field::C_ECHO_RQ, FIND, 0);
    let mut operation = Operation::start(lease(pool).await, request, |_| None, limits()).unwrap();
    assert!(matches!(operation.next().await, Ok(Reply::Final(..))));
    operation.finish();
}

#[tokio::test(start_paused = true)]
async fn hazard_a_report_on_an_idle_association_is_taken_and_the_association_stays() {
    let taker = Arc::new(Taker::default());
    let (pool, opened) = pool(Some(&taker), |mut peer| async move {
        let request = peer.request().await;
        peer.respond(&request);
        peer.association.flush().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        for id in [7, 8] {
            peer.report(id, data());
        }
        assert_eq!((peer.answered(7).await, peer.answered(8).await), (0, 0));
        peer.serve().await;
    });
    operate(&pool).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!((taker.count(), pool.in_use()), (2, (1, 1)));
    let report = taker.taken.lock().unwrap()[0].clone();
    assert_eq!((Some(report.data), report.transfer_syntax.as_str()), (data(), "1.2.840.10008.1.2"));
    operate(&pool).await;
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_report_before_the_first_response_is_answered_while_the_operation_goes_on() {
    let taker = Arc::new(Taker { after: Duration::from_secs(3), ..Taker::default() });
    let (pool, opened) = pool(Some(&taker), |mut peer| async move {
        let request = peer.request().await;
        peer.report(5, data());
        peer.report(6, None);
        // An archive that waits for these answers before its own.
        assert_eq!((peer.answered(5).await, peer.answered(6).await), (0, 0));
        peer.respond(&request);
        peer.serve().await;
    });
    operate(&pool).await;
    operate(&pool).await;
    assert_eq!((taker.count(), opened.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn hazard_the_answer_to_a_report_does_not_cut_a_data_set_on_its_way() {
    let taker = Arc::new(Taker::default());
    let (pool, _) = pool(Some(&taker), |mut peer| async move {
        let store = peer.request().await;
        peer.report(5, data());
        peer.association.flush().await.unwrap();
        let mut length = 0;
        while let Ok(Event::Data { bytes, last }) = peer.association.event().await {
            length += bytes.len();
            if last {
                break;
            }
        }
        assert_eq!(length, 8 * 40_000, "whole, and nothing in between");
        assert_eq!(peer.answered(5).await, 0);
        peer.report(6, data());
        peer.respond(&store);
        assert_eq!(peer.answered(6).await, 0);
        peer.serve().await;
    });
    let mut lease = lease(&pool).await;
    let context = lease.association().agreement().contexts[0].clone();
    let store = Command::request(field::C_STORE_RQ, FIND, 0);
    let mut operation = Operation::start_sending(lease, &context, store, limits());
    for _ in 0..8 {
        operation.push(Bytes::from(vec![0; 40_000]));
        assert!(operation.room(1000).await.unwrap().is_none());
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(taker.count(), 1);
    operation.finish_data();
    assert!(matches!(operation.next().await, Ok(Reply::Final(..))));
    operation.finish();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((taker.count(), pool.in_use()), (2, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_association_is_given_back_after_the_answers_that_are_due() {
    let taker = Arc::new(Taker { after: Duration::from_secs(5), ..Taker::default() });
    let (pool, opened) = pool(Some(&taker), |mut peer| async move {
        let request = peer.request().await;
        peer.report(5, data());
        peer.respond(&request);
        // In the same breath as the response, so that nobody has read it when the association is given back.
        peer.report(6, data());
        assert_eq!((peer.answered(5).await, peer.answered(6).await), (0, 0));
        peer.serve().await;
    });
    operate(&pool).await;
    operate(&pool).await;
    assert_eq!((taker.count(), opened.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn hazard_a_report_that_stops_half_way_keeps_no_slot() {
    let taker = Arc::new(Taker::default());
    let (pool, _) = pool(Some(&taker), |mut peer| async move {
        let request = peer.request().await;
        peer.respond(&request);
        peer.association.flush().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let report = Command { has_data_set: true, ..Command::request(field::N_EVENT_REPORT_RQ, FIND, 5) };
        peer.association.send(1, &report, None);
        peer.association.send_data(1, Bytes::from_static(b"\x08\x00"), false);
        assert!(peer.association.event().await.is_err(), "aborted");
    });
    operate(&pool).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(pool.in_use(), (1, 0), "neither idle nor gone");
    sleep(REPORT_TIMEOUT).await;
    assert_eq!((taker.count(), pool.in_use()), (0, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn hazard_a_report_in_the_moment_of_a_hand_over_is_taken_and_the_request_is_served() {
    for steps in 0..12 {
        let (taker, now) = (Arc::new(Taker::default()), Arc::new(Notify::new()));
        let told = Arc::clone(&now);
        let (pool, opened) = pool(Some(&taker), move |mut peer| {
            let told = Arc::clone(&told);
            async move {
                let request = peer.request().await;
                peer.respond(&request);
                peer.association.flush().await.unwrap();
                told.notified().await;
                peer.report(5, data());
                let mut answered = false;
                while let Ok(Event::Command { command, .. }) = peer.association.event().await {
                    match command.is_response() {
                        true => answered = command.status == Some(0),
                        false => peer.respond(&command),
                    }
                }
                assert!(answered);
            }
        });
        operate(&pool).await;
        sleep(Duration::from_millis(1)).await;
        now.notify_one();
        for _ in 0..steps {
            yield_now().await;
        }
        operate(&pool).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!((taker.count(), opened.load(Ordering::SeqCst)), (1, 1), "after {steps} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_no_reports_recognizes_none_and_a_monstrous_one_is_too_much() {
    let taker = Arc::new(Taker::default());
    for (taker, length, expected) in [
        (None, 10, status::UNRECOGNIZED_OPERATION),
        (Some(&taker), MAX_REPORT_LENGTH + 2, status::RESOURCE_LIMITATION),
    ] {
        let (pool, opened) = pool(taker, move |mut peer| async move {
            let request = peer.request().await;
            peer.report(5, Some(Bytes::from(vec![0; length])));
            assert_eq!(peer.answered(5).await, expected);
            peer.respond(&request);
            peer.serve().await;
        });
        operate(&pool).await;
        operate(&pool).await;
        assert_eq!(opened.load(Ordering::SeqCst), 1);
    }
    assert_eq!(taker.count(), 0);
}
