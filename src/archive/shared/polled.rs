//! Steps that are polled for, as a feed takes them.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::archive::{Fut, Step, Steps};
use crate::dicom::object::Object;

/// Objects for one reader.
pub(super) trait Source: Send {
    /// The next step. After the end there is none.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<Object>>;
}

/// What a feed reads of a [`Source`].
pub(super) struct Polled<S>(pub(super) S);

impl<S: Source> Steps<Object> for Polled<S> {
    fn ready(&mut self) -> Option<Step<Object>> {
        match self.0.poll_step(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(step) => Some(step),
            Poll::Pending => None,
        }
    }

    fn next(&mut self) -> Fut<'_, Step<Object>> {
        Box::pin(poll_fn(|cx| self.0.poll_step(cx)))
    }
}

impl<S> fmt::Debug for Polled<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").finish_non_exhaustive()
    }
}
