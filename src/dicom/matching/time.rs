//! Dates and times as intervals: `2024` is a whole year, `20240101-` has no end (PS3.4 C.2.2.2.5, PS3.5 6.2).

use super::Verdict;
use crate::dicom::VR;
use crate::dicom::calendar::day_number;

/// Microseconds; of dates and moments since 1970-01-01, of times since midnight.
type Micros = i64;

const SECOND: Micros = 1_000_000;
const HOUR: Micros = 3600 * SECOND;
const DAY: Micros = 24 * HOUR;
/// Greatest offset from UTC (PS3.5 6.2, VR DT): what a moment without one may be off.
const MAX_OFFSET: Micros = 14 * HOUR;

/// From the first microsecond to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    first: Micros,
    last: Micros,
    /// The offset from UTC is known and was taken into account; `None` where there is none to know.
    in_utc: Option<bool>,
}

impl Interval {
    /// What a key asks for: a single value or a range. `None` where it cannot be understood.
    pub(super) fn of_key(vr: VR, key: &str) -> Option<Self> {
        let (from, to) = match vr {
            VR::DT => split_moments(key)?,
            _ => match key.split_once('-') {
                Some((from, to)) => (from.trim(), to.trim()),
                None => (key, key),
            },
        };
        if from.is_empty() && to.is_empty() {
            return None;
        }
        let end = |text: &str| if text.is_empty() { Some(None) } else { Self::of_value(vr, text).map(Some) };
        let (from, to) = (end(from)?, end(to)?);
        let known = from.or(to)?.in_utc;
        Some(Self {
            first: from.map_or(Micros::MIN, |from| from.first),
            last: to.map_or(Micros::MAX, |to| to.last),
            in_utc: if from.is_none_or(|f| f.in_utc == known) && to.is_none_or(|t| t.in_utc == known) {
                known
            } else {
                return None;
            },
        })
    }

    /// What a value of VR DA, TM or DT means with all it leaves open. The forms of ACR-NEMA, `2024.01.31` and
    /// `10:30:00`, are understood.
    pub(super) fn of_value(vr: VR, value: &str) -> Option<Self> {
        match vr {
            VR::DA => {
                let digits: String = value.chars().filter(|c| *c != '.').collect();
                let (first, last) = days(&digits).filter(|_| digits.len() == 8)?;
                Some(Self { first: first * DAY, last: (last + 1) * DAY - 1, in_utc: None })
            }
            VR::TM => {
                let (first, last) = micros_of_day(&value.replace(':', ""))?;
                Some(Self { first, last, in_utc: None })
            }
            VR::DT => moment(value),
            _ => None,
        }
    }

    /// What a range of dates and a time, or a range of times, ask for together: from the first date's first
    /// time to the last date's last time.
    pub(super) fn of_moments(dates: &str, times: &str) -> Option<Self> {
        let (dates, times) = (Self::of_key(VR::DA, dates)?, Self::of_key(VR::TM, times)?);
        let first = if dates.first == Micros::MIN { dates.first } else { dates.first + times.first.max(0) };
        let last = if dates.last == Micros::MAX {
            dates.last
        } else {
            dates.last - DAY + 1 + times.last.min(DAY - 1)
        };
        Some(Self { first, last, in_utc: None })
    }

    /// The moment of a date and a time; a whole day without the time.
    pub(super) fn of_moment(date: &str, time: Option<&str>) -> Option<Self> {
        let day = Self::of_value(VR::DA, date)?;
        let Some(time) = time else { return Some(day) };
        let time = Self::of_value(VR::TM, time)?;
        Some(Self { first: day.first + time.first, last: day.first + time.last, in_utc: None })
    }

    /// Whether a value lies in what the key asks for.
    pub(super) fn judge(self, value: Self) -> Verdict {
        if self.first > self.last {
            // From 22 h to 2 h: archives do not agree on what that means.
            return Verdict::Doubtful;
        }
        let slack = if self.in_utc == value.in_utc { 0 } else { MAX_OFFSET };
        let (first, last) = (value.first.saturating_sub(slack), value.last.saturating_add(slack));
        if last < self.first || first > self.last {
            Verdict::Differs
        } else if first >= self.first && last <= self.last {
            Verdict::Matches
        } else if value.first >= self.first && value.first <= self.last {
            Verdict::Likely
        } else {
            Verdict::Doubtful
        }
    }
}

/// The first and the last day of `YYYY`, `YYYYMM` or `YYYYMMDD`, counted from 1970-01-01.
fn days(digits: &str) -> Option<(i64, i64)> {
    let year = number(digits.get(..4)?)?;
    let month = digits.get(4..6).filter(|m| !m.is_empty()).map(number);
    let day = digits.get(6..8).filter(|d| !d.is_empty()).map(number);
    match (digits.len(), month, day) {
        (4, None, None) => Some((day_number(year, 1, 1), day_number(year, 12, 31))),
        (6, Some(month), None) => {
            let month = month.filter(|m| (1..=12).contains(m))?;
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            Some((day_number(year, month, 1), day_number(next.0, next.1, 1) - 1))
        }
        (8, Some(month), Some(day)) => {
            let (month, day) =
                (month.filter(|m| (1..=12).contains(m))?, day.filter(|d| (1..=31).contains(d))?);
            let number = day_number(year, month, day);
            Some((number, number))
        }
        _ => None,
    }
}

/// The first and the last microsecond of `HH`, `HHMM`, `HHMMSS` or `HHMMSS.F`, with one to six F.
fn micros_of_day(text: &str) -> Option<(Micros, Micros)> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let mut first = 0;
    let mut unit = 24 * HOUR;
    let limits = [(HOUR, 23), (60 * SECOND, 59), (SECOND, 60)];
    if whole.is_empty() || whole.len() > 6 || whole.len() % 2 == 1 {
        return None;
    }
    for (index, (size, greatest)) in limits.into_iter().enumerate() {
        let Some(two) = whole.get(2 * index..2 * index + 2) else { break };
        first += number(two).filter(|n| *n <= greatest)? * size;
        unit = size;
    }
    if let Some(fraction) = fraction {
        if whole.len() != 6 || fraction.is_empty() || fraction.len() > 6 {
            return None;
        }
        for digit in fraction.chars() {
            unit /= 10;
            first += number(digit.encode_utf8(&mut [0; 4]))? * unit;
        }
    }
    Some((first, first + unit - 1))
}

/// `YYYYMMDDHHMMSS.FFFFFF&ZZXX`, cut anywhere after the year.
fn moment(text: &str) -> Option<Interval> {
    let (local, offset) = match text.rfind(['+', '-']) {
        Some(at) => (&text[..at], Some(offset(&text[at..])?)),
        None => (text, None),
    };
    let (date, time) = local.split_at_checked(8).unwrap_or((local, ""));
    let (first_day, last_day) = days(date)?;
    let (first, last) = if time.is_empty() {
        (first_day * DAY, (last_day + 1) * DAY - 1)
    } else {
        let (first, last) = micros_of_day(time)?;
        (first_day * DAY + first, first_day * DAY + last)
    };
    let shift = offset.unwrap_or(0);
    Some(Interval { first: first - shift, last: last - shift, in_utc: Some(offset.is_some()) })
}

/// `+0100`, `-0500`.
fn offset(text: &str) -> Option<Micros> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..).filter(|d| d.len() == 4)?;
    let offset = number(digits.get(..2)?)? * HOUR + number(digits.get(2..)?)? * 60 * SECOND;
    (offset <= MAX_OFFSET).then_some(sign * offset)
}

/// The ends of a range of moments; the same twice for a single one. A hyphen with up to `1400` behind it,
/// where a range could not end, is the offset of the moment before it (PS3.5 6.2, VR DT).
fn split_moments(key: &str) -> Option<(&str, &str)> {
    let is_offset = |at: usize| {
        let behind = &key[at + 1..];
        let digits = behind.get(..4).and_then(number);
        at > 0 && digits.is_some_and(|n| n <= 1400) && matches!(behind.as_bytes().get(4), None | Some(b'-'))
    };
    let hyphens: Vec<usize> = key.match_indices('-').map(|(at, _)| at).filter(|at| !is_offset(*at)).collect();
    match hyphens[..] {
        [] => Some((key, key)),
        [at] => Some((key[..at].trim(), key[at + 1..].trim())),
        _ => None,
    }
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(vr: VR, key: &str, value: &str) -> Verdict {
        Interval::of_key(vr, key).unwrap().judge(Interval::of_value(vr, value).unwrap())
    }

    #[test]
    fn ranges_of_dates_include_their_ends_and_may_be_open() {
        for (key, inside, outside) in [
            ("20240229", "20240229", "20240301"),
            ("20240101-20241231", "20240101", "20231231"),
            ("20240101-20241231", "20241231", "20250101"),
            ("20240101-", "20991231", "20231231"),
            ("-20240101", "19000101", "20240102"),
            ("20240101-20240101", "2024.01.01", "2024.01.02"),
        ] {
            assert_eq!(judge(VR::DA, key, inside), Verdict::Matches, "{key} {inside}");
            assert_eq!(judge(VR::DA, key, outside), Verdict::Differs, "{key} {outside}");
        }
    }

    #[test]
    fn times_match_as_precisely_as_both_sides_are() {
        assert_eq!(judge(VR::TM, "1030", "103059.999"), Verdict::Matches);
        assert_eq!(judge(VR::TM, "1030", "1031"), Verdict::Differs);
        assert_eq!(judge(VR::TM, "10-12", "1259:59"), Verdict::Matches);
        assert_eq!(judge(VR::TM, "1030-1040", "10"), Verdict::Doubtful);
        assert_eq!(judge(VR::TM, "10-1040", "10"), Verdict::Likely);
        assert_eq!(judge(VR::TM, "2200-0200", "2300"), Verdict::Doubtful, "over midnight");
    }

    #[test]
    fn moments_know_their_offset_from_utc_or_stay_in_doubt() {
        assert_eq!(judge(VR::DT, "20240101120000+0100", "20240101110000+0000"), Verdict::Matches);
        assert_eq!(judge(VR::DT, "20240101120000+0100", "20240101120000+0000"), Verdict::Differs);
        assert_eq!(judge(VR::DT, "20240101-20240131", "20240115"), Verdict::Matches);
        assert_eq!(judge(VR::DT, "20240101-0500", "20240102000000-0500"), Verdict::Differs);
        assert_eq!(judge(VR::DT, "20240101-0500-20240131-0500", "20240110-0500"), Verdict::Matches);
        assert_eq!(judge(VR::DT, "20240101-", "20231231230000-0500"), Verdict::Likely);
        assert_eq!(judge(VR::DT, "20240101-", "20231231230000+0000"), Verdict::Doubtful);
        assert_eq!(judge(VR::DT, "-202401", "202402"), Verdict::Differs);
    }

    #[test]
    fn a_range_of_dates_with_times_is_one_range_of_moments() {
        let wanted = Interval::of_moments("20240101-20240105", "1000-1200").unwrap();
        let judge = |date, time| wanted.judge(Interval::of_moment(date, time).unwrap());
        assert_eq!(judge("20240103", Some("2359")), Verdict::Matches, "between the first and the last day");
        assert_eq!(judge("20240101", Some("0959")), Verdict::Differs);
        assert_eq!(judge("20240105", Some("1201")), Verdict::Differs);
        assert_eq!(judge("20240103", None), Verdict::Matches);
        assert_eq!(judge("20240101", None), Verdict::Doubtful);
        let open = Interval::of_moments("20240101-", "1000-1200").unwrap();
        assert_eq!(open.judge(Interval::of_moment("20300101", Some("23")).unwrap()), Verdict::Matches);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(key in "[-+.:0-9]{0,30}", value in "[-+.:0-9é]{0,30}", vr in 0..3_usize) {
            let vr = [VR::DA, VR::TM, VR::DT][vr];
            if let (Some(key), Some(value)) = (Interval::of_key(vr, &key), Interval::of_value(vr, &value)) {
                let _ = key.judge(value);
            }
            let _ = Interval::of_moments(&key, &value);
        }
    }

    #[test]
    fn days_follow_each_other_without_a_gap() {
        let mut expected = day_number(1896, 1, 1);
        for year in 1896..2105 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, length) in (1..).zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length + i64::from(month == 2 && is_leap) {
                    assert_eq!(day_number(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
        assert_eq!(day_number(1970, 1, 1), 0);
    }
}
