//! An association that somebody has.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::contexts;
use super::reports::{self, Due, Reports};
use super::slots::{Holder, Live, Slot};
use crate::dicom::Uid;
use crate::dimse::association::Association;
use crate::dimse::negotiation::Proposal;
use crate::metrics::OfArchive;

/// An association for the time of some operations. Dropped, the association is cut; after a clean final
/// response call [`Lease::give_back`].
pub struct Lease {
    pub(super) live: Live,
    /// What it was wanted for.
    pub(super) want: Arc<[Proposal]>,
    pub(super) extra: Vec<Slot>,
    pub(super) holder: Holder,
    pub(super) reused: bool,
}

impl Lease {
    /// The association.
    pub fn association(&mut self) -> &mut Association {
        &mut self.live.association
    }

    /// Whether the association has served somebody before: it may have died unseen, so that a request which
    /// got no response at all may be tried once more on a new one.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// The contexts that the association was offered, in the order of their numbers.
    pub fn offered(&self) -> Arc<[Proposal]> {
        Arc::clone(&self.live.proposals)
    }

    /// The SOP Class Extended Negotiation that was proposed for it (PS3.7 D.3.3.5).
    pub fn extended(&self) -> Arc<[(Uid, Bytes)]> {
        self.live.identity.extended()
    }

    /// A message ID that no operation of this association has used lately (PS3.7 9.3).
    pub fn next_message_id(&mut self) -> u16 {
        self.live.message_id = self.live.message_id.wrapping_add(1).max(1);
        self.live.message_id
    }

    /// The figures of its archive.
    pub(in crate::dimse) fn figures(&self) -> &OfArchive {
        &self.live.slot.shared.figures
    }

    /// Who takes N-EVENT-REPORTs that come on it.
    pub(in crate::dimse) fn reports(&self) -> Option<Arc<dyn Reports>> {
        self.live.slot.shared.reports.clone()
    }

    /// Gives the association back after a clean final response. Only then may it serve others.
    pub fn give_back(self) {
        self.give_back_after(Vec::new());
    }

    /// As [`Lease::give_back`], once the answers that are `due` have left.
    pub(in crate::dimse) fn give_back_after(self, due: Vec<Due>) {
        let Self { mut live, want, extra, holder, .. } = self;
        drop(holder);
        live.uses += 1;
        live.served = contexts::joined(&live.served, &want);
        let shared = Arc::clone(&live.slot.shared);
        if due.is_empty() && shared.is_at_rest(&live) {
            shared.park(live);
        } else {
            let keeper = Arc::clone(&shared);
            shared.tasks.spawn(async move {
                match reports::answer(due, &mut live.association).await {
                    Ok(()) => keeper.keep(live).await,
                    Err(_) => live.cut().await,
                }
            });
        }
        // Not before: who waits is to have this association, and not a new one in a slot that was for the way back.
        drop(extra);
    }

    /// Releases the association, then the slot is free.
    pub async fn release(self) {
        let Self { live, extra, holder, .. } = self;
        live.close().await;
        drop((extra, holder));
    }

    /// Aborts the association: the peer is told and the connection closed, then the slot is free.
    pub async fn abort(self) {
        let Self { live, extra, holder, .. } = self;
        live.association.abort().await;
        drop((live.slot, extra, holder));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("reused", &self.reused).finish_non_exhaustive()
    }
}
