//! Names in zip archives: whatever an archive says its UIDs are, a name is two folders and a file below the one that it is
//! unpacked in, and the archive holds what was put in.

use std::io::Read;

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicomweb::zip::{Name, Writer};

/// Runs the target on one input: lines of study, series, instance and bytes, with blanks between.
pub(crate) fn run(data: &[u8]) {
    let mut writer = Writer::<()>::new();
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for line in data.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let mut uid = || Uid::from_padded(fields.next().unwrap_or_default());
        let (Ok(study), series, Ok(instance)) = (uid(), uid(), uid()) else { continue };
        let content = fields.next().unwrap_or_default();
        let name = Name::new(&study, series.as_ref().ok(), &instance);
        assert!(is_harmless(name.as_str()), "{name:?}");
        let path = name.as_str().to_owned();
        let Ok(head) = writer.begin(name) else { continue };
        out.push(head);
        writer.write(Bytes::copy_from_slice(content), &mut out);
        expected.push((path, content.to_vec()));
    }
    out.push(writer.finish(()));
    assert_eq!(files(&out.concat()), expected);
}

fn is_harmless(path: &str) -> bool {
    let parts: Vec<&str> = path.strip_suffix(".dcm").unwrap_or_default().split('/').collect();
    let is_uid = |part: &str| {
        part.len() <= Uid::MAX_LENGTH
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && part.split('.').all(|component| !component.is_empty())
    };
    parts.len() == 3
        && parts.iter().enumerate().all(|(n, part)| is_uid(part) || n == 1 && *part == "without-series")
}

/// The files by the directory of an archive.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: usize, length: usize| {
        archive[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let mut at = number(archive.len() - 6, 4);
    let mut files = Vec::new();
    while archive[at..].starts_with(b"PK\x01\x02") {
        let (name, begins, deflated) = (number(at + 28, 2), number(at + 42, 4), number(at + 20, 4));
        let path = String::from_utf8(archive[at + 46..at + 46 + name].to_vec()).expect("ASCII");
        let body = begins + 30 + name;
        let mut content = Vec::new();
        let decoder = flate2::read::DeflateDecoder::new(&archive[body..body + deflated]);
        decoder.take(1 << 20).read_to_end(&mut content).expect("it was deflated");
        files.push((path, content));
        at += 46 + name + number(at + 30, 2);
    }
    files
}
