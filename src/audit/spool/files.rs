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

/// How many whole records a segment has behind `offset`.
pub(super) fn records_behind(path: &Path, offset: u64) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    let mut rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let mut records = 0;
    while let Some((_, behind)) = split_record(rest) {
        rest = behind;
        records += 1;
    }
    Ok(records)
}

/// A new segment, whose name outlives a power cut.
pub(super) fn new_segment(path: &Path, id: u64) -> io::Result<File> {
    let file = private().write(true).create_new(true).open(path.join(name(id)))?;
    sync_directory(path)?;
    Ok(file)
}

/// Brings the names in a directory to the disk itself.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
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
    // Before its name is on the disk, what is in it: else a power cut leaves an empty one.
    file.sync_all()?;
    drop(file);
    // Whoever reads it finds the old one or the new one.
    fs::rename(new, path.join(POSITIONS))?;
    sync_directory(path)
}

/// How far each sink is by the file, and whether the file is there and whole: a sink that a damaged one does not name
/// may have been in it.
pub(super) fn read_positions(path: &Path) -> io::Result<(BTreeMap<String, Position>, bool)> {
    let bytes = match fs::read(path.join(POSITIONS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let line = |line: &str| {
        // A line without its end may have lost digits too.
        let mut words = line.strip_suffix('\n')?.split(' ');
        let sink = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        let at = Position { segment: number()?, offset: number()? };
        words.next().is_none().then_some((sink, at))
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.split_inclusive('\n').map(line);
    let is_whole = !text.is_empty() && lines().all(|line| line.is_some());
    Ok((lines().flatten().collect(), is_whole))
}
