//! An association that belongs to one client's session, for as long as that lasts.

use std::sync::Arc;

use super::Opening;
use crate::archive::Result;
use crate::archive::error::Kind;
use crate::archive::remote::Inner;
use crate::caller::Caller;
use crate::dimse::association::Association;
use crate::dimse::pool::Lease;

/// An association of the archive that serves one client alone. Dropped, it is aborted.
#[derive(Debug)]
pub struct Own {
    lease: Lease,
}

impl Own {
    /// The association.
    pub fn association(&mut self) -> &mut Association {
        self.lease.association()
    }

    /// Releases it.
    pub async fn release(self) {
        self.lease.release().await;
    }

    /// Aborts it.
    pub async fn abort(self) {
        self.lease.abort().await;
    }
}

/// Opens one.
pub(super) async fn open(inner: Arc<Inner>, _: Caller, _: Opening) -> Result<Own> {
    Err(inner.error(Kind::Unsupported("not served yet".into())))
}
