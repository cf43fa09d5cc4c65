//! Structured reports as text: what `/rendered` and WADO-URI answer with for them (PS3.18 8.7.4).

use std::future::poll_fn;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::Broken;
use super::context::Context;
use super::error::Problem;
use super::parts::Rest;
use super::room::Room;
use super::wado::Begun;
use crate::dicom::Uid;
use crate::dicom::charset::Charset;
use crate::dicom::dataset::{Builder, DataSet};
use crate::dicom::scan::Scanner;
use crate::dicomweb::media_type::{Accept, ReportForm};
use crate::dicomweb::report::{Report, policy};

/// Longest report, in bytes, inflated where it is deflated: one of dose or of computer-aided detection has some megabytes,
/// and takes some ten times as much in memory.
const MAX_REPORT: u64 = 8 << 20;

/// Answers with the report that has begun to come.
pub(super) async fn text(context: Context, begun: Begun, accept: &Accept) -> Result<Response, Problem> {
    let Begun { first, rest } = begun;
    let Some(form) = accept.report_form() else {
        Rest::new(rest.objects, first.body).let_it_end();
        return Err(Problem::client(StatusCode::NOT_ACCEPTABLE, "the object is a structured report")
            .advise("Accept text/html or text/plain."));
    };
    let problem = |broken| Problem::broken(context.archive.name(), broken);
    let object = Rest::new(rest.objects, first.body);
    let charset = rest.assumed_charset.as_ref();
    let read = read(object, &first.head.transfer_syntax, charset, &context.server.0.kept.room).await;
    let Some(data_set) = read.map_err(problem)? else {
        let detail = format!("the report is longer than {} MiB", MAX_REPORT >> 20);
        return Err(Problem::bridge(StatusCode::NOT_IMPLEMENTED, detail).advise("Ask for the object itself."));
    };
    let service_url = context.service_url.clone();
    // Megabytes take some tenths of a second, in which nothing else must wait.
    let text = tokio::task::spawn_blocking(move || write(&data_set, &service_url, form)).await;
    let text = text.ok().flatten().ok_or_else(|| {
        Problem::bridge(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be written as text")
    })?;
    Ok((headers(form), text).into_response())
}

/// The data set of an object as it comes; `None`: it is too long. Its memory is accounted for by its bytes until it is read.
async fn read(
    mut object: Rest,
    syntax: &Uid,
    charset: Option<&Charset>,
    room: &Room,
) -> Result<Option<DataSet>, Broken> {
    let (mut scanner, mut builder) = (Scanner::for_transfer_syntax(syntax), Builder::new(charset));
    let mut held = Vec::new();
    while let Some(bytes) = poll_fn(|cx| object.poll_bytes(cx)).await? {
        held.push(room.hold(bytes.clone()).map_err(|_| Broken::NoRoom)?);
        scanner.push(bytes);
        while let Some(event) = scanner.next()? {
            // Of a deflated one, more comes out than goes in.
            if scanner.position() > MAX_REPORT {
                return Ok(None);
            }
            builder.step(event, scanner.position())?;
        }
    }
    scanner.finish()?;
    object.let_it_end();
    Ok(Some(builder.finish().data_set))
}

fn write(data_set: &DataSet, service_url: &str, form: ReportForm) -> Option<String> {
    let report = Report::read(data_set, service_url);
    match form {
        ReportForm::Html => report.to_html(),
        ReportForm::Plain => Some(report.to_text()),
    }
}

fn headers(form: ReportForm) -> HeaderMap {
    let content_type = match form {
        ReportForm::Html => "text/html; charset=utf-8",
        ReportForm::Plain => "text/plain; charset=utf-8",
    };
    let fields = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, policy()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}
