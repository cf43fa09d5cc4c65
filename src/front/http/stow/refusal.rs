//! Why an instance is not even sent to the archive.

use crate::dicom::part10;
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
    #[error("its File Meta Information and its data set name different SOP Class or SOP Instance UIDs")]
    Contradiction,
    #[error("it belongs to another study than the one in the URL")]
    ForeignStudy,
    #[error("its part is labelled as something other than application/dicom")]
    WrongType,
    #[error("the request broke off in the middle of it")]
    BrokenOff,
}

impl Refusal {
    /// Failure Reason (0008,1197).
    pub(super) fn reason(self) -> u16 {
        match self {
            Self::Contradiction => status::IDENTIFIER_DOES_NOT_MATCH,
            Self::ForeignStudy => FOREIGN_STUDY,
            _ => status::UNABLE_TO_PROCESS,
        }
    }

    /// Whether the fault is one of syntax, which alone makes a request a bad one (PS3.18 Table 10.5.3-1).
    pub(super) fn is_syntax(self) -> bool {
        !matches!(self, Self::Contradiction | Self::ForeignStudy)
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
