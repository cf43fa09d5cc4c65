//! Objects become PS3.10 files as their bytes arrive, and the answer ends well only when the archive layer has
//! proven that everything came.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::body::{Broken, Pieces};
use super::contents::{Content, Contents};
use crate::archive::Complete;
use crate::dicom::Uid;
use crate::dicom::encode::part10_header;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::zip;

/// What stands around the files.
#[derive(Debug)]
pub(super) enum Framing {
    /// `multipart/related`, one file a part.
    Multipart(Writer<Complete>),
    /// `application/zip`, with the files of this entity, and a list of its instances that are missing.
    Zip { writer: zip::Writer<Complete>, target: Target, missing: Vec<Uid> },
    /// One bare file.
    SinglePart,
}

/// Objects as PS3.10 files.
#[derive(Debug)]
pub(super) struct Files {
    contents: Contents,
    /// Taken when the body is complete.
    framing: Option<Framing>,
    ready: VecDeque<Bytes>,
    objects: usize,
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
            match ready!(self.contents.poll_next(cx))? {
                Content::Begin(head, series) => self.begin(&head, series)?,
                Content::Bytes(bytes) => self.write(bytes),
                Content::End(complete) => self.finish(complete)?,
            }
        }
    }
}

impl Files {
    /// Files of these objects.
    pub(super) fn new(contents: Contents, framing: Framing) -> Self {
        Self { contents, framing: Some(framing), ready: VecDeque::new(), objects: 0 }
    }

    /// Begins a file: the part's headers and the File Meta Information, in one piece.
    fn begin(&mut self, head: &Head, series: Option<Uid>) -> Result<(), Broken> {
        let meta = part10_header(head);
        match &mut self.framing {
            Some(Framing::Multipart(writer)) => {
                let content_type = format!("application/dicom; transfer-syntax={}", head.transfer_syntax);
                let mut opening = writer.part(&[("Content-Type", &content_type)]).to_vec();
                opening.extend(meta);
                self.ready.push_back(opening.into());
            }
            Some(Framing::Zip { writer, target, .. }) => {
                let series = series.as_ref().or(target.series.as_ref());
                let name = zip::Name::new(&target.study, series, &head.sop_instance);
                self.ready.push_back(writer.begin(name)?);
                writer.write(meta.into(), &mut self.ready);
            }
            Some(Framing::SinglePart) if self.objects == 0 => self.ready.push_back(meta.into()),
            _ => return Err(Broken::Surplus),
        }
        self.objects += 1;
        Ok(())
    }

    /// Writes the next bytes of the file.
    fn write(&mut self, bytes: Bytes) {
        match &mut self.framing {
            Some(Framing::Zip { writer, .. }) => writer.write(bytes, &mut self.ready),
            _ => self.ready.push_back(bytes),
        }
    }

    fn finish(&mut self, complete: Complete) -> Result<(), Broken> {
        match self.framing.take() {
            Some(Framing::Multipart(writer)) => self.ready.push_back(writer.finish(complete)),
            Some(Framing::Zip { mut writer, target, missing }) => {
                if !missing.is_empty() {
                    self.ready.push_back(writer.begin(zip::Name::missing(&target.study))?);
                    writer.write(listed(&missing).into(), &mut self.ready);
                }
                self.ready.push_back(writer.finish(complete));
            }
            Some(Framing::SinglePart) | None => {}
        }
        Ok(())
    }
}

/// A list of missing instances, for a person.
fn listed(missing: &[Uid]) -> String {
    let mut list = format!(
        "{} instances are missing here: the archive lists them, and has not delivered them.\n\n",
        missing.len()
    );
    missing.iter().for_each(|instance| list.extend([instance.as_str(), "\n"]));
    list
}
