//! Where the objects are that a report speaks of (PS3.3 C.17.2).

use std::collections::HashMap;

use super::Part;
use crate::dicom::dataset::DataSet;
use crate::dicom::dictionary::class_name;
use crate::dicom::{Uid, tags};

/// The series and studies of objects, by their SOP Instance UIDs.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    service_url: &'a str,
    places: HashMap<&'a str, (Uid, Uid)>,
}

impl<'a> Evidence<'a> {
    /// What the data set says of the objects that it refers to.
    pub(super) fn read(data_set: &'a DataSet, service_url: &'a str) -> Self {
        let mut places = HashMap::new();
        let sequences = [
            tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
            tags::PERTINENT_OTHER_EVIDENCE_SEQUENCE,
            tags::PREDECESSOR_DOCUMENTS_SEQUENCE,
            tags::IDENTICAL_DOCUMENTS_SEQUENCE,
        ];
        for of_study in sequences.into_iter().flat_map(|tag| data_set.items(tag)) {
            let Some(study) = of_study.uid(tags::STUDY_INSTANCE_UID) else { continue };
            for of_series in of_study.items(tags::REFERENCED_SERIES_SEQUENCE) {
                let Some(series) = of_series.uid(tags::SERIES_INSTANCE_UID) else { continue };
                for object in of_series.items(tags::REFERENCED_SOP_SEQUENCE) {
                    if let Some(instance) = object.string(tags::REFERENCED_SOP_INSTANCE_UID) {
                        places.insert(instance, (study.clone(), series.clone()));
                    }
                }
            }
        }
        Self { service_url, places }
    }

    /// An object by an item of a Referenced SOP Sequence; `frame`: this one of it. A link, where it is known to which
    /// series it belongs.
    pub(super) fn object(&self, reference: &DataSet, frame: Option<&str>) -> Part {
        let class = reference.uid(tags::REFERENCED_SOP_CLASS_UID);
        let name = class.as_ref().and_then(class_name).unwrap_or("Object");
        let Some(instance) = reference.uid(tags::REFERENCED_SOP_INSTANCE_UID) else {
            return Part::Text(name.to_owned());
        };
        match self.places.get(instance.as_str()) {
            None => Part::Text(format!("{name} {instance}")),
            Some((study, series)) => {
                let object =
                    format!("{}/studies/{study}/series/{series}/instances/{instance}", self.service_url);
                // Others than numbers would lead elsewhere.
                let frame = frame.and_then(|frame| frame.parse::<u32>().ok());
                let frame = frame.map_or(String::new(), |frame| format!("/frames/{frame}"));
                Part::Link { text: name.to_owned(), url: format!("{object}{frame}/rendered") }
            }
        }
    }
}
