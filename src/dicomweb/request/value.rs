//! The values of matching keys: taken apart and held against their VR (PS3.4 C.2.2.2, PS3.5 6.2).

use super::BadRequest;
use crate::dicom::{Uid, VR};

/// Most values of one key. A list of UIDs of this length fills the longest query.
const MAX_VALUES: usize = 512;
/// Longest value, in characters. The longest text that archives match on (LO, ST) has less.
const MAX_VALUE_LENGTH: usize = 1024;

/// The values of the key `name`; none where the value asks for everything (universal matching).
///
/// A backslash separates values, as in the identifier of a C-FIND, and so does a comma in a VR that has no
/// commas of its own, or in any with `multiplevaluematching`.
pub(super) fn parse(name: &str, vr: VR, value: &str, multiple: bool) -> Result<Vec<String>, BadRequest> {
    let bad = |why: &str| Err(BadRequest(format!("the value of `{name}` {why}")));
    let trimmed = value.trim();
    // A lone `*` is universal matching in every VR (PS3.4 C.2.2.2.4); some archives fail on it in a date.
    if trimmed.is_empty() || trimmed == "*" {
        return Ok(Vec::new());
    }
    if trimmed.chars().any(char::is_control) {
        return bad("has control characters in it");
    }
    let values: Vec<String> = match separators(vr, multiple) {
        [] => vec![trimmed.to_owned()],
        found => trimmed.split(found).map(|one| one.trim().to_owned()).collect(),
    };
    for one in &values {
        if one.is_empty() {
            return bad("has an empty member in its list");
        }
        if one.chars().count() > MAX_VALUE_LENGTH {
            return bad(&format!("is longer than {MAX_VALUE_LENGTH} characters"));
        }
        if let Some(expected) = mismatch(vr, one) {
            return bad(&format!("is not {expected}"));
        }
    }
    check_count(name, &values)?;
    Ok(values)
}

/// Bounds the number of values of the key `name`.
pub(super) fn check_count(name: &str, values: &[String]) -> Result<(), BadRequest> {
    if values.len() <= MAX_VALUES {
        return Ok(());
    }
    Err(BadRequest(format!("`{name}` has more than {MAX_VALUES} values")))
}

fn separators(vr: VR, multiple: bool) -> &'static [char] {
    match vr {
        // Text in which a backslash is a character (PS3.5 6.2), and which has one value only.
        VR::LT | VR::ST | VR::UT | VR::UR => &[],
        VR::AE | VR::LO | VR::PN | VR::SH | VR::UC if !multiple => &['\\'],
        _ => &['\\', ','],
    }
}

/// What a value should have been, where it is something else.
fn mismatch(vr: VR, value: &str) -> Option<&'static str> {
    let (fits, expected) = match vr {
        VR::UI => (value.parse::<Uid>().is_ok(), "a UID, or a list of UIDs"),
        VR::DA => (is_range(value, is_date), "a date YYYYMMDD, or a range of dates"),
        VR::TM => (is_range(value, is_time), "a time HHMMSS, or a range of times"),
        VR::DT => (only(value, ".+-*?\""), "a date and time, or a range of them"),
        VR::IS | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV => (only(value, "+-*?\""), "an integer"),
        VR::DS | VR::FD | VR::FL => (only(value, "+-.eE*?\""), "a number"),
        VR::AT => (value.len() == 8 && value.bytes().all(|b| b.is_ascii_hexdigit()), "a tag"),
        VR::SQ => (false, "possible: name an attribute of its items, as in `Sequence.Attribute`"),
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => {
            (false, "possible: binary attributes are not matched")
        }
        _ => (true, ""),
    };
    // Two quotation marks are an empty value (PS3.4 C.2.2.2.7).
    (!fits && value != "\"\"").then_some(expected)
}

fn only(value: &str, besides_digits: &str) -> bool {
    value.chars().all(|c| c.is_ascii_digit() || besides_digits.contains(c))
}

/// `a`, `a-`, `-b` or `a-b` (PS3.4 C.2.2.2.5).
fn is_range(value: &str, is_one: impl Fn(&str) -> bool) -> bool {
    match value.split_once('-') {
        None => is_one(value),
        Some(("", "")) => false,
        Some((from, to)) => [from, to].iter().all(|end| end.is_empty() || is_one(end.trim())),
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && only(text, "")
}

fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    matches!(whole.len(), 2 | 4 | 6)
        && only(whole, "")
        && (1..=6).contains(&fraction.len())
        && only(fraction, "")
}
