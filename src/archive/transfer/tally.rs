//! What has become of the objects of a transfer. No I/O.

use std::collections::BTreeSet;

use crate::dicom::Uid;

/// Counts the sub-operations of one transfer.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// How many there are going to be, as far as is known.
    expected: usize,
    completed: usize,
    warning: usize,
    failed: BTreeSet<Uid>,
    /// Further ones that failed, and that nobody can name.
    unnamed: usize,
}

/// What has become of a sub-operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object is delivered.
    Completed,
    /// It is delivered, with reservations of the receiver.
    Warning,
    /// It is not.
    Failed,
}

impl Tally {
    /// There are going to be so many sub-operations; fewer than were known of before say nothing.
    pub fn expect(&mut self, count: usize) {
        self.expected = self.expected.max(count);
    }

    /// A sub-operation has ended. One that fails twice is counted once.
    pub fn count(&mut self, instance: &Uid, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Warning => self.warning += 1,
            Outcome::Failed => drop(self.failed.insert(instance.clone())),
        }
    }

    /// So many objects did not come, and nobody knows which.
    pub fn fail_unnamed(&mut self, count: usize) {
        self.unnamed += count;
    }

    /// How many sub-operations there are going to be, as far as is known.
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// How many sub-operations have ended.
    pub fn done(&self) -> usize {
        self.delivered() + self.failed()
    }

    /// How many are still to come, of those that are expected.
    pub fn left(&self) -> usize {
        self.expected.saturating_sub(self.done())
    }

    /// How many objects are where they are to be.
    pub fn delivered(&self) -> usize {
        self.completed + self.warning
    }

    /// How many of these without reservations.
    pub fn completed(&self) -> usize {
        self.completed
    }

    /// How many with reservations of the receiver.
    pub fn warning(&self) -> usize {
        self.warning
    }

    /// How many objects are not where they are to be.
    pub fn failed(&self) -> usize {
        self.failed.len() + self.unnamed
    }

    /// Those of them that can be named.
    pub fn named_failures(&self) -> impl Iterator<Item = &Uid> {
        self.failed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_fails_twice_is_counted_once() {
        let mut tally = Tally::default();
        tally.expect(2);
        for _ in 0..2 {
            tally.count(&Uid::from_static("1.2.0"), Outcome::Failed);
        }
        assert_eq!((tally.done(), tally.left()), (1, 1));
    }
}
