//! What a request says that its body is.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::super::error::Problem;
use super::metadata::Notation;
use crate::dicom::Uid;
use crate::dicomweb::media_type::{ContentType, DICOM};
use crate::dicomweb::multipart::read::{PartHeaders, Reader};

/// A body that can be read.
pub(super) enum Payload {
    /// One file a part.
    Multipart(Box<Reader>),
    /// One bare file, whose label may name its transfer syntax. Not of the standard, but unmistakable.
    SinglePart(Option<Uid>),
    /// Metadata in this notation, and bulk data.
    Description(Notation, Box<Reader>),
    /// Metadata alone.
    Metadata(Notation),
}

impl Payload {
    /// By the headers of the request.
    pub(super) fn new(headers: &HeaderMap) -> Result<Self, Problem> {
        let coded =
            headers.get(CONTENT_ENCODING).filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if coded.is_some() {
            return Err(unsupported("a body with a Content-Encoding is not read"));
        }
        let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = ContentType::parse(text)
            .ok_or_else(|| unsupported("there is no Content-Type that can be read"))?;
        if let Some(notation) = Notation::of(content_type.essence()) {
            return Ok(Self::Metadata(notation));
        }
        match content_type.essence() {
            DICOM => return Ok(Self::SinglePart(transfer_syntax(&content_type))),
            "multipart/related" => {}
            _ => return Err(unsupported("a body of this Content-Type cannot be stored")),
        }
        let inner = content_type.parameter("type").map(str::to_ascii_lowercase);
        let notation = inner.as_deref().and_then(Notation::of);
        if notation.is_none() && inner.is_some_and(|inner| inner != DICOM) {
            return Err(unsupported("parts of this type cannot be stored"));
        }
        let bad = |detail: &str| {
            Problem::client(StatusCode::BAD_REQUEST, detail.to_owned())
                .advise("Name in the Content-Type's `boundary` what parts the body.")
        };
        let boundary = content_type.parameter("boundary");
        let boundary = boundary.ok_or_else(|| bad("the Content-Type names no boundary"))?;
        let reader = Reader::new(boundary).map_err(|error| bad(&error.to_string()))?;
        Ok(match notation {
            None => Self::Multipart(Box::new(reader)),
            Some(notation) => Self::Description(notation, Box::new(reader)),
        })
    }
}

/// The transfer syntax that a part is labelled with; `None` in the error: the part is no PS3.10 file.
pub(super) fn part_label(headers: &PartHeaders) -> Result<Option<Uid>, ()> {
    if !is_plain(headers) {
        return Err(());
    }
    match headers.get("content-type") {
        // RFC 2387 gives the type of the parts once for all; some clients leave it at that.
        None => Ok(None),
        Some(text) => match ContentType::parse(text) {
            Some(content_type) if content_type.essence() == DICOM => Ok(transfer_syntax(&content_type)),
            _ => Err(()),
        },
    }
}

/// Whether the bytes of the part are what they stand for. What is coded would have to be decoded first; nobody
/// does that to DICOM.
pub(super) fn is_plain(headers: &PartHeaders) -> bool {
    let plain =
        |coding: &str| ["binary", "8bit", "7bit"].iter().any(|plain| coding.eq_ignore_ascii_case(plain));
    headers.get("content-transfer-encoding").is_none_or(plain)
}

fn transfer_syntax(content_type: &ContentType) -> Option<Uid> {
    content_type.parameter("transfer-syntax")?.parse().ok()
}

fn unsupported(detail: &str) -> Problem {
    Problem::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).advise(
        "Send PS3.10 files as multipart/related; type=\"application/dicom\"; boundary=…, or metadata and bulk data \
         with type=\"application/dicom+json\" or \"application/dicom+xml\"",
    )
}
