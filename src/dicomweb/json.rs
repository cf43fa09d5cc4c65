//! The DICOM JSON model: data sets as the web reads them (PS3.18 Annex F).

use std::io::Write as _;

use crate::dicom::dataset::{DataSet, Element, Step, Value};
use crate::dicom::dictionary::is_group_length;
use crate::dicom::{Tag, VR, tags};

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
    let announced = data_set.contains(tags::SPECIFIC_CHARACTER_SET) || !is_ascii(data_set);
    let mut writer = Writer { out, is_first: vec![true] };
    let mut owes_charset = announced;
    writer.out.push(b'{');
    for step in data_set.walk() {
        match step {
            Step::Element(tag, element) => {
                if owes_charset && writer.is_at_top() && tag >= tags::SPECIFIC_CHARACTER_SET {
                    owes_charset = false;
                    writer.charset();
                }
                writer.element(tag, element);
            }
            Step::Item { first } => {
                writer.out.extend(if first { &b"{"[..] } else { b",{" });
                writer.is_first.push(true);
            }
            Step::ItemEnd => {
                writer.is_first.pop();
                writer.out.push(b'}');
            }
            Step::SequenceEnd => writer.out.extend(b"]}"),
        }
    }
    if owes_charset {
        writer.charset();
    }
    out.push(b'}');
}

fn is_ascii(data_set: &DataSet) -> bool {
    data_set.walk().all(|step| match step {
        Step::Element(_, element) => element.strings().iter().all(|s| s.is_ascii()),
        _ => true,
    })
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Whether no attribute was written yet, for the data set and each item that is open.
    is_first: Vec<bool>,
}

impl Writer<'_> {
    fn is_at_top(&self) -> bool {
        self.is_first.len() == 1
    }

    fn charset(&mut self) {
        self.key(tags::SPECIFIC_CHARACTER_SET, VR::CS);
        self.out.extend(br#","Value":["ISO_IR 192"]}"#);
    }

    /// Writes an attribute; of a sequence with items, up to the first of them.
    fn element(&mut self, tag: Tag, element: &Element) {
        if is_group_length(tag) {
            return;
        }
        if tag == tags::SPECIFIC_CHARACTER_SET {
            // That of the data set itself was written before; items may repeat it.
            if !self.is_at_top() {
                self.charset();
            }
            return;
        }
        self.key(tag, element.vr);
        match &element.value {
            Value::Items(items) if !items.is_empty() => {
                self.out.extend(br#","Value":["#);
                return;
            }
            Value::Items(_) => {}
            Value::Strings(values) => self.strings(element.vr, values),
            Value::Bytes(bytes) => self.bytes(element.vr, bytes),
        }
        self.out.push(b'}');
    }

    fn key(&mut self, tag: Tag, vr: VR) {
        let is_first = self.is_first.last_mut().expect("the data set itself is always open");
        if !std::mem::replace(is_first, false) {
            self.out.push(b',');
        }
        self.format(format_args!(r#""{:04X}{:04X}":{{"vr":"{vr}""#, tag.group(), tag.element()));
    }

    fn strings(&mut self, vr: VR, values: &[String]) {
        let has_value = |value: &String| match vr {
            VR::PN => name_groups(value).any(|(_, text)| !text.is_empty()),
            _ => !value.is_empty(),
        };
        if values.len() < 2 && !values.iter().any(has_value) {
            return;
        }
        self.array(values, |writer, value| match vr {
            _ if !has_value(value) => writer.out.extend(b"null"),
            VR::PN => writer.name(value),
            VR::DS | VR::IS => match json_number(value) {
                Some(number) => writer.out.extend(number.as_bytes()),
                None => writer.string(value),
            },
            _ => writer.string(value),
        });
    }

    fn bytes(&mut self, vr: VR, bytes: &[u8]) {
        match vr {
            _ if bytes.is_empty() => {}
            VR::AT => self.words(bytes, |w, [a, b, c, d]: [u8; 4]| {
                w.format(format_args!(r#""{b:02X}{a:02X}{d:02X}{c:02X}""#));
            }),
            VR::US => self.words(bytes, |w, word| w.format(format_args!("{}", u16::from_le_bytes(word)))),
            VR::SS => self.words(bytes, |w, word| w.format(format_args!("{}", i16::from_le_bytes(word)))),
            VR::UL => self.words(bytes, |w, word| w.format(format_args!("{}", u32::from_le_bytes(word)))),
            VR::SL => self.words(bytes, |w, word| w.format(format_args!("{}", i32::from_le_bytes(word)))),
            VR::UV => self.words(bytes, |w, word| {
                let number = u64::from_le_bytes(word);
                w.integer(number, number);
            }),
            VR::SV => self.words(bytes, |w, word| {
                let number = i64::from_le_bytes(word);
                w.integer(number, number.unsigned_abs());
            }),
            VR::FL => self.words(bytes, |w, word| w.float(f32::from_le_bytes(word).into())),
            VR::FD => self.words(bytes, |w, word| w.float(f64::from_le_bytes(word))),
            _ => {
                self.out.extend(br#","InlineBinary":""#);
                write_base64(bytes, self.out);
                self.out.push(b'"');
            }
        }
    }

    /// Writes the values of a numeric VR; what is no whole word is left out.
    fn words<const N: usize>(&mut self, bytes: &[u8], write: impl Fn(&mut Self, [u8; N])) {
        let words = bytes.chunks_exact(N).filter_map(|word| word.first_chunk::<N>().copied());
        self.array(words, write);
    }

    fn array<T>(&mut self, values: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.out.extend(br#","Value":["#);
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(self, value);
        }
        self.out.push(b']');
    }

    fn name(&mut self, value: &str) {
        let groups = name_groups(value).filter(|(_, text)| !text.is_empty());
        for (index, (name, text)) in groups.enumerate() {
            self.out.push(if index == 0 { b'{' } else { b',' });
            self.format(format_args!(r#""{name}":"#));
            self.string(text);
        }
        self.out.push(b'}');
    }

    fn integer(&mut self, number: impl std::fmt::Display, magnitude: u64) {
        if magnitude > MAX_EXACT {
            self.format(format_args!(r#""{number}""#));
        } else {
            self.format(format_args!("{number}"));
        }
    }

    fn float(&mut self, number: f64) {
        if number.is_finite() {
            // Shortest digits that are read as the same number, with an exponent where that is shorter.
            self.format(format_args!("{number:?}"));
        } else if number.is_nan() {
            self.out.extend(br#""NaN""#);
        } else {
            self.out.extend(if number > 0.0 { &br#""inf""#[..] } else { br#""-inf""# });
        }
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("text is always JSON, memory always takes it");
    }

    fn format(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("memory always takes it");
    }
}

/// The component groups of a name that JSON has a place for (PS3.18 F.2.2, PS3.5 6.2.1.1).
fn name_groups(value: &str) -> impl Iterator<Item = (&'static str, &str)> {
    ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(value.split('=').map(str::trim_end))
}

/// The text of a DS or IS value as a JSON number of the same value: JSON has no plus sign, no leading zeros
/// and no bare decimal point. `None` when it is no number, or one beyond what a double holds.
fn json_number(value: &str) -> Option<String> {
    let value = value.trim();
    let (sign, unsigned) = match value.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", value.strip_prefix('+').unwrap_or(value)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], &unsigned[at..]),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_number = !(whole.is_empty() && fraction.is_empty()) && all_digits(whole) && all_digits(fraction);
    // The rest of the form, an exponent's above all, is what Rust's floats have too.
    if !is_number || !unsigned.parse::<f64>().is_ok_and(f64::is_finite) {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// Base64 with padding (RFC 4648 section 4).
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut all = [0; 3];
        all[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, all[0], all[1], all[2]]);
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 0x3F) as usize]);
        let used = group.len() + 1;
        out.extend_from_slice(&digits[..used]);
        out.extend_from_slice(&b"=="[..4 - used]);
    }
}

#[cfg(test)]
mod tests;
