//! One client's association: its requests one after the other, and what it does while one is served.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Plan;
use super::account::Account;
use super::config::Timeouts;
use super::events::{Mailbox, Outgoing};
use super::trail::Trail;
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::scp::Peer;
use crate::metrics::Metrics;

/// Most bytes of answers that are queued when the next request is taken: some hundred.
const MAX_UNREAD: usize = 64 << 10;

/// Most bytes of answers that are queued while the archive is listened to: some hundred matches, or the pieces of an
/// object.
pub(super) const MAX_UNSENT: usize = 256 << 10;

/// A client's association.
pub(super) struct Client {
    /// The association.
    pub(super) association: Association,
    /// Who it is.
    pub(super) peer: Peer,
    /// How its contexts are served.
    pub(super) plan: Plan,
    /// What it did.
    pub(super) account: Account,
    /// What of it is recorded.
    pub(super) trail: Trail,
    /// What it is to be told.
    pub(super) mailbox: Mailbox,
    pub(super) timeouts: Timeouts,
    /// Between two requests, this ends the association.
    pub(super) shutdown: CancellationToken,
    /// Message ID of the request that is being served.
    current: u16,
    /// The last message ID of ours.
    last_id: u16,
}

/// What a client does while its request is served.
#[derive(Debug)]
pub(super) enum Meanwhile {
    /// It cancels the request.
    Cancel,
    /// It answers a request of ours, which came in this context.
    Response(Command),
}

impl Meanwhile {
    /// A cancel, as nothing was asked of the client to which it could respond.
    ///
    /// # Errors
    /// It responds all the same.
    pub(super) fn into_cancel(self) -> Result<(), End> {
        match self {
            Self::Cancel => Ok(()),
            Self::Response(_) => Err(End::Abort("a response to no request".into())),
        }
    }
}

/// How an association ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client wants to release it.
    Release,
    /// We abort it, for this reason.
    Abort(String),
    /// The client aborted it, or the connection is lost.
    Lost(String),
}

/// A data set is longer than it may be; it has been read to its end and dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl From<AssociationError> for End {
    fn from(error: AssociationError) -> Self {
        match error {
            AssociationError::Protocol(what) => Self::Abort(what),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl Client {
    pub(super) fn new(
        association: Association,
        peer: Peer,
        plan: Plan,
        timeouts: Timeouts,
        shutdown: CancellationToken,
        metrics: Metrics,
    ) -> Self {
        let account =
            Account::new(association.agreement().contexts.len(), plan.proposed, plan.unrouted, metrics);
        let (mailbox, trail, current, last_id) = (Mailbox::default(), Trail::default(), 0, 0);
        Self { association, peer, plan, account, trail, mailbox, timeouts, shutdown, current, last_id }
    }

    /// The next request, with the number of its context. A C-CANCEL of what has ended already is dropped.
    pub(super) async fn request(&mut self) -> Result<(u8, Command), End> {
        self.written(MAX_UNREAD).await?;
        loop {
            let event = self.between().await?;
            match event {
                Event::ReleaseRequested => return Err(End::Release),
                // Of a command that was dropped.
                Event::Data { .. } => {}
                Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => {}
                Event::Command { command, .. } if command.is_response() => {
                    if !self.mailbox.answered(&command) {
                        return Err(End::Abort("a response to no request".into()));
                    }
                }
                Event::Command { context, command } => {
                    self.begin(&command);
                    return Ok((context, command));
                }
            }
        }
    }

    /// Whether it is still who it was when the association began: its certificate may have expired since, or been revoked.
    ///
    /// # Errors
    /// The association is to end, before anything else is done for it.
    pub(super) fn check_certificate(&self) -> impl Future<Output = Result<(), End>> + use<> {
        let certificate = self.peer.certificate.clone();
        async move {
            let Some(certificate) = certificate else { return Ok(()) };
            certificate.check().await.map_err(|lapsed| End::Abort(lapsed.to_string()))
        }
    }

    /// A request is to be served.
    pub(super) fn begin(&mut self, request: &Command) {
        tracing::trace!(target: "gantry::front::dimse", calling = %self.peer.calling, command = ?request, "request");
        self.current = request.message_id;
        self.account.operation(request.field);
    }

    /// Queues a report of an archive.
    pub(super) fn tell(&mut self, report: Outgoing) {
        let Outgoing { context, mut command, data, answer } = report;
        command.message_id = self.fresh_id();
        self.mailbox.sent(command.message_id, answer);
        self.association.send(context, &command, Some(data));
    }

    /// What the client does next. A message that it has begun has less time than it has between two.
    async fn between(&mut self) -> Result<Event, End> {
        let idle = Instant::now() + self.timeouts.idle;
        let mut has_begun = false;
        loop {
            let deadline = idle.min(Instant::now() + self.timeouts.read);
            let event = tokio::select! {
                biased;
                event = timeout_at(deadline, self.association.event()) => event,
                report = self.mailbox.next() => {
                    self.tell(report);
                    continue;
                }
                () = self.shutdown.cancelled() => return Err(End::Abort("shutting down".into())),
            };
            let is_within = self.association.has_unread();
            match event {
                Ok(event) => return Ok(event?),
                Err(_) if is_within && has_begun => {
                    return Err(End::Abort("it stopped in the middle of a message".into()));
                }
                Err(_) if Instant::now() >= idle => {
                    return Err(End::Abort("it said nothing for too long".into()));
                }
                Err(_) => has_begun = is_within,
            }
        }
    }

    /// The next piece of the request's data set, and whether it is the last. Cancel-safe.
    pub(super) async fn piece(&mut self) -> Result<(Bytes, bool), End> {
        let event = timeout(self.timeouts.read, self.association.event()).await;
        match event.map_err(|_| End::Abort("it stopped in the middle of a message".into()))?? {
            Event::Data { bytes, last } => Ok((bytes, last)),
            Event::ReleaseRequested => Err(End::Abort("a release in the middle of a message".into())),
            Event::Command { .. } => Err(End::Abort("a command in the middle of a message".into())),
        }
    }

    /// The request's whole data set, of at most so many bytes; empty where the request has none.
    pub(super) async fn data_set(
        &mut self,
        request: &Command,
        most: usize,
    ) -> Result<Result<Bytes, TooLong>, End> {
        if !request.has_data_set {
            return Ok(Ok(Bytes::new()));
        }
        let (mut gathered, mut too_long) = (BytesMut::new(), false);
        loop {
            let (bytes, last) = self.piece().await?;
            too_long |= gathered.len() + bytes.len() > most;
            match too_long {
                // One piece needs no copy.
                false if last && gathered.is_empty() => return Ok(Ok(bytes)),
                false => gathered.extend_from_slice(&bytes),
                true => gathered.clear(),
            }
            if last {
                return Ok(if too_long { Err(TooLong) } else { Ok(gathered.freeze()) });
            }
        }
    }

    /// Reads a request's data set, where it has one, to its end, and drops it.
    pub(super) async fn drain(&mut self, request: &Command) -> Result<(), End> {
        while request.has_data_set && !self.piece().await?.1 {}
        Ok(())
    }

    /// What the client does while its request is served; what is queued is written meanwhile. Cancel-safe.
    pub(super) async fn meanwhile(&mut self) -> Result<Meanwhile, End> {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await?;
            if let Some(meanwhile) = self.judge(event)? {
                return Ok(meanwhile);
            }
        }
    }

    /// Waits, as [`Client::meanwhile`], until the client cancels its request; nothing is asked of it. Cancel-safe.
    pub(super) async fn cancelled(&mut self) -> Result<(), End> {
        self.meanwhile().await?.into_cancel()
    }

    /// Writes until at most so many bytes are queued; what the client does meanwhile comes first. Cancel-safe.
    pub(super) async fn room(&mut self, most: usize) -> Result<Option<Meanwhile>, End> {
        while self.association.unsent() > most {
            let (before, patience) = (self.association.unsent(), self.timeouts.write);
            let written = poll_fn(|cx| match self.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending if self.association.unsent() < before => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let event = timeout(patience, written).await;
            if let Some(event) = event.map_err(|_| End::Abort("it does not read the answers".into()))?
                && let Some(meanwhile) = self.judge(event?)?
            {
                return Ok(Some(meanwhile));
            }
        }
        Ok(None)
    }

    /// The same between two requests: what the client says is not read before.
    async fn written(&mut self, most: usize) -> Result<(), End> {
        let association = &mut self.association;
        while association.unsent() > most {
            let before = association.unsent();
            let written = poll_fn(|cx| {
                let flushed = pin!(association.flush()).poll(cx);
                match flushed {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(End::from(error))),
                    _ if association.unsent() < before => Poll::Ready(Ok(())),
                    _ => Poll::Pending,
                }
            });
            let written = timeout(self.timeouts.write, written).await;
            written.map_err(|_| End::Abort("it does not read the answers".into()))??;
        }
        Ok(())
    }

    /// Queues a response.
    pub(super) fn respond(&mut self, context: u8, response: Command, data: Option<Bytes>) {
        let mut response = response;
        response.has_data_set = data.is_some();
        tracing::trace!(target: "gantry::front::dimse", calling = %self.peer.calling, command = ?response, "response");
        self.account.status(response.status.unwrap_or_default());
        self.association.send(context, &response, data);
    }

    /// A message ID for a request of ours.
    pub(super) fn fresh_id(&mut self) -> u16 {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.last_id
    }

    /// What the client does; what it has answered to its own session's archive leaves meanwhile.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        if let Some(session) = &mut self.plan.session
            && let Err(end) = session.poll_write(cx)
        {
            return Poll::Ready(Err(end));
        }
        self.association.poll_event(cx).map_err(End::from)
    }

    /// Asynchronous operations are not negotiated: while a request is served there is no other.
    fn judge(&mut self, event: Event) -> Result<Option<Meanwhile>, End> {
        match event {
            Event::ReleaseRequested => Err(End::Release),
            Event::Data { bytes, last } => {
                if let Some(session) = &mut self.plan.session {
                    session.pass_data(bytes, last);
                }
                Ok(None)
            }
            Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => {
                Ok((command.message_id == self.current).then_some(Meanwhile::Cancel))
            }
            Event::Command { context, command } if command.is_response() => {
                let of_session =
                    self.plan.session.as_mut().is_some_and(|it| it.pass_answer(context, &command));
                let is_expected = of_session || self.mailbox.answered(&command);
                Ok((!is_expected).then_some(Meanwhile::Response(command)))
            }
            Event::Command { .. } => Err(End::Abort("a request while another is served".into())),
        }
    }
}
