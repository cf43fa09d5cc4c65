//! Pictures of images: what `rendered` and `thumbnail` answer with (PS3.18 10.4.1.1.3, 8.3.5).
//!
//! An object is read as far as the wanted frames go, once: `HeadReader` takes from it how pixels are shown, `Cutter`
//! the frames. Decoding and drawing are work for a processor, so that they run beside the tasks that serve requests,
//! as many at once as there are processors, and a panic there is the end of one answer. [`Workshop`] bounds the memory
//! of all of them together.
//!
//! Of a multi-frame image there is one picture, its first frame; as GIF all frames, one after the other.

mod asked;
mod draw;
mod presentation;
mod sequence;
pub(super) mod thumbnail;
mod thumbnails;
mod workshop;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION};
use http::{HeaderValue, StatusCode};

use super::body::{Broken, Streaming};
use super::context::Context;
use super::error::Problem;
use super::frames::{content_type, instance_url};
use super::parts::{Framing, Gathered, Part, Parts, Rest, Source as _, next};
use super::room::Held;
use super::wado::{Begun, answer, begin};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::query::{Level, Target};
use crate::dicom::{Uid, object::Object};
use crate::dicomweb::media_type::{GIF, JPEG, PNG, ValueForm};
use crate::dicomweb::multipart::Writer;
use crate::image::frames::FrameList;
use crate::image::render::Profile;

use self::draw::{Drawing, Frames, can_be_shown};
use self::sequence::{OfFrames, OfObjects, Sequence};

pub(super) use self::asked::Asked;
pub(super) use self::draw::NotDrawn;
pub(super) use self::presentation::state;
pub(super) use self::thumbnails::Thumbnails;
pub(super) use self::workshop::Workshop;

/// The types of pictures that there are, the default first.
const TYPES: [&str; 3] = [JPEG, PNG, GIF];

/// Answers with pictures of the frames that the path lists.
pub(super) async fn frames(context: Context, asked: Asked) -> Result<Response, Problem> {
    let target = context.target()?;
    let list: FrameList = (context.frames.as_deref().unwrap_or_default())
        .parse()
        .map_err(|error| Problem::client(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let most = context.server.0.config.limits.max_frames;
    if list.numbers().len() > most {
        let detail = format!("more than {most} frames are asked for at once (http.limits.max_frames)");
        return Err(Problem::client(StatusCode::BAD_REQUEST, detail));
    }
    if !list.is_ascending() {
        return Err(Problem::client(StatusCode::BAD_REQUEST, "the frames are not in ascending order")
            .advise("Ask for pictures of frames in the order in which the object has them."));
    }
    let single = list.numbers().len() == 1;
    // A GIF is one file, however many frames are in it.
    let mut form = taken(&context, &asked, true)?;
    if !single && form.media_type != GIF {
        form = taken(&context, &asked, false)?;
    }
    let begun = begin_image(&context, target).await?;
    let wanted = Frames::Some(list.ascending());
    if single || form.media_type == GIF {
        return one(&context, begun, asked, form, wanted).await;
    }
    let url = format!("{}/frames", instance_url(&context));
    let Begun { first, rest } = begun;
    let workshop = context.server.0.kept.workshop.clone();
    let assumed = rest.assumed_charset.as_ref();
    let drawing = Drawing::new(workshop, &first.head, &asked, form.media_type, assumed);
    let source = OfFrames::new(drawing.frames(wanted), rest.objects, first.body, url);
    several(&context, Sequence::new(source, form.media_type), form, &[]).await
}

/// Answers with the picture of an image that has begun to come.
pub(super) async fn instance(context: &Context, begun: Begun, asked: Asked) -> Result<Response, Problem> {
    let form = taken(context, &asked, true)?;
    let begun = if can_be_shown(&begun.first.head.transfer_syntax) {
        begun
    } else {
        Rest::new(begun.rest.objects, begun.first.body).let_it_end();
        begin_native(context, context.target()?).await?
    };
    let wanted = if form.media_type == GIF { Frames::All } else { Frames::Some(vec![1]) };
    one(context, begun, asked, form, wanted).await
}

/// Answers with a picture of each image in a series or a study; other objects are left out. Where one of the images cannot
/// be shown, the answer breaks off: it would say that this is all.
pub(super) async fn images(context: Context, asked: Asked) -> Result<Response, Problem> {
    let target = context.target()?;
    debug_assert!(target.level() != Level::Instance);
    let form = taken(&context, &asked, false)?;
    let retrieve = Retrieve::new(target.clone(), Form::AsStored);
    let Begun { first, rest } = begin(&context, Priority::Bulk, retrieve).await?;
    let context = Arc::new(context);
    let source = OfObjects::new(Arc::clone(&context), asked, form.media_type, target, first, rest.objects)
        .assuming(rest.assumed_charset);
    several(&context, Sequence::new(source, form.media_type), form, &rest.missing).await
}

/// What the client takes of the types that there are.
fn taken(context: &Context, asked: &Asked, single: bool) -> Result<ValueForm, Problem> {
    let form = context.accept(&asked.accept).picture_form(&TYPES, single).ok_or_else(|| {
        Problem::client(StatusCode::NOT_ACCEPTABLE, "pictures come in no form that was asked for").advise(
            "Accept image/jpeg, image/png or image/gif; several pictures are parts of multipart/related; \
                 type=\"image/jpeg\".",
        )
    })?;
    if form.media_type == GIF && !matches!(asked.options.profile, Profile::No | Profile::Srgb) {
        let detail = "a GIF has no place for a colour profile: `iccprofile` is no or srgb";
        return Err(Problem::client(StatusCode::BAD_REQUEST, detail)
            .advise("Ask for image/png or image/jpeg, whose files have their profile in them."));
    }
    Ok(form)
}

/// Begins the retrieval of an instance in a form whose frames can be decoded.
async fn begin_image(context: &Context, target: Target) -> Result<Begun, Problem> {
    let retrieve = Retrieve::new(target.clone(), Form::AsStored);
    let begun = begin(context, Priority::Interactive, retrieve).await?;
    if can_be_shown(&begun.first.head.transfer_syntax) {
        return Ok(begun);
    }
    Rest::new(begun.rest.objects, begun.first.body).let_it_end();
    begin_native(context, target).await
}

/// Has the archive decompress what cannot be decoded here.
async fn begin_native(context: &Context, target: Target) -> Result<Begun, Problem> {
    let unsupported = |syntax: Option<&Uid>| {
        let of = syntax.map(|syntax| format!(" under the transfer syntax {syntax}")).unwrap_or_default();
        Problem::bridge(StatusCode::NOT_IMPLEMENTED, format!("images{of} are not rendered"))
            .advise("Ask for frames, or for bulk data.")
    };
    match begin(context, Priority::Interactive, Retrieve::new(target, Form::Native)).await {
        Ok(begun) if can_be_shown(&begun.first.head.transfer_syntax) => Ok(begun),
        Ok(begun) => {
            let problem = unsupported(Some(&begun.first.head.transfer_syntax));
            Rest::new(begun.rest.objects, begun.first.body).let_it_end();
            Err(problem)
        }
        Err(problem) if problem.is_not_acceptable() => Err(unsupported(None)),
        Err(problem) => Err(problem),
    }
}

/// Answers with one file: a picture, or several that follow each other.
async fn one(
    context: &Context,
    begun: Begun,
    asked: Asked,
    form: ValueForm,
    wanted: Frames,
) -> Result<Response, Problem> {
    let Begun { first, rest } = begun;
    let Object { head, mut body, .. } = first;
    let mut url = instance_url(context);
    if let Some(frames) = &context.frames {
        url = format!("{url}/frames/{frames}");
    }
    let workshop = context.server.0.kept.workshop.clone();
    let assumed = rest.assumed_charset.as_ref();
    let drawing = Drawing::new(workshop, &head, &asked, form.media_type, assumed);
    let drawn = drawing.frames(wanted).file(&mut body).await;
    Rest::new(rest.objects, body).let_it_end();
    let file = drawn.map_err(|broken| Problem::broken(context.archive.name(), broken))?;
    Ok(answer_with(context, form, file, &format!("{url}/rendered")))
}

fn answer_with(context: &Context, form: ValueForm, file: Bytes, location: &str) -> Response {
    if form.single_part {
        let mut headers = content_type(form.media_type);
        headers.extend(HeaderValue::try_from(location).ok().map(|url| (CONTENT_LOCATION, url)));
        headers.insert(CONTENT_LENGTH, file.len().into());
        return (headers, Body::from(file)).into_response();
    }
    let mut writer = Writer::<()>::new();
    let content = writer.content_type(form.media_type);
    let head = writer.part(&[("Content-Type", form.media_type), ("Content-Location", location)]);
    // The file as it is, with its place in the memory that pictures share.
    let body = Gathered([head, file, writer.finish(())].map(Held::passing).into());
    answer(context, &content, &[], Body::new(Streaming::new(body, context.archive.name())))
}

/// Answers with several pictures, one a part, each as soon as it is drawn.
async fn several<S: sequence::Draws>(
    context: &Context,
    mut source: Sequence<S>,
    form: ValueForm,
    missing: &[Uid],
) -> Result<Response, Problem> {
    let problem = |broken| Problem::broken(context.archive.name(), broken);
    let head = match next(&mut source).await {
        Ok(Part::Begin(head)) => head,
        Ok(_) => return Err(problem(Broken::Picture(NotDrawn::NoImage))),
        Err(broken) => {
            source.leave();
            return Err(problem(broken));
        }
    };
    let writer = Writer::new();
    let content_type = writer.content_type(form.media_type);
    let parts = Parts::new(source, &head, Vec::new(), Framing::Multipart(writer));
    Ok(answer(context, &content_type, missing, Body::new(Streaming::new(parts, context.archive.name()))))
}
