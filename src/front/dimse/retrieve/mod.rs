//! C-GET and C-MOVE: the archive's objects, to the client or to a destination.

#[expect(dead_code, reason = "retrievals are served next")]
mod identifier;
#[expect(dead_code, reason = "retrievals are served next")]
mod tally;

use super::client::{Client, End};
use super::{Front, Request, refuse};

/// Serves one C-GET.
pub(super) async fn get(_: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    refuse(client, request).await
}

/// Serves one C-MOVE.
pub(super) async fn move_(_: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    refuse(client, request).await
}
