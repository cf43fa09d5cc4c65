//! From an object that is coming to pictures of its frames.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::asked::Asked;
use super::workshop::Workshop;
use crate::dicom::Uid;
use crate::dicom::object::{Cursor, Head as ObjectHead};
use crate::dicom::transfer_syntax::is_encapsulated;
use crate::dicomweb::media_type::{GIF, PNG};
use crate::front::http::body::Broken;
use crate::front::http::workers::Lost;
use crate::image::codec::{Refusal, can_decode, decode};
use crate::image::frames::{AllCut, Cut, Cutter, Step};
use crate::image::pixels::{Frame, Shape};
use crate::image::render::attributes::{frame_time, shape};
use crate::image::render::viewport::pixels_of;
use crate::image::render::write::{self, Gif, NotWritten};
use crate::image::render::{self, Head, HeadReader, Presentation, render, render_as};

/// What a picture takes besides its frame: tables, the file, what codecs hold.
const BESIDES: u64 = 1 << 20;
/// Longest file of pictures that follow each other.
const LONGEST_GIF: usize = 64 << 20;
/// How long a picture stands where the object does not say, in milliseconds.
const FRAME_TIME: f64 = 100.0;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(in crate::front::http) enum NotDrawn {
    #[error("there are no images")]
    NoImage,
    #[error("the presentation state says nothing of this image")]
    NotPresented,
    #[error(transparent)]
    NotShown(#[from] render::Error),
    #[error("the frame is not decoded: {0}")]
    NotDecoded(#[from] Refusal),
    #[error("pictures of the object would take more memory than there is")]
    TooLarge,
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Which frames are wanted.
#[derive(Debug, Clone)]
pub(super) enum Frames {
    All,
    /// Ascending.
    Some(Vec<u32>),
}

/// How pictures of an object are to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    workshop: Workshop,
    object: ObjectHead,
    asked: Asked,
    media_type: &'static str,
}

impl Drawing {
    pub(super) fn new(
        workshop: Workshop,
        object: &ObjectHead,
        asked: &Asked,
        media_type: &'static str,
    ) -> Self {
        Self { workshop, object: object.clone(), asked: asked.clone(), media_type }
    }

    /// Pictures of these frames.
    pub(super) fn frames(self, wanted: Frames) -> Pictures {
        let syntax = &self.object.transfer_syntax;
        let (cutter, list) = match wanted {
            Frames::All => (Cutter::all(syntax), None),
            Frames::Some(list) => (Cutter::new(syntax, list.clone()), Some(list)),
        };
        let reader = Some(HeadReader::new(syntax, list));
        Pictures { drawing: self, cutter: Some(cutter), reader, image: None, place: None }
    }
}

/// Pictures of an object's frames.
#[derive(Debug)]
pub(super) struct Pictures {
    drawing: Drawing,
    /// Gone when the object has ended.
    cutter: Option<Cutter>,
    /// Gone when the first frame begins.
    reader: Option<HeadReader>,
    image: Option<Arc<Image>>,
    place: Option<OwnedSemaphorePermit>,
}

/// What stands before the frames.
#[derive(Debug)]
struct Image {
    head: Head,
    shape: Shape,
}

/// A frame that is to be drawn.
struct Coded {
    number: u32,
    bytes: BytesMut,
    _memory: OwnedSemaphorePermit,
}

/// What comes next.
pub(super) enum Next {
    /// The picture of a frame, as a file.
    Picture(u32, Bytes),
    Done(AllCut),
}

impl Pictures {
    /// The picture of the next frame.
    pub(super) async fn next(&mut self, object: &mut Cursor) -> Result<Next, Broken> {
        let (frame, image) = match self.frame(object).await? {
            Ok(next) => next,
            Err(proof) => return Ok(Next::Done(proof)),
        };
        let (number, drawing) = (frame.number, self.drawing.clone());
        let workshop = drawing.workshop.clone();
        let file = workshop.run(move || drawing.file(&image, frame)).await;
        Ok(Next::Picture(number, file.and_then(|file| file).map_err(Broken::Picture)?))
    }

    /// One file: the picture of the one frame, or as GIF those of all that are wanted.
    pub(super) async fn file(mut self, object: &mut Cursor) -> Result<Bytes, Broken> {
        if self.drawing.media_type != GIF {
            return match self.next(object).await? {
                Next::Picture(_, file) => Ok(file),
                Next::Done(_) => Err(Broken::Picture(NotDrawn::NoImage)),
            };
        }
        let workshop = self.drawing.workshop.clone();
        let mut gif: Option<Gif> = None;
        while let Ok((frame, image)) = self.frame(object).await? {
            let drawing = self.drawing.clone();
            let begun = gif.take();
            let added = workshop.run(move || drawing.add(begun, &image, frame)).await;
            let added = added.and_then(|gif| gif).map_err(Broken::Picture)?;
            if added.length() > LONGEST_GIF {
                return Err(Broken::Picture(NotDrawn::TooLarge));
            }
            gif = Some(added);
        }
        let gif = gif.ok_or(Broken::Picture(NotDrawn::NoImage))?;
        Ok(gif.finish().map_err(|error| Broken::Picture(error.into()))?.into())
    }

    /// The next frame as it stands in the object; `Err`: all are out.
    async fn frame(&mut self, object: &mut Cursor) -> Result<Result<(Coded, Arc<Image>), AllCut>, Broken> {
        if self.place.is_none() {
            self.place = Some(self.drawing.workshop.reader().await);
        }
        let mut current: Option<Coded> = None;
        loop {
            let Some(cutter) = &mut self.cutter else { return Err(Broken::Surplus) };
            match cutter.next()? {
                Step::Cut(Cut::Begin { number, .. }) => {
                    let image = self.image()?;
                    let needed = self.drawing.needed(&image, number);
                    let memory = self.drawing.workshop.memory(needed);
                    let _memory = memory.await.map_err(Broken::Picture)?;
                    current = Some(Coded { number, bytes: BytesMut::new(), _memory });
                }
                Step::Cut(Cut::Bytes(bytes)) => {
                    let image = self.image()?;
                    if let Some(frame) = &mut current {
                        if (frame.bytes.len() + bytes.len()) as u64 > longest(&image.shape) {
                            return Err(Broken::Picture(NotDrawn::TooLarge));
                        }
                        frame.bytes.extend_from_slice(&bytes);
                    }
                }
                Step::Cut(Cut::End) => {
                    if let Some(frame) = current.take() {
                        return Ok(Ok((frame, self.image()?)));
                    }
                }
                Step::Done(proof) => return Ok(Err(proof)),
                Step::MoreBytes => match object.next().await.transpose()? {
                    Some(bytes) => {
                        if let Some(reader) = &mut self.reader {
                            reader.push(bytes.clone())?;
                        }
                        cutter.push(bytes);
                    }
                    None => match self.cutter.take().map(Cutter::finish) {
                        Some(finished) => return Ok(Err(finished?)),
                        None => return Err(Broken::Surplus),
                    },
                },
            }
        }
    }

    /// What stands before the frames, once the first of them has begun.
    fn image(&mut self) -> Result<Arc<Image>, Broken> {
        if let Some(image) = &self.image {
            return Ok(Arc::clone(image));
        }
        let head = self.reader.take().and_then(HeadReader::finish);
        let head = head.ok_or(Broken::Picture(NotDrawn::NoImage))?;
        let shape = shape(&head.data_set).map_err(|error| Broken::Picture(error.into()))?;
        let image = Arc::new(Image { head, shape });
        self.image = Some(Arc::clone(&image));
        Ok(image)
    }
}

impl Drawing {
    /// The picture of a frame as a file.
    fn file(&self, image: &Image, frame: Coded) -> Result<Bytes, NotDrawn> {
        let picture = self.picture(image, frame)?;
        let file = match self.media_type {
            PNG => write::png(&picture)?,
            GIF => return Ok(added(None, image, &picture)?.finish()?.into()),
            _ => write::jpeg(&picture, self.asked.quality)?,
        };
        Ok(file.into())
    }

    /// Adds the picture of a frame to a GIF.
    fn add(&self, gif: Option<Gif>, image: &Image, frame: Coded) -> Result<Gif, NotDrawn> {
        Ok(added(gif, image, &self.picture(image, frame)?)?)
    }

    fn picture(&self, image: &Image, coded: Coded) -> Result<render::Picture, NotDrawn> {
        let frame = if !is_encapsulated(&self.object.transfer_syntax) {
            Frame { shape: image.shape, bytes: coded.bytes.into() }
        } else {
            decode(&self.object.transfer_syntax, &coded.bytes, &image.shape)?
        };
        let (head, number, options) = (&image.head, coded.number, &self.asked.options);
        Ok(match self.presentation(number) {
            None => render(head, &frame, number, options)?,
            Some(presentation) => {
                render_as(head, &frame, number, options, &presentation.ok_or(NotDrawn::NotPresented)?)?
            }
        })
    }

    /// How the presentation state that is asked for shows a frame; `Some(None)`: it is not about that.
    fn presentation(&self, number: u32) -> Option<Option<Presentation>> {
        let state = self.asked.presentation.as_ref()?;
        Some(Presentation::read(state, &self.object.sop_instance, number))
    }

    /// The memory that a frame needs until its picture is a file: as it came, decoded, drawn, and as large as it is wanted.
    fn needed(&self, image: &Image, number: u32) -> u64 {
        let Image { head, shape } = image;
        let presentation = self.presentation(number).flatten();
        let wanted = pixels_of(head, number, shape, self.asked.options.viewport, presentation.as_ref());
        longest(shape) + shape.frame_length() + 3 * shape.pixels() as u64 + 6 * wanted + BESIDES
    }
}

/// Whether frames of this transfer syntax can be shown: natively encoded ones, and those that are decoded.
pub(super) fn can_be_shown(syntax: &Uid) -> bool {
    !is_encapsulated(syntax) || can_decode(syntax)
}

fn added(gif: Option<Gif>, image: &Image, picture: &render::Picture) -> Result<Gif, NotWritten> {
    let mut gif = gif.unwrap_or_else(|| Gif::new(frame_time(&image.head.data_set).unwrap_or(FRAME_TIME)));
    gif.add(picture)?;
    Ok(gif)
}

/// Most bytes of a frame that came: what is compressed is hardly ever longer than what is not.
fn longest(shape: &Shape) -> u64 {
    shape.frame_length() + shape.frame_length() / 2 + BESIDES
}
