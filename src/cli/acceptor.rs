//! The Storage SCP of a command: where an archive sends what it was asked to move, as long as the command runs.
//!
//! It is the bridge's own front end with nobody but archives admitted.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::archive::MoveDestination;
use crate::archive::commitment::Commitments;
use crate::archive::dimse::config::Config as ArchiveConfig;
use crate::config::Config;
use crate::dimse::scp;
use crate::event::Events;
use crate::front::dimse::{Front, Services};
use crate::metrics::Metrics;
use crate::net::tls::{self, Protocol};
use crate::router::Router;

/// Connections at once: an archive may open one for each object.
const MAX_CONNECTIONS: usize = 64;
/// How long what is under way may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// A Storage SCP that runs. Dropped, it ends at once.
pub(super) struct Acceptor {
    address: SocketAddr,
    moves: MoveDestination,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where it was to listen.
    pub(super) address: SocketAddr,
    why: String,
    is_in_use: bool,
}

impl Taken {
    /// Whether somebody else listens there.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_in_use
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.why)
    }
}

impl Acceptor {
    /// Listens where the configuration says, for what these archives send.
    pub(super) async fn bind(config: &Config, archives: &[ArchiveConfig]) -> Result<Self, Taken> {
        let dimse = &config.dimse;
        let taken = |address, error: io::Error| {
            let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
            Taken { address, why: error.to_string(), is_in_use }
        };
        let bound = TcpListener::bind(dimse.listen).await;
        let listener = bound.map_err(|error| taken(dimse.listen, error))?;
        let address = listener.local_addr().unwrap_or(dimse.listen);
        let title = dimse.move_ae_titles.first().unwrap_or(&dimse.ae_title).clone();
        let moves = MoveDestination::new(title, &address.to_string(), archives, []);
        let commitments = Commitments::open(None, dimse.commitment, archives).map_err(|error| Taken {
            address,
            why: error.to_string(),
            is_in_use: false,
        })?;
        let stop = CancellationToken::new();
        let services = Services {
            router: Router::new([], None),
            moves: moves.clone(),
            commitments,
            metrics: Metrics::default(),
            events: Events::none(),
            shutdown: stop.clone(),
        };
        let mut front = dimse.front.clone();
        front.aes.clear();
        front.accept_any = false;
        let limits = scp::Limits {
            max_connections: MAX_CONNECTIONS,
            max_asking: MAX_CONNECTIONS,
            artim: front.timeouts.artim,
        };
        let front = Front::new(front, services);
        let server = |config: &tls::ServerConfig| {
            tls::Server::open(config.clone(), Protocol::Dimse).map_err(|error| Taken {
                address,
                why: error.to_string(),
                is_in_use: false,
            })
        };
        let (first, beside) = match &dimse.tls {
            None => (None, None),
            Some(tls) => match tls.listen {
                None => (Some(server(&tls.server)?), None),
                Some(address) => {
                    let listener = TcpListener::bind(address).await.map_err(|error| taken(address, error))?;
                    (None, Some((listener, server(&tls.server)?)))
                }
            },
        };
        let (ending, service) = (stop.clone(), Arc::clone(&front));
        let task = tokio::spawn(async move {
            let plain = scp::serve(listener, first, Arc::clone(&service), limits, ending.clone());
            match beside {
                None => plain.await,
                Some((listener, server)) => {
                    let secured = scp::serve(listener, Some(server), service, limits, ending);
                    tokio::join!(plain, secured);
                }
            }
        });
        Ok(Self { address, moves, stop, task })
    }

    /// Where the archive is told to move objects to.
    pub(super) fn moves(&self) -> &MoveDestination {
        &self.moves
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        let _ = timeout(ENDING, &mut self.task).await;
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}
