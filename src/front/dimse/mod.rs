//! DIMSE towards the bridge: clients whose requests go to archives, and archives that send what we asked for.
//!
//! Each association has a task of its own, which takes its requests one after the other and hands each to the module
//! that serves it.

mod account;
mod admission;
mod client;
pub mod config;
mod entrance;
mod events;
mod find;
mod negotiate;
mod normalized;
mod own;
mod retrieve;
mod returns;
mod service;
mod status;
mod store;
mod trail;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::archive::commitment::Commitments;
use crate::archive::dimse::config::Timeouts;
use crate::archive::relay::Service;
use crate::archive::{Archive, Destinations, MoveDestination, Origin, Place, Visit};
use crate::caller::{Caller, Priority};
use crate::current::Current;
use crate::dicom::AeTitle;
use crate::dimse::association::Association;
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::pdu::{AssociateRj, AssociateRq};
use crate::dimse::scp::{self, Negotiated, Peer};
use crate::event::Events;
use crate::metrics::{Metrics, Reason};
use crate::router::Router;
use crate::trace;
pub use entrance::Entrance;

use admission::{Admission, Refusal, Seat};
use client::{Client, End};
use config::{AeConfig, Config, Operation};
use events::{Courier, Mailbox, Registry, Route, Routes};
use own::Conversation;
use service::Served;
use trail::Trail;

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
    /// Where is told what somebody may have to answer for.
    pub events: Events,
    /// No new client is taken, and those there are end with their request.
    pub shutdown: CancellationToken,
}

/// Why an archive's title is turned away.
const NOT_FROM_THERE: &str = "the calling AE title is an archive's, but the address is neither one of that archive's nor \
    in the networks of its store_from";

/// The DIMSE front end by one configuration: what the associations share that were opened under it.
pub struct Front {
    config: Arc<Config>,
    services: Services,
    /// Where objects of clients' C-MOVEs go.
    destinations: Destinations,
    common: Arc<Common>,
}

/// What the front ends of all configurations share, one after the other.
struct Common {
    /// The configuration that holds now.
    config: Current<Config>,
    admission: Admission,
    clients: TaskTracker,
    /// The clients' associations on which reports can be sent.
    registry: Arc<Registry>,
    /// The ways to clients, for reports.
    routes: Current<Routes>,
    /// Requests on their way to archives, and the courier of reports.
    tasks: TaskTracker,
}

/// What a negotiation found out.
pub struct Plan {
    /// How the accepted contexts are served, by their numbers.
    contexts: BTreeMap<u8, Served>,
    /// How many contexts were proposed.
    proposed: usize,
    /// For how many of them no archive is configured.
    unrouted: usize,
    /// An archive, with what we asked it to move: it is served as long as anybody is.
    is_return: bool,
    /// The client's own association behind, where one of its contexts wants one; not here while it is the one that is
    /// served.
    session: Option<Conversation>,
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
        let (registry, tasks) = (Arc::<Registry>::default(), TaskTracker::new());
        let routes = Current::new(routes(&config));
        let courier = Courier::new(services.commitments.clone(), Arc::clone(&registry), routes.clone());
        tasks.spawn(courier.run(services.shutdown.clone()));
        let destinations = destinations(&config, &services.metrics);
        let admission = Admission::new(&config);
        let config = Current::new(config);
        let holds = config.get();
        let common = Common { config, admission, clients: TaskTracker::new(), registry, routes, tasks };
        Arc::new(Self { config: holds, services, destinations, common: Arc::new(common) })
    }

    /// The front end by another configuration, in place of this one. The associations there are go on with what they were
    /// given; a client that would not be given the same any more is cut off at its next request. How many may come stays
    /// as it is, but for archives that bring what we asked for.
    pub fn renewed(&self, config: Config, router: Router) -> Arc<Self> {
        let Self { services, common, .. } = self;
        let destinations = destinations(&config, &services.metrics);
        common.admission.make_room_for_returns(config.max_returns);
        common.routes.set(routes(&config));
        common.config.set(config);
        let services = Services { router, ..services.clone() };
        Arc::new(Self { config: common.config.get(), services, destinations, common: Arc::clone(common) })
    }

    /// How many places are taken by clients, those that are negotiating included.
    pub fn associations(&self) -> usize {
        self.common.admission.taken()
    }

    /// The application entities to which objects can be sent from here: those that have an address, and to which archives
    /// do not send themselves.
    pub fn destinations(&self) -> Vec<AeTitle> {
        let is_one = |ae: &&AeConfig| ae.address.is_some() && ae.moves == config::Moves::Relay;
        self.config.aes.iter().filter(is_one).map(|ae| ae.title.clone()).collect()
    }

    /// One of [`Front::destinations`], for as long as objects are sent there.
    pub fn destination(&self, title: &AeTitle) -> Option<Visit> {
        let is_one = self.destinations().contains(title);
        let destination = self.destinations.get(title, &self.config.ae_title).filter(|_| is_one)?;
        Some(destination.visit())
    }

    /// Runs something that objects are sent by; when the bridge ends it is waited for, as long as clients are.
    pub fn accompany(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.common.tasks.spawn(work);
    }

    /// Whether who has come is still welcome as it was when it came.
    fn is_still_welcome(&self, peer: &Peer, is_return: bool) -> bool {
        let now = self.common.config.get();
        if is_return || Arc::ptr_eq(&now, &self.config) {
            return true;
        }
        let rights = |config: &Config| {
            let ae = config.ae(&peer.calling);
            let allow = ae.map_or_else(|| config.allow_any.clone(), |ae| ae.allow.clone());
            (admission::kind(config, peer), allow, ae.and_then(|ae| ae.archives.clone()))
        };
        now.titles.contains(&peer.called) && rights(&now) == rights(&self.config)
    }

    /// On whose behalf an archive is asked.
    fn caller(&self, peer: &Peer, archive: &dyn Archive, priority: Priority) -> Caller {
        let title = archive.names_client().then(|| peer.calling.clone());
        Caller { client: Some(peer.address), priority, title }
    }

    /// Waits, after the shutdown has begun, until the last client has left.
    pub async fn drained(&self) {
        let Common { clients, tasks, .. } = &*self.common;
        clients.close();
        clients.wait().await;
        tasks.close();
        tasks.wait().await;
    }

    /// Where reports for this client go in.
    fn mailbox(&self, peer: &Peer, association: &Association, plan: &Plan) -> Mailbox {
        let is_commitment = |context: &&AcceptedContext| {
            let served = plan.contexts.get(&context.id);
            context.requestor_is_scu && matches!(served, Some(Served::Normalized(Service::Commit, _)))
        };
        match association.agreement().contexts.iter().find(is_commitment) {
            Some(context) => Mailbox::new(&self.common.registry, &peer.calling, context.clone()),
            None => Mailbox::default(),
        }
    }

    /// Releases the associations to destinations; those in use at most until `deadline`.
    pub async fn shut_down(&self, deadline: Instant) {
        self.destinations.shut_down(deadline).await;
    }

    fn rejected(&self, peer: &Peer, rj: AssociateRj, reason: &str) {
        let Peer { address, calling, called, .. } = peer;
        // As it is to be written in `certificate_subject`; quoted, since others have chosen it.
        let certificate = peer.certificate.as_ref().map(|shown| shown.subject.as_str());
        tracing::info!(%address, %calling, %called, certificate, reason, "association rejected");
        scp::Service::turned_away(self, rj.reason_text());
    }

    async fn converse(&self, client: &mut Client) -> End {
        let end = self.requests(client).await;
        if let Some(session) = client.plan.session.take() {
            session.end(&end).await;
        }
        end
    }

    async fn requests(&self, client: &mut Client) -> End {
        loop {
            let request = match client.plan.session.take() {
                Some(mut session) => {
                    let request = own::converse(&self.config, client, &mut session).await;
                    client.plan.session = Some(session);
                    request
                }
                None => client.request().await,
            };
            let (context, command) = match request {
                Ok(request) => request,
                Err(end) => return end,
            };
            if let Err(end) = client.check_certificate().await {
                return end;
            }
            let accepted = client.association.agreement().context(context).cloned();
            let served = client.plan.contexts.get(&context).cloned();
            let (Some(context), Some(served)) = (accepted, served) else {
                return End::Abort("a request in a context that was not accepted".into());
            };
            if !self.is_still_welcome(&client.peer, client.plan.is_return) {
                return End::Abort(
                    "the configuration has changed, and what this client may do with it".into(),
                );
            }
            let archive = served.passed_on_to().cloned();
            let is_echo = command.field == field::C_ECHO_RQ;
            let span = trace::dimse_request(field::name(command.field));
            let served = self.serve_one(client, Request { context, command, served });
            let served = served.instrument(span.clone()).await;
            trace::status(&span, client.account.last_status());
            trace::ended(&span);
            client.account.served();
            client.trail.answered(client.account.last_status(), served.as_ref().err());
            if let Err(end) = served {
                return end;
            }
            match archive {
                Some(archive) => client.account.done(archive.name()),
                // Nobody else is asked.
                None if is_echo => client.account.done(""),
                None => {}
            }
        }
    }

    async fn serve_one(&self, client: &mut Client, request: Request) -> Result<(), End> {
        match (&request.served, request.command.field) {
            (_, field::C_ECHO_RQ) => {
                let Request { context, command, .. } = request;
                client.drain(&command).await?;
                client.respond(context.id, command.response(crate::dimse::status::SUCCESS), None);
                Ok(())
            }
            (Served::Find(..), field::C_FIND_RQ) => find::run(self, client, request).await,
            // The classes of unified procedure steps have both.
            (Served::Normalized(..), field::C_FIND_RQ)
                if !self.config.allows(&client.peer.calling, &[Operation::Find]) =>
            {
                client.trail.forbidden(request.command.field);
                refuse_with(client, request, crate::dimse::status::NOT_AUTHORIZED).await
            }
            (Served::Normalized(service, archive), field::C_FIND_RQ) => {
                let served = Served::Find(*service, Arc::clone(archive));
                find::run(self, client, Request { served, ..request }).await
            }
            (Served::Get(_), field::C_GET_RQ) => retrieve::get(self, client, request).await,
            (Served::Move(_), field::C_MOVE_RQ) => retrieve::move_(self, client, request).await,
            (Served::Storage, field::C_STORE_RQ) => store::run(self, client, request).await,
            (Served::Normalized(..), _) => normalized::run(self, client, request).await,
            (Served::Own, _) => own::run(self, client, request).await,
            _ => refuse(client, request).await,
        }
    }
}

/// The ways to the clients whose addresses are known.
fn routes(config: &Config) -> Routes {
    let route = |ae: &AeConfig| Some((ae.title.clone(), Route::to(ae.address.clone()?, ae.tls.clone())));
    config.aes.iter().filter_map(route).collect()
}

/// The application entities whose addresses are known.
fn destinations(config: &Config, metrics: &Metrics) -> Destinations {
    let place = |ae: &AeConfig| {
        let max_associations = ae.max_associations.unwrap_or(config.max_associations_per_ae);
        let (title, tls) = (ae.title.clone(), ae.tls.clone());
        Some(Place { title, address: ae.address.clone()?, max_associations, tls })
    };
    Destinations::new(config.aes.iter().filter_map(place), Timeouts::default(), metrics.clone())
}

/// Answers a request that the context's SOP class does not have (PS3.7 Annex C).
async fn refuse(client: &mut Client, request: Request) -> Result<(), End> {
    refuse_with(client, request, crate::dimse::status::UNRECOGNIZED_OPERATION).await
}

/// Answers a request with this status, when its data set has come.
async fn refuse_with(client: &mut Client, request: Request, status: u16) -> Result<(), End> {
    let Request { context, command, .. } = request;
    client.drain(&command).await?;
    client.respond(context.id, command.response(status), None);
    Ok(())
}

impl scp::Service for Front {
    type Seat = Seat;
    type Plan = Plan;

    fn admit(&self, peer: &Peer, request: &AssociateRq) -> Result<Seat, AssociateRj> {
        let origin = Origin { address: peer.address, calling: peer.calling.clone(), originator: None };
        let brings = self.services.moves.expects(&origin)
            && negotiate::may_bring(request, &self.config.storage_classes);
        let closing = self.services.shutdown.is_cancelled();
        let admitted = self.common.admission.admit(&self.config, peer, brings, closing);
        let refused = admitted.as_ref().err().map(|refusal| refusal.why);
        self.services.moves.knock(peer.address, &peer.calling, refused);
        admitted.map_err(|Refusal { rj, why }| {
            self.rejected(peer, rj, why);
            trail::rejected(&self.services.events, peer, rj, why);
            rj
        })
    }

    fn turned_away(&self, reason: &'static str) {
        self.services.metrics.dimse_rejected.get_or_create(&Reason { reason }).inc();
    }

    fn negotiate<'a>(
        &'a self,
        peer: &'a Peer,
        seat: &'a Seat,
        request: &'a AssociateRq,
    ) -> Pin<Box<dyn Future<Output = Negotiated<Plan>> + Send + 'a>> {
        Box::pin(async move {
            let negotiated = negotiate::negotiate(self, peer, seat.kind, request).await;
            match &negotiated {
                Err(rj) if *rj == AssociateRj::CALLING_TITLE => {
                    self.rejected(peer, *rj, NOT_FROM_THERE);
                    self.services.moves.knock(peer.address, &peer.calling, Some(NOT_FROM_THERE));
                    trail::rejected(&self.services.events, peer, *rj, NOT_FROM_THERE);
                }
                Err(rj) => self.rejected(peer, *rj, "the archive behind cannot be asked what it takes"),
                Ok(_) => {}
            }
            negotiated
        })
    }

    fn serve(
        self: Arc<Self>,
        peer: Peer,
        association: Association,
        plan: Plan,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let place = (!plan.is_return).then(|| self.common.clients.token());
        let shutdown = if plan.is_return { shutdown } else { self.services.shutdown.clone() };
        Box::pin(async move {
            let (mailbox, metrics) =
                (self.mailbox(&peer, &association, &plan), self.services.metrics.clone());
            let trail = Trail::new(&self.services.events, &peer, plan.is_return);
            let mut client = Client::new(association, peer, plan, self.config.timeouts, shutdown, metrics);
            client.trail = trail;
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
        f.debug_struct("Front").field("clients", &self.common.clients.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
