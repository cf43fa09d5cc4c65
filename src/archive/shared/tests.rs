//! What is shared, before an archive whose every step a test decides, in paused time.

mod ahead;
mod leaving;
mod pressure;
mod properties;
mod sharing;
mod whole;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::archive::testing::Driver;
use crate::archive::{Error, Feed, Kind, Step};
use crate::caller::Priority;
use crate::dicom::object::{BrokenObject, Budget, Head, ObjectLog};

/// Nothing that a test waits for takes longer, in paused time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

/// The study, the series or the instance with these UIDs, from the study down.
fn target(uids: &[&str]) -> Target {
    let at = |level: usize| uids.get(level).map(|text| uid(text));
    Target { study: at(0).unwrap(), series: at(1), instance: at(2) }
}

fn interactive() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

/// An archive in the hands of a test.
#[derive(Default)]
struct Pacs {
    asked: Mutex<Vec<Asked>>,
    omits: bool,
}

/// A retrieval that the archive was asked for.
struct Asked {
    retrieve: Retrieve,
    caller: Caller,
    answer: Option<oneshot::Sender<Result<Retrieval>>>,
    feed: Option<Feed<Object>>,
    driver: Option<Driver<Object>>,
}

impl Archive for Pacs {
    fn name(&self) -> &'static str {
        "main"
    }

    fn search(&self, _: &Caller, _: Query) -> Fut<'_, Result<Search>> {
        unreachable!("no test searches")
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let (answer, answered) = oneshot::channel();
        let (driver, feed) = Driver::new();
        let caller = caller.clone();
        let (answer, feed, driver) = (Some(answer), Some(feed), Some(driver));
        self.asked.lock().unwrap().push(Asked { retrieve, caller, answer, feed, driver });
        Box::pin(async { answered.await.unwrap_or_else(|_| Err(Error::new("main", Kind::DriverDied))) })
    }

    fn store(&self, _: &Caller, _: Object) -> Fut<'_, Result<Stored>> {
        Box::pin(async { Ok(Stored { status: 0, comment: None }) })
    }

    fn omits_bulk_data(&self) -> bool {
        self.omits
    }

    fn verify(&self, _: &Caller) -> Fut<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl Pacs {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap()
    }

    fn count(&self) -> usize {
        self.asked().len()
    }

    /// Which retrieval asks for this target. Waits for it.
    async fn wait_for(&self, uids: &[&str]) -> usize {
        let target = target(uids);
        let looks = async {
            loop {
                let at = self.asked().iter().rposition(|a| a.retrieve.target == target && a.answer.is_some());
                match at {
                    Some(at) => return at,
                    None => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("nobody asked for {target:?}"))
    }

    /// Begins to answer.
    fn open(&self, at: usize, missing: &[&str], confirmed: &[&str]) {
        let mut asked = self.asked();
        let retrieval = Retrieval {
            objects: asked[at].feed.take().unwrap(),
            missing: missing.iter().map(|text| uid(text)).collect(),
            confirmed: confirmed.iter().map(|text| uid(text)).collect(),
            assumed_charset: None,
            without_bulk: false,
            expected: crate::archive::Expected::default(),
        };
        let _ = asked[at].answer.take().unwrap().send(Ok(retrieval));
    }

    /// Answers with an error before any object.
    fn refuse(&self, at: usize, kind: Kind) {
        let answer = self.asked()[at].answer.take().unwrap();
        let _ = answer.send(Err(Error::new("main", kind)));
    }

    fn with_driver<T>(&self, at: usize, work: impl FnOnce(&Driver<Object>) -> T) -> T {
        work(self.asked()[at].driver.as_ref().unwrap())
    }

    /// Begins an object, whose bytes are left to the test.
    fn begin(&self, at: usize, series: &str, instance: &str, syntax: &'static str) -> ObjectLog {
        let head = Head {
            sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
            sop_instance: uid(instance),
            transfer_syntax: uid(syntax),
        };
        let (log, mut object) = ObjectLog::new(head, &Budget::new(1 << 30));
        object.series = Some(uid(series));
        self.with_driver(at, |driver| driver.item(object));
        log
    }

    /// Sends an object, whose bytes are its name.
    async fn object(&self, at: usize, series: &str, instance: &str) {
        let log = self.begin(at, series, instance, EXPLICIT);
        log.append(&Bytes::copy_from_slice(instance.as_bytes())).await;
        log.finish();
    }

    fn complete(&self, at: usize) {
        self.with_driver(at, Driver::complete);
    }

    fn fail(&self, at: usize, kind: Kind) {
        self.with_driver(at, |driver| driver.fail(Error::new("main", kind)));
    }

    fn is_cancelled(&self, at: usize) -> bool {
        self.with_driver(at, |driver| driver.cancelled.is_cancelled())
    }
}

/// The archive, and what stands before it.
struct Scene {
    pacs: Arc<Pacs>,
    shared: Arc<Shared>,
    cache: Cache,
    metrics: Metrics,
}

fn scene_with(config: Config, omits: bool) -> Scene {
    let pacs = Arc::new(Pacs { omits, ..Pacs::default() });
    let metrics = Metrics::default();
    let cache = Cache::new(config, metrics.clone());
    let shared = Arc::new(Shared::new(Arc::clone(&pacs) as _, cache.clone(), metrics.clone()));
    Scene { pacs, shared, cache, metrics }
}

fn scene() -> Scene {
    scene_with(Config::default(), false)
}

/// What a reader got: the objects by name, each as it should be, and the end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    objects: Vec<String>,
    missing: usize,
    end: std::result::Result<(), Kind>,
}

impl Got {
    /// These objects, and a good end.
    fn whole(objects: &[&str]) -> Self {
        Self { objects: objects.iter().map(ToString::to_string).collect(), missing: 0, end: Ok(()) }
    }

    /// These objects, and then this error.
    fn failed(objects: &[&str], kind: Kind) -> Self {
        Self { end: Err(kind), ..Self::whole(objects) }
    }
}

/// Reads an object, which has to be the one that it says it is.
async fn read(mut object: Object) -> std::result::Result<String, BrokenObject> {
    let mut bytes = Vec::new();
    while let Some(piece) = object.body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    let name = object.head.sop_instance.to_string();
    assert!(bytes == name.as_bytes(), "{name} has other bytes");
    Ok(name)
}

/// Reads all there is. An object that breaks off ends the answer, as it does for a client.
async fn drain(retrieval: Result<Retrieval>) -> Got {
    let mut retrieval = match retrieval {
        Ok(retrieval) => retrieval,
        Err(error) => return Got::failed(&[], error.kind),
    };
    let mut objects = Vec::new();
    let missing = retrieval.missing.len();
    loop {
        match retrieval.objects.next().await {
            Step::Item(object) => match read(object).await {
                Ok(name) => objects.push(name),
                Err(BrokenObject) => return Got { objects, missing, end: Err(Kind::SourceBroke) },
            },
            Step::End(end) => return Got { objects, missing, end: end.map(drop).map_err(|e| e.kind) },
        }
    }
}

/// A client that reads to the end.
struct Client(tokio::task::JoinHandle<Got>);

impl Client {
    async fn got(self) -> Got {
        timeout(PATIENCE, self.0).await.expect("the answer never ends").unwrap()
    }

    /// Leaves.
    async fn leave(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

impl Scene {
    fn ask(&self, retrieve: Retrieve) -> Client {
        let shared = Arc::clone(&self.shared);
        Client(tokio::spawn(async move { drain(shared.retrieve(&interactive(), retrieve).await).await }))
    }

    /// A client that asks for this entity as it is stored.
    fn get(&self, uids: &[&str]) -> Client {
        self.ask(Retrieve::new(target(uids), Form::AsStored))
    }

    /// One that wants frames of an instance, and will want more.
    fn frames(&self, uids: &[&str]) -> Client {
        self.ask(Retrieve { ahead: true, ..Retrieve::new(target(uids), Form::AsStored) })
    }

    /// A client that asks for this entity as it is stored, and the retrieval that the archive begins to answer.
    async fn begin(&self, uids: &[&str]) -> (Client, usize) {
        let client = self.get(uids);
        let at = self.pacs.wait_for(uids).await;
        self.pacs.open(at, &[], &[]);
        (client, at)
    }

    /// Somebody who reads the study by hand, and the retrieval for it, which has been opened.
    async fn begin_by_hand(&self) -> (tokio::task::JoinHandle<Result<Retrieval>>, usize) {
        let shared = Arc::clone(&self.shared);
        let reader = tokio::spawn(async move {
            shared.retrieve(&interactive(), Retrieve::new(target(&["1"]), Form::AsStored)).await
        });
        let at = self.pacs.wait_for(&["1"]).await;
        self.pacs.open(at, &[], &[]);
        (reader, at)
    }

    /// Brings a target into the cache: these objects of series `1.1`.
    async fn bring(&self, uids: &[&str], objects: &[&str]) {
        let (client, at) = self.begin(uids).await;
        for object in objects {
            self.pacs.object(at, "1.1", object).await;
        }
        self.pacs.complete(at);
        assert_eq!(client.got().await, Got::whole(objects));
    }

    /// How often requests ended so.
    fn count(&self, outcome: &'static str) -> u64 {
        let labels = crate::metrics::Outcome { archive: "main".into(), outcome };
        self.metrics.cache_requests.get_or_create(&labels).get()
    }
}

/// Lets everything happen that happens at once.
async fn settle() {
    sleep(Duration::from_millis(5)).await;
}
