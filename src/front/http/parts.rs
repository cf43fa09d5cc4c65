//! Values of objects (frames, bulk data) as an answer: parts of `multipart/related`, or one bare value, written
//! while the object arrives.
//!
//! The closing boundary is written with the proof that its source gives up when every value is out whole. A bare
//! value has its length in the headers, so that a shorter one is seen.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout;

use super::body::{Broken, Pieces};
use super::room::{Held, Room};
use crate::archive::{Feed, Step};
use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicomweb::multipart::Writer;

/// Most bytes of a bare value that are held to learn its length, where the object does not tell it beforehand:
/// an encapsulated frame. A longer one streams without Content-Length.
pub(super) const MAX_HELD_FOR_LENGTH: usize = 16 << 20;
/// How much of an object that nobody needs any more may still come. An archive that is interrupted in the middle
/// of an object loses its association, and the next request pays for a new one.
const REST: usize = 4 << 20;
/// How long that may take.
const REST_TIME: Duration = Duration::from_secs(1);

/// Where values come from.
pub(super) trait Source: Send + 'static {
    /// What shows that every value came whole.
    type Proof: Send + 'static;

    /// Says that nothing more is wanted: what is left of an object may come to its end, if that is near.
    fn leave(&mut self);

    /// The next step. After [`Part::Done`] there is none.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part<Self::Proof>, Broken>>;
}

/// A step of a [`Source`].
#[derive(Debug)]
pub(super) enum Part<P> {
    /// A value begins.
    Begin(PartHead),
    /// Its next bytes.
    Bytes(Bytes),
    /// It is whole.
    End,
    /// So is the last one.
    Done(P),
}

/// What stands before a value.
#[derive(Debug, Clone)]
pub(super) struct PartHead {
    /// Content-Type.
    pub(super) content_type: String,
    /// Content-Location: the URL that answers with this value alone.
    pub(super) location: String,
    /// Length in bytes, where known.
    pub(super) length: Option<u64>,
}

/// What stands around the values.
#[derive(Debug)]
pub(super) enum Framing<P> {
    /// One a part.
    Multipart(Writer<P>),
    /// One alone, and these bytes of it.
    Single(Range<u64>),
}

/// Values as they come.
#[derive(Debug)]
pub(super) struct Parts<S: Source> {
    source: S,
    /// Taken when the answer is complete.
    framing: Option<Framing<S::Proof>>,
    ready: VecDeque<Held>,
    /// Bytes of the bare value that have come.
    passed: u64,
}

impl<S: Source> Parts<S> {
    /// The value that has begun with `first`, of which `held` has come already, and those behind it.
    pub(super) fn new(source: S, first: &PartHead, held: Vec<Held>, framing: Framing<S::Proof>) -> Self {
        let mut parts = Self { source, framing: Some(framing), ready: VecDeque::new(), passed: 0 };
        parts.begin(first);
        for piece in held {
            parts.piece(piece);
        }
        parts
    }

    fn begin(&mut self, head: &PartHead) {
        if let Some(Framing::Multipart(writer)) = &mut self.framing {
            self.ready.push_back(Held::passing(part_head(writer, head)));
        }
    }

    fn piece(&mut self, mut piece: Held) {
        if let Some(Framing::Single(range)) = &self.framing {
            let (begin, length) = (self.passed, piece.bytes().len());
            self.passed += length as u64;
            let within =
                |place: u64| usize::try_from(place.saturating_sub(begin)).unwrap_or(usize::MAX).min(length);
            piece.cut(within(range.start)..within(range.end));
        }
        if !piece.bytes().is_empty() {
            self.ready.push_back(piece);
        }
    }

    /// Whether the bare value, or what is wanted of it, is out.
    fn is_through(&self) -> bool {
        matches!(&self.framing, Some(Framing::Single(range)) if self.passed >= range.end)
    }
}

impl<S: Source> Pieces for Parts<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(piece.into_bytes())));
            }
            if self.framing.is_none() || self.is_through() {
                self.source.leave();
                return Poll::Ready(Ok(None));
            }
            match ready!(self.source.poll_part(cx))? {
                Part::Begin(head) => {
                    if matches!(self.framing, Some(Framing::Single(_))) {
                        return Poll::Ready(Err(Broken::Surplus));
                    }
                    self.begin(&head);
                }
                Part::Bytes(bytes) => self.piece(Held::passing(bytes)),
                Part::End => {}
                Part::Done(proof) => {
                    if let Some(Framing::Multipart(writer)) = self.framing.take() {
                        self.ready.push_back(Held::passing(writer.finish(proof)));
                    }
                }
            }
        }
    }
}

/// A body that is there already.
#[derive(Debug)]
pub(super) struct Gathered(pub(super) VecDeque<Held>);

impl Pieces for Gathered {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        Poll::Ready(Ok(self.0.pop_front().map(Held::into_bytes)))
    }
}

/// The next step of a source.
pub(super) async fn next<S: Source>(source: &mut S) -> Result<Part<S::Proof>, Broken> {
    poll_fn(|cx| source.poll_part(cx)).await
}

/// The length of the value that has begun, and what had to be held of it to learn that; `None`: it is too long, or there
/// is no room.
pub(super) async fn length_of<S: Source>(
    head: &PartHead,
    source: &mut S,
    room: &Room,
) -> Result<(Vec<Held>, Option<u64>), Broken> {
    let (mut held, mut length) = (Vec::new(), 0);
    if head.length.is_some() {
        return Ok((held, head.length));
    }
    while length < MAX_HELD_FOR_LENGTH {
        match next(source).await? {
            Part::Bytes(bytes) => {
                length += bytes.len();
                match room.hold_for_comfort(bytes) {
                    Ok(piece) => held.push(piece),
                    Err(bytes) => {
                        held.push(Held::passing(bytes));
                        break;
                    }
                }
            }
            Part::End | Part::Done(_) => return Ok((held, Some(length as u64))),
            Part::Begin(_) => return Err(Broken::Surplus),
        }
    }
    Ok((held, None))
}

/// The delimiter and headers of a part.
pub(super) fn part_head<P>(writer: &mut Writer<P>, head: &PartHead) -> Bytes {
    writer.part(&[("Content-Type", &head.content_type), ("Content-Location", &head.location)])
}

/// The object that values are cut out of, and what keeps it coming.
#[derive(Debug)]
pub(super) struct Rest {
    feed: Feed<Object>,
    cursor: Cursor,
}

impl Rest {
    pub(super) fn new(feed: Feed<Object>, cursor: Cursor) -> Self {
        Self { feed, cursor }
    }

    /// The next bytes of the object.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BrokenObject>> {
        Pin::new(&mut self.cursor).poll_next(cx).map(Option::transpose)
    }

    /// Lets an object whose rest nobody needs come to its end, if that is near; else the retrieval is cancelled.
    pub(super) fn let_it_end(self) {
        let Self { mut feed, mut cursor } = self;
        let mut end = Box::pin(async move {
            let mut length = 0;
            while let Some(Ok(bytes)) = cursor.next().await {
                length += bytes.len();
                if length > REST {
                    return;
                }
            }
            while let Step::Item(_) = feed.next().await {}
        });
        // What is at hand needs no task.
        if end.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            // Bounded in time, so nobody has to end it.
            tokio::spawn(timeout(REST_TIME, end));
        }
    }
}
