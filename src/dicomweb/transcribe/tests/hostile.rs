//! Data sets that cannot be followed to their end, and those made to exhaust their reader.

use super::*;

/// Whether the elements of an XML text are well nested to the end.
fn is_well_formed(text: &[u8]) -> bool {
    let mut reader = quick_xml::Reader::from_reader(text);
    let mut open = 0_usize;
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Start(_)) => open += 1,
            Ok(quick_xml::events::Event::End(_)) => open -= 1,
            Ok(quick_xml::events::Event::Eof) => return open == 0,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[test]
fn hazard_a_data_set_cut_at_any_byte_gives_what_was_understood() {
    let name = element(tags::PATIENT_NAME, "PN", b"A^B=C");
    let code = element(tags::CODE_MEANING, "LO", b"Meaning ");
    let un = b"\x09\x00\x01\x10UN\0\0\xFF\xFF\xFF\xFF".as_slice();
    let pixels = b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0".as_slice();
    let nested =
        [SEQUENCE, ITEM, &code, SEQUENCE, ITEM, &code, ITEM_END, SEQUENCE_END, ITEM_END, SEQUENCE_END];
    let sets = [
        [LATIN1, &nested.concat(), &name].concat(),
        [un, ITEM, ITEM_END, SEQUENCE_END, &name, &element(tags::ROWS, "US", &[0, 2])].concat(),
        [&name[..], pixels, b"\xFE\xFF\x00\xE0\x04\0\0\0abcd", SEQUENCE_END].concat(),
    ];
    for bytes in sets {
        assert_eq!(transcribe(Format::Json, EXPLICIT_VR_LE, &bytes, usize::MAX).broken, None);
        let mut attributes = 0;
        for end in 0..bytes.len() {
            let cut = transcribe(Format::Json, EXPLICIT_VR_LE, &bytes[..end], 9);
            let found = parsed(&cut).as_object().unwrap().len();
            assert!(found >= attributes, "{end}: an attribute that was there is gone");
            attributes = found;
            if let Some(error) = cut.broken {
                assert_eq!(error.kind, ErrorKind::Truncated, "{end}");
            }
            let xml = transcribe(Format::Xml, EXPLICIT_VR_LE, &bytes[..end], 9);
            assert!(is_well_formed(&xml.text), "{end}: {}", String::from_utf8_lossy(&xml.text));
        }
    }
}

#[test]
fn hazard_nesting_1800_deep_is_cut_off_where_it_is_too_deep() {
    let bytes = [SEQUENCE, ITEM].concat().repeat(1800);
    for format in [Format::Json, Format::Xml] {
        let transcript = transcribe(format, EXPLICIT_VR_LE, &bytes, 1000);
        assert_eq!(transcript.broken.map(|e| e.kind), Some(ErrorKind::TooDeep));
        match format {
            // Deeper than most readers of JSON go, who look at nothing but brackets first.
            Format::Json => {
                let count = |bracket| transcript.text.iter().filter(|b| **b == bracket).count();
                assert!(count(b'{') > crate::dicom::scan::MAX_DEPTH);
                assert_eq!((count(b'{'), count(b'[')), (count(b'}'), count(b']')));
            }
            Format::Xml => assert!(is_well_formed(&transcript.text)),
        }
    }
}

#[test]
fn hazard_a_declared_length_of_2_gib_with_3_bytes_present_costs_nothing() {
    for vr in ["UT", "OB", "UN"] {
        let bytes = [b"\x10\x00\x20\x40", vr.as_bytes(), b"\0\0\0\0\0\x80abc"].concat();
        let transcript = transcribe(Format::Json, EXPLICIT_VR_LE, &bytes, usize::MAX);
        assert_eq!(transcript.broken.map(|e| (e.kind, e.offset)), Some((ErrorKind::Truncated, 15)));
        assert!(transcript.text.capacity() <= USUAL_TEXT);
    }
}

#[test]
fn hazard_what_cannot_be_followed_keeps_what_came_before() {
    let name = element(tags::PATIENT_NAME, "PN", b"A ");
    let bytes = [SEQUENCE, ITEM, &name, SEQUENCE].concat();
    assert_eq!(
        parsed(&transcribe(Format::Json, EXPLICIT_VR_LE, &bytes, 4)),
        json!({
            "00081032": {"vr": "SQ", "Value": [{
                "00081032": {"vr": "SQ"},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}]},
            }]},
        })
    );
    let wrong = transcribe(Format::Json, EXPLICIT_VR_LE, &[&name[..], SEQUENCE, &name].concat(), 4);
    assert_eq!(
        wrong.broken.map(|e| (e.kind, e.offset)),
        Some((ErrorKind::NotAnItem, name.len() as u64 + 12))
    );
    assert_eq!(parsed(&wrong)["00100010"]["Value"], json!([{"Alphabetic": "A"}]));
}

#[test]
fn hazard_text_without_end_is_cut_off() {
    let bulk = BulkData { inline: 0, url: String::new() };
    let mut transcriber = Transcriber::new(Format::Xml, &Uid::from_static(EXPLICIT_VR_LE), None, bulk);
    let piece = Bytes::from(element(Tag(0x0009, 0x1001), "OB", b"").repeat(10_000));
    for _ in 0..200 {
        transcriber.push(piece.clone());
    }
    assert!(transcriber.is_done());
    let transcript = transcriber.finish();
    assert_eq!(transcript.broken.map(|e| e.kind), Some(ErrorKind::TooLarge));
    assert!(transcript.text.len() < MAX_TEXT + 1024);
    assert!(transcript.warnings.len() <= MAX_WARNINGS);
}
