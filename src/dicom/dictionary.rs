//! The data dictionary: which VR and which keyword a tag has (PS3.6 chapter 6).

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, TagRange, UidDictionary, VirtualVr};
use dicom_dictionary_std::{StandardDataDictionary, StandardSopClassDictionary};

use super::{Tag, Uid, VR};

/// The VR of an attribute by its tag alone, for elements that carry none (PS3.5 A.1, 6.2.2).
///
/// Where the dictionary offers a choice: `OB or OW` is OW, as Implicit VR demands (PS3.5 A.1); `US or SS` is
/// US, as most such values are unsigned; LUT Data is OW, as only OW holds a table of 65536 entries. Group
/// lengths are UL, private creators LO; other private attributes, and those unknown to the dictionary, are UN.
pub fn vr_of(tag: Tag) -> VR {
    match virtual_vr(tag) {
        Some(vr) => vr.relaxed(),
        None => VR::UN,
    }
}

/// Whether the VR is US or SS, by Pixel Representation (0028,0103).
pub(crate) fn is_us_or_ss(tag: Tag) -> bool {
    virtual_vr(tag) == Some(VirtualVr::Xs)
}

/// The tag of an attribute's keyword, as in `PatientName` (PS3.6 Table 6-1); `None` when unknown. An
/// attribute of a repeating group is found in the first of its groups.
pub fn tag_by_keyword(keyword: &str) -> Option<Tag> {
    match StandardDataDictionary.by_name(keyword)?.tag_range() {
        range @ (TagRange::Single(_) | TagRange::Group100(_) | TagRange::Element100(_)) => {
            Some(range.inner())
        }
        TagRange::GroupLength | TagRange::PrivateCreator => None,
    }
}

/// The name of a SOP class (PS3.6 Table A-1); `None` for private ones and those unknown to the dictionary.
pub fn class_name(sop_class: &Uid) -> Option<&'static str> {
    StandardSopClassDictionary.by_uid(sop_class.as_str()).map(|entry| entry.name)
}

/// The keyword of a standard attribute, as in `PatientName` (PS3.6 Table 6-1); `None` for private attributes
/// and those unknown to the dictionary.
pub fn keyword_of(tag: Tag) -> Option<&'static str> {
    if tag.group() % 2 == 1 || is_group_length(tag) {
        return None;
    }
    StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::alias)
}

/// Whether the element is a group length (gggg,0000), which newer editions no longer have outside of groups
/// 0000 and 0002 (PS3.5 7.2).
pub fn is_group_length(tag: Tag) -> bool {
    tag.element() == 0
}

fn virtual_vr(tag: Tag) -> Option<VirtualVr> {
    if is_group_length(tag) {
        return Some(VR::UL.into());
    }
    if tag.group() % 2 == 1 {
        // The dictionary's repeating groups 50xx and 60xx are even ones only (PS3.5 7.6).
        return matches!(tag.element(), 0x0010..=0x00FF).then_some(VR::LO.into());
    }
    StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tags;

    #[test]
    fn every_kind_of_tag_has_a_vr() {
        assert_eq!(vr_of(tags::PATIENT_NAME), VR::PN);
        assert_eq!(vr_of(tags::PIXEL_DATA), VR::OW);
        assert_eq!(vr_of(Tag(0x0010, 0x0000)), VR::UL, "group length");
        assert_eq!(vr_of(Tag(0x0029, 0x0010)), VR::LO, "private creator");
        assert_eq!(vr_of(Tag(0x0029, 0x1010)), VR::UN, "private");
        assert_eq!(vr_of(Tag(0x6002, 0x3000)), VR::OW, "repeating group");
        assert_eq!(vr_of(Tag(0x6001, 0x3000)), VR::UN, "an odd group never repeats a standard one");
        assert_eq!(vr_of(Tag(0x0008, 0xFFF0)), VR::UN, "unknown");
        assert!(is_us_or_ss(tags::SMALLEST_IMAGE_PIXEL_VALUE));
    }

    #[test]
    fn keywords_name_attributes_only() {
        assert_eq!(tag_by_keyword("PatientName"), Some(tags::PATIENT_NAME));
        assert_eq!(tag_by_keyword("OverlayData"), Some(Tag(0x6000, 0x3000)));
        assert_eq!(tag_by_keyword("PrivateCreator"), None);
        assert_eq!(tag_by_keyword("patientname"), None);
        assert_eq!(keyword_of(tags::PATIENT_NAME), Some("PatientName"));
        assert_eq!(keyword_of(Tag(0x6002, 0x3000)), Some("OverlayData"));
        assert_eq!(keyword_of(Tag(0x0029, 0x0010)), None);
        assert_eq!(keyword_of(Tag(0x0010, 0x0000)), None);
    }
}
