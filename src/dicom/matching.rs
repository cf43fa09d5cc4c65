//! Tells whether a data set matches the keys of a query, as far as that can be told (PS3.4 C.2.2.2).
//!
//! Archives leave keys out that they do not support, and match by rules of their own: some take `Müller` for
//! `Muller`, some return an attribute empty that they matched on. So an answer has four grades, and only
//! [`Verdict::Differs`] says that a match is none whatever the archive's rules are.

mod text;
mod time;

use bytes::Bytes;

use self::time::Interval;
use super::dataset::{DataSet, Element, Value};
use super::query::MatchingKey;
use super::{Tag, VR, tags};

/// Asks for entities whose attribute has no value (PS3.4 C.2.2.2.7).
pub const EMPTY_VALUE: &str = "\"\"";

/// Dates and times that are matched together where the date is a range (PS3.4 C.2.2.2.5).
const DATE_TIME_PAIRS: [(Tag, Tag); 6] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::SCHEDULED_PROCEDURE_STEP_START_DATE, tags::SCHEDULED_PROCEDURE_STEP_START_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
];

/// Whether an attribute matches, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Certainly not.
    Differs,
    /// Not by the standard's literal matching, but an archive with rules of its own may see it otherwise: the
    /// attribute has no value, or differs in letter case or in accents only.
    Doubtful,
    /// By our reading, which is not the only one: the value is less precise than the key.
    Likely,
    /// Certainly.
    Matches,
}

/// Keys that one element, or one item of a sequence, has to match together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// The sequences around the attributes; empty at the top.
    sequences: Vec<Tag>,
    keys: Vec<MatchingKey>,
    /// `keys` are a date and a time, matched as one moment.
    combined: bool,
}

/// The criteria of a query: one for each key, but one for all keys in the same sequence (PS3.4 C.2.2.2.6), and
/// one for the range of a date together with its time (combined date-time matching).
pub fn criteria(keys: &[MatchingKey]) -> Vec<Criterion> {
    let mut criteria: Vec<Criterion> = Vec::new();
    for key in keys.iter().filter(|key| !is_universal(key)) {
        let sequences = key.path.sequences();
        let joined = criteria.iter_mut().find(|c| {
            c.sequences == sequences
                && (!sequences.is_empty() || c.keys.iter().any(|other| are_combined(other, key)))
        });
        match joined {
            Some(criterion) => {
                criterion.combined = sequences.is_empty();
                criterion.keys.push(key.clone());
                criterion.keys.sort_by_key(|k| k.vr == VR::TM);
            }
            None => criteria.push(Criterion {
                sequences: sequences.to_vec(),
                keys: vec![key.clone()],
                combined: false,
            }),
        }
    }
    criteria
}

/// Whether the key matches everything (PS3.4 C.2.2.2.3): an archive needs not be asked.
pub fn is_universal(key: &MatchingKey) -> bool {
    key.values.iter().any(|value| !value.is_empty() && value.bytes().all(|b| b == b'*'))
}

impl Criterion {
    /// The keys.
    pub fn keys(&self) -> &[MatchingKey] {
        &self.keys
    }

    /// Whether a date and a time are matched as one moment.
    pub fn is_combined(&self) -> bool {
        self.combined
    }

    /// Whether `data_set` matches.
    pub fn judge(&self, data_set: &DataSet) -> Verdict {
        let mut scopes = vec![data_set];
        for sequence in &self.sequences {
            scopes = scopes.into_iter().flat_map(|scope| scope.items(*sequence)).collect();
        }
        let nothing = DataSet::new();
        if scopes.is_empty() {
            scopes.push(&nothing);
        }
        scopes.into_iter().map(|scope| self.judge_item(scope)).max().unwrap_or(Verdict::Doubtful)
    }

    fn judge_item(&self, scope: &DataSet) -> Verdict {
        if let (true, [date, time]) = (self.combined, &self.keys[..]) {
            return judge_moment(date, time, scope);
        }
        self.keys
            .iter()
            .map(|key| judge_key(key, scope.get(key.path.leaf())))
            .min()
            .unwrap_or(Verdict::Matches)
    }
}

/// Whether two keys are the range of a date and its time.
fn are_combined(one: &MatchingKey, other: &MatchingKey) -> bool {
    let is_range = |key: &MatchingKey| matches!(&key.values[..], [value] if value.contains('-'));
    DATE_TIME_PAIRS.iter().any(|(date, time)| {
        let pair = |d: &MatchingKey, t: &MatchingKey| {
            d.path.tags() == [*date] && t.path.tags() == [*time] && is_range(d) && t.values.len() == 1
        };
        pair(one, other) || pair(other, one)
    })
}

fn judge_key(key: &MatchingKey, element: Option<&Element>) -> Verdict {
    let wants_empty = key.values.iter().any(|value| value == EMPTY_VALUE);
    let element = match element {
        None => return if wants_empty { Verdict::Likely } else { Verdict::Doubtful },
        Some(element) if element.value.is_empty() => {
            return if wants_empty { Verdict::Matches } else { Verdict::Doubtful };
        }
        Some(element) => element,
    };
    let wanted = key.values.iter().filter(|value| *value != EMPTY_VALUE);
    wanted.map(|value| judge_element(key.vr, value, element)).max().unwrap_or(Verdict::Differs)
}

/// One wanted value against all values of an element that has some.
fn judge_element(vr: VR, wanted: &str, element: &Element) -> Verdict {
    match &element.value {
        Value::Strings(values) => {
            let some = values.iter().filter(|value| !value.is_empty());
            some.map(|value| judge_text(vr, wanted, value)).max().unwrap_or(Verdict::Doubtful)
        }
        Value::Bytes(bytes) if element.vr == VR::UN => match std::str::from_utf8(bytes) {
            Ok(value) => judge_text(vr, wanted, value.trim_matches(['\0', ' '])).max(Verdict::Doubtful),
            Err(_) => Verdict::Doubtful,
        },
        Value::Bytes(bytes) => judge_binary(element.vr, wanted, bytes),
        // Names an attribute of its items, or nothing that could be compared.
        Value::Items(_) => Verdict::Doubtful,
    }
}

fn judge_text(vr: VR, wanted: &str, value: &str) -> Verdict {
    let (wanted, value) = (wanted.trim(), value.trim());
    let is_wild = wanted.contains(['*', '?']);
    match vr {
        VR::UI => exactly(wanted == value),
        VR::DA | VR::TM | VR::DT if !is_wild => {
            match (Interval::of_key(vr, wanted), Interval::of_value(vr, value)) {
                (Some(wanted), Some(value)) => wanted.judge(value),
                _ => Verdict::Doubtful,
            }
        }
        VR::IS | VR::DS if !is_wild => match (wanted.parse::<f64>(), value.parse::<f64>()) {
            (Ok(wanted), Ok(value)) => exactly(wanted == value),
            _ => text::judge(wanted, value),
        },
        VR::PN => text::judge_name(wanted, value),
        _ => text::judge(wanted, value),
    }
}

fn judge_binary(vr: VR, wanted: &str, bytes: &Bytes) -> Verdict {
    let Some(wanted) = encode_binary(vr, wanted) else { return Verdict::Doubtful };
    exactly(!wanted.is_empty() && bytes.chunks_exact(wanted.len()).any(|value| value == wanted))
}

/// The bytes of a value of a binary VR that is written as text; `None` where the VR has no such form.
pub fn encode_binary(vr: VR, text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    Some(match vr {
        VR::US => text.parse::<u16>().ok()?.to_le_bytes().to_vec(),
        VR::SS => text.parse::<i16>().ok()?.to_le_bytes().to_vec(),
        VR::UL => text.parse::<u32>().ok()?.to_le_bytes().to_vec(),
        VR::SL => text.parse::<i32>().ok()?.to_le_bytes().to_vec(),
        VR::UV => text.parse::<u64>().ok()?.to_le_bytes().to_vec(),
        VR::SV => text.parse::<i64>().ok()?.to_le_bytes().to_vec(),
        VR::FL => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
        VR::FD => text.parse::<f64>().ok()?.to_le_bytes().to_vec(),
        VR::AT => {
            let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8)?;
            let halves = [(number >> 16) as u16, (number & 0xFFFF) as u16];
            halves.into_iter().flat_map(u16::to_le_bytes).collect()
        }
        _ => return None,
    })
}

/// The range of a date and its time against both attributes as one moment.
fn judge_moment(date: &MatchingKey, time: &MatchingKey, scope: &DataSet) -> Verdict {
    let first = |tag: Tag| scope.get(tag).and_then(Element::string);
    let Some(day) = first(date.path.leaf()) else { return Verdict::Doubtful };
    let wanted = Interval::of_moments(&date.values[0], &time.values[0]);
    let value = Interval::of_moment(day, first(time.path.leaf()));
    match (wanted, value) {
        (Some(wanted), Some(value)) => wanted.judge(value),
        _ => Verdict::Doubtful,
    }
}

fn exactly(matches: bool) -> Verdict {
    if matches { Verdict::Matches } else { Verdict::Differs }
}

#[cfg(test)]
mod tests;
