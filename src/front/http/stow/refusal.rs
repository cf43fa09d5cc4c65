//! Why an instance is not even sent to the archive.

use crate::dicom::{Tag, part10};
use crate::dicomweb::metadata::ReadError;
use crate::dimse::status;

/// Failure Reason of an instance of another study than the URL's. Table I.2-2 of PS3.18 has none for it and
/// leaves room for such: one of the codes for what cannot be understood, ending like the status 409 that a
/// request has which brings nothing else.
const FOREIGN_STUDY: u16 = 0xC409;

/// Why an instance is not even sent to the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is not a PS3.10 file: there is no preamble with DICM behind it")]
    NoPrefix,
    #[error("its File Meta Information cannot be read")]
    BadFileMeta,
    #[error("it says nowhere in which transfer syntax it is")]
    NoTransferSyntax,
    #[error("its SOP Class, SOP Instance, Study or Series Instance UID is missing or cannot be read")]
    MissingUids,
    #[error("it belongs to another study than the one in the URL")]
    ForeignStudy,
    #[error("its part is labelled as something other than application/dicom")]
    WrongType,
    #[error("the request broke off in the middle of it")]
    BrokenOff,
    #[error("its part is neither metadata nor bulk data, or is encoded for its transfer")]
    UnfitPart,
    #[error("its metadata cannot be read: {0}")]
    BadMetadata(ReadError),
    #[error("the bulk data of its attribute {0} is not in the request")]
    MissingBulkData(Tag),
    #[error("the bulk data of its attribute {0} comes more than once, or is longer than a value can be")]
    BadBulkData(Tag),
    #[error("its pixel data comes neither in one part nor in one for each frame")]
    FrameCount,
    #[error("its pixel data is shorter than its rows, columns and frames make it")]
    ShortPixelData,
    #[error("its pixel data is in no form that can be stored, or is not what its media type says")]
    UnsupportedPixelData,
    #[error("the bridge cannot read the bulk data that it kept")]
    NotKept,
}

impl Refusal {
    /// Failure Reason (0008,1197).
    pub(super) fn reason(self) -> u16 {
        match self {
            Self::ForeignStudy => FOREIGN_STUDY,
            Self::NotKept => status::PROCESSING_FAILURE,
            _ => status::UNABLE_TO_PROCESS,
        }
    }

    /// Whether the fault is one of syntax, which alone makes a request a bad one (PS3.18 Table 10.5.3-1).
    pub(super) fn is_syntax(self) -> bool {
        match self {
            Self::NoPrefix
            | Self::BadFileMeta
            | Self::NoTransferSyntax
            | Self::MissingUids
            | Self::WrongType
            | Self::BrokenOff
            | Self::UnfitPart
            | Self::BadMetadata(_) => true,
            Self::ForeignStudy
            | Self::MissingBulkData(_)
            | Self::BadBulkData(_)
            | Self::FrameCount
            | Self::ShortPixelData
            | Self::UnsupportedPixelData
            | Self::NotKept => false,
        }
    }
}

impl From<part10::Error> for Refusal {
    fn from(error: part10::Error) -> Self {
        match error {
            part10::Error::NoPrefix => Self::NoPrefix,
            part10::Error::Malformed | part10::Error::TooLong => Self::BadFileMeta,
        }
    }
}
