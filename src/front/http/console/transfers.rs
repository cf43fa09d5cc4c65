//! What is on its way: studies that were sent from here, and retrievals of clients; and what begins and ends them.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::explain::Explained;
use super::operator::{Operator, posted};
use super::sends::{End, Order, Sending, TooMany};
use super::{Frame, Here, draw, text};
use crate::access::Operation;
use crate::archive::activity::Running;
use crate::caller::Priority;
use crate::dicom::AeTitle;
use crate::dicom::query::Level;
use crate::front::http::Server;
use crate::front::http::error::Problem;

/// Most retrievals on a page, the oldest first: those that hang are among them.
const MOST_RETRIEVALS: usize = 100;

#[derive(Template)]
#[template(path = "transfers.html")]
struct Page {
    frame: Frame,
    sends: Vec<SendRow>,
    retrievals: Vec<RetrievalRow>,
    /// How many more retrievals there are.
    more: usize,
}

struct SendRow {
    id: u64,
    archive: String,
    study: String,
    may_open: bool,
    title: String,
    who: String,
    begun: String,
    moment: String,
    took: String,
    rate: String,
    expected: usize,
    /// The end of the progress bar: never 0.
    most: usize,
    done: usize,
    delivered: usize,
    warning: usize,
    failed: usize,
    amount: String,
    is_running: bool,
    is_whole: bool,
    is_cancelled: bool,
    failure: Option<Explained>,
}

struct RetrievalRow {
    id: u64,
    archive: String,
    what: &'static str,
    study: String,
    may_open: bool,
    who: String,
    begun: String,
    objects: usize,
    expected: Option<usize>,
    rate: String,
}

/// Draws the page.
pub(super) async fn page(at: Operator) -> Response {
    let sends = at.server.0.kept.desk.sends().all();
    let is_of_a_send = |one: &Running| {
        sends.iter().any(|sending| {
            let is_same = sending.archive == one.archive && sending.study == one.target.study;
            is_same && sending.client == one.client && sending.progress().ended.is_none()
        })
    };
    let running = at.server.0.activity.running();
    let retrievals: Vec<_> = running.iter().filter(|one| !is_of_a_send(one)).collect();
    let page = Page {
        frame: at.live_frame(Here::Transfers),
        sends: sends.iter().map(|sending| send_row(&at, sending)).collect(),
        more: retrievals.len().saturating_sub(MOST_RETRIEVALS),
        retrievals: retrievals.iter().take(MOST_RETRIEVALS).map(|one| retrieval_row(&at, one)).collect(),
    };
    draw(StatusCode::OK, &page)
}

fn send_row(at: &Operator, sending: &Sending) -> SendRow {
    let progress = sending.progress();
    let took = sending.took();
    let seconds = took.as_secs_f64().max(0.001);
    let end = progress.ended.as_ref().map(|(_, end)| end);
    let may_open = at.may(Operation::Search, &sending.archive);
    SendRow {
        id: sending.id,
        archive: sending.archive.clone(),
        study: sending.study.to_string(),
        may_open,
        title: sending.title.to_string(),
        who: who(sending.user.as_deref(), sending.client),
        begun: text::ago(sending.begun),
        moment: text::moment(sending.begun),
        took: text::took(took),
        rate: format!("{}/s", text::bytes(progress.bytes as f64 / seconds)),
        expected: progress.expected,
        most: progress.expected.max(1),
        done: progress.delivered + progress.failed,
        delivered: progress.delivered,
        warning: progress.warning,
        failed: progress.failed,
        amount: text::bytes(progress.bytes as f64),
        is_running: end.is_none(),
        is_whole: end == Some(&End::Whole) && progress.failed == 0,
        is_cancelled: end == Some(&End::Cancelled),
        failure: match end {
            Some(End::Failed(why)) => Some(why.clone()),
            _ => None,
        },
    }
}

fn retrieval_row(at: &Operator, one: &Running) -> RetrievalRow {
    let seconds = one.begun.elapsed().unwrap_or_default().as_secs_f64().max(0.001);
    RetrievalRow {
        id: one.id,
        archive: one.archive.clone(),
        what: match one.target.level() {
            Level::Series => "Series",
            Level::Instance => "Instance",
            _ => "Study",
        },
        study: one.target.study.to_string(),
        may_open: at.may(Operation::Search, &one.archive),
        who: who(None, one.client),
        begun: text::ago(one.begun),
        objects: one.objects(),
        expected: one.expected().filter(|expected| *expected >= one.objects()),
        rate: format!("{} objects/s", text::rate(one.objects() as f64 / seconds)),
    }
}

fn who(user: Option<&str>, client: Option<std::net::IpAddr>) -> String {
    match (user, client) {
        (Some(user), Some(client)) => format!("{user}, {}", client.to_canonical()),
        (Some(user), None) => user.to_owned(),
        (None, Some(client)) => client.to_canonical().to_string(),
        (None, None) => "the bridge itself".to_owned(),
    }
}

/// Begins to send a study somewhere, and leads to the page that shows how far it is.
pub(super) async fn send(State(server): State<Server>, request: Request) -> Result<Response, Problem> {
    let (at, fields) = posted(&server, request).await?;
    let archive = at.archive(Operation::Retrieve)?;
    let study = at.uid("study")?;
    let to = fields.get("to");
    let unknown = || {
        Problem::client(StatusCode::BAD_REQUEST, "there is no such destination")
            .advise("Destinations are the [ae.…] of the configuration that have an address.")
    };
    let title: AeTitle = to.parse().map_err(|_| unknown())?;
    let front = server.0.dimse_front().ok_or_else(unknown)?;
    let destination = front.destination(&title).ok_or_else(unknown)?;
    if server.0.shutdown.is_cancelled() {
        let text = "the bridge is shutting down";
        return Err(Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, text).try_again());
    }
    let order = Order {
        archive,
        study,
        destination,
        title,
        caller: at.caller(Priority::Bulk),
        who: at.who.clone(),
        events: server.0.events.clone(),
    };
    let begun = server.0.kept.desk.sends().begin(order);
    let (sending, work) = begun.map_err(|TooMany| {
        Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, "as many studies are being sent as may be at a time")
            .advise("Wait until one has arrived, or cancel one.")
            .try_again()
    })?;
    front.accompany(work);
    Ok(Redirect::to(&at.url(&format!("/transfers#send-{}", sending.id))).into_response())
}

/// Ends what was sent from here, or a client's retrieval.
pub(super) async fn cancel(State(server): State<Server>, request: Request) -> Result<Response, Problem> {
    let (at, _) = posted(&server, request).await?;
    let id: Option<u64> = at.part("id").parse().ok();
    // What has ended meanwhile is not there any more, which is what was wanted.
    match at.part("kind") {
        "send" => {
            if let Some(sending) = id.and_then(|id| server.0.kept.desk.sends().find(id)) {
                sending.cancel();
            }
        }
        "retrieval" => {
            if let Some(one) = server.0.activity.running().iter().find(|one| Some(one.id) == id) {
                tracing::info!(archive = one.archive, "an operator has ended a retrieval");
                one.cancel();
            }
        }
        _ => return Err(Problem::client(StatusCode::NOT_FOUND, "there is no such resource")),
    }
    Ok(Redirect::to(&at.url("/transfers")).into_response())
}
