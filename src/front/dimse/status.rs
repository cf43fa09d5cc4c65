//! What is said to a DIMSE client where an archive could not do something.

use crate::archive::{Error, Kind};
use crate::dimse::status;

/// The status of the response to a request with this Command Field, and its Error Comment.
pub(super) fn of(error: &Error, _field: u16) -> (u16, Option<String>) {
    match &error.kind {
        Kind::Status { code, comment, .. } => (*code, comment.clone()),
        _ => (status::PROCESSING_FAILURE, None),
    }
}
