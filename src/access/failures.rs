//! What went wrong lately, and whose it was: whoever guesses is seen, keeps us not busy with passwords, and does not fill the
//! audit trail either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Refused;
use crate::net::counted_as;

/// The time that is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// So many bad ones of one address within [`WINDOW`] are somebody who guesses, not somebody who mistypes.
pub(super) const SUSPICIOUS: u32 = 10;
/// After so many no password of the address is looked at until the window ends: a hospital behind one address has
/// some people who mistype.
const MAX_BAD: u32 = 30;
/// Most that is counted; the oldest give way.
const MAX_COUNTS: usize = 4_096;

/// Failures by whose they are.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Of, Count>>);

/// Whose failures are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Credentials from there that were refused.
    Credentials(Origin),
    /// Passwords from there that were wrong, or are being looked at.
    Passwords(Origin),
    /// Credentials from there of which nobody could tell.
    Undecided(Origin),
    /// The certificate with this fingerprint, which is nobody's here.
    Certificate([u8; 32]),
    /// What somebody of this name was not allowed to do.
    Rights(Arc<str>),
}

/// Where something comes from, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(Option<IpAddr>);

impl From<Option<IpAddr>> for Origin {
    fn from(address: Option<IpAddr>) -> Self {
        Self(address.map(counted_as))
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    number: u32,
}

/// A password that is being looked at: one that is wrong unless it is given back.
#[derive(Debug)]
pub(super) struct Try {
    of: Of,
    since: Instant,
}

impl Failures {
    /// Counts a failure: how many there have been within the window.
    pub(super) fn note(&self, of: Of) -> u32 {
        let count = count(&mut self.lock(), of);
        count.number
    }

    /// Lets a password wait for its turn.
    pub(super) fn admits_password(&self, from: Origin) -> Result<(), Refused> {
        let counts = self.lock();
        counts.get(&Of::Passwords(from)).map_or(Ok(()), |count| count.admits())
    }

    /// Lets a password be looked at whose turn it is. It counts as a wrong one until it is found to be right: else all that
    /// come at once would be looked at.
    pub(super) fn try_password(&self, from: Origin) -> Result<Try, Refused> {
        let of = Of::Passwords(from);
        let mut counts = self.lock();
        counts.get(&of).map_or(Ok(()), |count| count.admits())?;
        let since = count(&mut counts, of.clone()).since;
        Ok(Try { of, since })
    }

    /// The password was right, or was not looked at.
    pub(super) fn give_back(&self, one: Try) {
        if let Some(count) = self.lock().get_mut(&one.of).filter(|count| count.since == one.since) {
            count.number = count.number.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Of, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failure is told of that is the `number`th of its window: each of the first, then each that makes them ten times
/// as many.
pub(super) fn is_told(number: u32) -> bool {
    number < SUSPICIOUS || is_power_of_ten(number)
}

/// How often something happened, for the text about it; nothing for the first times.
pub(super) fn so_often(number: u32) -> String {
    if number < SUSPICIOUS { String::new() } else { format!(", {number} times within a minute") }
}

pub(super) fn is_power_of_ten(number: u32) -> bool {
    number > 0 && 10_u32.pow(number.ilog10()) == number
}

impl Count {
    fn admits(&self) -> Result<(), Refused> {
        let age = self.since.elapsed();
        match self.number >= MAX_BAD && age < WINDOW {
            true => Err(Refused::TooMany(WINDOW.saturating_sub(age))),
            false => Ok(()),
        }
    }
}

/// Counts one more.
fn count(counts: &mut HashMap<Of, Count>, of: Of) -> Count {
    let now = Instant::now();
    if counts.len() >= MAX_COUNTS && !counts.contains_key(&of) {
        counts.retain(|_, count| now - count.since < WINDOW);
        if counts.len() >= MAX_COUNTS {
            let oldest = counts.iter().min_by_key(|(_, count)| count.since).map(|(of, _)| of.clone());
            oldest.and_then(|oldest| counts.remove(&oldest));
        }
    }
    let count = counts.entry(of).or_insert(Count { since: now, number: 0 });
    if now - count.since >= WINDOW {
        *count = Count { since: now, number: 0 };
    }
    count.number = count.number.saturating_add(1);
    *count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Some(address.parse().unwrap()).into()
    }

    #[test]
    fn attack_passwords_that_come_at_once_are_counted_before_they_are_looked_at() {
        let failures = Failures::default();
        let here = origin("10.0.0.1");
        let tries: Vec<_> = (0..2 * MAX_BAD).map_while(|_| failures.try_password(here).ok()).collect();
        assert_eq!(tries.len(), MAX_BAD as usize);
        assert!(matches!(failures.admits_password(here), Err(Refused::TooMany(_))));
        assert_eq!(failures.admits_password(origin("10.0.0.2")), Ok(()));
        for one in tries {
            failures.give_back(one);
        }
        assert_eq!(failures.admits_password(here), Ok(()), "they were right");
    }

    #[test]
    fn attack_who_has_a_network_of_ipv6_is_one_who_guesses() {
        let failures = Failures::default();
        for n in 0..MAX_BAD {
            failures.try_password(origin(&format!("2001:db8:0:1::{n:x}"))).unwrap();
        }
        assert!(failures.try_password(origin("2001:db8:0:1:ffff::1")).is_err());
        assert!(failures.try_password(origin("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn bad_tokens_hold_up_no_password() {
        let failures = Failures::default();
        let here = origin("10.0.0.1");
        let numbers: Vec<u32> = (0..2 * MAX_BAD).map(|_| failures.note(Of::Credentials(here))).collect();
        assert_eq!(numbers.last(), Some(&(2 * MAX_BAD)));
        assert_eq!(failures.admits_password(here), Ok(()));
    }

    #[test]
    fn many_are_told_of_by_their_number() {
        let told: Vec<u32> = (1..=100_000).filter(|number| is_told(*number)).collect();
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1_000, 10_000, 100_000]);
    }

    #[test]
    fn hazard_addresses_without_end_are_not_all_counted() {
        let failures = Failures::default();
        for n in 0..2 * MAX_COUNTS as u32 {
            failures.note(Of::Credentials(Some(IpAddr::from(n.to_be_bytes())).into()));
        }
        assert!(failures.lock().len() <= MAX_COUNTS);
    }
}
