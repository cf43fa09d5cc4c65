//! DIMSE towards the bridge: C-ECHO, and the objects that archives send on a C-MOVE.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::archive::{Arrival, MoveDestination, Origin};
use crate::dicom::object::Head;
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::{AssociateRj, AssociateRq, context_result};
use crate::dimse::scp::{Peer, Service};
use crate::dimse::status;

/// How long a requestor may say nothing on an open association.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of answers that the peer leaves unread. Nobody has more than one request open, as asynchronous
/// operations are not negotiated; so many are some hundred.
const MAX_UNREAD: usize = 64 << 10;
/// How long the end of an association may take.
const RELEASE: Duration = Duration::from_secs(2);

/// The bridge as a Storage SCP.
#[derive(Debug)]
pub struct StorageScp {
    /// The titles by which it may be called.
    titles: BTreeSet<AeTitle>,
    destination: MoveDestination,
}

/// An object that is coming.
struct Storing {
    context: u8,
    request: Command,
    arrival: Arrival,
}

impl StorageScp {
    /// A Storage SCP under these titles, which gives what it receives to `destination`.
    pub fn new(titles: impl IntoIterator<Item = AeTitle>, destination: MoveDestination) -> Self {
        Self { titles: titles.into_iter().collect(), destination }
    }

    async fn run(&self, peer: &Peer, association: &mut Association, shutdown: &CancellationToken) -> End {
        let mut storing: Option<Storing> = None;
        loop {
            if association.unsent() > MAX_UNREAD {
                return End::Abort("it does not read the answers".into());
            }
            let event = tokio::select! {
                event = timeout(SILENCE, association.event()) => event,
                () = shutdown.cancelled(), if storing.is_none() => return End::Abort("shutting down".into()),
            };
            let event = match event {
                Ok(Ok(event)) => event,
                Ok(Err(AssociationError::Protocol(what))) => return End::Abort(what),
                Ok(Err(error)) => return End::Lost(error.to_string()),
                Err(_) => return End::Abort("silence".into()),
            };
            match event {
                Event::ReleaseRequested => return End::Release,
                Event::Data { bytes, last } => {
                    let Some(open) = &mut storing else { continue };
                    open.arrival.push(bytes, last).await;
                    if last && let Some(Storing { context, request, arrival }) = storing.take() {
                        association.send(context, &request.response(arrival.finish()), None);
                    }
                }
                Event::Command { context, command } => match command.field {
                    field::C_ECHO_RQ => association.send(context, &command.response(status::SUCCESS), None),
                    field::C_STORE_RQ => match self.begin(peer, association, context, command) {
                        Ok(begun) => storing = Some(begun),
                        Err(refused) => association.send(context, &refused, None),
                    },
                    // There is nothing to cancel here.
                    field::C_CANCEL_RQ => {}
                    _ if command.is_response() => return End::Abort("a response to no request".into()),
                    _ => association.send(context, &command.response(status::UNRECOGNIZED_OPERATION), None),
                },
            }
        }
    }

    fn begin(
        &self,
        peer: &Peer,
        association: &Association,
        context: u8,
        request: Command,
    ) -> Result<Storing, Box<Command>> {
        let accepted = association.agreement().context(context);
        let (Some(accepted), Some(sop_instance), true) =
            (accepted, request.sop_instance.clone(), request.has_data_set)
        else {
            return Err(Box::new(request.response(status::UNABLE_TO_PROCESS)));
        };
        let head = Head {
            sop_class: request.sop_class.clone().unwrap_or_else(|| accepted.abstract_syntax.clone()),
            sop_instance,
            transfer_syntax: accepted.transfer_syntax.clone(),
        };
        let originator = request.move_originator.clone().zip(request.move_originator_id);
        let origin = Origin { address: peer.address, calling: peer.calling.clone(), originator };
        let arrival = Arrival::of_move(head, self.destination.clone(), origin);
        Ok(Storing { context, request, arrival })
    }
}

/// How an association ends.
enum End {
    Release,
    Abort(String),
    Lost(String),
}

impl Service for StorageScp {
    fn admit(&self, peer: &Peer, _: &AssociateRq) -> Result<(), AssociateRj> {
        if self.titles.contains(&peer.called) { Ok(()) } else { Err(AssociateRj::CALLED_TITLE) }
    }

    fn decide(&self, peer: &Peer, abstract_syntax: &Uid, proposed: &[Uid]) -> Decision {
        if abstract_syntax.as_str() == sop_class::VERIFICATION {
            return proposed.first().cloned().ok_or(context_result::TRANSFER_SYNTAXES);
        }
        if !sop_class::may_be_storage(abstract_syntax) {
            return Err(context_result::ABSTRACT_SYNTAX);
        }
        let chosen = self.destination.choose_syntax(peer.address, &peer.calling, proposed);
        chosen.ok_or(context_result::TRANSFER_SYNTAXES)
    }

    fn serve(
        self: Arc<Self>,
        peer: Peer,
        mut association: Association,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let end = self.run(&peer, &mut association, &shutdown).await;
            let Peer { address, calling, .. } = &peer;
            match end {
                End::Release => association.confirm_release(Instant::now() + RELEASE).await,
                End::Abort(reason) => {
                    tracing::info!(%address, %calling, reason, "association aborted");
                    association.abort().await;
                }
                End::Lost(reason) => tracing::info!(%address, %calling, reason, "association lost"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::association::{Request, Requested};
    use crate::dimse::negotiation::Proposal;

    #[tokio::test]
    async fn hazard_answers_that_nobody_reads_do_not_pile_up() {
        let title = |text: &str| text.parse::<AeTitle>().unwrap();
        let destination = MoveDestination::new(title("GANTRY"), "127.0.0.1:104", std::iter::empty());
        let service = Arc::new(StorageScp::new([title("GANTRY")], destination));
        let (ours, theirs) = tokio::io::duplex(1024);
        let deadline = Instant::now() + Duration::from_secs(10);
        tokio::spawn(async move {
            let requested = Requested::read(ours, deadline).await.unwrap();
            let accepted = requested.accept(|_, s| Ok(s[0].clone()), |_| false, deadline).await.unwrap();
            let peer =
                Peer { address: [127, 0, 0, 1].into(), calling: title("FLOOD"), called: title("GANTRY") };
            service.serve(peer, accepted, CancellationToken::new()).await;
        });
        let verification = Proposal {
            abstract_syntax: Uid::from_static(sop_class::VERIFICATION),
            transfer_syntaxes: vec![Uid::from_static(crate::dicom::transfer_syntax::IMPLICIT_VR_LE)],
            as_scp: false,
        };
        let request = Request {
            called: title("GANTRY"),
            calling: title("FLOOD"),
            proposals: vec![verification],
            extended: Vec::new(),
            roles: Vec::new(),
        };
        let mut flood = Association::request(theirs, &request, deadline).await.unwrap();
        for id in 1..10_000 {
            flood.send(1, &Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, id), None);
        }
        assert!(flood.flush().await.is_err(), "all requests were taken, and their answers kept");
    }
}
