//! Traces → a collector, by OTLP over HTTP with protobuf.
//!
//! A span that has ended goes into a queue of bounded length, which nobody ever waits for: what does not fit is dropped and
//! counted. One task takes what is there every few seconds and posts it. What a collector does not take is dropped and
//! counted as well: a trace is no audit trail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::net::tls;

/// Most spans that wait to be sent: those of some hundred requests, half a kilobyte each.
const MAX_WAITING: usize = 4096;
/// Most spans in one message.
const MAX_SENT: usize = 512;
/// How long spans wait for others, so that they are sent together.
const TOGETHER: Duration = Duration::from_secs(2);
/// How long a collector has for one message, the connection included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last message has when the bridge ends.
const LAST: Duration = Duration::from_secs(3);
/// Most bytes that are read of a collector's answer; real ones have none.
const MAX_ANSWER: usize = 64 << 10;
/// How often a collector that does not take spans is complained of.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// Where spans are posted: the collector's URL with `/v1/traces` behind it.
    pub url: String,
    /// How many of the traces that begin here are made, from 0 to 1. One that a client began is made where the client makes
    /// it.
    pub sample: f64,
    /// Under which name the bridge stands in the traces.
    pub service_name: String,
}

impl TracesConfig {
    /// All traces, to this URL.
    pub fn to(url: String) -> Self {
        Self { url, sample: 1.0, service_name: "gantry".to_owned() }
    }

    /// Where spans are posted at the collector of this URL; `None`: it is none that is understood here. Credentials have no
    /// place in it, as it is shown in the log.
    pub fn url(text: &str) -> Option<String> {
        let uri: Uri = text.parse().ok()?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
        let authority = uri.authority().filter(|it| !it.as_str().contains('@') && !it.host().is_empty())?;
        let path = uri.path().trim_end_matches('/');
        is_known.then(|| format!("{}://{authority}{path}/v1/traces", uri.scheme_str().unwrap_or("http")))
    }
}

/// The spans that are made, and wait to be sent.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    spans: mpsc::Receiver<SpanData>,
    lost: Arc<AtomicU64>,
    resource: Resource,
    url: String,
}

/// Sends spans, until it is told to finish. Dropped, it stops at once.
#[derive(Debug)]
pub struct Exporter {
    finish: CancellationToken,
    task: AbortOnDropHandle<()>,
    _provider: SdkTracerProvider,
}

/// Where spans go that have ended.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Traces {
    /// Makes traces by this configuration.
    pub(super) fn new(config: &TracesConfig) -> Self {
        let (sender, spans) = mpsc::channel(MAX_WAITING);
        let lost = Arc::<AtomicU64>::default();
        let resource = Resource::builder_empty()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample)));
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .with_span_processor(Queue { spans: sender, lost: Arc::clone(&lost) })
            .build();
        Self { provider, spans, lost, resource, url: config.url.clone() }
    }

    /// What makes them.
    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// Sends them from now on, and counts what is sent and what is lost. To be called in a runtime.
    pub fn export(self, metrics: Metrics) -> Exporter {
        let finish = CancellationToken::new();
        let Self { provider, spans, lost, resource, url } = self;
        let sender = Sender {
            spans,
            lost,
            resource: ResourceAttributesWithSchema::from(&resource),
            url,
            tls: tls::Client::new(tls::ClientConfig::default()),
            metrics,
            said: None,
        };
        let task: JoinHandle<()> = tokio::spawn(sender.run(finish.clone()));
        Exporter { finish, task: AbortOnDropHandle::new(task), _provider: provider }
    }
}

impl Exporter {
    /// Sends what is there, for a few seconds at most.
    pub async fn finish(self) {
        self.finish.cancel();
        let _ = timeout(LAST, self.task).await;
    }
}

struct Sender {
    spans: mpsc::Receiver<SpanData>,
    lost: Arc<AtomicU64>,
    resource: ResourceAttributesWithSchema,
    url: String,
    tls: tls::Client,
    metrics: Metrics,
    /// When it was last said that they are not taken.
    said: Option<Instant>,
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it broke the protocol: {0}")]
    Protocol(#[from] hyper::Error),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its URL cannot be used")]
    Url,
}

/// A connection, whatever lies below.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sender {
    async fn run(mut self, finish: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = finish.cancelled() => break,
                span = self.spans.recv() => span,
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            let until = Instant::now() + TOGETHER;
            while batch.len() < MAX_SENT {
                let next = tokio::select! {
                    biased;
                    () = finish.cancelled() => break,
                    next = timeout_at(until, self.spans.recv()) => next,
                };
                match next {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(batch).await;
        }
        let mut rest = Vec::new();
        while let Ok(span) = self.spans.try_recv() {
            rest.push(span);
        }
        if !rest.is_empty() {
            self.send(rest).await;
        }
    }

    async fn send(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = timeout(PATIENCE, self.post(message.into())).await.unwrap_or(Err(SendError::Timeout));
        match sent {
            Ok(()) => {
                self.metrics.spans_sent.inc_by(count);
                self.said = None;
            }
            Err(error) => {
                self.metrics.spans_lost.inc_by(count);
                if self.said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                    self.said = Some(Instant::now());
                    tracing::warn!(collector = self.url, "traces are not taken and are dropped: {error}");
                }
            }
        }
        self.metrics.spans_lost.inc_by(self.lost.swap(0, Ordering::Relaxed));
    }

    async fn post(&self, message: Bytes) -> Result<(), SendError> {
        let uri: Uri = self.url.parse().map_err(|_| SendError::Url)?;
        let authority = uri.authority().ok_or(SendError::Url)?.as_str();
        let stream = self.connect(&uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this call, whatever becomes of it.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::post(uri.path())
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("gantry/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(message))
            .map_err(|_| SendError::Url)?;
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(SendError::Status(response.status()));
        }
        let _ = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(())
    }

    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Stream>, SendError> {
        let host = uri.host().ok_or(SendError::Url)?.trim_matches(['[', ']']);
        let is_secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if !is_secure {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(self.tls.connect(stream, host, Instant::now() + PATIENCE).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_collector_gets_the_path_of_traces_and_holds_no_secret() {
        for (text, url) in [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces")),
            ("https://otel.example/", Some("https://otel.example/v1/traces")),
            ("https://otel.example/in/", Some("https://otel.example/in/v1/traces")),
            ("http://[::1]:4318", Some("http://[::1]:4318/v1/traces")),
            ("http://user:secret@otel.example", None),
            ("http://otel.example/?key=secret", None),
            ("otel.example:4318", None),
            ("ftp://otel.example", None),
            ("", None),
        ] {
            assert_eq!(TracesConfig::url(text).as_deref(), url, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_full_holds_nobody_up_and_what_it_loses_is_counted() {
        use opentelemetry::trace::{Tracer as _, TracerProvider as _};
        let traces = Traces::new(&TracesConfig::to("http://127.0.0.1:9/v1/traces".to_owned()));
        let tracer = traces.provider().tracer("test");
        for _ in 0..MAX_WAITING + 7 {
            drop(tracer.start("span"));
        }
        assert_eq!(traces.lost.load(Ordering::Relaxed), 7);
    }
}
