//! Objects that came without their bulk data (PS3.4 Annex Z).

use super::*;
use crate::dicom::sop_class::RAW_DATA;
use crate::dicomweb::transcribe::is_told_by_the_rest;

fn short(format: Format, syntax: &'static str, bytes: &[u8], size: usize) -> Transcript {
    let bulk = BulkData { inline: 64, url: "http://host/bulkdata".into() };
    let mut transcriber = Transcriber::new(format, &Uid::from_static(syntax), None, bulk).without_bulk_data();
    for piece in bytes.chunks(size) {
        transcriber.push(Bytes::copy_from_slice(piece));
    }
    transcriber.finish()
}

fn short_json(parts: &[&[u8]]) -> serde_json::Value {
    let transcript = short(Format::Json, EXPLICIT_VR_LE, &parts.concat(), usize::MAX);
    assert_eq!((&transcript.warnings[..], transcript.broken), (&[][..], None));
    parsed(&transcript)
}

fn us(tag: Tag, value: u16) -> Vec<u8> {
    element(tag, "US", &value.to_le_bytes())
}

fn uri(vr: &str, path: &str) -> serde_json::Value {
    json!({ "vr": vr, "BulkDataURI": format!("http://host/bulkdata/{path}") })
}

fn geometry(bits: u16) -> Vec<u8> {
    [us(tags::ROWS, 2), us(tags::COLUMNS, 2), us(tags::BITS_ALLOCATED, bits)].concat()
}

#[test]
fn an_image_has_pixel_data_of_the_kind_that_it_describes() {
    let integers = [geometry(16), us(tags::BITS_STORED, 12), us(tags::PIXEL_REPRESENTATION, 0)].concat();
    assert_eq!(short_json(&[&integers])["7FE00010"], uri("OW", "7FE00010"));
    let wide = [geometry(32), us(tags::PIXEL_REPRESENTATION, 0)].concat();
    assert_eq!(short_json(&[&wide])["7FE00010"], uri("OW", "7FE00010"));
    let float = short_json(&[&geometry(32)]);
    assert_eq!(float["7FE00008"], uri("OF", "7FE00008"));
    assert!(float["7FE00010"].is_null());
    assert_eq!(short_json(&[&geometry(64)])["7FE00009"], uri("OD", "7FE00009"));
}

#[test]
fn what_describes_no_pixels_has_none() {
    for parts in [
        vec![us(tags::ROWS, 2)],
        vec![us(tags::ROWS, 2), us(tags::COLUMNS, 2)],
        vec![us(tags::ROWS, 0), us(tags::COLUMNS, 2), us(tags::BITS_ALLOCATED, 8)],
        vec![element(tags::PATIENT_ID, "LO", b"P1")],
        // The icon's pixels are not left out, and say nothing of the image's own.
        vec![[SEQUENCE, ITEM, &geometry(8), ITEM_END, SEQUENCE_END].concat()],
    ] {
        let json = short_json(&[&parts.concat()]);
        assert!(!json.to_string().contains("BulkDataURI"), "{json}");
    }
}

#[test]
fn what_came_all_the_same_is_told_once_and_as_it_is() {
    let pixels = element(tags::PIXEL_DATA, "OB", &[0; 100]);
    let json = short_json(&[&geometry(8), &pixels]);
    assert_eq!(json["7FE00010"], uri("OB", "7FE00010"));
    let overlay = [us(Tag(0x6000, 0x10), 8), us(Tag(0x6000, 0x11), 8)].concat();
    let data = element(Tag(0x6000, 0x3000), "OW", &[0; 8]);
    assert!(short_json(&[&overlay, &data])["60003000"]["InlineBinary"].is_string());
    let title = element(tags::DOCUMENT_TITLE, "ST", b"T ");
    let document = element(tags::ENCAPSULATED_DOCUMENT, "OB", b"ab");
    let mime = element(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "LO", b"text/xml");
    assert!(short_json(&[&title, &document, &mime])["00420011"]["InlineBinary"].is_string());
}

#[test]
fn overlays_have_data_unless_it_lies_in_the_pixels() {
    let overlay = |group, bits| {
        let number = |element, value| us(Tag(group, element), value);
        [number(0x10, 8), number(0x11, 8), number(0x100, bits)].concat()
    };
    let json = short_json(&[&overlay(0x6000, 1), &overlay(0x6002, 16), &overlay(0x601E, 1)]);
    assert_eq!(json["60003000"], uri("OW", "60003000"));
    assert!(json["60023000"].is_null());
    assert_eq!(json["601E3000"], uri("OW", "601E3000"));
}

#[test]
fn curves_spectra_and_documents_are_told() {
    let json = short_json(&[
        &us(tags::DATA_POINT_ROWS, 1),
        &us(Tag(0x5000, 0x0010), 9),
        &us(Tag(0x5002, 0x2000), 1),
    ]);
    assert_eq!(json["56000020"], uri("OF", "56000020"));
    assert_eq!(json["50003000"], uri("OW", "50003000"));
    assert_eq!(json["5002200C"], uri("OW", "5002200C"));
    let class = element(tags::SOP_CLASS_UID, "UI", b"1.2.840.10008.5.1.4.1.1.104.3\0");
    assert_eq!(short_json(&[&class])["00420011"], uri("OB", "00420011"));
    let mime = element(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "LO", b"text/xml");
    assert_eq!(short_json(&[&mime])["00420011"], uri("OB", "00420011"));
}

#[test]
fn each_channel_group_of_a_waveform_has_its_data() {
    let sequence = &b"\x00\x54\x00\x01SQ\0\0\xFF\xFF\xFF\xFF"[..];
    let samples = element(tags::NUMBER_OF_WAVEFORM_SAMPLES, "UL", &1000u32.to_le_bytes());
    let bits = us(tags::WAVEFORM_BITS_ALLOCATED, 16);
    let padding = element(tags::WAVEFORM_PADDING_VALUE, "OW", &[0; 2]);
    let first = [ITEM, &samples, &bits, &padding, ITEM_END].concat();
    let second = [ITEM, &bits, ITEM_END].concat();
    let third = [ITEM, &samples, ITEM_END].concat();
    let json = short_json(&[sequence, &first, &second, &third, SEQUENCE_END, &geometry_behind()]);
    let items = &json["54000100"]["Value"];
    assert_eq!(items[0]["54001010"], uri("OW", "54000100/1/54001010"));
    assert!(items[1]["54001010"].is_null(), "no samples, no data");
    assert_eq!(items[2]["54001010"], uri("OW", "54000100/3/54001010"));
}

/// Something behind a sequence of waveforms.
fn geometry_behind() -> Vec<u8> {
    element(Tag(0xFFFC, 0xFFFC), "OB", &[0; 2])
}

#[test]
fn attributes_stand_in_their_order_and_in_pieces_of_any_size() {
    let parts = [
        geometry(16),
        us(tags::PIXEL_REPRESENTATION, 1),
        us(Tag(0x6000, 0x10), 8),
        us(Tag(0x6000, 0x11), 8),
        us(Tag(0x6000, 0x50), 1),
        element(Tag(0xFFFC, 0xFFFC), "OB", &[0; 2]),
    ];
    let bytes = parts.concat();
    for format in [Format::Json, Format::Xml] {
        let whole = short(format, EXPLICIT_VR_LE, &bytes, usize::MAX);
        let text = String::from_utf8(whole.text.clone()).unwrap();
        let tags = ["00280010", "00280103", "60000050", "60003000", "7FE00010", "FFFCFFFC"];
        let places = tags.map(|tag| text.find(tag).unwrap_or_else(|| panic!("{tag}: {text}")));
        assert!(places.is_sorted(), "{text}");
        for size in 1..bytes.len() {
            assert_eq!(short(format, EXPLICIT_VR_LE, &bytes, size), whole);
        }
    }
}

#[test]
fn numbers_are_read_in_every_transfer_syntax() {
    let mut image = DataSet::new();
    image.set_u16(tags::ROWS, 256);
    image.set_u16(tags::COLUMNS, 256);
    image.set_u16(tags::BITS_ALLOCATED, 32);
    for syntax in SYNTAXES {
        let bytes = image.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
        let json = parsed(&short(Format::Json, syntax, &bytes, usize::MAX));
        assert_eq!(json["7FE00008"], uri("OF", "7FE00008"), "{syntax}");
    }
}

#[test]
fn an_object_that_breaks_off_is_still_well_formed() {
    let sequence = &b"\x00\x54\x00\x01SQ\0\0\xFF\xFF\xFF\xFF"[..];
    let samples = element(tags::NUMBER_OF_WAVEFORM_SAMPLES, "UL", &1000u32.to_le_bytes());
    let item = [ITEM, &samples, SEQUENCE, ITEM, &samples, ITEM_END, SEQUENCE_END, ITEM_END].concat();
    let bytes = [&geometry(8)[..], sequence, &item, SEQUENCE_END].concat();
    for length in 0..bytes.len() {
        parsed(&short(Format::Json, EXPLICIT_VR_LE, &bytes[..length], usize::MAX));
    }
}

#[test]
fn of_private_classes_and_raw_data_nobody_can_tell() {
    for (class, told) in [
        ("1.2.840.10008.5.1.4.1.1.2", true),
        ("1.2.840.10008.5.1.4.1.1.104.1", true),
        (RAW_DATA, false),
        ("1.2.840.113619.4.30", false),
    ] {
        assert_eq!(is_told_by_the_rest(&Uid::from_static(class)), told, "{class}");
    }
}
