//! A file that says who may come, read again when it changes: who is taken out of it is out, without a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN};
use serde::de::DeserializeOwned;

use super::OpenError;
use super::grants::{Grant, Grants};
use crate::caller::Restriction;
use crate::net::FileStamp;

/// Longest file that is read, in bytes: some thousand entries.
const MAX_FILE: u64 = 1 << 20;
/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(2);

/// What is read from a file, and read again when that has changed.
pub(super) struct Watched<T> {
    key: &'static str,
    path: PathBuf,
    read: fn(&str) -> Result<T, String>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    generation: u64,
    /// As it was when `value` was read.
    stamp: Option<FileStamp>,
    looked: Instant,
    /// What is wrong with it, and has been told.
    told: Option<String>,
}

impl<T> Watched<T> {
    /// Reads the file that the configuration names under `key`.
    ///
    /// # Errors
    /// It cannot be read, or says something that cannot be.
    pub(super) fn open(
        key: &'static str,
        path: PathBuf,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Self, OpenError> {
        let stamp = FileStamp::of(&path);
        let value = load(&path, read).map_err(|why| OpenError { key, path: path.clone(), why })?;
        let state =
            State { value: Arc::new(value), generation: 0, stamp, looked: Instant::now(), told: None };
        Ok(Self { key, path, read, state: Mutex::new(state) })
    }

    /// What the file says.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.look().value)
    }

    /// Counts how often that has changed.
    pub(super) fn generation(&self) -> u64 {
        self.look().generation
    }

    fn look(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK {
            return state;
        }
        state.looked = Instant::now();
        let stamp = FileStamp::of(&self.path);
        if stamp == state.stamp {
            return state;
        }
        match load(&self.path, self.read) {
            Ok(value) => {
                state.value = Arc::new(value);
                state.generation += 1;
                (state.stamp, state.told) = (stamp, None);
                tracing::info!(file = %self.path.display(), "read {} again", self.key);
            }
            // Whoever writes it may be half through. It is tried again: somebody may have been taken out of it.
            Err(why) => {
                if state.told.as_ref() != Some(&why) {
                    let file = self.path.display();
                    tracing::warn!(%file, "{} has changed and cannot be used, what it said before holds: {why}", self.key);
                    state.told = Some(why);
                }
            }
        }
        state
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The grants of an entry.
pub(super) fn grants(
    allow: &[String],
    patients: Option<Vec<String>>,
    studies: Option<Vec<String>>,
) -> Result<Grants, String> {
    let allow: Result<Vec<Grant>, _> = allow.iter().map(|text| text.parse()).collect();
    let allow = allow.map_err(|error| format!("allow: {error}"))?;
    let mut restriction = Restriction::default();
    if let Some(patients) = patients {
        restriction.patients = patients.iter().map(|id| id.trim().to_owned()).collect();
        if patients.is_empty() || restriction.patients.contains("") {
            return Err("patients: name at least one, or leave the key out for all".to_owned());
        }
    }
    if let Some(studies) = studies {
        let uids: Result<_, _> = studies.iter().map(|uid| uid.parse()).collect();
        restriction.studies = uids.map_err(|error| format!("studies: {error}"))?;
        if studies.is_empty() {
            return Err("studies: name at least one, or leave the key out for all".to_owned());
        }
    }
    Ok(Grants::new(allow, Some(restriction)))
}

/// The entries of a file, by their names.
pub(super) fn entries<T: DeserializeOwned>(text: &str) -> Result<BTreeMap<String, T>, String> {
    // The message alone: the text around it has the file's lines in it.
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        format!("{line}{}", error.message())
    })
}

/// A SHA-256 digest in hexadecimal.
pub(super) fn digest(text: &str) -> Option<[u8; SHA256_OUTPUT_LEN]> {
    let text = text.trim().as_bytes();
    let mut found = [0; SHA256_OUTPUT_LEN];
    if text.len() != 2 * found.len() {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    for (byte, pair) in found.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(found)
}

/// The SHA-256 digest of a secret.
pub(super) fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut found = [0; SHA256_OUTPUT_LEN];
    found.copy_from_slice(ring::digest::digest(&SHA256, bytes).as_ref());
    found
}

fn load<T>(path: &std::path::Path, read: fn(&str) -> Result<T, String>) -> Result<T, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    read(&fs::read_to_string(path).map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(digest(&"0a".repeat(32)), Some([10; 32]));
        assert_eq!(digest(&"FF".repeat(32)), Some([255; 32]));
        for bad in [String::new(), "0a".repeat(31), "0g".repeat(32), "+f".repeat(32), "é".repeat(32)] {
            assert_eq!(digest(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_restriction_that_is_empty_is_a_mistake_and_not_everything() {
        let texts = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let search = ["search".to_owned()];
        assert!(grants(&search, None, None).unwrap().restriction().is_none());
        assert!(grants(&search, texts(&["1"]), None).unwrap().restriction().is_some());
        for (patients, studies) in
            [(texts(&[]), None), (None, texts(&[])), (texts(&[" "]), None), (None, texts(&["x"]))]
        {
            assert!(grants(&search, patients.clone(), studies.clone()).is_err(), "{patients:?} {studies:?}");
        }
        assert!(grants(&["read".to_owned()], None, None).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_text() {
        let text = "[a]\nsha256 = \"secret\"\nallow = [\"search\"]\n[b\n";
        let error = entries::<toml::Table>(text).unwrap_err();
        assert!(error.starts_with("line 4") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "1").unwrap();
        let read = |text: &str| text.trim().parse::<u32>().map_err(|error| error.to_string());
        let watched = Watched::open("auth.tokens.file", path.clone(), read).unwrap();
        let look = || {
            watched.state.lock().unwrap().looked = Instant::now().checked_sub(LOOK).unwrap();
            (*watched.current(), watched.generation())
        };
        assert_eq!(look(), (1, 0));
        fs::write(&path, "22").unwrap();
        assert_eq!(look(), (22, 1));
        fs::write(&path, "bad").unwrap();
        assert_eq!(look(), (22, 1));
        fs::remove_file(&path).unwrap();
        assert_eq!(look(), (22, 1));
        assert!(Watched::open("auth.tokens.file", path, read).is_err());
    }

    #[test]
    fn attack_who_was_taken_out_is_out_although_the_file_could_not_be_read_at_first() {
        static FAILS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        let read = |text: &str| match FAILS.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err("out of file descriptors".to_owned()),
            false => Ok(text.to_owned()),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "anna, ben").unwrap();
        let watched = Watched::open("auth.tokens.file", path.clone(), read).unwrap();
        let look = || {
            watched.state.lock().unwrap().looked = Instant::now().checked_sub(LOOK).unwrap();
            watched.current()
        };
        fs::write(&path, "anna").unwrap();
        FAILS.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(*look(), "anna, ben");
        FAILS.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(*look(), "anna");
    }
}
