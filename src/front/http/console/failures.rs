//! What failed lately, what that means, and what to do about it.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::explain::Explained;
use super::operator::Operator;
use super::{Frame, Here, draw, text};
use crate::archive::activity::Attempt;

#[derive(Template)]
#[template(path = "failures.html")]
struct Page {
    frame: Frame,
    failures: Vec<Row>,
}

struct Row {
    archive: String,
    attempt: &'static str,
    ago: String,
    moment: String,
    times: usize,
    client: Option<String>,
    why: Explained,
}

/// Draws the page.
pub(super) async fn page(at: Operator) -> Response {
    let failures = at.server.0.activity.failures();
    let row = |failure: &crate::archive::activity::Failure| Row {
        archive: failure.error.archive.clone(),
        attempt: match failure.attempt {
            Attempt::Echo => "Echo",
            Attempt::Search => "Search",
            Attempt::Retrieval => "Retrieval",
            Attempt::Store => "Store",
            Attempt::Message => "Request of a DIMSE client",
        },
        ago: text::ago(failure.at),
        moment: text::moment(failure.at),
        times: failure.times,
        client: failure.client.map(|client| client.to_canonical().to_string()),
        why: Explained::of(&failure.error),
    };
    let page = Page { frame: at.live_frame(Here::Failures), failures: failures.iter().map(row).collect() };
    draw(StatusCode::OK, &page)
}
