//! The associations that clients have open, on which they can be told of storage commitment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::{ANSWER, message};
use crate::archive::commitment::Event;
use crate::dicom::AeTitle;
use crate::dimse::command::Command;
use crate::dimse::negotiation::AcceptedContext;

/// Reports that wait on one association: one is told after the other, so that there are no more.
const DEPTH: usize = 2;
/// Most reports that one association remembers as not answered: an answer may come after its time.
const MAX_OPEN: usize = 16;

/// The associations of all clients on which storage commitment was agreed.
#[derive(Debug, Default)]
pub(in crate::front::dimse) struct Registry {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By title; the association that asked last is the last.
    open: BTreeMap<AeTitle, Vec<Open>>,
    /// Who has come since somebody looked.
    arrived: BTreeSet<AeTitle>,
    next: u64,
}

#[derive(Debug)]
struct Open {
    id: u64,
    sender: mpsc::Sender<Delivery>,
}

/// A report on its way to a client.
#[derive(Debug)]
struct Delivery {
    event: Event,
    data: Bytes,
    /// The title that stands in the report for the archive's.
    title: AeTitle,
    answer: Answer,
}

/// The report cannot be encoded in the transfer syntax of the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front::dimse) struct Unfit;

/// What one association is to tell its client.
#[derive(Debug, Default)]
pub(in crate::front::dimse) struct Mailbox {
    /// `None`: storage commitment was not agreed.
    entry: Option<Entry>,
    /// Reports that the client has not answered, by their message IDs.
    open: BTreeMap<u16, Answer>,
}

#[derive(Debug)]
struct Entry {
    registry: Arc<Registry>,
    client: AeTitle,
    id: u64,
    context: AcceptedContext,
    deliveries: mpsc::Receiver<Delivery>,
}

impl Registry {
    /// Tells a client on the association on which it has asked last; the status of its answer. `None`: it has none open, or
    /// did not answer.
    pub(super) async fn tell(
        &self,
        client: &AeTitle,
        event: Event,
        data: Bytes,
        title: AeTitle,
    ) -> Option<Result<u16, Unfit>> {
        let sender = self.lock().open.get(client)?.last()?.sender.clone();
        let (answer, answered) = oneshot::channel();
        sender.try_send(Delivery { event, data, title, answer }).ok()?;
        timeout(ANSWER, answered).await.ok()?.ok()
    }

    /// Waits for clients that can be told, and gives those that have come.
    pub(super) async fn arrived(&self) -> BTreeSet<AeTitle> {
        self.arrived.notified().await;
        std::mem::take(&mut self.lock().arrived)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    /// The mailbox of a client's association on which storage commitment was agreed in this context.
    pub(in crate::front::dimse) fn new(
        registry: &Arc<Registry>,
        client: &AeTitle,
        context: AcceptedContext,
    ) -> Self {
        let (sender, deliveries) = mpsc::channel(DEPTH);
        let mut state = registry.lock();
        let id = state.next;
        state.next += 1;
        state.open.entry(client.clone()).or_default().push(Open { id, sender });
        state.arrived.insert(client.clone());
        drop(state);
        registry.arrived.notify_one();
        let (registry, client) = (Arc::clone(registry), client.clone());
        let entry = Entry { registry, client, id, context, deliveries };
        Self { entry: Some(entry), open: BTreeMap::new() }
    }

    /// The client asks on this association: it is told here rather than on others.
    pub(in crate::front::dimse) fn prefer(&self) {
        let Some(Entry { registry, client, id, .. }) = &self.entry else { return };
        if let Some(open) = registry.lock().open.get_mut(client) {
            open.sort_by_key(|open| open.id == *id);
        }
    }

    /// The next report, as a request without message ID, with its context; never, where nothing was agreed.
    /// Cancel-safe.
    pub(in crate::front::dimse) async fn next(&mut self) -> Outgoing {
        loop {
            let delivery = match &mut self.entry {
                Some(entry) => entry.deliveries.recv().await,
                None => None,
            };
            let (Some(Delivery { event, data, title, answer }), Some(entry)) = (delivery, &self.entry) else {
                // The registry holds the other end as long as this lives.
                return std::future::pending().await;
            };
            // Nobody waits any more for an answer here.
            if answer.is_closed() {
                continue;
            }
            match message(&event, &data, &title, &entry.context.transfer_syntax) {
                Some((command, data)) => {
                    return Outgoing { context: entry.context.id, command, data, answer };
                }
                None => drop(answer.send(Err(Unfit))),
            }
        }
    }

    /// A report has left under this message ID.
    pub(in crate::front::dimse) fn sent(&mut self, message_id: u16, answer: Answer) {
        while self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        self.open.insert(message_id, answer);
    }

    /// Whether this is the client's answer to a report; the one who waits for it knows it then.
    pub(in crate::front::dimse) fn answered(&mut self, response: &Command) -> bool {
        let answer = self.open.remove(&response.message_id);
        answer.map(|answer| answer.send(Ok(response.status.unwrap_or_default()))).is_some()
    }
}

/// The way back for a client's answer.
pub(in crate::front::dimse) type Answer = oneshot::Sender<Result<u16, Unfit>>;

/// A report that is to be sent.
#[derive(Debug)]
pub(in crate::front::dimse) struct Outgoing {
    pub(in crate::front::dimse) context: u8,
    pub(in crate::front::dimse) command: Command,
    pub(in crate::front::dimse) data: Bytes,
    pub(in crate::front::dimse) answer: Answer,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if let Some(open) = state.open.get_mut(&self.client) {
            open.retain(|open| open.id != self.id);
            if open.is_empty() {
                state.open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
    use crate::dicom::{Uid, sop_class};
    use crate::dimse::command::field;

    fn mailbox(registry: &Arc<Registry>, id: u8) -> Mailbox {
        let context = AcceptedContext {
            id,
            abstract_syntax: Uid::from_static(sop_class::STORAGE_COMMITMENT),
            transfer_syntax: Uid::from_static(IMPLICIT_VR_LE),
            requestor_is_scu: true,
            requestor_is_scp: false,
        };
        Mailbox::new(registry, &"CT1".parse().unwrap(), context)
    }

    fn tell(registry: &Arc<Registry>) -> tokio::task::JoinHandle<Option<Result<u16, Unfit>>> {
        let registry = Arc::clone(registry);
        tokio::spawn(async move {
            let event = Event { event_type: 1, transfer_syntax: Uid::from_static(IMPLICIT_VR_LE) };
            let (client, title) = ("CT1".parse().unwrap(), "GANTRY".parse().unwrap());
            registry.tell(&client, event, Bytes::from_static(b"\x08\0\x95\x11\x04\0\0\x001.2\0"), title).await
        })
    }

    async fn answer(mailbox: &mut Mailbox, message_id: u16) -> u8 {
        let outgoing = mailbox.next().await;
        mailbox.sent(message_id, outgoing.answer);
        let response = Command { message_id, ..outgoing.command.response(0) };
        assert_eq!(outgoing.command.field, field::N_EVENT_REPORT_RQ);
        assert!(mailbox.answered(&response) && !mailbox.answered(&response), "answered once");
        outgoing.context
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_told_where_it_has_asked_last_and_else_where_it_is() {
        let registry = Arc::<Registry>::default();
        assert_eq!(tell(&registry).await.unwrap(), None, "it is not there");
        let (mut first, mut second) = (mailbox(&registry, 1), mailbox(&registry, 3));
        assert_eq!(registry.arrived().await.len(), 1);
        let told = tell(&registry);
        assert_eq!(answer(&mut second, 1).await, 3);
        assert_eq!(told.await.unwrap(), Some(Ok(0)));
        first.prefer();
        let told = tell(&registry);
        assert_eq!(answer(&mut first, 1).await, 1);
        assert_eq!(told.await.unwrap(), Some(Ok(0)));
        drop(first);
        let told = tell(&registry);
        assert_eq!(answer(&mut second, 2).await, 3);
        assert_eq!(told.await.unwrap(), Some(Ok(0)));
        drop(second);
        assert!(registry.lock().open.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_nobody_waits_for_any_more_is_not_sent_and_a_late_answer_is_no_offence() {
        let registry = Arc::<Registry>::default();
        let mut mailbox = mailbox(&registry, 1);
        assert_eq!(tell(&registry).await.unwrap(), None, "the association was busy all the time");
        let told = tell(&registry);
        let outgoing = mailbox.next().await;
        mailbox.sent(5, outgoing.answer);
        assert_eq!(told.await.unwrap(), None, "no answer in time");
        let again = tell(&registry);
        assert_eq!(answer(&mut mailbox, 6).await, 1);
        assert_eq!(again.await.unwrap(), Some(Ok(0)));
        assert!(mailbox.answered(&Command { message_id: 5, ..Command::default() }));
        assert!(!mailbox.answered(&Command { message_id: 7, ..Command::default() }));
    }
}
