//! WADO-RS of bulk data: one value by its URL, or those of an instance, a series or a study (PS3.18 10.4.1.1.5,
//! 10.4.1.1.6).
//!
//! A value by its URL is a single part unless the client asks for parts, and then may be read in ranges. Pixel
//! data is native or its frames, as it is negotiated for frames.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context as Polling, Poll, ready};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::{Broken, Streaming};
use super::context::Context;
use super::error::Problem;
use super::frames::{begin_pixels, content_type, instance_url, not_acceptable, pixel_syntax};
use super::parts::{Framing, Part, PartHead, Parts, Rest, Source, length_of, next};
use super::wado::{Begun, answer, begin, bulk_data_url, form_of};
use crate::archive::{Complete, Feed, Form, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::bulk::is_pixel_data;
use crate::dicom::object::{Cursor, Head, Object};
use crate::dicom::query::{Level, Target};
use crate::dicom::tags;
use crate::dicomweb::media_type::{Accept, OCTET_STREAM, ValueForm, pixel_type};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::range::ByteRange;
use crate::dicomweb::request;
use crate::image::bulk::{BulkPath, Piece, Selection, Value, Values, document_type};

/// Answers with the value that the path names.
pub(super) async fn value(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let path: BulkPath = (context.path.as_deref().unwrap_or_default())
        .parse()
        .map_err(|error| Problem::client(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let retrieve = |form| Retrieve::new(target.clone(), form);
    let of_pixels = path.is_at_top() && is_pixel_data(path.tag());
    let begun = if of_pixels && !accept.takes_any_value() {
        begin_pixels(&context, &accept, retrieve, |syntax| accept.pixel_form(syntax, true)).await?.0
    } else {
        begin(&context, Priority::Interactive, retrieve(Form::AsStored)).await?
    };
    one(context, begun, path, &accept).await
}

/// Answers with the bulk data of the entity in the path: what its metadata point to.
pub(super) async fn large(context: Context) -> Result<Response, Problem> {
    let inline = context.server.0.config.inline_limit;
    all(context, Selection::Large(inline)).await
}

/// Answers with the pixel data of the entity in the path.
pub(super) async fn pixels(context: Context) -> Result<Response, Problem> {
    all(context, Selection::Pixels).await
}

async fn all(context: Context, selection: Selection) -> Result<Response, Problem> {
    let target = context.target()?;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let form = accept.pixel_syntaxes().first().map(form_of).ok_or_else(not_acceptable)?;
    let single_item = target.level() == Level::Instance;
    let priority = if single_item { Priority::Interactive } else { Priority::Bulk };
    let Begun { first, rest } = begin(&context, priority, Retrieve::new(target.clone(), form)).await?;
    let missing = rest.missing;
    let mut source = Objects {
        feed: rest.objects,
        current: None,
        selection,
        accept,
        target,
        service_url: context.service_url.clone(),
    };
    source.begin(first);
    let writer = Writer::new();
    let content_type = writer.content_type(OCTET_STREAM);
    let archive = context.archive.name();
    let body = match next(&mut source).await.map_err(|broken| Problem::broken(archive, broken))? {
        Part::Begin(head) => {
            let parts = Parts::new(source, &head, Vec::new(), Framing::Multipart(writer));
            Body::new(Streaming::new(parts, context.archive.name()))
        }
        _ => return Err(Problem::client(StatusCode::NOT_FOUND, "the objects have no such bulk data")),
    };
    Ok(answer(&context, &content_type, &missing, body))
}

/// Answers with one value of an object that has begun to come.
pub(super) async fn one(
    context: Context,
    begun: Begun,
    path: BulkPath,
    accept: &Accept,
) -> Result<Response, Problem> {
    let Begun { first, rest } = begun;
    let naming = Naming { head: first.head, url: format!("{}/bulkdata", instance_url(&context)) };
    let values = Values::new(&naming.head.transfer_syntax, Selection::Path(path));
    let mut source = OneValue {
        values,
        rest: Some(Rest::new(rest.objects, first.body)),
        naming,
        accept: accept.clone(),
        begun: None,
    };
    let archive = context.archive.name();
    let problem = |broken| Problem::broken(archive, broken);
    let head = match next(&mut source).await {
        Ok(Part::Begin(head)) => head,
        Ok(_) | Err(Broken::NoValue) => {
            return Err(Problem::client(StatusCode::NOT_FOUND, "the object has no such value"));
        }
        Err(broken) => return Err(problem(broken)),
    };
    let Some(form) = source.begun.as_ref().and_then(|value| source.naming.form(value, accept)) else {
        return Err(not_acceptable_value());
    };
    if !form.single_part {
        let writer = Writer::new();
        let headers = content_type(&writer.content_type(form.media_type));
        let parts = Parts::new(source, &head, Vec::new(), Framing::Multipart(writer));
        return Ok((headers, Body::new(Streaming::new(parts, context.archive.name()))).into_response());
    }
    let (held, length) = length_of(&head, &mut source, &context.server.0.kept.room).await.map_err(problem)?;
    let mut headers = content_type(&head.content_type);
    headers.extend(HeaderValue::try_from(&head.location).ok().map(|url| (CONTENT_LOCATION, url)));
    let (status, range) = match length {
        Some(length) => ranged(&context, length, &mut headers)?,
        None => (StatusCode::OK, 0..u64::MAX),
    };
    let parts = Parts::new(source, &head, held, Framing::Single(range));
    Ok((status, headers, Body::new(Streaming::new(parts, context.archive.name()))).into_response())
}

/// The part of a value of this length that the client asks for. A condition on it (If-Range) names a validator
/// that cannot be compared before the whole is there, so that the whole is sent.
pub(super) fn ranged(
    context: &Context,
    length: u64,
    headers: &mut HeaderMap,
) -> Result<(StatusCode, std::ops::Range<u64>), Problem> {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let asked = context.range().and_then(ByteRange::parse);
    let (status, range) = match asked.map(|range| range.of(length)) {
        None => (StatusCode::OK, 0..length),
        Some(Ok(range)) => {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (CONTENT_RANGE, value)));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Some(Err(_)) => return Err(Problem::unsatisfiable_range(length)),
    };
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    Ok((status, range))
}

fn not_acceptable_value() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the value comes in no form that was asked for")
        .advise("Accept application/octet-stream, or multipart/related; type=\"*/*\".")
}

/// What an object's values are called.
#[derive(Debug)]
struct Naming {
    head: Head,
    /// The URL of the object's bulk data.
    url: String,
}

impl Naming {
    /// The form of a value; `None` where the client takes it in none.
    fn form(&self, value: &Value, accept: &Accept) -> Option<ValueForm> {
        match value.frame {
            Some((_, count)) => accept.bulk_pixel_form(&pixel_syntax(&self.head.transfer_syntax), count == 1),
            None => accept.value_form(self.own_type(value), true),
        }
    }

    fn own_type(&self, value: &Value) -> &'static str {
        let document = value.path.is_at_top() && value.path.tag() == tags::ENCAPSULATED_DOCUMENT;
        document.then(|| document_type(&self.head.sop_class)).flatten().unwrap_or(OCTET_STREAM)
    }

    fn part(&self, value: &Value, accept: &Accept) -> PartHead {
        let syntax = pixel_syntax(&self.head.transfer_syntax);
        let form = self.form(value, accept);
        let pixels = value.frame.is_some() || (value.path.is_at_top() && is_pixel_data(value.path.tag()));
        // What the client takes in no form comes under its own name: it is among what it asked for.
        let own = if value.frame.is_some() { pixel_type(&syntax) } else { self.own_type(value) };
        let media_type = form.map_or(own, |form| form.media_type);
        let content_type =
            if pixels { format!("{media_type}; transfer-syntax={syntax}") } else { media_type.to_owned() };
        let location = format!("{}/{}", self.url, value.path);
        PartHead { content_type, location, length: value.length }
    }
}

/// One value of one object.
#[derive(Debug)]
struct OneValue {
    values: Values,
    /// Gone when the value is out.
    rest: Option<Rest>,
    naming: Naming,
    accept: Accept,
    /// The value that came last.
    begun: Option<Value>,
}

/// The value is out whole. Only [`OneValue`] makes one.
#[derive(Debug)]
struct ValueCut(());

impl Source for OneValue {
    type Proof = ValueCut;

    fn leave(&mut self) {
        self.rest.take().into_iter().for_each(Rest::let_it_end);
    }

    fn poll_part(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Part<ValueCut>, Broken>> {
        loop {
            if let Some(piece) = self.values.next()? {
                return Poll::Ready(Ok(match piece {
                    Piece::Begin(value) => {
                        let head = self.naming.part(&value, &self.accept);
                        self.begun = Some(value);
                        Part::Begin(head)
                    }
                    Piece::Bytes(bytes) => Part::Bytes(bytes),
                    Piece::End => Part::End,
                }));
            }
            if self.values.is_done() {
                self.leave();
                return Poll::Ready(Ok(Part::Done(ValueCut(()))));
            }
            let Some(rest) = &mut self.rest else { return Poll::Ready(Err(Broken::NoValue)) };
            match ready!(rest.poll_bytes(cx))? {
                Some(bytes) => self.values.push(bytes),
                None => {
                    self.values.finish()?;
                    self.rest = None;
                }
            }
        }
    }
}

/// Values of several objects.
#[derive(Debug)]
struct Objects {
    feed: Feed<Object>,
    current: Option<(Values, Cursor, Naming)>,
    selection: Selection,
    accept: Accept,
    target: Target,
    service_url: String,
}

impl Objects {
    fn begin(&mut self, object: Object) {
        let Object { head, series, body } = object;
        let url = bulk_data_url(&self.service_url, &self.target, &head, series.as_ref());
        let values = Values::new(&head.transfer_syntax, self.selection.clone());
        self.current = Some((values, body, Naming { head, url }));
    }
}

impl Source for Objects {
    type Proof = Complete;

    /// Its parts end with the retrieval.
    fn leave(&mut self) {}

    fn poll_part(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Part<Complete>, Broken>> {
        loop {
            let Some((values, cursor, naming)) = &mut self.current else {
                // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
                let step = ready!(pin!(self.feed.next()).poll(cx));
                match step {
                    Step::Item(object) => self.begin(object),
                    Step::End(Ok(complete)) => return Poll::Ready(Ok(Part::Done(complete))),
                    Step::End(Err(error)) => return Poll::Ready(Err(Broken::Archive(error))),
                }
                continue;
            };
            if let Some(piece) = values.next()? {
                return Poll::Ready(Ok(match piece {
                    Piece::Begin(value) => Part::Begin(naming.part(&value, &self.accept)),
                    Piece::Bytes(bytes) => Part::Bytes(bytes),
                    Piece::End => Part::End,
                }));
            }
            // An object whose values are out is read to its end all the same: it has to be whole.
            match ready!(Pin::new(cursor).poll_next(cx)).transpose()? {
                Some(bytes) if !values.is_done() => values.push(bytes),
                Some(_) => {}
                None if values.is_finished() => self.current = None,
                None => values.finish()?,
            }
        }
    }
}
