//! One object in the cache: its bytes in order, and the places up to which its readers have come.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::cache::Key;
use super::disk::{Backing, Draft};
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax;

/// Names an entry, a reader or a claim; never used twice.
pub(super) type Id = u64;

/// What one running retrieval holds outside the budget, in bytes. Changed under the cache's lock only.
pub(super) type Reserved = Arc<AtomicU64>;

/// Bytes that lie in one block of memory, and are charged and dropped together.
#[derive(Debug)]
pub(super) struct Run {
    /// Offset of its first byte in the object.
    pub(super) start: u64,
    /// Offset after its last byte.
    pub(super) end: u64,
    /// The bytes, each piece with its offset in the object.
    pub(super) pieces: Vec<(u64, Bytes)>,
    /// Bytes of memory that it holds.
    pub(super) charge: u64,
    /// Charged to the retrieval's reserve, not to the budget.
    pub(super) reserved: bool,
}

impl Run {
    /// A run of one piece.
    pub(super) fn new(start: u64, piece: Bytes, charge: u64, reserved: bool) -> Self {
        let end = start + piece.len() as u64;
        Self { start, end, pieces: vec![(start, piece)], charge, reserved }
    }

    /// Adds a piece at its end.
    pub(super) fn push(&mut self, piece: Bytes) {
        let length = piece.len() as u64;
        self.pieces.push((self.end, piece));
        self.end += length;
    }
}

/// Where one reader of an object stands.
#[derive(Debug)]
pub(super) struct Place {
    /// Whose it is.
    pub(super) reader: Id,
    /// Offset of the next byte.
    pub(super) at: u64,
    /// Whether its reader has begun: what it misses from now on is missing in an answer under way.
    pub(super) started: bool,
    /// Whom to wake when more has come; only while it waits.
    pub(super) waker: Option<Waker>,
}

/// An object, whole or on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) head: Arc<Head>,
    pub(super) series: Option<Uid>,
    pub(super) expires: Instant,
    /// All bytes are here.
    pub(super) whole: bool,
    /// Bytes that have come.
    pub(super) length: u64,
    /// Offset of the first byte that is still in memory.
    pub(super) first: u64,
    /// From `first` to `length`, without gaps.
    pub(super) runs: VecDeque<Run>,
    /// Who reads it, or will.
    pub(super) claims: HashMap<Id, Place>,
    /// How many of the claims keep it from being evicted.
    pub(super) held_by: usize,
    /// Its place in the order of eviction; `None`: it is not to be evicted.
    pub(super) stamp: Option<u64>,
    /// The reserve of the retrieval that brings it.
    pub(super) reserve: Reserved,
    /// The file that holds its bytes up to `on_file`.
    pub(super) file: Option<Backing>,
    /// Offset up to which it is on disk.
    pub(super) on_file: u64,
    /// What is written of it, between two turns.
    pub(super) draft: Option<Draft>,
    /// It waits to be written, or is being written.
    pub(super) writing: bool,
    /// Its bytes in the queue for the disk.
    pub(super) queued: u64,
    /// It could not be written.
    pub(super) unsavable: bool,
    /// It was found on disk, and nobody has looked at its bytes.
    pub(super) unverified: bool,
    /// How often something had been dropped by name when it began; `None`: it is for those alone who read it already.
    pub(super) began: Option<u64>,
}

/// What comes next for a reader.
#[derive(Debug)]
pub(super) enum Next {
    /// Bytes from memory.
    Bytes(Bytes),
    /// A block from disk: where it begins, its length, and how many bytes of it the reader has had.
    File { file: Backing, start: u64, length: u64, skip: u64 },
    /// More is to come.
    Wait,
    /// The object's good end.
    End,
    /// The object's bytes are gone.
    Broken,
}

impl Entry {
    /// What comes at offset `at`.
    pub(super) fn next(&self, at: u64) -> Next {
        if let Some(piece) = self.piece(at) {
            return Next::Bytes(piece);
        }
        match &self.file {
            _ if at >= self.length => {
                if self.whole {
                    Next::End
                } else {
                    Next::Wait
                }
            }
            Some(file) if at < self.on_file => {
                let (start, length) = Backing::block(at, self.on_file);
                Next::File { file: file.clone(), start, length, skip: at - start }
            }
            _ => Next::Broken,
        }
    }

    /// The bytes from offset `at` on, as many as lie together.
    pub(super) fn piece(&self, at: u64) -> Option<Bytes> {
        let run = self.runs.partition_point(|run| run.end <= at);
        let pieces = &self.runs.get(run)?.pieces;
        let index = pieces.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, bytes) = &pieces[index];
        let skip = usize::try_from(at - start).ok().filter(|skip| *skip < bytes.len())?;
        Some(bytes.slice(skip..))
    }

    /// Whether all that has come is still here, so that a reader can begin.
    pub(super) fn is_open(&self) -> bool {
        self.first == 0 || self.first <= self.on_file
    }

    /// Whether all of it is on disk.
    pub(super) fn is_saved(&self) -> bool {
        self.whole && self.file.is_some() && self.on_file == self.length
    }

    /// How many runs nothing is added to any more: to the last one of an object that still comes, there is.
    pub(super) fn closed_runs(&self) -> usize {
        self.runs.len() - usize::from(!self.whole && !self.runs.is_empty())
    }

    /// How many runs at its beginning are on disk.
    pub(super) fn saved_runs(&self) -> usize {
        self.runs.partition_point(|run| run.end <= self.on_file)
    }

    /// Whether it may be given to a new reader.
    pub(super) fn serves(&self, now: Instant) -> bool {
        self.is_open() && !self.unverified && (!self.whole || self.expires > now)
    }

    /// Whether it serves requests for this form: what is stored natively is in the native form too.
    pub(super) fn is_of(&self, form: Form) -> bool {
        let native = form == Form::Native && self.key.form == Form::AsStored;
        self.key.form == form || native && transfer_syntax::is_native(&self.head.transfer_syntax)
    }

    /// Bytes of memory that its runs hold, charged to the budget, and to the reserve.
    pub(super) fn charges(&self) -> (u64, u64) {
        self.runs.iter().fold((0, 0), |(shared, reserved), run| {
            if run.reserved { (shared, reserved + run.charge) } else { (shared + run.charge, reserved) }
        })
    }

    /// How many runs at its beginning every claim has passed.
    pub(super) fn passed(&self) -> usize {
        if self.writing {
            return 0;
        }
        let at = self.claims.values().map(|place| place.at).min().unwrap_or(0);
        self.runs.partition_point(|run| run.end <= at)
    }
}
