//! What can be wrong with an object that is to be stored.

use std::time::Duration;

use crate::dicom::{Tag, native, scan};

/// How long nothing may come of an object. Archives give up an association on which nothing comes for 30 to 60
/// seconds, and it is of no use to anybody else meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Why an object is not stored, where the fault is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("its bytes broke off")]
    BrokeOff,
    #[error("it is empty")]
    Empty,
    #[error("nothing came of it for {} s", PATIENCE.as_secs())]
    Stalled,
    #[error("it was sent too slowly for the time that an operation may take")]
    TooSlow,
    #[error("{0}")]
    Structure(scan::Error),
    #[error("its length is odd, as no data set's is")]
    OddLength,
    #[error("{0}")]
    Deflation(scan::ErrorKind),
    #[error("its {0} is not encoded as its transfer syntax says")]
    NotItsSyntax(Tag),
    #[error("its {0} is not the one that it was announced with")]
    OtherUid(Tag),
}

impl From<scan::Error> for Broken {
    fn from(error: scan::Error) -> Self {
        Self::Structure(error)
    }
}

impl From<native::Error> for Broken {
    fn from(error: native::Error) -> Self {
        match error {
            native::Error::Structure(error) => Self::Structure(error),
            native::Error::Deflation(error) => Self::Deflation(error),
        }
    }
}
