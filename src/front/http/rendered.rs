//! WADO-RS of rendered instances, as far as nothing has to be rendered: encapsulated documents and videos, which
//! browsers show as they are stored (PS3.18 10.4.1.1.3).

use axum::response::Response;
use http::StatusCode;

use super::bulkdata::one;
use super::context::Context;
use super::error::Problem;
use super::parts::Rest;
use super::wado::begin;
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicomweb::request;
use crate::image::bulk::{document_type, is_video};

/// Answers with the document or the video of an instance.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let begun = begin(&context, Priority::Interactive, Retrieve::new(target, Form::AsStored)).await?;
    let head = &begun.first.head;
    let value = if document_type(&head.sop_class).is_some() {
        "00420011"
    } else if is_video(&head.transfer_syntax) {
        "7FE00010"
    } else {
        Rest::new(begun.rest.objects, begun.first.body).let_it_end();
        return Err(Problem::bridge(StatusCode::NOT_IMPLEMENTED, "images are not rendered in this version")
            .advise("Ask for frames, or for bulk data."));
    };
    let path = value.parse().expect("a tag");
    one(context, begun, path, &accept).await
}
