//! WADO-URI: one object by a query (PS3.18 chapter 9), as far as nothing has to be rendered.

use axum::response::Response;
use http::{StatusCode, Uri};

use super::context::Context;
use super::error::Problem;
use super::pages;
use super::wado::{begin_objects, send};
use crate::caller::Priority;
use crate::dicomweb::media_type::{ObjectForm, Packaging, SyntaxChoice};
use crate::dicomweb::wado_uri;

/// Answers on the root of a service, where nothing else is.
pub(super) async fn on_the_root(context: Context, uri: Uri) -> Result<Response, Problem> {
    if wado_uri::is_wado_uri(&context.query) {
        return retrieve(context).await;
    }
    Err(pages::no_such_resource(&context.server, &uri))
}

/// Answers with the object that the query names.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let asked = wado_uri::read(&context.query)?;
    if !asked.wants_dicom() {
        return Err(Problem::bridge(StatusCode::NOT_IMPLEMENTED, "images are not rendered in this version")
            .advise("Ask with contentType=application/dicom."));
    }
    let syntax = SyntaxChoice::read(asked.transfer_syntax.as_deref()).ok_or_else(not_acceptable)?;
    let form = [ObjectForm { packaging: Packaging::Bare, syntax }];
    let (begun, form) = begin_objects(&context, Priority::Interactive, &asked.target, &form)
        .await?
        .ok_or_else(not_acceptable)?;
    send(&context, &asked.target, begun, form).await
}

fn not_acceptable() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the object cannot be had in this transfer syntax")
        .advise("Ask with transferSyntax=* for the object as it is stored, or without it.")
}
