//! Status codes of DIMSE responses (PS3.7 Annex C, PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, C.4.3.1.4).

/// Success.
pub const SUCCESS: u16 = 0x0000;
/// Pending.
pub const PENDING: u16 = 0xFF00;
/// Pending, some optional keys were not supported for matching (C-FIND).
pub const PENDING_OPTIONAL_KEYS: u16 = 0xFF01;
/// Terminated by C-CANCEL.
pub const CANCEL: u16 = 0xFE00;
/// Sub-operations complete, one or more failures or warnings (C-GET, C-MOVE).
pub const SUB_OPERATIONS_WARNING: u16 = 0xB000;
/// Elements discarded (C-STORE).
pub const ELEMENTS_DISCARDED: u16 = 0xB006;
/// Out of resources (C-STORE, C-FIND).
pub const OUT_OF_RESOURCES: u16 = 0xA700;
/// Out of resources: unable to calculate the number of matches (C-GET, C-MOVE).
pub const UNABLE_TO_COUNT: u16 = 0xA701;
/// Out of resources: unable to perform sub-operations (C-GET, C-MOVE).
pub const OUT_OF_RESOURCES_SUB_OPERATIONS: u16 = 0xA702;
/// Move destination unknown.
pub const MOVE_DESTINATION_UNKNOWN: u16 = 0xA801;
/// Identifier does not match SOP class; data set does not match SOP class (C-STORE).
pub const IDENTIFIER_DOES_NOT_MATCH: u16 = 0xA900;
/// Unable to process; cannot understand (C-STORE).
pub const UNABLE_TO_PROCESS: u16 = 0xC000;
/// Processing failure.
pub const PROCESSING_FAILURE: u16 = 0x0110;
/// The transfer syntax is not supported (PS3.18 Table I.2-2).
pub const TRANSFER_SYNTAX_NOT_SUPPORTED: u16 = 0xC122;
/// SOP class not supported.
pub const SOP_CLASS_NOT_SUPPORTED: u16 = 0x0122;
/// Invalid SOP instance: it is missing, or no UID.
pub const INVALID_SOP_INSTANCE: u16 = 0x0117;
/// No such event type.
pub const NO_SUCH_EVENT_TYPE: u16 = 0x0113;
/// No such SOP class.
pub const NO_SUCH_SOP_CLASS: u16 = 0x0118;
/// No such SOP instance.
pub const NO_SUCH_INSTANCE: u16 = 0x0112;
/// Invalid argument value.
pub const INVALID_ARGUMENT: u16 = 0x0115;
/// Invalid attribute value.
pub const INVALID_ATTRIBUTE: u16 = 0x0106;
/// Not authorized.
pub const NOT_AUTHORIZED: u16 = 0x0124;
/// Resource limitation.
pub const RESOURCE_LIMITATION: u16 = 0x0213;
/// Unrecognized operation.
pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;

/// The kinds of status (PS3.7 Annex C).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is done.
    Success,
    /// More responses follow.
    Pending,
    /// Cancelled on request.
    Cancel,
    /// Done, with reservations.
    Warning,
    /// Not done.
    Failure,
}

/// The kind of a status.
pub fn class(code: u16) -> Class {
    match code {
        SUCCESS => Class::Success,
        PENDING | PENDING_OPTIONAL_KEYS => Class::Pending,
        CANCEL => Class::Cancel,
        0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => Class::Warning,
        _ => Class::Failure,
    }
}

/// What a status means, in words.
pub fn meaning(code: u16) -> &'static str {
    match code {
        SUCCESS => "success",
        PENDING => "pending",
        PENDING_OPTIONAL_KEYS => "pending, optional keys not supported",
        CANCEL => "cancelled",
        0x0105 => "no such attribute",
        0x0106 => "invalid attribute value",
        0x0110 => "processing failure",
        0x0111 => "duplicate SOP instance",
        0x0112 => "no such object instance",
        0x0113 => "no such event type",
        0x0114 => "no such argument",
        0x0115 => "invalid argument value",
        0x0117 => "invalid object instance",
        0x0118 => "no such SOP class",
        0x0119 => "class-instance conflict",
        0x0120 => "missing attribute",
        0x0121 => "missing attribute value",
        0x0122 => "SOP class not supported",
        0x0124 => "not authorized",
        0x0210 => "duplicate invocation",
        0x0211 => "unrecognized operation",
        0x0212 => "mistyped argument",
        0x0213 => "resource limitation",
        0xA700 => "out of resources",
        0xA701 => "out of resources: unable to calculate the number of matches",
        0xA702 => "out of resources: unable to perform sub-operations",
        0xA801 => "move destination unknown",
        0xA900..=0xA9FF => "identifier or data set does not match the SOP class",
        0xB000 => "sub-operations complete, one or more failures",
        0xB006 => "elements discarded",
        0xB007 => "data set does not match the SOP class (warning)",
        0xC000..=0xCFFF => "unable to process",
        _ => "a status that the standard does not list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_a700_is_a_failure_and_never_an_empty_result() {
        for code in [0xA700, 0xA701, 0xA702, 0xA801, 0xA900, 0xC000, 0x0110, 0x0122, 0x1234] {
            assert_eq!(class(code), Class::Failure, "{code:04X}");
        }
        assert_eq!(class(0xB000), Class::Warning);
        assert_eq!(class(0xFF01), Class::Pending);
    }
}
