//! Configuration → the running application: bind early, spawn late, drain on shutdown.

mod changes;
mod reload;
mod running;
mod setup;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::archive::MoveDestination;
use crate::archive::activity::Activity;
use crate::archive::commitment::{Commitments, OpenError};
use crate::archive::dimse::DimseArchive;
use crate::archive::shared::Cache;
use crate::audit::{self, Audit};
use crate::config::{Config, ConfigError};
use crate::dimse::scp;
use crate::event::{Event, Events, What, Who};
use crate::front::http;
use crate::metrics::Metrics;
use crate::net::serve_http;
use crate::net::tls::{self, Protocol};
use running::Running;
use setup::{Foundation, Setup, clients};

pub use reload::{Asked, Load, Reload};

/// DIMSE connections that have not asked for an association yet, or are turned away: a burst of modalities after a power
/// cut.
const ASKING: usize = 512;
/// How many of them one address may have: a site behind one address, and never all.
const ASKING_PER_ADDRESS: usize = ASKING / 4 * 3;

/// The bridge, with its ports bound and nothing served yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    listeners: Listeners,
    setup: Setup,
    foundation: Foundation,
    audit: Option<Audit>,
    reload: Option<Reload>,
}

/// The ports.
#[derive(Debug)]
struct Listeners {
    http: TcpListener,
    http_tls: Option<tls::Server>,
    dimse: TcpListener,
    dimse_tls: Option<DimseTls>,
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
        let moves = MoveDestination::new(title, &reachable_at, &config.archives, clients(&config));
        let metrics = Metrics::default();
        metrics.configuration_loaded();
        let commitments =
            Commitments::open(config.state.as_deref(), config.dimse.commitment, &config.archives)?;
        let cache = Cache::new(config.cache.clone(), metrics.clone());
        let (audit, events) = match config.audit.clone() {
            Some(config) => {
                let (audit, events) = Audit::open(config, metrics.clone())?;
                (Some(audit), events)
            }
            None => (None, Events::none()),
        };
        let kept = http::Kept::new(config.http.front.limits, &metrics);
        let foundation =
            Foundation { cache, moves, commitments, metrics, events, kept, activity: Activity::default() };
        let setup = Setup::of(&config, None, &foundation)?;
        let listeners = Listeners { http, http_tls, dimse, dimse_tls };
        Ok(Self { config, listeners, setup, foundation, audit, reload: None })
    }

    /// The archives, in the configuration's order: what they hold open can be counted.
    pub fn archives(&self) -> &[DimseArchive] {
        &self.setup.archives
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.foundation.metrics
    }

    /// Where the C-MOVEs of all archives go.
    pub fn moves(&self) -> &MoveDestination {
        &self.foundation.moves
    }

    /// Where DICOMweb is served: as configured, with the port that the system chose for port 0.
    pub fn http_address(&self) -> SocketAddr {
        self.listeners.http.local_addr().unwrap_or(self.config.http.listen)
    }

    /// Where objects of a C-MOVE are received.
    pub fn dimse_address(&self) -> SocketAddr {
        self.listeners.dimse.local_addr().unwrap_or(self.config.dimse.listen)
    }

    /// Where associations over TLS come, where that is another port.
    pub fn dimse_tls_address(&self) -> Option<SocketAddr> {
        self.listeners.dimse_tls.as_ref()?.listener.as_ref()?.local_addr().ok()
    }

    /// `https` where HTTP is served over TLS, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.listeners.http_tls.is_some() { "https" } else { "http" }
    }

    /// The path of the default archive.
    pub fn base_path(&self) -> &str {
        &self.config.http.front.base_path
    }

    /// Reads the configuration again while it runs, as `reload` says.
    pub fn reloading(self, reload: Reload) -> Self {
        Self { reload: Some(reload), ..self }
    }

    /// Serves until `shutdown`, then until the requests under way have ended or their time is up.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, listeners, setup, foundation, audit, reload } = self;
        let Foundation { commitments, events, .. } = foundation.clone();
        events.send(Event::now(Who::default(), What::Started));
        let drain = config.http.settings.drain_timeout;
        let limits = scp::Limits {
            max_connections: config.dimse.front.max_associations + config.dimse.front.max_returns + ASKING,
            max_asking: ASKING_PER_ADDRESS,
            artim: config.dimse.front.timeouts.artim,
        };
        let settings = config.http.settings.clone();
        let running = Running::new(config, setup, foundation, shutdown.clone());
        let (site, entrance) = (running.site(), running.entrance());
        // Retrievals under way still receive while clients drain, so this one ends last.
        let stop_receiving = CancellationToken::new();
        let Listeners { http, http_tls, dimse, dimse_tls } = listeners;
        let (beside, tls) = match dimse_tls {
            Some(DimseTls { server, listener: Some(listener) }) => (Some((listener, server)), None),
            Some(DimseTls { server, listener: None }) => (None, Some(server)),
            None => (None, None),
        };
        let receive =
            |listener, tls| scp::serve(listener, tls, Arc::clone(&entrance), limits, stop_receiving.clone());
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
                let _ = timeout(drain, running.drained()).await;
            };
            let serve = serve_http(http, http_tls, site, settings, shutdown.clone());
            let reloading = async {
                if let Some(reload) = reload {
                    reload.run(&running, &shutdown).await;
                }
            };
            tokio::join!(serve, clients, reloading);
            // Nobody asks any more; what is idle is released, what is stuck gets as long again.
            running.shut_down(Instant::now() + drain).await;
            commitments.close().await;
            stop_receiving.cancel();
        };
        tokio::pin!(receiving);
        tokio::select! {
            () = serving => drop(timeout(drain, receiving).await),
            () = &mut receiving => {}
        }
        if let Some(audit) = audit {
            events.send(Event::now(Who::default(), What::Stopped));
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
