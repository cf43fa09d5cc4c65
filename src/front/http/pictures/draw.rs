//! From an object that is coming to pictures of its frames.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::asked::Asked;
use super::workshop::{SMALL_HEAD, Workshop};
use crate::dicom::Uid;
use crate::dicom::charset::Charset;
use crate::dicom::object::{Cursor, Head as ObjectHead};
use crate::dicom::scan::ErrorKind;
use crate::dicom::tags;
use crate::dicom::transfer_syntax::is_encapsulated;
use crate::dicomweb::media_type::{GIF, PNG};
use crate::front::http::body::Broken;
use crate::front::http::workers::{Lost, kept};
use crate::image::codec::{Refusal, can_decode, decode, decoding_cost};
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
    #[error("there is more before the pixels of the object than is read for a picture")]
    HeadTooLarge,
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
    /// The character set of text in objects that name none.
    assumed: Option<Charset>,
}

impl Drawing {
    pub(super) fn new(
        workshop: Workshop,
        object: &ObjectHead,
        asked: &Asked,
        media_type: &'static str,
        assumed: Option<&Charset>,
    ) -> Self {
        Self { workshop, object: object.clone(), asked: asked.clone(), media_type, assumed: assumed.cloned() }
    }

    /// Pictures of these frames.
    pub(super) fn frames(self, wanted: Frames) -> Pictures {
        let syntax = &self.object.transfer_syntax;
        let (cutter, list) = match wanted {
            Frames::All => (Cutter::all(syntax), None),
            Frames::Some(list) => (Cutter::new(syntax, list.clone()), Some(list)),
        };
        let reader = Some(HeadReader::new(syntax, list.clone()).assuming(self.assumed.as_ref()));
        let cutter = Some(cutter);
        Pictures {
            drawing: self,
            list,
            cutter,
            reader,
            image: None,
            place: None,
            large_head: None,
            gif: None,
        }
    }
}

/// Pictures of an object's frames.
#[derive(Debug)]
pub(super) struct Pictures {
    drawing: Drawing,
    /// The frames that are wanted; `None`: all.
    list: Option<Vec<u32>>,
    /// Gone when the object has ended.
    cutter: Option<Cutter>,
    /// Gone when the first frame begins.
    reader: Option<HeadReader>,
    image: Option<Arc<Image>>,
    place: Option<OwnedSemaphorePermit>,
    /// Of an object with much before its pixels.
    large_head: Option<OwnedSemaphorePermit>,
    /// Of a GIF of several frames: the memory of the file and of one frame after the other, taken at once. Who held the
    /// file and waited for the frame would wait for others who do the same.
    gif: Option<GifMemory>,
}

#[derive(Debug)]
struct GifMemory {
    /// Longest file.
    longest: usize,
    /// Most that a frame may need.
    frame: u64,
    permit: OwnedSemaphorePermit,
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
    /// `None`: its memory is that of its GIF.
    memory: Option<OwnedSemaphorePermit>,
}

/// A file with as much of the memory as it takes; the rest goes back.
fn kept_file(mut file: Vec<u8>, memory: Option<OwnedSemaphorePermit>) -> Bytes {
    file.shrink_to_fit();
    kept(file.into(), memory)
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
            let begun = gif.take().unwrap_or_default();
            let added = workshop.run(move || drawing.add(begun, &image, frame)).await;
            let added = added.and_then(|gif| gif).map_err(Broken::Picture)?;
            if self.gif.as_ref().is_none_or(|gif| added.length() > gif.longest) {
                return Err(Broken::Picture(NotDrawn::TooLarge));
            }
            gif = Some(added);
        }
        let gif = gif.ok_or(Broken::Picture(NotDrawn::NoImage))?;
        let file = gif.finish().map_err(|error| Broken::Picture(error.into()))?;
        Ok(kept_file(file, self.gif.take().map(|gif| gif.permit)))
    }

    /// The memory for a frame that begins; `None`: it has that of its GIF.
    async fn memory(&mut self, image: &Image, number: u32) -> Result<Option<OwnedSemaphorePermit>, NotDrawn> {
        let Drawing { workshop, media_type, .. } = &self.drawing;
        let (needed, pixels) = self.drawing.needed(image, number);
        let codec = decoding_cost(&self.drawing.object.transfer_syntax, &image.shape);
        if *media_type != GIF {
            return Ok(Some(workshop.memory(needed, codec).await?));
        }
        match &self.gif {
            // The first one's size is that of all.
            Some(gif) if needed > gif.frame => Err(NotDrawn::TooLarge),
            Some(_) => Ok(None),
            None => {
                let all =
                    || image.head.data_set.int(tags::NUMBER_OF_FRAMES).and_then(|n| usize::try_from(n).ok());
                let frames = self.list.as_ref().map(Vec::len).or_else(all).unwrap_or(1).max(1);
                let longest = longest_gif(frames, pixels);
                // While it grows there are two of it.
                let permit = workshop.memory(needed + 2 * longest as u64, codec).await?;
                self.gif = Some(GifMemory { longest, frame: needed, permit });
                Ok(None)
            }
        }
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
                    let memory = self.memory(&image, number).await.map_err(Broken::Picture)?;
                    current = Some(Coded { number, bytes: BytesMut::new(), memory });
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
                            reader.push(bytes.clone()).map_err(unread)?;
                            if reader.length() > SMALL_HEAD && self.large_head.is_none() {
                                self.large_head = Some(self.drawing.workshop.large_head().await);
                            }
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
    fn file(&self, image: &Image, mut frame: Coded) -> Result<Bytes, NotDrawn> {
        let memory = frame.memory.take();
        let picture = self.picture(image, frame)?;
        let file = match self.media_type {
            PNG => write::png(&picture)?,
            GIF => {
                let mut gif = Gif::default();
                gif.add(&picture, FRAME_TIME)?;
                gif.finish()?
            }
            _ => write::jpeg(&picture, self.asked.quality)?,
        };
        Ok(kept_file(file, memory))
    }

    /// Adds the picture of a frame to a GIF.
    fn add(&self, mut gif: Gif, image: &Image, frame: Coded) -> Result<Gif, NotDrawn> {
        let time = frame_time(&image.head.data_set, frame.number).unwrap_or(FRAME_TIME);
        gif.add(&self.picture(image, frame)?, time)?;
        Ok(gif)
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

    /// The memory that a frame needs until its picture is a file, as it came, decoded, drawn, and as large as it is wanted;
    /// and how many pixels the picture has.
    fn needed(&self, image: &Image, number: u32) -> (u64, u64) {
        let Image { head, shape } = image;
        let presentation = self.presentation(number).flatten();
        let wanted = pixels_of(head, number, shape, self.asked.options.viewport, presentation.as_ref());
        let drawn = 3 * shape.pixels() as u64 + 6 * wanted;
        (longest(shape) + shape.frame_length() + drawn + BESIDES, wanted)
    }
}

/// Whether frames of this transfer syntax can be shown: natively encoded ones, and those that are decoded.
pub(super) fn can_be_shown(syntax: &Uid) -> bool {
    !is_encapsulated(syntax) || can_decode(syntax)
}

/// What a head that is not read is the fault of: of the object, or of our bounds.
fn unread(error: crate::dicom::scan::Error) -> Broken {
    match error.kind {
        ErrorKind::TooLarge | ErrorKind::TooManyHeaders => Broken::Picture(NotDrawn::HeadTooLarge),
        _ => Broken::Encoding(error),
    }
}

/// Longest GIF of so many frames with so many pixels each, in bytes: a pixel takes 12 bits at most, a frame a table of
/// colours besides.
fn longest_gif(frames: usize, pixels: u64) -> usize {
    let frame = usize::try_from(pixels).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(4096);
    frame.saturating_mul(frames).min(LONGEST_GIF)
}

/// Most bytes of a frame that came: what is compressed is hardly ever longer than what is not.
fn longest(shape: &Shape) -> u64 {
    shape.frame_length() + shape.frame_length() / 2 + BESIDES
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_file_holds_its_memory_until_the_last_of_it_is_gone() {
        let memory = Arc::new(Semaphore::new(100));
        let all = async || Arc::clone(&memory).acquire_many_owned(100).await.unwrap();
        let file = kept_file(vec![0; 10 << 10], Some(all().await));
        assert_eq!(memory.available_permits(), 90);
        let rest = file.slice(5..);
        drop(file);
        assert_eq!(memory.available_permits(), 90, "somebody still reads");
        drop(rest);
        let larger = kept_file(vec![0; 200 << 10], Some(all().await));
        assert_eq!(memory.available_permits(), 0, "no more than was taken");
        drop(larger);
        assert_eq!(memory.available_permits(), 100);
        assert_eq!(kept_file(vec![1, 2], None)[..], [1, 2]);
    }

    #[test]
    fn a_gif_is_never_longer_than_was_thought() {
        let pixels: Vec<u8> = (0..64 * 64_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let colours = render::Colours::Grey;
        let noise = render::Picture { width: 64, height: 64, colours, pixels, icc_profile: None };
        let mut gif = Gif::default();
        for frames in 1..5 {
            gif.add(&noise, FRAME_TIME).unwrap();
            assert!(gif.length() <= longest_gif(frames, 64 * 64), "{frames}: {}", gif.length());
        }
        assert_eq!(longest_gif(1 << 20, 1 << 20), LONGEST_GIF);
    }
}
