//! What is not in the text, and where it is said to be.

use super::*;

fn uri(path: &str) -> serde_json::Value {
    json!(format!("http://host/bulkdata/{path}"))
}

#[test]
fn binary_values_stay_up_to_the_bound() {
    for vr in ["OB", "OD", "OF", "OL", "OV", "OW", "UN"] {
        let tag = Tag(0x0011, 0x1001);
        let short = to_json(&[&element(tag, vr, &[0; 64])]);
        assert!(short["00111001"]["InlineBinary"].is_string(), "{vr}");
        let long = to_json(&[&element(tag, vr, &[0; 72])]);
        assert_eq!(long["00111001"], json!({"vr": vr, "BulkDataURI": uri("00111001")}));
    }
}

#[test]
fn pixel_data_is_never_in_the_text() {
    let pixels = [(0x0008, "OF"), (0x0009, "OD"), (0x0010, "OW"), (0x0010, "OB")];
    for (number, vr) in pixels {
        let json = to_json(&[&element(Tag(0x7FE0, number), vr, &[0; 8])]);
        let key = format!("7FE0{number:04X}");
        assert_eq!(json[&key], json!({"vr": vr, "BulkDataURI": uri(&key)}));
    }
    assert_eq!(to_json(&[&element(tags::PIXEL_DATA, "OW", b"")])["7FE00010"], json!({"vr": "OW"}));
}

#[test]
fn hazard_encapsulated_pixel_data_is_no_empty_value() {
    let pixels = [
        &b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF"[..],
        b"\xFE\xFF\x00\xE0\0\0\0\0",
        b"\xFE\xFF\x00\xE0\x02\0\0\0ab",
        SEQUENCE_END,
    ]
    .concat();
    let behind = element(Tag(0xFFFC, 0xFFFC), "OB", &[0; 2]);
    let json = to_json(&[SEQUENCE, ITEM, &pixels, ITEM_END, SEQUENCE_END, &pixels, &behind]);
    assert_eq!(json["7FE00010"], json!({"vr": "OB", "BulkDataURI": uri("7FE00010")}));
    assert_eq!(
        json["00081032"]["Value"][0]["7FE00010"],
        json!({"vr": "OB", "BulkDataURI": uri("00081032/1/7FE00010")})
    );
    assert_eq!(json["FFFCFFFC"]["InlineBinary"], json!("AAA="));
}

#[test]
fn paths_lead_through_items_by_their_number() {
    let waveform = element(tags::WAVEFORM_DATA, "OW", &[0; 100]);
    let nested = [SEQUENCE, ITEM, &waveform, ITEM_END, SEQUENCE_END].concat();
    let json = to_json(&[SEQUENCE, ITEM, ITEM_END, ITEM, &nested, &waveform, ITEM_END, SEQUENCE_END]);
    let item = &json["00081032"]["Value"][1];
    assert_eq!(item["54001010"]["BulkDataURI"], uri("00081032/2/54001010"));
    assert_eq!(
        item["00081032"]["Value"][0]["54001010"]["BulkDataURI"],
        uri("00081032/2/00081032/1/54001010")
    );
}

#[test]
fn long_text_and_numbers_stay_and_only_what_is_huge_does_not() {
    let text = vec![b'x'; MAX_INLINE as usize];
    let inline = to_json(&[&element(tags::TEXT_VALUE, "UT", &text)]);
    assert_eq!(inline["0040A160"]["Value"][0].as_str().map(str::len), Some(text.len()));
    let huge = to_json(&[&element(tags::TEXT_VALUE, "UT", &[&text[..], b"x "].concat())]);
    assert_eq!(huge["0040A160"]["BulkDataURI"], uri("0040A160"));
    let contour = "-12.5\\3\\4\\".repeat(6000) + "1 ";
    let json = to_json(&[&element(tags::CONTOUR_DATA, "DS", contour.as_bytes())]);
    assert_eq!(json["30060050"]["Value"].as_array().map(Vec::len), Some(18001));
    let descriptor = to_json(&[&element(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, "US", &[0; 6])]);
    assert_eq!(descriptor["00281101"]["Value"], json!([0, 0, 0]));
}

#[test]
fn big_endian_values_go_as_little_endian() {
    let bytes = b"\x00\x11\x10\x01OW\0\0\0\0\0\x04\x01\x02\x03\x04\x00\x28\x00\x10US\0\x02\x02\x00";
    let json = parsed(&transcribe(Format::Json, EXPLICIT_VR_BE, bytes, usize::MAX));
    assert_eq!(json["00111001"]["InlineBinary"], "AgEEAw==");
    assert_eq!(json["00280010"]["Value"], json!([512]));
}

#[test]
fn who_wants_the_attributes_only_may_stop_at_the_pixels() {
    let bytes =
        [element(tags::PATIENT_ID, "LO", b"P1"), element(tags::PIXEL_DATA, "OW", &[0; 1000])].concat();
    let bulk = BulkData { inline: 64, url: "http://host/bulkdata".into() };
    let mut transcriber = Transcriber::new(Format::Json, &Uid::from_static(EXPLICIT_VR_LE), None, bulk);
    transcriber.push(Bytes::copy_from_slice(&bytes[..20]));
    assert!(!transcriber.is_done());
    transcriber.push(Bytes::copy_from_slice(&bytes[20..100]));
    assert!(transcriber.is_done());
    assert_eq!(transcriber.stop(), transcribe(Format::Json, EXPLICIT_VR_LE, &bytes, usize::MAX));
}
