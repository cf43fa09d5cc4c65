//! What a pool shows of itself: kept up to date at every change, so that reading it costs nothing.

use prometheus_client::metrics::gauge::Gauge;

use super::queue::Queue;
use crate::metrics::{InState, Metrics};

/// The figures of one archive, to which all its pools add. By default nobody sees them.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    open: Gauge,
    idle: Gauge,
    waiting: Gauge,
}

/// What a pool has added to its [`Gauges`].
#[derive(Debug, Default)]
pub(super) struct Shown {
    open: i64,
    idle: i64,
    waiting: i64,
}

impl Gauges {
    /// Those of an archive.
    pub fn of(metrics: &Metrics, archive: &str) -> Self {
        let gauge = |state| {
            let labels = InState { archive: archive.to_owned(), state };
            metrics.associations.get_or_create_owned(&labels)
        };
        Self { open: gauge("open"), idle: gauge("idle"), waiting: gauge("waiting") }
    }

    /// Shows how a pool is now.
    pub(super) fn show(&self, queue: &Queue, shown: &mut Shown) {
        let now = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let update = |gauge: &Gauge, shown: &mut i64, now: i64| {
            if now != *shown {
                gauge.inc_by(now - *shown);
                *shown = now;
            }
        };
        update(&self.open, &mut shown.open, now(queue.used()));
        update(&self.idle, &mut shown.idle, now(queue.idle()));
        update(&self.waiting, &mut shown.waiting, now(queue.waiting()));
    }
}
