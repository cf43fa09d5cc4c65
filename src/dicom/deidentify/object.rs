//! An object on its way, de-identified while it passes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::{Deidentifier, Key};
use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicom::scan::Error;

/// The object without what tells whose it is. One whose encoding cannot be followed breaks off.
pub fn deidentified(object: Object, key: &Key) -> Object {
    let deidentifier = Some(Deidentifier::new(&object.head, key));
    let body = Passing { source: object.body, deidentifier, rest: VecDeque::new() };
    Object { head: Deidentifier::head(&object.head, key), series: None, body: Cursor::over(body) }
}

struct Passing {
    source: Cursor,
    /// Taken when the source has ended.
    deidentifier: Option<Deidentifier>,
    rest: VecDeque<Bytes>,
}

impl Stream for Passing {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let broken = |error: Error| {
            tracing::warn!("an object cannot be de-identified: {error}");
            BrokenObject
        };
        loop {
            let next = match &mut self.deidentifier {
                None => return Poll::Ready(self.rest.pop_front().map(Ok)),
                Some(deidentifier) => deidentifier.pop().map_err(broken)?,
            };
            if let Some(bytes) = next {
                return Poll::Ready(Some(Ok(bytes)));
            }
            let piece = ready!(Pin::new(&mut self.source).poll_next(cx)).transpose()?;
            match (&mut self.deidentifier, piece) {
                (Some(deidentifier), Some(bytes)) => deidentifier.push(bytes).map_err(broken)?,
                _ => {
                    let rest = self.deidentifier.take().map_or(Ok(Vec::new()), Deidentifier::finish);
                    self.rest = rest.map_err(broken)?.into();
                }
            }
        }
    }
}
