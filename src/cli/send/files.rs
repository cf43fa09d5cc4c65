//! The files that are to be sent: found in folders, and what each of them holds.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use crate::dicom::head::HeadReader;
use crate::dicom::object::{BrokenObject, Cursor, Head, Object};
use crate::dicom::part10::{FileMeta, MetaReader};

/// How much of a file is read at a time.
const PIECE: usize = 256 << 10;
/// How much of a file is read to learn what it is.
const LOOK: usize = 64 << 10;
/// Most of a file that is read for that.
const MOST_LOOKED_AT: u64 = 4 << 20;
/// Deepest folder that is looked into: links may lead in circles.
const MAX_DEPTH: usize = 32;
/// Most files of one command; each costs some hundred bytes.
const MAX_FILES: usize = 2_000_000;
/// Media Storage Directory Storage: an index of files, which no archive stores (PS3.10 8.6).
const DICOMDIR: &str = "1.2.840.10008.1.3.10";

/// A file with an object in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) head: Head,
    /// Where the data set begins.
    begin: u64,
    /// How long the data set is.
    pub(super) length: u64,
}

/// A file that is not sent.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) path: PathBuf,
    pub(super) why: String,
    /// It was named, or cannot be read; else it lies in a folder beside the objects.
    pub(super) is_failure: bool,
}

/// What there is to send below `paths`, sorted so that what one association takes comes together.
pub(super) fn collect(paths: &[PathBuf]) -> (Vec<Found>, Vec<Passed>) {
    let (mut found, mut passed) = (Vec::new(), Vec::new());
    let mut left: Vec<(PathBuf, usize)> = paths.iter().rev().map(|path| (path.clone(), 0)).collect();
    while let Some((path, depth)) = left.pop() {
        let is_named = depth == 0;
        let mut pass = |path: PathBuf, why: String, is_failure| passed.push(Passed { path, why, is_failure });
        match fs::metadata(&path) {
            Err(error) => pass(path, error.to_string(), true),
            Ok(kind) if kind.is_dir() && depth >= MAX_DEPTH => pass(path, "lies too deep".to_owned(), true),
            Ok(kind) if kind.is_dir() => match entries(&path) {
                Ok(entries) => left.extend(entries.into_iter().rev().map(|entry| (entry, depth + 1))),
                Err(error) => pass(path, error.to_string(), true),
            },
            Ok(kind) if !kind.is_file() => pass(path, "is no file".to_owned(), is_named),
            Ok(_) if found.len() >= MAX_FILES => pass(path, format!("more than {MAX_FILES} files"), true),
            Ok(_) => match look(&path) {
                Ok(one) => found.push(one),
                Err(No::Object(why)) => pass(path, why.to_owned(), is_named),
                Err(No::Read(error)) => pass(path, error.to_string(), true),
            },
        }
    }
    found.sort_by(|a, b| {
        let kind = |found: &Found| (found.head.sop_class.clone(), found.head.transfer_syntax.clone());
        kind(a).cmp(&kind(b))
    });
    (found, passed)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

/// Why there is no object in a file.
enum No {
    Object(&'static str),
    Read(io::Error),
}

impl From<io::Error> for No {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What a file holds, by its File Meta Information; what that leaves out, the data set says.
fn look(path: &Path) -> Result<Found, No> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut meta = MetaReader::new();
    let mut read = 0;
    let (meta, first) = loop {
        let Some(piece) = piece(&mut file)? else {
            return Err(No::Object("is no DICOM file: it ends too soon"));
        };
        read += piece.len() as u64;
        match meta.push(piece) {
            Ok(Some(behind)) => break behind,
            Ok(None) => {}
            Err(_) => return Err(No::Object("is no DICOM file (PS3.10)")),
        }
    };
    let begin = read - first.len() as u64;
    let FileMeta { class, instance, transfer_syntax } = meta;
    let Some(transfer_syntax) = transfer_syntax else { return Err(No::Object("says no transfer syntax")) };
    if class.as_ref().is_some_and(|class| class.as_str() == DICOMDIR) {
        return Err(No::Object("is a DICOMDIR, which is not stored"));
    }
    let (mut class, mut instance) = (class, instance);
    if class.is_none() || instance.is_none() {
        let mut head = HeadReader::new(&transfer_syntax);
        let mut is_there = head.push(first, false);
        while !is_there && read < MOST_LOOKED_AT {
            let Some(piece) = piece(&mut file)? else { break };
            read += piece.len() as u64;
            is_there = head.push(piece, false);
        }
        let said = head.into_parts().0;
        class = class.or(said.class);
        instance = instance.or(said.instance);
    }
    let (Some(sop_class), Some(sop_instance)) = (class, instance) else {
        return Err(No::Object("says no SOP class or no SOP instance"));
    };
    let head = Head { sop_class, sop_instance, transfer_syntax };
    Ok(Found { path: path.to_owned(), head, begin, length: length.saturating_sub(begin) })
}

fn piece(file: &mut File) -> io::Result<Option<Bytes>> {
    let mut piece = vec![0; LOOK];
    let read = file.read(&mut piece)?;
    piece.truncate(read);
    Ok((read > 0).then(|| piece.into()))
}

impl Found {
    /// The object, read while it is sent. A file that has become shorter meanwhile breaks off.
    pub(super) fn object(&self) -> io::Result<Object> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.begin))?;
        let source = Reading { file: file.into(), buffer: BytesMut::new(), left: self.length };
        Ok(Object { head: self.head.clone(), series: None, body: Cursor::over(source) })
    }
}

/// A file as it is read.
struct Reading {
    file: tokio::fs::File,
    buffer: BytesMut,
    left: u64,
}

impl Stream for Reading {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Self { file, buffer, left } = &mut *self;
        let want = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
        buffer.resize(want, 0);
        let mut room = ReadBuf::new(buffer);
        let read = ready!(Pin::new(file).poll_read(cx, &mut room));
        let count = room.filled().len();
        if read.is_err() || count == 0 {
            return Poll::Ready(Some(Err(BrokenObject)));
        }
        *left -= count as u64;
        Poll::Ready(Some(Ok(buffer.split_to(count).freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;
    use crate::dicom::encode::part10_header;

    fn head(class: &'static str, instance: &'static str) -> Head {
        Head {
            sop_class: Uid::from_static(class),
            sop_instance: Uid::from_static(instance),
            transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
        }
    }

    const DATA: &[u8] = b"\x08\0\x60\0CS\x02\0CT";

    fn file(folder: &Path, name: &str, head: &Head) {
        fs::write(folder.join(name), [part10_header(head), DATA.to_vec()].concat()).unwrap();
    }

    #[tokio::test]
    async fn folders_are_searched_and_what_is_alike_comes_together() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        file(&deep, "1", &head("1.2.4", "1.1"));
        file(scratch.path(), "2", &head("1.2.3", "1.2"));
        file(scratch.path(), "3.dcm", &head("1.2.4", "1.3"));
        file(scratch.path(), "DICOMDIR", &head(DICOMDIR, "1.4"));
        fs::write(scratch.path().join("readme.txt"), "no object").unwrap();
        let (found, passed) = collect(&[scratch.path().to_owned()]);
        let instances: Vec<&str> = found.iter().map(|found| found.head.sop_instance.as_str()).collect();
        assert_eq!(instances, ["1.2", "1.3", "1.1"]);
        assert!(passed.len() == 2 && passed.iter().all(|passed| !passed.is_failure), "{passed:?}");
        let mut object = found[0].object().unwrap();
        assert_eq!(object.body.next().await.unwrap().unwrap(), DATA);
        assert!(object.body.next().await.is_none());
    }

    #[test]
    fn what_was_named_and_is_no_object_is_a_failure() {
        let scratch = tempfile::tempdir().unwrap();
        let text = scratch.path().join("readme.txt");
        fs::write(&text, "no object").unwrap();
        let (found, passed) = collect(&[text, scratch.path().join("nowhere")]);
        assert!(found.is_empty() && passed.len() == 2 && passed.iter().all(|passed| passed.is_failure));
    }

    #[tokio::test]
    async fn hazard_a_file_that_becomes_shorter_while_it_is_sent_breaks_off() {
        let scratch = tempfile::tempdir().unwrap();
        file(scratch.path(), "1", &head("1.2.4", "1.1"));
        let (found, _) = collect(&[scratch.path().to_owned()]);
        let whole = fs::read(&found[0].path).unwrap();
        fs::write(&found[0].path, &whole[..whole.len() - 3]).unwrap();
        let mut object = found[0].object().unwrap();
        assert_eq!(object.body.next().await.unwrap().unwrap().len(), DATA.len() - 3);
        assert_eq!(object.body.next().await, Some(Err(BrokenObject)));
    }
}
