//! A query without the names of patients in it.

use percent_encoding::percent_decode_str;

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::layout;
use crate::dicom::{Tag, VR};
use crate::event::Query;

/// What stands in place of a name.
const WITHHELD: &str = "WITHHELD";
/// The attributes of VR PN in the group of the patient (PS3.6): the patient's name, other names, birth name, mother's birth
/// name, and who is responsible for the patient, mostly of the same family.
const NAMES: [(Tag, &str); 5] = [
    (Tag(0x0010, 0x0010), "PatientName"),
    (Tag(0x0010, 0x1001), "OtherPatientNames"),
    (Tag(0x0010, 0x1005), "PatientBirthName"),
    (Tag(0x0010, 0x1060), "PatientMotherBirthName"),
    (Tag(0x0010, 0x2297), "ResponsiblePerson"),
];

/// The query's text, with names of patients replaced.
pub(super) fn patient_names(query: &Query) -> Vec<u8> {
    match &query.encoded {
        None => of_url(&String::from_utf8_lossy(&query.text)).into_bytes(),
        Some((_, syntax)) => {
            let layout = layout(syntax);
            match DataSet::parse(&query.text, layout, None) {
                Ok(parsed) => {
                    let mut data_set = parsed.data_set;
                    let found: Vec<Tag> = NAMES.iter().map(|(tag, _)| *tag).collect();
                    if !found.iter().any(|tag| data_set.contains(*tag)) {
                        return query.text.clone();
                    }
                    for tag in found {
                        if data_set.string(tag).is_some_and(|name| !name.is_empty() && name != "*") {
                            data_set.set_str(tag, VR::PN, WITHHELD);
                        }
                    }
                    data_set.encode(layout, QueryCharset::Auto)
                }
                // What cannot be read may hold anything.
                Err(_) => b"unreadable".to_vec(),
            }
        }
    }
}

/// A path with a query.
fn of_url(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((key, value)) if !value.is_empty() && is_name(key) => format!("{key}={WITHHELD}"),
        _ => parameter.to_owned(),
    });
    format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

/// Whether a key of a search (PS3.18 8.3.4.1) is an attribute that has a patient's name, at any depth.
fn is_name(key: &str) -> bool {
    let key = percent_decode_str(key).decode_utf8_lossy();
    let attribute = key.rsplit('.').next().unwrap_or_default().trim();
    NAMES.iter().any(|(Tag(group, element), keyword)| {
        attribute.eq_ignore_ascii_case(keyword)
            || attribute.eq_ignore_ascii_case(&format!("{group:04X}{element:04X}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
    use crate::dicom::{Uid, tags};

    #[test]
    fn names_of_patients_are_taken_out_of_a_url_however_the_key_is_written() {
        for (text, expected) in [
            ("studies?PatientName=DOE%5EJANE&limit=5", "studies?PatientName=WITHHELD&limit=5"),
            ("studies?00100010=DOE*", "studies?00100010=WITHHELD"),
            ("studies?Pat%69entName=DOE", "studies?Pat%69entName=WITHHELD"),
            ("studies?patientname=DOE", "studies?patientname=WITHHELD"),
            ("studies?A.00101060=DOE", "studies?A.00101060=WITHHELD"),
            ("studies?ResponsiblePerson=DOE", "studies?ResponsiblePerson=WITHHELD"),
            ("studies?PatientID=4711&PatientName=", "studies?PatientID=4711&PatientName="),
            ("studies", "studies"),
        ] {
            assert_eq!(of_url(text), expected);
        }
    }

    #[test]
    fn names_of_patients_are_taken_out_of_an_identifier_and_nothing_else() {
        let mut data_set = DataSet::new();
        data_set.set_str(tags::PATIENT_NAME, VR::PN, "DOE^JANE");
        data_set.set_str(tags::PATIENT_ID, VR::LO, "4711");
        let syntax = Uid::from_static(EXPLICIT_VR_LE);
        let text = data_set.encode(layout(&syntax), QueryCharset::Auto);
        let class = Uid::from_static(crate::dicom::sop_class::STUDY_ROOT_FIND);
        let query = Query { archive: "main".into(), level: None, encoded: Some((class, syntax)), text };
        let kept = patient_names(&query);
        let parsed =
            DataSet::parse(&kept, layout(&query.encoded.as_ref().unwrap().1), None).unwrap().data_set;
        assert_eq!(parsed.string(tags::PATIENT_NAME), Some(WITHHELD));
        assert_eq!(parsed.string(tags::PATIENT_ID), Some("4711"));
        let broken = Query { text: b"DOE^JANE but no data set".to_vec(), ..query };
        assert_eq!(patient_names(&broken), b"unreadable");
    }
}
