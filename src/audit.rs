//! The audit trail: who did what with whose images, for those who have to answer for it.
//!
//! Events become messages of PS3.15 A.5, which go over a spool on disk to a file, to standard output and to a syslog
//! receiver. Nothing here is on the way of an image: an event is put into a queue and forgotten by whoever tells it, and
//! threads of their own do the rest. What there is no room for, in the queue or in the spool, is counted, told in the
//! log, and told in the trail itself as soon as that takes something again.

mod clock;
mod compose;
mod lines;
mod message;
mod spool;
mod supervise;
mod syslog;
mod withhold;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::event::{Alert, Event, Events, Outcome, Study, What, Who};
use crate::metrics::Metrics;
use crate::net::tls;
use spool::{Appender, Reader};

use compose::Author;
pub use compose::Author as AuthorConfig;
pub use spool::SpoolError;

/// Most bytes of events that wait for the spool: what comes while a disk takes a second or two.
const MAX_QUEUED: usize = 16 << 20;
/// How long the recorder waits for events before it looks after the spool.
const TICK: Duration = Duration::from_millis(250);
/// How long events are gathered before they are written: to wake the recorder for each would cost whoever tells it more
/// than to tell it. It is what a crash of the program may take.
const GATHER: Duration = Duration::from_millis(10);
/// How often the disk itself is waited for, at most: what a power cut may take.
const SYNC: Duration = Duration::from_secs(1);
/// Most events that are written at once.
const BATCH: usize = 1000;
/// At the end, how often it is seen whether the sinks are done.
const LOOK: Duration = Duration::from_millis(20);
/// How often a loss that goes on is told in the log.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What is recorded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who writes the messages, and what they may say.
    pub author: Author,
    /// Where messages wait: a directory of its own.
    pub spool: PathBuf,
    /// Most bytes in it.
    pub spool_size: u64,
    /// A file of lines of JSON.
    pub file: Option<FileConfig>,
    /// The same on standard output.
    pub stdout: bool,
    /// A syslog receiver.
    pub syslog: Option<SyslogConfig>,
}

/// A file of lines of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    /// Where.
    pub path: PathBuf,
    /// In bytes: when it makes way for a new one.
    pub size: u64,
    /// How many full ones stay; 0: all.
    pub keep: usize,
}

/// A syslog receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogConfig {
    /// Host and port.
    pub address: String,
    /// The facility (RFC 5424 6.2.1), 0 to 23.
    pub facility: u8,
    /// How to speak TLS; `None`: plain TCP, to this machine alone.
    pub tls: Option<tls::ClientConfig>,
}

impl SyslogConfig {
    /// Whether the address is on this machine: only there may it be plain TCP.
    pub fn is_loopback(address: &str) -> bool {
        syslog::is_loopback(address)
    }
}

/// The trail cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The file.
    #[error("cannot write the audit trail to {path} (audit.file.path): {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no thread left.
    #[error("cannot start the audit trail: {0}")]
    Thread(io::Error),
}

/// An audit trail that is kept. To be closed, so that its last messages are brought.
#[derive(Debug)]
pub struct Audit {
    inbox: mpsc::Sender<Input>,
    done: oneshot::Receiver<()>,
}

#[derive(Debug)]
enum Input {
    Event(Box<Event>, usize),
    Close,
}

impl Audit {
    /// Opens the files, and begins to record what is told to the events.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn open(config: Config, metrics: Metrics) -> Result<(Self, Events), OpenError> {
        let Config { author, spool: path, spool_size, file, stdout, syslog } = config;
        let names = [
            file.is_some().then_some("file"),
            stdout.then_some("stdout"),
            syslog.is_some().then_some("syslog"),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        let (spool, appender) = spool::open(&path, spool_size, &names)?;
        let loss = Arc::new(Loss::new(metrics));
        let mut sinks = Vec::new();
        if let Some(FileConfig { path, size, keep }) = file {
            let fail = |source| OpenError::File { path: path.clone(), source };
            let mut first = Some(lines::Rotated::open(&path, size, keep).map_err(fail)?);
            let run = move |reader: Reader, lost: &dyn Fn(u64)| {
                let file = first.take().map_or_else(|| lines::Rotated::open(&path, size, keep), Ok)?;
                lines::run(reader, file, "file", lost);
                Ok(())
            };
            sinks.push(supervise::sink(&spool, "file", &loss, run).map_err(OpenError::Thread)?);
        }
        if stdout {
            let run = |reader: Reader, lost: &dyn Fn(u64)| {
                lines::run(reader, lines::Stdout, "stdout", lost);
                Ok(())
            };
            sinks.push(supervise::sink(&spool, "stdout", &loss, run).map_err(OpenError::Thread)?);
        }
        if let Some(config) = syslog {
            let run = move |reader: Reader, lost: &dyn Fn(u64)| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(syslog::run(receiver(config.clone()), reader, lost));
                Ok(())
            };
            sinks.push(supervise::sink(&spool, "syslog", &loss, run).map_err(OpenError::Thread)?);
        }
        let (inbox, events) = mpsc::channel();
        let (finished, done) = oneshot::channel();
        let queued = Arc::<AtomicUsize>::default();
        let names = author.instances;
        let recorder = Recorder {
            author,
            appender,
            loss: Arc::clone(&loss),
            missed: BTreeMap::new(),
            queued: Arc::clone(&queued),
            sinks,
        };
        start("audit".into(), &loss, move || {
            recorder.run(&events);
            let _ = finished.send(());
        })?;
        let to = inbox.clone();
        let events = Events::to(move |event| enqueue(&to, &queued, &loss, event)).naming_instances(names);
        Ok((Self { inbox, done }, events))
    }

    /// Records what has been told, and gives the sinks until `deadline` to bring it; what they do not is for the next
    /// start.
    pub async fn close(self, deadline: Instant) {
        let Self { inbox, done } = self;
        let _ = inbox.send(Input::Close);
        if timeout_at(deadline, done).await.is_err() {
            tracing::warn!("the audit trail was not brought to its end in time; the rest is in the spool");
        }
    }
}

fn enqueue(inbox: &mpsc::Sender<Input>, queued: &AtomicUsize, loss: &Loss, event: Event) {
    let weight = weight(&event);
    if queued.fetch_add(weight, Ordering::Relaxed) > MAX_QUEUED
        || inbox.send(Input::Event(Box::new(event), weight)).is_err()
    {
        queued.fetch_sub(weight, Ordering::Relaxed);
        loss.count(1);
    }
}

/// What an event takes in memory, in bytes, more or less.
fn weight(event: &Event) -> usize {
    const AROUND: usize = 512;
    let of = |studies: &[Study]| -> usize {
        let classes = studies.iter().flat_map(|study| study.classes.values());
        classes.map(|instances| AROUND + instances.names.len() * 96).sum()
    };
    AROUND
        + event.why.as_ref().map_or(0, String::len)
        + match &event.what {
            What::Query(query) => query.text.len(),
            What::BeginTransferring(transfer) | What::InstancesTransferred(transfer) => of(&transfer.studies),
            What::InstancesAccessed { study, .. } => of(std::slice::from_ref(study)),
            What::Procedure(procedure) => procedure.studies.len() * 96,
            What::SecurityAlert { text, .. } => text.len(),
            What::Started | What::Stopped | What::Authentication | What::Entry { .. } => 0,
        }
}

/// The thread that brings events into the spool. That it ends by a fault of ours is told: from then on all is lost, and
/// counted.
fn start(
    name: String,
    loss: &Arc<Loss>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let (loss, thread) = (Arc::clone(loss), name.clone());
    let guarded = move || {
        // Nothing that it has is used again.
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(
                thread,
                "a part of the audit trail has broken down by a fault of its own: restart Gantry, and report it"
            );
            loss.count(1);
        }
    };
    thread::Builder::new().name(name).spawn(guarded).map_err(OpenError::Thread)
}

fn receiver(config: SyslogConfig) -> syslog::Syslog {
    let SyslogConfig { address, facility, tls } = config;
    let secure: syslog::Secure = match tls {
        None => syslog::plain(),
        Some(config) => {
            let (client, host) = (tls::Client::new(config), tls::host_of(&address).to_owned());
            Arc::new(move |stream| {
                let (client, host) = (client.clone(), host.clone());
                Box::pin(async move {
                    let deadline = Instant::now() + syslog::CONNECT;
                    let stream = client.connect(stream, &host, deadline).await?;
                    Ok(Box::new(stream) as Box<dyn syslog::Stream>)
                })
            })
        }
    };
    let header = syslog::Header::new(facility, &syslog::hostname());
    syslog::Syslog { address, header, secure }
}

/// What is missing in the trail.
#[derive(Debug)]
struct Loss {
    metrics: Metrics,
    /// What the trail itself does not say yet.
    untold: AtomicU64,
    /// How often each sink has broken down, as far as the trail does not say it yet.
    broken: Mutex<BTreeMap<String, u64>>,
}

impl Loss {
    fn new(metrics: Metrics) -> Self {
        Self { metrics, untold: AtomicU64::new(0), broken: Mutex::default() }
    }

    /// A sink has broken down, and begins anew.
    fn broke_down(&self, sink: &str) {
        *self.broken().entry(sink.to_owned()).or_default() += 1;
    }

    fn broken(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, events: u64) {
        self.metrics.audit_lost.inc_by(events);
        self.untold.fetch_add(events, Ordering::Relaxed);
    }
}

/// Brings events into the spool.
struct Recorder {
    author: Author,
    appender: Appender,
    loss: Arc<Loss>,
    /// What sinks do not get, and the trail does not say yet.
    missed: BTreeMap<String, u64>,
    queued: Arc<AtomicUsize>,
    sinks: Vec<JoinHandle<()>>,
}

impl Recorder {
    fn run(mut self, events: &mpsc::Receiver<Input>) {
        let (mut synced, mut said) = (std::time::Instant::now(), None);
        let mut closes = false;
        while !closes {
            let first = events.recv_timeout(TICK);
            closes = matches!(first, Err(mpsc::RecvTimeoutError::Disconnected));
            let is_behind = self.queued.load(Ordering::Relaxed) > MAX_QUEUED / 16;
            if matches!(first, Ok(Input::Event(..))) && !is_behind {
                thread::sleep(GATHER);
            }
            for input in first.into_iter().chain(events.try_iter().take(BATCH)) {
                match input {
                    Input::Event(event, weight) => {
                        // A fault in one message costs no other.
                        if catch_unwind(AssertUnwindSafe(|| self.record(&event))).is_err() {
                            tracing::error!(
                                "an event cannot be recorded by a fault of Gantry's: please report it"
                            );
                            self.loss.count(1);
                        }
                        self.queued.fetch_sub(weight, Ordering::Relaxed);
                    }
                    Input::Close => closes = true,
                }
            }
            self.alarm(&mut said);
            self.flush();
            if closes || synced.elapsed() >= SYNC {
                self.sweep();
                synced = std::time::Instant::now();
            }
        }
        self.appender.close();
        while !self.sinks.iter().all(JoinHandle::is_finished) {
            thread::sleep(LOOK);
            self.sweep();
        }
        self.sweep();
    }

    fn record(&mut self, event: &Event) {
        let messages = self.author.messages(event);
        let mut lost = false;
        for message in messages {
            let record = serde_json::to_vec(&message).unwrap_or_default();
            let fits = !record.is_empty() && self.append(&record);
            lost |= !fits;
        }
        if lost {
            self.loss.count(1);
        }
    }

    fn append(&mut self, record: &[u8]) -> bool {
        if self.appender.append(record) {
            return true;
        }
        // Perhaps only because nobody has looked for a while.
        self.flush();
        self.sweep();
        // Else a sink that is away must not silence the others.
        self.appender.append(record)
            || record.len() <= spool::MAX_RECORD && self.make_room() && self.appender.append(record)
    }

    /// Whether there is some.
    fn make_room(&mut self) -> bool {
        let missed = self.appender.make_room().unwrap_or_else(|error| {
            tracing::warn!(%error, "the audit spool cannot be looked after");
            Vec::new()
        });
        for spool::Missed { sink, records } in &missed {
            tracing::error!(
                sink,
                records,
                "the audit spool is full, and the sink is away: it does not get its oldest messages, so that others go on"
            );
            self.loss.metrics.audit_lost.inc_by(*records);
            *self.missed.entry(sink.clone()).or_default() += records;
        }
        !missed.is_empty()
    }

    fn flush(&mut self) {
        if let Err((records, error)) = self.appender.flush() {
            tracing::error!(records, %error, "the audit spool cannot be written: its messages are lost");
            self.loss.count(records as u64);
        }
    }

    fn sweep(&mut self) {
        let waiting = i64::try_from(self.appender.waiting()).unwrap_or(i64::MAX);
        self.loss.metrics.audit_spool_bytes.set(waiting);
        if let Err(error) = self.appender.sweep() {
            tracing::warn!(%error, "the audit spool cannot be looked after");
        }
    }

    /// Tells a loss in the log, and in the trail as soon as there is room.
    fn alarm(&mut self, said: &mut Option<std::time::Instant>) {
        for (sink, messages) in std::mem::take(&mut self.missed) {
            if !self
                .tell(format!("{messages} messages did not reach {sink}, for which there was no room left"))
            {
                *self.missed.entry(sink).or_default() += messages;
            }
        }
        let broken = std::mem::take(&mut *self.loss.broken());
        for (sink, times) in broken {
            if !self.tell(format!("{sink} broke down by a fault of its own, and began anew: {times} times")) {
                *self.loss.broken().entry(sink).or_default() += times;
            }
        }
        let untold = self.loss.untold.load(Ordering::Relaxed);
        if untold == 0 {
            return;
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            tracing::error!(
                events = untold,
                "events are missing in the audit trail: is a sink away, audit.spool.size too small, or the disk full?"
            );
            *said = Some(std::time::Instant::now());
        }
        if self.tell(format!("{untold} events are missing in the audit trail before this one")) {
            self.loss.untold.fetch_sub(untold, Ordering::Relaxed);
        }
    }

    /// Whether there was room to tell of a loss.
    fn tell(&mut self, text: String) -> bool {
        let what = What::SecurityAlert { kind: Alert::AuditStopped, text: text.clone() };
        let event = Event::now(Who::default(), what).failed(Outcome::SeriousFailure, text);
        let records = self.author.messages(&event).into_iter().filter_map(|it| serde_json::to_vec(&it).ok());
        records.into_iter().all(|record| self.append(&record))
    }
}

#[cfg(test)]
mod tests;
