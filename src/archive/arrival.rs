//! One C-STORE that brings an object of a retrieval: its head is read, it is given to the retrieval that it
//! belongs to, its bytes pass through, and it is answered.

use std::sync::Arc;

use bytes::Bytes;

use super::collector::{Admission, Collector, Inbound};
use super::completeness::OperationId;
use super::move_destination::{Claim, MoveDestination, Origin};
use crate::dicom::Uid;
use crate::dicom::head::{HeadReader, Identifiers};
use crate::dicom::object::Head;
use crate::dimse::status;

/// An object on its way in.
#[derive(Debug)]
pub struct Arrival {
    head: Head,
    route: Route,
    state: State,
}

/// How the retrieval is found.
#[derive(Debug)]
enum Route {
    /// The association belongs to it: C-GET.
    Fixed(Arc<Collector>, OperationId),
    /// By where the object comes from and what it is: C-MOVE.
    Claim(MoveDestination, Origin),
}

#[derive(Debug)]
enum State {
    Reading(Box<HeadReader>),
    Passing(Box<Inbound>),
    /// No move of ours has asked for it: its beginning waits to be taken back until more comes.
    Unclaimed(Box<Unclaimed>),
    /// The rest is dropped, and answered with this status.
    Dropping(u16),
}

/// The beginning of an object that no move of ours has asked for.
#[derive(Debug)]
pub struct Unclaimed {
    /// What its data set says it belongs to.
    pub identifiers: Identifiers,
    /// All that has come of it.
    pub held: Vec<Bytes>,
}

impl Arrival {
    /// An object of a C-GET.
    pub(super) fn of_get(head: Head, collector: Arc<Collector>, operation: OperationId) -> Self {
        Self::new(head, Route::Fixed(collector, operation))
    }

    /// An object that somebody sends to our Storage SCP. Where no move lets it come, nothing of it is kept.
    pub fn of_move(head: Head, destination: MoveDestination, origin: Origin) -> Self {
        let expected = destination.expects(&origin);
        let mut arrival = Self::new(head, Route::Claim(destination, origin));
        if !expected {
            arrival.state = State::Dropping(status::UNABLE_TO_PROCESS);
        }
        arrival
    }

    fn new(head: Head, route: Route) -> Self {
        let reader = HeadReader::new(&head.transfer_syntax);
        Self { head, route, state: State::Reading(Box::new(reader)) }
    }

    /// Takes the next bytes; waits as long as the reader has no room for them.
    pub async fn push(&mut self, bytes: Bytes, last: bool) {
        match &mut self.state {
            State::Dropping(_) => {}
            State::Unclaimed(_) => self.state = State::Dropping(status::UNABLE_TO_PROCESS),
            State::Passing(inbound) => {
                if inbound.push(&bytes).await.is_err() {
                    self.state = State::Dropping(status::UNABLE_TO_PROCESS);
                }
            }
            State::Reading(reader) => {
                if reader.push(bytes, last) {
                    // Placed before the wait, so that a call that is dropped here leaves a refused object.
                    let read = std::mem::replace(&mut self.state, State::Dropping(status::UNABLE_TO_PROCESS));
                    if let State::Reading(reader) = read {
                        self.state = self.decide(*reader).await;
                    }
                }
            }
        }
    }

    /// Series Instance UID of an object that is taken, as its data set says.
    pub(super) fn series(&self) -> Option<&Uid> {
        match &self.state {
            State::Passing(inbound) => inbound.series(),
            State::Reading(_) | State::Unclaimed(_) | State::Dropping(_) => None,
        }
    }

    /// Takes the object back where the bytes that were pushed last have shown that no move of ours has asked for it.
    /// What still comes of it is dropped here.
    pub fn unclaimed(&mut self) -> Option<Unclaimed> {
        if !matches!(self.state, State::Unclaimed(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Dropping(status::UNABLE_TO_PROCESS)) {
            State::Unclaimed(unclaimed) => Some(*unclaimed),
            _ => None,
        }
    }

    /// The object is whole: the status of the response (PS3.4 B.2.3).
    pub fn finish(self) -> u16 {
        match self.state {
            State::Passing(inbound) => {
                inbound.finish();
                status::SUCCESS
            }
            State::Dropping(status) => status,
            State::Reading(_) | State::Unclaimed(_) => status::UNABLE_TO_PROCESS,
        }
    }

    async fn decide(&self, reader: HeadReader) -> State {
        let transfer_syntax = reader.transfer_syntax(&self.head.transfer_syntax);
        let head = Head { transfer_syntax, ..self.head.clone() };
        let (found, held) = reader.into_parts();
        let (collector, operation, correlated) = match &self.route {
            Route::Fixed(collector, operation) => (Arc::clone(collector), *operation, true),
            Route::Claim(destination, origin) => match destination.claim(origin, &head, &found) {
                Claim::Live { collector, correlated } => {
                    let operation = collector.ledger().moving();
                    (collector, operation, correlated)
                }
                // Of a retrieval that nobody waits for any more.
                Claim::Leftover => return State::Dropping(status::SUCCESS),
                Claim::Unknown if destination.asked_for_by_us(origin) => {
                    return State::Dropping(status::UNABLE_TO_PROCESS);
                }
                Claim::Unknown => {
                    return State::Unclaimed(Box::new(Unclaimed { identifiers: found, held }));
                }
            },
        };
        match collector.admit(head, &found, correlated, operation).await {
            Ok(Admission::Wanted(mut inbound)) => {
                for bytes in held {
                    if inbound.push(&bytes).await.is_err() {
                        return State::Dropping(status::UNABLE_TO_PROCESS);
                    }
                }
                State::Passing(inbound)
            }
            Ok(Admission::Spare) => {
                collector.spare(operation);
                State::Dropping(status::SUCCESS)
            }
            Ok(Admission::Refused(status)) => State::Dropping(status),
            Err(_) => State::Dropping(status::UNABLE_TO_PROCESS),
        }
    }
}
