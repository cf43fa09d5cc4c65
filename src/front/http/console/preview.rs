//! Small images of what browsers show as it is stored: JPEG Baseline. Of anything else there is a quiet place holder.

use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::operator::Operator;
use super::search::{matches, within};
use crate::access::Operation;
use crate::archive::{Archive, Form, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::query::{Level, Target};
use crate::dicom::{Uid, tags};
use crate::front::http::error::Problem;
use crate::front::http::parts::Rest;
use crate::front::http::room::Held;
use crate::image::frames::{Cut, Cutter, Step as CutStep};

/// JPEG Baseline (PS3.5 A.4.1): 8 bits, and what every browser knows.
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// Longest frame that is shown, in bytes.
const MAX_FRAME: usize = 8 << 20;
/// Modalities whose images have 8 bits, and are found as JPEG Baseline. To ask for others would bring many large objects
/// for nothing.
const MODALITIES: [&str; 13] =
    ["US", "IVUS", "XC", "ES", "GM", "SM", "OP", "OPT", "SC", "OT", "DMS", "EPS", "XA"];

const PLACE_HOLDER: &str = include_str!("place_holder.svg");

/// Whether objects of this modality are worth to be looked at.
pub(super) fn may_be_shown(modality: &str) -> bool {
    MODALITIES.contains(&modality)
}

/// The first frame of an instance.
pub(super) async fn instance(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Retrieve)?;
    let instance = Some(at.uid("instance")?);
    let target = Target { study: at.uid("study")?, series: Some(at.uid("series")?), instance };
    Ok(answer(jpeg(&at, &*archive, target).await?))
}

/// The first frame of any instance of a series.
pub(super) async fn series(at: Operator) -> Result<Response, Problem> {
    let archive = at.archive(Operation::Retrieve)?;
    // Which instances there are, a search tells.
    let archive = at.archive(Operation::Search).map(|_| archive)?;
    let (study, series) = (at.uid("study")?, at.uid("series")?);
    let path = format!("studies/{study}/series/{series}/instances");
    let resource = within(Level::Instance, &study, Some(&series));
    let (found, ..) = matches(&at, &*archive, &resource, &path, "", 1).await?;
    let Some(instance) = found.first().and_then(|one| one.uid(tags::SOP_INSTANCE_UID)) else {
        return Ok(answer(None));
    };
    let target = Target { study, series: Some(series), instance: Some(instance) };
    Ok(answer(jpeg(&at, &*archive, target).await?))
}

fn answer(jpeg: Option<bytes::Bytes>) -> Response {
    match jpeg {
        Some(jpeg) => (StatusCode::OK, [(CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        None => (StatusCode::OK, [(CONTENT_TYPE, "image/svg+xml")], PLACE_HOLDER).into_response(),
    }
}

/// The first frame, where it is one that browsers know.
async fn jpeg(at: &Operator, archive: &dyn Archive, target: Target) -> Result<Option<bytes::Bytes>, Problem> {
    at.record.retrieval(&at.who, archive.name(), &target, None);
    let retrieve = Retrieve::new(target, Form::AsStored);
    let mut objects = archive.retrieve(&at.caller(Priority::Interactive), retrieve).await?.objects;
    let Step::Item(mut object) = objects.next().await else { return Ok(None) };
    if object.head.transfer_syntax != Uid::from_static(JPEG_BASELINE) {
        Rest::new(objects, object.body).let_it_end();
        return Ok(None);
    }
    at.record.instance(&object.head);
    let mut cutter = Cutter::new(&object.head.transfer_syntax, vec![1]);
    let (mut frame, mut held): (BytesMut, Vec<Held>) = Default::default();
    loop {
        match cutter.next() {
            Ok(CutStep::Cut(Cut::Bytes(bytes))) => {
                let Ok(place) = at.server.0.kept.room.hold(bytes.clone()) else { return Ok(None) };
                held.push(place);
                frame.extend_from_slice(&bytes);
                if frame.len() > MAX_FRAME {
                    return Ok(None);
                }
            }
            Ok(CutStep::Cut(Cut::Begin { .. } | Cut::End)) => {}
            Ok(CutStep::Done(_)) => break,
            Ok(CutStep::MoreBytes) => match object.body.next().await {
                Some(Ok(bytes)) => cutter.push(bytes),
                Some(Err(_)) | None => return Ok(None),
            },
            Err(_) => return Ok(None),
        }
    }
    Rest::new(objects, object.body).let_it_end();
    Ok(Some(frame.freeze()))
}
