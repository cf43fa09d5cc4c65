//! Tells a client what became of each instance that it sent: the Store Instances Response Module (PS3.18
//! 10.5.3.2, Annex I.2).

use crate::dicom::dataset::DataSet;
use crate::dicom::{Uid, VR, tags};

/// What identifies an instance that came, as far as its bytes said so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// SOP Class UID.
    pub class: Option<Uid>,
    /// SOP Instance UID.
    pub instance: Option<Uid>,
    /// Study Instance UID.
    pub study: Option<Uid>,
    /// Series Instance UID.
    pub series: Option<Uid>,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Stored,
    /// It is stored, with this Warning Reason (0008,1196).
    Warned(u16),
    /// It is not stored, for this Failure Reason (0008,1197).
    Failed(u16),
}

/// The module. Retrieve URL (0008,1190) names the study where all that is stored is of one; an instance whose
/// UIDs are not known is one of Other Failures Sequence (0008,119A).
pub fn module(service_url: &str, outcomes: &[(Reference, Fate)]) -> DataSet {
    let (mut stored, mut failed, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut studies: Vec<&Uid> = Vec::new();
    for (reference, fate) in outcomes {
        match *fate {
            Fate::Failed(reason) => {
                let item = item(reference);
                let list = if item.len() == 2 { &mut failed } else { &mut others };
                let mut item = if item.len() == 2 { item } else { DataSet::new() };
                item.set_u16(tags::FAILURE_REASON, reason);
                list.push(item);
            }
            Fate::Stored | Fate::Warned(_) => {
                let mut item = item(reference);
                if let Fate::Warned(reason) = *fate {
                    item.set_u16(tags::WARNING_REASON, reason);
                }
                if let Some(url) = retrieve_url(service_url, reference) {
                    item.set_str(tags::RETRIEVE_URL, VR::UR, url);
                }
                studies.extend(
                    reference
                        .study
                        .as_ref()
                        .filter(|study| !studies.contains(study))
                        .filter(|_| studies.len() < 2),
                );
                stored.push(item);
            }
        }
    }
    let mut module = DataSet::new();
    if let [study] = studies[..] {
        module.set_str(tags::RETRIEVE_URL, VR::UR, format!("{service_url}/studies/{study}"));
    }
    for (tag, items) in [
        (tags::REFERENCED_SOP_SEQUENCE, stored),
        (tags::FAILED_SOP_SEQUENCE, failed),
        (tags::OTHER_FAILURES_SEQUENCE, others),
    ] {
        if !items.is_empty() {
            module.set_items(tag, items);
        }
    }
    module
}

/// An item with Referenced SOP Class UID and Referenced SOP Instance UID, as far as they are known.
fn item(reference: &Reference) -> DataSet {
    let mut item = DataSet::new();
    for (tag, uid) in [
        (tags::REFERENCED_SOP_CLASS_UID, &reference.class),
        (tags::REFERENCED_SOP_INSTANCE_UID, &reference.instance),
    ] {
        if let Some(uid) = uid {
            item.set_str(tag, VR::UI, uid.as_str());
        }
    }
    item
}

fn retrieve_url(service_url: &str, reference: &Reference) -> Option<String> {
    let Reference { instance: Some(instance), study: Some(study), series: Some(series), .. } = reference
    else {
        return None;
    };
    Some(format!("{service_url}/studies/{study}/series/{series}/instances/{instance}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dicomweb::json::write_object;

    const SERVICE: &str = "http://h/dicom-web";

    fn reference(study: &'static str, instance: &'static str) -> Reference {
        Reference {
            class: Some(Uid::from_static("1.2.840.10008.5.1.4.1.1.2")),
            instance: Some(Uid::from_static(instance)),
            study: Some(Uid::from_static(study)),
            series: Some(Uid::from_static("1.3")),
        }
    }

    fn json(outcomes: &[(Reference, Fate)]) -> Value {
        let mut out = Vec::new();
        write_object(&module(SERVICE, outcomes), &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn each_instance_is_told_with_its_fate() {
        let found = json(&[
            (reference("1.2", "1.4.1"), Fate::Stored),
            (reference("1.2", "1.4.2"), Fate::Warned(0xB006)),
            (reference("1.2", "1.4.3"), Fate::Failed(0xA700)),
            (Reference::default(), Fate::Failed(0xC000)),
        ]);
        let class = json!({ "vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"] });
        let instance = |uid: &str| json!({ "vr": "UI", "Value": [uid] });
        let url = |uid: &str| json!({ "vr": "UR", "Value": [format!("{SERVICE}/studies/1.2/series/1.3/instances/{uid}")] });
        let reason = |code: u16| json!({ "vr": "US", "Value": [code] });
        let expected = json!({
            "00081190": { "vr": "UR", "Value": [format!("{SERVICE}/studies/1.2")] },
            "00081198": { "vr": "SQ", "Value": [
                { "00081150": class, "00081155": instance("1.4.3"), "00081197": reason(0xA700) },
            ] },
            "00081199": { "vr": "SQ", "Value": [
                { "00081150": class, "00081155": instance("1.4.1"), "00081190": url("1.4.1") },
                { "00081150": class, "00081155": instance("1.4.2"), "00081190": url("1.4.2"), "00081196": reason(0xB006) },
            ] },
            "0008119A": { "vr": "SQ", "Value": [{ "00081197": reason(0xC000) }] },
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn several_studies_have_no_common_url_and_failed_ones_do_not_count() {
        let [one, other] = [reference("1.2", "1.4.1"), reference("1.9", "1.4.2")];
        let both =
            json(&[(one.clone(), Fate::Stored), (other.clone(), Fate::Stored), (one.clone(), Fate::Stored)]);
        assert_eq!(both.get("00081190"), None);
        let failed = json(&[(one, Fate::Stored), (other, Fate::Failed(0xC409))]);
        assert_eq!(failed["00081190"]["Value"][0], format!("{SERVICE}/studies/1.2"));
    }
}
