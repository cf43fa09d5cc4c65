//! An association that belongs to one client's session, for as long as that lasts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Opening;
use crate::archive::Result;
use crate::archive::remote::Inner;
use crate::caller::{Caller, Priority};
use crate::dimse::association::Association;
use crate::dimse::pool::{Contexts, Lease};

/// An association of the archive that serves one client alone. Dropped, it is aborted.
#[derive(Debug)]
pub struct Own {
    /// `None` once it has been released or aborted.
    lease: Option<Lease>,
    inner: Arc<Inner>,
}

impl Own {
    /// The association.
    pub fn association(&mut self) -> &mut Association {
        self.lease.as_mut().expect("who releases or aborts it has it no more").association()
    }

    /// How long the archive may take over a request.
    pub fn patience(&self) -> Duration {
        self.inner.config.timeouts.operation
    }

    /// How long the archive may take nothing of what is sent.
    pub fn silence(&self) -> Duration {
        self.inner.config.timeouts.silence
    }

    /// Releases it.
    pub async fn release(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release().await;
        }
    }

    /// Aborts it.
    pub async fn abort(mut self) {
        if let Some(lease) = self.lease.take() {
            lease.abort().await;
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.inner.tasks.spawn(lease.abort());
        }
    }
}

/// Opens one. A session lasts as long as its client likes, so that it counts as bulk work, which leaves an association
/// to searches.
pub(super) async fn open(inner: Arc<Inner>, caller: Caller, opening: Opening) -> Result<Own> {
    let Opening { service, proposals, roles, extended } = opening;
    let contexts = Contexts::only(proposals).under(caller.title.clone());
    let contexts = contexts.with_extended(extended.into()).of_its_own(roles);
    let caller = Caller { priority: Priority::Bulk, ..caller };
    let deadline = Instant::now() + inner.config.timeouts.operation;
    let lease = inner.lease(inner.pool(service), &caller, &contexts, 1, deadline).await?;
    Ok(Own { lease: Some(lease), inner })
}

#[cfg(test)]
mod tests;
