//! How an object lies in its file: a head that says what it is, blocks that each carry their digest, and a tail that
//! says how long it is. Whatever byte is changed or missing, it shows before any byte of its block is used.
//!
//! ```text
//! "GANTRYC1"  length of the head (u32)  head  digest of these
//! 256 KiB of the object  digest         as often as needed, the last one shorter
//! length of the object (u64)  digest
//! ```
//! Numbers are little endian, digests XXH3-128. Those after the head's begin with it, and with the place of what they
//! are of, so that no block passes for another's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twox_hash::XxHash3_128;

use crate::archive::Form;
use crate::archive::shared::cache::Key;
use crate::dicom::Uid;
use crate::dicom::object::Head;

/// Bytes of the object in one block: large reads, and little to verify before the first byte goes out.
pub(super) const BLOCK: u64 = 256 << 10;
/// Bytes of a digest.
pub(super) const DIGEST: u64 = 16;
/// Bytes of the tail.
pub(super) const TAIL: u64 = 8 + DIGEST;
/// Longest head: six UIDs and a name, with room.
pub(super) const MAX_HEAD: u64 = 4096;
const MAGIC: &[u8; 8] = b"GANTRYC1";
const PRELUDE: usize = 12;

/// A digest.
pub(super) type Digest = [u8; DIGEST as usize];

/// The file is not what it says it is, or was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is damaged")]
pub(in crate::archive::shared) struct Damaged;

/// What an object is, and until when it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive::shared) struct Description {
    pub(in crate::archive::shared) key: Key,
    pub(in crate::archive::shared) head: Head,
    pub(in crate::archive::shared) series: Option<Uid>,
    pub(in crate::archive::shared) expires: SystemTime,
}

impl Description {
    /// The name of the object's file, which tells nothing of it: the hash of what it is found under.
    pub(super) fn name(key: &Key) -> String {
        let mut hash = XxHash3_128::new();
        for text in [&*key.archive, key.study.as_str(), key.instance.as_str()] {
            hash.write(text.as_bytes());
            hash.write(&[0]);
        }
        hash.write(&[code(key.form)]);
        format!("{:032x}", hash.finish_128())
    }

    /// The beginning of the file. `None`: the archive's name is too long for it.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut head = vec![code(self.key.form)];
        let expires = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        head.extend(u64::try_from(expires.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
        let texts = [
            &*self.key.archive,
            self.key.study.as_str(),
            self.series.as_ref().map_or("", Uid::as_str),
            self.key.instance.as_str(),
            self.head.sop_instance.as_str(),
            self.head.sop_class.as_str(),
            self.head.transfer_syntax.as_str(),
        ];
        for text in texts {
            head.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
            head.extend(text.as_bytes());
        }
        let length = u32::try_from(head.len()).ok().filter(|length| u64::from(*length) <= MAX_HEAD)?;
        let mut file = MAGIC.to_vec();
        file.extend(length.to_le_bytes());
        file.extend(head);
        file.extend(digest(&[], 0, &file));
        Some(file)
    }

    /// Reads the beginning of a file: what the object is, the length of the beginning, and its digest.
    pub(super) fn decode(file: &[u8]) -> Result<(Self, u64, Digest), Damaged> {
        let (magic, rest) = file.split_first_chunk::<8>().ok_or(Damaged)?;
        let (length, _) = rest.split_first_chunk::<4>().ok_or(Damaged)?;
        let length = u32::from_le_bytes(*length);
        if magic != MAGIC || u64::from(length) > MAX_HEAD {
            return Err(Damaged);
        }
        let end = PRELUDE + usize::try_from(length).map_err(|_| Damaged)?;
        let (said, rest) = file.split_at_checked(end).ok_or(Damaged)?;
        let (found, _) = rest.split_first_chunk::<{ DIGEST as usize }>().ok_or(Damaged)?;
        if digest(&[], 0, said) != *found {
            return Err(Damaged);
        }
        let mut fields = Fields(&said[PRELUDE..]);
        let form = form(fields.take::<1>()?[0])?;
        let expires = Duration::from_millis(u64::from_le_bytes(fields.take()?));
        let expires = UNIX_EPOCH.checked_add(expires).ok_or(Damaged)?;
        let archive = fields.text()?.into();
        let study = fields.uid()?;
        let series = Some(fields.text()?).filter(|text| !text.is_empty());
        let series = series.map(str::parse).transpose().map_err(|_| Damaged)?;
        let instance = fields.uid()?;
        let head =
            Head { sop_instance: fields.uid()?, sop_class: fields.uid()?, transfer_syntax: fields.uid()? };
        let key = Key { archive, study, instance, form };
        Ok((Self { key, head, series, expires }, end as u64 + DIGEST, *found))
    }
}

/// What remains of the head.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = u16::from_le_bytes(self.take()?);
        let (text, rest) = self.0.split_at_checked(length.into()).ok_or(Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Damaged)
    }

    fn uid(&mut self) -> Result<Uid, Damaged> {
        self.text()?.parse().map_err(|_| Damaged)
    }
}

/// The digest of `bytes`, which are the `place`th of the file whose head has the digest `of`.
pub(super) fn digest(of: &[u8], place: u64, bytes: &[u8]) -> Digest {
    let mut hash = XxHash3_128::new();
    hash.write(of);
    hash.write(&place.to_le_bytes());
    hash.write(bytes);
    hash.finish_128().to_le_bytes()
}

/// The end of the file of an object of `length` bytes.
pub(super) fn tail(of: &Digest, length: u64) -> Vec<u8> {
    let mut tail = length.to_le_bytes().to_vec();
    tail.extend(digest(of, u64::MAX, &tail));
    tail
}

/// The length of the object, as the end of the file says.
pub(super) fn length(of: &Digest, tail: &[u8; TAIL as usize]) -> Result<u64, Damaged> {
    let (length, found) = tail.split_first_chunk::<8>().ok_or(Damaged)?;
    if digest(of, u64::MAX, length) != *found {
        return Err(Damaged);
    }
    Ok(u64::from_le_bytes(*length))
}

/// Bytes of blocks for `length` bytes of an object, digests included.
pub(super) fn blocks(length: u64) -> u64 {
    length.saturating_add(length.div_ceil(BLOCK).saturating_mul(DIGEST))
}

fn code(form: Form) -> u8 {
    match form {
        Form::AsStored => 0,
        Form::Native => 1,
        Form::WithoutBulkData => 2,
    }
}

fn form(code: u8) -> Result<Form, Damaged> {
    [Form::AsStored, Form::Native, Form::WithoutBulkData].get(usize::from(code)).copied().ok_or(Damaged)
}
