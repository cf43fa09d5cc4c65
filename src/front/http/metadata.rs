//! WADO-RS metadata: what objects say of themselves, in JSON or XML, as they arrive (PS3.18 10.4.1.1.2).
//!
//! An object's bytes go straight from the archive into the text. Only the text of one object at a time is held, so
//! that a study of any size passes; what is bulk data is a URL that this bridge answers.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context as Polling, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;

use super::body::{Broken, Pieces, Streaming};
use super::context::Context;
use super::error::Problem;
use super::wado::{Begun, answer, begin, bulk_data_url};
use crate::archive::{Complete, Feed, Form, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::charset::Charset;
use crate::dicom::object::{Cursor, Object};
use crate::dicom::query::{Level, Target};
use crate::dicomweb::media_type::DataSetForm;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::request;
use crate::dicomweb::transcribe::{BulkData, Format, Transcriber};

/// Answers with the metadata of the entity in the path.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let single_item = target.level() == Level::Instance;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let form = accept.data_set_form(single_item).ok_or_else(not_acceptable)?;
    let priority = if single_item { Priority::Interactive } else { Priority::Bulk };
    let retrieve = Retrieve::new(target.clone(), Form::AsStored);
    let Begun { first, rest } = begin(&context, priority, retrieve).await?;
    let (framing, content_type) = match form {
        DataSetForm::DicomJson | DataSetForm::Json => (Framing::Array, form.media_type().to_owned()),
        DataSetForm::SingleXml => (Framing::Bare, form.media_type().to_owned()),
        DataSetForm::Xml => {
            let writer = Writer::new();
            let content_type = writer.content_type(form.media_type());
            (Framing::Multipart(writer), content_type)
        }
    };
    let mut texts = Texts {
        feed: rest.objects,
        current: None,
        count: 0,
        framing: Some(framing),
        target,
        service_url: context.service_url.clone(),
        inline: context.server.0.config.inline_limit,
        charset: rest.assumed_charset,
    };
    texts.begin(first);
    let body = Body::new(Streaming::new(texts, context.archive.name()));
    Ok(answer(&context, &content_type, &rest.missing, body))
}

fn not_acceptable() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "metadata come in no form that was asked for")
        .advise("Accept application/dicom+json, or multipart/related; type=\"application/dicom+xml\".")
}

/// What stands around the texts of the objects.
#[derive(Debug)]
enum Framing {
    /// A JSON array.
    Array,
    /// `multipart/related`, an XML document a part.
    Multipart(Writer<Complete>),
    /// One XML document.
    Bare,
}

/// The objects as texts.
#[derive(Debug)]
struct Texts {
    feed: Feed<Object>,
    current: Option<(Transcriber, Cursor)>,
    /// How many objects have begun.
    count: usize,
    /// Taken when the answer is complete.
    framing: Option<Framing>,
    target: Target,
    service_url: String,
    inline: usize,
    charset: Option<Charset>,
}

impl Pieces for Texts {
    fn poll_next(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if self.framing.is_none() {
                return Poll::Ready(Ok(None));
            }
            if let Some((transcriber, cursor)) = &mut self.current {
                match ready!(Pin::new(cursor).poll_next(cx)).transpose()? {
                    Some(bytes) => transcriber.push(bytes),
                    None => {
                        if let Some((transcriber, _)) = self.current.take() {
                            return Poll::Ready(self.end(transcriber).map(Some));
                        }
                    }
                }
                continue;
            }
            // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
            let step = ready!(pin!(self.feed.next()).poll(cx));
            match step {
                Step::Item(object) => self.begin(object),
                Step::End(Ok(complete)) => return Poll::Ready(Ok(self.finish(complete))),
                Step::End(Err(error)) => return Poll::Ready(Err(Broken::Archive(error))),
            }
        }
    }
}

impl Texts {
    fn begin(&mut self, object: Object) {
        let Object { head, series, body } = object;
        let url = bulk_data_url(&self.service_url, &self.target, &head, series.as_ref());
        let format = match self.framing {
            Some(Framing::Array) | None => Format::Json,
            Some(Framing::Multipart(_) | Framing::Bare) => Format::Xml,
        };
        let bulk_data = BulkData { inline: self.inline, url };
        let transcriber = Transcriber::new(format, &head.transfer_syntax, self.charset.as_ref(), bulk_data);
        self.current = Some((transcriber, body));
        self.count += 1;
    }

    /// The text of an object that is whole, with what stands before it.
    fn end(&mut self, transcriber: Transcriber) -> Result<Bytes, Broken> {
        let transcript = transcriber.finish();
        for warning in &transcript.warnings {
            tracing::debug!("metadata of an object: {warning}");
        }
        if let Some(error) = transcript.broken {
            tracing::warn!("the metadata of an object end before it does: {error}");
        }
        let mut out = match &mut self.framing {
            Some(Framing::Array) => vec![if self.count == 1 { b'[' } else { b',' }],
            Some(Framing::Multipart(writer)) => {
                writer.part(&[("Content-Type", "application/dicom+xml; charset=utf-8")]).to_vec()
            }
            Some(Framing::Bare) if self.count > 1 => return Err(Broken::Surplus),
            Some(Framing::Bare) | None => Vec::new(),
        };
        out.extend(transcript.text);
        Ok(out.into())
    }

    fn finish(&mut self, complete: Complete) -> Option<Bytes> {
        match self.framing.take()? {
            Framing::Array => Some(Bytes::from_static(b"]")),
            Framing::Multipart(writer) => Some(writer.finish(complete)),
            Framing::Bare => None,
        }
    }
}
