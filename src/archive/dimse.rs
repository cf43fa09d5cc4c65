//! An archive that speaks DIMSE, over a pool of associations.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::contexts::Learnt;
use super::error::{Error, Kind};
use super::failures::Failures;
use super::search::{self, Knowledge};
use super::{Archive, Fut, MoveDestination, Retrieval, Retrieve, Search, retrieval};
use crate::caller::Caller;
use crate::dicom::charset::Charset;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{Uid, sop_class};
use crate::dimse::association::{AssociationError, EstablishError};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pool::{self, Connect, Lease, LeaseError, Pool};
use crate::dimse::scu::{Limits, Operation, OperationError, Reply};
use crate::dimse::status;
use crate::net::DimseSocket;

pub mod config;

pub use config::{Config, Endpoint, ForeignUids, Method, Model, StoreFrom};

/// Most requests that wait for an association of one archive.
const MAX_WAITING: usize = 256;
/// Oldest age at which an association is used again. Some archives leak with an association's age.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Most operations of one association.
const MAX_USES: u32 = 10_000;

/// An archive that speaks DIMSE.
#[derive(Debug, Clone)]
pub struct DimseArchive {
    pub(super) inner: Arc<Inner>,
}

/// What the operations of an archive share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) query: Pool,
    pub(super) retrieve: Pool,
    /// Where the archive is told to move objects to.
    pub(super) moves: Option<MoveDestination>,
    /// What the archive has sent before.
    pub(super) learnt: Mutex<Learnt>,
    /// What searches have taught about the archive.
    pub(super) knowledge: Knowledge,
    /// Objects that failed lately.
    pub(super) failures: Mutex<Failures>,
    /// The archive refused C-GET at this time.
    pub(super) get_refused: Mutex<Option<Instant>>,
    /// The drivers.
    pub(super) tasks: TaskTracker,
}

impl DimseArchive {
    /// An archive over TCP. `moves`: our Storage SCP, without which there is no C-MOVE.
    pub fn new(config: Config, moves: Option<MoveDestination>) -> Self {
        Self::over(config, moves, tcp)
    }

    /// An archive over connections that `connect` opens to an address.
    pub(super) fn over(
        config: Config,
        moves: Option<MoveDestination>,
        connect: impl Fn(String) -> Connect,
    ) -> Self {
        let pool = |endpoint: Option<&Endpoint>| {
            let title = endpoint.map_or(&config.ae_title, |e| &e.ae_title).clone();
            let address = endpoint.map_or(&config.address, |e| &e.address).clone();
            Pool::new(title, config.calling.clone(), connect(address), pool_config(&config))
        };
        let query = pool(config.query.as_ref());
        // One peer, one pool: the cap counts what the archive sees.
        let retrieve = if config.retrieve_from == config.query {
            query.clone()
        } else {
            pool(config.retrieve_from.as_ref())
        };
        let inner = Inner {
            config,
            query,
            retrieve,
            moves,
            learnt: Mutex::default(),
            knowledge: Knowledge::default(),
            failures: Mutex::default(),
            get_refused: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Associations open towards the archive, and those of them that are idle.
    pub fn associations(&self) -> (usize, usize) {
        let (query, retrieve) = (self.inner.query.in_use(), self.inner.retrieve.in_use());
        let one_pool = self.inner.config.query == self.inner.config.retrieve_from;
        if one_pool { query } else { (query.0 + retrieve.0, query.1 + retrieve.1) }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Releases idle associations and waits, at most until `deadline`, for those in use.
    pub async fn shut_down(&self, deadline: Instant) {
        let inner = &self.inner;
        inner.tasks.close();
        let _ = timeout_at(deadline, inner.tasks.wait()).await;
        tokio::join!(inner.query.shut_down(deadline), inner.retrieve.shut_down(deadline));
    }
}

impl Archive for DimseArchive {
    fn name(&self) -> &str {
        &self.inner.config.name
    }

    fn search(&self, caller: &Caller, query: crate::dicom::query::Query) -> Fut<'_, super::Result<Search>> {
        Box::pin(search::run(Arc::clone(&self.inner), caller.clone(), query))
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, super::Result<Retrieval>> {
        Box::pin(retrieval::start(Arc::clone(&self.inner), caller.clone(), retrieve))
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, super::Result<()>> {
        let caller = caller.clone();
        Box::pin(async move {
            let inner = &self.inner;
            let limits = inner.limits();
            let lease = inner.lease(&inner.query, &caller, &query_profile(), 1, limits.deadline).await?;
            let echo = Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, 0);
            let mut operation = inner.start(lease, echo, |_| None, limits)?;
            match operation.next().await {
                Ok(Reply::Final(response, _)) if response.status == Some(status::SUCCESS) => {
                    operation.finish();
                    Ok(())
                }
                Ok(Reply::Final(response, _)) => {
                    operation.finish();
                    Err(inner.status_error("C-ECHO", &response, false))
                }
                Ok(_) => {
                    operation.abort().await;
                    Err(inner.error(Kind::Protocol("not a response to C-ECHO".into())))
                }
                Err(error) => {
                    operation.abort().await;
                    Err(inner.operation_error(error))
                }
            }
        })
    }
}

impl Inner {
    /// The time-outs of an operation that begins now.
    pub(super) fn limits(&self) -> Limits {
        let timeouts = &self.config.timeouts;
        Limits { silence: timeouts.silence, deadline: Instant::now() + timeouts.operation }
    }

    /// An association with these contexts.
    pub(super) async fn lease(
        &self,
        pool: &Pool,
        caller: &Caller,
        want: &[Proposal],
        slots: usize,
        deadline: Instant,
    ) -> Result<Lease, Error> {
        pool.lease(caller, want, slots, deadline).await.map_err(|error| self.lease_error(error))
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
            LeaseError::Connect(error) => self.error(Kind::Unreachable(error.to_string())).advise(check),
            LeaseError::ConnectTimeout => self.error(Kind::Timeout("connect")).advise(check),
            LeaseError::Establish(EstablishError::Timeout) => self.error(Kind::Timeout("association")),
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

/// The contexts of searches, C-MOVE and C-ECHO: few, so that one idle association serves them all.
pub(super) fn query_profile() -> Vec<Proposal> {
    let classes = [
        sop_class::VERIFICATION,
        sop_class::STUDY_ROOT_FIND,
        sop_class::PATIENT_ROOT_FIND,
        sop_class::STUDY_ROOT_MOVE,
        sop_class::PATIENT_ROOT_MOVE,
    ];
    let proposal = |class| Proposal {
        abstract_syntax: Uid::from_static(class),
        transfer_syntaxes: vec![Uid::from_static(EXPLICIT_VR_LE), Uid::from_static(IMPLICIT_VR_LE)],
        as_scp: false,
    };
    classes.into_iter().map(proposal).collect()
}

fn pool_config(config: &Config) -> pool::Config {
    pool::Config {
        max_associations: config.max_associations,
        max_waiting: MAX_WAITING,
        connect: config.timeouts.connect,
        association: config.timeouts.association,
        idle: config.timeouts.idle,
        max_age: MAX_AGE,
        max_uses: MAX_USES,
    }
}

fn tcp(address: String) -> Connect {
    let address: Arc<str> = address.into();
    Arc::new(move |deadline| {
        let address = Arc::clone(&address);
        Box::pin(async move {
            let socket = DimseSocket::connect(&address, deadline).await?;
            Ok(Box::new(socket) as Box<dyn crate::dimse::association::Io>)
        })
    })
}
