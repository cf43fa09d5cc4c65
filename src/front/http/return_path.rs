//! Whether an archive's C-MOVEs find the way back to this bridge: tried for real, for `gantry doctor`, which cannot listen
//! where the bridge does.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;

use super::error::Problem;
use super::{Server, admin};
use crate::dicom::query::Target;
use crate::dicomweb::request;
use crate::doctor;

/// One at a time: each costs the archive an association and a retrieval.
static TURN: Semaphore = Semaphore::const_new(1);

/// Has the archive move what the query names to this bridge.
pub(super) async fn check(
    State(server): State<Server>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    admin::admit(&server.0.config, &request)?;
    let (target, patient) = wanted(request.uri().query().unwrap_or_default())?;
    let missing = || Problem::client(StatusCode::NOT_FOUND, "there is no such archive");
    let archive = server.0.archives.by_name(&name).cloned().ok_or_else(missing)?;
    let no_move = || Problem::client(StatusCode::CONFLICT, "this archive is reached by no C-MOVE");
    let dimse = archive.dimse().ok_or_else(no_move)?;
    let moves = dimse.moves().cloned().ok_or_else(no_move)?;
    let busy =
        |_| Problem::client(StatusCode::CONFLICT, "the way back is being tried already; ask again later");
    let _turn = TURN.try_acquire().map_err(busy)?;
    let finding = doctor::try_return_path(dimse.config(), moves, target, patient).await;
    tracing::info!(archive = name, code = finding.code.as_str(), "tried the way back of a C-MOVE");
    Ok(admin::answer(json!(finding)))
}

/// What a query names.
fn wanted(query: &str) -> Result<(Target, Option<String>), Problem> {
    let bad = |why: String| Problem::client(StatusCode::BAD_REQUEST, why);
    let (mut study, mut series, mut instance, mut patient) = (None, None, None, None);
    for (name, value) in request::parameters(query)? {
        let place = match name.as_str() {
            "study" => &mut study,
            "series" => &mut series,
            "instance" => &mut instance,
            "patient" if patient.is_none() => {
                patient = Some(value);
                continue;
            }
            _ => return Err(bad(format!("there is no parameter `{name}`, or it stands there twice"))),
        };
        if place.replace(admin::uid(&name, &value)?).is_some() {
            return Err(bad(format!("`{name}` stands there twice")));
        }
    }
    let Some(study) = study else { return Err(bad("`study` is missing".to_owned())) };
    if instance.is_some() && series.is_none() {
        return Err(bad("`series` is missing, which an instance is in".to_owned()));
    }
    Ok((Target { study, series, instance }, patient))
}
