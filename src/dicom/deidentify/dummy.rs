//! Values that say nothing, and those that say what was done.

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{Builder, DataSet, Element, Value, is_textual};
use crate::dicom::encode::{padding, put_header};
use crate::dicom::scan::{ElementHeader, Error, Event, Scanner};
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
    let dates = set(&[(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, "REMOVED")]);
    let encoded = [encode(&removed), encode(&method), codes(Vec::new()), encode(&dates)];
    ADDED.into_iter().zip(encoded).rev().collect()
}

/// De-identification Method Code Sequence: what was done now, and these, which were done before.
pub(super) fn codes(earlier: Vec<DataSet>) -> Vec<u8> {
    let mut data_set = DataSet::new();
    let mut items = vec![code_item("113100", "DCM", "Basic Application Confidentiality Profile")];
    items.extend(earlier);
    data_set.set_items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, items);
    encode(&data_set)
}

/// What is still true of an object when it is de-identified again (PS3.16 CID 7050): what was cleaned is clean. What was
/// retained then is not retained now.
const STILL_TRUE: [(&str, &str); 5] = [
    ("113101", "Clean Pixel Data Option"),
    ("113102", "Clean Recognizable Visual Features Option"),
    ("113103", "Clean Graphics Option"),
    ("113104", "Clean Structured Content Option"),
    ("113105", "Clean Descriptors Option"),
];
/// Longest code or scheme that is read, in bytes (PS3.5 6.2, SH).
const MAX_CODE: u32 = 16;
/// Most codes that are read: more than twice as many as there are.
const MAX_CODES: usize = 32;

/// De-identification Method Code Sequence, as an object says itself.
#[derive(Debug)]
pub(super) struct Earlier {
    builder: Builder,
    depth: usize,
    items: usize,
}

impl Earlier {
    /// The sequence that begins with this element.
    pub(super) fn new(header: &ElementHeader) -> Self {
        let mut builder = Builder::new(None);
        let _ = builder.step(Event::Element(*header), 0);
        Self { builder, depth: 1, items: 0 }
    }

    /// The next event of the walk; whether it was the last of the sequence. Passes over what is no code.
    ///
    /// # Errors
    /// There are more elements than a data set may have.
    pub(super) fn step(&mut self, event: Event, scanner: &mut Scanner) -> Result<bool, Error> {
        match &event {
            Event::Element(header) => {
                let is_code = matches!(header.tag, tags::CODE_VALUE | tags::CODING_SCHEME_DESIGNATOR);
                if !is_code || header.length.is_none_or(|length| length > MAX_CODE) {
                    scanner.skip();
                    return Ok(false);
                }
                self.depth += 1;
            }
            Event::Item(_) => {
                self.items += 1;
                if self.items > MAX_CODES {
                    scanner.skip();
                    return Ok(false);
                }
                self.depth += 1;
            }
            Event::ElementEnd | Event::ItemEnd => self.depth = self.depth.saturating_sub(1),
            Event::Value(_) | Event::Fragment(_) | Event::FragmentEnd => {}
        }
        self.builder.step(event, scanner.position())?;
        Ok(self.depth == 0)
    }

    /// Those of its items that are still true.
    pub(super) fn finish(self) -> Vec<DataSet> {
        let read = self.builder.finish().data_set;
        let items = read.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
        let is_there = |code: &str| {
            items.iter().any(|item| {
                item.string(tags::CODE_VALUE) == Some(code)
                    && item.string(tags::CODING_SCHEME_DESIGNATOR) == Some("DCM")
            })
        };
        let kept = STILL_TRUE.into_iter().filter(|(code, _)| is_there(code));
        kept.map(|(code, meaning)| code_item(code, "DCM", meaning)).collect()
    }
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
