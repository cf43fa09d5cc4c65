//! A study with its series, and a series with its instances.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::operator::Operator;
use super::preview::has_images;
use super::search::{StudyRow, matches, study_row, within};
use super::{Frame, Here, draw, text};
use crate::access::Operation;
use crate::archive::Archive;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::Level;
use crate::dicom::{Uid, tags};
use crate::front::http::error::Problem;

/// Most series, and most instances, on a page.
const MOST_ROWS: usize = 500;

#[derive(Template)]
#[template(path = "study.html")]
struct StudyPage {
    frame: Frame,
    archive: String,
    study: StudyRow,
    series: Vec<SeriesRow>,
    more: bool,
    /// Where it can be sent to; `None`: this operator may not.
    destinations: Option<Vec<String>>,
    shows_images: bool,
}

/// A series, as its attributes say.
struct SeriesRow {
    uid: String,
    number: Option<i64>,
    modality: String,
    description: String,
    body_part: String,
    instances: Option<i64>,
}

impl SeriesRow {
    /// Whether there may be images in it.
    fn has_preview(&self) -> bool {
        has_images(&self.modality)
    }

    /// How many instances it has, in words; empty where nobody has told.
    fn count(&self) -> String {
        match self.instances {
            None => String::new(),
            Some(1) => "1 instance".to_owned(),
            Some(count) => format!("{count} instances"),
        }
    }
}

#[derive(Template)]
#[template(path = "series.html")]
struct SeriesPage {
    frame: Frame,
    archive: String,
    study: StudyRow,
    series: SeriesRow,
    instances: Vec<InstanceRow>,
    more: bool,
    shows_images: bool,
}

/// An instance, as its attributes say.
struct InstanceRow {
    uid: String,
    number: Option<i64>,
    class: String,
    frames: i64,
    size: Option<(i64, i64)>,
}

/// Draws a study.
pub(super) async fn study(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Search)?;
    let uid = at.uid("study")?;
    let study = described(&at, &*archive, &uid).await?;
    let (mut series, more, _) = matches(
        &at,
        &*archive,
        &within(Level::Series, &uid, None),
        &format!("studies/{uid}/series"),
        "includefield=SeriesDescription,BodyPartExamined,NumberOfSeriesRelatedInstances",
        MOST_ROWS,
    )
    .await?;
    series.sort_by_cached_key(|series| {
        (series.int(tags::SERIES_NUMBER), series.uid(tags::SERIES_INSTANCE_UID))
    });
    let may_retrieve = at.may(Operation::Retrieve, archive.name());
    let destinations = || {
        let titles = at.server.0.dimse_front().map(|front| front.destinations()).unwrap_or_default();
        titles.iter().map(ToString::to_string).collect()
    };
    let page = StudyPage {
        frame: at.frame(Here::Search),
        archive: archive.name().to_owned(),
        study,
        series: series.iter().filter_map(|series| series_row(series)).collect(),
        more,
        destinations: may_retrieve.then(destinations),
        shows_images: may_retrieve,
    };
    Ok(draw(StatusCode::OK, &page))
}

/// Draws a series.
pub(super) async fn series(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Search)?;
    let (study_uid, series_uid) = (at.uid("study")?, at.uid("series")?);
    let study = described(&at, &*archive, &study_uid).await?;
    let path = format!("studies/{study_uid}/series");
    let one = format!(
        "SeriesInstanceUID={series_uid}&includefield=SeriesDescription,BodyPartExamined,NumberOfSeriesRelatedInstances"
    );
    let resource = within(Level::Series, &study_uid, None);
    let (found, ..) = matches(&at, &*archive, &resource, &path, &one, 1).await?;
    let series = found.first().and_then(|series| series_row(series)).ok_or_else(gone)?;
    let path = format!("{path}/{series_uid}/instances");
    let resource = within(Level::Instance, &study_uid, Some(&series_uid));
    let fields = "includefield=Rows,Columns,NumberOfFrames";
    let (mut instances, more, _) = matches(&at, &*archive, &resource, &path, fields, MOST_ROWS).await?;
    instances.sort_by_cached_key(|one| (one.int(tags::INSTANCE_NUMBER), one.uid(tags::SOP_INSTANCE_UID)));
    let page = SeriesPage {
        frame: at.frame(Here::Search),
        archive: archive.name().to_owned(),
        study,
        series,
        instances: instances.iter().filter_map(|instance| instance_row(instance)).collect(),
        more,
        shows_images: at.may(Operation::Retrieve, archive.name()),
    };
    Ok(draw(StatusCode::OK, &page))
}

/// The study of this UID.
async fn described(at: &Operator, archive: &dyn Archive, uid: &Uid) -> Result<StudyRow, Problem> {
    let resource =
        crate::dicomweb::request::SearchResource { level: Level::Study, study: None, series: None };
    let query = format!("StudyInstanceUID={uid}&includefield=StudyDescription");
    let (found, ..) = matches(at, archive, &resource, "studies", &query, 1).await?;
    found.first().and_then(|study| study_row(study)).ok_or_else(gone)
}

fn gone() -> Problem {
    Problem::client(StatusCode::NOT_FOUND, "the archive does not hold it, or not any more")
        .advise("Search again: it may have been moved, merged or deleted.")
}

fn series_row(series: &DataSet) -> Option<SeriesRow> {
    let string = |tag| series.string(tag).unwrap_or_default().to_owned();
    Some(SeriesRow {
        uid: series.uid(tags::SERIES_INSTANCE_UID)?.to_string(),
        number: series.int(tags::SERIES_NUMBER),
        modality: string(tags::MODALITY),
        description: string(tags::SERIES_DESCRIPTION),
        body_part: string(tags::BODY_PART_EXAMINED),
        instances: series.int(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
    })
}

fn instance_row(instance: &DataSet) -> Option<InstanceRow> {
    let class = instance.uid(tags::SOP_CLASS_UID);
    Some(InstanceRow {
        uid: instance.uid(tags::SOP_INSTANCE_UID)?.to_string(),
        number: instance.int(tags::INSTANCE_NUMBER),
        class: class.map_or_else(String::new, |class| text::class(&class)),
        frames: instance.int(tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1),
        size: instance.int(tags::COLUMNS).zip(instance.int(tags::ROWS)),
    })
}
