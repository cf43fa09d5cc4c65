//! The folder that a study is brought into: `SERIES/INSTANCE.dcm`, each file there under its name only when it is whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::dicom::Uid;
use crate::dicom::encode::part10_header;
use crate::dicom::object::{BrokenObject, Object};

/// Where objects go that do not say to which series they belong.
const NO_SERIES: &str = "series-unknown";
/// How much of two files is compared at a time, in bytes.
const PIECE: usize = 256 << 10;
/// What the files are called, behind their SOP Instance UID.
const SUFFIX: &str = ".dcm";

/// A folder for objects. Names in it are made of UIDs, which are digits and dots and never empty between two dots:
/// nothing from the wire leads out of it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Files that are there already are replaced.
    overwrite: bool,
}

/// What became of an object that came whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// It is there now.
    New,
    /// The same was there already.
    Unchanged,
    /// A file of this name was there already, with something else in it, and has stayed as it was.
    Kept(PathBuf),
}

/// Why an object was not saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsaved {
    /// It broke off.
    #[error(transparent)]
    Broken(#[from] BrokenObject),
    /// The disk.
    #[error("{path}: {source}{}", advice(.source))]
    Disk {
        /// Which file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there, or name another folder by --out, and go on with --resume"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; name a folder by --out that you may write to"
        }
        _ => "",
    }
}

fn disk(path: &Path) -> impl Fn(io::Error) -> Unsaved + use<> {
    let path = path.display().to_string();
    move |source| Unsaved::Disk { path: path.clone(), source }
}

/// The name of a file that is not whole: removed when it is dropped, if it is there still.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Folder {
    /// The folder at `path`, made where there is none.
    pub(super) async fn open(path: &Path, overwrite: bool) -> Result<Self, Unsaved> {
        fs::create_dir_all(path).await.map_err(disk(path))?;
        Ok(Self { path: path.to_owned(), overwrite })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The instances that lie in it, by the names of their files.
    pub(super) async fn holds(&self) -> Result<BTreeSet<Uid>, Unsaved> {
        let mut found = BTreeSet::new();
        let mut series = fs::read_dir(&self.path).await.map_err(disk(&self.path))?;
        while let Some(folder) = series.next_entry().await.map_err(disk(&self.path))? {
            if !folder.file_type().await.is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = folder.path();
            let mut files = fs::read_dir(&path).await.map_err(disk(&path))?;
            while let Some(file) = files.next_entry().await.map_err(disk(&path))? {
                let name = file.file_name();
                found.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<Uid>().ok()));
            }
        }
        Ok(found)
    }

    /// Writes an object as a PS3.10 file, as it is stored at the archive; `seen` is told of its bytes as they come. Not
    /// to its end, nothing is left of it.
    pub(super) async fn save(&self, object: Object, mut seen: impl FnMut(&Bytes)) -> Result<Saved, Unsaved> {
        let Object { head, series, mut body } = object;
        let folder = self.path.join(series.as_ref().map_or(NO_SERIES, Uid::as_str));
        fs::create_dir_all(&folder).await.map_err(disk(&folder))?;
        let path = folder.join(format!("{}{SUFFIX}", head.sop_instance));
        // Another process may bring the same into the same folder.
        let hidden = folder.join(format!(".{}.{}.part", head.sop_instance, std::process::id()));
        let mut file = fresh(&hidden).await.map_err(disk(&hidden))?;
        let _part = Part(hidden.clone());
        let written = disk(&path);
        file.write_all(&part10_header(&head)).await.map_err(&written)?;
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            seen(&bytes);
            file.write_all(&bytes).await.map_err(&written)?;
        }
        // What was written last fails here, where it fails.
        file.flush().await.map_err(&written)?;
        drop(file);
        if self.overwrite {
            fs::rename(&hidden, &path).await.map_err(&written)?;
        } else if !link(&hidden, &path).await.map_err(&written)? {
            let is_same = same(hidden, path.clone()).await.map_err(&written)?;
            return Ok(if is_same { Saved::Unchanged } else { Saved::Kept(path) });
        }
        Ok(Saved::New)
    }
}

/// A file that nobody else has, in place of one that a process of this number has left behind.
async fn fresh(path: &Path) -> io::Result<fs::File> {
    let create = || fs::File::create_new(path);
    match create().await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path).await?;
            create().await
        }
        created => created,
    }
}

/// Gives a file its name besides, unless something has that already: `false`. To rename it would replace that.
async fn link(hidden: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(hidden, path).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // Not every file system knows links, such as that of a USB stick.
        Err(_) if fs::symlink_metadata(path).await.is_ok() => Ok(false),
        Err(_) => fs::rename(hidden, path).await.map(|()| true),
    }
}

/// Whether two files hold the same.
async fn same(one: PathBuf, other: PathBuf) -> io::Result<bool> {
    let compare = move || {
        let (mut one, mut other) = (File::open(one)?, File::open(other)?);
        if one.metadata()?.len() != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let read = one.read(&mut left)?;
            if read == 0 {
                return Ok(true);
            }
            other.read_exact(&mut right[..read])?;
            if left[..read] != right[..read] {
                return Ok(false);
            }
        }
    };
    tokio::task::spawn_blocking(compare).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::object::{Budget, Head, ObjectLog};

    fn log(series: Option<&'static str>) -> (ObjectLog, Object) {
        let head = Head {
            sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
            sop_instance: Uid::from_static("1.2.3"),
            transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
        };
        let (log, mut object) = ObjectLog::new(head, &Budget::new(1 << 20));
        object.series = series.map(Uid::from_static);
        (log, object)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn an_object_is_a_part_10_file_under_its_series_and_is_known_again() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(&scratch.path().join("out"), false).await.unwrap();
        for series in [Some("1.2.9"), None] {
            let (log, object) = log(series);
            let data = Bytes::from_static(b"\x08\0\x16\0UI\0\0");
            log.append(&data).await;
            log.finish();
            let mut seen = 0;
            let saved = folder.save(object, |bytes| seen += bytes.len()).await.unwrap();
            assert_eq!((saved, seen), (Saved::New, data.len()));
        }
        assert_eq!(names(folder.path()), ["1.2.9", NO_SERIES]);
        assert_eq!(names(&folder.path().join("1.2.9")), ["1.2.3.dcm"]);
        let file = std::fs::read(folder.path().join("1.2.9/1.2.3.dcm")).unwrap();
        assert!(file[128..].starts_with(b"DICM") && file.ends_with(b"\x08\0\x16\0UI\0\0"));
        assert_eq!(folder.holds().await.unwrap(), [Uid::from_static("1.2.3")].into());
    }

    #[tokio::test]
    async fn hazard_an_object_that_breaks_off_leaves_no_file_that_looks_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path(), false).await.unwrap();
        let (log, object) = log(Some("1.2.9"));
        log.append(&Bytes::from_static(b"half")).await;
        drop(log);
        let error = folder.save(object, |_| ()).await.unwrap_err();
        assert!(matches!(error, Unsaved::Broken(_)), "{error}");
        assert!(names(&folder.path().join("1.2.9")).is_empty());
        assert!(folder.holds().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn hazard_a_file_that_is_there_already_is_not_replaced_unless_somebody_says_so() {
        let scratch = tempfile::tempdir().unwrap();
        let save = async |overwrite, data: &'static [u8]| {
            let folder = Folder::open(scratch.path(), overwrite).await.unwrap();
            let (log, object) = log(Some("1.2.9"));
            log.append(&Bytes::from_static(data)).await;
            log.finish();
            folder.save(object, |_| ()).await.unwrap()
        };
        let path = scratch.path().join("1.2.9/1.2.3.dcm");
        assert_eq!(save(false, b"first").await, Saved::New);
        assert_eq!(save(false, b"first").await, Saved::Unchanged);
        for other in [&b"other"[..], b"longer than that"] {
            assert_eq!(save(false, other).await, Saved::Kept(path.clone()));
            assert!(std::fs::read(&path).unwrap().ends_with(b"first"));
        }
        assert_eq!(save(true, b"other").await, Saved::New);
        assert!(std::fs::read(&path).unwrap().ends_with(b"other"));
        // What a process left behind that had this one's number is in nobody's way.
        std::fs::write(scratch.path().join(format!("1.2.9/.1.2.3.{}.part", std::process::id())), "x")
            .unwrap();
        assert_eq!(save(false, b"other").await, Saved::Unchanged);
        // A link is replaced, and not what it leads to.
        let elsewhere = scratch.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(save(true, b"again").await, Saved::New);
        assert!(std::fs::read(&elsewhere).unwrap().ends_with(b"other"));
        assert_eq!(names(&scratch.path().join("1.2.9")), ["1.2.3.dcm"]);
    }

    #[test]
    fn hazard_no_name_from_the_wire_leads_out_of_the_folder() {
        for bad in
            ["", ".", "..", "../1", "1/../../2", "/etc/passwd", "1\\2", "1.2\0/../3", "1..2", "C:1", "~"]
        {
            assert!(Uid::from_padded(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for good in ["0.0", "1.2.840.10008"] {
            let name = Uid::from_padded(good.as_bytes()).unwrap();
            let path = Path::new("out").join(name.as_str()).join(format!("{name}{SUFFIX}"));
            let normal = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            assert!(path.components().all(normal) && path.components().count() == 3, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_told_with_its_name() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Folder::open(&file, false).await.unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
        let full = Unsaved::Disk { path: "x".to_owned(), source: io::ErrorKind::StorageFull.into() };
        assert!(full.to_string().contains("make room") && full.to_string().contains("--resume"));
    }
}
