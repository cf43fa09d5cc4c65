//! WADO-RS of PS3.10 objects: a study, a series or an instance (PS3.18 10.4).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::Streaming;
use super::bulkdata;
use super::context::Context;
use super::error::Problem;
use super::objects::{Files, Framing, web_syntax};
use crate::archive::{Error, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::object::{Head, Object};
use crate::dicom::query::{Level, Target};
use crate::dicomweb::media_type::{DICOM, OCTET_STREAM, Packaging, SyntaxChoice, ZIP};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::{request, zip};

/// Answers with the objects of the entity in the path. Waits for the first of them, so that what fails until
/// then has a status of its own.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let single_item = target.level() == Level::Instance;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let Some(form) = accept.object_form(single_item) else {
        // Bytes of an instance are its bulk data (PS3.18 10.4.4).
        let bytes = single_item && accept.value_form(OCTET_STREAM, false).is_some();
        return if bytes { bulkdata::large(context).await } else { Err(not_acceptable(single_item)) };
    };
    let priority = if single_item { Priority::Interactive } else { Priority::Bulk };
    let retrieve = Retrieve::new(target.clone(), form_of(form.syntax));
    let Begun { first, rest } = begin(&context, priority, retrieve).await?;
    let file_name = (form.packaging == Packaging::Zip).then(|| file_name(&target));
    let (framing, content_type) = match form.packaging {
        Packaging::Multipart => {
            let writer = Writer::new();
            let content_type = writer.content_type(DICOM);
            (Framing::Multipart(writer), content_type)
        }
        Packaging::Zip => (Framing::Zip(zip::Writer::new(), target), ZIP.to_owned()),
        Packaging::Bare => {
            let content_type = format!("{DICOM}; transfer-syntax={}", web_syntax(&first.head));
            (Framing::SinglePart, content_type)
        }
    };
    let body = Streaming::new(Files::new(first, rest.objects, framing), context.archive.name());
    let mut response = answer(&context, &content_type, &rest.missing, Body::new(body));
    response.headers_mut().extend(file_name.map(|name| (CONTENT_DISPOSITION, name)));
    Ok(response)
}

/// What a browser is to call the archive of an entity.
fn file_name(target: &Target) -> HeaderValue {
    let uid = target.instance.as_ref().or(target.series.as_ref()).unwrap_or(&target.study);
    HeaderValue::try_from(format!("attachment; filename=\"{uid}.zip\"")).expect("a UID is digits and dots")
}

/// The form in which the archive is asked for what a client takes.
pub(super) fn form_of(choice: SyntaxChoice) -> Form {
    match choice {
        SyntaxChoice::AsStored => Form::AsStored,
        SyntaxChoice::Native => Form::Native,
    }
}

/// The URL below which an object of this retrieval has its bulk data: what metadata point to, and what bulk data
/// say that they are. `series`: as the object itself says.
pub(super) fn bulk_data_url(service_url: &str, target: &Target, head: &Head, series: Option<&Uid>) -> String {
    let (study, instance) = (&target.study, &head.sop_instance);
    let series = series.or(target.series.as_ref()).map_or("", Uid::as_str);
    format!("{service_url}/studies/{study}/series/{series}/instances/{instance}/bulkdata")
}

/// A retrieval whose first object has begun.
pub(super) struct Begun {
    pub(super) first: Object,
    pub(super) rest: Retrieval,
}

/// Begins a retrieval and waits for its first object, so that what fails until then has a status of its own.
pub(super) async fn begin(
    context: &Context,
    priority: Priority,
    retrieve: Retrieve,
) -> Result<Begun, Problem> {
    let Context { record, archive, .. } = context;
    record.retrieval(&context.who, archive.name(), &retrieve.target, retrieve.patient.clone());
    let is_one = retrieve.target.level() == Level::Instance;
    let mut rest = archive.retrieve(&context.caller(priority), retrieve).await?;
    match rest.objects.next().await {
        Step::Item(first) => {
            if !is_one {
                record.begins();
            }
            record.instance(&first.head);
            let record = record.clone();
            rest.objects = rest.objects.watched(move |object: &Object| record.instance(&object.head));
            Ok(Begun { first, rest })
        }
        Step::End(Ok(_)) => Err(Error::new(context.archive.name(), Kind::NotFound).into()),
        Step::End(Err(error)) => Err(error.into()),
    }
}

/// An answer that streams: 206 where objects are known to be missing.
pub(super) fn answer(context: &Context, content_type: &str, missing: &[Uid], body: Body) -> Response {
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::try_from(content_type).expect("UIDs and boundaries are ASCII");
    headers.insert(CONTENT_TYPE, content_type);
    let mut status = StatusCode::OK;
    if !missing.is_empty() {
        status = StatusCode::PARTIAL_CONTENT;
        let text = format!("299 {}: {} instances are missing", context.service_url, missing.len());
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (WARNING, value)));
    }
    (status, headers, body).into_response()
}

fn not_acceptable(single_item: bool) -> Problem {
    let mut offer =
        "multipart/related; type=\"application/dicom\" or application/zip, with transfer-syntax=* \
                     as stored or 1.2.840.10008.1.2.1"
            .to_owned();
    if single_item {
        offer.push_str("; or application/dicom");
    }
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the objects come in no form that was asked for")
        .advise(format!("Accept {offer}."))
}
