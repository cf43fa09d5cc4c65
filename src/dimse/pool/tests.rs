use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::io::duplex;

use super::*;
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dimse::association::{AssociationError, Event, Requested};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::AssociateRj;

const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// What the next connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Serve,
    RefuseConnection,
    Reject,
    CloseAtOnce,
    Garbage,
    Silence,
    /// Accepts the association and none of its contexts.
    AcceptNothing,
    /// Serves one request, then closes while idle.
    CloseAfterOne,
    /// Serves one request, then says something unasked.
    SpeakWhileIdle,
    ReleaseWhileIdle,
}

const MOODS: [Mood; 9] = [
    Mood::Serve,
    Mood::RefuseConnection,
    Mood::Reject,
    Mood::CloseAtOnce,
    Mood::Garbage,
    Mood::Silence,
    Mood::CloseAfterOne,
    Mood::SpeakWhileIdle,
    Mood::ReleaseWhileIdle,
];

#[derive(Default)]
struct Archive {
    mood: Mutex<Option<Mood>>,
    /// So many requests are rejected for now, whatever its mood.
    rejections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    associations: AtomicUsize,
    /// The titles under which they were opened.
    titles: Mutex<Vec<String>>,
    releases: AtomicUsize,
}

/// Counts a connection that the archive has open.
struct Open(Arc<Archive>);

impl Open {
    fn new(archive: &Arc<Archive>) -> Self {
        let now = archive.open.fetch_add(1, Ordering::SeqCst) + 1;
        archive.most_open.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(archive))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn connector(archive: &Arc<Archive>) -> Connect {
    let archive = Arc::clone(archive);
    Arc::new(move |_| {
        let archive = Arc::clone(&archive);
        Box::pin(async move {
            let mood = archive.mood.lock().unwrap().unwrap_or(Mood::Serve);
            if mood == Mood::RefuseConnection {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            let open = Open::new(&archive);
            tokio::spawn(serve(theirs, mood, archive, open));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    })
}

async fn serve(mut io: tokio::io::DuplexStream, mood: Mood, archive: Arc<Archive>, _open: Open) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let deadline = Instant::now() + Duration::from_secs(3600);
    match mood {
        Mood::CloseAtOnce => return,
        Mood::Garbage => {
            let _ = io.write_all(&[0x47; 100]).await;
            return;
        }
        Mood::Silence => {
            let mut sink = Vec::new();
            let _ = io.read_to_end(&mut sink).await;
            return;
        }
        _ => {}
    }
    let Ok(requested) = Requested::read(io, deadline).await else { return };
    let less = |n: usize| n.checked_sub(1);
    let is_full = archive.rejections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
    if mood == Mood::Reject || is_full {
        return requested.reject(AssociateRj::LOCAL_LIMIT, deadline).await;
    }
    archive.titles.lock().unwrap().push(requested.request().calling.to_string());
    let decide = |_: &Uid, s: &[Uid]| if mood == Mood::AcceptNothing { Err(3) } else { Ok(s[0].clone()) };
    let Ok(mut association) = requested.accept(decide, |_| true, deadline).await else {
        return;
    };
    archive.associations.fetch_add(1, Ordering::SeqCst);
    loop {
        match association.event().await {
            Ok(Event::Command { context, command }) => {
                association.send(context, &command.response(0), None);
                if association.flush().await.is_err() {
                    return;
                }
                match mood {
                    Mood::CloseAfterOne => return,
                    Mood::ReleaseWhileIdle => return association.release(deadline).await,
                    Mood::SpeakWhileIdle => {
                        let unasked = Command::request(field::C_ECHO_RQ, FIND, 1);
                        association.send(context, &unasked, None);
                        let _ = association.flush().await;
                    }
                    _ => {}
                }
            }
            Ok(Event::ReleaseRequested) => {
                archive.releases.fetch_add(1, Ordering::SeqCst);
                return association.confirm_release(deadline).await;
            }
            _ => return,
        }
    }
}

fn config(cap: usize) -> Config {
    Config {
        max_associations: cap,
        max_waiting: 16,
        connect: Duration::from_secs(5),
        association: Duration::from_secs(10),
        idle: Duration::from_secs(15),
        max_age: Duration::from_secs(600),
        max_uses: 1000,
        round_trips: 1,
    }
}

fn pool(archive: &Arc<Archive>, config: Config) -> Pool {
    Pool::new(
        "PACS".parse().unwrap(),
        "GANTRY".parse().unwrap(),
        connector(archive),
        config,
        OfArchive::default(),
        None,
    )
}

fn kind(n: u8) -> Contexts {
    let abstract_syntax = if n == 0 { FIND.to_owned() } else { format!("1.2.{n}") };
    Contexts::only(vec![Proposal {
        abstract_syntax: abstract_syntax.parse().unwrap(),
        transfer_syntaxes: vec!["1.2.840.10008.1.2".parse().unwrap()],
        as_scp: false,
    }])
}

fn caller(n: u8) -> Caller {
    Caller { client: Some([10, 0, 0, n].into()), priority: Priority::Interactive, title: None }
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// One request and its response on a lease.
async fn echo(lease: &mut Lease) -> Result<(), AssociationError> {
    let message_id = lease.next_message_id();
    lease.association().send(1, &Command::request(field::C_ECHO_RQ, FIND, message_id), None);
    match lease.association().event().await? {
        Event::Command { command, .. } if command.message_id == message_id => Ok(()),
        other => Err(AssociationError::Protocol(format!("{other:?}"))),
    }
}

async fn use_once(pool: &Pool, n: u8) -> bool {
    let Ok(mut lease) = pool.lease(&caller(n), &kind(0), 1, later(60)).await else { return false };
    match echo(&mut lease).await {
        Ok(()) => {
            lease.give_back();
            true
        }
        Err(_) => {
            lease.abort().await;
            false
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_association_is_used_again_and_released_when_nobody_wants_it() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(4));
    for _ in 0..10 {
        assert!(use_once(&pool, 1).await);
    }
    assert_eq!(archive.associations.load(Ordering::SeqCst), 1);
    assert_eq!(pool.in_use(), (1, 1));
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(pool.in_use(), (0, 0));
    assert_eq!(archive.releases.load(Ordering::SeqCst), 1, "released, not cut");
}

#[tokio::test(start_paused = true)]
async fn hazard_a_permit_is_not_leaked_when_an_association_is_refused() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(4));
    for mood in [Mood::Reject, Mood::RefuseConnection, Mood::CloseAtOnce, Mood::Garbage] {
        *archive.mood.lock().unwrap() = Some(mood);
        for _ in 0..20 {
            assert!(!use_once(&pool, 1).await);
        }
        assert_eq!(pool.in_use(), (0, 0), "{mood:?}");
    }
    *archive.mood.lock().unwrap() = None;
    assert!(use_once(&pool, 1).await);
}

#[tokio::test(start_paused = true)]
async fn hazard_a_peer_that_still_counts_what_has_just_ended_is_asked_again() {
    let archive = Arc::new(Archive { rejections: AtomicUsize::new(1), ..Archive::default() });
    let pool = pool(&archive, config(1));
    assert!(!use_once(&pool, 1).await, "nothing of ours has ended: it is full of others");
    let end_one = async || pool.lease(&caller(1), &kind(0), 1, later(60)).await.unwrap().abort().await;
    end_one().await;
    archive.rejections.store(3, Ordering::SeqCst);
    assert!(use_once(&pool, 1).await, "it lets us in when it has noticed");
    tokio::time::sleep(Duration::from_secs(16)).await;
    end_one().await;
    archive.rejections.store(100, Ordering::SeqCst);
    let begin = Instant::now();
    assert!(!use_once(&pool, 1).await && begin.elapsed() < Duration::from_millis(400), "not for ever");
    assert_eq!(archive.rejections.load(Ordering::SeqCst), 94);
}

#[tokio::test(start_paused = true)]
async fn an_association_on_which_nothing_was_accepted_is_not_kept() {
    let archive = Arc::new(Archive { mood: Mutex::new(Some(Mood::AcceptNothing)), ..Archive::default() });
    let pool = pool(&archive, config(1));
    pool.lease(&caller(1), &kind(0), 1, later(60)).await.unwrap().give_back();
    *archive.mood.lock().unwrap() = None;
    assert!(use_once(&pool, 1).await, "the archive has come to its senses");
}

#[tokio::test(start_paused = true)]
async fn an_idle_association_that_has_spoken_or_ended_is_never_leased() {
    for mood in [Mood::CloseAfterOne, Mood::SpeakWhileIdle, Mood::ReleaseWhileIdle] {
        let archive = Arc::new(Archive { mood: Mutex::new(Some(mood)), ..Archive::default() });
        let pool = pool(&archive, config(1));
        for _ in 0..5 {
            assert!(use_once(&pool, 1).await, "{mood:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(pool.in_use(), (0, 0), "{mood:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_association_that_spoke_or_ended_while_it_rested_is_never_leased() {
    for mood in [Mood::CloseAfterOne, Mood::SpeakWhileIdle, Mood::ReleaseWhileIdle] {
        let archive = Arc::new(Archive { mood: Mutex::new(Some(mood)), ..Archive::default() });
        let pool = pool(&archive, config(1));
        for n in 1..=5 {
            assert!(use_once(&pool, 1).await, "{mood:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(archive.associations.load(Ordering::SeqCst), n, "{mood:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_idle_again_when_who_was_to_have_it_leaves() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(1));
    assert!(use_once(&pool, 1).await);
    let caller = caller(1);
    let contexts = kind(0);
    for _ in 0..3 {
        let left = tokio::time::timeout(Duration::ZERO, pool.wait(&caller, &contexts, 1, later(5))).await;
        drop(left);
        assert_eq!(pool.in_use(), (1, 1));
    }
    assert!(use_once(&pool, 1).await);
    assert_eq!(archive.associations.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_is_released_when_it_is_asked_for_whether_it_rests_or_is_watched() {
    for pause in [0, 1, 100] {
        let archive = Arc::new(Archive::default());
        let pool = pool(&archive, config(2));
        let held = pool.lease(&caller(1), &kind(0), 1, later(60)).await.unwrap();
        assert!(use_once(&pool, 1).await);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        pool.release_idle();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((pool.in_use(), archive.releases.load(Ordering::SeqCst)), ((1, 0), 1), "after {pause} ms");
        held.give_back();
        assert!(use_once(&pool, 1).await);
    }
}

#[tokio::test(start_paused = true)]
async fn hazard_no_echo_before_a_reuse_and_an_old_association_is_not_used_again() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, Config { max_uses: 2, ..config(1) });
    for _ in 0..4 {
        assert!(use_once(&pool, 1).await);
    }
    assert_eq!(archive.associations.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_and_waiting_ends_with_the_deadline() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(1));
    let lease = pool.lease(&caller(1), &kind(0), 1, later(60)).await.unwrap();
    let refused = pool.lease(&caller(2), &kind(0), 1, later(5)).await;
    assert!(matches!(refused, Err(LeaseError::QueueTimeout)));
    assert!(pool.try_lane(&caller(1), &kind(0), later(5)).await.unwrap().is_none());
    lease.give_back();
    assert!(use_once(&pool, 2).await);
    assert_eq!(archive.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_lets_us_wait_in_vain_is_answered_for_at_once_until_a_probe_succeeds() {
    let archive = Arc::new(Archive { mood: Mutex::new(Some(Mood::Silence)), ..Archive::default() });
    let pool = pool(&archive, config(4));
    for _ in 0..2 {
        assert!(!use_once(&pool, 1).await);
    }
    let before = Instant::now();
    let refused = pool.lease(&caller(1), &kind(0), 1, later(60)).await;
    assert!(matches!(refused, Err(LeaseError::BreakerOpen)));
    assert_eq!(before.elapsed(), Duration::ZERO);
    *archive.mood.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(use_once(&pool, 1).await);
}

#[tokio::test(start_paused = true)]
async fn hazard_a_probe_takes_no_slot_of_an_idle_association_that_any_other_could_replace() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(4));
    let held = pool.lease(&caller(1), &kind(1), 1, later(60)).await.unwrap();
    *archive.mood.lock().unwrap() = Some(Mood::Silence);
    let in_vain = [0, 1].map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.lease(&caller(2), &kind(2), 1, later(60)).await.is_err() })
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Whoever wanted this one has left when it comes about: it has served nobody.
    *archive.mood.lock().unwrap() = None;
    let left = tokio::time::timeout(Duration::ZERO, pool.lease(&caller(3), &kind(3), 1, later(60))).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.in_use(), (4, 1));
    for lease in in_vain {
        assert!(lease.await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(held);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_of_a_move_gets_its_association_and_not_a_new_one() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(2));
    let lease = pool.lease(&caller(1), &kind(0), 2, later(60)).await.unwrap();
    let next = pool.clone();
    let waiting = tokio::spawn(async move { use_once(&next, 2).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(pool.is_contended());
    lease.give_back();
    assert!(waiting.await.unwrap());
    assert_eq!(archive.associations.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_asked_again_at_once_so_that_the_request_after_a_restart_succeeds() {
    let archive = Arc::new(Archive { mood: Mutex::new(Some(Mood::RefuseConnection)), ..Archive::default() });
    let pool = pool(&archive, config(4));
    for _ in 0..20 {
        assert!(!use_once(&pool, 1).await);
    }
    *archive.mood.lock().unwrap() = None;
    assert!(use_once(&pool, 1).await);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_releases_what_is_idle_and_refuses_the_rest() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(2));
    assert!(use_once(&pool, 1).await);
    pool.shut_down(later(5)).await;
    assert_eq!(archive.releases.load(Ordering::SeqCst), 1);
    assert!(matches!(pool.lease(&caller(1), &kind(0), 1, later(5)).await, Err(LeaseError::Closed)));
    assert_eq!(pool.in_use(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_association_under_one_title_serves_no_other() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(4));
    let reused = async |title: &str| {
        let contexts = kind(0).under(Some(title.parse().unwrap()));
        let mut lease = pool.lease(&caller(1), &contexts, 1, later(60)).await.unwrap();
        echo(&mut lease).await.unwrap();
        let is_reused = lease.is_reused();
        lease.give_back();
        is_reused
    };
    assert!(!reused("CT1").await);
    assert!(!reused("CT2").await);
    assert!(reused("CT1").await && reused("CT2").await);
    assert_eq!(*archive.titles.lock().unwrap(), ["CT1", "CT2"]);
    assert!(use_once(&pool, 1).await);
    assert!(reused("GANTRY").await, "the pool's own title named is none named");
    assert_eq!(*archive.titles.lock().unwrap(), ["CT1", "CT2", "GANTRY"]);
}

#[tokio::test(start_paused = true)]
async fn an_association_of_its_own_is_neither_an_idle_one_nor_becomes_one() {
    let archive = Arc::new(Archive::default());
    let pool = pool(&archive, config(4));
    assert!(use_once(&pool, 1).await);
    let own = kind(0).of_its_own([]);
    let mut lease = pool.lease(&caller(1), &own, 1, later(60)).await.unwrap();
    assert!(!lease.is_reused());
    echo(&mut lease).await.unwrap();
    lease.give_back();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((pool.in_use(), archive.releases.load(Ordering::SeqCst)), ((1, 1), 1));
    // Nor where nobody waits for it any more when it has come about.
    *archive.mood.lock().unwrap() = Some(Mood::Serve);
    let left = tokio::time::timeout(Duration::ZERO, pool.lease(&caller(1), &own, 1, later(60))).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((pool.in_use(), archive.releases.load(Ordering::SeqCst)), ((1, 1), 2));
}

/// What one client does.
#[derive(Debug, Clone, Copy)]
struct Use {
    mood: usize,
    client: u8,
    kind: u8,
    slots: usize,
    /// The client leaves after this many milliseconds, wherever it is.
    patience: Option<u64>,
    how: u8,
}

fn sequence() -> impl Strategy<Value = (usize, Vec<Use>)> {
    let patience = prop_oneof![2 => Just(None), 1 => (0_u64..20_000).prop_map(Some), 1 => Just(Some(0))];
    let one = (0..MOODS.len(), 0..3_u8, 0..2_u8, 1..3_usize, patience, 0..4_u8).prop_map(
        |(mood, client, kind, slots, patience, how)| Use { mood, client, kind, slots, patience, how },
    );
    (1..4_usize, proptest::collection::vec(one, 1..8))
}

async fn run(pool: Pool, archive: Arc<Archive>, step: Use) {
    *archive.mood.lock().unwrap() = Some(MOODS[step.mood]);
    let work = async {
        let Ok(mut lease) = pool.lease(&caller(step.client), &kind(step.kind), step.slots, later(30)).await
        else {
            return;
        };
        let second = pool.try_lane(&caller(step.client), &kind(0), later(30)).await;
        let answered = tokio::time::timeout(Duration::from_secs(5), echo(&mut lease)).await;
        match (step.how, answered) {
            (0, _) => drop(lease),
            (1, _) => lease.abort().await,
            (_, Ok(Ok(()))) => lease.give_back(),
            _ => lease.abort().await,
        }
        drop(second);
    };
    match step.patience {
        Some(ms) => {
            let _ = tokio::time::timeout(Duration::from_millis(ms), work).await;
        }
        None => work.await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn after_any_sequence_all_slots_are_free_nothing_is_open_and_the_next_request_succeeds(
        (cap, steps) in sequence()
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let archive = Arc::new(Archive::default());
            let pool = pool(&archive, config(cap));
            let mut clients = tokio::task::JoinSet::new();
            for step in steps {
                clients.spawn(run(pool.clone(), Arc::clone(&archive), step));
                if step.how == 3 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            while let Some(ended) = clients.join_next().await {
                ended.unwrap();
            }
            *archive.mood.lock().unwrap() = None;
            // Longer than idle associations live and than a breaker stays open.
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_eq!(pool.in_use(), (0, 0), "slots");
            assert_eq!(archive.open.load(Ordering::SeqCst), 0, "connections");
            assert!(use_once(&pool, 1).await, "the next request");
            assert!(!pool.is_contended());
        });
    }
}
