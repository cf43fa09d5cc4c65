//! One request that is passed on, and the archive's answers to it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Answer, Invocation};
use crate::archive::Result;
use crate::archive::error::Kind;
use crate::archive::remote::Inner;
use crate::archive::search::MAX_MATCH_LENGTH;
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::native::{self, can_become};
use crate::dicom::transfer_syntax::is_native;
use crate::dimse::command::{Command, field};
use crate::dimse::scu::{CANCEL_TIME, Limits, Operation, Reply};

/// A request under way. Dropped before its final answer, it is cancelled at the archive, in a task of the archive's.
#[derive(Debug)]
pub struct Exchange {
    inner: Arc<Inner>,
    caller: Caller,
    invocation: Invocation,
    limits: Limits,
    /// With the transfer syntax of its context; none while it is to be requested, and when all is over.
    operation: Option<(Operation, Uid)>,
    /// It was requested once more, on another association.
    retried: bool,
    cancelled: bool,
    over: bool,
}

impl Exchange {
    /// The next answer, whatever its status. Cancel-safe.
    ///
    /// # Errors
    /// The archive does not answer as it should, or not within a second of [`Exchange::cancel`] ([`Kind::Cancelled`]);
    /// the exchange is over then, as it is after [`Answer::Final`].
    pub async fn next(&mut self) -> Result<Answer> {
        loop {
            if self.over || self.operation.is_none() && self.cancelled {
                self.over = true;
                return Err(self.inner.error(Kind::Cancelled));
            }
            let Some((operation, agreed)) = &mut self.operation else {
                // It may have died while it was idle.
                self.start().await.inspect_err(|_| self.over = true)?;
                continue;
            };
            match operation.next().await {
                Ok(Reply::Pending(command, data)) => {
                    let agreed = agreed.clone();
                    let data = self.accepted(&command, data).and_then(|data| self.translated(data, &agreed));
                    return data.map(|data| Answer::Pending(command, data)).inspect_err(|_| self.end());
                }
                Ok(Reply::Final(command, data)) => {
                    self.over = true;
                    let Some((operation, agreed)) = self.operation.take() else { continue };
                    operation.finish();
                    return self.translated(data, &agreed).map(|data| Answer::Final(command, data));
                }
                Ok(Reply::Store { .. } | Reply::StoreData { .. }) => {
                    self.end();
                    return Err(self.inner.error(Kind::Protocol("an object that nobody asked for".into())));
                }
                Err(error) => {
                    let again = operation.may_retry(&error) && self.may_repeat();
                    let was_cancelled = self.cancelled;
                    self.abort();
                    if !again {
                        self.over = true;
                        // Archives end a cancelled operation in many ways: what was wanted is what was reached.
                        let kind = was_cancelled.then(|| self.inner.error(Kind::Cancelled));
                        return Err(kind.unwrap_or_else(|| self.inner.operation_error(error)));
                    }
                    self.retried = true;
                }
            }
        }
    }

    /// Asks the archive to stop (C-CANCEL), where the operation knows that; it leaves with the next call of
    /// [`Exchange::next`]. Answers still come, for a second.
    pub fn cancel(&mut self) {
        if self.cancelled || !self.is_cancellable() {
            return;
        }
        self.cancelled = true;
        if let Some((operation, _)) = &mut self.operation {
            operation.cancel();
            operation.hurry(Instant::now() + CANCEL_TIME);
        }
    }

    /// The time in which nobody called [`Exchange::next`] is not the archive's silence.
    pub fn forgive_silence(&mut self) {
        if let Some((operation, _)) = &mut self.operation {
            operation.forgive_silence();
        }
    }

    /// Requests it.
    async fn start(&mut self) -> Result<()> {
        let (inner, Invocation { service, abstract_syntax, transfer_syntax, .. }) =
            (&self.inner, &self.invocation);
        let contexts = inner
            .invoked_contexts(*service, abstract_syntax, transfer_syntax)
            .with_extended(Arc::clone(&self.invocation.extended));
        let pool = inner.pool(*service);
        let mut lease = inner.lease(pool, &self.caller, &contexts, 1, self.limits.deadline).await?;
        let agreement = lease.association().agreement();
        // In the client's own syntax, where there is such a context.
        let class = abstract_syntax.as_str();
        let Some(context) =
            agreement.for_class_in(class, transfer_syntax).or(agreement.for_class(class)).cloned()
        else {
            lease.give_back();
            let what = format!("it accepted no presentation context for SOP class {abstract_syntax}");
            return Err(inner.error(Kind::Unsupported(what)));
        };
        let (from, to) = (transfer_syntax, &context.transfer_syntax);
        let data = match self.invocation.data.clone().map(|data| reencoded(data, from, to)).transpose() {
            Ok(data) => data,
            Err(why) => {
                lease.give_back();
                return Err(inner.error(Kind::BadKeys(why)));
            }
        };
        let command = self.invocation.command.clone();
        let operation = Operation::start_in(lease, &context, command, data, self.limits);
        self.operation = Some((operation, context.transfer_syntax));
        Ok(())
    }

    /// The data set of a pending response, where the operation has such.
    fn accepted(&self, command: &Command, data: Option<Bytes>) -> Result<Option<Bytes>> {
        let protocol = |what: &str| Err(self.inner.error(Kind::Protocol(what.into())));
        match (command.field & !field::RESPONSE, &data) {
            (field::C_FIND_RQ, None) => protocol("a match without a data set"),
            (field::C_FIND_RQ, Some(data)) if data.len() > MAX_MATCH_LENGTH => {
                protocol("a match of impossible length")
            }
            (field::C_FIND_RQ | field::C_MOVE_RQ, _) => Ok(data),
            _ => protocol("a pending response to an operation that has none"),
        }
    }

    /// The data set of a response, in the syntax of the request.
    fn translated(&self, data: Option<Bytes>, agreed: &Uid) -> Result<Option<Bytes>> {
        let wanted = &self.invocation.transfer_syntax;
        let data = data.map(|data| reencoded(data, agreed, wanted)).transpose();
        data.map_err(|why| self.inner.error(Kind::Protocol(format!("in a response, {why}"))))
    }

    fn may_repeat(&self) -> bool {
        self.invocation.repeatable && !self.retried && !self.cancelled
    }

    /// C-CANCEL is for these alone (PS3.7 9.3.2.3, 9.3.4.3); a C-GET is not passed on.
    fn is_cancellable(&self) -> bool {
        matches!(self.invocation.command.field, field::C_FIND_RQ | field::C_MOVE_RQ)
    }

    /// It is over before its end.
    fn end(&mut self) {
        self.over = true;
        let Some((operation, _)) = self.operation.take() else { return };
        let (cancellable, cancelled) = (self.is_cancellable(), self.cancelled);
        self.inner.tasks.spawn(async move {
            match (cancellable, cancelled) {
                (true, false) => operation.give_up().await,
                (true, true) => operation.run_out().await,
                (false, _) => operation.abort().await,
            }
        });
    }

    /// In a task, as this may be dropped at any time.
    fn abort(&mut self) {
        if let Some((operation, _)) = self.operation.take() {
            self.inner.tasks.spawn(operation.abort());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}

/// Passes a request on.
///
/// # Errors
/// There is no association, or it takes no such request.
pub(super) async fn invoke(inner: Arc<Inner>, caller: Caller, invocation: Invocation) -> Result<Exchange> {
    let limits = inner.limits();
    let (operation, retried, cancelled, over) = (None, false, false, false);
    let mut exchange = Exchange { inner, caller, invocation, limits, operation, retried, cancelled, over };
    exchange.start().await?;
    Ok(exchange)
}

/// A data set in another native transfer syntax, or why it cannot be.
fn reencoded(data: Bytes, from: &Uid, to: &Uid) -> std::result::Result<Bytes, String> {
    if from == to {
        return Ok(data);
    }
    // A deflated one would have no bound.
    if !is_native(from) || !can_become(from, to) {
        return Err("the data set cannot become what was agreed on".to_owned());
    }
    native::whole(data, from, to).map_err(|error| format!("the data set cannot be read: {error}"))
}

#[cfg(test)]
#[path = "exchange/tests.rs"]
mod tests;
