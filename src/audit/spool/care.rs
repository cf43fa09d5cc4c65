//! What is known of a sink that has broken down: which record it may have been.
//!
//! After a breakdown its records are read one at a time as far as it had read before. One that was read alone, and over
//! which it broke down twice, is left out.

use std::collections::BTreeSet;

use super::Position;

/// What is known of one sink. Records are known by the place behind them.
#[derive(Debug, Clone, Default)]
pub(super) struct Care {
    /// Behind what was read last.
    taken: Position,
    /// That was one record alone.
    alone: bool,
    /// Up to here one record is read at a time.
    until: Position,
    /// Over this one it has broken down once.
    suspect: Option<Position>,
    /// Those that are left out. Few: each has cost three breakdowns.
    left_out: BTreeSet<Position>,
}

impl Care {
    /// Whether the record that begins here is to be read alone.
    pub(super) fn is_careful(&self, at: Position) -> bool {
        at < self.until
    }

    /// Whether this record is left out.
    pub(super) fn leaves_out(&self, behind: Position) -> bool {
        self.left_out.contains(&behind)
    }

    /// So many records were read, up to here.
    pub(super) fn took(&mut self, behind: Position, records: usize) {
        if records > 0 {
            (self.taken, self.alone) = (behind, records == 1);
        }
    }

    /// The sink has broken down over what was read last. Whether a record is left out from now on.
    pub(super) fn broke_down(&mut self) -> bool {
        self.until = self.until.max(self.taken);
        if !self.alone {
            return false;
        }
        let again = self.suspect.replace(self.taken) == Some(self.taken);
        if again {
            self.left_out.insert(self.taken);
        }
        again
    }
}
