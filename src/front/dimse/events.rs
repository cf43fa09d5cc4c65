//! N-EVENT-REPORTs of storage commitment, on their way from archives to the clients that wait for them.
//!
//! An archive may report on an association that it opens itself; a client is told on an association that it has open, else
//! on one that is opened to it, else when it comes the next time, until its time is up.

use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, End};
use super::normalized::MAX_DATA_SET;
use super::{Front, Request, refuse};
use crate::archive::commitment::Event;
use crate::dicom::native::{self, can_become};
use crate::dicom::transfer_syntax::{is_native, layout};
use crate::dicom::{AeTitle, Tag, Uid, retitle, sop_class};
use crate::dimse::command::{Command, field};
use crate::dimse::pool::Report;
use crate::dimse::status::RESOURCE_LIMITATION;

mod courier;
mod mailbox;

pub(super) use courier::{Courier, Route, Routes};
pub(super) use mailbox::{Mailbox, Outgoing, Registry};

/// Event Type ID (0000,1002).
const EVENT_TYPE_ID: u16 = 0x1002;
/// Retrieve AE Title.
const RETRIEVE_AE_TITLE: Tag = Tag(0x0008, 0x0054);
/// How long a client may take to answer a report.
const ANSWER: Duration = Duration::from_secs(30);

/// Serves an N-EVENT-REPORT-RQ of an archive that has opened an association for it.
pub(super) async fn report(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let commitments = &front.services.commitments;
    // An archive alone is granted this role.
    if !request.context.requestor_is_scp {
        return refuse(client, request).await;
    }
    let Request { context, command, .. } = request;
    let status = match client.data_set(&command, MAX_DATA_SET).await? {
        Ok(data) => {
            let transfer_syntax = context.transfer_syntax.clone();
            let report = Report { command: command.clone(), transfer_syntax, data };
            commitments.reported_by(&client.peer.calling, report).await
        }
        Err(_) => RESOURCE_LIMITATION,
    };
    client.respond(context.id, command.response(status), None);
    Ok(())
}

/// The report as the client is to have it: in this transfer syntax, with our title for the archive's. `None`: it cannot
/// be encoded so.
fn message(event: &Event, data: &Bytes, title: &AeTitle, syntax: &Uid) -> Option<(Command, Bytes)> {
    let mut data = data.clone();
    if event.transfer_syntax != *syntax {
        if !can_become(&event.transfer_syntax, syntax) {
            return None;
        }
        data = native::whole(data, &event.transfer_syntax, syntax).ok()?;
    }
    // A deflated one stays as it is.
    let retitled =
        is_native(syntax).then(|| retitle::replace(&data, layout(syntax), RETRIEVE_AE_TITLE, title));
    let data = retitled.flatten().unwrap_or(data);
    let command = Command {
        sop_instance: sop_class::STORAGE_COMMITMENT_INSTANCE.parse().ok(),
        has_data_set: true,
        others: vec![(EVENT_TYPE_ID, Bytes::copy_from_slice(&event.event_type.to_le_bytes()))],
        ..Command::request(field::N_EVENT_REPORT_RQ, sop_class::STORAGE_COMMITMENT, 0)
    };
    Some((command, data))
}
