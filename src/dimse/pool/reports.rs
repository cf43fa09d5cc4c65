//! N-EVENT-REPORTs that come on associations of the pool, asked for long ago or by somebody else.

use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::dicom::Uid;
use crate::dimse::association::{Association, AssociationError, Event};
use crate::dimse::command::{Command, field};
use crate::dimse::status;

/// Largest data set of a report that is taken, in bytes: the results of some 20,000 instances. A longer one is read to
/// its end and answered with 0213.
pub const MAX_REPORT_LENGTH: usize = 4 << 20;
/// Most reports that wait for their answers on one association: who sends more at once is no archive.
pub(in crate::dimse) const MAX_DUE: usize = 64;
/// How long the data set of a report may take, and again its answer.
const REPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// An N-EVENT-REPORT-RQ that came on an association of the pool (PS3.7 10.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The request.
    pub command: Command,
    /// What `data` is encoded in.
    pub transfer_syntax: Uid,
    /// The data set; empty where there is none.
    pub data: Bytes,
}

/// Who takes reports.
pub trait Reports: Send + Sync {
    /// Takes one; the future gives the status of the response.
    fn take(&self, report: Report) -> Pin<Box<dyn Future<Output = u16> + Send>>;
}

/// A report that is coming in.
#[derive(Debug)]
pub(in crate::dimse) struct Gathering {
    context: u8,
    command: Command,
    data: BytesMut,
    too_long: bool,
}

impl Gathering {
    /// The report that begins with this command; `None`: it is another command.
    pub(in crate::dimse) fn begin(context: u8, command: &Command) -> Option<Self> {
        let is_report = command.field == field::N_EVENT_REPORT_RQ;
        is_report.then(|| Self { context, command: command.clone(), data: BytesMut::new(), too_long: false })
    }

    /// Takes the next piece of the data set.
    pub(in crate::dimse) fn push(&mut self, bytes: &[u8]) {
        self.too_long |= self.data.len() + bytes.len() > MAX_REPORT_LENGTH;
        if self.too_long {
            self.data = BytesMut::new();
        } else {
            self.data.extend_from_slice(bytes);
        }
    }

    /// It is whole: `reports` takes it, and the answer is due.
    pub(in crate::dimse) fn hand_over(self, association: &Association, reports: Option<&dyn Reports>) -> Due {
        let Self { context, command, data, too_long } = self;
        let response = command.response(status::SUCCESS);
        let syntax = association.agreement().context(context).map(|c| c.transfer_syntax.clone());
        let status: Pin<Box<dyn Future<Output = u16> + Send>> = match (reports, syntax) {
            _ if too_long => Box::pin(ready(status::RESOURCE_LIMITATION)),
            (Some(reports), Some(transfer_syntax)) => {
                reports.take(Report { command, transfer_syntax, data: data.freeze() })
            }
            _ => Box::pin(ready(status::UNRECOGNIZED_OPERATION)),
        };
        Due { context, response, status }
    }
}

/// An answer that is due.
pub(in crate::dimse) struct Due {
    context: u8,
    response: Command,
    status: Pin<Box<dyn Future<Output = u16> + Send>>,
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Queues the answers whose status is known; true: no other is due.
pub(in crate::dimse) fn poll_due(
    due: &mut Vec<Due>,
    association: &mut Association,
    cx: &mut Context<'_>,
) -> bool {
    due.retain_mut(|due| match due.status.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(status) => {
            due.response.status = Some(status);
            association.send(due.context, &due.response, None);
            false
        }
    });
    due.is_empty()
}

/// Waits for the answers that are due, and writes them.
pub(super) async fn answer(mut due: Vec<Due>, association: &mut Association) -> Result<(), AssociationError> {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let answered = async {
        poll_fn(|cx| if poll_due(&mut due, association, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        association.flush().await
    };
    timeout_at(deadline, answered).await.unwrap_or_else(|_| Err(too_slow()))
}

/// Serves the report that has begun on an association which does nothing else: its data set, its answer.
pub(super) async fn serve(
    mut report: Gathering,
    association: &mut Association,
    reports: Option<&dyn Reports>,
) -> Result<(), AssociationError> {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let mut is_whole = !report.command.has_data_set;
    while !is_whole {
        let event = timeout_at(deadline, association.event()).await.unwrap_or_else(|_| Err(too_slow()))?;
        let Event::Data { bytes, last } = event else {
            return Err(AssociationError::Protocol("a report that is cut off".to_owned()));
        };
        report.push(&bytes);
        is_whole = last;
    }
    let due = report.hand_over(association, reports);
    answer(vec![due], association).await
}

fn too_slow() -> AssociationError {
    AssociationError::Protocol("a report that takes too long".to_owned())
}

#[cfg(test)]
mod tests;
