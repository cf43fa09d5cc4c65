//! Values at the top, in sequences, in every byte order, in pieces of every size.

use proptest::prelude::*;

use super::*;
use crate::dicom::VR;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value as Content};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, layout};

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const MPEG4: &str = "1.2.840.10008.1.2.4.102";

fn bytes(vr: VR, value: &'static [u8]) -> Element {
    Element { vr, value: Content::Bytes(Bytes::from_static(value)) }
}

/// An object with a waveform in a sequence, a lookup table and pixel data.
fn object() -> DataSet {
    let item = |value| {
        let mut item = DataSet::new();
        item.insert(tags::WAVEFORM_DATA, bytes(VR::OW, value));
        item
    };
    let mut object = DataSet::new();
    object.insert(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, bytes(VR::OW, b"table."));
    object.set_u16(tags::ROWS, 1);
    object.set_u16(tags::COLUMNS, 2);
    object.set_u16(tags::BITS_ALLOCATED, 16);
    object.insert(Tag(0x0009, 0x1001), bytes(VR::OB, b"ab"));
    object.set_items(tags::WAVEFORM_SEQUENCE, vec![item(b"wave 1"), item(b"wave 2")]);
    object.insert(tags::PIXEL_DATA, bytes(VR::OW, b"pixels"));
    object
}

/// Paths and bytes, the object in pieces of this size.
fn values_in(
    syntax: &str,
    object: &[u8],
    selection: &Selection,
    piece: usize,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut values = Values::new(&syntax.parse().unwrap(), selection.clone());
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    let mut length = None;
    let mut open = false;
    let mut pieces = object.chunks(piece);
    loop {
        while let Some(piece) = values.next()? {
            match piece {
                Piece::Begin(value) => {
                    assert!(!std::mem::replace(&mut open, true));
                    length = value.length;
                    out.push((value.path.to_string(), Vec::new()));
                }
                Piece::Bytes(bytes) => out.last_mut().unwrap().1.extend(bytes),
                Piece::End => {
                    assert!(std::mem::replace(&mut open, false));
                    let came = out.last().unwrap().1.len() as u64;
                    assert!(length.is_none_or(|length| length == came), "as announced");
                }
            }
        }
        if values.is_done() || values.is_finished() {
            return Ok(out);
        }
        match pieces.next() {
            Some(piece) => values.push(Bytes::copy_from_slice(piece)),
            None => values.finish()?,
        }
    }
}

fn values(syntax: &str, object: &[u8], selection: Selection) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let whole = values_in(syntax, object, &selection, usize::MAX);
    for piece in [1, 3, 10] {
        assert_eq!(values_in(syntax, object, &selection, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn at(path: &str) -> Selection {
    Selection::Path(path.parse().unwrap())
}

fn pairs(values: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    values.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect()
}

#[test]
fn a_value_is_found_by_its_path_in_every_encoding_and_comes_little_endian() {
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE] {
        let encoded = object().encode(layout(&syntax.parse().unwrap()), QueryCharset::Auto);
        for (path, expected) in [
            ("7FE00010", &b"pixels"[..]),
            ("54000100/1/54001010", b"wave 1"),
            ("54000100/2/54001010", b"wave 2"),
            ("00281201", b"table."),
            ("00280010", &[1, 0]),
        ] {
            let found = values(syntax, &encoded, at(path)).unwrap();
            assert_eq!(pairs(&found), [(path, expected)], "{syntax}");
        }
        for path in ["54000100/3/54001010", "54000100", "54001010", "00100010", "54000100/1/7FE00010"] {
            assert_eq!(values(syntax, &encoded, at(path)).unwrap(), [], "{path}");
        }
    }
}

#[test]
fn large_values_and_all_pixel_data_are_bulk_data_and_the_rest_is_not() {
    let encoded = object().encode(layout(&EXPLICIT_VR_LE.parse().unwrap()), QueryCharset::Auto);
    let paths = |selection| -> Vec<String> {
        values(EXPLICIT_VR_LE, &encoded, selection).unwrap().into_iter().map(|(path, _)| path).collect()
    };
    let all = ["00281201", "54000100/1/54001010", "54000100/2/54001010", "7FE00010"];
    assert_eq!(paths(Selection::Large(5)), all);
    assert_eq!(paths(Selection::Large(6)), ["7FE00010"]);
    assert_eq!(paths(Selection::Pixels), ["7FE00010"]);
}

/// An element in Explicit VR Little Endian with a long length field.
fn long(tag: Tag, vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
    let Tag(group, element) = tag;
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    if group != 0xFFFE {
        out.extend(vr);
        out.extend([0, 0]);
    }
    out.extend(length.to_le_bytes());
    out.extend(value);
    out
}

fn encapsulated(frames: &[u8; 2], fragments: &[&[u8]]) -> Vec<u8> {
    let mut out = [&[0x28, 0, 8, 0, b'I', b'S', 2, 0][..], frames].concat();
    out.extend(long(tags::PIXEL_DATA, b"OB", u32::MAX, b""));
    out.extend(long(Tag(0xFFFE, 0xE000), b"--", 0, b""));
    for fragment in fragments {
        out.extend(long(Tag(0xFFFE, 0xE000), b"--", fragment.len() as u32, fragment));
    }
    out.extend(long(Tag(0xFFFE, 0xE0DD), b"--", 0, b""));
    out
}

#[test]
fn encapsulated_pixel_data_comes_as_its_frames_and_a_video_as_one_stream() {
    let two = encapsulated(b"2 ", &[b"\xFF\xD8a\xFF\xD9\0", b"\xFF\xD8\xFF\xD9"]);
    for selection in [at("7FE00010"), Selection::Large(1024), Selection::Pixels] {
        let found = values(JPEG, &two, selection).unwrap();
        let frames = [("7FE00010", &b"\xFF\xD8a\xFF\xD9"[..]), ("7FE00010", b"\xFF\xD8\xFF\xD9")];
        assert_eq!(pairs(&found), frames);
    }
    let video = encapsulated(b"99", &[b"mov", b"ie\0"]);
    assert_eq!(pairs(&values(MPEG4, &video, at("7FE00010")).unwrap()), [("7FE00010", &b"movie\0"[..])]);
}

#[test]
fn the_padding_of_a_document_is_left_out_where_its_length_is_told() {
    let document = long(tags::ENCAPSULATED_DOCUMENT, b"OB", 4, b"%P\n\0");
    let mime = [&[0x42, 0, 0x12, 0, b'L', b'O', 2, 0][..], b"a "].concat();
    let length = |n: u8| vec![0x42, 0, 0x15, 0, b'U', b'L', 4, 0, n, 0, 0, 0];
    for (object, expected) in [
        ([&document[..], &mime, &length(3)].concat(), &b"%P\n"[..]),
        ([&document[..], &mime, &length(4)].concat(), b"%P\n\0"),
        ([&document[..], &mime, &length(1)].concat(), b"%P\n\0"),
        ([&document[..], &mime].concat(), b"%P\n\0"),
        ([&document[..], &mime, &long(tags::PIXEL_DATA, b"OB", 2, b"ab")].concat(), b"%P\n\0"),
    ] {
        assert_eq!(
            pairs(&values(EXPLICIT_VR_LE, &object, at("00420011")).unwrap()),
            [("00420011", expected)]
        );
        let all = values(EXPLICIT_VR_LE, &object, Selection::Large(3)).unwrap();
        assert_eq!(pairs(&all)[0], ("00420011", expected));
    }
}

#[test]
fn an_object_that_breaks_off_is_an_error_and_never_a_short_value() {
    let mut encoded = object().encode(layout(&EXPLICIT_VR_LE.parse().unwrap()), QueryCharset::Auto);
    encoded.pop();
    assert!(matches!(values(EXPLICIT_VR_LE, &encoded, at("7FE00010")), Err(Error::DataSet(_))));
    assert!(matches!(values(EXPLICIT_VR_LE, &encoded, Selection::Large(3)), Err(Error::DataSet(_))));
    let mut few = encapsulated(b"3 ", &[b"\xFF\xD8\xFF\xD9"]);
    assert!(matches!(values(JPEG, &few, Selection::Pixels), Err(Error::Frames(_))));
    few.truncate(40);
    assert!(values(JPEG, &few, Selection::Pixels).is_err());
}

proptest! {
    #[test]
    fn never_panics(random in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40, syntax in 0usize..3) {
        let syntax = [JPEG, EXPLICIT_VR_BE, IMPLICIT_VR_LE][syntax];
        for selection in [at("7FE00010"), at("54000100/1/54001010"), Selection::Large(4), Selection::Pixels] {
            let _ = values_in(syntax, &random, &selection, piece);
            let mut behind = encapsulated(b"2 ", &[]);
            behind.truncate(behind.len() - 8);
            behind.extend(&random);
            let _ = values_in(JPEG, &behind, &selection, piece);
        }
    }
}
