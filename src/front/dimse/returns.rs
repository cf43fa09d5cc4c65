//! Objects that archives send on our own C-MOVEs.

use super::client::{Client, End};
use super::store::Beginning;
use super::{Front, admission};
use crate::archive::{Arrival, Origin, Unclaimed};
use crate::dicom::object::Head;

/// What has become of an object that may be one of a C-MOVE of ours.
pub(super) enum Taken {
    /// All of it has come, and is answered with this status.
    Whole(u16),
    /// No move has asked for it: it is the sender's own, who may store here.
    GivenBack(Beginning),
}

/// Whether an object may be one of a C-MOVE of ours, or else may not be stored by who sends it.
pub(super) fn may_be_one(front: &Front, client: &Client, origin: &Origin) -> bool {
    let moves = &front.services.moves;
    moves.expects(origin) || moves.asked_for_by_us(origin) || !may_store(front, client)
}

/// Whether who sends an object may store here: an archive that only brings what we asked for may not.
fn may_store(front: &Front, client: &Client) -> bool {
    admission::kind(&front.config, &client.peer) == Ok(admission::Kind::Client)
}

/// Takes an object in from where a move of ours lets objects come from.
pub(super) async fn take(
    front: &Front,
    client: &mut Client,
    head: Head,
    origin: Origin,
) -> Result<Taken, End> {
    let may_store = may_store(front, client);
    let mut arrival = Arrival::of_move(head, front.services.moves.clone(), origin);
    let mut length = 0;
    loop {
        let (bytes, whole) = client.piece().await?;
        length += bytes.len() as u64;
        arrival.push(bytes, whole).await;
        if may_store && let Some(Unclaimed { identifiers, held }) = arrival.unclaimed() {
            return Ok(Taken::GivenBack(Beginning { modality: identifiers.modality, held, whole }));
        }
        if whole {
            client.account.object(length);
            return Ok(Taken::Whole(arrival.finish()));
        }
    }
}
