//! Runs a retrieval for a group: reads what the archive sends into the cache, as fast as memory allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use super::engine::Engine;
use super::groups::{Begun, GroupId, Opening};
use super::writer::Writer;
use crate::archive::{Complete, Error, Form, Kind, Result, Retrieval, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::object::{Cursor, Object};
use crate::dicom::query::Target;

/// A retrieval that is to run for its group.
pub(super) struct Pump {
    engine: Arc<Engine>,
    group: GroupId,
    target: Target,
    form: Form,
    /// Instances of the target that are in the cache, with their series.
    having: BTreeMap<Uid, Uid>,
    /// How often what the archive holds had changed before it is asked.
    changes: u64,
    /// The right to fetch ahead, where that is what it does.
    _lane: Option<OwnedSemaphorePermit>,
}

impl Pump {
    /// What brings the target of a group that has begun: of a study or series, only what is not in the cache.
    pub(super) fn new(engine: &Arc<Engine>, begun: Begun) -> Self {
        let Begun { group, target, form, .. } = begun;
        let changes = engine.changes();
        let having = match &target.instance {
            None => engine.cache.whole(engine.archive.scope(), &target.study, target.series.as_ref(), form),
            Some(_) => BTreeMap::new(),
        };
        Self { engine: Arc::clone(engine), group, target, form, having, changes, _lane: None }
    }

    /// The same, which holds the right to fetch ahead until it ends.
    pub(super) fn holding(self, lane: Option<OwnedSemaphorePermit>) -> Self {
        Self { _lane: lane, ..self }
    }

    /// Runs until everything came, or nobody wants it any more. The engine owns the task.
    pub(super) fn start(self, caller: Caller) {
        let engine = Arc::clone(&self.engine);
        let bringing = async move {
            let mut ending = Ending { engine: Arc::clone(&self.engine), group: Some(self.group) };
            // What is dropped here drops the archive's feed, and the object that was on its way.
            tokio::select! {
                biased;
                () = self.engine.stop.cancelled() => {
                    ending.end(&Err(self.engine.error(Kind::ShuttingDown)));
                }
                () = self.engine.groups.abandoned(self.group) => {}
                result = self.bring(&caller) => self.conclude(&mut ending, result),
            }
        };
        // It goes on without whoever has asked first, in whose trace it stands.
        engine.tasks.spawn(bringing.in_current_span());
    }

    async fn bring(&self, caller: &Caller) -> Result<Complete> {
        let having = self.having.keys().cloned().collect();
        let retrieve = Retrieve { having, ..Retrieve::new(self.target.clone(), self.form) };
        let retrieval = self.engine.archive.retrieve(caller, retrieve).await?;
        let Retrieval { mut objects, missing, confirmed, expected, .. } = retrieval;
        let reserve = self.engine.cache.reserve();
        // Where they are does not depend on the cache, which may have dropped them since.
        let with_series = |instance: Uid| {
            let series = self.having.get(&instance).cloned();
            (instance, series)
        };
        let confirmed: Vec<_> = confirmed.into_iter().map(with_series).collect();
        let expected = Some((self.target.clone(), expected.and(confirmed.len())));
        self.engine.groups.open(self.group, Opening { missing, confirmed, expected });
        loop {
            let Object { head, series, body } = match objects.next().await {
                Step::Item(object) => object,
                Step::End(result) => return result,
            };
            let writer = self.engine.groups.begin_object(self.group, &head, series.as_ref(), &reserve);
            let is_news = writer.is_some();
            let whole = copy(body, writer).await;
            if is_news {
                self.engine.groups.end_object(self.group, &head.sop_instance, whole);
            }
        }
    }

    /// Puts the cache and the proofs right, and then ends the group: whoever finds that gone finds these.
    fn conclude(&self, ending: &mut Ending, result: Result<Complete>) {
        match &result {
            Ok(complete) => self.remember(complete),
            // Nobody knows which of the two is the true one.
            Err(Error { kind: Kind::Conflict(instance), .. }) => {
                self.engine.cache.forget(self.engine.archive.name(), instance);
            }
            Err(_) => {}
        }
        ending.end(&result);
    }

    fn remember(&self, complete: &Complete) {
        let Some(proven) = self.engine.groups.proven(self.group, complete) else { return };
        let brought: BTreeSet<&Uid> = proven.instances.iter().map(|(instance, _)| instance).collect();
        for gone in self.having.keys().filter(|instance| !brought.contains(instance)) {
            self.engine.cache.forget(self.engine.archive.name(), gone);
        }
        self.engine.remember(&self.target, self.form, proven, self.changes);
    }
}

/// Copies an object into the cache, or drops it; whether it came whole.
async fn copy(mut body: Cursor, mut writer: Option<Writer>) -> bool {
    while let Some(bytes) = body.next().await {
        match (bytes, &mut writer) {
            (Ok(bytes), Some(writer)) => writer.append(bytes).await,
            (Ok(_), None) => {}
            (Err(_), _) => return false,
        }
    }
    writer.into_iter().for_each(Writer::finish);
    true
}

/// The end of a group, which its members are told in any case.
struct Ending {
    engine: Arc<Engine>,
    group: Option<GroupId>,
}

impl Ending {
    fn end(&mut self, result: &Result<Complete>) {
        self.group.take().into_iter().for_each(|group| self.engine.groups.end(group, result));
    }
}

impl Drop for Ending {
    /// A pump that dies is an error for every reader, never a good end.
    fn drop(&mut self) {
        let error: Error = self.engine.error(Kind::DriverDied);
        self.end(&Err(error));
    }
}
