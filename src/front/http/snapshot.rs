//! Results of searches, kept for a short while so that a client's next page follows its last one.
//!
//! C-FIND has no order and no paging: two searches may answer in two orders, and a study may come in between.
//! The first page (offset 0) always asks the archive, so that a list that is loaded again is up to date.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::access::Restriction;
use crate::dicom::query::Query;
use crate::dicomweb::media_type::DataSetForm;

/// How long a result is kept: as long as somebody pages, not as long as somebody looks.
const LIFETIME: Duration = Duration::from_secs(30);
/// Most results kept, the oldest give way.
const MAX_KEPT: usize = 32;
/// Most bytes kept in all results; a larger one is not kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The matches of one search, ordered.
#[derive(Debug)]
pub(super) struct Matches {
    /// Each match as text, in the form of its [`Key`].
    pub(super) entries: Vec<Box<[u8]>>,
    /// These are all; else the search was stopped when it had enough for its page.
    pub(super) complete: bool,
    /// What the archive could not do of what was asked.
    pub(super) warnings: Vec<String>,
}

/// Which search a result belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The archive's name.
    archive: String,
    /// The URL of the service, which the entries have in them.
    pub(super) service_url: String,
    /// The query without its paging.
    query: Query,
    form: DataSetForm,
    /// What who asked is confined to: others have other matches.
    restriction: Option<Arc<Restriction>>,
}

impl Key {
    /// The key of a search, whatever page it asks for.
    pub(super) fn new(
        archive: &str,
        service_url: &str,
        query: &Query,
        form: DataSetForm,
        restriction: Option<Arc<Restriction>>,
    ) -> Self {
        let query = Query { limit: None, offset: 0, ..query.clone() };
        Self { archive: archive.to_owned(), service_url: service_url.to_owned(), query, form, restriction }
    }
}

/// The results that are kept.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    key: Key,
    since: Instant,
    bytes: usize,
    matches: Arc<Matches>,
}

impl Snapshots {
    /// The result of this search, where it is kept and reaches to the entry `needed`, counted from 1.
    pub(super) fn find(&self, key: &Key, needed: usize) -> Option<Arc<Matches>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|kept| kept.since.elapsed() < LIFETIME && kept.key == *key)?;
        let enough = found.matches.complete || found.matches.entries.len() >= needed;
        enough.then(|| Arc::clone(&found.matches))
    }

    /// Keeps a result in place of an older one of the same search.
    pub(super) fn keep(&self, key: Key, matches: Arc<Matches>) {
        let bytes = matches.entries.iter().map(|entry| entry.len()).sum();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.since.elapsed() < LIFETIME && kept.key != key);
        if bytes > MAX_BYTES {
            return;
        }
        kept.push_back(Kept { key, since: Instant::now(), bytes, matches });
        while kept.len() > MAX_KEPT || kept.iter().map(|kept| kept.bytes).sum::<usize>() > MAX_BYTES {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::query::Level;
    use crate::dicomweb::request::{SearchResource, search};

    fn key(query: &str) -> Key {
        let resource = SearchResource { level: Level::Study, study: None, series: None };
        Key::new("main", "http://x", &search(&resource, query).unwrap().query, DataSetForm::DicomJson, None)
    }

    fn matches(count: usize, length: usize, complete: bool) -> Arc<Matches> {
        let entries = vec![vec![0; length].into_boxed_slice(); count];
        Arc::new(Matches { entries, complete, warnings: Vec::new() })
    }

    #[test]
    fn pages_of_one_search_share_a_result_and_other_searches_do_not() {
        let snapshots = Snapshots::default();
        snapshots.keep(key("PatientID=1&limit=5"), matches(10, 1, false));
        assert!(snapshots.find(&key("PatientID=1&limit=5&offset=5"), 10).is_some());
        assert!(snapshots.find(&key("PatientID=1"), 11).is_none(), "it does not reach that far");
        assert!(snapshots.find(&key("PatientID=2"), 1).is_none());
        snapshots.keep(key("PatientID=1"), matches(10, 1, true));
        assert!(snapshots.find(&key("PatientID=1"), 11).is_some(), "a complete one reaches everywhere");
    }

    #[test]
    fn a_result_is_not_for_another_archive_whatever_the_url_says() {
        let snapshots = Snapshots::default();
        snapshots.keep(key("PatientID=1"), matches(1, 1, true));
        let other = Key { archive: "other".to_owned(), ..key("PatientID=1") };
        assert!(snapshots.find(&other, 1).is_none());
    }

    #[test]
    fn a_result_is_not_for_who_is_confined_otherwise() {
        let confined = |id: &str| {
            let restriction = Restriction { patients: [id.to_owned()].into(), ..Restriction::default() };
            Key { restriction: Some(Arc::new(restriction)), ..key("PatientName=A") }
        };
        let snapshots = Snapshots::default();
        snapshots.keep(key("PatientName=A"), matches(1, 1, true));
        snapshots.keep(confined("1"), matches(1, 1, true));
        assert!(snapshots.find(&confined("1"), 1).is_some());
        assert!(snapshots.find(&confined("2"), 1).is_none());
    }

    #[test]
    fn their_number_and_size_are_bounded() {
        let snapshots = Snapshots::default();
        for n in 0..=MAX_KEPT {
            snapshots.keep(key(&format!("PatientID={n}")), matches(1, 1, true));
        }
        assert!(snapshots.find(&key("PatientID=0"), 1).is_none());
        assert!(snapshots.find(&key("PatientID=1"), 1).is_some());
        snapshots.keep(key("PatientID=big"), matches(1, MAX_BYTES, true));
        assert!(
            snapshots.find(&key("PatientID=1"), 1).is_none()
                && snapshots.find(&key("PatientID=big"), 1).is_some()
        );
        snapshots.keep(key("PatientID=bigger"), matches(1, MAX_BYTES + 1, true));
        assert!(snapshots.find(&key("PatientID=bigger"), 1).is_none());
    }
}
