//! Where the objects of a retrieval go: onto the client's association, or to the destination of its C-MOVE.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, sleep_until};

use super::onto_client;
use super::tally::Outcome;
use crate::archive::{Form, Kind, Visit};
use crate::caller::Caller;
use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicom::{AeTitle, Uid};
use crate::dimse::command::Command;
use crate::dimse::status::{self, Class};
use crate::front::dimse::client::{Client, End};

/// How long the object on its way may take to its end when the client has cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);
/// After so many objects in a row for which there is no association, or no answer, the destination is given up; after so
/// many of one SOP class that it does not take, objects of that class are no longer tried.
const MOST_IN_VAIN: usize = 3;

/// How long the first object may be on its way before the client is told that it is. movescu, which is client and
/// destination at once, does not look at new connections for a second unless it is told something.
const FIRST_NEWS: Duration = Duration::from_millis(20);
/// How long any object may be on its way before the client is told once more: far below what clients wait for a response.
const NEWS: Duration = Duration::from_secs(5);

/// Where objects go.
pub(super) enum Delivery {
    /// To the client itself: C-GET.
    OntoClient,
    /// To the destination of a C-MOVE.
    ToDestination(ToDestination),
}

/// A destination.
pub(super) struct ToDestination {
    destination: Visit,
    title: AeTitle,
    caller: Caller,
    /// The client's title and message ID.
    originator: (AeTitle, u16),
    /// Objects in a row for which it was not there, and what it did with the last of them.
    in_vain: (usize, &'static str),
    /// How often it has refused SOP classes as such. What comes later may be of others that it takes, so that this ends
    /// no retrieval.
    refused: BTreeMap<Uid, usize>,
    /// Whether an object has been on its way.
    has_begun: bool,
}

/// The pending response that says how far the work is, and its presentation context.
pub(super) struct News {
    pub(super) context: u8,
    pub(super) pending: Command,
}

/// What has become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The receiver has answered, or cannot be made to.
    Ended(Outcome),
    /// The receiver does not take it in its transfer syntax.
    WrongSyntax,
    /// The archive's bytes broke off.
    Broken,
    /// The client has cancelled, and it took too long.
    Abandoned,
}

impl Delivered {
    /// As the receiver's response says.
    pub(super) fn by_status(code: u16) -> Self {
        Self::Ended(match status::class(code) {
            Class::Success => Outcome::Completed,
            Class::Warning => Outcome::Warning,
            _ => Outcome::Failed,
        })
    }
}

impl Delivery {
    /// The form in which objects are best retrieved.
    pub(super) fn form(&self, client: &Client) -> Form {
        match self {
            Self::OntoClient => onto_client::form(client.association.agreement()),
            Self::ToDestination(to) => to.destination.form(),
        }
    }

    /// Delivers an object. `cancelled` is set where the client cancels meanwhile; it is sent `news` where it would hear
    /// nothing else for long.
    ///
    /// # Errors
    /// The client's association is over.
    pub(super) async fn deliver(
        &mut self,
        client: &mut Client,
        object: Object,
        news: News,
        cancelled: &mut bool,
    ) -> Result<Delivered, End> {
        match self {
            Self::OntoClient => onto_client::deliver(client, object, cancelled).await,
            Self::ToDestination(to) => to.deliver(client, object, news, cancelled).await,
        }
    }

    /// Why nothing more is to be delivered.
    pub(super) fn given_up(&self) -> Option<String> {
        match self {
            Self::ToDestination(ToDestination { title, in_vain: (times, what), .. })
                if *times >= MOST_IN_VAIN =>
            {
                Some(format!("destination {title} {what}"))
            }
            _ => None,
        }
    }
}

impl ToDestination {
    /// A destination, on behalf of the client with this title and for its request with this message ID.
    pub(super) fn new(
        destination: Visit,
        title: AeTitle,
        caller: Caller,
        originator: (AeTitle, u16),
    ) -> Self {
        let (in_vain, refused, has_begun) = ((0, ""), BTreeMap::new(), false);
        Self { destination, title, caller, originator, in_vain, refused, has_begun }
    }

    async fn deliver(
        &mut self,
        client: &mut Client,
        object: Object,
        news: News,
        cancelled: &mut bool,
    ) -> Result<Delivered, End> {
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
                stop = client.cancelled() => {
                    stop?;
                    *cancelled = true;
                    until.get_or_insert_with(|| Instant::now() + CANCEL_PATIENCE);
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    // Dropped in the middle it is aborted there: the destination has the whole object or nothing.
                    return Ok(Delivered::Abandoned);
                }
                // Who does not read the answers is not sent more of them.
                () = sleep_until(tell_at) => {
                    if client.association.unsent() == 0 {
                        client.respond(news.context, news.pending.clone(), None);
                    }
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
                client.account.object(length.load(Ordering::Relaxed));
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
