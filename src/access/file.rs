//! A file that says who may come, read again when it changes: who is taken out of it is out, without a restart.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN};
use serde::de::DeserializeOwned;

use super::grants::{Grant, Grants};
use super::{OpenError, Refused};
use crate::caller::Restriction;
use crate::net::{FileError, Files, LOOK_EVERY};

/// Longest file that is read, in bytes: some thousand entries.
const MAX_FILE: u64 = 1 << 20;

/// What is read from a file, and read again when that has changed.
#[derive(Debug)]
pub(super) struct Watched<T>(Arc<Files<T>>);

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file that the configuration names under `key`.
    ///
    /// # Errors
    /// It cannot be read, or says something that cannot be.
    pub(super) fn open(
        key: &'static str,
        path: PathBuf,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Self, OpenError> {
        let own = path.clone();
        let read = move || load(&own, read).map_err(|why| FileError::new(&own, why));
        let files = Files::new(key, vec![path], LOOK_EVERY, read);
        files.load().map_err(|error| OpenError { key, path: error.path, why: error.text })?;
        Ok(Self(Arc::new(files)))
    }

    /// What the file says.
    ///
    /// # Errors
    /// Nobody knows, which cannot be once it has been opened.
    pub(super) async fn current(&self) -> Result<Arc<T>, Refused> {
        self.0.current().await.map_err(|_| Refused::Unavailable("who may come cannot be read"))
    }

    /// Looks whether the file has changed, and counts how often it has.
    pub(super) async fn generation(&self) -> u64 {
        let _ = self.0.current().await;
        self.0.generation()
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
}
