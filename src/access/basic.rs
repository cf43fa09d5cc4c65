//! Names and passwords, for small sites: a file has a slow hash of each password.
//!
//! To look at one costs some 20 ms of a core on purpose. So few are looked at at a time, and what was found to be good is
//! remembered for a while by who asks here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::failures::Try;
use super::file::{Watched, entries, grants};
use super::grants::Grants;
use super::identity::{Identity, Means};
use super::{OpenError, Refused};

/// How many passwords are looked at at a time: somebody who sends many takes this much of the machine and no more.
const AT_ONCE: usize = 2;
/// How long a password waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest password, in bytes.
const MAX_PASSWORD: usize = 1024;
/// Longest name that is told of where its password was wrong, in bytes.
const MAX_NAME: usize = 128;
/// Most memory that a hash may say that it needs, in KiB: it is taken for each password that is looked at.
const MAX_MEMORY: u32 = 256 << 10;
/// Most passes over that memory.
const MAX_PASSES: u32 = 16;
/// Random bytes of a salt (RFC 9106 3.1).
const SALT: usize = 16;

/// What to do with a password whose turn it is.
#[derive(Debug)]
pub(super) enum Turn {
    /// It was found to be right while it waited.
    Known(Identity),
    /// It is looked at.
    Look(Try),
}

/// Those who have a password.
#[derive(Debug)]
pub(super) struct Basic {
    file: Watched<Users>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Users {
    known: BTreeMap<String, User>,
    /// A hash that nobody's password has, for names that are not known: they are to take as long.
    nobody: Arc<str>,
}

#[derive(Debug)]
struct User {
    hash: Arc<str>,
    name: Arc<str>,
    grants: Arc<Grants>,
}

/// Keys that are not known are refused: one with a slip in it may have been meant to restrict.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hash: String,
    allow: Vec<String>,
    patients: Option<Vec<String>>,
    studies: Option<Vec<String>>,
}

/// The entry of a user with this password.
///
/// # Errors
/// The password cannot be one, or the system has no random numbers.
pub fn entry(name: &str, password: &str) -> Result<String, String> {
    if name.contains(':') || name.is_empty() {
        return Err("a name is not empty and has no colon (RFC 7617)".to_owned());
    }
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(format!("a password has 1 to {MAX_PASSWORD} bytes"));
    }
    let hash = hash(password.as_bytes())?;
    let name = toml::Value::from(name);
    Ok(format!("[{name}]\nhash = \"{hash}\"\nallow = [\"search\", \"retrieve\"]\n"))
}

fn hash(password: &[u8]) -> Result<String, String> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| "the system has no random numbers".to_owned())?;
    let hash: PasswordHash =
        Argon2::default().hash_password_with_salt(password, &salt).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

impl Basic {
    /// Those of a file.
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let file = Watched::open("auth.basic.file", path, read)?;
        Ok(Self { file, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Counts how often they have changed.
    pub(super) async fn generation(&self) -> u64 {
        self.file.generation().await
    }

    /// Whose name and password these are, in Base64 with a colon between (RFC 7617). `begin` is asked when it is this one's
    /// turn; where it has it looked at, its try comes back with whose they are.
    pub(super) async fn verify(
        &self,
        encoded: &str,
        begin: impl FnOnce() -> Result<Turn, Refused>,
    ) -> Result<(Identity, Option<Try>), Refused> {
        let malformed = Refused::Invalid("the credentials are not a name and a password in Base64");
        let text = decode(encoded).ok_or_else(|| malformed.clone())?;
        let (name, password) = text.split_once(':').ok_or(malformed)?;
        if password.len() > MAX_PASSWORD {
            return Err(Refused::Invalid("the name or the password is wrong"));
        }
        let users = self.file.current().await?;
        let user = users.known.get(name);
        let hash = Arc::clone(user.map_or(&users.nobody, |user| &user.hash));
        let password = password.to_owned();
        let busy = Refused::Unavailable("too many passwords are being looked at");
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| busy.clone())?.expect("nobody closes the semaphore");
        let begun = match begin()? {
            Turn::Known(identity) => return Ok((identity, None)),
            Turn::Look(begun) => begun,
        };
        let is_right = tokio::task::spawn_blocking(move || {
            // Held as long as the work goes on, whether anybody waits for it or not.
            let _turn = turn;
            is_password(&password, &hash)
        });
        match (is_right.await.map_err(|_| busy)?, user) {
            (true, Some(User { name, grants, .. })) => {
                let (name, grants) = (Arc::clone(name), Arc::clone(grants));
                Ok((Identity { name, means: Means::Basic, grants }, Some(begun)))
            }
            _ => Err(Refused::Invalid("the name or the password is wrong")),
        }
    }
}

/// The name that comes with a password, for the audit trail; `None`: what no name looks like.
pub(super) fn name_in(encoded: &str) -> Option<String> {
    let text = decode(encoded)?;
    let (name, _) = text.split_once(':')?;
    let is_sane = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
    is_sane.then(|| name.to_owned())
}

fn decode(encoded: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// Compares in constant time.
fn is_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn read(text: &str) -> Result<Users, String> {
    let mut known = BTreeMap::new();
    for (name, entry) in entries::<Entry>(text)? {
        check(&entry.hash).map_err(|why| format!("{name}: hash: {why}"))?;
        let allowed =
            grants(&entry.allow, entry.patients, entry.studies).map_err(|why| format!("{name}: {why}"))?;
        let user = User { hash: entry.hash.into(), name: name.as_str().into(), grants: Arc::new(allowed) };
        known.insert(name, user);
    }
    Ok(Users { known, nobody: hash(b"nobody's")?.into() })
}

fn check(hash: &str) -> Result<(), String> {
    let hash = PasswordHash::new(hash)
        .map_err(|_| "expected an Argon2 hash, as `gantry password` prints it".to_owned())?;
    let params = Params::try_from(&hash).map_err(|_| "expected an Argon2 hash".to_owned())?;
    if !hash.algorithm.as_str().starts_with("argon2") || hash.hash.is_none() {
        return Err("expected an Argon2 hash".to_owned());
    }
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
        return Err(format!("it takes more than {MAX_MEMORY} KiB or {MAX_PASSES} passes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::failures::Failures;
    use super::*;

    fn users(text: &str) -> Result<(tempfile::TempDir, Basic), OpenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        std::fs::write(&path, text).unwrap();
        Basic::open(path).map(|basic| (folder, basic))
    }

    async fn verify(basic: &Basic, encoded: &str) -> Result<Identity, Refused> {
        let failures = Failures::default();
        let begin = || failures.try_password(None.into()).map(Turn::Look);
        basic.verify(encoded, begin).await.map(|(identity, _)| identity)
    }

    #[test]
    fn the_name_that_a_password_came_with_is_told_where_it_is_one() {
        let named = |text: &str| name_in(&STANDARD.encode(text));
        assert_eq!(named("anna:secret:word").as_deref(), Some("anna"));
        for bad in ["secret", ":secret", "a\nb:secret", &format!("{}:x", "a".repeat(129))] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_comes_in_with_its_own_password_only() {
        let text = entry("anna", "pass:word").unwrap() + &entry("ben", "other").unwrap();
        let (_folder, basic) = users(&text).unwrap();
        let try_one =
            async |text: &str| verify(&basic, &STANDARD.encode(text)).await.map(|it| it.name.to_string());
        assert_eq!(try_one("anna:pass:word").await, Ok("anna".to_owned()));
        for bad in ["anna:other", "ben:pass:word", "carl:other", "anna:", ":", "anna", "", "Anna:pass:word"] {
            assert!(matches!(try_one(bad).await, Err(Refused::Invalid(_))), "{bad}");
        }
        assert!(matches!(verify(&basic, "no base64").await, Err(Refused::Invalid(_))));
    }

    #[test]
    fn a_hash_that_would_take_the_machine_is_refused() {
        let greedy =
            "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$6BlHtE1kcYfYb+5oGrvfLd0uPLqLIv+GaRCnPg6kUVo";
        for (hash, named) in [(greedy, "KiB"), ("$2b$12$abc", "Argon2"), ("plain", "Argon2")] {
            let error = users(&format!("[a]\nhash = \"{hash}\"\nallow = []\n")).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_or_a_password_is_refused() {
        for (name, password) in [("", "x"), ("a:b", "x"), ("a", "")] {
            assert!(entry(name, password).is_err(), "{name} {password}");
        }
    }
}
