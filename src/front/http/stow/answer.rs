//! From the instances' fates to the answer: its status (PS3.18 Table 10.5.3-1) and the response module.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::super::context::Context;
use super::super::error::{Problem, public_text};
use super::intake::TooManyParts;
use super::refusal::Refusal;
use super::source::Interrupted;
use super::stores::{Instance, Outcome};
use crate::dicomweb::media_type::DataSetForm;
use crate::dicomweb::multipart::{Writer, read};
use crate::dicomweb::store_response::{Fate, module};
use crate::dicomweb::{json, xml};

/// Most reasons that are told in words, each in a header field of its own.
const MAX_REASONS: usize = 8;

/// Why the body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// No more bytes came.
    Interrupted(Interrupted),
    /// They were no multipart body.
    Multipart(read::Error),
    /// A part was longer than it may be.
    PartTooLong,
    /// They had too many parts.
    TooManyParts,
    /// They had more metadata or bulk data than is kept at a time.
    TooLong,
    /// The bridge cannot keep bulk data.
    NotKept,
    /// The metadata of other requests take all the memory that there is for them.
    Full,
}

impl Broken {
    fn status(self) -> StatusCode {
        match self {
            Self::Interrupted(Interrupted::Stalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Interrupted(Interrupted::Enough | Interrupted::TooLong)
            | Self::PartTooLong
            | Self::TooManyParts
            | Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Interrupted(Interrupted::Lost) | Self::Multipart(_) => StatusCode::BAD_REQUEST,
            Self::NotKept => StatusCode::INSUFFICIENT_STORAGE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Interrupted(Interrupted::Lost) => "the request's body broke off".to_owned(),
            Self::Interrupted(Interrupted::Stalled) => "the request's body did not go on".to_owned(),
            Self::Interrupted(Interrupted::Enough) => {
                "the rest of the request's body was not read".to_owned()
            }
            Self::Interrupted(Interrupted::TooLong) => {
                "the request's body is longer than http.limits.max_body; the rest was not read".to_owned()
            }
            Self::PartTooLong => {
                "a part of the request is longer than http.limits.max_part; the rest was not read".to_owned()
            }
            Self::Multipart(error) => format!("the request's body cannot be read to its end: {error}"),
            Self::TooManyParts => "the request has too many parts; the rest was not read".to_owned(),
            Self::TooLong => "the request has more metadata or bulk data than is kept at a time".to_owned(),
            Self::NotKept => "the bridge has no room for the bulk data of the request".to_owned(),
            Self::Full => "the bridge has no room for more metadata at the moment".to_owned(),
        }
    }
}

impl From<Interrupted> for Broken {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<read::Error> for Broken {
    fn from(error: read::Error) -> Self {
        Self::Multipart(error)
    }
}

impl From<TooManyParts> for Broken {
    fn from(TooManyParts: TooManyParts) -> Self {
        Self::TooManyParts
    }
}

/// What became of a request.
pub(super) struct Report {
    pub(super) instances: Vec<Instance>,
    /// Why its body was not read to its end.
    pub(super) broken: Option<Broken>,
    /// What a person should know besides.
    pub(super) notes: Vec<String>,
}

/// The answer to a request.
pub(super) fn answer(context: &Context, form: DataSetForm, report: Report) -> Result<Response, Problem> {
    let Report { instances, broken, notes } = report;
    let stored = instances.iter().filter(|i| !matches!(i.fate(), Fate::Failed(_))).count();
    let archive = context.archive.name();
    if stored < instances.len() {
        tracing::warn!(archive, stored, failed = instances.len() - stored, "not all instances were stored");
    }
    if stored == 0
        && let Some(problem) = nothing_done(&instances, broken)
    {
        return Err(problem);
    }
    let plain = broken.is_none() && instances.iter().all(|i| i.fate() == Fate::Stored);
    let status = match stored {
        0 => StatusCode::CONFLICT,
        _ if plain => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    let mut headers = HeaderMap::new();
    for text in warnings(&instances, broken).into_iter().chain(notes) {
        let value = HeaderValue::try_from(format!("299 {}: {text}", context.service_url));
        headers.extend(value.ok().map(|value| (WARNING, value)));
    }
    let outcomes: Vec<_> = instances.iter().map(|i| (i.reference.clone(), i.fate())).collect();
    let module = module(&context.service_url, &outcomes);
    let mut content_type = form.media_type().to_owned();
    let mut body = Vec::new();
    match form {
        DataSetForm::DicomJson | DataSetForm::Json => json::write_object(&module, &mut body),
        DataSetForm::SingleXml => body = xml::write_document(&module),
        DataSetForm::Xml => {
            let mut writer = Writer::<()>::new();
            content_type = writer.content_type(form.media_type());
            body.extend(writer.part(&[("Content-Type", form.media_type())]));
            body.extend(xml::write_document(&module));
            body.extend(writer.finish(()));
        }
    }
    headers.extend(HeaderValue::try_from(content_type).ok().map(|value| (CONTENT_TYPE, value)));
    Ok((status, headers, body).into_response())
}

/// The problem of a request of which nothing was stored, where it is one of the whole request.
fn nothing_done(instances: &[Instance], broken: Option<Broken>) -> Option<Problem> {
    let answered =
        instances.iter().any(|i| matches!(i.outcome(), Outcome::Answered(_)) && i.untried().is_none());
    if !answered && let Some(error) = instances.iter().find_map(Instance::untried) {
        return Some(error.clone().into());
    }
    if let Some(broken) = broken {
        let text = format!("{}; nothing was stored", broken.text());
        return Some(match broken {
            Broken::NotKept => Problem::bridge(broken.status(), text),
            Broken::Full => Problem::bridge(broken.status(), text).try_again(),
            _ => Problem::client(broken.status(), text),
        });
    }
    let refusals: Option<Vec<Refusal>> = instances
        .iter()
        .map(|i| match i.outcome() {
            Outcome::Refused(refusal) if refusal.is_syntax() => Some(*refusal),
            _ => None,
        })
        .collect();
    let refusals = refusals?;
    let Some(first) = refusals.first() else {
        return Some(Problem::client(StatusCode::BAD_REQUEST, "the request brings nothing to store"));
    };
    if refusals.iter().all(|refusal| *refusal == Refusal::WrongType) {
        let text = "no part is labelled as application/dicom";
        return Some(Problem::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let text = format!("none of the {} instances can be read; of the first: {first}", refusals.len());
    Some(Problem::client(StatusCode::BAD_REQUEST, text))
}

/// What a person should know beyond the codes in the module: why instances were not stored, and how many.
fn warnings(instances: &[Instance], broken: Option<Broken>) -> Vec<String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for instance in instances {
        let reason = match instance.outcome() {
            Outcome::Refused(refusal) => refusal.to_string(),
            Outcome::Answered(Err(error)) => public_text(error.clone()),
            Outcome::Answered(Ok(_)) => continue,
        };
        // Few differ, but for what names a class or an offset.
        if reasons.len() < MAX_REASONS || reasons.contains_key(&reason) {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let failed =
        reasons.into_iter().map(|(reason, count)| format!("instances not stored: {count}: {reason}"));
    broken.map(Broken::text).into_iter().chain(failed).collect()
}
