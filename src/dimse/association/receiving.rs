//! What comes in, put together to commands and data sets (PS3.7 section 6.3, PS3.8 Annex E).

use bytes::{Bytes, BytesMut};

use super::link::AssociationError;
use crate::dimse::command::Command;
use crate::dimse::negotiation::Agreement;
use crate::dimse::pdu::kind;
use crate::dimse::wire::Frame;

/// What the peer did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A command set is here. If it announces a data set, that follows as [`Event::Data`].
    Command {
        /// The presentation context it came in.
        context: u8,
        /// The command.
        command: Command,
    },
    /// A piece of the data set that the last command announced.
    Data {
        /// The bytes; may be empty when `last` is set.
        bytes: Bytes,
        /// The data set is whole now.
        last: bool,
    },
    /// The peer wants to release the association. Answer with [`super::Association::confirm_release`].
    ReleaseRequested,
}

/// Where we are within the message that comes in.
#[derive(Debug, Default)]
pub(super) enum Receiving {
    /// Between messages, or within a command set: its context and what has come of it.
    #[default]
    Idle,
    Command(u8, BytesMut),
    Data(u8),
}

impl Receiving {
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn step(
        &mut self,
        frame: Frame,
        agreement: &Agreement,
        max_command: usize,
    ) -> Result<Option<Event>, AssociationError> {
        let protocol = |what: &str| Err(AssociationError::Protocol(what.to_owned()));
        let (context, command, last, bytes) = match frame {
            Frame::Control(kind::ABORT, body) => return Err(AssociationError::aborted(&body)),
            Frame::Control(kind::RELEASE_RQ, _) => return Ok(Some(Event::ReleaseRequested)),
            Frame::Control(..) => return protocol("a PDU that an established association does not have"),
            Frame::Fragment { context, command, last, bytes } => (context, command, last, bytes),
        };
        if agreement.context(context).is_none() {
            return protocol("a message in a presentation context that was not accepted");
        }
        match (std::mem::take(self), command) {
            (Self::Data(expected), false) if expected == context => {
                if !last {
                    *self = Self::Data(context);
                }
                Ok(Some(Event::Data { bytes, last }))
            }
            (Self::Idle | Self::Command(..), false) => protocol("a data set that no command announced"),
            (Self::Data(_), _) => protocol("a data set that changed into something else"),
            (Self::Command(expected, _), true) if expected != context => {
                protocol("a command that changed its presentation context")
            }
            (gathered, true) => {
                let mut set = match gathered {
                    Self::Command(_, set) => set,
                    _ => BytesMut::new(),
                };
                if set.len() + bytes.len() > max_command {
                    return protocol("a command set of impossible length");
                }
                set.extend_from_slice(&bytes);
                if !last {
                    *self = Self::Command(context, set);
                    return Ok(None);
                }
                let command = Command::decode(&set).map_err(|e| AssociationError::Protocol(e.to_string()))?;
                if command.has_data_set {
                    *self = Self::Data(context);
                }
                Ok(Some(Event::Command { context, command }))
            }
        }
    }
}
