//! Where the objects of a retrieval go, onto the client's association or to the destination of its C-MOVE, and the client
//! who is told of it.

use super::answer::{self, Counters};
use super::onto_client;
use crate::archive::Form;
use crate::archive::transfer::{self, Delivered, Requestor, Tally, ToDestination};
use crate::dicom::Uid;
use crate::dicom::object::{Head, Object};
use crate::dimse::command::Command;
use crate::dimse::status;
use crate::front::dimse::client::{Client, End, MAX_UNSENT};

/// A client that has asked for a retrieval, and waits for its end.
pub(super) struct Asking<'a> {
    pub(super) client: &'a mut Client,
    /// The request, and its presentation context.
    pub(super) request: &'a Command,
    pub(super) context: u8,
}

/// Where objects go.
pub(super) enum Delivery {
    /// To the client itself: C-GET.
    OntoClient,
    /// To the destination of a C-MOVE.
    ToDestination(ToDestination),
}

impl Delivery {
    /// The form in which objects are best retrieved.
    pub(super) fn form(&self, client: &Client) -> Form {
        match self {
            Self::OntoClient => onto_client::form(client.association.agreement()),
            Self::ToDestination(to) => to.form(),
        }
    }
}

impl transfer::Delivery<Asking<'_>> for Delivery {
    async fn deliver(
        &mut self,
        asking: &mut Asking<'_>,
        object: Object,
        tally: &Tally,
        cancelled: &mut bool,
    ) -> Result<Delivered, End> {
        match self {
            Self::OntoClient => onto_client::deliver(asking.client, object, cancelled).await,
            Self::ToDestination(to) => to.deliver(asking, object, tally, cancelled).await,
        }
    }

    fn given_up(&self) -> Option<String> {
        match self {
            Self::OntoClient => None,
            Self::ToDestination(to) => transfer::Delivery::<Asking<'_>>::given_up(to),
        }
    }
}

impl Asking<'_> {
    fn pending(&mut self, counters: Counters) {
        let mut pending = self.request.response(status::PENDING);
        counters.write(&mut pending);
        self.client.respond(self.context, pending, None);
    }
}

impl Requestor for Asking<'_> {
    type Gone = End;

    async fn cancelled(&mut self) -> Result<(), End> {
        self.client.cancelled().await
    }

    /// A pending response. Whether the client has cancelled while there was no room for it.
    async fn tell(&mut self, tally: &Tally) -> Result<bool, End> {
        if let Some(counters) = answer::pending(tally) {
            self.pending(counters);
        }
        let Some(meanwhile) = self.client.room(MAX_UNSENT).await? else { return Ok(false) };
        meanwhile.into_cancel().map(|()| true)
    }

    fn tell_under_way(&mut self, tally: &Tally) {
        // Who does not read the answers is not sent more of them.
        if self.client.association.unsent() == 0 {
            self.pending(answer::under_way(tally));
        }
    }

    fn study(&mut self, study: &Uid, patient: Option<&str>) {
        self.client.trail.study(study, patient);
    }

    fn next(&mut self, head: &Head) {
        self.client.trail.next(head);
    }

    fn passed(&mut self, bytes: u64) {
        self.client.account.object(bytes);
    }

    fn delivered(&mut self) {
        self.client.trail.delivered();
    }
}
