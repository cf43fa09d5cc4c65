//! What an archive has left out of an object that it sends without bulk data (PS3.4 Z.1.3), as the rest of the
//! object tells.
//!
//! An image describes its pixels before they come, and so do overlays, curves, waveforms, spectra and documents.
//! Who reads the metadata is told of them as if they had come: by a BulkDataURI in their place.

use crate::dicom::scan::ElementHeader;
use crate::dicom::sop_class::RAW_DATA;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, Uid, VR, tags};

/// Number of Points (50xx,0010) and Curve Data (50xx,3000), both retired.
const NUMBER_OF_POINTS: u16 = 0x0010;
const CURVE_DATA: u16 = 0x3000;
/// Audio Type (50xx,2000) and Audio Sample Data (50xx,200C), both retired.
const AUDIO_TYPE: u16 = 0x2000;
const AUDIO_SAMPLE_DATA: u16 = 0x200C;
/// Overlay Rows, Overlay Columns, Overlay Bits Allocated and Overlay Data (60xx,eeee).
const OVERLAY_ROWS: u16 = 0x0010;
const OVERLAY_COLUMNS: u16 = 0x0011;
const OVERLAY_BITS_ALLOCATED: u16 = 0x0100;
const OVERLAY_DATA: u16 = 0x3000;

/// What the classes of encapsulated documents begin with: PDF, CDA, STL, OBJ, MTL (PS3.4 B.5).
const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.104.";
/// What the classes of the standard begin with.
const STANDARD: &str = "1.2.840.10008.";

/// Whether the rest of an object of this class tells what was left out of it. Private attributes may be left out, too,
/// so that of Raw Data and of private classes nobody can tell.
pub fn is_told_by_the_rest(sop_class: &Uid) -> bool {
    sop_class.as_str() != RAW_DATA && sop_class.as_str().starts_with(STANDARD)
}

/// What was left out of an object, as far as the walk has come. Depths count from 0, the data set itself.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    data_set: Expected,
    /// Of the item of Waveform Sequence that is open.
    waveform: Option<Expected>,
    in_waveforms: bool,
}

impl LeftOut {
    /// An item begins, at this depth.
    pub(super) fn begin_item(&mut self, depth: usize) {
        if depth == 1 && self.in_waveforms {
            self.waveform = Some(Expected { is_waveform: true, ..Expected::default() });
        }
    }

    /// What stands before the attribute that begins.
    #[inline(never)]
    pub(super) fn before(&mut self, depth: usize, tag: Tag) -> Vec<(Tag, VR)> {
        if depth == 0 {
            self.in_waveforms = tag == tags::WAVEFORM_SEQUENCE;
        }
        self.at(depth).map(|expected| expected.before(tag)).unwrap_or_default()
    }

    /// Takes notice of the value of an attribute.
    #[inline(never)]
    pub(super) fn value(&mut self, depth: usize, header: &ElementHeader, value: &[u8]) {
        if let Some(expected) = self.at(depth) {
            expected.value(header, value);
        }
    }

    /// What stands behind the last attribute of the data set or item.
    pub(super) fn end(&mut self, depth: usize) -> Vec<(Tag, VR)> {
        let due = self.at(depth).map(|expected| std::mem::take(&mut expected.due));
        if depth == 1 {
            self.waveform = None;
        }
        due.unwrap_or_default()
    }

    fn at(&mut self, depth: usize) -> Option<&mut Expected> {
        match depth {
            0 => Some(&mut self.data_set),
            1 => self.waveform.as_mut(),
            _ => None,
        }
    }
}

/// What has to be in a data set by what it has said so far.
#[derive(Debug, Default)]
struct Expected {
    /// Ascending; each is written where the walk comes past its place.
    due: Vec<(Tag, VR)>,
    /// It is an item of Waveform Sequence.
    is_waveform: bool,
    image: Image,
    overlay: Overlay,
    /// Encapsulated Document came all the same.
    has_document: bool,
}

/// What the data set says of its pixels.
#[derive(Debug, Default)]
struct Image {
    has_rows: bool,
    has_columns: bool,
    bits_allocated: u16,
    /// Bits Stored or Pixel Representation, which pixels of floating point do not have (PS3.3 C.7.6.24).
    are_integers: bool,
}

/// What the overlay that came last says of itself.
#[derive(Debug, Default)]
struct Overlay {
    group: u16,
    has_rows: bool,
    has_columns: bool,
    /// Its bits are those that the pixels have left, as was allowed once.
    is_in_pixels: bool,
}

impl Expected {
    /// What stands before the attribute with this tag, which begins.
    fn before(&mut self, tag: Tag) -> Vec<(Tag, VR)> {
        match tag {
            tags::ENCAPSULATED_DOCUMENT => self.has_document = true,
            // It stands behind the document whose type it is.
            tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT if !self.has_document => self.document(),
            _ => {}
        }
        let count = self.due.iter().take_while(|(due, _)| *due < tag).count();
        let passed = self.due.drain(..count).collect();
        self.due.retain(|(due, _)| *due != tag);
        passed
    }

    /// Takes notice of the value of an attribute.
    fn value(&mut self, header: &ElementHeader, value: &[u8]) {
        let is_nonzero = value.iter().any(|byte| *byte != 0);
        match header.tag {
            tags::NUMBER_OF_WAVEFORM_SAMPLES if self.is_waveform && is_nonzero => {
                self.expect(tags::WAVEFORM_DATA, VR::OW);
            }
            _ if self.is_waveform => {}
            tags::SOP_CLASS_UID if value.starts_with(DOCUMENTS.as_bytes()) => self.document(),
            tags::DOCUMENT_TITLE => self.document(),
            tags::DATA_POINT_ROWS if is_nonzero => self.expect(tags::SPECTROSCOPY_DATA, VR::OF),
            tag if tag.group() == 0x0028 => self.of_image(tag, number(header, value)),
            tag if is_repeating(tag, 0x5000) && is_nonzero => match tag.element() {
                NUMBER_OF_POINTS => self.expect(Tag(tag.group(), CURVE_DATA), VR::OW),
                AUDIO_TYPE => self.expect(Tag(tag.group(), AUDIO_SAMPLE_DATA), VR::OW),
                _ => {}
            },
            tag if is_repeating(tag, 0x6000) => self.of_overlay(tag, number(header, value)),
            _ => {}
        }
    }

    fn of_image(&mut self, tag: Tag, number: u16) {
        let image = &mut self.image;
        match tag {
            tags::ROWS => image.has_rows = number > 0,
            tags::COLUMNS => image.has_columns = number > 0,
            tags::BITS_ALLOCATED => image.bits_allocated = number,
            tags::BITS_STORED | tags::PIXEL_REPRESENTATION => image.are_integers = true,
            _ => return,
        }
        let of_pixels = [
            (tags::FLOAT_PIXEL_DATA, VR::OF),
            (tags::DOUBLE_FLOAT_PIXEL_DATA, VR::OD),
            (tags::PIXEL_DATA, VR::OW),
        ];
        let (tag, vr) = match (image.bits_allocated, image.are_integers) {
            (32, false) => of_pixels[0],
            (64, false) => of_pixels[1],
            _ => of_pixels[2],
        };
        let is_image = image.has_rows && image.has_columns && image.bits_allocated > 0;
        self.due.retain(|due| !of_pixels.contains(due));
        if is_image {
            self.expect(tag, vr);
        }
    }

    fn of_overlay(&mut self, tag: Tag, number: u16) {
        let overlay = &mut self.overlay;
        if overlay.group != tag.group() {
            *overlay = Overlay { group: tag.group(), ..Overlay::default() };
        }
        match tag.element() {
            OVERLAY_ROWS => overlay.has_rows = number > 0,
            OVERLAY_COLUMNS => overlay.has_columns = number > 0,
            OVERLAY_BITS_ALLOCATED => overlay.is_in_pixels = number > 1,
            _ => return,
        }
        let has_data = overlay.has_rows && overlay.has_columns && !overlay.is_in_pixels;
        let data = Tag(tag.group(), OVERLAY_DATA);
        self.due.retain(|(due, _)| *due != data);
        if has_data {
            self.expect(data, VR::OW);
        }
    }

    fn document(&mut self) {
        if !self.has_document {
            self.expect(tags::ENCAPSULATED_DOCUMENT, VR::OB);
        }
    }

    fn expect(&mut self, tag: Tag, vr: VR) {
        if let Err(place) = self.due.binary_search_by_key(&tag, |(due, _)| *due) {
            self.due.insert(place, (tag, vr));
        }
    }
}

/// Whether the tag is of one of the groups that repeat from this one on (PS3.5 7.6).
fn is_repeating(tag: Tag, first: u16) -> bool {
    tag.group() & 0xFF01 == first && tag.group() - first <= 0x1E
}

fn number(header: &ElementHeader, value: &[u8]) -> u16 {
    match (value.first_chunk::<2>(), header.layout) {
        (Some(word), Layout::ExplicitBe) => u16::from_be_bytes(*word),
        (Some(word), _) => u16::from_le_bytes(*word),
        (None, _) => 0,
    }
}
