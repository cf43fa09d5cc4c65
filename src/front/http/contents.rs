//! The objects of a retrieval in the transfer syntaxes that a client takes, as their bytes arrive.
//!
//! Pixel data that has to be in another transfer syntax is worked on beside: a few frames at a time, while the next ones
//! arrive. What is in order goes out in order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::body::Broken;
use super::workers::{Job, Workers, done};
use crate::archive::{Complete, Feed, Step};
use crate::dicom::native::{self, Native};
use crate::dicom::object::{Cursor, Head, Object};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_encapsulated};
use crate::dicom::{Uid, sop_class};
use crate::dicomweb::media_type::SyntaxChoice;
use crate::image::codec::Refusal;
use crate::image::transcode::{self, Piece, Transcoder};

/// Most frames of an answer that are worked on at once.
pub(super) const MAX_AHEAD: usize = 4;
/// How much memory the frames behind the first may take that are worked on, in bytes.
pub(super) const MAX_MEMORY_AHEAD: usize = 64 << 20;
/// How much of an object is held before its first frame is done, in bytes. What comes before the pixels of an image rarely
/// is longer; an answer whose first frame cannot be had then breaks off, in place of having a status.
const MAX_HELD_BEFORE_PIXELS: usize = 8 << 20;

/// Whether an object in one transfer syntax can be had in the other.
pub(super) fn can_become(from: &Uid, to: &Uid) -> bool {
    from == to || native::can_become(from, to) || transcode::can_become(from, to)
}

/// In which transfer syntaxes objects are sent.
#[derive(Debug)]
pub(super) struct Syntaxes {
    pub(super) choice: SyntaxChoice,
    pub(super) workers: Workers,
}

impl Syntaxes {
    /// That of an object of this head; `None`: there is none that the client takes.
    ///
    /// What cannot be made native is sent as it is stored to who has not asked for any syntax by name, among other
    /// objects. What is no image is native where an image's syntax is asked for (PS3.18 Table 8.7.3-2).
    pub(super) fn of(&self, head: &Head) -> Option<Uid> {
        let stored = &head.transfer_syntax;
        if let SyntaxChoice::Only(wanted) = &self.choice
            && is_encapsulated(wanted)
            && !is_encapsulated(stored)
            && !sop_class::is_image(&head.sop_class)
        {
            return Some(Uid::from_static(EXPLICIT_VR_LE));
        }
        let sent = self.choice.of(stored, can_become);
        if sent.is_none() && self.choice == SyntaxChoice::Native {
            tracing::warn!(syntax = %stored, "an object is sent as it is stored: this bridge does not decode it");
            return Some(stored.clone());
        }
        sent
    }
}

/// What objects consist of, in order.
#[derive(Debug)]
pub(super) enum Content {
    /// An object begins. Its head names the transfer syntax of the bytes that follow.
    Begin(Head, Option<Uid>),
    /// The next bytes of its data set.
    Bytes(Bytes),
    /// The last one has ended, and everything came.
    End(Complete),
}

/// Objects on their way to a client.
#[derive(Debug)]
pub(super) struct Contents {
    /// `None`: it has ended.
    feed: Option<Feed<Object>>,
    syntaxes: Syntaxes,
    current: Option<Current>,
    ready: VecDeque<Ready>,
    /// Of what is ready, how many bytes, and how many frames that are worked on, with the memory they take.
    length: usize,
    working: usize,
    memory: usize,
}

/// What goes out next.
#[derive(Debug)]
enum Ready {
    Content(Content),
    /// A frame that is worked on, and the memory it takes.
    Frame(Job<Result<Bytes, Refusal>>, usize),
}

/// The object whose bytes come.
#[derive(Debug)]
struct Current {
    body: Cursor,
    change: Change,
}

/// What becomes of an object's bytes.
#[derive(Debug)]
enum Change {
    None,
    /// Another encoding of its elements.
    Native(Box<Native>),
    /// Another encoding of its pixels.
    Pixels(Box<Transcoder>),
}

impl Contents {
    /// The contents of `first` and of what follows it in `feed`.
    ///
    /// # Errors
    /// The client takes the first in no transfer syntax that it can be had in.
    pub(super) fn new(first: Object, feed: Feed<Object>, syntaxes: Syntaxes) -> Result<Self, Broken> {
        let ready = VecDeque::new();
        let mut contents =
            Self { feed: Some(feed), syntaxes, current: None, ready, length: 0, working: 0, memory: 0 };
        contents.begin(first)?;
        Ok(contents)
    }

    /// Waits for the first frame that is worked on, so that an image that cannot be had in the transfer syntax that is
    /// asked for has a status of its own.
    pub(super) async fn first_frame(&mut self) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_first_frame(cx)).await
    }

    fn poll_first_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            let first = self.ready.iter_mut().enumerate().find_map(|(at, it)| match it {
                Ready::Frame(job, _) => Some((at, job)),
                Ready::Content(_) => None,
            });
            if let Some((at, job)) = first {
                let frame = ready!(Pin::new(job).poll(cx));
                self.frame_is_done(at, done(frame)??);
                return Poll::Ready(Ok(()));
            }
            let works = matches!(&self.current, Some(Current { change: Change::Pixels(_), .. }));
            if !works || self.length > MAX_HELD_BEFORE_PIXELS {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    /// The next of them. After [`Content::End`] there is none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Content, Broken>> {
        loop {
            if let Some(Ready::Frame(job, _)) = self.ready.front_mut() {
                match Pin::new(job).poll(cx) {
                    Poll::Ready(frame) => self.frame_is_done(0, done(frame)??),
                    Poll::Pending if self.is_full() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if matches!(self.ready.front(), Some(Ready::Content(_)))
                && let Some(Ready::Content(content)) = self.ready.pop_front()
            {
                if let Content::Bytes(bytes) = &content {
                    self.length -= bytes.len();
                }
                return Poll::Ready(Ok(content));
            }
            // A frame that is worked on wakes this task too.
            ready!(self.poll_read(cx))?;
        }
    }

    /// A frame that was worked on goes out as bytes.
    fn frame_is_done(&mut self, at: usize, bytes: Bytes) {
        let Some(place) = self.ready.get_mut(at) else { return };
        self.length += bytes.len();
        if let Ready::Frame(_, memory) = std::mem::replace(place, Ready::Content(Content::Bytes(bytes))) {
            (self.working, self.memory) = (self.working - 1, self.memory - memory);
        }
    }

    /// Whether no more is read until something goes out.
    fn is_full(&self) -> bool {
        let ahead = self.memory.saturating_add(self.length);
        self.working >= MAX_AHEAD || ahead > MAX_MEMORY_AHEAD
    }

    /// Takes the next frame out of what has come of an object, else reads its next piece, or the next object.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(Current { body, change }) = &mut self.current else {
            let Some(feed) = &mut self.feed else { return Poll::Pending };
            // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
            let step = ready!(pin!(feed.next()).poll(cx));
            return Poll::Ready(match step {
                Step::Item(object) => self.begin(object),
                Step::End(Ok(complete)) => {
                    self.feed = None;
                    self.ready.push_back(Ready::Content(Content::End(complete)));
                    Ok(())
                }
                Step::End(Err(error)) => Err(Broken::Archive(error)),
            });
        };
        // What has come may be thousands of frames, which are not all begun at once.
        if let Change::Pixels(transcoder) = change
            && let Some(piece) = transcoder.pop()?
        {
            self.put(piece);
            return Poll::Ready(Ok(()));
        }
        let piece = ready!(Pin::new(body).poll_next(cx)).transpose()?;
        let is_last = piece.is_none();
        let mut out = Vec::new();
        match (change, piece) {
            (Change::None, piece) => out.extend(piece.map(Piece::Bytes)),
            (Change::Native(native), Some(piece)) => {
                native.push(piece)?;
                while let Some(bytes) = native.pop()? {
                    out.push(Piece::Bytes(bytes));
                }
            }
            (Change::Native(native), None) => {
                let native = std::mem::replace(&mut **native, Native::ended());
                out.extend(native.finish()?.into_iter().map(Piece::Bytes));
            }
            (Change::Pixels(transcoder), Some(piece)) => transcoder.push(piece)?,
            (Change::Pixels(transcoder), None) => {
                transcoder.finish()?;
                while let Some(piece) = transcoder.pop()? {
                    out.push(piece);
                }
            }
        }
        out.into_iter().for_each(|piece| self.put(piece));
        if is_last {
            self.current = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Puts the next piece of an object into its place.
    fn put(&mut self, piece: Piece) {
        match piece {
            Piece::Bytes(bytes) if bytes.is_empty() => {}
            Piece::Bytes(bytes) => {
                self.length += bytes.len();
                self.ready.push_back(Ready::Content(Content::Bytes(bytes)));
            }
            Piece::Work(work) => {
                let memory = work.memory();
                (self.working, self.memory) = (self.working + 1, self.memory.saturating_add(memory));
                let job = self.syntaxes.workers.start(memory, || work.run());
                self.ready.push_back(Ready::Frame(job, memory));
            }
        }
    }

    fn begin(&mut self, object: Object) -> Result<(), Broken> {
        let Object { head, series, body } = object;
        let sent = self.syntaxes.of(&head).ok_or(Broken::NotAcceptable)?;
        let stored = &head.transfer_syntax;
        let change = if sent == *stored {
            Change::None
        } else if native::can_become(stored, &sent) {
            Change::Native(Box::new(Native::new(stored, &sent)))
        } else {
            Change::Pixels(Box::new(Transcoder::new(&head, &sent)))
        };
        let head = transcode::sent_head(&head, &sent);
        self.ready.push_back(Ready::Content(Content::Begin(head, series)));
        self.current = Some(Current { body, change });
        Ok(())
    }
}
