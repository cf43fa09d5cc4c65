//! What is told of an operation, once, however it ends: a count, a duration, a span of a trace.

use tokio::time::Instant;
use tracing::Span;

use super::{OperationError, Reply};
use crate::dimse::association::AssociationError;
use crate::dimse::command::field;
use crate::dimse::status::{Class, class};
use crate::metrics::OfArchive;
use crate::trace;

/// An operation under way. It has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    figures: OfArchive,
    operation: &'static str,
    begun: Instant,
    span: Span,
    cancelled: bool,
    /// How it went, as far as is known.
    outcome: Option<&'static str>,
}

impl Watch {
    /// The operation with this Command Field begins.
    pub(super) fn begin(figures: OfArchive, command_field: u16) -> Self {
        let operation = field::name(command_field);
        let span = trace::operation(figures.name(), operation);
        Self { figures, operation, begun: Instant::now(), span, cancelled: false, outcome: None }
    }

    /// Nobody wants it any more.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// The peer said this, or an error came, which whoever asks may take for none.
    pub(super) fn saw(&mut self, result: Result<&Reply, &OperationError>) {
        self.outcome = match result {
            Ok(Reply::Final(response, _)) => {
                let code = response.status.unwrap_or_default();
                trace::status(&self.span, code);
                Some(match class(code) {
                    Class::Success | Class::Pending => "success",
                    Class::Warning => "warning",
                    Class::Cancel => "cancelled",
                    Class::Failure => "failure",
                })
            }
            Ok(_) => None,
            Err(_) if self.cancelled => Some("cancelled"),
            Err(error) => Some(match error {
                OperationError::NotAccepted => "refused",
                OperationError::Silence | OperationError::Deadline => "timeout",
                OperationError::Association(AssociationError::Protocol(_)) | OperationError::Protocol(_) => {
                    "protocol"
                }
                OperationError::Association(_) | OperationError::Released => "aborted",
            }),
        };
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(if self.cancelled { "cancelled" } else { "aborted" });
        self.figures.operation(self.operation, outcome, Some(self.begun.elapsed()));
        trace::outcome(&self.span, outcome, !matches!(outcome, "success" | "warning" | "cancelled"));
    }
}
