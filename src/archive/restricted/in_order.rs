//! A data set on its way whose attributes stand in order, each once (PS3.5 7.1): what its beginning says of its patient and its
//! study, nothing behind it says otherwise, and no archive reads something else in it than we do.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use crate::dicom::object::{BrokenObject, Cursor, Object};
use crate::dicom::scan::{Event, Scanner};
use crate::dicom::{Tag, Uid};

/// Passes an object on, and breaks it off where an attribute comes out of order.
pub(super) fn in_order(object: Object) -> Object {
    let walk = Walk::new(&object.head.transfer_syntax);
    let body = Cursor::over(InOrder { body: object.body, walk });
    Object { body, ..object }
}

struct InOrder {
    body: Cursor,
    walk: Walk,
}

impl Stream for InOrder {
    type Item = Result<Bytes, BrokenObject>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => Some(self.walk.push(&bytes).map(|()| bytes)),
            other => other,
        })
    }
}

struct Walk {
    scanner: Scanner,
    depth: usize,
    last: Option<Tag>,
}

impl Walk {
    fn new(transfer_syntax: &Uid) -> Self {
        Self { scanner: Scanner::for_transfer_syntax(transfer_syntax), depth: 0, last: None }
    }

    fn push(&mut self, bytes: &Bytes) -> Result<(), BrokenObject> {
        self.scanner.push(bytes.clone());
        while let Some(event) = self.scanner.next().map_err(|_| BrokenObject)? {
            match event {
                Event::Element(header) => {
                    if self.depth == 0 && self.last.replace(header.tag).is_some_and(|last| last >= header.tag)
                    {
                        return Err(BrokenObject);
                    }
                    self.depth += 1;
                }
                Event::ElementEnd => self.depth -= 1,
                Event::Value(_)
                | Event::Item(_)
                | Event::Fragment(_)
                | Event::ItemEnd
                | Event::FragmentEnd => {}
            }
        }
        Ok(())
    }
}
