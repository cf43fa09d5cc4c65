//! The objects of a transfer, sent to an application entity as the sub-operations of a C-MOVE (PS3.4 C.4.2.3.1).

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, sleep_until};

use super::{Delivered, Delivery, Outcome, Requestor, Tally};
use crate::archive::{Form, Kind, Visit};
use crate::caller::Caller;
use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicom::{AeTitle, Uid};

/// How long the object on its way may take to its end when the requestor has called the transfer off.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);
/// After so many objects in a row for which there is no association, or no answer, the destination is given up; after so
/// many of one SOP class that it does not take, objects of that class are no longer tried.
const MOST_IN_VAIN: usize = 3;

/// How long the first object may be on its way before the requestor is told that it is. movescu, which is client and
/// destination at once, does not look at new connections for a second unless it is told something.
const FIRST_NEWS: Duration = Duration::from_millis(20);
/// How long any object may be on its way before the requestor is told once more: far below what clients wait for a
/// response.
const NEWS: Duration = Duration::from_secs(5);

/// A destination.
pub struct ToDestination {
    destination: Visit,
    title: AeTitle,
    caller: Caller,
    /// The requestor's title and message ID, where it is a C-MOVE.
    originator: Option<(AeTitle, u16)>,
    /// Objects in a row for which it was not there, and what it did with the last of them.
    in_vain: (usize, &'static str),
    /// How often it has refused SOP classes as such. What comes later may be of others that it takes, so that this ends
    /// no transfer.
    refused: BTreeMap<Uid, usize>,
    /// Whether an object has been on its way.
    has_begun: bool,
}

impl ToDestination {
    /// A destination. `originator` has sent a C-MOVE: their title, and its message ID.
    pub fn new(
        destination: Visit,
        title: AeTitle,
        caller: Caller,
        originator: Option<(AeTitle, u16)>,
    ) -> Self {
        let (in_vain, refused, has_begun) = ((0, ""), BTreeMap::new(), false);
        Self { destination, title, caller, originator, in_vain, refused, has_begun }
    }

    /// The form in which objects are best retrieved.
    pub fn form(&self) -> Form {
        self.destination.form()
    }
}

impl<R: Requestor> Delivery<R> for ToDestination {
    /// The requestor is told where it would hear nothing else for long.
    async fn deliver(
        &mut self,
        requestor: &mut R,
        object: Object,
        tally: &Tally,
        cancelled: &mut bool,
    ) -> Result<Delivered, R::Gone> {
        let class = object.head.sop_class.clone();
        if self.refused.get(&class).is_some_and(|times| *times >= MOST_IN_VAIN) {
            return Ok(Delivered::Ended(Outcome::Failed));
        }
        let length = Arc::new(AtomicU64::new(0));
        let counted = Counted { body: object.body, length: Arc::clone(&length) };
        let object = Object { body: Cursor::over(counted), ..object };
        let mut delivery = pin!(self.destination.deliver(&self.caller, object, self.originator.clone()));
        let mut until = None;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let mut tell_at = Instant::now() + if is_first { FIRST_NEWS } else { NEWS };
        let stored = loop {
            tokio::select! {
                biased;
                stored = &mut delivery => break stored,
                stop = requestor.cancelled() => {
                    stop?;
                    *cancelled = true;
                    until.get_or_insert_with(|| Instant::now() + CANCEL_PATIENCE);
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    // Dropped in the middle it is aborted there: the destination has the whole object or nothing.
                    return Ok(Delivered::Abandoned);
                }
                () = sleep_until(tell_at) => {
                    requestor.tell_under_way(tally);
                    tell_at = Instant::now() + NEWS;
                }
            }
        };
        self.in_vain = match stored.as_ref().err().and_then(|error| absence(&error.kind)) {
            Some(what) => (self.in_vain.0 + 1, what),
            None => (0, ""),
        };
        Ok(match stored {
            Ok(stored) => {
                requestor.passed(length.load(Ordering::Relaxed));
                Delivered::by_status(stored.status)
            }
            Err(error) => {
                tracing::debug!(destination = %self.title, %error, "an object was not delivered");
                match error.kind {
                    Kind::ClassRefused(_) => {
                        *self.refused.entry(class).or_default() += 1;
                        Delivered::Ended(Outcome::Failed)
                    }
                    Kind::SyntaxRefused(_) => Delivered::WrongSyntax,
                    Kind::SourceBroke => Delivered::Broken,
                    _ => Delivered::Ended(Outcome::Failed),
                }
            }
        })
    }

    fn given_up(&self) -> Option<String> {
        let (times, what) = self.in_vain;
        (times >= MOST_IN_VAIN).then(|| format!("destination {} {what}", self.title))
    }
}

/// The bytes of an object, which are counted as they pass.
struct Counted {
    body: Cursor,
    length: Arc<AtomicU64>,
}

impl Stream for Counted {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(Pin::new(&mut self.body).poll_next(cx));
        if let Some(Ok(bytes)) = &piece {
            self.length.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(piece)
    }
}

/// What a destination does that is not there for any object; `None`: that was about this one.
fn absence(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Unreachable(_) | Kind::BreakerOpen(_) => Some("cannot be reached"),
        Kind::Tls(_) => Some("has bad TLS"),
        Kind::Rejected { .. } => Some("refuses the association"),
        // Each takes as long as the time-out: a study would take hours.
        Kind::Timeout(_) => Some("does not answer"),
        Kind::QueueFull | Kind::QueueTimeout => Some("has no association free"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_a_destination_that_never_answers_is_given_up_and_one_that_fails_an_object_is_not() {
        for step in ["connect", "association", "silence", "operation"] {
            assert_eq!(absence(&Kind::Timeout(step)), Some("does not answer"), "{step}");
        }
        assert_eq!(absence(&Kind::Unreachable(String::new())), Some("cannot be reached"));
        assert_eq!(absence(&Kind::SourceBroke), None);
        assert_eq!(absence(&Kind::Aborted(String::new())), None);
    }
}
