//! A TCP proxy between the bridge and an archive that cuts, resets or stalls a connection at a chosen byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// From who connected.
    Up,
    /// Back to who connected.
    Down,
}

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Both sides see the connection closed politely.
    Close,
    /// Both sides see a reset.
    Reset,
    /// Nothing passes any more, either way; the connection stays open.
    Stall,
}

/// One fault: on the connection with this number (from 0), once so many bytes have gone that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The connection, in the order in which they were made since the plan was laid.
    pub(crate) connection: usize,
    /// The direction whose bytes are counted.
    pub(crate) way: Way,
    /// So many bytes pass.
    pub(crate) after: usize,
    /// Then this happens.
    pub(crate) harm: Harm,
}

/// The proxy. Dropped, it closes everything.
pub(crate) struct Chaos {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    struck: bool,
    /// What went over each connection since the plan was laid.
    recorded: Vec<[Vec<u8>; 2]>,
    /// Counts the plans, so that a connection of an earlier one is no part of this one.
    era: usize,
}

/// What one connection has to know.
#[derive(Clone)]
struct Flow {
    shared: Arc<Shared>,
    era: usize,
    connection: usize,
    struck: CancellationToken,
}

impl Chaos {
    /// A proxy before `target` that passes everything on.
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let mut task = JoinSet::new();
        task.spawn(accept(listener, target, Arc::clone(&shared)));
        Self { address, shared, _task: task }
    }

    /// Counts connections from 0 again, and lays a plan for them.
    pub(crate) fn plan(&self, plan: Option<Plan>) {
        let mut state = self.shared.state.lock().unwrap();
        let era = state.era + 1;
        *state = State { plan, era, ..State::default() };
    }

    /// Whether the plan has come to pass.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.state.lock().unwrap().struck
    }

    /// What went over each connection since the plan was laid, up and down.
    pub(crate) fn recorded(&self) -> Vec<[Vec<u8>; 2]> {
        self.shared.state.lock().unwrap().recorded.clone()
    }
}

/// Where each PDU of recorded bytes begins, with its type, and the end of the last one.
pub(crate) fn pdus(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(head) = bytes.get(at..at + 6) {
        found.push((at, head[0]));
        at += 6 + u32::from_be_bytes(head[2..6].try_into().unwrap()) as usize;
    }
    found
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (era, connection) = {
            let mut state = shared.state.lock().unwrap();
            state.recorded.push(Default::default());
            (state.era, state.recorded.len() - 1)
        };
        let flow = Flow { shared: Arc::clone(&shared), era, connection, struck: CancellationToken::new() };
        connections.spawn(connect(near, target, flow));
    }
}

async fn connect(near: TcpStream, target: SocketAddr, flow: Flow) {
    if let Some(harm) = flow.strikes(Way::Up, 0, 0).or_else(|| flow.strikes(Way::Down, 0, 0)) {
        match harm {
            Harm::Close => {}
            Harm::Reset => near.set_zero_linger().unwrap(),
            Harm::Stall => std::future::pending().await,
        }
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let struck = flow.struck.clone();
    let (up, down) = tokio::join!(
        pass(near_in, far_out, Way::Up, flow.clone()),
        pass(far_in, near_out, Way::Down, flow.clone())
    );
    let (harm_up, near_in, far_out) = up;
    let (harm_down, far_in, near_out) = down;
    let harm = harm_up.or(harm_down);
    let ends = [near_in.reunite(near_out), far_in.reunite(far_out)];
    if struck.is_cancelled() && harm == Some(Harm::Stall) {
        std::future::pending::<()>().await;
    }
    for stream in ends.into_iter().flatten() {
        if harm == Some(Harm::Reset) || harm.is_none() && struck.is_cancelled() {
            let _ = stream.set_zero_linger();
        }
    }
}

/// Passes bytes on until the end, or until the plan strikes. What ended one direction by an error ends the other
/// as well, by a reset.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    flow: Flow,
) -> (Option<Harm>, OwnedReadHalf, OwnedWriteHalf) {
    let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = flow.struck.cancelled() => return (None, from, to),
        };
        let length = match read {
            Ok(0) => {
                let _ = to.shutdown().await;
                return (None, from, to);
            }
            Ok(length) => length,
            Err(_) => {
                flow.struck.cancel();
                return (None, from, to);
            }
        };
        let harm = flow.strikes(way, passed, length);
        let passing = harm.map_or(length, |_| flow.room(passed).min(length));
        flow.record(way, &buffer[..passing]);
        passed += passing;
        let written = tokio::select! {
            written = to.write_all(&buffer[..passing]) => written,
            () = flow.struck.cancelled() => return (None, from, to),
        };
        if harm.is_some() || written.is_err() {
            flow.struck.cancel();
            return (harm, from, to);
        }
    }
}

impl Flow {
    /// What happens when `length` more bytes come, where `passed` have gone this way.
    fn strikes(&self, way: Way, passed: usize, length: usize) -> Option<Harm> {
        let mut state = self.shared.state.lock().unwrap();
        let plan = state.plan.filter(|_| state.era == self.era)?;
        let hit = plan.connection == self.connection && plan.way == way && passed + length >= plan.after;
        // A plan after 0 bytes is about the connection itself.
        let hit = hit && (length > 0 || plan.after == 0);
        state.struck |= hit;
        hit.then_some(plan.harm)
    }

    /// How many more bytes may pass before the plan strikes.
    fn room(&self, passed: usize) -> usize {
        self.shared.state.lock().unwrap().plan.map_or(0, |plan| plan.after - passed)
    }

    fn record(&self, way: Way, bytes: &[u8]) {
        let mut state = self.shared.state.lock().unwrap();
        if state.era == self.era {
            state.recorded[self.connection][way as usize].extend_from_slice(bytes);
        }
    }
}
