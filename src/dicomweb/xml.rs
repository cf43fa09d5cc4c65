//! The Native DICOM Model: data sets as XML (PS3.19 A.1).

use std::io::Write as _;

use super::document::{Besides, Document, Notation, Strings, is_empty, name_groups};
use super::json::{put_base64, put_hex, put_integer};
use crate::dicom::dataset::DataSet;
use crate::dicom::dictionary::keyword_of;
use crate::dicom::{Tag, VR};

/// The components of a name in the order that PN has them in (PS3.5 6.2.1.1).
const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];

/// Writes one data set as a document, attributes by ascending tag, without group lengths.
///
/// Specific Character Set (0008,0005) describes the text as sent: ISO_IR 192 where the data set has the
/// attribute or text beyond ASCII. Binary data goes inline. Characters that XML cannot hold become U+FFFD.
pub fn write_document(data_set: &DataSet) -> Vec<u8> {
    write_document_with(data_set, None)
}

/// The same with one attribute besides, in place of its own of that tag.
pub fn write_document_with(data_set: &DataSet, besides: Option<Besides<'_>>) -> Vec<u8> {
    Document::of(Xml, data_set, besides, Vec::with_capacity(1024))
}

/// The notation.
#[derive(Debug)]
pub(super) struct Xml;

impl Notation for Xml {
    fn names_creators(&self) -> bool {
        true
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"<?xml version="1.0" encoding="UTF-8"?>"#);
        out.extend_from_slice(
            br#"<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" "#,
        );
        out.extend_from_slice(br#"xml:space="preserve">"#);
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</NativeDicomModel>");
    }

    fn begin_attribute(&self, out: &mut Vec<u8>, tag: Tag, vr: VR, creator: Option<&str>) {
        out.extend_from_slice(br#"<DicomAttribute tag=""#);
        put_hex(out, tag.group());
        // Beside the name of its owner, a private element has no block number.
        put_hex(out, if creator.is_some() { tag.element() & 0xFF } else { tag.element() });
        out.extend_from_slice(br#"" vr=""#);
        out.extend_from_slice(&vr.to_bytes());
        if let Some(keyword) = keyword_of(tag) {
            out.extend_from_slice(br#"" keyword=""#);
            out.extend_from_slice(keyword.as_bytes());
        }
        if let Some(creator) = creator {
            out.extend_from_slice(br#"" privateCreator=""#);
            put_text(out, creator);
        }
        out.extend_from_slice(br#"">"#);
    }

    fn end_attribute(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</DicomAttribute>");
    }

    fn strings(&self, out: &mut Vec<u8>, vr: VR, values: Strings<'_>) {
        for (number, text) in (1..).zip(values) {
            match vr {
                VR::PN if !is_empty(vr, text) => name(out, number, text),
                _ => value(out, number, |out| put_text(out, text)),
            }
        }
    }

    fn bytes(&self, out: &mut Vec<u8>, vr: VR, bytes: &[u8]) {
        match vr {
            VR::AT => words(out, bytes, |out, [a, b, c, d]: [u8; 4]| {
                put_hex(out, u16::from_le_bytes([a, b]));
                put_hex(out, u16::from_le_bytes([c, d]));
            }),
            VR::US => words(out, bytes, |out, word| put_integer(out, u16::from_le_bytes(word).into())),
            VR::SS => words(out, bytes, |out, word| put_integer(out, i16::from_le_bytes(word).into())),
            VR::UL => words(out, bytes, |out, word| put_integer(out, u32::from_le_bytes(word).into())),
            VR::SL => words(out, bytes, |out, word| put_integer(out, i32::from_le_bytes(word).into())),
            VR::UV => words(out, bytes, |out, word| display(out, u64::from_le_bytes(word))),
            VR::SV => words(out, bytes, |out, word| put_integer(out, i64::from_le_bytes(word))),
            VR::FL => words(out, bytes, |out, word| float(out, f32::from_le_bytes(word).into())),
            VR::FD => words(out, bytes, |out, word| float(out, f64::from_le_bytes(word))),
            _ => {
                out.extend_from_slice(b"<InlineBinary>");
                put_base64(out, bytes);
                out.extend_from_slice(b"</InlineBinary>");
            }
        }
    }

    fn bulk_data(&self, out: &mut Vec<u8>, uri: std::fmt::Arguments<'_>) {
        out.extend_from_slice(br#"<BulkData uri=""#);
        put_text(out, &uri.to_string());
        out.extend_from_slice(br#""/>"#);
    }

    fn begin_items(&self, _out: &mut Vec<u8>) {}

    fn end_items(&self, _out: &mut Vec<u8>) {}

    fn begin_item(&self, out: &mut Vec<u8>, number: u32) {
        out.extend_from_slice(br#"<Item number=""#);
        put_integer(out, number.into());
        out.extend_from_slice(br#"">"#);
    }

    fn end_item(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</Item>");
    }
}

fn value(out: &mut Vec<u8>, number: i64, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(br#"<Value number=""#);
    put_integer(out, number);
    out.extend_from_slice(br#"">"#);
    write(out);
    out.extend_from_slice(b"</Value>");
}

/// Writes the values of a numeric VR; what is no whole word is left out.
fn words<const N: usize>(out: &mut Vec<u8>, bytes: &[u8], write: impl Fn(&mut Vec<u8>, [u8; N])) {
    for (number, word) in (1..).zip(bytes.as_chunks::<N>().0) {
        value(out, number, |out| write(out, *word));
    }
}

fn name(out: &mut Vec<u8>, number: i64, text: &str) {
    out.extend_from_slice(br#"<PersonName number=""#);
    put_integer(out, number);
    out.extend_from_slice(br#"">"#);
    for (group, text) in name_groups(text) {
        open(out, group);
        // What stands behind the fifth component has no place of its own.
        for (component, text) in COMPONENTS.iter().zip(text.splitn(COMPONENTS.len(), '^')) {
            let text = text.trim_matches(' ');
            if !text.is_empty() {
                open(out, component);
                put_text(out, text);
                close(out, component);
            }
        }
        close(out, group);
    }
    out.extend_from_slice(b"</PersonName>");
}

fn open(out: &mut Vec<u8>, name: &str) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

fn close(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

/// A number in the words of XML Schema, which has its own for what is not finite.
fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        write!(out, "{number:?}").expect("memory always takes it");
    } else if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if number > 0.0 { b"INF" } else { b"-INF" });
    }
}

fn display(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    write!(out, "{number}").expect("memory always takes it");
}

/// Writes text, of an element or in quotation marks.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let is_plain = |b: u8| matches!(b, b' '..0x7F) && !matches!(b, b'&' | b'<' | b'>' | b'"');
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            // Readers make line feeds and spaces of them otherwise (XML 1.0, 2.11 and 3.3.3).
            '\r' => out.extend_from_slice(b"&#13;"),
            '\n' => out.extend_from_slice(b"&#10;"),
            '\t' => out.extend_from_slice(b"&#9;"),
            // XML 1.0 has no way to write these (2.2).
            '\0'..' ' | '\u{FFFE}' | '\u{FFFF}' => out.extend_from_slice("\u{FFFD}".as_bytes()),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
