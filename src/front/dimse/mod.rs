//! DIMSE towards the bridge: clients whose requests go to archives, and archives that send what we asked for.
//!
//! Each association has a task of its own, which takes its requests one after the other and hands each to the module
//! that serves it.

mod account;
mod client;
pub mod config;
mod events;
mod find;
mod normalized;
#[expect(dead_code, reason = "contexts of its kind are accepted next")]
mod own;
mod retrieve;
mod returns;
mod service;
mod status;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::commitment::Commitments;
use crate::archive::dimse::config::Timeouts;
use crate::archive::relay::Service;
use crate::archive::{Destinations, MoveDestination, Origin, Place};
use crate::dicom::sop_class;
use crate::dimse::association::Association;
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::{AcceptedContext, Answer};
use crate::dimse::pdu::{AssociateRj, AssociateRq, context_result};
use crate::dimse::scp::{self, Negotiated, Peer};
use crate::metrics::Metrics;
use crate::router::Router;
use client::{Client, End};
use config::{AeConfig, Config};
use events::{Courier, Mailbox, Registry};
use service::Served;

/// How long the end of an association may take.
const RELEASE: Duration = Duration::from_secs(2);

/// What the front end works with.
#[derive(Debug, Clone)]
pub struct Services {
    /// Where requests go.
    pub router: Router,
    /// Whom objects of our own C-MOVEs are given to.
    pub moves: MoveDestination,
    /// Storage commitment under way.
    pub commitments: Commitments,
    /// What is counted.
    pub metrics: Metrics,
    /// No new client is taken, and those there are end with their request.
    pub shutdown: CancellationToken,
}

/// The DIMSE front end: what all associations share.
pub struct Front {
    config: Config,
    services: Services,
    /// Where objects of clients' C-MOVEs go.
    destinations: Destinations,
    seats: Arc<Semaphore>,
    clients: TaskTracker,
    /// The clients' associations on which reports can be sent.
    registry: Arc<Registry>,
    /// Requests on their way to archives, and the courier of reports.
    tasks: TaskTracker,
}

/// What a negotiation found out.
pub struct Plan {
    /// How the accepted contexts are served, by their numbers.
    contexts: BTreeMap<u8, Served>,
    /// How many contexts were proposed.
    proposed: usize,
    /// An archive, with what we asked it to move: it is served as long as anybody is.
    is_return: bool,
}

/// A request of a client.
struct Request {
    context: AcceptedContext,
    command: Command,
    served: Served,
}

impl Front {
    /// A front end by this configuration.
    pub fn new(config: Config, services: Services) -> Arc<Self> {
        let seats = Arc::new(Semaphore::new(config.max_associations));
        let (registry, tasks) = (Arc::<Registry>::default(), TaskTracker::new());
        let addresses = config.aes.iter().filter_map(|ae| Some((ae.title.clone(), ae.address.clone()?)));
        let courier = Courier::new(services.commitments.clone(), Arc::clone(&registry), addresses.collect());
        tasks.spawn(courier.run(services.shutdown.clone()));
        let destinations = destinations(&config, &services.metrics);
        Arc::new(Self { config, services, destinations, seats, clients: TaskTracker::new(), registry, tasks })
    }

    /// How many clients have an association.
    pub fn associations(&self) -> usize {
        self.clients.len()
    }

    /// Waits, after the shutdown has begun, until the last client has left.
    pub async fn drained(&self) {
        self.clients.close();
        self.clients.wait().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Where reports for this client go in.
    fn mailbox(&self, peer: &Peer, association: &Association, plan: &Plan) -> Mailbox {
        let is_commitment = |context: &&AcceptedContext| {
            let served = plan.contexts.get(&context.id);
            context.requestor_is_scu && matches!(served, Some(Served::Normalized(Service::Commit, _)))
        };
        match association.agreement().contexts.iter().find(is_commitment) {
            Some(context) => Mailbox::new(&self.registry, &peer.calling, context.clone()),
            None => Mailbox::default(),
        }
    }

    /// Releases the associations to destinations; those in use at most until `deadline`.
    pub async fn shut_down(&self, deadline: Instant) {
        self.destinations.shut_down(deadline).await;
    }

    async fn converse(&self, client: &mut Client) -> End {
        loop {
            let (context, command) = match client.request().await {
                Ok(request) => request,
                Err(end) => return end,
            };
            let accepted = client.association.agreement().context(context).cloned();
            let served = client.plan.contexts.get(&context).cloned();
            let (Some(context), Some(served)) = (accepted, served) else {
                return End::Abort("a request in a context that was not accepted".into());
            };
            let archive = served.archive().cloned();
            if let Err(end) = self.serve_one(client, Request { context, command, served }).await {
                return end;
            }
            if let Some(archive) = archive {
                client.account.done(archive.name());
            }
        }
    }

    async fn serve_one(&self, client: &mut Client, request: Request) -> Result<(), End> {
        match (&request.served, request.command.field) {
            (_, field::C_ECHO_RQ) => {
                let Request { context, command, .. } = request;
                while command.has_data_set && !client.piece().await?.1 {}
                client.respond(context.id, command.response(crate::dimse::status::SUCCESS), None);
                Ok(())
            }
            (Served::Find(..), field::C_FIND_RQ) => find::run(self, client, request).await,
            (Served::Get(_), field::C_GET_RQ) => retrieve::get(self, client, request).await,
            (Served::Move(_), field::C_MOVE_RQ) => retrieve::move_(self, client, request).await,
            (Served::Storage, field::C_STORE_RQ) => store::run(self, client, request).await,
            (Served::Normalized(..), _) => normalized::run(self, client, request).await,
            (Served::Own, _) => own::run(self, client, request).await,
            _ => refuse(client, request).await,
        }
    }
}

/// The application entities whose addresses are known.
fn destinations(config: &Config, metrics: &Metrics) -> Destinations {
    let place = |ae: &AeConfig| {
        let max_associations = ae.max_associations.unwrap_or(config.max_associations_per_ae);
        Some(Place { title: ae.title.clone(), address: ae.address.clone()?, max_associations })
    };
    Destinations::new(config.aes.iter().filter_map(place), Timeouts::default(), metrics.clone())
}

/// Answers a request that the context's SOP class does not have (PS3.7 Annex C).
async fn refuse(client: &mut Client, request: Request) -> Result<(), End> {
    let Request { context, command, .. } = request;
    while command.has_data_set && !client.piece().await?.1 {}
    client.respond(context.id, command.response(crate::dimse::status::UNRECOGNIZED_OPERATION), None);
    Ok(())
}

impl scp::Service for Front {
    type Seat = OwnedSemaphorePermit;
    type Plan = Plan;

    fn admit(&self, peer: &Peer, _: &AssociateRq) -> Result<Self::Seat, AssociateRj> {
        if !self.config.titles.contains(&peer.called) {
            return Err(AssociateRj::CALLED_TITLE);
        }
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| AssociateRj::LOCAL_LIMIT)
    }

    fn negotiate<'a>(
        &'a self,
        peer: &'a Peer,
        _: &'a Self::Seat,
        request: &'a AssociateRq,
    ) -> Pin<Box<dyn Future<Output = Negotiated<Plan>> + Send + 'a>> {
        Box::pin(async move {
            let moves = &self.services.moves;
            let origin = Origin { address: peer.address, calling: peer.calling.clone(), originator: None };
            let is_return = moves.expects(&origin);
            let mut contexts = BTreeMap::new();
            let mut answer = Answer::default();
            for proposed in &request.contexts {
                let decision = match &proposed.abstract_syntax {
                    Some(class) if class.as_str() == sop_class::VERIFICATION => {
                        let syntax = proposed.transfer_syntaxes.first().cloned();
                        syntax.map(|s| (s, Served::Verification)).ok_or(context_result::TRANSFER_SYNTAXES)
                    }
                    Some(class) if sop_class::may_be_storage(class) => {
                        let chosen =
                            moves.choose_syntax(peer.address, &peer.calling, &proposed.transfer_syntaxes);
                        chosen.map(|s| (s, Served::Storage)).ok_or(context_result::TRANSFER_SYNTAXES)
                    }
                    _ => Err(context_result::ABSTRACT_SYNTAX),
                };
                answer.contexts.push(decision.map(|(syntax, served)| {
                    contexts.insert(proposed.id, served);
                    syntax
                }));
            }
            Ok((answer, Plan { contexts, proposed: request.contexts.len(), is_return }))
        })
    }

    fn serve(
        self: Arc<Self>,
        peer: Peer,
        association: Association,
        plan: Plan,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let place = (!plan.is_return).then(|| self.clients.token());
        let shutdown = if plan.is_return { shutdown } else { self.services.shutdown.clone() };
        Box::pin(async move {
            let (mailbox, metrics) =
                (self.mailbox(&peer, &association, &plan), self.services.metrics.clone());
            let mut client = Client::new(association, peer, plan, self.config.timeouts, shutdown, metrics);
            client.mailbox = mailbox;
            let end = self.converse(&mut client).await;
            let Client { association, peer, account, .. } = client;
            match end {
                End::Release => {
                    association.confirm_release(Instant::now() + RELEASE).await;
                    account.finish(&peer, "released");
                }
                End::Abort(reason) => {
                    association.abort().await;
                    account.finish(&peer, &format!("aborted here: {reason}"));
                }
                End::Lost(reason) => account.finish(&peer, &reason),
            }
            drop(place);
        })
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
