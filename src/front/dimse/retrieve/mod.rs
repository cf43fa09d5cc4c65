//! C-GET and C-MOVE: the archive's objects, to the client or to a destination.
//!
//! What the identifier asks for ([`identifier`]) is retrieved from the archive as for the web. Each object is delivered
//! ([`delivery`]) and counted, so that the counters ([`answer`]) are of what the receiver really has. Only a C-MOVE to a
//! destination that is configured so goes to the archive as it is ([`direct`]).

mod answer;
mod delivery;
mod direct;
mod identifier;
mod onto_client;

use std::sync::Arc;

use bytes::Bytes;

use self::answer::Ending;
use self::delivery::{Asking, Delivery};
use self::identifier::{Model, Selection, Unresolved, selection};
use super::client::{Client, End};
use super::config::Moves;
use super::service::Served;
use super::{Front, Request, refuse};
use crate::archive::Archive;
use crate::archive::transfer::{ToDestination, Transfer, unless_cancelled};
use crate::caller::{Caller, Priority};
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::layout;
use crate::dimse::command::Command;
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::status;

/// Longest identifier of a request, in bytes: 4096 UIDs take a quarter of it.
const MAX_IDENTIFIER: usize = 1 << 20;

/// Serves one C-GET.
pub(super) async fn get(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let Served::Get(archive) = request.served.clone() else { return refuse(client, request).await };
    let Request { context, command, .. } = request;
    let Some(identifier) = identifier_of(client, &context, &command).await? else { return Ok(()) };
    client.trail.retrieval(archive.name(), None);
    let retrieving = Retrieving { archive, context, command };
    let Some(selection) = retrieving.selection(client, &identifier) else { return Ok(()) };
    let caller = front.caller(&client.peer, &*retrieving.archive, selection.priority());
    retrieving.run(client, selection, caller, Delivery::OntoClient).await
}

/// Serves one C-MOVE.
pub(super) async fn move_(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let Served::Move(archive) = request.served.clone() else { return refuse(client, request).await };
    let Request { context, command, .. } = request;
    let Some(identifier) = identifier_of(client, &context, &command).await? else { return Ok(()) };
    client.trail.retrieval(archive.name(), command.move_destination.as_ref());
    let retrieving = Retrieving { archive, context, command };
    let Retrieving { archive, command, context, .. } = &retrieving;
    let title = command.move_destination.clone();
    let configured = title.as_ref().and_then(|title| front.config.ae(title));
    let (Some(title), Some(ae)) = (title.filter(|title| !front.config.titles.contains(title)), configured)
    else {
        retrieving.refuse(client, status::MOVE_DESTINATION_UNKNOWN, "the move destination is not configured");
        return Ok(());
    };
    if ae.moves == Moves::Direct {
        let Some(relay) = archive.relay() else {
            retrieving.refuse(
                client,
                status::MOVE_DESTINATION_UNKNOWN,
                "the archive cannot send there itself",
            );
            return Ok(());
        };
        let caller = front.caller(&client.peer, &**archive, Priority::Bulk);
        client.trail.studies_of(&identifier, &context.transfer_syntax);
        direct::run(client, relay, &caller, context, command, identifier).await?;
        client.account.done(archive.name());
        return Ok(());
    }
    let Some(destination) = front.destinations.get(&title, &client.peer.called) else {
        retrieving.refuse(client, status::MOVE_DESTINATION_UNKNOWN, "the move destination has no address");
        return Ok(());
    };
    let Some(selection) = retrieving.selection(client, &identifier) else { return Ok(()) };
    let caller = front.caller(&client.peer, &*retrieving.archive, selection.priority());
    let originator = Some((client.peer.calling.clone(), command.message_id));
    let destination = destination.visit();
    let to = ToDestination::new(destination, title, caller.clone(), originator);
    retrieving.run(client, selection, caller, Delivery::ToDestination(to)).await
}

/// The request's identifier; `None`: it is too long, and the client has been told.
async fn identifier_of(
    client: &mut Client,
    context: &AcceptedContext,
    command: &Command,
) -> Result<Option<Bytes>, End> {
    let read = client.data_set(command, MAX_IDENTIFIER).await?;
    if read.is_err() {
        client.respond(context.id, refusal(command, IDENTIFIER, "the identifier is too long"), None);
    }
    Ok(read.ok())
}

const IDENTIFIER: u16 = status::IDENTIFIER_DOES_NOT_MATCH;

fn refusal(command: &Command, status: u16, comment: &str) -> Command {
    Command { comment: Some(comment.to_owned()), ..command.response(status) }
}

/// A C-GET or C-MOVE that is served here.
struct Retrieving {
    archive: Arc<dyn Archive>,
    context: AcceptedContext,
    command: Command,
}

impl Retrieving {
    fn refuse(&self, client: &mut Client, status: u16, comment: &str) {
        client.respond(self.context.id, refusal(&self.command, status, comment), None);
        client.account.done(self.archive.name());
    }

    /// What is asked for; `None`: that cannot be told, and the client has been told so.
    fn selection(&self, client: &mut Client, identifier: &[u8]) -> Option<Selection> {
        let Some(model) = Model::of(&self.context.abstract_syntax) else {
            self.refuse(client, status::SOP_CLASS_NOT_SUPPORTED, "no query/retrieve class");
            return None;
        };
        let assumed = self.archive.assumed_charset();
        let parsed = DataSet::parse(identifier, layout(&self.context.transfer_syntax), assumed.as_ref());
        let selected = match &parsed {
            Ok(parsed) => selection(&parsed.data_set, model).map_err(|refusal| refusal.0),
            Err(_) => Err("the identifier cannot be read"),
        };
        selected.map_err(|why| self.refuse(client, IDENTIFIER, why)).ok()
    }

    async fn run(
        &self,
        client: &mut Client,
        selection: Selection,
        caller: Caller,
        delivery: Delivery,
    ) -> Result<(), End> {
        let form = delivery.form(client);
        let mut asking = Asking { client, request: &self.command, context: self.context.id };
        let resolving = selection.resolve(&*self.archive, &caller, form);
        let retrieves = match unless_cancelled(&mut asking, resolving).await? {
            Some(Ok(retrieves)) => Ok(retrieves),
            Some(Err(Unresolved::Refused(refusal))) => {
                self.refuse(client, IDENTIFIER, refusal.0);
                return Ok(());
            }
            Some(Err(Unresolved::Failed(error))) => {
                let (code, comment) = super::status::of(&error, self.command.field);
                Err(Ending::Failed(code, comment))
            }
            None => Err(Ending::Cancelled),
        };
        let mut transfer = Transfer::new(Arc::clone(&self.archive), caller, &mut asking, delivery);
        let ending = match retrieves {
            Ok(retrieves) => Ending::of(transfer.run(retrieves).await?, self.command.field),
            Err(ending) => ending,
        };
        let last = answer::last(&transfer.tally, ending);
        let mut response = self.command.response(last.status);
        last.counters.write(&mut response);
        response.comment = last.comment;
        let identifier = answer::identifier(&last.failed, layout(&self.context.transfer_syntax));
        client.respond(self.context.id, response, identifier);
        client.account.done(self.archive.name());
        Ok(())
    }
}
