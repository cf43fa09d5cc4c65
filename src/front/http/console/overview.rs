//! The first page: the archives, how they stand and what they do just now; and the Echo button.

use std::time::{Instant, SystemTime};

use askama::Template;
use axum::extract::{self, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::desk::Echo;
use super::explain::Explained;
use super::operator::{Operator, posted};
use super::rates::Totals;
use super::{Frame, Here, draw, text};
use crate::access::Operation;
use crate::archive::activity::Standing;
use crate::archive::{Associations, Kind};
use crate::caller::Priority;
use crate::front::http::error::Problem;
use crate::front::http::{Server, Shared};
use crate::metrics::{InState, Of};

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    archives: Vec<Card>,
    /// Associations of DIMSE clients, and of archives that bring what we asked for.
    clients: i64,
    /// Retrievals and sends under way.
    running: usize,
    failures: usize,
    cache: Option<String>,
}

/// An archive.
struct Card {
    name: String,
    is_default: bool,
    may_search: bool,
    state: State,
    /// What the state says, in a few words.
    says: String,
    open: Option<usize>,
    busy: usize,
    waiting: i64,
    /// Objects and bytes a second.
    rate: Option<(String, String)>,
    failure: Option<(String, Explained)>,
    echo: Option<EchoLine>,
}

struct EchoLine {
    ago: String,
    /// How long it took; or there was no answer, of which the card says more.
    went: Result<String, ()>,
}

/// How an archive stands, for colour and sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Failing,
    Down,
    Unknown,
}

impl State {
    fn class(&self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failing => "failing",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// Draws the page.
pub(super) async fn page(at: Operator) -> Response {
    let Shared { archives, metrics, cache, activity, kept, .. } = &*at.server.0;
    let names: Vec<&str> = archives.names().collect();
    let count = |name: &str| {
        let of = Of { archive: name.to_owned() };
        let objects = metrics.objects.get(&of).map_or(0, |count| count.get());
        let bytes = metrics.object_bytes.get(&of).map_or(0, |count| count.get());
        (name.to_owned(), (objects, bytes))
    };
    let totals: Totals = names.iter().map(|name| count(name)).collect();
    let rates = kept.desk.rates().look(tokio::time::Instant::now(), totals);
    let default = archives.default_archive().map(|archive| archive.name());
    let card = |name: &&str| {
        let associations = archives.by_name(name).and_then(|archive| archive.associations());
        let in_state = InState { archive: (*name).to_owned(), state: "waiting" };
        let standing = activity.standing(name);
        let (state, says) = judge(&standing);
        let failure = standing.failure.as_ref().filter(|_| standing.is_well() == Some(false));
        Card {
            name: (*name).to_owned(),
            is_default: default == Some(*name),
            may_search: at.may(Operation::Search, name),
            state,
            says,
            open: associations.map(|it| it.open),
            busy: associations.map_or(0, |Associations { open, idle, .. }| open.saturating_sub(idle)),
            waiting: metrics.associations.get(&in_state).map_or(0, |count| count.get()),
            rate: rates.get(*name).map(|(objects, bytes)| (text::rate(*objects), text::bytes(*bytes))),
            failure: failure.map(|(at, error)| (text::ago(*at), Explained::of(error))),
            echo: kept.desk.echo(name).map(|echo| EchoLine {
                ago: text::ago(echo.at),
                went: echo.went.map(text::took).map_err(drop),
            }),
        }
    };
    let cards = names.iter().map(card).collect();
    let state = cache.state();
    let cache = (state.memory_size > 0).then(|| {
        format!("{} of {}", text::bytes(state.memory as f64), text::bytes(state.memory_size as f64))
    });
    let sending = kept.desk.sends().all().iter().filter(|one| one.progress().ended.is_none()).count();
    let page = Page {
        frame: at.live_frame(Here::Overview),
        archives: cards,
        clients: metrics.dimse_associations.get(),
        running: sending.max(activity.running().len()),
        failures: activity.failures().len(),
        cache,
    };
    draw(StatusCode::OK, &page)
}

/// How an archive stands, and what to say of it.
fn judge(standing: &Standing) -> (State, String) {
    let last = |at: Option<SystemTime>| at.map(text::ago);
    match (standing.is_well(), &standing.failure) {
        (None, _) => (State::Unknown, "Not asked yet".to_owned()),
        (Some(true), _) => (State::Well, format!("Answered {}", last(standing.success).unwrap_or_default())),
        (Some(false), Some((at, error))) => match &error.kind {
            Kind::BreakerOpen(_) => (State::Down, "Away, and asked again all the time".to_owned()),
            Kind::Unreachable(_) | Kind::Timeout(_) | Kind::Tls(_) | Kind::Rejected { .. } => {
                (State::Down, format!("Away, tried {}", text::ago(*at)))
            }
            _ => (State::Failing, format!("Failed {}", text::ago(*at))),
        },
        (Some(false), None) => (State::Unknown, "Not asked yet".to_owned()),
    }
}

/// Asks an archive whether it is there, and leads back to the first page, which shows the answer.
pub(super) async fn echo(
    extract::State(server): extract::State<Server>,
    request: Request,
) -> Result<Response, Problem> {
    let (at, _) = posted(&server, request).await?;
    let archive = at.archive(Operation::Admin)?;
    let begin = Instant::now();
    let answer = archive.verify(&at.caller(Priority::Interactive)).await;
    let went = answer.map(|()| begin.elapsed()).map_err(|error| Explained::of(&error));
    let name = archive.name();
    at.server.0.kept.desk.note_echo(name, Echo { at: SystemTime::now(), went });
    Ok(Redirect::to(&at.url(&format!("/#{name}"))).into_response())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::archive::Error;

    #[test]
    fn an_archive_stands_as_the_last_that_was_asked_of_it_went() {
        let now = SystemTime::now();
        let before = now - Duration::from_secs(10);
        let failed = |at, kind| Some((at, Error::new("main", kind)));
        let refused = || Kind::Rejected { transient: false, reason: String::new() };
        for (success, failure, expected) in [
            (None, None, State::Unknown),
            (Some(now), None, State::Well),
            (Some(now), failed(before, refused()), State::Well),
            (Some(before), failed(now, refused()), State::Down),
            (None, failed(now, Kind::BreakerOpen(Duration::ZERO)), State::Down),
            (Some(before), failed(now, Kind::Protocol(String::new())), State::Failing),
        ] {
            let standing = Standing { success, failure };
            assert_eq!(judge(&standing).0, expected, "{standing:?}");
        }
    }
}
