//! One object in the cache: its bytes in order, and the places up to which its readers have come.

#![allow(dead_code, reason = "the engine of shared retrievals lands with the next change")]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::cache::Key;
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
}

impl Entry {
    /// The bytes from offset `at` on, as many as lie together.
    pub(super) fn piece(&self, at: u64) -> Option<Bytes> {
        let run = self.runs.partition_point(|run| run.end <= at);
        let pieces = &self.runs.get(run)?.pieces;
        let index = pieces.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, bytes) = &pieces[index];
        let skip = usize::try_from(at - start).ok().filter(|skip| *skip < bytes.len())?;
        Some(bytes.slice(skip..))
    }

    /// Whether its first byte is still here, so that a reader can begin.
    pub(super) fn is_open(&self) -> bool {
        self.first == 0
    }

    /// Whether it may be given to a new reader.
    pub(super) fn serves(&self, now: Instant) -> bool {
        self.is_open() && (!self.whole || self.expires > now)
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
        let at = self.claims.values().map(|place| place.at).min().unwrap_or(0);
        self.runs.partition_point(|run| run.end <= at)
    }
}
