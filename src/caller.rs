//! Who asks: what the pool and the archives need to know of a client.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::dicom::{AeTitle, Uid};

/// How urgent a request is. Interactive requests are served before bulk ones (they never starve each other's
/// clients: within a class the pool is fair among clients).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits at a screen: searches, single instances, and what is in them.
    Interactive,
    /// Whole studies and series, their metadata too.
    Bulk,
}

/// The client on whose behalf an archive is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Whom the pool's fairness counts: the client's address, `None` for the bridge itself.
    pub client: Option<IpAddr>,
    /// How urgent the request is.
    pub priority: Priority,
    /// The AE title under which the archive is to see the client, where it is configured so; `None`: our own.
    pub title: Option<AeTitle>,
}

/// What a client is confined to, whatever else it may do. A set that is empty confines to nothing; where both have members,
/// both hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Restriction {
    /// Patient IDs (0010,0020), without padding.
    pub patients: BTreeSet<String>,
    /// Study Instance UIDs.
    pub studies: BTreeSet<Uid>,
}

impl Restriction {
    /// Whether it confines to anything.
    pub fn is_empty(&self) -> bool {
        self.patients.is_empty() && self.studies.is_empty()
    }

    /// Whether a study may be named, whomever it belongs to.
    pub fn has_study(&self, study: &Uid) -> bool {
        self.studies.is_empty() || self.studies.contains(study)
    }

    /// Whether objects of this patient may be seen. Padding does not count (PS3.5 6.2, LO).
    pub fn has_patient(&self, id: &str) -> bool {
        self.patients.is_empty() || self.patients.contains(id.trim_matches(' '))
    }
}
