//! The sinks that take lines: a file that is rotated by its size, and standard output. Each line is a JSON object.
//!
//! They block, so that each has a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::spool::{Batch, Position, Reader};

/// How long a sink pauses after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often, at most, the disk itself is waited for.
const SYNC: Duration = Duration::from_secs(1);
/// How often a sink that goes on failing says so.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Where lines go.
pub(super) trait Lines: Send + 'static {
    /// Writes these lines, each with its end, or none of them as far as that can be told.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Brings what was written to where a power cut does not take it.
    fn sync(&mut self) -> io::Result<()>;
}

/// Brings records to `lines`, until there are no more. `lost` is told of what cannot be read any more.
pub(super) fn run(mut reader: Reader, mut lines: impl Lines, sink: &str, lost: impl Fn(u64)) {
    let mut said = None;
    // What is written counts as brought when it is on the disk.
    let (mut written, mut synced) = (None, Instant::now());
    while written.is_some() || !reader.is_at_the_end() {
        let is_due = written.is_some() && (synced.elapsed() >= SYNC || reader.is_at_the_end());
        if !is_due && !reader.has_more() {
            reader.wait();
            continue;
        }
        let done = if is_due {
            synced = Instant::now();
            settle(&reader, &mut lines, &mut written).map(|()| false)
        } else {
            bring(&mut reader, &mut lines, &mut written)
        };
        match done {
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
                // What was written before need not be written again.
                let _ = settle(&reader, &mut lines, &mut written);
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

/// What is written is on the disk, and counts as brought. Where that fails it is as if it were not written.
fn settle(reader: &Reader, lines: &mut impl Lines, written: &mut Option<Position>) -> io::Result<()> {
    if let Some(behind) = written.take() {
        lines.sync()?;
        reader.acknowledge(behind);
    }
    Ok(())
}

/// One batch; whether something was damaged.
fn bring(reader: &mut Reader, lines: &mut impl Lines, written: &mut Option<Position>) -> io::Result<bool> {
    let Batch { records, damaged } = reader.read()?;
    let mut out = Vec::new();
    for (record, _) in &records {
        out.extend_from_slice(record);
        out.push(b'\n');
    }
    if let Some((_, behind)) = records.last() {
        lines.write(&out)?;
        *written = Some(*behind);
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

    fn sync(&mut self) -> io::Result<()> {
        // Where it goes is not ours.
        Ok(())
    }
}

/// A file that becomes `….1`, `….2` and so on when it is full.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    size: u64,
    keep: usize,
    file: File,
}

impl Rotated {
    /// The file at `path`, made where it is missing. `size`: in bytes, when it is full; `keep`: how many full ones stay,
    /// 0 for all.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, size: u64, keep: usize) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), size, keep, file: append_to(path)? })
    }

    /// Whether the file still has its name: somebody else may have rotated it.
    fn is_there(&self) -> io::Result<bool> {
        let (ours, named) = (self.file.metadata()?, fs::metadata(&self.path));
        Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let mut last = 0;
        while last < usize::MAX && numbered(&self.path, last + 1).exists() {
            last += 1;
        }
        let most = if self.keep == 0 { last + 1 } else { self.keep };
        for n in (1..=last).rev() {
            if n >= most {
                unless_gone(fs::remove_file(numbered(&self.path, n)))?;
            } else {
                unless_gone(fs::rename(numbered(&self.path, n), numbered(&self.path, n + 1)))?;
            }
        }
        unless_gone(fs::rename(&self.path, numbered(&self.path, 1)))?;
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

impl Lines for Rotated {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.is_there()? {
            self.file.sync_data()?;
            self.file = append_to(&self.path)?;
        }
        // Somebody else may have cut it, too.
        let mut length = self.file.metadata()?.len();
        if length > 0 && length + lines.len() as u64 > self.size {
            self.rotate()?;
            length = self.file.metadata()?.len();
        }
        if let Err(error) = self.file.write_all(lines) {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(length);
            return Err(error);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The file at `path`, to be appended to, with a name that outlives a power cut.
fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Not every directory that may be written in may be read.
    if let Ok(directory) = File::open(directory.unwrap_or(Path::new("."))) {
        directory.sync_all()?;
    }
    Ok(file)
}

/// Somebody else may have taken a file away meanwhile.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    use super::super::spool;
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
    #[test]
    fn hazard_a_file_that_somebody_takes_away_begins_anew_also_when_it_was_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let read = || fs::read_to_string(&path).unwrap();
        let mut file = Rotated::open(&path, 20, 2).unwrap();
        file.write(b"first line 0123\n").unwrap();
        fs::remove_file(&path).unwrap();
        file.write(b"second line\n").unwrap();
        assert_eq!(read(), "second line\n");
        // As logrotate does it: another file has the name.
        fs::rename(&path, directory.path().join("audit.jsonl-20261122")).unwrap();
        fs::write(&path, "").unwrap();
        file.write(b"third line\n").unwrap();
        assert_eq!(read(), "third line\n");
        // And with "copytruncate".
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        file.write(b"fourth\n").unwrap();
        assert_eq!(read(), "fourth\n");
        assert!(!numbered(&path, 1).exists());
    }

    #[test]
    fn hazard_a_rotation_that_failed_is_done_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut file = Rotated::open(&path, 10, 1).unwrap();
        file.write(b"first line\n").unwrap();
        // No file can be removed by this name, nor anything renamed to it.
        fs::create_dir_all(numbered(&path, 1).join("x")).unwrap();
        file.write(b"second line\n").unwrap_err();
        fs::remove_dir_all(numbered(&path, 1)).unwrap();
        file.write(b"second line\n").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!([read(&numbered(&path, 1)), read(&path)], ["first line\n", "second line\n"]);
    }

    /// Lines that a power cut takes unless they are synced.
    struct Volatile {
        fails: bool,
        at_sync: Arc<Mutex<Vec<Position>>>,
        reader: Reader,
    }

    impl Lines for Volatile {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.reader.go_back();
            self.at_sync.lock().unwrap().push(self.reader.position());
            if self.fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn hazard_what_the_disk_does_not_have_does_not_count_as_brought() {
        for fails in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let (spool, mut appender) = spool::open(directory.path(), 1 << 20, &["file"]).unwrap();
            let begin = spool.reader("file").position();
            assert!(appender.append(b"one"));
            appender.flush().unwrap();
            appender.close();
            let at_sync = Arc::<Mutex<Vec<_>>>::default();
            let lines = Volatile { fails, at_sync: Arc::clone(&at_sync), reader: spool.reader("file") };
            run(spool.reader("file"), lines, "file", |_| ());
            assert_eq!(*at_sync.lock().unwrap(), [begin]);
            assert_eq!(spool.reader("file").position() == begin, fails);
        }
    }
}
