//! Records on disk between whoever makes them and the sinks that want them, so that a receiver may be away and the
//! bridge may crash.
//!
//! Records are appended to segments, each with its length and a checksum. A sink reads them with a cursor of its own,
//! and says how far it has brought them; segments that all sinks have behind them are deleted. What a crash leaves
//! half written is cut off at the next start.

mod care;
mod files;
mod reader;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub(super) use reader::{Batch, Reader};

use care::Care;
use files::{
    HEADER, cut_off_what_is_unfinished, id_of, name, new_segment, private, put_record, read_positions,
    records_behind, write_positions,
};

/// Longest record, in bytes. A message has 32 KiB as XML, and less as JSON.
pub(super) const MAX_RECORD: usize = 64 << 10;
/// A segment is closed when it has this part of the spool's size.
const PARTS: u64 = 16;
/// The file that whoever has the spool holds locked.
const LOCK: &str = "lock";

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    segment: u64,
    offset: u64,
}

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} as spool of the audit trail (audit.spool.path): {source}")]
pub struct SpoolError {
    path: PathBuf,
    source: io::Error,
}

/// The spool, as its readers know it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    grown: Condvar,
    told: Notify,
}

#[derive(Debug)]
struct State {
    /// Behind the last record.
    end: Position,
    /// Every segment there is, with its length in bytes.
    segments: BTreeMap<u64, u64>,
    /// How far each sink has brought the records.
    positions: BTreeMap<String, Position>,
    /// What is known of the sinks that have broken down.
    care: BTreeMap<String, Care>,
    /// Nothing more comes.
    closed: bool,
}

/// The end at which records are appended; there is one.
#[derive(Debug)]
pub(super) struct Appender {
    spool: Spool,
    size: u64,
    file: File,
    /// Appended, and not written yet.
    pending: Vec<u8>,
    records: usize,
    /// What was recorded of the positions last.
    recorded: BTreeMap<String, Position>,
    /// Bytes are written that the disk may not have yet.
    unsynced: bool,
    _lock: File,
}

/// What a sink does not get, so that the others go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) sink: String,
    /// How many records.
    pub(super) records: u64,
}

/// Opens the spool at `path`, of at most `size` bytes, for these sinks: one that is new gets what comes from now on.
///
/// # Errors
/// The directory cannot be made, read or written, or another process has it.
pub(super) fn open(path: &Path, size: u64, sinks: &[&str]) -> Result<(Spool, Appender), SpoolError> {
    let fail = |source| SpoolError { path: path.to_owned(), source };
    open_in(path, size, sinks).map_err(fail)
}

fn open_in(path: &Path, size: u64, sinks: &[&str]) -> io::Result<(Spool, Appender)> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let lock = private().write(true).create(true).truncate(false).open(path.join(LOCK))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"),
        TryLockError::Error(error) => error,
    })?;
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Some(id) = id_of(&entry.file_name().to_string_lossy()) {
            segments.insert(id, entry.metadata()?.len());
        }
    }
    if let Some((id, length)) = segments.iter_mut().next_back() {
        *length = cut_off_what_is_unfinished(&path.join(name(*id)))?;
    }
    let had_segments = !segments.is_empty();
    // Never into a segment that a crash may have damaged: a new one begins.
    let id = segments.keys().next_back().map_or(1, |last| last + 1);
    let file = new_segment(path, id)?;
    segments.insert(id, 0);
    let end = Position { segment: id, offset: 0 };
    let first = segments.keys().next().copied().unwrap_or(id);
    let (known, is_whole) = read_positions(path)?;
    let first = Position { segment: first, offset: 0 };
    // What is left of an earlier time belongs to whoever was to have it; nobody else is given it.
    let is_lost = had_segments && !is_whole;
    if is_lost {
        tracing::warn!(
            path = %path.display(),
            "the audit spool does not say any more how far its sinks were: they begin at its first message, and may get some twice"
        );
    }
    let unknown = if is_lost { first } else { end };
    let place = |sink: &&str| {
        let known = known.get(*sink).copied().unwrap_or(unknown);
        ((*sink).to_owned(), known.max(first).min(end))
    };
    let positions = sinks.iter().map(place).collect();
    let state = State { end, segments, positions, care: BTreeMap::new(), closed: false };
    let shared = Shared {
        path: path.to_owned(),
        state: Mutex::new(state),
        grown: Condvar::new(),
        told: Notify::new(),
    };
    let spool = Spool(Arc::new(shared));
    let mut appender = Appender {
        spool: spool.clone(),
        size,
        file,
        pending: Vec::new(),
        records: 0,
        recorded: BTreeMap::new(),
        unsynced: false,
        _lock: lock,
    };
    appender.sweep()?;
    Ok((spool, appender))
}

impl Appender {
    /// Appends a record, to be written by [`Appender::flush`]. `false`: there is no room for it, or it is longer than
    /// [`MAX_RECORD`].
    pub(super) fn append(&mut self, record: &[u8]) -> bool {
        let length = (HEADER + record.len()) as u64;
        let total: u64 = self.spool.lock().segments.values().sum();
        if record.len() > MAX_RECORD || total + self.pending.len() as u64 + length > self.size {
            return false;
        }
        put_record(&mut self.pending, record);
        self.records += 1;
        true
    }

    /// Writes what was appended, and tells the readers. How many records are lost, where that fails.
    ///
    /// # Errors
    /// The number of records that are lost, and why.
    pub(super) fn flush(&mut self) -> Result<(), (usize, io::Error)> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (pending, records) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.records));
        let end = self.spool.lock().end;
        let written = self.begin_segment_when_full(end).and_then(|end| {
            let written = self.file.write_all(&pending);
            if written.is_err() {
                // A record of which only a part is there would end the segment for its readers.
                let _ = self.file.set_len(end.offset);
                let _ = self.file.seek(SeekFrom::Start(end.offset));
            }
            written.map(|()| Position { offset: end.offset + pending.len() as u64, ..end })
        });
        let end = written.map_err(|error| (records, error))?;
        let mut state = self.spool.lock();
        state.segments.insert(end.segment, end.offset);
        state.end = end;
        drop(state);
        self.unsynced = true;
        self.spool.wake();
        Ok(())
    }

    fn begin_segment_when_full(&mut self, end: Position) -> io::Result<Position> {
        if end.offset < (self.size / PARTS).max(1) {
            return Ok(end);
        }
        // Later it would be the new one that is brought to the disk.
        self.file.sync_data()?;
        let end = Position { segment: end.segment + 1, offset: 0 };
        self.file = new_segment(&self.spool.0.path, end.segment)?;
        let mut state = self.spool.lock();
        state.segments.insert(end.segment, 0);
        state.end = end;
        Ok(end)
    }

    /// Brings what was written to the disk itself, records how far the sinks are, and deletes what all have behind
    /// them.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn sweep(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        let (positions, end) = {
            let state = self.spool.lock();
            (state.positions.clone(), state.end)
        };
        // Where that fails, what all have behind them is deleted all the same: it may be the room that was missing, and
        // a position before the first segment means the first.
        let mut recorded = Ok(());
        if positions != self.recorded {
            recorded = write_positions(&self.spool.0.path, &positions);
            if recorded.is_ok() {
                self.recorded.clone_from(&positions);
            }
        }
        let needed = positions.values().map(|at| at.segment).min().unwrap_or(end.segment).min(end.segment);
        let mut state = self.spool.lock();
        let kept = state.segments.split_off(&needed);
        let done = std::mem::replace(&mut state.segments, kept);
        drop(state);
        let remove = |id| match fs::remove_file(self.spool.0.path.join(name(id))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        // One that cannot be deleted keeps none of the others.
        done.into_keys().map(remove).fold(recorded, io::Result::and)
    }

    /// Makes room where there is none because of sinks that are away: those that still need the oldest segment, while
    /// another has it behind it, are moved past it, and miss what was in it. Nothing, where all need it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn make_room(&mut self) -> io::Result<Vec<Missed>> {
        let (oldest, late) = {
            let state = self.spool.lock();
            let Some(oldest) = state.segments.keys().next().copied() else { return Ok(Vec::new()) };
            let late = |(sink, at): (&String, &Position)| (at.segment <= oldest).then(|| (sink.clone(), *at));
            let late: Vec<_> = state.positions.iter().filter_map(late).collect();
            if oldest >= state.end.segment || late.len() == state.positions.len() {
                return Ok(Vec::new());
            }
            (oldest, late)
        };
        let path = self.spool.0.path.join(name(oldest));
        let mut missed = Vec::new();
        for (sink, at) in late {
            let offset = if at.segment == oldest { at.offset } else { 0 };
            let records = records_behind(&path, offset)?;
            self.spool.acknowledge(&sink, Position { segment: oldest + 1, offset: 0 });
            missed.push(Missed { sink, records });
        }
        self.sweep()?;
        Ok(missed)
    }

    /// Bytes that some sink does not have yet.
    pub(super) fn waiting(&self) -> u64 {
        self.spool.waiting()
    }

    /// Nothing more comes: readers that have read to the end may leave.
    pub(super) fn close(&self) {
        self.spool.lock().closed = true;
        self.spool.wake();
    }
}

impl Spool {
    /// The cursor of a sink, where it has not been before.
    pub(super) fn reader(&self, sink: &str) -> Reader {
        Reader::new(self.clone(), sink)
    }

    /// Bytes that some sink does not have yet.
    pub(super) fn waiting(&self) -> u64 {
        let state = self.lock();
        let slowest = state.positions.values().min().copied().unwrap_or(state.end);
        let behind: u64 = state.segments.range(slowest.segment..).map(|(_, length)| length).sum();
        behind.saturating_sub(slowest.offset)
    }

    /// The sink has everything behind it that is before this place.
    fn acknowledge(&self, sink: &str, to: Position) {
        let mut state = self.lock();
        let at = state.positions.entry(sink.to_owned()).or_default();
        // It may have been moved on meanwhile.
        *at = (*at).max(to);
    }

    /// What is known of a sink that has broken down.
    fn care(&self, sink: &str) -> Care {
        self.lock().care.get(sink).cloned().unwrap_or_default()
    }

    /// The sink has read so many records, up to here.
    fn took(&self, sink: &str, behind: Position, records: usize) {
        self.lock().care.entry(sink.to_owned()).or_default().took(behind, records);
    }

    /// The sink has broken down over what it has read last. Whether it is left out from now on: a record over which it
    /// has broken down alone, and twice.
    pub(super) fn broke_down(&self, sink: &str) -> bool {
        self.lock().care.entry(sink.to_owned()).or_default().broke_down()
    }

    /// Waits on this thread for so long, or until nothing more comes, which is the answer.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.grown.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closed
    }

    fn wake(&self) {
        self.0.grown.notify_all();
        self.0.told.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
