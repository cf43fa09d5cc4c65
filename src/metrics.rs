//! What is counted, for whoever watches the bridge: Prometheus' text at `/metrics`.
//!
//! Names and labels are part of the interface: dashboards and alerts are written against them. No label holds
//! anything of a patient.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Labels of what is counted for each archive, by how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// The archive's name in the configuration.
    pub archive: String,
    /// How it went, in one word.
    pub outcome: &'static str,
}

/// Labels of what is counted for each archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// The archive's name in the configuration.
    pub archive: String,
}

/// Labels of what there is of each archive just now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InState {
    /// The archive's name in the configuration.
    pub archive: String,
    /// In what state, in one word.
    pub state: &'static str,
}

/// Labels of what is counted for each tier of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tier {
    /// `memory` or `disk`.
    pub tier: &'static str,
}

/// The counters. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    counters: Counters,
}

/// Each figure, by the name that it has in the text (without `gantry_` and `_total`).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Requests to the cache, by outcome: `hit` (it was there), `attached` (it was on its way), `miss` (the archive
    /// was asked), `ahead` (an instance was fetched ahead of its running retrieval).
    pub cache_requests: Family<Outcome, Counter>,
    /// Bytes that the cache holds.
    pub cache_bytes: Family<Tier, Gauge>,
    /// Objects that the cache holds.
    pub cache_objects: Family<Tier, Gauge>,
    /// Objects that made room for others.
    pub cache_evictions: Family<Tier, Counter>,
    /// Objects found damaged on disk, which were fetched again, and those whose own file cannot be written.
    pub cache_damaged: Counter,
    /// Readers that were cut off: they took nothing for too long, or were so far behind in a large object that others
    /// waited for the rest of it.
    pub readers_cut: Family<Of, Counter>,
    /// Retrievals by how they ended: `complete`, `incomplete`, `cancelled`, `failed`.
    pub retrievals: Family<Outcome, Counter>,
    /// Objects that arrived whole.
    pub objects: Family<Of, Counter>,
    /// Bytes of objects that arrived.
    pub object_bytes: Family<Of, Counter>,
    /// Objects that were asked for once more at instance level, because they had not come.
    pub asked_again: Family<Of, Counter>,
    /// Objects that did not come in the end.
    pub missing: Family<Of, Counter>,
    /// Searches by how they were answered: `asked` (a C-FIND), `shared` (that of another request), `remembered`.
    pub searches: Family<Outcome, Counter>,
    /// Associations towards archives, by state: `open` (all of them, those being opened too), `idle` of these; and
    /// requests for one that are `waiting`.
    pub associations: Family<InState, Gauge>,
    /// Associations of DIMSE clients, and of archives that send what we asked for, that are open.
    pub dimse_associations: Gauge,
    /// Associations that were rejected.
    pub dimse_rejected: Counter,
    /// Requests of DIMSE clients by how they ended: `success`, `warning`, `failure`, `cancelled`.
    pub dimse_operations: Family<Outcome, Counter>,
    /// Events that are missing in the audit trail: there was no room for them, or the disk failed.
    pub audit_lost: Counter,
    /// Seconds until a retrieval had ended.
    pub retrieval_seconds: Durations,
}

/// Seconds that something took, for each archive: from a millisecond to four minutes.
#[derive(Debug, Clone)]
pub struct Durations(Family<Of, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 10))))
    }
}

impl Durations {
    /// Counts one that took `seconds`.
    pub fn observe(&self, archive: &str, seconds: f64) {
        self.0.get_or_create(&Of { archive: archive.to_owned() }).observe(seconds);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let counters = Counters::default();
        let mut registry = Registry::with_prefix("gantry");
        let c = &counters;
        registry.register("cache_requests", "Requests to the cache", c.cache_requests.clone());
        registry.register("cache_bytes", "Bytes in the cache", c.cache_bytes.clone());
        registry.register("cache_objects", "Objects in the cache", c.cache_objects.clone());
        registry.register("cache_evictions", "Objects that made room", c.cache_evictions.clone());
        registry.register("cache_damaged", "Objects found damaged on disk", c.cache_damaged.clone());
        registry.register("readers_cut", "Readers cut off", c.readers_cut.clone());
        registry.register("retrievals", "Retrievals", c.retrievals.clone());
        registry.register("objects", "Objects that arrived", c.objects.clone());
        registry.register("object_bytes", "Bytes that arrived", c.object_bytes.clone());
        registry.register("asked_again", "Objects asked for once more", c.asked_again.clone());
        registry.register("missing", "Objects that did not come", c.missing.clone());
        registry.register("searches", "Searches", c.searches.clone());
        registry.register("associations", "Associations towards archives", c.associations.clone());
        registry.register(
            "dimse_associations",
            "Associations of DIMSE clients",
            c.dimse_associations.clone(),
        );
        registry.register("dimse_rejected", "Associations rejected", c.dimse_rejected.clone());
        registry.register("dimse_operations", "Requests of DIMSE clients", c.dimse_operations.clone());
        registry.register("audit_lost", "Events missing in the audit trail", c.audit_lost.clone());
        registry.register("retrieval_seconds", "Duration of retrievals", c.retrieval_seconds.0.clone());
        Self(Arc::new(Inner { registry, counters }))
    }
}

impl Metrics {
    /// All figures in Prometheus' text format (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("a String takes everything");
        out
    }
}

impl std::ops::Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0.counters
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_stands_in_the_text() {
        let metrics = Metrics::default();
        let hit = Outcome { archive: "main".into(), outcome: "hit" };
        metrics.clone().cache_requests.get_or_create(&hit).inc();
        let text = metrics.text();
        assert!(text.contains("gantry_cache_requests_total{archive=\"main\",outcome=\"hit\"} 1"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
