//! One request that is passed on, and the archive's answers to it.

use std::sync::Arc;

use super::{Answer, Invocation};
use crate::archive::Result;
use crate::archive::error::Kind;
use crate::archive::remote::Inner;
use crate::caller::Caller;

/// A request under way.
#[derive(Debug)]
pub struct Exchange {
    inner: Arc<Inner>,
}

impl Exchange {
    /// The next answer. Cancel-safe.
    ///
    /// # Errors
    /// The archive does not answer as it should; the exchange is over.
    pub async fn next(&mut self) -> Result<Answer> {
        Err(self.inner.error(Kind::Unsupported("not served yet".into())))
    }

    /// Asks the archive to stop (C-CANCEL). Answers still come.
    pub fn cancel(&mut self) {}
}

/// Passes a request on.
pub(super) async fn invoke(inner: Arc<Inner>, _: Caller, _: Invocation) -> Result<Exchange> {
    Err(inner.error(Kind::Unsupported("not served yet".into())))
}
