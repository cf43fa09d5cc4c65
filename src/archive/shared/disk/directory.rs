//! The cache's directory: whose it is, and what lies in it from an earlier run.

use std::fs::{DirBuilder, File, OpenOptions, ReadDir};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The directory, which no other process uses as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// A file of the cache that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An object, whole as far as its name tells.
    Object(PathBuf),
    /// What was being written when the process ended.
    Temporary(PathBuf),
}

impl Directory {
    /// Takes the directory, and makes it if it is missing.
    ///
    /// # Errors
    /// In words for who runs the bridge.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
            format!("the directory cannot be made ({error}): name one that can be written")
        })?;
        let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(
                "others may write into the directory: `chmod 700` it, and keep nothing else in it".into()
            );
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(|error| {
            format!("the directory cannot be written ({error}): give it to the user that runs the bridge")
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err("another process uses the directory: give each its own".into())
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(format!("the directory cannot be locked ({error}): name one on a local disk"))
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What lies in it.
    pub(super) fn entries(&self) -> io::Result<Entries> {
        Ok(Entries { inner: std::fs::read_dir(&self.path)? })
    }
}

/// Walks over the cache's own files; all others are left alone.
pub(super) struct Entries {
    inner: ReadDir,
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let Ok(entry) = self.inner.next()? else { continue };
            let name = entry.file_name();
            let Some((stem, extension)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let hash = stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit());
            let number =
                extension.strip_suffix(".tmp").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
            // Links are not followed: they are not ours.
            if !hash || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            match extension {
                "obj" => return Some(Entry::Object(entry.path())),
                _ if number => return Some(Entry::Temporary(entry.path())),
                _ => {}
            }
        }
    }
}

/// Opens a file of the directory, unless it is a link.
pub(super) fn open_plainly(path: &Path) -> io::Result<File> {
    let named = std::fs::symlink_metadata(path)?;
    if !named.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = File::open(path)?;
    let opened = file.metadata()?;
    if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}
