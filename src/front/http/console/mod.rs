//! The console: pages in a browser on which an operator sees what the bridge does, and does what operators do.
//!
//! Each page is drawn here, from a template that escapes everything, and works without a script. Where it shows what
//! changes, a small script asks for the same page again and takes over what is new. Nothing is kept in the browser: no
//! cookie, no storage, no copy. Who may come is told in [`gate`] and [`operator`]; what outlives a request stands on the
//! [`Desk`].

mod desk;
mod explain;
mod failures;
mod fields;
mod gate;
mod operator;
mod overview;
mod preview;
mod rates;
mod search;
mod sends;
mod study;
mod text;
mod token;
mod transfers;
mod welcome;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::error::Problem;
use super::identity::Needs;
use super::{Server, identity};
use crate::access::Operation;
use explain::sentence;
use operator::Operator;

pub(super) use desk::Desk;
pub(super) use gate::{gate, is_console};
pub(super) use welcome::welcome;

/// Where the console is.
const ROOT: &str = "/console";

const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");
const ICON: &str = include_str!("icon.svg");

/// The patterns of the console's routes.
pub(super) const ROUTES: [&str; 15] = [
    ROOT,
    "/console/",
    "/console/search",
    "/console/transfers",
    "/console/failures",
    "/console/archives/{archive}/studies/{study}",
    "/console/archives/{archive}/studies/{study}/series/{series}",
    "/console/archives/{archive}/studies/{study}/series/{series}/preview",
    "/console/archives/{archive}/studies/{study}/series/{series}/instances/{instance}/preview",
    "/console/archives/{archive}/echo",
    "/console/archives/{archive}/studies/{study}/send",
    "/console/transfers/{kind}/{id}/cancel",
    "/console/console.css",
    "/console/console.js",
    "/console/icon.svg",
];

/// The console's routes.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let needs = |needs| axum::middleware::from_fn_with_state((server.clone(), needs), identity::permit);
    let [root, first, find, moving, failed, study, series, seen, seen_one, echo, send, cancel, css, js, icon] =
        ROUTES;
    let pages = Router::new()
        .route(root, get(async |at: Operator| Redirect::permanent(&at.url("/"))))
        .route(first, get(overview::page))
        .route(find, get(search::page))
        .route(moving, get(transfers::page))
        .route(failed, get(failures::page))
        .route(study, get(study::study))
        .route(series, get(study::series))
        .route(seen, get(preview::series))
        .route(seen_one, get(preview::instance))
        .route(echo, post(overview::echo))
        .route(send, post(transfers::send))
        .route(cancel, post(transfers::cancel))
        .route_layer(needs(Needs::Operation(Operation::Admin)));
    // What these show, everybody may read in the sources.
    let assets = [
        (css, "text/css; charset=utf-8", STYLE),
        (js, "text/javascript; charset=utf-8", SCRIPT),
        (icon, "image/svg+xml", ICON),
    ];
    assets.into_iter().fold(pages, |routes, (path, media_type, content)| {
        let handler = async move || ([(CONTENT_TYPE, media_type)], content);
        routes.route(path, get(handler).route_layer(needs(Needs::Nothing)))
    })
}

/// What all pages have in common.
#[derive(Debug, Clone)]
struct Frame {
    /// What stands before `/console` where clients reach this server: empty, or a path.
    base: String,
    /// Which of the pages of the menu this is, or belongs to.
    here: Here,
    /// Who is signed in; `None`: nobody has to.
    user: Option<String>,
    /// What its forms send along.
    token: String,
    /// Whether the page shows what changes by itself.
    is_live: bool,
}

/// The pages of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    Overview,
    Search,
    Transfers,
    Failures,
    Nowhere,
}

impl Frame {
    /// What `aria-current` is on the link to a page.
    fn current(&self, page: &str) -> bool {
        let here = match self.here {
            Here::Overview => "overview",
            Here::Search => "search",
            Here::Transfers => "transfers",
            Here::Failures => "failures",
            Here::Nowhere => return false,
        };
        here == page
    }
}

/// A page, drawn.
fn draw(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(CONTENT_TYPE, html)], Body::from(text)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page of the console could not be drawn");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page that says what went wrong.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    title: String,
    what: String,
    remedy: Option<String>,
}

/// What went wrong, and what to do, in sentences.
fn in_words(problem: &Problem) -> (String, Option<String>) {
    (sentence(problem.detail()), problem.advice().map(sentence))
}

/// A problem, as a person in front of a browser is told of it.
fn problem_page(problem: &Problem, base: String) -> Response {
    let frame = Frame { base, here: Here::Nowhere, user: None, token: String::new(), is_live: false };
    let status = problem.status();
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let (what, remedy) = in_words(problem);
    draw(status, &ProblemPage { frame, title, what, remedy })
}
