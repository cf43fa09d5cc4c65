//! Sessions on an association of their own: print, and classes that are not known here.
//!
//! Messages pass unseen, both ways and both at once, as the client's contexts are the archive's. What one side does not
//! take is not read from the other.

use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, End};
use super::config::{Config, Moves, Operation};
use super::service::operation;
use super::{Front, Request, refuse_with};
use crate::archive::relay::Own;
use crate::dicom::AeTitle;
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::status::{self, Class};

/// Most bytes that one side has not taken before the other is read again.
const MAX_UNSENT: usize = 256 << 10;

/// A client's session on an association of an archive.
pub(super) struct Conversation {
    own: Own,
    /// The archive's numbers of its contexts, by the client's.
    contexts: BTreeMap<u8, u8>,
    /// The context at the archive of the data set that comes from the client.
    to_archive: Option<u8>,
    /// The context at the client of the data set that comes from the archive.
    to_client: Option<u8>,
    /// Requests that are not answered yet, of both sides.
    open: usize,
}

/// Who has said something.
enum Side {
    Client(Event),
    Archive(Event),
}

impl Conversation {
    /// A session over `own`; `contexts`: the archive's numbers of contexts, by the client's.
    pub(super) fn new(own: Own, contexts: BTreeMap<u8, u8>) -> Self {
        Self { own, contexts, to_archive: None, to_client: None, open: 0 }
    }

    /// Ends it as the client's association ends.
    pub(super) async fn end(self, end: &End) {
        match end {
            End::Release => self.own.release().await,
            _ => self.own.abort().await,
        }
    }

    /// What one side says next, the client where it is listened to; both are written to meanwhile. Cancel-safe.
    async fn next(&mut self, client: &mut Association, listens: bool) -> Result<Side, End> {
        let archive = self.own.association();
        poll_fn(|cx| {
            loop {
                let room = (archive.unsent() <= MAX_UNSENT, client.unsent() <= MAX_UNSENT);
                if let Poll::Ready(event) = read_or_write(client, listens && room.0, cx) {
                    return Poll::Ready(event.map(Side::Client).map_err(End::from));
                }
                if let Poll::Ready(event) = read_or_write(archive, room.1, cx) {
                    return Poll::Ready(event.map(Side::Archive).map_err(|error| gone(&error)));
                }
                // Room that has come about by writing is used at once: nothing else would wake us.
                if room == (archive.unsent() <= MAX_UNSENT, client.unsent() <= MAX_UNSENT) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Passes on an answer that the client gives the archive while a request is served that is not for the session. Whether
    /// this was one.
    pub(super) fn pass_answer(&mut self, context: u8, command: &Command) -> bool {
        let Some(&archives) = self.contexts.get(&context).filter(|_| command.is_response()) else {
            return false;
        };
        self.send(archives, command);
        true
    }

    /// Passes on a piece of the data set that belongs to such an answer.
    pub(super) fn pass_data(&mut self, bytes: Bytes, last: bool) {
        // Without a context it belongs to a command that was dropped.
        if let Some(context) = self.to_archive {
            pass(self.own.association(), context, bytes, last);
            self.to_archive = (!last).then_some(context);
        }
    }

    /// Writes what is queued for the archive, while a request is served that is not for the session.
    ///
    /// # Errors
    /// The archive has ended the session.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match read_or_write(self.own.association(), false, cx) {
            Poll::Ready(Err(error)) => Err(gone(&error)),
            _ => Ok(()),
        }
    }

    /// Passes on what the archive says.
    fn pass_to_client(&mut self, client: &mut Client, event: Event) -> Result<(), End> {
        match event {
            Event::ReleaseRequested => return Err(End::Abort("the archive released the session".into())),
            Event::Data { bytes, last } => {
                let context = self.to_client.ok_or_else(|| End::Abort("data of no message".into()))?;
                pass(&mut client.association, context, bytes, last);
                self.to_client = (!last).then_some(context);
            }
            Event::Command { context, command } => {
                let ours = self.contexts.iter().find(|(_, archives)| **archives == context);
                let (&ours, _) = ours.ok_or_else(|| End::Abort("a message in no context".into()))?;
                self.count(&command);
                if let Some(status) = command.status.filter(|status| status::class(*status) != Class::Pending)
                {
                    client.account.status(status);
                }
                client.association.send(ours, &command, None);
                self.to_client = command.has_data_set.then_some(ours);
            }
        }
        Ok(())
    }

    /// Passes on what the client says; `Some`: it is not for the session.
    fn pass_to_archive(
        &mut self,
        config: &Config,
        client: &mut Client,
        event: Event,
    ) -> Result<Option<(u8, Command)>, End> {
        match event {
            Event::ReleaseRequested => return Err(End::Release),
            Event::Data { bytes, last } => {
                self.pass_data(bytes, last);
            }
            Event::Command { context, command } => {
                let Some(&archives) = self.contexts.get(&context) else {
                    return elsewhere(client, context, command);
                };
                if !command.is_response() && command.field != field::C_CANCEL_RQ {
                    if forbidden(config, &client.peer.calling, &command).is_some() {
                        return Ok(Some((context, command)));
                    }
                    client.account.operation(command.field);
                }
                self.send(archives, &command);
            }
        }
        Ok(None)
    }

    /// Queues a command for the archive, in this context of its own.
    fn send(&mut self, context: u8, command: &Command) {
        self.count(command);
        self.own.association().send(context, command, None);
        self.to_archive = command.has_data_set.then_some(context);
    }

    fn count(&mut self, command: &Command) {
        let is_pending = command.status.is_some_and(|status| status::class(status) == Class::Pending);
        if command.is_response() {
            self.open = self.open.saturating_sub(usize::from(!is_pending));
        } else if command.field != field::C_CANCEL_RQ {
            self.open = self.open.saturating_add(1);
        }
    }

    /// How long both may say nothing.
    fn patience(&mut self, client: &Client) -> Duration {
        let timeouts = &client.timeouts;
        if client.association.unsent() > 0 {
            timeouts.write
        } else if self.own.association().unsent() > 0 || self.to_client.is_some() {
            self.own.silence()
        } else if self.to_archive.is_some() {
            timeouts.read
        } else if self.open > 0 {
            self.own.patience()
        } else {
            timeouts.idle
        }
    }
}

/// Serves the client's session, until it makes a request that is not for it: that one, with the number of its context.
pub(super) async fn converse(
    config: &Config,
    client: &mut Client,
    session: &mut Conversation,
) -> Result<(u8, Command), End> {
    let mut elsewhere = None;
    let mut unsent = (0, 0);
    let mut until = Instant::now() + session.patience(client);
    let shutdown = client.shutdown.clone();
    loop {
        // Not in the middle of a message of the archive's: the answer would cut it.
        if session.to_client.is_none()
            && let Some((context, command)) = elsewhere.take()
        {
            client.begin(&command);
            return Ok((context, command));
        }
        let listens = elsewhere.is_none();
        let side = tokio::select! {
            biased;
            side = session.next(&mut client.association, listens) => Some(side?),
            report = client.mailbox.next(), if session.to_client.is_none() => {
                client.tell(report);
                continue;
            }
            () = sleep_until(until) => None,
            () = shutdown.cancelled(), if session.open == 0 => return Err(End::Abort("shutting down".into())),
        };
        let before =
            std::mem::replace(&mut unsent, (client.association.unsent(), session.own.association().unsent()));
        match side {
            // Who takes what we send is not silent.
            None if unsent.0 < before.0 || unsent.1 < before.1 => {}
            None => return Err(End::Abort("a session in which nothing was said for too long".into())),
            Some(Side::Client(event)) => {
                if matches!(event, Event::Command { .. }) {
                    client.check_certificate().await?;
                }
                elsewhere = session.pass_to_archive(config, client, event)?;
            }
            Some(Side::Archive(event)) => session.pass_to_client(client, event)?,
        }
        until = Instant::now() + session.patience(client);
    }
}

/// What is not for the session: a request, else nothing that is to be passed on.
fn elsewhere(client: &mut Client, context: u8, command: Command) -> Result<Option<(u8, Command)>, End> {
    if command.is_response() {
        let answered = client.mailbox.answered(&command);
        return if answered { Ok(None) } else { Err(End::Abort("a response to no request".into())) };
    }
    // A request of that context has ended already.
    Ok((command.field != field::C_CANCEL_RQ).then_some((context, command)))
}

/// A request in a context of the session that came to the dispatch all the same: its client may not make it, or there is
/// no session any more.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let forbidden = forbidden(&front.config, &client.peer.calling, &request.command);
    if forbidden == Some(status::NOT_AUTHORIZED) {
        client.trail.forbidden(request.command.field);
    }
    refuse_with(client, request, forbidden.unwrap_or(status::UNRECOGNIZED_OPERATION)).await
}

/// The status of what a client may not do, whatever class it does it in. Objects move to whom the archive may send to
/// itself, never to us: they would come in as somebody's own.
fn forbidden(config: &Config, calling: &AeTitle, request: &Command) -> Option<u16> {
    let operation = operation(request.field);
    let needed = operation.as_ref().map_or(&Operation::ALL[..], std::slice::from_ref);
    if !config.allows(calling, needed) {
        return Some(status::NOT_AUTHORIZED);
    }
    let is_direct = |title: &AeTitle| {
        !config.titles.contains(title) && config.ae(title).is_some_and(|ae| ae.moves == Moves::Direct)
    };
    let is_move = request.field == field::C_MOVE_RQ;
    (is_move && !request.move_destination.as_ref().is_some_and(is_direct))
        .then_some(status::MOVE_DESTINATION_UNKNOWN)
}

/// Passes a piece of a data set on. Where it is cut says nothing: PDVs are made anew, as large as the peer takes them.
fn pass(association: &mut Association, context: u8, bytes: Bytes, last: bool) {
    association.send_piece(context, bytes);
    if last {
        association.finish_pieces(context);
    }
}

/// Writes what is queued, and where there is room for it, reads.
fn read_or_write(
    association: &mut Association,
    reads: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Event, AssociationError>> {
    if reads {
        return association.poll_event(cx);
    }
    match pin!(association.flush()).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        _ => Poll::Pending,
    }
}

/// The archive has ended the session.
fn gone(error: &AssociationError) -> End {
    End::Abort(format!("the archive ended the session: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::config::AeConfig;
    use super::*;

    #[test]
    fn no_class_lets_a_client_do_what_it_may_not() {
        let ae = |title: &str, moves, allow: Option<&[Operation]>| AeConfig {
            title: title.parse().unwrap(),
            address: None,
            allow_from: Vec::new(),
            moves,
            max_associations: None,
            tls: None,
            certificate_subject: None,
            allow: allow.map(|allow| allow.iter().copied().collect()),
            archives: None,
        };
        let aes = vec![
            ae("PRINTS", Moves::Relay, Some(&[Operation::Normalized])),
            ae("MOVES", Moves::Relay, Some(&[Operation::Move])),
            ae("ALL", Moves::Relay, None),
            ae("DIRECT", Moves::Direct, None),
            ae("GANTRY", Moves::Direct, None),
        ];
        let config = Config { aes, accept_any: true, ..Config::new("GANTRY".parse().unwrap()) };
        let to = |title: &str| title.parse().ok();
        for (calling, command, destination, expected) in [
            ("PRINTS", field::N_CREATE_RQ, None, None),
            ("PRINTS", field::N_EVENT_REPORT_RQ, None, None),
            ("PRINTS", field::C_FIND_RQ, None, Some(0x0124)),
            ("PRINTS", field::C_GET_RQ, None, Some(0x0124)),
            ("PRINTS", field::C_STORE_RQ, None, Some(0x0124)),
            ("PRINTS", field::C_MOVE_RQ, to("DIRECT"), Some(0x0124)),
            ("PRINTS", 0x0777, None, Some(0x0124)),
            ("MOVES", field::C_MOVE_RQ, to("DIRECT"), None),
            ("MOVES", field::N_SET_RQ, None, Some(0x0124)),
            ("ALL", 0x0777, None, None),
            ("STRANGER", 0x0777, None, None),
            ("ALL", field::C_MOVE_RQ, to("DIRECT"), None),
            ("ALL", field::C_MOVE_RQ, to("MOVES"), Some(0xA801)),
            ("ALL", field::C_MOVE_RQ, to("GANTRY"), Some(0xA801)),
            ("ALL", field::C_MOVE_RQ, to("NOBODY"), Some(0xA801)),
            ("ALL", field::C_MOVE_RQ, None, Some(0xA801)),
        ] {
            let request = Command {
                move_destination: destination,
                ..Command::request(command, "1.2.840.10008.5.1.1.9", 1)
            };
            let refused = forbidden(&config, &calling.parse().unwrap(), &request);
            assert_eq!(refused, expected, "{calling} {command:04X}");
        }
    }
}
