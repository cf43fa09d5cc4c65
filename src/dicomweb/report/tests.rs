use bytes::Bytes;

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{Element, Value};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR};

const SERVICE: &str = "http://bridge.example/dicom-web";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn set(values: &[(Tag, VR, &str)]) -> DataSet {
    let mut data_set = DataSet::new();
    values.iter().for_each(|(tag, vr, value)| data_set.set_str(*tag, *vr, *value));
    data_set
}

fn code(value: &str, meaning: &str) -> Vec<DataSet> {
    vec![set(&[(tags::CODE_VALUE, VR::SH, value), (tags::CODE_MEANING, VR::LO, meaning)])]
}

fn unit(value: &str, scheme: &str, meaning: &str) -> Vec<DataSet> {
    let mut unit = code(value, meaning);
    unit[0].set_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    unit
}

/// A content item of this type.
fn item(kind: &str, name: &str) -> DataSet {
    let mut item = set(&[(tags::VALUE_TYPE, VR::CS, kind), (tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS")]);
    item.set_items(tags::CONCEPT_NAME_CODE_SEQUENCE, code("X", name));
    item
}

fn with(mut item: DataSet, tag: Tag, vr: VR, value: &str) -> DataSet {
    item.set_str(tag, vr, value);
    item
}

fn with_items(mut item: DataSet, tag: Tag, items: Vec<DataSet>) -> DataSet {
    item.set_items(tag, items);
    item
}

fn with_bytes(mut item: DataSet, tag: Tag, vr: VR, bytes: Vec<u8>) -> DataSet {
    item.insert(tag, Element { vr, value: Value::Bytes(Bytes::from(bytes)) });
    item
}

fn reference(instance: &str) -> DataSet {
    set(&[
        (tags::REFERENCED_SOP_CLASS_UID, VR::UI, CT),
        (tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
    ])
}

/// A report with these items, which knows where the instance 1.4.1 is.
fn report(content: Vec<DataSet>) -> DataSet {
    let mut report = item("CONTAINER", "CT Report");
    let series = with_items(
        set(&[(tags::SERIES_INSTANCE_UID, VR::UI, "1.3")]),
        tags::REFERENCED_SOP_SEQUENCE,
        vec![reference("1.4.1")],
    );
    let study = with_items(
        set(&[(tags::STUDY_INSTANCE_UID, VR::UI, "1.2")]),
        tags::REFERENCED_SERIES_SEQUENCE,
        vec![series],
    );
    report.set_items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![study]);
    report.set_items(tags::CONTENT_SEQUENCE, content);
    report
}

fn text(content: Vec<DataSet>) -> String {
    let text = Report::read(&report(content), SERVICE).to_text();
    text.split_once("Kind: Structured Report\n\n").unwrap().1.to_owned()
}

#[test]
fn a_unit_is_its_code_in_ucum_and_in_other_schemes_its_meaning_too() {
    let long = |scheme| {
        let mut unit = unit("", scheme, "millimetre of mercury, long");
        unit[0].remove(tags::CODE_VALUE);
        unit[0].set_str(tags::LONG_CODE_VALUE, VR::UC, "mm[Hg]");
        unit
    };
    for (unit, expected) in [
        (unit("mm[Hg]", "UCUM", "mmHg"), "120 mm[Hg]"),
        // SNOMED has numbers.
        (unit("259018001", "SCT", "mmHg"), "120 mmHg (259018001)"),
        (unit("1", "99LOCAL", "points"), "120 points (1)"),
        (unit("cm", "99LOCAL", "Length Unit"), "120 Length Unit (cm)"),
        (unit("1", "UCUM", "no units"), "120"),
        (long("UCUM"), "120 mm[Hg]"),
    ] {
        let measured = with_items(
            set(&[(tags::NUMERIC_VALUE, VR::DS, "120")]),
            tags::MEASUREMENT_UNITS_CODE_SEQUENCE,
            unit,
        );
        let item = with_items(item("NUM", "Size"), tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
        assert_eq!(text(vec![item]), format!("1.1 Size: {expected}\n"));
    }
}

#[test]
fn a_value_of_every_type_is_in_words() {
    let points = |points: &[f32]| points.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>();
    let measured = with_items(
        set(&[(tags::NUMERIC_VALUE, VR::DS, "3.5")]),
        tags::MEASUREMENT_UNITS_CODE_SEQUENCE,
        unit("cm", "UCUM", "centimetre"),
    );
    let ratio = with_items(
        set(&[(tags::NUMERIC_VALUE, VR::DS, "0.4")]),
        tags::MEASUREMENT_UNITS_CODE_SEQUENCE,
        unit("1", "UCUM", "no units"),
    );
    let frames = {
        let mut reference = reference("1.4.1");
        reference.set_strings(tags::REFERENCED_FRAME_NUMBER, VR::IS, vec!["5".into(), "7".into()]);
        reference
    };
    let channels =
        with_bytes(reference("1.4.9"), tags::REFERENCED_WAVEFORM_CHANNELS, VR::US, vec![1, 0, 3, 0]);
    let shape = with_bytes(
        with(item("SCOORD", "Outline"), tags::GRAPHIC_TYPE, VR::CS, "CIRCLE"),
        tags::GRAPHIC_DATA,
        VR::FL,
        points(&[1.0, 2.5, 3.0, 4.0]),
    );
    let place = with_bytes(
        with(item("SCOORD3D", "Place"), tags::GRAPHIC_TYPE, VR::CS, "POINT"),
        tags::GRAPHIC_DATA,
        VR::FL,
        points(&[1.0, 2.0, -3.0]),
    );
    let while_ = with_bytes(
        with(item("TCOORD", "While"), tags::TEMPORAL_RANGE_TYPE, VR::CS, "SEGMENT"),
        tags::REFERENCED_SAMPLE_POSITIONS,
        VR::UL,
        vec![1, 0, 0, 0, 0, 1, 0, 0],
    );
    let unknown = with_items(
        item("NUM", "Unknown"),
        tags::NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE,
        code("114000", "Not a number"),
    );
    let content = vec![
        with(item("TEXT", "Finding"), tags::TEXT_VALUE, VR::UT, "first line\r\nsecond line\r"),
        with_items(item("CODE", "Side"), tags::CONCEPT_CODE_SEQUENCE, code("L", "Left")),
        with_items(item("NUM", "Length"), tags::MEASURED_VALUE_SEQUENCE, vec![measured]),
        with_items(item("NUM", "Ratio"), tags::MEASURED_VALUE_SEQUENCE, vec![ratio]),
        unknown,
        with(item("DATE", "Day"), tags::DATE, VR::DA, "20260102"),
        with(item("TIME", "Hour"), tags::TIME, VR::TM, "120304.500"),
        with(item("DATETIME", "Moment"), tags::DATE_TIME, VR::DT, "20260102120304+0100"),
        with(item("PNAME", "Reader"), tags::PERSON_NAME, VR::PN, "Yamada^Tarou^^Dr=山田^太郎"),
        with(item("UIDREF", "Tracked as"), tags::UID, VR::UI, "1.2.3.4"),
        with_items(item("IMAGE", "Seen in"), tags::REFERENCED_SOP_SEQUENCE, vec![frames]),
        with_items(item("WAVEFORM", "Heard in"), tags::REFERENCED_SOP_SEQUENCE, vec![channels]),
        shape,
        place,
        while_,
        item("TABLE", "Counts"),
        with_bytes(
            set(&[(tags::RELATIONSHIP_TYPE, VR::CS, "SELECTED FROM")]),
            Tag(0x0040, 0xDB73),
            VR::UL,
            vec![1, 0, 0, 0, 11, 0, 0, 0],
        ),
    ];
    assert_eq!(
        text(content),
        "1.1 Finding: first line\n    second line\n1.2 Side: Left\n1.3 Length: 3.5 cm\n1.4 Ratio: 0.4\n\
         1.5 Unknown: Not a number\n1.6 Day: 2026-01-02\n1.7 Hour: 12:03:04.5\n\
         1.8 Moment: 2026-01-02 12:03:04 +0100\n1.9 Reader: Yamada, Tarou Dr / 山田, 太郎\n\
         1.10 Tracked as: 1.2.3.4\n\
         1.11 Seen in: CT Image Storage <http://bridge.example/dicom-web/studies/1.2/series/1.3/instances/1.4.1/frames/5/rendered> frame 5, 7\n\
         1.12 Heard in: CT Image Storage 1.4.9 channel 1, 3\n1.13 Outline: CIRCLE 1 2.5, 3 4\n\
         1.14 Place: POINT 1 2 -3\n1.15 While: SEGMENT 1, 256\n1.16 Counts: (TABLE: not shown here)\n\
         1.17 (selected from) see 1.11\n"
    );
}

#[test]
fn items_lie_within_each_other_in_text_and_in_well_formed_lists() {
    let mut inner = item("CONTAINER", "Inner");
    let mut found = with(item("TEXT", "Found"), tags::TEXT_VALUE, VR::UT, "it");
    found.set_str(tags::OBSERVATION_DATE_TIME, VR::DT, "20260102");
    let mut why = with(item("TEXT", "Why"), tags::TEXT_VALUE, VR::UT, "because");
    why.set_str(tags::RELATIONSHIP_TYPE, VR::CS, "INFERRED FROM");
    found.set_items(tags::CONTENT_SEQUENCE, vec![why]);
    inner.set_items(tags::CONTENT_SEQUENCE, vec![found.clone(), found]);
    let content = vec![inner, item("CONTAINER", "Empty")];
    assert_eq!(
        text(content.clone()),
        "1.1 Inner\n  1.1.1 Found: it (observed 2026-01-02)\n    1.1.1.1 (inferred from) Why: because\n  \
         1.1.2 Found: it (observed 2026-01-02)\n    1.1.2.1 (inferred from) Why: because\n1.2 Empty\n"
    );
    for content in [content.clone(), content[..1].to_vec(), Vec::new()] {
        let page = Report::read(&report(content), SERVICE).to_html().unwrap();
        let body = page.split_once("<body>").unwrap().1.replace("<br>", "");
        // What a browser would mend without a word.
        let mut reader = quick_xml::Reader::from_str(&body);
        let (mut open, mut lists) = (Vec::<String>::new(), 0);
        loop {
            match reader.read_event() {
                Ok(quick_xml::events::Event::Start(start)) => {
                    let name = start.name().as_ref().to_owned();
                    assert!(name != "li" || open.last().is_some_and(|it| it == "ul"), "{body}");
                    lists += usize::from(name == "ul");
                    open.push(name);
                }
                Ok(quick_xml::events::Event::End(end)) if !open.is_empty() => {
                    assert_eq!(open.pop().unwrap(), end.name().as_ref(), "{body}");
                }
                Ok(quick_xml::events::Event::Eof) | Err(_) => break,
                Ok(_) => {}
            }
        }
        assert!(open.is_empty() && lists == body.matches("</ul>").count(), "{body}");
    }
}

#[test]
fn hazard_what_a_report_says_never_becomes_part_of_the_page() {
    let evil = "<script>alert(1)</script>\"'&<img src=x onerror=y>";
    let mut data_set = report(vec![
        with(item("TEXT", evil), tags::TEXT_VALUE, VR::UT, evil),
        with(item(evil, evil), tags::TEXT_VALUE, VR::UT, evil),
        with(item("PNAME", evil), tags::PERSON_NAME, VR::PN, evil),
        with_items(
            item("IMAGE", evil),
            tags::REFERENCED_SOP_SEQUENCE,
            vec![{
                let mut reference = reference("1.4.1");
                reference.set_str(tags::REFERENCED_FRAME_NUMBER, VR::IS, "1/../../x\" onclick=y");
                reference
            }],
        ),
    ]);
    for (tag, vr) in [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::STUDY_DESCRIPTION, VR::LO),
        (tags::COMPLETION_FLAG_DESCRIPTION, VR::LO),
        (tags::CONTENT_DATE, VR::DA),
    ] {
        data_set.set_str(tag, vr, evil);
    }
    data_set.set_items(tags::CONCEPT_NAME_CODE_SEQUENCE, code("X", evil));
    let page = Report::read(&data_set, SERVICE).to_html().unwrap();
    for mark in ["<script", "<img", "onclick=y\"", "\"'&<"] {
        assert!(!page.contains(mark), "{mark}: {page}");
    }
    assert!(page.contains("instances/1.4.1/rendered\""), "a frame that is no number is none");
    assert!(policy().starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!page.contains("src=\"") && !page.contains("http-equiv"));
}

#[test]
fn the_header_says_whose_it_is_and_who_vouches_for_it() {
    let mut data_set = report(Vec::new());
    for (tag, vr, value) in [
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.88.11"),
        (tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19700101"),
        (tags::PATIENT_ID, VR::LO, "P1"),
        (tags::STUDY_DESCRIPTION, VR::LO, "CT head"),
        (tags::COMPLETION_FLAG, VR::CS, "COMPLETE"),
    ] {
        data_set.set_str(tag, vr, value);
    }
    let observer = set(&[
        (tags::VERIFYING_OBSERVER_NAME, VR::PN, "Who^Doctor"),
        (tags::VERIFYING_ORGANIZATION, VR::LO, "Clinic"),
        (tags::VERIFICATION_DATE_TIME, VR::DT, "20260102101112"),
    ]);
    data_set.set_items(tags::VERIFYING_OBSERVER_SEQUENCE, vec![observer]);
    let text = Report::read(&data_set, SERVICE).to_text();
    assert!(
        text.starts_with(
            "CT Report\n=========\n\nPatient: Doe, Jane, born 1970-01-01, ID P1\nStudy: CT head\n"
        )
    );
    assert!(text.contains("\nKind: Basic Text SR\n"));
    assert!(text.contains("\nVerified by: Who, Doctor, Clinic, 2026-01-02 10:11:12\n"), "{text}");
}

#[test]
fn a_report_without_end_is_cut_and_says_so() {
    let mut item = item("TEXT", "Line");
    item.set_str(tags::TEXT_VALUE, VR::UT, "x");
    let read = Report::read(&report(vec![item; MAX_ITEMS + 1]), SERVICE);
    assert!(read.is_cut && read.content.len() == MAX_ITEMS);
    assert!(read.to_text().ends_with("There is more in this report than is shown here.\n"));
    assert!(read.to_html().unwrap().contains("There is more in this report"));
}

#[test]
fn values_that_are_none_of_their_vr_stand_as_they_are() {
    for odd in [
        "",
        "2026",
        "2026-01-02",
        "99999999999999999999",
        "äöüäöüäö",
        "1",
        "+",
        "-0100",
        "20260102+",
        "١٢٣٤٥٦٧٨",
    ] {
        let _ = (value::date(odd), value::time(odd), value::date_time(odd), value::person(odd));
    }
    assert_eq!(value::date("202601"), "202601");
    assert_eq!(value::time("12"), "12");
    assert_eq!(value::date_time("2026"), "2026");
    assert_eq!(value::person("^^"), "");
}

#[test]
fn text_of_any_character_set_becomes_unicode() {
    let mut data_set = report(vec![with(item("TEXT", "Befund"), tags::TEXT_VALUE, VR::UT, "Größe, 山田")]);
    data_set.set_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    let bytes = data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let parsed = DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap().data_set;
    assert!(Report::read(&parsed, SERVICE).to_text().contains("1.1 Befund: Größe, 山田\n"));
}

#[test]
fn structured_reports_are_known_by_their_class() {
    for (class, expected) in
        [("1.2.840.10008.5.1.4.1.1.88.11", true), (CT, false), ("1.2.840.10008.5.1.4.1.1.8", false)]
    {
        assert_eq!(is_report(&class.parse().unwrap()), expected, "{class}");
    }
}
