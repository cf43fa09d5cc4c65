//! One retrieval, many readers: what several clients want is asked of the archive once, and kept for a while.
//!
//! [`Shared`] stands before an archive and is one itself. Whoever asks for what is on its way attaches to the
//! retrieval that brings it; whoever asks for what was brought lately is answered by the [`Cache`].

mod cache;
#[cfg(test)]
mod cache_tests;
mod claim;
pub mod config;
mod disk;
mod engine;
mod entity;
mod entry;
mod groups;
mod instance;
mod memory;
mod polled;
mod pressure;
mod proofs;
#[cfg(test)]
mod property_tests;
mod pump;
mod readers;
mod search;
mod spill;
mod writer;

use std::sync::Arc;

use tokio_util::sync::DropGuard;

use super::relay::Relay;
use super::{Archive, Associations, Form, Fut, Manner, Result, Retrieval, Retrieve, Search, Stored};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::charset::Charset;
use crate::dicom::object::Object;
use crate::dicom::query::{Query, Target};
use crate::metrics::Metrics;

use engine::Engine;

pub use cache::{Cache, DiskState, Purge, Purged, State};
pub use config::{Config, Disk, RetrieveAhead};

/// An archive whose answers are shared.
pub struct Shared {
    engine: Arc<Engine>,
    /// Ends what runs when nobody can ask for it any more.
    _stop: DropGuard,
}

impl Shared {
    /// Shares what `archive` answers, through `cache`.
    pub fn new(archive: Arc<dyn Archive>, cache: Cache, metrics: Metrics) -> Self {
        let engine = Engine::new(archive, cache, &metrics);
        let stop = engine.stop.clone().drop_guard();
        Self { engine, _stop: stop }
    }

    /// In which form a retrieval is served from what is shared; `None`: not at all.
    fn shared_form(&self, caller: &Caller, retrieve: &Retrieve) -> Option<Form> {
        let engine = &self.engine;
        let Retrieve { target, form, having, only, .. } = retrieve;
        // Who has something of it already knows what it does; and what an archive gives to one title, it may refuse to
        // another.
        if engine.cache.is_off() || !having.is_empty() || !only.is_empty() || caller.title.is_some() {
            return None;
        }
        if *form == Form::WithoutBulkData {
            let shared = !engine.archive.omits_bulk_data() || self.is_at_hand(target);
            return shared.then_some(Form::AsStored);
        }
        Some(*form)
    }

    /// Whether all of a target is in the cache as it is stored, or on its way.
    fn is_at_hand(&self, target: &Target) -> bool {
        let engine = &self.engine;
        let in_cache = match &target.instance {
            Some(instance) => engine.cache.has(&engine.groups.key(&target.study, instance, Form::AsStored)),
            None => engine.proven(target, Form::AsStored, false).is_some(),
        };
        in_cache || engine.groups.brings(target, Form::AsStored)
    }
}

impl Archive for Shared {
    fn name(&self) -> &str {
        self.engine.archive.name()
    }

    fn scope(&self) -> &str {
        self.engine.archive.scope()
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        let (engine, caller) = (&self.engine, caller.clone());
        Box::pin(async move { engine.cache.searches().run(&engine.archive, &caller, query).await })
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let Some(form) = self.shared_form(caller, &retrieve) else {
            return self.engine.archive.retrieve(caller, retrieve);
        };
        let (engine, caller) = (Arc::clone(&self.engine), caller.clone());
        let Retrieve { target, ahead, .. } = retrieve;
        match target.instance {
            Some(_) => Box::pin(instance::retrieve(engine, caller, target, form, ahead)),
            None => Box::pin(entity::retrieve(engine, caller, target, form)),
        }
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        self.store_as(caller, object, Manner::default())
    }

    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, Result<Stored>> {
        // Also when nobody waits for the answer any more: the archive may have taken the object.
        let forget = self.engine.cache.searches().forget_after(self.name());
        let change = Change { engine: Arc::clone(&self.engine), instance: object.head.sop_instance.clone() };
        let stored = self.engine.archive.store_as(caller, object, manner);
        Box::pin(async move {
            // Nobody is to be given what is being replaced.
            change.engine.has_changed(&change.instance);
            let stored = stored.await;
            drop((change, forget));
            stored
        })
    }

    fn omits_bulk_data(&self) -> bool {
        self.engine.archive.omits_bulk_data()
    }

    fn assumed_charset(&self) -> Option<Charset> {
        self.engine.archive.assumed_charset()
    }

    fn associations(&self) -> Option<Associations> {
        self.engine.archive.associations()
    }

    fn relay(&self) -> Option<&dyn Relay> {
        self.engine.archive.relay()
    }

    fn dimse(&self) -> Option<&super::dimse::DimseArchive> {
        self.engine.archive.dimse()
    }

    fn names_client(&self) -> bool {
        self.engine.archive.names_client()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.engine.archive.verify(caller)
    }
}

/// An object is being stored. When that has ended, in whatever way, what was brought meanwhile may be what it was before.
struct Change {
    engine: Arc<Engine>,
    instance: Uid,
}

impl Drop for Change {
    fn drop(&mut self) {
        self.engine.has_changed(&self.instance);
    }
}

#[cfg(test)]
mod tests;
