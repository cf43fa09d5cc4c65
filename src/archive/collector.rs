//! The objects of one retrieval on their way to its reader, whichever association they come over.

use std::future::poll_fn;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedMutexGuard, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use twox_hash::xxhash3_64::Hasher;

use super::Step;
use super::completeness::{Fingerprint, Ledger, OperationId};
use super::dimse::config::ForeignUids;
use crate::dicom::Uid;
use crate::dicom::head::Identifiers;
use crate::dicom::object::{Budget, CommonMemory, Head, Object, ObjectLog};
use crate::dicom::query::Target;
use crate::dimse::pool::Pool;
use crate::dimse::status;

/// Most bytes of one retrieval that wait for its reader.
const BUDGET: u32 = 4 << 20;
/// Bytes of them that each retrieval has, however much the others hold: some pieces as the network brings them.
const RESERVE: u32 = 256 << 10;
/// Bytes beyond that wait for the readers of all retrievals of the process together.
const COMMON: u32 = 16 << 20;
/// Most objects that wait for the reader. Small ones are bounded by this, not by their bytes.
const OBJECTS: usize = 256;
/// How long a reader may take nothing while others wait for the association, or the objects, that it blocks.
const PATIENCE_CONTENDED: Duration = Duration::from_secs(3);

/// A wait for the reader that shows in the speed of a retrieval.
const HELD_UP: Duration = Duration::from_millis(20);

/// One for the process, as its memory is.
static COMMON_MEMORY: LazyLock<CommonMemory> = LazyLock::new(|| CommonMemory::new(COMMON));

/// Where the objects of one retrieval go.
#[derive(Debug)]
pub(super) struct Collector {
    target: Target,
    foreign: ForeignUids,
    budget: Budget,
    objects: mpsc::Sender<Step<Object>>,
    ledger: Mutex<Ledger>,
    /// Something has changed in the ledger.
    changed: Notify,
    activity: Mutex<Instant>,
    /// One object streams at a time: were two to fill the budget, the one that is read would starve.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The reader has left, or has been given up.
    gone: CancellationToken,
    stalled: AtomicBool,
    /// The archive had to wait for the reader.
    held_up: AtomicBool,
    /// How long the reader may take nothing.
    patience: Duration,
    pool: Pool,
    /// How many retrievals wait for the end of this one.
    waiting: AtomicUsize,
}

/// A retrieval waits for the end of another.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Collector>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What becomes of an object, by its identifiers.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the reader's.
    Wanted(Box<Inbound>),
    /// It belongs to the study, but not to what was asked for, or is at hand already: taken and dropped.
    Spare,
    /// Nobody asked for it: to be refused with this status.
    Refused(u16),
}

/// One object that arrives. Dropped before [`Inbound::finish`], the object is broken.
pub(super) struct Inbound {
    collector: Arc<Collector>,
    head: Head,
    /// Series Instance UID, as the data set says.
    series: Option<Uid>,
    operation: OperationId,
    /// `None` for an object that is here already: it is only compared.
    log: Option<ObjectLog>,
    _turn: OwnedMutexGuard<()>,
    hash: Hasher,
    length: u64,
    finished: bool,
}

/// The reader has left or has stalled: what comes is to be thrown away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Collector {
    /// A collector that hands objects to `objects`. `pool` tells whether others wait.
    pub(super) fn new(
        target: Target,
        foreign: ForeignUids,
        objects: mpsc::Sender<Step<Object>>,
        ledger: Ledger,
        gone: CancellationToken,
        patience: Duration,
        pool: Pool,
    ) -> Arc<Self> {
        Arc::new(Self {
            target,
            foreign,
            budget: Budget::sharing(&COMMON_MEMORY, RESERVE, BUDGET),
            objects,
            ledger: Mutex::new(ledger),
            changed: Notify::new(),
            activity: Mutex::new(Instant::now()),
            turn: Arc::default(),
            gone,
            stalled: AtomicBool::new(false),
            held_up: AtomicBool::new(false),
            patience,
            pool,
            waiting: AtomicUsize::new(0),
        })
    }

    /// How many steps may wait for the reader.
    pub(super) const fn capacity() -> usize {
        OBJECTS
    }

    /// What the retrieval asks for.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Says that another retrieval waits for the end of this one, as long as the guard lives.
    pub(super) fn wait_for(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Whether others wait for what this retrieval holds.
    fn is_contended(&self) -> bool {
        self.pool.is_contended() || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether objects with other UIDs are taken where the Move Originator vouches for them.
    pub(super) fn takes_foreign_uids(&self) -> bool {
        self.foreign == ForeignUids::IfCorrelated
    }

    /// The ledger.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no code panics while it holds the ledger")
    }

    /// Changes the ledger and tells who waits for it.
    pub(super) fn update(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger());
        self.changed.notify_waiters();
    }

    /// Resolves at the next change of the ledger after it was enabled or first polled.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// When something last arrived.
    pub(super) fn last_activity(&self) -> Instant {
        *self.activity.lock().expect("no code panics while it holds the time")
    }

    /// Is cancelled when nobody waits for objects any more.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Whether the reader was given up because it took nothing.
    pub(super) fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether the archive had to wait for the reader.
    pub(super) fn was_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed)
    }

    /// Whether an object with these identifiers is one of the target's; `None`: it belongs to another study,
    /// or does not say.
    pub(super) fn covers(target: &Target, head: &Head, found: &Identifiers) -> Option<bool> {
        if found.study.as_ref() != Some(&target.study) {
            return None;
        }
        let series = target.series.is_none() || target.series == found.series;
        Some(series && target.instance.as_ref().is_none_or(|uid| *uid == head.sop_instance))
    }

    /// Decides about an object that `operation` brings. `correlated`: the association, or its Move Originator,
    /// says that it is an answer to this retrieval.
    ///
    /// # Errors
    /// The reader has left.
    pub(super) async fn admit(
        self: &Arc<Self>,
        head: Head,
        found: &Identifiers,
        correlated: bool,
        operation: OperationId,
    ) -> Result<Admission, Gone> {
        self.touch();
        if found.instance.as_ref().is_some_and(|uid| *uid != head.sop_instance) {
            self.update(|ledger| ledger.refused(operation));
            return Ok(Admission::Refused(status::IDENTIFIER_DOES_NOT_MATCH));
        }
        let coerced = self.foreign == ForeignUids::IfCorrelated && correlated && found.study.is_some();
        match Self::covers(&self.target, &head, found) {
            Some(true) if !self.ledger().wants(&head.sop_instance) => return Ok(Admission::Spare),
            Some(true) => {}
            Some(false) => return Ok(Admission::Spare),
            None if coerced => {}
            None => {
                self.update(|ledger| ledger.refused(operation));
                return Ok(Admission::Refused(status::UNABLE_TO_PROCESS));
            }
        }
        // What waits for its turn does not wait for the reader: the object whose turn it is does.
        let turn = tokio::select! {
            biased;
            () = self.gone.cancelled() => return Err(Gone),
            turn = Arc::clone(&self.turn).lock_owned() => turn,
        };
        let first = self.ledger().began(&head.sop_instance);
        let mut inbound = Inbound {
            collector: Arc::clone(self),
            head: head.clone(),
            series: found.series.clone(),
            operation,
            log: None,
            _turn: turn,
            hash: Hasher::new(),
            length: 0,
            finished: false,
        };
        if first {
            let (log, mut object) = ObjectLog::new(head, &self.budget);
            object.series.clone_from(&found.series);
            inbound.log = Some(log);
            let sent = self.patiently(self.objects.send(Step::Item(object))).await?;
            sent.map_err(|_| Gone)?;
        }
        Ok(Admission::Wanted(Box::new(inbound)))
    }

    /// Takes and drops an object that belongs to the study but was not asked for, or is at hand already.
    pub(super) fn spare(&self, operation: OperationId) {
        self.touch();
        self.update(|ledger| ledger.spare(operation));
    }

    fn touch(&self) {
        *self.activity.lock().expect("no code panics while it holds the time") = Instant::now();
    }

    /// Waits for the reader as long as it is there and its patience lasts.
    async fn patiently<T>(&self, wait: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::pin!(wait);
        // Mostly there is room, and no time to be measured.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await {
            return Ok(done);
        }
        let begin = Instant::now();
        loop {
            let turn = PATIENCE_CONTENDED.min(self.patience);
            tokio::select! {
                biased;
                () = self.gone.cancelled() => return Err(Gone),
                done = timeout(turn, &mut wait) => match done {
                    Ok(done) => {
                        if begin.elapsed() > HELD_UP {
                            self.held_up.store(true, Ordering::Relaxed);
                        }
                        return Ok(done);
                    }
                    Err(_) if begin.elapsed() < self.patience && !self.is_contended() => {}
                    Err(_) => {
                        self.stalled.store(true, Ordering::Relaxed);
                        self.gone.cancel();
                        return Err(Gone);
                    }
                }
            }
        }
    }
}

impl Inbound {
    /// Series Instance UID, as the data set says.
    pub(super) fn series(&self) -> Option<&Uid> {
        self.series.as_ref()
    }

    /// Passes bytes on, when the reader has room for them.
    ///
    /// # Errors
    /// The reader has left.
    pub(super) async fn push(&mut self, bytes: &Bytes) -> Result<(), Gone> {
        self.hash.write(bytes);
        self.length += bytes.len() as u64;
        if let Some(log) = &self.log {
            self.collector.patiently(log.append(bytes)).await?;
        }
        self.collector.touch();
        Ok(())
    }

    /// The object is whole.
    pub(super) fn finish(mut self) {
        self.finished = true;
        if let Some(log) = self.log.take() {
            log.finish();
        }
        let fingerprint = Fingerprint { length: self.length, hash: self.hash.finish() };
        self.collector.update(|ledger| ledger.received(self.operation, &self.head.sop_instance, fingerprint));
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound")
            .field("head", &self.head)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if !self.finished {
            self.collector.update(|ledger| ledger.broke(&self.head.sop_instance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::pool;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn collector() -> (Arc<Collector>, mpsc::Receiver<Step<Object>>) {
        let (steps, receiver) = mpsc::channel(Collector::capacity());
        let second = Duration::from_secs(1);
        let config = pool::Config {
            max_associations: 1,
            max_waiting: 1,
            connect: second,
            association: second,
            idle: second,
            max_age: second,
            max_uses: 1,
            round_trips: 1,
        };
        let nowhere: pool::Connect =
            Arc::new(|_| Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) }));
        let pool = Pool::new(
            "NOBODY".parse().unwrap(),
            "GANTRY".parse().unwrap(),
            nowhere,
            config,
            crate::metrics::OfArchive::default(),
            None,
        );
        let target = Target { study: uid("1"), series: None, instance: None };
        let (ledger, gone, patience) = (Ledger::default(), CancellationToken::new(), Duration::from_secs(30));
        (Collector::new(target, ForeignUids::Refuse, steps, ledger, gone, patience, pool), receiver)
    }

    async fn admit(collector: &Arc<Collector>, instance: &str) -> Result<Admission, Gone> {
        let head = Head {
            sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
            sop_instance: uid(instance),
            transfer_syntax: uid("1.2.840.10008.1.2.1"),
        };
        let found = Identifiers { study: Some(uid("1")), series: Some(uid("1.1")), ..Identifiers::default() };
        collector.admit(head, &found, true, 1).await
    }

    #[tokio::test(start_paused = true)]
    async fn hazard_a_large_object_on_one_association_does_not_make_a_reader_look_stalled_on_another() {
        let (collector, mut reader) = collector();
        let Ok(Admission::Wanted(mut large)) = admit(&collector, "1.1.1").await else { panic!() };
        let Some(Step::Item(mut object)) = reader.recv().await else { panic!() };
        let second = tokio::spawn({
            let collector = Arc::clone(&collector);
            async move { matches!(admit(&collector, "1.1.2").await, Ok(Admission::Wanted(_))) }
        });
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            large.push(&Bytes::from_static(b"slow, but coming")).await.unwrap();
            assert!(object.body.next().await.unwrap().is_ok());
        }
        large.finish();
        assert!(second.await.unwrap());
        assert!(!collector.has_stalled());
    }
}
