//! A C-MOVE that the archive carries out itself: it sends to the destination, and its responses are passed on.

use bytes::Bytes;

use super::delivery::Asking;
use crate::archive::relay::{Answer, Invocation, Relay, Service};
use crate::archive::transfer::unless_cancelled;
use crate::archive::{Error, Kind};
use crate::caller::Caller;
use crate::dimse::command::Command;
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::status;
use crate::front::dimse::client::{Client, End, MAX_UNSENT};
use crate::front::dimse::status::of;

/// Passes a C-MOVE on, with the client's own message ID: the destination sees it as that of the Move Originator (PS3.7
/// 9.1.1.1).
pub(super) async fn run(
    client: &mut Client,
    relay: &dyn Relay,
    caller: &Caller,
    context: &AcceptedContext,
    request: &Command,
    identifier: Bytes,
) -> Result<(), End> {
    let invocation = Invocation {
        service: Service::Retrieve,
        abstract_syntax: context.abstract_syntax.clone(),
        command: request.clone(),
        data: Some(identifier),
        transfer_syntax: context.transfer_syntax.clone(),
        extended: Default::default(),
        repeatable: true,
    };
    let asking = &mut Asking { client, request, context: context.id };
    let mut exchange = match unless_cancelled(asking, relay.invoke(caller, invocation)).await? {
        Some(Ok(exchange)) => exchange,
        Some(Err(error)) => {
            client.respond(context.id, failure(request, &error), None);
            return Ok(());
        }
        None => {
            client.respond(context.id, request.response(status::CANCEL), None);
            return Ok(());
        }
    };
    loop {
        let answer = tokio::select! {
            biased;
            cancelled = client.cancelled() => {
                cancelled?;
                exchange.cancel();
                continue;
            }
            answer = exchange.next() => answer,
        };
        match answer {
            Ok(Answer::Pending(response, data)) => {
                client.respond(context.id, as_answer(response, request), data);
                while let Some(meanwhile) = client.room(MAX_UNSENT).await? {
                    meanwhile.into_cancel()?;
                    exchange.cancel();
                }
                exchange.forgive_silence();
            }
            Ok(Answer::Final(response, data)) => {
                client.respond(context.id, as_answer(response, request), data);
                return Ok(());
            }
            Err(error) => {
                client.respond(context.id, failure(request, &error), None);
                return Ok(());
            }
        }
    }
}

/// The archive's response as one to the client's request.
fn as_answer(response: Command, request: &Command) -> Command {
    let sop_class = response.sop_class.clone().or_else(|| request.sop_class.clone());
    Command { message_id: request.message_id, sop_class, ..response }
}

fn failure(request: &Command, error: &Error) -> Command {
    let (code, comment) = match &error.kind {
        Kind::Cancelled => (status::CANCEL, None),
        _ => of(error, request.field),
    };
    Command { comment, ..request.response(code) }
}
