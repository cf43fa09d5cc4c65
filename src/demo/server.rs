//! The accept loop and what an association may ask for.
//!
//! [`scp::serve`](crate::dimse::scp::serve) would do for an archive that behaves. This one also answers association
//! requests with garbage and cuts connections with RST, so that it accepts by itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::archive::Shared;
use super::faults::{Fault, Faults};
use super::find::Model;
use super::line::Line;
use super::observe::{Ended, Open, Request};
use super::session::{End, Session};
use super::{get, move_, search, storage};
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout, layout};
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::dimse::association::{Association, Requested};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::{AssociateRj, context_result};
use crate::dimse::status;
use crate::net::DimseSocket;

/// The ARTIM timer (PS3.8 9.1.5), and how long the end of an association may take.
const ARTIM: Duration = Duration::from_secs(10);
/// How long accepting pauses after the system has refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// An answer to an association request that is none: an A-ASSOCIATE-AC of 0xFF, its only item cut short.
const GARBAGE_ANSWER: [u8; 86] = {
    let mut pdu = [0xFF; 86];
    (pdu[0], pdu[1], pdu[2], pdu[3], pdu[4], pdu[5]) = (2, 0, 0, 0, 0, 80);
    pdu
};
/// The first half of an A-ASSOCIATE-AC.
const HALF_ANSWER: &[u8] = &[2, 0, 0, 0, 0, 200, 0, 1, 0, 0];

/// Serves until `stop`, then drops all connections.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(shared.settings.max_associations));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = Connection {
            shared: Arc::clone(&shared),
            seats: Arc::clone(&seats),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(connection.run(stream)));
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// What an association works with.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    seats: Arc<Semaphore>,
    /// For what outlives an operation.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A C-FIND, C-GET or C-MOVE request.
pub(super) struct Operation {
    pub(super) context: u8,
    pub(super) layout: Layout,
    pub(super) request: Command,
    pub(super) model: Model,
    pub(super) calling: AeTitle,
    pub(super) identifier: DataSet,
    /// Objects are wanted without bulk data (PS3.4 Annex Z).
    pub(super) without_bulk_data: bool,
}

impl Connection {
    /// Goes on with something after the operation that began it has ended.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    async fn run(self, stream: TcpStream) {
        let Ok(socket) = DimseSocket::from_stream(stream) else { return };
        if self.shared.settings.nagle && socket.set_nodelay(false).is_err() {
            return;
        }
        let line = Line::new(socket, Arc::clone(&self.shared.reset));
        let forged = line.forged();
        let Ok(requested) = Requested::read(line, Instant::now() + ARTIM).await else { return };
        let calling = requested.request().calling.clone();
        let faults = self.shared.faults();
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let refusal = match &seat {
            Err(_) => Some(AssociateRj::LOCAL_LIMIT),
            Ok(_) if requested.request().called != self.shared.settings.ae_title => {
                Some(AssociateRj::CALLED_TITLE)
            }
            Ok(_) => self.refusal(&faults),
        };
        if let Some(rj) = refusal {
            self.shared.observer.note(|o| o.associations.rejected += 1);
            return requested.reject(rj, Instant::now() + ARTIM).await;
        }
        if faults.has(Fault::CloseOnAssociate) {
            return;
        }
        let answer = match () {
            () if faults.has(Fault::NoAnswer) => Some(Bytes::new()),
            () if faults.has(Fault::GarbageAnswer) => Some(Bytes::from_static(&GARBAGE_ANSWER)),
            () if faults.has(Fault::HalfAnswer) => Some(Bytes::from_static(HALF_ANSWER)),
            () => None,
        };
        let forges_answer = answer.is_some();
        if let Some(answer) = answer {
            forged.say(answer);
        }
        let proposed = requested.request().contexts.len();
        let decide = |class: &Uid, proposed: &[Uid]| self.decide(&faults, class, proposed);
        let grants_scp = |class: &Uid| self.shared.settings.get && sop_class::may_be_storage(class);
        let observer = Arc::clone(&self.shared.observer);
        // Before the answer goes: who has it finds the association counted.
        let mut open = observer.opened(proposed);
        let Ok(association) = requested.accept(decide, grants_scp, Instant::now() + ARTIM).await else {
            open.ended = Ended::Lost;
            return;
        };
        let mut session = Session::new(association, forged, observer, self.shared.settings.nagle);
        let end =
            if forges_answer { session.stall().await } else { self.converse(&mut session, &calling).await };
        finish(end, session.association, &self.shared.faults(), (open, seat.ok())).await;
    }

    fn refusal(&self, faults: &Faults) -> Option<AssociateRj> {
        let opened = self.shared.observer.subscribe().borrow().associations.opened;
        match () {
            () if faults.has(Fault::Refuse) => Some(AssociateRj::NO_REASON),
            () if faults.has(Fault::RefuseTransient) => Some(AssociateRj::LOCAL_LIMIT),
            () if faults.number(Fault::RefuseAfter).is_some_and(|n| opened >= n as usize) => {
                Some(AssociateRj::LOCAL_LIMIT)
            }
            () => None,
        }
    }

    fn decide(&self, faults: &Faults, class: &Uid, proposed: &[Uid]) -> Decision {
        let settings = &self.shared.settings;
        let native = || {
            let is_native = |s: &&Uid| matches!(s.as_str(), EXPLICIT_VR_LE | IMPLICIT_VR_LE);
            proposed.iter().find(is_native).cloned().ok_or(context_result::TRANSFER_SYNTAXES)
        };
        match class.as_str() {
            sop_class::VERIFICATION | sop_class::PATIENT_ROOT_FIND | sop_class::PATIENT_ROOT_MOVE => native(),
            sop_class::STUDY_ROOT_FIND | sop_class::STUDY_ROOT_MOVE if settings.study_root => native(),
            sop_class::PATIENT_ROOT_GET if settings.get => native(),
            sop_class::STUDY_ROOT_GET if settings.get && settings.study_root => native(),
            sop_class::WITHOUT_BULK_DATA_GET if settings.get && settings.without_bulk_data => native(),
            _ if is_query_retrieve(class) || !sop_class::may_be_storage(class) => {
                Err(context_result::ABSTRACT_SYNTAX)
            }
            _ => storage::decide(faults, proposed).unwrap_or_else(|| {
                let store = self.shared.store();
                let held = proposed.iter().find(|syntax| store.holds(class, syntax)).cloned();
                held.or_else(|| native().ok())
                    .or_else(|| proposed.first().cloned())
                    .ok_or(context_result::TRANSFER_SYNTAXES)
            }),
        }
    }

    /// Serves requests, one after the other.
    async fn converse(&self, session: &mut Session, calling: &AeTitle) -> End {
        // An association on which the first request is late, on a busy machine, is not an idle one.
        let mut has_served = false;
        loop {
            let faults = self.shared.faults();
            let idle = [(Fault::CloseIdle as fn(u32) -> Fault, End::Close), (Fault::AbortIdle, End::Abort)]
                .into_iter()
                .find_map(|(kind, end)| Some((faults.milliseconds(kind)?, end)))
                .filter(|_| has_served);
            let request = match idle {
                None => session.request().await,
                Some((after, end)) => tokio::select! {
                    request = session.request() => request,
                    () = sleep(after) => Err(end),
                },
            };
            let done = match request {
                Ok((context, command)) => self.answer(session, calling, context, command).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
            has_served = true;
        }
    }

    async fn answer(
        &self,
        session: &mut Session,
        calling: &AeTitle,
        context: u8,
        command: Command,
    ) -> Result<(), End> {
        session.begin(self.shared.faults());
        if command.field == field::C_STORE_RQ && command.has_data_set {
            return storage::run(session, &self.shared, context, command).await;
        }
        let data = if command.has_data_set { session.identifier().await? } else { Bytes::new() };
        if !self.shared.settings.latency.is_zero() {
            session.pause(self.shared.settings.latency).await?;
        }
        match command.field {
            field::C_ECHO_RQ => {
                self.shared.observer.note(|o| o.echoes += 1);
                let status = session.faults.status(Fault::EchoFailure).unwrap_or(status::SUCCESS);
                session.send(context, command.response(status), None).await
            }
            field::C_FIND_RQ | field::C_GET_RQ | field::C_MOVE_RQ => {
                match self.operation(session, calling, context, command, &data) {
                    Ok(operation) => self.perform(session, operation).await,
                    Err(refused) => session.send(context, *refused, None).await,
                }
            }
            _ if command.is_response() => Err(End::Broken),
            _ => session.send(context, command.response(status::UNRECOGNIZED_OPERATION), None).await,
        }
    }

    /// Reads the identifier of a request.
    fn operation(
        &self,
        session: &Session,
        calling: &AeTitle,
        context: u8,
        request: Command,
        data: &[u8],
    ) -> Result<Operation, Box<Command>> {
        let refused = |status| Box::new(request.response(status));
        let accepted = session.association.agreement().context(context);
        let accepted = accepted.ok_or_else(|| refused(status::SOP_CLASS_NOT_SUPPORTED))?;
        let (class, layout) = (accepted.abstract_syntax.clone(), layout(&accepted.transfer_syntax));
        let (kind, model) = kind_of(&class).ok_or_else(|| refused(status::SOP_CLASS_NOT_SUPPORTED))?;
        if kind != request.field {
            return Err(refused(status::UNRECOGNIZED_OPERATION));
        }
        let identifier =
            DataSet::parse(data, layout, None).map_err(|_| refused(status::UNABLE_TO_PROCESS))?;
        let identifier = identifier.data_set;
        self.shared.observer.request(Request {
            calling: calling.clone(),
            sop_class: class.clone(),
            message_id: request.message_id,
            identifier: identifier.clone(),
        });
        let without_bulk_data = class.as_str() == sop_class::WITHOUT_BULK_DATA_GET;
        let calling = calling.clone();
        Ok(Operation { context, layout, request, model, calling, identifier, without_bulk_data })
    }

    async fn perform(&self, session: &mut Session, operation: Operation) -> Result<(), End> {
        let observer = &self.shared.observer;
        match operation.request.field {
            field::C_FIND_RQ => {
                observer.note(|o| o.finds += 1);
                search::run(session, &self.shared, operation).await
            }
            field::C_GET_RQ => {
                observer.note(|o| o.gets += 1);
                get::run(session, &self.shared, operation).await
            }
            _ => {
                observer.note(|o| o.moves += 1);
                move_::run(session, self, operation).await
            }
        }
    }
}

/// Brings an association to its end. It counts until then, and no longer: who has been told that it is over may open the
/// next one in the same moment.
async fn finish(
    end: End,
    association: Association,
    faults: &Faults,
    counted: (Open, Option<OwnedSemaphorePermit>),
) {
    let over = |ended| {
        let (mut open, seat) = counted;
        open.ended = ended;
        drop((open, seat));
    };
    match end {
        End::ReleaseRequested if faults.has(Fault::NoRelease) => {
            let mut association = association;
            while association.event().await.is_ok() {}
            over(Ended::Lost);
        }
        End::ReleaseRequested => {
            over(Ended::Released);
            association.confirm_release(Instant::now() + ARTIM).await;
        }
        End::ByPeer(ended) => over(ended),
        End::Broken | End::Abort => {
            over(Ended::ByUs);
            association.abort().await;
        }
        End::Close => over(Ended::ByUs),
    }
}

/// The operation and the model of a query/retrieve class.
fn kind_of(class: &Uid) -> Option<(u16, Model)> {
    Some(match class.as_str() {
        sop_class::PATIENT_ROOT_FIND => (field::C_FIND_RQ, Model::PatientRoot),
        sop_class::PATIENT_ROOT_MOVE => (field::C_MOVE_RQ, Model::PatientRoot),
        sop_class::PATIENT_ROOT_GET => (field::C_GET_RQ, Model::PatientRoot),
        sop_class::STUDY_ROOT_FIND => (field::C_FIND_RQ, Model::StudyRoot),
        sop_class::STUDY_ROOT_MOVE => (field::C_MOVE_RQ, Model::StudyRoot),
        sop_class::STUDY_ROOT_GET | sop_class::WITHOUT_BULK_DATA_GET => (field::C_GET_RQ, Model::StudyRoot),
        _ => return None,
    })
}

fn is_query_retrieve(class: &Uid) -> bool {
    kind_of(class).is_some()
}
