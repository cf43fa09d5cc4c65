//! One instance: from the cache, from a running retrieval that brings it, or fetched ahead of that.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::claim::Claim;
use super::config::RetrieveAhead;
use super::engine::{Engine, object};
use super::groups::Membership;
use super::polled::Source;
use super::pump::Pump;
use crate::archive::{Complete, Error, Expected, Form, Kind, Result, Retrieval, Step};
use crate::caller::Caller;
use crate::dicom::object::Object;
use crate::dicom::query::Target;

/// How often an instance is looked for: where a running retrieval ends without it, it is asked for by name.
const ATTEMPTS: usize = 2;

/// Retrieves an instance; resolves when it begins to come, or with what went wrong. `ahead`: the rest of its series will
/// be wanted next.
pub(super) async fn retrieve(
    engine: Arc<Engine>,
    caller: Caller,
    target: Target,
    form: Form,
    ahead: bool,
) -> Result<Retrieval> {
    let Some(instance) = &target.instance else { return Err(engine.error(Kind::NotFound)) };
    let reader = engine.cache.reader();
    let key = engine.groups.key(&target.study, instance, form);
    let series = Target { instance: None, ..target.clone() };
    let ahead = ahead
        && engine.cache.config().retrieve_ahead != RetrieveAhead::Off
        && !engine.was_brought_lately(&series, form);
    // Who finds it at hand is no member of anything.
    let mut member = None;
    for _ in 0..ATTEMPTS {
        // What a retrieval has just brought may lie on disk alone by now.
        let at_hand = reader.recall(&key).await;
        if let Some(claim) = at_hand.filter(|claim| claim.series() == target.series.as_ref()) {
            engine.counts.hit.inc();
            return Ok(answer(&engine, claim, None));
        }
        let waiting =
            member.get_or_insert_with(|| engine.groups.member(target.clone(), form, reader.clone()));
        attach(&engine, &caller, waiting, ahead);
        match wait(&engine, &caller, waiting).await {
            Ok(claim) => return Ok(answer(&engine, claim, member)),
            Err(Some(error)) => return Err(error),
            Err(None) => {}
        }
    }
    // That it came and could not be kept does not mean that there is none.
    let came_in_vain = member.is_some_and(|member| member.came_in_vain());
    Err(engine.error(if came_in_vain {
        Kind::Incomplete { missing: 1, named: Vec::new() }
    } else {
        Kind::NotFound
    }))
}

/// Attaches to what runs already, or begins what has to run.
fn attach(engine: &Arc<Engine>, caller: &Caller, member: &Membership, ahead: bool) {
    let begun = engine.groups.join_or_begin_instance(member, ahead);
    let count = if begun.is_empty() { &engine.counts.attached } else { &engine.counts.miss };
    count.inc();
    let mut lane = None;
    for begun in begun {
        if begun.target.instance.is_none() {
            lane = Arc::clone(&begun.lane).try_acquire_owned().ok();
            Pump::new(engine, begun).start(caller.clone());
        } else {
            Pump::new(engine, begun).holding(lane.take()).start(caller.clone());
        }
    }
}

/// Waits until the instance begins to come, and has it fetched ahead where that takes too long.
async fn wait(
    engine: &Arc<Engine>,
    caller: &Caller,
    member: &Membership,
) -> std::result::Result<Claim, Option<Error>> {
    loop {
        tokio::select! {
            biased;
            brought = poll_fn(|cx| member.poll_instance(cx)) => return brought,
            lane = turn(engine, member) => {
                if let Some(begun) = engine.groups.begin_ahead(member) {
                    engine.counts.ahead.inc();
                    Pump::new(engine, begun).holding(Some(lane)).start(caller.clone());
                }
            }
        }
    }
}

/// Resolves when the instance is to be fetched ahead.
async fn turn(engine: &Arc<Engine>, member: &Membership) -> OwnedSemaphorePermit {
    loop {
        let Some((lane, due)) = engine.groups.lane(member) else { return pending().await };
        sleep_until(due).await;
        let Ok(permit) = lane.acquire_owned().await else { return pending().await };
        // While it waited for its turn, the running retrieval may have begun to bring objects.
        match engine.groups.lane(member) {
            Some((_, due)) if due <= Instant::now() => return permit,
            Some(_) => {}
            None => return pending().await,
        }
    }
}

/// The answer with an object. `member`: who waits for its last byte, where it is still coming.
fn answer(engine: &Engine, claim: Claim, member: Option<Membership>) -> Retrieval {
    engine.retrieval(One { object: Some(object(claim)), member }, Vec::new(), Expected::of(1))
}

/// One object, then the end.
struct One {
    object: Option<Object>,
    member: Option<Membership>,
}

impl Source for One {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<Object>> {
        if let Some(object) = self.object.take() {
            return Poll::Ready(Step::Item(object));
        }
        Poll::Ready(Step::End(match &self.member {
            Some(member) => ready!(member.poll_settled(cx)),
            // It was whole when it was claimed.
            None => Ok(Complete::mint()),
        }))
    }
}
