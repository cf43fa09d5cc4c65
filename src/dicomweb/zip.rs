//! Writes zip archives that can only be closed when everything is in them (PS3.18 8.7.3.3, `application/zip`), for a
//! receiver that takes them as they are written.
//!
//! Sizes and checksums stand behind each file, as they are not known before it. A reader without the central directory
//! finds the end of such a file only where it is deflated; so it is, in stored blocks: 5 bytes in 64 KiB, and no time.
//! Zip64 is written where a file, an offset or the number of files wants it, and nowhere else: old readers do not know it.

use std::collections::HashSet;
use std::marker::PhantomData;

use bytes::Bytes;
use crc32fast::Hasher;

use crate::dicom::Uid;

/// Most files of an archive. Each is remembered until the end, with less than 400 bytes. The largest studies in use,
/// functional series with a file for each slice, have some ten thousand.
pub const MAX_FILES: usize = 1 << 18;

/// Longest stored block of a deflated stream (RFC 1951 3.2.4).
const MAX_BLOCK: usize = 0xFFFF;
/// The last block of a file, which is empty.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// What a field of 32 bits says where Zip64 has the value; smaller ones stand in the field.
const IN_ZIP64: u32 = u32::MAX;
/// Sizes and checksum follow the file.
const FLAGS: u16 = 1 << 3;
const DEFLATED: u16 = 8;
/// What a reader has to know: deflated files, or Zip64.
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// Unix, so that its permissions are read: a plain file that everybody may read.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;
const PERMISSIONS: u32 = 0o100_644 << 16;
/// 1 January 1980, the first day that there is: an object's own day stands in its bytes, and the same objects make the
/// same archive.
const TIME_AND_DAY: [u16; 2] = [0, 0x0021];

/// The name of a file: study, series and instance by their UIDs, and so digits, dots and slashes, whatever an
/// archive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    path: String,
    /// `None`: it is not that of an instance.
    instance: Option<Uid>,
}

/// A file that cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is one of this instance.
    #[error("an object came twice")]
    Twice,
    /// There are [`MAX_FILES`].
    #[error("there are more objects than one zip archive may have here")]
    TooMany,
}

/// A zip archive on its way. `Proof` is what has to be given up to close it; see
/// [`multipart::Writer`](super::multipart::Writer).
#[derive(Debug)]
pub struct Writer<Proof> {
    /// Bytes that were written.
    position: u64,
    open: Option<File>,
    files: u64,
    instances: HashSet<Uid>,
    directory: Vec<u8>,
    proof: PhantomData<fn(Proof)>,
}

#[derive(Debug)]
struct File {
    path: String,
    begins: u64,
    checksum: Hasher,
    size: u64,
    deflated: u64,
}

impl Name {
    /// The name of an instance; `series`: where it is known.
    pub fn new(study: &Uid, series: Option<&Uid>, instance: &Uid) -> Self {
        let series = series.map_or("without-series", Uid::as_str);
        Self { path: format!("{study}/{series}/{instance}.dcm"), instance: Some(instance.clone()) }
    }

    /// The name of the list of instances that are missing: whoever has the archive may not have the status any more.
    pub fn missing(study: &Uid) -> Self {
        Self { path: format!("{study}/MISSING.txt"), instance: None }
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.path
    }
}

impl<Proof> Writer<Proof> {
    /// An empty archive.
    pub fn new() -> Self {
        Self {
            position: 0,
            open: None,
            files: 0,
            instances: HashSet::new(),
            directory: Vec::new(),
            proof: PhantomData,
        }
    }

    /// Ends the file before, which must be whole, and begins the next one. What it returns comes before that one's bytes.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn begin(&mut self, name: Name) -> Result<Bytes, Error> {
        if self.instances.len() == MAX_FILES {
            return Err(Error::TooMany);
        }
        if name.instance.is_some_and(|instance| !self.instances.insert(instance)) {
            return Err(Error::Twice);
        }
        let mut out = self.end();
        let (path, begins) = (name.path, self.position + out.len() as u64);
        put32(&mut out, [0x0403_4B50]);
        put16(&mut out, [VERSION]);
        put_common(&mut out, 0, (0, 0), &path, 0);
        out.extend(path.as_bytes());
        self.position += out.len() as u64;
        self.open = Some(File { path, begins, checksum: Hasher::new(), size: 0, deflated: 0 });
        Ok(out.into())
    }

    /// Writes the next bytes of the file that was begun.
    pub fn write(&mut self, mut bytes: Bytes, out: &mut impl Extend<Bytes>) {
        let Some(file) = &mut self.open else { return };
        file.checksum.update(&bytes);
        while !bytes.is_empty() {
            let block = bytes.split_to(bytes.len().min(MAX_BLOCK));
            #[expect(clippy::cast_possible_truncation, reason = "at most MAX_BLOCK")]
            let length = block.len() as u16;
            let [[a, b], [c, d]] = [length.to_le_bytes(), (!length).to_le_bytes()];
            let head = Bytes::copy_from_slice(&[0, a, b, c, d]);
            let written = (head.len() + block.len()) as u64;
            file.size += block.len() as u64;
            file.deflated += written;
            self.position += written;
            out.extend([head, block]);
        }
    }

    /// Ends the last file and the archive, for which the proof is spent.
    pub fn finish(mut self, _proof: Proof) -> Bytes {
        let mut out = self.end();
        let begins = self.position + out.len() as u64;
        let (files, size) = (self.files, self.directory.len() as u64);
        out.append(&mut self.directory);
        let few = u16::try_from(files).ok().filter(|files| *files < u16::MAX);
        let here = short(begins).zip(short(size)).zip(few);
        if here.is_none() {
            let record = begins + size;
            put32(&mut out, [0x0606_4B50]);
            put64(&mut out, [44]);
            put16(&mut out, [MADE_BY, VERSION_ZIP64]);
            put32(&mut out, [0, 0]);
            put64(&mut out, [files, files, size, begins]);
            put32(&mut out, [0x0706_4B50, 0]);
            put64(&mut out, [record]);
            put32(&mut out, [1]);
        }
        let ((begins, size), files) = here.unwrap_or(((IN_ZIP64, IN_ZIP64), u16::MAX));
        put32(&mut out, [0x0605_4B50]);
        put16(&mut out, [0, 0, files, files]);
        put32(&mut out, [size, begins]);
        put16(&mut out, [0]);
        out.into()
    }

    /// Ends the open file, if there is one, and enters it into the directory.
    fn end(&mut self) -> Vec<u8> {
        let Some(mut file) = self.open.take() else { return Vec::new() };
        let mut out = LAST_BLOCK.to_vec();
        file.deflated += out.len() as u64;
        let checksum = std::mem::take(&mut file.checksum).finalize();
        put32(&mut out, [0x0807_4B50, checksum]);
        let sizes = short(file.deflated).zip(short(file.size));
        match sizes {
            Some((deflated, size)) => put32(&mut out, [deflated, size]),
            None => put64(&mut out, [file.deflated, file.size]),
        }
        self.enter(&file, checksum, sizes);
        out
    }

    /// Writes the entry of a file into the directory.
    fn enter(&mut self, file: &File, checksum: u32, sizes: Option<(u32, u32)>) {
        let begins = short(file.begins);
        let mut extra = Vec::new();
        if sizes.is_none() {
            put64(&mut extra, [file.size, file.deflated]);
        }
        if begins.is_none() {
            put64(&mut extra, [file.begins]);
        }
        let out = &mut self.directory;
        put32(out, [0x0201_4B50]);
        put16(out, [MADE_BY, if extra.is_empty() { VERSION } else { VERSION_ZIP64 }]);
        // In front of the values of Zip64: what they are, and how long.
        let head = if extra.is_empty() { 0 } else { 4 };
        #[expect(clippy::cast_possible_truncation, reason = "at most 24")]
        let length = extra.len() as u16;
        put_common(out, checksum, sizes.unwrap_or((IN_ZIP64, IN_ZIP64)), &file.path, head + length);
        put16(out, [0, 0, 0]);
        put32(out, [PERMISSIONS, begins.unwrap_or(IN_ZIP64)]);
        out.extend(file.path.as_bytes());
        if head > 0 {
            put16(out, [1, length]);
            out.extend(extra);
        }
        self.files += 1;
    }
}

impl<Proof> Default for Writer<Proof> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the header of a file and its entry in the directory have in common.
fn put_common(out: &mut Vec<u8>, checksum: u32, (deflated, size): (u32, u32), path: &str, extra: u16) {
    put16(out, [FLAGS, DEFLATED]);
    put16(out, TIME_AND_DAY);
    put32(out, [checksum, deflated, size]);
    #[expect(clippy::cast_possible_truncation, reason = "three UIDs have at most 198 characters")]
    put16(out, [path.len() as u16]);
    put16(out, [extra]);
}

/// A value that a field of 32 bits can have.
fn short(value: u64) -> Option<u32> {
    u32::try_from(value).ok().filter(|value| *value != IN_ZIP64)
}

fn put16(out: &mut Vec<u8>, values: impl IntoIterator<Item = u16>) {
    out.extend(values.into_iter().flat_map(u16::to_le_bytes));
}

fn put32(out: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    out.extend(values.into_iter().flat_map(u32::to_le_bytes));
}

fn put64(out: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    out.extend(values.into_iter().flat_map(u64::to_le_bytes));
}

#[cfg(test)]
mod tests;
