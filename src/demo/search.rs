//! C-FIND on an association (PS3.4 C.4.1).

use super::archive::Shared;
use super::faults::Fault;
use super::find::Query;
use super::server::Operation;
use super::session::{End, Session};
use crate::dimse::status;

/// As many bytes of answers are gathered before they are written.
const BATCH: usize = 64 << 10;

/// Answers a C-FIND.
pub(super) async fn run(session: &mut Session, shared: &Shared, operation: Operation) -> Result<(), End> {
    let Operation { context, layout, request, model, identifier, .. } = operation;
    let faults = session.faults.clone();
    let failure = faults.status(Fault::FindFailure);
    let mut query = match (failure, Query::new(identifier, model, shared.settings.abilities)) {
        (Some(status), _) | (None, Err(status)) => {
            return session.send(context, request.response(status), None).await;
        }
        (None, Ok(query)) => query,
    };
    query.tell_fewer(faults.number(Fault::FindTellsFewer).map_or(0, |n| n as usize));
    let matches = query.matches(&shared.store());
    let pending = if query.ignores_keys() { status::PENDING_OPTIONAL_KEYS } else { status::PENDING };
    let slow = faults.milliseconds(Fault::FindSlow);
    let cap = faults.number(Fault::FindCap).map_or(usize::MAX, |n| n as usize);
    for (found, number) in matches.iter().take(cap).map(Some).chain([None]).zip(0_u32..) {
        let here = |kind: fn(u32) -> Fault| faults.number(kind) == Some(number);
        if here(Fault::FindFailureAfter) {
            return session.send(context, request.response(status::OUT_OF_RESOURCES), None).await;
        }
        if here(Fault::FindAbortAfter) || here(Fault::FindCloseAfter) {
            session.flush().await?;
            return Err(if here(Fault::FindAbortAfter) { End::Abort } else { End::Close });
        }
        if here(Fault::FindStallAfter) {
            return Err(session.stall().await);
        }
        let Some(found) = found else { break };
        match slow {
            Some(pause) => session.pause(pause).await?,
            None if session.association.unsent() >= BATCH => session.drain(0).await?,
            None => {}
        }
        if session.is_cancelled() {
            return session.send(context, request.response(status::CANCEL), None).await;
        }
        let answer = query.encode(found, &shared.settings.ae_title, layout);
        session.send(context, request.response(pending), Some(answer.into())).await?;
    }
    session.send(context, request.response(status::SUCCESS), None).await
}
