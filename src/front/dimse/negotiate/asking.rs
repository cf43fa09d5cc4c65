//! What a request needs of archives, and what they say to it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::archive::Archive;
use crate::archive::relay::{Asked, Opening, Own, Service, Taken};
use crate::caller::Caller;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, is_native};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::{Agreement, Decision, Proposal};
use crate::dimse::pdu::{Role, context_result};
use crate::front::dimse::own::Conversation;
use crate::front::dimse::service::Kind;

/// The operations by which archives are retrieved from: any of them will do.
const RETRIEVE: [&str; 4] = [
    sop_class::STUDY_ROOT_GET,
    sop_class::STUDY_ROOT_MOVE,
    sop_class::PATIENT_ROOT_GET,
    sop_class::PATIENT_ROOT_MOVE,
];

/// Where the answer to a question will be found: the archive, and which of its answers.
pub(super) type Place = (usize, Range<usize>);

/// The archives that are concerned, and what each is asked.
#[derive(Default)]
pub(super) struct Asking {
    archives: Vec<(Arc<dyn Archive>, Vec<Asked>)>,
}

/// What the archives said in time.
pub(super) struct Answers(Vec<Option<Vec<Taken>>>);

impl Answers {
    /// The answers to one question; `None`: there is none yet.
    pub(super) fn at(&self, (archive, range): &Place) -> Option<&[Taken]> {
        self.0[*archive].as_ref().map(|taken| &taken[range.clone()])
    }
}

impl Asking {
    pub(super) fn archive(&self, place: &Place) -> &Arc<dyn Archive> {
        &self.archives[place.0].0
    }

    /// Adds the question whether an archive takes a class for what it is for. The class itself is asked about first.
    pub(super) fn add(
        &mut self,
        archive: Arc<dyn Archive>,
        kind: Kind,
        class: &Uid,
        syntaxes: &[Uid],
        extended: Option<Bytes>,
    ) -> Place {
        let index = self.index(archive);
        let asked = &mut self.archives[index].1;
        let start = asked.len();
        match kind {
            Kind::Find(service) | Kind::Normalized(service) => {
                asked.push(question(service, class, with_common(syntaxes), extended));
            }
            Kind::Storage => asked.push(question(Service::Store, class, with_common(syntaxes), None)),
            Kind::Get | Kind::Move => {
                asked.push(question(Service::Retrieve, class, common(), extended));
                let others = RETRIEVE.map(Uid::from_static);
                let others = others.iter().filter(|other| *other != class);
                asked.extend(others.map(|class| question(Service::Retrieve, class, common(), None)));
            }
            Kind::Verification | Kind::Delivery | Kind::Own | Kind::Refused => {}
        }
        (index, start..asked.len())
    }

    /// Asks all archives at once, at most until `deadline`.
    pub(super) async fn ask(&self, caller: impl Fn(&dyn Archive) -> Caller, deadline: Instant) -> Answers {
        let mut tasks = JoinSet::new();
        let mut answers: Vec<Option<Vec<Taken>>> = Vec::new();
        for (n, (archive, asked)) in self.archives.iter().enumerate() {
            answers.push(asked.is_empty().then(Vec::new));
            if !asked.is_empty() {
                let (archive, asked, caller) = (Arc::clone(archive), asked.clone(), caller(&**archive));
                tasks.spawn(async move { (n, takes(&*archive, &caller, &asked).await) });
            }
        }
        while let Ok(Some(answered)) = timeout_at(deadline, tasks.join_next()).await {
            if let Ok((n, taken)) = answered {
                tell(&*self.archives[n].0, &taken);
                answers[n] = Some(taken);
            }
        }
        Answers(answers)
    }

    fn index(&mut self, archive: Arc<dyn Archive>) -> usize {
        match self.archives.iter().position(|(known, _)| known.name() == archive.name()) {
            Some(index) => index,
            None => {
                self.archives.push((archive, Vec::new()));
                self.archives.len() - 1
            }
        }
    }
}

/// The association behind that an archive has granted for a client's own session.
pub(super) struct Opened {
    own: Own,
    /// The archive's numbers of its contexts, by the client's.
    contexts: BTreeMap<u8, u8>,
    agreement: Agreement,
}

/// What is proposed for a client's own session.
pub(super) struct Wanted {
    /// The client's numbers of the contexts, and what they are to be.
    pub(super) contexts: Vec<(u8, Proposal)>,
    pub(super) roles: Vec<Role>,
    pub(super) extended: Vec<(Uid, Bytes)>,
}

impl Opened {
    /// Opens it, at most until `deadline`. `None`: the archive cannot be asked now.
    pub(super) async fn open(
        archive: &dyn Archive,
        caller: Caller,
        wanted: Wanted,
        deadline: Instant,
    ) -> Option<Self> {
        let relay = archive.relay()?;
        let (numbers, proposals): (Vec<u8>, Vec<Proposal>) = wanted.contexts.into_iter().unzip();
        let Wanted { roles, extended, .. } = wanted;
        let opening = Opening { service: Service::Query, proposals, roles, extended };
        let mut own = match timeout_at(deadline, relay.open(&caller, opening)).await {
            Ok(Ok(own)) => own,
            Ok(Err(error)) => {
                tracing::info!(archive = archive.name(), %error, "no association for a client's own session");
                return None;
            }
            Err(_) => return None,
        };
        let agreement = own.association().agreement().clone();
        let contexts = numbers.into_iter().zip(0_u8..).map(|(client, n)| (client, 2 * n + 1)).collect();
        Some(Self { own, contexts, agreement })
    }

    /// What the archive said to one of the client's contexts.
    pub(super) fn decision(&self, id: u8, class: &Uid) -> Decision {
        let context = self.contexts.get(&id).and_then(|id| self.agreement.context(*id));
        let refused = || self.agreement.refused.iter().find(|(of, _)| of == class).map(|(_, reason)| *reason);
        match context {
            Some(context) => Ok(context.transfer_syntax.clone()),
            None => Err(refused().unwrap_or(context_result::ABSTRACT_SYNTAX)),
        }
    }

    /// The roles that the client has of a class.
    pub(super) fn role(&self, class: &Uid) -> Option<(bool, bool)> {
        let context = self.agreement.contexts.iter().find(|context| context.abstract_syntax == *class)?;
        Some((context.requestor_is_scu, context.requestor_is_scp))
    }

    /// The answers to extended negotiation.
    pub(super) fn extended(&self) -> &[(Uid, Bytes)] {
        &self.agreement.extended
    }

    /// The session, which begins when the client has its answer.
    pub(super) fn into_session(self) -> Conversation {
        Conversation::new(self.own, self.contexts)
    }

    /// Whether it is of any use.
    pub(super) fn has_contexts(&self) -> bool {
        !self.agreement.contexts.is_empty()
    }
}

/// An archive that cannot be asked by DIMSE is stored to and retrieved from all the same.
async fn takes(archive: &dyn Archive, caller: &Caller, asked: &[Asked]) -> Vec<Taken> {
    match archive.relay() {
        Some(relay) => relay.takes(caller, asked).await,
        None => asked
            .iter()
            .map(|one| match one.service {
                Service::Store | Service::Retrieve => Taken::Accepted(one.transfer_syntaxes.clone(), None),
                _ => Taken::Refused(context_result::ABSTRACT_SYNTAX),
            })
            .collect(),
    }
}

fn tell(archive: &dyn Archive, taken: &[Taken]) {
    let error = taken.iter().find_map(|one| if let Taken::Unknown(error) = one { Some(error) } else { None });
    if let Some(error) = error {
        tracing::info!(archive = archive.name(), %error, "cannot be asked which SOP classes it takes");
    }
}

fn question(service: Service, class: &Uid, transfer_syntaxes: Vec<Uid>, extended: Option<Bytes>) -> Asked {
    Asked { service, abstract_syntax: class.clone(), transfer_syntaxes, extended }
}

fn common() -> Vec<Uid> {
    [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static).to_vec()
}

/// These, and the two into which native ones are re-encoded.
fn with_common(syntaxes: &[Uid]) -> Vec<Uid> {
    let mut all = syntaxes.to_vec();
    let can_change = |syntax: &Uid| is_native(syntax) || syntax.as_str() == DEFLATED_EXPLICIT_VR_LE;
    if syntaxes.iter().any(can_change) {
        let more = common().into_iter().filter(|one| !syntaxes.contains(one));
        all.extend(more);
    }
    all
}
