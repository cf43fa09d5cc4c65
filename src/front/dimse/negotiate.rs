//! Which presentation contexts a client is granted: those that the archive behind takes.
//!
//! What archives take is known, or they are asked meanwhile, all at once and for a bounded time. A class about which an
//! archive cannot be asked now is none that it refuses: where nothing else is left, the client is told to come again.

mod asking;
mod choice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use self::asking::{Answers, Asking, Opened, Place, Wanted};
use self::choice::{Why, plain, preferred, relayed, retrieved, stored};
use super::admission;
use super::service::{Kind, Served, classify, is_get, operations};
use super::{Front, Plan};
use crate::archive::Archive;
use crate::archive::relay::{Service, Taken};
use crate::caller::Priority;
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::{Answer, Proposal};
use crate::dimse::pdu::{AssociateRj, AssociateRq, ProposedContext, Role, context_result};
use crate::dimse::scp::{Negotiated, Peer};

/// Most archives that are asked about one class.
const MOST_ARCHIVES: usize = 8;

/// A context that may be served.
struct Wish<'a> {
    class: &'a Uid,
    syntaxes: &'a [Uid],
    way: Way,
    /// The archives behind, and where their answers will be.
    places: Vec<Place>,
}

impl Wish<'_> {
    /// Whether a client can do anything in it alone. C-ECHO is for us, and objects come only where they are asked for.
    fn is_of_use(&self) -> bool {
        !matches!(self.way, Way::Serve(Kind::Verification | Kind::Delivery))
    }
}

/// How a context may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As its class says.
    Serve(Kind),
    /// The peer brings what we asked it to move.
    Brought,
    /// The peer is an archive that reports storage commitment.
    Reports,
}

/// Whether what is proposed may be what an archive proposes that brings objects: storage, and nothing for which clients
/// come. Some propose whatever they know, retired classes of print among it.
pub(super) fn may_bring(request: &AssociateRq, storage_classes: &[Uid]) -> bool {
    let classes = || request.contexts.iter().filter_map(|context| context.abstract_syntax.as_ref());
    let kind = |class: &Uid| classify(class, false, false, storage_classes);
    classes().all(|class| matches!(kind(class), Kind::Verification | Kind::Storage | Kind::Own))
        && classes().any(|class| may_be_brought(class, kind(class)))
}

/// Decides about all contexts of a request.
///
/// # Errors
/// It cannot be found out now whether anything can be served.
pub(super) async fn negotiate(
    front: &Front,
    peer: &Peer,
    comes_as: admission::Kind,
    request: &AssociateRq,
) -> Negotiated<Plan> {
    let deadline = Instant::now() + front.config.timeouts.negotiation;
    // Where a report is proposed, or nothing else is allowed, the title alone is no word of an archive's.
    let proposes_report = request
        .user
        .roles
        .iter()
        .any(|role| role.scp && role.sop_class.as_str() == sop_class::STORAGE_COMMITMENT);
    let is_archive = (comes_as == admission::Kind::Archive || proposes_report)
        && admission::is_archive(&front.config, peer, deadline).await;
    if comes_as == admission::Kind::Archive && !is_archive {
        return Err(AssociateRj::CALLING_TITLE);
    }
    let mut asking = Asking::default();
    let (wishes, unrouted) = wishes(front, peer, (comes_as, is_archive), request, &mut asking);
    let caller = |archive: &dyn Archive| front.caller(peer, archive, Priority::Interactive);
    let (answers, opened) =
        tokio::join!(asking.ask(caller, deadline), open(front, peer, &wishes, request, &asking, deadline));
    let outcome = Outcome { front, peer, asking: &asking, answers, opened };
    let mut answer = Answer::default();
    let mut contexts = BTreeMap::new();
    let (mut is_unknown, mut is_of_use) = (false, false);
    for (wish, proposed) in wishes.iter().zip(&request.contexts) {
        let decided = match wish {
            Err(reason) => Err(Why::Refused(*reason)),
            Ok(wish) => outcome.decide(wish, proposed),
        };
        is_unknown |= decided.as_ref().is_err_and(|why| *why == Why::Unknown);
        is_of_use |= decided.is_ok() && wish.as_ref().is_ok_and(Wish::is_of_use);
        answer.contexts.push(match decided {
            Ok((syntax, served)) => {
                contexts.insert(proposed.id, served);
                Ok(syntax)
            }
            Err(Why::Refused(reason)) => Err(reason),
            Err(Why::Unknown) => Err(context_result::NO_REASON),
        });
    }
    if is_unknown && !is_of_use {
        return Err(AssociateRj::CONGESTION);
    }
    let accepted: Vec<&Wish<'_>> = (wishes.iter().zip(&answer.contexts))
        .filter(|(_, decision)| decision.is_ok())
        .filter_map(|(wish, _)| wish.as_ref().ok())
        .collect();
    answer.roles = request.user.roles.iter().filter_map(|role| outcome.role(role, &accepted)).collect();
    answer.extended =
        request.user.extended.iter().filter_map(|(class, _)| outcome.extended(class, &accepted)).collect();
    let session = outcome.opened.flatten().filter(Opened::has_contexts).map(Opened::into_session);
    let is_return = comes_as == admission::Kind::Return;
    Ok((answer, Plan { contexts, proposed: request.contexts.len(), unrouted, is_return, session }))
}

/// What each context is for; those that cannot be served, with the reason (PS3.8 Table 9-18). And for how many no archive
/// is configured. `comes_as`: for what, and whether it is an archive.
fn wishes<'a>(
    front: &Front,
    peer: &Peer,
    comes_as: (admission::Kind, bool),
    request: &'a AssociateRq,
    asking: &mut Asking,
) -> (Vec<Result<Wish<'a>, u8>>, usize) {
    let is_class = |context: &ProposedContext, is: fn(&str) -> bool| {
        context.abstract_syntax.as_ref().is_some_and(|class| is(class.as_str()))
    };
    let beside_get = request.contexts.iter().any(|context| is_class(context, is_get));
    let mut numbers = BTreeSet::new();
    let (mut unrouted, mut classes) = (0, BTreeSet::new());
    let wish = |proposed: &'a ProposedContext| {
        let class = proposed.abstract_syntax.as_ref().ok_or(context_result::ABSTRACT_SYNTAX)?;
        if proposed.id.is_multiple_of(2) || !numbers.insert(proposed.id) {
            return Err(context_result::USER_REJECTION);
        }
        if proposed.transfer_syntaxes.is_empty() {
            return Err(context_result::TRANSFER_SYNTAXES);
        }
        let as_scp = role_of(request, class).is_some_and(|role| role.scp);
        let kind = classify(class, as_scp, beside_get, &front.config.storage_classes);
        let way = way(comes_as, kind, class, as_scp).ok_or(context_result::ABSTRACT_SYNTAX)?;
        let is_client = comes_as.0 == admission::Kind::Client && matches!(way, Way::Serve(_));
        if is_client && !front.config.allows(&peer.calling, operations(kind, class)) {
            return Err(context_result::USER_REJECTION);
        }
        let mut wish = Wish { class, syntaxes: &proposed.transfer_syntaxes, way, places: Vec::new() };
        let (router, called, calling) = (&front.services.router, &peer.called, &peer.calling);
        // Of what is no object no modality is known: rules with one are not for it.
        let of_service = || router.for_service(called, calling, class).cloned().into_iter().collect();
        let (archives, asks) = match way {
            Way::Serve(Kind::Storage) => (router.candidates(called, calling, class), kind),
            Way::Serve(Kind::Verification | Kind::Delivery) | Way::Brought => return Ok(wish),
            Way::Serve(_) => (of_service(), kind),
            Way::Reports => (of_service(), Kind::Refused),
        };
        let extended = request.user.extended.iter().find(|(of, _)| of == class);
        for archive in archives.into_iter().take(MOST_ARCHIVES) {
            let extended = extended.map(|(_, information)| information.clone());
            wish.places.push(asking.add(archive, asks, class, wish.syntaxes, extended));
        }
        if !wish.places.is_empty() {
            return Ok(wish);
        }
        unrouted += 1;
        if classes.insert(class) {
            tracing::debug!(%calling, %called, %class, "no archive is configured for this class");
        }
        Err(context_result::ABSTRACT_SYNTAX)
    };
    (request.contexts.iter().map(wish).collect(), unrouted)
}

/// How a class is served to somebody; `None`: not at all.
fn way(
    (comes_as, is_archive): (admission::Kind, bool),
    kind: Kind,
    class: &Uid,
    as_scp: bool,
) -> Option<Way> {
    let is_report = as_scp && kind == Kind::Normalized(Service::Commit);
    match comes_as {
        _ if kind == Kind::Verification => Some(Way::Serve(kind)),
        _ if is_report => is_archive.then_some(Way::Reports),
        admission::Kind::Return => may_be_brought(class, kind).then_some(Way::Brought),
        admission::Kind::Archive => None,
        admission::Kind::Client => (kind != Kind::Refused).then_some(Way::Serve(kind)),
    }
}

/// Whether objects of a class may come on a C-MOVE of ours: private classes may be any.
fn may_be_brought(class: &Uid, kind: Kind) -> bool {
    kind == Kind::Storage || kind == Kind::Own && !class.as_str().starts_with("1.2.840.10008.")
}

/// Opens the association behind for the contexts that want one of their own, all of one archive. `None`: it cannot be
/// had now; `Some(None)`: none is wanted.
async fn open(
    front: &Front,
    peer: &Peer,
    wishes: &[Result<Wish<'_>, u8>],
    request: &AssociateRq,
    asking: &Asking,
    deadline: Instant,
) -> Option<Option<Opened>> {
    let own = |wish: &Wish<'_>| wish.way == Way::Serve(Kind::Own);
    let wanted: Vec<_> = (wishes.iter().zip(&request.contexts))
        .filter_map(|(wish, proposed)| Some((wish.as_ref().ok().filter(|wish| own(wish))?, proposed.id)))
        .collect();
    let Some((first, _)) = wanted.first() else { return Some(None) };
    let archive: &Arc<dyn Archive> = asking.archive(&first.places[0]);
    if archive.relay().is_none() {
        return Some(None);
    }
    let is_wanted = |class: &Uid| wanted.iter().any(|(wish, _)| wish.class == class);
    let proposal = |wish: &Wish<'_>| Proposal {
        abstract_syntax: wish.class.clone(),
        transfer_syntaxes: wish.syntaxes.to_vec(),
        as_scp: false,
    };
    let there = wanted.iter().filter(|(wish, _)| wish.places[0].0 == first.places[0].0);
    let wanted = Wanted {
        contexts: there.map(|(wish, id)| (*id, proposal(wish))).collect(),
        roles: request.user.roles.iter().filter(|role| is_wanted(&role.sop_class)).cloned().collect(),
        extended: request.user.extended.iter().filter(|(class, _)| is_wanted(class)).cloned().collect(),
    };
    let caller = front.caller(peer, &**archive, Priority::Bulk);
    Opened::open(&**archive, caller, wanted, deadline).await.map(Some)
}

/// What archives said, and what follows.
struct Outcome<'a> {
    front: &'a Front,
    peer: &'a Peer,
    asking: &'a Asking,
    answers: Answers,
    opened: Option<Option<Opened>>,
}

impl Outcome<'_> {
    fn decide(&self, wish: &Wish<'_>, proposed: &ProposedContext) -> Result<(Uid, Served), Why> {
        let Self { front, peer, .. } = self;
        let (syntaxes, preference) = (wish.syntaxes, &front.config.transfer_syntaxes);
        let first = || self.answers.at(&wish.places[0]);
        let archive = || Arc::clone(self.asking.archive(&wish.places[0]));
        match wish.way {
            Way::Serve(Kind::Verification) => {
                // It has no data sets, so that any will do.
                let syntax = plain(syntaxes, preference).or_else(|_| preferred(syntaxes, preference))?;
                Ok((syntax, Served::Verification))
            }
            Way::Serve(Kind::Find(service)) => {
                let taken = first().and_then(|taken| taken.first());
                Ok((relayed(syntaxes, taken, preference)?, Served::Find(service, archive())))
            }
            Way::Serve(Kind::Normalized(service)) => {
                let taken = first().and_then(|taken| taken.first());
                Ok((relayed(syntaxes, taken, preference)?, Served::Normalized(service, archive())))
            }
            Way::Serve(Kind::Get) => Ok((retrieved(syntaxes, first(), preference)?, Served::Get(archive()))),
            Way::Serve(Kind::Move) => {
                Ok((retrieved(syntaxes, first(), preference)?, Served::Move(archive())))
            }
            Way::Serve(Kind::Storage) => {
                let taken = wish.places.iter().map(|place| self.answers.at(place)?.first());
                let taken: Vec<Option<&Taken>> = taken.collect();
                Ok((stored(syntaxes, &taken, preference)?, Served::Storage))
            }
            Way::Serve(Kind::Delivery) => Ok((preferred(syntaxes, preference)?, Served::Storage)),
            Way::Brought => {
                let moves = &front.services.moves;
                let chosen = moves.choose_syntax(peer.address, &peer.calling, syntaxes);
                let refused = Why::Refused(context_result::TRANSFER_SYNTAXES);
                Ok((chosen.ok_or(refused)?, Served::Storage))
            }
            Way::Reports => {
                Ok((plain(syntaxes, preference)?, Served::Normalized(Service::Commit, archive())))
            }
            Way::Serve(Kind::Own) => match &self.opened {
                None => Err(Why::Unknown),
                Some(None) => Err(Why::Refused(context_result::ABSTRACT_SYNTAX)),
                Some(Some(opened)) => {
                    let decision = opened.decision(proposed.id, wish.class);
                    decision.map(|syntax| (syntax, Served::Own)).map_err(Why::Refused)
                }
            },
            Way::Serve(Kind::Refused) => Err(Why::Refused(context_result::ABSTRACT_SYNTAX)),
        }
    }

    /// What is granted of a role that was asked for; `None`: no context of the class is accepted.
    fn role(&self, asked: &Role, accepted: &[&Wish<'_>]) -> Option<Role> {
        let wish = accepted.iter().find(|wish| *wish.class == asked.sop_class)?;
        let (scu, scp) = match wish.way {
            Way::Serve(Kind::Own) => {
                let opened = self.opened.as_ref().and_then(Option::as_ref);
                opened.and_then(|opened| opened.role(wish.class)).unwrap_or((true, false))
            }
            way => (true, matches!(way, Way::Serve(Kind::Delivery) | Way::Reports)),
        };
        Some(Role { sop_class: asked.sop_class.clone(), scu: asked.scu && scu, scp: asked.scp && scp })
    }

    /// The archive's answer to extended negotiation, where its own operation is the one that is served.
    fn extended(&self, class: &Uid, accepted: &[&Wish<'_>]) -> Option<(Uid, Bytes)> {
        let wish = accepted.iter().find(|wish| wish.class == class)?;
        let answer = match wish.way {
            Way::Serve(Kind::Own) => {
                let opened = self.opened.as_ref().and_then(Option::as_ref)?;
                opened.extended().iter().find(|(of, _)| of == class).map(|(_, answer)| answer.clone())
            }
            Way::Serve(Kind::Find(_) | Kind::Get | Kind::Move) => {
                match self.answers.at(&wish.places[0])?.first()? {
                    Taken::Accepted(_, answer) => answer.clone(),
                    _ => None,
                }
            }
            _ => None,
        };
        Some((class.clone(), answer?))
    }
}

fn role_of<'a>(request: &'a AssociateRq, class: &Uid) -> Option<&'a Role> {
    request.user.roles.iter().find(|role| role.sop_class == *class)
}

#[cfg(test)]
mod tests;
