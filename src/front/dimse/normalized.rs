//! N-CREATE, N-SET, N-GET, N-ACTION and N-DELETE: passed on with the archive's answer.

use super::client::{Client, End};
use super::{Front, Request, refuse};

/// Serves one request.
pub(super) async fn run(_: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    refuse(client, request).await
}
