//! Objects of every kind of pixel data, in pieces of every size.

mod counts;
mod fragments;

use proptest::prelude::*;

use super::*;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE as EXPLICIT, IMPLICIT_VR_LE as IMPLICIT};
use crate::dicom::{Tag, tags};

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const J2K: &str = "1.2.840.10008.1.2.4.90";
const RLE: &str = "1.2.840.10008.1.2.5";
const MPEG4: &str = "1.2.840.10008.1.2.4.102";

/// Fragments that are a frame each, of which one is padded.
const A: &[u8] = b"\xFF\xD8\xFFa\xFF\xD9";
const B: &[u8] = b"\xFF\xD8\xFFbb\xFF\xD9\0";
const C: &[u8] = b"\xFF\xD8\xFFc\xFF\xD9";

fn syntax(uid: &str) -> Uid {
    uid.parse().unwrap()
}

/// A data set in the making.
struct Build {
    syntax: Uid,
    bytes: Vec<u8>,
}

impl Build {
    fn new(uid: &str) -> Self {
        Self { syntax: syntax(uid), bytes: Vec::new() }
    }

    fn header(mut self, tag: Tag, vr: &str, length: u32) -> Self {
        let big = self.syntax.as_str() == EXPLICIT_VR_BE;
        let u16s = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let u32s = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        self.bytes.extend([u16s(tag.group()), u16s(tag.element())].concat());
        if self.syntax.as_str() == IMPLICIT || tag.group() == 0xFFFE {
            self.bytes.extend(u32s(length));
        } else if ["OB", "OW", "OF", "OD", "OV", "SQ", "UN"].contains(&vr) {
            self.bytes.extend(vr.bytes().chain([0, 0]));
            self.bytes.extend(u32s(length));
        } else {
            self.bytes.extend(vr.bytes());
            self.bytes.extend(u16s(length as u16));
        }
        self
    }

    fn element(self, tag: Tag, vr: &str, value: &[u8]) -> Self {
        let mut built = self.header(tag, vr, value.len() as u32);
        built.bytes.extend(value);
        built
    }

    fn number(self, tag: Tag, number: u16) -> Self {
        let big = self.syntax.as_str() == EXPLICIT_VR_BE;
        let value = if big { number.to_be_bytes() } else { number.to_le_bytes() };
        self.element(tag, "US", &value)
    }

    /// The attributes of an image.
    fn image(
        self,
        samples: u16,
        interpretation: &str,
        frames: u32,
        rows: u16,
        columns: u16,
        bits: u16,
    ) -> Self {
        let built = self.number(tags::SAMPLES_PER_PIXEL, samples).element(
            tags::PHOTOMETRIC_INTERPRETATION,
            "CS",
            interpretation.as_bytes(),
        );
        let text = format!("{frames:<6}");
        built
            .element(tags::NUMBER_OF_FRAMES, "IS", text.as_bytes())
            .number(tags::ROWS, rows)
            .number(tags::COLUMNS, columns)
            .number(tags::BITS_ALLOCATED, bits)
    }

    fn grey(self, frames: u32, rows: u16, columns: u16, bits: u16) -> Self {
        self.image(1, "MONOCHROME2 ", frames, rows, columns, bits)
    }

    fn item(self, value: &[u8]) -> Self {
        self.element(Tag(0xFFFE, 0xE000), "", value)
    }

    /// Encapsulated pixel data: a Basic Offset Table, and fragments.
    fn fragments(self, table: &[u32], fragments: &[&[u8]]) -> Self {
        let table: Vec<u8> = table.iter().flat_map(|n| n.to_le_bytes()).collect();
        let built = self.header(tags::PIXEL_DATA, "OB", u32::MAX).item(&table);
        fragments.iter().fold(built, |built, fragment| built.item(fragment)).element(
            Tag(0xFFFE, 0xE0DD),
            "",
            &[],
        )
    }

    fn extended(self, offsets: &[u64], lengths: &[u64]) -> Self {
        let bytes = |list: &[u64]| list.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        self.element(tags::EXTENDED_OFFSET_TABLE, "OV", &bytes(offsets)).element(
            tags::EXTENDED_OFFSET_TABLE_LENGTHS,
            "OV",
            &bytes(lengths),
        )
    }

    /// The frames with these numbers, the object in pieces of this size.
    fn cut_in(&self, wanted: Option<&[u32]>, piece: usize) -> Result<Vec<(u32, Vec<u8>)>, Error> {
        let mut cutter = match wanted {
            Some(list) => Cutter::new(&self.syntax, list.to_vec()),
            None => Cutter::all(&self.syntax),
        };
        let mut frames: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut expected = None;
        let mut whole = true;
        for bytes in self.bytes.chunks(piece) {
            cutter.push(Bytes::copy_from_slice(bytes));
            loop {
                match cutter.next()? {
                    Step::MoreBytes => break,
                    Step::Done(_) => return Ok(frames),
                    Step::Cut(Cut::Begin { number, length }) => {
                        assert!(std::mem::replace(&mut whole, false), "the frame before has ended");
                        frames.push((number, Vec::new()));
                        expected = length;
                    }
                    Step::Cut(Cut::Bytes(bytes)) => {
                        assert!(!bytes.is_empty());
                        frames.last_mut().unwrap().1.extend(bytes);
                    }
                    Step::Cut(Cut::End) => {
                        whole = true;
                        let length = frames.last().unwrap().1.len() as u64;
                        assert!(expected.is_none_or(|expected| expected == length), "as announced");
                    }
                }
            }
        }
        cutter.finish().map(|_| frames)
    }

    fn cut(&self, wanted: &[u32]) -> Result<Vec<Vec<u8>>, Error> {
        let whole = self.cut_in(Some(wanted), usize::MAX);
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(self.cut_in(Some(wanted), piece), whole, "in pieces of {piece}");
        }
        whole.map(|frames| frames.into_iter().map(|(_, bytes)| bytes).collect())
    }

    fn all(&self) -> Result<Vec<Vec<u8>>, Error> {
        let frames = self.cut_in(None, 5)?;
        assert!(frames.iter().map(|(number, _)| *number).eq(1..=frames.len() as u32));
        Ok(frames.into_iter().map(|(_, bytes)| bytes).collect())
    }
}

#[test]
fn native_frames_are_their_bytes_and_the_padding_is_in_none() {
    let object = Build::new(EXPLICIT).grey(3, 1, 3, 8).element(tags::PIXEL_DATA, "OB", b"aaabbbccc\0");
    assert_eq!(object.cut(&[1]).unwrap(), [b"aaa"]);
    assert_eq!(object.cut(&[3]).unwrap(), [b"ccc"]);
    assert_eq!(object.cut(&[1, 3]).unwrap(), [b"aaa", b"ccc"]);
    assert_eq!(object.all().unwrap(), [b"aaa", b"bbb", b"ccc"]);
    let implicit = Build::new(IMPLICIT).grey(2, 1, 1, 16).element(tags::PIXEL_DATA, "OW", b"aabb");
    assert_eq!(implicit.cut(&[2]).unwrap(), [b"bb"]);
    let one =
        Build::new(EXPLICIT).number(tags::ROWS, 1).number(tags::COLUMNS, 2).number(tags::BITS_ALLOCATED, 8);
    let one = one.element(tags::PIXEL_DATA, "OB", b"ab");
    assert_eq!(one.cut(&[1]).unwrap(), [b"ab"], "one sample and one frame where it does not say");
}

#[test]
fn float_and_double_pixel_data_are_frames_too() {
    let float = Build::new(EXPLICIT).grey(2, 1, 1, 32).element(tags::FLOAT_PIXEL_DATA, "OF", b"aaaabbbb");
    assert_eq!(float.cut(&[2]).unwrap(), [b"bbbb"]);
    let double = Build::new(EXPLICIT).grey(2, 1, 1, 64).element(
        tags::DOUBLE_FLOAT_PIXEL_DATA,
        "OD",
        b"aaaaaaaabbbbbbbb",
    );
    assert_eq!(double.cut(&[1]).unwrap(), [b"aaaaaaaa"]);
}

#[test]
fn big_endian_frames_become_little_endian() {
    let words =
        Build::new(EXPLICIT_VR_BE).grey(2, 1, 1, 16).element(tags::PIXEL_DATA, "OW", b"\x01\x02\x03\x04");
    assert_eq!(words.all().unwrap(), [[2, 1], [4, 3]]);
    // Bytes that go as words: two frames of three share one.
    let bytes = Build::new(EXPLICIT_VR_BE).grey(2, 1, 3, 8).element(tags::PIXEL_DATA, "OW", b"badcfe");
    assert_eq!(bytes.all().unwrap(), [b"abc", b"def"]);
    let cells = Build::new(EXPLICIT_VR_BE).grey(1, 1, 1, 32).element(tags::PIXEL_DATA, "OW", &[1, 2, 3, 4]);
    assert_eq!(cells.cut(&[1]).unwrap(), [[4, 3, 2, 1]]);
}

#[test]
fn frames_of_bits_begin_in_the_lowest_bit_of_their_first_byte() {
    // Three frames of five pixels: 10110, 01101, 11011, from the lowest bit on.
    let object =
        Build::new(EXPLICIT).grey(3, 1, 5, 1).element(tags::PIXEL_DATA, "OB", &[0b1100_1101, 0b0110_1110]);
    assert_eq!(object.cut(&[1]).unwrap(), [[0b0_1101]]);
    assert_eq!(object.cut(&[2]).unwrap(), [[0b1_0110]]);
    assert_eq!(object.cut(&[3]).unwrap(), [[0b1_1011]]);
    assert_eq!(object.all().unwrap(), [[0b0_1101], [0b1_0110], [0b1_1011]]);
}

#[test]
fn halved_chrominance_makes_frames_shorter_unless_every_sample_is_there() {
    let halved = Build::new(EXPLICIT).image(3, "YBR_FULL_422", 2, 1, 2, 8);
    let object = halved.element(tags::PIXEL_DATA, "OB", b"aaaabbbb");
    assert_eq!(object.all().unwrap(), [b"aaaa", b"bbbb"]);
    let full = Build::new(EXPLICIT).image(3, "YBR_FULL_422", 2, 1, 2, 8);
    let object = full.element(tags::PIXEL_DATA, "OB", b"aaaaaabbbbbb");
    assert_eq!(object.cut(&[2]).unwrap(), [b"bbbbbb"]);
}

#[test]
fn attributes_of_items_are_not_those_of_the_image() {
    let object = Build::new(EXPLICIT).grey(1, 1, 2, 8).header(Tag(0x0088, 0x0200), "SQ", u32::MAX);
    let icon =
        object.header(Tag(0xFFFE, 0xE000), "", u32::MAX).number(tags::ROWS, 9).number(tags::COLUMNS, 9);
    let icon = icon.element(tags::PIXEL_DATA, "OB", b"icon").header(Tag(0xFFFE, 0xE00D), "", 0);
    let object = icon.header(Tag(0xFFFE, 0xE0DD), "", 0).element(tags::PIXEL_DATA, "OB", b"ab");
    assert_eq!(object.cut(&[1]).unwrap(), [b"ab"]);
}

#[test]
fn a_video_is_one_stream_and_has_no_frames_to_cut() {
    let object = Build::new(MPEG4).grey(120, 4, 4, 8).fragments(&[], &[b"mov", b"ie\0"]);
    assert_eq!(object.cut(&[1]), Err(Error::Video));
    assert_eq!(object.all().unwrap(), [b"movie\0"]);
}

#[test]
fn hazard_a_frame_number_is_never_ignored() {
    let native = Build::new(EXPLICIT).grey(2, 1, 2, 8).element(tags::PIXEL_DATA, "OB", b"aabb");
    assert_eq!(native.cut(&[3]), Err(Error::OutOfRange { number: 3, frames: 2 }));
    assert_eq!(native.cut(&[1, 9]), Err(Error::OutOfRange { number: 9, frames: 2 }), "none of the list");
    let jpeg = Build::new(JPEG).grey(2, 1, 2, 8).fragments(&[], &[A, C]);
    assert_eq!(jpeg.cut(&[3]), Err(Error::OutOfRange { number: 3, frames: 2 }));
}

#[test]
fn what_the_object_lacks_is_an_error_and_never_a_short_frame() {
    let short = Build::new(EXPLICIT).grey(2, 1, 2, 8).element(tags::PIXEL_DATA, "OB", b"aab");
    assert_eq!(short.cut(&[1]).unwrap(), [b"aa"]);
    assert_eq!(short.cut(&[1, 2]), Err(Error::TooShort(2)));
    assert_eq!(short.all(), Err(Error::TooShort(2)));
    let few = Build::new(RLE).grey(3, 1, 2, 8).fragments(&[], &[b"aa", b"bb"]);
    assert_eq!(few.cut(&[3]), Err(Error::TooShort(3)));
    assert_eq!(few.all(), Err(Error::TooShort(3)));
    let none = Build::new(JPEG).grey(1, 1, 2, 8).fragments(&[], &[]);
    assert_eq!(none.cut(&[1]), Err(Error::TooShort(1)));
    assert_eq!(Build::new(EXPLICIT).grey(1, 1, 2, 8).cut(&[1]), Err(Error::NoPixelData));
    let shapeless = Build::new(EXPLICIT).element(tags::PIXEL_DATA, "OB", b"aa");
    assert_eq!(shapeless.cut(&[1]), Err(Error::NoGeometry));
    let mut cut_off = Build::new(EXPLICIT).grey(1, 1, 4, 8).element(tags::PIXEL_DATA, "OB", b"aaaa");
    cut_off.bytes.pop();
    assert!(matches!(cut_off.cut(&[1]), Err(Error::DataSet(_))));
}

#[test]
fn hazard_native_pixel_data_under_a_jpeg_label_is_no_frame_of_either_kind() {
    let native = Build::new(JPEG).grey(1, 1, 2, 8).element(tags::PIXEL_DATA, "OB", b"aa");
    assert_eq!(native.cut(&[1]), Err(Error::WrongEncoding));
    let jpeg = Build::new(EXPLICIT).grey(1, 1, 2, 8).fragments(&[], &[A]);
    assert_eq!(jpeg.cut(&[1]), Err(Error::WrongEncoding));
}

#[test]
fn hazard_declared_sizes_are_not_allocated() {
    let frames = Build::new(EXPLICIT).grey(999_999, u16::MAX, u16::MAX, u16::MAX);
    let huge = frames.header(tags::PIXEL_DATA, "OW", 0xFFFF_FFFE);
    assert!(matches!(huge.cut(&[1]), Err(Error::TooShort(1))));
    let table = Build::new(JPEG).grey(2, 1, 1, 8).header(tags::EXTENDED_OFFSET_TABLE, "OV", 0x7FFF_FFF8);
    assert!(matches!(table.cut(&[1]), Err(Error::DataSet(_))));
}

/// A codestream of a JPEG kind: no marker within it, an end marker at its end.
fn codestream() -> impl Strategy<Value = Vec<u8>> {
    let begin = [0xFF, 0xD8, 0xFF, 0xE0];
    prop::collection::vec(0u8..0xFF, 0..60).prop_map(move |body| [&begin[..], &body, &END].concat())
}

const END: [u8; 2] = [0xFF, 0xD9];

proptest! {
    #[test]
    fn frames_are_what_went_in_however_they_are_fragmented(
        frames in prop::collection::vec((codestream(), prop::collection::vec(1usize..20, 0..6)), 1..8),
        table in any::<bool>(),
        extended in any::<bool>(),
        piece in 1usize..50,
    ) {
        let mut fragments: Vec<Vec<u8>> = Vec::new();
        let (mut offsets, mut position) = (Vec::new(), 0u32);
        for (frame, cuts) in &frames {
            offsets.push(position);
            let (mut rest, mut own) = (&frame[..], Vec::new());
            for &cut in cuts.iter().filter(|_| !extended) {
                // An end marker that lies across two fragments is no end marker for whoever has no table.
                let cut = 2 * cut;
                if cut + 4 < rest.len() {
                    let (head, tail) = rest.split_at(cut);
                    own.push(head.to_vec());
                    rest = tail;
                }
            }
            own.push(rest.to_vec());
            for mut fragment in own {
                if fragment.len() % 2 == 1 {
                    fragment.push(0);
                }
                position += 8 + fragment.len() as u32;
                fragments.push(fragment);
            }
        }
        let borrowed: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
        let mut object = Build::new(JPEG).grey(frames.len() as u32, 1, 1, 8);
        if extended {
            let lengths: Vec<u64> = frames.iter().map(|(frame, _)| frame.len() as u64).collect();
            object = object.extended(&offsets.iter().map(|&n| n.into()).collect::<Vec<u64>>(), &lengths);
        }
        let object = object.fragments(if table { &offsets } else { &[] }, &borrowed);
        let cut = object.cut_in(None, piece).unwrap();
        prop_assert_eq!(cut.len(), frames.len());
        for ((number, cut), (frame, _)) in cut.iter().zip(&frames) {
            prop_assert_eq!(cut, frame);
            prop_assert_eq!(&object.cut_in(Some(&[*number]), piece).unwrap()[0].1, frame);
        }
    }

    #[test]
    fn bits_of_any_frame_are_those_that_went_in(
        pixels in prop::collection::vec(prop::collection::vec(any::<bool>(), 13), 1..9),
        piece in 1usize..9,
    ) {
        let stream: Vec<bool> = pixels.concat();
        let pack = |bits: &[bool]| -> Vec<u8> {
            bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |b, &bit| b << 1 | u8::from(bit))).collect()
        };
        let object = Build::new(EXPLICIT).grey(pixels.len() as u32, 1, 13, 1);
        let object = object.element(tags::PIXEL_DATA, "OB", &pack(&stream));
        for (index, frame) in pixels.iter().enumerate() {
            let cut = object.cut_in(Some(&[index as u32 + 1]), piece).unwrap();
            prop_assert_eq!(&cut[0].1, &pack(frame));
        }
        prop_assert_eq!(object.cut_in(None, piece).unwrap().len(), pixels.len());
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), frames in 0u32..9, piece in 1usize..40, encapsulated in any::<bool>()) {
        let mut object = Build::new(if encapsulated { JPEG } else { EXPLICIT }).grey(frames, 1, 3, 1);
        if encapsulated {
            object = object.header(tags::PIXEL_DATA, "OB", u32::MAX);
        }
        object.bytes.extend(bytes);
        for wanted in [None, Some(&[1][..]), Some(&[1, 3])] {
            let _ = object.cut_in(wanted, piece);
        }
    }
}
