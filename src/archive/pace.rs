//! How fast an archive is: measured with every retrieval, remembered for a while, so that several associations are
//! opened only where they pay.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::retrieval::UIDS_PER_REQUEST;

/// A round trip from which on an archive is far away: waiting for answers takes longer than sending an object.
const FAR: Duration = Duration::from_millis(5);
/// Time between two objects from which on an archive is slow, however near.
const SLOW: Duration = Duration::from_millis(20);
/// Least part of what each association beyond the first could bring, as much as the first, for which it is kept. Even an
/// archive that sends to one at a time gains something, as the next request is there sooner.
const LEAST_GAIN: f64 = 0.6;
/// Fewest objects from which a speed is told, for each association.
const SAMPLE: usize = 8;
/// How long what was measured holds.
const VALID: Duration = Duration::from_secs(10 * 60);
/// How long it holds that more associations do not pay: a bad moment must not slow an archive down for longer.
const LIMIT_VALID: Duration = Duration::from_secs(2 * 60);
/// Objects of one operation while it is not known whether more associations pay: so that this is known soon.
const PROBE: usize = 8;
/// What one operation brings, in time: a search waits no longer for its turn.
const QUANTUM: Duration = Duration::from_millis(250);
/// Fewest objects of one operation: each costs the archive a search of its own.
const SMALLEST: usize = 16;
/// Operations for each association, so that the last ones end together.
const ROUNDS: usize = 3;

/// What is known of an archive's speed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    measured: Mutex<Measured>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Measured {
    /// From the answer to one object to the next object.
    turnaround: Option<(Duration, Instant)>,
    /// As many associations at once were seen to pay.
    proven: Option<(usize, Instant)>,
    /// One more than these was seen not to pay.
    limit: Option<(usize, Instant)>,
}

/// How many objects each operation brings.
#[derive(Debug)]
pub(super) struct Sizes {
    probes: usize,
    typical: usize,
}

impl Pace {
    /// How many associations may pay, `most` at the most.
    pub(super) fn lanes(&self, round_trip: Option<Duration>, most: usize) -> usize {
        let measured = *self.lock();
        let slow = valid(measured.turnaround).is_some_and(|turnaround| turnaround >= SLOW);
        if !slow && round_trip.is_none_or(|round_trip| round_trip < FAR) {
            return 1;
        }
        valid_for(LIMIT_VALID, measured.limit).unwrap_or(most).min(most).max(1)
    }

    /// How many associations at once have been seen to pay.
    pub(super) fn proven_lanes(&self) -> usize {
        valid(self.lock().proven).unwrap_or(1)
    }

    /// How `objects` are to be cut for so many associations; 0: they need not be.
    pub(super) fn sizes(&self, objects: usize, lanes: usize) -> Sizes {
        if lanes == 0 {
            return Sizes { probes: 0, typical: UIDS_PER_REQUEST };
        }
        let turnaround = valid(self.lock().turnaround).unwrap_or(Duration::ZERO);
        let in_time = QUANTUM.as_micros() / turnaround.as_micros().max(1);
        let in_time = usize::try_from(in_time).unwrap_or(UIDS_PER_REQUEST);
        let share = if lanes > 1 { objects.div_ceil(lanes * ROUNDS) } else { UIDS_PER_REQUEST };
        let typical = share.min(in_time).clamp(SMALLEST, UIDS_PER_REQUEST);
        let proven = self.proven_lanes().min(lanes);
        Sizes { probes: (proven..lanes).sum(), typical }
    }

    /// An operation brought this many objects beyond its first, with these pauses between them in all.
    pub(super) fn learn_turnaround(&self, objects: u32, pauses: Duration) {
        let Some(now) = pauses.checked_div(objects) else { return };
        let mut measured = self.lock();
        let turnaround = valid(measured.turnaround).map_or(now, |before| (before * 3 + now) / 4);
        measured.turnaround = Some((turnaround, Instant::now()));
    }

    /// A retrieval brought this many objects in this time, by the number of associations at work. The most that were at
    /// work are held against one alone: from one number to the next, little lies between a gain and chance.
    pub(super) fn learn_lanes(&self, samples: &BTreeMap<usize, (usize, Duration)>) {
        let told = samples.iter().filter(|(lanes, (objects, _))| *objects >= SAMPLE * **lanes);
        let mut speeds =
            told.map(|(lanes, (objects, took))| (*lanes, *objects as f64 / took.as_secs_f64().max(1e-6)));
        let (Some((1, alone)), Some((lanes, together))) = (speeds.next(), speeds.next_back()) else { return };
        let worth = 1 + ((together / alone - 1.0).max(0.0) / LEAST_GAIN) as usize;
        let (mut measured, now) = (self.lock(), Instant::now());
        let proven = valid(measured.proven).unwrap_or(1).max(lanes);
        measured.proven = Some((proven.min(worth), now));
        measured.limit = (worth < lanes).then_some((worth, now));
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().expect("no code panics while it holds this lock")
    }
}

impl Sizes {
    /// How many objects most operations bring.
    pub(super) fn typical(&self) -> usize {
        self.typical
    }

    /// How many objects the next operation brings.
    pub(super) fn next(&mut self) -> usize {
        match self.probes.checked_sub(1) {
            Some(left) => {
                self.probes = left;
                PROBE
            }
            None => self.typical,
        }
    }
}

fn valid<T>(known: Option<(T, Instant)>) -> Option<T> {
    valid_for(VALID, known)
}

fn valid_for<T>(time: Duration, known: Option<(T, Instant)>) -> Option<T> {
    known.filter(|(_, since)| since.elapsed() < time).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn several_associations_are_for_far_or_slow_archives_only() {
        let pace = Pace::default();
        assert_eq!(pace.lanes(None, 3), 1);
        assert_eq!(pace.lanes(Some(ms(1)), 3), 1);
        assert_eq!(pace.lanes(Some(ms(20)), 3), 3);
        assert_eq!(pace.lanes(Some(ms(20)), 0), 1);
        pace.learn_turnaround(10, ms(1000));
        assert_eq!(pace.lanes(Some(ms(1)), 3), 3, "near, and slow");
    }

    #[tokio::test(start_paused = true)]
    async fn an_association_that_gains_nothing_is_not_opened_again_for_a_while() {
        let pace = Pace::default();
        pace.learn_lanes(&BTreeMap::from([(1, (100, ms(1000))), (2, (190, ms(1000))), (3, (195, ms(1000)))]));
        assert_eq!((pace.lanes(Some(ms(20)), 4), pace.proven_lanes()), (2, 2));
        pace.learn_lanes(&BTreeMap::from([(1, (100, ms(1000))), (2, (3, ms(1000)))]));
        assert_eq!(pace.lanes(Some(ms(20)), 4), 2, "three objects tell nothing");
        tokio::time::advance(LIMIT_VALID).await;
        assert_eq!((pace.lanes(Some(ms(20)), 4), pace.proven_lanes()), (4, 2));
        tokio::time::advance(VALID).await;
        assert_eq!(pace.proven_lanes(), 1);
    }

    #[test]
    fn one_association_more_that_seems_to_gain_nothing_says_less_than_all_together() {
        let pace = Pace::default();
        let samples = [(1, (20, ms(1000))), (2, (20, ms(900))), (3, (60, ms(1000))), (7, (400, ms(4000)))];
        pace.learn_lanes(&BTreeMap::from(samples));
        assert_eq!((pace.lanes(Some(ms(20)), 7), pace.proven_lanes()), (7, 7));
        pace.learn_lanes(&BTreeMap::from([(1, (100, ms(1000))), (4, (110, ms(1000)))]));
        assert_eq!((pace.lanes(Some(ms(20)), 7), pace.proven_lanes()), (1, 1), "it sends to one at a time");
    }

    #[test]
    fn operations_are_small_until_it_is_known_what_pays_and_short_where_others_wait() {
        let pace = Pace::default();
        let mut sizes = pace.sizes(500, 3);
        assert_eq!([sizes.next(), sizes.next(), sizes.next(), sizes.next()], [PROBE, PROBE, PROBE, 56]);
        assert_eq!(pace.sizes(500, 1).next(), UIDS_PER_REQUEST);
        assert_eq!(pace.sizes(3, 0).next(), UIDS_PER_REQUEST);
        pace.learn_turnaround(1, ms(10));
        assert_eq!(pace.sizes(500, 1).next(), 25);
        pace.learn_turnaround(1, ms(1000));
        assert_eq!(pace.sizes(500, 1).next(), SMALLEST);
    }
}
