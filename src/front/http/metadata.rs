//! WADO-RS metadata: what objects say of themselves, in JSON or XML, as they arrive (PS3.18 10.4.1.1.2).
//!
//! An object's bytes go straight from the archive into the text. Only the text of one object at a time is held, so
//! that a study of any size passes; what is bulk data is a URL that this bridge answers. An archive that can leave bulk
//! data out does so (PS3.4 Annex Z). Where the rest of an object does not tell what that was, it is fetched once more as
//! a whole.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use crate::archive::{self, Archive, Complete, Error, Feed, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::{Caller, Priority};
use crate::dicom::charset::Charset;
use crate::dicom::object::{Cursor, Object};
use crate::dicom::query::{Level, Target};
use crate::dicomweb::media_type::DataSetForm;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::request;
use crate::dicomweb::transcribe::{BulkData, Format, Transcriber, is_told_by_the_rest};

/// Answers with the metadata of the entity in the path.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let single_item = target.level() == Level::Instance;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let form = accept.data_set_form(single_item).ok_or_else(not_acceptable)?;
    // Before it has the metadata of a series, a viewer shows nothing of it, and somebody sits there. Those of a whole
    // study are asked for by who reads it from one end to the other.
    let priority = if target.level() == Level::Study { Priority::Bulk } else { Priority::Interactive };
    let retrieve = Retrieve::new(target.clone(), Form::WithoutBulkData);
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
        without_bulk: rest.without_bulk,
        incomplete: Incomplete {
            archive: Arc::clone(&context.archive),
            caller: context.caller(priority),
            targets: VecDeque::new(),
            asked: None,
            complete: None,
        },
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
    current: Option<Current>,
    /// How many texts have begun.
    count: usize,
    /// Taken when the answer is complete.
    framing: Option<Framing>,
    target: Target,
    service_url: String,
    inline: usize,
    charset: Option<Charset>,
    /// The objects of the feed come without their bulk data.
    without_bulk: bool,
    incomplete: Incomplete,
}

/// The object that is coming.
#[derive(Debug)]
enum Current {
    Text(Box<Transcriber>, Cursor),
    /// Nobody can tell what it is missing.
    PassedOver(Cursor),
}

/// What has to be fetched once more, as a whole. That waits for the end of the retrieval: it needs an association of its
/// own, and there may be one only.
struct Incomplete {
    archive: Arc<dyn Archive>,
    caller: Caller,
    /// One instance each; as many as the archive layer keeps track of.
    targets: VecDeque<Target>,
    /// The retrieval of the next one begins.
    asked: Option<Pin<Box<dyn Future<Output = archive::Result<Retrieval>> + Send>>>,
    /// The proof that the objects without bulk data all came.
    complete: Option<Complete>,
}

impl fmt::Debug for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incomplete").field("targets", &self.targets.len()).finish_non_exhaustive()
    }
}

impl Incomplete {
    /// Asks for the next one; `false`: there is none.
    fn ask(&mut self) -> bool {
        let Some(target) = self.targets.pop_front() else { return false };
        let (archive, caller) = (Arc::clone(&self.archive), self.caller.clone());
        let retrieve = Retrieve::new(target, Form::AsStored);
        self.asked = Some(Box::pin(async move {
            let retrieval = archive.retrieve(&caller, retrieve).await?;
            let gone = || Error::new(archive.name(), Kind::NotFound);
            if retrieval.missing.is_empty() { Ok(retrieval) } else { Err(gone()) }
        }));
        true
    }
}

impl Pieces for Texts {
    fn poll_next(&mut self, cx: &mut Polling<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if self.framing.is_none() {
                return Poll::Ready(Ok(None));
            }
            if let Some(current) = &mut self.current {
                let (Current::Text(_, cursor) | Current::PassedOver(cursor)) = current;
                match (ready!(Pin::new(cursor).poll_next(cx)).transpose()?, current) {
                    (Some(bytes), Current::Text(transcriber, _)) => transcriber.push(bytes),
                    (Some(_), Current::PassedOver(_)) => {}
                    (None, _) => {
                        if let Some(Current::Text(transcriber, _)) = self.current.take() {
                            return Poll::Ready(self.end(*transcriber).map(Some));
                        }
                    }
                }
                continue;
            }
            if let Some(asked) = &mut self.incomplete.asked {
                let retrieval = ready!(asked.as_mut().poll(cx)).map_err(Broken::Archive)?;
                self.incomplete.asked = None;
                (self.feed, self.without_bulk) = (retrieval.objects, retrieval.without_bulk);
                continue;
            }
            // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
            let step = ready!(pin!(self.feed.next()).poll(cx));
            match step {
                Step::Item(object) => self.begin(object),
                Step::End(Ok(complete)) => {
                    let complete = self.incomplete.complete.take().unwrap_or(complete);
                    if !self.incomplete.ask() {
                        return Poll::Ready(Ok(self.finish(complete)));
                    }
                    self.incomplete.complete = Some(complete);
                }
                Step::End(Err(error)) => return Poll::Ready(Err(Broken::Archive(error))),
            }
        }
    }
}

impl Texts {
    fn begin(&mut self, object: Object) {
        let Object { head, series, body } = object;
        let is_incomplete = self.without_bulk && !is_told_by_the_rest(&head.sop_class);
        if is_incomplete {
            let series = series.or_else(|| self.target.series.clone());
            let (study, instance) = (self.target.study.clone(), Some(head.sop_instance));
            self.incomplete.targets.push_back(Target { study, series, instance });
            self.current = Some(Current::PassedOver(body));
            return;
        }
        let url = bulk_data_url(&self.service_url, &self.target, &head, series.as_ref());
        let format = match self.framing {
            Some(Framing::Array) | None => Format::Json,
            Some(Framing::Multipart(_) | Framing::Bare) => Format::Xml,
        };
        let bulk_data = BulkData { inline: self.inline, url };
        let charset = self.charset.as_ref();
        let mut transcriber = Transcriber::new(format, &head.transfer_syntax, charset, bulk_data);
        if self.without_bulk {
            transcriber = transcriber.without_bulk_data();
        }
        self.current = Some(Current::Text(Box::new(transcriber), body));
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
