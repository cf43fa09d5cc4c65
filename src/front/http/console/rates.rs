//! How fast objects come from the archives, found out by looking at the counters now and again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far apart two looks are at least.
const APART: Duration = Duration::from_secs(1);
/// Over how long a rate is taken: short enough to follow what happens, long enough not to jump.
const OVER: Duration = Duration::from_secs(10);

/// Objects and bytes, by archive.
pub(super) type Totals = BTreeMap<String, (u64, u64)>;

/// What the counters were when they were looked at lately. Nobody looks where no page is open.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<VecDeque<(Instant, Totals)>>);

impl Rates {
    /// Objects and bytes a second of each archive; none where nobody has looked before.
    pub(super) fn look(&self, now: Instant, totals: Totals) -> BTreeMap<String, (f64, f64)> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(at, _)| now.saturating_duration_since(*at) <= OVER);
        let first = looks.iter().find(|(at, _)| now.saturating_duration_since(*at) >= APART);
        let rates = first.map(|(at, before)| {
            let seconds = now.saturating_duration_since(*at).as_secs_f64();
            let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let of = |(name, (objects, bytes)): (&String, &(u64, u64))| {
                let (before_objects, before_bytes) = before.get(name).copied().unwrap_or_default();
                (name.clone(), (per_second(*objects, before_objects), per_second(*bytes, before_bytes)))
            };
            totals.iter().map(of).collect()
        });
        let is_due = looks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= APART);
        if is_due {
            looks.push_back((now, totals));
        }
        rates.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_since_the_oldest_look_of_the_last_seconds() {
        let (rates, begin) = (Rates::default(), Instant::now());
        let look = |seconds: u64, objects: u64| {
            let totals = Totals::from([("main".to_owned(), (objects, objects * 1000))]);
            rates.look(begin + Duration::from_secs(seconds), totals).get("main").copied()
        };
        assert_eq!(look(0, 100), None);
        assert_eq!(look(2, 120), Some((10.0, 10_000.0)));
        assert_eq!(look(4, 120), Some((5.0, 5_000.0)));
        assert_eq!(look(30, 500), None, "long ago is not lately");
        assert_eq!(look(31, 500), Some((0.0, 0.0)));
    }
}
