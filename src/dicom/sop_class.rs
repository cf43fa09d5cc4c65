//! SOP classes that the bridge names itself (PS3.4, PS3.6 Annex A).

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::StandardSopClassDictionary;

use super::Uid;

/// Verification: C-ECHO.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Patient Root Query/Retrieve, FIND.
pub const PATIENT_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
/// Patient Root Query/Retrieve, MOVE.
pub const PATIENT_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.1.2";
/// Patient Root Query/Retrieve, GET.
pub const PATIENT_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.1.3";
/// Study Root Query/Retrieve, FIND.
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve, MOVE.
pub const STUDY_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// Study Root Query/Retrieve, GET.
pub const STUDY_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

/// Patient/Study Only, FIND (retired).
pub const PATIENT_STUDY_ONLY_FIND: &str = "1.2.840.10008.5.1.4.1.2.3.1";
/// Patient/Study Only, MOVE (retired).
pub const PATIENT_STUDY_ONLY_MOVE: &str = "1.2.840.10008.5.1.4.1.2.3.2";
/// Patient/Study Only, GET (retired).
pub const PATIENT_STUDY_ONLY_GET: &str = "1.2.840.10008.5.1.4.1.2.3.3";
/// Modality Worklist, FIND (PS3.4 Annex K).
pub const MODALITY_WORKLIST_FIND: &str = "1.2.840.10008.5.1.4.31";

/// Modality Performed Procedure Step (PS3.4 F.7).
pub const MPPS: &str = "1.2.840.10008.3.1.2.3.3";
/// Modality Performed Procedure Step Retrieve (PS3.4 F.8).
pub const MPPS_RETRIEVE: &str = "1.2.840.10008.3.1.2.3.4";
/// Modality Performed Procedure Step Notification (PS3.4 F.9).
pub const MPPS_NOTIFICATION: &str = "1.2.840.10008.3.1.2.3.5";
/// Storage Commitment Push Model (PS3.4 Annex J).
pub const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";
/// The one instance of Storage Commitment Push Model.
pub const STORAGE_COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Instance Availability Notification (PS3.4 Annex R).
pub const INSTANCE_AVAILABILITY: &str = "1.2.840.10008.5.1.4.33";
/// Unified Procedure Step: Push, Watch, Pull, Event, Query (PS3.4 Annex CC).
pub const UNIFIED_PROCEDURE_STEP: [&str; 5] = [
    "1.2.840.10008.5.1.4.34.6.1",
    "1.2.840.10008.5.1.4.34.6.2",
    "1.2.840.10008.5.1.4.34.6.3",
    "1.2.840.10008.5.1.4.34.6.4",
    "1.2.840.10008.5.1.4.34.6.5",
];

/// Composite Instance Retrieve Without Bulk Data, GET (PS3.4 Annex Z).
pub const WITHOUT_BULK_DATA_GET: &str = "1.2.840.10008.5.1.4.1.2.5.3";

/// Secondary Capture Image Storage.
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// Raw Data Storage.
pub const RAW_DATA: &str = "1.2.840.10008.5.1.4.1.1.66";

/// Storage SOP classes (PS3.4 B.5), each with the values of Modality (0008,0060) that its objects carry.
/// An empty list: objects that are found in studies of any modality. In each group the common ones first.
pub const STORAGE: [(&str, &[&str]); 86] = [
    ("1.2.840.10008.5.1.4.1.1.2", &["CT"]),
    ("1.2.840.10008.5.1.4.1.1.2.1", &["CT"]),
    ("1.2.840.10008.5.1.4.1.1.4", &["MR"]),
    ("1.2.840.10008.5.1.4.1.1.4.1", &["MR"]),
    ("1.2.840.10008.5.1.4.1.1.1", &["CR", "RG"]),
    ("1.2.840.10008.5.1.4.1.1.1.1", &["DX", "DR", "CR", "PX"]),
    ("1.2.840.10008.5.1.4.1.1.1.1.1", &["DX"]),
    ("1.2.840.10008.5.1.4.1.1.1.2", &["MG"]),
    ("1.2.840.10008.5.1.4.1.1.1.2.1", &["MG"]),
    ("1.2.840.10008.5.1.4.1.1.13.1.3", &["MG"]),
    ("1.2.840.10008.5.1.4.1.1.13.1.4", &["MG"]),
    ("1.2.840.10008.5.1.4.1.1.13.1.5", &["MG"]),
    ("1.2.840.10008.5.1.4.1.1.1.3", &["IO"]),
    ("1.2.840.10008.5.1.4.1.1.1.3.1", &["IO"]),
    ("1.2.840.10008.5.1.4.1.1.6.1", &["US", "IVUS"]),
    ("1.2.840.10008.5.1.4.1.1.3.1", &["US", "IVUS"]),
    ("1.2.840.10008.5.1.4.1.1.6.2", &["US"]),
    ("1.2.840.10008.5.1.4.1.1.6", &["US"]),
    ("1.2.840.10008.5.1.4.1.1.3", &["US"]),
    ("1.2.840.10008.5.1.4.1.1.12.1", &["XA", "DSA"]),
    ("1.2.840.10008.5.1.4.1.1.12.1.1", &["XA"]),
    ("1.2.840.10008.5.1.4.1.1.13.1.1", &["XA"]),
    ("1.2.840.10008.5.1.4.1.1.12.2", &["RF"]),
    ("1.2.840.10008.5.1.4.1.1.12.2.1", &["RF"]),
    ("1.2.840.10008.5.1.4.1.1.13.1.2", &["DX", "PX"]),
    ("1.2.840.10008.5.1.4.1.1.20", &["NM"]),
    ("1.2.840.10008.5.1.4.1.1.5", &["NM"]),
    ("1.2.840.10008.5.1.4.1.1.128", &["PT"]),
    ("1.2.840.10008.5.1.4.1.1.130", &["PT"]),
    ("1.2.840.10008.5.1.4.1.1.128.1", &["PT"]),
    ("1.2.840.10008.5.1.4.1.1.2.2", &["CT"]),
    ("1.2.840.10008.5.1.4.1.1.4.2", &["MR"]),
    ("1.2.840.10008.5.1.4.1.1.4.3", &["MR"]),
    ("1.2.840.10008.5.1.4.1.1.4.4", &["MR"]),
    ("1.2.840.10008.5.1.4.1.1.481.1", &["RTIMAGE"]),
    ("1.2.840.10008.5.1.4.1.1.481.2", &["RTDOSE"]),
    ("1.2.840.10008.5.1.4.1.1.481.3", &["RTSTRUCT"]),
    ("1.2.840.10008.5.1.4.1.1.481.5", &["RTPLAN"]),
    ("1.2.840.10008.5.1.4.1.1.481.8", &["RTPLAN"]),
    ("1.2.840.10008.5.1.4.1.1.481.4", &["RTRECORD"]),
    ("1.2.840.10008.5.1.4.1.1.481.6", &["RTRECORD"]),
    ("1.2.840.10008.5.1.4.1.1.481.7", &["RTRECORD"]),
    ("1.2.840.10008.5.1.4.1.1.481.9", &["RTRECORD"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.6", &["SM"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.1", &["ES"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.1.1", &["ES"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.2", &["GM", "SM"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.2.1", &["GM"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.3", &["SM"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.4", &["XC", "DMS"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.4.1", &["XC"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.1", &["OP"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.2", &["OP"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.3", &["OP"]),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.4", &["OPT"]),
    ("1.2.840.10008.5.1.4.1.1.14.1", &["IVOCT"]),
    ("1.2.840.10008.5.1.4.1.1.14.2", &["IVOCT"]),
    ("1.2.840.10008.5.1.4.1.1.9.1.1", &["ECG"]),
    ("1.2.840.10008.5.1.4.1.1.9.1.2", &["ECG"]),
    ("1.2.840.10008.5.1.4.1.1.9.1.3", &["ECG"]),
    ("1.2.840.10008.5.1.4.1.1.9.2.1", &["HD"]),
    ("1.2.840.10008.5.1.4.1.1.9.3.1", &["EPS"]),
    ("1.2.840.10008.5.1.4.1.1.9.4.1", &["AU"]),
    ("1.2.840.10008.5.1.4.1.1.7", &[]),
    ("1.2.840.10008.5.1.4.1.1.88.11", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.22", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.33", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.34", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.67", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.59", &["KO"]),
    ("1.2.840.10008.5.1.4.1.1.11.1", &["PR"]),
    ("1.2.840.10008.5.1.4.1.1.104.1", &["DOC", "OT"]),
    ("1.2.840.10008.5.1.4.1.1.66.4", &["SEG"]),
    ("1.2.840.10008.5.1.4.1.1.66", &[]),
    ("1.2.840.10008.5.1.4.1.1.7.2", &["OT", "SC"]),
    ("1.2.840.10008.5.1.4.1.1.7.4", &["OT", "SC"]),
    ("1.2.840.10008.5.1.4.1.1.7.3", &["OT", "SC"]),
    ("1.2.840.10008.5.1.4.1.1.7.1", &["OT", "SC"]),
    ("1.2.840.10008.5.1.4.1.1.88.40", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.50", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.88.65", &["SR"]),
    ("1.2.840.10008.5.1.4.1.1.11.2", &["PR"]),
    ("1.2.840.10008.5.1.4.1.1.66.1", &["REG"]),
    ("1.2.840.10008.5.1.4.1.1.66.3", &["REG"]),
    ("1.2.840.10008.5.1.4.1.1.67", &["RWV"]),
    ("1.2.840.10008.5.1.4.1.1.104.2", &["DOC"]),
];

/// Whether a class may be a storage class: one below the standard's storage root, or any outside the
/// standard's own, as a private class may be anything (PS3.4 B.5, PS3.6 Annex A).
pub fn may_be_storage(class: &Uid) -> bool {
    !class.as_str().starts_with("1.2.840.10008.")
        || class.as_str().starts_with("1.2.840.10008.5.1.4.1.1.")
        || class.as_str().starts_with("1.2.840.10008.5.1.4.34.")
        || class.as_str().starts_with("1.2.840.10008.5.1.4.4")
        || class.as_str().starts_with("1.2.840.10008.5.1.4.3")
}

/// Storage classes that are not below the standard's storage root (PS3.4 B.5, GG.3).
const OTHER_STORAGE: [&str; 7] = [
    "1.2.840.10008.5.1.4.34.7",
    "1.2.840.10008.5.1.4.34.10",
    "1.2.840.10008.5.1.4.38.1",
    "1.2.840.10008.5.1.4.39.1",
    "1.2.840.10008.5.1.4.43.1",
    "1.2.840.10008.5.1.4.44.1",
    "1.2.840.10008.5.1.4.45.1",
];

/// Whether a class is one of the standard's storage classes.
pub fn is_storage(class: &Uid) -> bool {
    class.as_str().starts_with("1.2.840.10008.5.1.4.1.1.") || OTHER_STORAGE.contains(&class.as_str())
}

/// Classes with Pixel Data that are not called images: segmentations, dose grids, parametric maps.
const WITH_PIXELS: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.30",
];

/// Whether objects of a class may have Pixel Data, by its name in the standard (PS3.6 Table A-1). A class that has none there
/// may be anything.
pub fn is_image(class: &Uid) -> bool {
    let named = StandardSopClassDictionary.by_uid(class.as_str());
    named.is_none_or(|entry| entry.name.contains(" Image ")) || WITH_PIXELS.contains(&class.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_from_reports_and_states() {
        for (class, image) in [
            ("1.2.840.10008.5.1.4.1.1.2", true),
            ("1.2.840.10008.5.1.4.1.1.77.1.6", true),
            ("1.2.840.10008.5.1.4.1.1.66.4", true),
            ("1.2.840.10008.5.1.4.1.1.481.2", true),
            ("1.2.840.10008.5.1.4.1.1.481.3", false),
            ("1.2.840.10008.5.1.4.1.1.88.22", false),
            ("1.2.840.10008.5.1.4.1.1.11.1", false),
            ("1.2.840.10008.5.1.4.1.1.104.1", false),
            ("1.3.6.1.4.1.9.9", true),
        ] {
            assert_eq!(is_image(&Uid::from_static(class)), image, "{class}");
        }
    }
}
