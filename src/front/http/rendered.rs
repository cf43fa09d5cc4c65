//! WADO-RS of what a browser shows (PS3.18 10.4.1.1.3): pictures of images; encapsulated documents and videos as they
//! are stored; structured reports as text.

use axum::response::Response;

use super::bulkdata::one;
use super::context::Context;
use super::error::Problem;
use super::{pictures, report, wado::begin};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::query::Level;
use crate::dicomweb::report::is_report;
use crate::dicomweb::request;
use crate::image::bulk::{document_type, is_video};

/// Answers with pictures of what the path names, or with the document, the video or the text of an instance.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    if context.frames.is_some() {
        return pictures::frames(context).await;
    }
    if target.level() != Level::Instance {
        return pictures::images(context).await;
    }
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let begun = begin(&context, Priority::Interactive, Retrieve::new(target, Form::AsStored)).await?;
    let head = &begun.first.head;
    if is_report(&head.sop_class) {
        return report::text(context, begun, &accept).await;
    }
    let value = if document_type(&head.sop_class).is_some() {
        "00420011"
    } else if is_video(&head.transfer_syntax) {
        "7FE00010"
    } else {
        return pictures::instance(context, begun).await;
    };
    let path = value.parse().expect("a tag");
    one(context, begun, path, &accept).await
}
