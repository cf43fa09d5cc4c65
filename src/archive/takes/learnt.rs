//! What associations have taught about the SOP classes that an archive takes, for as long as that holds.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::archive::relay::{Asked, Taken};
use crate::dicom::{AeTitle, Uid};
use crate::dimse::negotiation::{Agreement, Proposal};
use crate::dimse::pdu::{MAX_CONTEXTS, context_result};

/// How long an acceptance holds: archives are updated and configured anew.
pub(super) const ACCEPTANCE_VALID: Duration = Duration::from_secs(3600);
/// How long a refusal holds: whoever has just been allowed something does not wait an hour for it.
pub(super) const REFUSAL_VALID: Duration = Duration::from_secs(10 * 60);
/// Most views that are remembered: an archive is asked under so many titles of clients.
pub(super) const MOST_VIEWS: usize = 64;
/// Most classes of a view: four times as many as one association can propose.
pub(super) const MOST_CLASSES: usize = 512;
/// Most transfer syntaxes of a class: the standard's own, retired ones included, are fewer, and some clients propose all
/// of them.
pub(super) const MOST_SYNTAXES: usize = 64;

/// Which of an archive's endpoints was asked, by its number, and under which title: an archive may answer each
/// requestor differently. `None`: our own title.
pub(super) type View = (usize, Option<AeTitle>);

/// What was negotiated about: a class, and the application information that was proposed for it.
type Subject = (Uid, Option<Bytes>);

/// What is known, by view and class. What was learnt first goes first where there is no more room.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    views: HashMap<View, HashMap<Subject, Class>>,
}

/// What is known of a class.
#[derive(Debug)]
struct Class {
    /// Its transfer syntaxes: accepted, or refused for this reason.
    syntaxes: Vec<(Uid, Result<(), u8>, Instant)>,
    /// The class was refused as such.
    refused: Option<Instant>,
    /// The answer to the application information proposed.
    answer: Option<Bytes>,
    /// When something was learnt of it last.
    at: Instant,
}

impl Learnt {
    /// Learns from an association that was offered these contexts.
    pub(super) fn learn(
        &mut self,
        view: &View,
        offered: &[Proposal],
        extended: &[(Uid, Bytes)],
        agreement: &Agreement,
    ) {
        let now = Instant::now();
        let mut reasons: Vec<Option<&(Uid, u8)>> = agreement.refused.iter().map(Some).collect();
        let mut reason_of = |class: &Uid| {
            let slot = reasons.iter_mut().find(|slot| slot.is_some_and(|(of, _)| of == class));
            // One that was not answered, or not as it was proposed, is none either.
            slot.and_then(Option::take).map_or(context_result::USER_REJECTION, |(_, reason)| *reason)
        };
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for (proposal, n) in offered.iter().take(MAX_CONTEXTS).zip(0_u8..) {
            match agreement.context(2 * n + 1) {
                Some(context) if context.requestor_is_scu && !proposal.as_scp => {
                    accepted.push((&proposal.abstract_syntax, &context.transfer_syntax));
                }
                Some(_) => {}
                None => {
                    let reason = reason_of(&proposal.abstract_syntax);
                    // Whether we may be its SCP tells nothing about what the archive takes of us.
                    if !proposal.as_scp {
                        refused.push((proposal, reason));
                    }
                }
            }
        }
        for (class, syntax) in &accepted {
            let answer = agreement.extended.iter().find(|(of, _)| of == *class);
            let class = self.class(view, class, extended, now);
            class.refused = None;
            class.answer = answer.map(|(_, information)| information.clone());
            class.set(syntax, Ok(()), now);
        }
        for (proposal, reason) in refused {
            // Some give this reason for a transfer syntax, too.
            let is_taken = accepted.iter().any(|(class, _)| **class == proposal.abstract_syntax);
            let class = self.class(view, &proposal.abstract_syntax, extended, now);
            // Where a class is asked about in several associations, the others may have taken it in another syntax.
            let is_news =
                || class.is_taken() && !proposal.transfer_syntaxes.iter().any(|one| class.takes(one));
            let mut reason = reason;
            if reason == context_result::ABSTRACT_SYNTAX {
                if is_taken || is_news() {
                    reason = context_result::TRANSFER_SYNTAXES;
                } else {
                    class.refused = Some(now);
                    class.syntaxes.retain(|(_, result, _)| result.is_err());
                }
            }
            proposal.transfer_syntaxes.iter().for_each(|syntax| class.set(syntax, Err(reason), now));
        }
    }

    /// What is known about this; `None`: not enough.
    pub(super) fn verdict(&self, view: &View, asked: &Asked) -> Option<Taken> {
        let class = self.of(view, asked)?;
        // One native syntax is as good as the other where requests are re-encoded: a proposal of both teaches one.
        let is_native_taken = || {
            let mut taken = asked.transfer_syntaxes.iter().filter(|one| class.takes(one));
            taken.any(super::is_common)
        };
        let is_settled = |one: &Uid| class.known(one).is_some() || super::is_common(one) && is_native_taken();
        let is_known = class.is_refused() || asked.transfer_syntaxes.iter().all(is_settled);
        is_known.then(|| class.told(asked))
    }

    /// The same right after the archive was asked: of more syntaxes than are remembered, those that are taken. `None`:
    /// nothing at all is known of the class.
    pub(super) fn told(&self, view: &View, asked: &Asked) -> Option<Taken> {
        self.of(view, asked).map(|class| class.told(asked))
    }

    fn of(&self, view: &View, asked: &Asked) -> Option<&Class> {
        let subject = (asked.abstract_syntax.clone(), asked.extended.clone());
        self.views.get(view)?.get(&subject)
    }

    fn class(&mut self, view: &View, class: &Uid, extended: &[(Uid, Bytes)], now: Instant) -> &mut Class {
        if !self.views.contains_key(view) && self.views.len() >= MOST_VIEWS {
            let last = |classes: &HashMap<Subject, Class>| classes.values().map(|class| class.at).max();
            let oldest = self.views.iter().min_by_key(|(_, classes)| last(classes)).map(|(of, _)| of.clone());
            oldest.map(|view| self.views.remove(&view));
        }
        let information = extended.iter().find(|(of, _)| of == class).map(|(_, information)| information);
        let subject = (class.clone(), information.cloned());
        let classes = self.views.entry(view.clone()).or_default();
        if !classes.contains_key(&subject) && classes.len() >= MOST_CLASSES {
            let oldest = classes.iter().min_by_key(|(_, class)| class.at).map(|(of, _)| of.clone());
            oldest.map(|subject| classes.remove(&subject));
        }
        let nothing = || Class { syntaxes: Vec::new(), refused: None, answer: None, at: now };
        let class = classes.entry(subject).or_insert_with(nothing);
        class.at = now;
        class
    }
}

impl Class {
    fn is_refused(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() < REFUSAL_VALID)
    }

    /// What is known of the syntaxes asked about; one of which nothing is known is none that is taken.
    fn told(&self, asked: &Asked) -> Taken {
        if self.is_refused() {
            return Taken::Refused(context_result::ABSTRACT_SYNTAX);
        }
        let known = |syntax| self.known(syntax).map(|result| (syntax, result));
        let known: Vec<_> = asked.transfer_syntaxes.iter().filter_map(known).collect();
        let accepted: Vec<Uid> =
            known.iter().filter(|(_, result)| result.is_ok()).map(|(syntax, _)| (*syntax).clone()).collect();
        if !accepted.is_empty() {
            return Taken::Accepted(accepted, self.answer.clone());
        }
        let reasons = || known.iter().filter_map(|(_, result)| result.err());
        let for_syntax = reasons().find(|reason| *reason == context_result::TRANSFER_SYNTAXES);
        let reason = for_syntax.or_else(|| reasons().next()).unwrap_or(context_result::TRANSFER_SYNTAXES);
        Taken::Refused(reason)
    }

    /// Whether any syntax of it is taken.
    fn is_taken(&self) -> bool {
        self.syntaxes.iter().any(|(syntax, ..)| self.takes(syntax))
    }

    fn takes(&self, syntax: &Uid) -> bool {
        self.known(syntax) == Some(Ok(()))
    }

    fn known(&self, syntax: &Uid) -> Option<Result<(), u8>> {
        let (_, result, since) = self.syntaxes.iter().find(|(known, ..)| known == syntax)?;
        let valid = if result.is_ok() { ACCEPTANCE_VALID } else { REFUSAL_VALID };
        (since.elapsed() < valid).then_some(*result)
    }

    /// The latest stand last. Where there is no more room, the oldest refusal goes: what is accepted is of more use.
    fn set(&mut self, syntax: &Uid, result: Result<(), u8>, now: Instant) {
        self.syntaxes.retain(|(known, ..)| known != syntax);
        if self.syntaxes.len() >= MOST_SYNTAXES {
            let refusal = self.syntaxes.iter().position(|(_, result, _)| result.is_err());
            let _ = self.syntaxes.remove(refusal.unwrap_or(0));
        }
        self.syntaxes.push((syntax.clone(), result, now));
    }
}

#[cfg(test)]
mod tests;
