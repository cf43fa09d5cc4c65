//! The body of a request, piece by piece, with a bound on how long it may be silent.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, timeout};

/// Most bytes that are read only so that the client, which reads when it has written everything, sees its
/// answer. What is longer is cut off.
const MAX_DRAIN: u64 = 256 << 20;

/// Fewest bytes that come while the body may be silent: 2 KiB a second where that is 30 seconds. A client that
/// drips holds an association as long as one that stalls.
const MIN_PROGRESS: u64 = 64 << 10;

/// A request's body.
pub(super) struct Source {
    stream: BodyDataStream,
    read_timeout: Duration,
    /// How much more there may be.
    left: u64,
    /// How much more is read; `None`: everything.
    allowance: Option<u64>,
    progress: Progress,
    touched: bool,
    ended: bool,
}

/// How much came since when it was last looked at. Time in which nobody wanted bytes does not count.
#[derive(Debug, Default)]
struct Progress {
    waited: Duration,
    bytes: u64,
}

/// Why no more bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// The connection broke, or the framing of HTTP.
    Lost,
    /// The client fell silent.
    Stalled,
    /// More came than is read for the client's sake alone.
    Enough,
    /// More came than one request may bring.
    TooLong,
}

impl Source {
    /// A body of at most `most` bytes that may be silent for `read_timeout`.
    pub(super) fn new(body: Body, most: u64, read_timeout: Duration) -> Self {
        let stream = body.into_data_stream();
        Self {
            stream,
            read_timeout,
            left: most,
            allowance: None,
            progress: Progress::default(),
            touched: false,
            ended: false,
        }
    }

    /// The next bytes; `None`: the body has ended as HTTP says that it ends.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Interrupted> {
        self.touched = true;
        if self.ended {
            return Ok(None);
        }
        let asked = Instant::now();
        let next = timeout(self.read_timeout, poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx))).await;
        let interrupted = match next {
            Ok(Some(Ok(bytes))) => {
                let length = bytes.len() as u64;
                let is_too_long = length > self.left;
                self.left = self.left.saturating_sub(length);
                let drips = self.progress.is_too_slow(asked.elapsed(), length, self.read_timeout);
                match &mut self.allowance {
                    _ if drips => Interrupted::Stalled,
                    // What follows may still be read for its sender's sake.
                    None if is_too_long => return Err(Interrupted::TooLong),
                    None => return Ok(Some(bytes)),
                    Some(left) if *left >= length => {
                        *left -= length;
                        return Ok(Some(bytes));
                    }
                    Some(_) => Interrupted::Enough,
                }
            }
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Ok(Some(Err(_))) => Interrupted::Lost,
            Err(_) => Interrupted::Stalled,
        };
        self.ended = true;
        Err(interrupted)
    }

    /// Says that what comes from now on is read for the client's sake alone.
    pub(super) fn lose_interest(&mut self) {
        self.allowance.get_or_insert(MAX_DRAIN);
    }

    /// Whether anything has been read: until then a client that expects `100 Continue` sends nothing.
    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// Reads what is left, for no longer than the body may be silent.
    pub(super) async fn drain(&mut self) {
        self.lose_interest();
        let limit = self.read_timeout;
        let _ = timeout(limit, async { while let Ok(Some(_)) = self.next().await {} }).await;
    }
}

impl Progress {
    /// Counts what came after a wait; whether too little came in the time that the body may be silent.
    fn is_too_slow(&mut self, waited: Duration, bytes: u64, silence: Duration) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < silence {
            return false;
        }
        let Self { bytes, .. } = std::mem::take(self);
        bytes < MIN_PROGRESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_a_body_that_drips_is_one_that_stalls_and_the_archives_time_is_not_the_clients() {
        let silence = Duration::from_secs(30);
        let mut progress = Progress::default();
        let drips = (0..60).position(|_| progress.is_too_slow(Duration::from_millis(500), 1, silence));
        assert_eq!(drips, Some(59));
        let mut progress = Progress::default();
        let slow = (0..600).any(|_| progress.is_too_slow(Duration::from_millis(500), 1500, silence));
        assert!(!slow, "3 kB a second are few, and enough");
        let at_once = (0..600).any(|_| progress.is_too_slow(Duration::ZERO, 1, silence));
        assert!(!at_once);
    }
}
