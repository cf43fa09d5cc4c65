//! Configuration → the running application: bind early, spawn late, drain on shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access};
use crate::archive::commitment::{Commitments, OpenError};
use crate::archive::dimse::{Config as ArchiveConfig, DimseArchive};
use crate::archive::shared::{Cache, Shared};
use crate::archive::{Archive, MoveDestination};
use crate::audit::{self, Audit};
use crate::config::{Config, ConfigError};
use crate::dimse::scp;
use crate::event::{Event, Events, What, Who};
use crate::front::dimse::{self, Front};
use crate::front::http;
use crate::metrics::Metrics;
use crate::net::serve_http;
use crate::net::tls::{self, Protocol};
use crate::router::Router;

/// DIMSE connections that have not asked for an association yet, or are turned away: a burst of modalities after a power
/// cut.
const ASKING: usize = 512;
/// How many of them one address may have: a site behind one address, and never all.
const ASKING_PER_ADDRESS: usize = ASKING / 4 * 3;

/// The bridge, with its ports bound and nothing served yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    http: TcpListener,
    http_tls: Option<tls::Server>,
    dimse: TcpListener,
    dimse_tls: Option<DimseTls>,
    archives: Vec<DimseArchive>,
    moves: MoveDestination,
    cache: Cache,
    commitments: Commitments,
    access: Access,
    metrics: Metrics,
    audit: Option<Audit>,
    events: Events,
}

/// TLS for DIMSE.
#[derive(Debug)]
struct DimseTls {
    server: tls::Server,
    /// Where it is spoken; `None`: at the one DIMSE port there is.
    listener: Option<TcpListener>,
}

/// A port cannot be bound, or a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A port.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificates or keys.
    #[error("TLS cannot be spoken:{}", lines(.0))]
    Tls(Vec<ConfigError>),
    /// The file for what must survive a restart.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A file that says who may come.
    #[error(transparent)]
    Access(#[from] access::OpenError),
    /// Where the audit trail goes.
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
}

impl App {
    /// Binds the ports and opens the files, so that what is in the way shows before anything has started.
    ///
    /// # Errors
    /// A port cannot be bound, or a file cannot be used.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        config.check_files().map_err(BindError::Tls)?;
        let http_tls =
            config.http.tls.clone().map(|tls| open("http.tls", tls, Protocol::Http)).transpose()?;
        let dimse_tls = match config.dimse.tls.clone() {
            None => None,
            Some(tls) => {
                let server = open("dimse.tls", tls.server, Protocol::Dimse)?;
                let listener = match tls.listen {
                    Some(address) => Some(bind("dimse.tls.listen", address).await?),
                    None => None,
                };
                Some(DimseTls { server, listener })
            }
        };
        // HTTP last: where that answers, DIMSE does too.
        let dimse = bind("dimse.listen", config.dimse.listen).await?;
        let http = bind("http.listen", config.http.listen).await?;
        let reachable_at = dimse.local_addr().unwrap_or(config.dimse.listen).to_string();
        let title = config.dimse.move_ae_titles.first().unwrap_or(&config.dimse.ae_title).clone();
        let clients = config.dimse.front.aes.iter().map(|ae| ae.title.clone());
        let moves = MoveDestination::new(title, &reachable_at, &config.archives, clients);
        let metrics = Metrics::default();
        let commitments =
            Commitments::open(config.state.as_deref(), config.dimse.commitment, &config.archives)?;
        let access = Access::new(config.auth.clone())?;
        let archive = |config: &ArchiveConfig| {
            let reports = commitments.of(&config.name);
            DimseArchive::new(config.clone(), Some(moves.clone()), Some(reports), metrics.clone())
        };
        let archives = config.archives.iter().map(archive).collect();
        let cache = Cache::new(config.cache.clone(), metrics.clone());
        let (audit, events) = match config.audit.clone() {
            Some(config) => {
                let (audit, events) = Audit::open(config, metrics.clone())?;
                (Some(audit), events)
            }
            None => (None, Events::none()),
        };
        Ok(Self {
            config,
            http,
            http_tls,
            dimse,
            dimse_tls,
            archives,
            moves,
            cache,
            commitments,
            access,
            metrics,
            audit,
            events,
        })
    }

    /// The archives, in the configuration's order: what they hold open can be counted.
    pub fn archives(&self) -> &[DimseArchive] {
        &self.archives
    }

    /// Where the C-MOVEs of all archives go.
    pub fn moves(&self) -> &MoveDestination {
        &self.moves
    }

    /// Where DICOMweb is served: as configured, with the port that the system chose for port 0.
    pub fn http_address(&self) -> SocketAddr {
        self.http.local_addr().unwrap_or(self.config.http.listen)
    }

    /// Where objects of a C-MOVE are received.
    pub fn dimse_address(&self) -> SocketAddr {
        self.dimse.local_addr().unwrap_or(self.config.dimse.listen)
    }

    /// Where associations over TLS come, where that is another port.
    pub fn dimse_tls_address(&self) -> Option<SocketAddr> {
        self.dimse_tls.as_ref()?.listener.as_ref()?.local_addr().ok()
    }

    /// `https` where HTTP is served over TLS, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.http_tls.is_some() { "https" } else { "http" }
    }

    /// The path of the default archive.
    pub fn base_path(&self) -> &str {
        &self.config.http.front.base_path
    }

    /// Serves until `shutdown`, then until the requests under way have ended or their time is up.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            config,
            http,
            http_tls,
            dimse,
            dimse_tls,
            archives,
            moves,
            cache,
            commitments,
            access,
            metrics,
            audit,
            events,
        } = self;
        let told = events.clone();
        told.send(Event::now(Who::default(), What::Started));
        let drain = config.http.settings.drain_timeout;
        let limits = scp::Limits {
            max_connections: config.dimse.front.max_associations + config.dimse.front.max_returns + ASKING,
            max_asking: ASKING_PER_ADDRESS,
            artim: config.dimse.front.timeouts.artim,
        };
        let share = |archive: &DimseArchive| {
            let shared = Shared::new(Arc::new(archive.clone()), cache.clone(), metrics.clone());
            Arc::new(shared) as Arc<dyn Archive>
        };
        let called_as = config
            .archives
            .iter()
            .flat_map(|archive| archive.called_as.iter().map(|title| (title, archive.name.as_str())));
        let router = Router::new(archives.iter().map(share), config.default_archive.as_deref())
            .with_routes(&config.routes, called_as)
            .with_reach(config.dimse.front.reach());
        let (clients, numbers, transactions) = (router.clone(), metrics.clone(), commitments.clone());
        let services = http::Services {
            archives: router,
            access: access.telling(events.clone()),
            cache,
            metrics,
            events: events.clone(),
            shutdown: shutdown.clone(),
        };
        let service = TowerToHyperService::new(http::app(config.http.front, services));
        let services = dimse::Services {
            router: clients,
            moves,
            commitments,
            metrics: numbers,
            events,
            shutdown: shutdown.clone(),
        };
        let front = Front::new(config.dimse.front, services);
        // Retrievals under way still receive while clients drain, so this one ends last.
        let stop_receiving = CancellationToken::new();
        let (beside, tls) = match dimse_tls {
            Some(DimseTls { server, listener: Some(listener) }) => (Some((listener, server)), None),
            Some(DimseTls { server, listener: None }) => (None, Some(server)),
            None => (None, None),
        };
        let receive =
            |listener, tls| scp::serve(listener, tls, Arc::clone(&front), limits, stop_receiving.clone());
        let receiving = async {
            match beside {
                None => receive(dimse, tls).await,
                Some((listener, server)) => {
                    tokio::join!(receive(dimse, tls), receive(listener, Some(server)));
                }
            }
        };
        let serving = async {
            let clients = async {
                shutdown.cancelled().await;
                let _ = timeout(drain, front.drained()).await;
            };
            tokio::join!(
                serve_http(http, http_tls, service, config.http.settings.clone(), shutdown.clone()),
                clients
            );
            // Nobody asks any more; what is idle is released, what is stuck gets as long again.
            let deadline = Instant::now() + drain;
            front.shut_down(deadline).await;
            for archive in &archives {
                archive.shut_down(deadline).await;
            }
            transactions.close().await;
            stop_receiving.cancel();
        };
        tokio::pin!(receiving);
        tokio::select! {
            () = serving => drop(timeout(drain, receiving).await),
            () = &mut receiving => {}
        }
        if let Some(audit) = audit {
            told.send(Event::now(Who::default(), What::Stopped));
            audit.close(Instant::now() + drain).await;
        }
    }
}

fn open(key: &str, config: tls::ServerConfig, protocol: Protocol) -> Result<tls::Server, BindError> {
    tls::Server::open(config, protocol)
        .map_err(|error| BindError::Tls(vec![ConfigError { key: key.to_owned(), text: error.to_string() }]))
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Listen { key, address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    mod driver_panics;

    const CONFIG: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[dimse]\nlisten = \"127.0.0.1:0\"\n[archive.main]\nae_title = \"A\"\naddress = \"127.0.0.1:1\"\n";

    fn config() -> Config {
        Config::parse(CONFIG, []).unwrap()
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_key() {
        let first = App::bind(config()).await.unwrap();
        let mut second = config();
        second.http.listen = first.http_address();
        let error = App::bind(second).await.unwrap_err().to_string();
        assert!(
            error.contains("http.listen") && error.contains(&first.http_address().to_string()),
            "{error}"
        );
    }

    #[tokio::test]
    async fn it_ends_when_told_to() {
        let app = App::bind(config()).await.unwrap();
        let address = app.http_address();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app.run(shutdown.clone()));
        tokio::net::TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        task.await.unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
