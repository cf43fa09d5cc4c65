//! From the bytes of the parts to objects under way: the beginning of a part is read, its bytes pass through.

use super::refusal::Refusal;
use super::stores::{Instance, Stores};
use crate::archive::Error;
use crate::dicom::Uid;
use crate::dicom::head::HeadReader;
use crate::dicom::object::{Head, ObjectLog};
use crate::dicom::part10::{FileMeta, MetaReader};
use crate::dicomweb::store_response::Reference;
use bytes::Bytes;

/// Most parts of one request. Each is an item of the answer, which is held in memory.
pub(super) const MAX_PARTS: usize = 20_000;

/// More parts came than one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyParts;

/// Takes the parts of one request.
pub(super) struct Intake {
    stores: Stores,
    /// The study that all instances have to belong to.
    study: Option<Uid>,
    part: Part,
}

/// The part that is open.
enum Part {
    /// None is, or nothing more of it is wanted.
    Passed,
    Meta {
        reader: MetaReader,
        /// The `transfer-syntax` parameter of the part's Content-Type.
        labelled: Option<Uid>,
    },
    Head {
        meta: FileMeta,
        syntax: Uid,
        reader: Box<HeadReader>,
    },
    Passing(ObjectLog),
}

impl Intake {
    /// Takes instances of `study`, or of any.
    pub(super) fn new(stores: Stores, study: Option<Uid>) -> Self {
        Self { stores, study, part: Part::Passed }
    }

    /// Begins a part with a PS3.10 file.
    pub(super) fn begin(&mut self, labelled: Option<Uid>) -> Result<(), TooManyParts> {
        self.check_count()?;
        self.part = Part::Meta { reader: MetaReader::new(), labelled };
        Ok(())
    }

    /// Begins a part that is not read.
    pub(super) fn begin_refused(&mut self, refusal: Refusal) -> Result<(), TooManyParts> {
        self.check_count()?;
        self.refuse(Reference::default(), refusal);
        Ok(())
    }

    /// Takes the next bytes of the part; waits as long as the archive has no room for them.
    pub(super) async fn push(&mut self, bytes: Bytes) {
        let bytes = match &mut self.part {
            Part::Passed => return,
            Part::Passing(log) => return log.append(&bytes).await,
            Part::Head { .. } => bytes,
            Part::Meta { reader, .. } => match reader.push(bytes) {
                Ok(None) => return,
                Ok(Some((meta, rest))) => {
                    if !self.enter_data_set(meta) {
                        return;
                    }
                    rest
                }
                Err(error) => return self.refuse(Reference::default(), error.into()),
            },
        };
        if let Part::Head { reader, .. } = &mut self.part
            && reader.push(bytes, false)
        {
            self.decide().await;
        }
    }

    /// The part has ended as a part ends.
    pub(super) async fn end(&mut self) {
        if let Part::Head { reader, .. } = &mut self.part {
            reader.push(Bytes::new(), true);
            self.decide().await;
        }
        match std::mem::replace(&mut self.part, Part::Passed) {
            Part::Passing(log) => log.finish(),
            Part::Meta { .. } => self.refuse(Reference::default(), Refusal::NoPrefix),
            Part::Passed | Part::Head { .. } => {}
        }
    }

    /// Why no more objects are tried.
    pub(super) fn given_up(&self) -> Option<&Error> {
        self.stores.given_up()
    }

    /// No more parts come: the answers. A part that is open is broken off, and its object with it.
    pub(super) async fn finish(mut self) -> Vec<Instance> {
        match std::mem::replace(&mut self.part, Part::Passed) {
            // Dropped unfinished, the log tells the archive.
            Part::Passing(_) | Part::Passed => {}
            Part::Meta { .. } => self.refuse(Reference::default(), Refusal::BrokenOff),
            Part::Head { meta, .. } => {
                let reference =
                    Reference { class: meta.class, instance: meta.instance, ..Reference::default() };
                self.refuse(reference, Refusal::BrokenOff);
            }
        }
        self.stores.finish().await
    }

    fn check_count(&self) -> Result<(), TooManyParts> {
        if self.stores.len() < MAX_PARTS { Ok(()) } else { Err(TooManyParts) }
    }

    fn refuse(&mut self, reference: Reference, refusal: Refusal) {
        self.part = Part::Passed;
        self.stores.refuse(reference, refusal);
    }

    /// Goes on to the data set; `false`: nobody knows how to read it.
    fn enter_data_set(&mut self, meta: FileMeta) -> bool {
        let Part::Meta { labelled, .. } = &mut self.part else { return false };
        // The file knows itself better than its label (PS3.18 8.7.9).
        let Some(syntax) = meta.transfer_syntax.clone().or(labelled.take()) else {
            let reference = Reference { class: meta.class, instance: meta.instance, ..Reference::default() };
            self.refuse(reference, Refusal::NoTransferSyntax);
            return false;
        };
        let reader = Box::new(HeadReader::new(&syntax));
        self.part = Part::Head { meta, syntax, reader };
        true
    }

    /// The head is read: the object is refused, or its store begins with what was held back.
    async fn decide(&mut self) {
        let Part::Head { meta, syntax, reader } = std::mem::replace(&mut self.part, Part::Passed) else {
            return;
        };
        let transfer_syntax = reader.transfer_syntax(&syntax);
        let (found, held) = reader.into_parts();
        // The data set is the object; its File Meta Information is what some tool wrote around it, and many that
        // change UIDs leave it as it was.
        let missing =
            [&found.class, &found.instance, &found.study, &found.series].iter().any(|uid| uid.is_none());
        let foreign = self.study.is_some() && found.study != self.study;
        let reference = Reference {
            class: found.class.or(meta.class),
            instance: found.instance.or(meta.instance),
            study: found.study,
            series: found.series,
        };
        let (Some(sop_class), Some(sop_instance), false) =
            (reference.class.clone(), reference.instance.clone(), missing)
        else {
            return self.refuse(reference, Refusal::MissingUids);
        };
        if foreign {
            return self.refuse(reference, Refusal::ForeignStudy);
        }
        let head = Head { sop_class, sop_instance, transfer_syntax };
        if let Some(log) = self.stores.begin(reference, found.patient, head).await {
            for bytes in held {
                log.append(&bytes).await;
            }
            self.part = Part::Passing(log);
        }
    }
}
