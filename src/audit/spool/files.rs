//! The files of a spool: segments of records, and how far the sinks are.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::{MAX_RECORD, Position};

/// Length and checksum before each record.
pub(super) const HEADER: usize = 12;
/// The file that says how far the sinks are.
const POSITIONS: &str = "positions";

/// Appends a record to `out`, as it stands in a segment.
pub(super) fn put_record(out: &mut Vec<u8>, record: &[u8]) {
    // No record is longer than MAX_RECORD.
    out.extend((record.len() as u32).to_le_bytes());
    out.extend(XxHash3_64::oneshot(record).to_le_bytes());
    out.extend_from_slice(record);
}

/// The first record in `bytes`, and what is behind it; `None`: it is not whole, or not what was written.
pub(super) fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (length, checksum) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (record, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_RECORD)?;
    (XxHash3_64::oneshot(record).to_le_bytes() == checksum).then_some((record, rest))
}

/// The length of the whole records of a segment, to which the file is cut.
pub(super) fn cut_off_what_is_unfinished(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut rest = &bytes[..];
    while let Some((_, behind)) = split_record(rest) {
        rest = behind;
    }
    let whole = (bytes.len() - rest.len()) as u64;
    if !rest.is_empty() {
        file.set_len(whole)?;
        tracing::warn!(
            bytes = rest.len(),
            "the last record of the audit spool was not finished; it is dropped"
        );
    }
    Ok(whole)
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

pub(super) fn new_segment(path: &Path, id: u64) -> io::Result<File> {
    private().write(true).create_new(true).open(path.join(name(id)))
}

pub(super) fn name(id: u64) -> String {
    format!("{id:020}.segment")
}

pub(super) fn id_of(name: &str) -> Option<u64> {
    name.strip_suffix(".segment")?.parse().ok()
}

/// One line for each sink: its name, segment and offset.
pub(super) fn write_positions(path: &Path, positions: &BTreeMap<String, Position>) -> io::Result<()> {
    let line = |(sink, at): (&String, &Position)| format!("{sink} {} {}\n", at.segment, at.offset);
    let text: String = positions.iter().map(line).collect();
    let new = path.join("positions.new");
    let mut file = private().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    // Whoever reads it finds the old one or the new one.
    fs::rename(new, path.join(POSITIONS))
}

pub(super) fn read_positions(path: &Path) -> BTreeMap<String, Position> {
    let text = fs::read_to_string(path.join(POSITIONS)).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let sink = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some((sink, Position { segment: number()?, offset: number()? }))
    };
    text.lines().filter_map(line).collect()
}
