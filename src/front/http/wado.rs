//! WADO-RS of PS3.10 objects: a study, a series or an instance (PS3.18 10.4).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::Streaming;
use super::context::Context;
use super::error::Problem;
use super::objects::{Files, Framing, no_objects, web_syntax};
use crate::archive::{Form, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::query::Level;
use crate::dicomweb::media_type::{DICOM, SyntaxChoice};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::request;

/// Answers with the objects of the entity in the path. Waits for the first of them, so that what fails until
/// then has a status of its own.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    // The routes have a study in all of their paths.
    let study = context.study.as_deref().unwrap_or_default();
    let target = request::target(study, context.series.as_deref(), context.instance.as_deref())?;
    let single_item = target.level() == Level::Instance;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let form = accept.object_form(single_item).ok_or_else(|| not_acceptable(single_item))?;
    let priority = if single_item { Priority::Interactive } else { Priority::Bulk };
    let syntax = match form.syntax {
        SyntaxChoice::AsStored => Form::AsStored,
        SyntaxChoice::Native => Form::Native,
    };
    let retrieve = Retrieve { target, form: syntax };
    let mut retrieval = context.archive.retrieve(&context.caller(priority), retrieve).await?;
    let first = match retrieval.objects.next().await {
        Step::Item(object) => object,
        Step::End(Ok(_)) => return Err(no_objects(context.archive.name()).into()),
        Step::End(Err(error)) => return Err(error.into()),
    };
    let (framing, content_type) = if form.single_part {
        let content_type = format!("{DICOM}; transfer-syntax={}", web_syntax(&first.head));
        (Framing::SinglePart, content_type)
    } else {
        let writer = Writer::new();
        let content_type = writer.content_type(DICOM);
        (Framing::Multipart(writer), content_type)
    };
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::try_from(content_type).expect("UIDs and boundaries are ASCII");
    headers.insert(CONTENT_TYPE, content_type);
    let mut status = StatusCode::OK;
    if !retrieval.missing.is_empty() {
        status = StatusCode::PARTIAL_CONTENT;
        let count = retrieval.missing.len();
        let text = format!("299 {}: {count} instances are missing", context.service_url);
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (WARNING, value)));
    }
    let body = Streaming::new(Files::new(first, retrieval.objects, framing), context.channel());
    Ok((status, headers, Body::new(body)).into_response())
}

fn not_acceptable(single_item: bool) -> Problem {
    let mut offer = "multipart/related; type=\"application/dicom\", with transfer-syntax=* as stored \
                     or 1.2.840.10008.1.2.1"
        .to_owned();
    if single_item {
        offer.push_str("; or application/dicom");
    }
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the objects come in no form that was asked for")
        .advise(format!("Accept {offer}."))
}
