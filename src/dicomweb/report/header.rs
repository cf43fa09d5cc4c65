//! Whose report it is, and who vouches for it (PS3.3 C.17.2).

use super::evidence::Evidence;
use super::{Part, value};
use crate::dicom::dataset::DataSet;
use crate::dicom::dictionary::class_name;
use crate::dicom::tags;

/// What kind of object it is.
pub(super) fn class(data_set: &DataSet) -> String {
    let class = data_set.uid(tags::SOP_CLASS_UID);
    let name = class.as_ref().and_then(class_name).unwrap_or("Structured Report");
    name.trim_end_matches(" Storage").to_owned()
}

/// What stands above the content.
pub(super) fn read(data_set: &DataSet, evidence: &Evidence<'_>) -> Vec<(&'static str, String)> {
    let text = |tag| data_set.string(tag).unwrap_or_default().to_owned();
    let mut rows = Vec::new();
    let mut row = |label, parts: &[String]| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if !parts.is_empty() {
            rows.push((label, parts.join(", ")));
        }
    };
    let patient = value::person(&text(tags::PATIENT_NAME));
    let born = value::labelled("born ", value::date(&text(tags::PATIENT_BIRTH_DATE)));
    let number = value::labelled("ID ", text(tags::PATIENT_ID));
    row("Patient", &[patient, text(tags::PATIENT_SEX), born, number]);
    let accession = value::labelled("accession number ", text(tags::ACCESSION_NUMBER));
    row("Study", &[text(tags::STUDY_DESCRIPTION), value::date(&text(tags::STUDY_DATE)), accession]);
    let number = value::labelled("number ", text(tags::SERIES_NUMBER));
    row("Series", &[text(tags::SERIES_DESCRIPTION), number]);
    row("Manufacturer", &[text(tags::MANUFACTURER)]);
    row("Referring physician", &[value::person(&text(tags::REFERRING_PHYSICIAN_NAME))]);
    row("Kind", &[class(data_set)]);
    row("Content", &[value::date(&text(tags::CONTENT_DATE)), value::time(&text(tags::CONTENT_TIME))]);
    row("Preliminary", &[text(tags::PRELIMINARY_FLAG)]);
    row("Completion", &[text(tags::COMPLETION_FLAG), text(tags::COMPLETION_FLAG_DESCRIPTION)]);
    row("Verification", &[text(tags::VERIFICATION_FLAG)]);
    for observer in data_set.items(tags::VERIFYING_OBSERVER_SEQUENCE) {
        let text = |tag| observer.string(tag).unwrap_or_default().to_owned();
        let name = value::person(&text(tags::VERIFYING_OBSERVER_NAME));
        let at = value::date_time(&text(tags::VERIFICATION_DATE_TIME));
        row("Verified by", &[name, text(tags::VERIFYING_ORGANIZATION), at]);
    }
    for author in data_set.items(tags::AUTHOR_OBSERVER_SEQUENCE) {
        let text = |tag| author.string(tag).unwrap_or_default().to_owned();
        row("Author", &[value::person(&text(tags::PERSON_NAME)), text(tags::INSTITUTION_NAME)]);
    }
    for of_study in data_set.items(tags::PREDECESSOR_DOCUMENTS_SEQUENCE) {
        let series = of_study.items(tags::REFERENCED_SERIES_SEQUENCE);
        for object in series.iter().flat_map(|series| series.items(tags::REFERENCED_SOP_SEQUENCE)) {
            let (Part::Text(text) | Part::Link { text, .. }) = evidence.object(object, None);
            row(
                "Predecessor",
                &[text, object.string(tags::REFERENCED_SOP_INSTANCE_UID).unwrap_or_default().to_owned()],
            );
        }
    }
    rows
}
