//! Which presentation contexts an association is to have, and which associations will do for somebody else too.

use std::sync::Arc;

use crate::dicom::Uid;
use crate::dimse::negotiation::Proposal;

/// The presentation contexts that somebody needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Contexts {
    /// What the association has been offered.
    pub want: Arc<[Proposal]>,
    /// What a new one is offered: `want`, and what makes it serve others later.
    pub offer: Arc<[Proposal]>,
}

impl Contexts {
    /// These, and nothing else.
    pub fn only(want: impl Into<Arc<[Proposal]>>) -> Self {
        let want = want.into();
        Self { offer: Arc::clone(&want), want }
    }

    /// These, and a new association is offered those of `offer`, which contains them.
    pub fn offering(want: impl Into<Arc<[Proposal]>>, offer: impl Into<Arc<[Proposal]>>) -> Self {
        let (want, offer) = (want.into(), offer.into());
        debug_assert!(contains(&offer, &want));
        Self { want, offer }
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
