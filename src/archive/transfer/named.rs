//! What there is to be brought, by name: the archive is searched for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::archive::{Archive, Error, Kind, Retrieve, Step};
use crate::caller::Caller;
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::{Level, MatchingKey, Query};
use crate::dicom::{Tag, Uid, tags};

/// Most instances that are named when they could not be delivered.
const MOST_NAMED: usize = 60_000;

/// Why there is no list of names.
#[derive(Debug)]
pub enum Unnamed {
    /// There are more than were asked for.
    TooMany,
    /// The archive could not be searched.
    Failed(Error),
}

/// The instances of what was to be retrieved, as far as the archive names them.
pub(super) async fn named(archive: &dyn Archive, caller: &Caller, retrieve: &Retrieve) -> BTreeSet<Uid> {
    let Retrieve { target, only, .. } = retrieve;
    if !only.is_empty() || target.instance.is_some() {
        return only.iter().chain(&target.instance).cloned().collect();
    }
    let series = target.series.iter().map(|series| (tags::SERIES_INSTANCE_UID, series));
    let above = [(tags::STUDY_INSTANCE_UID, &target.study)].into_iter().chain(series);
    let keys = above.map(|(tag, uid)| key(tag, std::slice::from_ref(uid))).collect();
    let found = matches(archive, caller, Level::Instance, keys, MOST_NAMED).await.unwrap_or_default();
    found.iter().filter_map(|found| found.uid(tags::SOP_INSTANCE_UID)).collect()
}

/// A key that matches these UIDs.
pub fn key(tag: Tag, uids: &[Uid]) -> MatchingKey {
    let values = uids.iter().map(|uid| uid.as_str().to_owned()).collect();
    MatchingKey { path: tag.into(), vr: vr_of(tag), values }
}

/// All matches of a search, of which there may be so many.
///
/// # Errors
/// There are more, or the archive cannot be searched.
pub async fn matches(
    archive: &dyn Archive,
    caller: &Caller,
    level: Level,
    keys: Vec<MatchingKey>,
    most: usize,
) -> Result<Vec<Arc<DataSet>>, Unnamed> {
    let query = Query {
        level,
        within: None,
        keys,
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: Some(most + 1),
    };
    let mut search = match archive.search(caller, query).await {
        Ok(search) => search,
        Err(Error { kind: Kind::NotFound, .. }) => return Ok(Vec::new()),
        Err(error) => return Err(Unnamed::Failed(error)),
    };
    let mut found = Vec::new();
    loop {
        match search.matches.next().await {
            Step::Item(_) if found.len() >= most => {
                return Err(Unnamed::TooMany);
            }
            Step::Item(item) => found.push(item),
            Step::End(Ok(_)) => return Ok(found),
            Step::End(Err(error)) => return Err(Unnamed::Failed(error)),
        }
    }
}
