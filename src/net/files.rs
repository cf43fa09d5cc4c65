//! What is read from files, and read again when they have changed.
//!
//! Looked at are times, length and inode, when somebody asks and at most every other second: a swap of a symbolic link shows
//! as another inode. What cannot be used is said once and tried again; what was there before stays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::FileStamp;

/// Longest time for which a changed file goes unseen. A look costs a system call for each file.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long who asks waits for a look. Files on a server that does not answer then hold what they held.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// What is wrong and what to do, and nothing of what stands in it.
    pub text: String,
}

impl FileError {
    /// That of the file at `path`.
    pub fn new(path: &Path, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }
}

/// What a function makes of the files at some paths.
pub struct Files<T> {
    what: &'static str,
    read: Box<dyn Fn() -> Result<T, FileError> + Send + Sync>,
    paths: Vec<PathBuf>,
    look_every: Duration,
    current: Mutex<Option<Arc<T>>>,
    generation: AtomicU64,
    seen: Arc<tokio::sync::Mutex<Seen>>,
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
    /// What `read` makes of the files at `paths`, which the log calls `what`. Nothing is read yet.
    pub fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        look_every: Duration,
        read: impl Fn() -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            read: Box::new(read),
            paths,
            look_every,
            current: Mutex::default(),
            generation: AtomicU64::new(0),
            seen: Arc::default(),
        }
    }

    /// Reads the files now, at the start.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn load(&self) -> Result<(), FileError> {
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
    pub async fn current(self: &Arc<Self>) -> Result<Arc<T>, FileError> {
        let known = self.lock().clone();
        // One looks for all; whoever has something good does not wait for it.
        let seen = match known.is_some() {
            true => Arc::clone(&self.seen).try_lock_owned().ok(),
            false => Some(Arc::clone(&self.seen).lock_owned().await),
        };
        let Some(seen) = seen else { return self.known() };
        let is_due = seen.at.is_none_or(|at| at.elapsed() >= self.look_every);
        if !is_due && self.lock().is_some() {
            return self.known();
        }
        // A task of its own: the look goes on when nobody waits for it any more, and no other one begins meanwhile.
        let look = tokio::spawn(Arc::clone(self).renew(seen));
        match timeout(PATIENCE, look).await {
            Ok(Ok(Err(error))) if self.lock().is_none() => Err(error),
            _ => self.known(),
        }
    }

    async fn renew(self: Arc<Self>, mut seen: OwnedMutexGuard<Seen>) -> Result<(), FileError> {
        let before = (self.lock().is_some(), seen.stamps.clone());
        let files = Arc::clone(&self);
        // A file may lie on a server that does not answer.
        let looked = tokio::task::spawn_blocking(move || files.look(before)).await;
        let (stamps, read) = looked.unwrap_or_else(|error| {
            tracing::error!(%error, "{}: the files could not be looked at", self.what);
            (seen.stamps.clone(), None)
        });
        seen.at = Some(Instant::now());
        match read {
            None => Ok(()),
            Some(Ok(new)) => {
                *self.lock() = Some(Arc::new(new));
                self.generation.fetch_add(1, Ordering::AcqRel);
                (seen.stamps, seen.told) = (stamps, None);
                Ok(())
            }
            // It is tried again: what could not be read now may be what somebody was taken out of.
            Some(Err(error)) => {
                if self.lock().is_some() && seen.told.as_ref() != Some(&error) {
                    tracing::warn!(%error, "{}: a changed file cannot be used: what it held before stays in use", self.what);
                    seen.told = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    /// Counts how often what they hold has changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
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
            tracing::info!(files = %Names(&self.paths), "{}: the files have changed, and are in use now", self.what);
        }
        (now, read)
    }

    fn known(&self) -> Result<Arc<T>, FileError> {
        let none = || {
            FileError::new(self.paths.first().map_or(Path::new(""), |path| path), "could not be read in time")
        };
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn numbers(path: &Path) -> Arc<Files<u32>> {
        let own = path.to_owned();
        let read = move || {
            let text = fs::read_to_string(&own).map_err(|error| FileError::new(&own, error.to_string()))?;
            text.trim().parse().map_err(|_| FileError::new(&own, "is no number"))
        };
        Arc::new(Files::new("test", vec![path.to_owned()], Duration::ZERO, read))
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_has_changed_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "1").unwrap();
        let files = numbers(&path);
        files.load().unwrap();
        let look = async || (*files.current().await.unwrap(), files.generation());
        assert_eq!(look().await, (1, 0));
        fs::write(&path, "22").unwrap();
        assert_eq!(look().await, (22, 1));
        assert_eq!(look().await, (22, 1));
        fs::write(&path, "bad").unwrap();
        assert_eq!(look().await, (22, 1));
        fs::remove_file(&path).unwrap();
        assert_eq!(look().await, (22, 1));
        assert!(numbers(&path).load().is_err());
    }

    #[tokio::test]
    async fn attack_who_was_taken_out_is_out_although_the_file_could_not_be_read_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "anna, ben").unwrap();
        let (own, fails) = (path.clone(), Arc::new(AtomicBool::new(false)));
        let failing = Arc::clone(&fails);
        let files = Arc::new(Files::new("test", vec![path.clone()], Duration::ZERO, move || {
            match failing.load(Ordering::Relaxed) {
                true => Err(FileError::new(&own, "cannot be read: out of file descriptors")),
                false => Ok(fs::read_to_string(&own).unwrap()),
            }
        }));
        files.load().unwrap();
        fs::write(&path, "anna").unwrap();
        fails.store(true, Ordering::Relaxed);
        assert_eq!(*files.current().await.unwrap(), "anna, ben");
        fails.store(false, Ordering::Relaxed);
        assert_eq!(*files.current().await.unwrap(), "anna");
    }

    #[tokio::test]
    async fn hazard_files_that_do_not_answer_hold_up_who_looks_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "1").unwrap();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let gate = Mutex::new(gate);
        let files = Arc::new(Files::new("test", vec![path.clone()], Duration::ZERO, move || {
            let _ = began.send(());
            let _ = gate.lock().unwrap().recv();
            Ok(())
        }));
        go.send(()).unwrap();
        files.load().unwrap();
        begins.recv().await.unwrap();
        fs::write(&path, "22").unwrap();
        let own = Arc::clone(&files);
        let looks = tokio::spawn(async move { own.current().await.map(drop) });
        begins.recv().await.unwrap();
        // One runtime thread: were the file read on it, nothing would come to here.
        files.current().await.unwrap();
        assert!(!looks.is_finished());
        go.send(()).unwrap();
        looks.await.unwrap().unwrap();
    }
}
