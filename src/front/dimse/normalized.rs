//! N-CREATE, N-SET, N-GET, N-ACTION and N-DELETE: passed on with the archive's answer.
//!
//! Storage commitment is recorded before it is asked for, so that its report finds the client (PS3.4 Annex J).

use std::sync::Arc;
use tracing::Instrument as _;

use bytes::Bytes;

use super::client::{Client, End};
use super::service::Served;
use super::{Front, Request, events, refuse, status};
use crate::archive::commitment::{Asker, Asking, Commitments, Refusal, Transaction, transaction_uid};
use crate::archive::relay::{Answer, Invocation, Service};
use crate::archive::{Archive, Error, Kind};
use crate::caller::{Caller, Priority};
use crate::dicom::sop_class;
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::status::{Class, PROCESSING_FAILURE, RESOURCE_LIMITATION, class};

/// Longest data set of a normalized message, in bytes: the references of some 20,000 instances.
pub(super) const MAX_DATA_SET: usize = 4 << 20;
/// Action Type ID (0000,1008).
const ACTION_TYPE_ID: u16 = 0x1008;
/// Request storage commitment (PS3.4 J.3.2).
const REQUEST_COMMITMENT: u16 = 1;

/// Serves one request. What has been sent to the archive is done there, also where the client leaves meanwhile.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    match request.command.field {
        field::N_EVENT_REPORT_RQ => return events::report(front, client, request).await,
        field::N_GET_RQ | field::N_SET_RQ | field::N_ACTION_RQ | field::N_CREATE_RQ | field::N_DELETE_RQ => {}
        _ => return refuse(client, request).await,
    }
    let Request { context, command, served } = request;
    let Served::Normalized(service, archive) = served else {
        return refuse(client, Request { context, command, served }).await;
    };
    let Ok(data) = client.data_set(&command, MAX_DATA_SET).await? else {
        client.respond(context.id, command.response(RESOURCE_LIMITATION), None);
        return Ok(());
    };
    client.trail.normalized(archive.name(), &context, &command, &data);
    let passing = Passing {
        caller: front.caller(&client.peer, &*archive, Priority::Interactive),
        asker: Asker {
            client: client.peer.calling.clone(),
            called: client.peer.called.clone(),
            transfer_syntax: context.transfer_syntax.clone(),
        },
        commitments: front.services.commitments.clone(),
        archive,
        service,
        context: context.clone(),
        command: command.clone(),
        data,
    };
    if passing.is_commitment() {
        client.mailbox.prefer();
    }
    // In a task, as a request that was made cannot be taken back.
    let mut passed = front.common.tasks.spawn(passing.run().in_current_span());
    let (response, data) = loop {
        tokio::select! {
            biased;
            passed = &mut passed => {
                break passed.unwrap_or_else(|_| (command.response(PROCESSING_FAILURE), None));
            }
            // Normalized operations know no C-CANCEL (PS3.7 10.1).
            cancelled = client.cancelled() => cancelled?,
        }
    };
    client.trail.named(response.sop_instance.as_ref());
    client.respond(context.id, response, data);
    Ok(())
}

/// A request on its way.
struct Passing {
    caller: Caller,
    asker: Asker,
    commitments: Commitments,
    archive: Arc<dyn Archive>,
    service: Service,
    context: AcceptedContext,
    command: Command,
    data: Bytes,
}

impl Passing {
    /// Whether storage commitment is asked for.
    fn is_commitment(&self) -> bool {
        let command = &self.command;
        command.field == field::N_ACTION_RQ
            && command.sop_class.as_ref().is_some_and(|c| c.as_str() == sop_class::STORAGE_COMMITMENT)
            && command.number(ACTION_TYPE_ID) == Some(REQUEST_COMMITMENT)
    }

    /// Whether it may be made twice: it names what it changes, and twice is as good as once.
    fn is_repeatable(&self) -> bool {
        match self.command.field {
            field::N_GET_RQ | field::N_SET_RQ => true,
            field::N_CREATE_RQ => self.command.sop_instance.is_some(),
            field::N_ACTION_RQ => self.is_commitment(),
            _ => false,
        }
    }

    /// The response for the client.
    async fn run(self) -> (Command, Option<Bytes>) {
        let asking = match self.record().await {
            Ok(asking) => asking,
            Err((status, comment)) => {
                return (Command { comment: Some(comment.into()), ..self.command.response(status) }, None);
            }
        };
        let (answered, certain) = self.pass().await;
        let refused = match &answered {
            Ok((response, _)) => response.status.is_none_or(|status| class(status) == Class::Failure),
            Err(_) => certain,
        };
        if refused && let Some(asking) = asking {
            asking.refused().await;
        }
        let (message_id, field) = (self.command.message_id, self.command.field);
        match answered {
            Ok((response, data)) => (Command { message_id, ..response }, data),
            Err(error) => {
                tracing::debug!(%error, "a normalized request was not served");
                let (status, comment) = status::of(&error, field);
                (Command { comment, ..self.command.response(status) }, None)
            }
        }
    }

    /// Records a request for storage commitment, before it is made.
    async fn record(&self) -> Result<Option<Asking>, (u16, &'static str)> {
        if !self.is_commitment() {
            return Ok(None);
        }
        // Without Transaction UID the archive says what is wrong.
        let Some(uid) = transaction_uid(&self.data, &self.context.transfer_syntax) else { return Ok(None) };
        let transaction = Transaction { archive: self.archive.name().to_owned(), uid };
        match self.commitments.asked(transaction, self.asker.clone()).await {
            Ok(asking) => Ok(Some(asking)),
            Err(Refusal::InUse) => Err((PROCESSING_FAILURE, "transaction UID in use")),
            Err(Refusal::NoRoom) => Err((RESOURCE_LIMITATION, "the transaction cannot be recorded")),
        }
    }

    /// The archive's response, and whether an error is certain to have left it as it was.
    async fn pass(&self) -> (Result<(Command, Option<Bytes>), Error>, bool) {
        let Some(relay) = self.archive.relay() else {
            let what = Kind::Unsupported("normalized operations".into());
            return (Err(Error::new(self.archive.name(), what)), true);
        };
        let invocation = Invocation {
            service: self.service,
            abstract_syntax: self.context.abstract_syntax.clone(),
            command: Command { message_id: 0, ..self.command.clone() },
            data: self.command.has_data_set.then(|| self.data.clone()),
            transfer_syntax: self.context.transfer_syntax.clone(),
            extended: Arc::default(),
            repeatable: self.is_repeatable(),
        };
        let mut exchange = match relay.invoke(&self.caller, invocation).await {
            Ok(exchange) => exchange,
            Err(error) => return (Err(error), true),
        };
        loop {
            match exchange.next().await {
                Ok(Answer::Final(response, data)) => return (Ok((response, data)), false),
                Ok(Answer::Pending(..)) => {}
                Err(error) => return (Err(error), false),
            }
        }
    }
}
