//! Bad credentials by where they came from: whoever guesses is seen, and does not keep us busy with passwords.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Refused;

/// The time that is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// So many bad ones of one address within [`WINDOW`] are somebody who guesses, not somebody who mistypes.
pub(super) const SUSPICIOUS: u32 = 10;
/// After so many no password of the address is looked at until the window ends: a hospital behind one address has
/// some people who mistype.
const MAX_BAD: u32 = 30;
/// Most addresses that are counted; the oldest give way.
const MAX_ADDRESSES: usize = 4_096;

/// Bad credentials by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Option<IpAddr>, Count>>);

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    number: u32,
}

/// What a further failure looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A mistake, or one of those that have been told of.
    Usual,
    /// Somebody guesses: to be told, once a window.
    Suspicious,
}

impl Failures {
    /// Counts bad credentials.
    pub(super) fn note(&self, from: Option<IpAddr>) -> Seen {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_ADDRESSES && !counts.contains_key(&from) {
            counts.retain(|_, count| now - count.since < WINDOW);
            if counts.len() >= MAX_ADDRESSES
                && let Some(oldest) =
                    counts.iter().min_by_key(|(_, count)| count.since).map(|(from, _)| *from)
            {
                counts.remove(&oldest);
            }
        }
        let count = counts.entry(from).or_insert(Count { since: now, number: 0 });
        if now - count.since >= WINDOW {
            *count = Count { since: now, number: 0 };
        }
        count.number = count.number.saturating_add(1);
        if count.number == SUSPICIOUS { Seen::Suspicious } else { Seen::Usual }
    }

    /// Lets a password be looked at.
    pub(super) fn admits_password(&self, from: Option<IpAddr>) -> Result<(), Refused> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get(&from) {
            Some(count) if count.number >= MAX_BAD && count.since.elapsed() < WINDOW => {
                Err(Refused::TooMany(WINDOW.saturating_sub(count.since.elapsed())))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some([10, 0, 0, last].into())
    }

    #[test]
    fn who_guesses_is_told_of_once_and_no_password_of_theirs_is_tried_for_a_while() {
        let failures = Failures::default();
        let seen: Vec<Seen> = (0..MAX_BAD).map(|_| failures.note(address(1))).collect();
        assert_eq!(seen.iter().filter(|seen| **seen == Seen::Suspicious).count(), 1);
        assert!(matches!(failures.admits_password(address(1)), Err(Refused::TooMany(_))));
        assert_eq!(failures.admits_password(address(2)), Ok(()));
    }

    #[test]
    fn hazard_addresses_without_end_are_not_all_counted() {
        let failures = Failures::default();
        for n in 0..2 * MAX_ADDRESSES as u32 {
            failures.note(Some(IpAddr::from(n.to_be_bytes())));
        }
        assert!(failures.0.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
