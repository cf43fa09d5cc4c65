//! Who asks: what the pool and the archives need to know of a client.

use std::net::IpAddr;

use crate::dicom::AeTitle;

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
