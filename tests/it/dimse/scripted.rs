//! An archive, or a client that listens, which does what a test says and nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gantry::dimse::association::{Association, AssociationError, Event, Request, Requested};
use gantry::dimse::command::Command;
use gantry::dimse::negotiation::Answer;
use gantry::dimse::pdu::AssociateRq;
use gantry::net::DimseSocket;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::dimse::{Message, soon};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Accepts every association with the first transfer syntax of each context, and every role. Extended negotiation is
/// answered with what was proposed, backwards.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    seen: UnboundedReceiver<Seen>,
    associations: Associations,
    listening: JoinHandle<()>,
}

/// What came, on which association: they are numbered in the order of their opening.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) association: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Message(Message),
    Released,
    Lost(AssociationError),
}

#[derive(Clone)]
struct Associations {
    all: Arc<Mutex<Vec<Played>>>,
    sender: UnboundedSender<Seen>,
}

struct Played {
    /// By which it was opened, where the other side did.
    request: Option<AssociateRq>,
    orders: UnboundedSender<Order>,
}

enum Order {
    Say(u8, Box<Command>, Option<Bytes>),
    Release,
    Abort,
}

impl Scripted {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = unbounded_channel();
        let associations = Associations { all: Arc::default(), sender };
        let listening = tokio::spawn(listen(listener, associations.clone()));
        Self { address, seen, associations, listening }
    }

    /// Opens an association by this request; its number.
    pub(crate) async fn open(&self, address: SocketAddr, request: &Request) -> usize {
        let socket = DimseSocket::connect(&address.to_string(), soon()).await.unwrap();
        self.over(Association::request(socket, request, soon()).await.unwrap())
    }

    /// Speaks over an association that is open; its number.
    pub(crate) fn over(&self, association: Association) -> usize {
        self.associations.play(association, None)
    }

    /// What comes next, whatever it is.
    pub(crate) async fn next(&mut self) -> Seen {
        timeout(SOON, self.seen.recv()).await.expect("nothing came").unwrap()
    }

    /// The next message, and the number of its association; releases are passed over.
    pub(crate) async fn message(&mut self) -> (usize, Message) {
        loop {
            let Seen { association, what } = self.next().await;
            match what {
                What::Message(message) => return (association, message),
                What::Released => {}
                What::Lost(error) => panic!("association {association} is lost: {error}"),
            }
        }
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.seen.recv()).await.is_err()
    }

    /// Says something on an association.
    pub(crate) fn say(&self, association: usize, context: u8, command: Command, data: Option<Bytes>) {
        let command = Box::new(Command { has_data_set: data.is_some(), ..command });
        self.order(association, Order::Say(context, command, data));
    }

    /// Answers a request with a status.
    pub(crate) fn answer(&self, association: usize, request: &Message, status: u16) {
        self.say(association, request.context, request.command.response(status), None);
    }

    pub(crate) fn release(&self, association: usize) {
        self.order(association, Order::Release);
    }

    pub(crate) fn abort(&self, association: usize) {
        self.order(association, Order::Abort);
    }

    /// How an association was asked for.
    pub(crate) fn request(&self, association: usize) -> AssociateRq {
        self.associations.all.lock().unwrap()[association].request.clone().unwrap()
    }

    /// How many associations there have been.
    pub(crate) fn count(&self) -> usize {
        self.associations.all.lock().unwrap().len()
    }

    fn order(&self, association: usize, order: Order) {
        // One that has ended in this moment hears no orders.
        let _ = self.associations.all.lock().unwrap()[association].orders.send(order);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Associations {
    fn play(&self, association: Association, request: Option<AssociateRq>) -> usize {
        let (orders, receiver) = unbounded_channel();
        let mut all = self.all.lock().unwrap();
        all.push(Played { request, orders });
        tokio::spawn(play(all.len() - 1, association, receiver, self.sender.clone()));
        all.len() - 1
    }
}

async fn listen(listener: TcpListener, associations: Associations) {
    while let Ok((stream, _)) = listener.accept().await {
        let associations = associations.clone();
        tokio::spawn(async move {
            let socket = DimseSocket::from_stream(stream).unwrap();
            let Ok(requested) = Requested::read(socket, soon()).await else { return };
            let request = requested.request().clone();
            let mut answer = Answer::new(&request, |_, s| Ok(s[0].clone()), |_| true);
            let backwards = |information: &Bytes| information.iter().rev().copied().collect();
            let extended = request.user.extended.iter();
            answer.extended = extended.map(|(class, it)| (class.clone(), backwards(it))).collect();
            let accepted = requested.answer(answer, soon()).await;
            associations.play(accepted.unwrap(), Some(request));
        });
    }
}

async fn play(
    number: usize,
    mut association: Association,
    mut orders: UnboundedReceiver<Order>,
    seen: UnboundedSender<Seen>,
) {
    let mut coming: Option<(u8, Command, BytesMut)> = None;
    loop {
        let event = tokio::select! {
            event = association.event() => event,
            order = orders.recv() => match order {
                Some(Order::Say(context, command, data)) => {
                    association.send(context, &command, data);
                    continue;
                }
                Some(Order::Release) => return association.release(soon()).await,
                Some(Order::Abort) | None => return association.abort().await,
            },
        };
        let message = match event {
            Ok(Event::Command { context, command }) if command.has_data_set => {
                coming = Some((context, command, BytesMut::new()));
                continue;
            }
            Ok(Event::Command { context, command }) => Message { context, command, data: None },
            Ok(Event::Data { bytes, last }) => {
                let (context, command, mut data) = coming.take().unwrap();
                data.extend_from_slice(&bytes);
                if !last {
                    coming = Some((context, command, data));
                    continue;
                }
                Message { context, command, data: Some(data.freeze()) }
            }
            Ok(Event::ReleaseRequested) => {
                let _ = seen.send(Seen { association: number, what: What::Released });
                return association.confirm_release(soon()).await;
            }
            Err(error) => {
                let _ = seen.send(Seen { association: number, what: What::Lost(error) });
                return;
            }
        };
        let _ = seen.send(Seen { association: number, what: What::Message(message) });
    }
}
