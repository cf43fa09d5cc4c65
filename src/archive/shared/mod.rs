//! One retrieval, many readers: what several clients want is asked of the archive once, and kept for a while.
//!
//! [`Shared`] stands before an archive and is one itself. Whoever asks for what is on its way attaches to the
//! retrieval that brings it; whoever asks for what was brought lately is answered by the [`Cache`].

mod cache;
#[cfg(test)]
mod cache_tests;
mod claim;
mod config;
mod entry;
mod memory;
mod pressure;
mod search;
mod writer;

use std::sync::Arc;

use super::{Archive, Associations, Fut, Result, Retrieval, Retrieve, Search, Stored};
use crate::caller::Caller;
use crate::dicom::object::Object;
use crate::dicom::query::Query;
use crate::metrics::Metrics;

pub use cache::{Cache, DiskState, Purge, Purged, State};
pub use config::{Config, Disk, RetrieveAhead};

/// An archive whose answers are shared.
pub struct Shared {
    archive: Arc<dyn Archive>,
    cache: Cache,
    #[expect(dead_code, reason = "the engine lands with the next change")]
    metrics: Metrics,
}

impl Shared {
    /// Shares what `archive` answers, through `cache`.
    pub fn new(archive: Arc<dyn Archive>, cache: Cache, metrics: Metrics) -> Self {
        Self { archive, cache, metrics }
    }
}

impl Archive for Shared {
    fn name(&self) -> &str {
        self.archive.name()
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        let caller = caller.clone();
        Box::pin(async move { self.cache.searches().run(&self.archive, &caller, query).await })
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        self.archive.retrieve(caller, retrieve)
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        // Also when nobody waits for the answer any more: the archive may have taken the object.
        let forget = self.cache.searches().forget_after(self.archive.name());
        let stored = self.archive.store(caller, object);
        Box::pin(async move {
            let stored = stored.await;
            drop(forget);
            stored
        })
    }

    fn omits_bulk_data(&self) -> bool {
        self.archive.omits_bulk_data()
    }

    fn associations(&self) -> Option<Associations> {
        self.archive.associations()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.archive.verify(caller)
    }
}
