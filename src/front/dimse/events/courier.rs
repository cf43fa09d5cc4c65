//! Who carries the reports to the clients, and tries again where one is away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{ANSWER, Registry, message};
use crate::archive::commitment::{Commitments, Event, Undelivered};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::dimse::association::{self, Association, Request};
use crate::dimse::negotiation::Proposal;
use crate::dimse::status::{Class, class, meaning};
use crate::net::DimseSocket;

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
    addresses: HashMap<AeTitle, String>,
}

/// A client that could not be told.
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
        addresses: HashMap<AeTitle, String>,
    ) -> Self {
        Self { commitments, registry, addresses }
    }

    /// Carries reports until `shutdown`; those on their way then get a few seconds.
    pub(in crate::front::dimse) async fn run(self, shutdown: CancellationToken) {
        let courier = Arc::new(self);
        let config = courier.commitments.config();
        let sweep = SWEEP.min(config.wait / 4).min(config.retry_for / 4).max(Duration::from_millis(50));
        let mut waits: BTreeMap<AeTitle, Wait> = BTreeMap::new();
        let mut busy: HashMap<Id, AeTitle> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let mut clients: BTreeMap<AeTitle, Vec<Undelivered>> = BTreeMap::new();
            for report in courier.commitments.undelivered().await {
                clients.entry(report.asker.client.clone()).or_default().push(report);
            }
            waits.retain(|client, _| clients.contains_key(client));
            let now = Instant::now();
            for (client, reports) in clients {
                let waits = waits.get(&client).is_some_and(|wait| wait.at > now);
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
                arrived = courier.registry.arrived() => waits.retain(|client, _| !arrived.contains(client)),
                Some(ended) = tasks.join_next_with_id() => {
                    let (id, told) = ended.unwrap_or_else(|error| (error.id(), false));
                    let Some(client) = busy.remove(&id) else { continue };
                    if told {
                        waits.remove(&client);
                    } else {
                        let delay = waits.get(&client).map_or(config.retry_after, |wait| wait.delay);
                        let at = Instant::now() + delay;
                        waits.insert(client, Wait { at, delay: (delay * 2).min(MAX_WAIT) });
                    }
                }
                () = sleep_until(next) => {}
            }
        }
        let _ = timeout(LAST, async { while tasks.join_next().await.is_some() {} }).await;
    }

    /// Tells one client of these, one after the other; false: it could not be told.
    async fn tell_all(self: Arc<Self>, reports: Vec<Undelivered>) -> bool {
        for report in reports {
            let Undelivered { transaction, asker, .. } = &report;
            // `None`: it has been told meanwhile, or there is nothing to tell.
            if let Some((event, data)) = self.commitments.report(transaction).await {
                let (client, called) = (&asker.client, &asker.called);
                let told = self.registry.tell(client, event.clone(), data.clone(), called.clone()).await;
                let told = match told {
                    Some(status) => Ok(status),
                    None => self.call(&report, event, data).await,
                };
                match told {
                    Ok(status) if class(status) == Class::Failure => {
                        let what = meaning(status);
                        tracing::warn!(%client, status = format!("{status:04X}"), what, "it refused a report of storage commitment");
                    }
                    Ok(_) => {}
                    Err(why) => {
                        tracing::info!(%client, why, "it cannot be told of its storage commitment now");
                        return false;
                    }
                }
            }
            self.commitments.delivered(transaction).await;
        }
        true
    }

    /// Tells a client on an association that is opened to it; the status of its answer.
    async fn call(&self, report: &Undelivered, event: Event, data: bytes::Bytes) -> Result<u16, String> {
        let asker = &report.asker;
        let address = self.addresses.get(&asker.client);
        let address = address.ok_or("it has no address in the configuration, and no association is open")?;
        let mut association = open(address, report, &event).await?;
        let Some(context) = association.agreement().contexts.first().cloned() else {
            association.release(Instant::now() + ESTABLISH).await;
            return Err("it did not accept storage commitment".to_owned());
        };
        let Some((mut command, data)) = message(&event, &data, &asker.called, &context.transfer_syntax)
        else {
            association.abort().await;
            return Err("its transfer syntax is of no use for the report".to_owned());
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
                Err(why)
            }
        }
    }
}

/// Opens an association to a client under the title by which it called; we are SCP (PS3.4 J.3.3).
async fn open(address: &str, report: &Undelivered, event: &Event) -> Result<Association, String> {
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
    let socket = timeout_at(deadline, DimseSocket::connect(address, deadline)).await;
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
