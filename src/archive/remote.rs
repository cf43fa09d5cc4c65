//! A remote archive as its operations see it: its pools, what was learnt of it, and its errors in words.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::contexts::{self, Learnt, Terms};
use super::dimse::config::Config;
use super::error::{Error, Kind};
use super::failures::Failures;
use super::knowledge::Knowledge;
use super::pace::Pace;
use super::relay::Service;
use super::store::Recent;
use super::takes::Takes;
use super::{MoveDestination, Retrieve};
use crate::caller::Caller;
use crate::dicom::charset::Charset;
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::dimse::association::{AssociationError, EstablishError};
use crate::dimse::command::Command;
use crate::dimse::negotiation::Proposal;
use crate::dimse::pool::{Contexts, Lease, LeaseError, Pool};
use crate::dimse::scu::{Limits, Operation, OperationError};
use crate::metrics::OfArchive;
use crate::net::tls;

/// What the operations of an archive share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    /// Under what its objects are kept.
    pub(super) scope: String,
    pub(super) query: Pool,
    pub(super) retrieve: Pool,
    pub(super) store: Pool,
    pub(super) worklist: Pool,
    pub(super) mpps: Pool,
    pub(super) commit: Pool,
    /// All of them, each once.
    pub(super) pools: Vec<Pool>,
    /// What was stored lately.
    pub(super) recent: Mutex<Recent>,
    /// Where the archive is told to move objects to.
    pub(super) moves: Option<MoveDestination>,
    /// The SOP classes that it takes.
    pub(super) takes: Takes,
    /// What the archive has sent before.
    pub(super) learnt: Mutex<Learnt>,
    /// The contexts of searches, by the terms and by how much was learnt then.
    pub(super) query_contexts: Mutex<Option<(Terms, usize, Contexts)>>,
    /// What searches have taught about the archive.
    pub(super) knowledge: Knowledge,
    /// How fast it is.
    pub(super) pace: Pace,
    /// Objects that failed lately.
    pub(super) failures: Mutex<Failures>,
    /// The archive refused C-GET at this time.
    pub(super) get_refused: Mutex<Option<Instant>>,
    /// The drivers.
    pub(super) tasks: TaskTracker,
    /// What is counted of it.
    pub(super) figures: OfArchive,
}

impl Inner {
    /// The time-outs of an operation that begins now.
    pub(super) fn limits(&self) -> Limits {
        let timeouts = &self.config.timeouts;
        Limits { silence: timeouts.silence, deadline: Instant::now() + timeouts.operation }
    }

    /// What the associations have in common now.
    pub(super) fn terms(&self) -> Terms {
        let Config { model, query, retrieve_from, .. } = &self.config;
        let together = query == retrieve_from && self.tries_get() && self.knowledge.takes_many_contexts();
        Terms { model: *model, together }
    }

    /// The contexts of searches, C-MOVE and C-ECHO.
    pub(super) fn query_contexts(&self) -> Contexts {
        let terms = self.terms();
        let mut kept = self.query_contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = self.learnt();
        match &*kept {
            Some((of, known, contexts)) if (*of, *known) == (terms, learnt.kinds()) => contexts.clone(),
            _ => {
                let contexts = contexts::of_query(&learnt, terms);
                *kept = Some((terms, learnt.kinds(), contexts.clone()));
                contexts
            }
        }
    }

    /// The contexts of a request that is passed on, in one of this abstract syntax, and where it can be in this transfer
    /// syntax. At the AE that is searched they come with those of searches, so that one idle association serves both.
    pub(super) fn invoked_contexts(&self, service: Service, class: &Uid, syntax: &Uid) -> Contexts {
        let of_query = self.query_contexts();
        if of_query.want.iter().any(|proposal| proposal.abstract_syntax == *class) {
            return match contexts::special(class, syntax) {
                None => of_query,
                // With what else may be wanted later there might be more than an association can have.
                Some(own) => Contexts::only([&*of_query.want, &[own]].concat()),
            };
        }
        let want = contexts::invoked(class, syntax);
        match self.pool(service).is(&self.query) {
            true => {
                let offer: Vec<Proposal> = of_query.want.iter().chain(&want).cloned().collect();
                Contexts::offering(want, offer)
            }
            false => Contexts::only(want),
        }
    }

    /// The pool of an endpoint.
    pub(super) fn pool(&self, service: Service) -> &Pool {
        match service {
            Service::Query => &self.query,
            Service::Retrieve => &self.retrieve,
            Service::Store => &self.store,
            Service::Worklist => &self.worklist,
            Service::Mpps => &self.mpps,
            Service::Commit => &self.commit,
        }
    }

    /// The patient of a study as the client says, where it is not known: archives that have the Patient Root model only
    /// want it. Whether it is.
    pub(super) fn take_over_patient(&self, retrieve: &Retrieve) -> bool {
        let (study, patients) = (&retrieve.target.study, &self.knowledge.patients);
        let Some(patient) = retrieve.patient.clone().filter(|_| patients.patient_of(study).is_none()) else {
            return false;
        };
        patients.learn(study.clone(), patient);
        true
    }

    /// These contexts as the archive is to see them: under the client's title where it is configured so, and with no
    /// more of an offer than it is known to take.
    pub(super) fn offered(&self, caller: &Caller, contexts: &Contexts) -> Contexts {
        let contexts = match self.knowledge.takes_many_contexts() {
            true => contexts.clone(),
            false => contexts.without_offer(),
        };
        match self.title(caller) {
            Some(title) => contexts.under(Some(title.clone())),
            None => contexts,
        }
    }

    /// The title of the client's own under which the archive sees it; `None`: it sees ours.
    pub(super) fn title<'a>(&self, caller: &'a Caller) -> Option<&'a AeTitle> {
        caller.title.as_ref().filter(|_| self.config.calling_client)
    }

    /// An association with these contexts. An archive that does not take as many as are offered is offered those that
    /// are needed.
    pub(super) async fn lease(
        &self,
        pool: &Pool,
        caller: &Caller,
        contexts: &Contexts,
        slots: usize,
        deadline: Instant,
    ) -> Result<Lease, Error> {
        let contexts = &self.offered(caller, contexts);
        let mut lease = pool.lease(caller, contexts, slots, deadline).await;
        if contexts.offer.len() > contexts.want.len() && lease.as_ref().is_err_and(may_be_for_the_contexts) {
            lease = pool.lease(caller, &contexts.without_offer(), slots, deadline).await;
            if lease.is_ok() {
                tracing::info!(archive = self.config.name, "does not take as many presentation contexts");
                self.knowledge.learn_few_contexts();
            }
        }
        let mut lease = lease.map_err(|error| self.lease_error(error))?;
        if !lease.is_reused() {
            self.takes.learn(self, pool, caller, &mut lease);
        }
        // What an association of the retrieving AE was offered tells what it takes.
        let retrieves = std::ptr::eq(pool, &self.retrieve) || self.config.query == self.config.retrieve_from;
        let offered = |p: &Proposal| p.abstract_syntax.as_str() == sop_class::WITHOUT_BULK_DATA_GET;
        if retrieves && contexts.want.iter().any(offered) {
            let agreement = lease.association().agreement();
            self.knowledge.learn_bulk_data(agreement.for_class(sop_class::WITHOUT_BULK_DATA_GET).is_some());
        }
        Ok(lease)
    }

    /// Starts an operation; a class that was not accepted gives the lease back.
    pub(super) fn start(
        &self,
        lease: Lease,
        command: Command,
        identifier: impl FnOnce(&crate::dimse::negotiation::AcceptedContext) -> Option<bytes::Bytes>,
        limits: Limits,
    ) -> Result<Operation, Error> {
        let class = command.sop_class.clone();
        Operation::start(lease, command, identifier, limits).map_err(|refused| {
            refused.0.give_back();
            let class = class.map_or(String::new(), |c| c.to_string());
            self.error(Kind::Unsupported(format!(
                "it accepted no presentation context for SOP class {class}"
            )))
        })
    }

    /// What the archive has sent before.
    pub(super) fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().expect("no code panics while it holds what was learnt")
    }

    /// Objects that failed lately.
    pub(super) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().expect("no code panics while it holds the failures")
    }

    /// What answers without Specific Character Set are encoded in.
    pub(super) fn assumed_charset(&self) -> Option<Charset> {
        self.config.assume_charset.clone()
    }

    /// An error of this archive.
    pub(super) fn error(&self, kind: Kind) -> Error {
        Error::new(&self.config.name, kind)
    }

    /// Why there is no association, with what to do about it.
    pub(super) fn lease_error(&self, error: LeaseError) -> Error {
        let Config { ae_title, address, calling, .. } = &self.config;
        let check = format!("check that {address} is the archive's address and that it runs");
        match error {
            LeaseError::QueueFull => self.error(Kind::QueueFull),
            LeaseError::QueueTimeout => self.error(Kind::QueueTimeout),
            LeaseError::BreakerOpen => self.error(Kind::BreakerOpen(Duration::from_secs(1))).advise(check),
            LeaseError::Closed => self.error(Kind::ShuttingDown),
            LeaseError::Connect(error) if tls::Failure::of(&error).is_some() => self.tls_error(&error),
            LeaseError::Handshake(error) => self.error(Kind::Timeout("TLS handshake")).advise(format!(
                "check that TLS is spoken at {address}, or raise the archive's timeouts.connect ({error})"
            )),
            LeaseError::Connect(error) => self.error(Kind::Unreachable(error.to_string())).advise(check),
            LeaseError::ConnectTimeout => self.error(Kind::Timeout("connect")).advise(check),
            LeaseError::Establish(EstablishError::Timeout) => self.error(Kind::Timeout("association")),
            LeaseError::Establish(EstablishError::Association(AssociationError::Lost(why)))
                if self.config.tls.is_none() =>
            {
                self.error(Kind::Aborted(format!("connection lost: {why}"))).advise(format!(
                    "check the archive's log; if it speaks TLS at {address}, add [archive.{}.tls]",
                    self.config.name
                ))
            }
            LeaseError::Establish(EstablishError::Association(error)) => self.association_error(error),
            LeaseError::Establish(EstablishError::Rejected(rj)) => {
                let reason = rj.reason_text().to_owned();
                let error = self.error(Kind::Rejected { transient: rj.is_transient(), reason });
                match (rj.source, rj.reason) {
                    (1, 3) => {
                        error.advise(format!("add AE title {calling} to the AE titles that {ae_title} knows"))
                    }
                    (1, 7) => error.advise(format!("check that {ae_title} is the archive's own AE title")),
                    (3, _) => error.advise("lower max_associations, or raise the archive's own limit"),
                    _ => error,
                }
            }
        }
    }

    /// What is wrong with TLS between the archive and us.
    fn tls_error(&self, error: &std::io::Error) -> Error {
        match tls::Failure::of(error) {
            Some(failure) => {
                let tls = self.error(Kind::Tls(failure.what.clone()));
                failure.advice.iter().fold(tls, |error, advice| error.advise(advice.as_str()))
            }
            None => self.error(Kind::Tls(error.to_string())),
        }
    }

    /// Why an operation could not be finished.
    pub(super) fn operation_error(&self, error: OperationError) -> Error {
        match error {
            OperationError::NotAccepted => {
                self.error(Kind::Unsupported("the SOP class was not accepted".into()))
            }
            OperationError::Silence => self.error(Kind::Timeout("silence")),
            OperationError::Deadline => self.error(Kind::Timeout("operation")),
            OperationError::Released => self.error(Kind::Aborted(error.to_string())),
            OperationError::Protocol(what) => self.error(Kind::Protocol(what)),
            OperationError::Association(error) => self.association_error(error),
        }
    }

    fn association_error(&self, error: AssociationError) -> Error {
        match error {
            AssociationError::Protocol(what) => self.error(Kind::Protocol(what)),
            other => self.error(Kind::Aborted(other.to_string())),
        }
    }

    /// A failure status of a final response.
    pub(super) fn status_error(
        &self,
        operation: &'static str,
        response: &Command,
        client_keys: bool,
    ) -> Error {
        let code = response.status.unwrap_or_default();
        let error =
            self.error(Kind::Status { operation, code, comment: response.comment.clone(), client_keys });
        match code {
            0x0124 => error.advise(format!("authorise AE title {} at the archive", self.config.calling)),
            _ => error,
        }
    }
}

/// Whether a smaller A-ASSOCIATE-RQ might do: the archive did not say what it dislikes.
pub(super) fn may_be_for_the_contexts(error: &LeaseError) -> bool {
    match error {
        LeaseError::Establish(EstablishError::Association(_)) => true,
        LeaseError::Establish(EstablishError::Rejected(rj)) => {
            !rj.is_transient() && !matches!((rj.source, rj.reason), (1, 3 | 7))
        }
        _ => false,
    }
}
