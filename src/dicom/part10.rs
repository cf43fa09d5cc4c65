//! The beginning of a PS3.10 file: preamble, prefix and File Meta Information, read as the bytes come
//! (PS3.10 7.1).

use bytes::Bytes;

use super::scan::has_long_length;
use super::transfer_syntax::DEFLATED_EXPLICIT_VR_LE;
use super::{Tag, Uid, VR, tags};

/// Longest beginning of a file, in bytes. Group 0002 has some hundred; private information in it is small.
const MAX_LENGTH: usize = 1 << 20;
/// Length of the preamble.
const PREAMBLE: usize = 128;
/// What follows the preamble.
const PREFIX: &[u8; 4] = b"DICM";

/// What the File Meta Information says of the data set behind it, as far as it is there and well-formed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileMeta {
    /// Media Storage SOP Class UID (0002,0002).
    pub class: Option<Uid>,
    /// Media Storage SOP Instance UID (0002,0003).
    pub instance: Option<Uid>,
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: Option<Uid>,
}

/// The bytes do not begin like a PS3.10 file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `DICM` behind 128 bytes: a bare data set, or something else.
    #[error("there is no preamble with DICM behind it")]
    NoPrefix,
    /// An element of group 0002 cannot be read.
    #[error("the File Meta Information cannot be read")]
    Malformed,
    /// More than is read.
    #[error("the File Meta Information is too long")]
    TooLong,
}

/// Reads up to the data set.
#[derive(Debug, Default)]
pub struct MetaReader {
    held: Vec<u8>,
    /// Where the next element begins; 0: before the prefix has been seen.
    position: usize,
    /// Where group 0002 ends by its own account.
    declared_end: Option<usize>,
    meta: FileMeta,
}

impl MetaReader {
    /// A reader before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. `None`: more are needed; else what was read, and those of `bytes` that belong to
    /// the data set, whose first element, or all of whose first eight bytes, have come.
    ///
    /// # Errors
    /// This is no PS3.10 file.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<Option<(FileMeta, Bytes)>, Error> {
        // Not everything is gathered when much comes at once, only what may belong to the beginning.
        let room = MAX_LENGTH.saturating_sub(self.held.len());
        let before = self.held.len();
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if !self.walk()? {
            return if bytes.len() < room { Ok(None) } else { Err(Error::TooLong) };
        }
        // What was held before this piece did not reach the end, but for the beginning of the first element.
        let tail = self.held.split_off(self.position);
        let meta = std::mem::take(&mut self.meta);
        if self.position >= before {
            return Ok(Some((meta, bytes.split_off(self.position - before))));
        }
        let behind = bytes.split_off(bytes.len().min(room));
        Ok(Some((meta, [&tail[..], &behind[..]].concat().into())))
    }

    /// Goes on over the elements; `true`: the data set begins at the position.
    fn walk(&mut self) -> Result<bool, Error> {
        if self.position == 0 {
            let prefix = PREAMBLE..PREAMBLE + PREFIX.len();
            let Some(found) = self.held.get(prefix.clone()) else { return Ok(false) };
            if found != PREFIX {
                return Err(Error::NoPrefix);
            }
            self.position = prefix.end;
        }
        loop {
            // Compressed bytes have no group to tell them by.
            let deflated =
                self.meta.transfer_syntax.as_ref().map(Uid::as_str) == Some(DEFLATED_EXPLICIT_VR_LE);
            if deflated && self.declared_end == Some(self.position) {
                return Ok(true);
            }
            let rest = &self.held[self.position..];
            let [g0, g1, e0, e1, v0, v1, l0, l1, ..] = *rest else { return Ok(false) };
            let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            if tag.group() != 0x0002 {
                return Ok(true);
            }
            let vr = VR::from_binary([v0, v1]).ok_or(Error::Malformed)?;
            let (header, length) = if has_long_length(vr) {
                let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *rest else { return Ok(false) };
                (12, u32::from_le_bytes([a, b, c, d]) as usize)
            } else {
                (8, usize::from(u16::from_le_bytes([l0, l1])))
            };
            if length > MAX_LENGTH {
                return Err(Error::TooLong);
            }
            let Some(value) = rest.get(header..header + length) else { return Ok(false) };
            let end = self.position + header + length;
            match tag {
                tags::FILE_META_INFORMATION_GROUP_LENGTH => {
                    let length = value.try_into().map(u32::from_le_bytes).map_err(|_| Error::Malformed)?;
                    self.declared_end = Some(end.saturating_add(length as usize));
                }
                tags::MEDIA_STORAGE_SOP_CLASS_UID => self.meta.class = Uid::from_padded(value).ok(),
                tags::MEDIA_STORAGE_SOP_INSTANCE_UID => self.meta.instance = Uid::from_padded(value).ok(),
                tags::TRANSFER_SYNTAX_UID => self.meta.transfer_syntax = Uid::from_padded(value).ok(),
                _ => {}
            }
            self.position = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::encode::part10_header;
    use crate::dicom::object::Head;

    fn head(transfer_syntax: &'static str) -> Head {
        Head {
            sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.7"),
            sop_instance: Uid::from_static("1.2.34"),
            transfer_syntax: Uid::from_static(transfer_syntax),
        }
    }

    /// What a reader finds of a file that comes in pieces of this size, and the data set.
    fn read(file: &[u8], size: usize) -> Result<Option<(FileMeta, Vec<u8>)>, Error> {
        let mut reader = MetaReader::new();
        let mut pieces = file.chunks(size).map(Bytes::copy_from_slice);
        while let Some(piece) = pieces.next() {
            if let Some((meta, first)) = reader.push(piece)? {
                let rest: Vec<Bytes> = pieces.collect();
                return Ok(Some((meta, [first.to_vec(), rest.concat()].concat())));
            }
        }
        Ok(None)
    }

    #[test]
    fn the_data_set_begins_where_group_0002_ends_in_pieces_of_any_size() {
        for (syntax, data_set) in [
            ("1.2.840.10008.1.2.1", &b"\x08\0\x05\0CS\x0A\0ISO_IR 100 and more"[..]),
            ("1.2.840.10008.1.2.2", b"\0\x08\0\x05CS\0\x0AISO_IR 100"),
            (DEFLATED_EXPLICIT_VR_LE, b"\x02\0looks like group 0002"),
        ] {
            let file = [part10_header(&head(syntax)), data_set.to_vec()].concat();
            for size in (1..40).chain([file.len()]) {
                let (meta, rest) = read(&file, size).unwrap().unwrap();
                assert_eq!(rest, data_set, "{syntax}, {size}");
                assert_eq!(meta.class, Some(head(syntax).sop_class));
                assert_eq!(meta.instance, Some(head(syntax).sop_instance));
                assert_eq!(meta.transfer_syntax, Some(head(syntax).transfer_syntax));
            }
        }
    }

    #[test]
    fn a_wrong_group_length_does_no_harm() {
        let mut file = part10_header(&head("1.2.840.10008.1.2.1"));
        file[PREAMBLE + 12] -= 2;
        file.extend(b"\x08\0\x05\0CS\0\0");
        let (meta, rest) = read(&file, 1000).unwrap().unwrap();
        assert!(meta.transfer_syntax.is_some());
        assert_eq!(rest, b"\x08\0\x05\0CS\0\0");
    }

    #[test]
    fn what_is_no_part_10_file_is_told_and_what_breaks_off_never_begins() {
        assert_eq!(read(&[0; 500], 1000), Err(Error::NoPrefix));
        let file = part10_header(&head("1.2.840.10008.1.2.1"));
        assert_eq!(read(&file, 7), Ok(None));
        let broken = [&file[..], b"\x02\0\x02\x01??\0\0"].concat();
        assert_eq!(read(&broken, 1000), Err(Error::Malformed));
        let endless = [&file[..], b"\x02\0\x02\x01OB\0\0\xFF\xFF\xFF\x7F"].concat();
        assert_eq!(read(&endless, 1000), Err(Error::TooLong));
        let many = [&file[..], &b"\x02\0\x02\x01UI\0\0".repeat(MAX_LENGTH / 8)].concat();
        assert_eq!(read(&many, 100_000), Err(Error::TooLong));
    }
}
