//! Which attributes belong to which level, and which of them an answer has (PS3.18 10.6.3.3, PS3.4 C.6).

use crate::dicom::query::Level;
use crate::dicom::{Tag, tags};

/// Attributes of a patient that every answer about studies has.
const PATIENT: &[Tag] = &[tags::PATIENT_NAME, tags::PATIENT_ID, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX];

/// PS3.18 Table 10.6.3-3, less the patient's attributes and Retrieve URL, which the front end adds.
const STUDY: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::INSTANCE_AVAILABILITY,
    tags::MODALITIES_IN_STUDY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// PS3.18 Table 10.6.3-4.
const SERIES: &[Tag] = &[
    tags::MODALITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// PS3.18 Table 10.6.3-5.
const INSTANCE: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];

const USUAL_PATIENT: &[Tag] = &[
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_TIME,
    Tag(0x0010, 0x1000), // Other Patient IDs: retired, and what archives still hold
    tags::OTHER_PATIENT_NAMES,
    tags::PATIENT_COMMENTS,
    tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
    tags::NUMBER_OF_PATIENT_RELATED_SERIES,
    tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
];

const USUAL_STUDY: &[Tag] = &[
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::SOP_CLASSES_IN_STUDY,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::PHYSICIANS_OF_RECORD,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::OCCUPATION,
    tags::ADDITIONAL_PATIENT_HISTORY,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
];

const USUAL_SERIES: &[Tag] = &[
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::OPERATORS_NAME,
    tags::MANUFACTURER_MODEL_NAME,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::PATIENT_POSITION,
    tags::FRAME_OF_REFERENCE_UID,
    tags::LATERALITY,
    tags::PERFORMED_PROCEDURE_STEP_ID,
    tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION,
];

const USUAL_INSTANCE: &[Tag] = &[
    tags::IMAGE_TYPE,
    tags::INSTANCE_CREATION_DATE,
    tags::INSTANCE_CREATION_TIME,
    tags::ACQUISITION_DATE,
    tags::CONTENT_DATE,
    tags::ACQUISITION_DATE_TIME,
    tags::ACQUISITION_TIME,
    tags::CONTENT_TIME,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    tags::SLICE_THICKNESS,
    tags::ACQUISITION_NUMBER,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::SLICE_LOCATION,
    tags::IMAGE_COMMENTS,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PIXEL_SPACING,
    tags::BITS_STORED,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::CONCEPT_NAME_CODE_SEQUENCE,
    tags::COMPLETION_FLAG,
    tags::VERIFICATION_FLAG,
    tags::DOCUMENT_TITLE,
    tags::CONTENT_LABEL,
    tags::CONTENT_DESCRIPTION,
];

/// The attributes of a level that its answers have, with a value or without (PS3.18 10.6.3.3). Those of the
/// patient belong to [`Level::Patient`].
pub(super) fn returned(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => PATIENT,
        Level::Study => STUDY,
        Level::Series => SERIES,
        Level::Instance => INSTANCE,
    }
}

/// The Required Keys of a level (PS3.4 C.6.1.1, C.6.2.1), which an archive that returns the level's attributes
/// returns at least.
pub(super) fn required(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => &[tags::PATIENT_NAME],
        Level::Study => &[tags::STUDY_DATE, tags::STUDY_TIME, tags::ACCESSION_NUMBER, tags::STUDY_ID],
        Level::Series => &[tags::MODALITY, tags::SERIES_NUMBER],
        Level::Instance => &[tags::INSTANCE_NUMBER],
    }
}

/// What `includefield=all` asks for besides: attributes that archives often hold at the level. C-FIND has no
/// way to ask for all that there is.
pub(super) fn usual(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => USUAL_PATIENT,
        Level::Study => USUAL_STUDY,
        Level::Series => USUAL_SERIES,
        Level::Instance => USUAL_INSTANCE,
    }
}

/// The level of an attribute, where it belongs to one only and is known here.
pub(super) fn level_of(tag: Tag) -> Option<Level> {
    // Instance Availability and the offset from UTC are told of every level.
    if matches!(tag, tags::INSTANCE_AVAILABILITY | tags::TIMEZONE_OFFSET_FROM_UTC) {
        return None;
    }
    [Level::Patient, Level::Study, Level::Series, Level::Instance]
        .into_iter()
        .find(|level| returned(*level).contains(&tag) || usual(*level).contains(&tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_has_one_place() {
        let levels = [Level::Patient, Level::Study, Level::Series, Level::Instance];
        for level in levels {
            assert!(returned(level).contains(&level.unique_key()), "{level:?}");
            for tag in returned(level).iter().chain(usual(level)) {
                let of_all = matches!(*tag, tags::INSTANCE_AVAILABILITY | tags::TIMEZONE_OFFSET_FROM_UTC);
                let places =
                    levels.iter().filter(|l| returned(**l).contains(tag) || usual(**l).contains(tag));
                assert!(of_all || places.count() == 1, "{tag}");
            }
        }
    }
}
