//! Objects of a C-GET, sent to the client on its own association (PS3.4 C.4.3.1).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::archive::Form;
use crate::archive::transfer::Delivered;
use crate::dicom::native::{Native, can_become};
use crate::dicom::object::{BrokenObject, Cursor, Head, Object};
use crate::dicom::transfer_syntax::is_native;
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::{AcceptedContext, Agreement};
use crate::front::dimse::client::{Client, End, Meanwhile};

/// How much may be queued for the client, in bytes: enough for one vectored write of large PDVs, and for the connection
/// never to run dry while the next piece is fetched.
const MAX_UNSENT: usize = 512 << 10;
/// How long the first bytes of an object are waited for before its C-STORE is begun. One that breaks off before is a
/// sub-operation that failed; later, the association cannot be saved.
const FIRST_BYTES: Duration = Duration::from_secs(1);
/// How long nothing may come of an object that is being sent.
const STALLED: Duration = Duration::from_secs(30);
/// How long a client may take to answer when it has the whole object.
const SILENCE: Duration = Duration::from_secs(60);
/// Priority (0000,0700): medium.
const MEDIUM: u16 = 0;

/// The form in which objects are retrieved for what a client takes: where that is native only, so that the archive
/// decompresses.
pub(super) fn form(agreement: &Agreement) -> Form {
    let mut storage = agreement.contexts.iter().filter(|context| context.requestor_is_scp).peekable();
    let takes_any = storage.peek().is_some();
    match takes_any && storage.all(|context| is_native(&context.transfer_syntax)) {
        true => Form::Native,
        false => Form::AsStored,
    }
}

/// The context in which an object leaves: that of its own syntax, else one that it can be re-encoded to without loss.
fn context(agreement: &Agreement, head: &Head) -> Option<AcceptedContext> {
    let takes =
        |context: &&AcceptedContext| context.requestor_is_scp && context.abstract_syntax == head.sop_class;
    let mut contexts = agreement.contexts.iter().filter(takes);
    let own = contexts.clone().find(|context| context.transfer_syntax == head.transfer_syntax);
    let other = || contexts.find(|context| can_become(&head.transfer_syntax, &context.transfer_syntax));
    own.or_else(other).cloned()
}

/// Sends one object and waits for the answer. A C-CANCEL that comes meanwhile is noted; the object goes on to its end, as
/// half a C-STORE cannot be taken back.
///
/// # Errors
/// The association is over: also where the object breaks off in the middle, as its last PDV must not say that it is
/// whole.
pub(super) async fn deliver(
    client: &mut Client,
    object: Object,
    cancelled: &mut bool,
) -> Result<Delivered, End> {
    let Object { head, mut body, .. } = object;
    let Some(context) = context(client.association.agreement(), &head) else {
        return Ok(Delivered::WrongSyntax);
    };
    let mut sending = Sending { client, context: context.id, answer: None, id: 0, cancelled };
    let mut native = Native::new(&head.transfer_syntax, &context.transfer_syntax);
    let first = match sending.first(&mut body).await? {
        Some(Ok(first)) => first,
        Some(Err(BrokenObject)) | None => return Ok(Delivered::Broken),
    };
    sending.begin(&head);
    let mut length = 0;
    let mut next = Some(first);
    while let Some(piece) = next {
        length += piece.len() as u64;
        native.push(piece).map_err(|error| broken(&error.to_string()))?;
        while let Some(piece) = native.pop().map_err(|error| broken(&error.to_string()))? {
            sending.client.association.send_piece(context.id, piece);
            sending.room(MAX_UNSENT).await?;
        }
        next = sending.next(&mut body).await?;
    }
    for piece in native.finish().map_err(|error| broken(&error.to_string()))? {
        sending.client.association.send_piece(context.id, piece);
    }
    sending.client.association.finish_pieces(context.id);
    let status = sending.answer().await?;
    client.account.object(length);
    Ok(Delivered::by_status(status))
}

fn broken(why: &str) -> End {
    End::Abort(format!("an object broke off in the middle of its C-STORE: {why}"))
}

/// One C-STORE towards the client.
struct Sending<'a> {
    client: &'a mut Client,
    context: u8,
    id: u16,
    /// The status of its response, which may come early.
    answer: Option<u16>,
    cancelled: &'a mut bool,
}

impl Sending<'_> {
    /// The first bytes of the object, or none for the time being.
    async fn first(&mut self, body: &mut Cursor) -> Result<Option<Result<Bytes, BrokenObject>>, End> {
        loop {
            let meanwhile = tokio::select! {
                biased;
                first = body.next() => return Ok(first),
                meanwhile = self.client.meanwhile() => meanwhile?,
                () = sleep(FIRST_BYTES) => return Ok(Some(Ok(Bytes::new()))),
            };
            self.note(meanwhile)?;
        }
    }

    fn begin(&mut self, head: &Head) {
        self.id = self.client.fresh_id();
        let request = Command {
            sop_instance: Some(head.sop_instance.clone()),
            priority: Some(MEDIUM),
            has_data_set: true,
            ..Command::request(field::C_STORE_RQ, head.sop_class.as_str(), self.id)
        };
        self.client.association.send(self.context, &request, None);
    }

    /// The next piece of the object; `None`: it is whole. While it is waited for, what is queued leaves, and the client
    /// is heard.
    async fn next(&mut self, body: &mut Cursor) -> Result<Option<Bytes>, End> {
        let read = |piece: Option<Result<Bytes, BrokenObject>>| {
            piece.transpose().map_err(|error| broken(&error.to_string()))
        };
        let mut piece = pin!(body.next());
        let at_once = poll_fn(|cx| match piece.as_mut().poll(cx) {
            Poll::Ready(piece) => Poll::Ready(Some(piece)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(piece) = at_once.await {
            return read(piece);
        }
        self.client.association.let_pieces_go(self.context);
        let mut stalled = pin!(sleep(STALLED));
        loop {
            let meanwhile = tokio::select! {
                biased;
                piece = &mut piece => return read(piece),
                meanwhile = self.client.meanwhile() => meanwhile?,
                () = &mut stalled => return Err(broken("nothing came of it any more")),
            };
            self.note(meanwhile)?;
        }
    }

    /// Writes until no more than `most` bytes are queued.
    async fn room(&mut self, most: usize) -> Result<(), End> {
        while let Some(meanwhile) = self.client.room(most).await? {
            self.note(meanwhile)?;
        }
        Ok(())
    }

    /// The status that the client gives the object.
    async fn answer(mut self) -> Result<u16, End> {
        self.room(0).await?;
        loop {
            if let Some(status) = self.answer {
                return Ok(status);
            }
            let meanwhile = timeout(SILENCE, self.client.meanwhile()).await;
            let late = |_| End::Abort("it does not answer a C-STORE".into());
            self.note(meanwhile.map_err(late)??)?;
        }
    }

    fn note(&mut self, meanwhile: Meanwhile) -> Result<(), End> {
        match meanwhile {
            Meanwhile::Cancel => *self.cancelled = true,
            Meanwhile::Response(response)
                if response.field == field::C_STORE_RQ | field::RESPONSE
                    && response.message_id == self.id
                    && self.answer.is_none() =>
            {
                self.answer = Some(response.status.unwrap_or_default());
            }
            unasked => unasked.into_cancel()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
    const JPEG: &str = "1.2.840.10008.1.2.4.70";

    fn agreement(contexts: &[(&str, &str, bool)]) -> Agreement {
        let context = |(n, (class, syntax, scp)): (u8, &(&str, &str, bool))| AcceptedContext {
            id: 2 * n + 1,
            abstract_syntax: class.parse().unwrap(),
            transfer_syntax: syntax.parse().unwrap(),
            requestor_is_scu: !scp,
            requestor_is_scp: *scp,
        };
        Agreement { contexts: (0..).zip(contexts).map(context).collect(), ..Agreement::default() }
    }

    fn head(syntax: &'static str) -> Head {
        Head {
            sop_class: Uid::from_static(CT),
            sop_instance: Uid::from_static("1.2.3"),
            transfer_syntax: Uid::from_static(syntax),
        }
    }

    #[test]
    fn hazard_an_object_leaves_in_the_context_of_its_own_syntax() {
        let of_each = agreement(&[(CT, IMPLICIT_VR_LE, true), (CT, JPEG, true), (CT, EXPLICIT_VR_LE, true)]);
        for (syntax, id) in [(JPEG, Some(3)), (EXPLICIT_VR_LE, Some(5)), (IMPLICIT_VR_LE, Some(1))] {
            assert_eq!(context(&of_each, &head(syntax)).map(|c| c.id), id, "{syntax}");
        }
        let implicit = agreement(&[(MR, JPEG, true), (CT, JPEG, false), (CT, IMPLICIT_VR_LE, true)]);
        assert_eq!(context(&implicit, &head(EXPLICIT_VR_LE)).map(|c| c.id), Some(5));
        assert_eq!(context(&implicit, &head(JPEG)), None, "it would be labelled with what it is not");
    }

    #[test]
    fn who_takes_native_objects_only_is_brought_such() {
        let native = agreement(&[(CT, JPEG, false), (CT, IMPLICIT_VR_LE, true)]);
        assert_eq!(form(&native), Form::Native);
        assert_eq!(form(&agreement(&[(MR, JPEG, true), (CT, IMPLICIT_VR_LE, true)])), Form::AsStored);
        assert_eq!(form(&agreement(&[])), Form::AsStored);
    }
}
