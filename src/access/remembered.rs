//! Credentials that were found to be good, for a while: a viewer sends the same token a thousand times, and to verify it
//! each time would cost as much as the frames.
//!
//! They are known by a keyed hash, so that neither the credentials stand in memory nor anybody can choose where they land.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::{hmac, rand};

use super::{Credentials, Identity};

/// Most credentials that are remembered.
const MAX: usize = 10_000;

/// What credentials are known by.
pub(super) type Key = [u8; 32];

pub(super) struct Remembered {
    key: hmac::Key,
    longest: Duration,
    known: Mutex<HashMap<Key, Known>>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    generation: u64,
    until: Instant,
}

impl Remembered {
    /// Remembers nothing for longer than `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        let random = rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers");
        Self { key, longest, known: Mutex::default() }
    }

    /// The key of credentials that come from there.
    pub(super) fn key(&self, credentials: &Credentials<'_>, from: Option<IpAddr>) -> Key {
        let mut context = hmac::Context::with_key(&self.key);
        let (kind, bytes): (u8, &[u8]) = match credentials {
            Credentials::Bearer(token) => (1, token.as_bytes()),
            Credentials::Basic(encoded) => (2, encoded.as_bytes()),
            Credentials::Certificate(certificate) => (3, &certificate.fingerprint),
        };
        match from {
            None => context.update(&[kind, 0]),
            Some(IpAddr::V4(address)) => {
                context.update(&[kind, 4]);
                context.update(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                context.update(&[kind, 6]);
                context.update(&address.octets());
            }
        }
        context.update(bytes);
        let mut key = Key::default();
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    /// Whose credentials these are, where that was found out in this generation and still holds.
    pub(super) fn find(&self, key: &Key, generation: u64) -> Option<Identity> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(key)?;
        (found.generation == generation && Instant::now() < found.until).then(|| found.identity.clone())
    }

    /// Remembers whose credentials these are, as long as that holds.
    pub(super) fn keep(&self, key: Key, identity: Identity, generation: u64, lifetime: Duration) {
        let now = Instant::now();
        let until = now + lifetime.min(self.longest);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX {
            known.retain(|_, known| known.until > now && known.generation == generation);
        }
        if known.len() >= MAX {
            // All of them are verified once more: better than to look for the oldest each time.
            known.clear();
        }
        known.insert(key, Known { identity, generation, until });
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_ends_with_its_time_and_when_the_files_change() {
        let remembered = Remembered::new(Duration::from_secs(60));
        let key = remembered.key(&Credentials::Bearer("a"), None);
        remembered.keep(key, Identity::everybody(), 1, Duration::from_secs(60));
        assert!(remembered.find(&key, 1).is_some());
        assert!(remembered.find(&key, 2).is_none(), "the files have changed");
        remembered.keep(key, Identity::everybody(), 1, Duration::ZERO);
        assert!(remembered.find(&key, 1).is_none(), "it has expired");
    }

    #[test]
    fn credentials_of_another_kind_or_from_elsewhere_are_others() {
        let remembered = Remembered::new(Duration::from_secs(60));
        let here = Some([127, 0, 0, 1].into());
        let keys = [
            remembered.key(&Credentials::Bearer("a"), None),
            remembered.key(&Credentials::Basic("a"), None),
            remembered.key(&Credentials::Bearer("a"), here),
            remembered.key(&Credentials::Bearer("b"), None),
            Remembered::new(Duration::ZERO).key(&Credentials::Bearer("a"), None),
        ];
        assert_eq!(std::collections::BTreeSet::from(keys).len(), keys.len());
    }

    #[test]
    fn hazard_their_number_is_bounded() {
        let remembered = Remembered::new(Duration::from_secs(60));
        for n in 0..=MAX {
            let key = remembered.key(&Credentials::Bearer(&n.to_string()), None);
            remembered.keep(key, Identity::everybody(), 0, Duration::from_secs(60));
        }
        assert!(remembered.known.lock().unwrap().len() <= MAX);
    }
}
