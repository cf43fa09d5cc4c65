//! What is said to a DIMSE client where an archive could not do something: the one table of it.

use crate::archive::{Error, Kind};
use crate::dimse::command::field;
use crate::dimse::status::{
    CANCEL, IDENTIFIER_DOES_NOT_MATCH, INVALID_ATTRIBUTE, MOVE_DESTINATION_UNKNOWN, NO_SUCH_INSTANCE,
    NOT_AUTHORIZED, OUT_OF_RESOURCES, OUT_OF_RESOURCES_SUB_OPERATIONS, PROCESSING_FAILURE,
    RESOURCE_LIMITATION, SOP_CLASS_NOT_SUPPORTED, SUCCESS, TRANSFER_SYNTAX_NOT_SUPPORTED, UNABLE_TO_COUNT,
    UNABLE_TO_PROCESS,
};

/// Unable to process, as [`UNABLE_TO_PROCESS`]; told apart from it, as it is not the archive's own word.
const NOT_PROCESSED: u16 = 0xC001;

/// Operations whose statuses are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Find,
    Retrieve,
    Store,
    Normalized,
}

impl Group {
    fn of(field: u16) -> Self {
        match field & !field::RESPONSE {
            field::C_FIND_RQ => Self::Find,
            field::C_GET_RQ | field::C_MOVE_RQ => Self::Retrieve,
            field::C_STORE_RQ => Self::Store,
            _ => Self::Normalized,
        }
    }

    /// Of an operation's name.
    fn named(operation: &str) -> Self {
        match operation {
            "C-FIND" => Self::Find,
            "C-GET" | "C-MOVE" => Self::Retrieve,
            "C-STORE" => Self::Store,
            _ => Self::Normalized,
        }
    }
}

/// The status of the response to a request with this Command Field, and its Error Comment: what a person at the client
/// should do, without anything of a patient.
///
/// A retrieval that brought some of its objects has a status of its own, by its counters; here it has brought none.
pub(super) fn of(error: &Error, field: u16) -> (u16, Option<String>) {
    let group = Group::of(field);
    if let Kind::Status { operation, code, comment, .. } = &error.kind {
        return by_status(&error.archive, group, operation, *code, comment.as_deref());
    }
    let code = code(&error.kind, group);
    let comment = (code != SUCCESS).then(|| text(&error.kind)).flatten();
    (code, comment.map(|text| format!("{}: {text}", error.archive)))
}

/// For C-FIND, C-GET and C-MOVE, C-STORE, and normalized operations.
fn code(kind: &Kind, group: Group) -> u16 {
    let by_group = |find, retrieve, store, normalized| match group {
        Group::Find => find,
        Group::Retrieve => retrieve,
        Group::Store => store,
        Group::Normalized => normalized,
    };
    let for_now =
        || by_group(OUT_OF_RESOURCES, OUT_OF_RESOURCES_SUB_OPERATIONS, OUT_OF_RESOURCES, RESOURCE_LIMITATION);
    let failed =
        || by_group(NOT_PROCESSED, OUT_OF_RESOURCES_SUB_OPERATIONS, NOT_PROCESSED, PROCESSING_FAILURE);
    match kind {
        // Nothing was found, and so nothing was to be brought.
        Kind::NotFound => by_group(SUCCESS, SUCCESS, UNABLE_TO_PROCESS, NO_SUCH_INSTANCE),
        Kind::BadKeys(_) => by_group(
            IDENTIFIER_DOES_NOT_MATCH,
            IDENTIFIER_DOES_NOT_MATCH,
            IDENTIFIER_DOES_NOT_MATCH,
            INVALID_ATTRIBUTE,
        ),
        Kind::QueueFull
        | Kind::QueueTimeout
        | Kind::BreakerOpen(_)
        | Kind::Unreachable(_)
        | Kind::Timeout(_)
        | Kind::Rejected { transient: true, .. }
        | Kind::ShuttingDown => for_now(),
        Kind::Rejected { transient: false, .. }
        | Kind::Tls(_)
        | Kind::Aborted(_)
        | Kind::Protocol(_)
        | Kind::Conflict(_)
        | Kind::DriverDied
        | Kind::ReaderStalled
        | Kind::NotAcceptable
        | Kind::Incomplete { .. } => failed(),
        Kind::Unsupported(_) | Kind::ClassRefused(_) => SOP_CLASS_NOT_SUPPORTED,
        Kind::SyntaxRefused(_) => by_group(
            SOP_CLASS_NOT_SUPPORTED,
            SOP_CLASS_NOT_SUPPORTED,
            TRANSFER_SYNTAX_NOT_SUPPORTED,
            SOP_CLASS_NOT_SUPPORTED,
        ),
        Kind::SourceBroke => {
            by_group(UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, PROCESSING_FAILURE)
        }
        Kind::NotAuthorized => NOT_AUTHORIZED,
        Kind::TooManyMatches => {
            by_group(OUT_OF_RESOURCES, UNABLE_TO_COUNT, OUT_OF_RESOURCES, RESOURCE_LIMITATION)
        }
        // C-STORE and the normalized operations know no cancel.
        Kind::Cancelled => by_group(CANCEL, CANCEL, NOT_PROCESSED, PROCESSING_FAILURE),
        Kind::Status { code, .. } => *code,
    }
}

/// The archive's own status, where it is one of this kind of operation; else what it means for it.
fn by_status(
    archive: &str,
    group: Group,
    operation: &str,
    code: u16,
    comment: Option<&str>,
) -> (u16, Option<String>) {
    let own = comment.map(str::to_owned);
    let mapped = match (group, Group::named(operation)) {
        // The destination that it does not know is us: the client's own may be known.
        (Group::Retrieve, Group::Retrieve) if code == MOVE_DESTINATION_UNKNOWN => {
            return (UNABLE_TO_PROCESS, Some(format!("{archive}: does not know Gantry as destination")));
        }
        (group, of) if group == of => return (code, own),
        (Group::Retrieve, Group::Find) if matches!(code, 0xA700..=0xA7FF) => UNABLE_TO_COUNT,
        (Group::Normalized, _) => PROCESSING_FAILURE,
        _ => UNABLE_TO_PROCESS,
    };
    (mapped, Some(format!("{archive}: {operation} was answered {code:04X}")))
}

/// What to say and to do, in at most 30 characters: with the longest name of an archive it fits into an Error Comment.
fn text(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::NotFound => "does not hold it",
        Kind::BadKeys(_) => "the data set cannot be used",
        Kind::QueueFull | Kind::QueueTimeout => "is busy, try again later",
        Kind::BreakerOpen(_) | Kind::Unreachable(_) => "not reachable, try again later",
        Kind::Timeout(_) => "does not answer, try again",
        Kind::Tls(_) => "has bad TLS, see Gantry's log",
        Kind::Rejected { transient: true, .. } => "rejects us now, try again",
        Kind::Rejected { transient: false, .. } => "rejects us, see Gantry's log",
        Kind::ShuttingDown => "Gantry stops, try again later",
        Kind::Aborted(_) => "broke it off, try again",
        Kind::Protocol(_) | Kind::Conflict(_) => "answers badly, see the log",
        Kind::DriverDied => "Gantry failed, see its log",
        Kind::ReaderStalled => "the answers were not read",
        Kind::NotAcceptable => "has it in no accepted syntax",
        Kind::Incomplete { .. } => "did not send all, try again",
        Kind::Unsupported(_) => "does not support this",
        Kind::ClassRefused(_) => "does not take this SOP class",
        Kind::SyntaxRefused(_) => "takes no such transfer syntax",
        Kind::SourceBroke => "the object cannot be read",
        Kind::NotAuthorized => "not authorized",
        Kind::TooManyMatches => "too many, narrow the search",
        Kind::Cancelled | Kind::Status { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIELDS: [u16; 4] = [field::C_FIND_RQ, field::C_MOVE_RQ, field::C_STORE_RQ, field::N_ACTION_RQ];

    /// One of each kind. A new kind does not compile before it is here.
    fn every_kind() -> Vec<Kind> {
        let uid = || "1.2.3".parse().unwrap();
        let rejected = |transient| Kind::Rejected { transient, reason: "Doe^John".into() };
        let all = vec![
            Kind::NotFound,
            Kind::BadKeys("Doe^John".into()),
            Kind::NotAcceptable,
            Kind::Unsupported("1.2.3".into()),
            Kind::QueueFull,
            Kind::QueueTimeout,
            Kind::Unreachable("Doe^John".into()),
            Kind::BreakerOpen(Duration::from_secs(1)),
            rejected(true),
            rejected(false),
            Kind::Timeout("silence"),
            Kind::Aborted("Doe^John".into()),
            Kind::Protocol("Doe^John".into()),
            Kind::Conflict(uid()),
            Kind::Status { operation: "C-STORE", code: 0xA701, comment: None, client_keys: false },
            Kind::Incomplete { missing: 3, named: vec![uid()] },
            Kind::ClassRefused(uid()),
            Kind::SyntaxRefused(uid()),
            Kind::SourceBroke,
            Kind::NotAuthorized,
            Kind::ReaderStalled,
            Kind::Cancelled,
            Kind::TooManyMatches,
            Kind::ShuttingDown,
            Kind::DriverDied,
        ];
        for kind in &all {
            match kind {
                Kind::NotFound
                | Kind::BadKeys(_)
                | Kind::NotAcceptable
                | Kind::Unsupported(_)
                | Kind::QueueFull
                | Kind::QueueTimeout
                | Kind::Unreachable(_)
                | Kind::Tls(_)
                | Kind::BreakerOpen(_)
                | Kind::Rejected { .. }
                | Kind::Timeout(_)
                | Kind::Aborted(_)
                | Kind::Protocol(_)
                | Kind::Conflict(_)
                | Kind::Status { .. }
                | Kind::Incomplete { .. }
                | Kind::ClassRefused(_)
                | Kind::SyntaxRefused(_)
                | Kind::SourceBroke
                | Kind::NotAuthorized
                | Kind::ReaderStalled
                | Kind::Cancelled
                | Kind::TooManyMatches
                | Kind::ShuttingDown
                | Kind::DriverDied => {}
            }
        }
        all
    }

    fn statuses(kind: &Kind) -> [u16; 4] {
        FIELDS.map(|field| of(&Error::new("main", kind.clone()), field).0)
    }

    #[test]
    fn every_error_has_a_status_for_each_kind_of_operation() {
        let for_now = [0xA700, 0xA702, 0xA700, 0x0213];
        let failed = [0xC001, 0xA702, 0xC001, 0x0110];
        let wanted: Vec<[u16; 4]> = vec![
            [0x0000, 0x0000, 0xC000, 0x0112],
            [0xA900, 0xA900, 0xA900, 0x0106],
            failed,
            [0x0122; 4],
            for_now,
            for_now,
            for_now,
            for_now,
            for_now,
            failed,
            for_now,
            failed,
            failed,
            failed,
            [0xC000, 0xC000, 0xA701, 0x0110],
            failed,
            [0x0122; 4],
            [0x0122, 0x0122, 0xC122, 0x0122],
            [0xC000, 0xC000, 0xC000, 0x0110],
            [0x0124; 4],
            failed,
            [0xFE00, 0xFE00, 0xC001, 0x0110],
            [0xA700, 0xA701, 0xA700, 0x0213],
            for_now,
            failed,
        ];
        let kinds = every_kind();
        assert_eq!(kinds.len(), wanted.len());
        for (kind, wanted) in kinds.iter().zip(wanted) {
            assert_eq!(statuses(kind), wanted, "{kind:?}: {:04X?}", statuses(kind));
        }
    }

    #[test]
    fn hazard_no_failure_is_told_as_success() {
        let may_be_success = |kind: &Kind| matches!(kind, Kind::NotFound);
        for kind in every_kind().iter().filter(|kind| !may_be_success(kind)) {
            assert!(!statuses(kind).contains(&SUCCESS), "{kind:?}");
        }
    }

    #[test]
    fn comments_fit_and_say_nothing_of_a_patient() {
        let name = "n".repeat(32);
        for kind in every_kind() {
            for field in FIELDS {
                let (code, comment) = of(&Error::new(&name, kind.clone()), field);
                let comment = comment.unwrap_or_default();
                assert!(comment.len() <= 64 && comment.is_ascii(), "{comment}");
                assert!(!comment.contains("1.2.3") && !comment.contains("Doe"), "{comment}");
                let has_none = matches!(code, SUCCESS | CANCEL | 0xA701) || kind == Kind::Cancelled;
                assert!(!comment.is_empty() || has_none, "{kind:?}");
            }
        }
    }

    #[test]
    fn the_archives_own_status_and_comment_are_passed_on_where_they_mean_the_same() {
        let status = |operation, code, field| {
            let kind = Kind::Status { operation, code, comment: Some("no room".into()), client_keys: false };
            of(&Error::new("main", kind), field)
        };
        let own = |code| (code, Some("no room".to_owned()));
        assert_eq!(status("C-FIND", 0xA700, field::C_FIND_RQ), own(0xA700));
        assert_eq!(status("C-MOVE", 0xA702, field::C_GET_RQ), own(0xA702));
        assert_eq!(status("C-STORE", 0xB006, field::C_STORE_RQ), own(0xB006));
        assert_eq!(status("C-FIND", 0xA700, field::C_MOVE_RQ).0, UNABLE_TO_COUNT);
        assert_eq!(status("C-FIND", 0xC001, field::C_MOVE_RQ).0, UNABLE_TO_PROCESS);
        assert_eq!(status("C-MOVE", 0xA801, field::C_MOVE_RQ).0, UNABLE_TO_PROCESS, "the one it means is us");
    }
}
