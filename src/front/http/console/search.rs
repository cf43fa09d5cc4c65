//! The search for studies.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::fields::Fields;
use super::operator::Operator;
use super::{Frame, Here, draw, in_words, text};
use crate::access::Operation;
use crate::archive::{Archive, Error, Search, Step};
use crate::caller::Priority;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::Level;
use crate::dicom::{Uid, tags};
use crate::dicomweb::request::{self, SearchResource};
use crate::event;
use crate::front::http::error::Problem;

/// Most studies on a page. Who finds more narrows the search.
pub(super) const MOST_STUDIES: usize = 200;

/// The fields of the form, with the attributes that they are matched on.
const KEYS: [(&str, &str); 5] = [
    ("name", "PatientName"),
    ("id", "PatientID"),
    ("accession", "AccessionNumber"),
    ("modality", "ModalitiesInStudy"),
    ("description", "StudyDescription"),
];

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    frame: Frame,
    archives: Vec<Choice>,
    form: Form,
    /// What was found; `None`: nothing was asked yet.
    found: Option<Found>,
    problem: Option<(String, Option<String>)>,
}

struct Choice {
    name: String,
    is_chosen: bool,
}

#[derive(Default)]
struct Form {
    name: String,
    id: String,
    accession: String,
    modality: String,
    description: String,
    from: String,
    to: String,
}

struct Found {
    archive: String,
    studies: Vec<StudyRow>,
    /// There are more than are shown.
    more: bool,
    warnings: Vec<String>,
}

/// A study, as its attributes say.
pub(super) struct StudyRow {
    pub(super) uid: String,
    pub(super) patient: String,
    pub(super) id: String,
    pub(super) birth_date: String,
    pub(super) sex: String,
    pub(super) date: String,
    pub(super) time: String,
    pub(super) modalities: String,
    pub(super) description: String,
    pub(super) accession: String,
    pub(super) series: Option<i64>,
    pub(super) instances: Option<i64>,
}

/// Draws the form, and what was found.
pub(super) async fn page(at: Operator) -> Result<Response, Problem> {
    let fields = Fields::of_query(&at.query)?;
    let get = |name: &str| fields.get(name).to_owned();
    let form = Form {
        name: get("name"),
        id: get("id"),
        accession: get("accession"),
        modality: get("modality"),
        description: get("description"),
        from: get("from"),
        to: get("to"),
    };
    let archives = &at.server.0.archives;
    let names: Vec<&str> = archives.names().filter(|name| at.may(Operation::Search, name)).collect();
    let default = archives.default_archive().map(|archive| archive.name());
    let wanted = Some(fields.get("archive")).filter(|name| !name.is_empty()).or(default);
    let chosen = wanted.or(names.first().copied()).unwrap_or_default();
    let choices =
        names.iter().map(|name| Choice { name: (*name).to_owned(), is_chosen: *name == chosen }).collect();
    // A link may choose the archive without asking it.
    let is_asked = !fields.is_empty() && fields.get("ask") != "no";
    let asks = is_asked && fields.get("archive") == chosen && !chosen.is_empty();
    let (found, problem) = if asks {
        match find(&at, chosen, &fields).await {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        }
    } else {
        (None, None)
    };
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let problem = problem.as_ref().map(in_words);
    let page = Page { frame: at.frame(Here::Search), archives: choices, form, found, problem };
    Ok(draw(status, &page))
}

async fn find(at: &Operator, name: &str, fields: &Fields) -> Result<Found, Problem> {
    let archive = at.archive_named(name, Operation::Search)?;
    let query = query(fields)?;
    let resource = SearchResource { level: Level::Study, study: None, series: None };
    let (mut matches, more, warnings) =
        matches(at, &*archive, &resource, "studies", &query, MOST_STUDIES).await?;
    matches.sort_by_cached_key(|study| {
        let at =
            [tags::STUDY_DATE, tags::STUDY_TIME].map(|tag| study.string(tag).unwrap_or_default().to_owned());
        std::cmp::Reverse(at)
    });
    let studies = matches.iter().filter_map(|study| study_row(study)).collect();
    Ok(Found { archive: name.to_owned(), studies, more, warnings })
}

/// The query that a form comes to, as QIDO-RS has it.
fn query(fields: &Fields) -> Result<String, Problem> {
    let mut query = "includefield=StudyDescription".to_owned();
    let mut add = |attribute: &str, value: &str| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        query.push_str(&format!("&{attribute}={value}"));
    };
    for (field, attribute) in KEYS {
        let value = fields.get(field);
        if value.is_empty() {
            continue;
        }
        let is_pattern = value.contains(['*', '?']);
        match field {
            // What one types is the beginning of a name, and a word of a description.
            "name" if !is_pattern => add(attribute, &format!("{value}*")),
            "description" if !is_pattern => add(attribute, &format!("*{value}*")),
            "modality" => add(attribute, &value.to_uppercase()),
            _ => add(attribute, value),
        }
    }
    let date = |field: &str| {
        let value = fields.get(field);
        let digits: String = value.chars().filter(|c| *c != '-').collect();
        let is_date = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
        match value.is_empty() || is_date {
            true => Ok(digits),
            false => Err(Problem::client(StatusCode::BAD_REQUEST, format!("`{field}` is no date"))),
        }
    };
    let (from, to) = (date("from")?, date("to")?);
    if !(from.is_empty() && to.is_empty()) {
        add("StudyDate", &format!("{from}-{to}"));
    }
    Ok(query)
}

/// What an archive finds, at most so many, and whether there are more; recorded as the search of a web client is.
pub(super) async fn matches(
    at: &Operator,
    archive: &dyn Archive,
    resource: &SearchResource,
    path: &str,
    query: &str,
    most: usize,
) -> Result<(Vec<Arc<DataSet>>, bool, Vec<String>), Problem> {
    let recorded = || event::Query {
        archive: archive.name().to_owned(),
        level: Some(resource.level),
        encoded: None,
        text: format!("{path}?{query}").into_bytes(),
    };
    at.record.query(&at.who, recorded);
    let query = request::search(resource, query)?.query;
    let search = archive.search(&at.caller(Priority::Interactive), query).await?;
    Ok(gather(search, most).await?)
}

/// Takes matches until there are enough: then the archive is told to stop.
async fn gather(mut search: Search, most: usize) -> Result<(Vec<Arc<DataSet>>, bool, Vec<String>), Error> {
    let mut found = Vec::new();
    loop {
        match search.matches.next().await {
            Step::Item(_) if found.len() >= most => return Ok((found, true, search.warnings)),
            Step::Item(item) => found.push(item),
            Step::End(Ok(_)) => return Ok((found, false, search.warnings)),
            Step::End(Err(error)) => return Err(error),
        }
    }
}

/// A study that can be named.
pub(super) fn study_row(study: &DataSet) -> Option<StudyRow> {
    let string = |tag| study.string(tag).unwrap_or_default().to_owned();
    Some(StudyRow {
        uid: study.uid(tags::STUDY_INSTANCE_UID)?.to_string(),
        patient: text::name(&string(tags::PATIENT_NAME)),
        id: string(tags::PATIENT_ID),
        birth_date: text::date(&string(tags::PATIENT_BIRTH_DATE)),
        sex: string(tags::PATIENT_SEX),
        date: text::date(&string(tags::STUDY_DATE)),
        time: text::time(&string(tags::STUDY_TIME)),
        modalities: study.strings(tags::MODALITIES_IN_STUDY).join(", "),
        description: string(tags::STUDY_DESCRIPTION),
        accession: string(tags::ACCESSION_NUMBER),
        series: study.int(tags::NUMBER_OF_STUDY_RELATED_SERIES),
        instances: study.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
    })
}

/// The resource of what is within a study, or within a series.
pub(super) fn within(level: Level, study: &Uid, series: Option<&Uid>) -> SearchResource {
    SearchResource { level, study: Some(study.clone()), series: series.cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(form: &str) -> Result<String, StatusCode> {
        query(&Fields::of_query(form).unwrap()).map_err(|problem| problem.status())
    }

    #[test]
    fn what_is_typed_becomes_the_keys_of_a_search() {
        let all = asked(
            "archive=main&name=M%C3%BCl&id=GN-1&modality=ct&description=head&accession=&from=2026-01-02&to=",
        );
        assert_eq!(
            all.unwrap(),
            "includefield=StudyDescription&PatientName=M%C3%BCl%2A&PatientID=GN%2D1&ModalitiesInStudy=CT\
             &StudyDescription=%2Ahead%2A&StudyDate=20260102%2D"
        );
        assert!(asked("name=M%3Fller").unwrap().ends_with("PatientName=M%3Fller"), "a pattern is as it is");
        assert!(asked("from=&to=2026-02-03").unwrap().ends_with("StudyDate=%2D20260203"));
        assert_eq!(asked("from=yesterday"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn hazard_what_is_typed_adds_no_key_of_its_own() {
        let asked = asked("name=A%26PatientID%3D1%26limit%3D5&id=%0A").unwrap();
        let resource = SearchResource { level: Level::Study, study: None, series: None };
        let search = request::search(&resource, &asked).unwrap().query;
        assert_eq!((search.keys.len(), search.limit), (1, None), "{asked}");
    }
}
