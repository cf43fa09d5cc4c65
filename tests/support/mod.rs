//! What the integration tests stand on: real archives, a real proxy, the bridge itself, each on free loopback
//! ports, in a folder of its own, and gone when the test ends.

pub(crate) mod app;
pub(crate) mod bridge;
pub(crate) mod certificates;
pub(crate) mod chaos;
pub(crate) mod command;
pub(crate) mod curl;
pub(crate) mod dimse;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod measured;
pub(crate) mod metrics;
pub(crate) mod objects;
pub(crate) mod part10;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod signer;
pub(crate) mod speed;
pub(crate) mod viewer;

use std::time::{Duration, Instant};

/// When a test gives up waiting for a condition, unless it says otherwise.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, looking every few milliseconds.
///
/// # Panics
/// It does not within `deadline`.
pub(crate) async fn until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
