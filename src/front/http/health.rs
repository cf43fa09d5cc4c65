//! `/health/live` and `/health/ready`: whether the process runs, and whether requests are welcome.
//!
//! A bridge whose archive is down still says so better than a load balancer would: unless the configuration wants it
//! otherwise, archives do not count. Where they do, one that nobody uses is asked (C-ECHO), as a bridge that gets no requests
//! because its archive was down would never learn that it is back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, json};
use tokio::time::{Instant, timeout};

use super::error::Problem;
use super::{Server, admin};
use crate::access::{Identity, Operation};
use crate::archive::{Archive, Associations};
use crate::caller::{Caller, Priority};

/// How long an answer of an archive holds.
const FRESH: Duration = Duration::from_secs(10);
/// How long an archive has to answer whether it is there. Who asks how we do does not wait for long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which archives have to answer for requests to be welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadyConfig {
    /// None: whatever becomes of them, the bridge is ready.
    #[default]
    None,
    /// One of them at least.
    Any,
    /// Each of them.
    All,
    /// The default one.
    Default,
}

/// What archives answered lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    answers: Mutex<BTreeMap<String, (bool, Instant)>>,
    /// Held by who asks: whoever comes meanwhile finds the answer.
    asking: tokio::sync::Mutex<()>,
}

/// The process runs.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Requests are welcome. A cache that does without its disk says so, and is no reason to turn requests away.
pub(super) async fn ready(State(server): State<Server>, identity: Option<Extension<Identity>>) -> Response {
    if server.0.shutdown.is_cancelled() {
        return Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, "the bridge is shutting down")
            .into_response();
    }
    let ready = server.0.health.is_ready(&server).await;
    let may_know = identity.is_some_and(|identity| identity.grants.has(Operation::Admin));
    let mut state = json!({ "status": if ready { "ready" } else { "not ready" } });
    if may_know {
        state["cache"] = admin::cache_json(&server.0.cache.state());
        state["archives"] = archives(&server).into();
    }
    match ready {
        true => admin::answer(state),
        false if may_know => (StatusCode::SERVICE_UNAVAILABLE, admin::answer(state)).into_response(),
        false => {
            let text = "an archive that has to answer does not (health.ready)";
            Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// How each archive does.
fn archives(server: &Server) -> Map<String, serde_json::Value> {
    let archives = &server.0.archives;
    let mut all = Map::new();
    for archive in archives.names().filter_map(|name| archives.by_name(name)) {
        let found = archive.associations();
        let answers = found.and_then(|it| it.answers).or_else(|| server.0.health.known(archive.name()));
        let state = match answers {
            Some(true) => "up",
            Some(false) => "down",
            None => "unknown",
        };
        let mut told = json!({ "state": state });
        if let Some(Associations { open, idle, .. }) = found {
            told["associations"] = json!({ "open": open, "idle": idle });
        }
        all.insert(archive.name().to_owned(), told);
    }
    all
}

impl Health {
    async fn is_ready(&self, server: &Server) -> bool {
        let (rule, archives) = (server.0.config.ready, &server.0.archives);
        match rule {
            ReadyConfig::None => true,
            ReadyConfig::Default => match archives.default_archive() {
                Some(archive) => self.answers(&**archive).await,
                None => true,
            },
            ReadyConfig::Any | ReadyConfig::All => {
                for archive in archives.names().filter_map(|name| archives.by_name(name)) {
                    let answers = self.answers(&**archive).await;
                    if answers == (rule == ReadyConfig::Any) {
                        return answers;
                    }
                }
                rule == ReadyConfig::All
            }
        }
    }

    /// Whether an archive answers: it has an association with us, or has answered lately, or does now.
    async fn answers(&self, archive: &dyn Archive) -> bool {
        let in_use = |it: Associations| it.answers == Some(true) && it.open > 0;
        if archive.associations().is_some_and(in_use) {
            return true;
        }
        let _turn = self.asking.lock().await;
        if let Some(answers) = self.known(archive.name()) {
            return answers;
        }
        let caller = Caller { client: None, priority: Priority::Interactive, title: None };
        let answers = timeout(PATIENCE, archive.verify(&caller)).await.is_ok_and(|answer| answer.is_ok());
        let mut known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(archive.name().to_owned(), (answers, Instant::now()));
        answers
    }

    /// What an archive answered, where that still holds.
    fn known(&self, name: &str) -> Option<bool> {
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|(_, at)| at.elapsed() < FRESH).map(|(answers, _)| *answers)
    }
}
