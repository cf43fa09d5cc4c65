//! Values as a person reads them.

use std::time::{Duration, SystemTime};

use crate::dicom::{Uid, calendar};

/// The storage SOP classes that are met most, by their names (PS3.4 B.5), without what all names have.
const CLASSES: [(&str, &str); 30] = [
    ("1.2.840.10008.5.1.4.1.1.1", "Computed Radiography"),
    ("1.2.840.10008.5.1.4.1.1.1.1", "Digital X-Ray, for presentation"),
    ("1.2.840.10008.5.1.4.1.1.1.1.1", "Digital X-Ray, for processing"),
    ("1.2.840.10008.5.1.4.1.1.1.2", "Digital Mammography, for presentation"),
    ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    ("1.2.840.10008.5.1.4.1.1.2.1", "Enhanced CT"),
    ("1.2.840.10008.5.1.4.1.1.3.1", "Ultrasound Multi-frame"),
    ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    ("1.2.840.10008.5.1.4.1.1.4.1", "Enhanced MR"),
    ("1.2.840.10008.5.1.4.1.1.6.1", "Ultrasound"),
    ("1.2.840.10008.5.1.4.1.1.7", "Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.7.2", "Multi-frame Grayscale Byte Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.7.4", "Multi-frame True Color Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG Waveform"),
    ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State"),
    ("1.2.840.10008.5.1.4.1.1.12.1", "X-Ray Angiographic"),
    ("1.2.840.10008.5.1.4.1.1.12.2", "X-Ray Radiofluoroscopic"),
    ("1.2.840.10008.5.1.4.1.1.13.1.3", "Breast Tomosynthesis"),
    ("1.2.840.10008.5.1.4.1.1.20", "Nuclear Medicine"),
    ("1.2.840.10008.5.1.4.1.1.66", "Raw Data"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation"),
    ("1.2.840.10008.5.1.4.1.1.77.1.4", "VL Photographic"),
    ("1.2.840.10008.5.1.4.1.1.77.1.6", "VL Whole Slide Microscopy"),
    ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR"),
    ("1.2.840.10008.5.1.4.1.1.88.22", "Enhanced SR"),
    ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR"),
    ("1.2.840.10008.5.1.4.1.1.88.67", "X-Ray Radiation Dose SR"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
    ("1.2.840.10008.5.1.4.1.1.128", "Positron Emission Tomography"),
    ("1.2.840.10008.5.1.4.1.1.481.1", "RT Image"),
];

/// What objects of a SOP class are; of others than the common ones its UID.
pub(super) fn class(uid: &Uid) -> String {
    let known = CLASSES.iter().find(|(known, _)| *known == uid.as_str());
    known.map_or(uid.as_str(), |(_, name)| name).to_owned()
}

/// How long ago something was.
pub(super) fn ago(at: SystemTime) -> String {
    let seconds = at.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn took(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis @ 1..1000 => format!("{millis} ms"),
        millis @ 1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        millis => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
    }
}

/// A moment by UTC: `2026-11-01 12:34:56`.
pub(super) fn moment(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = calendar::date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Bytes in units of a thousand.
pub(super) fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count.max(0.0);
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// A number in a rate.
pub(super) fn rate(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// The value of a person name (PS3.5 6.2.1): the groups there are, each as `Family, Given`.
pub(super) fn name(value: &str) -> String {
    let group = |group: &str| {
        let parts: Vec<&str> = group.split('^').map(str::trim).collect();
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let given: Vec<&str> =
            [part(3), part(1), part(2), part(4)].into_iter().filter(|p| !p.is_empty()).collect();
        match (part(0), given.join(" ")) {
            (family, given) if given.is_empty() => family.to_owned(),
            ("", given) => given,
            (family, given) => format!("{family}, {given}"),
        }
    };
    let groups: Vec<String> = value.split('=').map(group).filter(|text| !text.is_empty()).collect();
    groups.join(" · ")
}

/// A date (VR DA) as ISO 8601 writes it; anything else as it is.
pub(super) fn date(value: &str) -> String {
    match value.len() == 8 && value.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("{}-{}-{}", &value[..4], &value[4..6], &value[6..]),
        false => value.to_owned(),
    }
}

/// A time (VR TM) to the minute; anything else as it is.
pub(super) fn time(value: &str) -> String {
    match value.len() >= 4 && value.bytes().take(4).all(|b| b.is_ascii_digit()) {
        true => format!("{}:{}", &value[..2], &value[2..4]),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |seconds| moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00:00");
        assert_eq!(at(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(at(951_827_696), "2000-02-29 12:34:56");
        assert_eq!(at(1_793_836_799), "2026-11-04 23:59:59");
        assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00");
    }

    #[test]
    fn names_are_written_as_people_do() {
        for (value, expected) in [
            ("Müller^Jürgen", "Müller, Jürgen"),
            ("Doe^John^Q^Dr.^jun.", "Doe, Dr. John Q jun."),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou · 山田, 太郎 · やまだ, たろう"),
            ("^John", "John"),
            ("Doe", "Doe"),
            ("", ""),
        ] {
            assert_eq!(name(value), expected);
        }
    }

    #[test]
    fn what_is_no_date_and_no_time_is_shown_as_it_is() {
        assert_eq!((date("20261101").as_str(), date("1.11.2026").as_str()), ("2026-11-01", "1.11.2026"));
        assert_eq!(date("2026110\u{e9}"), "2026110\u{e9}");
        assert_eq!((time("093015.5").as_str(), time("\u{e9}9\u{e9}").as_str()), ("09:30", "\u{e9}9\u{e9}"));
    }

    #[test]
    fn amounts_have_few_digits() {
        assert_eq!([0.0, 999.0, 1500.0, 12_345_678.0].map(bytes), ["0 B", "999 B", "1.5 kB", "12.3 MB"]);
        assert_eq!([0.0, 0.25, 12.7].map(rate), ["0", "0.2", "13"]);
        assert_eq!(took(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(took(Duration::from_secs(125)), "2 min 5 s");
    }
}
