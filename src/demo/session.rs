//! One association as the archive uses it: whole messages in, messages out as polite or as rude as the faults ask,
//! and C-CANCEL noticed at any time.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::faults::{Fault, Faults};
use super::line::Forged;
use super::observe::{Ended, Observer};
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::status::{self, Class};

/// Longest identifier that is taken in, in bytes.
const MAX_IDENTIFIER: usize = 4 << 20;
/// As much of a file may wait to be written, in bytes, while more of it is read.
const MAX_UNSENT: usize = 1 << 20;
/// What no PDU begins with.
const GARBAGE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

/// An association.
pub(super) struct Session {
    pub(super) association: Association,
    forged: Forged,
    observer: Arc<Observer>,
    /// The faults of the operation under way.
    pub(super) faults: Faults,
    /// The data set of a message leaves in a write of its own, as some toolkits do it.
    split_writes: bool,
    /// Messages sent in the course of the operation.
    sent: u32,
    /// Cancels the operation under way; of a C-MOVE, on both its associations.
    pub(super) cancel: CancellationToken,
    /// When to abort because of a C-CANCEL.
    abort_at: Option<Instant>,
}

/// Why nothing more happens on an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer wants to release it.
    ReleaseRequested,
    /// The peer ended it.
    ByPeer(Ended),
    /// The peer broke the protocol: A-ABORT.
    Broken,
    /// A fault asks for A-ABORT.
    Abort,
    /// A fault asks to close the connection.
    Close,
}

impl Session {
    pub(super) fn new(
        association: Association,
        forged: Forged,
        observer: Arc<Observer>,
        split_writes: bool,
    ) -> Self {
        Self {
            association,
            forged,
            observer,
            faults: Faults::default(),
            split_writes,
            sent: 0,
            cancel: CancellationToken::new(),
            abort_at: None,
        }
    }

    /// A new operation begins.
    pub(super) fn begin(&mut self, faults: Faults) {
        self.faults = faults;
        self.sent = 0;
        self.cancel = CancellationToken::new();
        self.abort_at = None;
    }

    /// The next request and its presentation context; a data set, where it has one, follows. C-CANCEL is none: it
    /// comes too late here, and is noted.
    pub(super) async fn request(&mut self) -> Result<(u8, Command), End> {
        loop {
            match self.association.event().await.map_err(end_of)? {
                Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => {
                    self.observer.note(|o| o.cancels.push(Instant::now()));
                }
                Event::Command { context, command } => return Ok((context, command)),
                Event::Data { .. } => return Err(End::Broken),
                Event::ReleaseRequested => return Err(End::ReleaseRequested),
            }
        }
    }

    /// The next piece of the data set of a request, and whether it is the last.
    pub(super) async fn data_piece(&mut self) -> Result<(Bytes, bool), End> {
        match self.association.event().await.map_err(end_of)? {
            Event::Data { bytes, last } => Ok((bytes, last)),
            _ => Err(End::Broken),
        }
    }

    /// The identifier of a request.
    pub(super) async fn identifier(&mut self) -> Result<Bytes, End> {
        let mut whole = BytesMut::new();
        loop {
            let (bytes, last) = self.data_piece().await?;
            if whole.len() + bytes.len() > MAX_IDENTIFIER {
                return Err(End::Broken);
            }
            whole.extend_from_slice(&bytes);
            if last {
                return Ok(whole.freeze());
            }
        }
    }

    /// Whether the operation under way was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Sends a message, unless a fault wants something else. It leaves at the latest when the association is
    /// waited on.
    pub(super) async fn send(
        &mut self,
        mut context: u8,
        mut command: Command,
        data: Option<Bytes>,
    ) -> Result<(), End> {
        self.sent += 1;
        let mut announced = true;
        for fault in self.faults.clone().iter().filter(|fault| fault.number() == Some(self.sent)) {
            match fault {
                Fault::Garbage(_) => return self.forge(GARBAGE).await,
                Fault::UnknownPdu(_) => return self.forge(&[0x0A, 0, 0, 0, 0, 4, 1, 2, 3, 4]).await,
                Fault::Pdu4GiB(_) => {
                    return self.forge(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1, 0, context, 3]).await;
                }
                Fault::PdvLength0(_) => return self.forge(&[4, 0, 0, 0, 0, 6, 0, 0, 0, 0, context, 3]).await,
                Fault::PdvLength1(_) => return self.forge(&[4, 0, 0, 0, 0, 6, 0, 0, 0, 1, context, 3]).await,
                Fault::HalfPdu(_) => return self.forge(&[4, 0, 0, 0, 1, 0, 0, 0, 0, 0xFC, context]).await,
                Fault::OtherContext(_) => context = self.unaccepted_context(),
                Fault::WrongMessageId(_) => command.message_id = command.message_id.wrapping_add(1000),
                Fault::UnannouncedDataSet(_) => announced = false,
                _ => {}
            }
        }
        let data = if announced { data } else { Some(data.unwrap_or_else(|| Bytes::from_static(&[0; 8]))) };
        command.has_data_set = announced && data.is_some();
        let is_final = command.status.is_some_and(|s| status::class(s) != Class::Pending);
        if is_final && self.faults.has(Fault::AfterFinal) {
            self.put(context, &command, data.clone()).await?;
        }
        self.put(context, &command, data).await
    }

    async fn put(&mut self, context: u8, command: &Command, data: Option<Bytes>) -> Result<(), End> {
        self.association.send(context, command, None);
        if let Some(data) = data {
            if self.split_writes {
                self.flush().await?;
            }
            self.association.send_data(context, data, true);
        }
        if self.split_writes { self.flush().await } else { Ok(()) }
    }

    /// Sends an object, or its first half, and then no end of it.
    ///
    /// # Errors
    /// Outside, the association is over; inside, the object could not be read before anything was sent.
    pub(super) async fn send_object(
        &mut self,
        context: u8,
        mut command: Command,
        mut body: Body,
        half: bool,
    ) -> Result<io::Result<()>, End> {
        let (mut piece, mut last) = match body.next().await {
            Ok(first) => first,
            Err(error) => return Ok(Err(error)),
        };
        self.sent += 1;
        command.has_data_set = true;
        self.association.send(context, &command, None);
        if self.split_writes || half {
            self.flush().await?;
        }
        if half {
            piece.truncate(piece.len() / 2);
            self.association.send_data(context, piece, false);
            self.flush().await?;
            return Ok(Ok(()));
        }
        loop {
            self.association.send_data(context, piece, last);
            if last {
                return Ok(Ok(()));
            }
            if matches!(body, Body::File { .. }) {
                self.drain(MAX_UNSENT).await?;
            }
            // The object is begun and cannot be finished.
            (piece, last) = body.next().await.map_err(|_| End::Broken)?;
        }
    }

    /// Writes what is queued, and does not listen meanwhile.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.association.flush().await.map_err(end_of)
    }

    /// Writes until at most `limit` bytes are unsent, and notices a C-CANCEL.
    pub(super) async fn drain(&mut self, limit: usize) -> Result<(), End> {
        loop {
            let association = &mut self.association;
            let event = poll_fn(|cx| match association.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending if association.unsent() <= limit => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match event.await {
                None => return Ok(()),
                Some(event) => match self.during_operation(event.map_err(end_of)?)? {
                    None => {}
                    Some(_) => return Err(End::Broken),
                },
            }
        }
    }

    /// Waits for a response to a request of ours, and notices a C-CANCEL; `None` is a C-CANCEL. Cancel-safe.
    pub(super) async fn response(&mut self) -> Result<Option<Command>, End> {
        let abort_at = self.abort_at;
        let abort = async move {
            match abort_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = self.association.event() => event.map_err(end_of)?,
            () = abort => return Err(End::Abort),
        };
        self.during_operation(event)
    }

    /// Lets time pass, and notices a C-CANCEL, which ends the pause.
    pub(super) async fn pause(&mut self, duration: Duration) -> Result<(), End> {
        let until = sleep(duration);
        tokio::pin!(until);
        let cancel = self.cancel.clone();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                response = self.response() => match response? {
                    None => {}
                    Some(_) => return Err(End::Broken),
                },
                () = &mut until => return Ok(()),
            }
        }
    }

    /// Says nothing more, until the peer has had enough.
    pub(super) async fn stall(&mut self) -> End {
        loop {
            match self.response().await {
                Ok(_) | Err(End::ReleaseRequested | End::Broken) => {}
                Err(end) => return end,
            }
        }
    }

    fn during_operation(&mut self, event: Event) -> Result<Option<Command>, End> {
        match event {
            Event::ReleaseRequested => Err(End::ReleaseRequested),
            Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => {
                self.observer.note(|o| o.cancels.push(Instant::now()));
                match self.faults.milliseconds(Fault::AbortOnCancel) {
                    Some(delay) => self.abort_at = Some(Instant::now() + delay),
                    None if self.faults.has(Fault::IgnoreCancel) => {}
                    None => self.cancel.cancel(),
                }
                Ok(None)
            }
            Event::Command { command, .. } if command.is_response() && !command.has_data_set => {
                Ok(Some(command))
            }
            Event::Command { .. } | Event::Data { .. } => Err(End::Broken),
        }
    }

    /// Says something else than the protocol has, and nothing more.
    async fn forge(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.flush().await?;
        self.forged.say(Bytes::copy_from_slice(bytes));
        self.association.send(1, &Command::cancel(0), None);
        self.flush().await?;
        Err(self.stall().await)
    }

    fn unaccepted_context(&self) -> u8 {
        let agreement = self.association.agreement();
        (1..=255).rev().step_by(2).find(|id| agreement.context(*id).is_none()).unwrap_or(2)
    }
}

/// What an error of an association means for it.
pub(super) fn end_of(error: AssociationError) -> End {
    match error {
        AssociationError::Aborted { .. } => End::ByPeer(Ended::Aborted),
        AssociationError::Lost(_) => End::ByPeer(Ended::Lost),
        AssociationError::Protocol(_) => End::Broken,
    }
}
