//! C-STORE: objects are taken in and kept as they came, in the transfer syntax that was agreed on.

use bytes::{Bytes, BytesMut};

use super::archive::Shared;
use super::faults::{Fault, Faults};
use super::instance::Instance;
use super::session::{End, Session};
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::command::Command;
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::context_result;
use crate::dimse::status;

/// Longest object that is taken in, in bytes, unless it is thrown away: it is held in memory.
const MAX_OBJECT: usize = 1 << 30;

/// Takes an object in and answers.
pub(super) async fn run(
    session: &mut Session,
    shared: &Shared,
    context: u8,
    request: Command,
) -> Result<(), End> {
    let storing = shared.observer.storing();
    let is_this = |faults: &Faults, kind| faults.number(kind) == Some(storing.number);
    let faults = session.faults.clone();
    let (mut object, mut begun) = (BytesMut::new(), false);
    let data = loop {
        let (piece, last) = session.data_piece().await?;
        if !begun {
            begun = true;
            match () {
                () if is_this(&faults, Fault::StoreAbortIn) => return Err(End::Abort),
                () if is_this(&faults, Fault::StoreCloseIn) => return Err(End::Close),
                // Only the end of the archive ends this, as who does not read sees no end.
                () if is_this(&faults, Fault::StoreDeafIn) => std::future::pending().await,
                () => {}
            }
            if let Some(status) = faults.status(Fault::StoreEarly) {
                session.send(context, request.response(status), None).await?;
                session.flush().await?;
            }
        }
        shared.observer.note(|o| o.bytes_stored += piece.len() as u64);
        if faults.has(Fault::StoreDiscard) {
            if last {
                break Bytes::new();
            }
            continue;
        }
        if object.len() + piece.len() > MAX_OBJECT {
            return Err(End::Broken);
        }
        if last && object.is_empty() {
            break piece;
        }
        object.extend_from_slice(&piece);
        if last {
            break object.freeze();
        }
    };
    if faults.has(Fault::StoreStall) {
        return Err(session.stall().await);
    }
    let slow = faults.milliseconds(Fault::StoreSlow).unwrap_or_default() + shared.settings.latency;
    if !slow.is_zero() {
        session.pause(slow).await?;
    }
    if faults.number(Fault::StoreEarly).is_some() {
        return Ok(());
    }
    let failure = faults.status(Fault::StoreFailure);
    let full = is_this(&faults, Fault::StoreFailureAt).then_some(status::OUT_OF_RESOURCES);
    let status = match failure.or(full) {
        Some(failure) => failure,
        None if faults.has(Fault::StoreDiscard) => status::SUCCESS,
        None => match keep(session, shared, context, &request, data) {
            status::SUCCESS => faults.status(Fault::StoreWarning).unwrap_or(status::SUCCESS),
            failure => failure,
        },
    };
    drop(storing);
    session.send(context, request.response(status), None).await
}

/// Whether a storage class may be proposed in one of these transfer syntaxes, and which is taken; `None`: no fault
/// has a say in it.
pub(super) fn decide(faults: &Faults, proposed: &[Uid]) -> Option<Decision> {
    let takes: &[&str] = match () {
        () if faults.has(Fault::StoreNoClass) => return Some(Err(context_result::ABSTRACT_SYNTAX)),
        () if faults.has(Fault::StoreOnlyImplicit) => &[IMPLICIT_VR_LE],
        () if faults.has(Fault::StoreOnlyNative) => &[EXPLICIT_VR_LE, IMPLICIT_VR_LE],
        () => return None,
    };
    let taken = proposed.iter().find(|syntax| takes.contains(&syntax.as_str()));
    Some(taken.cloned().ok_or(context_result::TRANSFER_SYNTAXES))
}

fn keep(session: &Session, shared: &Shared, context: u8, request: &Command, data: Bytes) -> u16 {
    let Some(accepted) = session.association.agreement().context(context) else {
        return status::SOP_CLASS_NOT_SUPPORTED;
    };
    match Instance::from_bytes(accepted.transfer_syntax.clone(), data) {
        Ok(instance) if Some(&instance.head.sop_instance) == request.sop_instance.as_ref() => {
            shared.insert(instance);
            status::SUCCESS
        }
        Ok(_) => status::IDENTIFIER_DOES_NOT_MATCH,
        Err(_) => status::UNABLE_TO_PROCESS,
    }
}
