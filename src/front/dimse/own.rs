//! Sessions on an association of their own: print, and classes that are not known here.

use super::client::{Client, End};
use super::{Front, Request, refuse};

/// Serves one request.
pub(super) async fn run(_: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    refuse(client, request).await
}
