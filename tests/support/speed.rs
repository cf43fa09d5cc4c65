//! Bounds on our own speed, which hold on a machine that has other things to do as well.

use std::time::Duration;

/// Noise only ever adds to a time: the best of so many attempts tells how fast we are.
const ATTEMPTS: usize = 3;

/// Something took longer than it may.
#[derive(Debug)]
pub(crate) struct TooSlow(String);

/// Sees that what took so long was to take less than `limit`.
pub(crate) fn within(limit: Duration, took: Duration, what: &str) -> Result<(), TooSlow> {
    if took < limit { Ok(()) } else { Err(TooSlow(format!("{what}: {took:?}, not within {limit:?}"))) }
}

/// Does something that is to be done in time: once, and once more as often as that was too slow. Whatever else is wrong
/// in any attempt is for that to panic about.
///
/// # Panics
/// Every attempt was too slow.
pub(crate) async fn at_best(mut attempt: impl AsyncFnMut() -> Result<(), TooSlow>) {
    let mut slow = Vec::new();
    while let Err(TooSlow(what)) = attempt().await {
        slow.push(what);
        assert!(slow.len() < ATTEMPTS, "{slow:#?}");
    }
}
