//! A sink's cursor: what of the spool it has not read yet, and how far it has brought what it has.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use super::files::{HEADER, name, split_record};
use super::{MAX_RECORD, Position, Spool};

/// Most bytes that a reader takes at a time.
const MAX_READ: u64 = 256 << 10;

/// A sink's cursor.
#[derive(Debug)]
pub(in crate::audit) struct Reader {
    spool: Spool,
    sink: String,
    at: Position,
    file: Option<(u64, File)>,
}

/// What a reader gets.
#[derive(Debug, Default)]
pub(in crate::audit) struct Batch {
    /// The records in order, each with the place behind it.
    pub(in crate::audit) records: Vec<(Vec<u8>, Position)>,
    /// A segment was damaged; what was in its rest is lost.
    pub(in crate::audit) damaged: bool,
}

impl Reader {
    /// The cursor of this sink, at what it has acknowledged last.
    pub(super) fn new(spool: Spool, sink: &str) -> Self {
        let at = spool.lock().positions.get(sink).copied().unwrap_or_default();
        Self { spool, sink: sink.to_owned(), at, file: None }
    }

    /// What comes next, as far as it is there; nothing where it is not.
    ///
    /// # Errors
    /// The disk's. What cannot be read is tried again.
    pub(in crate::audit) fn read(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let (end, length) = self.bounds();
        let is_last = self.at.segment >= end.segment;
        let length = if is_last { end.offset } else { length.unwrap_or(0) };
        if self.at.offset >= length {
            if !is_last {
                self.next_segment();
                return self.read_in_the_next();
            }
            return Ok(batch);
        }
        let most = (length - self.at.offset).min(MAX_READ.max((HEADER + MAX_RECORD) as u64));
        let mut bytes = vec![0; most as usize];
        if let Err(error) = self.fill(&mut bytes) {
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) {
                return Err(error);
            }
            if !self.spool.lock().segments.contains_key(&self.at.segment) {
                // We have, and counted what was in it.
                self.next_segment();
                return Ok(batch);
            }
            // Somebody has taken the segment away, or a part of it: nobody gets that back.
            bytes.clear();
        }
        batch.damaged = !self.split(&bytes, &mut batch.records);
        if batch.damaged {
            self.at.offset = length;
        }
        Ok(batch)
    }

    /// Takes the records that are whole out of what was read, one alone where care is taken; whether there is one.
    fn split(&mut self, bytes: &[u8], records: &mut Vec<(Vec<u8>, Position)>) -> bool {
        let care = self.spool.care(&self.sink);
        let (mut rest, begin) = (bytes, self.at);
        while let Some((record, behind)) = split_record(rest) {
            if !records.is_empty() && care.is_careful(self.at) {
                break;
            }
            rest = behind;
            let is_alone = care.is_careful(self.at);
            self.at.offset += (HEADER + record.len()) as u64;
            if !care.leaves_out(self.at) {
                records.push((record.to_vec(), self.at));
                if is_alone {
                    break;
                }
            }
        }
        self.spool.took(&self.sink, self.at, records.len());
        self.at != begin
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let (offset, file) = self.file()?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }

    /// Goes on in the next segment, without a further round for each that is empty.
    fn read_in_the_next(&mut self) -> io::Result<Batch> {
        loop {
            let (end, length) = self.bounds();
            if self.at.segment >= end.segment || length.is_some_and(|length| length > 0) {
                break;
            }
            self.next_segment();
        }
        if self.has_more() { self.read() } else { Ok(Batch::default()) }
    }

    /// The end of all records, and the length of the segment that is read, where it is there.
    fn bounds(&self) -> (Position, Option<u64>) {
        let state = self.spool.lock();
        (state.end, state.segments.get(&self.at.segment).copied())
    }

    fn next_segment(&mut self) {
        self.at = Position { segment: self.at.segment + 1, offset: 0 };
    }

    /// The file that is read, and from where.
    fn file(&mut self) -> io::Result<(u64, &mut File)> {
        if self.file.as_ref().is_none_or(|(id, _)| *id != self.at.segment) {
            let file = File::open(self.spool.0.path.join(name(self.at.segment)))?;
            self.file = Some((self.at.segment, file));
        }
        let offset = self.at.offset;
        self.file.as_mut().map(|(_, file)| (offset, file)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The sink has brought everything before this place to where it goes.
    pub(in crate::audit) fn acknowledge(&self, to: Position) {
        self.spool.acknowledge(&self.sink, to);
    }

    /// Where it reads next.
    #[cfg(test)]
    pub(in crate::audit) fn position(&self) -> Position {
        self.at
    }

    /// Goes back to what was acknowledged last.
    pub(in crate::audit) fn go_back(&mut self) {
        self.at = self.spool.lock().positions.get(&self.sink).copied().unwrap_or(self.at);
    }

    /// Whether there is something to read.
    pub(in crate::audit) fn has_more(&self) -> bool {
        self.at < self.spool.lock().end
    }

    /// Whether everything is read, and nothing more comes.
    pub(in crate::audit) fn is_at_the_end(&self) -> bool {
        let state = self.spool.lock();
        state.closed && self.at >= state.end
    }

    /// Whether nothing more comes.
    pub(in crate::audit) fn is_closed(&self) -> bool {
        self.spool.lock().closed
    }

    /// Waits on this thread until there is something to read, or nothing more comes.
    pub(in crate::audit) fn wait(&self) {
        /// After this long it looks itself, whatever it was told.
        const AT_MOST: Duration = Duration::from_secs(1);
        let state = self.spool.lock();
        if !state.closed && self.at >= state.end {
            drop(self.spool.0.grown.wait_timeout(state, AT_MOST));
        }
    }

    /// Waits until nothing more comes. Cancel-safe.
    pub(in crate::audit) async fn closed(&self) {
        loop {
            let told = self.spool.0.told.notified();
            if self.is_closed() {
                return;
            }
            told.await;
        }
    }

    /// As [`Reader::wait`], without a thread. Cancel-safe.
    pub(in crate::audit) async fn more(&self) {
        loop {
            let told = self.spool.0.told.notified();
            {
                let state = self.spool.lock();
                if state.closed || self.at < state.end {
                    return;
                }
            }
            told.await;
        }
    }
}
