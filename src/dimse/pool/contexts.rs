//! Which presentation contexts an association is to have, and which associations will do for somebody else too.

use std::sync::Arc;

use bytes::Bytes;

use crate::dicom::{AeTitle, Uid};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::Role;

/// The presentation contexts that somebody needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Contexts {
    /// What the association has been offered.
    pub want: Arc<[Proposal]>,
    /// What a new one is offered: `want`, and what makes it serve others later.
    pub offer: Arc<[Proposal]>,
    /// The title under which the association is opened; `None`: the pool's own.
    pub calling: Option<AeTitle>,
    /// SOP Class Extended Negotiation (PS3.7 D.3.3.5); an association with another for a class that is wanted will not do.
    pub extended: Arc<[(Uid, Bytes)]>,
    /// Role selection besides that of `offer` (PS3.7 D.3.3.4).
    pub roles: Arc<[Role]>,
    /// A new association, for this lease alone: never an idle one, and never given back.
    pub own: bool,
}

impl Contexts {
    /// These, and nothing else.
    pub fn only(want: impl Into<Arc<[Proposal]>>) -> Self {
        let want = want.into();
        Self::of(Arc::clone(&want), want)
    }

    /// These, and a new association is offered those of `offer`, which contains them.
    pub fn offering(want: impl Into<Arc<[Proposal]>>, offer: impl Into<Arc<[Proposal]>>) -> Self {
        let (want, offer) = (want.into(), offer.into());
        debug_assert!(contains(&offer, &want));
        Self::of(want, offer)
    }

    fn of(want: Arc<[Proposal]>, offer: Arc<[Proposal]>) -> Self {
        Self { want, offer, calling: None, extended: Arc::default(), roles: Arc::default(), own: false }
    }

    /// The same, under another title; `None`: under the pool's own.
    pub fn under(self, title: Option<AeTitle>) -> Self {
        Self { calling: title, ..self }
    }

    /// The same, with this SOP Class Extended Negotiation.
    pub fn with_extended(self, extended: Arc<[(Uid, Bytes)]>) -> Self {
        Self { extended, ..self }
    }

    /// The same, for one lease alone, and with these roles.
    pub fn of_its_own(self, roles: impl Into<Arc<[Role]>>) -> Self {
        Self { roles: roles.into(), own: true, ..self }
    }

    /// The same, of which a new association is offered no more than is wanted.
    pub fn without_offer(&self) -> Self {
        Self { offer: Arc::clone(&self.want), ..self.clone() }
    }

    /// Whether an association that was offered `proposals` will do: it has all that is wanted, and of a class whose
    /// objects are to come no further transfer syntax. Where there were more, the peer would choose among them: a
    /// retrieval of native objects would be brought compressed ones.
    pub(super) fn fit(&self, proposals: &[Proposal]) -> bool {
        serves(proposals, &self.want)
    }

    /// Whether an association that was wanted for `served` is not needed beside a new one: all that it has done so far
    /// the new one can do.
    pub(super) fn replace(&self, served: &[Proposal]) -> bool {
        serves(&self.offer, served)
    }
}

/// Whether an association that was offered `proposals` will do for who wants `want`.
fn serves(proposals: &[Proposal], want: &[Proposal]) -> bool {
    let to_come = |proposal: &&Proposal| proposal.as_scp;
    let is_wanted = |class: &Uid| want.iter().filter(to_come).any(|w| w.abstract_syntax == *class);
    contains(proposals, want)
        && proposals
            .iter()
            .filter(to_come)
            .all(|offered| want.contains(offered) || !is_wanted(&offered.abstract_syntax))
}

/// `served`, and what is wanted now.
pub(super) fn joined(served: &Arc<[Proposal]>, want: &Arc<[Proposal]>) -> Arc<[Proposal]> {
    if contains(served, want) {
        return Arc::clone(served);
    }
    let news = want.iter().filter(|proposal| !served.contains(proposal));
    served.iter().chain(news).cloned().collect()
}

fn contains(all: &[Proposal], some: &[Proposal]) -> bool {
    some.iter().all(|proposal| all.contains(proposal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_come(class: &str, syntaxes: &[&str]) -> Vec<Proposal> {
        let proposal = |syntax: &&str| Proposal {
            abstract_syntax: class.parse().unwrap(),
            transfer_syntaxes: vec![syntax.parse().unwrap()],
            as_scp: true,
        };
        syntaxes.iter().map(proposal).collect()
    }

    #[test]
    fn hazard_an_association_that_was_offered_more_syntaxes_of_a_class_will_not_do() {
        let two = to_come("1.2", &["1.1", "1.2"]);
        assert!(Contexts::only(two.clone()).fit(&two));
        assert!(!Contexts::only(to_come("1.2", &["1.1"])).fit(&two), "the peer would choose");
        assert!(!Contexts::only(two.clone()).fit(&two[..1]));
    }

    #[test]
    fn an_association_that_was_offered_other_classes_besides_will_do() {
        let all = [to_come("1.2", &["1.1", "1.2"]), to_come("1.3", &["1.1"])].concat();
        assert!(Contexts::only(to_come("1.3", &["1.1"])).fit(&all));
    }

    #[test]
    fn what_an_association_was_wanted_for_decides_whether_another_takes_its_place() {
        let (one, two) = (to_come("1.2", &["1.1"]), to_come("1.3", &["1.1"]));
        let new = Contexts::offering(one.clone(), [one.clone(), two.clone()].concat());
        let served = joined(&two.clone().into(), &one.into());
        assert!(new.replace(&two) && new.replace(&served));
        assert!(!new.replace(&to_come("1.4", &["1.1"])));
    }

    #[test]
    fn hazard_an_association_for_native_objects_is_not_released_for_one_that_lets_the_peer_choose() {
        let (native, stored) = (to_come("1.2", &["1.1"]), to_come("1.2", &["1.1", "1.2"]));
        assert!(!Contexts::only(stored.clone()).replace(&native));
        assert!(Contexts::only(stored.clone()).replace(&stored));
    }
}
