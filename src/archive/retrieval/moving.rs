//! One C-MOVE of a retrieval: the archive answers here, and its objects come to our Storage SCP.

use tokio::time::{Instant, sleep_until};

use super::super::completeness::OperationId;
use super::super::error::{Error, Kind};
use super::operation::{Attempt, cancel, failed_uids, found_nothing};
use super::{Ask, Driver};
use crate::dicom::sop_class;
use crate::dimse::command::{Command, field};
use crate::dimse::scu::{Operation, OperationError, Reply};

impl Driver {
    /// Runs one operation by C-MOVE.
    pub(super) async fn attempt_move(&self, ask: &Ask) -> Result<(), Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        let Some(moves) = &inner.moves else {
            return Err(inner.error(Kind::Unsupported("C-MOVE: the bridge has no DIMSE listener".into())));
        };
        let limits = inner.limits();
        // The archive names as originator whoever it takes us for.
        let calling = inner.title(&self.caller).unwrap_or(&inner.config.calling);
        let (form, deadline) = (self.retrieve.form, limits.deadline);
        let register = moves.register(&inner.config, calling, form, &self.collector, deadline);
        let busy = || inner.error(Kind::Timeout("another C-MOVE of the same objects"));
        let registration = self.unless_gone(register).await?.ok_or_else(busy)?;
        let (id, response) = loop {
            let contexts = inner.query_contexts();
            let lease = inner.lease(&inner.retrieve, &self.caller, &contexts, 2, limits.deadline);
            let mut lease = self.unless_gone(lease).await??;
            let agreement = lease.association().agreement();
            let class = inner.class(agreement, sop_class::STUDY_ROOT_MOVE, sop_class::PATIENT_ROOT_MOVE);
            let mut command = Command::request(field::C_MOVE_RQ, class, registration.message_id());
            command.priority = Some(0);
            command.move_destination = Some(moves.title().clone());
            let operation =
                inner.start(lease, command, |context| Some(self.identifier(ask, context)), limits)?;
            let id = self.collector.ledger().begin(ask.scope(), true);
            match self.follow_move(id, operation).await? {
                Attempt::Ended(response) => break (id, response),
                _ => self.collector.update(|ledger| ledger.withdraw(id)),
            }
        };
        // What is still to come the counters tell, or else the list of what there is: a number that the series told may
        // be an old one.
        let is_uncounted = self.collector.ledger().is_uncounted(id);
        if is_uncounted {
            self.list_what_there_is().await?;
        }
        self.settle(id, limits.deadline).await?;
        self.state().found_nothing |= found_nothing(&response);
        if !self.collector.ledger().is_outstanding(id) {
            registration.settled();
        }
        self.note_failure("C-MOVE", &response)
    }

    /// Listens to the responses of a C-MOVE, while the objects come over other associations.
    async fn follow_move(&self, id: OperationId, mut operation: Operation) -> Result<Attempt, Error> {
        let (silence, begin) = (self.inner.config.timeouts.silence, Instant::now());
        loop {
            let reply = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    cancel(operation, None).await;
                    return Err(self.nobody_waits());
                }
                reply = operation.next() => reply,
            };
            let error = match reply {
                Ok(Reply::Pending(response, _)) => {
                    self.note_counters(&response);
                    continue;
                }
                Ok(Reply::Final(response, identifier)) => {
                    let failed = failed_uids(&mut operation, identifier);
                    operation.finish();
                    self.collector.update(|ledger| ledger.ended(id, &response, failed));
                    return Ok(Attempt::Ended(response));
                }
                // Pending responses are optional (PS3.4 C.4.2.3.1): objects that come are a sign of life too.
                Err(OperationError::Silence) if self.collector.last_activity().elapsed() < silence => {
                    operation.forgive_silence();
                    continue;
                }
                Ok(_) => OperationError::Protocol("not a response to C-MOVE".into()),
                Err(error) => error,
            };
            // An object is an answer too.
            let stale = operation.may_retry(&error) && self.collector.last_activity() <= begin;
            operation.abort().await;
            return if stale { Ok(Attempt::Stale) } else { Err(self.inner.operation_error(error)) };
        }
    }

    /// Waits, after the final response of a C-MOVE, for the objects that it has overtaken: until what is
    /// expected has come, or nothing has come for as long as an archive may be silent. Where nobody knows what
    /// to expect, only silence tells.
    async fn settle(&self, id: OperationId, deadline: Instant) -> Result<(), Error> {
        let (silence, begin) = (self.inner.config.timeouts.silence, Instant::now());
        loop {
            let changed = self.collector.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let outstanding = {
                let ledger = self.collector.ledger();
                ledger.is_outstanding(id) || ledger.is_unwitnessed(id)
            };
            if !outstanding {
                return Ok(());
            }
            let patience = (self.collector.last_activity().max(begin) + silence).min(deadline);
            if Instant::now() >= patience {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(self.nobody_waits()),
                () = changed => {}
                () = sleep_until(patience) => {}
            }
        }
    }
}
