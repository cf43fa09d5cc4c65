//! What is told of every request when its answer has ended: one line in the log, its figures, a span of its trace.
//!
//! A URL has patients' names in its query and UIDs in its path: what is told is the route's pattern. Whoever finds out
//! who asks, and for which archive, notes it in the request's [`Notes`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Extensions, Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tracing::{Instrument as _, Span};

use super::body::{Broken, BrokenOff};
use super::{PAGES, RESOURCES, Server, console, origin};
use crate::archive::Kind;
use crate::metrics::{Metrics, Route};
use crate::net::Connection;
use crate::trace;

/// How the path of an archive's own service begins, as its routes have it.
const NAMED: &str = "/archives/{archive}";
/// The root of an archive's service.
const SERVICE: &str = "service";
/// What there is not.
const NONE: &str = "none";
/// The routes that are asked every few seconds by those who watch: a line for each would drown the others.
const WATCHED: [&str; 6] =
    ["/health/live", "/health/ready", "/metrics", "/console/", "/console/transfers", "/console/failures"];

/// What is noted of a request while it is served. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    user: OnceLock<Arc<str>>,
    archive: OnceLock<String>,
    /// Bytes of the request's body that were read.
    read: AtomicU64,
}

impl Notes {
    /// Those of a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Who asks is known.
    pub(super) fn user(&self, name: &Arc<str>) {
        let _ = self.0.user.set(Arc::clone(name));
    }

    /// The request is for the archive of this name, which there is.
    pub(super) fn archive(&self, name: &str) {
        let _ = self.0.archive.set(name.to_owned());
    }
}

/// Watches a request from its head to the last byte of its answer.
pub(super) async fn observe(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map_or(NONE, MatchedPath::as_str);
    let route = server.0.routes.of(pattern(matched, &server.0.config.base_path));
    let method = method(request.method());
    let span = trace::http_request(method, route.pattern());
    trace::continues(&span, request.headers());
    let peer = request.extensions().get::<Connection>().map(|connection| connection.peer.ip());
    route.begins();
    let mut told = Told {
        begin: Instant::now(),
        method,
        route,
        client: origin::client_address(&server.0.config, peer, request.headers()),
        notes: Notes::default(),
        span: span.clone(),
        status: None,
        sent: 0,
        end: End::Left,
    };
    request.extensions_mut().insert(told.notes.clone());
    if !request.body().is_end_stream() {
        let notes = told.notes.clone();
        request = request.map(|body| Body::new(Counted { body, notes }));
    }
    let has_no_body = *request.method() == Method::HEAD;
    let response = next.run(request).instrument(span).await;
    let status = response.status();
    told.begun(status);
    if has_no_body || status == StatusCode::NOT_MODIFIED || response.body().is_end_stream() {
        told.end = End::Whole;
        return response;
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let left = length.or_else(|| response.body().size_hint().exact());
    response.map(|body| Body::new(Observed { body, left, told }))
}

/// The figures of each route, at hand.
#[derive(Debug)]
pub(super) struct Routes {
    metrics: Metrics,
    figures: HashMap<&'static str, OnceLock<Arc<Route>>>,
}

impl Routes {
    /// Of all routes that there are.
    pub(super) fn new(metrics: &Metrics) -> Self {
        let figures = patterns().map(|pattern| (pattern, OnceLock::new())).collect();
        Self { metrics: metrics.clone(), figures }
    }

    fn of(&self, pattern: &'static str) -> Arc<Route> {
        let found = || Arc::new(Route::new(&self.metrics, pattern));
        self.figures.get(pattern).map_or_else(found, |figures| Arc::clone(figures.get_or_init(found)))
    }
}

/// The patterns of all routes.
fn patterns() -> impl Iterator<Item = &'static str> {
    let resources = RESOURCES.iter().map(|(pattern, _)| *pattern);
    let pages = PAGES.iter().map(|(pattern, _)| *pattern);
    resources.chain(pages).chain(console::ROUTES).chain([SERVICE, NONE])
}

/// The pattern of a route below the root of its service, the same for the default archive and for those that are named.
fn pattern(matched: &str, base_path: &str) -> &'static str {
    let below = matched.strip_prefix(NAMED).or_else(|| matched.strip_prefix(base_path));
    match below {
        Some("" | "/") => SERVICE,
        below => {
            let pattern = below.filter(|below| below.starts_with('/')).unwrap_or(matched);
            patterns().find(|it| *it == pattern).unwrap_or(NONE)
        }
    }
}

/// The method, where it is one that there is here.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has all of it.
    Whole,
    /// The archive or the bridge broke it off.
    Broken,
    /// The client has gone, or did not read on.
    Left,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Left => "left",
        }
    }
}

/// What is told of a request, when this is dropped.
#[derive(Debug)]
struct Told {
    begin: Instant,
    method: &'static str,
    route: Arc<Route>,
    client: Option<IpAddr>,
    notes: Notes,
    span: Span,
    /// `None`: the client left before there was one.
    status: Option<StatusCode>,
    sent: u64,
    end: End,
}

impl Told {
    fn begun(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.route.answered(self.begin.elapsed());
    }

    fn count(&self, read: u64) {
        let status = match self.status.map_or(0, |status| status.as_u16() / 100) {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "none",
        };
        self.route.ended(self.method, status, self.begin.elapsed(), read, self.sent);
        if self.end != End::Whole {
            self.route.broke_off(self.end.as_str());
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let Noted { user, archive, read } = &*self.notes.0;
        let (read, end) = (read.load(Ordering::Relaxed), self.end.as_str());
        self.count(read);
        let status = self.status.map_or(0, |status| status.as_u16());
        trace::answered(&self.span, status, self.sent, end, archive.get().map(String::as_str));
        let client = self.client.map_or_else(|| Cow::Borrowed("-"), |client| client.to_string().into());
        let (user, archive) =
            (user.get().map_or("-", |user| user), archive.get().map_or("-", String::as_str));
        let ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Self { method, sent, .. } = self;
        let route = self.route.pattern();
        if WATCHED.contains(&route) && status == 200 {
            tracing::debug!(method, %route, status, ms, "answered");
            return;
        }
        // Quoted and escaped, as an issuer may have chosen it.
        tracing::info!(method, %route, status, archive, user, %client, sent, read, ms, end, "answered");
    }
}

/// The body of a request, whose bytes are counted.
#[derive(Debug)]
struct Counted {
    body: Body,
    notes: Notes,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.notes.0.read.fetch_add(length, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The body of an answer, whose end is told.
#[derive(Debug)]
struct Observed {
    body: Body,
    /// How much of it is not out, where its length was told: behind that nobody asks for its end.
    left: Option<u64>,
    told: Told,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = {
            let _within = this.told.span.enter();
            ready!(Pin::new(&mut this.body).poll_frame(cx))
        };
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.told.sent += length;
                this.left = this.left.map(|left| left.saturating_sub(length));
                if this.left == Some(0) || this.body.is_end_stream() {
                    this.told.end = End::Whole;
                }
            }
            None => this.told.end = End::Whole,
            Some(Err(error)) => this.told.end = if is_readers_fault(error) { End::Left } else { End::Broken },
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Whether an answer broke off because nobody read it.
fn is_readers_fault(error: &axum::Error) -> bool {
    let is_stall = |broken: &Broken| match broken {
        Broken::ReaderStalled => true,
        Broken::Archive(error) => matches!(error.kind, Kind::ReaderStalled | Kind::Cancelled),
        _ => false,
    };
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        let broken = error.downcast_ref::<BrokenOff>().map(|off| &off.broken);
        if broken.or_else(|| error.downcast_ref()).is_some_and(is_stall) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name_for_all_archives_and_never_that_of_what_was_asked_for() {
        for (matched, expected) in [
            ("/dicom-web/studies/{study}", "/studies/{study}"),
            ("/archives/{archive}/studies/{study}", "/studies/{study}"),
            ("/dicom-web", "service"),
            ("/dicom-web/", "service"),
            ("/archives/{archive}", "service"),
            ("/", "/"),
            ("/metrics", "/metrics"),
            ("none", "none"),
            ("/archives/{archive}/what/is/not", "none"),
            ("/console/archives/{archive}/echo", "/console/archives/{archive}/echo"),
        ] {
            assert_eq!(pattern(matched, "/dicom-web"), expected, "{matched}");
        }
    }

    #[test]
    fn hazard_a_method_that_a_client_makes_up_is_no_label() {
        assert_eq!(method(&Method::from_bytes(b"FORGED").unwrap()), "other");
        assert_eq!(method(&Method::TRACE), "other");
    }

    #[test]
    fn who_did_not_read_is_told_from_what_broke() {
        let of = |broken| axum::Error::new(BrokenOff { archive: "main".into(), broken });
        assert!(is_readers_fault(&axum::Error::new(Broken::ReaderStalled)));
        assert!(is_readers_fault(&of(Broken::ReaderStalled)));
        assert!(!is_readers_fault(&of(Broken::NoValue)));
        assert!(!is_readers_fault(&axum::Error::new(std::io::Error::other("gone"))));
    }
}
