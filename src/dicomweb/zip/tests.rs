use std::io::Read as _;

use proptest::prelude::*;

use super::*;

struct Proof;

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn name(number: usize) -> Name {
    Name::new(&uid("1.2"), Some(&uid("1.3")), &uid(&format!("1.4.{number}")))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An entry of the directory: name, checksum, sizes deflated and not, and where the file begins.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    checksum: u32,
    deflated: u64,
    size: u64,
    begins: u64,
}

/// Reads the end of an archive of which `before` bytes stand before `tail`: from the back, as readers do.
fn directory(tail: &[u8], before: u64) -> Vec<Entry> {
    let end = &tail[tail.len() - 22..];
    assert_eq!(&end[..4], b"PK\x05\x06");
    let mut files = number(&end[10..12]);
    let mut begins = number(&end[16..20]);
    if begins == 0xFFFF_FFFF {
        let locator = &tail[tail.len() - 42..];
        assert_eq!(&locator[..4], b"PK\x06\x07");
        let record = &tail[(number(&locator[8..16]) - before) as usize..];
        assert_eq!(&record[..4], b"PK\x06\x06");
        (files, begins) = (number(&record[32..40]), number(&record[48..56]));
    }
    let mut at = &tail[(begins - before) as usize..];
    let mut entries = Vec::new();
    while at.starts_with(b"PK\x01\x02") {
        let (name, extra) = (number(&at[28..30]) as usize, number(&at[30..32]) as usize);
        let mut more = at[46 + name..46 + name + extra].get(4..).unwrap_or_default();
        let mut value = |field: &[u8]| match number(field) {
            0xFFFF_FFFF => {
                let (value, rest) = more.split_at(8);
                more = rest;
                number(value)
            }
            value => value,
        };
        entries.push(Entry {
            name: String::from_utf8(at[46..46 + name].to_vec()).unwrap(),
            checksum: number(&at[16..20]) as u32,
            size: value(&at[24..28]),
            deflated: value(&at[20..24]),
            begins: value(&at[42..46]),
        });
        at = &at[46 + name + extra..];
    }
    assert_eq!(entries.len() as u64, files);
    entries
}

/// The files of an archive, each held against its checksum.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let read = |entry: Entry| {
        let local = &archive[entry.begins as usize..];
        assert_eq!(&local[..4], b"PK\x03\x04");
        let begins = 30 + number(&local[26..28]) as usize;
        assert_eq!(&local[30..begins], entry.name.as_bytes());
        let mut bytes = Vec::new();
        let deflated = &local[begins..begins + entry.deflated as usize];
        flate2::read::DeflateDecoder::new(deflated).read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (entry.size, entry.checksum));
        (entry.name, bytes)
    };
    directory(archive, 0).into_iter().map(read).collect()
}

#[test]
fn files_come_out_as_they_went_in_whatever_their_pieces() {
    let contents: [&[u8]; 4] = [b"", b"short", &[7; 70_000], b"\0"];
    for size in [1, 1000, 65_535, 65_536, 1 << 20] {
        let mut writer = Writer::<Proof>::new();
        let mut out = Vec::new();
        for (n, content) in contents.iter().enumerate() {
            out.push(writer.begin(name(n)).unwrap());
            content.chunks(size).for_each(|it| writer.write(Bytes::copy_from_slice(it), &mut out));
        }
        out.push(writer.finish(Proof));
        let expected: Vec<(String, Vec<u8>)> =
            (0..4).map(|n| (format!("1.2/1.3/1.4.{n}.dcm"), contents[n].to_vec())).collect();
        assert_eq!(files(&out.concat()), expected, "{size}");
    }
    assert_eq!(files(&Writer::<Proof>::new().finish(Proof)), []);
}

#[test]
fn the_same_objects_make_the_same_archive() {
    let write = || {
        let mut writer = Writer::<Proof>::new();
        let mut out = vec![writer.begin(name(1)).unwrap()];
        writer.write(Bytes::from_static(b"an object"), &mut out);
        out.push(writer.finish(Proof));
        out.concat()
    };
    assert_eq!(write(), write());
}

#[test]
fn hazard_an_archive_that_is_not_finished_has_no_directory() {
    let mut writer = Writer::<Proof>::new();
    let mut out = vec![writer.begin(name(1)).unwrap()];
    writer.write(Bytes::from_static(b"all of it"), &mut out);
    out.push(writer.begin(name(2)).unwrap());
    writer.write(Bytes::from_static(b"half of it"), &mut out);
    let archive = out.concat();
    for mark in [b"PK\x01\x02", b"PK\x05\x06"] {
        assert!(!archive.windows(4).any(|at| at == mark));
    }
}

#[test]
fn hazard_the_same_object_twice_and_objects_without_end_are_refused() {
    let mut writer = Writer::<Proof>::new();
    writer.begin(name(1)).unwrap();
    assert_eq!(writer.begin(name(1)), Err(Error::Twice));
    let elsewhere = Name::new(&uid("1.2"), None, &uid("1.4.1"));
    assert_eq!(writer.begin(elsewhere), Err(Error::Twice));
    for n in 2..=MAX_FILES {
        writer.begin(name(n)).unwrap();
    }
    assert_eq!(writer.begin(name(0)), Err(Error::TooMany));
    assert!(writer.directory.len() < MAX_FILES * 100, "{}", writer.directory.len());
}

#[test]
fn zip64_begins_with_the_file_for_which_the_count_has_no_place() {
    for count in [65_534, 65_535, 70_000] {
        let mut writer = Writer::<Proof>::new();
        let mut out = Vec::new();
        for n in 0..count {
            out.push(writer.begin(name(n)).unwrap());
            writer.write(Bytes::copy_from_slice(&n.to_le_bytes()), &mut out);
        }
        out.push(writer.finish(Proof));
        let archive = out.concat();
        let record = archive.windows(4).rev().take(100).any(|at| at == b"PK\x06\x06");
        assert_eq!(record, count > 65_534, "{count}");
        for (n, (_, content)) in files(&archive).into_iter().enumerate() {
            assert_eq!(content, n.to_le_bytes());
        }
    }
}

#[test]
fn zip64_holds_objects_and_archives_of_more_than_four_gib() {
    let piece = Bytes::from(vec![0x5A; 1 << 20]);
    let lengths = [2 << 10, 4 << 10, 1, 2 << 10];
    let mut writer = Writer::<Proof>::new();
    let (mut passed, mut before) = (0, 0);
    for (n, length) in lengths.into_iter().enumerate() {
        passed += writer.begin(name(n)).unwrap().len() as u64;
        for _ in 0..length {
            let mut out = Vec::new();
            writer.write(piece.clone(), &mut out);
            passed += out.iter().map(|it| it.len() as u64).sum::<u64>();
        }
        before = passed;
    }
    let tail = writer.finish(Proof);
    let entries = directory(&tail, before);
    for (n, (entry, length)) in entries.iter().zip(lengths).enumerate() {
        assert_eq!(entry.name, name(n).as_str());
        assert_eq!(entry.size, length << 20);
        assert_eq!(
            entry.deflated,
            (length << 20) + (length * 17 + 1) * 5,
            "17 blocks in a MiB, and the last"
        );
    }
    assert!(entries[3].begins > 6 << 30);
    // The descriptor of the last file stands first in the tail; its sizes have 32 bits, as its own are short.
    assert_eq!(number(&tail[5 + 12..5 + 16]), entries[3].size);
}

#[test]
fn hazard_zip_slip_no_uid_leads_out_of_the_folder() {
    for hostile in [
        "../../../etc/passwd",
        "..",
        ".",
        "1.2/../../x",
        "/1.2",
        "C:\\1.2",
        "1.2\r\nX: y",
        "1.2\0",
        "1.2.dcm/",
        "con",
        "1..2",
        " ",
        "١.٢",
    ] {
        assert!(hostile.parse::<Uid>().is_err(), "{hostile}");
    }
    assert!("1".repeat(300).parse::<Uid>().is_err());
    let longest = uid(&"1".repeat(Uid::MAX_LENGTH));
    assert_eq!(Name::new(&longest, Some(&longest), &longest).as_str().len(), 198);
    assert_eq!(Name::new(&uid("1.2"), None, &uid("1.4")).as_str(), "1.2/without-series/1.4.dcm");
}

proptest! {
    #[test]
    fn a_name_is_two_folders_and_a_file_whatever_is_taken_for_a_uid(texts in prop::array::uniform3("[0-9./\\\\\r\n~ ]{1,70}")) {
        if let [Ok(study), Ok(series), Ok(instance)] = texts.map(|text| text.parse::<Uid>()) {
            let name = Name::new(&study, Some(&series), &instance);
            let parts: Vec<&str> = name.as_str().strip_suffix(".dcm").unwrap().split('/').collect();
            prop_assert_eq!(parts.len(), 3);
            for part in parts {
                prop_assert!(part.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
                prop_assert!(part.bytes().any(|b| b.is_ascii_digit()));
            }
        }
    }
}
