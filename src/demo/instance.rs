//! One object of the archive: what identifies it, what can be searched, and where its bytes are.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::dicom::charset::Charset;
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Head;
use crate::dicom::scan::{self, Event, Scanner};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, layout};
use crate::dicom::{Tag, Uid, tags};

/// Longest element that is kept for searches, in bytes. What anybody searches for is far shorter.
const MAX_SEARCHABLE: u64 = 64 << 10;
/// How much of a deflated object is inflated to find its attributes, in bytes.
const MAX_INFLATED: u64 = 4 << 20;
/// Where the pixel data begin, or what stands in their place; nothing behind is searched for.
const FIRST_OF_PIXELS: Tag = Tag(0x7FE0, 0x0001);

/// A stored object. Cheap to share in an `Arc`.
#[derive(Debug, Clone)]
pub struct Instance {
    /// SOP class, SOP instance and the transfer syntax of [`Self::data`].
    pub head: Head,
    /// The encoded data set.
    pub data: Data,
    /// What can be searched and returned: the data set's text in Unicode, without pixel data and other very
    /// long elements.
    pub attributes: DataSet,
    /// The character set that the object's text is stored in; answers come in it.
    pub charset: Charset,
}

/// An encoded data set: no preamble, no group 0002.
#[derive(Clone)]
pub enum Data {
    /// Ready in memory.
    Memory(Bytes),
    /// Ready in memory in several parts, which objects may share.
    Parts(Arc<[Bytes]>),
    /// Part of a file, read when it is asked for.
    File {
        /// The file.
        path: PathBuf,
        /// Where the data set begins, in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// Made when it is asked for, the same bytes each time.
    Lazy(Arc<dyn Fn() -> Bytes + Send + Sync>),
}

/// The bytes are not an object that could be found again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInstance {
    /// The data set cannot be read.
    #[error("{0}")]
    Malformed(#[from] scan::Error),
    /// An identifier is missing, or is no UID.
    #[error("no usable {0}")]
    Missing(Tag),
}

impl Instance {
    /// An object in memory, its header read from `data_set`: no preamble, no group 0002.
    ///
    /// # Errors
    /// The data set cannot be followed up to the pixel data, or lacks one of the UIDs that place it.
    pub fn from_bytes(transfer_syntax: Uid, data_set: Bytes) -> Result<Self, InvalidInstance> {
        let (attributes, charset) = read_header(&transfer_syntax, &data_set, true)?;
        Self::new(transfer_syntax, Data::Memory(data_set), attributes, charset)
    }

    /// An object whose header is at the beginning of `prefix`, which need not be the whole data set.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_prefix(transfer_syntax: Uid, prefix: &Bytes, data: Data) -> Result<Self, InvalidInstance> {
        let (attributes, charset) = read_header(&transfer_syntax, prefix, false)?;
        Self::new(transfer_syntax, data, attributes, charset)
    }

    fn new(
        transfer_syntax: Uid,
        data: Data,
        attributes: DataSet,
        charset: Charset,
    ) -> Result<Self, InvalidInstance> {
        let uid = |tag| attributes.uid(tag).ok_or(InvalidInstance::Missing(tag));
        uid(tags::STUDY_INSTANCE_UID)?;
        uid(tags::SERIES_INSTANCE_UID)?;
        let (sop_class, sop_instance) = (uid(tags::SOP_CLASS_UID)?, uid(tags::SOP_INSTANCE_UID)?);
        let head = Head { sop_class, sop_instance, transfer_syntax };
        Ok(Self { head, data, attributes, charset })
    }

    /// The study that the object belongs to, empty when it has none.
    pub fn study(&self) -> &str {
        self.attributes.string(tags::STUDY_INSTANCE_UID).unwrap_or_default()
    }

    /// The series that the object belongs to, empty when it has none.
    pub fn series(&self) -> &str {
        self.attributes.string(tags::SERIES_INSTANCE_UID).unwrap_or_default()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::Parts(parts) => write!(f, "Parts({})", parts.len()),
            Self::File { path, length, .. } => write!(f, "File({}, {length} bytes)", path.display()),
            Self::Lazy(_) => f.write_str("Lazy"),
        }
    }
}

/// The attributes in front of the pixel data, and the character set of their text. Unless it must be `whole`,
/// the data set may break off.
fn read_header(syntax: &Uid, bytes: &Bytes, whole: bool) -> Result<(DataSet, Charset), scan::Error> {
    let inflated = (syntax.as_str() == DEFLATED_EXPLICIT_VR_LE).then(|| inflate(bytes));
    let (bytes, whole) = (inflated.as_ref().unwrap_or(bytes), whole && inflated.is_none());
    let layout = layout(syntax);
    let mut scanner = Scanner::new(layout);
    scanner.push(bytes.clone());
    let mut kept = Vec::new();
    let mut open: Option<u64> = None;
    let mut depth = 0_usize;
    let mut reached_pixels = false;
    while let Some(event) = scanner.next()? {
        match event {
            Event::Element(header) if depth == 0 && header.tag >= FIRST_OF_PIXELS => {
                reached_pixels = true;
                break;
            }
            Event::Element(header) => {
                if depth == 0 {
                    open = Some(header.offset);
                }
                depth += 1;
            }
            Event::ElementEnd => {
                depth -= 1;
                if depth == 0
                    && let Some(start) = open.take()
                    && scanner.position() - start <= MAX_SEARCHABLE
                {
                    kept.extend_from_slice(&bytes[start as usize..scanner.position() as usize]);
                }
            }
            _ => {}
        }
    }
    if whole && !reached_pixels {
        scanner.finish()?;
    }
    let parsed = DataSet::parse(&kept, layout, None)?;
    let charset = Charset::from_values(parsed.data_set.strings(tags::SPECIFIC_CHARACTER_SET));
    Ok((parsed.data_set, charset))
}

/// The beginning of a deflated data set, as far as it can be inflated.
fn inflate(bytes: &[u8]) -> Bytes {
    let mut out = Vec::new();
    // What is broken shows as a header that breaks off.
    let _ = flate2::read::DeflateDecoder::new(bytes).take(MAX_INFLATED).read_to_end(&mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};

    fn object() -> DataSet {
        let mut object = DataSet::new();
        object.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2");
        object.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
        object.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
        object.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.1");
        object.set_str(tags::PATIENT_NAME, VR::PN, "Παπαδόπουλος^Νίκος");
        object
    }

    fn read(object: &DataSet) -> Result<Instance, InvalidInstance> {
        let greek = QueryCharset::Forced(Charset::from_values(&["ISO_IR 126"]));
        let syntax = Uid::from_static(EXPLICIT_VR_LE);
        Instance::from_bytes(syntax, object.encode(Layout::ExplicitLe, greek).into())
    }

    #[test]
    fn the_header_is_unicode_and_has_no_pixels_and_no_very_long_element() {
        let mut object = object();
        object.set_str(tags::TEXT_VALUE, VR::UT, "x".repeat(70_000));
        object.insert(
            tags::PIXEL_DATA,
            crate::dicom::dataset::Element {
                vr: VR::OW,
                value: crate::dicom::dataset::Value::Bytes(vec![0; 8].into()),
            },
        );
        let instance = read(&object).unwrap();
        assert_eq!(instance.attributes.string(tags::PATIENT_NAME), Some("Παπαδόπουλος^Νίκος"));
        assert_eq!(instance.charset.values(), ["ISO_IR 126"]);
        assert_eq!((instance.study(), instance.series()), ("1.2", "1.2.1"));
        assert!(!instance.attributes.contains(tags::PIXEL_DATA));
        assert!(!instance.attributes.contains(tags::TEXT_VALUE));
    }

    #[test]
    fn an_object_that_belongs_nowhere_is_refused() {
        let mut object = object();
        object.remove(tags::SERIES_INSTANCE_UID);
        assert_eq!(read(&object).unwrap_err(), InvalidInstance::Missing(tags::SERIES_INSTANCE_UID));
        assert!(
            Instance::from_bytes(Uid::from_static(EXPLICIT_VR_LE), Bytes::from_static(b"\x08\0")).is_err()
        );
    }
}
