//! One operation of a retrieval, from the lease to the last object: by C-GET here, else by C-MOVE.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::Form;
use super::super::arrival::Arrival;
use super::super::completeness::OperationId;
use super::super::dimse::config::{Method, Model};
use super::super::error::{Error, Kind};
use super::super::remote::Inner;
use super::{Ask, Driver};
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Head;
use crate::dicom::{Uid, VR, sop_class, tags, transfer_syntax};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::{AcceptedContext, Agreement};
use crate::dimse::pool::Lease;
use crate::dimse::scu::{Limits, Operation, OperationError, Reply};
use crate::dimse::status::{self, Class};

/// How long a cancelled operation may take to end before its association is aborted.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);
/// How long a refusal of C-GET is believed.
const REFUSAL_MEMORY: Duration = Duration::from_secs(10 * 60);

/// How an attempt ended.
pub(super) enum Attempt {
    /// With a final response, which is in the ledger.
    Ended(Command),
    /// To be made again: the association had gone stale, or the archive does not do it in this way.
    Stale,
    /// The archive does not do this operation.
    Refused(Error),
}

/// An object that arrives within a C-GET.
struct Storing {
    context: u8,
    request: Command,
    head: Head,
    arrival: Arrival,
}

/// How long an archive takes from the answer to one object until it sends the next.
#[derive(Default)]
struct Turnaround {
    answered: Option<Instant>,
    spent: Duration,
    objects: u32,
}

impl Turnaround {
    fn answer(&mut self) {
        self.answered = Some(Instant::now());
    }

    fn object(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.spent += answered.elapsed();
            self.objects += 1;
        }
    }
}

impl Driver {
    /// Runs one operation: C-GET where the archive takes it, else C-MOVE.
    pub(super) async fn operate(&self, ask: &Ask) -> Result<(), Error> {
        let mut refusal = None;
        if self.inner.tries_get() {
            match self.attempt_get(ask).await? {
                Attempt::Refused(error) => refusal = Some(error),
                _ => return Ok(()),
            }
        }
        match (refusal, self.inner.config.retrieve) {
            (Some(error), Method::Get) => Err(error),
            (Some(error), _) if self.inner.moves.is_none() => Err(error),
            (refusal, _) => {
                self.attempt_move(ask).await?;
                // Believed where C-MOVE did better. An archive that dies at a C-GET looks like one that refuses.
                if refusal.is_some() && self.collector.ledger().count() > 0 {
                    *self.inner.get_refused.lock().expect("held for an assignment only") =
                        Some(Instant::now());
                }
                Ok(())
            }
        }
    }

    async fn attempt_get(&self, ask: &Ask) -> Result<Attempt, Error> {
        loop {
            let limits = self.inner.limits();
            let lease =
                self.inner.lease(&self.inner.retrieve, &self.caller, &ask.contexts, 1, limits.deadline);
            let lease = self.unless_gone(lease).await??;
            match self.get(ask, lease, limits).await? {
                Attempt::Stale => {}
                Attempt::Ended(response) => {
                    self.note_failure("C-GET", &response)?;
                    return Ok(Attempt::Ended(response));
                }
                refused => return Ok(refused),
            }
        }
    }

    /// One C-GET on this association. What it does not end is taken out of the ledger.
    pub(super) async fn get(&self, ask: &Ask, lease: Lease, limits: Limits) -> Result<Attempt, Error> {
        let operation = self.collector.ledger().begin(ask.scope(), false);
        let attempt = match self.follow_get(ask, operation, lease, limits).await {
            Ok(Attempt::Ended(response)) if self.has_kept_bulk_data(&response) => {
                self.inner.knowledge.learn_bulk_data_refused();
                Ok(Attempt::Stale)
            }
            Ok(Attempt::Ended(response)) if refuses(&response) && self.collector.ledger().count() == 0 => {
                Ok(Attempt::Refused(self.inner.status_error("C-GET", &response, false)))
            }
            attempt => attempt,
        };
        match &attempt {
            Ok(Attempt::Ended(response)) if found_nothing(response) => {
                self.state().found_nothing = true;
                // What a client names itself may be unknown to the archive, list or not.
                if ask.instances.len() > 1 && self.retrieve.only.is_empty() {
                    self.inner.knowledge.learn_no_lists_of_uids();
                }
            }
            Ok(Attempt::Ended(_)) => {}
            _ => self.collector.update(|ledger| ledger.withdraw(operation)),
        }
        attempt
    }

    /// Whether a C-GET without bulk data has brought nothing: whole objects may come.
    fn has_kept_bulk_data(&self, response: &Command) -> bool {
        let class = response.sop_class.as_ref().map_or("", Uid::as_str);
        let failed = response.status.map(status::class) == Some(Class::Failure);
        class == sop_class::WITHOUT_BULK_DATA_GET
            && (failed || found_nothing(response))
            && self.collector.ledger().count() == 0
            && self.omits_bulk_data()
    }

    async fn follow_get(
        &self,
        ask: &Ask,
        id: OperationId,
        mut lease: Lease,
        limits: Limits,
    ) -> Result<Attempt, Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        let agreement = lease.association().agreement();
        let light = sop_class::WITHOUT_BULK_DATA_GET;
        let can_be_light =
            self.omits_bulk_data() && !ask.instances.is_empty() && agreement.for_class(light).is_some();
        let without_bulk = *self.told().without_bulk.get_or_insert(can_be_light);
        let is_light = can_be_light && without_bulk;
        let class = match is_light {
            true => light,
            false => inner.class(agreement, sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET),
        };
        if agreement.for_class(class).is_none() || !agreement.contexts.iter().any(|c| c.requestor_is_scp) {
            lease.give_back();
            let what = "it takes no C-GET with the storage classes that were proposed";
            return Ok(Attempt::Refused(inner.error(Kind::Unsupported(what.into()))));
        }
        let command = Command { priority: Some(0), ..Command::request(field::C_GET_RQ, class, 0) };
        let mut operation =
            inner.start(lease, command, |context| Some(self.identifier(ask, context)), limits)?;
        let mut turnaround = Turnaround::default();
        let mut storing: Option<Storing> = None;
        loop {
            let reply = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    cancel(operation, storing.map(|open| (open.context, open.request))).await;
                    return Err(self.nobody_waits());
                }
                reply = operation.next() => reply,
            };
            let result = match reply {
                Ok(Reply::Final(response, identifier)) => {
                    let failed = failed_uids(&mut operation, identifier);
                    operation.finish();
                    inner.pace.learn_turnaround(turnaround.objects, turnaround.spent);
                    self.collector.update(|ledger| ledger.ended(id, &response, failed));
                    return Ok(Attempt::Ended(response));
                }
                Ok(Reply::Pending(response, _)) => {
                    self.note_counters(&response);
                    Ok(())
                }
                Ok(Reply::Store { context, command }) => {
                    turnaround.object();
                    self.begin(&mut operation, id, context, command).map(|begun| storing = Some(begun))
                }
                Ok(Reply::StoreData { bytes, last }) => match &mut storing {
                    Some(open) => {
                        open.arrival.push(bytes, last).await;
                        operation.forgive_silence();
                        if last && let Some(done) = storing.take() {
                            self.end(&mut operation, done);
                            turnaround.answer();
                        }
                        Ok(())
                    }
                    None => Err(OperationError::Protocol("a data set of no object".into())),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                drop(storing);
                let (stale, silent) = (operation.may_retry(&error), !operation.has_responded());
                operation.abort().await;
                return match error {
                    _ if stale => Ok(Attempt::Stale),
                    // Some accept the context and abort at the request, as that is not allowed.
                    OperationError::Association(_) | OperationError::Released if silent => {
                        Ok(Attempt::Refused(inner.operation_error(error)))
                    }
                    error => Err(inner.operation_error(error)),
                };
            }
        }
    }

    /// Tells readers how many objects the archive's counters speak of, where one operation brings them all. Counters
    /// of 16 bits that are full say nothing.
    pub(super) fn note_counters(&self, response: &Command) {
        if !self.retrieve.having.is_empty() || !self.state().is_single {
            return;
        }
        let counters = [response.remaining, response.completed, response.failed, response.warning];
        let known = counters[..2].iter().all(Option::is_some) && !counters.contains(&Some(u16::MAX));
        if known {
            self.expected.tell(counters.into_iter().flatten().map(usize::from).sum());
        }
    }

    fn begin(
        &self,
        operation: &mut Operation,
        id: OperationId,
        context: u8,
        request: Command,
    ) -> Result<Storing, OperationError> {
        let accepted = operation.agreement().context(context).cloned();
        let (Some(accepted), Some(sop_instance)) = (accepted, request.sop_instance.clone()) else {
            return Err(OperationError::Protocol("a C-STORE without SOP Instance UID".into()));
        };
        let sop_class = request.sop_class.clone().unwrap_or(accepted.abstract_syntax);
        let head = Head { sop_class, sop_instance, transfer_syntax: accepted.transfer_syntax };
        let arrival = Arrival::of_get(head.clone(), std::sync::Arc::clone(&self.collector), id);
        Ok(Storing { context, request, head, arrival })
    }

    fn end(&self, operation: &mut Operation, done: Storing) {
        let Storing { context, request, head, arrival } = done;
        let series = arrival.series().cloned();
        let status = arrival.finish();
        operation.respond(context, &request, status);
        if status == status::SUCCESS {
            self.state().meter.object();
            if let Some(series) = series {
                self.inner.knowledge.classes.learn(&series, &head.sop_class);
            }
            // In another form, an object may come in another syntax than it lies in.
            let lies_in = (self.retrieve.form == Form::AsStored).then_some(&head.transfer_syntax);
            if self.retrieve.form != Form::WithoutBulkData {
                self.inner.learnt().saw(&head.sop_class, lies_in);
            }
        }
    }

    /// Keeps a failure status for the end. One to the first question is the end, unless the archive tried to
    /// send objects: then other contexts, or another form, may help.
    pub(super) fn note_failure(&self, operation: &'static str, response: &Command) -> Result<(), Error> {
        if response.status.map(status::class) != Some(Class::Failure) {
            return Ok(());
        }
        let mut error = self.inner.status_error(operation, response, false);
        if self.is_patient_missing(response) {
            let what = "it has the Patient Root model only and wants the Patient ID, which is not known";
            error = self.inner.error(Kind::Unsupported(what.into())).advise("search for the study first");
        }
        let is_get = response.field == field::C_GET_RQ | field::RESPONSE;
        if let (Some(moves), Some(0xA702 | 0xA801), false) = (&self.inner.moves, response.status, is_get) {
            error = error.advise(moves.advice());
        }
        let unable = response.status == Some(status::OUT_OF_RESOURCES_SUB_OPERATIONS);
        let tried = response.failed.is_some_and(|failed| failed > 0) || is_get && unable;
        let nothing_yet = self.collector.ledger().count() == 0;
        let mut state = self.state();
        if !tried && nothing_yet && state.failure.is_none() {
            return Err(error);
        }
        state.failure = Some(error);
        Ok(())
    }

    /// Whether the operation was one of the Patient Root model and had no Patient ID to give.
    fn is_patient_missing(&self, response: &Command) -> bool {
        let class = response.sop_class.as_ref().map_or("", Uid::as_str);
        [sop_class::PATIENT_ROOT_GET, sop_class::PATIENT_ROOT_MOVE].contains(&class)
            && self.inner.knowledge.patients.patient_of(&self.collector.target().study).is_none()
    }

    pub(super) fn identifier(&self, ask: &Ask, context: &AcceptedContext) -> Bytes {
        // The model without bulk data has one level, and one key beside it (PS3.4 Z.4.2.1.3.1).
        let is_light = context.abstract_syntax.as_str() == sop_class::WITHOUT_BULK_DATA_GET;
        let mut keys = DataSet::new();
        keys.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, ask.level.as_str());
        if !is_light {
            keys.set_str(tags::STUDY_INSTANCE_UID, VR::UI, self.collector.target().study.as_str());
        }
        if let Some(series) = ask.series.as_ref().filter(|_| !is_light) {
            keys.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        }
        if !ask.instances.is_empty() {
            let instances = ask.instances.iter().map(|uid| uid.as_str().to_owned()).collect();
            keys.set_strings(tags::SOP_INSTANCE_UID, VR::UI, instances);
        }
        self.inner.name_patient(context.abstract_syntax.as_str(), &mut keys);
        let charset = self.inner.config.query_charset.clone();
        keys.encode(transfer_syntax::layout(&context.transfer_syntax), charset).into()
    }
}

impl Inner {
    /// Whether the archive is known to send objects without bulk data.
    pub(in crate::archive) fn omits_bulk_data(&self) -> bool {
        self.tries_get() && self.knowledge.omits_bulk_data()
    }

    /// Whether C-GET is to be tried.
    pub(in crate::archive) fn tries_get(&self) -> bool {
        let refused = self.get_refused.lock().expect("held for a look only");
        match self.config.retrieve {
            Method::Get => true,
            Method::Move => false,
            Method::Auto => refused.is_none_or(|at| at.elapsed() > REFUSAL_MEMORY),
        }
    }

    /// The class of the model that the archive takes.
    pub(in crate::archive) fn class(
        &self,
        agreement: &Agreement,
        study: &'static str,
        patient: &'static str,
    ) -> &'static str {
        match self.config.model {
            Model::Study => study,
            Model::Patient => patient,
            Model::Auto if agreement.for_class(study).is_some() || agreement.for_class(patient).is_none() => {
                study
            }
            Model::Auto => patient,
        }
    }
}

/// Whether a final response says that the archive does not do the operation at all.
fn refuses(response: &Command) -> bool {
    matches!(response.status, Some(status::SOP_CLASS_NOT_SUPPORTED | status::UNRECOGNIZED_OPERATION))
}

/// Whether a final response says that what was asked for matches nothing.
pub(super) fn found_nothing(response: &Command) -> bool {
    let is_none = |count: Option<u16>| count.unwrap_or(0) == 0;
    let nothing = response.completed == Some(0) && is_none(response.failed) && is_none(response.warning);
    response.status == Some(status::SUCCESS) && nothing
}

/// The Failed SOP Instance UID List (0008,0058) of a final response; one that cannot be read names nothing.
pub(super) fn failed_uids(operation: &mut Operation, identifier: Option<Bytes>) -> Vec<Uid> {
    let Some(identifier) = identifier else { return Vec::new() };
    let Ok(parsed) = DataSet::parse(&identifier, operation.layout(), None) else { return Vec::new() };
    let uids = parsed.data_set.strings(tags::FAILED_SOP_INSTANCE_UID_LIST);
    uids.iter().filter_map(|uid| uid.parse().ok()).collect()
}

/// Cancels an operation: C-CANCEL, then what is on its way is dropped for a short while; an archive that has
/// not ended by then is aborted. `storing` is the C-STORE that is half here.
pub(super) async fn cancel(mut operation: Operation, mut storing: Option<(u8, Command)>) {
    operation.cancel();
    operation.hurry(Instant::now() + CANCEL_PATIENCE);
    loop {
        match operation.next().await {
            Ok(Reply::Final(..)) => return operation.finish(),
            Ok(Reply::Pending(..)) => {}
            Ok(Reply::Store { context, command }) => storing = Some((context, command)),
            Ok(Reply::StoreData { last, .. }) => {
                if last && let Some((context, request)) = storing.take() {
                    operation.respond(context, &request, status::UNABLE_TO_PROCESS);
                }
            }
            Err(_) => return operation.abort().await,
        }
    }
}
