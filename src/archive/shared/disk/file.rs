//! One object's file: written block by block under a temporary name, and read block by block.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{self, BLOCK, DIGEST, Damaged, Description, Digest, MAX_HEAD, TAIL};
use super::space::{Slot, Space};

/// An object that is being written. Dropped before it is finished, its file goes with the last that reads it.
#[derive(Debug)]
pub(in crate::archive::shared) struct Draft {
    backing: Backing,
    name: String,
    length: u64,
    head_length: u64,
}

/// Where the bytes of an object lie on disk. Cheap to clone; as long as there is one, the file is there.
#[derive(Debug, Clone)]
pub(in crate::archive::shared) struct Backing {
    slot: Arc<Slot>,
    /// While it is written, the file is open; later it is opened for each read, so that thousands of objects need no
    /// thousands of handles.
    file: Option<Arc<File>>,
    /// Where the blocks begin.
    start: u64,
    digest: Digest,
}

/// An object that was found on disk: its length and what it is are verified.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) description: Description,
    pub(super) backing: Backing,
    pub(super) length: u64,
}

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Refused {
    /// It does not fit: the tier is full of what is in use.
    Full,
    /// Something is wrong with this one file, or with what lies in its place.
    File(io::Error),
    /// Something is wrong with the tier: another file would fare no better.
    Tier(io::Error),
}

impl Refused {
    /// A file cannot be begun.
    fn to_begin(error: io::Error) -> Self {
        match error.kind() {
            // The directory is gone, or somebody else's by now.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Self::Tier(error),
            _ => error.into(),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::ReadOnlyFilesystem => Self::Tier(error),
            _ => Self::File(error),
        }
    }
}

impl Draft {
    /// Begins the file of an object at `path`, a temporary name.
    pub(super) fn new(space: &Arc<Space>, path: PathBuf, description: &Description) -> Result<Self, Refused> {
        let head = description.encode().ok_or(Refused::Full)?;
        let start = head.len() as u64;
        let slot = Slot::new(space, path.clone(), start + TAIL).ok_or(Refused::Full)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(Refused::to_begin)?;
        file.write_all(&head)?;
        let digest = *head.last_chunk().ok_or(Refused::Full)?;
        let backing = Backing { slot, file: Some(Arc::new(file)), start, digest };
        Ok(Self { backing, name: Description::name(&description.key), length: 0, head_length: start })
    }

    /// Bytes of the object that are written.
    pub(in crate::archive::shared) fn length(&self) -> u64 {
        self.length
    }

    /// Where they can be read.
    pub(super) fn backing(&self) -> Backing {
        self.backing.clone()
    }

    /// Its file, which grows.
    pub(super) fn slot(&self) -> &Slot {
        &self.backing.slot
    }

    /// Adds a block: all are full but the last.
    pub(super) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let mut block: Vec<u8> = Vec::with_capacity((BLOCK + DIGEST) as usize);
        pieces.iter().for_each(|piece| block.extend_from_slice(piece));
        let length = block.len() as u64;
        block.extend(format::digest(&self.backing.digest, self.length / BLOCK, &block));
        let at = self.head_length + format::blocks(self.length);
        self.file()?.write_all_at(&block, at)?;
        self.length += length;
        Ok(())
    }

    /// Ends the file and gives it its name in `directory`. It is still removed with its last user.
    pub(super) fn finish(mut self, directory: &std::path::Path) -> io::Result<Backing> {
        let tail = format::tail(&self.backing.digest, self.length);
        let at = self.head_length + format::blocks(self.length);
        self.file()?.write_all_at(&tail, at)?;
        self.backing.slot.rename(directory.join(format!("{}.obj", self.name)))?;
        self.backing.file = None;
        Ok(self.backing)
    }

    fn file(&self) -> io::Result<&File> {
        self.backing.file.as_deref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Backing {
    /// Reads the block of `length` bytes that begins at offset `at` of the object, and verifies it. Blocks the
    /// thread.
    ///
    /// # Errors
    /// The block is damaged, or cannot be read.
    pub(in crate::archive::shared) fn read(&self, at: u64, length: u64) -> Result<Bytes, Damaged> {
        let opened;
        let file = match &self.file {
            Some(file) => &**file,
            None => {
                opened = self.slot.open().map_err(|_| Damaged)?;
                &opened
            }
        };
        let mut block = vec![0; usize::try_from(length + DIGEST).map_err(|_| Damaged)?];
        file.read_exact_at(&mut block, self.start + format::blocks(at)).map_err(|_| Damaged)?;
        let (payload, found) = block.split_last_chunk::<{ DIGEST as usize }>().ok_or(Damaged)?;
        if format::digest(&self.digest, at / BLOCK, payload) != *found {
            return Err(Damaged);
        }
        Ok(Bytes::from(block).slice(..usize::try_from(length).map_err(|_| Damaged)?))
    }

    /// Reads and verifies an object of `length` bytes: all of it if it has at most `most`, else its first block, of
    /// which nothing is returned. Blocks the thread.
    ///
    /// # Errors
    /// A block is damaged, or cannot be read.
    pub(in crate::archive::shared) fn load(&self, length: u64, most: u64) -> Result<Vec<Bytes>, Damaged> {
        let (mut blocks, mut at) = (Vec::new(), 0);
        while at < length {
            let (start, of_block) = Self::block(at, length);
            blocks.push(self.read(start, of_block)?);
            at += of_block;
            if length > most {
                return Ok(Vec::new());
            }
        }
        Ok(blocks)
    }

    /// The block in which offset `at` of an object lies of which `length` bytes are on disk: where it begins, and its
    /// length.
    pub(in crate::archive::shared) fn block(at: u64, length: u64) -> (u64, u64) {
        let start = at / BLOCK * BLOCK;
        (start, BLOCK.min(length - start))
    }

    /// The file.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

/// Reads what a file says it is, and whether it is as long as it says. Blocks the thread.
pub(super) fn find(slot: &Arc<Slot>, file: &File) -> Result<Found, Damaged> {
    let size = file.metadata().map_err(|_| Damaged)?.len();
    let most = size.min(MAX_HEAD + 12 + DIGEST);
    let mut head = vec![0; usize::try_from(most).map_err(|_| Damaged)?];
    file.read_exact_at(&mut head, 0).map_err(|_| Damaged)?;
    let (description, start, digest) = Description::decode(&head)?;
    let mut tail = [0; TAIL as usize];
    let at = size.checked_sub(TAIL).filter(|at| *at >= start).ok_or(Damaged)?;
    file.read_exact_at(&mut tail, at).map_err(|_| Damaged)?;
    let length = format::length(&digest, &tail)?;
    if start.checked_add(format::blocks(length)) != Some(at) {
        return Err(Damaged);
    }
    let backing = Backing { slot: Arc::clone(slot), file: None, start, digest };
    Ok(Found { description, backing, length })
}
