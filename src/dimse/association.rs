//! One association: established by request or acceptance, then messages both ways, then released or aborted
//! (PS3.8 chapter 7, PS3.7 chapter 6).
//!
//! All state is in the association, none in a future: a call that is dropped half-way, in a `select!`, loses
//! nothing, and both directions are always polled, so that a full send buffer never stops reading.

mod link;
mod receiving;

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::command::{Command, MAX_REQUEST_LENGTH, MAX_RESPONSE_LENGTH};
use super::negotiation::{self, Agreement, Answer, Decision, OUR_MAX_PDU, Proposal};
use super::pdu::{self, AssociateAc, AssociateRj, AssociateRq, Role, UserInformation, kind};
use super::wire::{Frame, Outbound};
use crate::dicom::{AeTitle, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Uid};
use link::Link;
pub use link::{AssociationError, Io};
pub use receiving::Event;
use receiving::Receiving;

/// An established association. Dropped without [`Association::release`] or [`Association::abort`], the
/// connection is cut, which a peer takes for an abort.
pub struct Association {
    link: Link,
    agreement: Agreement,
    receiving: Receiving,
    /// Largest command set that the peer may send, in bytes.
    max_command: usize,
}

/// The association did not come about.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    /// The peer rejected it.
    #[error("rejected: {}", .0.reason_text())]
    Rejected(AssociateRj),
    /// The peer did not answer in time.
    #[error("no answer to the association request in time")]
    Timeout,
    /// The connection broke, or something else came than an answer.
    #[error("{0}")]
    Association(#[from] AssociationError),
}

/// What a requestor asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Called AE title.
    pub called: AeTitle,
    /// Calling AE title.
    pub calling: AeTitle,
    /// Contexts, at most 128.
    pub proposals: Vec<Proposal>,
    /// SOP Class Extended Negotiation (PS3.7 D.3.3.5).
    pub extended: Vec<(Uid, Bytes)>,
    /// Role selection besides that of `proposals` (PS3.7 D.3.3.4); for each class, the first item counts.
    pub roles: Vec<Role>,
}

/// A request for an association that waits for our answer.
pub struct Requested {
    link: Link,
    request: AssociateRq,
}

impl Requested {
    /// Waits for the A-ASSOCIATE-RQ on a fresh connection, until the ARTIM timer expires (PS3.8 9.1.5).
    ///
    /// # Errors
    /// The time is over, the connection broke, or something else came.
    pub async fn read(io: impl Io + 'static, deadline: Instant) -> Result<Self, EstablishError> {
        let mut link = Link::new(Box::new(io));
        let frame = timeout_at(deadline, link.frame()).await.map_err(|_| EstablishError::Timeout)??;
        let malformed = |what: String| EstablishError::Association(AssociationError::Protocol(what));
        match frame {
            Frame::Control(kind::ASSOCIATE_RQ, body) => match pdu::decode_associate_rq(&body) {
                Ok(request) => Ok(Self { link, request }),
                Err(error) => {
                    link.abort(2, 6).await;
                    Err(malformed(error.to_string()))
                }
            },
            Frame::Control(kind::ABORT, body) => Err(AssociationError::aborted(&body).into()),
            _ => {
                link.abort(2, 2).await;
                Err(malformed("something else than an association request".into()))
            }
        }
    }

    /// What the peer asks for.
    pub fn request(&self) -> &AssociateRq {
        &self.request
    }

    /// Accepts. `decide` chooses for each context, `grants_scp` for each class whether the requestor may be
    /// its SCP.
    ///
    /// # Errors
    /// The answer could not be sent in time.
    pub async fn accept(
        self,
        decide: impl FnMut(&Uid, &[Uid]) -> Decision,
        grants_scp: impl Fn(&Uid) -> bool,
        deadline: Instant,
    ) -> Result<Association, EstablishError> {
        let answer = Answer::new(&self.request, decide, grants_scp);
        self.answer(answer, deadline).await
    }

    /// Accepts with this answer.
    ///
    /// # Errors
    /// The answer could not be sent in time.
    pub async fn answer(mut self, answer: Answer, deadline: Instant) -> Result<Association, EstablishError> {
        let (contexts, agreement) = negotiation::answer(&self.request, &answer);
        let Answer { roles, extended, .. } = answer;
        let user = UserInformation { roles, extended, ..our_user_information() };
        let ac = AssociateAc { contexts, user };
        self.link.out = Outbound::new(agreement.peer_max_pdu);
        self.link.out.push(pdu::encode_associate_ac(&ac, &self.request));
        timeout_at(deadline, self.link.flush()).await.map_err(|_| EstablishError::Timeout)??;
        let (receiving, max_command) = (Receiving::default(), MAX_REQUEST_LENGTH);
        Ok(Association { link: self.link, agreement, receiving, max_command })
    }

    /// Rejects, and gives the peer until `deadline` to close the connection (PS3.8 9.2.3, AE-8).
    pub async fn reject(mut self, rj: AssociateRj, deadline: Instant) {
        self.link.out.push(pdu::encode_associate_rj(rj));
        let _ = timeout_at(deadline, async {
            self.link.flush().await?;
            while self.link.frame().await.is_ok() {}
            Ok::<_, AssociationError>(())
        })
        .await;
    }
}

impl Association {
    /// Asks the peer on a fresh connection for an association.
    ///
    /// # Errors
    /// The peer rejected it, broke it off, or did not answer until `deadline`.
    pub async fn request(
        io: impl Io + 'static,
        request: &Request,
        deadline: Instant,
    ) -> Result<Self, EstablishError> {
        let mut link = Link::new(Box::new(io));
        let mut roles = negotiation::roles(&request.proposals);
        for role in &request.roles {
            if !roles.iter().any(|known| known.sop_class == role.sop_class) {
                roles.push(role.clone());
            }
        }
        let rq = AssociateRq {
            version: pdu::PROTOCOL_VERSION,
            called: request.called.clone(),
            calling: request.calling.clone(),
            application_context: pdu::APPLICATION_CONTEXT.into(),
            contexts: negotiation::number(&request.proposals),
            user: UserInformation { roles, extended: request.extended.clone(), ..our_user_information() },
        };
        link.out.push(pdu::encode_associate_rq(&rq));
        let answer = async {
            link.flush().await?;
            link.frame().await
        };
        let frame = timeout_at(deadline, answer).await.map_err(|_| EstablishError::Timeout)??;
        let malformed = |what: String| EstablishError::Association(AssociationError::Protocol(what));
        match frame {
            Frame::Control(kind::ASSOCIATE_AC, body) => {
                let ac = match pdu::decode_associate_ac(&body) {
                    Ok(ac) => ac,
                    Err(error) => {
                        link.abort(2, 6).await;
                        return Err(malformed(error.to_string()));
                    }
                };
                let agreement = negotiation::agreed_by_requestor(&rq, ac);
                link.out = Outbound::new(agreement.peer_max_pdu);
                let (receiving, max_command) = (Receiving::default(), MAX_RESPONSE_LENGTH);
                Ok(Self { link, agreement, receiving, max_command })
            }
            Frame::Control(kind::ASSOCIATE_RJ, body) => {
                Err(EstablishError::Rejected(pdu::decode_associate_rj(&body)))
            }
            Frame::Control(kind::ABORT, body) => Err(AssociationError::aborted(&body).into()),
            _ => {
                link.abort(2, 2).await;
                Err(malformed("something else than an answer to the association request".into()))
            }
        }
    }

    /// What was agreed on.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Queues a message: a command and, if it announces one, its whole data set; one that is not given here
    /// follows by [`Association::send_data`]. Nothing is written before [`Association::event`] or
    /// [`Association::flush`] runs; then all that is queued leaves in one write.
    pub fn send(&mut self, context: u8, command: &Command, data_set: Option<Bytes>) {
        debug_assert!(command.has_data_set || data_set.is_none());
        self.link.out.push_pdvs(context, true, true, command.encode());
        if let Some(bytes) = data_set {
            self.send_data(context, bytes, true);
        }
    }

    /// Queues a piece of the data set that the last command sent announced.
    pub fn send_data(&mut self, context: u8, bytes: Bytes, last: bool) {
        self.link.out.push_pdvs(context, false, last, bytes);
    }

    /// Queues a piece of the data set that the last command sent announced. Pieces are gathered into PDVs as large
    /// as the peer takes them, and end with [`Association::finish_pieces`].
    pub fn send_piece(&mut self, context: u8, piece: Bytes) {
        self.link.out.push_piece(context, piece);
    }

    /// Queues what waits for more pieces to fill a PDV.
    pub fn let_pieces_go(&mut self, context: u8) {
        self.link.out.let_go(context);
    }

    /// Ends the data set that was sent in pieces.
    pub fn finish_pieces(&mut self, context: u8) {
        self.link.out.finish_pieces(context);
    }

    /// How many bytes are queued and not written.
    pub fn unsent(&self) -> usize {
        self.link.out.len()
    }

    /// Waits for what the peer does next, and writes what is queued meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// The association is over. What broke the protocol was answered with A-ABORT by nobody yet: call
    /// [`Association::abort`].
    pub async fn event(&mut self) -> Result<Event, AssociationError> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// As [`Association::event`], to be polled by hand.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, AssociationError>> {
        loop {
            let frame = ready!(self.link.poll_frame(cx))?;
            if let Some(event) = self.receiving.step(frame, &self.agreement, self.max_command)? {
                return Poll::Ready(Ok(event));
            }
        }
    }

    /// Writes what is queued. Cancel-safe.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn flush(&mut self) -> Result<(), AssociationError> {
        self.link.flush().await
    }

    /// Whether the peer has sent something that nobody has taken yet: such an association is not idle.
    pub fn has_unread(&self) -> bool {
        self.link.reader.has_leftover() || !self.receiving.is_between_messages()
    }

    /// Releases the association and waits for the confirmation, at most until `deadline`. Whatever else still
    /// comes is dropped. After the deadline the association is aborted.
    pub async fn release(mut self, deadline: Instant) {
        self.link.out.push(pdu::release_rq());
        let confirmed = timeout_at(deadline, async {
            loop {
                match self.link.frame().await {
                    Ok(Frame::Control(kind::RELEASE_RP, _)) | Err(_) => return,
                    // Release collision (PS3.8 9.2.3, state 9 to 12): both asked; answer and go on waiting.
                    Ok(Frame::Control(kind::RELEASE_RQ, _)) => self.link.out.push(pdu::release_rp()),
                    Ok(Frame::Control(kind::ABORT, _)) => return,
                    Ok(_) => {}
                }
            }
        })
        .await;
        match confirmed {
            Ok(()) => self.link.close().await,
            Err(_) => self.link.abort(0, 0).await,
        }
    }

    /// Confirms a release that the peer asked for, then the connection is closed.
    pub async fn confirm_release(mut self, deadline: Instant) {
        self.link.out.push(pdu::release_rp());
        let _ = timeout_at(deadline, async {
            self.link.flush().await?;
            // The requestor closes the connection (PS3.8 9.2.3, state 13).
            while self.link.frame().await.is_ok() {}
            Ok::<_, AssociationError>(())
        })
        .await;
    }

    /// Aborts the association: A-ABORT, if it can still leave, and the end of the connection.
    pub async fn abort(mut self) {
        self.link.abort(0, 0).await;
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("peer", &self.agreement.peer_version).finish_non_exhaustive()
    }
}

impl fmt::Debug for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requested").field("calling", &self.request.calling).finish_non_exhaustive()
    }
}

fn our_user_information() -> UserInformation {
    UserInformation {
        max_pdu: OUR_MAX_PDU,
        implementation_class: IMPLEMENTATION_CLASS_UID.into(),
        implementation_version: IMPLEMENTATION_VERSION_NAME.into(),
        ..UserInformation::default()
    }
}

#[cfg(test)]
#[path = "association_tests.rs"]
mod tests;
