//! Sequences of operations on an association pool, before an archive of changing moods: never more associations than the cap,
//! nobody waits past a deadline, and in the end nothing is left open.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use gantry::caller::{Caller, Priority};
use gantry::dicom::Uid;
use gantry::dimse::association::{Event, Io, Requested};
use gantry::dimse::negotiation::Proposal;
use gantry::dimse::pdu::AssociateRj;
use gantry::dimse::pool::{Config, Connect, Contexts, Lease, LeaseError, Pool};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance};

/// Most associations.
const CAP: usize = 3;
/// Most requests that wait.
const WAITING: usize = 4;
/// Most operations of one input.
const MOST: usize = 64;
/// How long a request waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(play(data));
}

/// Each byte is an operation, and on what.
async fn play(data: &[u8]) {
    let archive = Arc::<Archive>::default();
    let config = Config {
        max_associations: CAP,
        max_waiting: WAITING,
        connect: Duration::from_secs(2),
        association: Duration::from_secs(4),
        idle: Duration::from_secs(15),
        max_age: Duration::from_secs(60),
        max_uses: 5,
        round_trips: 1,
    };
    let title = |text: &str| text.parse().expect("an AE title");
    let pool = Pool::new(
        title("PACS"),
        title("GANTRY"),
        connector(&archive),
        config,
        gantry::metrics::OfArchive::default(),
        None,
    );
    let mut asking: Vec<JoinHandle<Result<Lease, LeaseError>>> = Vec::new();
    let mut leases: Vec<Lease> = Vec::new();
    for byte in data.iter().take(MOST) {
        let n = usize::from(byte >> 4);
        match byte & 0x0F {
            0..=4 => asking.push(tokio::spawn(ask(pool.clone(), byte >> 4))),
            5 | 6 if !leases.is_empty() => leases.swap_remove(n % leases.len()).give_back(),
            7 if !leases.is_empty() => drop(leases.swap_remove(n % leases.len())),
            8 if !leases.is_empty() => leases.swap_remove(n % leases.len()).release().await,
            9 if !leases.is_empty() => leases.swap_remove(n % leases.len()).abort().await,
            10 if !asking.is_empty() => asking.swap_remove(n % asking.len()).abort(),
            11 => archive.mood.store(byte >> 4, Ordering::SeqCst),
            12 => advance(Duration::from_millis(100 << n.min(8))).await,
            _ => yield_now().await,
        }
        // What was set in motion by it.
        for _ in 0..8 {
            yield_now().await;
        }
        let most = archive.open.load(Ordering::SeqCst);
        assert!(most <= CAP, "{most} associations");
        assert!(pool.in_use().0 <= CAP);
        for n in (0..asking.len()).rev().filter(|n| asking[*n].is_finished()).collect::<Vec<_>>() {
            if let Ok(Ok(lease)) = asking.swap_remove(n).await {
                leases.push(lease);
            }
        }
    }
    // Whoever still waits is answered in time, and what is held does not come back.
    let begin = Instant::now();
    for one in asking {
        if let Ok(Ok(lease)) = one.await {
            lease.give_back();
        }
    }
    assert!(begin.elapsed() <= PATIENCE + Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(leases);
    pool.shut_down(Instant::now() + Duration::from_secs(60)).await;
    assert!(matches!(ask(pool.clone(), 0).await, Err(LeaseError::Closed | LeaseError::BreakerOpen)));
    advance(Duration::from_secs(60)).await;
    for _ in 0..64 {
        yield_now().await;
    }
    assert_eq!((archive.open.load(Ordering::SeqCst), pool.in_use()), (0, (0, 0)));
}

async fn ask(pool: Pool, n: u8) -> Result<Lease, LeaseError> {
    let class = Uid::from_static(["1.2.1", "1.2.2", "1.2.3"][usize::from(n % 3)]);
    let want = vec![Proposal {
        abstract_syntax: class,
        transfer_syntaxes: vec![Uid::from_static("1.2.840.10008.1.2")],
        as_scp: false,
    }];
    let priority = if n & 4 == 0 { Priority::Interactive } else { Priority::Bulk };
    let caller = Caller { client: Some([10, 0, 0, n & 3].into()), priority, title: None };
    let slots = if n & 8 == 0 { 1 } else { 2 };
    pool.lease(&caller, &Contexts::only(want), slots, Instant::now() + PATIENCE).await
}

#[derive(Default)]
struct Archive {
    /// How the next connection is met.
    mood: AtomicU8,
    /// Connections that it has open.
    open: AtomicUsize,
}

/// A connection that the archive has open.
struct Open(Arc<Archive>);

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
            let mood = archive.mood.load(Ordering::SeqCst);
            if mood == 1 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 14);
            archive.open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(theirs, mood, Open(Arc::clone(&archive))));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    })
}

async fn serve(mut io: DuplexStream, mood: u8, _open: Open) {
    let deadline = Instant::now() + Duration::from_secs(3600);
    match mood {
        2 => return,
        3 => return drop(io.read_to_end(&mut Vec::new()).await),
        _ => {}
    }
    let Ok(requested) = Requested::read(io, deadline).await else { return };
    if mood == 4 {
        return requested.reject(AssociateRj::LOCAL_LIMIT, deadline).await;
    }
    let decide = |_: &Uid, syntaxes: &[Uid]| if mood == 5 { Err(3) } else { Ok(syntaxes[0].clone()) };
    let Ok(mut association) = requested.accept(decide, |_| true, deadline).await else { return };
    match mood {
        6 => return,
        7 => return association.abort().await,
        8 => return association.release(deadline).await,
        _ => {}
    }
    if let Ok(Event::ReleaseRequested) = association.event().await {
        association.confirm_release(deadline).await;
    }
}
