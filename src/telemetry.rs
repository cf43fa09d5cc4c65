//! Sets up the log, and where traces go.

mod otlp;

use std::io::{self, IsTerminal};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::trace::TARGET;

pub use otlp::{Exporter, Traces, TracesConfig};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Levels by module, as `info` or `warn,gantry::dimse=debug`.
    pub filter: String,
    /// One JSON object a line, in place of text for people.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

impl Config {
    /// Whether the text is a filter that [`init`] takes.
    pub fn is_filter(text: &str) -> bool {
        EnvFilter::try_new(text).is_ok()
    }
}

/// Sends the log to standard error from now on, and makes traces where they are wanted; they are sent by what
/// [`Traces::export`] gives. Once a process; a second call changes nothing.
pub fn init(config: &Config, traces: Option<&TracesConfig>) -> Option<Traces> {
    // The configuration has checked it; `info` is what a filter that does not parse can still mean.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    let of_log = filter.and(filter_fn(|metadata| is_for_log(metadata.target())));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines = if config.json { lines.json().boxed() } else { lines.boxed() };
    let traces = traces.map(Traces::new);
    let tracer = traces.as_ref().map(|traces: &Traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer(traces.provider()));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(filter_fn(|metadata| metadata.target() == TARGET))
    });
    let registry = tracing_subscriber::registry().with(lines.with_filter(of_log)).with(tracer);
    let _ = registry.try_init();
    traces
}

/// Spans are not for the log, which would repeat them in every line; and what OpenJPEG says of a damaged codestream is told
/// by whoever wanted the frame.
fn is_for_log(target: &str) -> bool {
    target != TARGET && !target.starts_with("jpeg2k")
}

fn tracer(provider: &SdkTracerProvider) -> opentelemetry_sdk::trace::SdkTracer {
    provider.tracer("gantry")
}
