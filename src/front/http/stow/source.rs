//! The body of a request, piece by piece, with a bound on how long it may be silent.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout;

/// Most bytes that are read only so that the client, which reads when it has written everything, sees its
/// answer. What is longer is cut off.
const MAX_DRAIN: u64 = 256 << 20;

/// A request's body.
pub(super) struct Source {
    stream: BodyDataStream,
    read_timeout: Duration,
    /// How much more is read; `None`: everything.
    allowance: Option<u64>,
    touched: bool,
    ended: bool,
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
}

impl Source {
    /// A body that may be silent for `read_timeout`.
    pub(super) fn new(body: Body, read_timeout: Duration) -> Self {
        let stream = body.into_data_stream();
        Self { stream, read_timeout, allowance: None, touched: false, ended: false }
    }

    /// The next bytes; `None`: the body has ended as HTTP says that it ends.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Interrupted> {
        self.touched = true;
        if self.ended {
            return Ok(None);
        }
        let next = timeout(self.read_timeout, poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx))).await;
        let interrupted = match next {
            Ok(Some(Ok(bytes))) => {
                let length = bytes.len() as u64;
                match &mut self.allowance {
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
