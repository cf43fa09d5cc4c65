//! What a presentation context is for.

use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::relay::Service;
use crate::dicom::{Uid, sop_class};
use crate::dimse::command::field;
use crate::front::dimse::config::Operation;

/// How the messages of a context are served.
#[derive(Clone)]
pub(super) enum Served {
    /// C-ECHO: here.
    Verification,
    /// C-FIND: passed on.
    Find(Service, Arc<dyn Archive>),
    /// C-GET.
    Get(Arc<dyn Archive>),
    /// C-MOVE.
    Move(Arc<dyn Archive>),
    /// C-STORE: objects of clients, and of our own C-MOVEs.
    Storage,
    /// Normalized operations: passed on.
    Normalized(Service, Arc<dyn Archive>),
    /// On an association of its own behind.
    Own,
}

impl Served {
    /// The archive that the context's requests are passed on to as they are. What is served otherwise is counted by who
    /// serves it.
    pub(super) fn passed_on_to(&self) -> Option<&Arc<dyn Archive>> {
        match self {
            Self::Find(_, archive) | Self::Normalized(_, archive) => Some(archive),
            Self::Get(_) | Self::Move(_) | Self::Verification | Self::Storage | Self::Own => None,
        }
    }
}

/// What a SOP class is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// C-ECHO.
    Verification,
    /// C-FIND alone.
    Find(Service),
    /// C-GET of studies, series and images.
    Get,
    /// C-MOVE of studies, series and images.
    Move,
    /// C-STORE to archives.
    Storage,
    /// C-STORE to the client, within a C-GET.
    Delivery,
    /// Normalized operations, and C-FIND where the class has it.
    Normalized(Service),
    /// Whatever it is: on an association of its own behind.
    Own,
    /// Nothing that is served.
    Refused,
}

/// Classes of C-FIND alone (PS3.4 Annexes C, K, Q, U, V, AA, BB, HH, II).
const FIND: [&str; 17] = [
    sop_class::PATIENT_ROOT_FIND,
    sop_class::STUDY_ROOT_FIND,
    sop_class::PATIENT_STUDY_ONLY_FIND,
    // Relevant patient information; product characteristics; substance approval.
    "1.2.840.10008.5.1.4.37.1",
    "1.2.840.10008.5.1.4.37.2",
    "1.2.840.10008.5.1.4.37.3",
    "1.2.840.10008.5.1.4.41",
    "1.2.840.10008.5.1.4.42",
    // Defined procedure protocols, hanging protocols, colour palettes, implant templates, assemblies and groups.
    "1.2.840.10008.5.1.4.20.1",
    "1.2.840.10008.5.1.4.38.2",
    "1.2.840.10008.5.1.4.39.2",
    "1.2.840.10008.5.1.4.43.2",
    "1.2.840.10008.5.1.4.44.2",
    "1.2.840.10008.5.1.4.45.2",
    // Protocol approvals, inventories, and what a repository holds.
    "1.2.840.10008.5.1.4.1.1.200.4",
    "1.2.840.10008.5.1.4.1.1.201.2",
    "1.2.840.10008.5.1.4.1.1.201.6",
];
/// Below the root of the storage classes, and none: C-MOVE and C-GET of protocol approvals and inventories, and the
/// creation of an inventory.
const NOT_STORAGE: [&str; 5] = [
    "1.2.840.10008.5.1.4.1.1.200.5",
    "1.2.840.10008.5.1.4.1.1.200.6",
    "1.2.840.10008.5.1.4.1.1.201.3",
    "1.2.840.10008.5.1.4.1.1.201.4",
    "1.2.840.10008.5.1.4.1.1.201.5",
];

/// C-MOVE of what is passed on unread: composite instances by their frames, and all that is no image (PS3.4 Annexes U, X, Y, BB, HH,
/// II).
const OTHER_MOVES: [&str; 9] = [
    "1.2.840.10008.5.1.4.1.2.4.2",
    "1.2.840.10008.5.1.4.20.2",
    "1.2.840.10008.5.1.4.38.3",
    "1.2.840.10008.5.1.4.39.3",
    "1.2.840.10008.5.1.4.43.3",
    "1.2.840.10008.5.1.4.44.3",
    "1.2.840.10008.5.1.4.45.3",
    "1.2.840.10008.5.1.4.1.1.200.5",
    "1.2.840.10008.5.1.4.1.1.201.3",
];
/// C-GET of the same.
const OTHER_GETS: [&str; 9] = [
    "1.2.840.10008.5.1.4.1.2.4.3",
    "1.2.840.10008.5.1.4.20.3",
    "1.2.840.10008.5.1.4.38.4",
    "1.2.840.10008.5.1.4.39.4",
    "1.2.840.10008.5.1.4.43.4",
    "1.2.840.10008.5.1.4.44.4",
    "1.2.840.10008.5.1.4.45.4",
    "1.2.840.10008.5.1.4.1.1.200.6",
    "1.2.840.10008.5.1.4.1.1.201.4",
];

/// What a context is for. `as_scp`: the requestor wants the SCP role; `beside_get`: it proposes C-GET, too;
/// `storage_classes`: those that are configured besides the standard's.
pub(super) fn classify(class: &Uid, as_scp: bool, beside_get: bool, storage_classes: &[Uid]) -> Kind {
    let [push, watch, pull, _, query] = sop_class::UNIFIED_PROCEDURE_STEP;
    match class.as_str() {
        sop_class::VERIFICATION => Kind::Verification,
        // It would be served at the cost of reading the objects whole.
        sop_class::WITHOUT_BULK_DATA_GET => Kind::Refused,
        text if is_get(text) => Kind::Get,
        sop_class::STUDY_ROOT_MOVE | sop_class::PATIENT_ROOT_MOVE | sop_class::PATIENT_STUDY_ONLY_MOVE => {
            Kind::Move
        }
        sop_class::MODALITY_WORKLIST_FIND => Kind::Find(Service::Worklist),
        text if FIND.contains(&text) => Kind::Find(Service::Query),
        sop_class::MPPS | sop_class::MPPS_RETRIEVE => Kind::Normalized(Service::Mpps),
        sop_class::STORAGE_COMMITMENT => Kind::Normalized(Service::Commit),
        sop_class::INSTANCE_AVAILABILITY => Kind::Normalized(Service::Query),
        text if [push, watch, pull, query].contains(&text) => Kind::Normalized(Service::Query),
        _ if as_scp && beside_get => Kind::Delivery,
        text if NOT_STORAGE.contains(&text) => Kind::Own,
        _ if sop_class::is_storage(class) || storage_classes.contains(class) => Kind::Storage,
        _ => Kind::Own,
    }
}

/// What a client must be allowed for a class to be served so.
pub(super) fn operations(kind: Kind, class: &Uid) -> &'static [Operation] {
    match kind {
        Kind::Verification => &[Operation::Echo],
        Kind::Find(_) => &[Operation::Find],
        Kind::Get | Kind::Delivery => &[Operation::Get],
        Kind::Move => &[Operation::Move],
        Kind::Storage => &[Operation::Store],
        Kind::Normalized(_) | Kind::Refused => &[Operation::Normalized],
        Kind::Own => match class.as_str() {
            text if OTHER_MOVES.contains(&text) => &[Operation::Move],
            text if OTHER_GETS.contains(&text) => &[Operation::Get],
            text if text.starts_with("1.2.840.10008.") => &[Operation::Normalized],
            // Nobody knows what it has in it.
            _ => &Operation::ALL,
        },
    }
}

/// What a client must be allowed for a request; `None`: nobody knows what it does.
pub(super) fn operation(request: u16) -> Option<Operation> {
    match request {
        field::C_ECHO_RQ => Some(Operation::Echo),
        field::C_FIND_RQ => Some(Operation::Find),
        field::C_GET_RQ => Some(Operation::Get),
        field::C_MOVE_RQ => Some(Operation::Move),
        field::C_STORE_RQ => Some(Operation::Store),
        field::N_EVENT_REPORT_RQ
        | field::N_GET_RQ
        | field::N_SET_RQ
        | field::N_ACTION_RQ
        | field::N_CREATE_RQ
        | field::N_DELETE_RQ => Some(Operation::Normalized),
        _ => None,
    }
}

/// Whether a class is C-GET of studies, series and images.
pub(super) fn is_get(class: &str) -> bool {
    [sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET, sop_class::PATIENT_STUDY_ONLY_GET]
        .contains(&class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(class: &str, as_scp: bool, beside_get: bool) -> Kind {
        classify(&class.parse().unwrap(), as_scp, beside_get, &["1.3.6.1.4.1.1.1".parse().unwrap()])
    }

    #[test]
    fn every_class_is_for_what_the_standard_says() {
        for (class, kind) in [
            ("1.2.840.10008.1.1", Kind::Verification),
            ("1.2.840.10008.5.1.4.1.2.1.1", Kind::Find(Service::Query)),
            ("1.2.840.10008.5.1.4.1.2.2.1", Kind::Find(Service::Query)),
            ("1.2.840.10008.5.1.4.1.2.3.1", Kind::Find(Service::Query)),
            ("1.2.840.10008.5.1.4.31", Kind::Find(Service::Worklist)),
            ("1.2.840.10008.5.1.4.38.2", Kind::Find(Service::Query)),
            ("1.2.840.10008.5.1.4.1.2.1.2", Kind::Move),
            ("1.2.840.10008.5.1.4.1.2.2.2", Kind::Move),
            ("1.2.840.10008.5.1.4.1.2.3.3", Kind::Get),
            ("1.2.840.10008.5.1.4.1.2.2.3", Kind::Get),
            ("1.2.840.10008.5.1.4.1.2.5.3", Kind::Refused),
            ("1.2.840.10008.5.1.4.1.2.4.2", Kind::Own),
            ("1.2.840.10008.3.1.2.3.3", Kind::Normalized(Service::Mpps)),
            ("1.2.840.10008.3.1.2.3.4", Kind::Normalized(Service::Mpps)),
            ("1.2.840.10008.3.1.2.3.5", Kind::Own),
            ("1.2.840.10008.1.20.1", Kind::Normalized(Service::Commit)),
            ("1.2.840.10008.5.1.4.33", Kind::Normalized(Service::Query)),
            ("1.2.840.10008.5.1.4.34.6.1", Kind::Normalized(Service::Query)),
            ("1.2.840.10008.5.1.4.34.6.4", Kind::Own),
            ("1.2.840.10008.5.1.4.34.6.5", Kind::Normalized(Service::Query)),
            ("1.2.840.10008.5.1.1.9", Kind::Own),
            ("1.2.840.10008.5.1.4.1.1.200.6", Kind::Own),
            ("1.2.840.10008.5.1.4.1.1.2", Kind::Storage),
            ("1.2.840.10008.5.1.4.1.1.999.1", Kind::Storage),
            ("1.2.840.10008.5.1.4.34.7", Kind::Storage),
            ("1.2.840.10008.5.1.4.45.1", Kind::Storage),
            ("1.3.6.1.4.1.1.1", Kind::Storage),
            ("1.3.6.1.4.1.1.2", Kind::Own),
        ] {
            assert_eq!(of(class, false, false), kind, "{class}");
        }
    }

    #[test]
    fn no_class_is_served_for_less_than_what_it_does() {
        let needs = |class: &str, as_scp, beside_get| {
            operations(of(class, as_scp, beside_get), &class.parse().unwrap())
        };
        for (class, operation) in [
            ("1.2.840.10008.1.1", Operation::Echo),
            ("1.2.840.10008.5.1.4.1.2.1.1", Operation::Find),
            ("1.2.840.10008.5.1.4.31", Operation::Find),
            ("1.2.840.10008.5.1.4.1.2.2.3", Operation::Get),
            ("1.2.840.10008.5.1.4.1.2.4.3", Operation::Get),
            ("1.2.840.10008.5.1.4.1.1.201.4", Operation::Get),
            ("1.2.840.10008.5.1.4.1.2.2.2", Operation::Move),
            ("1.2.840.10008.5.1.4.38.3", Operation::Move),
            ("1.2.840.10008.5.1.4.1.1.2", Operation::Store),
            ("1.2.840.10008.3.1.2.3.3", Operation::Normalized),
            ("1.2.840.10008.5.1.1.9", Operation::Normalized),
        ] {
            assert_eq!(needs(class, false, false), [operation], "{class}");
        }
        assert_eq!(needs("1.2.840.10008.5.1.4.1.1.2", true, true), [Operation::Get], "sent within a C-GET");
        assert_eq!(needs("1.3.6.1.4.1.1.2", false, false), Operation::ALL, "a private class may be anything");
    }

    #[test]
    fn all_storage_classes_that_are_known_are_storage() {
        for (class, _) in sop_class::STORAGE {
            assert_eq!(of(class, false, true), Kind::Storage, "{class}");
            assert_eq!(of(class, true, true), Kind::Delivery, "{class}");
        }
    }

    #[test]
    fn a_class_whose_scp_the_requestor_is_beside_a_get_is_what_it_wants_to_be_sent() {
        assert_eq!(of("1.3.6.1.4.1.1.2", true, true), Kind::Delivery, "also a private one");
        assert_eq!(of("1.3.6.1.4.1.1.2", true, false), Kind::Own);
        assert_eq!(of(sop_class::STORAGE_COMMITMENT, true, true), Kind::Normalized(Service::Commit));
    }
}
