//! One retrieval, many readers: what several clients want is asked of the archive once, and kept for a while.
//!
//! [`Shared`] stands before an archive and is one itself. Whoever asks for what is on its way attaches to the
//! retrieval that brings it; whoever asks for what was brought lately is answered by the [`Cache`].

mod cache;
mod config;

use std::sync::Arc;

use super::{Archive, Fut, Result, Retrieval, Retrieve, Search, Stored};
use crate::caller::Caller;
use crate::dicom::object::Object;
use crate::dicom::query::Query;
use crate::metrics::Metrics;

pub use cache::{Cache, DiskState, Purge, Purged, State};
pub use config::{Config, Disk, RetrieveAhead};

/// An archive whose answers are shared.
pub struct Shared {
    archive: Arc<dyn Archive>,
    #[expect(dead_code, reason = "the engine lands with the next change")]
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
        self.archive.search(caller, query)
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        self.archive.retrieve(caller, retrieve)
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        self.archive.store(caller, object)
    }

    fn omits_bulk_data(&self) -> bool {
        self.archive.omits_bulk_data()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.archive.verify(caller)
    }
}
