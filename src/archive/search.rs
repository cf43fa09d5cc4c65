//! Searches an archive that speaks DIMSE: a query becomes C-FINDs, their matches become its answer.
//!
//! One C-FIND is enough where the archive takes the query as it is. Where it does not, the search does the
//! rest: lists that one identifier cannot hold become several C-FINDs ([`identifier`]); queries that leave a
//! parent open go down the levels in an archive without relational queries ([`levels`]); what the archive did
//! not match on is matched here ([`sift`]); what it did not return of the levels above is asked for
//! ([`completion`]).
//!
//! A driver task of its own runs the search; it ends with the [`Feed`], which cancels it when dropped.

mod completion;
mod find;
mod identifier;
mod levels;
mod output;
mod request;
mod shape;
mod sift;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(super) use self::find::MAX_MATCH_LENGTH;
use self::find::{Client, Stop};
use self::levels::Searcher;
use self::output::Output;
use self::request::Request;
use super::remote::Inner;
use super::{Result, Search};
use crate::caller::Caller;
use crate::dicom::query::Query;

/// What the answer to `fuzzymatching=true` warns of (PS3.18 8.3.4.2).
const NO_FUZZY_MATCHING: &str =
    "The fuzzymatching parameter is not supported. Only literal matching has been performed.";

/// Runs a search. Resolves with the first match, or with the end of a search that has none.
///
/// # Errors
/// What ended the search before its first match.
pub(super) async fn run(inner: Arc<Inner>, caller: Caller, query: Query) -> Result<Search> {
    let cancelled = CancellationToken::new();
    let (output, opening) = Output::new(&inner.config.name, cancelled.clone());
    let driver = drive(Arc::clone(&inner), caller, query, cancelled, output);
    inner.tasks.spawn(driver.in_current_span());
    opening.wait().await
}

async fn drive(
    inner: Arc<Inner>,
    caller: Caller,
    query: Query,
    cancelled: CancellationToken,
    mut output: Output,
) {
    let result = search(inner, caller, query, cancelled, &mut output).await;
    output.end(result).await;
}

async fn search(
    inner: Arc<Inner>,
    caller: Caller,
    query: Query,
    cancelled: CancellationToken,
    output: &mut Output,
) -> std::result::Result<(), Stop> {
    if query.fuzzy {
        output.warn(NO_FUZZY_MATCHING);
    }
    let client = Client::open(Arc::clone(&inner), caller, cancelled).await?;
    let request = Request::new(query, client.root()).map_err(|kind| inner.error(kind))?;
    Searcher::new(client, request, output).run().await
}

#[cfg(test)]
mod tests;
