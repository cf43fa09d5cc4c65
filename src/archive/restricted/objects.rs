//! Objects that say themselves which study they belong to, before a byte of them is passed on.
//!
//! Some archives look an instance up by its own UID and take no notice of the study before it: whoever may see one study
//! could name any instance below it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::archive::{Error, Feed, Fut, Kind, Step, Steps};
use crate::dicom::Uid;
use crate::dicom::head::{HeadReader, Identifiers};
use crate::dicom::object::{BrokenObject, Cursor, Object};

/// The beginning of an object is read.
type Peeking = Pin<Box<dyn Future<Output = (Identifiers, Object)> + Send>>;

/// Objects of one study.
pub(super) struct Objects {
    feed: Option<Feed<Object>>,
    study: Uid,
    archive: String,
    /// The object whose beginning is read.
    peeking: Option<Peeking>,
}

impl Objects {
    /// Those of `feed`, as long as they belong to `study`.
    pub(super) fn new(feed: Feed<Object>, study: Uid, archive: &str) -> Self {
        Self { feed: Some(feed), study, archive: archive.to_owned(), peeking: None }
    }

    fn not_found(&mut self) -> Step<Object> {
        // What else would come is nobody's business here.
        self.feed = None;
        Step::End(Err(Error::new(&self.archive, Kind::NotFound)))
    }
}

impl Steps<Object> for Objects {
    fn ready(&mut self) -> Option<Step<Object>> {
        None
    }

    fn next(&mut self) -> Fut<'_, Step<Object>> {
        // What is under way stays in `self`: a call that is dropped has taken nothing.
        Box::pin(async move {
            loop {
                if let Some(peeking) = &mut self.peeking {
                    let (found, object) = peeking.as_mut().await;
                    self.peeking = None;
                    let is_own = found.study.as_ref() == Some(&self.study);
                    return if is_own { Step::Item(object) } else { self.not_found() };
                }
                let Some(feed) = &mut self.feed else { return self.not_found() };
                match feed.next().await {
                    Step::Item(object) => self.peeking = Some(Box::pin(peek(object))),
                    end @ Step::End(_) => return end,
                }
            }
        })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Reads the beginning of an object, and puts it back before the rest.
pub(super) async fn peek(object: Object) -> (Identifiers, Object) {
    let Object { head, series, mut body } = object;
    let mut reader = HeadReader::new(&head.transfer_syntax);
    let mut is_broken = false;
    let is_known = loop {
        match body.next().await {
            Some(Ok(bytes)) => {
                if reader.push(bytes, false) {
                    break true;
                }
            }
            Some(Err(BrokenObject)) => {
                is_broken = true;
                break false;
            }
            None => break false,
        }
    };
    if !is_known {
        reader.push(Bytes::new(), true);
    }
    let (found, held) = reader.into_parts();
    // A cursor that has ended tells no more how.
    let rest = is_known.then_some(body);
    let body = Cursor::over(Rejoined { held: held.into(), rest, is_broken });
    (found, Object { head, series, body })
}

/// What was held back, and what follows it.
struct Rejoined {
    held: VecDeque<Bytes>,
    rest: Option<Cursor>,
    is_broken: bool,
}

impl Stream for Rejoined {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(bytes) = self.held.pop_front() {
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
        let is_broken = self.is_broken;
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_next(cx),
            None if is_broken => Poll::Ready(Some(Err(BrokenObject))),
            None => Poll::Ready(None),
        }
    }
}
