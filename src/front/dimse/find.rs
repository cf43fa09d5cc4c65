//! C-FIND: passed on to the archive, and its matches back as they come.

use super::client::{Client, End};
use super::{Front, Request, refuse};

/// Serves one request.
pub(super) async fn run(_: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    refuse(client, request).await
}
