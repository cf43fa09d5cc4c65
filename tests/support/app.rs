//! The bridge within the test's own process: what it holds can be counted, and it starts in a millisecond.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry::app::{App, Asked, Load, Reload};
use gantry::archive::MoveDestination;
use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::Config as ArchiveConfig;
use gantry::config::Config;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bridge::without_cache;

/// How long what is left over may take to go away.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What is configured of an archive at this address, as a file that says no more has it.
pub(crate) fn archive_config(name: &str, ae_title: &str, address: String) -> ArchiveConfig {
    ArchiveConfig::new(name.to_owned(), ae_title.parse().unwrap(), address, "GANTRY".parse().unwrap())
}

/// A bridge on free loopback ports. Dropped, it is cut off.
pub(crate) struct TestApp {
    /// Where it serves DICOMweb.
    pub(crate) http: SocketAddr,
    /// Where it serves DIMSE.
    pub(crate) dimse: SocketAddr,
    /// Where it serves DIMSE over TLS, beside that.
    pub(crate) dimse_tls: Option<SocketAddr>,
    archives: Vec<DimseArchive>,
    moves: MoveDestination,
    text: Arc<Mutex<String>>,
    reload: mpsc::Sender<Asked>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl TestApp {
    /// Starts a bridge by this configuration, in which `http.listen` is filled in. Without `[cache]` it has none: most
    /// tests look at what the archive is asked.
    pub(crate) async fn start(configuration: &str) -> Self {
        let listen = ("GANTRY_HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        let environment = [listen].into_iter().chain(without_cache(configuration));
        let environment: Vec<_> = environment.collect();
        let text = Arc::new(Mutex::new(configuration.to_owned()));
        let read = Arc::clone(&text);
        let load: Load = Arc::new(move || Config::parse(&read.lock().unwrap(), environment.clone()));
        let app = App::bind(load().unwrap_or_else(|errors| panic!("{errors:?}"))).await.unwrap();
        let (reload, asked) = mpsc::channel(1);
        let app = app.reloading(Reload { load, path: None, asked, manager: None });
        let (dimse, dimse_tls) = (app.dimse_address(), app.dimse_tls_address());
        let (http, archives, moves) = (app.http_address(), app.archives().to_vec(), app.moves().clone());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app.run(shutdown.clone()));
        Self { http, dimse, dimse_tls, archives, moves, text, reload, shutdown, task }
    }

    /// Has the bridge read another configuration; what it says of it.
    pub(crate) async fn reload(&self, configuration: &str) -> Result<String, String> {
        configuration.clone_into(&mut self.text.lock().unwrap());
        let (answer, told) = oneshot::channel();
        self.reload.send(answer).await.unwrap();
        told.await.unwrap()
    }

    /// Associations that are in use, over all archives: open and not idle.
    pub(crate) fn in_use(&self) -> usize {
        self.archives.iter().map(|archive| archive.associations()).map(|(open, idle)| open - idle).sum()
    }

    /// C-MOVEs under way.
    pub(crate) fn moves_under_way(&self) -> usize {
        self.moves.under_way()
    }

    /// Waits until nothing of any request is left: no association in use, no move under way.
    ///
    /// # Panics
    /// Something stays.
    pub(crate) async fn settle(&self, what: &str) {
        let begin = Instant::now();
        while self.in_use() > 0 || self.moves_under_way() > 0 {
            let (used, moves) = (self.in_use(), self.moves_under_way());
            assert!(
                begin.elapsed() < AFTERMATH,
                "{what}: left over: {used} associations in use, {moves} moves under way"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.task.abort();
    }
}
