//! The association PDUs of PS3.8 9.3: A-ASSOCIATE-RQ, -AC, -RJ, A-RELEASE and A-ABORT, read leniently and
//! written strictly.
//!
//! Lenient: unknown items and sub-items are skipped, lengths are those of the item headers, a rejected
//! context may lack its transfer syntax, UIDs may be padded. Every slice is bounded by its item.

mod decode;
mod encode;

use bytes::Bytes;

use crate::dicom::{AeTitle, Uid};

pub use decode::{decode_associate_ac, decode_associate_rj, decode_associate_rq};
pub use encode::{
    abort, encode_associate_ac, encode_associate_rj, encode_associate_rq, release_rp, release_rq,
};

/// The DICOM application context (PS3.7 A.2.1).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Protocol version 1 (PS3.8 9.3.2).
pub const PROTOCOL_VERSION: u16 = 1;
/// Most presentation contexts of an association: the odd numbers of one byte (PS3.8 9.3.2.2).
pub const MAX_CONTEXTS: usize = 128;
/// Most transfer syntaxes of a context that are kept: the standard has some sixty (PS3.6 Table A-1).
pub const MAX_TRANSFER_SYNTAXES: usize = 128;
/// Longest application information of SOP Class Extended Negotiation that is kept, in bytes: that of the standard's own
/// classes has less than ten. With it for [`MAX_CONTEXTS`] classes, and their roles, user information stays below the
/// 64 KiB of an item.
pub const MAX_APPLICATION_INFORMATION: usize = 256;
/// Largest A-ASSOCIATE PDU that is read, in bytes. A legal one with 128 contexts of 30 syntaxes has 270 KB.
pub const MAX_ASSOCIATE_LENGTH: u32 = 1 << 20;

/// PDU types (PS3.8 9.3.1).
pub mod kind {
    /// A-ASSOCIATE-RQ.
    pub const ASSOCIATE_RQ: u8 = 1;
    /// A-ASSOCIATE-AC.
    pub const ASSOCIATE_AC: u8 = 2;
    /// A-ASSOCIATE-RJ.
    pub const ASSOCIATE_RJ: u8 = 3;
    /// P-DATA-TF.
    pub const P_DATA: u8 = 4;
    /// A-RELEASE-RQ.
    pub const RELEASE_RQ: u8 = 5;
    /// A-RELEASE-RP.
    pub const RELEASE_RP: u8 = 6;
    /// A-ABORT.
    pub const ABORT: u8 = 7;
}

/// The PDU cannot be understood; the text says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// A-ASSOCIATE-RQ (PS3.8 9.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRq {
    /// Protocol versions that the requestor speaks, a bit each; [`PROTOCOL_VERSION`] is the only one there is.
    pub version: u16,
    /// Called AE title.
    pub called: AeTitle,
    /// Calling AE title.
    pub calling: AeTitle,
    /// Application context name; [`APPLICATION_CONTEXT`] is the only one there is.
    pub application_context: String,
    /// Presentation contexts, in the order proposed.
    pub contexts: Vec<ProposedContext>,
    /// User information.
    pub user: UserInformation,
}

/// A presentation context as proposed (PS3.8 9.3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// Its number: odd.
    pub id: u8,
    /// Abstract syntax: a SOP class; `None` when what was sent is not a UID.
    pub abstract_syntax: Option<Uid>,
    /// Transfer syntaxes in the proposer's order; what is not a UID is left out.
    pub transfer_syntaxes: Vec<Uid>,
}

/// A-ASSOCIATE-AC (PS3.8 9.3.3). The titles in it are not to be tested, so they are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateAc {
    /// The answers to the proposed contexts.
    pub contexts: Vec<ContextResult>,
    /// User information.
    pub user: UserInformation,
}

/// The answer to one presentation context (PS3.8 9.3.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextResult {
    /// Its number.
    pub id: u8,
    /// 0: acceptance; others are reasons for a rejection.
    pub result: u8,
    /// The transfer syntax chosen; means nothing in a rejection.
    pub transfer_syntax: Option<Uid>,
}

/// Results of a presentation context (PS3.8 9.3.3.2, Table 9-18).
pub mod context_result {
    /// Acceptance.
    pub const ACCEPTANCE: u8 = 0;
    /// User rejection.
    pub const USER_REJECTION: u8 = 1;
    /// No reason given by the provider: it could not be found out.
    pub const NO_REASON: u8 = 2;
    /// Abstract syntax not supported.
    pub const ABSTRACT_SYNTAX: u8 = 3;
    /// Transfer syntaxes not supported.
    pub const TRANSFER_SYNTAXES: u8 = 4;
}

/// User information (PS3.7 D.3.3). Sub-items that are not listed here are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserInformation {
    /// Largest variable field of a P-DATA PDU that the sender takes, in bytes; 0: no limit (PS3.8 D.1).
    pub max_pdu: u32,
    /// Implementation Class UID.
    pub implementation_class: String,
    /// Implementation Version Name.
    pub implementation_version: String,
    /// SCP/SCU role selection.
    pub roles: Vec<Role>,
    /// Asynchronous operations window: invoked, performed; 0: no limit.
    pub async_window: Option<(u16, u16)>,
    /// SOP Class Extended Negotiation: class and its application information.
    pub extended: Vec<(Uid, Bytes)>,
}

/// SCP/SCU role selection (PS3.7 D.3.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The SOP class.
    pub sop_class: Uid,
    /// The requestor supports, or may take, the SCU role.
    pub scu: bool,
    /// The requestor supports, or may take, the SCP role.
    pub scp: bool,
}

/// A-ASSOCIATE-RJ (PS3.8 9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociateRj {
    /// 1: permanent, 2: transient.
    pub result: u8,
    /// 1: service user, 2: provider (ACSE), 3: provider (presentation).
    pub source: u8,
    /// Reason, by source.
    pub reason: u8,
}

impl AssociateRj {
    /// Rejected-permanent: the called AE title is not known here.
    pub const CALLED_TITLE: Self = Self { result: 1, source: 1, reason: 7 };
    /// Rejected-permanent: the calling AE title is not known here.
    pub const CALLING_TITLE: Self = Self { result: 1, source: 1, reason: 3 };
    /// Rejected-permanent: the application context is not DICOM's.
    pub const APPLICATION_CONTEXT: Self = Self { result: 1, source: 1, reason: 2 };
    /// Rejected-permanent: no reason given.
    pub const NO_REASON: Self = Self { result: 1, source: 1, reason: 1 };
    /// Rejected-permanent: the requestor speaks no protocol version that there is.
    pub const PROTOCOL_VERSION: Self = Self { result: 1, source: 2, reason: 2 };
    /// Rejected-transient: temporary congestion.
    pub const CONGESTION: Self = Self { result: 2, source: 3, reason: 1 };
    /// Rejected-transient: a limit of this side is reached.
    pub const LOCAL_LIMIT: Self = Self { result: 2, source: 3, reason: 2 };

    /// Whether the peer asks to try again later.
    pub fn is_transient(self) -> bool {
        self.result == 2
    }

    /// The reason in words (PS3.8 Table 9-21).
    pub fn reason_text(self) -> &'static str {
        match (self.source, self.reason) {
            (1, 1) => "no reason given",
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (2, 1) => "no reason given by its association layer",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "a reason that PS3.8 does not list",
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::encode::item;
    use super::*;
    use crate::dicom::IMPLEMENTATION_CLASS_UID;
    use crate::dimse::negotiation::Answer;

    fn request(contexts: usize) -> AssociateRq {
        AssociateRq {
            version: PROTOCOL_VERSION,
            called: "PACS".parse().unwrap(),
            calling: "GANTRY".parse().unwrap(),
            application_context: APPLICATION_CONTEXT.into(),
            contexts: (0..contexts)
                .map(|n| ProposedContext {
                    id: (2 * n + 1) as u8,
                    abstract_syntax: Some("1.2.840.10008.5.1.4.1.1.2".parse().unwrap()),
                    transfer_syntaxes: vec!["1.2.840.10008.1.2.1".parse().unwrap(); 12],
                })
                .collect(),
            user: UserInformation {
                max_pdu: 131_072,
                implementation_class: "1.2.3".into(),
                implementation_version: "TEST".into(),
                roles: vec![Role {
                    sop_class: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
                    scu: false,
                    scp: true,
                }],
                async_window: Some((1, 1)),
                extended: vec![(
                    "1.2.840.10008.5.1.4.1.2.2.1".parse().unwrap(),
                    Bytes::from_static(&[1, 0, 0]),
                )],
            },
        }
    }

    #[test]
    fn a_request_survives_the_round_trip_with_128_contexts_and_44_kb() {
        let rq = request(MAX_CONTEXTS);
        let encoded = encode_associate_rq(&rq);
        assert!(encoded.len() > 40_000);
        assert_eq!(decode_associate_rq(&encoded[6..]).unwrap(), rq);
    }

    #[test]
    fn dicom_ul_reads_what_we_write() {
        let encoded = encode_associate_rq(&request(3));
        let read = dicom_ul::pdu::read_pdu(&encoded[..], 131_072, false).unwrap().unwrap();
        let dicom_ul::Pdu::AssociationRQ(rq) = read else { panic!("{read:?}") };
        assert_eq!((rq.called_ae_title.as_str(), rq.presentation_contexts.len()), ("PACS", 3));
        assert_eq!(rq.presentation_contexts[2].id, 5);
    }

    #[test]
    fn hazard_unknown_user_item_and_rejected_context_without_transfer_syntax_are_accepted() {
        let mut body = BytesMut::zeroed(68);
        item(&mut body, 0x21, |b| b.put_slice(&[1, 0, 3, 0]));
        item(&mut body, 0x50, |b| {
            item(b, 0x51, |b| b.put_u32(16_384));
            item(b, 0x7F, |b| b.put_slice(b"what is this?"));
        });
        item(&mut body, 0x99, |b| b.put_slice(b"nor this"));
        let ac = decode_associate_ac(&body).unwrap();
        assert_eq!(ac.contexts, [ContextResult { id: 1, result: 3, transfer_syntax: None }]);
        assert_eq!(ac.user.max_pdu, 16_384);
    }

    /// The variable field of an A-ASSOCIATE-RQ with one context that has these transfer syntaxes, and these sub-items.
    fn proposing(syntaxes: usize, sub_items: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let fixed = encode_associate_rq(&AssociateRq {
            contexts: Vec::new(),
            user: UserInformation::default(),
            ..request(0)
        });
        let mut body = BytesMut::from(&fixed[6..74]);
        item(&mut body, 0x20, |b| {
            b.put_slice(&[1, 0, 0, 0]);
            item(b, 0x30, |b| b.put_slice(b"1.2.840.10008.1.1"));
            (0..syntaxes).for_each(|n| item(b, 0x40, |b| b.put_slice(format!("1.{n}").as_bytes())));
        });
        item(&mut body, 0x50, sub_items);
        body
    }

    /// A sub-item that begins with a class.
    fn of_class(out: &mut BytesMut, kind: u8, class: &str, rest: &[u8]) {
        item(out, kind, |b| {
            b.put_u16(class.len() as u16);
            b.put_slice(class.as_bytes());
            b.put_slice(rest);
        });
    }

    #[test]
    fn hazard_a_request_full_of_roles_is_answered() {
        let body = proposing(1, |b| (0..2620).for_each(|_| of_class(b, 0x54, "1.2.840.10008.1.1", &[1, 1])));
        let rq = decode_associate_rq(&body).unwrap();
        let answer = Answer::new(&rq, |_, syntaxes| Ok(syntaxes[0].clone()), |_| true);
        let implementation_class = IMPLEMENTATION_CLASS_UID.into();
        let user =
            UserInformation { roles: answer.roles, implementation_class, ..UserInformation::default() };
        let ac = AssociateAc { contexts: Vec::new(), user };
        assert!(encode_associate_ac(&ac, &rq).len() < 1000, "one answer for each class");
    }

    #[test]
    fn hazard_what_is_proposed_fits_into_a_request_to_the_archive() {
        let classes = |b: &mut BytesMut| {
            for n in 0..600 {
                of_class(b, 0x54, &format!("1.2.{n}"), &[1, 1]);
                of_class(b, 0x56, &format!("1.2.{n}"), &[7; 64]);
            }
            of_class(b, 0x56, "1.3", &[7; 4000]);
        };
        let mut rq = decode_associate_rq(&proposing(5000, classes)).unwrap();
        assert_eq!((rq.user.roles.len(), rq.user.extended.len()), (MAX_CONTEXTS, MAX_CONTEXTS));
        assert_eq!(rq.contexts[0].transfer_syntaxes.len(), MAX_TRANSFER_SYNTAXES);
        rq.contexts[0].transfer_syntaxes.extend(["1.2".parse().unwrap(), "1.3".parse().unwrap()]);
        rq.user.implementation_class = "1.2.3".into();
        decode_associate_rq(&encode_associate_rq(&rq)[6..]).unwrap();
    }

    #[test]
    fn hazard_of_a_longest_request_the_most_that_is_kept_can_be_written() {
        let uid = |n: usize| format!("{}.{n:03}", "1".repeat(60)).parse::<Uid>().unwrap();
        let mut rq = request(MAX_CONTEXTS);
        for context in &mut rq.contexts {
            context.transfer_syntaxes = (0..MAX_TRANSFER_SYNTAXES + 2).map(uid).collect();
        }
        rq.user.roles = (0..MAX_CONTEXTS).map(|n| Role { sop_class: uid(n), scu: true, scp: true }).collect();
        let most = Bytes::from(vec![7; MAX_APPLICATION_INFORMATION]);
        rq.user.extended = (0..MAX_CONTEXTS).map(|n| (uid(n), most.clone())).collect();
        let read = decode_associate_rq(&encode_associate_rq(&rq)[6..]).unwrap();
        assert_eq!(read.user, rq.user);
        let most = &rq.contexts[0].transfer_syntaxes[..MAX_TRANSFER_SYNTAXES];
        assert_eq!(read.contexts[0].transfer_syntaxes, most);
    }

    #[test]
    fn hazard_garbage_in_a_associate_is_an_error_and_no_panic() {
        assert!(decode_associate_rq(&[0xFF; 40]).is_err());
        assert!(decode_associate_ac(&[0xFF; 68]).is_err(), "an acceptance that answers no context");
        let good = encode_associate_rq(&request(2));
        for cut in 0..good.len() - 6 {
            let _ = decode_associate_rq(&good[6..6 + cut]);
            let _ = decode_associate_ac(&good[6..6 + cut]);
        }
        for position in 0..good.len() - 6 {
            let mut bent = good[6..].to_vec();
            bent[position] = 0xFF;
            let _ = decode_associate_rq(&bent);
            let _ = decode_associate_ac(&bent);
        }
    }
}
