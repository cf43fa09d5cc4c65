//! Tokens of our own, for programs: random ones, of which a file has the hashes alone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;

use super::file::{Watched, digest, entries, grants, sha256};
use super::grants::Grants;
use super::identity::{Identity, Means};
use super::{OpenError, Refused};

/// What a token begins with, so that it is known for one where it does not belong: in a repository, in a log.
const PREFIX: &str = "gantry_";
/// Random bytes of a token: nobody guesses them, so that a plain hash is enough.
const RANDOM: usize = 32;

/// The tokens that are known.
#[derive(Debug)]
pub(super) struct Tokens(Watched<Known>);

/// By their hashes: who looks one up learns nothing from how long that takes but about its hash.
type Known = HashMap<[u8; 32], (Arc<str>, Arc<Grants>)>;

/// Keys that are not known are refused: one with a slip in it may have been meant to restrict.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: String,
    allow: Vec<String>,
    patients: Option<Vec<String>>,
    studies: Option<Vec<String>>,
}

/// A new token, and the entry that lets it in.
///
/// # Errors
/// The system has no random numbers.
pub fn fresh(name: &str) -> Result<(String, String), String> {
    let mut random = [0; RANDOM];
    SystemRandom::new().fill(&mut random).map_err(|_| "the system has no random numbers".to_owned())?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash: String = sha256(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = toml::Value::from(name);
    Ok((token, format!("[{name}]\nsha256 = \"{hash}\"\nallow = [\"search\", \"retrieve\"]\n")))
}

impl Tokens {
    /// Those of a file.
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        Watched::open("auth.tokens.file", path, read).map(Self)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn find(&self, token: &str) -> Result<Option<Identity>, Refused> {
        let known = self.0.current().await?;
        let found = known.get(&sha256(token.as_bytes()));
        let identity = |(name, grants): &(Arc<str>, Arc<Grants>)| Identity {
            name: Arc::clone(name),
            means: Means::Token,
            grants: Arc::clone(grants),
        };
        Ok(found.map(identity))
    }

    /// Counts how often they have changed.
    pub(super) async fn generation(&self) -> u64 {
        self.0.generation().await
    }
}

fn read(text: &str) -> Result<Known, String> {
    let mut known = Known::new();
    for (name, entry) in entries::<Entry>(text)? {
        let about = |why: &str| format!("{name}: {why}");
        let hash = digest(&entry.sha256)
            .ok_or_else(|| about("sha256: expected 64 hexadecimal digits, as `gantry token` prints them"))?;
        let allowed = grants(&entry.allow, entry.patients, entry.studies).map_err(|why| about(&why))?;
        if known.insert(hash, (name.as_str().into(), Arc::new(allowed))).is_some() {
            return Err(about("another entry has the same token"));
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Operation;

    #[tokio::test]
    async fn a_fresh_token_is_let_in_by_its_entry_and_no_other_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let (token, entry) = fresh("viewer \"1\"").unwrap();
        std::fs::write(&path, &entry).unwrap();
        let tokens = Tokens::open(path).unwrap();
        let identity = tokens.find(&token).await.unwrap().unwrap();
        assert_eq!((&*identity.name, identity.means), ("viewer \"1\"", Means::Token));
        assert!(identity.grants.allows(Operation::Search, "main") && !identity.grants.has(Operation::Store));
        let (other, _) = fresh("viewer").unwrap();
        for unknown in [other.as_str(), ""] {
            assert!(tokens.find(unknown).await.unwrap().is_none());
        }
        assert!(!entry.contains(&token), "the token stands nowhere but on the screen");
    }

    #[test]
    fn an_entry_that_cannot_be_is_named() {
        let hash = "0a".repeat(32);
        for (bad, named) in [
            ("[a]\nallow = [\"search\"]\n".to_owned(), "sha256"),
            ("[a]\nsha256 = \"x\"\nallow = []\n".to_owned(), "64 hexadecimal"),
            (format!("[a]\nsha256 = \"{hash}\"\nallow = [\"read\"]\n"), "a: allow"),
            (format!("[a]\nsha256 = \"{hash}\"\nallow = []\npatient = [\"1\"]\n"), "unknown field"),
            (
                format!("[a]\nsha256 = \"{hash}\"\nallow = []\n[b]\nsha256 = \"{hash}\"\nallow = []\n"),
                "same token",
            ),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
