//! The pages that are no DICOMweb resources, and the answers to what is not there.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode, Uri};

use super::error::Problem;
use super::{Server, stow};

/// The interface's description, as it is served.
const OPENAPI: &str = include_str!("../../../openapi/gantry.yaml");

/// The last parts of PS3.18's resources that this version does not have.
const LATER: [&str; 2] = ["rendered", "thumbnail"];

/// The interface's description.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/yaml")], OPENAPI)
}

/// What is counted: in the newer format for who asks for it, in the one that everything reads for everybody else.
pub(super) async fn metrics(State(server): State<Server>, headers: HeaderMap) -> impl IntoResponse {
    let metrics = &server.0.metrics;
    metrics.ready.set(i64::from(!server.0.shutdown.is_cancelled()));
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return ([(CONTENT_TYPE, content_type)], metrics.text());
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.plain_text())
}

/// No such path. Who posts to it, as with a slip in the URL, is to read so.
pub(super) async fn not_found(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Problem {
    stow::pass_over(&server, &headers, body).await;
    no_such_resource(&server, &uri)
}

/// The problem for a path that there is not.
pub(super) fn no_such_resource(server: &Server, uri: &Uri) -> Problem {
    let base = &server.0.config.base_path;
    let path = uri.path();
    if LATER.iter().any(|part| path.split('/').any(|piece| piece == *part)) {
        return Problem::bridge(StatusCode::NOT_IMPLEMENTED, "this resource comes with a later version");
    }
    Problem::client(StatusCode::NOT_FOUND, "there is no such resource")
        .advise(format!("The services are below `{base}` and `/archives/{{name}}`; see /openapi.yaml."))
}

/// The path is there, the method is not. The methods that are stand in the Allow header.
pub(super) async fn method_not_allowed(
    State(server): State<Server>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    stow::pass_over(&server, &headers, body).await;
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::client(StatusCode::METHOD_NOT_ALLOWED, format!("this resource has no method {method}"))
        .into_response()
}
