//! One operation on a leased association: the request goes out, responses and C-GET's objects come in, and at
//! the end the lease goes back or the association is aborted.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until};

use super::association::{AssociationError, Event};
use super::command::{Command, field};
use super::negotiation::{AcceptedContext, Agreement};
use super::pool::{Due, Gathering, Lease, MAX_DUE, poll_due};
use super::status::{self, Class};
use crate::dicom::transfer_syntax::{Layout, layout};
use watch::Watch;

mod sending;
mod watch;

/// Largest identifier of a response, in bytes. The longest real ones are the lists of failed SOP Instance
/// UIDs: 60,000 UIDs fit.
pub const MAX_IDENTIFIER_LENGTH: usize = 4 << 20;

/// How long an operation that nobody waits for any more may take to end before its association is aborted.
pub const CANCEL_TIME: Duration = Duration::from_secs(1);
/// Responses of such an operation that are read and dropped before its association is aborted.
const CANCEL_RESPONSES: usize = 500;

/// How long an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The peer says nothing for this long.
    pub silence: Duration,
    /// The whole operation ends.
    pub deadline: Instant,
}

/// An operation that was requested and has had no final response yet. Dropped, the association is cut.
#[derive(Debug)]
pub struct Operation {
    lease: Lease,
    /// Boxed, as operations are moved and held in many futures.
    request: Box<Command>,
    context: u8,
    limits: Limits,
    /// When the peer was last heard of.
    heard: Instant,
    responded: bool,
    incoming: Incoming,
    /// Answers to N-EVENT-REPORTs that came meanwhile.
    due: Vec<Due>,
    /// The data set of the request is on its way: nothing else may be sent.
    sending: bool,
    watch: Watch,
}

/// What is under way within the message that comes in.
#[derive(Debug)]
enum Incoming {
    Nothing,
    Response(Command, BytesMut),
    Store,
    Report(Box<Gathering>),
}

/// What the peer does in the course of an operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A pending response, with its identifier where it has one.
    Pending(Command, Option<Bytes>),
    /// The final response, with its identifier where it has one (the failed UIDs).
    Final(Command, Option<Bytes>),
    /// C-GET: the peer stores an object; its data set follows as [`Reply::StoreData`].
    Store {
        /// The presentation context, by whose transfer syntax the object is encoded.
        context: u8,
        /// The C-STORE request, to be answered with [`Operation::respond`].
        command: Command,
    },
    /// A piece of the object's data set.
    StoreData {
        /// The bytes; may be empty when `last` is set.
        bytes: Bytes,
        /// The data set is whole now.
        last: bool,
    },
}

/// The operation cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The peer accepted no presentation context for it.
    #[error("the SOP class was not accepted")]
    NotAccepted,
    /// The peer was silent for too long.
    #[error("no answer in time")]
    Silence,
    /// The whole operation took too long.
    #[error("the operation took too long")]
    Deadline,
    /// The association ended.
    #[error("{0}")]
    Association(#[from] AssociationError),
    /// The peer ended the association politely in the middle of the operation.
    #[error("the association was released in the middle of the operation")]
    Released,
    /// A response that the protocol does not allow here; the text says how.
    #[error("{0}")]
    Protocol(String),
}

impl OperationError {
    /// Whether the association was lost, as one that died while idle is.
    fn is_loss(&self) -> bool {
        use AssociationError::{Aborted, Lost};
        matches!(self, Self::Released | Self::Association(Aborted { .. } | Lost(_)))
    }
}

impl Operation {
    /// Requests an operation. `command` needs its Command Field and SOP class, and is given a message ID
    /// unless it has one; `identifier` encodes the identifier for the context that was agreed on.
    ///
    /// # Errors
    /// The SOP class was not accepted: the lease comes back unused.
    pub fn start(
        mut lease: Lease,
        command: Command,
        identifier: impl FnOnce(&AcceptedContext) -> Option<Bytes>,
        limits: Limits,
    ) -> Result<Self, Box<(Lease, OperationError)>> {
        let agreement = lease.association().agreement();
        let class = command.sop_class.as_ref();
        let context = class.and_then(|class| agreement.for_class(class.as_str()).cloned());
        let Some(context) = context else {
            lease.figures().operation(field::name(command.field), "refused", None);
            return Err(Box::new((lease, OperationError::NotAccepted)));
        };
        let identifier = identifier(&context);
        Ok(Self::start_in(lease, &context, command, identifier, limits))
    }

    /// As [`Operation::start`], in a context of the lease's association, whose abstract syntax need not be the
    /// command's SOP class: a meta SOP class has other ones (PS3.7 D.3.3.1). `data` is encoded as the context says.
    pub fn start_in(
        mut lease: Lease,
        context: &AcceptedContext,
        mut command: Command,
        data: Option<Bytes>,
        limits: Limits,
    ) -> Self {
        if command.message_id == 0 {
            command.message_id = lease.next_message_id();
        }
        command.has_data_set = data.is_some();
        lease.association().send(context.id, &command, data);
        Self::begun(lease, context.id, command, limits, false)
    }

    fn begun(lease: Lease, context: u8, request: Command, limits: Limits, sending: bool) -> Self {
        let watch = Watch::begin(lease.figures().clone(), request.field);
        let (heard, incoming, request) = (Instant::now(), Incoming::Nothing, Box::new(request));
        let (responded, due) = (false, Vec::new());
        Self { lease, request, context, limits, heard, responded, incoming, due, sending, watch }
    }

    /// The message ID of the request.
    pub fn message_id(&self) -> u16 {
        self.request.message_id
    }

    /// How the identifiers of the responses are encoded.
    pub fn layout(&mut self) -> Layout {
        let context = self.lease.association().agreement().context(self.context);
        context.map_or(Layout::ImplicitLe, |c| layout(&c.transfer_syntax))
    }

    /// What was agreed on for the association.
    pub fn agreement(&mut self) -> &Agreement {
        self.lease.association().agreement()
    }

    /// Whether the request may be made once more on a new association: this one had served somebody before,
    /// was lost, and nothing has come back at all. Who is silent may be at work on the first request.
    pub fn may_retry(&self, error: &OperationError) -> bool {
        self.lease.is_reused() && !self.responded && error.is_loss()
    }

    /// Whether anything has come back.
    pub fn has_responded(&self) -> bool {
        self.responded
    }

    /// What the peer does next. Cancel-safe.
    ///
    /// # Errors
    /// See [`OperationError`]; the operation is to be aborted then.
    pub async fn next(&mut self) -> Result<Reply, OperationError> {
        let reply = self.reply_until(|limits, heard| limits.deadline.min(heard + limits.silence)).await;
        self.watch.saw(reply.as_ref());
        reply
    }

    async fn reply_until(
        &mut self,
        until: impl Fn(&Limits, Instant) -> Instant,
    ) -> Result<Reply, OperationError> {
        loop {
            let until = until(&self.limits, self.heard);
            let event = tokio::select! {
                biased;
                event = poll_fn(|cx| self.poll_event(cx)) => event?,
                () = sleep_until(until) => return Err(self.time_is_over()),
            };
            self.hear()?;
            if let Some(reply) = self.step(event)? {
                self.responded = true;
                return Ok(reply);
            }
        }
    }

    /// The time that passed while we did not listen, because a reader was slow, is not the peer's silence.
    pub fn forgive_silence(&mut self) {
        self.heard = Instant::now();
    }

    /// From now on the operation must end until `deadline`.
    pub fn hurry(&mut self, deadline: Instant) {
        self.limits.deadline = self.limits.deadline.min(deadline);
    }

    /// Answers a C-STORE that came within a C-GET.
    pub fn respond(&mut self, context: u8, request: &Command, status: u16) {
        self.lease.association().send(context, &request.response(status), None);
    }

    /// Queues a C-CANCEL (PS3.7 9.3.2.3); it leaves with the next call of [`Operation::next`] or
    /// [`Operation::flush`].
    pub fn cancel(&mut self) {
        self.watch.cancel();
        let cancel = Command::cancel(self.request.message_id);
        self.lease.association().send(self.context, &cancel, None);
    }

    /// Ends it before its end: C-CANCEL, and whatever still comes is dropped, for a bounded time. An association
    /// that has no clean end by then is aborted, as its unread responses would be taken for those of the next
    /// operation.
    pub async fn give_up(mut self) {
        self.cancel();
        self.run_out().await;
    }

    /// As [`Operation::give_up`], where [`Operation::cancel`] was called already.
    pub async fn run_out(mut self) {
        self.hurry(Instant::now() + CANCEL_TIME);
        for _ in 0..CANCEL_RESPONSES {
            match self.next().await {
                Ok(Reply::Final(..)) => return self.finish(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.abort().await;
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn flush(&mut self) -> Result<(), OperationError> {
        Ok(self.lease.association().flush().await?)
    }

    /// Gives the association back, once the reports that came meanwhile are answered. Only after [`Reply::Final`].
    pub fn finish(self) {
        if matches!(self.incoming, Incoming::Nothing) {
            self.lease.give_back_after(self.due);
        }
    }

    /// Gives up: A-ABORT.
    pub async fn abort(self) {
        self.lease.abort().await;
    }

    /// The peer was heard of. One that always has something to say must not outlast the deadline.
    fn hear(&mut self) -> Result<(), OperationError> {
        self.heard = Instant::now();
        if self.heard >= self.limits.deadline { Err(OperationError::Deadline) } else { Ok(()) }
    }

    /// What the peer does next; reports are answered meanwhile.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, AssociationError>> {
        let association = self.lease.association();
        if !self.sending {
            poll_due(&mut self.due, association, cx);
        }
        association.poll_event(cx)
    }

    fn time_is_over(&self) -> OperationError {
        let over = Instant::now() >= self.limits.deadline;
        if over { OperationError::Deadline } else { OperationError::Silence }
    }

    /// A report is here as a whole.
    fn take_report(&mut self, report: Gathering) -> Result<(), OperationError> {
        if self.due.len() >= MAX_DUE {
            return Err(OperationError::Protocol("more reports than an archive has at a time".to_owned()));
        }
        let reports = self.lease.reports();
        self.due.push(report.hand_over(self.lease.association(), reports.as_deref()));
        Ok(())
    }

    fn step(&mut self, event: Event) -> Result<Option<Reply>, OperationError> {
        let protocol = |what: &str| Err(OperationError::Protocol(what.to_owned()));
        match (std::mem::replace(&mut self.incoming, Incoming::Nothing), event) {
            (_, Event::ReleaseRequested) => Err(OperationError::Released),
            (Incoming::Nothing, Event::Command { context, command })
                if command.field == field::C_STORE_RQ =>
            {
                let for_us =
                    self.lease.association().agreement().context(context).is_some_and(|c| c.requestor_is_scp);
                if self.request.field != field::C_GET_RQ || !for_us || !command.has_data_set {
                    return protocol("a C-STORE that this operation does not have");
                }
                self.incoming = Incoming::Store;
                Ok(Some(Reply::Store { context, command }))
            }
            (Incoming::Store, Event::Data { bytes, last }) => {
                if !last {
                    self.incoming = Incoming::Store;
                }
                Ok(Some(Reply::StoreData { bytes, last }))
            }
            (Incoming::Nothing, Event::Command { context, command }) => {
                if let Some(report) = Gathering::begin(context, &command) {
                    match command.has_data_set {
                        true => self.incoming = Incoming::Report(Box::new(report)),
                        false => self.take_report(report)?,
                    }
                    return Ok(None);
                }
                if command.field != self.request.field | field::RESPONSE {
                    return protocol("a message that is no response to the request");
                }
                if command.message_id != self.request.message_id || context != self.context {
                    return protocol("a response to another message");
                }
                if command.has_data_set {
                    self.incoming = Incoming::Response(command, BytesMut::new());
                    return Ok(None);
                }
                Ok(Some(reply(command, None)))
            }
            (Incoming::Report(mut report), Event::Data { bytes, last }) => {
                report.push(&bytes);
                match last {
                    true => self.take_report(*report)?,
                    false => self.incoming = Incoming::Report(report),
                }
                Ok(None)
            }
            (Incoming::Response(command, mut identifier), Event::Data { bytes, last }) => {
                if identifier.len() + bytes.len() > MAX_IDENTIFIER_LENGTH {
                    return protocol("an identifier of impossible length");
                }
                // Mostly it comes in one piece, which is read at once: it is not kept for long.
                if last && identifier.is_empty() {
                    return Ok(Some(reply(command, Some(bytes))));
                }
                identifier.extend_from_slice(&bytes);
                if last {
                    return Ok(Some(reply(command, Some(identifier.freeze()))));
                }
                self.incoming = Incoming::Response(command, identifier);
                Ok(None)
            }
            // The association keeps commands and data sets apart, so that nothing else can come.
            _ => protocol("messages mixed with each other"),
        }
    }
}

fn reply(command: Command, identifier: Option<Bytes>) -> Reply {
    match command.status.map(status::class) {
        Some(Class::Pending) => Reply::Pending(command, identifier),
        _ => Reply::Final(command, identifier),
    }
}
