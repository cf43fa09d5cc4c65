//! N-EVENT-REPORTs that come on associations of the pool, asked for long ago or by somebody else.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::dicom::Uid;
use crate::dimse::command::Command;

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
