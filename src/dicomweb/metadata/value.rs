//! From what stands in the document to the value of an element, by its value representation.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::WarningKind;
use crate::dicom::byte_order::word_size;
use crate::dicom::dataset::{DataSet, Value, is_single_valued, is_textual, trim};
use crate::dicom::dictionary::{is_us_or_ss, vr_of};
use crate::dicom::{Tag, VR};

/// Longest value of a DS, in characters (PS3.5 6.2).
const MAX_DECIMAL_STRING: usize = 16;

/// Base64 as RFC 4648 has it, padding or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One of the values of an attribute, before its value representation says what it means.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// An empty value among several.
    Null,
    Text(Cow<'a, str>),
    /// A number as it was written, so that none of its digits is lost.
    Number(&'a str),
    /// The component groups of a name, in the form of the value of a PN.
    Name(String),
    Item(DataSet),
}

/// The value representation that a document states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Absent,
    Known(VR),
    Unknown,
}

impl Declared {
    pub(super) fn parse(text: &str) -> Self {
        text.trim().to_ascii_uppercase().parse().map_or(Self::Unknown, Self::Known)
    }
}

/// The VR to encode `parts` in: as declared; else the dictionary's; else SQ where there are items. `None`:
/// there are values, and nothing says of what kind.
pub(super) fn vr_for(tag: Tag, declared: Declared, parts: &[Part]) -> Option<VR> {
    if let Declared::Known(vr) = declared
        && vr != VR::UN
    {
        return Some(vr);
    }
    let has_values = parts.iter().any(|part| !matches!(part, Part::Null));
    if declared == Declared::Known(VR::UN) && !has_values {
        return Some(VR::UN);
    }
    if is_us_or_ss(tag) && parts.iter().any(|part| matches!(part, Part::Number(n) if n.starts_with('-'))) {
        return Some(VR::SS);
    }
    match vr_of(tag) {
        VR::UN if parts.iter().any(|part| matches!(part, Part::Item(_))) => Some(VR::SQ),
        VR::UN if has_values => None,
        vr => Some(vr),
    }
}

/// The value that `parts` are in this VR.
pub(super) fn value_of(vr: VR, parts: Vec<Part>) -> Result<Value, WarningKind> {
    match vr {
        VR::SQ => items(parts),
        vr if is_textual(vr) => strings(vr, parts),
        VR::AT => words(parts, tag_bytes),
        VR::US => words(parts, |t| Some(u16::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::SS => words(parts, |t| Some(i16::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::UL => words(parts, |t| Some(u32::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::SL => words(parts, |t| Some(i32::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::UV => words(parts, |t| Some(u64::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::SV => words(parts, |t| Some(i64::try_from(integer(t)?).ok()?.to_le_bytes())),
        VR::FL => words(parts, |t| {
            let number: f32 = t.parse().ok()?;
            is_in_range(t, number.is_infinite()).then(|| number.to_le_bytes())
        }),
        VR::FD => words(parts, |t| {
            let number: f64 = t.parse().ok()?;
            is_in_range(t, number.is_infinite()).then(|| number.to_le_bytes())
        }),
        _ if parts.iter().all(|part| matches!(part, Part::Null)) => Ok(Value::Bytes(Bytes::new())),
        _ => Err(WarningKind::WrongKind),
    }
}

/// The bytes that base64 text stands for; line breaks in it are passed over.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    if text.as_bytes().iter().any(is_blank) {
        let dense: Vec<u8> = text.bytes().filter(|byte| !is_blank(byte)).collect();
        return BASE64.decode(dense).ok();
    }
    BASE64.decode(text).ok()
}

/// The value that these bytes, little endian, are in this VR; and what is wrong with them.
pub(super) fn value_of_bytes(
    vr: VR,
    mut bytes: Vec<u8>,
) -> Result<(Value, Option<WarningKind>), WarningKind> {
    if vr == VR::SQ {
        return Err(WarningKind::WrongKind);
    }
    if is_textual(vr) {
        let text = String::from_utf8(bytes).map_err(|_| WarningKind::BadInlineBinary)?;
        return strings(vr, vec![Part::Text(text.into())]).map(|value| (value, None));
    }
    let whole = bytes.len() - bytes.len() % word_size(vr);
    let warning = (whole < bytes.len()).then_some(WarningKind::BrokenWord);
    bytes.truncate(whole);
    Ok((Value::Bytes(bytes.into()), warning))
}

fn items(parts: Vec<Part>) -> Result<Value, WarningKind> {
    let items = parts.into_iter().map(|part| match part {
        Part::Item(item) => Ok(item),
        Part::Null => Ok(DataSet::new()),
        Part::Text(_) | Part::Number(_) | Part::Name(_) => Err(WarningKind::WrongKind),
    });
    items.collect::<Result<_, _>>().map(Value::Items)
}

fn strings(vr: VR, parts: Vec<Part>) -> Result<Value, WarningKind> {
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        let text = match part {
            Part::Null => Cow::Borrowed(""),
            Part::Text(text) => text,
            Part::Number(number) => number_text(vr, number),
            Part::Name(name) if vr == VR::PN => name.into(),
            // A name without any component group.
            Part::Item(item) if vr == VR::PN && item.is_empty() => Cow::Borrowed(""),
            Part::Name(_) | Part::Item(_) => return Err(WarningKind::WrongKind),
        };
        if is_single_valued(vr) {
            values.push(trim(vr, &text).to_owned());
        } else {
            // A backslash would be a delimiter once the values are encoded; so it is one here.
            values.extend(text.split('\\').map(|value| trim(vr, value).to_owned()));
        }
    }
    if is_single_valued(vr) && values.len() > 1 {
        values = vec![values.join("\\")];
    }
    if let [only] = values.as_slice()
        && only.is_empty()
    {
        values.clear();
    }
    Ok(Value::Strings(values))
}

/// The text of a number in a textual VR.
fn number_text(vr: VR, number: &str) -> Cow<'_, str> {
    match vr {
        VR::DS if number.len() > MAX_DECIMAL_STRING => decimal_string(number).into(),
        VR::IS => match integer(number) {
            Some(integer) => integer.to_string().into(),
            None => number.into(),
        },
        _ => number.into(),
    }
}

/// The decimal string nearest to a number that was written with more digits than a DS holds; the number
/// itself where it is none.
fn decimal_string(number: &str) -> String {
    let Ok(value) = number.parse::<f64>() else { return number.to_owned() };
    let plain = format!("{value}");
    if plain.len() <= MAX_DECIMAL_STRING {
        return plain;
    }
    // From the most digits down, in the form without an exponent where that one fits.
    let forms = (0..MAX_DECIMAL_STRING)
        .rev()
        .flat_map(|digits| [format!("{value:.digits$}"), format!("{value:.digits$e}")]);
    let fitting = forms.filter(|form| form.len() <= MAX_DECIMAL_STRING);
    let distance = |form: &String| form.parse::<f64>().map_or(f64::INFINITY, |read| (read - value).abs());
    fitting.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or_else(|| number.to_owned())
}

/// The words of a numeric VR. A null has none, so that it is bad among numbers.
fn words<const N: usize>(
    parts: Vec<Part>,
    parse: impl Fn(&str) -> Option<[u8; N]>,
) -> Result<Value, WarningKind> {
    if parts.iter().all(|part| matches!(part, Part::Null)) {
        return Ok(Value::Bytes(Bytes::new()));
    }
    let mut bytes = Vec::with_capacity(parts.len() * N);
    for part in &parts {
        let text = match part {
            Part::Text(text) => text.as_ref(),
            Part::Number(number) => number,
            Part::Null => return Err(WarningKind::BadNumber),
            Part::Name(_) | Part::Item(_) => return Err(WarningKind::WrongKind),
        };
        bytes.extend(parse(text.trim()).ok_or(WarningKind::BadNumber)?);
    }
    Ok(Value::Bytes(bytes.into()))
}

/// A whole number, also in the forms `5.0` and `1e3`.
fn integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number far below 2^127")]
    (number.fract() == 0.0 && number.abs() <= 18_446_744_073_709_551_616.0).then_some(number as i128)
}

/// Whether infinity was written as such, and did not come from a number too great.
fn is_in_range(text: &str, is_infinite: bool) -> bool {
    !is_infinite || !text.bytes().any(|byte| byte.is_ascii_digit())
}

/// A tag as eight hexadecimal digits, with the parentheses and the comma that some writers put in.
fn tag_bytes(text: &str) -> Option<[u8; 4]> {
    let digits: String = text.chars().filter(|c| !matches!(c, '(' | ')' | ',')).collect();
    let [a, b, c, d] = tag_number(&digits)?.to_be_bytes();
    Some([b, a, d, c])
}

/// Eight hexadecimal digits of either case.
pub(super) fn tag_number(digits: &str) -> Option<u32> {
    let is_tag = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_tag.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}
