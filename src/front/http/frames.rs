//! WADO-RS of frames: those of one instance, cut out while it arrives (PS3.18 10.4.1.1.4).
//!
//! Frames that are asked for in ascending order stream, and the retrieval ends with the last of them. A list in
//! another order is gathered first, within a bound, as an object holds its frames in one order only.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Polling, Poll, ready};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::{Broken, Streaming};
use super::bulkdata::ranged;
use super::context::Context;
use super::error::Problem;
use super::parts::{Framing, Gathered, Part, PartHead, Parts, Rest, Source, length_of, next, part_head};
use super::room::{Full, Held, MAX_HELD_BY_ALL, Room};
use super::wado::{Begun, begin};
use super::workers::{Job, Workers, done};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_encapsulated};
use crate::dicomweb::media_type::{Accept, FrameForm, SyntaxChoice, ValueForm};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::request;
use crate::image::codec::Refusal;
use crate::image::frames::{AllCut, Cut, Cutter, FrameList, Step};
use crate::image::transcode::{self, Work};

/// Most bytes of frames that are gathered because they were not asked for in ascending order: what there is for all.
const MAX_GATHERED: usize = MAX_HELD_BY_ALL;

/// Answers with the frames that the path lists.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let list: FrameList = (context.frames.as_deref().unwrap_or_default())
        .parse()
        .map_err(|error| Problem::client(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let most = context.server.0.config.limits.max_frames;
    if list.numbers().len() > most {
        let detail = format!("more than {most} frames are asked for at once (http.limits.max_frames)");
        return Err(Problem::client(StatusCode::BAD_REQUEST, detail));
    }
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let mut refused = Vec::new();
    loop {
        let (problem, tried) = match attempt(&context, &accept, &list, &refused).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let Some((stored, syntax)) = tried.filter(|_| problem.is_not_acceptable()) else {
            return Err(problem);
        };
        // What can be made of these pixels shows with the first of them; the client may take something else.
        refused.push(syntax);
        let single = list.numbers().len() == 1;
        if accept.frame_form(&stored, single, |from, to| can_become(from, to, &refused)).is_none() {
            return Err(problem);
        }
    }
}

/// Whether frames become what they were not refused in yet.
fn can_become(from: &Uid, to: &Uid, refused: &[Uid]) -> bool {
    !refused.contains(to) && transcode::can_become(from, to)
}

/// Answers with frames in the first form that the client takes, but for the transfer syntaxes that they were refused in. An
/// error tells from which transfer syntax they were to become which, if it came to that.
async fn attempt(
    context: &Context,
    accept: &Accept,
    list: &FrameList,
    refused: &[Uid],
) -> Result<Response, (Problem, Option<(Uid, Uid)>)> {
    let target = context.target().map_err(|problem| (problem, None))?;
    let single = list.numbers().len() == 1;
    // A viewer that asks for a frame shows the series, and asks for the others next.
    let retrieve = |form| Retrieve { ahead: true, ..Retrieve::new(target.clone(), form) };
    let form = |syntax: &Uid| accept.frame_form(syntax, single, |from, to| can_become(from, to, refused));
    let begun = begin_pixels(context, accept, retrieve, form).await;
    let (begun, FrameForm { value, syntax }) = begun.map_err(|problem| (problem, None))?;
    let Begun { first, rest } = begun;
    let stored = pixel_syntax(&first.head.transfer_syntax);
    let source = Frames {
        cutter: Some(Cutter::new(&first.head.transfer_syntax, list.ascending())),
        rest: Some(Rest::new(rest.objects, first.body)),
        url: format!("{}/frames", instance_url(context)),
        content_type: format!("{}; transfer-syntax={syntax}", value.media_type),
    };
    let answer = Answer { form: value, list, context };
    if stored == syntax {
        return answer.with(source).await.map_err(|problem| (problem, None));
    }
    let workers = context.server.0.kept.workers.clone();
    let frames = Transcoded::new(source, stored.clone(), syntax.clone(), workers);
    answer.with(frames).await.map_err(|problem| (problem, Some((stored, syntax))))
}

/// An answer in the making.
struct Answer<'a> {
    context: &'a Context,
    form: ValueForm,
    list: &'a FrameList,
}

impl Answer<'_> {
    /// Waits for the first frame, so that what fails until then has a status of its own.
    async fn with(self, mut source: impl Source<Proof = AllCut>) -> Result<Response, Problem> {
        let archive = self.context.archive.name();
        let problem = |broken| Problem::broken(archive, broken);
        if !self.list.is_ascending() {
            return self.gather(source).await;
        }
        let head = match next(&mut source).await {
            Ok(Part::Begin(head)) => head,
            // A frame of no bytes at all is not one that was asked for.
            Ok(_) => return Err(problem(Broken::Surplus)),
            Err(broken) => {
                source.leave();
                return Err(problem(broken));
            }
        };
        if !self.form.single_part {
            let writer = Writer::new();
            let headers = content_type(&writer.content_type(self.form.media_type));
            let parts = Parts::new(source, &head, Vec::new(), Framing::Multipart(writer));
            return Ok(
                (headers, Body::new(Streaming::new(parts, self.context.archive.name()))).into_response()
            );
        }
        let room = &self.context.server.0.kept.room;
        let (held, length) = length_of(&head, &mut source, room).await.map_err(problem)?;
        let mut headers = content_type(&head.content_type);
        headers.extend(HeaderValue::try_from(&head.location).ok().map(|url| (CONTENT_LOCATION, url)));
        let (status, range) = match length {
            Some(length) => ranged(self.context, length, &mut headers)?,
            None => (StatusCode::OK, 0..u64::MAX),
        };
        let parts = Parts::new(source, &head, held, Framing::Single(range));
        let body = Body::new(Streaming::new(parts, self.context.archive.name()));
        Ok((status, headers, body).into_response())
    }

    /// Frames in an order of their own.
    async fn gather(self, mut source: impl Source<Proof = AllCut>) -> Result<Response, Problem> {
        let problem = |broken| Problem::broken(self.context.archive.name(), broken);
        let room: &Room = &self.context.server.0.kept.room;
        let mut frames: BTreeMap<u32, (PartHead, Vec<Held>)> = BTreeMap::new();
        let mut expected = self.list.ascending().into_iter();
        let mut open: Option<&mut Vec<Held>> = None;
        let mut length = 0;
        let gathered = loop {
            match next(&mut source).await {
                Ok(Part::Begin(head)) => match expected.next() {
                    Some(number) => open = Some(&mut frames.entry(number).or_insert((head, Vec::new())).1),
                    None => break Err(problem(Broken::Surplus)),
                },
                Ok(Part::Bytes(bytes)) => {
                    length += bytes.len();
                    if length > MAX_GATHERED {
                        break Err(too_large());
                    }
                    match (&mut open, room.hold(bytes)) {
                        (Some(frame), Ok(piece)) => frame.push(piece),
                        (None, _) => {}
                        (_, Err(Full)) => break Err(problem(Broken::NoRoom)),
                    }
                }
                Ok(Part::End) => open = None,
                Ok(Part::Done(proof)) => break Ok(proof),
                Err(broken) => break Err(problem(broken)),
            }
        };
        if gathered.is_err() {
            source.leave();
        }
        let proof = gathered?;
        let mut writer = Writer::<AllCut>::new();
        let mut headers = content_type(&writer.content_type(self.form.media_type));
        let mut body = VecDeque::new();
        for number in self.list.numbers() {
            if let Some((head, bytes)) = frames.remove(number) {
                body.push_back(Held::passing(part_head(&mut writer, &head)));
                body.extend(bytes);
            }
        }
        body.push_back(Held::passing(writer.finish(proof)));
        headers.insert(CONTENT_LENGTH, body.iter().map(|piece| piece.bytes().len()).sum::<usize>().into());
        Ok((headers, Body::new(Streaming::new(Gathered(body), self.context.archive.name()))).into_response())
    }
}

/// Begins the retrieval of an object with pixel data, in the first of the forms that the client wants and takes when it
/// has come. The archive is asked for what it has, since that is in the cache for whoever asks next; only where that will
/// not do it is asked to decode.
pub(super) async fn begin_pixels<T>(
    context: &Context,
    accept: &Accept,
    retrieve: impl Fn(Form) -> Retrieve,
    form: impl Fn(&Uid) -> Option<T>,
) -> Result<(Begun, T), Problem> {
    let mut refused = None;
    let choices = accept.pixel_syntaxes();
    let takes_native =
        choices.contains(&SyntaxChoice::Native) && form(&Uid::from_static(EXPLICIT_VR_LE)).is_some();
    let native = takes_native.then_some(Form::Native);
    for ask in [(!choices.is_empty()).then_some(Form::AsStored), native].into_iter().flatten() {
        match begin(context, Priority::Interactive, retrieve(ask)).await {
            Ok(begun) => match form(&pixel_syntax(&begun.first.head.transfer_syntax)) {
                Some(form) => return Ok((begun, form)),
                None => Rest::new(begun.rest.objects, begun.first.body).let_it_end(),
            },
            Err(problem) if problem.is_not_acceptable() => refused = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    Err(refused.unwrap_or_else(not_acceptable))
}

/// The transfer syntax by which frames are labelled: native ones are little endian, whatever they were.
pub(super) fn pixel_syntax(stored: &Uid) -> Uid {
    if is_encapsulated(stored) { stored.clone() } else { Uid::from_static(EXPLICIT_VR_LE) }
}

/// The URL of the instance in the path.
pub(super) fn instance_url(context: &Context) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (study, series, instance) = (part(&context.study), part(&context.series), part(&context.instance));
    format!("{}/studies/{study}/series/{series}/instances/{instance}", context.service_url)
}

/// The frames of an object.
#[derive(Debug)]
struct Frames {
    cutter: Option<Cutter>,
    rest: Option<Rest>,
    url: String,
    content_type: String,
}

impl Source for Frames {
    type Proof = AllCut;

    fn leave(&mut self) {
        self.rest.take().into_iter().for_each(Rest::let_it_end);
    }

    fn poll_part(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Part<AllCut>, Broken>> {
        loop {
            let (Some(cutter), Some(rest)) = (&mut self.cutter, &mut self.rest) else {
                return Poll::Ready(Err(Broken::Surplus));
            };
            let part = match cutter.next()? {
                Step::Cut(Cut::Begin { number, length }) => Part::Begin(PartHead {
                    content_type: self.content_type.clone(),
                    location: format!("{}/{number}", self.url),
                    length,
                }),
                Step::Cut(Cut::Bytes(bytes)) => Part::Bytes(bytes),
                Step::Cut(Cut::End) => Part::End,
                Step::Done(proof) => {
                    self.leave();
                    Part::Done(proof)
                }
                Step::MoreBytes => match ready!(rest.poll_bytes(cx))? {
                    Some(bytes) => {
                        cutter.push(bytes);
                        continue;
                    }
                    None => match self.cutter.take().map(Cutter::finish) {
                        Some(finished) => Part::Done(finished?),
                        None => return Poll::Ready(Err(Broken::Surplus)),
                    },
                },
            };
            return Poll::Ready(Ok(part));
        }
    }
}

/// Frames that are worked on, a few at a time, before they go out.
#[derive(Debug)]
struct Transcoded {
    frames: Frames,
    from: Uid,
    to: Uid,
    workers: Workers,
    ready: VecDeque<Ready>,
    /// The frame that is being cut, and what is to stand before it.
    frame: Vec<u8>,
    begun: Option<PartHead>,
    working: usize,
    memory: usize,
    /// All frames were cut.
    is_through: bool,
}

/// What comes next of [`Transcoded`].
#[derive(Debug)]
enum Ready {
    Part(Part<AllCut>),
    /// A frame that is worked on, what stands before it, and the memory that it takes.
    Frame(Job<Refusal>, PartHead, usize),
}

impl Transcoded {
    fn new(frames: Frames, from: Uid, to: Uid, workers: Workers) -> Self {
        let (ready, frame, begun) = Default::default();
        Self { frames, from, to, workers, ready, frame, begun, working: 0, memory: 0, is_through: false }
    }

    /// The next step of the frames as they are stored becomes work, or goes out.
    fn take(&mut self, part: Part<AllCut>) -> Result<(), Broken> {
        match part {
            Part::Begin(head) => {
                self.frame.clear();
                self.begun = Some(head);
            }
            Part::Bytes(bytes) => {
                if self.frame.len() + bytes.len() > transcode::MAX_CODESTREAM {
                    return Err(Broken::Transcoding(transcode::Error::TooLong));
                }
                self.frame.extend_from_slice(&bytes);
            }
            Part::End => {
                let head = self.begun.take().ok_or(Broken::Surplus)?;
                let cutter = self.frames.cutter.as_ref();
                if is_encapsulated(&self.to) && cutter.is_some_and(Cutter::are_numbers_of_floating_point) {
                    return Err(transcode::Error::Kind.into());
                }
                let pixels = cutter.and_then(Cutter::pixels);
                let shape = pixels.and_then(|(shape, _)| shape).ok_or(transcode::Error::NoShape)?;
                let work = Work::of_frame(&self.from, &self.to, std::mem::take(&mut self.frame), &shape);
                let memory = work.memory();
                (self.working, self.memory) = (self.working + 1, self.memory.saturating_add(memory));
                self.ready.push_back(Ready::Frame(self.workers.start(memory, || work.run()), head, memory));
            }
            done @ Part::Done(_) => {
                self.is_through = true;
                self.ready.push_back(Ready::Part(done));
            }
        }
        Ok(())
    }
}

impl Source for Transcoded {
    type Proof = AllCut;

    fn leave(&mut self) {
        self.frames.leave();
    }

    fn poll_part(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Part<AllCut>, Broken>> {
        loop {
            if let Some(Ready::Frame(job, ..)) = self.ready.front_mut() {
                let joined = Pin::new(job).poll(cx);
                if let Poll::Ready(frame) = joined {
                    let bytes = done(frame)??;
                    if let Some(Ready::Frame(_, head, memory)) = self.ready.pop_front() {
                        (self.working, self.memory) = (self.working - 1, self.memory - memory);
                        let head = PartHead { length: Some(bytes.len() as u64), ..head };
                        let parts = [Part::End, Part::Bytes(bytes), Part::Begin(head)];
                        parts.into_iter().for_each(|part| self.ready.push_front(Ready::Part(part)));
                    }
                } else if self.is_through || self.workers.are_enough(self.working, self.memory) {
                    return Poll::Pending;
                }
            }
            if matches!(self.ready.front(), Some(Ready::Part(_)))
                && let Some(Ready::Part(part)) = self.ready.pop_front()
            {
                return Poll::Ready(Ok(part));
            }
            let part = ready!(self.frames.poll_part(cx))?;
            self.take(part)?;
        }
    }
}

pub(super) fn content_type(value: &str) -> HeaderMap {
    let value = HeaderValue::try_from(value).expect("media types, UIDs and boundaries are ASCII");
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

fn too_large() -> Problem {
    let detail = format!("frames in another order than theirs are gathered up to {} MiB", MAX_GATHERED >> 20);
    Problem::client(StatusCode::PAYLOAD_TOO_LARGE, detail)
        .advise("Ask for fewer frames at once, or for them in ascending order.")
}

pub(super) fn not_acceptable() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the pixel data comes in no form that was asked for").advise(
        "Accept multipart/related; type=\"application/octet-stream\"; transfer-syntax=* for what is stored, or \
         multipart/related; type=\"*/*\".",
    )
}
