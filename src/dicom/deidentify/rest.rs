//! What Table E.1-1 leaves out, and what may tell whose an object is all the same: the profile is about attributes that
//! identify, and the table names those that its editors thought of (PS3.15 E.1.1).
//!
//! By VR: a person's name, a date, a time, a URL and a UID of an object or a device identify wherever they stand. Some
//! texts do by what they are for.

use super::Fate;
use crate::dicom::{Tag, VR};

/// What becomes of an attribute that is no row of the table; `None`: it stays. `is_value`: it is encoded as a value.
pub(super) fn fate(tag: Tag, vr: VR, is_value: bool) -> Option<Fate> {
    let number = u32::from(tag.group()) << 16 | u32::from(tag.element());
    let is_in = |tags: &[u32]| tags.binary_search(&number).is_ok();
    Some(match vr {
        _ if is_in(REMOVED) => Fate::Remove,
        _ if is_in(EMPTIED) => Fate::Empty,
        _ if is_in(DUMMIES) => Fate::Dummy,
        VR::UR => Fate::Remove,
        VR::PN | VR::DA | VR::DT | VR::TM => Fate::Empty,
        VR::UI if is_in(OF_THE_STANDARD) => return None,
        VR::UI if is_value => Fate::OtherUids,
        VR::UI => Fate::Remove,
        _ => return None,
    })
}

/// UIDs of SOP classes, transfer syntaxes, coding schemes and context groups: they say what an object is.
pub(super) const OF_THE_STANDARD: &[u32] = &[
    0x00080016, 0x0008001A, 0x0008001B, 0x00080062, 0x0008010C, 0x00080117, 0x00080118, 0x0008040E,
    0x00081150, 0x0008115A, 0x00083002, 0x00340003, 0x04000010, 0x04000510, 0x30100052, 0x30100053,
];

/// Birth and death in another calendar, comments of people who knew the patient, media and owners, contacts.
const REMOVED: &[u32] = &[
    0x00100033, 0x00100034, 0x00189908, 0x0018991A, 0x00240044, 0x00400400, 0x0040A224, 0x0040A33A,
    0x00440011, 0x00440012, 0x00440106, 0x00741006, 0x0074100C, 0x00741238, 0x00880130, 0x21000160,
    0x30040006, 0x30080202, 0x300A0402,
];

/// Document Title.
const EMPTIED: &[u32] = &[0x00420010];

/// Text Value of items that are no Content Sequence's, and HL7 Instance Identifier.
const DUMMIES: &[u32] = &[0x0040A160, 0x0040E001];
