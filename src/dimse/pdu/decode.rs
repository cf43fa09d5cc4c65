//! Reads the association PDUs, leniently, and nothing beyond the item that it is in.

use bytes::Bytes;

use super::{
    AssociateAc, AssociateRj, AssociateRq, ContextResult, MAX_APPLICATION_INFORMATION, MAX_CONTEXTS,
    MAX_TRANSFER_SYNTAXES, Malformed, ProposedContext, Role, UserInformation,
};
use crate::dicom::{AeTitle, Uid};

/// Longest text that is kept, in characters: a UID's length, and four times that of a version name.
const MAX_TEXT: usize = Uid::MAX_LENGTH;

/// Reads the body (after the 6-byte header) of an A-ASSOCIATE-RQ.
///
/// # Errors
/// The fixed fields are short, a title is not one, or an item is longer than what is there.
pub fn decode_associate_rq(body: &[u8]) -> Result<AssociateRq, Malformed> {
    const WHAT: Malformed = Malformed("A-ASSOCIATE-RQ");
    let title = |range: std::ops::Range<usize>| -> Result<AeTitle, Malformed> {
        let bytes = body.get(range).ok_or(WHAT)?;
        std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or(WHAT)
    };
    let mut rq = AssociateRq {
        version: body.first_chunk().map(|v| u16::from_be_bytes(*v)).ok_or(WHAT)?,
        called: title(4..20)?,
        calling: title(20..36)?,
        application_context: String::new(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    for item in items(body.get(68..).ok_or(WHAT)?) {
        let (kind, value) = item.map_err(|()| WHAT)?;
        match kind {
            0x10 => rq.application_context = text(value),
            0x20 => rq.contexts.push(proposed_context(value).ok_or(WHAT)?),
            0x50 => rq.user = decode_user_information(value).ok_or(WHAT)?,
            _ => {}
        }
    }
    if rq.contexts.len() > MAX_CONTEXTS { Err(WHAT) } else { Ok(rq) }
}

/// Reads the body of an A-ASSOCIATE-AC.
///
/// # Errors
/// The fixed fields are short or an item is longer than what is there.
pub fn decode_associate_ac(body: &[u8]) -> Result<AssociateAc, Malformed> {
    const WHAT: Malformed = Malformed("A-ASSOCIATE-AC");
    let mut ac = AssociateAc { contexts: Vec::new(), user: UserInformation::default() };
    for item in items(body.get(68..).ok_or(WHAT)?) {
        let (kind, value) = item.map_err(|()| WHAT)?;
        match kind {
            0x21 => ac.contexts.push(context_answer(value).ok_or(WHAT)?),
            0x50 => ac.user = decode_user_information(value).ok_or(WHAT)?,
            _ => {}
        }
    }
    // Every context is answered, if only to be rejected (PS3.8 9.3.3).
    if ac.contexts.is_empty() { Err(WHAT) } else { Ok(ac) }
}

/// Reads the body of an A-ASSOCIATE-RJ; what is missing is taken as "no reason given".
pub fn decode_associate_rj(body: &[u8]) -> AssociateRj {
    match body {
        [_, result, source, reason, ..] => AssociateRj { result: *result, source: *source, reason: *reason },
        _ => AssociateRj::NO_REASON,
    }
}

/// The items of a variable field, each with the length that its header says.
fn items(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), ()>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((header, rest)) = bytes.split_first_chunk::<4>() else {
            bytes = &[];
            return Some(Err(()));
        };
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            bytes = &[];
            return Some(Err(()));
        };
        bytes = rest;
        Some(Ok((header[0], value)))
    })
}

fn proposed_context(value: &[u8]) -> Option<ProposedContext> {
    let (header, rest) = value.split_first_chunk::<4>()?;
    let mut context = ProposedContext { id: header[0], abstract_syntax: None, transfer_syntaxes: Vec::new() };
    for item in items(rest) {
        match item.ok()? {
            (0x30, uid) => context.abstract_syntax = Uid::from_padded(uid).ok(),
            (0x40, uid) if context.transfer_syntaxes.len() < MAX_TRANSFER_SYNTAXES => {
                context.transfer_syntaxes.extend(Uid::from_padded(uid));
            }
            _ => {}
        }
    }
    Some(context)
}

fn context_answer(value: &[u8]) -> Option<ContextResult> {
    let (header, rest) = value.split_first_chunk::<4>()?;
    let transfer_syntax = items(rest).find_map(|item| match item {
        Ok((0x40, uid)) => Uid::from_padded(uid).ok(),
        _ => None,
    });
    Some(ContextResult { id: header[0], result: header[2], transfer_syntax })
}

/// Of each class the first role and the first application information count (PS3.7 D.3.3.4, D.3.3.5), and there are no
/// more classes than contexts: what is kept is written again, in the answer or in a request to an archive, and has to fit.
fn decode_user_information(value: &[u8]) -> Option<UserInformation> {
    let mut user = UserInformation::default();
    for item in items(value) {
        let (kind, value) = item.ok()?;
        match kind {
            0x51 => user.max_pdu = u32::from_be_bytes(*value.first_chunk()?),
            0x52 => user.implementation_class = text(value),
            0x53 => {
                let [a, b, c, d] = *value.first_chunk()?;
                user.async_window = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
            }
            0x54 => {
                let (uid, rest) = uid_field(value)?;
                let is_new = |class: &Uid| user.roles.iter().all(|role| role.sop_class != *class);
                if let (Ok(sop_class), [scu, scp, ..]) = (uid, rest)
                    && user.roles.len() < MAX_CONTEXTS
                    && is_new(&sop_class)
                {
                    user.roles.push(Role { sop_class, scu: *scu != 0, scp: *scp != 0 });
                }
            }
            0x55 => user.implementation_version = text(value),
            0x56 => {
                let (uid, rest) = uid_field(value)?;
                let is_new = |class: &Uid| user.extended.iter().all(|(of, _)| of != class);
                if let Ok(class) = uid
                    && rest.len() <= MAX_APPLICATION_INFORMATION
                    && user.extended.len() < MAX_CONTEXTS
                    && is_new(&class)
                {
                    user.extended.push((class, Bytes::copy_from_slice(rest)));
                }
            }
            _ => {}
        }
    }
    Some(user)
}

type UidField<'a> = (Result<Uid, crate::dicom::uid::InvalidUid>, &'a [u8]);

fn uid_field(value: &[u8]) -> Option<UidField<'_>> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    let (uid, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((Uid::from_padded(uid), rest))
}

/// Printable ASCII of a text field, so that it may go to a log.
fn text(value: &[u8]) -> String {
    value
        .iter()
        .filter(|b| (0x20..0x7F).contains(*b))
        .map(|b| char::from(*b))
        .take(MAX_TEXT)
        .collect::<String>()
        .trim()
        .to_owned()
}
