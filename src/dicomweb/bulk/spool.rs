//! Bytes that are written once, one after the other, and then read at any place: in memory, or on disk when there
//! are many.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::spawn_blocking;

/// Bytes that are gathered for one write to the disk.
const WRITE: usize = 1 << 20;

/// The writing end.
#[derive(Debug)]
pub(super) struct Spool {
    /// Most bytes that stay in memory.
    max_in_memory: usize,
    /// What is not on disk.
    buffer: Vec<u8>,
    file: Option<File>,
    length: u64,
}

/// The reading end; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::dicomweb) enum Spooled {
    Memory(Bytes),
    /// A file has one position, so that one reads at a time.
    File(Arc<Mutex<File>>),
}

impl Spool {
    pub(super) fn new(max_in_memory: usize) -> Self {
        Self { max_in_memory, buffer: Vec::new(), file: None, length: 0 }
    }

    /// How many bytes were pushed.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes. After an error, or a call that was dropped, nothing more is to be read of it.
    pub(super) async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.buffer.extend_from_slice(&bytes);
        let limit = if self.file.is_some() { WRITE } else { self.max_in_memory };
        if self.buffer.len() > limit { self.write().await } else { Ok(()) }
    }

    pub(super) async fn finish(mut self) -> io::Result<Spooled> {
        if self.file.is_some() {
            self.write().await?;
        }
        Ok(match self.file {
            Some(file) => Spooled::File(Arc::new(Mutex::new(file))),
            None => Spooled::Memory(self.buffer.into()),
        })
    }

    async fn write(&mut self) -> io::Result<()> {
        let (file, mut buffer) = (self.file.take(), std::mem::take(&mut self.buffer));
        let written = spawn_blocking(move || {
            // Without a name from the beginning, the file is gone with its last handle, even after a crash.
            let mut file = file.map_or_else(tempfile::tempfile, Ok)?;
            file.write_all(&buffer)?;
            buffer.clear();
            buffer.shrink_to(2 * WRITE);
            Ok::<_, io::Error>((file, buffer))
        });
        let (file, buffer) = written.await.map_err(io::Error::other)??;
        (self.file, self.buffer) = (Some(file), buffer);
        Ok(())
    }
}

impl Spooled {
    /// The bytes of the range, which the caller keeps small.
    pub(in crate::dicomweb) async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(range.start).map_err(io::Error::other)?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(bytes.slice(start..end))
            }
            Self::File(file) => {
                let file = Arc::clone(file);
                let read = spawn_blocking(move || {
                    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut bytes = vec![0; length];
                    file.seek(SeekFrom::Start(range.start))?;
                    file.read_exact(&mut bytes)?;
                    Ok(bytes.into())
                });
                read.await.map_err(io::Error::other)?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_pushed_is_read_from_memory_and_from_disk() {
        let all: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        for (max_in_memory, on_disk) in [(all.len(), false), (all.len() - 1, true), (1000, true), (0, true)] {
            let mut spool = Spool::new(max_in_memory);
            for piece in all.chunks(333_333) {
                spool.push(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            assert_eq!(spool.length(), all.len() as u64);
            let spooled = spool.finish().await.unwrap();
            assert_eq!(matches!(spooled, Spooled::File(_)), on_disk, "{max_in_memory}");
            for range in [0..0, 0..10, 999..1001, 1_048_570..1_048_590, 3_999_990..4_000_000, 0..4_000_000] {
                let bytes = spooled.read(range.clone()).await.unwrap();
                assert_eq!(bytes, all[range.start as usize..range.end as usize]);
            }
            assert!(spooled.read(3_999_999..4_000_001).await.is_err());
        }
    }
}
