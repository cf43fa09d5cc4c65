//! The matches of one search, each as long as somebody is still to read it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::archive::{Complete, Error, Result};
use crate::dicom::dataset::{DataSet, Step, Value};

/// Names a reader of one log.
pub(super) type Id = u64;

/// What has come of a search, and how far each of its readers is.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The warnings, or why it did not come about; `None`: it has not opened yet.
    pub(super) opened: Option<Result<Vec<String>>>,
    pub(super) end: Option<Result<Complete>>,
    matches: VecDeque<Match>,
    /// The number of the first of `matches`, counted from 0 over all that came.
    first: usize,
    bytes: usize,
    /// What all readers have is dropped, so that nobody can join any more.
    is_closed: bool,
    readers: Vec<Place>,
    last_id: Id,
}

#[derive(Debug)]
struct Match {
    data_set: Arc<DataSet>,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    id: Id,
    /// The number of the match that it reads next.
    next: usize,
}

impl Log {
    /// Adds a reader, from the first match on; `None` where that is not there any more.
    pub(super) fn join(&mut self) -> Option<Id> {
        (!self.is_closed).then(|| {
            self.last_id += 1;
            self.readers.push(Place { id: self.last_id, next: 0 });
            self.last_id
        })
    }

    /// A reader leaves.
    pub(super) fn leave(&mut self, id: Id) {
        self.readers.retain(|place| place.id != id);
        self.trim();
    }

    /// Whether the reader was not cut off.
    pub(super) fn serves(&self, id: Id) -> bool {
        self.readers.iter().any(|place| place.id == id)
    }

    /// Whether something is there that the reader has not got.
    pub(super) fn has_news(&self, id: Id) -> bool {
        let next = self.readers.iter().find(|place| place.id == id).map(|place| place.next);
        next.is_none_or(|next| next < self.first + self.matches.len()) || self.end.is_some()
    }

    /// Moves the reader on over at most `most` matches, which it is given.
    pub(super) fn take(&mut self, id: Id, most: usize, into: &mut VecDeque<Arc<DataSet>>) {
        let Some(place) = self.readers.iter_mut().find(|place| place.id == id) else { return };
        let begin = place.next - self.first;
        let end = self.matches.len().min(begin + most);
        into.extend(self.matches.range(begin..end).map(|m| Arc::clone(&m.data_set)));
        place.next = self.first + end;
        self.trim();
    }

    /// Adds a match of this weight.
    pub(super) fn push(&mut self, data_set: Arc<DataSet>, bytes: usize) {
        self.bytes += bytes;
        self.matches.push_back(Match { data_set, bytes });
    }

    /// Bytes of the matches that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody can join any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// From now on only what some reader has not got is held.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.trim();
    }

    /// Cuts off whoever is behind most, and is not the reader `driver`.
    pub(super) fn cut_slowest(&mut self, driver: Id) {
        let others = self.readers.iter().filter(|place| place.id != driver);
        if let Some(slowest) = others.min_by_key(|place| place.next).map(|place| place.id) {
            self.leave(slowest);
        }
    }

    /// The end as one more reader is told it.
    pub(super) fn told_end(&self) -> Option<Result<Complete>> {
        let end = self.end.as_ref()?;
        Some(end.as_ref().map(Complete::share).map_err(Error::clone))
    }

    fn trim(&mut self) {
        if !self.is_closed {
            return;
        }
        let came = self.first + self.matches.len();
        let wanted = self.readers.iter().map(|place| place.next).min().unwrap_or(came);
        for dropped in self.matches.drain(..wanted - self.first) {
            self.bytes -= dropped.bytes;
        }
        self.first = wanted;
    }
}

/// About what a data set takes in memory, in bytes.
pub(super) fn weight(data_set: &DataSet) -> usize {
    /// An element with its place in the tree, or an item.
    const ELEMENT: usize = 80;
    /// A text besides its characters: its own length, and what the allocator adds.
    const TEXT: usize = 40;
    let element = |step| match step {
        Step::Element(_, element) => {
            ELEMENT
                + match &element.value {
                    Value::Strings(values) => values.iter().map(|value| TEXT + value.len()).sum(),
                    Value::Bytes(bytes) => bytes.len(),
                    Value::Items(_) => 0,
                }
        }
        Step::Item => ELEMENT,
        Step::ItemEnd | Step::SequenceEnd => 0,
    };
    ELEMENT + data_set.walk().map(element).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{VR, tags};

    fn study(number: usize) -> Arc<DataSet> {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, format!("1.{number}"));
        Arc::new(data_set)
    }

    fn taken(log: &mut Log, id: Id, most: usize) -> usize {
        let mut into = VecDeque::new();
        log.take(id, most, &mut into);
        into.len()
    }

    #[test]
    fn a_late_reader_gets_everything_from_the_first_match_on() {
        let mut log = Log::default();
        let early = log.join().unwrap();
        (0..5).for_each(|n| log.push(study(n), 100));
        assert_eq!(taken(&mut log, early, 64), 5);
        let late = log.join().unwrap();
        let mut into = VecDeque::new();
        log.take(late, 64, &mut into);
        assert_eq!(into, (0..5).map(study).collect::<Vec<_>>());
        assert!(!log.has_news(late) && !log.has_news(early));
        assert_eq!(log.bytes(), 500);
    }

    #[test]
    fn a_closed_log_holds_what_its_slowest_reader_wants_and_nobody_joins() {
        let mut log = Log::default();
        let (fast, slow) = (log.join().unwrap(), log.join().unwrap());
        (0..10).for_each(|n| log.push(study(n), 100));
        log.close();
        assert_eq!((taken(&mut log, fast, 10), taken(&mut log, slow, 4), log.bytes()), (10, 4, 600));
        assert_eq!(log.join(), None);
        log.cut_slowest(fast);
        assert_eq!((log.bytes(), log.serves(slow), log.serves(fast)), (0, false, true));
        assert!(log.has_news(slow), "it is to learn that it was cut off");
        log.cut_slowest(fast);
        assert!(log.serves(fast), "who drives is never cut off");
    }

    #[test]
    fn the_weight_of_a_match_is_not_far_from_what_it_takes() {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PATIENT_COMMENTS, VR::LT, "x".repeat(10_000));
        assert!((10_000..10_400).contains(&weight(&data_set)));
        let mut outer = DataSet::new();
        outer.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![data_set; 3]);
        assert!(weight(&outer) > 30_000);
    }
}
