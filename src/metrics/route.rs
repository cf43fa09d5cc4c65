//! What is counted of one route over HTTP: found once, so that to count costs next to nothing.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::few::Few;
use super::{Metrics, OfRoute, OfRouteEnd, Request};

/// The figures of one route.
#[derive(Debug)]
pub struct Route {
    metrics: Metrics,
    of: OfRoute,
    first_byte: Histogram,
    seconds: Histogram,
    read: Counter,
    sent: Counter,
    requests: Few<(&'static str, &'static str), Counter, 16>,
    unfinished: Few<&'static str, Counter, 2>,
}

impl Route {
    /// Those of the route with this pattern.
    pub fn new(metrics: &Metrics, route: &'static str) -> Self {
        let of = OfRoute { route };
        let new = Self {
            first_byte: metrics.http_first_byte_seconds.of(&of),
            seconds: metrics.http_request_seconds.of(&of),
            read: metrics.http_request_bytes.get_or_create_owned(&of),
            sent: metrics.http_response_bytes.get_or_create_owned(&of),
            requests: Few::default(),
            unfinished: Few::default(),
            metrics: metrics.clone(),
            of,
        };
        // An alert would miss the first of what begins with 1.
        new.unfinished("broken");
        new
    }

    /// The route's pattern.
    pub fn pattern(&self) -> &'static str {
        self.of.route
    }

    /// A request has come.
    pub fn begins(&self) {
        self.metrics.http_requests_open.inc();
    }

    /// The head of its answer was there after so long.
    pub fn answered(&self, took: Duration) {
        self.first_byte.observe(took.as_secs_f64());
    }

    /// It has ended: with a status of this class, after so long, with so many bytes read from the client and sent to it.
    pub fn ended(&self, method: &'static str, status: &'static str, took: Duration, read: u64, sent: u64) {
        let OfRoute { route } = self.of;
        let requests = self.requests.get((method, status), || {
            self.metrics.http_requests.get_or_create_owned(&Request { route, method, status })
        });
        requests.inc();
        self.metrics.http_requests_open.dec();
        self.seconds.observe(took.as_secs_f64());
        self.read.inc_by(read);
        self.sent.inc_by(sent);
    }

    /// It ended too soon, by who this names.
    pub fn broke_off(&self, reason: &'static str) {
        self.unfinished(reason).inc();
    }

    fn unfinished(&self, reason: &'static str) -> Counter {
        let labels = OfRouteEnd { route: self.of.route, reason };
        self.unfinished.get(reason, || self.metrics.http_unfinished.get_or_create_owned(&labels))
    }
}
