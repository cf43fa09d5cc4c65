//! The text objects: a report (Basic Text SR) and a letter (encapsulated PDF).

use bytes::Bytes;

use super::set_sequence;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::{Tag, VR, tags};

/// A coded concept (PS3.3 8.8).
fn code(value: &str, scheme: &str, meaning: &str) -> DataSet {
    let mut item = DataSet::new();
    item.set_str(tags::CODE_VALUE, VR::SH, value);
    item.set_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    item.set_str(tags::CODE_MEANING, VR::LO, meaning);
    item
}

fn concept(item: &mut DataSet, name: (&str, &str, &str)) {
    set_sequence(item, tags::CONCEPT_NAME_CODE_SEQUENCE, code(name.0, name.1, name.2));
}

/// Adds the SR Document modules: one heading with two texts.
pub(super) fn report(object: &mut DataSet) {
    let text = |name: (&str, &str, &str), text: &str| {
        let mut item = DataSet::new();
        item.set_str(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS");
        item.set_str(tags::VALUE_TYPE, VR::CS, "TEXT");
        concept(&mut item, name);
        item.set_str(tags::TEXT_VALUE, VR::UT, text);
        item
    };
    object.set_str(tags::VALUE_TYPE, VR::CS, "CONTAINER");
    concept(object, ("18747-6", "LN", "CT Report"));
    object.set_str(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    object.set_str(tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    object.set_str(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    object.set_items(
        tags::CONTENT_SEQUENCE,
        vec![
            text(
                ("121070", "DCM", "Findings"),
                "Fresh haemorrhage in the right basal ganglia, about 2 by 3 cm, with a rim of oedema. \
                 No shift of the midline. Ventricles of normal width.",
            ),
            text(("121072", "DCM", "Impression"), "Intracerebral haemorrhage on the right, typical place."),
        ],
    );
}

/// Adds the Encapsulated Document module with a PDF of one page.
pub(super) fn letter(object: &mut DataSet) {
    const ENCAPSULATED_DOCUMENT: Tag = Tag(0x0042, 0x0011);
    object.set_str(tags::CONVERSION_TYPE, VR::CS, "WSD");
    object.set_str(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    object.set_str(tags::DOCUMENT_TITLE, VR::ST, "Discharge letter");
    object.set_str(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf");
    let mut pdf = pdf(&["Discharge letter", "", "The patient has never existed and is well."]);
    if pdf.len() % 2 == 1 {
        pdf.push(b'\n');
    }
    object.insert(ENCAPSULATED_DOCUMENT, Element { vr: VR::OB, value: Value::Bytes(Bytes::from(pdf)) });
}

/// A PDF of one page with these lines.
fn pdf(lines: &[&str]) -> Vec<u8> {
    let text: String = lines.iter().map(|line| format!("({line}) Tj T*\n")).collect();
    let content = format!("BT /F1 14 Tf 20 TL 72 760 Td\n{text}ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut out = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.push_str(&format!("{} 0 obj\n{object}\nendobj\n", n + 1));
    }
    let table = out.len();
    out.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1));
    offsets.iter().for_each(|offset| out.push_str(&format!("{offset:010} 00000 n \n")));
    out.push_str(&format!(
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
        objects.len() + 1
    ));
    out.into_bytes()
}
