//! WADO-URI: one object by a query, as a file or as something to look at (PS3.18 chapter 9).

use axum::response::Response;
use http::header::ACCEPT;
use http::{StatusCode, Uri};

use super::body::Broken;
use super::context::Context;
use super::error::Problem;
use super::pages;
use super::parts::Rest;
use super::pictures::{self, Asked};
use super::rendered;
use super::wado::{Agreed, Begun, begin, begin_objects, send};
use crate::archive::{Form, Retrieve};
use crate::caller::Priority;
use crate::dicom::deidentify::{Key, NotDeidentified, deidentified};
use crate::dicom::dictionary::class_name;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicom::sop_class::is_image;
use crate::dicomweb::media_type::{ObjectForm, Packaging, SyntaxChoice};
use crate::dicomweb::report::is_report;
use crate::dicomweb::wado_uri::{self, WadoUri};
use crate::image::bulk::{document_type, is_video};

/// Answers on the root of a service, where nothing else is.
pub(super) async fn on_the_root(context: Context, uri: Uri) -> Result<Response, Problem> {
    if wado_uri::is_wado_uri(&context.query) {
        return retrieve(context).await;
    }
    Err(pages::no_such_resource(&context.server, &uri))
}

/// Answers with the object that the query names.
pub(super) async fn retrieve(mut context: Context) -> Result<Response, Problem> {
    let asked = wado_uri::read(&context.query)?;
    if asked.wants_dicom() {
        return file(&context, &asked).await;
    }
    let mut how = Asked::of_wado_uri(&asked)?;
    if let Some((series, instance)) = asked.picture.presentation.clone() {
        let (series, instance) = (Some(series), Some(instance));
        how.presentation =
            Some(pictures::state(&context, Target { series, instance, ..asked.target.clone() }).await?);
    }
    name_in_path(&mut context, &asked);
    if asked.picture.frame.is_some() {
        return pictures::frames(context, how).await;
    }
    let target = asked.target.clone();
    let begun = begin(&context, Priority::Interactive, Retrieve::new(target, Form::AsStored)).await?;
    let head = &begun.first.head;
    if asked.content_types.is_empty() && !can_be_looked_at(head) {
        return send(&context, &asked.target, begun, native()).await;
    }
    if is_report(&head.sop_class) && !asked.takes_utf8() {
        Rest::new(begun.rest.objects, begun.first.body).let_it_end();
        return Err(Problem::client(
            StatusCode::NOT_ACCEPTABLE,
            "the text is in no `charset` that was asked for",
        )
        .advise("Ask with charset=UTF-8."));
    }
    if asked.content_types.is_empty() && class_name(&head.sop_class).is_none() {
        return private(context, &asked, begun, how).await;
    }
    rendered::instance(context, begun, how).await
}

/// Answers with a picture of an object of which nobody knows whether it has pixels; where it has none, with its file.
async fn private(context: Context, asked: &WadoUri, begun: Begun, how: Asked) -> Result<Response, Problem> {
    match pictures::instance(&context, begun, how).await {
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
            let retrieve = Retrieve::new(asked.target.clone(), Form::AsStored);
            let begun = begin(&context, Priority::Interactive, retrieve).await?;
            send(&context, &asked.target, begun, native()).await
        }
        answer => answer,
    }
}

/// Answers with a PS3.10 file.
async fn file(context: &Context, asked: &WadoUri) -> Result<Response, Problem> {
    let syntax = asked.syntax.clone().ok_or_else(not_acceptable)?;
    let forms = [ObjectForm { packaging: Packaging::Bare, syntax, rank: 0 }];
    let (mut begun, agreed) = begin_objects(context, Priority::Interactive, &asked.target, &forms)
        .await?
        .ok_or_else(not_acceptable)?;
    if asked.is_anonymized {
        let Begun { first, rest } = begun;
        let first = deidentified(first, key(context)).await.map_err(|why| match why {
            NotDeidentified::BurnedIn => Problem::client(StatusCode::NOT_ACCEPTABLE, why.to_string())
                .advise("Have the annotation taken out of the pixels first, or ask without `anonymize`."),
            NotDeidentified::Broken(broken) => {
                Problem::broken(context.archive.name(), Broken::Object(broken))
            }
        })?;
        begun = Begun { first, rest };
    }
    send(context, &asked.target, begun, agreed).await
}

/// A file that anybody reads.
fn native() -> Agreed {
    Agreed { packaging: Packaging::Bare, choices: vec![(0, SyntaxChoice::Native)] }
}

/// The key under which objects of this service are de-identified.
fn key(context: &Context) -> &Key {
    let shared = &context.server.0;
    shared.config.anonymize_key.as_ref().unwrap_or(&shared.kept.anonymize_key)
}

/// Has the context name the object as the path of a rendered resource does, which this is in other words. What is taken is
/// said by `contentType` alone.
fn name_in_path(context: &mut Context, asked: &WadoUri) {
    let text = |uid: Option<&crate::dicom::Uid>| uid.map(|uid| uid.as_str().to_owned());
    context.study = Some(asked.target.study.as_str().to_owned());
    context.series = text(asked.target.series.as_ref());
    context.instance = text(asked.target.instance.as_ref());
    context.frames = asked.picture.frame.map(|frame| frame.to_string());
    context.headers.remove(ACCEPT);
}

/// Whether there is something to look at, or to read, of an object.
fn can_be_looked_at(head: &Head) -> bool {
    let class = &head.sop_class;
    is_image(class) || is_report(class) || document_type(class).is_some() || is_video(&head.transfer_syntax)
}

fn not_acceptable() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the object cannot be had in this transfer syntax")
        .advise("Ask with transferSyntax=* for the object as it is stored, or without it.")
}
