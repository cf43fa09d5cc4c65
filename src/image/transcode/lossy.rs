//! What an image says of itself that has lost something: it is another image (PS3.3 C.7.6.1.1.5, C.12.1).
//!
//! The ratio is that of the first frame, which is the whole of most images: Lossy Image Compression Ratio tells an
//! approximate one, and it stands before the frames.

use std::collections::VecDeque;

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::deidentify::Key;
use crate::dicom::encode::put_header;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, Uid, VR, tags};

/// Most bytes between what describes the pixels and the pixels, which wait for the first frame. Functional groups of
/// thousands of frames stand there.
pub(super) const MAX_WAITING: usize = 16 << 20;

/// The SOP Instance UID of an image that was compressed lossily: the same for the same image and transfer syntax, as what it
/// shows is.
pub(super) fn derived_uid(original: &Uid, to: &Uid) -> Uid {
    Key::from_secret(to.as_str().as_bytes()).uid(original)
}

/// What an image says of where it comes from: elements to be put in or to take the place of others, ascending.
#[derive(Debug)]
pub(super) struct Origin(VecDeque<(Tag, Vec<u8>)>);

impl Origin {
    /// That of what is made of the object with this head.
    pub(super) fn new(head: &Head, to: &Uid) -> Self {
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
        source.set_items(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            vec![code("121320", "Uncompressed predecessor")],
        );
        let mut origin = DataSet::new();
        origin.set_str(tags::SOP_INSTANCE_UID, VR::UI, derived_uid(&head.sop_instance, to).as_str());
        origin.set_str(tags::DERIVATION_DESCRIPTION, VR::ST, "Compressed with loss");
        origin.set_items(tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
        origin.set_items(tags::DERIVATION_CODE_SEQUENCE, vec![code("113040", "Lossy Compression")]);
        let elements = origin.iter().map(|(tag, element)| {
            let mut alone = DataSet::new();
            alone.insert(tag, element.clone());
            (tag, alone.encode(Layout::ExplicitLe, QueryCharset::Auto))
        });
        Self(elements.collect())
    }

    /// What stands before this element, or in its place; and whether it does the latter.
    pub(super) fn before(&mut self, tag: Tag) -> (Vec<u8>, bool) {
        let (mut out, mut replaces) = (Vec::new(), false);
        while self.0.front().is_some_and(|(own, _)| *own <= tag)
            && let Some((own, bytes)) = self.0.pop_front()
        {
            replaces |= own == tag;
            out.extend(bytes);
        }
        (out, replaces)
    }
}

/// Image Type (0008,0008), an element of Explicit VR Little Endian, with `DERIVED` as its first value.
pub(super) fn derived(element: &[u8]) -> Vec<u8> {
    let value = element.get(8..).unwrap_or_default();
    let rest = value.iter().position(|&byte| byte == b'\\').map_or(&[][..], |at| &value[at..]);
    let mut value = [b"DERIVED", rest].concat();
    while value.last() == Some(&b' ') {
        value.pop();
    }
    texts(tags::IMAGE_TYPE, &value)
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

    /// All of it as it came, where there is no frame.
    pub(super) fn unchanged(self) -> Vec<u8> {
        [self.before, self.flag, self.ratios, self.methods, self.after].concat()
    }

    /// All of it, where a frame of so many bytes has become so many.
    pub(super) fn written(&self, native: u64, encoded: usize) -> Vec<u8> {
        let ratio = native as f64 / encoded.max(1) as f64;
        let mut out = self.before.clone();
        out.extend(texts(tags::LOSSY_IMAGE_COMPRESSION, b"01"));
        out.extend(texts(tags::LOSSY_IMAGE_COMPRESSION_RATIO, &joined(&self.ratios, &format!("{ratio:.2}"))));
        out.extend(texts(tags::LOSSY_IMAGE_COMPRESSION_METHOD, &joined(&self.methods, "ISO_10918_1")));
        out.extend_from_slice(&self.after);
        out
    }
}

/// A value more for an element of Explicit VR Little Endian; the first, where there is no element.
fn joined(element: &[u8], value: &str) -> Vec<u8> {
    let old = element.get(8..).unwrap_or_default().trim_ascii();
    if old.is_empty() { value.as_bytes().to_vec() } else { [old, b"\\", value.as_bytes()].concat() }
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
