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

    /// The same in a pool whose own title is `own`: that title named is none named.
    pub(super) fn named_beside(&self, own: &AeTitle) -> Self {
        let calling = self.calling.clone().filter(|title| title != own);
        Self { calling, ..self.clone() }
    }

    /// As whom and how an association with these contexts is opened.
    pub(super) fn identity(&self) -> Identity {
        Identity { calling: self.calling.clone(), extended: Arc::clone(&self.extended) }
    }

    /// Whether an association that was opened as `identity` and offered `proposals` will do: it has all that is wanted,
    /// and of a class whose objects are to come no further transfer syntax. Where there were more, the peer would choose
    /// among them: a retrieval of native objects would be brought compressed ones.
    pub(super) fn fit(&self, identity: &Identity, proposals: &[Proposal]) -> bool {
        !self.own && self.is_as(identity, &self.want) && serves(proposals, &self.want)
    }

    /// Whether an association that was opened as `identity` and wanted for `served` is not needed beside a new one: all
    /// that it has done so far the new one can do.
    pub(super) fn replace(&self, identity: &Identity, served: &[Proposal]) -> bool {
        !self.own && self.is_as(identity, served) && serves(&self.offer, served)
    }

    /// Whether the archive sees the same requestor, and was told the same about these classes.
    fn is_as(&self, identity: &Identity, classes: &[Proposal]) -> bool {
        let is_same = |class: &Uid| told(&self.extended, class) == told(&identity.extended, class);
        let is_bare = self.extended.is_empty() && identity.extended.is_empty();
        self.calling == identity.calling && (is_bare || classes.iter().all(|p| is_same(&p.abstract_syntax)))
    }
}

/// As whom an association was opened, and with which SOP Class Extended Negotiation: it serves nobody who would have
/// opened it otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// The title; `None`: the pool's own.
    calling: Option<AeTitle>,
    extended: Arc<[(Uid, Bytes)]>,
}

impl Identity {
    /// What was proposed about which class.
    pub(super) fn extended(&self) -> Arc<[(Uid, Bytes)]> {
        Arc::clone(&self.extended)
    }
}

/// What was proposed about a class.
fn told<'a>(extended: &'a [(Uid, Bytes)], class: &Uid) -> Option<&'a Bytes> {
    extended.iter().find(|(of, _)| of == class).map(|(_, information)| information)
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
        assert!(Contexts::only(two.clone()).fit(&Identity::default(), &two));
        let one = Contexts::only(to_come("1.2", &["1.1"]));
        assert!(!one.fit(&Identity::default(), &two), "the peer would choose");
        assert!(!Contexts::only(two.clone()).fit(&Identity::default(), &two[..1]));
    }

    #[test]
    fn an_association_that_was_offered_other_classes_besides_will_do() {
        let all = [to_come("1.2", &["1.1", "1.2"]), to_come("1.3", &["1.1"])].concat();
        assert!(Contexts::only(to_come("1.3", &["1.1"])).fit(&Identity::default(), &all));
    }

    #[test]
    fn what_an_association_was_wanted_for_decides_whether_another_takes_its_place() {
        let (one, two) = (to_come("1.2", &["1.1"]), to_come("1.3", &["1.1"]));
        let new = Contexts::offering(one.clone(), [one.clone(), two.clone()].concat());
        let served = joined(&two.clone().into(), &one.into());
        let nobody = Identity::default();
        assert!(new.replace(&nobody, &two) && new.replace(&nobody, &served));
        assert!(!new.replace(&nobody, &to_come("1.4", &["1.1"])));
    }

    #[test]
    fn hazard_an_association_for_native_objects_is_not_released_for_one_that_lets_the_peer_choose() {
        let (native, stored) = (to_come("1.2", &["1.1"]), to_come("1.2", &["1.1", "1.2"]));
        assert!(!Contexts::only(stored.clone()).replace(&Identity::default(), &native));
        assert!(Contexts::only(stored.clone()).replace(&Identity::default(), &stored));
    }

    fn operation(class: &str) -> Proposal {
        let syntax = "1.2.840.10008.1.2".parse().unwrap();
        Proposal { abstract_syntax: class.parse().unwrap(), transfer_syntaxes: vec![syntax], as_scp: false }
    }

    fn told_of(class: &str, information: &'static [u8]) -> Arc<[(Uid, Bytes)]> {
        [(class.parse().unwrap(), Bytes::from_static(information))].into()
    }

    #[test]
    fn hazard_an_association_under_another_title_will_not_do_nor_is_it_released_for_one() {
        let title = |text: &str| Some(text.parse().unwrap());
        let ours = Contexts::only([operation("1.2")]);
        let theirs = ours.clone().under(title("CT1"));
        for (opened, wanted) in [(&ours, &theirs), (&theirs, &ours)] {
            assert!(opened.fit(&opened.identity(), &opened.offer));
            assert!(!wanted.fit(&opened.identity(), &opened.offer));
            assert!(!wanted.replace(&opened.identity(), &opened.offer));
        }
        let named = ours.clone().under(title("GANTRY")).named_beside(&"GANTRY".parse().unwrap());
        assert!(named.fit(&ours.identity(), &ours.offer), "our own title named is none named");
    }

    #[test]
    fn an_association_will_do_only_where_the_same_was_negotiated_about_each_class_that_is_wanted() {
        let both = [operation("1.2"), operation("1.3")];
        let plain = Contexts::only(both.clone());
        let relational = plain.clone().with_extended(told_of("1.2", &[1]));
        let other = plain.clone().with_extended(told_of("1.2", &[0]));
        for (opened, wanted) in [(&plain, &relational), (&relational, &plain), (&relational, &other)] {
            assert!(!wanted.fit(&opened.identity(), &both));
            assert!(!wanted.replace(&opened.identity(), &both));
        }
        assert!(relational.fit(&relational.identity(), &both));
        let second = Contexts::only([operation("1.3")]);
        assert!(second.fit(&relational.identity(), &both), "nothing was negotiated about that class");
    }

    #[test]
    fn who_wants_an_association_of_its_own_takes_no_idle_one() {
        let own = Contexts::only([operation("1.2")]).of_its_own([]);
        assert!(!own.fit(&own.identity(), &own.offer));
        assert!(!own.replace(&own.identity(), &own.offer), "it does not serve others afterwards");
    }
}
