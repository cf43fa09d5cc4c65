//! One operation after the other on one association, each within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::archive::dimse::config::Timeouts;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::dataset::{DataSet, Parsed};
use crate::dicom::transfer_syntax::layout;
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::Agreement;
use crate::dimse::scu::MAX_IDENTIFIER_LENGTH;
use crate::dimse::status::{self, Class};

/// How long an archive may take to end a search that was cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(5);
/// How many matches it may still send meanwhile.
const CANCEL_MATCHES: usize = 500;
/// How long the end of an association may take.
const RELEASE: Duration = Duration::from_secs(2);
/// Longest wait for one search: it asks for a handful of entities.
const MOST_PATIENCE: Duration = Duration::from_secs(120);

/// An association that is talked on.
#[derive(Debug)]
pub(super) struct Talk {
    association: Association,
    silence: Duration,
    patience: Duration,
    message_id: u16,
}

/// The operation has no result, and the association is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the archive accepted no context for it")]
    NotAccepted,
    #[error("no answer in time")]
    Silence,
    #[error("{0}")]
    Association(#[from] AssociationError),
    #[error("the archive released the association in the middle")]
    Released,
    #[error("{0}")]
    Protocol(String),
}

/// What a search came to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) matches: Vec<Parsed>,
    /// The final status; `None`: it was cancelled, and did not end within its time.
    pub(super) last: Option<Command>,
    /// Nobody wanted more matches.
    pub(super) is_cancelled: bool,
    /// How long the first answer took.
    pub(super) first: Duration,
}

impl Found {
    /// The failure status, where there is one.
    pub(super) fn failure(&self) -> Option<(u16, Option<&str>)> {
        let last = self.last.as_ref()?;
        let code = last.status?;
        let failed = matches!(status::class(code), Class::Failure | Class::Warning)
            || status::class(code) == Class::Cancel && !self.is_cancelled;
        failed.then_some((code, last.comment.as_deref()))
    }

    /// The association can go on.
    pub(super) fn has_ended(&self) -> bool {
        self.last.is_some()
    }
}

impl Talk {
    pub(super) fn new(association: Association, timeouts: &Timeouts) -> Self {
        let patience = timeouts.operation.min(MOST_PATIENCE);
        Self { association, silence: timeouts.silence, patience, message_id: 0 }
    }

    /// What was agreed on.
    pub(super) fn agreement(&self) -> &Agreement {
        self.association.agreement()
    }

    /// Ends it politely.
    pub(super) async fn release(self) {
        self.association.release(Instant::now() + RELEASE).await;
    }

    /// Ends it at once.
    pub(super) async fn abort(self) {
        self.association.abort().await;
    }

    /// C-ECHO (PS3.7 9.1.5): the status, and how long it took.
    pub(super) async fn echo(&mut self) -> Result<(u16, Duration), Trouble> {
        let begin = Instant::now();
        self.request(Command::request(field::C_ECHO_RQ, crate::dicom::sop_class::VERIFICATION, 0), None)?;
        let (response, _) = self.response(field::C_ECHO_RQ, begin + self.patience).await?;
        Ok((response.status.unwrap_or_default(), begin.elapsed()))
    }

    /// C-FIND (PS3.4 C.4.1) for at most so many matches, after which it is cancelled.
    pub(super) async fn find(
        &mut self,
        class: &str,
        keys: &DataSet,
        charset: &QueryCharset,
        assumed: Option<&Charset>,
        most: usize,
    ) -> Result<Found, Trouble> {
        let context = self.agreement().for_class(class).ok_or(Trouble::NotAccepted)?;
        let layout = layout(&context.transfer_syntax);
        let mut command = Command::request(field::C_FIND_RQ, class, 0);
        command.priority = Some(0);
        let begin = Instant::now();
        self.request(command, Some(keys.encode(layout, charset.clone()).into()))?;
        let mut deadline = begin + self.patience;
        let mut found = Found { matches: Vec::new(), last: None, is_cancelled: false, first: Duration::ZERO };
        let mut after = 0;
        loop {
            let answered = self.response(field::C_FIND_RQ, deadline).await;
            let (response, identifier) = match answered {
                Err(_) if found.is_cancelled => return Ok(found),
                other => other?,
            };
            if found.first.is_zero() {
                found.first = begin.elapsed();
            }
            if response.status.map(status::class) != Some(Class::Pending) {
                found.last = Some(response);
                return Ok(found);
            }
            if found.is_cancelled {
                after += 1;
                if after > CANCEL_MATCHES {
                    return Ok(found);
                }
                continue;
            }
            let parsed = DataSet::parse(&identifier, layout, assumed);
            let parsed =
                parsed.map_err(|error| Trouble::Protocol(format!("a match cannot be read: {error}")))?;
            found.matches.push(parsed);
            if found.matches.len() >= most {
                let cancel = Command::cancel(self.message_id);
                let context = self.agreement().for_class(class).ok_or(Trouble::NotAccepted)?.id;
                self.association.send(context, &cancel, None);
                found.is_cancelled = true;
                deadline = Instant::now() + CANCEL_TIME;
            }
        }
    }

    fn request(&mut self, mut command: Command, data: Option<Bytes>) -> Result<(), Trouble> {
        self.message_id = self.message_id.wrapping_add(1).max(1);
        command.message_id = self.message_id;
        command.has_data_set = data.is_some();
        let class = command.sop_class.as_ref().ok_or(Trouble::NotAccepted)?;
        let context = self.agreement().for_class(class.as_str()).ok_or(Trouble::NotAccepted)?.id;
        self.association.send(context, &command, data);
        Ok(())
    }

    /// The next response, with its data set.
    async fn response(&mut self, request: u16, deadline: Instant) -> Result<(Command, Bytes), Trouble> {
        let mut response: Option<Command> = None;
        let mut gathered = BytesMut::new();
        loop {
            let until = deadline.min(Instant::now() + self.silence);
            let event = timeout_at(until, self.association.event()).await.map_err(|_| Trouble::Silence)??;
            match event {
                Event::ReleaseRequested => return Err(Trouble::Released),
                Event::Command { command, .. } => {
                    if command.field != request | field::RESPONSE || command.message_id != self.message_id {
                        return Err(Trouble::Protocol(
                            "a message that is no response to what was asked".into(),
                        ));
                    }
                    if !command.has_data_set {
                        return Ok((command, Bytes::new()));
                    }
                    response = Some(command);
                }
                Event::Data { bytes, last } => {
                    if gathered.len() + bytes.len() > MAX_IDENTIFIER_LENGTH {
                        return Err(Trouble::Protocol("an identifier of impossible length".into()));
                    }
                    gathered.extend_from_slice(&bytes);
                    if let Some(command) = response.take_if(|_| last) {
                        return Ok((command, gathered.freeze()));
                    }
                }
            }
        }
    }
}
