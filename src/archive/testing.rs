//! An archive that tests drive by hand, and the feeds that only this layer can make.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dimse::config::{Config, Timeouts};
pub(crate) use super::retrieval::planted_panic;
use super::{
    Archive, Associations, Complete, Error, Feed, Fut, Kind, Result, Retrieval, Retrieve, Search, Step,
    Stored,
};
use crate::caller::Caller;
use crate::dicom::object::{Head, Object};
use crate::dicom::query::Query;

/// A feed whose driver is the test.
pub(crate) struct Driver<T> {
    /// Where the steps go in.
    pub(crate) steps: mpsc::Sender<Step<T>>,
    /// Cancelled when the feed is dropped.
    pub(crate) cancelled: CancellationToken,
}

impl<T> Driver<T> {
    /// Steps that fit into the feed without a reader.
    pub(crate) const DEPTH: usize = 20_000;

    /// A driver and its feed.
    pub(crate) fn new() -> (Self, Feed<T>) {
        let (steps, receiver) = mpsc::channel(Self::DEPTH);
        let cancelled = CancellationToken::new();
        let feed = Feed::new("main", receiver, cancelled.clone().drop_guard());
        (Self { steps, cancelled }, feed)
    }

    /// Adds an item.
    pub(crate) fn item(&self, item: T) {
        assert!(self.steps.try_send(Step::Item(item)).is_ok(), "the feed is gone or full");
    }

    /// Ends the feed well.
    pub(crate) fn complete(&self) {
        assert!(self.steps.try_send(Step::End(Ok(Complete::mint()))).is_ok(), "the feed is gone or full");
    }

    /// Ends the feed with an error.
    pub(crate) fn fail(&self, error: super::Error) {
        assert!(self.steps.try_send(Step::End(Err(error))).is_ok(), "the feed is gone or full");
    }
}

/// What is configured of an archive in memory: two associations, and little patience.
pub(crate) fn config() -> Config {
    Config {
        max_associations: 2,
        timeouts: Timeouts { silence: Duration::from_secs(5), ..Timeouts::default() },
        ..Config::new("main".into(), "PACS".parse().unwrap(), "memory".into(), "GANTRY".parse().unwrap())
    }
}

/// An archive that answers with what the test laid ready, in order.
pub(crate) struct Fake {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    searches: VecDeque<Result<Search>>,
    retrievals: VecDeque<Result<Retrieval>>,
    queries: Vec<Query>,
    retrieves: Vec<Retrieve>,
    callers: Vec<Caller>,
    store_answers: VecDeque<Result<Stored>>,
    stored: Vec<(Head, Vec<u8>)>,
}

impl Fake {
    /// An archive of this name with nothing laid ready.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), state: Mutex::default() })
    }

    /// Lays an answer to a search ready.
    pub(crate) fn push_search(&self, answer: Result<Search>) {
        self.state.lock().unwrap().searches.push_back(answer);
    }

    /// Takes back what was laid ready for searches and not asked for.
    pub(crate) fn clear_searches(&self) {
        self.state.lock().unwrap().searches.clear();
    }

    /// Lays an answer to a retrieval ready.
    pub(crate) fn push_retrieval(&self, answer: Result<Retrieval>) {
        self.state.lock().unwrap().retrievals.push_back(answer);
    }

    /// Lays an answer to a store ready; without one, objects are stored with success.
    pub(crate) fn push_store(&self, answer: Result<Stored>) {
        self.state.lock().unwrap().store_answers.push_back(answer);
    }

    /// The objects that came whole, in the order in which they ended.
    pub(crate) fn stored(&self) -> Vec<(Head, Vec<u8>)> {
        self.state.lock().unwrap().stored.clone()
    }

    /// The queries that came.
    pub(crate) fn queries(&self) -> Vec<Query> {
        self.state.lock().unwrap().queries.clone()
    }

    /// The retrievals that were asked for.
    pub(crate) fn retrieves(&self) -> Vec<Retrieve> {
        self.state.lock().unwrap().retrieves.clone()
    }

    /// Who asked.
    pub(crate) fn callers(&self) -> Vec<Caller> {
        self.state.lock().unwrap().callers.clone()
    }
}

impl Archive for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        let mut state = self.state.lock().unwrap();
        state.queries.push(query);
        state.callers.push(caller.clone());
        let answer = state.searches.pop_front().expect("an unexpected search");
        Box::pin(async move { answer })
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let mut state = self.state.lock().unwrap();
        state.retrieves.push(retrieve);
        state.callers.push(caller.clone());
        let answer = state.retrievals.pop_front().expect("an unexpected retrieval");
        Box::pin(async move { answer })
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.callers.push(caller.clone());
            state.store_answers.pop_front().unwrap_or(Ok(Stored { status: 0, comment: None }))
        };
        Box::pin(async move {
            let Object { head, mut body, .. } = object;
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                bytes.extend_from_slice(&piece.map_err(|_| Error::new(&self.name, Kind::SourceBroke))?);
            }
            self.state.lock().unwrap().stored.push((head, bytes));
            answer
        })
    }

    fn associations(&self) -> Option<Associations> {
        Some(Associations { open: 3, idle: 2, answers: Some(true) })
    }

    fn verify(&self, _caller: &Caller) -> Fut<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
