//! What is counted of one archive: looked up once, so that to count costs next to nothing.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{AtArchive, InState, Metrics, Of, OfOperation, Outcome};

/// The figures of one archive. Cheap to clone. By default nobody sees them.
#[derive(Debug, Clone)]
pub struct OfArchive {
    metrics: Metrics,
    archive: String,
    /// Associations that are open.
    pub open: Gauge,
    /// Those of them that nobody uses.
    pub idle: Gauge,
    /// Requests that wait for one.
    pub waiting: Gauge,
    /// Endpoints that are not asked for now.
    pub breaker: Gauge,
    reused: Counter,
    opened: Counter,
    wait: Histogram,
    first_object: Histogram,
    retrieval: Histogram,
}

/// How a request for an association was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// By one that was idle.
    Idle,
    /// By one that was opened for it.
    Opened,
    /// By none, for this reason, in a word or two.
    Not(&'static str),
}

impl Waited {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Opened => "opened",
            Self::Not(why) => why,
        }
    }
}

impl Default for OfArchive {
    fn default() -> Self {
        Self::new(&Metrics::default(), "")
    }
}

impl OfArchive {
    /// Those of the archive of this name.
    pub fn new(metrics: &Metrics, archive: &str) -> Self {
        let gauge =
            |state| metrics.associations.get_or_create_owned(&InState { archive: archive.to_owned(), state });
        let request = |outcome| {
            let labels = Outcome { archive: archive.to_owned(), outcome };
            metrics.association_requests.get_or_create_owned(&labels)
        };
        let of = Of { archive: archive.to_owned() };
        Self {
            open: gauge("open"),
            idle: gauge("idle"),
            waiting: gauge("waiting"),
            breaker: metrics.breaker_open.get_or_create_owned(&of),
            reused: request("idle"),
            opened: request("opened"),
            wait: metrics.association_wait_seconds.of(&of),
            first_object: metrics.first_object_seconds.of(&of),
            retrieval: metrics.retrieval_seconds.of(&of),
            metrics: metrics.clone(),
            archive: of.archive,
        }
    }

    /// The archive's name in the configuration.
    pub fn name(&self) -> &str {
        &self.archive
    }

    /// A request for an association was served, or not, after so long.
    pub fn waited(&self, how: Waited, took: Duration) {
        match how {
            Waited::Idle => self.reused.inc(),
            Waited::Opened => self.opened.inc(),
            Waited::Not(outcome) => {
                let labels = Outcome { archive: self.archive.clone(), outcome };
                self.metrics.association_requests.get_or_create(&labels).inc()
            }
        };
        self.wait.observe(took.as_secs_f64());
    }

    /// A DIMSE operation of this kind has ended so, after so long; `None`: it has not even begun.
    pub fn operation(&self, operation: &'static str, outcome: &'static str, took: Option<Duration>) {
        let labels = AtArchive { archive: self.archive.clone(), operation, outcome };
        self.metrics.operations.get_or_create(&labels).inc();
        if let Some(took) = took {
            let labels = OfOperation { archive: self.archive.clone(), operation };
            self.metrics.operation_seconds.observe(&labels, took.as_secs_f64());
        }
    }

    /// The first object of a retrieval has begun to come, after so long.
    pub fn first_object(&self, took: Duration) {
        self.first_object.observe(took.as_secs_f64());
    }

    /// A retrieval has ended, after so long.
    pub fn retrieved(&self, took: Duration) {
        self.retrieval.observe(took.as_secs_f64());
    }

    /// An object of which so many bytes were sent to the archive: this is what became of it.
    pub fn stored(&self, outcome: &'static str, bytes: u64) {
        let labels = Outcome { archive: self.archive.clone(), outcome };
        self.metrics.stores.get_or_create(&labels).inc();
        self.metrics.stored_bytes.get_or_create(&Of { archive: self.archive.clone() }).inc_by(bytes);
    }
}
