//! Writes the association PDUs, strictly as PS3.8 9.3 has them.

use bytes::{BufMut, Bytes, BytesMut};

use super::{APPLICATION_CONTEXT, AssociateAc, AssociateRj, AssociateRq, UserInformation, kind};
use crate::dicom::{AeTitle, Uid};

/// Encodes an A-ASSOCIATE-RQ.
pub fn encode_associate_rq(rq: &AssociateRq) -> Bytes {
    let mut body = fixed_fields(&rq.called, &rq.calling, &rq.application_context);
    for context in &rq.contexts {
        item(&mut body, 0x20, |b| {
            b.put_slice(&[context.id, 0, 0, 0]);
            if let Some(uid) = &context.abstract_syntax {
                item(b, 0x30, |b| b.put_slice(uid.as_str().as_bytes()));
            }
            for syntax in &context.transfer_syntaxes {
                item(b, 0x40, |b| b.put_slice(syntax.as_str().as_bytes()));
            }
        });
    }
    user_information(&mut body, &rq.user);
    pdu(kind::ASSOCIATE_RQ, &body)
}

/// Encodes an A-ASSOCIATE-AC in answer to `rq`, whose titles it repeats (PS3.8 9.3.3).
pub fn encode_associate_ac(ac: &AssociateAc, rq: &AssociateRq) -> Bytes {
    let mut body = fixed_fields(&rq.called, &rq.calling, APPLICATION_CONTEXT);
    for context in &ac.contexts {
        item(&mut body, 0x21, |b| {
            b.put_slice(&[context.id, 0, context.result, 0]);
            // The item is present in a rejection too, where its value is not significant.
            let syntax = context.transfer_syntax.as_ref().map_or("1.2.840.10008.1.2", Uid::as_str);
            item(b, 0x40, |b| b.put_slice(syntax.as_bytes()));
        });
    }
    user_information(&mut body, &ac.user);
    pdu(kind::ASSOCIATE_AC, &body)
}

/// Encodes an A-ASSOCIATE-RJ.
pub fn encode_associate_rj(rj: AssociateRj) -> Bytes {
    pdu(kind::ASSOCIATE_RJ, &[0, rj.result, rj.source, rj.reason])
}

/// An A-RELEASE-RQ.
pub fn release_rq() -> Bytes {
    pdu(kind::RELEASE_RQ, &[0; 4])
}

/// An A-RELEASE-RP.
pub fn release_rp() -> Bytes {
    pdu(kind::RELEASE_RP, &[0; 4])
}

/// An A-ABORT (PS3.8 9.3.8). Source 0: service user, with reason 0; 2: service provider.
pub fn abort(source: u8, reason: u8) -> Bytes {
    pdu(kind::ABORT, &[0, 0, source, reason])
}

fn pdu(kind: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(6 + body.len());
    out.put_slice(&[kind, 0]);
    out.put_u32(u32::try_from(body.len()).expect("association PDUs are far below 4 GiB"));
    out.put_slice(body);
    out.freeze()
}

fn fixed_fields(called: &AeTitle, calling: &AeTitle, application_context: &str) -> BytesMut {
    let mut body = BytesMut::with_capacity(4096);
    body.put_u16(1);
    body.put_u16(0);
    for title in [called, calling] {
        body.put_slice(format!("{:<16}", title.as_str()).as_bytes());
    }
    body.put_bytes(0, 32);
    item(&mut body, 0x10, |b| b.put_slice(application_context.as_bytes()));
    body
}

/// Writes one item with its length. What we write stays below 64 KiB: UIDs, titles and 128 contexts' parts.
pub(super) fn item(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_slice(&[kind, 0, 0, 0]);
    let start = out.len();
    write(out);
    let length = u16::try_from(out.len() - start).expect("our own items are short");
    out[start - 2..start].copy_from_slice(&length.to_be_bytes());
}

fn user_information(out: &mut BytesMut, user: &UserInformation) {
    item(out, 0x50, |b| {
        item(b, 0x51, |b| b.put_u32(user.max_pdu));
        item(b, 0x52, |b| b.put_slice(user.implementation_class.as_bytes()));
        if let Some((invoked, performed)) = user.async_window {
            item(b, 0x53, |b| {
                b.put_u16(invoked);
                b.put_u16(performed);
            });
        }
        for role in &user.roles {
            item(b, 0x54, |b| {
                put_uid(b, &role.sop_class);
                b.put_slice(&[u8::from(role.scu), u8::from(role.scp)]);
            });
        }
        if !user.implementation_version.is_empty() {
            item(b, 0x55, |b| b.put_slice(user.implementation_version.as_bytes()));
        }
        for (class, information) in &user.extended {
            item(b, 0x56, |b| {
                put_uid(b, class);
                b.put_slice(information);
            });
        }
    });
}

fn put_uid(out: &mut BytesMut, uid: &Uid) {
    out.put_u16(uid.as_str().len() as u16);
    out.put_slice(uid.as_str().as_bytes());
}
