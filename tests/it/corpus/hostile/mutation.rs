//! Objects made wrong on purpose: cut short, with other bits, with sizes, lengths and attributes that do not fit.
//!
//! What identifies an object stays as it is, so that it can be asked for; everything else may change.

use std::ops::Range;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use gantry::demo::instance::{Data, Instance};
use gantry::dicom::scan::{Inflater, Scanner};
use gantry::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, Layout, is_encapsulated, layout};
use gantry::dicom::{Tag, Uid, tags};
use rand::Rng;
use rand::rngs::StdRng;

/// Groups that say nothing of pixels, nor of how they are shown, unless annotations are asked for.
const HARMLESS: [u16; 5] = [0x0008, 0x0010, 0x0020, 0x0032, 0x0040];
/// What places an object, and what its text is encoded in.
const IDENTIFIERS: [Tag; 5] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
];
/// How much of the pixel data is headers: an offset table, and where a codestream says how large it is.
const HEADERS: usize = 200;
/// Transfer syntaxes that an object may claim which has another.
const LABELS: [&str; 10] = ["5", "4.50", "4.51", "4.70", "4.80", "4.81", "4.90", "4.91", "4.201", "4.110"];
/// What numbers in text become.
const TEXTS: [&str; 14] = [
    "0",
    "1",
    "2",
    "-1",
    "1A",
    "1\\2\\3",
    "\\\\",
    "NaN",
    "inf",
    "1e308",
    "-1e-308",
    "4294967296",
    "999999999999",
    "",
];
/// What binary numbers become.
const WORDS: [u16; 10] = [0, 1, 2, 7, 0x11, 0x20, 0x7FFF, 0x8000, 0xFF00, 0xFFFF];

/// An object as its file has it.
pub(super) struct Seed {
    /// Which file that is, or what was made.
    pub(super) name: String,
    /// Its transfer syntax.
    pub(super) syntax: Uid,
    /// Its data set, inflated.
    pub(super) bytes: Vec<u8>,
}

/// What became of one.
pub(super) struct Mutant {
    /// Which of the seeds it was.
    pub(super) seed: usize,
    /// What was done.
    pub(super) what: String,
    /// The object, for the archive.
    pub(super) instance: Instance,
    /// Its data set, inflated.
    pub(super) bytes: Vec<u8>,
    /// Neither the pixels nor what describes them changed, nor where any element begins.
    pub(super) is_harmless: bool,
}

/// An element of a data set, not of its items.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) tag: Tag,
    pub(super) all: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The elements, up to where the data set cannot be followed any more.
pub(super) fn elements(bytes: &[u8], layout: Layout) -> Vec<Element> {
    let mut scanner = Scanner::new(layout);
    scanner.push(Bytes::copy_from_slice(bytes));
    let mut elements: Vec<Element> = Vec::new();
    while let Ok(Some(event)) = scanner.next() {
        let gantry::dicom::scan::Event::Element(header) = event else { continue };
        let (start, value) = (header.offset as usize, header.value_offset as usize);
        if let Some(last) = elements.last_mut() {
            (last.all.end, last.value.end) = (start, start);
        }
        elements.push(Element { tag: header.tag, all: start..bytes.len(), value: value..bytes.len() });
        scanner.skip();
    }
    elements
}

impl Seed {
    /// The object of a file.
    pub(super) fn new(name: String, syntax: Uid, data_set: Bytes) -> Self {
        let bytes =
            if syntax.as_str() == DEFLATED_EXPLICIT_VR_LE { inflated(data_set) } else { data_set.to_vec() };
        Self { name, syntax, bytes }
    }

    fn layout(&self) -> Layout {
        layout(&self.syntax)
    }

    /// The same object under UIDs of its own; `None`: there is no room for them where its own stand.
    fn named(&self, number: usize) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        for element in elements(&self.bytes, self.layout()) {
            if IDENTIFIERS[2..].contains(&element.tag) {
                let root = format!("2.25.{}", element.tag.element());
                let width = element.value.len().checked_sub(root.len() + 1)?;
                bytes[element.value].copy_from_slice(
                    format!("{root}1{number:0width$}").as_bytes().get(..root.len() + 1 + width)?,
                );
            }
        }
        Some(bytes)
    }

    /// The object itself, named by a number.
    pub(super) fn original(&self, seed: usize, number: usize) -> Option<Mutant> {
        let bytes = self.named(number)?;
        let data = self.stored(&bytes).into();
        let instance = Instance::from_bytes(self.syntax.clone(), data).ok()?;
        Some(Mutant { seed, what: "as it is".to_owned(), instance, bytes, is_harmless: true })
    }

    /// Something that was made of it.
    pub(super) fn mutant(&self, seed: usize, number: usize, random: &mut StdRng) -> Mutant {
        let Mutant { mut instance, bytes, .. } = self.original(seed, number).expect("it was there before");
        let mut change =
            Change { layout: self.layout(), elements: elements(&bytes, self.layout()), bytes, random };
        let (what, is_harmless) = change.make();
        let bytes = change.bytes;
        let mut stored = self.stored(&bytes);
        let mut what = what;
        if is_encapsulated(&self.syntax) && random.random_ratio(1, 30) {
            let label = format!("1.2.840.10008.1.2.{}", LABELS[random.random_range(0..LABELS.len())]);
            what = format!("{what}, and called {label}");
            instance.head.transfer_syntax = label.parse().expect("a UID");
        }
        if self.syntax.as_str() == DEFLATED_EXPLICIT_VR_LE && random.random_ratio(1, 3) {
            let at = random.random_range(0..stored.len());
            stored[at] ^= 1 << random.random_range(0..8);
            what = format!("{what}, and deflated with another bit at {at}");
        }
        instance.data = Data::Memory(stored.into());
        let is_harmless = is_harmless && !what.contains(", and ");
        Mutant { seed, what, instance, bytes, is_harmless }
    }

    /// As the transfer syntax has it.
    fn stored(&self, bytes: &[u8]) -> Vec<u8> {
        if self.syntax.as_str() == DEFLATED_EXPLICIT_VR_LE { deflated(bytes) } else { bytes.to_vec() }
    }
}

/// A change that is made.
struct Change<'a> {
    bytes: Vec<u8>,
    layout: Layout,
    elements: Vec<Element>,
    random: &'a mut StdRng,
}

impl Change<'_> {
    /// Makes it, and says what it was, and whether it was harmless.
    fn make(&mut self) -> (String, bool) {
        let what = match self.random.random_range(0..100) {
            0..10 => self.cut_short(),
            10..25 => self.flip_description(),
            25..45 => self.wrong_value(),
            45..55 => self.flip_pixels(),
            55..63 => self.shift_pixels(),
            63..73 => self.wrong_length(),
            73..83 => self.move_element(),
            83..90 => self.flip_anywhere(),
            _ => return (self.harmless(), true),
        };
        (what, false)
    }

    fn cut_short(&mut self) -> String {
        let at = self.random.random_range(0..self.bytes.len());
        self.bytes.truncate(at);
        format!("cut at {at}")
    }

    /// One of those elements that this is true of.
    fn one_of(&mut self, which: impl Fn(&Element) -> bool) -> Option<Element> {
        let found: Vec<_> = self.elements.iter().filter(|it| which(it) && !is_identifier(it.tag)).collect();
        (!found.is_empty()).then(|| found[self.random.random_range(0..found.len())].clone())
    }

    fn flip(&mut self, range: Range<usize>) -> String {
        let mut places = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let at = self.random.random_range(range.clone());
            self.bytes[at] ^= 1 << self.random.random_range(0..8);
            places.push(at);
        }
        format!("other bits at {places:?}")
    }

    fn flip_description(&mut self) -> String {
        let Some(element) = self.one_of(|it| describes(it.tag)) else { return self.flip_anywhere() };
        let headers = element.all.start..element.all.end.min(element.value.start + HEADERS);
        format!("{}: {}", element.tag, self.flip(headers))
    }

    fn flip_anywhere(&mut self) -> String {
        let end = self.pixels().map_or(self.bytes.len(), |pixels| pixels.value.start);
        self.flip(0..end)
    }

    fn pixels(&self) -> Option<Element> {
        self.elements.iter().find(|it| it.tag.group() == tags::PIXEL_DATA.group()).cloned()
    }

    fn flip_pixels(&mut self) -> String {
        let Some(pixels) = self.pixels().filter(|it| !it.value.is_empty()) else {
            return self.flip_anywhere();
        };
        self.flip(pixels.value)
    }

    /// Bytes are missing in the pixels, or there twice.
    fn shift_pixels(&mut self) -> String {
        let Some(pixels) = self.pixels().filter(|it| it.value.len() > 1) else { return self.cut_short() };
        let from = self.random.random_range(pixels.value.clone());
        let to = (from + self.random.random_range(1..64)).min(pixels.value.end);
        if self.random.random_ratio(1, 2) {
            self.bytes.drain(from..to);
            return format!("without the bytes of {from}..{to}");
        }
        let piece = self.bytes[from..to].to_vec();
        let at = self.random.random_range(pixels.value);
        self.bytes.splice(at..at, piece);
        format!("the bytes of {from}..{to} once more at {at}")
    }

    /// An element that describes the pixels says something else.
    fn wrong_value(&mut self) -> String {
        let wanted = |it: &Element| {
            describes(it.tag) && it.tag.group() != tags::PIXEL_DATA.group() && !it.value.is_empty()
        };
        let Some(element) = self.one_of(wanted) else { return self.flip_anywhere() };
        let is_text = self.bytes[element.value.clone()].iter().all(|byte| (b' '..0x7F).contains(byte));
        if !is_text {
            let at = element.value.start + self.random.random_range(0..element.value.len().min(6)) / 2 * 2;
            let word = WORDS[self.random.random_range(0..WORDS.len())];
            let word =
                if self.layout == Layout::ExplicitBe { word.to_be_bytes() } else { word.to_le_bytes() };
            let end = (at + 2).min(element.value.end);
            self.bytes[at..end].copy_from_slice(&word[..end - at]);
            return format!("{}: {word:?} at {at}", element.tag);
        }
        let text = TEXTS[self.random.random_range(0..TEXTS.len())];
        self.replace(&element, text);
        format!("{}: {text:?}", element.tag)
    }

    /// Gives an element another text, and the length that belongs to it.
    fn replace(&mut self, element: &Element, text: &str) {
        let mut text = text.as_bytes().to_vec();
        text.resize(text.len().next_multiple_of(2), b' ');
        self.put_length(element, text.len() as u64);
        self.bytes.splice(element.value.clone(), text);
    }

    /// Whether the length of an element is told in two bytes.
    fn is_short(&self, element: &Element) -> bool {
        self.layout != Layout::ImplicitLe && element.value.start - element.all.start == 8
    }

    fn put_length(&mut self, element: &Element, length: u64) {
        let at = element.value.start;
        let field = at - if self.is_short(element) { 2 } else { 4 }..at;
        let bytes = match self.layout {
            Layout::ExplicitBe => length.to_be_bytes()[8 - field.len()..].to_vec(),
            _ => length.to_le_bytes()[..field.len()].to_vec(),
        };
        self.bytes[field].copy_from_slice(&bytes);
    }

    fn wrong_length(&mut self) -> String {
        let Some(element) = self.one_of(|_| true) else { return self.flip_anywhere() };
        let most = if self.is_short(&element) { u64::from(u16::MAX) } else { u64::from(u32::MAX) };
        let is = element.value.len() as u64;
        let wrong = [
            is.wrapping_sub(1),
            is.wrapping_sub(2),
            is + 1,
            is + 2,
            is + 4,
            is + 100,
            is / 2,
            0,
            most,
            most - 1,
            most / 2,
        ];
        let length = wrong[self.random.random_range(0..wrong.len())] & most;
        self.put_length(&element, length);
        format!("{}: said to have {length} bytes", element.tag)
    }

    /// An element is missing, there twice, or elsewhere.
    fn move_element(&mut self) -> String {
        let wanted = |it: &Element| describes(it.tag) || it.tag.group() < 0x0028;
        let (Some(element), Some(other)) = (self.one_of(wanted), self.one_of(|_| true)) else {
            return self.flip_anywhere();
        };
        let piece = self.bytes[element.all.clone()].to_vec();
        match self.random.random_range(0..3) {
            0 => {
                self.bytes.drain(element.all);
                format!("without {}", element.tag)
            }
            1 => {
                self.bytes.splice(other.all.start..other.all.start, piece);
                format!("{} once more before {}", element.tag, other.tag)
            }
            _ => {
                let at = other.all.start;
                let at =
                    if at > element.all.start { at.max(element.all.end) - element.all.len() } else { at };
                self.bytes.drain(element.all);
                self.bytes.splice(at..at, piece);
                format!("{} elsewhere, at {at}", element.tag)
            }
        }
    }

    /// Something that has nothing to do with the pixels is missing, or says something else.
    fn harmless(&mut self) -> String {
        let wanted = |it: &Element| HARMLESS.contains(&it.tag.group()) && it.tag.element() != 0;
        let Some(element) = self.one_of(wanted) else { return "nothing".to_owned() };
        let value = &self.bytes[element.value.clone()];
        let is_text = !value.is_empty() && value.iter().all(|byte| (b' '..0x7F).contains(byte));
        if is_text && self.random.random_ratio(2, 3) {
            let text = TEXTS[self.random.random_range(0..TEXTS.len())];
            self.replace(&element, text);
            return format!("{}: {text:?}", element.tag);
        }
        self.bytes.drain(element.all);
        format!("without {}", element.tag)
    }
}

fn is_identifier(tag: Tag) -> bool {
    IDENTIFIERS.contains(&tag)
}

/// Whether an element says how pixels lie, or how they are shown, or is pixels.
fn describes(tag: Tag) -> bool {
    let group = tag.group();
    matches!(group, 0x0028 | 0x5200 | 0x7FE0 | 0x0048 | 0x2050) || (0x6000..0x6020).contains(&group)
}

fn inflated(bytes: Bytes) -> Vec<u8> {
    let mut inflater = Inflater::default();
    inflater.push(bytes);
    let mut out = Vec::new();
    while let Ok(Some(piece)) = inflater.next() {
        out.extend_from_slice(&piece);
    }
    out
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    Compress::new(Compression::fast(), false)
        .compress_vec(bytes, &mut out, FlushCompress::Finish)
        .expect("room");
    out
}
