//! What can go wrong between the bridge and an archive, and whose fault it is.

use std::fmt;
use std::time::Duration;

use crate::dicom::Uid;

/// An archive's operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The archive's name in the configuration.
    pub archive: String,
    /// What happened.
    pub kind: Kind,
    /// What a person should do next, where we know: one sentence.
    pub advice: Option<String>,
}

/// Whose side a failure is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request cannot be served as it was made.
    Client,
    /// The archive, or the way to it.
    Archive,
    /// The bridge itself.
    Bridge,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The archive does not hold the entity.
    NotFound,
    /// The client's keys cannot be used; the text says which and why.
    BadKeys(String),
    /// Nothing of what was asked for exists in a form that the client takes.
    NotAcceptable,
    /// The archive cannot do this at all; the text says what.
    Unsupported(String),
    /// Too many requests wait for this archive already.
    QueueFull,
    /// The request waited for an association until its time ran out.
    QueueTimeout,
    /// No connection: refused, unreachable, or the name does not resolve.
    Unreachable(String),
    /// No TLS connection that can be trusted; the text says why.
    Tls(String),
    /// The archive failed lately and is not asked again before this time has passed.
    BreakerOpen(Duration),
    /// The association was rejected (PS3.8 9.3.4).
    Rejected {
        /// Rejected-transient: the archive asks to try again.
        transient: bool,
        /// The reason, by PS3.8 Table 9-21.
        reason: String,
    },
    /// The archive did not answer in time; the text says in which step.
    Timeout(&'static str),
    /// The association ended in the middle: A-ABORT, or the connection was lost.
    Aborted(String),
    /// The archive sent what the protocol does not allow.
    Protocol(String),
    /// The archive sent two different objects under this SOP Instance UID.
    Conflict(Uid),
    /// The archive answered with a failure status (PS3.7 Annex C, PS3.4).
    Status {
        /// Command Field of the operation, as text: `C-FIND`, `C-MOVE`, …
        operation: &'static str,
        /// Status (0000,0900).
        code: u16,
        /// Error Comment (0000,0902), without control characters.
        comment: Option<String>,
        /// The status blames the identifier, and the keys in it were the client's own.
        client_keys: bool,
    },
    /// The retrieval ended without all objects.
    Incomplete {
        /// How many objects are missing, as far as is known.
        missing: usize,
        /// SOP Instance UIDs of those of them that can be named.
        named: Vec<Uid>,
    },
    /// The archive takes no objects of this SOP class.
    ClassRefused(Uid),
    /// The archive takes the object neither in its transfer syntax, which is this one, nor in one that it can
    /// be re-encoded to without loss.
    SyntaxRefused(Uid),
    /// The object that was to be stored is not what it should be: its bytes broke off, or its data set cannot
    /// be followed. The archive has been told to drop what it had of it.
    SourceBroke,
    /// The object belongs to nothing that the client may store into. The archive has not seen it.
    NotAuthorized,
    /// The reader took nothing for too long.
    ReaderStalled,
    /// Nobody waits for the answer any more.
    Cancelled,
    /// The search found more than the bridge holds for one answer.
    TooManyMatches,
    /// The bridge is shutting down.
    ShuttingDown,
    /// The task that served the operation died: a defect of the bridge.
    DriverDied,
}

impl Error {
    /// An error without advice.
    pub fn new(archive: &str, kind: Kind) -> Self {
        Self { archive: archive.to_owned(), kind, advice: None }
    }

    /// The same with a sentence about what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Whose side the failure is on.
    pub fn fault(&self) -> Fault {
        match &self.kind {
            Kind::NotFound
            | Kind::BadKeys(_)
            | Kind::NotAcceptable
            | Kind::TooManyMatches
            | Kind::SourceBroke
            | Kind::NotAuthorized
            | Kind::ReaderStalled => Fault::Client,
            Kind::Status { client_keys: true, .. } => Fault::Client,
            Kind::QueueFull | Kind::QueueTimeout | Kind::ShuttingDown | Kind::DriverDied => Fault::Bridge,
            _ => Fault::Archive,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.archive;
        match &self.kind {
            Kind::NotFound => write!(f, "archive `{name}` does not hold it"),
            Kind::BadKeys(what) => write!(f, "the search cannot be made: {what}"),
            Kind::NotAcceptable => write!(f, "archive `{name}` holds it in no form that was asked for"),
            Kind::Unsupported(what) => write!(f, "archive `{name}` cannot do this: {what}"),
            Kind::QueueFull => write!(f, "too many requests wait for archive `{name}`"),
            Kind::QueueTimeout => write!(f, "no association to archive `{name}` became free in time"),
            Kind::Unreachable(why) => write!(f, "archive `{name}` is not reachable: {why}"),
            Kind::Tls(why) => write!(f, "no TLS connection to archive `{name}`: {why}"),
            Kind::BreakerOpen(left) => {
                write!(f, "archive `{name}` failed lately and is asked again in {} s", left.as_secs() + 1)
            }
            Kind::Rejected { transient, reason } => {
                let how = if *transient { "for now" } else { "for good" };
                write!(f, "archive `{name}` rejected the association {how}: {reason}")
            }
            Kind::Timeout(step) => write!(f, "archive `{name}` did not answer in time ({step})"),
            Kind::Aborted(how) => write!(f, "archive `{name}` broke the association off: {how}"),
            Kind::Protocol(what) => write!(f, "archive `{name}` broke the protocol: {what}"),
            Kind::Conflict(_) => {
                let what = "it sent two different objects under one SOP Instance UID";
                write!(f, "archive `{name}` broke the protocol: {what}")
            }
            Kind::Status { operation, code, comment, .. } => {
                write!(f, "archive `{name}` answered {operation} with status {code:04X}")?;
                comment.as_ref().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            Kind::Incomplete { missing, .. } => {
                write!(f, "{missing} objects did not come from archive `{name}`")
            }
            Kind::ClassRefused(class) => write!(f, "archive `{name}` takes no objects of SOP class {class}"),
            Kind::SyntaxRefused(syntax) => {
                write!(
                    f,
                    "archive `{name}` takes the object in no transfer syntax that it can have ({syntax})"
                )
            }
            Kind::SourceBroke => write!(f, "the object broke off or cannot be read; it was not stored"),
            Kind::NotAuthorized => write!(f, "the object belongs to nothing that may be stored into here"),
            Kind::Cancelled => write!(f, "nobody waits for the answer any more"),
            Kind::ReaderStalled => write!(f, "the client stopped reading"),
            Kind::TooManyMatches => write!(f, "more matches in archive `{name}` than one answer may have"),
            Kind::ShuttingDown => write!(f, "the bridge is shutting down"),
            Kind::DriverDied => write!(f, "an internal task of the bridge died"),
        }?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl std::error::Error for Error {}
