//! Which SOP classes an archive takes, and in which transfer syntaxes: learnt from its associations, or asked.
//!
//! Every association that is opened anyway teaches what was accepted on it. What is not known is asked by an
//! association that proposes it, one context for each class and transfer syntax, as an acceptor chooses one of those in
//! a context and says nothing of the others. The association stays in the pool for what comes next.

mod learnt;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::learnt::{Learnt, View};
use super::contexts::{operation, query_profile};
use super::error::{Error, Kind};
use super::relay::{Asked, Taken};
use super::remote::{Inner, may_be_for_the_contexts};
use crate::caller::{Caller, Priority};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::MAX_CONTEXTS;
use crate::dimse::pool::{Contexts, Lease, Pool};

/// Fewer contexts than this are not asked about in two halves: an archive that takes none of so few has another reason.
const FEW_CONTEXTS: usize = 16;
/// Longest application information that is passed on, in bytes: that of the standard's own classes has less than ten.
const MOST_INFORMATION: usize = 64;

/// What one association asks: its contexts, and SOP Class Extended Negotiation (PS3.7 D.3.3.5).
type Part = (Vec<Proposal>, Arc<[(Uid, Bytes)]>);

/// What an archive takes.
#[derive(Debug)]
pub(super) struct Takes {
    learnt: Mutex<Learnt>,
    /// One for each endpoint, held by who asks it: whoever comes meanwhile finds what it wants to know when it has its
    /// turn, and asks only for the rest. A lock and not a shared answer, as those who come want different things.
    asking: Vec<tokio::sync::Mutex<()>>,
}

impl Takes {
    /// Nothing is known yet of an archive with so many endpoints.
    pub(super) fn of(endpoints: usize) -> Self {
        Self {
            learnt: Mutex::default(),
            asking: (0..endpoints).map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// Learns from an association.
    pub(super) fn learn(&self, inner: &Inner, pool: &Pool, caller: &Caller, lease: &mut Lease) {
        let view = (endpoint(inner, pool), inner.title(caller).cloned());
        let (offered, extended) = (lease.offered(), lease.extended());
        let agreement = lease.association().agreement();
        self.lock().learn(&view, &offered, &extended, agreement);
    }

    fn verdict(&self, view: &View, asked: &Asked) -> Option<Taken> {
        self.lock().verdict(view, asked)
    }

    fn told(&self, view: &View, asked: &Asked) -> Option<Taken> {
        self.lock().told(view, asked)
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().expect("no code panics while it holds this lock")
    }
}

/// Tells of each of these what is known, and asks the archive for the rest.
pub(super) async fn ask(inner: Arc<Inner>, caller: Caller, mut asked: Vec<Asked>) -> Vec<Taken> {
    for one in &mut asked {
        one.extended.take_if(|information| information.len() > MOST_INFORMATION);
    }
    let views: Vec<View> = asked.iter().map(|one| view(&inner, &caller, one)).collect();
    let caller = Caller { priority: Priority::Interactive, ..caller };
    let mut endpoints: Vec<usize> = Vec::new();
    for (view, one) in views.iter().zip(&asked) {
        if inner.takes.verdict(view, one).is_none() && !endpoints.contains(&view.0) {
            endpoints.push(view.0);
        }
    }
    // Each in a task of its own: one that is slow holds up no other, and what was begun is learnt even where the
    // client has gone.
    let begin = |endpoint: usize| {
        let of = views.iter().zip(&asked).filter(|(view, _)| view.0 == endpoint);
        let of = of.map(|(view, one)| (view.clone(), one.clone())).collect();
        let asking = find_out(Arc::clone(&inner), caller.clone(), endpoint, of);
        (endpoint, inner.tasks.spawn(asking.in_current_span()))
    };
    let asking: Vec<_> = endpoints.into_iter().map(begin).collect();
    let mut errors = Vec::new();
    for (endpoint, task) in asking {
        let died = || Err(inner.error(Kind::DriverDied));
        if let Err(error) = task.await.unwrap_or_else(|_| died()) {
            errors.push((endpoint, error));
        }
    }
    let tell = |(view, one): (&View, &Asked)| {
        let known = inner.takes.verdict(view, one);
        let error =
            || errors.iter().find(|(endpoint, _)| *endpoint == view.0).map(|(_, error)| error.clone());
        known.unwrap_or_else(|| match error() {
            Some(error) => Taken::Unknown(error),
            None => inner.takes.told(view, one).unwrap_or_else(|| {
                Taken::Unknown(inner.error(Kind::Protocol("it answered no context".into())))
            }),
        })
    };
    views.iter().zip(&asked).map(tell).collect()
}

/// Asks one endpoint for what is not known.
async fn find_out(
    inner: Arc<Inner>,
    caller: Caller,
    endpoint: usize,
    asked: Vec<(View, Asked)>,
) -> Result<(), Error> {
    let _turn = inner.takes.asking[endpoint].lock().await;
    let unknown = asked.iter().filter(|(view, one)| inner.takes.verdict(view, one).is_none());
    let mut parts: VecDeque<Part> = VecDeque::new();
    for together in compatible(unknown.map(|(_, one)| one)) {
        let information = |one: &&Asked| Some((one.abstract_syntax.clone(), one.extended.clone()?));
        let extended: Arc<[(Uid, Bytes)]> = together.iter().filter_map(information).collect();
        let proposals = proposals(&together);
        parts.extend(proposals.chunks(MAX_CONTEXTS).map(|part| (part.to_vec(), Arc::clone(&extended))));
    }
    let pool = &inner.pools[endpoint];
    while let Some((part, extended)) = parts.pop_front() {
        let timeouts = &inner.config.timeouts;
        let deadline = Instant::now() + timeouts.connect + timeouts.association;
        let contexts = Contexts::only(part.clone())
            .with_extended(Arc::clone(&extended))
            .under(inner.title(&caller).cloned());
        match pool.lease(&caller, &contexts, 1, deadline).await {
            Ok(mut lease) => {
                inner.takes.learn(&inner, pool, &caller, &mut lease);
                // Some archives serve one association at a time: the next one comes after this.
                match parts.is_empty() {
                    true => lease.give_back(),
                    false => lease.release().await,
                }
            }
            Err(error) if may_be_for_the_contexts(&error) && part.len() > FEW_CONTEXTS => {
                tracing::debug!(archive = inner.config.name, %error, contexts = part.len(), "asks in two halves");
                let half = part.len().div_ceil(2).max(FEW_CONTEXTS);
                let (first, second) = part.split_at(half);
                parts.push_front((second.to_vec(), Arc::clone(&extended)));
                parts.push_front((first.to_vec(), extended));
            }
            Err(error) => return Err(inner.lease_error(error)),
        }
    }
    Ok(())
}

/// The questions that one association can ask: it says one thing about a class, so that what is asked about a class
/// with extended negotiation and without it takes two.
fn compatible<'a>(asked: impl Iterator<Item = &'a Asked>) -> Vec<Vec<&'a Asked>> {
    let mut all: Vec<Vec<&Asked>> = Vec::new();
    for one in asked {
        let differs =
            |other: &&Asked| other.abstract_syntax == one.abstract_syntax && other.extended != one.extended;
        match all.iter_mut().find(|together| !together.iter().any(differs)) {
            Some(together) => together.push(one),
            None => all.push(vec![one]),
        }
    }
    all
}

/// What is to be proposed: each transfer syntax for itself, and the two that nearly all archives take besides, so that a
/// class is not held for refused where only a syntax is. For queries and retrievals what searches propose, so that the
/// association serves them afterwards.
fn proposals(asked: &[&Asked]) -> Vec<Proposal> {
    let profile: Vec<Proposal> =
        [sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET].into_iter().map(operation).collect();
    let profile = [query_profile(), profile].concat();
    let mut proposals: Vec<Proposal> = Vec::new();
    // A client may ask about thousands.
    let mut known = HashSet::new();
    let mut add = |proposal: Proposal| {
        if known.insert(proposal.clone()) {
            proposals.push(proposal);
        }
    };
    for one in asked {
        let class = &one.abstract_syntax;
        let is_operation = profile.iter().any(|proposal| proposal.abstract_syntax == *class);
        if is_operation {
            profile.iter().cloned().for_each(&mut add);
        }
        let common = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static);
        let syntaxes = one.transfer_syntaxes.iter().filter(|syntax| !is_common(syntax));
        let syntaxes = syntaxes.chain(common.iter().filter(|_| !is_operation));
        for syntax in syntaxes {
            let transfer_syntaxes = vec![syntax.clone()];
            add(Proposal { abstract_syntax: class.clone(), transfer_syntaxes, as_scp: false });
        }
    }
    proposals
}

/// Whether nearly all archives take it, and whatever is native can be had in it.
fn is_common(syntax: &Uid) -> bool {
    [EXPLICIT_VR_LE, IMPLICIT_VR_LE].contains(&syntax.as_str())
}

fn view(inner: &Inner, caller: &Caller, asked: &Asked) -> View {
    (endpoint(inner, inner.pool(asked.service)), inner.title(caller).cloned())
}

/// The number of a pool among those of its archive.
fn endpoint(inner: &Inner, pool: &Pool) -> usize {
    inner.pools.iter().position(|known| known.is(pool)).expect("a pool of this archive")
}

#[cfg(test)]
mod tests;
