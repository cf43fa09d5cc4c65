//! Values that say nothing, and those that say what was done.

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value, is_textual};
use crate::dicom::encode::{padding, put_header};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR, tags};

/// A text that every textual VR without a form of its own can have.
const NOTHING: &str = "ANONYMIZED";

/// The attributes that say what was done (PS3.15 E.1.1): those that are written, the first one last, each encoded.
pub(super) fn added() -> Vec<(Tag, Vec<u8>)> {
    let set = |values: &[(Tag, VR, &str)]| {
        let mut data_set = DataSet::new();
        values.iter().for_each(|(tag, vr, value)| data_set.set_str(*tag, *vr, *value));
        data_set
    };
    let removed = set(&[(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES")]);
    let method = "PS3.15 Basic Application Level Confidentiality Profile";
    let method = set(&[(tags::DEIDENTIFICATION_METHOD, VR::LO, method)]);
    let mut codes = DataSet::new();
    // PS3.16 CID 7050.
    let code = code_item("113100", "DCM", "Basic Application Confidentiality Profile");
    codes.set_items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, vec![code]);
    let dates = set(&[(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, "REMOVED")]);
    let added = ADDED.into_iter().zip([removed, method, codes, dates]);
    added.rev().map(|(tag, data_set)| (tag, encode(&data_set))).collect()
}

/// The attributes that [`added`] has, ascending.
const ADDED: [Tag; 4] = [
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// Whether what an object says itself in this attribute is replaced by what was done now.
pub(super) fn is_added(tag: Tag) -> bool {
    ADDED.contains(&tag)
}

/// Writes an element of a short value.
pub(super) fn put(out: &mut Vec<u8>, tag: Tag, vr: VR, value: &[u8]) {
    // None is as long as 4 GiB.
    let length = u32::try_from(value.len().next_multiple_of(2)).unwrap_or_default();
    put_header(out, Layout::ExplicitLe, tag, vr, length);
    out.extend_from_slice(value);
    if value.len() % 2 == 1 {
        out.push(padding(vr));
    }
}

/// Writes an element that has a value, of which nothing can be told.
pub(super) fn put_dummy(out: &mut Vec<u8>, tag: Tag, vr: VR) {
    let mut data_set = DataSet::new();
    match vr {
        VR::SQ => data_set.set_items(tag, vec![item(tag)]),
        vr if is_textual(vr) => data_set.set_str(tag, vr, text(vr)),
        // Zeros fill a value of any binary VR.
        vr => data_set.insert(tag, Element { vr, value: Value::Bytes(vec![0; 8].into()) }),
    }
    out.extend(encode(&data_set));
}

fn text(vr: VR) -> &'static str {
    match vr {
        VR::AS => "000Y",
        VR::DA => "19000101",
        VR::DT => "19000101000000",
        VR::TM => "000000",
        VR::DS | VR::IS => "0",
        // UIDs are replaced elsewhere; the value of an attribute that selects by one is none.
        VR::UI => "2.25.0",
        VR::UR => "urn:uuid:00000000-0000-0000-0000-000000000000",
        _ => NOTHING,
    }
}

/// The one item of a sequence that must have one.
fn item(sequence: Tag) -> DataSet {
    let mut item = DataSet::new();
    let mut set = |tag, vr, value: &str| item.set_str(tag, vr, value);
    match sequence {
        tags::CONTENT_SEQUENCE => {
            set(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS");
            set(tags::VALUE_TYPE, VR::CS, "TEXT");
            set(tags::TEXT_VALUE, VR::UT, NOTHING);
            // PS3.16 CID 7012 has no better name for a text that says nothing.
            item.set_items(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code_item("121106", "DCM", "Comment")]);
        }
        tags::VERIFYING_OBSERVER_SEQUENCE => {
            set(tags::VERIFYING_ORGANIZATION, VR::LO, NOTHING);
            set(tags::VERIFICATION_DATE_TIME, VR::DT, text(VR::DT));
            set(tags::VERIFYING_OBSERVER_NAME, VR::PN, NOTHING);
            item.set_empty(tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE, VR::SQ);
        }
        tags::PERSON_IDENTIFICATION_CODE_SEQUENCE => return code_item(NOTHING, "99GANTRY", NOTHING),
        _ => {}
    }
    item
}

/// A coded concept (PS3.3 8.8).
fn code_item(value: &str, scheme: &str, meaning: &str) -> DataSet {
    let mut item = DataSet::new();
    item.set_str(tags::CODE_VALUE, VR::SH, value);
    item.set_str(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    item.set_str(tags::CODE_MEANING, VR::LO, meaning);
    item
}

fn encode(data_set: &DataSet) -> Vec<u8> {
    data_set.encode(Layout::ExplicitLe, QueryCharset::Auto)
}
