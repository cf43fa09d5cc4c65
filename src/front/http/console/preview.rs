//! Small pictures of what a study holds, as thumbnails are; of what is no image, or none that is rendered, there is a quiet
//! place holder.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::operator::Operator;
use crate::access::Operation;
use crate::archive::Archive;
use crate::caller::Priority;
use crate::dicom::query::Target;
use crate::dicomweb::media_type::JPEG;
use crate::front::http::error::Problem;
use crate::front::http::pictures::thumbnail::{self, Wanted};

pub(super) use crate::front::http::pictures::thumbnail::has_images;

/// As large as the pages show them on a screen with two pixels for one.
const SIZE: &str = "viewport=192,192";

/// There is no image, or none that can be shown here; a damaged one is an error.
const NOT_SHOWN: [StatusCode; 3] =
    [StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED, StatusCode::PAYLOAD_TOO_LARGE];

const PLACE_HOLDER: &str = include_str!("place_holder.svg");

/// The first frame of an instance.
pub(super) async fn instance(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Retrieve)?;
    let instance = Some(at.uid("instance")?);
    let target = Target { study: at.uid("study")?, series: Some(at.uid("series")?), instance };
    shown(&at, &*archive, target).await
}

/// The image in the middle of a series.
pub(super) async fn series(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Retrieve)?;
    // Which instances there are, a search tells.
    let archive = at.archive(Operation::Search).map(|_| archive)?;
    let target = Target { study: at.uid("study")?, series: Some(at.uid("series")?), instance: None };
    shown(&at, &*archive, target).await
}

async fn shown(at: &Operator, archive: &dyn Archive, target: Target) -> Result<Response, Problem> {
    let wanted = Wanted {
        server: &at.server,
        archive,
        record: &at.record,
        who: &at.who,
        caller: at.caller(Priority::Interactive),
        // Who is confined to a part of an archive is no operator.
        confined: false,
        target,
        frame: 1,
    };
    match wanted.thumbnail(&thumbnail::asked(SIZE)?, JPEG).await {
        Ok(thumbnail) => Ok((StatusCode::OK, [(CONTENT_TYPE, JPEG)], thumbnail.file).into_response()),
        Err(problem) if NOT_SHOWN.contains(&problem.status()) => {
            Ok((StatusCode::OK, [(CONTENT_TYPE, "image/svg+xml")], PLACE_HOLDER).into_response())
        }
        Err(problem) => Err(problem),
    }
}
