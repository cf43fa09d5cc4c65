//! Several pictures, each drawn when the one before it has gone: those of an object's frames, or those of the images of
//! a series or a study.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::asked::Asked;
use super::draw::{Drawing, Frames, Next, NotDrawn, Pictures, can_be_shown};
use super::workshop::Workshop;
use crate::archive::{Complete, Feed, Step};
use crate::dicom::Uid;
use crate::dicom::object::{Cursor, Object};
use crate::dicom::query::Target;
use crate::dicomweb::media_type::GIF;
use crate::front::http::body::Broken;
use crate::front::http::parts::{Part, PartHead, Rest, Source};
use crate::image::bulk::is_video;
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

/// Pictures of the images among the objects of a retrieval.
pub(super) struct OfObjects {
    workshop: Workshop,
    asked: Asked,
    media_type: &'static str,
    target: Target,
    service_url: String,
    first: Option<Object>,
    feed: Feed<Object>,
}

impl OfObjects {
    /// Of `first` and what follows it in `feed`.
    pub(super) fn new(
        workshop: Workshop,
        asked: Asked,
        media_type: &'static str,
        target: Target,
        service_url: String,
        first: Object,
        feed: Feed<Object>,
    ) -> Self {
        Self { workshop, asked, media_type, target, service_url, first: Some(first), feed }
    }

    /// The URL of the picture of an object.
    fn location(&self, object: &Object) -> String {
        let series = object.series.as_ref().or(self.target.series.as_ref()).map_or("", Uid::as_str);
        let (study, instance) = (&self.target.study, &object.head.sop_instance);
        format!("{}/studies/{study}/series/{series}/instances/{instance}/rendered", self.service_url)
    }

    /// The picture of an object; `None`: it is no image, or none that can be shown.
    async fn picture(&mut self, object: Object) -> Result<Option<Bytes>, Broken> {
        let Object { head, mut body, .. } = object;
        let syntax = &head.transfer_syntax;
        let mut file = None;
        if can_be_shown(syntax) && !is_video(syntax) {
            let drawing = Drawing::new(self.workshop.clone(), &head, &self.asked, self.media_type);
            let wanted = if self.media_type == GIF { Frames::All } else { Frames::Some(vec![1]) };
            file = match drawing.frames(wanted).file(&mut body).await {
                Ok(file) => Some(file),
                // An object without pixels, or with such as nobody can show, is no reason to show no others.
                Err(Broken::Frames(FrameError::NoPixelData)) => None,
                Err(Broken::Picture(why)) if !matches!(why, NotDrawn::Lost(_)) => {
                    tracing::debug!("an image is left out of an answer with pictures: {why}");
                    None
                }
                Err(broken) => return Err(broken),
            };
        }
        // It has to be whole, however little of it was needed.
        drain(&mut body).await?;
        Ok(file)
    }
}

impl Draws for OfObjects {
    type Proof = Complete;

    async fn draw(mut self) -> Result<Drawn<Self>, Broken> {
        loop {
            let object = match self.first.take() {
                Some(object) => object,
                None => match self.feed.next().await {
                    Step::Item(object) => object,
                    Step::End(Ok(complete)) => return Ok(Drawn::Done(complete)),
                    Step::End(Err(error)) => return Err(Broken::Archive(error)),
                },
            };
            let location = self.location(&object);
            if let Some(file) = self.picture(object).await? {
                return Ok(Drawn::Picture(self, location, file));
            }
        }
    }
}

async fn drain(body: &mut Cursor) -> Result<(), Broken> {
    while let Some(bytes) = body.next().await {
        bytes?;
    }
    Ok(())
}
