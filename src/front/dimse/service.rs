//! What a presentation context is for.

use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::relay::Service;

/// How the messages of a context are served.
#[derive(Clone)]
#[expect(dead_code, reason = "contexts of these kinds are accepted next")]
pub(super) enum Served {
    /// C-ECHO: here.
    Verification,
    /// C-FIND: passed on.
    Find(Service, Arc<dyn Archive>),
    /// C-GET.
    Get(Arc<dyn Archive>),
    /// C-MOVE.
    Move(Arc<dyn Archive>),
    /// C-STORE: objects of clients, and of our own C-MOVEs.
    Storage,
    /// Normalized operations: passed on.
    Normalized(Service, Arc<dyn Archive>),
    /// On an association of its own behind.
    Own,
}

impl Served {
    /// The archive that serves all of the context's requests, where there is one.
    pub(super) fn archive(&self) -> Option<&Arc<dyn Archive>> {
        match self {
            Self::Find(_, archive)
            | Self::Get(archive)
            | Self::Move(archive)
            | Self::Normalized(_, archive) => Some(archive),
            Self::Verification | Self::Storage | Self::Own => None,
        }
    }
}
