//! What a pool shows of itself: kept up to date at every change, so that reading it costs nothing.

use prometheus_client::metrics::gauge::Gauge;

use super::LeaseError;
use super::queue::Queue;
use crate::dimse::association::EstablishError;
use crate::metrics::OfArchive;
use crate::net::tls;

/// What a pool has added to the figures of its archive, to which all pools of that add.
#[derive(Debug, Default)]
pub(super) struct Shown {
    open: i64,
    idle: i64,
    waiting: i64,
    breaker: i64,
}

impl Shown {
    /// Shows how a pool is now.
    pub(super) fn show(&mut self, figures: &OfArchive, queue: &Queue, breaker_is_open: bool) {
        let now = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let update = |gauge: &Gauge, shown: &mut i64, now: i64| {
            if now != *shown {
                gauge.inc_by(now - *shown);
                *shown = now;
            }
        };
        update(&figures.open, &mut self.open, now(queue.used()));
        update(&figures.idle, &mut self.idle, now(queue.idle()));
        update(&figures.waiting, &mut self.waiting, now(queue.waiting()));
        update(&figures.breaker, &mut self.breaker, i64::from(breaker_is_open));
    }

    /// Takes everything back: the pool is no more.
    pub(super) fn take_back(&mut self, figures: &OfArchive) {
        for (gauge, shown) in [
            (&figures.open, &mut self.open),
            (&figures.idle, &mut self.idle),
            (&figures.waiting, &mut self.waiting),
            (&figures.breaker, &mut self.breaker),
        ] {
            gauge.dec_by(std::mem::take(shown));
        }
    }
}

/// Why there is no association, in a word or two.
pub(super) fn reason(error: &LeaseError) -> &'static str {
    match error {
        LeaseError::QueueFull => "queue full",
        LeaseError::QueueTimeout => "queue timeout",
        LeaseError::BreakerOpen => "breaker open",
        LeaseError::Connect(error) if tls::Failure::of(error).is_some() => "tls",
        LeaseError::Connect(_) => "unreachable",
        LeaseError::ConnectTimeout
        | LeaseError::Handshake(_)
        | LeaseError::Establish(EstablishError::Timeout) => "timeout",
        LeaseError::Establish(EstablishError::Rejected(_)) => "rejected",
        LeaseError::Establish(EstablishError::Association(_)) => "aborted",
        LeaseError::Closed => "shutting down",
    }
}
