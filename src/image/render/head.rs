//! Reads what stands before an object's pixel data and says how they are shown, while the object passes.
//!
//! Everything that rendering wants comes before Pixel Data. Of the Per-Frame Functional Groups, which may be millions
//! of elements, the items of the wanted frames are kept, and in them the few macros that say how a frame is shown.

use bytes::Bytes;

use crate::dicom::bulk::is_pixel_data;
use crate::dicom::charset::Charset;
use crate::dicom::dataset::{Builder, DataSet};
use crate::dicom::scan::{self, ElementHeader, ErrorKind, Event, Scanner};
use crate::dicom::{Tag, Uid, tags};

/// Longest value that is kept, in bytes. Overlays and colour profiles may have megabytes, tables have 128 KiB; what is
/// longer is taken for absent.
pub const MAX_VALUE: u32 = 16 << 20;

/// Most bytes that are kept of one object: sixteen overlays of the largest detectors. Elements and items count, too.
pub const MAX_HEAD: usize = 64 << 20;

/// What an element or an item takes in memory, whatever is in it, in bytes.
const OVERHEAD: usize = 128;

/// What stands before the pixel data of an object, as far as it says how they are shown.
#[derive(Debug, Clone)]
pub struct Head {
    /// The attributes.
    pub data_set: DataSet,
    /// Pixel Data, Float Pixel Data or Double Float Pixel Data: what follows.
    pub pixels: Tag,
    /// The frames whose functional groups were kept, in ascending order.
    frames: Vec<u32>,
    /// How grey is shown is said by a presentation state: what it does not say is an identity transformation (PS3.4 N.2.1).
    pub(super) is_presented: bool,
}

impl Head {
    /// Of a data set in memory, which has the functional groups of all frames or of none. For presentation states
    /// and tests.
    pub fn of(data_set: DataSet) -> Self {
        let pixels = [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
            .into_iter()
            .find(|&tag| data_set.contains(tag))
            .unwrap_or(tags::PIXEL_DATA);
        let groups = data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
        let frames = (1..=u32::try_from(groups).unwrap_or(u32::MAX)).collect();
        Self { data_set, pixels, frames, is_presented: false }
    }

    /// The item of a functional group macro for a frame, from 1: its own, else what is shared by all (PS3.3 C.7.6.16).
    /// An object without functional groups has their attributes itself; `None` then.
    pub fn group(&self, frame: u32, sequence: Tag) -> Option<&DataSet> {
        let own = || {
            let at = self.frames.binary_search(&frame).ok()?;
            self.data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(at)?.items(sequence).first()
        };
        let shared = || {
            let groups = self.data_set.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first()?;
            groups.items(sequence).first()
        };
        own().or_else(shared)
    }

    /// Takes a functional group macro out of all groups: its attributes are then those of the data set itself.
    pub(super) fn ungroup(&mut self, sequence: Tag) {
        for groups in [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE] {
            let mut items = self.data_set.items(groups).to_vec();
            items.iter_mut().for_each(|item| drop(item.remove(sequence)));
            if !items.is_empty() {
                self.data_set.set_items(groups, items);
            }
        }
    }

    /// Where the attributes of a functional group macro stand for a frame: in its item, else in the data set itself.
    pub fn group_or_top(&self, frame: u32, sequence: Tag) -> &DataSet {
        self.group(frame, sequence).unwrap_or(&self.data_set)
    }
}

/// Reads a [`Head`] from an object that comes in pieces.
#[derive(Debug)]
pub struct HeadReader {
    scanner: Scanner,
    builder: Builder,
    /// Of these the functional groups are wanted, ascending; `None`: of all.
    frames: Option<Vec<u32>>,
    /// Items around.
    depth: usize,
    /// The sequence of the data set itself that is open.
    top: Tag,
    /// How many items of the per-frame functional groups have begun.
    items: u32,
    kept: Vec<u32>,
    length: usize,
    pixels: Option<Tag>,
}

impl HeadReader {
    /// Of an object in this transfer syntax, of which these frames, ascending, will be shown; `None`: all.
    pub fn new(transfer_syntax: &Uid, frames: Option<Vec<u32>>) -> Self {
        Self {
            scanner: Scanner::for_transfer_syntax(transfer_syntax),
            builder: Builder::new(None),
            frames,
            depth: 0,
            top: Tag(0, 0),
            items: 0,
            kept: Vec::new(),
            length: 0,
            pixels: None,
        }
    }

    /// The same, of an object whose text is in this character set where it names none. Before the first bytes.
    pub fn assuming(self, assumed: Option<&Charset>) -> Self {
        Self { builder: Builder::new(assumed), ..self }
    }

    /// The next bytes of the data set. They are not looked at from the pixel data on.
    ///
    /// # Errors
    /// The data set cannot be followed; or it has more than [`MAX_HEAD`] bytes to keep, or more elements than there may be,
    /// which is no fault of it: then it is [`ErrorKind::TooLarge`] or [`ErrorKind::TooManyHeaders`].
    pub fn push(&mut self, bytes: Bytes) -> Result<(), scan::Error> {
        if self.pixels.is_some() {
            return Ok(());
        }
        self.scanner.push(bytes);
        while let Some(event) = self.scanner.next()? {
            match &event {
                Event::Element(header) => {
                    if self.depth == 0 && is_pixel_data(header.tag) {
                        self.pixels = Some(header.tag);
                        return Ok(());
                    }
                    if self.depth == 0 {
                        self.top = header.tag;
                    }
                    if !self.wants(header) {
                        self.scanner.skip();
                        continue;
                    }
                    self.length += OVERHEAD;
                }
                Event::Value(piece) => self.length += piece.len(),
                Event::Item(_) => {
                    if self.depth == 0 && self.top == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE {
                        self.items = self.items.saturating_add(1);
                        let frames = self.frames.as_ref();
                        if frames.is_some_and(|wanted| wanted.binary_search(&self.items).is_err()) {
                            self.scanner.skip();
                            continue;
                        }
                        self.kept.push(self.items);
                    }
                    self.depth += 1;
                    self.length += OVERHEAD;
                }
                Event::ItemEnd => self.depth = self.depth.saturating_sub(1),
                Event::Fragment(_) | Event::FragmentEnd | Event::ElementEnd => {}
            }
            if self.length > MAX_HEAD {
                let (offset, tag) = (self.scanner.position(), self.top);
                return Err(scan::Error { kind: ErrorKind::TooLarge, offset, tag });
            }
            self.builder.step(event, self.scanner.position())?;
        }
        Ok(())
    }

    /// How many bytes are kept so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether the pixel data have begun.
    pub fn is_done(&self) -> bool {
        self.pixels.is_some()
    }

    /// What was read; `None`: the pixel data have not begun.
    pub fn finish(self) -> Option<Head> {
        let pixels = self.pixels?;
        let data_set = self.builder.finish().data_set;
        Some(Head { data_set, pixels, frames: self.kept, is_presented: false })
    }

    fn wants(&self, header: &ElementHeader) -> bool {
        let tag = header.tag;
        if header.length.is_some_and(|length| length > MAX_VALUE) && header.vr != crate::dicom::VR::SQ {
            return false;
        }
        let in_groups = matches!(
            self.top,
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE | tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
        );
        match self.depth {
            0 => is_shown(tag),
            1 if in_groups => matches!(
                tag,
                tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE
                    | tags::FRAME_VOILUT_SEQUENCE
                    | tags::PIXEL_MEASURES_SEQUENCE
                    | tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE
            ),
            _ => true,
        }
    }
}

/// Whether an attribute of the data set itself has to do with how pixels are shown, or is written onto pictures.
fn is_shown(tag: Tag) -> bool {
    match tag.group() {
        // Image Pixel, the tables and palettes.
        0x0028 => true,
        // Overlays, in the first sixteen even groups (PS3.3 C.9.2).
        0x6000..=0x601F => tag.group().is_multiple_of(2),
        _ => matches!(
            tag,
            tags::SPECIFIC_CHARACTER_SET
                | tags::SOP_CLASS_UID
                | tags::SOP_INSTANCE_UID
                | tags::STUDY_DATE
                | tags::MODALITY
                | tags::INSTITUTION_NAME
                | tags::STUDY_DESCRIPTION
                | tags::SERIES_DESCRIPTION
                | tags::RECOMMENDED_DISPLAY_FRAME_RATE
                | tags::PIXEL_PRESENTATION
                | tags::PATIENT_NAME
                | tags::PATIENT_ID
                | tags::PATIENT_BIRTH_DATE
                | tags::PATIENT_SEX
                | tags::CINE_RATE
                | tags::SLICE_THICKNESS
                | tags::KVP
                | tags::REPETITION_TIME
                | tags::ECHO_TIME
                | tags::X_RAY_TUBE_CURRENT
                | tags::FRAME_TIME
                | tags::FRAME_TIME_VECTOR
                | tags::IMAGER_PIXEL_SPACING
                | tags::NOMINAL_SCANNED_PIXEL_SPACING
                | tags::SERIES_NUMBER
                | tags::INSTANCE_NUMBER
                | tags::PRESENTATION_LUT_SHAPE
                | tags::OPTICAL_PATH_SEQUENCE
                | tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
                | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::dataset::{Element, Value};
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};

    fn group(sequence: Tag, tag: Tag, value: &str) -> DataSet {
        let mut item = DataSet::new();
        item.set_str(tag, VR::DS, value);
        let mut group = DataSet::new();
        group.set_items(sequence, vec![item]);
        // What has nothing to do with it.
        group.set_items(tags::FRAME_CONTENT_SEQUENCE, vec![DataSet::new()]);
        group
    }

    fn object() -> Vec<u8> {
        let voi = tags::FRAME_VOILUT_SEQUENCE;
        let mut data_set = DataSet::new();
        data_set.set_u16(tags::ROWS, 2);
        data_set.set_str(tags::MANUFACTURER, VR::LO, "somebody");
        let shared = group(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING, "2\\1");
        data_set.set_items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
        let frames = (1..=9).map(|n| group(voi, tags::WINDOW_CENTER, &n.to_string())).collect();
        data_set.set_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
        let pixels = Element { vr: VR::OB, value: Value::Bytes(Bytes::from_static(&[0; 64])) };
        data_set.insert(tags::PIXEL_DATA, pixels);
        data_set.encode(Layout::ExplicitLe, QueryCharset::Auto)
    }

    fn read(bytes: &[u8], step: usize, frames: Option<Vec<u32>>) -> Option<Head> {
        let mut reader = HeadReader::new(&Uid::from_static(EXPLICIT_VR_LE), frames);
        for piece in bytes.chunks(step) {
            reader.push(Bytes::copy_from_slice(piece)).unwrap();
        }
        reader.finish()
    }

    #[test]
    fn of_the_frames_only_what_is_wanted_is_kept() {
        for step in [1, 7, 10_000] {
            let head = read(&object(), step, Some(vec![3, 8])).unwrap();
            assert_eq!((head.pixels, head.frames.as_slice()), (tags::PIXEL_DATA, &[3, 8][..]));
            assert_eq!(head.data_set.int(tags::ROWS), Some(2));
            assert!(!head.data_set.contains(tags::MANUFACTURER) && !head.data_set.contains(tags::PIXEL_DATA));
            let centre = |frame| {
                head.group(frame, tags::FRAME_VOILUT_SEQUENCE)?.string(tags::WINDOW_CENTER).map(str::to_owned)
            };
            assert_eq!(centre(3).as_deref(), Some("3"));
            assert_eq!(centre(8).as_deref(), Some("8"));
            assert_eq!(centre(4), None);
            let spacing = head.group_or_top(8, tags::PIXEL_MEASURES_SEQUENCE).strings(tags::PIXEL_SPACING);
            assert_eq!(spacing, ["2", "1"]);
            let groups = head.data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
            assert!(groups.iter().all(|group| !group.contains(tags::FRAME_CONTENT_SEQUENCE)));
        }
        assert_eq!(read(&object(), 64, None).unwrap().frames.len(), 9);
    }

    #[test]
    fn items_without_anything_in_them_are_bounded_as_well() {
        let mut data_set = DataSet::new();
        data_set.set_items(tags::OPTICAL_PATH_SEQUENCE, vec![DataSet::new(); MAX_HEAD / OVERHEAD + 1]);
        data_set.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: Value::Bytes(Bytes::new()) });
        let bytes = data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
        let mut reader = HeadReader::new(&Uid::from_static(EXPLICIT_VR_LE), None);
        assert_eq!(reader.push(bytes.into()).unwrap_err().kind, ErrorKind::TooManyHeaders);
    }

    #[test]
    fn text_is_in_the_character_set_that_the_archive_is_said_to_use() {
        let mut bytes = b"\x10\0\x10\0PN\x06\0M\xFCller".to_vec();
        bytes.extend(b"\xE0\x7F\x10\0OB\0\0\0\0\0\0");
        let latin = Charset::from_values(&["ISO_IR 100".to_owned()]);
        let mut reader = HeadReader::new(&Uid::from_static(EXPLICIT_VR_LE), None).assuming(Some(&latin));
        reader.push(bytes.into()).unwrap();
        let head = reader.finish().unwrap();
        assert_eq!(head.data_set.string(tags::PATIENT_NAME), Some("M\u{fc}ller"));
    }

    #[test]
    fn a_head_that_breaks_off_is_none() {
        let object = object();
        let whole = read(&object, 1000, None).is_some();
        assert!(whole && read(&object[..object.len() - 80], 1000, None).is_none());
    }
}
