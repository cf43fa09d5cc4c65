//! What a member of the groups may ask, and what becomes of it when it leaves.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::member::Member;
use super::{Groups, MemberId, Next, Opening};
use crate::archive::shared::claim::{Claim, Reader};
use crate::archive::{Complete, Error, Result};
use crate::dicom::Uid;

/// A member, as long as it is one.
pub(in crate::archive::shared) struct Membership {
    groups: Arc<Groups>,
    id: MemberId,
}

impl Membership {
    pub(super) fn new(groups: Arc<Groups>, id: MemberId) -> Self {
        Self { groups, id }
    }

    pub(super) fn id(&self) -> MemberId {
        self.id
    }

    /// Who reads.
    pub(in crate::archive::shared) fn reader(&self) -> Option<Reader> {
        self.groups.state().members.get(&self.id).map(|member| member.reader.clone())
    }

    /// What is known of the retrieval, when its first object has begun or it has ended without.
    pub(in crate::archive::shared) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<Arc<Opening>>> {
        let mut state = self.groups.state();
        let Some(member) = state.members.get_mut(&self.id) else { return Poll::Pending };
        let begun = member.has_some() || member.end.is_some();
        let opening = member.opening.clone();
        if !begun {
            member.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match (&member.end, member.has_some()) {
            (Some(Err(error)), false) => Poll::Ready(Err(error.clone())),
            _ => Poll::Ready(Ok(opening.unwrap_or_default())),
        }
    }

    /// What comes next for a member that wants a study or series.
    pub(in crate::archive::shared) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.groups.state();
        let Some(member) = state.members.get_mut(&self.id) else { return Poll::Pending };
        match member.next() {
            Some(next) => Poll::Ready(next),
            None => {
                member.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The one instance that a member wants; `None`: nobody brings it, and this is why, if it is known.
    pub(in crate::archive::shared) fn poll_instance(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<Claim, Option<Error>>> {
        let mut state = self.groups.state();
        let Some(member) = state.members.get_mut(&self.id) else { return Poll::Ready(Err(None)) };
        if let Some(claim) = member.take_instance() {
            return Poll::Ready(Ok(claim));
        }
        if member.groups.is_empty() {
            return Poll::Ready(Err(member.failure.take()));
        }
        member.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts off what is not in the cache any more until its retrieval has ended: it may come once more.
    pub(in crate::archive::shared) fn put_off(&self, instance: Uid, series: Option<Uid>) {
        if let Some(member) = self.groups.state().members.get_mut(&self.id) {
            member.put_off(instance, series);
        }
    }

    /// Whether the instance that it wants came, and was not kept until it was its turn.
    pub(in crate::archive::shared) fn came_in_vain(&self) -> bool {
        self.groups.state().members.get(&self.id).is_some_and(|member| member.came_in_vain)
    }

    /// Whether the instance that was handed out has come whole.
    pub(in crate::archive::shared) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Result<Complete>> {
        let mut state = self.groups.state();
        let Some(member) = state.members.get_mut(&self.id) else { return Poll::Pending };
        match member.end.take() {
            Some(end) => {
                member.settled = end.is_ok();
                Poll::Ready(end)
            }
            None => {
                member.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = {
            let mut state = self.groups.state();
            let member = state.members.remove(&self.id);
            for group in member.iter().flat_map(|member| &member.groups) {
                if let Some(group) = state.groups.get_mut(group) {
                    group.leave(
                        self.id,
                        member.as_ref().is_some_and(Member::is_served),
                        self.groups.finishes,
                    );
                }
            }
            member
        };
        // What it claimed is let go of without the lock.
        drop(member);
    }
}
