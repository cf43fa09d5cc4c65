//! One object on its way to all the archives that are to have it.
//!
//! Each archive has a pipe of its own, into which the same bytes go, uncopied. The slowest sets the pace; one that has
//! failed, or that takes nothing for too long while others wait, is sent no more.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use crate::archive::{Archive, Error, Fut, Kind, Manner, Result, Stored};
use crate::caller::Caller;
use crate::dicom::object::{Head, Object};

use super::pipe::Pipe;

/// How much of an object may wait for one archive, in bytes: a few round trips at wire speed.
const BUDGET: usize = 1 << 20;
/// How much is read of the client before the archives get their turn, where it comes without a pause, in bytes: as
/// much as a PDV takes.
const TURN: usize = 128 << 10;
/// How long one archive may take nothing while others wait for more: below the half minute after which archives give
/// up an association on which nothing comes.
const PACE: Duration = Duration::from_secs(20);
/// How long an object that broke off may take to be aborted at the archives.
const BREAK_OFF: Duration = Duration::from_secs(1);

/// An archive that is to have an object.
pub(super) struct Destination {
    pub(super) archive: Arc<dyn Archive>,
    pub(super) caller: Caller,
    pub(super) manner: Manner,
}

/// What became of an object at one archive.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The archive's name.
    pub(super) archive: String,
    pub(super) result: Result<Stored>,
}

/// An object on its way. Dropped, it is aborted wherever it is not stored.
pub(super) struct Fan {
    branches: Vec<Branch>,
    /// Read since the archives had their turn.
    since_turn: usize,
}

/// One archive's part.
struct Branch {
    archive: String,
    /// `None`: no more of the object is sent.
    pipe: Option<Pipe>,
    /// `None`: it has ended.
    store: Option<Fut<'static, Result<Stored>>>,
    result: Option<Result<Stored>>,
}

impl Fan {
    /// Begins to store an object of which nothing has come yet.
    pub(super) fn new(head: &Head, destinations: impl IntoIterator<Item = Destination>) -> Self {
        let branches = destinations.into_iter().map(|destination| Branch::new(head, destination)).collect();
        Self { branches, since_turn: 0 }
    }

    /// Takes the next bytes, when there is room for them at every archive that still takes any.
    pub(super) async fn push(&mut self, bytes: &Bytes) {
        self.since_turn += bytes.len();
        if self.since_turn >= TURN {
            self.since_turn = 0;
            let _ = poll_fn(|cx| Poll::Ready(self.poll(cx))).await;
        }
        let deadline = Instant::now() + PACE;
        for current in 0..self.branches.len() {
            // Taken out, so that the stores can run while there is no room.
            let Some(pipe) = self.branches[current].pipe.take() else { continue };
            if pipe.len() < BUDGET || self.make_room(&pipe, current, deadline).await {
                pipe.push(bytes.clone());
                self.branches[current].pipe = Some(pipe);
            }
        }
    }

    /// Runs until there is room in the pipe of one branch. `false`: no more is sent there.
    async fn make_room(&mut self, pipe: &Pipe, current: usize, deadline: Instant) -> bool {
        let mut patience = pin!(sleep_until(deadline));
        poll_fn(|cx| {
            let _ = self.poll(cx);
            if self.branches[current].result.is_some() {
                return Poll::Ready(false);
            }
            if pipe.len() < BUDGET {
                return Poll::Ready(true);
            }
            let mut others = self.branches.iter().enumerate().filter(|(n, _)| *n != current);
            if others.any(|(_, other)| other.result.is_none()) && patience.as_mut().poll(cx).is_ready() {
                let branch = &mut self.branches[current];
                branch.end(Err(Error::new(&branch.archive, Kind::Timeout("taking the object"))));
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }

    /// The object is whole.
    pub(super) fn finish(&mut self) {
        for branch in &mut self.branches {
            branch.pipe.take().into_iter().for_each(Pipe::finish);
        }
    }

    /// Whether any archive has not answered.
    pub(super) fn is_under_way(&self) -> bool {
        self.branches.iter().any(|branch| branch.result.is_none())
    }

    /// Stores on until every archive has answered: not before the object is whole, or every archive has failed.
    pub(super) async fn run(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// The object breaks off: it is aborted at every archive.
    pub(super) async fn break_off(mut self) {
        self.branches.iter_mut().for_each(|branch| branch.pipe = None);
        let _ = timeout(BREAK_OFF, self.run()).await;
    }

    /// What has become of the object, in the order of the rule; after [`Fan::run`].
    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        let outcome = |Branch { archive, result, .. }| {
            let result = result.unwrap_or_else(|| Err(Error::new(&archive, Kind::Cancelled)));
            Outcome { archive, result }
        };
        self.branches.into_iter().map(outcome).collect()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut all = Poll::Ready(());
        for branch in &mut self.branches {
            let Some(store) = &mut branch.store else { continue };
            match store.as_mut().poll(cx) {
                Poll::Ready(result) => branch.end(result),
                Poll::Pending => all = Poll::Pending,
            }
        }
        all
    }
}

impl Branch {
    fn new(head: &Head, destination: Destination) -> Self {
        let Destination { archive, caller, manner } = destination;
        let (pipe, body) = Pipe::new();
        let object = Object { head: head.clone(), series: None, body };
        let name = archive.name().to_owned();
        let store = Box::pin(async move { archive.store_as(&caller, object, manner).await });
        Self { archive: name, pipe: Some(pipe), store: Some(store), result: None }
    }

    fn end(&mut self, result: Result<Stored>) {
        (self.pipe, self.store, self.result) = (None, None, Some(result));
    }
}
