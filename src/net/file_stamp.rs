//! What tells whether a file has changed.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// What a file was like: other contents have another stamp, and so has another file of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: (u64, u64),
    /// Set by the kernel alone: a copy that keeps the times has another one.
    #[cfg(unix)]
    changed: (i64, i64),
}

impl FileStamp {
    /// That of the file at `path` now; `None`: it cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).ok()?;
        Some(Self {
            modified: found.modified().ok(),
            length: found.len(),
            #[cfg(unix)]
            inode: (found.dev(), found.ino()),
            #[cfg(unix)]
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}
