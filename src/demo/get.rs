//! C-GET on an association: objects and responses on the same one (PS3.4 C.4.3).

use std::sync::Arc;

use super::archive::Shared;
use super::delivery::Delivery;
use super::faults::Fault;
use super::plan::{plan, select};
use super::server::Operation;
use super::session::{End, Session};
use crate::dimse::status;

/// Performs a C-GET.
pub(super) async fn run(session: &mut Session, shared: &Shared, operation: Operation) -> Result<(), End> {
    let Operation { context, layout, request, identifier, without_bulk_data, .. } = operation;
    let faults = session.faults.clone();
    let selected = match faults.status(Fault::RetrieveFailure) {
        Some(status) => Err(status),
        None => select(&shared.store(), &identifier),
    };
    let selected = match selected {
        Ok(selected) => selected,
        Err(status) => return session.send(context, request.response(status), None).await,
    };
    let mut planned = plan(selected, &faults, &shared.store());
    planned.iter_mut().for_each(|object| object.without_bulk_data = without_bulk_data);
    let observer = Arc::clone(&shared.observer);
    let mut delivery = Delivery::new(planned, faults.clone(), observer, shared.settings.latency, None);
    while !session.is_cancelled() && delivery.next(session).await? {
        // The response to the last object is the final one.
        if delivery.counters.remaining > 0 && !faults.has(Fault::NoPending) {
            let mut response = request.response(status::PENDING);
            delivery.counters.put(&mut response, &faults);
            session.send(context, response, None).await?;
        }
    }
    let cancelled = session.is_cancelled();
    if !cancelled {
        delivery.give_up();
    }
    let counters = &delivery.counters;
    let mut response = request.response(counters.status(cancelled));
    counters.put(&mut response, &faults);
    session.send(context, response, counters.identifier(layout)).await
}
