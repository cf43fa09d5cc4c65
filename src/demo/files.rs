//! Part 10 files in a folder (PS3.10 chapter 7): found, indexed, and read when somebody wants them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::instance::{Data, Instance};
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Uid, tags};

/// How much of a file is read to find its attributes, in bytes; and how much when that was not enough.
const HEADERS: [u64; 2] = [256 << 10, 16 << 20];
/// Objects up to this length are held in memory, in bytes, until all of them have [`MAX_HELD`].
const MAX_SMALL: u64 = 4 << 20;
/// How many bytes of small objects are held in memory.
const MAX_HELD: u64 = 1 << 30;
/// Longest File Meta Information, in bytes.
const MAX_META: usize = 64 << 10;

/// The objects in a folder and those below it.
///
/// # Errors
/// The folder cannot be read. What lies in it and cannot be read is passed over.
pub(super) fn read_folder(folder: &Path) -> io::Result<Vec<Instance>> {
    let mut instances = Vec::new();
    let mut held = 0;
    let mut passed_over = 0_usize;
    for path in files_below(folder)? {
        match read_file(&path, MAX_HELD - held) {
            Some(instance) => {
                if let Data::Memory(bytes) = &instance.data {
                    held += bytes.len() as u64;
                }
                instances.push(instance);
            }
            None => passed_over += 1,
        }
    }
    tracing::info!(objects = instances.len(), passed_over, "read {}", folder.display());
    Ok(instances)
}

/// The regular files below a folder, in the order of their names. Symbolic links are followed, each folder once.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let root = folder.canonicalize()?;
    fs::read_dir(&root)?;
    // Links may make circles, and each further circle doubles the ways around.
    let mut seen = HashSet::from([root.clone()]);
    let mut open = vec![root];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_file() {
                files.push(path);
            } else if path.is_dir()
                && let Ok(path) = path.canonicalize()
                && seen.insert(path.clone())
            {
                open.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The object in a file; `None` when there is none.
fn read_file(path: &Path, may_hold: u64) -> Option<Instance> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let whole = size <= MAX_SMALL.min(may_hold);
    let mut prefix = Vec::new();
    for limit in HEADERS {
        let limit = if whole { size } else { limit };
        let missing = limit.saturating_sub(prefix.len() as u64);
        file.by_ref().take(missing).read_to_end(&mut prefix).ok()?;
        let (syntax, offset) = read_meta(&prefix)?;
        let bytes = Bytes::from(prefix);
        let data_set = bytes.slice(offset..);
        if whole {
            return Instance::from_bytes(syntax, data_set).ok();
        }
        let data = Data::File { path: path.to_owned(), offset: offset as u64, length: size - offset as u64 };
        if let Ok(instance) = Instance::from_prefix(syntax, &data_set, data) {
            return Some(instance);
        }
        drop(data_set);
        prefix = bytes.into();
    }
    None
}

/// The transfer syntax that the File Meta Information names, and where the data set begins.
fn read_meta(file: &[u8]) -> Option<(Uid, usize)> {
    // Preamble, DICM, then (0002,0000) UL of length 4 with the length of the rest of the group.
    let (magic, meta) = file.get(128..)?.split_first_chunk::<4>()?;
    let (length_element, rest) = meta.split_first_chunk::<12>()?;
    if magic != b"DICM" || !length_element.starts_with(&[2, 0, 0, 0, b'U', b'L', 4, 0]) {
        return None;
    }
    let [.., a, b, c, d] = *length_element;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let group = rest.get(..length).filter(|group| group.len() <= MAX_META)?;
    let meta = DataSet::parse(group, Layout::ExplicitLe, None).ok()?.data_set;
    Some((meta.uid(tags::TRANSFER_SYNTAX_UID)?, 128 + 4 + 12 + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::body::Body;
    use crate::demo::plain::Plain;
    use crate::dicom::encode::part10_header;

    #[tokio::test]
    async fn files_are_found_in_folders_and_what_is_no_object_is_passed_over() {
        let folder = std::env::temp_dir().join(format!("gantry-files-{}", std::process::id()));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        let large = usize::try_from(MAX_SMALL).unwrap() + 1000;
        let made = [Plain::new(1, 1, 1, 500), Plain { batch: 1, ..Plain::new(1, 1, 1, large) }]
            .map(|p| p.make().remove(0));
        for (instance, name) in made.iter().zip(["one.dcm", "a/b/two"]) {
            let bytes = Body::whole(&instance.data).await.unwrap();
            fs::write(folder.join(name), [&part10_header(&instance.head)[..], &bytes].concat()).unwrap();
        }
        fs::write(folder.join("a/readme.txt"), "no object").unwrap();
        fs::write(folder.join("a/cut.dcm"), [&part10_header(&made[0].head)[..], &[8, 0, 5]].concat())
            .unwrap();
        #[cfg(unix)]
        for circle in ["a/up", "a/b/up", "a/b/up2"] {
            std::os::unix::fs::symlink(&folder, folder.join(circle)).unwrap();
        }
        // Opening it, as one does a file or a pipe, would wait for ever, or fail.
        #[cfg(unix)]
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        let mut read = read_folder(&folder).unwrap();
        read.sort_by_key(|i| i.head != made[0].head);
        assert_eq!(read.len(), 2);
        assert!(matches!(read[0].data, Data::Memory(_)));
        assert!(matches!(read[1].data, Data::File { .. }));
        for (read, made) in read.iter().zip(&made) {
            assert_eq!((&read.head, &read.attributes), (&made.head, &made.attributes));
            assert_eq!(Body::whole(&read.data).await.unwrap(), Body::whole(&made.data).await.unwrap());
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(read_folder(&folder).is_err());
    }
}
