//! Presentation contexts proposed and accepted, roles (PS3.8 7.1.1.13, PS3.7 D.3.3.4).

use bytes::Bytes;

use super::pdu::{
    AssociateAc, AssociateRq, ContextResult, MAX_CONTEXTS, ProposedContext, Role, UserInformation,
    context_result,
};
use crate::dicom::Uid;

/// Largest variable field of a P-DATA-TF PDU that we take, in bytes. Nothing is gathered by PDU, so that a
/// large one costs nothing and saves headers. More would gain nothing: DCMTK, and with it Orthanc, sends 128 KiB at
/// most, whatever we take.
pub const OUR_MAX_PDU: u32 = 256 << 10;

/// One context that the requestor wants: one class, the syntaxes it takes for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Abstract syntax.
    pub abstract_syntax: Uid,
    /// Transfer syntaxes, best first. One only, where the syntax must be known in advance.
    pub transfer_syntaxes: Vec<Uid>,
    /// The requestor wants to be SCP of this class (storage contexts of a C-GET).
    pub as_scp: bool,
}

/// An accepted context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedContext {
    /// Its number.
    pub id: u8,
    /// Abstract syntax.
    pub abstract_syntax: Uid,
    /// The transfer syntax agreed.
    pub transfer_syntax: Uid,
    /// The requestor may invoke operations of the class.
    pub requestor_is_scu: bool,
    /// The requestor may perform operations of the class.
    pub requestor_is_scp: bool,
}

/// What was agreed on for an association.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Accepted contexts, in ascending order of their numbers.
    pub contexts: Vec<AcceptedContext>,
    /// The classes of contexts that the acceptor rejected, each with its reason ([`context_result`]); known to the
    /// requestor only.
    pub refused: Vec<(Uid, u8)>,
    /// Largest variable field of a P-DATA-TF PDU that the peer takes, as it announced it.
    pub peer_max_pdu: u32,
    /// The peer's implementation version name.
    pub peer_version: String,
    /// SOP Class Extended Negotiation answers of the acceptor, or the requestor's proposals.
    pub extended: Vec<(Uid, Bytes)>,
}

impl Agreement {
    /// The accepted context with this number.
    pub fn context(&self, id: u8) -> Option<&AcceptedContext> {
        self.contexts.iter().find(|c| c.id == id)
    }

    /// A context in which the requestor may invoke operations of a class.
    pub fn for_class(&self, abstract_syntax: &str) -> Option<&AcceptedContext> {
        self.contexts.iter().find(|c| c.requestor_is_scu && c.abstract_syntax.as_str() == abstract_syntax)
    }

    /// The same, in this transfer syntax.
    pub fn for_class_in(&self, abstract_syntax: &str, transfer_syntax: &Uid) -> Option<&AcceptedContext> {
        let is_of_class = |c: &AcceptedContext| c.abstract_syntax.as_str() == abstract_syntax;
        let fits = |c: &&AcceptedContext| {
            c.requestor_is_scu && c.transfer_syntax == *transfer_syntax && is_of_class(c)
        };
        self.contexts.iter().find(fits)
    }
}

/// The numbered contexts of an A-ASSOCIATE-RQ, the first 128 of the proposals: more have no numbers.
pub fn number(proposals: &[Proposal]) -> Vec<ProposedContext> {
    (proposals.iter().take(MAX_CONTEXTS).zip(0_u8..))
        .map(|(proposal, n)| ProposedContext {
            id: 2 * n + 1,
            abstract_syntax: Some(proposal.abstract_syntax.clone()),
            transfer_syntaxes: proposal.transfer_syntaxes.clone(),
        })
        .collect()
}

/// The role items for the proposals, one a class.
pub fn roles(proposals: &[Proposal]) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for proposal in proposals.iter().take(MAX_CONTEXTS).filter(|p| p.as_scp) {
        if !roles.iter().any(|r| r.sop_class == proposal.abstract_syntax) {
            roles.push(Role { sop_class: proposal.abstract_syntax.clone(), scu: false, scp: true });
        }
    }
    roles
}

/// What an A-ASSOCIATE-AC grants of what was asked for. A context with a number or a syntax that was not
/// proposed is not used. A role item that does not come back means the default roles (PS3.7 D.3.3.4), so that
/// a C-GET has no use for that context.
pub fn agreed_by_requestor(rq: &AssociateRq, ac: AssociateAc) -> Agreement {
    let mut refused = Vec::new();
    let contexts = rq.contexts.iter().filter_map(|proposed| {
        let answer = ac.contexts.iter().find(|c| c.id == proposed.id)?;
        if answer.result != context_result::ACCEPTANCE {
            refused.extend(proposed.abstract_syntax.clone().map(|class| (class, answer.result)));
        }
        let transfer_syntax = answer.transfer_syntax.clone()?;
        let valid = answer.result == context_result::ACCEPTANCE
            && proposed.transfer_syntaxes.contains(&transfer_syntax);
        let abstract_syntax = valid.then_some(proposed.abstract_syntax.clone()?)?;
        let (scu, scp) = granted(&rq.user, &ac.user, &abstract_syntax);
        Some(AcceptedContext {
            id: proposed.id,
            abstract_syntax,
            transfer_syntax,
            requestor_is_scu: scu,
            requestor_is_scp: scp,
        })
    });
    Agreement {
        contexts: contexts.collect(),
        refused,
        peer_max_pdu: ac.user.max_pdu,
        peer_version: ac.user.implementation_version,
        extended: ac.user.extended,
    }
}

/// The roles of the requestor for a class: what it proposed and the acceptor granted, else the default.
fn granted(rq: &UserInformation, ac: &UserInformation, class: &Uid) -> (bool, bool) {
    let of =
        |user: &UserInformation| user.roles.iter().find(|r| r.sop_class == *class).map(|r| (r.scu, r.scp));
    match (of(rq), of(ac)) {
        (Some((scu, scp)), Some((scu_too, scp_too))) => (scu && scu_too, scp && scp_too),
        // Without an answer the requestor is SCU only, even where it proposed to be SCP only.
        _ => (true, false),
    }
}

/// The acceptor's decision about one proposed context: `Ok` with the transfer syntax, or the reason of the
/// rejection ([`context_result`]).
pub type Decision = Result<Uid, u8>;

/// What an acceptor answers to an association request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// One decision for each context, in the request's order.
    pub contexts: Vec<Decision>,
    /// Role selection (PS3.7 D.3.3.4): for classes for which the requestor asked, with what it is granted of that.
    pub roles: Vec<Role>,
    /// SOP Class Extended Negotiation (PS3.7 D.3.3.5).
    pub extended: Vec<(Uid, Bytes)>,
}

impl Answer {
    /// `decide` sees each context that has an abstract syntax; `grants_scp` says whether the requestor may take the SCP
    /// role for a class.
    pub fn new(
        rq: &AssociateRq,
        mut decide: impl FnMut(&Uid, &[Uid]) -> Decision,
        grants_scp: impl Fn(&Uid) -> bool,
    ) -> Self {
        let contexts = rq.contexts.iter().map(|proposed| match &proposed.abstract_syntax {
            Some(class) => decide(class, &proposed.transfer_syntaxes),
            None => Err(context_result::ABSTRACT_SYNTAX),
        });
        let roles = rq.user.roles.iter().map(|r| Role {
            sop_class: r.sop_class.clone(),
            scu: r.scu,
            scp: r.scp && grants_scp(&r.sop_class),
        });
        Self { contexts: contexts.collect(), roles: roles.collect(), extended: Vec::new() }
    }
}

/// An acceptor's answer in the words of the A-ASSOCIATE-AC, and what is agreed on thereby. Contexts with an even or
/// a doubled number are rejected, whatever the answer says of them.
pub(super) fn answer(rq: &AssociateRq, answer: &Answer) -> (Vec<ContextResult>, Agreement) {
    let mut results = Vec::new();
    let mut agreement = Agreement {
        peer_max_pdu: rq.user.max_pdu,
        peer_version: rq.user.implementation_version.clone(),
        extended: rq.user.extended.clone(),
        ..Agreement::default()
    };
    let mut decisions = answer.contexts.iter();
    for proposed in &rq.contexts {
        let decision = decisions.next().cloned().unwrap_or(Err(context_result::NO_REASON));
        let usable = proposed.id % 2 == 1 && agreement.context(proposed.id).is_none();
        let decision = match (&proposed.abstract_syntax, decision) {
            (Some(_), _) if !usable => Err(context_result::USER_REJECTION),
            (Some(class), Ok(syntax)) => Ok((class, syntax)),
            (None, Ok(_)) => Err(context_result::ABSTRACT_SYNTAX),
            (_, Err(reason)) => Err(reason),
        };
        let (result, transfer_syntax) = match decision {
            Ok((class, syntax)) => {
                let role = answer.roles.iter().find(|r| r.sop_class == *class);
                agreement.contexts.push(AcceptedContext {
                    id: proposed.id,
                    abstract_syntax: class.clone(),
                    transfer_syntax: syntax.clone(),
                    requestor_is_scu: role.is_none_or(|r| r.scu),
                    requestor_is_scp: role.is_some_and(|r| r.scp),
                });
                (context_result::ACCEPTANCE, Some(syntax))
            }
            Err(reason) => (reason, proposed.transfer_syntaxes.first().cloned()),
        };
        results.push(ContextResult { id: proposed.id, result, transfer_syntax });
    }
    agreement.contexts.sort_by_key(|c| c.id);
    (results, agreement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const JPEG: &str = "1.2.840.10008.1.2.4.50";

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn rq(proposals: &[Proposal]) -> AssociateRq {
        AssociateRq {
            version: crate::dimse::pdu::PROTOCOL_VERSION,
            called: "PACS".parse().unwrap(),
            calling: "GANTRY".parse().unwrap(),
            application_context: String::new(),
            contexts: number(proposals),
            user: UserInformation { roles: roles(proposals), ..UserInformation::default() },
        }
    }

    fn storage(syntax: &str) -> Proposal {
        Proposal { abstract_syntax: uid(CT), transfer_syntaxes: vec![uid(syntax)], as_scp: true }
    }

    fn accept(ids: &[(u8, &str)], roles: Vec<Role>) -> AssociateAc {
        let contexts = (ids.iter())
            .map(|(id, syntax)| ContextResult { id: *id, result: 0, transfer_syntax: Some(uid(syntax)) })
            .collect();
        AssociateAc { contexts, user: UserInformation { roles, ..UserInformation::default() } }
    }

    #[test]
    fn hazard_the_accepted_context_decides_the_transfer_syntax_not_the_first() {
        let rq = rq(&[storage(JPEG), storage(EXPLICIT_VR_LE)]);
        let mut ac = accept(&[(1, JPEG), (3, EXPLICIT_VR_LE)], roles(&[storage(JPEG)]));
        ac.contexts[0].result = 4;
        let agreed = agreed_by_requestor(&rq, ac);
        assert_eq!(agreed.context(1), None);
        assert_eq!(agreed.context(3).unwrap().transfer_syntax.as_str(), EXPLICIT_VR_LE);
    }

    #[test]
    fn a_role_item_that_does_not_come_back_means_refused() {
        let rq = rq(&[storage(EXPLICIT_VR_LE)]);
        let agreed = agreed_by_requestor(&rq, accept(&[(1, EXPLICIT_VR_LE)], vec![]));
        assert!(!agreed.context(1).unwrap().requestor_is_scp);
        let agreed = agreed_by_requestor(&rq, accept(&[(1, EXPLICIT_VR_LE)], roles(&[storage(JPEG)])));
        assert!(agreed.context(1).unwrap().requestor_is_scp);
    }

    #[test]
    fn numbers_and_syntaxes_that_were_not_proposed_are_not_used() {
        let rq = rq(&[storage(EXPLICIT_VR_LE)]);
        let agreed = agreed_by_requestor(&rq, accept(&[(1, IMPLICIT_VR_LE), (5, EXPLICIT_VR_LE)], vec![]));
        assert!(agreed.contexts.is_empty());
    }

    #[test]
    fn hazard_more_than_128_contexts_do_not_wrap_the_numbers() {
        let numbered = number(&vec![storage(JPEG); 200]);
        assert_eq!((numbered.len(), numbered[127].id), (128, 255));
    }

    #[test]
    fn the_acceptor_answers_every_context_and_refuses_doubled_numbers() {
        let mut rq = rq(&[storage(JPEG), storage(EXPLICIT_VR_LE)]);
        rq.contexts[1].id = 1;
        rq.contexts.push(ProposedContext {
            id: 4,
            abstract_syntax: Some(uid(CT)),
            transfer_syntaxes: vec![],
        });
        let given = Answer::new(&rq, |_, syntaxes| syntaxes.first().cloned().ok_or(4), |_| true);
        let (results, agreement) = answer(&rq, &given);
        assert_eq!(results.iter().map(|r| r.result).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!((given.roles.len(), agreement.contexts.len()), (1, 1));
        assert!(agreement.contexts[0].requestor_is_scp && !agreement.contexts[0].requestor_is_scu);
    }
}
