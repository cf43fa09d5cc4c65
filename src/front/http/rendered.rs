//! WADO-RS of what a browser shows (PS3.18 10.4.1.1.3): pictures of images; encapsulated documents and videos as they
//! are stored; structured reports as text.

use axum::response::Response;

use super::bulkdata::one;
use super::context::Context;
use super::error::Problem;
use super::pictures::Asked;
use super::wado::Begun;
use super::{pictures, report, wado::begin};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::query::Level;
use crate::dicomweb::report::is_report;
use crate::image::bulk::{document_type, is_video};

/// Answers with pictures of what the path names, or with the document, the video or the text of an instance.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let asked = Asked::read(&context.query)?;
    if context.frames.is_some() {
        return pictures::frames(context, asked).await;
    }
    if target.level() != Level::Instance {
        return pictures::images(context, asked).await;
    }
    let begun = begin(&context, Priority::Interactive, Retrieve::new(target, Form::AsStored)).await?;
    instance(context, begun, asked).await
}

/// Answers with what shows an instance that has begun to come.
pub(super) async fn instance(context: Context, begun: Begun, asked: Asked) -> Result<Response, Problem> {
    let accept = context.accept(&asked.accept);
    let head = &begun.first.head;
    if is_report(&head.sop_class) {
        return report::text(context, begun, &accept).await;
    }
    let value = if document_type(&head.sop_class).is_some() {
        "00420011"
    } else if is_video(&head.transfer_syntax) {
        "7FE00010"
    } else {
        return pictures::instance(&context, begun, asked).await;
    };
    let path = value.parse().expect("a tag");
    one(context, begun, path, &accept).await
}
