//! The way in, which stays where it is while the front end behind it is replaced.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::admission::Seat;
use super::config::Config;
use super::{Front, Plan};
use crate::current::Current;
use crate::dimse::association::Association;
use crate::dimse::pdu::{AssociateRj, AssociateRq};
use crate::dimse::scp::{Negotiated, Peer, Service};
use crate::router::Router;

/// Whoever comes is served by the front end that holds when they come, to their end.
#[derive(Debug)]
pub struct Entrance(Current<Arc<Front>>);

impl Entrance {
    /// The way in to this front end.
    pub fn to(front: Arc<Front>) -> Self {
        Self(Current::new(front))
    }

    /// Whoever comes from now on comes in to a front end by this configuration.
    pub fn renew(&self, config: Config, router: Router) {
        self.0.set(self.front().renewed(config, router));
    }

    /// The front end that holds now.
    pub fn front(&self) -> Arc<Front> {
        Arc::clone(&self.0.get())
    }
}

impl Service for Entrance {
    type Seat = Seat;
    type Plan = (Arc<Front>, Plan);

    fn admit(&self, peer: &Peer, request: &AssociateRq) -> Result<Seat, AssociateRj> {
        self.front().admit(peer, request)
    }

    fn turned_away(&self, reason: &'static str) {
        self.front().turned_away(reason);
    }

    fn negotiate<'a>(
        &'a self,
        peer: &'a Peer,
        seat: &'a Seat,
        request: &'a AssociateRq,
    ) -> Pin<Box<dyn Future<Output = Negotiated<Self::Plan>> + Send + 'a>> {
        Box::pin(async move {
            let front = self.front();
            let (answer, plan) = front.negotiate(peer, seat, request).await?;
            Ok((answer, (front, plan)))
        })
    }

    fn serve(
        self: Arc<Self>,
        peer: Peer,
        association: Association,
        (front, plan): Self::Plan,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        front.serve(peer, association, plan, shutdown)
    }
}
