//! An object on its way, de-identified while it passes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::{Deidentifier, Key};
use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicom::scan::Error;

/// Most bytes that are held until an object has said whether its pixels name the patient: what stands before that, without
/// private attributes, is some KiB. Of an object that says it later, what has gone out breaks off before the pixels.
const MAX_HELD: usize = 1 << 20;

/// Why an object is not given out de-identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDeidentified {
    /// Burned In Annotation (0028,0301) is YES.
    #[error(
        "the object says that its pixels show who the patient is (Burned In Annotation is YES), and pixels are not cleaned"
    )]
    BurnedIn,
    /// It breaks off, or its encoding cannot be followed.
    #[error(transparent)]
    Broken(#[from] BrokenObject),
}

/// The object without what tells whose it is. One whose encoding cannot be followed breaks off.
///
/// # Errors
/// It says that its pixels name the patient, or breaks off before it has said so or not.
pub async fn deidentified(object: Object, key: &Key) -> Result<Object, NotDeidentified> {
    let deidentifier = Some(Deidentifier::new(&object.head, key));
    let (held, rest) = (VecDeque::new(), VecDeque::new());
    let mut body = Passing { source: object.body, deidentifier, held, rest, is_burned_in: false };
    let (mut held, mut length) = (VecDeque::new(), 0);
    while length < MAX_HELD && !body.is_clear() {
        match poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            Some(Ok(bytes)) => {
                length += bytes.len();
                held.push_back(bytes);
            }
            Some(Err(_)) if body.is_burned_in => return Err(NotDeidentified::BurnedIn),
            Some(Err(broken)) => return Err(broken.into()),
            None => break,
        }
    }
    body.held = held;
    Ok(Object { head: Deidentifier::head(&object.head, key), series: None, body: Cursor::over(body) })
}

struct Passing {
    source: Cursor,
    /// Taken when the source has ended.
    deidentifier: Option<Deidentifier>,
    /// What was read before the first byte went out.
    held: VecDeque<Bytes>,
    rest: VecDeque<Bytes>,
    is_burned_in: bool,
}

impl Passing {
    /// Whether nothing more can be said of the pixels.
    fn is_clear(&self) -> bool {
        self.deidentifier.as_ref().is_none_or(|it| it.is_burned_in() == Some(false))
    }
}

impl Stream for Passing {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let broken = |error: Error| {
            tracing::warn!("an object cannot be de-identified: {error}");
            BrokenObject
        };
        if let Some(bytes) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        loop {
            if self.deidentifier.as_ref().is_some_and(|it| it.is_burned_in() == Some(true)) {
                tracing::warn!("an object is not de-identified: its pixels say who the patient is");
                self.is_burned_in = true;
                return Poll::Ready(Some(Err(BrokenObject)));
            }
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
