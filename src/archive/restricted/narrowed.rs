//! The searches that together have the matches which a client may see, one after the other: whose a study is, is found out
//! when its turn comes, so that the first matches do not wait for the last study.

use std::collections::VecDeque;

use super::{Restricted, searched_study, with_key};
use crate::archive::{Result, Search};
use crate::caller::Caller;
use crate::dicom::query::Query;
use crate::dicom::{Uid, VR, tags};

/// How many studies' owners are asked for at a time: with their UIDs an identifier of some 6 KiB.
pub(super) const PORTION: usize = 100;

/// Searches that have not been made yet.
#[derive(Clone)]
pub(super) struct Narrowed {
    restricted: Restricted,
    caller: Caller,
    queries: VecDeque<Query>,
    /// Studies of which nobody knows yet whether they are the client's.
    waiting: VecDeque<Uid>,
    /// What is searched for in each of them.
    within: Option<Query>,
}

/// A search that has begun.
pub(super) struct Begun {
    /// The study that it is in, where it is one.
    pub(super) study: Option<Uid>,
    pub(super) search: Search,
}

impl Narrowed {
    /// These.
    pub(super) fn to(restricted: Restricted, caller: Caller, queries: Vec<Query>) -> Self {
        Self { restricted, caller, queries: queries.into(), waiting: VecDeque::new(), within: None }
    }

    /// The same search in each of these studies that is the client's.
    pub(super) fn within(
        restricted: Restricted,
        caller: Caller,
        query: Query,
        studies: impl IntoIterator<Item = Uid>,
    ) -> Self {
        let waiting = studies.into_iter().collect();
        Self { restricted, caller, queries: VecDeque::new(), waiting, within: Some(query) }
    }

    /// Begins the next search; `None`: there is none.
    ///
    /// # Errors
    /// The archive could not be asked, for matches or for whose a study is.
    pub(super) async fn begin(&mut self) -> Result<Option<Begun>> {
        let Some(query) = self.next().await? else { return Ok(None) };
        let study = searched_study(&query);
        let search = self.restricted.archive.search(&self.caller, query).await?;
        Ok(Some(Begun { study, search }))
    }

    async fn next(&mut self) -> Result<Option<Query>> {
        loop {
            if let Some(query) = self.queries.pop_front() {
                return Ok(Some(query));
            }
            let Some(query) = self.within.as_ref().filter(|_| !self.waiting.is_empty()) else {
                return Ok(None);
            };
            let portion: Vec<Uid> = self.waiting.drain(..PORTION.min(self.waiting.len())).collect();
            let own = self.restricted.own_of(&self.caller, portion).await?;
            let of = |study: Uid| {
                with_key(query.clone(), tags::STUDY_INSTANCE_UID, VR::UI, vec![study.to_string()])
            };
            self.queries = own.into_iter().map(of).collect();
        }
    }
}
