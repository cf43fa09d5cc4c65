//! What the bridge counts, read from the text of `/metrics` as Prometheus reads it.

use std::net::SocketAddr;

use super::http::get;

/// The figures at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Figures(String);

impl Figures {
    /// Those of the bridge at `address`.
    pub(crate) async fn of(address: SocketAddr) -> Self {
        let reply = get(address, "/metrics").await;
        assert_eq!((reply.status, reply.whole), (200, true));
        Self::new(reply.text())
    }

    /// Those of this text.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The sum of all samples of `name` (without `gantry_`) that have these labels, such as `outcome="hit"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let name = format!("gantry_{name}");
        let samples = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let of_name = samples.filter(|(series, _)| series.split('{').next() == Some(name.as_str()));
        let wanted = of_name.filter(|(series, _)| labels.iter().all(|label| series.contains(label)));
        wanted.map(|(_, value)| value.parse::<f64>().unwrap() as u64).sum()
    }

    /// Requests to the cache that were answered in this way: `hit`, `attached`, `miss` or `ahead`.
    pub(crate) fn requests(&self, outcome: &str) -> u64 {
        self.sum("cache_requests_total", &[&format!("outcome=\"{outcome}\"")])
    }

    /// Retrievals at the archive that ended in this way: `complete`, `incomplete`, `cancelled` or `failed`.
    pub(crate) fn retrievals(&self, outcome: &str) -> u64 {
        self.sum("retrievals_total", &[&format!("outcome=\"{outcome}\"")])
    }
}
