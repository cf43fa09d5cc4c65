//! An object's bytes on their way out: as they lie there, piece by piece, or in another native encoding.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::instance::{Data, Instance};
use crate::dicom::Uid;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::reencode::Reencoder;
use crate::dicom::transfer_syntax::{Layout, is_native, layout};

/// How much of a file is read at once, in bytes.
const BLOCK: u64 = 1 << 20;

/// The pieces of a data set, in order.
#[derive(Debug)]
pub(super) enum Body {
    Parts(VecDeque<Bytes>),
    File { file: File, left: u64 },
}

impl Body {
    /// Begins to read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn open(data: &Data) -> io::Result<Self> {
        Ok(match data {
            Data::Memory(bytes) => Self::Parts([bytes.clone()].into()),
            Data::Parts(parts) => Self::Parts(parts.iter().cloned().collect()),
            Data::Lazy(make) => {
                let make = make.clone();
                let made = tokio::task::spawn_blocking(move || make()).await.map_err(io::Error::other)?;
                Self::Parts([made].into())
            }
            Data::File { path, offset, length } => {
                let mut file = File::open(path).await?;
                file.seek(SeekFrom::Start(*offset)).await?;
                Self::File { file, left: *length }
            }
        })
    }

    /// The next piece, and whether it is the last. After that there is an empty last one.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub(super) async fn next(&mut self) -> io::Result<(Bytes, bool)> {
        match self {
            Self::Parts(parts) => {
                let part = parts.pop_front().unwrap_or_default();
                Ok((part, parts.is_empty()))
            }
            Self::File { file, left } => {
                let mut block = BytesMut::zeroed((*left).min(BLOCK) as usize);
                file.read_exact(&mut block).await?;
                *left -= block.len() as u64;
                Ok((block.freeze(), *left == 0))
            }
        }
    }

    /// All pieces in one.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) async fn whole(data: &Data) -> io::Result<Bytes> {
        let mut body = Self::open(data).await?;
        let (first, last) = body.next().await?;
        if last {
            return Ok(first);
        }
        let mut whole = BytesMut::from(&first[..]);
        loop {
            let (piece, last) = body.next().await?;
            whole.extend_from_slice(&piece);
            if last {
                return Ok(whole.freeze());
            }
        }
    }
}

/// Whether an object can be sent under another transfer syntax: from native to native.
pub(super) fn can_convert(from: &Uid, to: &Uid) -> bool {
    is_native(from) && is_native(to)
}

/// The object's data set under another native syntax; `None` when it cannot be read.
pub(super) fn convert(instance: &Instance, bytes: Bytes, to: &Uid) -> Option<Bytes> {
    let from = layout(&instance.head.transfer_syntax);
    match layout(to) {
        to if to == from => Some(bytes),
        Layout::ExplicitLe => {
            let mut reencoder = Reencoder::new(from);
            let mut parts = reencoder.push(bytes).ok()?;
            parts.extend(reencoder.finish().ok()?);
            Some(parts.concat().into())
        }
        to => {
            let parsed = DataSet::parse(&bytes, from, None).ok()?;
            Some(parsed.data_set.encode(to, QueryCharset::Forced(instance.charset.clone())).into())
        }
    }
}
