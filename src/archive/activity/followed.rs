//! An archive whose retrievals are listed while they run, and can be ended by somebody who looks on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::dimse::DimseArchive;
use super::super::relay::Relay;
use super::super::{
    Archive, Associations, Error, Feed, Fut, Kind, Manner, Result, Retrieval, Retrieve, Search, Step, Steps,
    Stored,
};
use super::{Activity, Entry};
use crate::caller::Caller;
use crate::dicom::charset::Charset;
use crate::dicom::object::Object;
use crate::dicom::query::Query;

/// An archive whose retrievals are listed.
pub struct Followed {
    archive: Arc<dyn Archive>,
    activity: Activity,
}

impl Followed {
    /// Lists the retrievals of `archive` in `activity`.
    pub fn new(archive: Arc<dyn Archive>, activity: Activity) -> Self {
        Self { archive, activity }
    }
}

impl Archive for Followed {
    fn name(&self) -> &str {
        self.archive.name()
    }

    fn scope(&self) -> &str {
        self.archive.scope()
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        self.archive.search(caller, query)
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let entry = self.activity.begin(self.archive.name(), caller, &retrieve);
        let begin = self.archive.retrieve(caller, retrieve);
        Box::pin(async move {
            let retrieval = tokio::select! {
                biased;
                () = entry.running.cancel.cancelled() => return Err(entry.cancelled()),
                retrieval = begin => retrieval?,
            };
            *entry.running.expected.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                retrieval.expected.clone();
            let objects = Feed::over(Objects { feed: retrieval.objects, entry });
            Ok(Retrieval { objects, ..retrieval })
        })
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        self.archive.store(caller, object)
    }

    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, Result<Stored>> {
        self.archive.store_as(caller, object, manner)
    }

    fn omits_bulk_data(&self) -> bool {
        self.archive.omits_bulk_data()
    }

    fn assumed_charset(&self) -> Option<Charset> {
        self.archive.assumed_charset()
    }

    fn associations(&self) -> Option<Associations> {
        self.archive.associations()
    }

    fn relay(&self) -> Option<&dyn Relay> {
        self.archive.relay()
    }

    fn dimse(&self) -> Option<&DimseArchive> {
        self.archive.dimse()
    }

    fn names_client(&self) -> bool {
        self.archive.names_client()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.archive.verify(caller)
    }
}

/// The objects of a retrieval that is listed.
#[derive(Debug)]
struct Objects {
    feed: Feed<Object>,
    entry: Entry,
}

impl Objects {
    fn count(&self, step: Step<Object>) -> Step<Object> {
        if matches!(step, Step::Item(_)) {
            self.entry.running.objects.fetch_add(1, Ordering::Relaxed);
        }
        step
    }
}

impl Steps<Object> for Objects {
    fn ready(&mut self) -> Option<Step<Object>> {
        if self.entry.running.cancel.is_cancelled() {
            return Some(Step::End(Err(self.entry.cancelled())));
        }
        let step = self.feed.ready()?;
        Some(self.count(step))
    }

    fn next(&mut self) -> Fut<'_, Step<Object>> {
        Box::pin(async {
            let step = tokio::select! {
                biased;
                () = self.entry.running.cancel.cancelled() => Step::End(Err(self.entry.cancelled())),
                step = self.feed.next() => step,
            };
            self.count(step)
        })
    }
}

impl Entry {
    fn cancelled(&self) -> Error {
        Error::new(&self.running.archive, Kind::Cancelled).advise("it was ended by the operator")
    }
}
