//! C-STORE: an object streamed through to one archive or several, and answered when all of them have answered.

use bytes::Bytes;

use super::client::{Client, End};
use super::config::Operation;
use super::{Front, Request, returns, status as statuses};
use crate::archive::{Manner, Origin};
use crate::caller::Priority;
use crate::dicom::head::HeadReader;
use crate::dicom::object::Head;
use crate::dicom::{AeTitle, Uid};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::status;
use fan::{Destination, Fan, Outcome};
use returns::Taken;

mod fan;
mod pipe;

/// What of an object has been read before it is known where it goes.
#[derive(Default)]
pub(super) struct Beginning {
    /// Modality, where it has been looked for and is there.
    pub(super) modality: Option<String>,
    /// All that has come.
    pub(super) held: Vec<Bytes>,
    /// Nothing more comes.
    pub(super) whole: bool,
}

/// Serves one request.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let Request { context, command, .. } = request;
    let head = match head(&context, &command) {
        Ok(head) => head,
        Err(code) => {
            client.drain(&command).await?;
            client.respond(context.id, command.response(code), None);
            return Ok(());
        }
    };
    let originator = command.move_originator.clone().zip(command.move_originator_id);
    let origin = Origin { address: client.peer.address, calling: client.peer.calling.clone(), originator };
    let mut beginning = None;
    if returns::may_be_one(front, client, &origin) {
        match returns::take(front, client, head.clone(), origin.clone()).await? {
            Taken::Whole(code) => {
                client.respond(context.id, command.response(code), None);
                return Ok(());
            }
            Taken::GivenBack(begun) => beginning = Some(begun),
        }
    }
    let (code, comment) = pass_on(front, client, head, origin.originator, beginning).await?;
    let response = Command { comment, ..command.response(code) };
    client.respond(context.id, response, None);
    Ok(())
}

/// What identifies the object, or the status with which the request is refused (PS3.7 9.1.1.1.9).
fn head(context: &AcceptedContext, command: &Command) -> Result<Head, u16> {
    if !command.has_data_set {
        return Err(status::UNABLE_TO_PROCESS);
    }
    let sop_instance = command.sop_instance.clone().ok_or(status::INVALID_SOP_INSTANCE)?;
    let sop_class = command.sop_class.clone().unwrap_or_else(|| context.abstract_syntax.clone());
    Ok(Head { sop_class, sop_instance, transfer_syntax: context.transfer_syntax.clone() })
}

/// Passes an object on to wherever the rules send it: the status of the response, and its Error Comment.
async fn pass_on(
    front: &Front,
    client: &mut Client,
    head: Head,
    originator: Option<(AeTitle, u16)>,
    beginning: Option<Beginning>,
) -> Result<(u16, Option<String>), End> {
    let router = &front.services.router;
    let (called, calling) = (client.peer.called.clone(), client.peer.calling.clone());
    let beginning = match beginning {
        Some(beginning) => beginning,
        None if router.asks_for_modality(&called, &calling, &head.sop_class) => {
            begin(client, &head.transfer_syntax).await?
        }
        None => Beginning::default(),
    };
    let Beginning { modality, held, mut whole } = beginning;
    // Contexts of objects that are sent to a client are no leave to store.
    let may_store = front.config.allows(&calling, &[Operation::Store]);
    let mut archives = router.for_object(&called, &calling, &head.sop_class, modality.as_deref());
    if !may_store {
        archives.clear();
    }
    if archives.is_empty() {
        let class = &head.sop_class;
        tracing::info!(%calling, %called, %class, modality, "no archive is configured for such objects, or not for this client");
        while !whole {
            whole = client.piece().await?.1;
        }
        if !may_store {
            client.trail.forbidden(field::C_STORE_RQ);
        }
        return Ok(match may_store {
            true => (status::SOP_CLASS_NOT_SUPPORTED, Some("no archive takes such objects".into())),
            false => (status::NOT_AUTHORIZED, Some("not allowed to store".into())),
        });
    }
    // It came framed to its last PDV: what is in it is between the client and the archive.
    let manner = Manner { checked: false, originator };
    let destinations = archives.into_iter().map(|archive| {
        let caller = front.caller(&client.peer, &*archive, Priority::Bulk);
        Destination { archive, caller, manner: manner.clone() }
    });
    let fan = Fan::new(&head, destinations);
    client.trail.object(&head);
    let outcomes = stream(client, fan, held, whole).await?;
    for outcome in &outcomes {
        let Outcome { archive, result } = outcome;
        if let Err(error) = result {
            tracing::info!(archive, fault = ?error.fault(), "an object was not stored");
            tracing::debug!(archive, %error, "C-STORE");
        }
        client.account.done_with(archive, told(outcome).0);
        client.trail.stored(archive, &head, result.is_ok());
    }
    Ok(worst(&outcomes))
}

/// Reads on until it is known what modality the object is of.
async fn begin(client: &mut Client, transfer_syntax: &Uid) -> Result<Beginning, End> {
    let mut reader = HeadReader::new(transfer_syntax);
    loop {
        let (bytes, whole) = client.piece().await?;
        if reader.push(bytes, whole) {
            let (found, held) = reader.into_parts();
            return Ok(Beginning { modality: found.modality, held, whole });
        }
    }
}

/// Streams an object, of which some is held already, and waits for all the answers.
async fn stream(
    client: &mut Client,
    mut fan: Fan,
    held: Vec<Bytes>,
    mut whole: bool,
) -> Result<Vec<Outcome>, End> {
    let mut length = 0;
    for bytes in held {
        length += bytes.len() as u64;
        client.trail.piece(&bytes, false);
        fan.push(&bytes).await;
    }
    while !whole {
        let piece = tokio::select! {
            biased;
            piece = client.piece() => piece,
            // All have failed: the rest is read and dropped.
            () = fan.run(), if fan.is_under_way() => continue,
        };
        match piece {
            Ok((bytes, last)) => {
                length += bytes.len() as u64;
                client.trail.piece(&bytes, last);
                fan.push(&bytes).await;
                whole = last;
            }
            Err(end) => {
                fan.break_off().await;
                return Err(end);
            }
        }
    }
    fan.finish();
    client.account.object(length);
    loop {
        let cancelled = tokio::select! {
            biased;
            () = fan.run() => return Ok(fan.into_outcomes()),
            cancelled = client.cancelled() => cancelled,
        };
        // There is no C-CANCEL of a C-STORE (PS3.7 9.3.1).
        let Err(end) = cancelled else { continue };
        // The object is whole: it is stored to its end, so that nothing half-known stays at the archives.
        fan.run().await;
        return Err(end);
    }
}

/// What the client would be told of one archive alone.
fn told(Outcome { result, .. }: &Outcome) -> (u16, Option<String>) {
    match result {
        Ok(stored) => (stored.status, stored.comment.clone()),
        Err(error) => statuses::of(error, field::C_STORE_RQ),
    }
}

/// The worst status, a failure before a warning before success, with the comment that came with it. Of several that
/// are as bad it is that of the archive that the rule names first.
fn worst(outcomes: &[Outcome]) -> (u16, Option<String>) {
    let several = outcomes.len() > 1;
    let told = outcomes.iter().map(|outcome| {
        let ((code, comment), Outcome { archive, result }) = (told(outcome), outcome);
        let badness = match (result, code) {
            (Err(_), _) => 2,
            (Ok(_), status::SUCCESS) => 0,
            (Ok(_), _) => 1,
        };
        let comment = match comment {
            Some(comment) if several && !comment.starts_with(&format!("{archive}: ")) => {
                Some(format!("{archive}: {comment}"))
            }
            None if several && badness > 0 => Some(archive.clone()),
            comment => comment,
        };
        (badness, (code, comment))
    });
    let worst = told.reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    worst.map_or((status::SOP_CLASS_NOT_SUPPORTED, None), |(_, told)| told)
}

#[cfg(test)]
mod tests;
