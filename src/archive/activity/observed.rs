//! An archive of which is noted how it does what it is asked.

use std::sync::Arc;

use super::super::dimse::DimseArchive;
use super::super::relay::{Asked, Exchange, Invocation, Opening, Own, Relay, Taken};
use super::super::{Archive, Associations, Fut, Manner, Result, Retrieval, Retrieve, Search, Stored};
use super::{Activity, Attempt};
use crate::caller::Caller;
use crate::dicom::charset::Charset;
use crate::dicom::object::Object;
use crate::dicom::query::Query;

/// An archive that is watched.
pub struct Observed {
    archive: Arc<dyn Archive>,
    activity: Activity,
}

impl Observed {
    /// Watches `archive`, and tells `activity`.
    pub fn new(archive: Arc<dyn Archive>, activity: Activity) -> Self {
        Self { archive, activity }
    }

    /// Does something, and notes how it went.
    fn noting<'a, T: Send + 'a>(
        &'a self,
        caller: &Caller,
        attempt: Attempt,
        work: Fut<'a, Result<T>>,
    ) -> Fut<'a, Result<T>> {
        let caller = caller.clone();
        Box::pin(async move {
            let went = work.await;
            self.activity.note(self.archive.name(), &caller, attempt, went.as_ref());
            went
        })
    }

    /// Notes how what has begun ends.
    fn hook<T>(
        &self,
        caller: &Caller,
        attempt: Attempt,
    ) -> impl FnOnce(&Result<T>) + Send + 'static + use<T> {
        let (activity, archive, caller) =
            (self.activity.clone(), self.archive.name().to_owned(), caller.clone());
        move |end| activity.note(&archive, &caller, attempt, end.as_ref())
    }
}

impl Archive for Observed {
    fn name(&self) -> &str {
        self.archive.name()
    }

    fn scope(&self) -> &str {
        self.archive.scope()
    }

    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>> {
        let hook = self.hook(caller, Attempt::Search);
        let search = self.noting(caller, Attempt::Search, self.archive.search(caller, query));
        Box::pin(async move {
            let Search { matches, warnings } = search.await?;
            Ok(Search { matches: matches.ending(hook), warnings })
        })
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        let hook = self.hook(caller, Attempt::Retrieval);
        let retrieval = self.noting(caller, Attempt::Retrieval, self.archive.retrieve(caller, retrieve));
        Box::pin(async move {
            let retrieval = retrieval.await?;
            Ok(Retrieval { objects: retrieval.objects.ending(hook), ..retrieval })
        })
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>> {
        self.noting(caller, Attempt::Store, self.archive.store(caller, object))
    }

    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, Result<Stored>> {
        self.noting(caller, Attempt::Store, self.archive.store_as(caller, object, manner))
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
        self.archive.relay().map(|_| self as &dyn Relay)
    }

    fn dimse(&self) -> Option<&DimseArchive> {
        self.archive.dimse()
    }

    fn names_client(&self) -> bool {
        self.archive.names_client()
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>> {
        self.noting(caller, Attempt::Echo, self.archive.verify(caller))
    }
}

impl Observed {
    /// Whose messages are passed on: this is asked only where there is one.
    fn behind(&self) -> &dyn Relay {
        self.archive.relay().expect("an archive stays one to which messages can be passed on")
    }
}

impl Relay for Observed {
    fn takes<'a>(&'a self, caller: &'a Caller, asked: &'a [Asked]) -> Fut<'a, Vec<Taken>> {
        Box::pin(async move {
            let taken = self.behind().takes(caller, asked).await;
            for one in &taken {
                if let Taken::Unknown(error) = one {
                    self.activity.note::<()>(self.archive.name(), caller, Attempt::Message, Err(error));
                    // One failure makes all of them unknown.
                    break;
                }
            }
            taken
        })
    }

    fn invoke<'a>(&'a self, caller: &'a Caller, invocation: Invocation) -> Fut<'a, Result<Exchange>> {
        self.noting(caller, Attempt::Message, self.behind().invoke(caller, invocation))
    }

    fn open<'a>(&'a self, caller: &'a Caller, opening: Opening) -> Fut<'a, Result<Own>> {
        self.noting(caller, Attempt::Message, self.behind().open(caller, opening))
    }
}
