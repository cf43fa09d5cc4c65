//! WADO-URI: one object by a query (PS3.18 chapter 9), as far as nothing has to be rendered.

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::body::Streaming;
use super::context::Context;
use super::error::Problem;
use super::objects::{Files, Framing, web_syntax};
use super::pages;
use super::wado::{Begun, answer, begin};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::media_type::DICOM;
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
    let form = match asked.transfer_syntax.as_deref() {
        Some("*") => Form::AsStored,
        None | Some(EXPLICIT_VR_LE) => Form::Native,
        Some(_) => {
            return Err(Problem::client(StatusCode::NOT_ACCEPTABLE, "the bridge does not transcode")
                .advise("Ask with transferSyntax=* for the object as it is stored, or without it."));
        }
    };
    let retrieve = Retrieve::new(asked.target, form);
    let Begun { first, rest } = begin(&context, Priority::Interactive, retrieve).await?;
    let content_type = format!("{DICOM}; transfer-syntax={}", web_syntax(&first.head));
    let body = Streaming::new(Files::new(first, rest.objects, Framing::SinglePart), context.archive.name());
    Ok(answer(&context, &content_type, &rest.missing, Body::new(body)))
}
