//! What is read from files, and read again when they have changed.
//!
//! Looked at are times, length and inode, at a handshake and at most every other second: a swap of a symbolic link shows as
//! another inode. What cannot be used is said once and tried again; what was there
//! before stays.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::net::FileStamp;

/// Longest time for which a changed file goes unseen. A look costs a system call for each file.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest file that is read, in bytes: ten times the bundle of all authorities that browsers trust.
const MAX_FILE: u64 = 4 << 20;

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub text: String,
}

impl FileError {
    pub(super) fn new(path: &Path, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }
}

/// What `read` makes of the files at `paths`.
pub(super) struct Files<T> {
    read: Box<dyn Fn() -> Result<T, FileError> + Send + Sync>,
    paths: Vec<PathBuf>,
    look_every: Duration,
    current: Mutex<Option<Arc<T>>>,
    seen: tokio::sync::Mutex<Seen>,
}

/// What the files were like when they were last looked at.
#[derive(Debug, Clone, Default)]
struct Seen {
    at: Option<Instant>,
    /// As what is in use was read.
    stamps: Vec<Option<FileStamp>>,
    /// What was wrong with them, and has been told.
    told: Option<FileError>,
}

impl<T: Send + Sync + 'static> Files<T> {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        look_every: Duration,
        read: impl Fn() -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Box::new(read),
            paths,
            look_every,
            current: Mutex::default(),
            seen: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the files now, at the start.
    pub(super) fn load(&self) -> Result<(), FileError> {
        if let Ok(mut seen) = self.seen.try_lock() {
            *seen = Seen { at: Some(Instant::now()), stamps: stamps(&self.paths), told: None };
        }
        let read = (self.read)()?;
        *self.lock() = Some(Arc::new(read));
        Ok(())
    }

    /// What the files hold now, or what they held when they could last be used.
    ///
    /// # Errors
    /// They never could.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<T>, FileError> {
        let known = self.lock().clone();
        // One looks for all; whoever has something good does not wait for it.
        let seen = match known.is_some() {
            true => self.seen.try_lock().ok(),
            false => Some(self.seen.lock().await),
        };
        let (Some(mut seen), files) = (seen, Arc::clone(self)) else { return self.known() };
        let is_due = seen.at.is_none_or(|at| at.elapsed() >= self.look_every);
        if !is_due && self.lock().is_some() {
            return self.known();
        }
        let before = (self.lock().is_some(), seen.stamps.clone());
        // A file may lie on a server that does not answer.
        let looked = tokio::task::spawn_blocking(move || files.look(before)).await;
        match looked {
            Ok((stamps, read)) => {
                seen.at = Some(Instant::now());
                match read {
                    Some(Ok(new)) => {
                        *self.lock() = Some(Arc::new(new));
                        (seen.stamps, seen.told) = (stamps, None);
                    }
                    Some(Err(error)) if self.lock().is_none() => return Err(error),
                    // It is tried again: what could not be read now may be what somebody was taken out of.
                    Some(Err(error)) if seen.told.as_ref() != Some(&error) => {
                        tracing::warn!(%error, "a changed TLS file cannot be used: what it held before stays in use");
                        seen.told = Some(error);
                    }
                    Some(Err(_)) | None => {}
                }
            }
            Err(error) => tracing::error!(%error, "the TLS files could not be looked at"),
        }
        self.known()
    }

    /// Reads the files if they differ from what they were when what is in use was read.
    fn look(
        &self,
        (has_any, before): (bool, Vec<Option<FileStamp>>),
    ) -> (Vec<Option<FileStamp>>, Option<Result<T, FileError>>) {
        // Before they are read: what changes meanwhile is then seen as a change.
        let now = stamps(&self.paths);
        let is_same = has_any && now == before;
        let read = (!is_same).then(|| (self.read)());
        if has_any && matches!(read, Some(Ok(_))) {
            tracing::info!(files = %Names(&self.paths), "TLS files have changed, and are in use now");
        }
        (now, read)
    }

    fn known(&self) -> Result<Arc<T>, FileError> {
        let none = || FileError::new(self.paths.first().map_or(Path::new(""), |path| path), "was not read");
        self.lock().clone().ok_or_else(none)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("paths", &self.paths).finish_non_exhaustive()
    }
}

struct Names<'a>(&'a [PathBuf]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, path) in self.0.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, path.display())?;
        }
        Ok(())
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<FileStamp>> {
    paths.iter().map(|path| FileStamp::of(path)).collect()
}

/// The certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = contents(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(FileError::new(
            path,
            "holds no certificate: give a PEM file with -----BEGIN CERTIFICATE-----",
        )),
        Err(_) => Err(FileError::new(path, "is broken: its PEM does not end, or is no Base64")),
    }
}

/// The private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    // The error itself may quote what it does not understand.
    PrivateKeyDer::from_pem_slice(&contents(path)?).map_err(|_| {
        let text = "holds no private key that can be read: give a PEM file with PKCS #8, PKCS #1 or SEC 1, without a password (`openssl pkey` takes it off)";
        FileError::new(path, text)
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    let cannot = |error: std::io::Error| FileError::new(path, format!("cannot be read: {error}"));
    let file = fs::File::open(path).map_err(cannot)?;
    let mut contents = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut contents).map_err(cannot)?;
    if read as u64 > MAX_FILE {
        return Err(FileError::new(path, format!("is longer than {MAX_FILE} bytes: that is no PEM file")));
    }
    Ok(contents)
}
