//! What an image says of itself that has lost something: it is another image (PS3.3 C.7.6.1.1.5, C.12.1), and one that has
//! lost something says so for ever.
//!
//! The ratio is that of the first frame, which is the whole of most images: Lossy Image Compression Ratio tells an
//! approximate one, and it stands before the frames.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::deidentify::Key;
use crate::dicom::encode::{put_header, put_sequence_end};
use crate::dicom::object::Head;
use crate::dicom::scan::{Content, ElementHeader, Event, Scanner};
use crate::dicom::transfer_syntax::{Layout, is_encapsulated};
use crate::dicom::{Tag, Uid, VR, tags};

/// Most bytes between what describes the pixels and the pixels, which wait for the first frame. Functional groups of
/// thousands of frames stand there.
pub(super) const MAX_WAITING: usize = 16 << 20;

/// The length field of an element whose end is told by a delimiter.
const UNDEFINED: u32 = u32::MAX;

/// JPEG Baseline and Extended, and what has been retired of its kind: whoever compresses by a cosine transform loses something.
const DCT: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"];

/// Who compresses, where the build has asked for another: what it writes is not the same bytes.
const ENCODER: &str = if cfg!(feature = "turbojpeg") { " libjpeg-turbo" } else { "" };

/// The SOP Instance UID of an image that was compressed lossily: the same for the same image, transfer syntax and encoder, as
/// what it shows is.
pub(super) fn derived_uid(original: &Uid, to: &Uid) -> Uid {
    Key::from_secret(format!("{to}{ENCODER}").as_bytes()).uid(original)
}

/// What an image says of where it comes from: elements to be put in, ascending.
#[derive(Debug)]
pub(super) struct Origin(VecDeque<Said>);

/// An element to be put in.
#[derive(Debug)]
struct Said {
    tag: Tag,
    vr: VR,
    value: Vec<u8>,
    where_there_is_one: Rule,
}

/// What becomes of an element that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Replaced,
    Kept,
    /// Its value stays behind the new one, within this many bytes.
    Continued(u32),
}

/// Where something is said, as to the element that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before it.
    Before,
    /// In its place.
    Instead,
    /// Its value goes on behind what is said, which has a header for both.
    Within,
}

impl Origin {
    /// That of what is made of the object with this head.
    pub(super) fn new(head: &Head, to: &Uid) -> Self {
        let from = &head.transfer_syntax;
        if super::becomes_another(from, to) {
            return Self(derived_from(head, to));
        }
        // The transfer syntax, which goes, was the one that told (PS3.3 C.7.6.1.1.5).
        let told_by_syntax = DCT.contains(&from.as_str()) && from != to;
        let text = |tag, value: &[u8], rule| Said {
            tag,
            vr: VR::CS,
            value: value.to_vec(),
            where_there_is_one: rule,
        };
        let lost = [
            text(tags::LOSSY_IMAGE_COMPRESSION, b"01", Rule::Replaced),
            text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, b"ISO_10918_1 ", Rule::Kept),
        ];
        Self(lost.into_iter().filter(|_| told_by_syntax).collect())
    }

    /// What is said before the element with this header, or in its place.
    pub(super) fn before(&mut self, next: &ElementHeader) -> (Vec<u8>, Place) {
        let (mut out, mut place) = (Vec::new(), Place::Before);
        while self.0.front().is_some_and(|said| said.tag <= next.tag)
            && let Some(Said { tag, vr, value, where_there_is_one }) = self.0.pop_front()
        {
            let is_there = tag == next.tag;
            let behind = match where_there_is_one {
                Rule::Kept if is_there => continue,
                Rule::Continued(most) if is_there => length_of_both(vr, &value, next, most),
                _ => None,
            };
            place = match (is_there, behind) {
                (false, _) => Place::Before,
                (true, None) => Place::Instead,
                (true, Some(_)) => Place::Within,
            };
            let length = behind.unwrap_or_else(|| if vr == VR::SQ { UNDEFINED } else { value.len() as u32 });
            put_header(&mut out, Layout::ExplicitLe, tag, vr, length);
            out.extend(value);
            if vr == VR::SQ && behind.is_none() {
                put_sequence_end(&mut out, Layout::ExplicitLe);
            }
        }
        (out, place)
    }
}

/// The length field of both values; `None`: the one that is there cannot stay.
fn length_of_both(vr: VR, value: &[u8], next: &ElementHeader, most: u32) -> Option<u32> {
    let Some(length) = next.length else { return (vr == VR::SQ).then_some(UNDEFINED) };
    let both = length.checked_add(u32::try_from(value.len()).ok()?)?;
    (both <= most && next.vr == vr).then_some(both)
}

/// What an image says that was made of the object with this head by compression with loss.
fn derived_from(head: &Head, to: &Uid) -> VecDeque<Said> {
    let item = |set: &[(Tag, VR, &str)]| {
        let mut item = DataSet::new();
        set.iter().for_each(|(tag, vr, value)| item.set_str(*tag, *vr, *value));
        item
    };
    let code = |value, meaning| {
        item(&[
            (tags::CODE_VALUE, VR::SH, value),
            (tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
            (tags::CODE_MEANING, VR::LO, meaning),
        ])
    };
    let mut source = item(&[
        (tags::REFERENCED_SOP_CLASS_UID, VR::UI, head.sop_class.as_str()),
        (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, head.sop_instance.as_str()),
    ]);
    let purpose = if is_encapsulated(&head.transfer_syntax) {
        code("121322", "Source image for image processing operation")
    } else {
        code("121320", "Uncompressed predecessor")
    };
    source.set_items(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose]);
    let items = |tag, item: DataSet| {
        let mut alone = DataSet::new();
        alone.set_items(tag, vec![item]);
        // Without the header of the sequence, which is 12 bytes.
        let mut value = alone.encode(Layout::ExplicitLe, QueryCharset::Auto).split_off(12);
        // Nor its delimiter.
        value.truncate(value.len() - 8);
        Said { tag, vr: VR::SQ, value, where_there_is_one: Rule::Continued(u32::MAX - 1) }
    };
    let text = |tag, vr, value: &str, pad: char, rule| {
        let mut value = value.to_owned();
        if value.len() % 2 == 1 {
            value.push(pad);
        }
        Said { tag, vr, value: value.into_bytes(), where_there_is_one: rule }
    };
    let uid = derived_uid(&head.sop_instance, to);
    VecDeque::from([
        text(tags::SOP_INSTANCE_UID, VR::UI, uid.as_str(), '\0', Rule::Replaced),
        text(tags::DERIVATION_DESCRIPTION, VR::ST, "Compressed with loss. ", ' ', Rule::Continued(1024)),
        items(tags::SOURCE_IMAGE_SEQUENCE, source),
        items(tags::DERIVATION_CODE_SEQUENCE, code("113040", "Lossy Compression")),
    ])
}

/// Image Type (0008,0008), an element of Explicit VR Little Endian, with `DERIVED` as its first value.
pub(super) fn derived(element: &[u8]) -> Vec<u8> {
    let mut value = derived_value(element.get(8..).unwrap_or_default());
    while value.last() == Some(&b' ') {
        value.pop();
    }
    texts(tags::IMAGE_TYPE, &value)
}

/// Values with `DERIVED` for the first of them.
fn derived_value(value: &[u8]) -> Vec<u8> {
    let rest = value.iter().position(|&byte| byte == b'\\').map_or(&[][..], |at| &value[at..]);
    [b"DERIVED", rest].concat()
}

/// Makes `DERIVED` the first value of each Frame Type (0008,9007) that is `ORIGINAL`, in the functional groups among elements
/// of Explicit VR Little Endian. A space more fills its place, so that no length around it changes.
fn derive_frames(elements: &mut [u8]) {
    let mut scanner = Scanner::new(Layout::ExplicitLe);
    scanner.push(Bytes::copy_from_slice(elements));
    let mut depth = 0;
    // What is no element any more has nothing to be read in it.
    while let Ok(Some(event)) = scanner.next() {
        let header = match event {
            Event::Element(header) => header,
            Event::ElementEnd => {
                depth -= 1;
                continue;
            }
            _ => continue,
        };
        let is_group = matches!(
            header.tag,
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE | tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
        );
        if header.content == Content::Items && (depth > 0 || is_group) {
            depth += 1;
            continue;
        }
        let value =
            scanner.value().filter(|value| header.tag == tags::FRAME_TYPE && value.starts_with(b"ORIGINAL"));
        if let Some(value) = value.filter(|_| depth > 0) {
            let at = usize::try_from(scanner.position()).unwrap_or(usize::MAX);
            let mut derived = derived_value(value);
            derived.resize(value.len(), b' ');
            elements[at..][..derived.len()].copy_from_slice(&derived);
        }
        scanner.skip();
    }
}

/// What waits for the first frame: all that stands between the description of the pixels and the pixels.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Up to Lossy Image Compression (0028,2110).
    before: Vec<u8>,
    /// From there on.
    after: Vec<u8>,
    is_behind: bool,
    /// The values that ratio and method have already, with what they were compressed before.
    ratios: Vec<u8>,
    methods: Vec<u8>,
    /// Whether it has been.
    flag: Vec<u8>,
    current: Option<Tag>,
}

/// Too much waits.
#[derive(Debug)]
pub(super) struct TooLong;

impl Waiting {
    /// An element begins.
    pub(super) fn element(&mut self, tag: Tag) {
        self.is_behind |= tag >= tags::LOSSY_IMAGE_COMPRESSION;
        self.current = Some(tag);
    }

    /// The next bytes of it.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        match self.current {
            Some(tags::LOSSY_IMAGE_COMPRESSION) => self.flag.extend_from_slice(bytes),
            Some(tags::LOSSY_IMAGE_COMPRESSION_RATIO) => self.ratios.extend_from_slice(bytes),
            Some(tags::LOSSY_IMAGE_COMPRESSION_METHOD) => self.methods.extend_from_slice(bytes),
            _ if self.is_behind => self.after.extend_from_slice(bytes),
            _ => self.before.extend_from_slice(bytes),
        }
        let length = [&self.before, &self.flag, &self.ratios, &self.methods, &self.after]
            .iter()
            .map(|it| it.len())
            .sum::<usize>();
        if length > MAX_WAITING { Err(TooLong) } else { Ok(()) }
    }

    /// All of it, where a frame of so many bytes has become so many.
    pub(super) fn written(&self, native: u64, encoded: usize) -> Vec<u8> {
        let ratio = native as f64 / encoded.max(1) as f64;
        let mut out = self.before.clone();
        out.extend(texts(tags::LOSSY_IMAGE_COMPRESSION, b"01"));
        // One of each belong together, so that none is without a place.
        let (ratios, methods) = (values(&self.ratios), values(&self.methods));
        let steps = ratios.len().max(methods.len());
        out.extend(texts(
            tags::LOSSY_IMAGE_COMPRESSION_RATIO,
            &joined(ratios, steps, format!("{ratio:.2}").as_bytes()),
        ));
        out.extend(texts(tags::LOSSY_IMAGE_COMPRESSION_METHOD, &joined(methods, steps, b"ISO_10918_1")));
        let begin = out.len();
        out.extend_from_slice(&self.after);
        derive_frames(&mut out[begin..]);
        out
    }
}

/// The values of an element of Explicit VR Little Endian; none, where there is no element.
fn values(element: &[u8]) -> Vec<&[u8]> {
    let value = element.get(8..).unwrap_or_default().trim_ascii();
    if value.is_empty() { Vec::new() } else { value.split(|&byte| byte == b'\\').collect() }
}

/// So many values, the last of them empty where there are not as many, and one more.
fn joined<'a>(mut values: Vec<&'a [u8]>, count: usize, more: &'a [u8]) -> Vec<u8> {
    values.resize(count, b"");
    values.push(more);
    values.join(&b"\\"[..])
}

fn texts(tag: Tag, value: &[u8]) -> Vec<u8> {
    let vr = if tag == tags::LOSSY_IMAGE_COMPRESSION_RATIO { VR::DS } else { VR::CS };
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    let mut out = Vec::with_capacity(value.len() + 8);
    put_header(&mut out, Layout::ExplicitLe, tag, vr, u32::try_from(value.len()).unwrap_or_default());
    out.extend(value);
    out
}
