//! The public keys of an issuer: asked for once in a while, and when a token names one that is not known.
//!
//! At most one question is under way, and none follows the last one closely: whoever invents names of keys makes us ask
//! no more often. When the issuer is down the keys go on for their lifetime; after that nobody can tell, which is not
//! the fault of who asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::fetch::{Fetch, FetchError};
use crate::access::Refused;
use crate::access::config::{Algorithm, OidcConfig};
use crate::access::jws::{Jwk, Key};

/// How old keys may be before they are asked for again, beside the requests that use them.
const REFRESH: Duration = Duration::from_secs(600);
/// How long after a question the next one comes, at the earliest.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a question may take, discovery and keys together.
const QUESTION: Duration = Duration::from_secs(10);
/// How long a request waits for it: with some time left for the task to end.
const PATIENCE: Duration = Duration::from_secs(11);
/// Most keys of an issuer that are looked at.
const MAX_KEYS: usize = 100;

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    source: Arc<Source>,
    state: Arc<watch::Sender<State>>,
    question: Mutex<Question>,
    lifetime: Duration,
}

#[derive(Debug, Clone, Default)]
struct State {
    keys: Arc<[Key]>,
    since: Option<Instant>,
    /// How many questions have ended.
    asked: u64,
    /// The last of them did not end well.
    failed: bool,
}

#[derive(Debug, Default)]
struct Question {
    task: Option<AbortOnDropHandle<()>>,
    last: Option<Instant>,
}

/// Where the keys come from.
#[derive(Debug)]
struct Source {
    fetch: Fetch,
    issuer: String,
    algorithms: Vec<Algorithm>,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, Deserialize)]
struct JwkSet {
    /// Each may be of a kind that is not known here.
    keys: Vec<serde_json::Value>,
}

impl Keys {
    /// The keys of this issuer; begins to ask for them.
    pub(super) fn new(config: &OidcConfig, fetch: Fetch) -> Self {
        let source = Source { fetch, issuer: config.issuer.clone(), algorithms: config.algorithms.clone() };
        let keys = Self {
            source: Arc::new(source),
            state: Arc::new(watch::Sender::default()),
            question: Mutex::default(),
            lifetime: config.keys_lifetime,
        };
        keys.ask();
        keys
    }

    /// The keys that a token of this key's name may be signed with; without a name, all.
    pub(super) async fn find(&self, id: Option<&str>) -> Result<Vec<Key>, Refused> {
        const DOWN: Refused = Refused::Unavailable("the issuer of the tokens cannot be asked for its keys");
        let state = self.state.borrow().clone();
        let found = self.of(&state, id);
        if !found.is_empty() {
            if state.since.is_some_and(|since| since.elapsed() > REFRESH) {
                self.ask();
            }
            return Ok(found);
        }
        if self.ask() {
            let mut states = self.state.subscribe();
            let asked = state.asked;
            let _ = timeout(PATIENCE, states.wait_for(|state| state.asked > asked)).await;
        }
        let state = self.state.borrow().clone();
        let found = self.of(&state, id);
        if !found.is_empty() {
            return Ok(found);
        }
        let is_known = state.since.is_some_and(|since| since.elapsed() <= self.lifetime);
        if state.failed || !is_known {
            return Err(DOWN);
        }
        Err(Refused::Invalid("the token is signed with a key that is not the issuer's"))
    }

    /// As if the last question had been asked long ago.
    #[cfg(test)]
    pub(super) fn forget_the_last_question(&self) {
        self.question.lock().unwrap().last = None;
    }

    fn of(&self, state: &State, id: Option<&str>) -> Vec<Key> {
        if state.since.is_none_or(|since| since.elapsed() > self.lifetime) {
            return Vec::new();
        }
        state.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).cloned().collect()
    }

    /// Asks for the keys, unless that was done just now. Whether a question is under way.
    fn ask(&self) -> bool {
        let mut question = self.question.lock().unwrap_or_else(PoisonError::into_inner);
        if question.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return true;
        }
        if question.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return false;
        }
        question.last = Some(Instant::now());
        let (source, state) = (Arc::clone(&self.source), Arc::clone(&self.state));
        // A task of its own: a client that leaves does not end the question that others wait for.
        let asking = async move {
            let answer = timeout(QUESTION, source.load()).await.unwrap_or(Err(FetchError::Timeout));
            if let Err(error) = &answer {
                tracing::warn!(issuer = %source.issuer, "cannot ask the issuer for its keys: {error}");
            }
            state.send_modify(|state| {
                state.asked += 1;
                state.failed = answer.is_err();
                if let Ok(keys) = answer {
                    tracing::debug!(keys = keys.len(), "the issuer's keys");
                    (state.keys, state.since) = (keys.into(), Some(Instant::now()));
                }
            });
        };
        question.task = Some(AbortOnDropHandle::new(tokio::spawn(asking.in_current_span())));
        true
    }
}

impl Source {
    async fn load(&self) -> Result<Vec<Key>, FetchError> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.fetch.json(&url).await?;
        // OpenID Connect Discovery 4.3.
        if discovery.issuer != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        if self.issuer.starts_with("https:") && !discovery.jwks_uri.starts_with("https:") {
            return Err(FetchError::PlainKeys);
        }
        let set: JwkSet = self.fetch.json(&discovery.jwks_uri).await?;
        let jwks = set.keys.into_iter().take(MAX_KEYS).filter_map(|value| serde_json::from_value(value).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk: Jwk| Key::of(&jwk, &self.algorithms)).collect();
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
    }
}
