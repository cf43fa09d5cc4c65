//! What is counted, for whoever watches the bridge: Prometheus' text at `/metrics`.
//!
//! Names and labels are part of the interface: dashboards and alerts are written against them, and
//! `docs/operations.md` has a row for each. A label holds what the configuration or this code has named, and nothing
//! that a client or an archive may make up: neither memory nor the watcher's is theirs to fill.

mod archive;
mod few;
mod figures;
mod labels;
mod plain;
mod process;
mod route;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use archive::{Gauges, OfArchive, Waited};
pub use figures::Figures;
pub use labels::{
    AtArchive, AtClient, Durations, InState, Of, OfOperation, OfRoute, OfRouteEnd, Outcome, Reason, Request,
    Tier, Went,
};
pub use route::Route;

/// The counters. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    /// What is ours, under names that begin with `gantry_`.
    own: Registry,
    /// What every process has, under the names that every process has it under.
    process: Registry,
    figures: Figures,
}

impl Default for Metrics {
    fn default() -> Self {
        let figures = Figures::default();
        // An alert would miss the first of what begins with 1.
        for outcome in ["applied", "refused"] {
            let _ = figures.config_reloads.get_or_create(&Went { outcome });
        }
        let mut own = Registry::with_prefix("gantry");
        figures.register(&mut own);
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        own.register("build", "The version that runs, as a label; always 1", version);
        let mut process = Registry::default();
        process.register_collector(Box::new(process::Process));
        Self(Arc::new(Inner { own, process, figures }))
    }
}

impl Metrics {
    /// All figures in the format of OpenMetrics 1.0.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let all = [&self.0.own, &self.0.process].into_iter().try_for_each(|it| encode_registry(&mut out, it));
        all.and_then(|()| encode_eof(&mut out)).expect("a String takes everything");
        out
    }

    /// The same in the older format of Prometheus (version 0.0.4), which everything reads.
    pub fn plain_text(&self) -> String {
        plain::from_open_metrics(&self.text())
    }

    /// The names that all figures have in [`Metrics::plain_text`], in which one is missing as long as nothing was counted.
    pub fn names(&self) -> BTreeSet<String> {
        let text = self.plain_text();
        let shown = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let figures = self.0.figures.names().map(|(name, kind)| match kind {
            MetricType::Counter => format!("gantry_{name}_total"),
            _ => format!("gantry_{name}"),
        });
        figures.chain(shown.map(str::to_owned)).collect()
    }

    /// A configuration has been looked at: it is in use from now on, or it was refused and nothing has changed.
    pub fn configuration(&self, applied: bool) {
        let outcome = if applied { "applied" } else { "refused" };
        self.config_reloads.get_or_create(&Went { outcome }).inc();
        if applied {
            self.configuration_loaded();
        }
    }

    /// The configuration in use was read just now.
    pub fn configuration_loaded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.config_loaded_timestamp_seconds.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

impl std::ops::Deref for Metrics {
    type Target = Figures;

    fn deref(&self) -> &Figures {
        &self.0.figures
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
        assert!(text.contains("gantry_build_info{version="), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_configuration_that_was_refused_does_not_look_like_one_that_is_in_use() {
        let metrics = Metrics::default();
        metrics.configuration(false);
        assert_eq!(metrics.config_loaded_timestamp_seconds.get(), 0);
        metrics.configuration(true);
        assert!(metrics.config_loaded_timestamp_seconds.get() > 1_700_000_000);
        let text = metrics.text();
        for outcome in ["applied", "refused"] {
            assert!(
                text.contains(&format!("gantry_config_reloads_total{{outcome=\"{outcome}\"}} 1")),
                "{text}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_the_names_that_every_process_has() {
        let text = Metrics::default().text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
