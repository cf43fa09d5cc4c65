use proptest::prelude::*;

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::scan::ErrorKind;

fn reencode(from: Layout, source: &[u8]) -> Vec<u8> {
    reencode_in_pieces(from, source, usize::MAX).unwrap()
}

fn reencode_in_pieces(from: Layout, source: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let mut reencoder = Reencoder::new(from);
    let mut out = Vec::new();
    for piece in source.chunks(size) {
        out.extend(reencoder.push(Bytes::copy_from_slice(piece))?.concat());
    }
    out.extend(reencoder.finish()?.concat());
    Ok(out)
}

#[test]
fn implicit_vr_gets_the_vrs_of_the_dictionary_and_of_the_context() {
    let source = [
        &b"\x08\x00\x00\x00\x04\0\0\0\x10\0\0\0"[..],
        b"\x08\x00\x60\x00\x02\0\0\0CT",
        b"\x09\x00\x10\x00\x02\0\0\0AB",
        b"\x09\x00\x01\x10\x02\0\0\0\x01\x02",
        b"\x28\x00\x03\x01\x02\0\0\0\x01\0",
        b"\x28\x00\x06\x01\x02\0\0\0\xFE\xFF",
        b"\x28\x00\x06\x30\x02\0\0\0\x01\0",
        b"\x00\x60\x00\x30\x02\0\0\0\x0F\0",
        b"\xE0\x7F\x10\x00\x04\0\0\0\x01\x02\x03\x04",
    ]
    .concat();
    let wanted = [
        &b"\x08\x00\x60\x00CS\x02\0CT"[..],
        b"\x09\x00\x10\x00LO\x02\0AB",
        b"\x09\x00\x01\x10UN\0\0\x02\0\0\0\x01\x02",
        b"\x28\x00\x03\x01US\x02\0\x01\0",
        b"\x28\x00\x06\x01SS\x02\0\xFE\xFF",
        b"\x28\x00\x06\x30OW\0\0\x02\0\0\0\x01\0",
        b"\x00\x60\x00\x30OW\0\0\x02\0\0\0\x0F\0",
        b"\xE0\x7F\x10\x00OW\0\0\x04\0\0\0\x01\x02\x03\x04",
    ]
    .concat();
    assert_eq!(reencode(Layout::ImplicitLe, &source), wanted);
}

#[test]
fn big_endian_pixels_are_turned_around_cell_by_cell() {
    for (bits, turned) in [
        (16, b"\x02\x01\x04\x03\x06\x05\x08\x07"),
        (32, b"\x04\x03\x02\x01\x08\x07\x06\x05"),
        (64, b"\x08\x07\x06\x05\x04\x03\x02\x01"),
    ] {
        let head = [&b"\x00\x28\x01\x00US\x00\x02\x00"[..], &[bits]].concat();
        let source =
            [&head[..], b"\x7F\xE0\x00\x10OW\0\0\0\0\0\x08\x01\x02\x03\x04\x05\x06\x07\x08"].concat();
        for size in [1, 3, usize::MAX] {
            let out = reencode_in_pieces(Layout::ExplicitBe, &source, size).unwrap();
            assert_eq!(&out[out.len() - 8..], turned, "{bits}");
        }
    }
}

fn to_implicit(from: Layout, source: &[u8], size: usize) -> Vec<u8> {
    let mut reencoder = Reencoder::to_implicit(from);
    let mut out = Vec::new();
    for piece in source.chunks(size) {
        out.extend(reencoder.push(Bytes::copy_from_slice(piece)).unwrap().concat());
    }
    out.extend(reencoder.finish().unwrap().concat());
    out
}

#[test]
fn explicit_vr_and_big_endian_become_implicit_in_whatever_pieces_they_come() {
    let little = [
        &b"\x08\x00\x60\x00CS\x02\0CT"[..],
        b"\x08\x00\x32\x10SQ\0\0\x12\0\0\0\xFE\xFF\x00\xE0\x0A\0\0\0\x08\x00\x00\x01SH\x02\0A1",
        b"\x09\x00\x01\x10OB\0\0\x03\0\0\0\x01\x02\x03",
        b"\x28\x00\x10\x00US\x02\0\x34\x12",
        b"\xE0\x7F\x10\x00OW\0\0\x04\0\0\0\x01\x02\x03\x04",
    ]
    .concat();
    let big = [
        &b"\x00\x08\x00\x60CS\0\x02CT"[..],
        b"\x00\x08\x10\x32SQ\0\0\0\0\0\x12\xFF\xFE\xE0\x00\0\0\0\x0A\x00\x08\x01\x00SH\0\x02A1",
        b"\x00\x09\x10\x01OB\0\0\0\0\0\x03\x01\x02\x03",
        b"\x00\x28\x00\x10US\0\x02\x12\x34",
        b"\x7F\xE0\x00\x10OW\0\0\0\0\0\x04\x02\x01\x04\x03",
    ]
    .concat();
    let wanted = [
        &b"\x08\x00\x60\x00\x02\0\0\0CT"[..],
        b"\x08\x00\x32\x10\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\x08\x00\x00\x01\x02\0\0\0A1",
        b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
        b"\x09\x00\x01\x10\x04\0\0\0\x01\x02\x03\0",
        b"\x28\x00\x10\x00\x02\0\0\0\x34\x12",
        b"\xE0\x7F\x10\x00\x04\0\0\0\x01\x02\x03\x04",
    ]
    .concat();
    for size in [1, 7, usize::MAX] {
        assert_eq!(to_implicit(Layout::ExplicitLe, &little, size), wanted);
        assert_eq!(to_implicit(Layout::ExplicitBe, &big, size), wanted);
    }
}

#[test]
fn pixel_representation_holds_for_items_and_not_beyond_their_own() {
    let smallest = b"\x28\x00\x06\x01\x02\0\0\0\0\0";
    let source = [
        &b"\x88\x00\x00\x02\xFF\xFF\xFF\xFF"[..],
        b"\xFE\xFF\x00\xE0\x14\0\0\0\x28\x00\x03\x01\x02\0\0\0\x01\0",
        smallest,
        b"\xFE\xFF\x00\xE0\x0A\0\0\0",
        smallest,
        b"\xFE\xFF\xDD\xE0\0\0\0\0",
    ]
    .concat();
    let out = reencode(Layout::ImplicitLe, &source);
    let vrs: Vec<&[u8]> =
        out.windows(6).filter(|w| w[..4] == *b"\x28\x00\x06\x01").map(|w| &w[4..]).collect();
    assert_eq!(vrs, [b"SS", b"US"]);
}

#[test]
fn sequences_get_undefined_length_and_empty_ones_none() {
    let source = [
        &b"\x08\x00\x32\x10\x12\0\0\0\xFE\xFF\x00\xE0\x0A\0\0\0\x08\x00\x00\x01\x02\0\0\0A1"[..],
        b"\x08\x00\x11\x11\0\0\0\0",
        b"\x09\x00\x01\x10\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
    ]
    .concat();
    let wanted = [
        &b"\x08\x00\x32\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"[..],
        b"\x08\x00\x00\x01SH\x02\0A1\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
        b"\x08\x00\x11\x11SQ\0\0\0\0\0\0",
        b"\x09\x00\x01\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
        b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
    ]
    .concat();
    assert_eq!(reencode(Layout::ImplicitLe, &source), wanted);
}

#[test]
fn big_endian_words_are_turned_around_by_vr() {
    let source = [
        &b"\x00\x08\x00\x60CS\0\x02CT"[..],
        b"\x00\x20\x50\x00AT\0\x04\x00\x10\x00\x20",
        b"\x00\x28\x00\x10US\0\x02\x12\x34",
        b"\x00\x40\x92\x24FD\0\x08\x3F\xF0\0\0\0\0\0\0",
        b"\x00\x09\x10\x01UN\0\0\0\0\0\x02\x01\x02",
        b"\x00\x09\x10\x02UN\0\0\xFF\xFF\xFF\xFF\xFF\xFE\xE0\x00\0\0\0\0\xFF\xFE\xE0\xDD\0\0\0\0",
        b"\x7F\xE0\x00\x10OW\0\0\0\0\0\x04\x01\x02\x03\x04",
    ];
    let wanted = [
        &b"\x08\x00\x60\x00CS\x02\0CT"[..],
        b"\x20\x00\x00\x50AT\x04\0\x10\x00\x20\x00",
        b"\x28\x00\x10\x00US\x02\0\x34\x12",
        b"\x40\x00\x24\x92FD\x08\0\0\0\0\0\0\0\xF0\x3F",
        b"\x09\x00\x01\x10UN\0\0\x02\0\0\0\x01\x02",
    ];
    assert_eq!(reencode(Layout::ExplicitBe, &source[..5].concat()), wanted.concat());
    assert_eq!(reencode(Layout::ExplicitBe, source[6]), b"\xE0\x7F\x10\x00OW\0\0\x04\0\0\0\x02\x01\x04\x03");
    // The content of a UN sequence is little endian even here, so these items are none.
    assert!(reencode_in_pieces(Layout::ExplicitBe, source[5], 64).is_err());
}

#[test]
fn un_of_undefined_length_is_implicit_inside_big_endian() {
    let source = [
        &b"\x00\x09\x10\x02UN\0\0\xFF\xFF\xFF\xFF"[..],
        b"\xFE\xFF\x00\xE0\x0A\0\0\0\x28\x00\x10\x00\x02\0\0\0\x34\x12",
        b"\xFE\xFF\xDD\xE0\0\0\0\0",
        b"\x00\x28\x00\x10US\0\x02\x12\x34",
    ]
    .concat();
    let wanted = [
        &b"\x09\x00\x02\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"[..],
        b"\x28\x00\x10\x00US\x02\0\x34\x12",
        b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
        b"\x28\x00\x10\x00US\x02\0\x34\x12",
    ]
    .concat();
    assert_eq!(reencode(Layout::ExplicitBe, &source), wanted);
}

#[test]
fn values_too_long_for_their_vr_become_un_and_odd_ones_are_padded() {
    let long = [&b"\x28\x00\x01\x12"[..], &65536_u32.to_le_bytes(), &[7; 65536]].concat();
    let out = reencode(Layout::ImplicitLe, &[&long[..], b"\x08\x00\x60\x00\x01\0\0\0C"].concat());
    assert_eq!(out[..12], *b"\x28\x00\x01\x12OW\0\0\0\0\x01\0");
    let long = [&b"\x20\x00\x32\x00"[..], &65536_u32.to_le_bytes(), &[b'1'; 65536]].concat();
    let out = reencode(Layout::ImplicitLe, &[&long[..], b"\x28\x00\x51\x10\x01\0\0\0\x31"].concat());
    assert_eq!(out[..12], *b"\x20\x00\x32\x00UN\0\0\0\0\x01\0");
    assert_eq!(out[12 + 65536..], *b"\x28\x00\x51\x10DS\x02\x001 ");
}

#[test]
fn long_values_pass_uncopied() {
    let pixels = Bytes::from(vec![1_u8; 100_000]);
    let mut reencoder = Reencoder::new(Layout::ImplicitLe);
    let header = [&b"\xE0\x7F\x10\x00"[..], &200_000_u32.to_le_bytes()].concat();
    assert_eq!(reencoder.push(header.into()).unwrap().len(), 1);
    for _ in 0..2 {
        let out = reencoder.push(pixels.clone()).unwrap();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].as_ptr(), pixels.as_ptr());
    }
    assert_eq!(reencoder.finish().unwrap(), Vec::<Bytes>::new());
}

#[test]
fn a_truncated_object_is_an_error() {
    let source = b"\xE0\x7F\x10\x00\x04\0\0\0\x01\x02\x03";
    for end in [source.len(), 8, 5] {
        let error = reencode_in_pieces(Layout::ImplicitLe, &source[..end], 64).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Truncated);
    }
}

proptest! {
    #[test]
    fn the_size_of_the_pieces_changes_nothing(
        bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xFF), Just(0xFE), Just(0xE0), any::<u8>()], 0..200),
        from in prop::sample::select(vec![Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe]),
        size in 1_usize..20,
    ) {
        let whole = reencode_in_pieces(from, &bytes, usize::MAX);
        prop_assert_eq!(reencode_in_pieces(from, &bytes, size), whole);
    }

    #[test]
    fn what_is_reencoded_is_the_same_data_set(
        rows: u16,
        offsets: Vec<u32>,
        name in "[A-Za-z^]{0,20}",
        from in prop::sample::select(vec![Layout::ImplicitLe, Layout::ExplicitBe]),
        size in 1_usize..50,
    ) {
        let mut item = DataSet::new();
        item.set_u16(tags::ROWS, rows);
        let mut source = DataSet::new();
        source.set_str(tags::PATIENT_NAME, VR::PN, name.trim());
        source.set_items(tags::ICON_IMAGE_SEQUENCE, vec![item, DataSet::new()]);
        let words: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
        source.insert(tags::SELECTOR_UL_VALUE, Element { vr: VR::UL, value: Value::Bytes(words.into()) });
        let out = reencode_in_pieces(from, &source.encode(from, QueryCharset::Auto), size).unwrap();
        prop_assert_eq!(DataSet::parse(&out, Layout::ExplicitLe, None).unwrap().data_set, source);
    }
}
