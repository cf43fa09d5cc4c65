//! QIDO-RS: searches, ordered and in pages (PS3.18 10.6).

use std::cmp::Reverse;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::context::Context;
use super::error::Problem;
use super::snapshot::{Key, Matches};
use crate::archive::{Error, Kind, Search, Step};
use crate::caller::Priority;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::{Level, Query};
use crate::dicom::{Uid, VR, tags};
use crate::dicomweb::media_type::DataSetForm;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::request::{self, SearchResource};
use crate::dicomweb::{Besides, json, xml};
use crate::event;

/// How many matches are put in order at a time. C-FIND has no order; a page is cut out of so many arrivals,
/// sorted, so that a small page does not need all matches of a large archive, and pages stay stable.
const CHUNK: usize = 1_000;
/// Most bytes of one answer: some 50,000 matches. Less in tests, which fill it.
const MAX_BYTES: usize = if cfg!(test) { 4 } else { 64 } * 1024 * 1024;

/// Answers with the matches at `level`.
pub(super) async fn search(level: Level, context: Context) -> Result<Response, Problem> {
    let resource = resource(level, &context)?;
    let asked = request::search(&resource, &context.query)?;
    let form = context.accept(&asked.accept).data_set_form(false).ok_or_else(not_acceptable)?;
    let query = asked.query;
    context.record.query(&context.who, || recorded(level, &context));
    let restriction = context.restriction.clone();
    let key = Key::new(context.archive.name(), &context.service_url, &query, form, restriction);
    let snapshots = &context.server.0.snapshots;
    // One more than the page, to know whether there are more.
    let needed = query.limit.map(|limit| query.offset.saturating_add(limit).saturating_add(1));
    let kept = if query.offset > 0 { snapshots.find(&key, needed.unwrap_or(usize::MAX)) } else { None };
    let matches = match kept {
        Some(matches) => matches,
        None => {
            let caller = context.caller(Priority::Interactive);
            let search = context.archive.search(&caller, query.clone()).await?;
            let most = context.server.0.config.limits.max_results;
            let entries = Collection::new(&query, &context.service_url, form, most);
            let matches = Arc::new(collect(search, entries, needed, context.archive.name()).await?);
            if query.limit.is_some() {
                snapshots.keep(key, Arc::clone(&matches));
            }
            matches
        }
    };
    Ok(answer(&matches, &query, form, &context.service_url))
}

fn resource(level: Level, context: &Context) -> Result<SearchResource, Problem> {
    let uid = |what, text: &Option<String>| text.as_deref().map(|t| request::path_uid(what, t)).transpose();
    Ok(SearchResource {
        level,
        study: uid("Study Instance UID", &context.study)?,
        series: uid("Series Instance UID", &context.series)?,
    })
}

/// The search, as whoever reads the audit trail is to see it.
fn recorded(level: Level, context: &Context) -> event::Query {
    let (mut text, resource) = (String::new(), ["", "studies", "series", "instances"][level as usize]);
    for (name, uid) in [("studies", &context.study), ("series", &context.series)] {
        text.extend(uid.iter().map(|uid| format!("{name}/{uid}/")));
    }
    let mark = if context.query.is_empty() { "" } else { "?" };
    let text = format!("{text}{resource}{mark}{}", context.query).into_bytes();
    event::Query { archive: context.archive.name().to_owned(), level: Some(level), encoded: None, text }
}

fn not_acceptable() -> Problem {
    Problem::client(StatusCode::NOT_ACCEPTABLE, "matches come in no form that was asked for")
        .advise("Accept application/dicom+json, or multipart/related; type=\"application/dicom+xml\".")
}

/// Takes the matches until there are `needed` of them (`None`: all). Dropping the feed ends the search.
async fn collect(
    mut search: Search,
    mut entries: Collection<'_>,
    needed: Option<usize>,
    archive: &str,
) -> Result<Matches, Error> {
    let complete = loop {
        match search.matches.next().await {
            Step::Item(data_set) => {
                entries.add(&data_set).ok_or_else(|| Error::new(archive, Kind::TooManyMatches))?
            }
            Step::End(Ok(_)) => break true,
            Step::End(Err(error)) => return Err(error),
        }
        if needed.is_some_and(|needed| entries.sorted.len() >= needed) {
            break false;
        }
    };
    entries.sort();
    Ok(Matches { entries: entries.sorted, complete, warnings: search.warnings })
}

/// The matches as they are collected, each as its text with the place it has among the others.
struct Collection<'a> {
    query: &'a Query,
    service_url: &'a str,
    form: DataSetForm,
    sorted: Vec<Box<[u8]>>,
    chunk: Vec<(Place, Box<[u8]>)>,
    bytes: usize,
    /// Most matches.
    most: usize,
    /// Where a match is written, before its length is known.
    scratch: Vec<u8>,
}

/// Studies: the latest first, then by UID; series and instances by the UIDs from the study down.
type Place = (Reverse<String>, [Option<Uid>; 3]);

impl<'a> Collection<'a> {
    fn new(query: &'a Query, service_url: &'a str, form: DataSetForm, most: usize) -> Self {
        Self {
            query,
            service_url,
            form,
            sorted: Vec::new(),
            chunk: Vec::new(),
            bytes: 0,
            most,
            scratch: Vec::new(),
        }
    }

    /// Adds a match; `None` when there are too many.
    fn add(&mut self, data_set: &DataSet) -> Option<()> {
        let level = self.query.level;
        // What the query fixes, an archive may leave out of its answers.
        let uids = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID]
            .map(|tag| data_set.uid(tag).or_else(|| self.query.single_uid(tag)));
        let url = retrieve_url(self.service_url, level, &uids);
        let besides = url.as_deref().map(|text| Besides { tag: tags::RETRIEVE_URL, vr: VR::UR, text });
        let latest = match level {
            Level::Study => {
                [tags::STUDY_DATE, tags::STUDY_TIME].map(|t| data_set.string(t).unwrap_or("")).join(" ")
            }
            _ => String::new(),
        };
        let text: Box<[u8]> = match self.form {
            DataSetForm::Xml | DataSetForm::SingleXml => xml::write_document_with(data_set, besides).into(),
            DataSetForm::DicomJson | DataSetForm::Json => {
                self.scratch.clear();
                json::write_object_with(data_set, besides, &mut self.scratch);
                self.scratch.as_slice().into()
            }
        };
        self.bytes += text.len();
        self.chunk.push(((Reverse(latest), uids), text));
        if self.sorted.len() + self.chunk.len() > self.most || self.bytes > MAX_BYTES {
            return None;
        }
        if self.chunk.len() == CHUNK {
            self.sort();
        }
        Some(())
    }

    /// Puts the arrivals since the last time in order behind the others.
    fn sort(&mut self) {
        self.chunk.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.sorted.extend(self.chunk.drain(..).map(|(_, text)| text));
    }
}

/// The URL of an entity on this bridge (PS3.18 10.6.3.3), where its UIDs are known.
fn retrieve_url(service_url: &str, level: Level, uids: &[Option<Uid>; 3]) -> Option<String> {
    let names = ["studies", "series", "instances"];
    let depth = match level {
        Level::Patient => return None,
        Level::Study => 1,
        Level::Series => 2,
        Level::Instance => 3,
    };
    let mut url = service_url.to_owned();
    for (name, uid) in names.iter().zip(uids).take(depth) {
        for text in ["/", name, "/", uid.as_ref()?.as_str()] {
            url.push_str(text);
        }
    }
    Some(url)
}

/// The page that the query asks for.
fn answer(matches: &Matches, query: &Query, form: DataSetForm, service_url: &str) -> Response {
    let all = &matches.entries;
    let begin = query.offset.min(all.len());
    let end = query.limit.map_or(all.len(), |limit| begin.saturating_add(limit).min(all.len()));
    let mut headers = HeaderMap::new();
    let mut warn = |text: &str| {
        let printable: String =
            text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        let value = HeaderValue::try_from(format!("299 {service_url}: {printable}"));
        headers.extend(value.ok().map(|value| (WARNING, value)));
    };
    for warning in &matches.warnings {
        warn(warning);
    }
    match (all.len() - end, matches.complete) {
        (0, true) => {}
        (remaining, true) => warn(&format!("There are {remaining} additional results that can be requested")),
        (_, false) => warn("There are additional results that can be requested"),
    }
    let page = &all[begin..end];
    if page.is_empty() {
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let (content_type, body) = match form {
        DataSetForm::DicomJson | DataSetForm::Json => (form.media_type().to_owned(), array(page)),
        DataSetForm::Xml | DataSetForm::SingleXml => parts(page),
    };
    let content_type = HeaderValue::try_from(content_type).expect("media types and boundaries are ASCII");
    headers.insert(CONTENT_TYPE, content_type);
    (StatusCode::OK, headers, body).into_response()
}

fn array(page: &[Box<[u8]>]) -> Vec<u8> {
    let length = page.iter().map(|entry| entry.len() + 1).sum::<usize>() + 1;
    let mut body = Vec::with_capacity(length);
    body.push(b'[');
    for (n, entry) in page.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(entry);
    }
    body.push(b']');
    body
}

fn parts(page: &[Box<[u8]>]) -> (String, Vec<u8>) {
    // The matches are all there: nothing is left to be proven.
    let mut writer = Writer::<()>::new();
    let content_type = writer.content_type(DataSetForm::Xml.media_type());
    let mut body = Vec::new();
    for entry in page {
        body.extend(writer.part(&[("Content-Type", DataSetForm::Xml.media_type())]));
        body.extend_from_slice(entry);
    }
    body.extend(writer.finish(()));
    (content_type, body)
}
