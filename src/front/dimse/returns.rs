//! Objects that archives send on our own C-MOVEs.

use super::client::{Client, End};
use super::{Front, Request};
use crate::archive::{Arrival, Origin};
use crate::dicom::object::Head;
use crate::dimse::status;

/// Takes one object, and answers when it is whole.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let Request { context, command, .. } = request;
    let Some(sop_instance) = command.sop_instance.clone().filter(|_| command.has_data_set) else {
        while command.has_data_set && !client.piece().await?.1 {}
        client.respond(context.id, command.response(status::UNABLE_TO_PROCESS), None);
        return Ok(());
    };
    let head = Head {
        sop_class: command.sop_class.clone().unwrap_or(context.abstract_syntax),
        sop_instance,
        transfer_syntax: context.transfer_syntax,
    };
    let originator = command.move_originator.clone().zip(command.move_originator_id);
    let origin = Origin { address: client.peer.address, calling: client.peer.calling.clone(), originator };
    let mut arrival = Arrival::of_move(head, front.services.moves.clone(), origin);
    let mut length = 0;
    loop {
        let (bytes, last) = client.piece().await?;
        length += bytes.len() as u64;
        arrival.push(bytes, last).await;
        if last {
            break;
        }
    }
    client.account.object(length);
    client.respond(context.id, command.response(arrival.finish()), None);
    Ok(())
}
