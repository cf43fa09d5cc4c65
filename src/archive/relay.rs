//! What an archive is asked as it stands: messages that are passed on, with the archive's own answers.
//!
//! C-FIND, the normalized operations and C-MOVE to others are not translated, so that private attributes, character
//! sets, statuses and comments stay as they are; what is no query/retrieve at all gets an association of its own.

use std::sync::Arc;

use bytes::Bytes;

use super::dimse::DimseArchive;
use super::error::Error;
use super::{Fut, Result, takes};
use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dimse::command::Command;
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::Role;

mod exchange;
mod own;

pub use exchange::Exchange;
pub use own::Own;

/// Which of an archive's endpoints serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Searches, and whatever has no endpoint of its own.
    Query,
    /// C-GET and C-MOVE.
    Retrieve,
    /// C-STORE.
    Store,
    /// Modality worklist (PS3.4 Annex K).
    Worklist,
    /// Modality performed procedure steps (PS3.4 Annex F).
    Mpps,
    /// Storage commitment (PS3.4 Annex J).
    Commit,
}

/// A request that is passed on.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Where to.
    pub service: Service,
    /// Abstract syntax of its presentation context.
    pub abstract_syntax: Uid,
    /// The request. With message ID 0 the association gives one.
    pub command: Command,
    /// The data set, in `transfer_syntax`.
    pub data: Option<Bytes>,
    /// What data sets are encoded in, both ways.
    pub transfer_syntax: Uid,
    /// SOP Class Extended Negotiation that the association is to have (PS3.7 D.3.3.5).
    pub extended: Arc<[(Uid, Bytes)]>,
    /// Whether it may be made twice, where the association turns out to have died while it was idle.
    pub repeatable: bool,
}

/// What the archive answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// One of several: pending.
    Pending(Command, Option<Bytes>),
    /// The last one.
    Final(Command, Option<Bytes>),
}

/// What is asked about a SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// At which endpoint.
    pub service: Service,
    /// The class.
    pub abstract_syntax: Uid,
    /// The transfer syntaxes that matter.
    pub transfer_syntaxes: Vec<Uid>,
    /// The client's SOP Class Extended Negotiation for it.
    pub extended: Option<Bytes>,
}

/// Whether an archive takes a SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Those of the syntaxes asked about that it takes, never none, and its answer to extended negotiation.
    Accepted(Vec<Uid>, Option<Bytes>),
    /// The reason (PS3.8 Table 9-18).
    Refused(u8),
    /// It cannot be asked now, and nothing is known.
    Unknown(Error),
}

/// What an association of its own is to have.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Where to.
    pub service: Service,
    /// Its presentation contexts.
    pub proposals: Vec<Proposal>,
    /// Role selection besides that of `proposals` (PS3.7 D.3.3.4).
    pub roles: Vec<Role>,
    /// SOP Class Extended Negotiation (PS3.7 D.3.3.5).
    pub extended: Vec<(Uid, Bytes)>,
}

/// An archive to which DIMSE messages can be passed on.
pub trait Relay: Send + Sync {
    /// Which SOP classes the archive takes, and in which transfer syntaxes: one answer each, in order. What is not
    /// known is asked.
    fn takes<'a>(&'a self, caller: &'a Caller, asked: &'a [Asked]) -> Fut<'a, Vec<Taken>>;

    /// Passes a request on. Dropping the exchange before its final answer cancels it at the archive.
    fn invoke<'a>(&'a self, caller: &'a Caller, invocation: Invocation) -> Fut<'a, Result<Exchange>>;

    /// Opens an association for one client's own session. Dropping it aborts it.
    fn open<'a>(&'a self, caller: &'a Caller, opening: Opening) -> Fut<'a, Result<Own>>;
}

impl Relay for DimseArchive {
    fn takes<'a>(&'a self, caller: &'a Caller, asked: &'a [Asked]) -> Fut<'a, Vec<Taken>> {
        Box::pin(takes::ask(Arc::clone(&self.inner), caller.clone(), asked.to_vec()))
    }

    fn invoke<'a>(&'a self, caller: &'a Caller, invocation: Invocation) -> Fut<'a, Result<Exchange>> {
        Box::pin(exchange::invoke(Arc::clone(&self.inner), caller.clone(), invocation))
    }

    fn open<'a>(&'a self, caller: &'a Caller, opening: Opening) -> Fut<'a, Result<Own>> {
        Box::pin(own::open(Arc::clone(&self.inner), caller.clone(), opening))
    }
}
