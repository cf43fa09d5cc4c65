//! Objects become PS3.10 files as their bytes arrive, and the answer ends well only when the archive layer has
//! proven that everything came.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::body::{Broken, Pieces};
use crate::archive::{Complete, Feed, Step};
use crate::dicom::Uid;
use crate::dicom::encode::part10_header;
use crate::dicom::object::{Cursor, Head, Object};
use crate::dicom::query::Target;
use crate::dicom::reencode::Reencoder;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, is_allowed_on_the_web, layout};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::zip;

/// The transfer syntax that an object of this head has on the web: its own, or Explicit VR Little Endian for
/// those that the web does not have (PS3.18 8.7.3).
pub(super) fn web_syntax(head: &Head) -> Uid {
    if is_allowed_on_the_web(&head.transfer_syntax) {
        head.transfer_syntax.clone()
    } else {
        Uid::from_static(EXPLICIT_VR_LE)
    }
}

/// What stands around the files.
#[derive(Debug)]
pub(super) enum Framing {
    /// `multipart/related`, one file a part.
    Multipart(Writer<Complete>),
    /// `application/zip`, with the files of this entity.
    Zip(zip::Writer<Complete>, Target),
    /// One bare file.
    SinglePart,
}

/// Objects as PS3.10 files.
#[derive(Debug)]
pub(super) struct Files {
    feed: Feed<Object>,
    /// Taken when the body is complete.
    framing: Option<Framing>,
    current: Option<File>,
    ready: VecDeque<Bytes>,
    objects: usize,
}

/// The object that is being written.
#[derive(Debug)]
struct File {
    body: Cursor,
    /// For the syntaxes that the web does not have.
    reencoder: Option<Reencoder>,
}

impl Pieces for Files {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.framing.is_none() {
                return Poll::Ready(Ok(None));
            }
            if let Some(file) = &mut self.current {
                match ready!(Pin::new(&mut file.body).poll_next(cx)).transpose()? {
                    Some(bytes) => match &mut file.reencoder {
                        None => self.write([bytes]),
                        Some(reencoder) => {
                            let pieces = reencoder.push(bytes)?;
                            self.write(pieces);
                        }
                    },
                    None => {
                        if let Some(reencoder) = self.current.take().and_then(|file| file.reencoder) {
                            self.write(reencoder.finish()?);
                        }
                    }
                }
                continue;
            }
            // `Feed::next` is cancel-safe: what is dropped here has taken nothing.
            let step = ready!(pin!(self.feed.next()).poll(cx));
            match step {
                Step::Item(object) => self.begin(object)?,
                Step::End(Ok(complete)) => self.finish(complete),
                Step::End(Err(error)) => return Poll::Ready(Err(Broken::Archive(error))),
            }
        }
    }
}

impl Files {
    /// Files of `first` and what follows it in `feed`.
    pub(super) fn new(first: Object, feed: Feed<Object>, framing: Framing) -> Self {
        let ready = VecDeque::new();
        let mut files = Self { feed, framing: Some(framing), current: None, ready, objects: 0 };
        // The first file fits into either framing.
        let _ = files.begin(first);
        files
    }

    /// Begins a file: the part's headers and the File Meta Information, in one piece.
    fn begin(&mut self, object: Object) -> Result<(), Broken> {
        let Object { head, series, body } = object;
        let syntax = web_syntax(&head);
        let reencoder =
            (syntax != head.transfer_syntax).then(|| Reencoder::new(layout(&head.transfer_syntax)));
        let file_head = Head { transfer_syntax: syntax.clone(), ..head };
        let meta = part10_header(&file_head);
        match &mut self.framing {
            Some(Framing::Multipart(writer)) => {
                let content_type = format!("application/dicom; transfer-syntax={syntax}");
                let mut opening = writer.part(&[("Content-Type", &content_type)]).to_vec();
                opening.extend(meta);
                self.ready.push_back(opening.into());
            }
            Some(Framing::Zip(writer, target)) => {
                let series = series.as_ref().or(target.series.as_ref());
                let name = zip::Name::new(&target.study, series, &file_head.sop_instance);
                self.ready.push_back(writer.begin(name)?);
                writer.write(meta.into(), &mut self.ready);
            }
            Some(Framing::SinglePart) if self.objects == 0 => self.ready.push_back(meta.into()),
            _ => return Err(Broken::Surplus),
        }
        self.objects += 1;
        self.current = Some(File { body, reencoder });
        Ok(())
    }

    /// Writes the next bytes of the file.
    fn write(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        match &mut self.framing {
            Some(Framing::Zip(writer, _)) => {
                pieces.into_iter().for_each(|piece| writer.write(piece, &mut self.ready));
            }
            _ => self.ready.extend(pieces),
        }
    }

    fn finish(&mut self, complete: Complete) {
        match self.framing.take() {
            Some(Framing::Multipart(writer)) => self.ready.push_back(writer.finish(complete)),
            Some(Framing::Zip(writer, _)) => self.ready.push_back(writer.finish(complete)),
            Some(Framing::SinglePart) | None => {}
        }
    }
}
