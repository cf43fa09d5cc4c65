//! The same answer by every way: in pieces of any size, by way of a data set in memory, by another library.

use dicom_object::InMemDicomObject;

use super::*;

fn text() -> BoxedStrategy<String> {
    "[A-Za-z0-9äöüЖ山ł^=\"&<][A-Za-z0-9 äöü€Ж山ł^=\"&<]{0,12}[A-Za-z0-9äöüЖ山ł^=]".boxed()
}

fn strings(vr: VR, tags: Vec<Tag>, value: BoxedStrategy<String>) -> BoxedStrategy<(Tag, Element)> {
    (prop::sample::select(tags), prop::collection::vec(value, 0..4))
        .prop_map(move |(tag, values)| (tag, Element { vr, value: Value::Strings(values) }))
        .boxed()
}

fn bytes(vr: VR, tag: Tag, word: usize) -> BoxedStrategy<(Tag, Element)> {
    prop::collection::vec(any::<u8>(), 0..80)
        .prop_map(move |mut bytes| {
            // Of even length: a byte of padding would be one of the value.
            bytes.truncate(bytes.len() - bytes.len() % word.max(2));
            (tag, Element { vr, value: Value::Bytes(bytes.into()) })
        })
        .boxed()
}

fn any_element(items: impl Strategy<Value = Vec<DataSet>> + 'static) -> BoxedStrategy<(Tag, Element)> {
    let number = prop_oneof!["[+-]?[0-9]{1,6}(\\.[0-9]{0,6})?(E-?[0-9])?", "[0-9,x]{1,3}"].boxed();
    let long = text().prop_map(|first| format!("{first}\n\\second"));
    prop_oneof![
        strings(VR::PN, vec![tags::PATIENT_NAME, tags::OTHER_PATIENT_NAMES], text()),
        strings(VR::LO, vec![tags::PATIENT_ID, Tag(0x0011, 0x0010)], text()),
        strings(VR::DS, vec![tags::SLICE_THICKNESS, tags::IMAGE_POSITION_PATIENT], number.clone()),
        strings(VR::IS, vec![tags::INSTANCE_NUMBER], number),
        long.prop_map(|t| (tags::PATIENT_COMMENTS, Element { vr: VR::LT, value: Value::Strings(vec![t]) })),
        bytes(VR::US, tags::SELECTOR_US_VALUE, 2),
        bytes(VR::AT, tags::FRAME_INCREMENT_POINTER, 4),
        bytes(VR::FL, tags::SELECTOR_FL_VALUE, 4),
        bytes(VR::FD, tags::SELECTOR_FD_VALUE, 8),
        bytes(VR::SV, tags::SELECTOR_SV_VALUE, 8),
        bytes(VR::UV, tags::SELECTOR_UV_VALUE, 8),
        bytes(VR::UN, Tag(0x0011, 0x1001), 2),
        bytes(VR::OB, tags::ICC_PROFILE, 2),
        bytes(VR::OW, tags::WAVEFORM_DATA, 2),
        items.prop_map(|items| {
            (tags::PROCEDURE_CODE_SEQUENCE, Element { vr: VR::SQ, value: Value::Items(items) })
        }),
    ]
    .boxed()
}

fn data_set() -> impl Strategy<Value = DataSet> {
    let leaf = prop::collection::vec(any_element(Just(Vec::new())), 0..6).prop_map(DataSet::from_iter);
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop::collection::vec(any_element(prop::collection::vec(inner, 0..3)), 0..6)
            .prop_map(DataSet::from_iter)
    })
}

/// With everything inline, as data sets in memory are written.
fn inline(format: Format, syntax: &'static str, bytes: &[u8], size: usize) -> Transcript {
    let bulk = BulkData { inline: usize::MAX, url: String::new() };
    let mut transcriber = Transcriber::new(format, &Uid::from_static(syntax), None, bulk);
    bytes.chunks(size).for_each(|piece| transcriber.push(Bytes::copy_from_slice(piece)));
    transcriber.finish()
}

fn text_of(transcript: Transcript) -> String {
    String::from_utf8(transcript.text).unwrap()
}

fn written(data_set: &DataSet) -> String {
    let mut json = Vec::new();
    json::write_object(data_set, &mut json);
    String::from_utf8(json).unwrap()
}

proptest! {
    #[test]
    fn straight_from_bytes_is_as_by_way_of_a_data_set(
        data_set in data_set(),
        syntax in prop::sample::select(SYNTAXES.to_vec()),
        size in 1_usize..100,
    ) {
        let layout = layout(&Uid::from_static(syntax));
        let bytes = data_set.encode(layout, QueryCharset::Auto);
        let read = DataSet::parse(&bytes, layout, None).unwrap().data_set;
        let json = written(&read);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        prop_assert_eq!(text_of(inline(Format::Json, syntax, &bytes, size)), json);
        let xml = String::from_utf8(xml::write_document(&read)).unwrap();
        prop_assert_eq!(text_of(inline(Format::Xml, syntax, &bytes, size)), xml);
    }

    #[test]
    fn attributes_in_any_order_end_up_in_the_same(
        values in prop::collection::vec((0_u16..6, "[A-Zä]{1,4}"), 0..12),
        size in 1_usize..40,
    ) {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| element(Tag(0x0008, 0x0004 + tag), "LO", value.as_bytes()))
            .collect();
        let read = DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap();
        let transcript = inline(Format::Json, EXPLICIT_VR_LE, &bytes, size);
        prop_assert_eq!(transcript.warnings.len(), read.warnings.len());
        prop_assert_eq!(text_of(transcript), written(&read.data_set));
    }

    #[test]
    fn any_bytes_in_pieces_of_any_size_give_the_same_well_formed_text(
        bytes: Vec<u8>,
        syntax in prop::sample::select(vec![
            IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE,
        ]),
        size in 1_usize..40,
    ) {
        let whole = transcribe(Format::Json, syntax, &bytes, usize::MAX);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole.text).is_ok());
        let in_pieces = transcribe(Format::Json, syntax, &bytes, size);
        // How much comes out of a damaged stream before the damage shows is for the inflater to say.
        if whole.broken.is_none_or(|e| e.kind != ErrorKind::NotDeflated) {
            prop_assert_eq!(in_pieces, whole);
        }
        transcribe(Format::Xml, syntax, &bytes, size);
    }
}

#[test]
fn another_library_writes_the_same_json_where_it_is_right() {
    let mut item = DataSet::new();
    item.set_str(tags::CODE_VALUE, VR::SH, "T-1");
    let mut data_set = DataSet::new();
    data_set.set_strings(tags::IMAGE_TYPE, VR::CS, vec!["ORIGINAL".into(), "PRIMARY".into()]);
    data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
    data_set.set_str(tags::PATIENT_NAME, VR::PN, "Adams^John=X^Y");
    data_set.set_str(tags::PATIENT_COMMENTS, VR::LT, "a \"quoted\" line");
    data_set.set_u16(tags::ROWS, 512);
    data_set.set_items(tags::PROCEDURE_CODE_SEQUENCE, vec![item, DataSet::new()]);
    let mut put = |tag, vr, bytes: &[u8]| {
        data_set.insert(tag, Element { vr, value: Value::Bytes(Bytes::copy_from_slice(bytes)) });
    };
    put(tags::FRAME_INCREMENT_POINTER, VR::AT, &[0x18, 0, 0x63, 0x10]);
    put(tags::SELECTOR_FD_VALUE, VR::FD, &[0.1_f64.to_le_bytes(), f64::NAN.to_le_bytes()].concat());
    put(tags::ICC_PROFILE, VR::OB, &[1, 2, 3, 4]);
    put(Tag(0x0011, 0x1001), VR::UN, &[5, 6]);
    let bytes = data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    let other = InMemDicomObject::read_dataset_with_ts(&bytes[..], &syntax).unwrap();
    assert_eq!(
        parsed(&inline(Format::Json, EXPLICIT_VR_LE, &bytes, usize::MAX)),
        dicom_json::to_value(&other).unwrap()
    );
}
