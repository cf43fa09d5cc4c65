//! What is counted of one archive: found once, so that to count costs next to nothing.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::few::Few;
use super::{AtArchive, InState, Metrics, Of, OfOperation, Outcome};

/// How retrievals end.
const RETRIEVALS: [&str; 4] = ["complete", "incomplete", "cancelled", "failed"];
/// What becomes of objects that are stored.
const STORES: [&str; 3] = ["stored", "warning", "failed"];

/// The figures of one archive. Cheap to clone. By default nobody sees them.
#[derive(Debug, Clone)]
pub struct OfArchive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    archive: String,
    gauges: Gauges,
    requests: Few<&'static str, Counter, 12>,
    wait: Histogram,
    operations: Few<(&'static str, &'static str), Counter, 32>,
    operation_seconds: Few<&'static str, Histogram, 12>,
    retrievals: OnceLock<Retrievals>,
    stores: OnceLock<Stores>,
}

/// How it is with an archive now.
#[derive(Debug)]
pub struct Gauges {
    /// Associations that are open.
    pub open: Gauge,
    /// Those of them that nobody uses.
    pub idle: Gauge,
    /// Requests that wait for one.
    pub waiting: Gauge,
    /// Endpoints that are not asked for now.
    pub breaker: Gauge,
}

#[derive(Debug)]
struct Retrievals {
    first_object: Histogram,
    seconds: Histogram,
    ended: Few<&'static str, Counter, { RETRIEVALS.len() }>,
    objects: Counter,
    bytes: Counter,
    asked_again: Counter,
    missing: Counter,
}

#[derive(Debug)]
struct Stores {
    ended: Few<&'static str, Counter, { STORES.len() }>,
    bytes: Counter,
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

impl Deref for OfArchive {
    type Target = Gauges;

    fn deref(&self) -> &Gauges {
        &self.0.gauges
    }
}

impl OfArchive {
    /// Those of the archive of this name.
    pub fn new(metrics: &Metrics, archive: &str) -> Self {
        let gauge =
            |state| metrics.associations.get_or_create_owned(&InState { archive: archive.to_owned(), state });
        let of = Of { archive: archive.to_owned() };
        let gauges = Gauges {
            open: gauge("open"),
            idle: gauge("idle"),
            waiting: gauge("waiting"),
            breaker: metrics.breaker_open.get_or_create_owned(&of),
        };
        let inner = Inner {
            gauges,
            requests: Few::default(),
            wait: metrics.association_wait_seconds.of(&of),
            operations: Few::default(),
            operation_seconds: Few::default(),
            retrievals: OnceLock::new(),
            stores: OnceLock::new(),
            metrics: metrics.clone(),
            archive: of.archive,
        };
        Self(Arc::new(inner))
    }

    /// Shows what has not happened yet as 0: an alert would miss the first of what begins with 1.
    pub fn from_zero(self) -> Self {
        for outcome in RETRIEVALS {
            self.retrievals().ended.get(outcome, || self.retrievals_that_are(outcome));
        }
        for outcome in STORES {
            self.stores().ended.get(outcome, || self.stores_that_are(outcome));
        }
        self
    }

    /// The archive's name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.archive
    }

    /// A request for an association was served, or not, after so long.
    pub fn waited(&self, how: Waited, took: Duration) {
        let outcome = how.as_str();
        let requests = self
            .0
            .requests
            .get(outcome, || self.0.metrics.association_requests.get_or_create_owned(&self.outcome(outcome)));
        requests.inc();
        self.0.wait.observe(took.as_secs_f64());
    }

    /// A DIMSE operation of this kind has ended so, after so long; `None`: it has not even begun.
    pub fn operation(&self, operation: &'static str, outcome: &'static str, took: Option<Duration>) {
        let Inner { metrics, operations, operation_seconds, .. } = &*self.0;
        let archive = || self.0.archive.clone();
        let ended = operations.get((operation, outcome), || {
            metrics.operations.get_or_create_owned(&AtArchive { archive: archive(), operation, outcome })
        });
        ended.inc();
        let Some(took) = took else { return };
        let seconds = operation_seconds
            .get(operation, || metrics.operation_seconds.of(&OfOperation { archive: archive(), operation }));
        seconds.observe(took.as_secs_f64());
    }

    /// The first object of a retrieval has begun to come, after so long.
    pub fn first_object(&self, took: Duration) {
        self.retrievals().first_object.observe(took.as_secs_f64());
    }

    /// A retrieval has ended so, after so long, and has brought so many objects and bytes.
    pub fn retrieved(&self, outcome: &'static str, took: Duration, objects: usize, bytes: u64) {
        let figures = self.retrievals();
        figures.ended.get(outcome, || self.retrievals_that_are(outcome)).inc();
        figures.seconds.observe(took.as_secs_f64());
        figures.objects.inc_by(objects as u64);
        figures.bytes.inc_by(bytes);
    }

    /// So many objects had not come, and are asked for once more.
    pub fn asked_again(&self, objects: usize) {
        self.retrievals().asked_again.inc_by(objects as u64);
    }

    /// So many objects did not come in the end.
    pub fn missing(&self, objects: usize) {
        self.retrievals().missing.inc_by(objects as u64);
    }

    /// An object of which so many bytes were sent to the archive: this is what became of it.
    pub fn stored(&self, outcome: &'static str, bytes: u64) {
        let figures = self.stores();
        figures.ended.get(outcome, || self.stores_that_are(outcome)).inc();
        figures.bytes.inc_by(bytes);
    }

    fn retrievals(&self) -> &Retrievals {
        let metrics = &self.0.metrics;
        self.0.retrievals.get_or_init(|| {
            let of = Of { archive: self.0.archive.clone() };
            Retrievals {
                first_object: metrics.first_object_seconds.of(&of),
                seconds: metrics.retrieval_seconds.of(&of),
                ended: Few::default(),
                objects: metrics.objects.get_or_create_owned(&of),
                bytes: metrics.object_bytes.get_or_create_owned(&of),
                asked_again: metrics.asked_again.get_or_create_owned(&of),
                missing: metrics.missing.get_or_create_owned(&of),
            }
        })
    }

    fn retrievals_that_are(&self, outcome: &'static str) -> Counter {
        self.0.metrics.retrievals.get_or_create_owned(&self.outcome(outcome))
    }

    fn stores(&self) -> &Stores {
        self.0.stores.get_or_init(|| {
            let of = Of { archive: self.0.archive.clone() };
            Stores { ended: Few::default(), bytes: self.0.metrics.stored_bytes.get_or_create_owned(&of) }
        })
    }

    fn stores_that_are(&self, outcome: &'static str) -> Counter {
        self.0.metrics.stores.get_or_create_owned(&self.outcome(outcome))
    }

    fn outcome(&self, outcome: &'static str) -> Outcome {
        Outcome { archive: self.0.archive.clone(), outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alert_waits_for_is_there_before_it_happens_for_the_first_time() {
        let metrics = Metrics::default();
        let figures = OfArchive::new(&metrics, "main").from_zero();
        let text = metrics.plain_text();
        for line in [
            "gantry_retrievals_total{archive=\"main\",outcome=\"incomplete\"} 0\n",
            "gantry_stores_total{archive=\"main\",outcome=\"failed\"} 0\n",
            "gantry_missing_total{archive=\"main\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        figures.stored("failed", 7);
        figures.retrieved("incomplete", Duration::from_secs(1), 2, 9);
        let text = metrics.plain_text();
        for line in [
            "gantry_retrievals_total{archive=\"main\",outcome=\"incomplete\"} 1\n",
            "gantry_object_bytes_total{archive=\"main\"} 9\n",
            "gantry_stores_total{archive=\"main\",outcome=\"failed\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
