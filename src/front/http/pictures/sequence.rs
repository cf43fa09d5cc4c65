//! Several pictures, each drawn when the one before it has gone: those of an object's frames, or those of the images of
//! a series or a study.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::asked::Asked;
use super::draw::{Drawing, Frames, Next, NotDrawn, Pictures, can_be_shown};
use crate::archive::{Complete, Error, Feed, Form, Kind, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::charset::Charset;
use crate::dicom::object::{Cursor, Object};
use crate::dicom::query::Target;
use crate::dicom::sop_class::is_image;
use crate::dicomweb::media_type::GIF;
use crate::front::http::body::Broken;
use crate::front::http::context::Context as Asking;
use crate::front::http::parts::{Part, PartHead, Rest, Source};
use crate::image::bulk::is_video;
use crate::image::codec::Refusal;
use crate::image::frames::{AllCut, Error as FrameError};

/// Who draws one picture after the other.
pub(super) trait Draws: Sized + Send + 'static {
    /// What shows that there are no more.
    type Proof: Send + 'static;

    /// Draws the next.
    fn draw(self) -> impl Future<Output = Result<Drawn<Self>, Broken>> + Send;
}

/// What became of it.
pub(super) enum Drawn<S: Draws> {
    /// A picture, where it is found, and who draws the next.
    Picture(S, String, Bytes),
    /// There are no more.
    Done(S::Proof),
}

type Work<S> = Pin<Box<dyn Future<Output = Result<Drawn<S>, Broken>> + Send>>;

/// Pictures as the parts of an answer.
pub(super) struct Sequence<S: Draws> {
    /// `None` after the end.
    work: Option<Work<S>>,
    media_type: &'static str,
    /// What is still to be said of the picture that has begun, from the end.
    ready: Vec<Part<S::Proof>>,
}

impl<S: Draws> fmt::Debug for Sequence<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence").field("media_type", &self.media_type).finish_non_exhaustive()
    }
}

impl<S: Draws> Sequence<S> {
    /// The pictures of `source`, which are of this type.
    pub(super) fn new(source: S, media_type: &'static str) -> Self {
        Self { work: Some(Box::pin(source.draw())), media_type, ready: Vec::new() }
    }
}

impl<S: Draws> Source for Sequence<S> {
    type Proof = S::Proof;

    /// Who draws goes, and with them the retrieval.
    fn leave(&mut self) {
        self.work = None;
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part<S::Proof>, Broken>> {
        if let Some(part) = self.ready.pop() {
            return Poll::Ready(Ok(part));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(Err(Broken::Surplus)) };
        let drawn = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(Ok(match drawn? {
            Drawn::Picture(source, location, file) => {
                self.work = Some(Box::pin(source.draw()));
                let length = Some(file.len() as u64);
                self.ready = vec![Part::End, Part::Bytes(file)];
                Part::Begin(PartHead { content_type: self.media_type.to_owned(), location, length })
            }
            Drawn::Done(proof) => Part::Done(proof),
        }))
    }
}

/// Pictures of an object's frames.
pub(super) struct OfFrames {
    pictures: Pictures,
    feed: Feed<Object>,
    body: Cursor,
    url: String,
}

impl OfFrames {
    /// Of these frames of an object that is coming, whose frames are found below `url`.
    pub(super) fn new(pictures: Pictures, feed: Feed<Object>, body: Cursor, url: String) -> Self {
        Self { pictures, feed, body, url }
    }
}

impl Draws for OfFrames {
    type Proof = AllCut;

    async fn draw(mut self) -> Result<Drawn<Self>, Broken> {
        Ok(match self.pictures.next(&mut self.body).await? {
            Next::Picture(number, file) => {
                let location = format!("{}/{number}/rendered", self.url);
                Drawn::Picture(self, location, file)
            }
            Next::Done(proof) => {
                Rest::new(self.feed, self.body).let_it_end();
                Drawn::Done(proof)
            }
        })
    }
}

/// Most images of an answer that the archive is asked to decompress, one after the other.
const MAX_LATER: usize = 10_000;

/// Pictures of the images among the objects of a retrieval.
pub(super) struct OfObjects {
    asking: Arc<Asking>,
    asked: Asked,
    media_type: &'static str,
    target: Target,
    first: Option<Object>,
    feed: Feed<Object>,
    /// Images that are not decoded here. The archive is asked to decompress them once the retrieval has ended: both at
    /// a time might wait for each other.
    later: VecDeque<Target>,
    /// The retrieval has ended well.
    complete: Option<Complete>,
    /// The character set of text in objects that name none.
    assumed: Option<Charset>,
}

impl OfObjects {
    /// Of `first` and what follows it in `feed`, which were asked for so.
    pub(super) fn new(
        asking: Arc<Asking>,
        asked: Asked,
        media_type: &'static str,
        target: Target,
        first: Object,
        feed: Feed<Object>,
    ) -> Self {
        let (later, complete, first) = (VecDeque::new(), None, Some(first));
        Self { asking, asked, media_type, target, first, feed, later, complete, assumed: None }
    }

    /// The same, whose objects have text in this character set where they name none.
    pub(super) fn assuming(self, assumed: Option<Charset>) -> Self {
        Self { assumed, ..self }
    }

    /// The next picture of an image that comes in a form which can be decoded; `None`: there are no more.
    async fn next(&mut self) -> Result<Option<(String, Bytes)>, Broken> {
        loop {
            let object = match self.first.take() {
                Some(object) => object,
                None => match self.feed.next().await {
                    Step::Item(object) => object,
                    Step::End(Ok(complete)) => {
                        self.complete = Some(complete);
                        return Ok(None);
                    }
                    Step::End(Err(error)) => return Err(Broken::Archive(error)),
                },
            };
            let series = object.series.as_ref().or(self.target.series.as_ref()).cloned();
            let instance = Some(object.head.sop_instance.clone());
            let target = Target { series, instance, ..self.target.clone() };
            if let Some(file) = self.picture(object, &target).await? {
                return Ok(Some((self.location(&target), file)));
            }
        }
    }

    /// The picture of an image that the archive decompresses.
    async fn decompressed(&mut self, target: Target) -> Result<Option<(String, Bytes)>, Broken> {
        let Asking { record, who, archive, .. } = &*self.asking;
        record.retrieval(who, archive.name(), &target, None);
        let retrieve = Retrieve::new(target.clone(), Form::Native);
        let mut feed = match archive.retrieve(&self.asking.caller(Priority::Bulk), retrieve).await {
            Ok(retrieval) => retrieval.objects,
            Err(error) if matches!(error.kind, Kind::NotAcceptable) => return Err(not_decoded()),
            Err(error) => return Err(Broken::Archive(error)),
        };
        let object = match feed.next().await {
            Step::Item(object) if can_be_shown(&object.head.transfer_syntax) => object,
            Step::Item(_) => return Err(not_decoded()),
            Step::End(Ok(_)) => {
                return Err(Broken::Archive(Error::new(self.asking.archive.name(), Kind::NotFound)));
            }
            Step::End(Err(error)) => return Err(Broken::Archive(error)),
        };
        let file = self.picture(object, &target).await?;
        while let Step::Item(_) = feed.next().await {}
        Ok(file.map(|file| (self.location(&target), file)))
    }

    /// The URL of the picture of an object.
    fn location(&self, Target { study, series, instance }: &Target) -> String {
        let [series, instance] = [series, instance].map(|uid| uid.as_ref().map_or("", Uid::as_str));
        format!("{}/studies/{study}/series/{series}/instances/{instance}/rendered", self.asking.service_url)
    }

    /// The picture of an object; `None`: it is no image, or is drawn later.
    ///
    /// # Errors
    /// There should be a picture, and is none: what is damaged is not left out of an answer that says it has all.
    async fn picture(&mut self, object: Object, target: &Target) -> Result<Option<Bytes>, Broken> {
        let Object { head, mut body, .. } = object;
        let syntax = &head.transfer_syntax;
        let mut file = None;
        if can_be_shown(syntax) && !is_video(syntax) {
            let workshop = self.asking.server.0.kept.workshop.clone();
            let drawing = Drawing::new(workshop, &head, &self.asked, self.media_type, self.assumed.as_ref());
            let wanted = if self.media_type == GIF { Frames::All } else { Frames::Some(vec![1]) };
            file = match drawing.frames(wanted).file(&mut body).await {
                Ok(file) => Some(file),
                Err(Broken::Frames(FrameError::NoPixelData) | Broken::Picture(NotDrawn::NoImage)) => None,
                Err(broken) => return Err(broken),
            };
        } else if !is_video(syntax) && is_image(&head.sop_class) {
            if self.later.len() == MAX_LATER || target.series.is_none() {
                return Err(not_decoded());
            }
            self.later.push_back(target.clone());
        }
        // It has to be whole, however little of it was needed.
        drain(&mut body).await?;
        Ok(file)
    }
}

fn not_decoded() -> Broken {
    let why = "the transfer syntax of an image, which the archive does not decompress either";
    Broken::Picture(NotDrawn::NotDecoded(Refusal::Unsupported(why.into())))
}

impl Draws for OfObjects {
    type Proof = Complete;

    async fn draw(mut self) -> Result<Drawn<Self>, Broken> {
        if self.complete.is_none()
            && let Some((location, file)) = self.next().await?
        {
            return Ok(Drawn::Picture(self, location, file));
        }
        while let Some(target) = self.later.pop_front() {
            if let Some((location, file)) = self.decompressed(target).await? {
                return Ok(Drawn::Picture(self, location, file));
            }
        }
        self.complete.take().map(Drawn::Done).ok_or(Broken::Surplus)
    }
}

async fn drain(body: &mut Cursor) -> Result<(), Broken> {
    while let Some(bytes) = body.next().await {
        bytes?;
    }
    Ok(())
}
