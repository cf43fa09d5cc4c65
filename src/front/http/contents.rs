//! The objects of a retrieval in the transfer syntaxes that a client takes, as their bytes arrive.
//!
//! Pixel data that has to be in another transfer syntax is worked on beside: a few frames at a time, while the next ones
//! arrive. What is in order goes out in order. Whether an image can be had in a transfer syntax shows with its first frame:
//! nothing of the object goes out before, and where it cannot, the next transfer syntax that the client takes is tried.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::body::Broken;
use super::workers::{Job, Lost, MAX_MEMORY_AHEAD, Workers, done};
use crate::archive::{Complete, Feed, Step};
use crate::dicom::native::{self, Native};
use crate::dicom::object::{Cursor, Head, Object};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_encapsulated, is_lossy};
use crate::dicom::{Uid, sop_class};
use crate::dicomweb::media_type::SyntaxChoice;
use crate::image::codec::{Refusal, encodes};
use crate::image::transcode::{self, Piece, Transcoder};

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
    /// What the client takes, the most wanted first; those of one rank it wants alike.
    pub(super) choices: Vec<(usize, SyntaxChoice)>,
    /// Whether there may be several objects: one that cannot be had as the others can does not keep these from the client.
    pub(super) are_many: bool,
}

impl Syntaxes {
    /// Those of an object of this head, the best first; none where there is none that the client takes.
    ///
    /// Among other objects, what cannot be made native is sent as it is stored to who has not asked for any syntax by name,
    /// and what cannot be compressed is native; but where the first cannot be compressed with loss, none of them will.
    /// What is no image is native where an image's syntax is asked for (PS3.18 Table 8.7.3-2).
    pub(super) fn of(&self, head: &Head, is_first: bool) -> VecDeque<Uid> {
        let stored = &head.transfer_syntax;
        let native = Uid::from_static(EXPLICIT_VR_LE);
        let compresses =
            |choice: &SyntaxChoice| matches!(choice, SyntaxChoice::Only(it) if is_encapsulated(it));
        let is_no_image = !is_encapsulated(stored) && !sop_class::is_image(&head.sop_class);
        let choices = self.choices.iter().filter_map(|(rank, choice)| {
            let as_others = || choice.of(stored, can_become);
            let syntax = if is_no_image && compresses(choice) { Some(native.clone()) } else { as_others() };
            syntax.map(|syntax| (*rank, syntax))
        });
        let mut choices: Vec<_> = choices.collect();
        // What costs no work goes first among those that are wanted alike.
        choices.sort_by_key(|(rank, syntax)| (*rank, syntax != stored));
        let of_any = |is: &dyn Fn(&SyntaxChoice) -> bool| {
            self.are_many && self.choices.iter().any(|(_, choice)| is(choice))
        };
        let is_written = |choice: &SyntaxChoice| matches!(choice, SyntaxChoice::Only(it) if encodes(it) && !(is_first && is_lossy(it)));
        let decoded = (of_any(&is_written) && can_become(stored, &native)).then_some(native);
        let as_stored = of_any(&|choice| *choice == SyntaxChoice::Native).then(|| stored.clone());
        let mut syntaxes = VecDeque::new();
        for syntax in choices.into_iter().map(|(_, syntax)| syntax).chain(decoded).chain(as_stored) {
            if !syntaxes.contains(&syntax) {
                syntaxes.push_back(syntax);
            }
        }
        syntaxes
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
    workers: Workers,
    /// Nothing has begun.
    is_first: bool,
    current: Option<Current>,
    trial: Option<Trial>,
    ready: VecDeque<Ready>,
    /// Of what is ready or on trial, how many bytes, and how many frames that are worked on, with the memory they take.
    length: usize,
    working: usize,
    memory: usize,
}

/// What goes out next.
#[derive(Debug)]
enum Ready {
    Content(Content),
    /// A frame that is worked on, and the memory it takes.
    Frame(Job<Refusal>, usize),
}

/// The object whose bytes come.
#[derive(Debug)]
struct Current {
    /// What came before, and has to be gone through once more.
    again: VecDeque<Bytes>,
    /// `None`: all of it came.
    body: Option<Cursor>,
    change: Change,
    /// What becomes of it knows that no more comes.
    is_through: bool,
    /// Nothing more becomes of it.
    is_over: bool,
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

/// The current object, until it is known whether it can be had in the transfer syntax that was chosen for it.
#[derive(Debug)]
struct Trial {
    head: Head,
    series: Option<Uid>,
    /// What else the client takes.
    others: VecDeque<Uid>,
    /// All that came of it, and how many bytes that is.
    came: VecDeque<Bytes>,
    length: usize,
    /// What has become of that.
    ready: VecDeque<Ready>,
}

impl Trial {
    /// Keeps what comes, as long as it might be needed again and is not too much.
    fn keep(&mut self, piece: &Bytes) {
        self.length += piece.len();
        if self.length > MAX_MEMORY_AHEAD {
            self.others.clear();
        }
        if self.others.is_empty() {
            self.came.clear();
        } else {
            self.came.push_back(piece.clone());
        }
    }
}

impl Contents {
    /// The contents of `first` and of what follows it in `feed`.
    ///
    /// # Errors
    /// The client takes the first in no transfer syntax that it can be had in.
    pub(super) fn new(
        first: Object,
        feed: Feed<Object>,
        syntaxes: Syntaxes,
        workers: Workers,
    ) -> Result<Self, Broken> {
        let (ready, current, trial) = Default::default();
        let mut contents = Self {
            feed: Some(feed),
            syntaxes,
            workers,
            is_first: true,
            current,
            trial,
            ready,
            length: 0,
            working: 0,
            memory: 0,
        };
        contents.begin(first)?;
        Ok(contents)
    }

    /// Waits for the first frame that is worked on, so that an image that cannot be had in the transfer syntax that is
    /// asked for has a status of its own. Tells the first object's transfer syntax.
    pub(super) async fn first_frame(&mut self) -> Result<Option<Uid>, Broken> {
        poll_fn(|cx| {
            while self.trial.is_some() {
                ready!(self.poll_trial(cx))?;
            }
            Poll::Ready(Ok::<_, Broken>(()))
        })
        .await?;
        Ok(match self.ready.front() {
            Some(Ready::Content(Content::Begin(head, _))) => Some(head.transfer_syntax.clone()),
            _ => None,
        })
    }

    /// The next of them. After [`Content::End`] there is none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Content, Broken>> {
        loop {
            if let Some(Ready::Frame(job, _)) = self.ready.front_mut() {
                match Pin::new(job).poll(cx) {
                    Poll::Ready(frame) => {
                        let bytes = done(frame)??;
                        self.length += bytes.len();
                        if let Some(Ready::Frame(_, memory)) = self.ready.pop_front() {
                            (self.working, self.memory) = (self.working - 1, self.memory - memory);
                        }
                        self.ready.push_front(Ready::Content(Content::Bytes(bytes)));
                    }
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
            if self.trial.is_some() {
                ready!(self.poll_trial(cx))?;
            } else {
                ready!(self.poll_read(cx))?;
            }
        }
    }

    /// Goes on with the object that is on trial, until something has come of it.
    fn poll_trial(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(trial) = &mut self.trial else { return Poll::Ready(Ok(())) };
        let is_over = self.current.as_ref().is_none_or(|current| current.is_over);
        let first = trial.ready.iter_mut().find(|it| matches!(it, Ready::Frame(..)));
        if let Some(place) = first
            && let Ready::Frame(job, memory) = place
        {
            let (polled, memory) = (Pin::new(job).poll(cx), *memory);
            if let Poll::Ready(frame) = polled {
                let bytes = match done(frame) {
                    Ok(Ok(bytes)) => bytes,
                    Ok(Err(refusal)) => return Poll::Ready(self.try_another(refusal.into())),
                    Err(lost) => return Poll::Ready(self.try_another(lost.into())),
                };
                (self.working, self.memory) = (self.working - 1, self.memory - memory);
                self.length += bytes.len();
                *place = Ready::Content(Content::Bytes(bytes));
                self.accept();
                return Poll::Ready(Ok(()));
            }
            if is_over || self.is_full() {
                return Poll::Pending;
            }
        } else if is_over || self.length > MAX_HELD_BEFORE_PIXELS {
            self.accept();
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match ready!(self.poll_read(cx)) {
            Err(broken) => self.try_another(broken),
            Ok(()) => Ok(()),
        })
    }

    /// The object on trial goes out.
    fn accept(&mut self) {
        self.current.take_if(|current| current.is_over);
        if let Some(trial) = self.trial.take() {
            self.ready.extend(trial.ready);
        }
    }

    /// Tries the next transfer syntax that the client takes, where another would do.
    fn try_another(&mut self, broken: Broken) -> Result<(), Broken> {
        let may_do =
            matches!(broken, Broken::Transcoding(_) | Broken::Codec(_) | Broken::Lost(Lost::Panicked));
        let Some(trial) = self.trial.take_if(|trial| may_do && !trial.others.is_empty()) else {
            return Err(broken);
        };
        let Trial { head, series, others, came, ready, .. } = trial;
        for it in ready {
            match it {
                Ready::Frame(_, memory) => {
                    (self.working, self.memory) = (self.working - 1, self.memory - memory);
                }
                Ready::Content(Content::Bytes(bytes)) => self.length -= bytes.len(),
                Ready::Content(_) => {}
            }
        }
        let to = others.front().map(Uid::as_str).unwrap_or_default();
        tracing::warn!(syntax = %head.transfer_syntax, "an object is sent in {to}: {broken}");
        let Some(Current { body, again, .. }) = self.current.take() else { return Err(broken) };
        let again = came.into_iter().chain(again).collect();
        self.go_on(head, series, others, again, body)
    }

    /// Whether no more is read until something goes out.
    fn is_full(&self) -> bool {
        self.workers.are_enough(self.working, self.memory.saturating_add(self.length))
    }

    /// Takes the next frame out of what has come of an object, else reads its next piece, or the next object.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(Current { again, body, change, is_through, is_over }) = &mut self.current else {
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
        // One by one: what a piece becomes may be a thousand times as much.
        let next = match change {
            Change::None => None,
            Change::Native(native) => native.pop()?.map(Piece::Bytes),
            Change::Pixels(transcoder) => transcoder.pop()?,
        };
        if let Some(piece) = next {
            self.put(piece);
            return Poll::Ready(Ok(()));
        }
        if *is_through {
            *is_over = true;
            if self.trial.is_none() {
                self.current = None;
            }
            return Poll::Ready(Ok(()));
        }
        let piece = match (again.pop_front(), body.as_mut()) {
            (Some(piece), _) => Some(piece),
            (None, Some(body)) => ready!(Pin::new(body).poll_next(cx)).transpose()?,
            (None, None) => None,
        };
        match (&piece, &mut self.trial) {
            (Some(piece), Some(trial)) => trial.keep(piece),
            (Some(_), None) => {}
            (None, _) => (*body, *is_through) = (None, true),
        }
        let mut out = Vec::new();
        match (change, piece) {
            (Change::None, piece) => out.extend(piece),
            (Change::Native(native), Some(piece)) => native.push(piece)?,
            (Change::Native(native), None) => {
                out = std::mem::replace(&mut **native, Native::ended()).finish()?;
            }
            (Change::Pixels(transcoder), Some(piece)) => transcoder.push(piece)?,
            (Change::Pixels(transcoder), None) => transcoder.finish()?,
        }
        out.into_iter().for_each(|piece| self.put(Piece::Bytes(piece)));
        Poll::Ready(Ok(()))
    }

    /// Puts the next piece of an object into its place.
    fn put(&mut self, piece: Piece) {
        let it = match piece {
            Piece::Bytes(bytes) if bytes.is_empty() => return,
            Piece::Bytes(bytes) => {
                self.length += bytes.len();
                Ready::Content(Content::Bytes(bytes))
            }
            Piece::Work(work) => {
                let memory = work.memory();
                (self.working, self.memory) = (self.working + 1, self.memory.saturating_add(memory));
                Ready::Frame(self.workers.start(memory, || work.run()), memory)
            }
        };
        self.push(it);
    }

    fn push(&mut self, it: Ready) {
        match &mut self.trial {
            Some(trial) => trial.ready.push_back(it),
            None => self.ready.push_back(it),
        }
    }

    fn begin(&mut self, object: Object) -> Result<(), Broken> {
        let Object { head, series, body } = object;
        let syntaxes = self.syntaxes.of(&head, self.is_first);
        self.is_first = false;
        self.go_on(head, series, syntaxes, VecDeque::new(), Some(body))
    }

    /// Begins an object, of which some came before, in the first of these transfer syntaxes.
    fn go_on(
        &mut self,
        head: Head,
        series: Option<Uid>,
        mut syntaxes: VecDeque<Uid>,
        again: VecDeque<Bytes>,
        body: Option<Cursor>,
    ) -> Result<(), Broken> {
        let sent = syntaxes.pop_front().ok_or(Broken::NotAcceptable)?;
        let stored = &head.transfer_syntax;
        let change = if sent == *stored {
            Change::None
        } else if native::can_become(stored, &sent) {
            Change::Native(Box::new(Native::new(stored, &sent)))
        } else {
            Change::Pixels(Box::new(Transcoder::new(&head, &sent)))
        };
        let begin = Ready::Content(Content::Begin(transcode::sent_head(&head, &sent), series.clone()));
        if matches!(change, Change::Pixels(_)) {
            let (came, length, ready) = Default::default();
            self.trial = Some(Trial { head, series, others: syntaxes, came, length, ready });
        }
        self.push(begin);
        self.current = Some(Current { again, body, change, is_through: false, is_over: false });
        Ok(())
    }
}
