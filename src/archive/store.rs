//! Storing one object (PS3.4 B.2): an association that takes it, its bytes passed on as they come, and the
//! archive's answer.
//!
//! Nothing is gathered: what is read of the object is checked, queued and written before more is read. The archive
//! is listened to meanwhile, so that one that refuses an object in the middle is not sent the rest. An object that
//! breaks off is aborted, never ended: its last PDV is not flagged as the last before its last byte has come, and has
//! passed the check where there is one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use tokio::time::{sleep, timeout_at};

use self::broken::{Broken, PATIENCE};
use self::check::Check;
pub(super) use self::contexts::Recent;
use self::contexts::Refusal;
use self::source::Source;
use super::error::{Error, Kind};
use super::remote::Inner;
use super::{Result, Stored};
use crate::caller::Caller;
use crate::dicom::AeTitle;
use crate::dicom::native::{self, Native};
use crate::dicom::object::{Head, Object};
use crate::dimse::command::{Command, field};
use crate::dimse::pool::{Contexts, Lease};
use crate::dimse::scu::{Limits, Operation, OperationError, Reply};
use crate::dimse::status::{self, Class};

mod broken;
mod check;
mod contexts;
mod source;

/// How much may be queued for the archive, in bytes: enough for one vectored write of large PDVs, and for the
/// connection never to run dry while the next piece is fetched.
const MAX_UNSENT: usize = 512 << 10;
/// Priority (0000,0700): medium.
const MEDIUM: u16 = 0;

/// How an object is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// Whether the data set is walked along as it passes, so that the archive never has anything but the whole data
    /// set of the object that was announced. `false`: it is passed on as it is, as a DIMSE peer has framed it to its
    /// last PDV, and the archive judges. What breaks off is aborted either way, and what has to be re-encoded has to
    /// have a structure that can be followed.
    pub checked: bool,
    /// Whose C-MOVE the object is an answer to: Move Originator Application Entity Title and Message ID (PS3.7
    /// 9.1.1.1). `None`: nobody's.
    pub originator: Option<(AeTitle, u16)>,
}

impl Default for Manner {
    /// Checked, and nobody's C-MOVE.
    fn default() -> Self {
        Self { checked: true, originator: None }
    }
}

/// What ended an attempt without the archive's final response to the whole object.
enum Failure {
    /// The fault is the object's.
    Broken(Broken),
    /// The association is of no use any more.
    Operation(OperationError),
    /// The archive gave its final response before it had the whole object.
    Early(Box<Command>),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<native::Error> for Failure {
    fn from(error: native::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

/// Stores an object.
pub(in crate::archive) async fn run(
    inner: Arc<Inner>,
    caller: Caller,
    object: Object,
    manner: Manner,
) -> Result<Stored> {
    let mut tally = Tally { inner: Arc::clone(&inner), sent: 0, outcome: "failed" };
    let stored = store(inner, caller, object, manner, &mut tally.sent).await;
    if let Ok(Stored { status, .. }) = &stored {
        tally.outcome = if *status == status::SUCCESS { "stored" } else { "warning" };
    }
    stored
}

/// Counts an object, also where nobody waits for what becomes of it any more.
struct Tally {
    inner: Arc<Inner>,
    sent: u64,
    outcome: &'static str,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.inner.figures.stored(self.outcome, self.sent);
    }
}

async fn store(
    inner: Arc<Inner>,
    caller: Caller,
    object: Object,
    manner: Manner,
    sent: &mut u64,
) -> Result<Stored> {
    let Object { head, body, .. } = object;
    let Manner { checked, originator } = manner;
    let (move_originator, move_originator_id) = originator.unzip();
    let mut source = Source::new(body, checked.then(|| Check::new(&head)));
    source.begin().await.map_err(|broken| inner.broken(broken))?;
    let limits = inner.limits();
    loop {
        let mut lease = inner.lease_for(&head, &caller, limits).await?;
        let context = match contexts::choose(lease.association().agreement(), &head) {
            Ok(context) => context.clone(),
            Err(refusal) => {
                lease.give_back();
                return Err(inner.refused(refusal, &head));
            }
        };
        let form = Native::new(&head.transfer_syntax, &context.transfer_syntax);
        if !lease.is_reused() {
            source.forget();
        }
        let request = Command {
            sop_instance: Some(head.sop_instance.clone()),
            priority: Some(MEDIUM),
            move_originator: move_originator.clone(),
            move_originator_id,
            ..Command::request(field::C_STORE_RQ, head.sop_class.as_str(), 0)
        };
        let mut operation = Operation::start_sending(lease, &context, request, limits);
        let failure = match exchange(&mut operation, &mut source, form, limits, sent).await {
            Ok(response) => {
                operation.finish();
                return inner.judge(&response);
            }
            Err(failure) => failure,
        };
        let stale = matches!(&failure, Failure::Operation(error) if operation.may_retry(error));
        operation.abort().await;
        // An association that died while it was idle says nothing about the object.
        if !(stale && source.rewind()) {
            return Err(inner.failed(failure));
        }
    }
}

/// Sends the data set and waits for the final response to it.
async fn exchange(
    operation: &mut Operation,
    source: &mut Source,
    mut form: Native,
    limits: Limits,
    sent: &mut u64,
) -> std::result::Result<Command, Failure> {
    while let Some(piece) = next(operation, source, limits).await? {
        form.push(piece)?;
        while let Some(piece) = form.pop()? {
            *sent += piece.len() as u64;
            operation.push(piece);
            make_room(operation, MAX_UNSENT).await?;
        }
    }
    for piece in form.finish()? {
        *sent += piece.len() as u64;
        operation.push(piece);
    }
    operation.finish_data();
    let reply = match operation.room(0).await? {
        None => operation.next().await?,
        // The answer may have been read in the same moment in which the last byte was written.
        Some(reply) if operation.unsent() == 0 => reply,
        Some(reply) => return Err(early(Ok(reply))),
    };
    match reply {
        Reply::Final(response, _) => Ok(response),
        _ => Err(unexpected()),
    }
}

/// The next piece of the object. While it is waited for, what is queued leaves, and the archive is heard.
async fn next(
    operation: &mut Operation,
    source: &mut Source,
    limits: Limits,
) -> std::result::Result<Option<Bytes>, Failure> {
    let mut piece = pin!(source.next());
    let at_once = poll_fn(|cx| match piece.as_mut().poll(cx) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(piece) = at_once.await {
        return Ok(piece?);
    }
    operation.let_go();
    let waiting = async {
        tokio::select! {
            biased;
            piece = &mut piece => Ok(piece?),
            reply = operation.listen() => Err(early(reply)),
            () = sleep(PATIENCE) => Err(Broken::Stalled.into()),
        }
    };
    timeout_at(limits.deadline, waiting).await.unwrap_or_else(|_| Err(Broken::TooSlow.into()))
}

/// Writes until no more than `limit` bytes are queued.
async fn make_room(operation: &mut Operation, limit: usize) -> std::result::Result<(), Failure> {
    if operation.unsent() <= limit {
        return Ok(());
    }
    match operation.room(limit).await {
        Ok(None) => Ok(()),
        Ok(Some(reply)) => Err(early(Ok(reply))),
        Err(error) => Err(error.into()),
    }
}

/// What the archive said before it had the whole object.
fn early(reply: std::result::Result<Reply, OperationError>) -> Failure {
    match reply {
        Ok(Reply::Final(response, _)) => Failure::Early(Box::new(response)),
        Ok(_) => unexpected(),
        Err(error) => error.into(),
    }
}

fn unexpected() -> Failure {
    OperationError::Protocol("not a response to C-STORE".into()).into()
}

impl Inner {
    /// An association that was offered what the object needs.
    async fn lease_for(&self, head: &Head, caller: &Caller, limits: Limits) -> Result<Lease> {
        let offer = self.recent.lock().unwrap_or_else(PoisonError::into_inner).offer(head);
        let want = contexts::needs(&head.sop_class, &head.transfer_syntax);
        let contexts = Contexts::offering(want, offer);
        self.lease(&self.store, caller, &contexts, 1, limits.deadline).await
    }

    /// What the final response means (PS3.4 B.2.3).
    fn judge(&self, response: &Command) -> Result<Stored> {
        let code = response.status.unwrap_or_default();
        match status::class(code) {
            Class::Success | Class::Warning => Ok(Stored { status: code, comment: response.comment.clone() }),
            _ => Err(self.status_error("C-STORE", response, false)),
        }
    }

    fn refused(&self, refusal: Refusal, head: &Head) -> Error {
        self.error(match refusal {
            Refusal::Class => Kind::ClassRefused(head.sop_class.clone()),
            Refusal::Syntax => Kind::SyntaxRefused(head.transfer_syntax.clone()),
        })
    }

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Broken(broken) => self.broken(broken),
            Failure::Operation(error) => self.operation_error(error),
            Failure::Early(response) => match self.judge(&response) {
                Err(error) => error,
                // It cannot have stored what it has not got.
                Ok(_) => self.error(Kind::Protocol("success before the object had come whole".into())),
            },
        }
    }

    fn broken(&self, broken: Broken) -> Error {
        self.error(Kind::SourceBroke).advise(broken.to_string())
    }
}

#[cfg(test)]
mod tests;
