//! The PS3.10 files in a `multipart/related` answer, read without any of the bridge's own code.

use std::collections::BTreeMap;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Media Storage SOP Instance UID (0002,0003).
    pub(crate) instance: String,
    /// Transfer Syntax UID (0002,0010).
    pub(crate) transfer_syntax: String,
    /// The encoded data set behind the File Meta Information.
    pub(crate) data_set: Vec<u8>,
}

/// The files of a whole `multipart/related` body.
///
/// # Panics
/// The body is not closed, or a part is not a file.
pub(crate) fn files(content_type: &str, body: &[u8]) -> Vec<File> {
    let (files, closed) = parts(content_type, body);
    assert!(closed, "the body is not closed");
    files
}

/// The files that came whole before a body broke off.
///
/// # Panics
/// The body is closed as if everything had come, or a part is not a file.
pub(crate) fn files_so_far(content_type: &str, body: &[u8]) -> Vec<File> {
    let (files, closed) = parts(content_type, body);
    assert!(!closed, "a broken body has its closing boundary");
    files
}

fn parts(content_type: &str, body: &[u8]) -> (Vec<File>, bool) {
    let boundary = content_type.split("boundary=").nth(1).unwrap_or_else(|| panic!("{content_type}"));
    let boundary = boundary.split(';').next().unwrap().trim_matches('"');
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter has no line before it.
    let body = [b"\r\n", body].concat();
    let mut places: Vec<usize> = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&body[from..], &delimiter) {
        places.push(from + at);
        from += at + delimiter.len();
    }
    let tail = places.last().map_or(&body[..0], |end| &body[end + delimiter.len()..]);
    let files = (places.windows(2))
        .map(|pair| {
            let part = &body[pair[0] + delimiter.len()..pair[1]];
            let head = find(part, b"\r\n\r\n").expect("a part without a head");
            file(&part[head + 4..])
        })
        .collect();
    (files, tail.starts_with(b"--") && tail.len() <= 4)
}

/// The files by their SOP Instance UIDs.
///
/// # Panics
/// One is there twice.
pub(crate) fn by_instance(files: Vec<File>) -> BTreeMap<String, File> {
    let count = files.len();
    let map: BTreeMap<String, File> = files.into_iter().map(|file| (file.instance.clone(), file)).collect();
    assert_eq!(map.len(), count, "an object came twice");
    map
}

/// Reads one file (PS3.10 7.1).
pub(crate) fn file(bytes: &[u8]) -> File {
    assert_eq!(bytes.get(128..132), Some(&b"DICM"[..]), "no PS3.10 file");
    let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let (mut at, mut instance, mut transfer_syntax) = (132, String::new(), String::new());
    while bytes.len() > at + 8 && u16_at(at) == 2 {
        let (element, vr) = (u16_at(at + 2), &bytes[at + 4..at + 6]);
        let (length, value) = if matches!(vr, b"OB" | b"OW" | b"UN" | b"SQ" | b"UT") {
            (u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize, at + 12)
        } else {
            (usize::from(u16_at(at + 6)), at + 8)
        };
        let text =
            || String::from_utf8_lossy(&bytes[value..value + length]).trim_end_matches('\0').to_owned();
        match element {
            0x0003 => instance = text(),
            0x0010 => transfer_syntax = text(),
            _ => {}
        }
        at = value + length;
    }
    File { instance, transfer_syntax, data_set: bytes[at..].to_vec() }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // A first-byte search keeps a debug build from taking seconds over a large study.
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|b| *b == needle[0]) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
