//! The DICOM JSON model: data sets as the web reads them (PS3.18 Annex F).

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::document::{Besides, Document, Notation, Strings, is_empty, name_groups};
use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, VR};

/// Largest whole number that every JSON reader keeps: those that read numbers as doubles lose digits beyond.
const MAX_EXACT: u64 = 1 << 53;

/// Writes data sets as an array, as `application/dicom+json` bodies have it (PS3.18 F.2.1).
pub fn write_array(data_sets: &[DataSet]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, data_set) in data_sets.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_object(data_set, &mut out);
    }
    out.push(b']');
    out
}

/// Appends one data set as an object, attributes by ascending tag, without group lengths.
///
/// Specific Character Set (0008,0005) describes the text as sent: ISO_IR 192 where the data set has the
/// attribute or text beyond ASCII (PS3.18 F.2.2). Binary data goes inline.
pub fn write_object(data_set: &DataSet, out: &mut Vec<u8>) {
    write_object_with(data_set, None, out);
}

/// The same with one attribute besides, in place of its own of that tag.
pub fn write_object_with(data_set: &DataSet, besides: Option<Besides<'_>>, out: &mut Vec<u8>) {
    *out = Document::of(Json, data_set, besides, std::mem::take(out));
}

/// The notation. Attributes and items end with a comma, which the end of what surrounds them takes back.
#[derive(Debug)]
pub(super) struct Json;

impl Notation for Json {
    fn names_creators(&self) -> bool {
        false
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.push(b'{');
    }

    fn end(&self, out: &mut Vec<u8>) {
        close(out, b'}');
    }

    fn begin_attribute(&self, out: &mut Vec<u8>, tag: Tag, vr: VR, _creator: Option<&str>) {
        out.extend_from_slice(&filled_in(*br#""GGGGEEEE":{"vr":"VR""#, tag, vr));
    }

    #[inline]
    fn plain(&self, out: &mut Vec<u8>, tag: Tag, vr: VR, value: &[u8]) -> bool {
        if value.is_empty() {
            out.extend_from_slice(&filled_in(*br#""GGGGEEEE":{"vr":"VR"},"#, tag, vr));
            return true;
        }
        match vr {
            VR::DS | VR::IS => {
                if !is_plain_number(value) {
                    return false;
                }
                out.extend_from_slice(&filled_in(*br#""GGGGEEEE":{"vr":"VR","Value":["#, tag, vr));
                out.extend_from_slice(value);
                out.extend_from_slice(b"]},");
            }
            VR::PN => {
                if value.contains(&b'=') {
                    return false;
                }
                let begin = *br#""GGGGEEEE":{"vr":"VR","Value":[{"Alphabetic":""#;
                out.extend_from_slice(&filled_in(begin, tag, vr));
                out.extend_from_slice(value);
                out.extend_from_slice(br#""}]},"#);
            }
            _ => {
                out.extend_from_slice(&filled_in(*br#""GGGGEEEE":{"vr":"VR","Value":[""#, tag, vr));
                out.extend_from_slice(value);
                out.extend_from_slice(br#""]},"#);
            }
        }
        true
    }

    fn end_attribute(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},");
    }

    fn strings(&self, out: &mut Vec<u8>, vr: VR, values: Strings<'_>) {
        array(out, values, |out, value| match vr {
            _ if is_empty(vr, value) => out.extend_from_slice(b"null"),
            VR::PN => name(out, value),
            VR::DS | VR::IS if put_number(out, value) => {}
            _ => string(out, value),
        });
    }

    fn bytes(&self, out: &mut Vec<u8>, vr: VR, bytes: &[u8]) {
        match vr {
            VR::AT => words(out, bytes, |out, [a, b, c, d]: [u8; 4]| {
                out.push(b'"');
                put_hex(out, u16::from_le_bytes([a, b]));
                put_hex(out, u16::from_le_bytes([c, d]));
                out.push(b'"');
            }),
            VR::US => words(out, bytes, |out, word| put_integer(out, u16::from_le_bytes(word).into())),
            VR::SS => words(out, bytes, |out, word| put_integer(out, i16::from_le_bytes(word).into())),
            VR::UL => words(out, bytes, |out, word| put_integer(out, u32::from_le_bytes(word).into())),
            VR::SL => words(out, bytes, |out, word| put_integer(out, i32::from_le_bytes(word).into())),
            VR::UV => words(out, bytes, |out, word| {
                let number = u64::from_le_bytes(word);
                exact(out, number, number);
            }),
            VR::SV => words(out, bytes, |out, word| {
                let number = i64::from_le_bytes(word);
                exact(out, number, number.unsigned_abs());
            }),
            VR::FL => words(out, bytes, |out, word| float(out, f32::from_le_bytes(word).into())),
            VR::FD => words(out, bytes, |out, word| float(out, f64::from_le_bytes(word))),
            _ => {
                out.extend_from_slice(br#","InlineBinary":""#);
                put_base64(out, bytes);
                out.push(b'"');
            }
        }
    }

    fn bulk_data(&self, out: &mut Vec<u8>, uri: std::fmt::Arguments<'_>) {
        out.extend_from_slice(br#","BulkDataURI":"#);
        match uri.as_str() {
            Some(uri) => string(out, uri),
            None => string(out, &uri.to_string()),
        }
    }

    fn begin_items(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#","Value":["#);
    }

    fn end_items(&self, out: &mut Vec<u8>) {
        close(out, b']');
    }

    fn begin_item(&self, out: &mut Vec<u8>, _number: u32) {
        out.push(b'{');
    }

    fn end_item(&self, out: &mut Vec<u8>) {
        close(out, b'}');
        out.push(b',');
    }
}

/// What an attribute begins with, given the tag and the VR that are its own.
#[inline]
fn filled_in<const N: usize>(mut text: [u8; N], tag: Tag, vr: VR) -> [u8; N] {
    text[1..5].copy_from_slice(&hex(tag.group()));
    text[5..9].copy_from_slice(&hex(tag.element()));
    text[18..20].copy_from_slice(&vr.to_bytes());
    text
}

/// Closes an object or array, in place of the comma behind its last entry.
fn close(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

fn array<T>(out: &mut Vec<u8>, values: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.extend_from_slice(br#","Value":["#);
    for value in values {
        write(out, value);
        out.push(b',');
    }
    close(out, b']');
}

/// Writes the values of a numeric VR; what is no whole word is left out.
fn words<const N: usize>(out: &mut Vec<u8>, bytes: &[u8], write: impl Fn(&mut Vec<u8>, [u8; N])) {
    let words = bytes.as_chunks::<N>().0;
    if !words.is_empty() {
        array(out, words.iter().copied(), write);
    }
}

fn name(out: &mut Vec<u8>, value: &str) {
    out.push(b'{');
    for (group, text) in name_groups(value) {
        out.push(b'"');
        out.extend_from_slice(group.as_bytes());
        out.extend_from_slice(b"\":");
        string(out, text);
        out.push(b',');
    }
    close(out, b'}');
}

/// A number that goes as text where a double could not hold it (PS3.18 F.2.3).
fn exact(out: &mut Vec<u8>, number: impl std::fmt::Display, magnitude: u64) {
    let quote = if magnitude > MAX_EXACT { "\"" } else { "" };
    write!(out, "{quote}{number}{quote}").expect("memory always takes it");
}

/// Writes a whole number.
pub(super) fn put_integer(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; LONGEST_INTEGER];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

/// The sign and the digits of the longest 64-bit number.
const LONGEST_INTEGER: usize = 20;

fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        // Shortest digits that are read as the same number, with an exponent where that is shorter.
        write!(out, "{number:?}").expect("memory always takes it");
    } else if number.is_nan() {
        out.extend_from_slice(br#""NaN""#);
    } else {
        out.extend_from_slice(if number > 0.0 { br#""inf""# } else { br#""-inf""# });
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Without a way out in the middle, so that many bytes are looked at at once.
    let is_plain = text.bytes().fold(true, |all, b| all & (b >= b' ') & (b != b'"') & (b != b'\\'));
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("text is always JSON, memory always takes it");
    }
}

/// Four hexadecimal digits in capitals.
pub(super) fn put_hex(out: &mut Vec<u8>, half: u16) {
    out.extend_from_slice(&hex(half));
}

/// All four at once: a digit to each byte, and what lies between `9` and `A` to those from 10 on.
#[inline]
fn hex(half: u16) -> [u8; 4] {
    let half = u32::from(half);
    let digits = half >> 12 | (half >> 8 & 0xF) << 8 | (half >> 4 & 0xF) << 16 | (half & 0xF) << 24;
    let letters = (digits + 0x0606_0606) >> 4 & 0x0101_0101;
    (digits + 0x3030_3030 + letters * u32::from(b'A' - b'9' - 1)).to_le_bytes()
}

/// Base64 with padding (RFC 4648 section 4).
pub(super) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("it has just the length that is needed");
}

/// Writes the text of a DS or IS value as a JSON number of the same value, digit by digit: JSON has no plus
/// sign, no leading zeros and no bare decimal point. `false` when it is no number, or one beyond what a double
/// holds.
fn put_number(out: &mut Vec<u8>, value: &str) -> bool {
    let value = value.trim();
    if is_plain_number(value.as_bytes()) {
        out.extend_from_slice(value.as_bytes());
        return true;
    }
    let (is_negative, unsigned) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => unsigned.split_at(at),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_number = !(whole.is_empty() && fraction.is_empty()) && all_digits(whole) && all_digits(fraction);
    // The rest of the form, an exponent's above all, is what Rust's floats have too.
    let is_small = exponent.is_empty() && whole.len() < LONGEST_OF_A_DOUBLE;
    if !is_number || !(is_small || unsigned.parse::<f64>().is_ok_and(f64::is_finite)) {
        return false;
    }
    if is_negative {
        out.push(b'-');
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(exponent.as_bytes());
    true
}

/// Whether the text is a JSON number as it stands, without an exponent and not too long: most are.
fn is_plain_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let whole = unsigned.iter().take_while(|b| b.is_ascii_digit()).count();
    let is_whole = match unsigned {
        [b'0', ..] => whole == 1,
        _ => (1..LONGEST_OF_A_DOUBLE).contains(&whole),
    };
    is_whole
        && match &unsigned[whole..] {
            [] => true,
            [b'.', fraction @ ..] => !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// So many digits before the point any double has room for.
const LONGEST_OF_A_DOUBLE: usize = 308;

#[cfg(test)]
mod tests;
