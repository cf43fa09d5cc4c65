//! The requests of HTTP/2 connections: each can be ended by itself, and a connection that has none can be told.
//!
//! A reader that grants no window keeps its answer waiting where nobody asks the body any more: hyper waits for the window
//! first. So the body cannot end the answer; the task in which it is written must.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Into how many parts the time is divided in which a connection may have no request: it is cut so much later at most.
const LOOKS: u32 = 4;

tokio::task_local! {
    static STREAM: HttpStream;
}

/// The stream of an HTTP/2 request (RFC 9113 5).
#[derive(Debug, Clone)]
pub struct HttpStream {
    reset: CancellationToken,
}

impl HttpStream {
    /// The stream whose request is served by the task that asks; `None`: it is none of HTTP/2.
    pub fn current() -> Option<Self> {
        STREAM.try_with(Clone::clone).ok()
    }

    /// Ends it with RST_STREAM; what of its answer is not sent yet is dropped. The connection's other streams go on.
    pub fn reset(&self) {
        self.reset.cancel();
    }
}

/// The requests of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct HttpStreams(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    open: AtomicUsize,
    /// How many there have been.
    opened: AtomicUsize,
    /// Set with the first.
    is_http2: AtomicBool,
}

impl HttpStreams {
    /// Waits until an HTTP/2 connection has had no request for `time`. Never ends where the connection speaks HTTP/1,
    /// whose idle time hyper bounds.
    pub(super) async fn idle(&self, time: Duration) {
        let Counted { open, opened, is_http2 } = &*self.0;
        let (mut quiet, mut seen) = (0, 0);
        while quiet < LOOKS {
            sleep(time / LOOKS).await;
            let now = opened.load(Ordering::Acquire);
            let is_quiet =
                is_http2.load(Ordering::Acquire) && open.load(Ordering::Acquire) == 0 && now == seen;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            seen = now;
        }
    }
}

/// Counts a request for as long as it is there.
struct Open(HttpStreams);

impl Open {
    fn new(streams: HttpStreams) -> Self {
        let Counted { open, opened, is_http2 } = &*streams.0;
        open.fetch_add(1, Ordering::AcqRel);
        opened.fetch_add(1, Ordering::AcqRel);
        is_http2.store(true, Ordering::Release);
        Self(streams)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// hyper gives each request of an HTTP/2 connection to its executor. The tasks end with their connection: hyper's own
/// futures see it close.
impl<F> Executor<F> for HttpStreams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let open = Open::new(self.clone());
        let stream = HttpStream { reset: CancellationToken::new() };
        let reset = stream.reset.clone();
        let served = async move {
            tokio::select! {
                biased;
                () = reset.cancelled() => tracing::debug!("an HTTP/2 stream is reset"),
                _ = future => {}
            }
            drop(open);
        };
        tokio::spawn(STREAM.scope(stream, served));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_it_has_had_no_request_for_a_while() {
        let streams = HttpStreams::default();
        let begin = Instant::now();
        let (release, held) = oneshot::channel::<()>();
        streams.execute(held);
        advance(Duration::from_secs(100)).await;
        let release = async {
            sleep(Duration::from_secs(100)).await;
            drop(release);
        };
        tokio::join!(streams.idle(Duration::from_secs(8)), release);
        let elapsed = begin.elapsed().as_secs();
        assert!((208..=212).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test]
    async fn a_stream_that_is_reset_drops_what_serves_it() {
        let streams = HttpStreams::default();
        let (told, stream) = oneshot::channel();
        let (alive, gone) = oneshot::channel::<()>();
        streams.execute(async move {
            let _alive = alive;
            let _ = told.send(HttpStream::current());
            std::future::pending::<()>().await;
        });
        assert!(HttpStream::current().is_none());
        stream.await.unwrap().unwrap().reset();
        assert!(gone.await.is_err());
    }
}
