//! WADO-RS of PS3.10 objects: a study, a series or an instance (PS3.18 10.4).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::Streaming;
use super::bulkdata;
use super::contents::{Contents, Syntaxes};
use super::context::Context;
use super::error::Problem;
use super::objects::{Files, Framing};
use super::parts::Rest;
use crate::archive::{Error, Form, Kind, Retrieval, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::object::{Head, Object};
use crate::dicom::query::{Level, Target};
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::media_type::{DICOM, OCTET_STREAM, ObjectForm, Packaging, SyntaxChoice, ZIP};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::{request, zip};

/// Answers with the objects of the entity in the path. Waits for the first of them, so that what fails until
/// then has a status of its own.
pub(super) async fn retrieve(context: Context) -> Result<Response, Problem> {
    let target = context.target()?;
    let single_item = target.level() == Level::Instance;
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let forms = accept.object_forms(single_item);
    if forms.is_empty() {
        // Bytes of an instance are its bulk data (PS3.18 10.4.4).
        let bytes = single_item && accept.value_form(OCTET_STREAM, false).is_some();
        return if bytes { bulkdata::large(context).await } else { Err(not_acceptable(single_item)) };
    }
    let priority = if single_item { Priority::Interactive } else { Priority::Bulk };
    let (begun, agreed) = begin_objects(&context, priority, &target, &forms)
        .await?
        .ok_or_else(|| not_acceptable(single_item))?;
    send(&context, &target, begun, agreed).await
}

/// What objects are sent in.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) packaging: Packaging,
    /// Any of these, the most wanted first, by their rank: which one, each object tells.
    pub(super) choices: Vec<(usize, SyntaxChoice)>,
}

/// Begins the retrieval of objects, and tells in which of these forms they are sent: the first of them can be sent in it.
/// `None`: it can be sent in none. The archive is asked for what it has, since that is in the cache for whoever asks next;
/// only what is not decoded here it is asked to decode.
pub(super) async fn begin_objects(
    context: &Context,
    priority: Priority,
    target: &Target,
    forms: &[ObjectForm],
) -> Result<Option<(Begun, Agreed)>, Problem> {
    let native = Uid::from_static(EXPLICIT_VR_LE);
    let takes_native = |form: &ObjectForm| form.syntax.of(&native, |_, _| false).is_some();
    let takes_native = forms.iter().any(takes_native);
    // Among others, what nobody decodes is sent all the same to who names no transfer syntax.
    let is_lenient =
        target.level() != Level::Instance && forms.iter().any(|form| form.syntax == SyntaxChoice::Native);
    let asks = [
        Some((Form::AsStored, false)),
        takes_native.then_some((Form::Native, false)),
        is_lenient.then_some((Form::AsStored, true)),
    ];
    let mut refused = None;
    for (ask, are_many) in asks.into_iter().flatten() {
        match begin(context, priority, Retrieve::new(target.clone(), ask)).await {
            Ok(begun) => match agreed(forms, &begun.first.head, are_many) {
                Some(agreed) => return Ok(Some((begun, agreed))),
                None => Rest::new(begun.rest.objects, begun.first.body).let_it_end(),
            },
            Err(problem) if problem.is_not_acceptable() => refused = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// The forms that an object of this head can be sent in, with all others of its packaging. `are_many`: there may be other
/// objects, for which it should not stand in the way.
fn agreed(forms: &[ObjectForm], head: &Head, are_many: bool) -> Option<Agreed> {
    let fits = |form: &&ObjectForm| {
        let choices = vec![(form.rank, form.syntax.clone())];
        !Syntaxes { choices, are_many }.of(head, true).is_empty()
    };
    let packaging = forms.iter().find(fits)?.packaging;
    let same = forms.iter().filter(|form| form.packaging == packaging);
    Some(Agreed { packaging, choices: same.map(|form| (form.rank, form.syntax.clone())).collect() })
}

/// Answers with the objects of this entity, whose retrieval has begun.
pub(super) async fn send(
    context: &Context,
    target: &Target,
    begun: Begun,
    agreed: Agreed,
) -> Result<Response, Problem> {
    let Begun { first, rest } = begun;
    let workers = context.server.0.kept.workers.clone();
    let are_many = target.level() != Level::Instance;
    let syntaxes = Syntaxes { choices: agreed.choices, are_many };
    let archive = context.archive.name();
    let problem = |broken| Problem::broken(archive, broken);
    let stored = first.head.transfer_syntax.clone();
    let mut contents = Contents::new(first, rest.objects, syntaxes, workers).map_err(problem)?;
    let syntax = contents.first_frame().await.map_err(problem)?.unwrap_or(stored);
    let mut headers = HeaderMap::new();
    let (framing, content_type) = match agreed.packaging {
        Packaging::Multipart => {
            let writer = Writer::new();
            let content_type = writer.content_type(DICOM);
            (Framing::Multipart(writer), content_type)
        }
        Packaging::Zip => {
            headers.insert(CONTENT_DISPOSITION, file_name(target));
            let (writer, target, missing) = (zip::Writer::new(), target.clone(), rest.missing.clone());
            (Framing::Zip { writer, target, missing }, ZIP.to_owned())
        }
        Packaging::Bare => (Framing::SinglePart, format!("{DICOM}; transfer-syntax={syntax}")),
    };
    let body = Streaming::new(Files::new(contents, framing), archive);
    let mut response = answer(context, &content_type, &rest.missing, Body::new(body));
    response.headers_mut().extend(headers);
    Ok(response)
}

/// What a browser is to call the archive of an entity.
fn file_name(target: &Target) -> HeaderValue {
    let uid = target.instance.as_ref().or(target.series.as_ref()).unwrap_or(&target.study);
    HeaderValue::try_from(format!("attachment; filename=\"{uid}.zip\"")).expect("a UID is digits and dots")
}

/// The form in which the archive is asked for what a client takes.
pub(super) fn form_of(choice: &SyntaxChoice) -> Form {
    match choice {
        SyntaxChoice::AsStored | SyntaxChoice::Only(_) => Form::AsStored,
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
        "multipart/related; type=\"application/dicom\" or application/zip, with transfer-syntax=* as \
                     stored, or 1.2.840.10008.1.2.1"
            .to_owned();
    if single_item {
        offer.push_str("; or application/dicom");
    }
    Problem::client(StatusCode::NOT_ACCEPTABLE, "the objects come in no form that was asked for")
        .advise(format!("Accept {offer}."))
}
