//! By what figures are told apart.

use std::fmt::Error;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Where the buckets of durations end, in seconds: from what a request to the cache takes to what the largest study does.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What is counted for each archive, by how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// The archive's name in the configuration.
    pub archive: String,
    /// How it went, in one word.
    pub outcome: &'static str,
}

/// What is counted for each archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// The archive's name in the configuration.
    pub archive: String,
}

/// What there is of each archive just now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InState {
    /// The archive's name in the configuration.
    pub archive: String,
    /// In what state, in one word.
    pub state: &'static str,
}

/// DIMSE operations of an archive, or those of clients that are for it, by kind and by how they went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AtArchive {
    /// The archive's name in the configuration; empty where none is asked.
    pub archive: String,
    /// The kind, such as `C-FIND`.
    pub operation: &'static str,
    /// How it went, in one word.
    pub outcome: &'static str,
}

/// How long DIMSE operations of an archive took, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfOperation {
    /// The archive's name in the configuration.
    pub archive: String,
    /// The kind, such as `C-FIND`.
    pub operation: &'static str,
}

/// How long DIMSE operations of clients took, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AtClient {
    /// The kind, such as `C-FIND`.
    pub operation: &'static str,
}

/// Requests over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route's pattern, below the service's root: never a path.
    pub route: &'static str,
    /// The method, or `other`.
    pub method: &'static str,
    /// The class of the status, such as `2xx`.
    pub status: &'static str,
}

/// What is counted for each route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRoute {
    /// The route's pattern, below the service's root: never a path.
    pub route: &'static str,
}

/// Answers that did not come to their end, for each route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRouteEnd {
    /// The route's pattern, below the service's root: never a path.
    pub route: &'static str,
    /// Who ended it.
    pub reason: &'static str,
}

/// What is counted by the reason that it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The reason, in a word or two.
    pub reason: &'static str,
}

/// What is counted by how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Went {
    /// How it went, in one word.
    pub outcome: &'static str,
}

/// What is counted for each tier of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tier {
    /// `memory` or `disk`.
    pub tier: &'static str,
}

/// Seconds that something took: from a millisecond to five minutes.
#[derive(Debug, Clone)]
pub struct Durations<L>(Family<L, Histogram, fn() -> Histogram>);

/// A histogram of seconds.
fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl<L: Clone + Eq + std::hash::Hash> Default for Durations<L> {
    fn default() -> Self {
        Self(Family::new_with_constructor(seconds))
    }
}

impl<L: Clone + Eq + std::hash::Hash> Durations<L> {
    /// Counts one that took `seconds`.
    pub fn observe(&self, of: &L, seconds: f64) {
        self.0.get_or_create(of).observe(seconds);
    }

    /// Those of one, to be looked up once.
    pub fn of(&self, of: &L) -> Histogram {
        self.0.get_or_create_owned(of)
    }
}

impl<L> EncodeMetric for Durations<L>
where
    L: EncodeLabelSet + Clone + Eq + std::hash::Hash + 'static,
{
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}
