//! Who carries the reports to the clients, and tries again where one is away.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::mailbox::Unfit;
use super::{ANSWER, Registry, message};
use crate::archive::commitment::{Asker, Commitments, Event, Transaction, Undelivered};
use crate::current::Current;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::dimse::association::{self, Association, Io, Request};
use crate::dimse::negotiation::Proposal;
use crate::dimse::status::{Class, RESOURCE_LIMITATION, class, meaning};
use crate::net::{DimseSocket, tls};

/// Longest time between two attempts to tell a client.
const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// How often is looked for what has waited too long.
const SWEEP: Duration = Duration::from_secs(60);
/// Most clients that are told at a time.
const MAX_AT_ONCE: usize = 16;
/// How long an association to a client may take to come about, and its release.
const ESTABLISH: Duration = Duration::from_secs(10);
/// How long a report on its way gets at the end.
const LAST: Duration = Duration::from_secs(5);

/// Tells clients what archives have reported: the task of a front end.
pub(in crate::front::dimse) struct Courier {
    commitments: Commitments,
    registry: Arc<Registry>,
    /// Where clients listen.
    routes: Current<Routes>,
}

/// The ways to clients, by their titles.
pub(in crate::front::dimse) type Routes = HashMap<AeTitle, Route>;

/// The way to a client.
#[derive(Debug)]
pub(in crate::front::dimse) struct Route {
    address: String,
    tls: Option<tls::Client>,
}

impl Route {
    pub(in crate::front::dimse) fn to(address: String, tls: Option<tls::ClientConfig>) -> Self {
        Self { address, tls: tls.map(tls::Client::new) }
    }

    async fn connect(&self, deadline: Instant) -> io::Result<Box<dyn Io>> {
        let socket = DimseSocket::connect(&self.address, deadline).await?;
        Ok(match &self.tls {
            None => Box::new(socket),
            Some(tls) => Box::new(tls.connect(socket, tls::host_of(&self.address), deadline).await?),
        })
    }
}

/// Who or what is waited for: a client that is away, or one report that it cannot be told now.
type Subject = (AeTitle, Option<Transaction>);

/// Why a client was not told.
enum Untold {
    /// It is away, or as good as that: no other report would reach it either.
    Away(String),
    /// It is there, and this report is nothing for it now.
    ThisOne(String),
}

/// What waits for its next attempt.
struct Wait {
    /// When it is tried next.
    at: Instant,
    /// How long is waited if that is in vain too.
    delay: Duration,
}

impl Courier {
    pub(in crate::front::dimse) fn new(
        commitments: Commitments,
        registry: Arc<Registry>,
        routes: Current<Routes>,
    ) -> Self {
        Self { commitments, registry, routes }
    }

    /// Carries reports until `shutdown`; those on their way then get a few seconds.
    pub(in crate::front::dimse) async fn run(self, shutdown: CancellationToken) {
        let courier = Arc::new(self);
        let config = courier.commitments.config();
        let sweep = SWEEP.min(config.wait / 4).min(config.retry_for / 4).max(Duration::from_millis(50));
        let mut waits: BTreeMap<Subject, Wait> = BTreeMap::new();
        let mut busy: HashMap<Id, AeTitle> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let mut clients: BTreeMap<AeTitle, Vec<Undelivered>> = BTreeMap::new();
            for report in courier.commitments.undelivered().await {
                clients.entry(report.asker.client.clone()).or_default().push(report);
            }
            waits.retain(|(client, one), _| {
                let is_left =
                    |one: &Transaction, left: &[Undelivered]| left.iter().any(|it| it.transaction == *one);
                clients.get(client).is_some_and(|left| one.as_ref().is_none_or(|one| is_left(one, left)))
            });
            let now = Instant::now();
            let has_to_wait = |subject: &Subject| waits.get(subject).is_some_and(|wait| wait.at > now);
            for (client, mut reports) in clients {
                reports.retain(|report| !has_to_wait(&(client.clone(), Some(report.transaction.clone()))));
                let waits = reports.is_empty() || has_to_wait(&(client.clone(), None));
                if waits || busy.len() >= MAX_AT_ONCE || busy.values().any(|busy| *busy == client) {
                    continue;
                }
                let task = tasks.spawn(Arc::clone(&courier).tell_all(reports));
                busy.insert(task.id(), client);
            }
            let next = waits.values().map(|wait| wait.at).filter(|at| *at > now).min();
            let next = next.map_or(now + sweep, |next| next.min(now + sweep));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = courier.commitments.news() => {}
                arrived = courier.registry.arrived() => waits.retain(|(client, _), _| !arrived.contains(client)),
                Some(ended) = tasks.join_next_with_id() => {
                    let (id, left) = ended.unwrap_or_else(|error| (error.id(), vec![None]));
                    let Some(client) = busy.remove(&id) else { continue };
                    if !left.contains(&None) {
                        waits.remove(&(client.clone(), None));
                    }
                    for one in left {
                        let subject = (client.clone(), one);
                        let delay = waits.get(&subject).map_or(config.retry_after, |wait| wait.delay);
                        let at = Instant::now() + delay;
                        waits.insert(subject, Wait { at, delay: (delay * 2).min(MAX_WAIT) });
                    }
                }
                () = sleep_until(next) => {}
            }
        }
        let _ = timeout(LAST, async { while tasks.join_next().await.is_some() {} }).await;
    }

    /// Tells one client of these, one after the other; what is left: some of them, or all (`None`) where it is away.
    async fn tell_all(self: Arc<Self>, reports: Vec<Undelivered>) -> Vec<Option<Transaction>> {
        let mut left = Vec::new();
        for report in reports {
            let Undelivered { transaction, asker: Asker { client, .. }, .. } = &report;
            // `None`: it has been told meanwhile, or there is nothing to tell.
            if let Some((event, data)) = self.commitments.report(transaction).await
                && let Err(untold) = self.tell(&report, event, data).await
            {
                let (one, why) = match untold {
                    Untold::Away(why) => (None, why),
                    Untold::ThisOne(why) => (Some(transaction.clone()), why),
                };
                tracing::info!(%client, why, "it cannot be told of its storage commitment now");
                let is_away = one.is_none();
                left.push(one);
                if is_away {
                    return left;
                }
                continue;
            }
            self.commitments.delivered(transaction).await;
        }
        left
    }

    /// Tells a client of one report. It knows it then, whatever it thinks of it; only where it has no room it is told again.
    async fn tell(&self, report: &Undelivered, event: Event, data: Bytes) -> Result<(), Untold> {
        let Asker { client, called, .. } = &report.asker;
        let told = self.registry.tell(client, event.clone(), data.clone(), called.clone()).await;
        let status = match told {
            Some(Ok(status)) => status,
            None => self.call(report, event, data).await?,
            // It is there, whether it can be called or not.
            Some(Err(Unfit)) => self.call(report, event, data).await.map_err(|untold| match untold {
                Untold::Away(why) | Untold::ThisOne(why) => Untold::ThisOne(why),
            })?,
        };
        if status == RESOURCE_LIMITATION {
            return Err(Untold::ThisOne("it has no room for the report (0213)".to_owned()));
        }
        if class(status) == Class::Failure {
            let what = meaning(status);
            tracing::warn!(%client, status = format!("{status:04X}"), what, "it refused a report of storage commitment");
        }
        Ok(())
    }

    /// Tells a client on an association that is opened to it; the status of its answer.
    async fn call(&self, report: &Undelivered, event: Event, data: Bytes) -> Result<u16, Untold> {
        let asker = &report.asker;
        let away = |why: &str| Untold::Away(why.to_owned());
        let routes = self.routes.get();
        let route = routes.get(&asker.client);
        let route = route
            .ok_or_else(|| away("it has no address in the configuration, and no association is open"))?;
        let mut association = open(route, report, &event).await.map_err(Untold::Away)?;
        let Some(context) = association.agreement().contexts.first().cloned() else {
            association.release(Instant::now() + ESTABLISH).await;
            return Err(away("it did not accept storage commitment"));
        };
        let Some((mut command, data)) = message(&event, &data, &asker.called, &context.transfer_syntax)
        else {
            association.abort().await;
            return Err(Untold::ThisOne("its transfer syntax is of no use for the report".to_owned()));
        };
        command.message_id = 1;
        association.send(context.id, &command, Some(data));
        let answered = timeout(ANSWER, answer(&mut association)).await;
        match answered.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
            Ok(status) => {
                association.release(Instant::now() + ESTABLISH).await;
                Ok(status)
            }
            Err(why) => {
                association.abort().await;
                Err(Untold::Away(why))
            }
        }
    }
}

/// Opens an association to a client under the title by which it called; we are SCP (PS3.4 J.3.3).
async fn open(route: &Route, report: &Undelivered, event: &Event) -> Result<Association, String> {
    let asker = &report.asker;
    let mut transfer_syntaxes = vec![event.transfer_syntax.clone()];
    let others = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static);
    for syntax in [asker.transfer_syntax.clone()].into_iter().chain(others) {
        if !transfer_syntaxes.contains(&syntax) {
            transfer_syntaxes.push(syntax);
        }
    }
    let proposal = Proposal {
        abstract_syntax: Uid::from_static(sop_class::STORAGE_COMMITMENT),
        transfer_syntaxes,
        as_scp: true,
    };
    let request = Request {
        called: asker.client.clone(),
        calling: asker.called.clone(),
        proposals: vec![proposal],
        extended: Vec::new(),
        roles: Vec::new(),
    };
    let deadline = Instant::now() + ESTABLISH;
    let socket = timeout_at(deadline, route.connect(deadline)).await;
    let socket = socket.map_err(|_| "no connection in time".to_owned())?;
    let socket = socket.map_err(|error| format!("no connection: {error}"))?;
    Association::request(socket, &request, deadline).await.map_err(|error| error.to_string())
}

/// The status of the response to our only request.
async fn answer(association: &mut Association) -> Result<u16, String> {
    loop {
        match association.event().await.map_err(|error| error.to_string())? {
            association::Event::Command { command, .. } if command.is_response() => {
                return Ok(command.status.unwrap_or_default());
            }
            // The data set of an answer says nothing that anybody waits for.
            association::Event::Data { .. } => {}
            association::Event::Command { .. } => return Err("it said something else than an answer".into()),
            association::Event::ReleaseRequested => return Err("it released before its answer".into()),
        }
    }
}
