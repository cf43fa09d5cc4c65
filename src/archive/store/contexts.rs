//! Which presentation contexts an object needs, and which come along so that the next object finds its own.

use std::collections::VecDeque;

use crate::dicom::native::can_become;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::{AcceptedContext, Agreement, Proposal};
use crate::dimse::pdu::{MAX_CONTEXTS, context_result};

/// Most pairs of class and transfer syntax that are remembered: more do not fit into one association.
const MOST_RECENT: usize = MAX_CONTEXTS;

/// The classes and transfer syntaxes of the objects that were stored lately, the latest first. A study of several
/// classes is stored over associations that take them all.
#[derive(Debug, Default)]
pub(in crate::archive) struct Recent {
    kinds: VecDeque<(Uid, Uid)>,
}

impl Recent {
    /// An object comes. Returns what to offer to a new association: what the object needs, then what those before
    /// it needed, as far as there is room.
    pub(super) fn offer(&mut self, head: &Head) -> Vec<Proposal> {
        let kind = (head.sop_class.clone(), head.transfer_syntax.clone());
        self.kinds.retain(|known| *known != kind);
        self.kinds.push_front(kind);
        self.kinds.truncate(MOST_RECENT);
        let mut offer = Vec::new();
        for (class, syntax) in &self.kinds {
            let more: Vec<_> = needs(class, syntax).into_iter().filter(|p| !offer.contains(p)).collect();
            if offer.len() + more.len() < MAX_CONTEXTS {
                offer.extend(more);
            }
        }
        // Where nothing else is accepted, this keeps the association alive, so that not every object of a class that
        // the archive does not take costs a new one.
        offer.push(proposal(&Uid::from_static(sop_class::VERIFICATION), IMPLICIT_VR_LE));
        offer
    }
}

/// The contexts of one object: its transfer syntax in one of its own, as an acceptor chooses among several as it
/// likes; and the two native ones, which nearly all archives take and native objects can be had in.
pub(super) fn needs(class: &Uid, syntax: &Uid) -> Vec<Proposal> {
    let mut syntaxes = vec![syntax.as_str(), EXPLICIT_VR_LE, IMPLICIT_VR_LE];
    if syntax.as_str() == EXPLICIT_VR_LE || syntax.as_str() == IMPLICIT_VR_LE {
        syntaxes.remove(0);
    }
    syntaxes.into_iter().map(|syntax| proposal(class, syntax)).collect()
}

/// Why an object finds no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The archive takes nothing of the class.
    Class,
    /// It takes the class, in other transfer syntaxes.
    Syntax,
}

/// The context for an object: of its own transfer syntax, else one that it can be re-encoded for.
pub(super) fn choose<'a>(agreement: &'a Agreement, head: &Head) -> Result<&'a AcceptedContext, Refusal> {
    let accepted = |syntax: &Uid| {
        agreement.contexts.iter().find(|context| {
            context.requestor_is_scu
                && context.abstract_syntax == head.sop_class
                && context.transfer_syntax == *syntax
        })
    };
    let own = &head.transfer_syntax;
    let plain = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static);
    let other = || plain.iter().filter(|to| can_become(own, to)).find_map(accepted);
    if let Some(context) = accepted(own).or_else(other) {
        return Ok(context);
    }
    let takes_class = agreement.contexts.iter().any(|context| context.abstract_syntax == head.sop_class);
    let blames_syntax = agreement
        .refused
        .iter()
        .any(|(class, reason)| *class == head.sop_class && *reason == context_result::TRANSFER_SYNTAXES);
    Err(if takes_class || blames_syntax { Refusal::Syntax } else { Refusal::Class })
}

fn proposal(class: &Uid, syntax: &str) -> Proposal {
    let transfer_syntaxes = syntax.parse().into_iter().collect();
    Proposal { abstract_syntax: class.clone(), transfer_syntaxes, as_scp: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE};

    const RLE: &str = "1.2.840.10008.1.2.5";

    fn head(class: &str, syntax: &str) -> Head {
        let uid = |text: &str| text.parse().unwrap();
        Head { sop_class: uid(class), sop_instance: uid("1.2.3"), transfer_syntax: uid(syntax) }
    }

    fn agreement(accepted: &[(&str, &str)], refused: &[(&str, u8)]) -> Agreement {
        let contexts = (accepted.iter().zip(0_u8..))
            .map(|((class, syntax), n)| AcceptedContext {
                id: 2 * n + 1,
                abstract_syntax: class.parse().unwrap(),
                transfer_syntax: syntax.parse().unwrap(),
                requestor_is_scu: true,
                requestor_is_scp: false,
            })
            .collect();
        let refused = refused.iter().map(|(class, reason)| (class.parse().unwrap(), *reason)).collect();
        Agreement { contexts, refused, ..Agreement::default() }
    }

    #[test]
    fn an_offer_has_what_the_object_needs_and_what_came_before_and_never_more_than_128_contexts() {
        let mut recent = Recent::default();
        for n in 0..300 {
            let head = head(&format!("1.9.{}", n % 90), [RLE, EXPLICIT_VR_LE, EXPLICIT_VR_BE][n % 3]);
            let offer = recent.offer(&head);
            assert!(offer.len() <= MAX_CONTEXTS);
            assert!(needs(&head.sop_class, &head.transfer_syntax).iter().all(|p| offer.contains(p)));
            assert!(recent.kinds.len() <= MOST_RECENT);
        }
        let mut recent = Recent::default();
        let [one, other] = [head("1.9.1", EXPLICIT_VR_LE), head("1.9.2", RLE)];
        recent.offer(&one);
        let both = recent.offer(&other);
        assert_eq!(both.len(), 2 + 3 + 1);
        assert!(recent.offer(&one).iter().all(|p| both.contains(p)), "in any order");
    }

    #[test]
    fn the_own_syntax_comes_first_then_one_that_loses_nothing() {
        let all = agreement(&[("1.9", IMPLICIT_VR_LE), ("1.9", EXPLICIT_VR_LE), ("1.9", RLE)], &[]);
        for (syntax, chosen) in [
            (RLE, RLE),
            (IMPLICIT_VR_LE, IMPLICIT_VR_LE),
            (EXPLICIT_VR_BE, EXPLICIT_VR_LE),
            (DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE),
        ] {
            assert_eq!(choose(&all, &head("1.9", syntax)).unwrap().transfer_syntax.as_str(), chosen);
        }
        let implicit = agreement(&[("1.9", IMPLICIT_VR_LE)], &[]);
        let chosen = choose(&implicit, &head("1.9", EXPLICIT_VR_LE)).unwrap();
        assert_eq!(chosen.transfer_syntax.as_str(), IMPLICIT_VR_LE);
    }

    #[test]
    fn a_refused_syntax_is_told_from_a_refused_class() {
        let compressed = head("1.9", RLE);
        let native_only = agreement(&[("1.9", EXPLICIT_VR_LE)], &[("1.9", 4)]);
        assert_eq!(choose(&native_only, &compressed), Err(Refusal::Syntax));
        assert_eq!(choose(&agreement(&[], &[("1.9", 4)]), &compressed), Err(Refusal::Syntax));
        let refused = [("1.9", 3), ("1.8", 4)];
        assert_eq!(choose(&agreement(&[("1.8", RLE)], &refused), &compressed), Err(Refusal::Class));
    }
}
