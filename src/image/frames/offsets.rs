//! Offset tables: where frames begin among the fragments (PS3.5 A.4, PS3.3 C.7.6.3.1.8).
//!
//! Tables come from archives that got them from anywhere, and many are wrong. A table is taken only where it
//! has one entry for each frame, begins at zero and ascends; without one, the fragments themselves tell.

/// Most entries that are kept: 8 MiB. Of whole slide images with more tiles, those behind are found by their
/// fragments.
const MAX_ENTRIES: usize = 1 << 20;

/// Offsets of frames from the first fragment's item, ascending from zero: those up to and with the one behind
/// the last that is of interest.
#[derive(Debug)]
pub(super) struct OffsetTable(Vec<u64>);

impl OffsetTable {
    /// Whether the frame behind `frame` (from 1) begins with the item `offset` bytes behind the first fragment's;
    /// `None`: it should have begun before, in the middle of a fragment, so that the table is a wrong one.
    pub(super) fn begins_next(&self, frame: u32, offset: u64) -> Option<bool> {
        let next = usize::try_from(frame).ok().and_then(|next| self.0.get(next));
        next.map_or(Some(false), |&begin| (offset <= begin).then_some(offset == begin))
    }

    /// Whether there is a frame behind `frame` (from 1).
    pub(super) fn goes_on_behind(&self, frame: u32) -> bool {
        usize::try_from(frame).is_ok_and(|next| next < self.0.len())
    }
}

/// Reads a table as its bytes come. Memory grows with what came, never with what was announced.
#[derive(Debug)]
pub(super) struct TableReader {
    /// Length of an entry in bytes: 4 or 8.
    width: usize,
    keep: usize,
    kept: Vec<u64>,
    /// The beginning of an entry that a piece ended in.
    begun: Vec<u8>,
    count: u64,
    previous: Option<u64>,
    ascends: bool,
}

impl TableReader {
    /// For entries of `width` bytes, 4 or 8, of which those up to the one behind frame `last` are kept.
    pub(super) fn new(width: usize, last: Option<u32>) -> Self {
        let keep = last
            .map_or(MAX_ENTRIES, |last| usize::try_from(last).map_or(MAX_ENTRIES, |n| n.saturating_add(1)));
        Self {
            width,
            keep: keep.min(MAX_ENTRIES),
            kept: Vec::new(),
            begun: Vec::with_capacity(8),
            count: 0,
            previous: None,
            ascends: true,
        }
    }

    /// Adds the next bytes.
    pub(super) fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(self.width - self.begun.len()));
            self.begun.extend_from_slice(head);
            piece = rest;
            if self.begun.len() < self.width {
                return;
            }
            let entry = self.begun.iter().rev().fold(0, |entry, &byte| entry << 8 | u64::from(byte));
            self.begun.clear();
            self.count += 1;
            self.ascends &= match self.previous {
                None => entry == 0,
                Some(previous) => entry > previous,
            };
            self.previous = Some(entry);
            if self.kept.len() < self.keep {
                self.kept.push(entry);
            }
        }
    }

    /// How many entries came.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The table of offsets of so many frames; `None` where it cannot be one.
    pub(super) fn offsets(self, frames: u32) -> Option<OffsetTable> {
        let ascends = self.ascends;
        self.entries(frames).filter(|_| ascends).map(OffsetTable)
    }

    /// The entries; `None` where they are not so many, or too many to be kept.
    pub(super) fn entries(self, frames: u32) -> Option<Vec<u64>> {
        let whole = self.begun.is_empty() && self.count == u64::from(frames);
        let kept = self.kept.len() == self.keep || self.kept.len() as u64 == self.count;
        let enough = self.keep < MAX_ENTRIES || self.count <= MAX_ENTRIES as u64;
        (whole && kept && enough).then_some(self.kept)
    }
}
