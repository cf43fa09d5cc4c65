//! An archive that speaks DIMSE, over a pool of associations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use twox_hash::XxHash3_64;

use super::error::Kind;
use super::knowledge::Knowledge;
use super::pace::Pace;
use super::relay::{Relay, Service};
use super::remote::Inner;
use super::takes::Takes;
use super::{
    Archive, Associations, Fut, Manner, MoveDestination, Retrieval, Retrieve, Search, Stored, retrieval,
    search, store,
};
use crate::caller::Caller;
use crate::dicom::charset::Charset;
use crate::dicom::object::Object;
use crate::dicom::sop_class;
use crate::dimse::association::Io;
use crate::dimse::command::{Command, field};
use crate::dimse::pool::{self, Connect, Pool, Reports};
use crate::dimse::scu::Reply;
use crate::dimse::status;
use crate::metrics::{Metrics, OfArchive};
use crate::net::{DimseSocket, tls};

pub mod config;

pub use config::{Config, Endpoint};

/// Most requests that wait for an association of one archive; a client has half of the places at most.
const MAX_WAITING: usize = 512;
/// Oldest age at which an association is used again. Some archives leak with an association's age.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Most operations of one association.
const MAX_USES: u32 = 10_000;

/// An archive that speaks DIMSE.
#[derive(Debug, Clone)]
pub struct DimseArchive {
    pub(super) inner: Arc<Inner>,
}

impl DimseArchive {
    /// An archive over TCP, or over TLS where it is configured so. `moves`: our Storage SCP, without which there is no C-MOVE. `reports`: who takes
    /// N-EVENT-REPORTs.
    pub fn new(
        config: Config,
        moves: Option<MoveDestination>,
        reports: Option<Arc<dyn Reports>>,
        metrics: Metrics,
    ) -> Self {
        let tls = config.tls.clone().map(tls::Client::new);
        Self::over(config, moves, reports, metrics, move |address| connect(address, tls.clone()))
    }

    /// An archive over connections that `connect` opens to an address: in memory, for tests and fuzz targets.
    pub fn over(
        config: Config,
        moves: Option<MoveDestination>,
        reports: Option<Arc<dyn Reports>>,
        metrics: Metrics,
        connect: impl Fn(String) -> Connect,
    ) -> Self {
        let figures = OfArchive::new(&metrics, &config.name);
        // One peer, one pool: the cap counts what the archive sees.
        let mut pools: Vec<(Endpoint, Pool)> = Vec::new();
        let mut pool = |service: Service| {
            let at = config.endpoint(service);
            if let Some((_, pool)) = pools.iter().find(|(known, _)| *known == at) {
                return pool.clone();
            }
            let Endpoint { ae_title, address } = at.clone();
            let (calling, limits) = (config.calling.clone(), pool_config(&config));
            let pool =
                Pool::new(ae_title, calling, connect(address), limits, figures.clone(), reports.clone());
            pools.push((at, pool.clone()));
            pool
        };
        let query = pool(Service::Query);
        let retrieve = pool(Service::Retrieve);
        let store = pool(Service::Store);
        let worklist = pool(Service::Worklist);
        let mpps = pool(Service::Mpps);
        let commit = pool(Service::Commit);
        let pools: Vec<Pool> = pools.into_iter().map(|(_, pool)| pool).collect();
        let takes = Takes::of(pools.len());
        let scope = scope(&config);
        let inner = Inner {
            config,
            scope,
            query,
            retrieve,
            store,
            worklist,
            mpps,
            commit,
            pools,
            recent: Mutex::default(),
            moves,
            takes,
            learnt: Mutex::default(),
            query_contexts: Mutex::default(),
            knowledge: Knowledge::default(),
            pace: Pace::default(),
            failures: Mutex::default(),
            get_refused: Mutex::default(),
            tasks: TaskTracker::new(),
            figures,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Associations open towards the archive, and those of them that are idle.
    pub fn associations(&self) -> (usize, usize) {
        let add = |(open, idle): (usize, usize), pool: &Pool| {
            let (more, more_idle) = pool.in_use();
            (open + more, idle + more_idle)
        };
        self.inner.pools.iter().fold((0, 0), add)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whether it does nothing at this moment.
    pub fn is_at_rest(&self) -> bool {
        let (open, idle) = self.associations();
        open == idle && self.inner.tasks.is_empty()
    }

    /// Where it is told to move objects to; `None`: there is no C-MOVE.
    pub fn moves(&self) -> Option<&MoveDestination> {
        self.inner.moves.as_ref()
    }

    /// Releases the associations that nobody has at this moment.
    pub fn release_idle(&self) {
        self.inner.pools.iter().for_each(Pool::release_idle);
    }

    /// Releases idle associations and waits, at most until `deadline`, for those in use.
    pub async fn shut_down(&self, deadline: Instant) {
        let inner = &self.inner;
        inner.tasks.close();
        let _ = timeout_at(deadline, inner.tasks.wait()).await;
        let close = |pool: Pool| async move { pool.shut_down(deadline).await };
        inner.pools.iter().cloned().map(close).collect::<JoinSet<()>>().join_all().await;
    }
}

impl Archive for DimseArchive {
    fn name(&self) -> &str {
        &self.inner.config.name
    }

    fn scope(&self) -> &str {
        &self.inner.scope
    }

    fn search(&self, caller: &Caller, query: crate::dicom::query::Query) -> Fut<'_, super::Result<Search>> {
        Box::pin(search::run(Arc::clone(&self.inner), caller.clone(), query))
    }

    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, super::Result<Retrieval>> {
        Box::pin(retrieval::start(Arc::clone(&self.inner), caller.clone(), retrieve))
    }

    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, super::Result<Stored>> {
        self.store_as(caller, object, Manner::default())
    }

    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, super::Result<Stored>> {
        Box::pin(store::run(Arc::clone(&self.inner), caller.clone(), object, manner))
    }

    fn associations(&self) -> Option<Associations> {
        let (open, idle) = self.associations();
        // One endpoint that does not answer is enough for the archive not to be all there.
        let answers = self.inner.pools.iter().filter_map(Pool::answers).reduce(|all, one| all && one);
        Some(Associations { open, idle, answers })
    }

    fn assumed_charset(&self) -> Option<Charset> {
        self.inner.assumed_charset()
    }

    fn omits_bulk_data(&self) -> bool {
        self.inner.omits_bulk_data()
    }

    fn relay(&self) -> Option<&dyn Relay> {
        Some(self)
    }

    fn dimse(&self) -> Option<&DimseArchive> {
        Some(self)
    }

    fn names_client(&self) -> bool {
        self.inner.config.calling_client
    }

    fn verify(&self, caller: &Caller) -> Fut<'_, super::Result<()>> {
        let caller = caller.clone();
        Box::pin(async move {
            let inner = &self.inner;
            let limits = inner.limits();
            let lease =
                inner.lease(&inner.query, &caller, &inner.query_contexts(), 1, limits.deadline).await?;
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

/// The archive's name, and who is asked for what it holds: what one PACS has delivered is never taken for another's that is
/// given its name.
fn scope(config: &Config) -> String {
    let asked = [Service::Query, Service::Retrieve].map(|service| config.endpoint(service));
    let asked = asked.map(|Endpoint { ae_title, address }| format!("{ae_title}@{address}"));
    format!("{}/{:016x}", config.name, XxHash3_64::oneshot(asked.join(" ").as_bytes()))
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
        // TLS 1.3 takes one more than TCP; 1.2 two.
        round_trips: if config.tls.is_some() { 2 } else { 1 },
    }
}

/// Over TCP, and over TLS where it is given.
fn connect(address: String, tls: Option<tls::Client>) -> Connect {
    let address: Arc<str> = address.into();
    Arc::new(move |deadline| {
        let (address, tls) = (Arc::clone(&address), tls.clone());
        Box::pin(async move {
            let socket = DimseSocket::connect(&address, deadline).await?;
            Ok(match tls {
                None => Box::new(socket) as Box<dyn Io>,
                Some(tls) => Box::new(tls.connect(socket, tls::host_of(&address), deadline).await?),
            })
        })
    })
}
