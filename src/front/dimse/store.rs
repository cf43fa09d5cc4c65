//! C-STORE: streamed through to the archive, which answers.

use super::client::{Client, End};
use super::{Front, Request, returns};

/// Serves one request.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    returns::run(front, client, request).await
}
