//! From metadata and its bulk data to the objects that an archive stores (PS3.18 10.5.2).
//!
//! The object is encoded in Explicit VR Little Endian, or encapsulated in the transfer syntax of its pixel data.
//! Which one that is, the parts of the pixel data say by their media type or its `transfer-syntax`, else
//! (0002,0010) of the metadata, else (0008,3002); and the bytes have to agree.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use super::bulk::{BulkData, Part, Values};
use super::metadata::{ElementPath, Metadata};
use crate::dicom::dataset::{DataSet, Value, is_textual};
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::{Uid, VR, tags};

use self::encode::{Encoder, Piece};
use self::syntax::{BEGINNING, Evidence, Form};

mod encode;
mod syntax;

/// Bytes that are read from the bulk data at a time.
const READ: u64 = 256 * 1024;

/// An object cannot be made of what a client sent: the client's fault, but for [`Error::Io`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SOP Class, SOP Instance, Study or Series Instance UID is missing or malformed.
    #[error("its SOP Class, SOP Instance, Study or Series Instance UID is missing or cannot be read")]
    MissingUids,
    /// No part has the name that an element's BulkDataURI names.
    #[error("the bulk data of {0} is not in the request")]
    MissingBulkData(ElementPath),
    /// Several parts have the name of a value that has no frames.
    #[error("the bulk data of {0} comes more than once")]
    AmbiguousBulkData(ElementPath),
    /// Neither one part nor one for each frame.
    #[error("the pixel data has {frames} frames and comes in {parts} parts")]
    FrameCount {
        /// Number of Frames (0028,0008), 1 without one.
        frames: u64,
        /// How many parts came.
        parts: usize,
    },
    /// There is no transfer syntax for pixel data of this media type, or the bytes are of another one.
    #[error("the pixel data is in no form that can be stored, or is not what its media type says")]
    UnsupportedPixelData,
    /// Shorter than rows, columns, frames and bits make it.
    #[error("the pixel data has {length} bytes where {expected} are wanted")]
    ShortPixelData {
        /// The bytes that came.
        length: u64,
        /// The bytes of all frames.
        expected: u64,
    },
    /// Longer than the length field of an element or fragment can tell.
    #[error("the bulk data of {0} is longer than a value can be")]
    TooLong(ElementPath),
    /// The temporary file cannot be read: our fault.
    #[error("bulk data cannot be read from a temporary file")]
    Io(#[from] io::Error),
}

/// An object, ready to be read; no preamble, no group 0002.
#[derive(Debug)]
pub struct Composed {
    /// What identifies it.
    pub head: Head,
    /// Study Instance UID (0020,000D).
    pub study: Uid,
    /// Series Instance UID (0020,000E).
    pub series: Uid,
    pieces: VecDeque<Piece>,
    values: Values,
}

impl Composed {
    /// The next bytes of the data set; `None` at its end.
    ///
    /// # Errors
    /// The temporary file cannot be read. The object is broken off then.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.pieces.pop_front()? {
            Piece::Bytes(bytes) => Some(Ok(bytes)),
            Piece::Bulk(range) => {
                let end = range.end.min(range.start + READ);
                if end < range.end {
                    self.pieces.push_front(Piece::Bulk(end..range.end));
                }
                Some(self.values.read(range.start..end).await)
            }
        }
    }
}

/// Puts an object together. Of the File Meta elements, only the transfer syntax counts, for the archive writes its
/// own; so does (0008,3002), which tells how the sender holds the object and does not go into it.
///
/// # Errors
/// An identifier or bulk data is missing, or the pixel data is not what it has to be. Nothing is to be stored of
/// the object then.
pub async fn compose(metadata: Metadata, bulk: &mut BulkData) -> Result<Composed, Error> {
    let Metadata { mut data_set, file_meta, bulk: references, .. } = metadata;
    let available = data_set.remove(tags::AVAILABLE_TRANSFER_SYNTAX_UID);
    let available = available.and_then(|element| element.string()?.parse().ok());
    let declared = file_meta.uid(tags::TRANSFER_SYNTAX_UID).or(available);
    let uid = |tag| data_set.uid(tag).ok_or(Error::MissingUids);
    let (sop_class, sop_instance) = (uid(tags::SOP_CLASS_UID)?, uid(tags::SOP_INSTANCE_UID)?);
    let (study, series) = (uid(tags::STUDY_INSTANCE_UID)?, uid(tags::SERIES_INSTANCE_UID)?);

    let mut wanted = VecDeque::with_capacity(references.len());
    for reference in references {
        let has_frames = reference.path.tag == tags::PIXEL_DATA && reference.path.within.is_empty();
        // Before they are looked up: any number of elements may name any number of parts.
        if !has_frames && bulk.count(&reference.uri) > 1 {
            return Err(Error::AmbiguousBulkData(reference.path));
        }
        let parts = bulk.claim(&reference.uri);
        if parts.is_empty() {
            return Err(Error::MissingBulkData(reference.path));
        }
        if is_textual(reference.vr) {
            data_set.set_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        }
        wanted.push_back((reference.path, parts));
    }
    let pixels = PixelData::find(&data_set, &wanted, declared, bulk.spooled()).await?;
    let transfer_syntax = match &pixels {
        Some(PixelData { form: Form::Encapsulated(syntax), .. }) => syntax.clone(),
        _ => Uid::from_static(EXPLICIT_VR_LE),
    };
    let pieces = Encoder::new(pixels).run(&data_set, wanted)?;
    let head = Head { sop_class, sop_instance, transfer_syntax };
    Ok(Composed { head, study, series, pieces, values: bulk.spooled().clone() })
}

/// What is known about the object's own pixel data.
#[derive(Debug)]
struct PixelData {
    form: Form,
    frames: u64,
    /// Bits Allocated (0028,0100).
    bits: Option<i64>,
    native_length: Option<u64>,
}

impl PixelData {
    /// Looks at the pixel data at the top of the data set; `None` where there is none.
    async fn find(
        data_set: &DataSet,
        wanted: &VecDeque<(ElementPath, Vec<Part>)>,
        declared: Option<Uid>,
        values: &Values,
    ) -> Result<Option<Self>, Error> {
        let Some(element) = data_set.get(tags::PIXEL_DATA) else { return Ok(None) };
        let top = |path: &ElementPath| path.tag == tags::PIXEL_DATA && path.within.is_empty();
        let parts = wanted.iter().find(|(path, _)| top(path)).map(|(_, parts)| parts.as_slice());
        let frames =
            data_set.int(tags::NUMBER_OF_FRAMES).and_then(|n| u64::try_from(n).ok()).unwrap_or(1).max(1);
        let native_length = native_length(data_set, frames);
        let inline = match &element.value {
            Value::Bytes(bytes) => bytes.clone(),
            _ => Bytes::new(),
        };
        let (length, beginning) = match parts {
            Some(parts) => (length_of(parts), beginning_of(parts, values).await?),
            None => (inline.len() as u64, inline),
        };
        if length == 0 {
            // Without a value it is empty on purpose; bulk data that came empty was lost on the way.
            return match native_length.filter(|_| parts.is_some()) {
                Some(expected) => Err(Error::ShortPixelData { length, expected }),
                None => Ok(None),
            };
        }
        let first = parts.and_then(<[Part]>::first);
        let evidence = Evidence {
            media_type: first.map_or("", |part| part.media_type.as_str()),
            labelled: first.and_then(|part| part.transfer_syntax.as_ref()),
            declared: declared.as_ref(),
            length,
            native_length,
            beginning: &beginning,
        };
        let bits = data_set.int(tags::BITS_ALLOCATED);
        Ok(Some(Self { form: evidence.form()?, frames, bits, native_length }))
    }
}

async fn beginning_of(parts: &[Part], values: &Values) -> io::Result<Bytes> {
    match parts.first() {
        Some(Part { range, .. }) => values.read(range.start..range.end.min(range.start + BEGINNING)).await,
        None => Ok(Bytes::new()),
    }
}

fn length_of(parts: &[Part]) -> u64 {
    parts.iter().map(Part::length).sum()
}

/// The length of native pixel data in bytes (PS3.5 8.1.1); `None` where the data set does not say enough.
fn native_length(data_set: &DataSet, frames: u64) -> Option<u64> {
    let number = |tag| data_set.int(tag).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let samples = match data_set.string(tags::PHOTOMETRIC_INTERPRETATION) {
        // Two pixels share their colour difference (PS3.3 C.7.6.3.1.2).
        Some("YBR_FULL_422" | "YBR_PARTIAL_422") => 2,
        _ => number(tags::SAMPLES_PER_PIXEL).unwrap_or(1),
    };
    let factors = [number(tags::COLUMNS)?, samples, number(tags::BITS_ALLOCATED)?, frames];
    let bits = factors.into_iter().try_fold(number(tags::ROWS)?, u64::checked_mul)?;
    Some(bits.div_ceil(8))
}

#[cfg(test)]
mod tests;
