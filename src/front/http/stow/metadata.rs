//! Instances that come as metadata with bulk data beside it (PS3.18 10.5.2): kept until the body has ended, then
//! put together and stored one after the other.
//!
//! Bulk data may stand before or behind the metadata that refers to it, and each of a value's frames in a part of
//! its own; so nothing can be stored before the body has ended, and of a body that breaks off nothing is.

use bytes::Bytes;

use super::answer::Broken;
use super::intake::{MAX_PARTS, TooManyParts};
use super::payload::is_plain;
use super::refusal::Refusal;
use super::room::{Full, Room, Share};
use super::stores::Stores;
use crate::dicom::{Uid, tags};
use crate::dicomweb::bulk::{self, BulkData, Label};
use crate::dicomweb::compose::{self, compose};
use crate::dicomweb::media_type::{ContentType, DICOM, DICOM_JSON, DICOM_XML, JSON};
use crate::dicomweb::metadata::{MAX_DOCUMENT, Metadata, ReadError, Warning, read_json, read_xml};
use crate::dicomweb::multipart::read::PartHeaders;
use crate::dicomweb::store_response::Reference;

/// Most bytes of bulk data of one request. They lie on the disk until the request is done, unlike those of PS3.10
/// files, which pass through.
const MAX_BULK_DATA: u64 = 4 << 30;

/// The notation of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// The DICOM JSON Model: any number of instances a document.
    Json,
    /// The Native DICOM Model: one instance a document.
    Xml,
}

impl Notation {
    /// By the media type of a request or part.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            DICOM_JSON | JSON => Some(Self::Json),
            DICOM_XML => Some(Self::Xml),
            _ => None,
        }
    }

    fn read(self, document: &[u8]) -> Result<Vec<Metadata>, ReadError> {
        match self {
            Self::Json => read_json(document),
            Self::Xml => read_xml(document).map(|metadata| vec![metadata]),
        }
    }
}

/// The parts of one request.
pub(super) struct Description {
    /// Of parts that do not say, as long as there is none.
    notation: Notation,
    documents: Vec<Document>,
    /// Of all documents, in bytes.
    length: usize,
    share: Share,
    bulk: bulk::Intake,
    refused: usize,
    open: Open,
}

struct Document {
    notation: Notation,
    bytes: Vec<u8>,
}

/// The part that is open.
enum Open {
    Document,
    Bulk,
    Refused,
}

impl Description {
    /// Takes the parts of a request to `url`, whose metadata is in this notation.
    pub(super) fn new(notation: Notation, url: &str, room: &Room) -> Self {
        let bulk = bulk::Intake::new(url, MAX_BULK_DATA);
        let share = room.share();
        Self { notation, documents: Vec::new(), length: 0, share, bulk, refused: 0, open: Open::Refused }
    }

    /// Begins a part: metadata by its type, else bulk data.
    pub(super) fn begin(&mut self, headers: &PartHeaders) -> Result<(), Broken> {
        let content_type = headers.get("content-type").and_then(ContentType::parse);
        let media_type = content_type.as_ref().map_or("", ContentType::essence);
        let notation = match Notation::of(media_type) {
            None if media_type.is_empty() && self.documents.is_empty() => Some(self.notation),
            notation => notation,
        };
        if media_type == DICOM || !is_plain(headers) {
            self.refused += 1;
            self.open = Open::Refused;
            return Ok(());
        }
        if let Some(notation) = notation {
            return Ok(self.begin_document(notation)?);
        }
        let parameter = content_type.as_ref().and_then(|c| c.parameter("transfer-syntax"));
        self.bulk.begin(&Label {
            location: headers.get("content-location"),
            id: headers.get("content-id"),
            media_type,
            transfer_syntax: parameter.and_then(|syntax| syntax.parse().ok()),
        })?;
        self.open = Open::Bulk;
        Ok(())
    }

    /// Begins metadata.
    pub(super) fn begin_document(&mut self, notation: Notation) -> Result<(), TooManyParts> {
        if self.documents.len() + self.refused >= MAX_PARTS {
            return Err(TooManyParts);
        }
        self.documents.push(Document { notation, bytes: Vec::new() });
        self.open = Open::Document;
        Ok(())
    }

    /// Takes the next bytes of the part.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), Broken> {
        match (&self.open, self.documents.last_mut()) {
            (Open::Document, Some(document)) => {
                self.length += bytes.len();
                if self.length > MAX_DOCUMENT {
                    return Err(Broken::TooLong);
                }
                self.share.grow(bytes.len())?;
                document.bytes.extend_from_slice(&bytes);
                Ok(())
            }
            (Open::Bulk, _) => Ok(self.bulk.push(bytes).await?),
            _ => Ok(()),
        }
    }

    /// Stores what the parts describe, instances of `study` or of any, and tells what a person should know of it.
    pub(super) async fn store(self, stores: &mut Stores, study: Option<&Uid>) -> Result<Vec<String>, Broken> {
        for _ in 0..self.refused {
            stores.refuse(Reference::default(), Refusal::UnfitPart);
        }
        let mut bulk = self.bulk.finish().await?;
        let _opened = self.share.open().await;
        let mut left_out = LeftOut::default();
        for Document { notation, bytes } in self.documents {
            // A long document takes its time, in which others want to be served.
            let read = tokio::task::spawn_blocking(move || notation.read(&bytes)).await;
            match read.map_err(|_| Broken::NotKept)? {
                Ok(described) if stores.len() + described.len() > MAX_PARTS => {
                    return Err(Broken::TooManyParts);
                }
                Ok(described) => {
                    for metadata in described {
                        left_out.note(&metadata.warnings);
                        store_one(metadata, &mut bulk, stores, study).await;
                    }
                }
                Err(error) => stores.refuse(Reference::default(), Refusal::BadMetadata(error)),
            }
        }
        let unclaimed = match bulk.unclaimed() {
            0 => None,
            count => Some(format!(
                "parts with bulk data that no metadata refers to, and that were ignored: {count}"
            )),
        };
        Ok(left_out.into_text().into_iter().chain(unclaimed).collect())
    }
}

async fn store_one(metadata: Metadata, bulk: &mut BulkData, stores: &mut Stores, study: Option<&Uid>) {
    let uid = |tag| metadata.data_set.uid(tag);
    let reference = Reference {
        class: uid(tags::SOP_CLASS_UID),
        instance: uid(tags::SOP_INSTANCE_UID),
        study: uid(tags::STUDY_INSTANCE_UID),
        series: uid(tags::SERIES_INSTANCE_UID),
    };
    let patient = metadata.data_set.string(tags::PATIENT_ID).map(str::to_owned);
    let discards = metadata.warnings.iter().any(|warning| warning.kind.discards());
    if study.is_some() && reference.study.is_some() && reference.study.as_ref() != study {
        return stores.refuse(reference, Refusal::ForeignStudy);
    }
    let mut composed = match compose(metadata, bulk).await {
        Ok(composed) => composed,
        Err(error) => return stores.refuse(reference, error.into()),
    };
    let Some(log) = stores.begin(reference, patient, composed.head.clone()).await else { return };
    if discards {
        stores.elements_discarded();
    }
    while let Some(bytes) = composed.next().await {
        match bytes {
            Ok(bytes) => log.append(&bytes).await,
            // Dropped unfinished, the log tells the archive.
            Err(error) => return tracing::error!(%error, "bulk data cannot be read from its temporary file"),
        }
    }
    log.finish();
}

/// What was left out of the instances' metadata, as it could not be read.
#[derive(Default)]
struct LeftOut {
    instances: usize,
    first: Option<Warning>,
}

impl LeftOut {
    fn note(&mut self, warnings: &[Warning]) {
        if let Some(first) = warnings.first() {
            self.instances += 1;
            self.first.get_or_insert_with(|| first.clone());
        }
    }

    fn into_text(self) -> Option<String> {
        let (instances, first) = (self.instances, self.first?);
        Some(format!(
            "instances with elements that could not be read as they are: {instances}; the first: {first}"
        ))
    }
}

impl From<compose::Error> for Refusal {
    fn from(error: compose::Error) -> Self {
        match error {
            compose::Error::MissingUids => Self::MissingUids,
            compose::Error::MissingBulkData(path) => Self::MissingBulkData(path.tag),
            compose::Error::AmbiguousBulkData(path) | compose::Error::TooLong(path) => {
                Self::BadBulkData(path.tag)
            }
            compose::Error::FrameCount { .. } => Self::FrameCount,
            compose::Error::UnsupportedPixelData => Self::UnsupportedPixelData,
            compose::Error::ShortPixelData { .. } => Self::ShortPixelData,
            compose::Error::Io(error) => {
                tracing::error!(%error, "bulk data cannot be read from its temporary file");
                Self::NotKept
            }
        }
    }
}

impl From<Full> for Broken {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

impl From<bulk::Error> for Broken {
    fn from(error: bulk::Error) -> Self {
        match error {
            bulk::Error::TooLong(_) => Self::TooLong,
            bulk::Error::TooManyParts => Self::TooManyParts,
            bulk::Error::Io(error) => {
                tracing::error!(%error, "bulk data cannot be written to its temporary file");
                Self::NotKept
            }
        }
    }
}
