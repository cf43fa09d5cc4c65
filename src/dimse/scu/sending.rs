//! A request whose data set is sent while it comes, and what the peer says meanwhile.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{Limits, Operation, OperationError, Reply};
use crate::dimse::command::Command;
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::pool::Lease;

impl Operation {
    /// Requests an operation in a context that was accepted; its data set follows by [`Operation::push`] and
    /// [`Operation::finish_data`]. `command` is given a message ID. Nothing is written before the first call of
    /// [`Operation::room`], [`Operation::listen`] or [`Operation::next`], so that the command leaves with the
    /// first PDVs.
    pub fn start_sending(
        mut lease: Lease,
        context: &AcceptedContext,
        mut command: Command,
        limits: Limits,
    ) -> Self {
        command.message_id = lease.next_message_id();
        command.has_data_set = true;
        lease.association().send(context.id, &command, None);
        Self::begun(lease, context.id, command, limits, true)
    }

    /// Queues the next piece of the data set.
    pub fn push(&mut self, piece: Bytes) {
        self.lease.association().send_piece(self.context, piece);
    }

    /// Queues what waits for more to fill a PDV, as nothing comes for the moment.
    pub fn let_go(&mut self) {
        self.lease.association().let_pieces_go(self.context);
    }

    /// Queues the last PDV of the data set.
    pub fn finish_data(&mut self) {
        self.lease.association().finish_pieces(self.context);
        self.sending = false;
    }

    /// How many bytes are queued and not written.
    pub fn unsent(&mut self) -> usize {
        self.lease.association().unsent()
    }

    /// Writes until at most `limit` bytes are unsent; `None` then. As long as the peer takes bytes it is not
    /// silent. Cancel-safe.
    ///
    /// # Errors
    /// As [`Operation::next`].
    pub async fn room(&mut self, limit: usize) -> Result<Option<Reply>, OperationError> {
        let reply = self.write(limit).await;
        match &reply {
            Ok(None) => {}
            Ok(Some(reply)) => self.watch.saw(Ok(reply)),
            Err(error) => self.watch.saw(Err(error)),
        }
        reply
    }

    async fn write(&mut self, limit: usize) -> Result<Option<Reply>, OperationError> {
        self.heard = Instant::now();
        loop {
            let until = self.limits.deadline.min(self.heard + self.limits.silence);
            let before = self.unsent();
            let written = poll_fn(|cx| match self.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending if self.unsent() <= limit || self.unsent() < before => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let event = tokio::select! {
                biased;
                event = written => event,
                () = sleep_until(until) => return Err(self.time_is_over()),
            };
            self.hear()?;
            if let Some(event) = event
                && let Some(reply) = self.step(event?)?
            {
                self.responded = true;
                return Ok(Some(reply));
            }
            if self.unsent() <= limit {
                return Ok(None);
            }
        }
    }

    /// What the peer says while nobody waits for it, and what is queued is written: its silence means nothing.
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Operation::next`].
    pub async fn listen(&mut self) -> Result<Reply, OperationError> {
        let reply = self.reply_until(|limits, _| limits.deadline).await;
        self.watch.saw(reply.as_ref());
        reply
    }
}
