//! What a trace of a request consists of: spans, from the request to the last object that comes for it.
//!
//! Every span is made here, under a target of its own. While nobody collects traces it costs a look at a flag; a log shows
//! none of it. No span holds anything of a patient, nor a UID: which study was slow, the client that asked knows.

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of all spans.
pub const TARGET: &str = "gantry::trace";

/// A request over HTTP, to `route`. Ended by [`answered`].
pub fn http_request(method: &'static str, route: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "http request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        http.response.body.size = Empty,
        gantry.archive = Empty,
        gantry.end = Empty,
    )
}

/// Makes `span` part of the trace that a request's headers name (W3C Trace Context, `traceparent`), where they name one.
pub fn continues(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Fields(headers));
    if parent.span().span_context().is_valid() {
        // It fails only where nobody collects traces.
        let _ = span.set_parent(parent);
    }
}

/// What tells whoever is asked on behalf of a request which trace it is part of: the value of `traceparent`. `None`: of
/// none.
pub fn parent() -> Option<HeaderValue> {
    let span = Span::current();
    if span.is_disabled() {
        return None;
    }
    let mut told = Told(None);
    TraceContextPropagator::new().inject_context(&span.context(), &mut told);
    told.0
}

/// The header fields of a request, as they name a trace.
struct Fields<'a>(&'a HeaderMap);

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// The one field that is passed on.
struct Told(Option<HeaderValue>);

impl Injector for Told {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = value.parse().ok();
        }
    }
}

/// Notes how a request over HTTP was answered: its status, the bytes of its body and how that ended, and which archive it
/// was for.
pub fn answered(span: &Span, status: u16, bytes: u64, end: &'static str, archive: Option<&str>) {
    span.record("http.response.status_code", status);
    span.record("http.response.body.size", bytes);
    span.record("gantry.end", end);
    if let Some(archive) = archive {
        span.record("gantry.archive", archive);
    }
    if status >= 500 || end == "broken" {
        span.record("otel.status_code", "ERROR");
    }
    ended(span);
}

/// Ends a request's span now. By itself it would end with the last of what was begun for it, which others may still read.
pub fn ended(span: &Span) {
    if !span.is_disabled() {
        span.context().span().end();
    }
}

/// A request of a DIMSE client.
pub fn dimse_request(operation: &'static str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "dimse request",
        otel.name = format_args!("{operation} (client)"),
        otel.kind = "server",
        otel.status_code = Empty,
        dimse.operation = operation,
        dimse.status = Empty,
    )
}

/// A retrieval at an archive: from when it is asked for until its last object has come.
pub fn retrieval(archive: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "retrieve",
        otel.status_code = Empty,
        gantry.archive = archive,
        gantry.outcome = Empty,
        gantry.objects = Empty,
        gantry.bytes = Empty,
    )
}

/// Within a retrieval: until its first object begins to come.
pub fn first_object(retrieval: &Span) -> Span {
    tracing::info_span!(target: TARGET, parent: retrieval, "first object")
}

/// Within a retrieval: from its first object until its last has come.
pub fn objects(retrieval: &Span) -> Span {
    tracing::info_span!(target: TARGET, parent: retrieval, "objects")
}

/// Until somebody has an association towards an archive.
pub fn association(archive: &str) -> Span {
    tracing::info_span!(target: TARGET, "association", gantry.archive = archive, gantry.outcome = Empty)
}

/// Within that: one is opened.
pub fn associate(archive: &str) -> Span {
    tracing::info_span!(target: TARGET, "associate", otel.kind = "client", gantry.archive = archive)
}

/// A DIMSE operation at an archive.
pub fn operation(archive: &str, operation: &'static str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "dimse operation",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        dimse.operation = operation,
        dimse.status = Empty,
        gantry.archive = archive,
        gantry.outcome = Empty,
    )
}

/// Notes how something went, in one word, and whether that is a failure.
pub fn outcome(span: &Span, outcome: &'static str, failed: bool) {
    span.record("gantry.outcome", outcome);
    if failed {
        span.record("otel.status_code", "ERROR");
    }
}

/// Notes the status of a DIMSE response, as the standard writes it.
pub fn status(span: &Span, code: u16) {
    if !span.is_disabled() {
        span.record("dimse.status", format_args!("{code:04X}"));
    }
}

/// Notes how much a retrieval has brought.
pub fn brought(span: &Span, objects: usize, bytes: u64) {
    span.record("gantry.objects", objects as u64);
    span.record("gantry.bytes", bytes);
}
