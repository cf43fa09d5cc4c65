//! A study or series: read from the retrieval that brings it, from the cache, or from both.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::engine::{Engine, object};
use super::groups::{Membership, Next};
use super::instance;
use super::polled::Source;
use super::pump::Pump;
use crate::archive::{Feed, Form, Fut, Kind, Result, Retrieval, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::Object;
use crate::dicom::query::Target;

/// Retrieves a study or series; resolves with its first object, or with what went wrong before.
pub(super) async fn retrieve(
    engine: Arc<Engine>,
    caller: Caller,
    target: Target,
    form: Form,
) -> Result<Retrieval> {
    let member = engine.groups.member(target.clone(), form, engine.cache.reader());
    if engine.groups.join(&member) {
        engine.counts.attached.inc();
    } else if let Some(proof) = engine.proven(&target, form, true) {
        engine.counts.hit.inc();
        engine.groups.supply(&member, &proof);
    } else {
        match engine.groups.join_or_begin(&member) {
            None => drop(engine.counts.attached.inc()),
            Some(begun) => {
                engine.counts.miss.inc();
                Pump::new(&engine, begun).start(caller.clone());
            }
        }
    }
    let opening = poll_fn(|cx| member.poll_opened(cx)).await?;
    // What is known of a study says nothing of one of its series.
    let expected =
        opening.expected.as_ref().filter(|(of, _)| *of == target).map(|(_, expected)| expected.clone());
    let objects =
        Objects { engine: Arc::clone(&engine), member, caller, target, form, fetch: None, held: None };
    Ok(engine.retrieval(objects, opening.missing.clone(), expected.unwrap_or_default()))
}

/// The objects of a study or series for one reader.
struct Objects {
    engine: Arc<Engine>,
    member: Membership,
    caller: Caller,
    target: Target,
    form: Form,
    /// An object that has to be fetched, as it is not in memory.
    fetch: Option<Fut<'static, Result<Fetched>>>,
    /// The retrieval of the object that was handed out last: it goes on as long as that may be read.
    held: Option<Feed<Object>>,
}

/// What became of an object that was not in memory.
enum Fetched {
    /// It was on disk.
    Recalled(Object),
    /// It is not in the cache at all.
    Nowhere { instance: Uid, series: Option<Uid> },
    /// The archive sends it.
    Retrieved(Object, Feed<Object>),
}

impl Source for Objects {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<Object>> {
        self.held = None;
        loop {
            if let Some(fetch) = &mut self.fetch {
                let fetched = ready!(fetch.as_mut().poll(cx));
                self.fetch = None;
                match fetched {
                    Ok(Fetched::Recalled(object)) => return Poll::Ready(Step::Item(object)),
                    Ok(Fetched::Nowhere { instance, series }) => self.member.put_off(instance, series),
                    Ok(Fetched::Retrieved(object, feed)) => {
                        self.held = Some(feed);
                        return Poll::Ready(Step::Item(object));
                    }
                    Err(error) => return Poll::Ready(Step::End(Err(error))),
                }
            }
            match ready!(self.member.poll_next(cx)) {
                Next::Object(claim) => return Poll::Ready(Step::Item(object(claim))),
                Next::End(end) => return Poll::Ready(Step::End(end)),
                Next::Lost { instance, series } => self.fetch = Some(self.recall(instance, series)),
                Next::Missed { instance, series } => self.fetch = Some(self.fetch_again(instance, series)),
            }
        }
    }
}

impl Objects {
    /// Looks for an object where it does not lie in memory.
    fn recall(&self, instance: Uid, series: Option<Uid>) -> Fut<'static, Result<Fetched>> {
        let stalled = self.engine.error(Kind::ReaderStalled);
        let key = self.engine.groups.key(&self.target.study, &instance, self.form);
        let reader = self.member.reader();
        Box::pin(async move {
            let Some(reader) = reader.filter(|reader| !reader.is_cut()) else { return Err(stalled) };
            Ok(match reader.recall(&key).await {
                Some(claim) => Fetched::Recalled(object(claim)),
                None => Fetched::Nowhere { instance, series },
            })
        })
    }

    /// Asks the archive once more for an object that came, and was not kept until it was its turn.
    fn fetch_again(&self, instance: Uid, series: Option<Uid>) -> Fut<'static, Result<Fetched>> {
        let (engine, caller, form) = (Arc::clone(&self.engine), self.caller.clone(), self.form);
        let Some(series) = series.or_else(|| self.target.series.clone()) else {
            let incomplete = engine.error(Kind::Incomplete { missing: 1, named: Vec::new() });
            return Box::pin(async { Err(incomplete) });
        };
        let target =
            Target { study: self.target.study.clone(), series: Some(series), instance: Some(instance) };
        Box::pin(async move {
            let mut retrieval = instance::retrieve(Arc::clone(&engine), caller, target, form, false).await?;
            match retrieval.objects.next().await {
                Step::Item(object) => Ok(Fetched::Retrieved(object, retrieval.objects)),
                Step::End(Err(error)) => Err(error),
                Step::End(Ok(_)) => Err(engine.error(Kind::NotFound)),
            }
        })
    }
}
