//! C-FIND: the identifier goes to the archive as it is, and its matches come back as they are, one by one.

use bytes::Bytes;

use super::client::{Client, End, MAX_UNSENT, TooLong};
use super::service::Served;
use super::{Front, Request, refuse, status};
use crate::archive::relay::{Answer, Exchange, Invocation};
use crate::archive::{Archive, Error, Kind};
use crate::caller::Priority;
use crate::dicom::transfer_syntax::{is_native, layout};
use crate::dicom::{retitle, sop_class, tags};
use crate::dimse::command::{Command, field};
use crate::dimse::status::IDENTIFIER_DOES_NOT_MATCH;

/// Longest identifier, in bytes. Lists of thousands of UIDs fit.
const MAX_IDENTIFIER: usize = 1 << 20;

/// The SOP classes whose matches say from whom their objects can be had (PS3.4 C.3.4).
const RETRIEVABLE: [&str; 3] =
    [sop_class::PATIENT_ROOT_FIND, sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_STUDY_ONLY_FIND];

/// Serves a C-FIND.
pub(super) async fn run(front: &Front, client: &mut Client, request: Request) -> Result<(), End> {
    let Served::Find(service, archive) = &request.served else { return refuse(client, request).await };
    let find = Find { request: &request, archive: &**archive };
    let identifier = match client.data_set(&request.command, MAX_IDENTIFIER).await? {
        Ok(identifier) if request.command.has_data_set => identifier,
        Ok(_) => return find.refused(client, "there is no identifier"),
        Err(TooLong) => return find.refused(client, "the identifier is too long"),
    };
    client.trail.query(archive.name(), &request.context, &identifier);
    let class = &request.context.abstract_syntax;
    let of_class = client.association.agreement().extended.iter().filter(|(of, _)| of == class);
    let invocation = Invocation {
        service: *service,
        abstract_syntax: class.clone(),
        command: Command { message_id: 0, ..request.command.clone() },
        data: Some(identifier),
        transfer_syntax: request.context.transfer_syntax.clone(),
        extended: of_class.cloned().collect(),
        repeatable: true,
    };
    let caller = front.caller(&client.peer, &**archive, Priority::Interactive);
    let Some(relay) = archive.relay() else {
        return find.failed(client, &find.error(Kind::Unsupported("it does not speak DIMSE".into())));
    };
    let invoked = relay.invoke(&caller, invocation);
    tokio::pin!(invoked);
    let exchange = tokio::select! {
        biased;
        exchange = &mut invoked => exchange,
        cancelled = client.cancelled() => {
            cancelled?;
            return find.failed(client, &find.error(Kind::Cancelled));
        }
    };
    match exchange {
        Ok(exchange) => find.pass_on(client, exchange).await,
        Err(error) => find.failed(client, &error),
    }
}

/// A C-FIND under way.
struct Find<'a> {
    request: &'a Request,
    archive: &'a dyn Archive,
}

impl Find<'_> {
    /// Passes on what the archive answers, until the end. Dropped, with `exchange`, the search is cancelled.
    async fn pass_on(&self, client: &mut Client, mut exchange: Exchange) -> Result<(), End> {
        let mut cancelled = false;
        loop {
            // Nothing is gathered for a client that does not read; but a C-CANCEL must get through.
            if !cancelled && client.association.unsent() > MAX_UNSENT {
                if let Some(meanwhile) = client.room(MAX_UNSENT).await? {
                    meanwhile.into_cancel()?;
                    exchange.cancel();
                    cancelled = true;
                }
                exchange.forgive_silence();
                continue;
            }
            // Matches that are there go out together, in few pieces.
            let answer = tokio::select! {
                biased;
                answer = exchange.next() => answer,
                stop = client.cancelled() => {
                    stop?;
                    exchange.cancel();
                    cancelled = true;
                    continue;
                }
            };
            match answer {
                Ok(Answer::Pending(..)) if client.association.unsent() > MAX_UNSENT => {}
                Ok(Answer::Pending(response, data)) => self.respond(client, response, data),
                Ok(Answer::Final(response, data)) => {
                    self.respond(client, response, data);
                    return Ok(());
                }
                Err(error) => return self.failed(client, &error),
            }
        }
    }

    /// Passes a response on.
    fn respond(&self, client: &mut Client, response: Command, data: Option<Bytes>) {
        let Request { context, command, .. } = self.request;
        let sop_class = response.sop_class.clone().or_else(|| command.sop_class.clone());
        let response = Command { message_id: command.message_id, sop_class, ..response };
        let ours = |data: &Bytes| {
            let syntax = &context.transfer_syntax;
            // A deflated one passes as it is.
            let is_named = is_native(syntax) && RETRIEVABLE.contains(&context.abstract_syntax.as_str());
            let (layout, title) = (layout(syntax), &client.peer.called);
            is_named.then(|| retitle::replace(data, layout, tags::RETRIEVE_AE_TITLE, title))?
        };
        let data = data.map(|data| ours(&data).unwrap_or(data));
        client.respond(context.id, response, data);
    }

    /// Ends it as it was made wrongly.
    fn refused(&self, client: &mut Client, why: &str) -> Result<(), End> {
        self.end(client, IDENTIFIER_DOES_NOT_MATCH, Some(why.to_owned()))
    }

    /// Ends it with what an error is to the client.
    fn failed(&self, client: &mut Client, error: &Error) -> Result<(), End> {
        if error.kind != Kind::Cancelled {
            tracing::warn!(calling = %client.peer.calling, %error, "C-FIND failed");
        }
        let (code, comment) = status::of(error, field::C_FIND_RQ);
        self.end(client, code, comment)
    }

    fn end(&self, client: &mut Client, code: u16, comment: Option<String>) -> Result<(), End> {
        let response = Command { comment, ..self.request.command.response(code) };
        client.respond(self.request.context.id, response, None);
        Ok(())
    }

    fn error(&self, kind: Kind) -> Error {
        Error::new(self.archive.name(), kind)
    }
}
