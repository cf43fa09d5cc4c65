//! The sinks that take lines: a file that is rotated by its size, and standard output. Each line is a JSON object.
//!
//! They block, so that each has a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::spool::{Batch, Reader};

/// How long a sink pauses after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a sink that goes on failing says so.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Where lines go.
pub(super) trait Lines: Send + 'static {
    /// Writes these lines, each with its end, or none of them as far as that can be told.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// Brings records to `lines`, until there are no more. `lost` is told of what cannot be read any more.
pub(super) fn run(mut reader: Reader, mut lines: impl Lines, sink: &str, lost: impl Fn(u64)) {
    let mut said = None;
    while !reader.is_at_the_end() {
        if !reader.has_more() {
            reader.wait();
            continue;
        }
        match bring(&mut reader, &mut lines) {
            Ok(damaged) => {
                if damaged {
                    lost(1);
                }
                if said.take().is_some() {
                    tracing::warn!(sink, "the audit trail is written again");
                }
            }
            Err(error) => {
                if said.is_none_or(|at: Instant| at.elapsed() >= SAY_AGAIN) {
                    tracing::error!(sink, %error, "the audit trail cannot be written; it is kept in the spool");
                    said = Some(Instant::now());
                }
                if reader.is_closed() {
                    // What is left is for the next start.
                    return;
                }
                thread::sleep(PAUSE);
                reader.go_back();
            }
        }
    }
}

/// One batch; whether something was damaged.
fn bring(reader: &mut Reader, lines: &mut impl Lines) -> io::Result<bool> {
    let Batch { records, damaged } = reader.read()?;
    let mut out = Vec::new();
    for (record, _) in &records {
        out.extend_from_slice(record);
        out.push(b'\n');
    }
    if let Some((_, behind)) = records.last() {
        lines.write(&out)?;
        reader.acknowledge(*behind);
    }
    Ok(damaged)
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Stdout;

impl Lines for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(lines)?;
        out.flush()
    }
}

/// A file that becomes `….1`, `….2` and so on when it is full.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    size: u64,
    keep: usize,
    file: File,
    length: u64,
}

impl Rotated {
    /// The file at `path`, made where it is missing. `size`: in bytes, when it is full; `keep`: how many full ones stay,
    /// 0 for all.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, size: u64, keep: usize) -> io::Result<Self> {
        let (file, length) = append_to(path)?;
        Ok(Self { path: path.to_owned(), size, keep, file, length })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut last = 0;
        while last < usize::MAX && numbered(&self.path, last + 1).exists() {
            last += 1;
        }
        let most = if self.keep == 0 { last + 1 } else { self.keep };
        for n in (1..=last).rev() {
            if n >= most {
                fs::remove_file(numbered(&self.path, n))?;
            } else {
                fs::rename(numbered(&self.path, n), numbered(&self.path, n + 1))?;
            }
        }
        fs::rename(&self.path, numbered(&self.path, 1))?;
        (self.file, self.length) = append_to(&self.path)?;
        Ok(())
    }
}

impl Lines for Rotated {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + lines.len() as u64 > self.size {
            self.rotate()?;
        } else if !self.path.exists() {
            // Somebody else has rotated it.
            (self.file, self.length) = append_to(&self.path)?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_full_file_makes_way_and_no_line_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut file = Rotated::open(&path, 100, 2).unwrap();
        for n in 0..12 {
            file.write(format!("{{\"n\":{n:02},\"text\":\"{}\"}}\n", "x".repeat(20)).as_bytes()).unwrap();
        }
        let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!([lines(&path), lines(&numbered(&path, 1)), lines(&numbered(&path, 2))], [2, 2, 2]);
        assert!(fs::read_to_string(&path).unwrap().contains("\"n\":11"));
        assert!(!numbered(&path, 3).exists());
        for n in 1..=2 {
            assert_eq!(numbered(&path, n).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn where_all_are_kept_none_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut file = Rotated::open(&path, 10, 0).unwrap();
        for n in 0..5 {
            file.write(format!("line {n:04}\n").as_bytes()).unwrap();
        }
        assert!(numbered(&path, 4).exists() && !numbered(&path, 5).exists());
        assert_eq!(fs::read_to_string(numbered(&path, 4)).unwrap(), "line 0000\n");
    }
}
